//! A WebSocket client made of raw frames, for what no library lets its users do.

use crate::http::{RawAnswer, RawClient};
use std::io;

/// The frames RFC 6455 knows, by opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 6455")]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// The bit that says that a message ends with this frame.
const LAST: u8 = 0x80;
/// The bit that says that the payload is masked.
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x1d, 0xc4, 0x07, 0xa9];

/// A frame as the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: opcode and flags.
    pub first: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether it is whole, and of this kind.
    #[must_use]
    pub const fn is(&self, opcode: Opcode) -> bool {
        self.first == LAST | opcode as u8
    }

    /// The code of a close frame that has one.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        match self.payload[..] {
            [high, low, ..] if self.is(Opcode::Close) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

/// A handshake for `path` with further header lines, each ended by CR LF.
#[must_use]
pub fn handshake(path: &str, lines: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n",
        crate::process::HOST
    )
    .into_bytes()
}

/// A masked frame that is a whole message.
#[must_use]
pub fn message(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(LAST | opcode as u8, payload)
}

/// A masked frame with any first byte.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            bytes.push(MASKED | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(MASKED | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A socket after its handshake.
#[derive(Debug)]
pub struct Socket {
    /// The connection, for bytes that are no frames.
    pub raw: RawClient,
}

impl Socket {
    /// Completes a handshake.
    ///
    /// # Panics
    /// When the server does not want to.
    pub async fn open(mut raw: RawClient, path: &str) -> Self {
        raw.send(&handshake(path, "Connection: Upgrade\r\n")).await.expect("open");
        let RawAnswer { status, headers, .. } = raw.answer().await.expect("an answer");
        assert_eq!(status, 101, "{headers:?}");
        Self { raw }
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// When the server has closed.
    pub async fn text(&mut self, text: &str) -> io::Result<()> {
        self.raw.send(&message(Opcode::Text, text.as_bytes())).await
    }

    /// The next frame, or `None` at the end of the connection. A frame that has come in part stays when this is dropped.
    ///
    /// # Panics
    /// When it is masked, or nothing comes.
    pub async fn next(&mut self) -> Option<Frame> {
        let (first, head, length) = match *self.raw.peek(2).await? {
            [first, length @ 0..126, ..] => (first, 2, usize::from(length)),
            [first, 126, ..] => match self.raw.peek(4).await? {
                [_, _, high, low, ..] => (first, 4, usize::from(u16::from_be_bytes([*high, *low]))),
                _ => return None,
            },
            _ => panic!("the server masks, or sends long frames"),
        };
        self.raw.peek(head + length).await?;
        Some(Frame { first, payload: self.raw.take(head + length).split_off(head) })
    }

    /// Reads to the server's close frame, answers it, and gives its code; `None` when the connection ends without one.
    ///
    /// # Panics
    /// When neither comes.
    pub async fn closed_with(&mut self) -> Option<u16> {
        loop {
            let frame = self.next().await?;
            if frame.is(Opcode::Close) {
                // The server may have gone without waiting for this.
                self.raw.send(&message(Opcode::Close, &frame.payload)).await.ok();
                return frame.close_code();
            }
        }
    }

    /// Closes with 1000 and waits for the server's answer.
    ///
    /// # Panics
    /// When none comes.
    pub async fn close(mut self) {
        self.raw.send(&message(Opcode::Close, &1000_u16.to_be_bytes())).await.expect("open");
        while self.next().await.is_some_and(|frame| !frame.is(Opcode::Close)) {}
    }
}
