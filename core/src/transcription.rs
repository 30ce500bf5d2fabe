//! The transcription API as data: what is asked of it, and what its answers mean (T2, T3, T4, T6).
//!
//! The same request serves an utterance of a live call and a piece of a recording. Two dialects are spoken: that of
//! `gpt-transcribe`, and whisper's, which self-hosted servers understand.

mod answer;
mod clip;
mod multipart;
mod stock;

pub use answer::{Outcome, retry_wait};
pub use clip::Clip;
pub use stock::is_stock_phrase;

use crate::config::Config;
use crate::fetch::FetchRequest;
use crate::http::Method;
use crate::limits;
use crate::secret::Secret;

/// How a model wants to be asked (T3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A list of languages. A single `language`, and `verbose_json`, are refused.
    GptTranscribe,
    /// One language, by its code. `whisper-1`, the `gpt-4o` models and self-hosted servers.
    Whisper,
}

impl Dialect {
    /// The dialect of a model.
    #[must_use]
    pub fn of(model: &str) -> Self {
        if model.starts_with("gpt-transcribe") { Self::GptTranscribe } else { Self::Whisper }
    }

    const fn language_field(self) -> &'static str {
        match self {
            Self::GptTranscribe => "languages[]",
            Self::Whisper => "language",
        }
    }
}

/// The transcription service, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    url: String,
    key: Secret,
    model: String,
    language: String,
    dialect: Dialect,
}

impl Service {
    /// The service that the settings name; `None` without `OPENAI_API_KEY`: then nothing is transcribed.
    #[must_use]
    pub fn from_config(config: &Config) -> Option<Self> {
        Some(Self {
            url: format!("{}/audio/transcriptions", config.openai_base_url),
            key: config.openai_api_key.clone()?,
            model: config.transcribe_model.clone(),
            language: config.transcribe_language.clone(),
            dialect: Dialect::of(&config.transcribe_model),
        })
    }

    /// Asks for the text of a clip. The body is written once, at its final size: it is the only copy of the audio that
    /// is made.
    #[must_use]
    pub fn request(&self, clip: &Clip<'_>) -> FetchRequest {
        let fields = [
            ("model", self.model.as_str()),
            (self.dialect.language_field(), self.language.as_str()),
            ("response_format", "json"),
        ];
        let form = multipart::encode(&fields, clip);
        FetchRequest {
            method: Method::Post,
            url: self.url.clone(),
            headers: vec![("content-type", form.content_type), ("accept", "application/json".to_owned())],
            authorization: Some(Secret::new(format!("Bearer {}", self.key.expose()))),
            body: form.body.into(),
            timeout: clip.duration().map_or(limits::TRANSCRIPTION_TIME_MAX, |duration| {
                limits::TRANSCRIPTION_TIME.saturating_add(duration).min(limits::TRANSCRIPTION_TIME_MAX)
            }),
            response_bytes_max: limits::TRANSCRIPTION_BYTES_MAX,
            public_only: false,
        }
    }
}

#[cfg(test)]
mod tests;
