//! The task of one call: hands arrivals to the machine and does what it says.

use super::{http, socket};
use crate::clock::Clock;
use callwarden_core::far_end::{
    AskId, FarEnd, FarInput, FarOutput, Ledger, Line, MediaId, Plan, SocketId, playing_time,
};
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::limits;
use smol::Timer;
use smol::channel::{Receiver, Sender, bounded, unbounded};
use smol::future::or;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What reaches a call's task. The channel is unbounded: a call has a handful of requests under way, and the server's
/// messages are read from its socket one at a time.
#[derive(Debug)]
pub(super) enum Arrival {
    Answered(AskId, Result<FetchResponse, FetchError>),
    Fetched(MediaId, Result<Duration, String>),
    Opened(SocketId),
    Failed(SocketId, Option<u16>),
    Text(SocketId, String),
    Binary(SocketId),
    Closed(SocketId, Option<u16>),
    /// What a REST request or the caller's hand caused.
    Outputs(Vec<FarOutput>),
}

/// A call's machine, and the way to its task.
#[derive(Debug)]
pub(super) struct Live {
    machine: Mutex<FarEnd>,
    arrivals: Sender<Arrival>,
    pub(super) clock: Clock,
}

impl Live {
    pub(super) fn new(line: Line, plan: Plan, clock: Clock) -> (Self, Receiver<Arrival>) {
        let (arrivals, receiver) = unbounded();
        (Self { machine: Mutex::new(FarEnd::new(line, plan)), arrivals, clock }, receiver)
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, FarEnd> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An input from outside the call's task.
    pub(super) fn input(&self, input: FarInput<'_>) {
        let mut out = Vec::new();
        self.machine().handle(self.clock.now(), input, &mut out);
        self.perform(out);
    }

    /// Answers a REST request about this call.
    pub(super) fn rest(&self, request: &FetchRequest) -> FetchResponse {
        let mut out = Vec::new();
        let answer = self.machine().rest(self.clock.now(), request, &mut out);
        self.perform(out);
        answer
    }

    fn perform(&self, out: Vec<FarOutput>) {
        // A closed channel is a call whose task is over: nothing is left to perform.
        self.arrivals.try_send(Arrival::Outputs(out)).ok();
    }
}

/// Runs a call to its end.
pub(super) async fn run(live: Arc<Live>, server: String, arrivals: Receiver<Arrival>) -> Ledger {
    let mut hands = Hands { server, arrivals: live.arrivals.clone(), sockets: BTreeMap::new() };
    let mut out = Vec::new();
    live.machine().start(live.clock.now(), &mut out);
    loop {
        for output in out.drain(..) {
            if let Some(ledger) = hands.perform(output) {
                return ledger;
            }
        }
        let due = live.machine().next_timeout().and_then(|at| live.clock.deadline(at));
        let arrived = async { arrivals.recv().await.ok() };
        let timer = async {
            due.map_or_else(Timer::never, Timer::at).await;
            None
        };
        match or(arrived, timer).await {
            Some(arrival) => handle(&live, arrival, &mut out),
            None => live.machine().handle_timeout(live.clock.now(), &mut out),
        }
    }
}

fn handle(live: &Live, arrival: Arrival, out: &mut Vec<FarOutput>) {
    let input = match &arrival {
        Arrival::Text(id, text) => FarInput::SocketText { id: *id, text },
        Arrival::Opened(id) => FarInput::SocketOpened { id: *id },
        Arrival::Failed(id, status) => FarInput::SocketFailed { id: *id, status: *status },
        Arrival::Binary(id) => FarInput::SocketBinary { id: *id },
        Arrival::Closed(id, code) => FarInput::SocketClosed { id: *id, code: *code },
        Arrival::Answered(id, result) => FarInput::Answered { id: *id, result: result.clone() },
        Arrival::Fetched(id, result) => FarInput::MediaFetched { id: *id, result: result.clone() },
        Arrival::Outputs(_) => {
            if let Arrival::Outputs(outputs) = arrival {
                out.extend(outputs);
            }
            return;
        }
    };
    live.machine().handle(live.clock.now(), input, out);
}

/// Does what the machine says.
struct Hands {
    server: String,
    arrivals: Sender<Arrival>,
    sockets: BTreeMap<SocketId, Sender<socket::Order>>,
}

impl Hands {
    fn perform(&mut self, output: FarOutput) -> Option<Ledger> {
        match output {
            FarOutput::Request { id, request } => {
                self.spawn(|server| async move { Arrival::Answered(id, http::exchange(&server, request).await) });
            }
            FarOutput::FetchMedia { id, url } => {
                self.spawn(|server| async move { Arrival::Fetched(id, fetch_media(&server, url).await) });
            }
            FarOutput::OpenSocket { id, url, headers } => {
                let (orders, received) = bounded(limits::INBOX_MAX);
                self.sockets.insert(id, orders);
                let (server, arrivals) = (self.server.clone(), self.arrivals.clone());
                smol::spawn(async move { socket::run(id, &server, &url, &headers, &received, &arrivals).await })
                    .detach();
            }
            FarOutput::SendText { id, text } => self.order(id, socket::Order::Send(text)),
            FarOutput::CloseSocket { id } => {
                self.order(id, socket::Order::Close);
                self.sockets.remove(&id);
            }
            FarOutput::DropSocket { id } => {
                self.order(id, socket::Order::Drop);
                self.sockets.remove(&id);
            }
            FarOutput::Ended(ledger) => return Some(*ledger),
        }
        None
    }

    /// Runs something beside the call and brings home what it came to. It is bounded by its own timeout.
    fn spawn<F: Future<Output = Arrival> + Send + 'static>(&self, work: impl FnOnce(String) -> F) {
        let (work, arrivals) = (work(self.server.clone()), self.arrivals.clone());
        // A call that is over needs no arrival.
        smol::spawn(async move { arrivals.try_send(work.await).unwrap_or_default() }).detach();
    }

    fn order(&self, id: SocketId, order: socket::Order) {
        if let Some(orders) = self.sockets.get(&id) {
            // A socket's task that is over has told so; audio for a server that reads nothing is discarded.
            orders.try_send(order).ok();
        }
    }
}

async fn fetch_media(server: &str, url: String) -> Result<Duration, String> {
    let request = FetchRequest {
        method: Method::Get,
        url,
        headers: vec![("user-agent", "TwilioMediaPlayer/1.0".to_owned()), ("accept", "audio/*".to_owned())],
        authorization: None,
        body: Default::default(),
        timeout: limits::FAR_END_REQUEST_TIME,
        response_bytes_max: limits::PROMPT_BYTES_MAX,
        public_only: false,
    };
    let answer = http::exchange(server, request).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("the answer was {}", answer.status));
    }
    playing_time(answer.headers.get("content-type").unwrap_or_default(), &answer.body)
}
