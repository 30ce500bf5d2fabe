//! Requests out of the bytes of a connection.
//!
//! A [`Gate`] owns the bytes that were received and not yet used. It reads one message after the other, head and body,
//! holds each to its limit before memory is spent on it, and keeps what follows: the next request of a pipeline, or the
//! first frames of a WebSocket. How the bytes were cut into reads changes nothing, which a property test holds.
//!
//! Nothing here waits. [`Gate::advance`] says what the connection waits for, and so which deadline holds.

use super::chunks::{ChunkError, Chunks};
use super::head::{self, BodyLength, Head, Refusal, Version, is_value_byte};
use crate::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX};
use bytes::{Buf as _, Bytes, BytesMut};

/// What a connection has come to.
#[derive(Debug)]
pub enum Step {
    /// Nothing of a request is there.
    Idle,
    /// A head has begun and is not whole.
    Head,
    /// The head is whole and the body is not. Said once with `ask`: the client then waits for `100 Continue`.
    Body {
        /// Whether to send `100 Continue` now.
        ask: bool,
    },
    /// A whole request.
    Request(Head, Bytes),
}

#[derive(Debug)]
enum State {
    /// This many bytes of the head are known to be well formed, and this many of empty lines before it were dropped.
    Head { scanned: usize, skipped: usize },
    /// The body follows.
    Body(Body),
    /// A request was refused, so where the next one starts is not known.
    Refused(Refusal),
}

impl Default for State {
    fn default() -> Self {
        Self::Head { scanned: 0, skipped: 0 }
    }
}

#[derive(Debug)]
struct Body {
    head: Head,
    chunks: Chunks,
    ask: bool,
}

/// Reads the requests of one connection.
#[derive(Debug, Default)]
pub struct Gate {
    buffer: BytesMut,
    state: State,
}

impl Gate {
    /// Takes bytes in. Call [`Self::advance`] before more, so that at most one read lies beyond a limit.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Goes as far as the bytes allow, at most to the end of one request.
    ///
    /// # Errors
    /// The rule that the bytes break. It is repeated from then on.
    pub fn advance(&mut self) -> Result<Step, Refusal> {
        let step = match core::mem::take(&mut self.state) {
            State::Head { scanned, skipped } => self.head(scanned, skipped),
            State::Body(body) => self.body(body),
            State::Refused(refusal) => Err(refusal),
        };
        if let Err(refusal) = step {
            *self = Self { buffer: BytesMut::new(), state: State::Refused(refusal) };
        }
        step
    }

    /// The bytes after the last request: what a WebSocket client sent together with its handshake.
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        self.buffer.into()
    }

    fn head(&mut self, mut scanned: usize, mut skipped: usize) -> Result<Step, Refusal> {
        // RFC 9112 section 2.2: clients may send empty lines before a request. Not for ever.
        while self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(b"\r\n".len());
            scanned = 0;
            skipped += b"\r\n".len();
            if skipped > HEAD_BYTES_MAX {
                return Err(Refusal::HeadTooLong);
            }
        }
        let Some(end) = head_end(&self.buffer, &mut scanned)? else {
            self.state = State::Head { scanned, skipped };
            return Ok(if self.buffer.is_empty() { Step::Idle } else { Step::Head });
        };
        let head = split(&self.buffer[..end - b"\r\n\r\n".len()])?;
        self.buffer.advance(end);
        let chunks = Chunks::new(BODY_BYTES_MAX, HEAD_BYTES_MAX);
        self.body(Body { ask: head.expects_continue, chunks, head })
    }

    fn body(&mut self, mut body: Body) -> Result<Step, Refusal> {
        let whole = match body.head.body {
            BodyLength::None => Some(Bytes::new()),
            BodyLength::Length(bytes) if bytes <= self.buffer.len() => Some(self.buffer.split_to(bytes).freeze()),
            BodyLength::Length(_) => None,
            BodyLength::Chunked => body.chunks.read(&mut self.buffer)?.map(Bytes::from),
        };
        Ok(match whole {
            Some(bytes) => Step::Request(body.head, bytes),
            None => {
                let ask = core::mem::take(&mut body.ask);
                self.state = State::Body(body);
                Step::Body { ask }
            }
        })
    }
}

impl From<ChunkError> for Refusal {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Malformed => Self::Chunk,
            ChunkError::BodyTooLong => Self::BodyTooLong,
            ChunkError::TrailersTooLong => Self::HeadTooLong,
        }
    }
}

/// Where the head ends, once its end is there. Refuses at the first byte that no head holds, so that a client that
/// speaks something else, or ends its lines with a bare line feed, is told at once and not at a deadline.
fn head_end(buffer: &[u8], scanned: &mut usize) -> Result<Option<usize>, Refusal> {
    while let Some(&byte) = buffer.get(*scanned) {
        let before = &buffer[..*scanned];
        *scanned += 1;
        if *scanned > HEAD_BYTES_MAX {
            return Err(Refusal::HeadTooLong);
        }
        let after_return = before.last() == Some(&b'\r');
        match byte {
            b'\n' if before.ends_with(b"\r\n\r") => return Ok(Some(*scanned)),
            b'\n' if after_return => {}
            b'\r' if !after_return => {}
            _ if is_value_byte(byte) && !after_return => {}
            _ => return Err(Refusal::Malformed),
        }
    }
    Ok(None)
}

/// Takes a head apart, without its empty line, and judges it.
fn split(text: &[u8]) -> Result<Head, Refusal> {
    let mut lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Refusal::Version),
        _ => return Err(Refusal::Malformed),
    };
    // A folded line and a space before the colon leave a name that `check` refuses.
    let headers = lines.map(name_and_value).collect::<Option<Vec<_>>>().ok_or(Refusal::Malformed)?;
    head::check(method, target, version, headers)
}

fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests;
