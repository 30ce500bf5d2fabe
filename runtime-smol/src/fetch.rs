//! The outgoing HTTP client: one request, one answer, and an exact word on what went wrong.
//!
//! `surf` is the facade, with a backend of our own on smol and rustls. The codec below it, `async-h1`, never faces the
//! network: a response is framed, bounded and checked first, and the codec gets one complete message from memory. That
//! removes what makes it unsafe alone: cut bodies that look whole, interim answers taken as final, panics on header
//! values outside ASCII, and a chunked decoder that can wait for ever.
//!
//! Nothing is retried, redirected or decompressed here. A request is written to one connection at most: whether it may
//! be repeated is the caller's decision (W7), and [`FetchError`] says what it needs to know for it.

mod backend;
mod connect;
mod exchange;
mod pool;
mod response;

use crate::spawner::panic_text;
use backend::{Backend, Budget, ReceivedHead};
use bytes::Bytes;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::limits::{CONNECT_TIME, FETCH_IDLE_TIME, RESPONSE_HEAD_TIME, TRANSFER_STALL_TIME};
use connect::causes;
use core::time::Duration;
use futures_util::FutureExt as _;
use http_types::Url;
use rustls::pki_types::CertificateDer;
use smol::io::Cursor;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// Deadlines and trust of a [`Client`]. A request's own timeout covers them all.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// For finding the address, TCP and TLS together.
    pub connect_time: Duration,
    /// From the written request to the head of its answer.
    pub head_time: Duration,
    /// Without a byte, while a request is written or a body is read.
    pub stall_time: Duration,
    /// A kept connection is used again within this.
    pub idle_time: Duration,
    /// Root certificates trusted besides the bundled and the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_time: CONNECT_TIME,
            head_time: RESPONSE_HEAD_TIME,
            stall_time: TRANSFER_STALL_TIME,
            idle_time: FETCH_IDLE_TIME,
            extra_roots: Vec::new(),
        }
    }
}

/// The HTTP client. Cloning it shares its connections.
#[derive(Clone, Debug)]
pub struct Client {
    surf: surf::Client,
}

impl Client {
    /// A client without connections. Reads the system's root certificates, so it blocks; a root that cannot be read is
    /// logged and not trusted.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self { surf: surf::Client::with_http_client(Backend::new(settings)) }
    }

    /// As [`Self::fetch`], and a panic is an answer too: who asked goes on.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch`]; a panic is ambiguous, for the request may have got far enough to be acted upon.
    pub async fn fetch_guarded(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let result = AssertUnwindSafe(self.fetch(request)).catch_unwind().await;
        result
            .unwrap_or_else(|panic| Err(FetchError::Ambiguous(format!("the client panicked: {}", panic_text(&*panic)))))
    }

    /// Sends a request and reads its whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`FetchError::NotSent`] when nothing of the request was written: it is not valid, or no connection came about.
    /// [`FetchError::NotAllowed`] when the host has no address that the request may go to.
    /// [`FetchError::Ambiguous`] for everything after. The texts hold no credentials and no path.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let request = prepare(request).map_err(|cause| FetchError::NotSent(cause.to_owned()))?;
        let unusable = |error: surf::Error| {
            let known = error.downcast::<FetchError>();
            known.unwrap_or_else(|error| FetchError::Ambiguous(format!("codec: {}", causes(error.as_ref()))))
        };
        let mut response = self.surf.send(request).await.map_err(unusable)?;
        let body = Bytes::from(response.body_bytes().await.map_err(unusable)?);
        let response: &mut http_types::Response = response.as_mut();
        match response.ext_mut().remove::<ReceivedHead>() {
            Some(ReceivedHead { status, headers }) => Ok(FetchResponse { status, headers, body }),
            None => Err(FetchError::Ambiguous("the codec lost the head of the answer".to_owned())),
        }
    }
}

/// Checks a request and puts it into the facade's terms.
fn prepare(request: FetchRequest) -> Result<surf::Request, &'static str> {
    request.check()?;
    let due = Instant::now().checked_add(request.timeout).ok_or("the timeout is longer than the clock can count")?;
    let url = Url::parse(&request.url).map_err(|_| "the URL is not valid")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds credentials; they belong into the authorization");
    }
    let mut prepared = surf::Request::new(method(request.method), url);
    let http: &mut http_types::Request = prepared.as_mut();
    let (response_bytes_max, public_only) = (request.response_bytes_max, request.public_only);
    http.ext_mut().insert(Budget { due, response_bytes_max, public_only });
    if !request.body.is_empty() {
        let length = request.body.len();
        http.set_body(http_types::Body::from_reader(Cursor::new(request.body.clone()), Some(length)));
        http.remove_header("content-type");
    }
    for (name, value) in request.lines() {
        http.append_header(name, value);
    }
    Ok(prepared)
}

fn method(method: Method) -> http_types::Method {
    match method {
        Method::Get => http_types::Method::Get,
        Method::Head => http_types::Method::Head,
        Method::Post => http_types::Method::Post,
        Method::Put => http_types::Method::Put,
        Method::Delete => http_types::Method::Delete,
        Method::Options => http_types::Method::Options,
        Method::Patch => http_types::Method::Patch,
    }
}

#[cfg(test)]
mod tests;
