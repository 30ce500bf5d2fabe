//! One WebSocket's task: it owns the socket and the socket's [`MediaStream`], and nothing else touches either.
//!
//! Each turn waits for one input, reads the clock, feeds the machine and performs what it says. A frame costs a read
//! and one call: no lock, no channel, no allocation, no timer. Writes never stop reads; they are one arm of the wait.

use crate::clock::Clock;
use crate::log;
use crate::spawner::{Spawner, panic_text};
use crate::switch::Message as SwitchMessage;
use crate::wait::{Arrival, Wait};
use callwarden_core::id::StreamId;
use callwarden_core::limits;
use callwarden_core::log::{Event, Level, LogLine};
use callwarden_core::stream::{Counts, Ended, MediaStream, StreamCommand, StreamOutput, StreamReport};
use callwarden_core::time::Alarm;
use futures_util::{FutureExt, SinkExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// An accepted stream before, while and after it has a socket. Whatever becomes of it, dropping it reports its end to
/// the switchboard, once and last.
#[derive(Debug)]
pub struct Session {
    id: StreamId,
    machine: Box<MediaStream>,
    commands: Receiver<StreamCommand>,
    inbox: Sender<SwitchMessage>,
    clock: Clock,
    spawner: Spawner,
    how: Ended,
}

impl Session {
    /// A stream whose upgrade was granted and whose socket is still to come.
    pub(crate) fn new(
        id: StreamId,
        machine: Box<MediaStream>,
        commands: Receiver<StreamCommand>,
        inbox: Sender<SwitchMessage>,
        clock: Clock,
        spawner: Spawner,
    ) -> Self {
        let how = Ended::Lost("the socket was dropped".to_owned());
        Self { id, machine, commands, inbox, clock, spawner, how }
    }

    /// Looks after the socket until it is gone.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut socket: WebSocketStream<S>) {
        self.how = match AssertUnwindSafe(self.attend(&mut socket)).catch_unwind().await {
            Ok(how) => how,
            Err(panic) => Ended::Lost(format!("the stream's task panicked: {}", panic_text(&*panic))),
        };
        drop(self);
        finish_closing(&mut socket).await;
    }

    async fn attend<S: AsyncRead + AsyncWrite + Unpin>(&mut self, socket: &mut WebSocketStream<S>) -> Ended {
        let mut wait = Wait::new(socket, &mut self.commands);
        let mut alarm = Alarm::default();
        let mut out = Vec::new();
        loop {
            if let Some(at) = alarm.rearm(self.machine.next_timeout()) {
                wait.set_timer(self.clock.deadline(at));
            }
            let arrival = wait.next().await;
            let now = self.clock.mono();
            match arrival {
                Arrival::Text(text) => self.machine.text(now, &text, &mut out),
                Arrival::Binary => self.machine.binary(now, &mut out),
                Arrival::Command(command) => self.machine.command(now, command, &mut out),
                Arrival::Timer => {
                    alarm.fired();
                    self.machine.handle_timeout(now, &mut out);
                }
                Arrival::Over(how) => return how,
            }
            let mut close = None;
            for output in out.drain(..) {
                match output {
                    StreamOutput::Report(report) => tell(&self.inbox, self.id, report).await,
                    StreamOutput::Send(text) => wait.send(Message::text(text)),
                    StreamOutput::Log(line) => log::print(&line),
                    StreamOutput::Close(code) => close = Some(code),
                }
            }
            if let Some(code) = close {
                return wait.close(code.code()).await;
            }
        }
    }
}

/// Waits for room: a stream may wait for the switchboard, which never waits for a stream.
async fn tell(inbox: &Sender<SwitchMessage>, id: StreamId, report: StreamReport) {
    if inbox.send(SwitchMessage::Stream { id, report }).await.is_err() {
        // The switchboard is gone and the process is about to be.
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut reports = last_reports(&mut self.machine, self.clock, &self.how);
        let (id, inbox) = (self.id, self.inbox.clone());
        while let Some(report) = reports.next() {
            match inbox.try_send(SwitchMessage::Stream { id, report }) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(first)) => {
                    let rest: Vec<_> = reports.map(|report| SwitchMessage::Stream { id, report }).collect();
                    return self.spawner.spawn(async move {
                        for message in std::iter::once(first).chain(rest) {
                            if inbox.send(message).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        }
    }
}

/// Ends the machine and gives its reports, the last of which is the end, even when the machine itself is broken.
fn last_reports(machine: &mut MediaStream, clock: Clock, how: &Ended) -> impl Iterator<Item = StreamReport> + use<> {
    let mut out = Vec::new();
    let ended = catch_unwind(AssertUnwindSafe(|| machine.ended(clock.mono(), how, &mut out)));
    let mut reports = Vec::new();
    for output in out {
        match output {
            StreamOutput::Report(report) => reports.push(report),
            StreamOutput::Log(line) => log::print(&line),
            StreamOutput::Send(_) | StreamOutput::Close(_) => {}
        }
    }
    if let Err(panic) = ended {
        let how = format!("the stream's machine panicked: {}", panic_text(&*panic));
        log::print(&LogLine::new(Level::Error, Event::WsHandlerError).cause(&how));
        reports.retain(|report| !matches!(report, StreamReport::Ended { .. }));
        reports.push(StreamReport::Ended { how, counts: Counts::default() });
    }
    reports.into_iter()
}

/// Lets the last close frame out: the answer to the peer's, or ours that says why we leave. Then ends our half and reads
/// the peer's away: closed earlier, its unread bytes would reset the connection, and it would lose the frame.
async fn finish_closing<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    let why = CloseFrame { code: CloseCode::Error, reason: Utf8Bytes::default() };
    let closed = async {
        // Refused where a close frame was sent or has come; what waits to be sent then is the answer to that.
        socket.start_send_unpin(Message::Close(Some(why))).ok();
        socket.flush().await.ok();
    };
    timeout(limits::CLOSE_TIME, closed).await.ok();
    let stream = socket.get_mut();
    let read_away = async {
        let mut rest = vec![0; limits::SOCKET_READ_BYTES];
        let mut open = stream.shutdown().await.is_ok();
        while open {
            open = matches!(stream.read(&mut rest).await, Ok(1..));
            // A peer that sends faster than this reads would hold the thread until the deadline.
            yield_now().await;
        }
    };
    timeout(limits::LINGER_TIME, read_away).await.ok();
}

#[cfg(test)]
mod tests;
