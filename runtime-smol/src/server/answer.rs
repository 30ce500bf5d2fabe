//! Answers on their way out.

use async_h1::server::Encoder;
use callwarden_core::http::Response;
use http_types::{Body, StatusCode};
use smol::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
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
    if response.has_no_body() {
        remove_length(&mut bytes);
    }
    Ok(bytes)
}

/// Writes an answer: the head and the start of the body in one write, because apart they are two packets and the peer
/// may hold the first back; the rest as it lies in memory, where prompts are shared.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), mut head: Vec<u8>, body: &[u8]) -> io::Result<()> {
    let (start, rest) = body.split_at(body.len().min(FIRST_WRITE_BYTES));
    head.extend_from_slice(start);
    stream.write_all(&head).await?;
    stream.write_all(rest).await
}

/// RFC 9110 section 8.6 forbids the length that the encoder gives to a 204, and a 304 would promise an empty resource.
fn remove_length(head: &mut Vec<u8>) {
    const LENGTH: &[u8] = b"content-length: 0\r\n";
    if let Some(start) = head.windows(LENGTH.len()).position(|line| line == LENGTH) {
        head.drain(start..start + LENGTH.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Notes every write by itself.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn head_and_body_of_an_answer_leave_in_one_write_and_a_long_body_is_not_copied() {
        smol::block_on(async {
            for (body, writes) in [(0, 1), (1, 1), (FIRST_WRITE_BYTES, 1), (FIRST_WRITE_BYTES + 1, 2)] {
                let (mut written, body) = (Writes::default(), vec![b'z'; body]);
                write(&mut written, b"head".to_vec(), &body).await.unwrap();
                assert_eq!((written.0.len(), written.0.concat()), (writes, [&b"head"[..], &body].concat()));
            }
        });
    }

    #[test]
    fn a_head_has_the_answers_lines_and_ours_once() {
        let response = Response::text(200, "שלום").with("etag", "\"1\"");
        let head = String::from_utf8(smol::block_on(head(&response, false)).unwrap()).unwrap();
        let lines: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
        let expected = [
            "HTTP/1.1 200 OK",
            "connection: close",
            "content-length: 8",
            "content-type: text/plain; charset=utf-8",
            "etag: \"1\"",
            "",
            "",
        ];
        assert_eq!(lines, expected);
        assert_eq!(head.matches("date: ").count(), 1);
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_an_error_and_not_a_panic() {
        for response in
            [Response::empty(200).with("x", "שלום"), Response::empty(200).with("x", "a\r\nb"), Response::empty(999)]
        {
            assert!(smol::block_on(head(&response, true)).is_err(), "{response:?}");
        }
    }
}
