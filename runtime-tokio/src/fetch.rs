//! The outgoing HTTP client: one request, one answer, and an exact word on what went wrong.
//!
//! `reqwest` does it, with everything switched off that would do more than was asked: no proxy, no redirect, no repeat, no
//! cookie, no decompression. What it does not tell is found out here: whether anything of a request was written
//! (`exchange`), that an answer's length is known and what it says (`response`), and which addresses may be
//! connected to (`connect`).
//!
//! Nothing is retried, redirected or decompressed here. A request is written to one connection at most: whether it may
//! be repeated is the caller's decision (W7), and [`FetchError`] says what it needs to know for it.
//!
//! What the other server's client does and this one cannot: bound interim answers by number (their time is bounded), tell
//! a connection that closed in a head from one that closed before it, and bound kept connections in total (they are per
//! host).

mod connect;
mod exchange;
mod response;

use crate::spawner::panic_text;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::limits::{CONNECT_TIME, FETCH_IDLE_TIME, RESPONSE_HEAD_TIME, TRANSFER_STALL_TIME};
use connect::{Origin, not_connected};
use core::time::Duration;
use exchange::{Deadlines, Progress, RequestBody, in_time};
use futures_util::FutureExt as _;
use http::HeaderValue;
use reqwest::Url;
use response::{BadResponse, read};
use rustls::pki_types::CertificateDer;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;

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
    /// Connects to every address.
    anywhere: reqwest::Client,
    /// Connects to public addresses only: a connection that was made without that care does not lead there.
    public: reqwest::Client,
    settings: Arc<ClientSettings>,
}

impl Client {
    /// A client without connections. Reads the system's root certificates, so it blocks; a root that cannot be read is
    /// logged and not trusted.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        let tls = connect::tls(settings.extra_roots.clone());
        let [anywhere, public] = [false, true].map(|public_only| connect::client(&settings, tls.clone(), public_only));
        Self { anywhere, public, settings: Arc::new(settings) }
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
        let not_sent = |cause: &str| FetchError::NotSent(cause.to_owned());
        let progress = Progress::new();
        let Prepared { request, origin, deadlines, bytes_max, public_only } =
            self.prepare(request, &progress).map_err(not_sent)?;
        if public_only {
            origin.check_literal()?;
        }
        let client = if public_only { &self.public } else { &self.anywhere };
        let is_head = *request.method() == http::Method::HEAD;
        let exchange = async {
            let response = client.execute(request).await.map_err(Failure::Client)?;
            progress.reads();
            read(response, is_head, bytes_max, &progress).await
        };
        let ambiguous = |cause: String| FetchError::Ambiguous(format!("{origin}: {cause}"));
        match in_time(exchange, &progress, deadlines).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Failure::Client(error))) if !progress.has_begun() => Err(not_connected(&origin, &error)),
            Ok(Err(Failure::Client(error))) => Err(ambiguous(response::explain(&progress, &error))),
            Ok(Err(Failure::Bad(bad))) => Err(ambiguous(bad.to_string())),
            Err(late) if !progress.has_begun() => {
                Err(FetchError::NotSent(format!("connect to {}: {late}", origin.authority())))
            }
            Err(late) => Err(ambiguous(late.to_string())),
        }
    }

    /// Checks a request and puts it into the library's terms.
    fn prepare(&self, request: FetchRequest, progress: &Progress) -> Result<Prepared, &'static str> {
        request.check()?;
        let due =
            Instant::now().checked_add(request.timeout).ok_or("the timeout is longer than the clock can count")?;
        let url = Url::parse(&request.url).map_err(|_| "the URL is not valid")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL holds credentials; they belong into the authorization");
        }
        let origin = Origin::of(&url).ok_or("the URL is neither http nor https")?;
        let mut prepared = reqwest::Request::new(method(request.method), url);
        for (name, value) in request.lines() {
            let name = name.parse::<http::HeaderName>().map_err(|_| "a header name is not a token")?;
            let mut value = HeaderValue::from_str(value).map_err(|_| "a header value holds a control character")?;
            value.set_sensitive(name == http::header::AUTHORIZATION);
            prepared.headers_mut().append(name, value);
        }
        *prepared.body_mut() = Some(reqwest::Body::wrap(RequestBody::new(request.body, progress.clone())));
        let ClientSettings { connect_time, head_time, stall_time, .. } = *self.settings;
        Ok(Prepared {
            request: prepared,
            origin,
            deadlines: Deadlines { due, connect_time, head_time, stall_time },
            bytes_max: request.response_bytes_max,
            public_only: request.public_only,
        })
    }
}

/// A request that is valid, and what is allowed to it.
struct Prepared {
    request: reqwest::Request,
    origin: Origin,
    deadlines: Deadlines,
    bytes_max: usize,
    public_only: bool,
}

/// Why there is no answer that can be used.
#[derive(Debug)]
enum Failure {
    /// The library says so.
    Client(reqwest::Error),
    /// We do.
    Bad(BadResponse),
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
        Method::Options => http::Method::OPTIONS,
        Method::Patch => http::Method::PATCH,
    }
}

#[cfg(test)]
mod tests;
