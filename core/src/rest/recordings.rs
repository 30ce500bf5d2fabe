//! Recordings (T2, T8): their audio, the one redirect that is followed to it, and the list of a call's recordings.

use super::{Answer, Body, look_up_call, number};
use crate::audio::Kind;
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::http::Method;
use crate::limits;
use crate::secret::Secret;
use crate::sid::{AccountSid, CallSid, RecordingSid};
use crate::store::RecordingState;
use crate::time::UnixMillis;
use bytes::Bytes;
use core::time::Duration;
use serde_json::Value;

/// Asks for a recording as WAV. Its URL is made of names that were checked, never taken from a webhook: what is signed
/// in with our token must go to Twilio.
#[must_use]
pub fn recording_audio(
    base: &str,
    account: AccountSid,
    recording: RecordingSid,
    authorization: Secret,
) -> FetchRequest {
    download(format!("{base}/2010-04-01/Accounts/{account}/Recordings/{recording}.wav"), Some(authorization))
}

/// Follows a redirect to where a recording is kept: without credentials, and to a public address only.
#[must_use]
pub fn recording_redirected(storage: &StorageUrl) -> FetchRequest {
    FetchRequest { public_only: true, ..download(storage.0.expose().to_owned(), None) }
}

fn download(url: String, authorization: Option<Secret>) -> FetchRequest {
    FetchRequest {
        method: Method::Get,
        url,
        headers: Vec::new(),
        authorization,
        body: Bytes::new(),
        timeout: limits::RECORDING_TIME,
        response_bytes_max: limits::RECORDING_BYTES_MAX,
        public_only: false,
    }
}

/// An `https` URL without credentials, to which Twilio redirects for a recording. Secret, because whoever has it may
/// have the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageUrl(Secret);

impl StorageUrl {
    /// Reads a `location` header; `None` for anything that is not followed.
    #[must_use]
    pub fn parse(location: &str) -> Option<Self> {
        const SCHEME: &str = "https://";
        let (scheme, rest) = location.split_at_checked(SCHEME.len())?;
        let host = rest.split(['/', '?', '#', '\\']).next().filter(|host| !host.is_empty() && !host.contains('@'));
        let fits = scheme.eq_ignore_ascii_case(SCHEME) && location.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && host.is_some()).then(|| Self(Secret::new(location)))
    }
}

/// Who was asked for the audio of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Twilio, with [`recording_audio`].
    Twilio,
    /// Where Twilio redirected to, with [`recording_redirected`].
    Storage,
}

/// What became of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadOutcome {
    /// The audio, a WAV or MP3 file.
    Ready(Bytes),
    /// Twilio keeps it elsewhere: ask [`recording_redirected`].
    Redirect(StorageUrl),
    /// There is no audio yet (404, 409, 425, or 2xx without audio in it): normal right after a recording.
    NotYet,
    /// There is none and never will be: deleted, or nothing was recorded.
    Gone,
    /// The auth token is wrong (401): try the next one.
    Unauthorized,
    /// Every other refusal (403, 400, a redirect that is not followed or leads to no public address): a person has to
    /// act.
    Forbidden,
    /// Twilio or the network is in trouble: try again.
    Outage {
        /// How long the other side asks to be left alone.
        after: Option<Duration>,
    },
}

/// Classifies the answer to a request for audio. After a redirect there is no other one, and no token that could be
/// wrong.
#[must_use]
pub fn download_outcome(
    asked: Keeper,
    now: UnixMillis,
    result: &Result<FetchResponse, FetchError>,
) -> Answer<DownloadOutcome> {
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            let outcome = match error {
                FetchError::NotAllowed(_) => DownloadOutcome::Forbidden,
                FetchError::NotSent(_) | FetchError::Ambiguous(_) => DownloadOutcome::Outage { after: None },
            };
            return Answer { outcome, detail: error.to_string() };
        }
    };
    if (200..300).contains(&response.status) && Kind::of(&response.body).is_some() {
        let detail = format!("{} answered {} with {} bytes", asked.name(), response.status, response.body.len());
        return Answer { outcome: DownloadOutcome::Ready(response.body.clone()), detail };
    }
    let body = Body::read(response);
    let state = body.text("status").filter(|_| asked == Keeper::Twilio).map(state);
    let outcome = match (response.status, asked) {
        (401, Keeper::Twilio) => DownloadOutcome::Unauthorized,
        (410, _) => DownloadOutcome::Gone,
        (200..=499, _) if state == Some(RecordingState::Absent) => DownloadOutcome::Gone,
        // Nothing, or a page, where audio should be: it may come to be, but not for days.
        (200..=299 | 404 | 409 | 425, _) => DownloadOutcome::NotYet,
        (301 | 302 | 303 | 307 | 308, Keeper::Twilio) => redirect(response),
        (408 | 429 | 500.., _) => DownloadOutcome::Outage { after: response.retry_after(now) },
        _ => DownloadOutcome::Forbidden,
    };
    let mut detail = body.detail_of(asked.name(), response);
    if (300..=399).contains(&response.status) && outcome == DownloadOutcome::Forbidden {
        detail += ", a redirect that is not followed: only the first one is, and only to https";
    }
    Answer { outcome, detail }
}

fn redirect(response: &FetchResponse) -> DownloadOutcome {
    let storage = response.headers.get("location").and_then(StorageUrl::parse);
    storage.map_or(DownloadOutcome::Forbidden, DownloadOutcome::Redirect)
}

impl Keeper {
    const fn name(self) -> &'static str {
        match self {
            Self::Twilio => super::TWILIO,
            Self::Storage => "the storage of the recording",
        }
    }
}

/// Asks which recordings a call has (T8).
#[must_use]
pub fn recordings_of_call(base: &str, account: AccountSid, call: CallSid, authorization: Secret) -> FetchRequest {
    let most = limits::RECORDINGS_LISTED_MAX;
    FetchRequest {
        url: format!("{base}/2010-04-01/Accounts/{account}/Calls/{call}/Recordings.json?PageSize={most}"),
        ..look_up_call(base, account, call, authorization)
    }
}

/// A recording that a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecording {
    /// Which.
    pub recording: RecordingSid,
    /// Whether there is audio to fetch; one that Twilio still works on is in progress.
    pub state: RecordingState,
    /// How long it is, where Twilio knows already.
    pub duration_seconds: Option<u64>,
}

/// What a look-up of a call's recordings found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingsOutcome {
    /// These, at most [`limits::RECORDINGS_LISTED_MAX`]; there may be none.
    Found(Vec<FoundRecording>),
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

/// Classifies the answer to [`recordings_of_call`].
#[must_use]
pub fn recordings_outcome(result: &Result<FetchResponse, FetchError>) -> Answer<RecordingsOutcome> {
    match result {
        Err(error) => Answer { outcome: RecordingsOutcome::Failed { retry: true }, detail: error.to_string() },
        Ok(response) => {
            let body = Body::read(response);
            let outcome = match response.status {
                200..=299 => match body.json.as_ref().and_then(|json| json.get("recordings")?.as_array()) {
                    Some(listed) => RecordingsOutcome::Found(found(listed)),
                    None => RecordingsOutcome::Failed { retry: true },
                },
                404 | 410 => RecordingsOutcome::NotFound,
                401 => RecordingsOutcome::Unauthorized,
                408 | 409 | 429 | 500.. => RecordingsOutcome::Failed { retry: true },
                _ => RecordingsOutcome::Failed { retry: false },
            };
            Answer { outcome, detail: body.detail_of(super::TWILIO, response) }
        }
    }
}

/// The recordings of a list; an entry without a name that can be asked for is left out.
fn found(listed: &[Value]) -> Vec<FoundRecording> {
    let read = |entry: &Value| {
        Some(FoundRecording {
            recording: entry.get("sid")?.as_str()?.parse().ok()?,
            state: state(entry.get("status").and_then(Value::as_str).unwrap_or_default()),
            duration_seconds: entry.get("duration").and_then(number),
        })
    };
    listed.iter().filter_map(read).take(limits::RECORDINGS_LISTED_MAX).collect()
}

/// REST knows more states than webhooks. A state that is not documented may still become one that is.
fn state(text: &str) -> RecordingState {
    match text {
        "completed" => RecordingState::Completed,
        "absent" | "deleted" | "failed" => RecordingState::Absent,
        _ => RecordingState::InProgress,
    }
}

#[cfg(test)]
mod tests;
