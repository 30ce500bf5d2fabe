//! Google Cloud Text-to-Speech as data: the service account, the access token it is given, the speech that is asked
//! for, and what the answers mean.
//!
//! The one thing that is not done here is the signature under an assertion: a runtime holds the key in the form its
//! library wants, and signs what [`ServiceAccount::assertion`] says (RSASSA-PKCS1-v1_5 with SHA-256).

mod credentials;
mod speech;
mod token;
mod voice;

pub use credentials::{Credentials, CredentialsProblem, ServiceAccount};
pub use speech::{synthesize, synthesized};
pub use token::{AccessToken, granted, token_request};
pub use voice::{NotAVoice, Voice};

use crate::fetch::{FetchError, FetchResponse};
use crate::limits;
use core::fmt;
use serde_json::Value;

/// Whether another try may help, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may be over by itself: a connection, an outage, a quota per minute.
    Passing,
    /// It stays until somebody changes something, here or at Google.
    Lasting,
    /// The access token counts no longer (401): a new one may.
    Token,
}

/// Why Google did not do what it was asked. Displays what happened and what to do; never a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether another try may help.
    pub trouble: Trouble,
    /// What happened.
    pub detail: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.detail, self.advice)
    }
}

impl core::error::Error for Refusal {}

const WAIT: &str = "this may pass by itself";

impl Refusal {
    fn passing(detail: impl Into<String>) -> Self {
        Self { trouble: Trouble::Passing, detail: detail.into(), advice: WAIT }
    }

    fn lasting(detail: String, advice: &'static str) -> Self {
        Self { trouble: Trouble::Lasting, detail, advice }
    }

    fn not_reached(error: &FetchError) -> Self {
        Self::passing(error.to_string())
    }
}

/// What an answer says, as far as it is JSON.
fn json_of(response: &FetchResponse) -> Option<Value> {
    serde_json::from_slice(&response.body).ok()
}

/// The status, and Google's own words. Its APIs say `{"error":{"status","message"}}`, its token endpoint
/// `{"error","error_description"}`.
fn said(response: &FetchResponse) -> String {
    let mut detail = format!("Google answered {}", response.status);
    let Some(json) = json_of(response) else {
        detail += if response.body.is_empty() { " without a body" } else { " with a body that is not JSON" };
        return detail;
    };
    let error = json.get("error").unwrap_or(&Value::Null);
    let (name, message) = match error.as_str() {
        Some(name) => (Some(name), json.get("error_description")),
        None => (error.get("status").and_then(Value::as_str), error.get("message")),
    };
    if let Some(name) = name {
        detail += &format!(", {}", tidy(name));
    }
    if let Some(message) = message.and_then(Value::as_str) {
        detail += &format!(": {}", tidy(message));
    }
    detail
}

/// A text of the other side as a log line can carry it.
fn tidy(text: &str) -> String {
    let kept = text.chars().filter(|sign| !sign.is_control()).take(limits::GOOGLE_MESSAGE_CHARS_MAX);
    kept.collect::<String>().trim_end_matches(['.', ' ']).to_owned()
}

#[cfg(test)]
mod tests;
