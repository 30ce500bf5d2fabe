use super::*;
use crate::limits;
use proptest::prelude::*;

const SID: &str = "AC0123456789abcdef0123456789abcdef";

fn read(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    Config::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// The lines of the problems that the pairs cause.
fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    read(pairs).expect_err("problems").to_string().lines().map(str::to_owned).collect()
}

fn deployed(more: &[(&'static str, &'static str)]) -> Config {
    let pairs = [
        ("TWILIO_ACCOUNT_SID", SID),
        ("TWILIO_AUTH_TOKEN", "secret-one, secret-two"),
        ("DATABASE_URL", "postgres://user:pass@db/calls"),
    ];
    read(&[&pairs[..], more].concat()).expect("valid")
}

#[test]
fn without_any_setting_the_server_is_in_development_mode_with_every_default_in_force() {
    let config = read(&[("HOME", "/root"), ("PORTS", "x")]).expect("valid");
    assert_eq!(config.bind, IpAddr::from([127, 0, 0, 1]));
    assert_eq!(config.database, Database::Embedded("./data/callwarden.sqlite".into()));
    assert_eq!((config.twilio.is_none(), config.log_format), (true, None));
    assert_eq!(config.stream_start_timeout, Duration::from_secs(8));
    let described = config.describe();
    assert_eq!(described.len(), SETTINGS.len());
    for (setting, (name, value)) in SETTINGS.iter().zip(described) {
        assert_eq!(setting.name, name);
        if name != "BIND" {
            assert_eq!(setting.default.unwrap_or_default(), value, "{name}");
        }
    }
}

#[test]
fn a_deployment_listens_everywhere_and_needs_a_database() {
    let config = deployed(&[]);
    assert_eq!(config.bind, IpAddr::from([0, 0, 0, 0]));
    let account = config.twilio.expect("an account");
    assert_eq!(account.auth_tokens, [Secret::new("secret-one"), Secret::new("secret-two")]);
    let lines = problems(&[("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", "secret")]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("DATABASE_URL: unset") && lines[0].contains("vanish"), "{lines:?}");
}

#[test]
fn every_problem_is_reported_at_once_in_the_readmes_order_and_without_secrets() {
    let wrong = [
        ("WORKER_THREADS", "0"),
        ("PORT", "65536"),
        ("BIND", "localhost"),
        ("PUBLIC_HOST", "https://calls.example.com/webhook"),
        ("DATABASE_URL", "mysql://u:hidden@h/d"),
        ("TWILIO_ACCOUNT_SID", "SK123"),
        ("TWILIO_AUTH_TOKEN", "hidden,,x"),
        ("TWILIO_API_BASE", "https://u:hidden@api.twilio.com"),
        ("ENABLE_CALLS_STREAM", "maybe"),
        ("STREAM_START_TIMEOUT", "8 parsecs"),
        ("MEDIA_TIMEOUT", "2h"),
        ("END_SILENCE", "-1"),
        ("OPENAI_API_KEY", "hidden key"),
        ("OPENAI_BASE_URL", "api.openai.com"),
        ("TRANSCRIBE_MODEL", "a\nb"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "{hidden"),
        ("GOOGLE_TTS_VOICE", "Kore"),
        ("LOG_FORMAT", "xml"),
        ("METRICS_TOKEN", "hidden\u{5d0}"),
        ("DRAIN_SECONDS", "5h"),
    ];
    let found = read(&wrong).expect_err("problems");
    let names: Vec<_> = found.iter().map(|problem| problem.variable).collect();
    let expected: Vec<_> = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|name| wrong.iter().any(|(wrong, _)| wrong == name))
        .collect();
    assert_eq!(names, expected);
    let text = found.to_string();
    assert_eq!(text.lines().count(), wrong.len());
    assert!(!text.contains("hidden"), "{text}");
    assert!(text.contains(r#"PORT: "65536" is not a port number; write a number from 0 to 65535"#), "{text}");
    assert!(text.contains(r#"MEDIA_TIMEOUT: "2h" is out of range; write 100ms to 1m"#), "{text}");
}

#[test]
fn the_twilio_pair_is_set_together_or_not_at_all() {
    let database = ("DATABASE_URL", "sqlite:x");
    assert!(problems(&[("TWILIO_ACCOUNT_SID", SID)])[0].starts_with("TWILIO_AUTH_TOKEN: unset, though"));
    assert!(problems(&[("TWILIO_AUTH_TOKEN", "x"), database])[0].starts_with("TWILIO_ACCOUNT_SID: unset, though"));
    let many = ["t"; limits::AUTH_TOKENS_MAX + 1].join(",");
    let lines = problems(&[("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", &many), database]);
    assert_eq!(lines, ["TWILIO_AUTH_TOKEN: holds 5 tokens; write at most 4"]);
    let most = ["t"; limits::AUTH_TOKENS_MAX].join(",");
    let config = read(&[("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", &most), database]).expect("valid");
    assert_eq!(config.twilio.map(|account| account.auth_tokens.len()), Some(limits::AUTH_TOKENS_MAX));
}

#[test]
fn empty_means_unset_but_for_the_texts_which_then_say_nothing() {
    let config = read(&[
        ("PORT", ""),
        ("PUBLIC_HOST", " "),
        ("TWILIO_AUTH_TOKEN", ""),
        ("MEDIA_TIMEOUT", ""),
        ("GREETING_TEXT", ""),
        ("GOODBYE_TEXT", "שלום ותודה"),
    ])
    .expect("valid");
    assert_eq!((config.port, config.public_host, config.media_timeout), (8080, None, Duration::from_secs(6)));
    assert_eq!((config.greeting_text.as_str(), config.goodbye_text.as_str()), ("", "שלום ותודה"));
    assert!(config.fallback_text.contains("הודעה"));
}

#[test]
fn a_public_host_loses_scheme_slashes_and_spaces() {
    for text in ["https://calls.example.com/", " calls.example.com ", "wss://calls.example.com//"] {
        assert_eq!(read(&[("PUBLIC_HOST", text)]).expect("valid").public_host.as_deref(), Some("calls.example.com"));
    }
}

#[test]
fn durations_have_units_and_bare_numbers_are_seconds() {
    let media = |text: &str| read(&[("MEDIA_TIMEOUT", text)]).map(|config| config.media_timeout.as_millis());
    assert_eq!(media("500ms"), Ok(500));
    assert_eq!(media("5"), Ok(5_000));
    assert_eq!(media("5 s"), Ok(5_000));
    assert_eq!(media("1m"), Ok(60_000));
    for wrong in ["99ms", "61", "1h", "s", "1.5s", "5S5", "99999999999999999999h", "18446744073709551615h", "ה"] {
        assert!(media(wrong).is_err(), "{wrong}");
    }
    assert_eq!(read(&[("END_SILENCE", "0")]).expect("valid").end_silence, None);
    assert_eq!(read(&[("END_SILENCE", "0ms")]).expect("valid").end_silence, None);
    assert_eq!(read(&[("END_SILENCE", "1h")]).expect("valid").end_silence, Some(Duration::from_secs(3_600)));
    assert_eq!(read(&[("DRAIN_SECONDS", "0")]).expect("valid").drain, Duration::ZERO);
}

#[test]
fn a_key_file_is_given_by_its_path_or_as_its_content_which_is_judged_with_the_rest() {
    let credentials = |text: &str| read(&[("GOOGLE_APPLICATION_CREDENTIALS", text)]);
    let path = credentials("/run/secrets/google.json").expect("a path");
    assert_eq!(path.google_credentials, Some(Credentials::File(Secret::new("/run/secrets/google.json"))));
    assert_eq!(credentials(" ").expect("valid").google_credentials, None);
    for wrong in ["{", "{}", r#"{"type":"authorized_user"}"#] {
        let lines = problems(&[("GOOGLE_APPLICATION_CREDENTIALS", wrong), ("PORT", "x")]);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("GOOGLE_APPLICATION_CREDENTIALS: its "), "{lines:?}");
    }
}

#[test]
fn a_wrong_value_is_shown_cut_where_it_is_long_with_what_to_write_instead() {
    let (long, cut) = ("1".repeat(61), "1".repeat(60));
    for (name, value, line) in [
        ("PORT", &long[..60], format!("PORT: \"{cut}\" is not a port number; write a number from 0 to 65535")),
        ("PORT", &long, format!("PORT: \"{cut}\"… is not a port number; write a number from 0 to 65535")),
        ("LOG_FORMAT", "xml\n!", r#"LOG_FORMAT: "xml\n!" is no log format; write text or json"#.to_owned()),
        ("MEDIA_TIMEOUT", "1h", r#"MEDIA_TIMEOUT: "1h" is out of range; write 100ms to 1m"#.to_owned()),
        ("END_SILENCE", "99ms", r#"END_SILENCE: "99ms" is out of range; write 100ms to 1h"#.to_owned()),
        ("DRAIN_SECONDS", "5h", r#"DRAIN_SECONDS: "5h" is out of range; write 0s to 4h"#.to_owned()),
        (
            "PUBLIC_HOST",
            "my_host",
            "PUBLIC_HOST: \"my_host\" is not a host name with an optional port, such as calls.example.com; write only the \
             host, without a path"
                .to_owned(),
        ),
    ] {
        assert_eq!(problems(&[(name, value)]), [line]);
    }
}

#[test]
fn a_database_url_without_a_path_is_a_problem_and_one_with_a_path_is_a_file() {
    for empty in ["sqlite:", "sqlite://"] {
        let lines = problems(&[("DATABASE_URL", empty)]);
        assert!(lines[0].starts_with("DATABASE_URL: ") && lines[0].contains("sqlite:PATH"), "{lines:?}");
    }
    let database = |url: &str| read(&[("DATABASE_URL", url)]).expect("valid").database;
    assert_eq!(database("sqlite:calls.db"), Database::Sqlite("calls.db".into()));
    assert_eq!(database("sqlite:///var/calls.db"), Database::Sqlite("/var/calls.db".into()));
}

#[test]
fn switches_take_the_usual_words_in_any_case() {
    for (text, on) in [("TRUE", true), ("1", true), ("yes", true), ("On", true), ("false", false), ("0", false)] {
        assert_eq!(read(&[("ENABLE_CALLS_STREAM", text)]).expect("valid").streaming, on, "{text}");
    }
    assert!(!read(&[("ENABLE_CALLS_STREAM", "no")]).expect("valid").streaming);
    assert!(!read(&[("ENABLE_CALLS_STREAM", "off")]).expect("valid").streaming);
}

#[test]
fn base_urls_lose_the_slash_at_their_end_and_may_name_a_container() {
    let config = read(&[("OPENAI_BASE_URL", "http://fake_openai:9000/v1/"), ("TWILIO_API_BASE", "http://[::1]:1")]);
    let config = config.expect("valid");
    assert_eq!(config.openai_base_url, "http://fake_openai:9000/v1");
    assert_eq!(config.twilio_api_base, "http://[::1]:1");
    for wrong in ["https://", "ftp://h", "https://h?x", "https://h/#x", "https://h/a b"] {
        assert_eq!(problems(&[("OPENAI_BASE_URL", wrong)]).len(), 1, "{wrong}");
    }
}

#[test]
fn a_prompt_text_beyond_its_limit_is_a_problem() {
    let text = |chars: usize| "א".repeat(chars);
    assert!(read(&[("GREETING_TEXT", &text(limits::PROMPT_TEXT_CHARS_MAX))]).is_ok());
    assert_eq!(problems(&[("GREETING_TEXT", &text(limits::PROMPT_TEXT_CHARS_MAX + 1))]).len(), 1);
}

#[test]
fn the_limits_of_threads_and_drain_are_reached() {
    let most = limits::WORKER_THREADS_MAX.to_string();
    assert_eq!(read(&[("WORKER_THREADS", &most)]).expect("valid").worker_threads, Some(limits::WORKER_THREADS_MAX));
    assert_eq!(problems(&[("WORKER_THREADS", "1025")]).len(), 1);
    assert_eq!(read(&[("DRAIN_SECONDS", "4h")]).expect("valid").drain, limits::DRAIN_MAX);
    assert_eq!(problems(&[("DRAIN_SECONDS", "14401")]).len(), 1);
}

#[test]
fn describe_masks_every_secret() {
    let config = deployed(&[
        ("OPENAI_API_KEY", "secret-key"),
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            r#"{"type":"service_account","client_email":"a@b","token_uri":"https://t.example","private_key":"-----BEGIN PRIVATE KEY-----\nsecret-google\n-----END PRIVATE KEY-----"}"#,
        ),
        ("METRICS_TOKEN", "secret-metrics"),
        ("CONSOLE_TOKEN", "secret-console"),
    ]);
    let text = format!("{:?} {config:?}", config.describe());
    assert!(!text.contains("secret-") && !text.contains("pass@"), "{text}");
    assert!(config.describe().contains(&("DATABASE_URL", "postgres://user:***@db/calls".to_owned())));
}

#[test]
fn a_database_password_is_masked_wherever_it_stands() {
    let shown = |url: &'static str| {
        let config = read(&[("DATABASE_URL", url)]).expect("valid");
        config.describe().into_iter().find(|(name, _)| *name == "DATABASE_URL").expect("described").1
    };
    assert_eq!(shown("postgres://u:p/w@x@h:5432/d"), "postgres://u:***@h:5432/d");
    assert_eq!(shown("postgresql://u@h/d?password=x&sslmode=require"), "postgresql://u@h/d?***");
    assert_eq!(shown("postgres://u?:x@h/d"), "postgres://***");
    assert_eq!(shown("postgres://h/d?password=a@b"), "postgres://***");
    assert_eq!(shown("postgres:///d"), "postgres:///d");
    assert_eq!(shown("sqlite://calls.db"), "sqlite:calls.db");
}

#[test]
fn what_is_not_for_a_deployment_is_warned_of() {
    let key = ("OPENAI_API_KEY", "sk-1");
    assert!(deployed(&[key]).warnings().is_empty());
    assert_eq!(deployed(&[key, ("ENABLE_CALLS_STREAM", "off")]).warnings().len(), 1);
    assert!(deployed(&[]).warnings()[0].contains("OPENAI_API_KEY"));
    let warnings = read(&[("BIND", "0.0.0.0")]).expect("valid").warnings();
    let about = ["Development mode:", "Development mode on 0.0.0.0", "DATABASE_URL is not set", "OPENAI_API_KEY"];
    assert_eq!(warnings.len(), about.len());
    assert!(warnings.iter().zip(about).all(|(line, start)| line.starts_with(start)), "{warnings:?}");
    for own in [&[][..], &[("BIND", "127.0.0.1")], &[("BIND", "::1")]] {
        let warnings = read(own).expect("valid").warnings();
        assert!(warnings.iter().all(|line| !line.contains("other machines")), "{warnings:?}");
    }
}

proptest! {
    #[test]
    fn what_describe_shows_reads_back_to_the_same_configuration(
        port: u16,
        bind in prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)],
        host in proptest::option::of("[a-z]{1,9}\\.example(:[1-9][0-9]{0,3})?"),
        times in (100_u64..=60_000, 100_u64..=60_000, prop_oneof![Just(0_u64), 100_u64..=3_600_000], 0_u64..=14_400_000),
        streaming: bool,
        texts in ["([א-ת][א-ת \"&']{0,30}[א-ת])?", "[a-z]{0,5}", "\\PC{0,40}"],
        format in prop_oneof![Just(""), Just("text"), Just("json")],
        threads in proptest::option::of(1..=limits::WORKER_THREADS_MAX),
    ) {
        let millis = |millis: u64| format!("{millis}ms");
        let pairs = [
            ("PORT", port.to_string()),
            ("BIND", bind.to_string()),
            ("PUBLIC_HOST", host.unwrap_or_default()),
            ("STREAM_START_TIMEOUT", millis(times.0)),
            ("MEDIA_TIMEOUT", millis(times.1)),
            ("END_SILENCE", millis(times.2)),
            ("DRAIN_SECONDS", millis(times.3)),
            ("ENABLE_CALLS_STREAM", streaming.to_string()),
            ("GREETING_TEXT", texts[0].clone()),
            ("FALLBACK_TEXT", texts[1].clone()),
            ("GOODBYE_TEXT", texts[2].clone()),
            ("LOG_FORMAT", format.to_owned()),
            ("WORKER_THREADS", threads.map(|threads| threads.to_string()).unwrap_or_default()),
        ];
        let config = Config::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).expect("valid");
        let described = config.describe().into_iter().map(|(name, value)| (name.to_owned(), value));
        prop_assert_eq!(Config::from_pairs(described), Ok(config));
    }

    #[test]
    fn any_values_are_read_without_a_panic(values in proptest::collection::vec(".{0,20}", SETTINGS.len())) {
        let pairs = SETTINGS.iter().zip(values).map(|(setting, value)| (setting.name.to_owned(), value));
        if let Err(problems) = Config::from_pairs(pairs) {
            prop_assert!(problems.iter().count() > 0);
        }
    }
}
