//! HTTP as plain values: what a runtime read from a client, and what it shall answer.
//!
//! A runtime frames messages; what they mean is decided here. [`head`] says which request heads are refused before
//! anything else looks at them, so that both runtimes refuse the same ones. [`gate`] cuts the bytes of a connection into
//! requests, for a runtime whose HTTP library is not fit to face the network; [`chunks`] takes the chunked coding off a
//! body, theirs or an answer's. [`address`] says where a URL of the other side may lead;
//! [`date`] reads the dates of header lines; [`notice`] is what a server tells of itself.

pub mod address;
pub mod chunks;
pub mod date;
pub mod gate;
pub mod head;
pub mod notice;
pub mod websocket;

use bytes::Bytes;
use core::net::IpAddr;

/// The methods the service can be asked with; every other token is refused by [`head`] with 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 9110")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
}

impl Method {
    /// The method as it stands in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
        }
    }
}

/// The header lines of a message, in order of arrival; names compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Appends a line.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The value of the first line with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of all lines with this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated list header holds `token`, in any letter case and on any of its lines.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// Every line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        Self(lines.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// One request with its whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The request target exactly as received: Twilio signs these bytes.
    pub target: String,
    /// The header lines.
    pub headers: Headers,
    /// The body, at most `limits::BODY_BYTES_MAX`.
    pub body: Bytes,
    /// Where the connection comes from: the proxy, where there is one.
    pub peer: IpAddr,
}

impl Request {
    /// The path: the target up to its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query after the `?`, undecoded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}

/// One answer with its whole body. Header values are made by the core and hold no caller's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines; length, date and connection lines are the runtime's.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for 204 and 304, and not sent for HEAD.
    pub body: Bytes,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An answer of plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::empty(status).with("content-type", "text/plain; charset=utf-8").body(body)
    }

    /// Adds a header line.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether the answer ends with its head, and the head has no length.
    #[must_use]
    pub const fn has_no_body(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// The value of a header line, for tests and the simulator.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_content_and_one_that_says_not_modified_end_with_their_heads() {
        let without_body = [200, 204, 205, 303, 304, 404].map(|status| Response::empty(status).has_no_body());
        assert_eq!(without_body, [false, true, false, false, true, false]);
    }
}
