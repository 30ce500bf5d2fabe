//! Which request heads are refused, and with what answer.
//!
//! A head arrives here already split, so that both runtimes obey the same rules: one splits with [`super::gate`], the
//! other with an HTTP library that is more forgiving than a service behind a proxy may be. Two programs that read one
//! head differently are how requests get smuggled, so whatever RFC 9112 lets a recipient guess at is refused here:
//! a second length, a length beside a transfer coding, a coding other than `chunked`, a second `Host`.

use super::websocket::{self, Upgrade};
use super::{Headers, Method, Response};
use crate::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use core::fmt;

/// The versions that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: one request per connection, `Host` optional, no transfer coding.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// Exactly this many bytes, at least one and at most [`BODY_BYTES_MAX`].
    Length(usize),
    /// In chunks, whose sum the reader holds to [`BODY_BYTES_MAX`].
    Chunked,
}

/// A head that may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is asked.
    pub method: Method,
    /// The request target exactly as received.
    pub target: String,
    /// The header lines.
    pub headers: Headers,
    /// Where the body ends.
    pub body: BodyLength,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// What to answer if the request may become a WebSocket.
    pub upgrade: Option<Upgrade>,
}

/// Why a request was refused before anything looked at what it asks. The connection is closed after the answer, because
/// where the next request starts is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head is not HTTP: a wrong byte, a bare line feed, a folded line, a line without a colon.
    Malformed,
    /// The target is not a path of visible ASCII.
    Target,
    /// No `Host`, more than one, or one that is not a host name.
    Host,
    /// More than one `Content-Length`, one that is not a number, or one beside `Transfer-Encoding`.
    Length,
    /// The chunks of a body are not framed as they must be.
    Chunk,
    /// A WebSocket handshake that RFC 6455 refuses: version, key, or a body.
    Handshake,
    /// The head was not whole within [`crate::limits::HEAD_TIME`].
    HeadLate,
    /// The body was not whole within [`crate::limits::BODY_TIME`].
    BodyLate,
    /// The body is longer than [`BODY_BYTES_MAX`].
    BodyTooLong,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// The head, or the lines after a body in chunks, are longer than [`HEAD_BYTES_MAX`], or the head has more than
    /// [`HEADERS_MAX`] lines.
    HeadTooLong,
    /// A method that is well formed and not served.
    Method,
    /// A transfer coding other than `chunked`.
    Coding,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
}

impl Refusal {
    /// The status code of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::Target | Self::Host | Self::Length | Self::Chunk | Self::Handshake => 400,
            Self::HeadLate | Self::BodyLate => 408,
            Self::BodyTooLong => 413,
            Self::Expectation => 417,
            Self::HeadTooLong => 431,
            Self::Method | Self::Coding => 501,
            Self::Version => 505,
        }
    }

    /// The answer. A refused handshake names the version that is spoken, as RFC 6455 section 4.4 asks.
    #[must_use]
    pub fn response(self) -> Response {
        let response = Response::text(self.status(), format!("{self}\n"));
        if self == Self::Handshake { response.with("sec-websocket-version", websocket::VERSION) } else { response }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the request head is not HTTP/1.1: send ASCII lines that end in CR LF, `Name: value`",
            Self::Target => "the request target is not a path: send an ASCII path that starts with `/`",
            Self::Host => "the request does not name one host: send one `Host` line with a host name",
            Self::Length => "the length of the body is ambiguous: send one `Content-Length` or `chunked`, not both",
            Self::Chunk => "the body is not framed in chunks: send each as its hexadecimal size, CR LF, data, CR LF",
            Self::Handshake => {
                "the WebSocket handshake is not valid: send version 13 and one `Sec-WebSocket-Key` of 16 bytes"
            }
            Self::HeadLate => "the request head did not arrive in time: send it again at once",
            Self::BodyLate => "the request body did not arrive in time: send it again at once",
            Self::BodyTooLong => {
                return write!(f, "the request body is too long: send at most {BODY_BYTES_MAX} bytes");
            }
            Self::Expectation => "the expectation is not known: send `Expect: 100-continue` or none",
            Self::HeadTooLong => {
                return write!(
                    f,
                    "the request head is too long: send at most {HEAD_BYTES_MAX} bytes in {HEADERS_MAX} header lines"
                );
            }
            Self::Method => "the method is not served: send GET, HEAD or POST",
            Self::Coding => "the transfer coding is not served: send `chunked` or a length",
            Self::Version => "the HTTP version is not served: send HTTP/1.1",
        })
    }
}

impl core::error::Error for Refusal {}

/// Judges a head that was split into its parts; header values come without the white space around them.
///
/// # Errors
/// The first rule the head breaks.
pub fn check<'a>(
    method: &[u8],
    target: &[u8],
    version: Version,
    lines: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Head, Refusal> {
    let headers = header_lines(lines)?;
    let method = known_method(method)?;
    let target = path_and_query(target)?;
    one_host(version, &headers)?;
    let body = body_length(version, &headers)?;
    let upgrade = match version {
        Version::Http11 if method == Method::Get => websocket::offer(&headers, body)?,
        Version::Http10 | Version::Http11 => None,
    };
    Ok(Head {
        method,
        target,
        body,
        keep_alive: version == Version::Http11 && !headers.has_token("connection", "close"),
        expects_continue: version == Version::Http11 && expects_continue(&headers)?,
        upgrade,
        headers,
    })
}

/// Whether a byte may stand in a method or a header name.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

/// Whether a byte may stand in a header value. RFC 9110 lets bytes above ASCII pass as opaque; no header that is read
/// here has them, and programs do not agree on what text they are.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

fn header_lines<'a>(lines: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Headers, Refusal> {
    let mut headers = Headers::default();
    for (index, (name, value)) in lines.into_iter().enumerate() {
        if index == HEADERS_MAX {
            return Err(Refusal::HeadTooLong);
        }
        if name.is_empty() || !name.iter().copied().all(is_token_byte) || !value.iter().copied().all(is_value_byte) {
            return Err(Refusal::Malformed);
        }
        headers.push(ascii(name), ascii(value));
    }
    Ok(headers)
}

/// Text of bytes known to be ASCII.
fn ascii(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn known_method(token: &[u8]) -> Result<Method, Refusal> {
    match token {
        b"GET" => Ok(Method::Get),
        b"HEAD" => Ok(Method::Head),
        b"POST" => Ok(Method::Post),
        b"PUT" => Ok(Method::Put),
        b"DELETE" => Ok(Method::Delete),
        b"OPTIONS" => Ok(Method::Options),
        b"PATCH" => Ok(Method::Patch),
        _ if !token.is_empty() && token.iter().copied().all(is_token_byte) => Err(Refusal::Method),
        _ => Err(Refusal::Malformed),
    }
}

/// Only the origin form: an absolute target would override `Host`, and this service is no proxy.
fn path_and_query(target: &[u8]) -> Result<String, Refusal> {
    if target.first() == Some(&b'/') && target.iter().all(u8::is_ascii_graphic) {
        Ok(ascii(target))
    } else {
        Err(Refusal::Target)
    }
}

fn one_host(version: Version, headers: &Headers) -> Result<(), Refusal> {
    let mut hosts = headers.all("host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        (None, None) if version == Version::Http10 => Ok(()),
        (None | Some(_), None | Some(_)) => Err(Refusal::Host),
    }
}

/// Whether `text` is a host name or an address with an optional port, and nothing that a URL would read as a user, a
/// path or a query.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<core::net::Ipv6Addr>().is_ok() => ("address", port),
            Some(_) | None => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let name_is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let port_is_number = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| is_digits(digits) && digits.parse::<u16>().is_ok());
    !name.is_empty() && name_is_plain && port_is_number
}

/// `parse` alone would take a sign.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn body_length(version: Version, headers: &Headers) -> Result<BodyLength, Refusal> {
    let mut codings = headers.all("transfer-encoding");
    let mut lengths = headers.all("content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(BodyLength::None),
        (Some(_), Some(_)) => Err(Refusal::Length),
        // RFC 9112 section 6.1: a transfer coding in HTTP/1.0 means that the framing is faulty.
        (Some(_), None) if version == Version::Http10 => Err(Refusal::Length),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") && codings.next().is_none() => {
            Ok(BodyLength::Chunked)
        }
        (Some(_), None) => Err(Refusal::Coding),
        (None, Some(length)) if is_digits(length) && lengths.next().is_none() => match length.parse() {
            Ok(0) => Ok(BodyLength::None),
            Ok(bytes) if bytes <= BODY_BYTES_MAX => Ok(BodyLength::Length(bytes)),
            Ok(_) | Err(_) => Err(Refusal::BodyTooLong),
        },
        (None, Some(_)) => Err(Refusal::Length),
    }
}

fn expects_continue(headers: &Headers) -> Result<bool, Refusal> {
    match headers.get("expect") {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("100-continue") => Ok(true),
        Some(_) => Err(Refusal::Expectation),
    }
}

#[cfg(test)]
mod tests;
