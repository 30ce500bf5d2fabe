//! One request and its answer over a connection.

use super::connect::{Connection, causes};
use super::response::{Answer, Framer};
use async_h1::client::Encoder;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use std::io;
use std::time::Instant;

/// Bytes moved at a time, in either direction: the size of a TLS record.
const PIECE_BYTES: usize = 16 * 1024;

/// Until when an exchange may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// All of it.
    pub(super) due: Instant,
    /// The head, after the request was written.
    pub(super) head_time: Duration,
    /// Between two pieces of the request, and of the body.
    pub(super) stall_time: Duration,
}

/// How far the request has got.
#[derive(Debug)]
enum Sending {
    /// A piece is being written.
    Piece,
    /// Everything was written and is being flushed.
    Flush,
    /// It is on its way.
    Sent,
    /// It cannot be written to the end. A server may answer early and close, so the answer is still read.
    Failed(io::Error),
}

/// What happened next.
enum Step {
    Wrote(io::Result<usize>),
    Flushed(io::Result<()>),
    Read(io::Result<usize>),
    Late,
}

/// Sends a request and reads its answer.
///
/// # Errors
///
/// The cause, as text. Some of the request may have been received: the caller must not repeat it.
pub(super) async fn exchange(
    connection: &mut Connection,
    request: Encoder,
    framer: Framer,
    deadlines: Deadlines,
) -> Result<Answer, String> {
    let mut exchange = Exchange { connection, request, framer, sending: Sending::Piece, piece: Vec::new(), written: 0 };
    exchange.run(deadlines).await
}

struct Exchange<'a> {
    connection: &'a mut Connection,
    request: Encoder,
    framer: Framer,
    sending: Sending,
    /// Bytes of the request; those up to `written` have left.
    piece: Vec<u8>,
    written: usize,
}

impl Exchange<'_> {
    async fn run(&mut self, deadlines: Deadlines) -> Result<Answer, String> {
        let mut input = vec![0; PIECE_BYTES];
        let mut progress = Instant::now();
        loop {
            self.refill().await?;
            let (time, waiting_for) = self.patience(deadlines);
            let due = (progress + time).min(deadlines.due);
            // A peer that never pauses must not outrun the deadline.
            let step = if Instant::now() < deadlines.due { self.step(&mut input, due).await } else { Step::Late };
            match step {
                Step::Wrote(Ok(0)) => self.sending = Sending::Failed(io::ErrorKind::WriteZero.into()),
                Step::Wrote(Ok(bytes)) => (self.written, progress) = (self.written + bytes, Instant::now()),
                Step::Flushed(Ok(())) => (self.sending, progress) = (Sending::Sent, Instant::now()),
                Step::Wrote(Err(error)) | Step::Flushed(Err(error)) => self.sending = Sending::Failed(error),
                Step::Read(Ok(0)) => return Err(self.explain(self.framer.closed().to_string())),
                Step::Read(Ok(bytes)) => {
                    self.framer.push(&input[..bytes]).map_err(|bad| bad.to_string())?;
                    if let Some(answer) = self.framer.take_answer() {
                        let reusable = answer.reusable && matches!(self.sending, Sending::Sent);
                        return Ok(Answer { reusable, ..answer });
                    }
                    if self.framer.has_head() {
                        progress = Instant::now();
                    }
                }
                Step::Read(Err(error)) => {
                    return Err(self.explain(format!("{}: {}", self.framer.closed(), causes(&error))));
                }
                Step::Late if Instant::now() < deadlines.due => {
                    return Err(self.explain(format!("{waiting_for} within {time:?}")));
                }
                Step::Late => return Err(self.explain(format!("{waiting_for} in the time the request had"))),
            }
        }
    }

    /// How long the current phase may be without progress, and what its end is called.
    fn patience(&self, deadlines: Deadlines) -> (Duration, &'static str) {
        match self.sending {
            Sending::Piece | Sending::Flush => (deadlines.stall_time, "the peer took no more of the request"),
            Sending::Sent if self.framer.has_head() => (deadlines.stall_time, "the peer sent no more of the body"),
            Sending::Sent => (deadlines.head_time, "the peer sent no answer"),
            Sending::Failed(_) => (deadlines.stall_time, "the peer sent no early answer"),
        }
    }

    /// Adds why the request could not be written, if that was so.
    fn explain(&self, cause: String) -> String {
        match &self.sending {
            Sending::Failed(error) => format!("the request could not be written: {}; then {cause}", causes(error)),
            Sending::Piece | Sending::Flush | Sending::Sent => cause,
        }
    }

    /// Gets the next piece of the request from its encoder, which works from memory. Pieces are filled up, so that a
    /// small request leaves in one packet.
    async fn refill(&mut self) -> Result<(), String> {
        if !matches!(self.sending, Sending::Piece) || self.written < self.piece.len() {
            return Ok(());
        }
        (self.piece, self.written) = (Vec::with_capacity(PIECE_BYTES), 0);
        let mut next = (&mut self.request).take(PIECE_BYTES as u64);
        next.read_to_end(&mut self.piece).await.map_err(|error| format!("request encoder: {}", causes(&error)))?;
        if self.piece.is_empty() {
            self.sending = Sending::Flush;
        }
        Ok(())
    }

    /// Writes or reads, whichever is possible first, or finds that it is late. Reading goes on while the request is
    /// written: a server that answers early may stop taking it.
    async fn step(&mut self, input: &mut [u8], due: Instant) -> Step {
        let (connection, sending, unsent) = (&mut *self.connection, &self.sending, &self.piece[self.written..]);
        let moved = poll_fn(|cx| {
            match sending {
                Sending::Piece => {
                    if let Poll::Ready(result) = Pin::new(&mut *connection).poll_write(cx, unsent) {
                        return Poll::Ready(Step::Wrote(result));
                    }
                }
                Sending::Flush => {
                    if let Poll::Ready(result) = Pin::new(&mut *connection).poll_flush(cx) {
                        return Poll::Ready(Step::Flushed(result));
                    }
                }
                Sending::Sent | Sending::Failed(_) => {}
            }
            Pin::new(&mut *connection).poll_read(cx, input).map(Step::Read)
        });
        let late = async {
            smol::Timer::at(due).await;
            Step::Late
        };
        moved.or(late).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::task::Context;

    /// A peer that is always ready to be read, and never finishes.
    struct Flood;

    impl AsyncRead for Flood {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            const BYTES: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
            buffer[..BYTES.len()].copy_from_slice(BYTES);
            Poll::Ready(Ok(BYTES.len()))
        }
    }

    impl AsyncWrite for Flood {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
    fn a_peer_that_never_pauses_does_not_outrun_the_deadline() {
        let url = "http://host.test/".parse::<http_types::Url>().unwrap();
        let request = Encoder::new(http_types::Request::new(http_types::Method::Get, url));
        let long = Duration::from_secs(600);
        let due = Instant::now() + Duration::from_millis(50);
        let deadlines = Deadlines { due, head_time: long, stall_time: long };
        let framer = Framer::new(false, usize::MAX);
        let cause = smol::block_on(exchange(&mut Connection::over(Flood), request, framer, deadlines)).unwrap_err();
        assert!(cause.contains("in the time the request had"), "{cause}");
    }
}
