//! HTTP that we ask of others, as plain values: the runtime's client performs it and classifies what went wrong.

use crate::http::{Headers, Method, date};
use crate::limits;
use crate::secret::Secret;
use crate::time::UnixMillis;
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

/// The header lines that the client writes itself; a request that brings one is refused.
const OWN_HEADERS: [&str; 8] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
];

/// On every request.
const CLIENT_HEADERS: [(&str, &str); 2] =
    [("accept-encoding", "identity"), ("user-agent", concat!("callwarden/", env!("CARGO_PKG_VERSION")))];

impl FetchRequest {
    /// Every header line but those of the connection and the body: the request's own, and those that say who asks and
    /// what is understood.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let authorization = self.authorization.iter().map(|value| ("authorization", value.expose()));
        let is_accept = |(name, _): &(&str, String)| name.eq_ignore_ascii_case("accept");
        let accept = (!self.headers.iter().any(is_accept)).then_some(("accept", "*/*"));
        own.chain(authorization).chain(accept).chain(CLIENT_HEADERS)
    }

    /// Checks what a client would have to write. A line break would split the request.
    ///
    /// # Errors
    /// What is wrong, without showing it: it may be a secret.
    pub fn check(&self) -> Result<(), &'static str> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_text = |value: &str| value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        for (name, value) in &self.headers {
            if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err("a header line is one that the client writes itself");
            }
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err("a header name is not a token");
            }
            if !is_text(value) {
                return Err(NOT_TEXT);
            }
        }
        match &self.authorization {
            Some(authorization) if !is_text(authorization.expose()) => Err(NOT_TEXT),
            Some(_) | None => Ok(()),
        }
    }
}

const NOT_TEXT: &str = "a header value holds a control character or text outside ASCII";

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

impl FetchResponse {
    /// How long the other side asks to be left alone: `retry-after-ms`, else `retry-after` as seconds or as a date. A
    /// wait beyond [`limits::RETRY_AFTER_MAX`], and one that is over, count as none.
    #[must_use]
    pub fn retry_after(&self, now: UnixMillis) -> Option<Duration> {
        let number = |name| self.headers.get(name).and_then(|value| value.trim().parse::<f64>().ok());
        let seconds = number("retry-after-ms").map(|millis| millis / 1_000.0).or_else(|| number("retry-after"));
        let wait = match seconds {
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
            None => {
                let until = date::parse(self.headers.get("retry-after")?)?;
                Duration::from_millis(u64::try_from(until.0.saturating_sub(now.0)).ok()?)
            }
        };
        (Duration::ZERO < wait && wait <= limits::RETRY_AFTER_MAX).then_some(wait)
    }
}

/// Why nothing came back. The difference decides whether a request that changes something may be repeated (W7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// Not one byte of the request reached the other side: no address, refused, TLS failed.
    NotSent(String),
    /// Nothing was sent either, and no wait helps: the host has no address that the request may go to
    /// ([`FetchRequest::public_only`]).
    NotAllowed(String),
    /// It may have been received and acted upon: a timeout, a cut, an answer that cannot be read.
    Ambiguous(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(cause) => write!(f, "the request may not be sent: {cause}"),
            Self::NotSent(cause) => write!(f, "the request could not be sent: {cause}"),
            Self::Ambiguous(cause) => write!(f, "no usable answer: {cause}"),
        }
    }
}

impl core::error::Error for FetchError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> FetchRequest {
        FetchRequest {
            method: Method::Post,
            url: "http://127.0.0.1:1/path?query=1".to_owned(),
            headers: vec![("content-type", "text/plain".to_owned())],
            authorization: None,
            body: Bytes::new(),
            timeout: Duration::from_secs(1),
            response_bytes_max: 100,
            public_only: false,
        }
    }

    #[test]
    fn the_lines_are_the_requests_own_the_secret_and_who_asks_for_what() {
        let client = [("accept-encoding", "identity"), ("user-agent", CLIENT_HEADERS[1].1)];
        let plain = request();
        let any = [("content-type", "text/plain"), ("accept", "*/*")];
        assert_eq!(plain.lines().collect::<Vec<_>>(), [&any[..], &client].concat());
        let headers = vec![("Accept", "application/json".to_owned())];
        let asks = FetchRequest { headers, authorization: Some(Secret::new("Basic x")), ..request() };
        let own = [("Accept", "application/json"), ("authorization", "Basic x")];
        assert_eq!(asks.lines().collect::<Vec<_>>(), [&own[..], &client].concat());
    }

    #[test]
    fn a_header_that_would_split_the_request_is_refused_without_showing_a_secret() {
        assert_eq!(request().check(), Ok(()));
        let authorization = Some(Secret::new("Basic top-secret"));
        assert_eq!(FetchRequest { authorization, ..request() }.check(), Ok(()));
        for value in ["a\r\nx-injected: 1", "a\nb", "a\rb", "a\0", "שלום"] {
            let headers = vec![("x-name", value.to_owned())];
            assert!(FetchRequest { headers, ..request() }.check().is_err_and(|cause| cause.contains("header value")));
            let authorization = Some(Secret::new(format!("Basic top-secret {value}")));
            let refused = FetchRequest { authorization, ..request() }.check();
            assert!(refused.is_err_and(|cause| cause.contains("header value") && !cause.contains("top-secret")));
        }
    }

    #[test]
    fn a_header_of_the_client_itself_and_a_name_that_is_no_token_are_refused() {
        for name in OWN_HEADERS.into_iter().chain(["Host", "Content-Length"]) {
            let cause = FetchRequest { headers: vec![(name, "1".to_owned())], ..request() }.check().unwrap_err();
            assert!(cause.contains("client writes itself"), "{name}: {cause}");
        }
        for name in ["", "a b", "a:", "a\r\nb", "שם"] {
            let cause = FetchRequest { headers: vec![(name, "1".to_owned())], ..request() }.check().unwrap_err();
            assert!(cause.contains("not a token"), "{name:?}: {cause}");
        }
    }

    const NOW: UnixMillis = UnixMillis(784_111_777_250);

    fn asked(lines: &[(&str, &str)]) -> Option<Duration> {
        let headers = lines.iter().copied().collect();
        FetchResponse { status: 429, headers, body: Bytes::new() }.retry_after(NOW)
    }

    #[test]
    fn a_wait_is_asked_for_in_milliseconds_seconds_or_by_a_date() {
        for (lines, millis) in [
            (&[("retry-after", "7")][..], 7_000),
            (&[("Retry-After", " 0.5 ")], 500),
            (&[("retry-after-ms", "1500"), ("retry-after", "7")], 1_500),
            (&[("retry-after-ms", "soon"), ("retry-after", "7")], 7_000),
            (&[("retry-after", "120")], 120_000),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], 2_750),
        ] {
            assert_eq!(asked(lines), Some(Duration::from_millis(millis)), "{lines:?}");
        }
    }

    #[test]
    fn a_wait_that_is_over_too_long_or_unreadable_is_none() {
        for value in ["0", "-1", "120.001", "1e300", "inf", "NaN", "", "soon", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(asked(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:51:38 GMT")]), None);
        assert_eq!(asked(&[("retry-after-ms", "-1"), ("retry-after", "7")]), None);
        assert_eq!(asked(&[]), None);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_limit(value in "[0-9.e+-]{0,12}|.{0,20}", millis: i64) {
            let headers = [("retry-after", value)].into_iter().collect();
            let answer = FetchResponse { status: 503, headers, body: Bytes::new() };
            let wait = answer.retry_after(UnixMillis(millis)).unwrap_or(limits::RETRY_AFTER_MAX);
            prop_assert!(wait <= limits::RETRY_AFTER_MAX && !wait.is_zero());
        }
    }
}
