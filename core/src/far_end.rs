//! The far end: one simulated call at Twilio, with its caller, as a state machine without I/O.
//!
//! It is written from Twilio's documentation alone, so that it cannot share a misreading with the server it calls: it
//! parses TwiML, signs requests and checks messages with code of its own. Tests in virtual time, the fuzzer, the `demo`
//! and `call` commands and the load program all drive this one machine.
//!
//! # Driving it
//!
//! Every method takes the time and appends to a caller-owned `Vec<FarOutput>`. [`FarOutput::Request`],
//! [`FarOutput::FetchMedia`] and [`FarOutput::OpenSocket`] carry an id and are answered exactly once with the
//! [`FarInput`] that carries the same id; a stale or repeated answer changes nothing. [`FarEnd::next_timeout`] says when
//! [`FarEnd::handle_timeout`] wants to be called; early calls do nothing. [`FarOutput::Ended`] is the last output: the
//! call is over and every callback has been answered or given up. REST requests of the server are put to
//! [`FarEnd::rest`], which answers at once.
//!
//! What transcribes is another service, simulated in [`openai`]; what the caller says is in [`sample`].
//!
//! # What it does not do
//!
//! It follows no HTTP redirects, keeps no cookies, sends no key presses and plays no audio the server sends over the
//! socket: marks come back at once. TwiML must be sent as XML; Twilio would also read text aloud.

mod asking;
mod frames;
mod ledger;
mod messages;
pub mod openai;
mod plan;
mod recording;
mod rest;
pub mod sample;
mod sound;
mod streaming;
pub mod twiml;
mod verbs;
mod wire;

#[cfg(test)]
mod tests;

pub use asking::Asked;
pub use ledger::{EndedBy, Executed, Heard, Ledger, Problem, Recorded, Span, Streamed};
pub use plan::{AfterFailure, HangUp, Line, Plan, RecordingFate, StreamFault};
pub use rest::{rest_call, rest_refusal};
pub use sound::playing_time;

use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::key::{Key, Slab};
use crate::limits;
use crate::time::{Instant, Now};
use asking::Purpose;
use core::time::Duration;
use recording::Recording;
use std::collections::{BTreeMap, VecDeque};
use streaming::Stream;
use twiml::Verb;

/// A request of Twilio's under way.
pub type AskId = Key<Asked>;
/// A media file being fetched.
pub type MediaId = Key<MediaKind>;
/// A WebSocket.
pub type SocketId = Key<SocketKind>;

/// Marker of [`MediaId`].
#[derive(Debug)]
pub struct MediaKind;
/// Marker of [`SocketId`].
#[derive(Debug)]
pub struct SocketKind;

/// What the driver does, in order.
#[derive(Debug)]
#[must_use]
pub enum FarOutput {
    /// Perform this request and answer with [`FarInput::Answered`].
    Request {
        /// For the answer.
        id: AskId,
        /// What to ask; its timeout is what the connection overrides leave.
        request: FetchRequest,
    },
    /// GET this URL and answer with [`FarInput::MediaFetched`].
    FetchMedia {
        /// For the answer.
        id: MediaId,
        /// An absolute URL.
        url: String,
    },
    /// Open a WebSocket; answer with [`FarInput::SocketOpened`] or [`FarInput::SocketFailed`].
    OpenSocket {
        /// The socket's id from now on.
        id: SocketId,
        /// A `wss` URL.
        url: String,
        /// Header lines of the upgrade request, beside those the protocol itself needs.
        headers: Vec<(&'static str, String)>,
    },
    /// Send a text message.
    SendText {
        /// On which socket.
        id: SocketId,
        /// The message.
        text: String,
    },
    /// Close a socket properly, or give up opening it; nothing more is expected of it.
    CloseSocket {
        /// Which.
        id: SocketId,
    },
    /// Cut a socket's connection without a close frame; nothing more is expected of it.
    DropSocket {
        /// Which.
        id: SocketId,
    },
    /// The call is over and nothing is under way any more.
    Ended(Box<Ledger>),
}

/// What happened outside.
#[derive(Debug)]
pub enum FarInput<'a> {
    /// A request is over.
    Answered {
        /// Which.
        id: AskId,
        /// What came of it.
        result: Result<FetchResponse, FetchError>,
    },
    /// A media file was fetched.
    MediaFetched {
        /// Which.
        id: MediaId,
        /// How long it plays, or why it cannot be played.
        result: Result<Duration, String>,
    },
    /// The server answered the upgrade with 101.
    SocketOpened {
        /// Which.
        id: SocketId,
    },
    /// The socket could not be opened.
    SocketFailed {
        /// Which.
        id: SocketId,
        /// The status of the answer, if one came.
        status: Option<u16>,
    },
    /// The server sent a text message.
    SocketText {
        /// On which socket.
        id: SocketId,
        /// The message.
        text: &'a str,
    },
    /// The server sent a binary message.
    SocketBinary {
        /// On which socket.
        id: SocketId,
    },
    /// The server closed the socket, or it is lost.
    SocketClosed {
        /// Which.
        id: SocketId,
        /// The code of the close frame, if one came.
        code: Option<u16>,
    },
    /// The caller hangs up, whatever the plan says.
    HangUp,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It was not started.
    Idle,
    /// The first document has not come.
    Ringing,
    /// It was answered.
    InProgress,
    /// It is over, with this final status.
    Over(&'static str),
    /// [`FarOutput::Ended`] was said.
    Settled(&'static str),
}

/// What a call is doing.
#[derive(Debug)]
enum Activity {
    /// It waits for a document, or for nothing at all.
    Waiting,
    /// A media file is on its way.
    Loading { media: MediaId, heard: Heard, times: u32 },
    /// Something sounds, or pauses, until [`Event::VerbDone`].
    Sounding,
    /// `<Connect>`.
    Connected(Box<Stream>),
    /// `<Record>`.
    Recording(Box<Recording>),
}

/// Something that happens at a time of its own. A number is that of the verb it belongs to; when another verb runs by
/// then, nothing happens.
#[derive(Debug)]
enum Event {
    /// An attempt to get an answer has taken too long.
    AttemptOver(AskId),
    /// A media file has taken too long.
    MediaOver(MediaId),
    /// A prompt, a pause, a beep or a recording is over.
    VerbDone(u64),
    OpenSocket(u64),
    SendStart(u64),
    FramesStop(u64),
    SocketBreaks(u64),
    StreamStops(u64),
    /// Twilio sees that the stream failed, with this code and text.
    StreamFailed(u64, u32, String),
    SpeechOver,
    HangUp,
    TimeLimit,
    /// A callback is due.
    Tell(Box<Told>),
}

/// A callback that is sent later.
#[derive(Debug)]
struct Told {
    url: String,
    get: bool,
    parameters: wire::Parameters,
}

/// The key of an [`Event`]: its time, and its place among those of one time.
type Due = (Instant, u64);

/// One simulated call.
#[derive(Debug)]
pub struct FarEnd {
    line: Line,
    plan: Plan,
    now: Now,
    status: Status,
    activity: Activity,
    /// Counts verbs, so that events of an interrupted one are told from those of its successor.
    verb: u64,
    program: VecDeque<Verb>,
    /// Where the running document came from; `None` for a REST update.
    base: Option<String>,
    agenda: BTreeMap<Due, Event>,
    scheduled: u64,
    asked: Slab<Asked>,
    media: Slab<MediaKind>,
    sockets: Slab<SocketKind>,
    streams: u32,
    told: u64,
    /// Until when the caller speaks to a stream; set by the first frame of the call.
    speaks_until: Option<Instant>,
    /// Whether the hang-up that the plan ties to a stream or a recording is on the agenda.
    hang_up_planned: bool,
    ledger: Ledger,
}

impl FarEnd {
    /// A call that has not begun.
    #[must_use]
    pub fn new(line: Line, plan: Plan) -> Self {
        Self {
            line,
            plan,
            now: Now::default(),
            status: Status::Idle,
            activity: Activity::Waiting,
            verb: 0,
            program: VecDeque::new(),
            base: None,
            agenda: BTreeMap::new(),
            scheduled: 0,
            asked: Slab::new(limits::FAR_END_REQUESTS_MAX),
            media: Slab::new(1),
            sockets: Slab::new(1),
            streams: 0,
            told: 0,
            speaks_until: None,
            hang_up_planned: false,
            ledger: Ledger::default(),
        }
    }

    /// The caller has dialled. A second start changes nothing.
    pub fn start(&mut self, now: Now, out: &mut Vec<FarOutput>) {
        self.now = now.not_before(self.now);
        if self.status != Status::Idle {
            return;
        }
        self.status = Status::Ringing;
        self.ledger.change(self.now.mono, Heard::Ringing);
        if let HangUp::Ringing(after) = self.plan.hangs_up {
            self.schedule(after, Event::HangUp);
        }
        let (url, get) = (self.line.voice_url.clone(), self.line.voice_by_get);
        let parameters = self.standard();
        self.ask(Purpose::Document { verb: self.verb, fallback: false }, &url, get, parameters, out);
    }

    /// Takes one input in. What was due before it happens first.
    pub fn handle(&mut self, now: Now, input: FarInput<'_>, out: &mut Vec<FarOutput>) {
        self.work_off(now, out);
        match input {
            FarInput::Answered { id, result } => self.answered(id, Some(result), out),
            FarInput::MediaFetched { id, result } => self.media_fetched(id, result, out),
            FarInput::SocketOpened { id } => self.socket_opened(id, out),
            FarInput::SocketFailed { id, status } => self.socket_failed(id, status),
            FarInput::SocketText { id, text } => self.socket_text(id, text, out),
            FarInput::SocketBinary { id } => self.socket_binary(id),
            FarInput::SocketClosed { id, code } => self.socket_closed(id, code, out),
            FarInput::HangUp => self.hang_up(out),
        }
        self.settle(out);
    }

    /// Works off what is due. Early and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<FarOutput>) {
        self.work_off(now, out);
        self.settle(out);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let event = self.agenda.first_key_value().map(|((at, _), _)| *at);
        match (event, self.next_frame()) {
            (Some(event), Some(frame)) => Some(event.min(frame)),
            (event, frame) => event.or(frame),
        }
    }

    /// The account so far; complete once [`FarOutput::Ended`] was said.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The account up to `now`, the running span included: for looking on while a call is under way.
    #[must_use]
    pub fn ledger_at(&self, now: Now) -> Ledger {
        let mut ledger = self.ledger.clone();
        if !self.is_over() {
            ledger.close(now.mono);
        }
        ledger
    }

    /// Who calls whom.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Whether the call is over, though callbacks may still be under way.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::Over(_) | Status::Settled(_))
    }

    fn work_off(&mut self, now: Now, out: &mut Vec<FarOutput>) {
        self.now = now.not_before(self.now);
        let before = out.len();
        while out.len() - before < limits::FAR_END_OUTPUTS_PER_TURN_MAX {
            let event = self.agenda.first_key_value().map(|(due, _)| *due).filter(|due| due.0 <= self.now.mono);
            let frame = self.next_frame().filter(|at| *at <= self.now.mono);
            match (event, frame) {
                (Some(due), frame) if frame.is_none_or(|frame| due.0 <= frame) => {
                    if let Some(event) = self.agenda.remove(&due) {
                        self.happens(event, out);
                    }
                }
                (_, Some(_)) => self.send_frame(out),
                (_, None) => break,
            }
        }
    }

    fn happens(&mut self, event: Event, out: &mut Vec<FarOutput>) {
        match event {
            Event::AttemptOver(id) => self.answered(id, None, out),
            Event::MediaOver(id) => self.media_fetched(id, Err("no answer in time".to_owned()), out),
            Event::VerbDone(verb) if verb == self.verb => self.verb_done(out),
            Event::OpenSocket(verb) if verb == self.verb => self.open_socket(out),
            Event::SendStart(verb) if verb == self.verb => self.send_start(out),
            Event::FramesStop(verb) if verb == self.verb => self.frames_stop(),
            Event::SocketBreaks(verb) if verb == self.verb => self.socket_breaks(out),
            Event::StreamStops(verb) if verb == self.verb => self.stream_stops(out),
            Event::StreamFailed(verb, code, text) if verb == self.verb => self.stream_failed(code, &text, out),
            Event::SpeechOver => self.speech_over(),
            Event::HangUp => self.hang_up(out),
            Event::TimeLimit => self.end(EndedBy::TimeLimit, out),
            Event::Tell(told) => self.ask(Purpose::Notice, &told.url, told.get, told.parameters, out),
            Event::VerbDone(_)
            | Event::OpenSocket(_)
            | Event::SendStart(_)
            | Event::FramesStop(_)
            | Event::SocketBreaks(_)
            | Event::StreamStops(_)
            | Event::StreamFailed(..) => {}
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) -> Due {
        let due = (self.now.mono + after, self.scheduled);
        self.scheduled += 1;
        self.agenda.insert(due, event);
        due
    }

    /// Says the last word once the call is over and no callback is under way or to come.
    fn settle(&mut self, out: &mut Vec<FarOutput>) {
        let Status::Over(status) = self.status else { return };
        if !self.asked.is_empty() || self.agenda.values().any(|event| matches!(event, Event::Tell(_))) {
            return;
        }
        self.status = Status::Settled(status);
        self.agenda.clear();
        out.push(FarOutput::Ended(Box::new(self.ledger.clone())));
    }

    fn warn(&mut self, code: u32, text: impl Into<String>) {
        self.ledger.problem(self.now.mono, code, text);
    }
}
