//! What the API refuses with: a status and `{"error":{"message","type","param","code"}}`.

use crate::fetch::FetchResponse;
use crate::http::Headers;
use crate::limits;
use serde_json::json;

/// A refusal as the API words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The `code`, where there is one.
    pub code: Option<&'static str>,
    /// The field it is about.
    pub param: Option<String>,
    kind: &'static str,
    message: String,
    headers: Headers,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, code, param: None, kind, message: message.into(), headers: Headers::default() }
    }

    /// 400 with this code, about this field.
    pub(super) fn invalid(param: &str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::new(400, "invalid_request_error", code, message) }
    }

    /// 400: the body is not the form it should be.
    #[must_use]
    pub fn bad_form(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", None, message)
    }

    pub(super) fn no_such_url() -> Self {
        Self::new(404, "invalid_request_error", None, "Invalid URL")
    }

    pub(super) fn no_key() -> Self {
        let text = "You didn't provide an API key. You need to provide your API key in an Authorization header using \
            Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
        Self::new(401, "invalid_request_error", None, text)
    }

    pub(super) fn no_such_model(model: &str) -> Self {
        let text = format!("The model `{model}` does not exist or you do not have access to it.");
        Self::new(404, "invalid_request_error", Some("model_not_found"), text)
    }

    /// 400: the file is not what its name says.
    #[must_use]
    pub fn undecodable() -> Self {
        let text = "The audio file could not be decoded or its format is not supported.";
        Self::invalid("file", Some("invalid_value"), text)
    }

    /// 400: the audio is shorter than [`limits::FAR_END_AUDIO_TIME_MIN`].
    #[must_use]
    pub fn too_short() -> Self {
        let text = "Audio file is too short. Minimum audio length is 0.1 seconds.";
        Self::invalid("file", Some("audio_too_short"), text)
    }

    /// 401: a key the API does not know.
    #[must_use]
    pub fn wrong_key() -> Self {
        Self::new(401, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided: ***.")
    }

    /// 408.
    #[must_use]
    pub fn timed_out() -> Self {
        Self::new(408, "invalid_request_error", None, "The request timed out.")
    }

    /// 409.
    #[must_use]
    pub fn conflict() -> Self {
        Self::new(409, "invalid_request_error", None, "The request conflicts with another one.")
    }

    /// 413: a body of so many bytes.
    #[must_use]
    pub fn too_large(bytes: usize) -> Self {
        let max = limits::FAR_END_UPLOAD_BYTES_MAX;
        let text = format!("Maximum content size limit ({max}) exceeded ({bytes} bytes read)");
        Self::new(413, "server_error", None, text)
    }

    /// 429: too many requests for the moment.
    #[must_use]
    pub fn rate_limit() -> Self {
        Self::new(429, "requests", Some("rate_limit_exceeded"), "Rate limit reached for requests per minute (RPM).")
    }

    /// 429: nothing is left to pay with.
    #[must_use]
    pub fn quota_spent() -> Self {
        let text = "You exceeded your current quota, please check your plan and billing details.";
        Self::new(429, "insufficient_quota", Some("insufficient_quota"), text)
    }

    /// 500.
    #[must_use]
    pub fn server_error() -> Self {
        Self::new(500, "server_error", None, "The server had an error while processing your request.")
    }

    /// 503.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::new(503, "server_error", None, "The engine is currently overloaded, please try again later.")
    }

    /// Adds a header line: `retry-after`, `retry-after-ms`, `x-should-retry`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    pub(super) fn response(&self) -> FetchResponse {
        let error = json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code });
        let mut response = super::answers::json(self.status, &json!({ "error": error }));
        for (name, value) in self.headers.iter() {
            response.headers.push(name, value);
        }
        response
    }
}
