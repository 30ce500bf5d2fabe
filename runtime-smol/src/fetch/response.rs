//! Where a response begins and ends: a state machine over received bytes, without I/O.
//!
//! The codec behind it shows a cut body as whole, an unframed one as empty, an interim answer as the final one, and
//! panics on a header value outside ASCII. So it sees nothing of the network: a response is framed and checked here,
//! and only a complete one is handed on.

use callwarden_core::http::Headers;
use callwarden_core::http::chunks::{ChunkError, Chunks};
use callwarden_core::limits::{INTERIM_RESPONSES_MAX, RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX};
use core::fmt;

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// 200 to 599.
    pub(super) status: u16,
    /// The header lines as received; a byte that is not UTF-8 is replaced.
    pub(super) headers: Headers,
    /// The body without its coding.
    pub(super) body: Vec<u8>,
    /// Whether the connection may carry another request.
    pub(super) reusable: bool,
}

/// Why a response cannot be used. The peer is to blame for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadResponse {
    /// The head is not HTTP/1.
    Head,
    /// The head passes `RESPONSE_HEAD_BYTES_MAX` or `RESPONSE_HEADERS_MAX`.
    HeadTooLong,
    /// 101, which nobody asked for, or more than `INTERIM_RESPONSES_MAX` others.
    Interim,
    /// Several lengths, a length that is no number, a coding other than chunked, or a length and a coding.
    Framing,
    /// Neither a length nor chunked: the end of the connection would be the end of the body, and on a plain connection
    /// a server that died looks the same. Refused: half a recording must not pass for a whole one.
    NoLength,
    /// The chunked coding is wrong, or its trailers pass `RESPONSE_HEAD_BYTES_MAX`.
    Chunk,
    /// The body is longer than the request allows.
    TooLong,
    /// The connection closed before the first byte.
    NoAnswer,
    /// The connection closed in the head.
    HeadCut,
    /// The connection closed in the body.
    BodyCut,
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the answer is not HTTP/1",
            Self::HeadTooLong => "the head of the answer is too long",
            Self::Interim => "the interim answers do not end or switch protocols",
            Self::Framing => "the answer's length is contradictory or unknown",
            Self::NoLength => "the answer has neither content-length nor chunked coding",
            Self::Chunk => "the answer's chunked coding is wrong",
            Self::TooLong => "the answer's body is too long",
            Self::NoAnswer => "the connection closed without an answer",
            Self::HeadCut => "the connection closed in the head of the answer",
            Self::BodyCut => "the connection closed in the body of the answer",
        })
    }
}

impl core::error::Error for BadResponse {}

impl From<ChunkError> for BadResponse {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Malformed | ChunkError::TrailersTooLong => Self::Chunk,
            ChunkError::BodyTooLong => Self::TooLong,
        }
    }
}

/// Frames one response from bytes in any split.
#[derive(Debug)]
pub(super) struct Framer {
    /// The request was HEAD: whatever the lengths say, there is no body.
    head_asked: bool,
    body_bytes_max: usize,
    interims: usize,
    state: State,
    answer: Answer,
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    /// This many bytes of the body are still to come.
    Length(usize),
    Chunked(Chunks),
    Done,
}

impl Framer {
    /// Waits for the answer to a HEAD (`head_asked`) or another request.
    pub(super) fn new(head_asked: bool, body_bytes_max: usize) -> Self {
        let answer = Answer { status: 0, headers: Headers::default(), body: Vec::new(), reusable: false };
        Self { head_asked, body_bytes_max, interims: 0, state: State::Head(Vec::new()), answer }
    }

    /// Takes in what was received.
    ///
    /// # Errors
    ///
    /// The response cannot be used; the connection is to be closed.
    pub(super) fn push(&mut self, mut input: &[u8]) -> Result<(), BadResponse> {
        while let Some((&byte, rest)) = input.split_first() {
            match &mut self.state {
                State::Head(head) => {
                    if byte == b'\n' && head.last() != Some(&b'\r') {
                        return Err(BadResponse::Head);
                    }
                    if head.len() == RESPONSE_HEAD_BYTES_MAX {
                        return Err(BadResponse::HeadTooLong);
                    }
                    head.push(byte);
                    input = rest;
                    if head.ends_with(b"\r\n\r\n") {
                        let head = core::mem::take(head);
                        self.state = self.take_head(&head)?;
                    }
                }
                State::Length(left) => {
                    let taken = input.len().min(*left);
                    self.answer.body.extend_from_slice(&input[..taken]);
                    input = &input[taken..];
                    *left -= taken;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                }
                State::Chunked(chunks) => {
                    if let Some(body) = chunks.read(&mut input)? {
                        self.answer.body = body;
                        self.state = State::Done;
                    }
                }
                State::Done => {
                    // Bytes nobody asked for: whoever sent them, the next request must not take them for its answer.
                    self.answer.reusable = false;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether the final head has been read.
    pub(super) fn has_head(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// The response, once complete.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        matches!(self.state, State::Done).then(|| {
            let empty = Answer { status: 0, headers: Headers::default(), body: Vec::new(), reusable: false };
            core::mem::replace(&mut self.answer, empty)
        })
    }

    /// What it means that the connection closed before the response was complete.
    pub(super) fn closed(&self) -> BadResponse {
        match &self.state {
            State::Head(head) if head.is_empty() && self.interims == 0 => BadResponse::NoAnswer,
            State::Head(_) => BadResponse::HeadCut,
            State::Length(_) | State::Chunked(_) | State::Done => BadResponse::BodyCut,
        }
    }

    /// Reads a complete head and says what follows it.
    fn take_head(&mut self, head: &[u8]) -> Result<State, BadResponse> {
        let mut lines = [httparse::EMPTY_HEADER; RESPONSE_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut lines);
        match response.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadResponse::HeadTooLong),
            Ok(httparse::Status::Partial) | Err(_) => return Err(BadResponse::Head),
        }
        let (Some(status), Some(minor)) = (response.code, response.version) else { return Err(BadResponse::Head) };
        match status {
            100 | 102..=199 if self.interims < INTERIM_RESPONSES_MAX => {
                self.interims += 1;
                return Ok(State::Head(Vec::new()));
            }
            100..=199 => return Err(BadResponse::Interim),
            200..=599 => {}
            _ => return Err(BadResponse::Head),
        }
        self.answer.status = status;
        self.answer.headers =
            response.headers.iter().map(|line| (line.name, String::from_utf8_lossy(line.value))).collect();
        self.answer.reusable = minor == 1 && !self.answer.headers.has_token("connection", "close");
        self.body_after_head(minor)
    }

    /// How the body of the answer is framed (RFC 9112, section 6.3), stricter.
    fn body_after_head(&self, minor: u8) -> Result<State, BadResponse> {
        let Answer { status, headers, .. } = &self.answer;
        if self.head_asked || matches!(status, 204 | 304) {
            return Ok(State::Done);
        }
        let codings: Vec<&str> = headers.all("transfer-encoding").collect();
        let lengths: Vec<&str> = headers.all("content-length").collect();
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Err(BadResponse::NoLength),
            ([], [length]) => match content_length(length)? {
                0 => Ok(State::Done),
                length if length > self.body_bytes_max => Err(BadResponse::TooLong),
                length => Ok(State::Length(length)),
            },
            ([coding], []) if minor == 1 && coding.eq_ignore_ascii_case("chunked") => {
                Ok(State::Chunked(Chunks::new(self.body_bytes_max, RESPONSE_HEAD_BYTES_MAX)))
            }
            _ => Err(BadResponse::Framing),
        }
    }
}

/// Digits only: a sign, a list or a fraction is refused.
fn content_length(text: &str) -> Result<usize, BadResponse> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadResponse::Framing);
    }
    text.parse().map_err(|_| BadResponse::TooLong)
}

#[cfg(test)]
mod tests;
