//! HTTP that we ask of others, as plain values: the runtime's client performs it and classifies what went wrong.

use crate::http::{Headers, Method};
use crate::secret::Secret;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

/// A request for the runtime's HTTP client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// GET or POST.
    pub method: Method,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Header lines without secrets, such as `content-type`.
    pub headers: Vec<(&'static str, String)>,
    /// The value of the `authorization` header; never logged.
    pub authorization: Option<Secret>,
    /// The body.
    pub body: Bytes,
    /// The answer is due within this time, connecting included.
    pub timeout: Duration,
    /// A longer answer is refused; in bytes.
    pub response_bytes_max: usize,
    /// Connect to public addresses only ([`crate::http::address::is_public`]), whatever the host's name resolves to:
    /// the URL came from the other side (T2).
    pub public_only: bool,
}

/// What came back, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponse {
    /// The status code.
    pub status: u16,
    /// The header lines.
    pub headers: Headers,
    /// The whole body.
    pub body: Bytes,
}

/// Why nothing came back. The difference decides whether a request that changes something may be repeated (W7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Not one byte of the request reached the other side: no address, refused, TLS failed.
    NotSent(String),
    /// It may have been received and acted upon: a timeout, a cut, an answer that cannot be read.
    Ambiguous(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(cause) => write!(f, "the request could not be sent: {cause}"),
            Self::Ambiguous(cause) => write!(f, "no usable answer: {cause}"),
        }
    }
}

impl core::error::Error for FetchError {}
