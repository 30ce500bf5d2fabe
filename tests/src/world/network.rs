//! The simulated network: requests as they arrive, and what can become of a REST request.

use bytes::Bytes;
use callwarden_core::far_end::rest_refusal;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::{Headers, Method, Request, Response};
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
pub(super) fn arriving(request: &FetchRequest) -> Request {
    let mut arrived = get(&request.url);
    arrived.method = request.method;
    arrived.body = request.body.clone();
    for (name, value) in &request.headers {
        arrived.headers.push(*name, value.as_str());
    }
    arrived
}

/// A GET of a URL as the server reads it.
pub(super) fn get(url: &str) -> Request {
    let (_, rest) = url.split_once("://").expect("an absolute URL");
    let (host, target) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let target = target.split('#').next().unwrap_or_default();
    Request {
        method: Method::Get,
        target: target.to_owned(),
        headers: Headers::from_iter([("host", host)]),
        body: Bytes::new(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// An upgrade request as the server reads it.
pub(super) fn upgrade(url: &str, headers: Vec<(&'static str, String)>) -> Request {
    let mut request = get(url);
    for (name, value) in headers {
        request.headers.push(name, value);
    }
    request.headers.push("connection", "Upgrade");
    request.headers.push("upgrade", "websocket");
    request
}

/// An answer as a client reads it.
pub(super) fn fetched(response: &Response) -> FetchResponse {
    FetchResponse {
        status: response.status,
        headers: response.headers.iter().map(|(name, value)| (*name, value.as_str())).collect(),
        body: response.body.clone(),
    }
}
