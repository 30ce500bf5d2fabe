//! Answers on their way out.

use callwarden_core::http::Response;
use http::StatusCode;
use std::io;
use std::time::SystemTime;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Bytes of a body that are copied to leave together with the head; every webhook's answer fits.
const FIRST_WRITE_BYTES: usize = 16 * 1024;

/// Writes the head of `response`: status line, its header lines, length, date, and whether the connection ends.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a status that does not exist and for a header value with a byte that could end
/// its line; the core makes neither.
pub(super) fn head(response: &Response, keep_alive: bool, now: SystemTime) -> io::Result<Vec<u8>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let status = StatusCode::from_u16(response.status).ok();
    let reason = status.and_then(|status| status.canonical_reason()).ok_or_else(|| invalid("no such status"))?;
    let mut lines: Vec<(&str, &str)> = response.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (length, date) = (response.body.len().to_string(), httpdate::fmt_http_date(now));
    if !response.has_no_body() {
        lines.push(("content-length", &length));
    }
    lines.push(("date", &date));
    if !keep_alive {
        lines.push(("connection", "close"));
    }
    // In the order in which the other server's library writes them.
    lines.sort_by_key(|(name, _)| *name);
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", response.status);
    for (name, value) in lines {
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            return Err(invalid("a header value is not visible ASCII"));
        }
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// Writes an answer: the head and the start of the body in one write, because apart they are two packets and the peer
/// may hold the first back; the rest as it lies in memory, where prompts are shared.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), mut head: Vec<u8>, body: &[u8]) -> io::Result<()> {
    let (start, rest) = body.split_at(body.len().min(FIRST_WRITE_BYTES));
    head.extend_from_slice(start);
    stream.write_all(&head).await?;
    stream.write_all(rest).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::UNIX_EPOCH;

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

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn head_and_body_of_an_answer_leave_in_one_write_and_a_long_body_is_not_copied() {
        for (body, writes) in [(0, 1), (1, 1), (FIRST_WRITE_BYTES, 1), (FIRST_WRITE_BYTES + 1, 2)] {
            let (mut written, body) = (Writes::default(), vec![b'z'; body]);
            write(&mut written, b"head".to_vec(), &body).await.unwrap();
            assert_eq!((written.0.len(), written.0.concat()), (writes, [&b"head"[..], &body].concat()));
        }
    }

    #[test]
    fn a_head_has_the_answers_lines_and_ours_once() {
        let response = Response::text(200, "שלום").with("etag", "\"1\"");
        let head = String::from_utf8(head(&response, false, UNIX_EPOCH).unwrap()).unwrap();
        let expected = [
            "HTTP/1.1 200 OK",
            "connection: close",
            "content-length: 8",
            "content-type: text/plain; charset=utf-8",
            "date: Thu, 01 Jan 1970 00:00:00 GMT",
            "etag: \"1\"",
            "",
            "",
        ];
        assert_eq!(head.split("\r\n").collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_an_error_and_not_a_panic() {
        for response in
            [Response::empty(200).with("x", "שלום"), Response::empty(200).with("x", "a\r\nb"), Response::empty(999)]
        {
            assert!(head(&response, true, UNIX_EPOCH).is_err(), "{response:?}");
        }
    }
}
