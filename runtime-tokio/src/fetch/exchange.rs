//! How far a request has got, and until when each step may take.
//!
//! The library tells when an answer's head is there and nothing before that. But hyper, below it, asks the body of a
//! request whether it is empty just before it writes the head, and for each next piece when there is room for one. So
//! the body itself knows whether the request was begun, which is the whole difference between "not sent" and
//! "ambiguous", and whether the peer still takes it.

use bytes::Bytes;
use core::fmt;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use http_body::{Body, Frame, SizeHint};
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Bytes handed over at a time: the size of a TLS record.
const PIECE_BYTES: usize = 16 * 1024;

/// Until when an exchange may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// All of it.
    pub(super) due: Instant,
    /// Until there is a connection.
    pub(super) connect_time: Duration,
    /// The head, after the request was written.
    pub(super) head_time: Duration,
    /// Between two pieces of the request, and of the body.
    pub(super) stall_time: Duration,
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// The peer takes the request.
    Writing,
    /// The request is handed over, to its last byte.
    Written,
    Reading,
}

/// How far a request has got; shared with its body.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    phase: Phase,
    since: Instant,
    /// Nobody waits for the answer any more.
    over: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State { phase: Phase::Connecting, since: Instant::now(), over: false })))
    }

    /// The head of the answer, or more of its body, is there.
    pub(super) fn reads(&self) {
        self.enter(Phase::Reading);
    }

    /// Whether any of the request may have been written.
    pub(super) fn has_begun(&self) -> bool {
        self.state().phase != Phase::Connecting
    }

    /// Whether the head of the answer was read.
    pub(super) fn has_head(&self) -> bool {
        self.state().phase == Phase::Reading
    }

    /// What of the request is still written while the answer is read is no progress of the answer.
    fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|state| {
            let is_progress = phase == Phase::Reading || state.phase != Phase::Reading;
            if is_progress {
                (state.phase, state.since) = (phase, Instant::now());
            }
            is_progress
        });
    }

    fn state(&self) -> State {
        *self.0.borrow()
    }
}

/// A deadline passed.
#[derive(Debug)]
pub(super) struct Late {
    phase: Phase,
    /// The step's own time; `None` when the request's is over.
    time: Option<Duration>,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.phase {
            Phase::Connecting => return f.write_str("not done in time"),
            Phase::Writing => "the peer took no more of the request",
            Phase::Written => "the peer sent no answer",
            Phase::Reading => "the peer sent no more of the body",
        })?;
        match self.time {
            Some(time) => write!(f, " within {time:?}"),
            None => f.write_str(" in the time the request had"),
        }
    }
}

/// Performs `exchange` as long as it makes progress.
///
/// # Errors
///
/// What did not come in time.
pub(super) async fn in_time<T>(
    exchange: impl Future<Output = T>,
    progress: &Progress,
    deadlines: Deadlines,
) -> Result<T, Late> {
    let _over = Over(progress);
    let mut exchange = pin!(exchange);
    let mut changes = progress.0.subscribe();
    loop {
        let State { phase, since, .. } = *changes.borrow_and_update();
        let time = match phase {
            Phase::Connecting => deadlines.connect_time,
            Phase::Written => deadlines.head_time,
            Phase::Writing | Phase::Reading => deadlines.stall_time,
        };
        let until = since.checked_add(time).map_or(deadlines.due, |until| until.min(deadlines.due));
        // A peer that never pauses must not outrun the deadline.
        if deadlines.due <= Instant::now() {
            return Err(Late { phase, time: None });
        }
        tokio::select! {
            biased;
            done = &mut exchange => return Ok(done),
            // The sender is ours: there is always a next change to wait for.
            _ = changes.changed() => {}
            () = sleep_until(until) => {
                return Err(Late { phase, time: (until < deadlines.due).then_some(time) });
            }
        }
    }
}

/// Marks the request as over when it is dropped: what is left of its body is not sent any more.
struct Over<'a>(&'a Progress);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.over = true);
    }
}

/// The body of a request, which notes how far it has got.
#[derive(Debug)]
pub(super) struct RequestBody {
    rest: Bytes,
    progress: Progress,
}

impl RequestBody {
    pub(super) fn new(bytes: Bytes, progress: Progress) -> Self {
        Self { rest: bytes, progress }
    }

    fn note(&self) {
        self.progress.enter(if self.rest.is_empty() { Phase::Written } else { Phase::Writing });
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.progress.state().over {
            // Closes the connection: the answer was there before the request was whole.
            return Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())));
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.note();
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.note();
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadlines(due: Duration, step: Duration) -> Deadlines {
        Deadlines { due: Instant::now() + due, connect_time: step, head_time: step, stall_time: step }
    }

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_peer_that_never_pauses_does_not_outrun_the_deadline() {
        let progress = Progress::new();
        let flood = async {
            loop {
                progress.reads();
                tokio::task::yield_now().await;
            }
        };
        let late = in_time::<()>(flood, &progress, deadlines(SHORT, LONG)).await.unwrap_err();
        assert!(late.to_string().contains("in the time the request had"), "{late}");
    }

    #[tokio::test]
    async fn a_request_has_begun_when_its_body_is_asked_for_and_not_before() {
        let progress = Progress::new();
        let body = RequestBody::new(Bytes::from_static(b"ab"), progress.clone());
        assert_eq!(body.size_hint().exact(), Some(2));
        let late = in_time::<()>(core::future::pending(), &progress, deadlines(LONG, SHORT)).await.unwrap_err();
        assert!(!progress.has_begun() && late.to_string() == "not done in time", "{late}");
        assert!(!body.is_end_stream() && progress.has_begun());
        let late = in_time::<()>(core::future::pending(), &progress, deadlines(LONG, SHORT)).await.unwrap_err();
        assert!(late.to_string().contains("took no more of the request within"), "{late}");
    }

    #[tokio::test]
    async fn what_is_left_of_an_abandoned_request_is_not_sent() {
        let progress = Progress::new();
        let mut body = RequestBody::new(Bytes::from_static(&[b'x'; 2 * PIECE_BYTES]), progress.clone());
        let mut next = async || core::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(next().await.is_some_and(|frame| frame.is_ok()));
        in_time(async {}, &progress, deadlines(LONG, LONG)).await.unwrap();
        assert!(next().await.is_some_and(|frame| frame.is_err()));
    }
}
