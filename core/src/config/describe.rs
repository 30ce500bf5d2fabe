//! Shows the settings in force, without secrets, and warns of those that are not for a deployment.

use super::parse::format_duration;
use super::{Config, Database, LogFormat};
use core::fmt::Display;
use core::net::IpAddr;
use core::time::Duration;
use std::path::Path;

const MASK: &str = "***";

impl Config {
    /// Every setting with the value in force, in the README's order. Secrets are masked; unset is empty.
    #[must_use]
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let secret = |set: bool| if set { MASK.to_owned() } else { String::new() };
        let twilio = self.twilio.as_ref();
        vec![
            ("PORT", self.port.to_string()),
            ("BIND", self.bind.to_string()),
            ("PUBLIC_HOST", optional(self.public_host.as_ref())),
            ("DATABASE_URL", self.database.describe()),
            ("DATA_DIR", path(&self.data_dir)),
            ("TWILIO_ACCOUNT_SID", optional(twilio.map(|account| account.sid))),
            ("TWILIO_AUTH_TOKEN", secret(twilio.is_some())),
            ("TWILIO_API_BASE", self.twilio_api_base.clone()),
            ("ENABLE_CALLS_STREAM", self.streaming.to_string()),
            ("STREAM_START_TIMEOUT", format_duration(self.stream_start_timeout)),
            ("MEDIA_TIMEOUT", format_duration(self.media_timeout)),
            ("END_SILENCE", self.end_silence.map_or_else(|| "0".to_owned(), format_duration)),
            ("OPENAI_API_KEY", secret(self.openai_api_key.is_some())),
            ("OPENAI_BASE_URL", self.openai_base_url.clone()),
            ("TRANSCRIBE_MODEL", self.transcribe_model.clone()),
            ("TRANSCRIBE_LANGUAGE", self.transcribe_language.clone()),
            ("GOOGLE_APPLICATION_CREDENTIALS", secret(self.google_credentials.is_some())),
            ("GOOGLE_TTS_VOICE", self.google_tts_voice.to_string()),
            ("GOOGLE_TTS_BASE_URL", self.google_tts_base_url.clone()),
            ("PROMPTS_DIR", self.prompts_dir.as_deref().map(path).unwrap_or_default()),
            ("GREETING_TEXT", self.greeting_text.clone()),
            ("FALLBACK_TEXT", self.fallback_text.clone()),
            ("GOODBYE_TEXT", self.goodbye_text.clone()),
            ("LOG_FORMAT", optional(self.log_format.map(LogFormat::name))),
            ("RUST_LOG", self.log_filter.clone()),
            ("METRICS_TOKEN", secret(self.metrics_token.is_some())),
            ("CONSOLE_TOKEN", secret(self.console_token.is_some())),
            ("DRAIN_SECONDS", seconds(self.drain)),
            ("WORKER_THREADS", optional(self.worker_threads)),
            ("DEPLOY_ID", optional(self.deploy_id.as_ref())),
            ("GIT_COMMIT", optional(self.git_commit.as_ref())),
        ]
    }

    /// What the operator should know at start: each a whole sentence.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.twilio.is_none() {
            warnings.push(
                "Development mode: TWILIO_AUTH_TOKEN is not set, so anyone who can reach this server can pretend to \
                 be Twilio, and no live call can be moved to a recording."
                    .to_owned(),
            );
            if !is_loopback(self.bind) {
                warnings
                    .push(format!("Development mode on {}: the server can be reached from other machines.", self.bind));
            }
        }
        if let Database::Embedded(file) = &self.database {
            warnings.push(format!(
                "DATABASE_URL is not set: calls are kept in {}, which is good for trials only.",
                file.display()
            ));
        }
        if !self.streaming {
            warnings.push("ENABLE_CALLS_STREAM is off: no call is streamed, every call is recorded.".to_owned());
        }
        if self.openai_api_key.is_none() {
            warnings.push("OPENAI_API_KEY is not set: no call is transcribed.".to_owned());
        }
        warnings
    }
}

impl Database {
    /// The setting without its password.
    fn describe(&self) -> String {
        match self {
            Self::Postgres(url) => without_password(url.expose()),
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Embedded(_) => String::new(),
        }
    }
}

impl LogFormat {
    /// The value of `LOG_FORMAT` that selects it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Masks what stands between the user name and the last `@`, and every parameter: a password may hold any sign, and
/// parameters can carry one too. Shows too little rather than too much.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", ""));
    let (credentials, place) = rest.rsplit_once('@').map_or((None, rest), |(before, after)| (Some(before), after));
    let user = match credentials.map(|text| (text, text.split_once(':'))) {
        None => String::new(),
        Some((text, _)) if text.contains('?') => return format!("{scheme}://{MASK}"),
        Some((_, Some((user, _)))) => format!("{user}:{MASK}@"),
        Some((user, None)) => format!("{user}@"),
    };
    let place = place.split_once('?').map_or_else(|| place.to_owned(), |(place, _)| format!("{place}?{MASK}"));
    format!("{scheme}://{user}{place}")
}

fn optional(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 { duration.as_secs().to_string() } else { format_duration(duration) }
}

const fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    }
}
