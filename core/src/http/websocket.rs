//! The server's half of the WebSocket handshake (RFC 6455 section 4.2), on header lines.
//!
//! It is checked here and not by a WebSocket library, because libraries read only the first `Connection` line and
//! refuse frames that arrive together with the handshake; proxies send both.

use super::Headers;
use super::head::{BodyLength, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The only version of the protocol.
pub(super) const VERSION: &str = "13";
/// What RFC 6455 section 1.3 appends to the client's key.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of the client's nonce.
const KEY_BYTES: usize = 16;

/// A valid handshake, and what completes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: String,
}

impl Upgrade {
    /// The header lines of the 101. No subprotocol and no extension is negotiated.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, &str); 3] {
        [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", &self.accept)]
    }

    /// The whole 101 as it goes over the wire.
    #[must_use]
    pub fn switching_protocols(&self) -> String {
        let mut head = String::from("HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in self.headers() {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head + "\r\n"
    }
}

/// Whether the header lines ask for a WebSocket, on however many lines and in whatever letter case.
#[must_use]
pub fn is_asked(headers: &Headers) -> bool {
    headers.has_token("connection", "upgrade") && headers.has_token("upgrade", "websocket")
}

/// The answer to a handshake, or nothing where none is asked for.
pub(super) fn offer(headers: &Headers, body: BodyLength) -> Result<Option<Upgrade>, Refusal> {
    if !is_asked(headers) {
        return Ok(None);
    }
    let mut keys = headers.all("sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::Handshake) };
    let nonce = STANDARD.decode(key).map_err(|_| Refusal::Handshake)?;
    let versions_agree = headers.all("sec-websocket-version").eq([VERSION]);
    if !versions_agree || nonce.len() != KEY_BYTES || body != BodyLength::None {
        return Err(Refusal::Handshake);
    }
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize();
    Ok(Some(Upgrade { accept: STANDARD.encode(digest) }))
}
