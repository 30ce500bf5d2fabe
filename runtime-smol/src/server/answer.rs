//! Answers on their way out.

use async_h1::server::Encoder;
use callwarden_core::http::Response;
use http_types::{Body, StatusCode};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use std::io;

/// Bytes of a body that are copied to leave together with the head; every webhook's answer fits.
const FIRST_WRITE_BYTES: usize = 16 * 1024;

/// Writes the head of `response`: status line, its header lines, length, date, and whether the connection ends.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a status that does not exist and for a header value with a byte that could end
/// its line; the core makes neither.
pub(super) async fn head(response: &Response, keep_alive: bool) -> io::Result<Vec<u8>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let status = StatusCode::try_from(response.status).map_err(|_| invalid("no such status"))?;
    let mut head = http_types::Response::new(status);
    for (name, value) in &response.headers {
        // The encoder panics at bytes above ASCII and writes line ends as they are.
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            return Err(invalid("a header value is not visible ASCII"));
        }
        head.append_header(*name, value);
    }
    if !keep_alive {
        head.append_header("connection", "close");
    }
    // The body itself is never copied through the encoder: like for HEAD, it is told the length alone.
    let untyped = head.header("content-type").is_none();
    head.set_body(Body::from_reader(smol::io::empty(), Some(response.body.len())));
    if untyped {
        head.remove_header("content-type");
    }
    let mut bytes = Vec::new();
    Encoder::new(head, http_types::Method::Head).read_to_end(&mut bytes).await?;
    if has_no_body(response.status) {
        remove_length(&mut bytes);
    }
    Ok(bytes)
}

/// Writes an answer: the head and the start of the body in one write, because apart they are two packets and the peer
/// may hold the first back; the rest as it lies in memory, where prompts are shared.
pub(super) async fn write(stream: &mut TcpStream, mut head: Vec<u8>, body: &[u8]) -> io::Result<()> {
    let (start, rest) = body.split_at(body.len().min(FIRST_WRITE_BYTES));
    head.extend_from_slice(start);
    stream.write_all(&head).await?;
    stream.write_all(rest).await
}

/// Whether an answer of this status ends with its head.
pub(super) const fn has_no_body(status: u16) -> bool {
    matches!(status, 204 | 304)
}

/// RFC 9110 section 8.6 forbids the length that the encoder gives to a 204, and a 304 would promise an empty resource.
fn remove_length(head: &mut Vec<u8>) {
    const LENGTH: &[u8] = b"content-length: 0\r\n";
    if let Some(start) = head.windows(LENGTH.len()).position(|line| line == LENGTH) {
        head.drain(start..start + LENGTH.len());
    }
}
