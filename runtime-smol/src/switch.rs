//! The task that owns the [`Switchboard`]: a bounded inbox in, effects out.
//!
//! The task never waits for anything but its inbox and its timer. Answers, effects and commands leave without
//! blocking, so connections and streams may wait for it without ever waiting in a circle.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::fetch::Client;
use crate::log;
use crate::session::Session;
use crate::spawner::{Spawner, panic_text};
use crate::store::Store;
use callwarden_core::disk::{DiskAnswer, DiskCommand, DiskError};
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::{Request, Response};
use callwarden_core::id::{DiskId, FetchId, RequestId, StoreId, StreamId};
use callwarden_core::lifecycle::Finish;
use callwarden_core::limits;
use callwarden_core::prompts::RenderReport;
use callwarden_core::store::{StoreAnswer, StoreCommand, StoreError};
use callwarden_core::stream::{MediaStream, StreamCommand, StreamReport};
use callwarden_core::switchboard::{Input, Output, Switchboard};
use callwarden_core::time::Alarm;
use futures_util::{FutureExt, Stream};
use smol::Timer;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::yield_now;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// What the switchboard's task is told.
#[derive(Debug)]
pub enum Message {
    /// A request, and where its one answer goes.
    Request {
        /// The request, whole.
        request: Request,
        /// Takes the answer; dropped without one when the switchboard has stopped.
        reply: Sender<Answer>,
    },
    /// A stream reports.
    Stream {
        /// Which.
        id: StreamId,
        /// What.
        report: StreamReport,
    },
    /// A fetch is over.
    Fetched {
        /// Which.
        id: FetchId,
        /// What came of it.
        result: Result<FetchResponse, FetchError>,
    },
    /// A database command is over.
    Stored {
        /// Which.
        id: StoreId,
        /// What came of it.
        result: Result<StoreAnswer, StoreError>,
    },
    /// A prompt was rendered, or could not be.
    Prompt(RenderReport),
    /// A file command is over.
    Filed {
        /// Which.
        id: DiskId,
        /// What came of it.
        result: Result<DiskAnswer, DiskError>,
    },
    /// The process was asked to stop.
    Drain,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// This response.
    Response(Response),
    /// 101, and then this stream on its socket.
    Upgrade(Session),
}

/// Everything the switchboard's effects need.
#[derive(Debug)]
pub(crate) struct Hands {
    pub(crate) clock: Clock,
    pub(crate) spawner: Spawner,
    pub(crate) client: Client,
    pub(crate) store: Arc<Store>,
    pub(crate) disk: Disk,
    /// For the effects' answers and the streams' reports.
    pub(crate) inbox: Sender<Message>,
}

/// Runs `board` until its inbox is closed; `first` is what its construction asked for. `finish` hears when a drain is
/// done, and of a panic.
pub(crate) async fn run(
    board: Switchboard,
    first: Vec<Output>,
    hands: Hands,
    inbox: Receiver<Message>,
    finish: Sender<Finish>,
) {
    let waiting = BTreeMap::new();
    let mut switch = Switch { board, hands, out: first, waiting, streams: BTreeMap::new(), draining: false };
    if let Err(panic) = AssertUnwindSafe(switch.attend(inbox, &finish)).catch_unwind().await {
        // Nobody listens only when the server is being dropped.
        finish.force_send(Finish::Panicked(panic_text(&*panic).to_owned())).ok();
    }
}

struct Switch {
    board: Switchboard,
    hands: Hands,
    out: Vec<Output>,
    waiting: BTreeMap<RequestId, Sender<Answer>>,
    streams: BTreeMap<StreamId, Sender<StreamCommand>>,
    draining: bool,
}

impl Switch {
    async fn attend(&mut self, inbox: Receiver<Message>, finish: &Sender<Finish>) {
        let mut inbox = pin!(inbox);
        let mut timer = Timer::never();
        let mut alarm = Alarm::default();
        self.perform();
        for turn in 1_usize.. {
            let now = self.hands.clock.now();
            if self.board.next_timeout().is_some_and(|at| at <= now.mono) {
                // Bounded; what is left stays due and has its turn after the next message.
                self.board.handle_timeout(now, &mut self.out);
                self.perform();
            }
            if self.draining && self.board.is_drained() {
                self.draining = false;
                // Full means that somebody knows already.
                finish.try_send(Finish::Drained).ok();
            }
            if let Some(at) = alarm.rearm(self.board.next_timeout()) {
                match self.hands.clock.deadline(at) {
                    Some(at) => timer.set_at(at),
                    None => timer = Timer::never(),
                }
            }
            match next(inbox.as_mut(), &mut timer).await {
                Arrival::Message(message) => self.handle(message),
                Arrival::Timer => alarm.fired(),
                Arrival::Closed => return,
            }
            if turn.is_multiple_of(limits::INPUTS_PER_TURN_MAX) {
                yield_now().await;
            }
        }
    }

    fn handle(&mut self, message: Message) {
        let input = match message {
            Message::Request { request, reply } => match self.board.admit(&request) {
                Ok(id) => {
                    self.waiting.insert(id, reply);
                    Input::Request { id, request }
                }
                Err(response) => return drop(reply.try_send(Answer::Response(*response))),
            },
            Message::Stream { id, report } => {
                if matches!(report, StreamReport::Ended { .. }) {
                    self.streams.remove(&id);
                }
                Input::Stream { id, report }
            }
            Message::Fetched { id, result } => Input::Fetched { id, result },
            Message::Stored { id, result } => Input::Stored { id, result },
            Message::Prompt(report) => Input::Prompt(report),
            Message::Filed { id, result } => Input::Disk { id, result },
            Message::Drain => {
                self.draining = true;
                Input::Drain
            }
        };
        self.board.handle(self.hands.clock.now(), input, &mut self.out);
        self.perform();
    }

    /// Acts first and prints afterwards.
    fn perform(&mut self) {
        let mut out = mem::take(&mut self.out);
        for output in out.drain(..) {
            match output {
                Output::Reply { id, response } => self.answer(id, Answer::Response(response)),
                Output::Upgrade { id, stream, machine } => self.upgrade(id, stream, machine),
                Output::Fetch { id, request } => self.hands.fetch(id, request),
                Output::Store { id, command, timeout } => self.hands.store(id, command, timeout),
                Output::Disk { id, command } => self.hands.disk(id, command),
                Output::Command { id, command } => self.command(id, command),
                Output::Log(line) => log::print(&line),
            }
        }
        self.out = out;
    }

    /// An answer nobody waits for any more is dropped, and with it a stream, whose end is then reported.
    fn answer(&mut self, id: RequestId, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&id) {
            drop(reply.try_send(answer));
        }
    }

    fn upgrade(&mut self, id: RequestId, stream: StreamId, machine: Box<MediaStream>) {
        let (sender, commands) = bounded(limits::COMMANDS_PER_STREAM_MAX);
        self.streams.insert(stream, sender);
        let hands = &self.hands;
        let session = Session::new(stream, machine, commands, hands.inbox.clone(), hands.clock, hands.spawner.clone());
        self.answer(id, Answer::Upgrade(session));
    }

    /// Never waits: a stream that leaves its commands lying is dead, and losing its sender ends it.
    fn command(&mut self, id: StreamId, command: StreamCommand) {
        if self.streams.get(&id).is_some_and(|stream| stream.try_send(command).is_err()) {
            self.streams.remove(&id);
        }
    }
}

impl Hands {
    fn fetch(&self, id: FetchId, request: FetchRequest) {
        let (client, inbox) = (self.client.clone(), self.inbox.clone());
        self.spawner.spawn(async move {
            let result = client.fetch_guarded(request).await;
            // Without a switchboard nobody is interested.
            inbox.send(Message::Fetched { id, result }).await.ok();
        });
    }

    fn store(&self, id: StoreId, command: StoreCommand, timeout: Duration) {
        let (store, inbox) = (Arc::clone(&self.store), self.inbox.clone());
        self.spawner.spawn(async move {
            let result = AssertUnwindSafe(store.run(command, timeout)).catch_unwind().await;
            let result = result.unwrap_or_else(|panic| {
                Err(StoreError::Unavailable(format!("the store panicked: {}", panic_text(&*panic))))
            });
            inbox.send(Message::Stored { id, result }).await.ok();
        });
    }

    fn disk(&self, id: DiskId, command: DiskCommand) {
        let (disk, inbox) = (self.disk.clone(), self.inbox.clone());
        self.spawner.spawn(async move {
            let result = AssertUnwindSafe(disk.run(command)).catch_unwind().await;
            let result = result.unwrap_or_else(|panic| Err(DiskError(format!("it panicked: {}", panic_text(&*panic)))));
            inbox.send(Message::Filed { id, result }).await.ok();
        });
    }
}

enum Arrival {
    Message(Message),
    Timer,
    Closed,
}

/// Waits for a message, or else for the timer.
async fn next(mut inbox: Pin<&mut Receiver<Message>>, timer: &mut Timer) -> Arrival {
    poll_fn(|cx| {
        if let Poll::Ready(message) = inbox.as_mut().poll_next(cx) {
            return Poll::Ready(message.map_or(Arrival::Closed, Arrival::Message));
        }
        Pin::new(&mut *timer).poll(cx).map(|_| Arrival::Timer)
    })
    .await
}

#[cfg(test)]
mod tests;
