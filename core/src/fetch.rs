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
