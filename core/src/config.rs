//! The configuration: read once from pairs, every problem reported at once.

mod describe;
mod parse;
mod settings;

pub use parse::{Problem, Problems};
pub use settings::{SETTINGS, Setting};

use crate::google::{Credentials, Voice};
use crate::secret::Secret;
use crate::sid::AccountSid;
use core::net::IpAddr;
use core::time::Duration;
use std::path::PathBuf;

/// Effective settings. See the table in README.md for what each does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `PORT`; 0 lets the system choose.
    pub port: u16,
    /// `BIND`.
    pub bind: IpAddr,
    /// `PUBLIC_HOST`: a bare host name with an optional port, never a scheme or slash.
    pub public_host: Option<String>,
    /// `DATABASE_URL`, or the embedded file where it is unset in development mode.
    pub database: Database,
    /// `DATA_DIR`.
    pub data_dir: PathBuf,
    /// `TWILIO_ACCOUNT_SID` and `TWILIO_AUTH_TOKEN`; none means development mode.
    pub twilio: Option<TwilioAccount>,
    /// `TWILIO_API_BASE` without a slash at its end.
    pub twilio_api_base: String,
    /// `ENABLE_CALLS_STREAM`.
    pub streaming: bool,
    /// `STREAM_START_TIMEOUT` (W1).
    pub stream_start_timeout: Duration,
    /// `MEDIA_TIMEOUT` (W2, W3).
    pub media_timeout: Duration,
    /// `END_SILENCE` (W12); `None` when it is 0.
    pub end_silence: Option<Duration>,
    /// `OPENAI_API_KEY`.
    pub openai_api_key: Option<Secret>,
    /// `OPENAI_BASE_URL` without a slash at its end.
    pub openai_base_url: String,
    /// `TRANSCRIBE_MODEL`.
    pub transcribe_model: String,
    /// `TRANSCRIBE_LANGUAGE`.
    pub transcribe_language: String,
    /// `GOOGLE_APPLICATION_CREDENTIALS`: a path or the JSON itself.
    pub google_credentials: Option<Credentials>,
    /// `GOOGLE_TTS_VOICE`.
    pub google_tts_voice: Voice,
    /// `GOOGLE_TTS_BASE_URL` without a slash at its end.
    pub google_tts_base_url: String,
    /// `PROMPTS_DIR`.
    pub prompts_dir: Option<PathBuf>,
    /// `GREETING_TEXT`; empty means no greeting.
    pub greeting_text: String,
    /// `FALLBACK_TEXT`; empty means only the beep.
    pub fallback_text: String,
    /// `GOODBYE_TEXT`; empty means none.
    pub goodbye_text: String,
    /// `LOG_FORMAT`; `None` means text for a terminal, JSON lines otherwise.
    pub log_format: Option<LogFormat>,
    /// `RUST_LOG`.
    pub log_filter: String,
    /// `METRICS_TOKEN`.
    pub metrics_token: Option<Secret>,
    /// `CONSOLE_TOKEN`.
    pub console_token: Option<Secret>,
    /// `DRAIN_SECONDS`.
    pub drain: Duration,
    /// `WORKER_THREADS`; `None` means one per processor.
    pub worker_threads: Option<usize>,
    /// `DEPLOY_ID`.
    pub deploy_id: Option<String>,
    /// `GIT_COMMIT`.
    pub git_commit: Option<String>,
}

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// `postgres://…`; holds a password.
    Postgres(Secret),
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// Nothing was set in development mode: a file in `DATA_DIR`.
    Embedded(PathBuf),
}

impl Database {
    /// The name in `/readyz`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
            Self::Embedded(_) => "embedded",
        }
    }
}

/// The Twilio account whose webhooks are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwilioAccount {
    /// `TWILIO_ACCOUNT_SID`.
    pub sid: AccountSid,
    /// `TWILIO_AUTH_TOKEN`, split at commas: any verifies, the first signs. Never empty.
    pub auth_tokens: Vec<Secret>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests;
