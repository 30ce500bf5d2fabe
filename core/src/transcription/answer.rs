//! What an answer of the transcription service means, and when it is asked again (T4).

use super::Service;
use crate::fetch::{FetchError, FetchResponse};
use crate::limits;
use crate::rest::{Answer, tidy};
use crate::time::UnixMillis;
use core::time::Duration;
use serde_json::Value;

/// Codes of an account that is used up: 429 like a rate limit, but no waiting helps.
const QUOTA_CODES: [&str; 2] = ["insufficient_quota", "billing_not_active"];
/// An utterance below a tenth of a second: nothing was said.
const TOO_SHORT: &str = "audio_too_short";
/// A refusal that is about a setting of ours: this parameter, or this code.
const OUR_PARAMETERS: [&str; 4] = ["model", "language", "languages", "response_format"];
const OUR_CODES: [&str; 2] = ["unsupported_language", "model_not_found"];
const REQUEST_ID: &str = "x-request-id";

/// What became of a transcription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was said, without white space around it; empty when nothing was.
    Text(String),
    /// The service or the network is in trouble: ask again after [`retry_wait`].
    Outage {
        /// How long the service asks to be left alone.
        after: Option<Duration>,
    },
    /// A key, a quota, an address or a setting is wrong: a person has to act, and no repetition within minutes helps.
    Blocked,
    /// The service takes everything but this audio, and will never take it.
    Refused,
}

impl Service {
    /// Classifies the answer to [`Service::request`]. The detail is for the log and for `transcript_status`: it tells
    /// what the service says about an error, and holds neither the key nor anything that was said.
    #[must_use]
    pub fn outcome(&self, now: UnixMillis, result: &Result<FetchResponse, FetchError>) -> Answer<Outcome> {
        match result {
            Err(error) => Answer { outcome: Outcome::Outage { after: None }, detail: error.to_string() },
            Ok(response) if (200..300).contains(&response.status) => match transcript(response) {
                Ok(text) => Answer { outcome: Outcome::Text(text), detail: self.detail(response, "") },
                Err(wrong) => Answer { outcome: Outcome::Blocked, detail: self.detail(response, wrong) },
            },
            Ok(response) => {
                let error = self.error(response);
                let outcome = refusal(now, response, &error);
                let mut story = error.story(response.status);
                if outcome == Outcome::Blocked {
                    story = format!("{story}; check {}", to_check(response.status, &error));
                }
                Answer { outcome, detail: self.detail(response, &story) }
            }
        }
    }

    fn detail(&self, response: &FetchResponse, story: &str) -> String {
        let mut detail = format!("the transcription service answered {}{story}", response.status);
        if let Some(id) = response.headers.get(REQUEST_ID) {
            detail += &format!(" (request {})", self.clean(id));
        }
        detail
    }

    /// A text of the service as a log line can carry it. A service may repeat what it was sent, so the key is taken out,
    /// and before the text is cut: half a key is one too.
    fn clean(&self, text: &str) -> String {
        let line: String = text.chars().filter(|sign| !sign.is_control()).collect();
        tidy(&line.replace(self.key.expose(), "***"))
    }

    /// What an answer that is no transcript says. OpenAI wraps it in `error`; other servers wrap that in `detail`, or
    /// say a plain text.
    fn error(&self, response: &FetchResponse) -> ServiceError {
        let json: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let wrapped = json.get("detail").unwrap_or(&json);
        let error = wrapped.get("error").unwrap_or(wrapped);
        let text = |value: &Value| match value {
            Value::String(text) => Some(self.clean(text)),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let member = |name| error.get(name).and_then(text);
        ServiceError {
            kind: member("type"),
            code: member("code"),
            parameter: member("param"),
            message: member("message").or_else(|| text(error)),
        }
    }
}

/// The text of a 2xx answer, or what is wrong with the answer.
fn transcript(response: &FetchResponse) -> Result<String, &'static str> {
    let json: Value =
        serde_json::from_slice(&response.body).map_err(|_| " with a body that is not JSON; check OPENAI_BASE_URL")?;
    let text = json.get("text").and_then(Value::as_str);
    text.map(|text| text.trim().to_owned()).ok_or(" with JSON that has no text; check OPENAI_BASE_URL")
}

/// What is left of an error when it can be told.
struct ServiceError {
    kind: Option<String>,
    code: Option<String>,
    parameter: Option<String>,
    message: Option<String>,
}

impl ServiceError {
    /// Some servers put the code where others put the type.
    fn is(&self, codes: &[&str]) -> bool {
        [&self.code, &self.kind].into_iter().flatten().any(|code| codes.contains(&code.as_str()))
    }

    /// Whether it is about a setting of ours rather than about the audio.
    fn is_ours(&self) -> bool {
        let parameter = self.parameter.as_deref().map(|name| name.trim_end_matches("[]"));
        parameter.is_some_and(|name| OUR_PARAMETERS.contains(&name)) || self.is(&OUR_CODES)
    }

    fn story(&self, status: u16) -> String {
        let mut story = String::new();
        let code = self.code.as_ref().filter(|code| self.kind.as_ref() != Some(code));
        for name in self.kind.iter().chain(code) {
            story += &format!(", {name}");
        }
        // The message of a 401 may quote a part of the key.
        if let Some(message) = self.message.as_ref().filter(|_| status != 401) {
            story += &format!(": {message}");
        }
        story
    }
}

/// What an answer other than 2xx means. `x-should-retry` has the last word on what is otherwise a matter of status.
fn refusal(now: UnixMillis, response: &FetchResponse, error: &ServiceError) -> Outcome {
    let should_retry = match response.headers.get("x-should-retry") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) | None => None,
    };
    let outage = || Outcome::Outage { after: response.retry_after(now) };
    match response.status {
        300..=399 | 401 => Outcome::Blocked,
        400..=499 if error.is(&QUOTA_CODES) => Outcome::Blocked,
        400 if error.is(&[TOO_SHORT]) => Outcome::Text(String::new()),
        400.. if should_retry == Some(true) => outage(),
        408 | 409 | 429 | 500.. if should_retry == Some(false) => Outcome::Blocked,
        408 | 409 | 429 | 500.. => outage(),
        400 | 422 if error.is_ours() => Outcome::Blocked,
        400 | 413 | 415 | 422 => Outcome::Refused,
        _ => Outcome::Blocked,
    }
}

/// Where to look when the service is blocked.
fn to_check(status: u16, error: &ServiceError) -> &'static str {
    match status {
        401 => "OPENAI_API_KEY",
        403 => "what OPENAI_API_KEY is allowed to do",
        _ if error.is(&QUOTA_CODES) => "the account's quota and billing",
        _ if error.is_ours() => "TRANSCRIBE_MODEL and TRANSCRIBE_LANGUAGE",
        300..=399 | 404 | 405 => "OPENAI_BASE_URL and TRANSCRIBE_MODEL",
        _ => "the account, and whether OPENAI_BASE_URL is the service meant",
    }
}

/// How long to wait before a transcription is asked for again, after `attempt` failed tries besides the first (from 0).
///
/// Half a second, doubled as the service's own client does it, and on up to [`limits::TRANSCRIPTION_RETRY_MAX`], each
/// shortened by up to a quarter so that clips which failed together do not come back together. `spread` is any number
/// that differs between clips. What the service asked for counts instead, unshortened.
#[must_use]
pub fn retry_wait(attempt: u32, after: Option<Duration>, spread: u64) -> Duration {
    if let Some(after) = after {
        return after;
    }
    let doubled = limits::TRANSCRIPTION_RETRY_MIN.saturating_mul(2_u32.saturating_pow(attempt));
    let wait = doubled.min(limits::TRANSCRIPTION_RETRY_MAX);
    // Neighbouring numbers are carried far apart (a multiplication by the golden ratio); eight bits are fine enough.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let share = spread.wrapping_add(attempt.into()).wrapping_mul(GOLDEN) >> 56;
    wait - wait / 4 * u32::try_from(share).unwrap_or_default() / 255
}

#[cfg(test)]
mod tests;
