//! Twilio's REST API as data: the requests that move or look up a live call or fetch its recordings, and what their
//! answers mean (W7, W11, T2).

mod recordings;

pub use recordings::{
    DownloadOutcome, FoundRecording, Keeper, RecordingsOutcome, StorageUrl, download_outcome, recording_audio,
    recording_redirected, recordings_of_call, recordings_outcome,
};

use crate::config::TwilioAccount;
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::form;
use crate::http::Method;
use crate::limits;
use crate::secret::Secret;
use crate::sid::{AccountSid, CallSid};
use crate::store::CallStatus;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::time::Duration;
use serde_json::Value;

/// Twilio's error for a call that is not in progress: it ended, or is not answered yet.
const CALL_NOT_IN_PROGRESS: u64 = 21_220;
const REQUEST_ID: &str = "twilio-request-id";
/// Who answers, in a detail.
const TWILIO: &str = "Twilio";

/// The `authorization` header with the `nth` auth token, from 0; `None` when there are not so many (W7: a 401 is
/// tried again with the next one). The user is always the configured account, also for calls of its sub-accounts.
#[must_use]
pub fn authorization(account: &TwilioAccount, nth: usize) -> Option<Secret> {
    let token = account.auth_tokens.get(nth)?;
    Some(Secret::new(format!("Basic {}", STANDARD.encode(format!("{}:{}", account.sid, token.expose())))))
}

/// Gives a live call new TwiML. `account` is the one of the signed webhook, `twiml` a document below
/// [`limits::REST_TWIML_CHARS_MAX`] whose URLs are absolute.
#[must_use]
pub fn update_call(base: &str, account: AccountSid, call: CallSid, authorization: Secret, twiml: &str) -> FetchRequest {
    FetchRequest {
        method: Method::Post,
        headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
        body: form::encode([("Twiml", twiml)]).into(),
        ..look_up_call(base, account, call, authorization)
    }
}

/// Asks how a call is. Twilio's answer may lag behind: it is asked when nothing else is known, never polled.
#[must_use]
pub fn look_up_call(base: &str, account: AccountSid, call: CallSid, authorization: Secret) -> FetchRequest {
    FetchRequest {
        method: Method::Get,
        url: format!("{base}/2010-04-01/Accounts/{account}/Calls/{call}.json"),
        headers: Vec::new(),
        authorization: Some(authorization),
        body: bytes::Bytes::new(),
        timeout: limits::REST_TIME,
        response_bytes_max: limits::REST_BYTES_MAX,
        public_only: false,
    }
}

/// What became of an update (W7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// Twilio took it.
    Accepted,
    /// It was not acted upon for sure (connect failed, 409, 429): try again.
    NotDelivered,
    /// It may have been acted upon (timeout, cut, 408, 5xx): look for signs before trying again.
    Ambiguous,
    /// Twilio says there is no such call in progress (21220, 404, 410): believed only when something else agrees.
    CallGone,
    /// The auth token is wrong (401): try the next one.
    Unauthorized,
    /// Every other refusal (400, 403, a redirect, …): the configuration is wrong and no repetition helps.
    Misconfigured,
}

/// What a look-up found (W11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUpOutcome {
    /// The call is over.
    Over {
        /// A terminal status.
        status: CallStatus,
        /// How long the call was, where Twilio knows already.
        duration: Option<Duration>,
    },
    /// The call is not over.
    Alive,
    /// Twilio knows no such call.
    NotFound,
    /// The auth token is wrong: try the next one.
    Unauthorized,
    /// Nothing was learnt.
    Failed {
        /// Whether another try may learn more.
        retry: bool,
    },
}

/// An outcome and its story for the log: status, Twilio's code, message and request id; never a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// What it means.
    pub outcome: T,
    /// What happened, for people.
    pub detail: String,
}

/// Classifies the answer to [`update_call`].
#[must_use]
pub fn update_outcome(result: &Result<FetchResponse, FetchError>) -> Answer<UpdateOutcome> {
    match result {
        Err(error) => Answer {
            outcome: match error {
                FetchError::NotSent(_) | FetchError::NotAllowed(_) => UpdateOutcome::NotDelivered,
                FetchError::Ambiguous(_) => UpdateOutcome::Ambiguous,
            },
            detail: error.to_string(),
        },
        Ok(response) => {
            let body = Body::read(response);
            let outcome = match response.status {
                200..=299 => UpdateOutcome::Accepted,
                400..=499 if body.code == Some(CALL_NOT_IN_PROGRESS) => UpdateOutcome::CallGone,
                404 | 410 => UpdateOutcome::CallGone,
                401 => UpdateOutcome::Unauthorized,
                409 | 429 => UpdateOutcome::NotDelivered,
                408 | 500.. => UpdateOutcome::Ambiguous,
                _ => UpdateOutcome::Misconfigured,
            };
            Answer { outcome, detail: body.detail_of(TWILIO, response) }
        }
    }
}

/// Classifies the answer to [`look_up_call`].
#[must_use]
pub fn look_up_outcome(result: &Result<FetchResponse, FetchError>) -> Answer<LookUpOutcome> {
    match result {
        Err(error) => Answer { outcome: LookUpOutcome::Failed { retry: true }, detail: error.to_string() },
        Ok(response) => {
            let body = Body::read(response);
            let outcome = match response.status {
                200..=299 => body.call(),
                404 | 410 => LookUpOutcome::NotFound,
                401 => LookUpOutcome::Unauthorized,
                408 | 409 | 429 | 500.. => LookUpOutcome::Failed { retry: true },
                _ => LookUpOutcome::Failed { retry: false },
            };
            Answer { outcome, detail: body.detail_of(TWILIO, response) }
        }
    }
}

/// What a body says, as far as it is JSON: gateways answer with pages, and errors may lack a code.
struct Body {
    json: Option<Value>,
    code: Option<u64>,
}

impl Body {
    fn read(response: &FetchResponse) -> Self {
        let json: Option<Value> = serde_json::from_slice(&response.body).ok();
        let code = json.as_ref().and_then(|json| number(json.get("code")?));
        Self { json, code }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.json.as_ref()?.get(name)?.as_str()
    }

    /// A status that is unknown or missing teaches nothing.
    fn call(&self) -> LookUpOutcome {
        match self.text("status").and_then(CallStatus::from_twilio) {
            None => LookUpOutcome::Failed { retry: true },
            Some(status) if status.is_terminal() => {
                let seconds = self.json.as_ref().and_then(|json| number(json.get("duration")?));
                LookUpOutcome::Over { status, duration: seconds.map(Duration::from_secs) }
            }
            Some(_) => LookUpOutcome::Alive,
        }
    }

    fn detail_of(&self, who: &str, response: &FetchResponse) -> String {
        let mut detail = format!("{who} answered {}", response.status);
        if let Some(code) = self.code {
            detail += &format!(", code {code}");
        }
        match (&self.json, self.text("message")) {
            (Some(_), Some(message)) => detail += &format!(": {}", tidy(message)),
            (Some(_), None) => {}
            (None, _) if response.body.is_empty() => detail += " without a body",
            (None, _) => detail += " with a body that is not JSON",
        }
        if let Some(id) = response.headers.get(REQUEST_ID) {
            detail += &format!(" (request {})", tidy(id));
        }
        detail
    }
}

/// Twilio writes numbers as numbers and as texts.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A text of the other side as a log line can carry it.
pub(crate) fn tidy(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).take(limits::REST_MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
