//! Reads the settings from pairs and reports every problem at once. A wrong value is never guessed at.

use super::{Config, Database, LogFormat, SETTINGS, TwilioAccount};
use crate::google::Credentials;
use crate::limits;
use crate::secret::Secret;
use crate::sid::AccountSid;
use crate::twiml::PublicHost;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::RangeInclusive;
use core::str::FromStr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Characters of a wrong value that are repeated in a problem.
const SHOWN_CHARS_MAX: usize = 60;
const NO_DATABASE: &str = "unset, though TWILIO_AUTH_TOKEN makes this a deployment: calls would be kept on a disk that \
                           may vanish with the next deploy";

/// What is wrong with one variable. Never holds the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub wrong: String,
    /// What to write instead.
    pub instead: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.variable, self.wrong, self.instead)
    }
}

/// Everything that is wrong with the settings; at least one problem, in the README's order. Displays one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Every problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for Problems {}

impl Config {
    /// Reads the settings. Variables that are none of ours are ignored; of a name given twice the last counts.
    ///
    /// # Errors
    /// Every problem there is, not only the first.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let mut reader = Reader { pairs: pairs.into_iter().collect(), problems: Vec::new() };
        let config = reader.config();
        let mut problems = reader.problems;
        if problems.is_empty() {
            return Ok(config);
        }
        problems.sort_by_key(|problem| SETTINGS.iter().position(|setting| setting.name == problem.variable));
        Err(Problems(problems))
    }
}

/// Reads one setting after the other. After a problem a stand-in is returned, so that the rest is read too.
struct Reader {
    pairs: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Reader {
    fn config(&mut self) -> Config {
        let data_dir = PathBuf::from(self.plain("DATA_DIR"));
        let twilio = self.twilio();
        // Judged by the variable itself, so that a wrong account is one problem and not three.
        let deployed = self.set("TWILIO_AUTH_TOKEN").is_some();
        let any_address = if deployed { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        Config {
            port: self.parsed("PORT", "a port number", "write a number from 0 to 65535").unwrap_or_default(),
            bind: self
                .parsed("BIND", "an IP address", "write one such as 0.0.0.0, 127.0.0.1 or ::")
                .unwrap_or(IpAddr::V4(any_address)),
            public_host: self.public_host(),
            database: self.database(deployed, &data_dir),
            data_dir,
            twilio,
            twilio_api_base: self.base_url("TWILIO_API_BASE"),
            streaming: self.switch("ENABLE_CALLS_STREAM"),
            stream_start_timeout: self.duration("STREAM_START_TIMEOUT", &limits::WATCH_TIMES),
            media_timeout: self.duration("MEDIA_TIMEOUT", &limits::WATCH_TIMES),
            end_silence: self.end_silence(),
            openai_api_key: self.secret("OPENAI_API_KEY"),
            openai_base_url: self.base_url("OPENAI_BASE_URL"),
            transcribe_model: self.plain("TRANSCRIBE_MODEL"),
            transcribe_language: self.plain("TRANSCRIBE_LANGUAGE"),
            google_credentials: self.google_credentials(),
            google_tts_voice: self
                .parsed("GOOGLE_TTS_VOICE", "the name of a voice", "write a whole one, such as he-IL-Wavenet-A")
                .unwrap_or_default(),
            google_tts_base_url: self.base_url("GOOGLE_TTS_BASE_URL"),
            prompts_dir: self.optional("PROMPTS_DIR").map(PathBuf::from),
            greeting_text: self.prompt("GREETING_TEXT"),
            fallback_text: self.prompt("FALLBACK_TEXT"),
            goodbye_text: self.prompt("GOODBYE_TEXT"),
            log_format: self.log_format(),
            log_filter: self.plain("RUST_LOG"),
            metrics_token: self.secret("METRICS_TOKEN"),
            console_token: self.secret("CONSOLE_TOKEN"),
            drain: self.duration("DRAIN_SECONDS", &(Duration::ZERO..=limits::DRAIN_MAX)),
            worker_threads: self.worker_threads(),
            deploy_id: self.optional("DEPLOY_ID"),
            git_commit: self.optional("GIT_COMMIT"),
        }
    }

    fn problem(&mut self, variable: &'static str, wrong: impl Into<String>, instead: impl Into<String>) {
        self.problems.push(Problem { variable, wrong: wrong.into(), instead: instead.into() });
    }

    /// The value as set, without surrounding white space; nothing left means unset.
    fn set(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value, else the default of the table.
    fn text(&self, name: &'static str) -> Option<String> {
        let default = || SETTINGS.iter().find(|setting| setting.name == name).and_then(|setting| setting.default);
        self.set(name).or_else(default).map(str::to_owned)
    }

    fn optional(&mut self, name: &'static str) -> Option<String> {
        let value = self.text(name)?;
        if value.chars().any(char::is_control) {
            self.problem(name, "holds a control character", "write it on one line");
        }
        Some(value)
    }

    fn plain(&mut self, name: &'static str) -> String {
        self.optional(name).unwrap_or_default()
    }

    /// A secret travels in a header line, where only visible ASCII can stand.
    fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let value = self.set(name)?;
        let fits = value.bytes().all(|byte| byte.is_ascii_graphic());
        let secret = Secret::new(value);
        if !fits {
            self.problem(name, "holds a blank or a character that is not ASCII", "paste it again, without quotes");
        }
        Some(secret)
    }

    fn parsed<T: FromStr>(&mut self, name: &'static str, kind: &str, instead: &str) -> Option<T> {
        let text = self.text(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.problem(name, format!("{} is not {kind}", shown(&text)), instead);
        }
        value
    }

    fn switch(&mut self, name: &'static str) -> bool {
        let text = self.plain(name);
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.problem(name, format!("{} is neither true nor false", shown(&text)), "write true or false");
                false
            }
        }
    }

    fn duration(&mut self, name: &'static str, range: &RangeInclusive<Duration>) -> Duration {
        let text = self.plain(name);
        match parse_duration(&text) {
            Some(duration) if range.contains(&duration) => return duration,
            Some(_) => {
                let (from, to) = (format_duration(*range.start()), format_duration(*range.end()));
                self.problem(name, format!("{} is out of range", shown(&text)), format!("write {from} to {to}"));
            }
            None => {
                let wrong = format!("{} is not a duration", shown(&text));
                self.problem(name, wrong, "write a number and a unit, such as 500ms, 8s, 5m or 1h");
            }
        }
        *range.start()
    }

    fn end_silence(&mut self) -> Option<Duration> {
        const NAME: &str = "END_SILENCE";
        let off = self.text(NAME).and_then(|text| parse_duration(&text)).is_some_and(|time| time.is_zero());
        if off { None } else { Some(self.duration(NAME, &limits::END_SILENCES)) }
    }

    fn base_url(&mut self, name: &'static str) -> String {
        let text = self.plain(name);
        let url = text.trim_end_matches('/');
        let authority = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        // Service names of container networks may hold underscores.
        let host_fits = authority.and_then(|rest| rest.split('/').next()).is_some_and(|host| {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        });
        let path_fits = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte));
        if !(host_fits && path_fits) {
            // Not shown: credentials may stand in it.
            let instead = "write http:// or https://, a host, and a path if needed, without credentials and query";
            self.problem(name, "not a base URL", instead);
        }
        url.to_owned()
    }

    fn public_host(&mut self) -> Option<String> {
        const NAME: &str = "PUBLIC_HOST";
        let text = self.set(NAME)?.to_owned();
        match PublicHost::from_setting(&text) {
            Ok(host) => Some(host.to_string()),
            Err(error) => {
                self.problem(NAME, format!("{} is {error}", shown(&text)), "write only the host, without a path");
                None
            }
        }
    }

    fn twilio(&mut self) -> Option<TwilioAccount> {
        const SID: &str = "TWILIO_ACCOUNT_SID";
        const TOKEN: &str = "TWILIO_AUTH_TOKEN";
        let sid = self.set(SID).map(str::to_owned);
        let tokens = self.set(TOKEN).map(str::to_owned);
        if let (None, Some(_)) = (&sid, &tokens) {
            self.problem(SID, format!("unset, though {TOKEN} is set"), "set both, or neither for development mode");
        }
        if let (Some(_), None) = (&sid, &tokens) {
            self.problem(TOKEN, format!("unset, though {SID} is set"), "set both, or neither for development mode");
        }
        let sid = sid.and_then(|text| {
            let sid = text.parse::<AccountSid>().ok();
            if sid.is_none() {
                // Not shown: the two are easily exchanged, and then this is the token.
                let instead = "write AC and 32 hexadecimal digits, as Twilio's console shows it";
                self.problem(SID, "the value is not an account SID", instead);
            }
            sid
        });
        let auth_tokens: Vec<&str> =
            tokens.as_deref().map_or(Vec::new(), |text| text.split(',').map(str::trim).collect());
        if auth_tokens.iter().any(|token| token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            let wrong = "one of its tokens is empty, or holds a blank or a character that is not ASCII";
            self.problem(TOKEN, wrong, "write the tokens separated by single commas, the current one first");
        }
        if auth_tokens.len() > limits::AUTH_TOKENS_MAX {
            let instead = format!("write at most {}", limits::AUTH_TOKENS_MAX);
            self.problem(TOKEN, format!("holds {} tokens", auth_tokens.len()), instead);
        }
        let auth_tokens: Vec<_> = auth_tokens.into_iter().map(Secret::new).collect();
        if auth_tokens.is_empty() { None } else { Some(TwilioAccount { sid: sid?, auth_tokens }) }
    }

    fn database(&mut self, deployed: bool, data_dir: &std::path::Path) -> Database {
        const NAME: &str = "DATABASE_URL";
        const INSTEAD: &str = "write postgres://user:password@host/database or sqlite:PATH";
        let embedded = Database::Embedded(data_dir.join("callwarden.sqlite"));
        let Some(url) = self.set(NAME).map(str::to_owned) else {
            if deployed {
                self.problem(NAME, NO_DATABASE, format!("{INSTEAD} on a disk that stays"));
            }
            return embedded;
        };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Database::Postgres(Secret::new(url));
        }
        match url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() => Database::Sqlite(PathBuf::from(path)),
            _ => {
                self.problem(NAME, "neither a postgres:// URL nor sqlite:PATH (its value is not shown)", INSTEAD);
                embedded
            }
        }
    }

    /// A key file given by its path is read, and judged, by whoever uses it.
    fn google_credentials(&mut self) -> Option<Credentials> {
        match Credentials::from_setting(self.set("GOOGLE_APPLICATION_CREDENTIALS")?) {
            Ok(credentials) => Some(credentials),
            Err(problem) => {
                self.problem("GOOGLE_APPLICATION_CREDENTIALS", problem.wrong(), problem.instead());
                None
            }
        }
    }

    /// A prompt's text; set but empty means none, which for other settings means unset.
    fn prompt(&mut self, name: &'static str) -> String {
        if self.pairs.contains_key(name) && self.set(name).is_none() {
            return String::new();
        }
        let text = self.text(name).unwrap_or_default();
        let chars = text.chars().count();
        if chars > limits::PROMPT_TEXT_CHARS_MAX {
            let instead =
                format!("write at most {}, or put an audio file into PROMPTS_DIR", limits::PROMPT_TEXT_CHARS_MAX);
            self.problem(name, format!("{chars} characters long"), instead);
        }
        text
    }

    fn log_format(&mut self) -> Option<LogFormat> {
        const NAME: &str = "LOG_FORMAT";
        let text = self.set(NAME)?.to_owned();
        match text.to_ascii_lowercase().as_str() {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => {
                self.problem(NAME, format!("{} is no log format", shown(&text)), "write text or json");
                None
            }
        }
    }

    fn worker_threads(&mut self) -> Option<usize> {
        const NAME: &str = "WORKER_THREADS";
        let text = self.set(NAME)?.to_owned();
        let threads = text.parse().ok().filter(|threads| (1..=limits::WORKER_THREADS_MAX).contains(threads));
        if threads.is_none() {
            let instead = format!("write a number from 1 to {}", limits::WORKER_THREADS_MAX);
            self.problem(NAME, format!("{} is no number of threads", shown(&text)), instead);
        }
        threads
    }
}

/// A wrong value in quotes, control characters escaped, cut where it is long.
fn shown(value: &str) -> String {
    let start: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if start.len() < value.len() { "…" } else { "" };
    format!("{start:?}{rest}")
}

/// A whole number and `ms`, `s`, `m` or `h`; a bare number is seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim_start() {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// The shortest text that [`parse_duration`] reads back.
pub(super) fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (divisor, unit) = match millis {
        0 => (1_000, "s"),
        millis if millis.is_multiple_of(3_600_000) => (3_600_000, "h"),
        millis if millis.is_multiple_of(60_000) => (60_000, "m"),
        millis if millis.is_multiple_of(1_000) => (1_000, "s"),
        _ => (1, "ms"),
    };
    format!("{}{unit}", millis / divisor)
}
