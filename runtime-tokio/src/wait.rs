//! What a socket's task waits for: the socket, commands, its timer, and room to write.

use callwarden_core::limits;
use callwarden_core::stream::{Ended, StreamCommand};
use futures_util::{Sink, Stream};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// A timer that fires once after it is set, and never while it is not. Setting it anew allocates nothing.
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    pub(crate) const fn never() -> Self {
        Self { sleep: None, is_set: false }
    }

    fn after(time: Duration) -> Self {
        Self { sleep: Some(Box::pin(sleep(time))), is_set: true }
    }

    /// `None` is never.
    pub(crate) fn set_at(&mut self, at: Option<Instant>) {
        self.is_set = at.is_some();
        match (at, &mut self.sleep) {
            (Some(at), Some(sleep)) => sleep.as_mut().reset(at),
            (Some(at), None) => self.sleep = Some(Box::pin(sleep_until(at))),
            (None, _) => {}
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = self.sleep.as_mut().filter(|_| self.is_set) else { return Poll::Pending };
        let fired = sleep.as_mut().poll(cx);
        self.is_set = fired.is_pending();
        fired
    }
}

/// What a wait ended with.
#[derive(Debug)]
pub(crate) enum Arrival {
    Text(Utf8Bytes),
    Binary,
    Command(StreamCommand),
    Timer,
    Over(Ended),
}

/// A socket, its commands and its timer, in this order: a frame deadline that passed must see the frames that the
/// socket holds already (W3). A socket that is never empty gives way every [`limits::INPUTS_PER_TURN_MAX`] messages.
pub(crate) struct Wait<'a, S> {
    socket: &'a mut WebSocketStream<S>,
    commands: &'a mut Receiver<StreamCommand>,
    timer: Timer,
    /// Armed while something is unsent: the peer has until then to take it.
    unsent: Option<Timer>,
    /// Why a message could not even be queued: the peer takes nothing, and too much waits for it.
    refused: Option<String>,
    budget: usize,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Wait<'a, S> {
    pub(crate) fn new(socket: &'a mut WebSocketStream<S>, commands: &'a mut Receiver<StreamCommand>) -> Self {
        Self {
            socket,
            commands,
            timer: Timer::never(),
            unsent: None,
            refused: None,
            budget: limits::INPUTS_PER_TURN_MAX,
        }
    }

    /// Sets the one timer; `None` never fires.
    pub(crate) fn set_timer(&mut self, at: Option<Instant>) {
        self.timer.set_at(at);
    }

    /// Queues a message; the following waits write it. What cannot be queued ends the next wait.
    pub(crate) fn send(&mut self, message: Message) {
        if let Err(error) = Pin::new(&mut *self.socket).start_send(message) {
            self.refused = Some(error.to_string());
        }
        if self.unsent.is_none() {
            self.unsent = Some(Timer::after(limits::WRITE_TIME));
        }
    }

    /// The next thing to do.
    pub(crate) async fn next(&mut self) -> Arrival {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Sends a close frame and waits for the peer's, [`limits::CLOSE_TIME`] at most.
    pub(crate) async fn close(&mut self, code: u16) -> Ended {
        self.send(close_message(code));
        let mut patience = Timer::after(limits::CLOSE_TIME);
        poll_fn(|cx| {
            while let Poll::Ready(arrival) = self.poll_socket(cx) {
                if let Arrival::Over(how) = arrival {
                    return Poll::Ready(how);
                }
            }
            if let Poll::Ready(how) = self.poll_unsent(cx) {
                return Poll::Ready(how);
            }
            if patience.poll(cx).is_ready() {
                return Poll::Ready(Ended::Lost("the peer did not answer our close".to_owned()));
            }
            self.rest(cx)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if let Poll::Ready(arrival) = self.poll_socket(cx) {
            return Poll::Ready(arrival);
        }
        if let Poll::Ready(how) = self.poll_unsent(cx) {
            return Poll::Ready(Arrival::Over(how));
        }
        if let Poll::Ready(command) = self.commands.poll_recv(cx) {
            let gone = || Arrival::Over(Ended::Lost("the switchboard let go of the stream".to_owned()));
            return Poll::Ready(command.map_or_else(gone, Arrival::Command));
        }
        if self.timer.poll(cx).is_ready() {
            return Poll::Ready(Arrival::Timer);
        }
        self.rest(cx)
    }

    /// Lets others run: until something arrives, or for one turn when the socket was not read to its end.
    fn rest<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if self.budget == 0 {
            cx.waker().wake_by_ref();
        }
        self.budget = limits::INPUTS_PER_TURN_MAX;
        Poll::Pending
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        while self.budget > 0 {
            let Poll::Ready(message) = Pin::new(&mut *self.socket).poll_next(cx) else { break };
            self.budget -= 1;
            return Poll::Ready(match message {
                Some(Ok(Message::Text(text))) => Arrival::Text(text),
                Some(Ok(Message::Binary(_))) => Arrival::Binary,
                // The library answers pings while it reads.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => Arrival::Over(Ended::Closed(frame.map(|frame| frame.code.into()))),
                Some(Err(error)) => self.broken(&error),
                None => Arrival::Over(Ended::Closed(None)),
            });
        }
        Poll::Pending
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Some(cause) = self.refused.take() {
            return Poll::Ready(Ended::Lost(cause));
        }
        let Some(patience) = &mut self.unsent else { return Poll::Pending };
        match Pin::new(&mut *self.socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.unsent = None;
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Ended::Lost(error.to_string())),
            Poll::Pending => patience.poll(cx).map(|()| Ended::Lost("the peer does not take what we send".to_owned())),
        }
    }

    /// Says why to a peer that broke the protocol, as far as it still listens.
    fn broken(&mut self, error: &Error) -> Arrival {
        let code = match error {
            Error::Capacity(_) => Some(CloseCode::Size),
            Error::Utf8(_) => Some(CloseCode::Invalid),
            Error::Protocol(_) => Some(CloseCode::Protocol),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Io(_)
            | Error::Tls(_)
            | Error::WriteBufferFull(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => None,
        };
        if let Some(code) = code {
            self.send(close_message(code.into()));
        }
        Arrival::Over(Ended::Lost(error.to_string()))
    }
}

fn close_message(code: u16) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: Utf8Bytes::default() }))
}
