//! The simulated network: requests as they arrive, and what can become of a webhook or a REST request.

use bytes::Bytes;
use callwarden_core::far_end::rest_refusal;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::{Headers, Method, Request, Response};
use callwarden_core::path;
use serde::{Deserialize, Serialize};
use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::LATENCY;

/// What becomes of a REST request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFault {
    /// It arrives, is acted upon, and its answer comes back.
    None,
    /// The connection is refused.
    NotSent,
    /// Twilio refuses it with this status and code.
    Refused(u16, u32),
    /// It is acted upon, but its answer is lost and the client times out.
    AnswerLost,
    /// A look-up finds the call with this status, whatever the call itself says.
    Found(&'static str),
    /// It is lost on its way and the client times out.
    Lost,
    /// It is acted upon, and its answer comes so much later.
    Slow(Duration),
}

impl RestFault {
    /// Whether Twilio acts on the request.
    pub(super) const fn is_applied(self) -> bool {
        matches!(self, Self::None | Self::AnswerLost | Self::Slow(_))
    }
}

/// A kind of webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as its path")]
pub enum Hook {
    IncomingCall,
    CallStatus,
    StreamStatus,
    StreamEnded,
    HandleRecording,
    RecordingStatus,
}

impl Hook {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::IncomingCall,
        Self::CallStatus,
        Self::StreamStatus,
        Self::StreamEnded,
        Self::HandleRecording,
        Self::RecordingStatus,
    ];

    /// Where it is sent.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::IncomingCall => path::INCOMING_CALL,
            Self::CallStatus => path::CALL_STATUS,
            Self::StreamStatus => path::STREAM_STATUS,
            Self::StreamEnded => path::STREAM_ENDED,
            Self::HandleRecording => path::HANDLE_RECORDING,
            Self::RecordingStatus => path::RECORDING_STATUS,
        }
    }

    /// Whether its answer says what the call does next.
    #[must_use]
    pub const fn asks_for_a_document(self) -> bool {
        matches!(self, Self::IncomingCall | Self::StreamEnded | Self::HandleRecording)
    }

    pub(super) fn of(request: &Request) -> Option<Self> {
        let path = request.path();
        Self::ALL.into_iter().find(|hook| path == hook.path())
    }
}

/// What befalls a webhook. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HookFault {
    /// It finds no connection; Twilio tries again where it is told to.
    Lost,
    /// It arrives so much later.
    Late(u32),
    /// It arrives a second time so much later.
    Twice(u32),
    /// It arrives, and its answer is lost on the way back.
    Unanswered,
}

/// A generator of small numbers (SplitMix64); the same seed gives the same ones. Seed 0 gives none but 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if self.0 == 0 || bound == 0 {
            return 0;
        }
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15).max(1);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// One way of a request or its answer, which no order ties to another's.
    pub(super) fn latency(&mut self) -> Duration {
        LATENCY + Duration::from_millis(self.below(40))
    }
}

/// What the server sees of a REST request, and when.
pub(super) fn rest_result(
    fault: RestFault,
    answer: Option<FetchResponse>,
    request: &FetchRequest,
) -> (Duration, Result<FetchResponse, FetchError>) {
    let answer = answer.unwrap_or_else(|| rest_refusal(404, 20404, "not found"));
    match fault {
        RestFault::None => (LATENCY, Ok(answer)),
        RestFault::Slow(time) => (time, Ok(answer)),
        RestFault::NotSent => (LATENCY, Err(FetchError::NotSent("connection refused".into()))),
        RestFault::Found(status) => {
            let body = format!(r#"{{"status":"{status}","duration":"61"}}"#).into();
            (LATENCY, Ok(FetchResponse { status: 200, headers: Headers::default(), body }))
        }
        RestFault::Refused(status, code) => (LATENCY, Ok(rest_refusal(status, code, "refused"))),
        RestFault::AnswerLost | RestFault::Lost => (request.timeout, Err(FetchError::Ambiguous("timed out".into()))),
    }
}

/// An outgoing request as the server reads it.
pub(super) fn arriving(request: FetchRequest) -> Request {
    let FetchRequest { method, url, headers, body, .. } = request;
    Request { method, body, ..with_headers(&url, headers) }
}

/// A GET of a URL as the server reads it.
pub(super) fn get(url: &str) -> Request {
    with_headers(url, Vec::new())
}

/// An upgrade request as the server reads it.
pub(super) fn upgrade(url: &str, mut headers: Vec<(&'static str, String)>) -> Request {
    headers.extend([("connection", "Upgrade".to_owned()), ("upgrade", "websocket".to_owned())]);
    with_headers(url, headers)
}

fn with_headers(url: &str, headers: Vec<(&'static str, String)>) -> Request {
    let (_, rest) = url.split_once("://").expect("an absolute URL");
    let (host, target) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let target = target.split('#').next().unwrap_or_default();
    Request {
        method: Method::Get,
        target: target.to_owned(),
        headers: iter::once(("host", host.to_owned())).chain(headers).collect(),
        body: Bytes::new(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// An answer as a client reads it.
pub(super) fn fetched(response: Response) -> FetchResponse {
    FetchResponse { status: response.status, headers: response.headers.into_iter().collect(), body: response.body }
}
