//! Any environment is a configuration, or a list of everything that is wrong with it.

use super::source::{Source, text};
use callwarden_core::config::{Config, SETTINGS};

/// What must not be seen again.
const SECRETS: [&str; 5] =
    ["TWILIO_AUTH_TOKEN", "OPENAI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "METRICS_TOKEN", "CONSOLE_TOKEN"];
/// What secrets hold here, and no text of ours: any other value may be found in one by chance.
const SECRET_WORDS: [&str; 2] = ["secret-", "0a1b2c3d4e5f"];
const PAIRS_MAX: usize = 64;

/// Names and values of variables.
pub fn configuration(data: &[u8]) {
    let mut source = Source::new(data);
    let mut pairs = Vec::new();
    while !source.is_empty() && pairs.len() < PAIRS_MAX {
        let place = usize::from(source.byte());
        let name = SETTINGS.get(place % (SETTINGS.len() + 1)).map_or("UNHEARD_OF", |setting| setting.name);
        pairs.push((name.to_owned(), value(&mut source)));
    }
    let secrets: Vec<String> = pairs
        .iter()
        .filter(|(name, value)| {
            SECRETS.contains(&name.as_str()) && SECRET_WORDS.iter().any(|word| value.contains(word))
        })
        .map(|(_, value)| value.trim().to_owned())
        .collect();
    let shown = match Config::from_pairs(pairs.clone()) {
        Ok(config) => {
            let described = config.describe();
            assert!(described.iter().map(|(name, _)| *name).eq(SETTINGS.iter().map(|setting| setting.name)));
            same_again(&config, &pairs);
            let lines = described.iter().map(|(name, value)| format!("{name}={value}"));
            lines.chain(config.warnings()).collect::<Vec<_>>().join("\n")
        }
        Err(problems) => {
            assert!(problems.iter().count() > 0);
            let known = |name: &str| SETTINGS.iter().any(|setting| setting.name == name);
            assert!(problems.iter().all(|problem| known(problem.variable)), "{problems}");
            assert_eq!(problems.to_string().lines().count(), problems.iter().count(), "a line each: {problems}");
            problems.to_string()
        }
    };
    for secret in secrets {
        // One that is the value of something else as well, or is so once quoted (`\0` before the rest of it), is no secret.
        let holds = |value: &str| value.contains(&secret) || format!("{value:?}").contains(&secret);
        let elsewhere = pairs.iter().any(|(name, value)| !SECRETS.contains(&name.as_str()) && holds(value));
        assert!(elsewhere || !shown.contains(&secret), "a secret is shown: {shown}");
    }
}

fn value(source: &mut Source<'_>) -> String {
    let usual = [
        "",
        "true",
        "off",
        "8s",
        "500ms",
        "1h",
        "0",
        "8080",
        "0.0.0.0",
        "::1",
        "postgres://user:secret-password@db.example/calls",
        "sqlite:calls.db",
        "AC00000000000000000000000000000001",
        "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "first-secret-token,second-secret-token",
        "https://calls.example/",
        "calls.example",
        "he",
        "json",
        "info",
    ];
    if source.byte() < 192 { source.one_of(&usual).to_owned() } else { text(source.some()) }
}

/// What is shown can be set, and shows the same.
fn same_again(config: &Config, pairs: &[(String, String)]) {
    let described = config.describe();
    let masked = |name: &str| SECRETS.contains(&name) || name == "DATABASE_URL";
    let shown = described.iter().filter(|(name, _)| !masked(name));
    let shown = shown.map(|(name, value)| ((*name).to_owned(), value.clone()));
    let kept = pairs.iter().filter(|(name, _)| masked(name)).cloned();
    let again = Config::from_pairs(shown.chain(kept)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(again.describe(), described);
}
