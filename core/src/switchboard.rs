//! All calls of a process: webhooks are answered, streams admitted, silence acted upon, rows written.
//!
//! One task owns it. Each input is taken in whole and answered by outputs appended to the caller's `Vec`; there is no
//! hidden queue. Every effect ([`Output::Fetch`], [`Output::Store`]) is answered once by an input with its id; a late
//! or repeated answer resolves to nothing (I2). The files below divide the work:
//!
//! | file | decides |
//! |---|---|
//! | `routes` | which request is what, and who may ask it |
//! | `pages` | `/healthz`, `/readyz`, `/version`, `/metrics` |
//! | `prompts` | what the rendering of prompts means |
//! | `webhooks` | what each webhook tells of its call |
//! | `answers` | which TwiML a call gets (section "TwiML decision", the `stream_ended` table, D5) |
//! | `streams` | which socket speaks for a call (S8), and what its reports mean |
//! | `watch` | deadlines, and when a call falls back (W1, W4, W6, W11, W12) |
//! | `delivery` | how a fallback reaches the call (W5, W7) |
//! | `questions` | what Twilio is asked about a call (W5, W11) |
//! | `database` | facts and their queue (D1, D4) |
//! | `speech` | how an utterance becomes text (T1, T4-T6), and what processes that are gone left (T5) |
//! | `recordings` | how a recording becomes text (T2) |
//! | `overdue` | what Twilio is asked about calls that lack something (T8) |
//! | `rounds` | what is asked of the database from time to time |
//! | `nodes` | that this process lives, and whose calls it takes over |

mod answers;
mod database;
mod delivery;
mod interface;
mod nodes;
mod overdue;
mod pages;
mod prompts;
mod questions;
mod recordings;
mod rounds;
mod routes;
mod speech;
mod streams;
mod watch;
mod webhooks;

pub use interface::{Gauges, Input, Output, Settings};

use crate::call::{Call, CallKey};
use crate::http::{self, Response};
use crate::id::{DiskKind, FetchKind, RequestId, RequestKind, StreamKind};
use crate::key::Slab;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::sid::{CallSid, StreamSid};
use crate::store::{CallFact, EventFact, Fact, OverdueCall};
use crate::time::{Instant, Now, UnixMillis};
use crate::token::{TokenKey, TokenKeys};
use crate::transcription::Service as Transcription;
use crate::twiml::PublicHost;
use database::Database;
use nodes::Renewals;
use pages::{Counters, Service};
use recordings::Recordings;
use rounds::Rounds;
use speech::{FileWork, JobKey, Queue, WorkKey};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The machine of a process.
#[derive(Debug)]
pub struct Switchboard {
    settings: Settings,
    public_host: Option<PublicHost>,
    keys: TokenKeys,
    now: Now,
    started: UnixMillis,
    calls: Slab<Call>,
    by_sid: BTreeMap<CallSid, CallKey>,
    deadlines: BTreeSet<(Instant, CallKey)>,
    /// Those of the deadlines at which a call that ended leaves memory.
    ended: BTreeSet<(Instant, CallKey)>,
    requests: Slab<Request, RequestKind>,
    streams: Slab<Stream, StreamKind>,
    fetches: Slab<Fetch, FetchKind>,
    files: Slab<FileWork, DiskKind>,
    database: Database,
    /// How speech is transcribed; `None` without a key.
    transcription: Option<Transcription>,
    speech: Queue,
    /// Bytes of live audio in memory.
    speech_in_memory: usize,
    /// Bytes of live audio in files.
    speech_on_disk: u64,
    /// Whether the disk failed the last time it was used for speech.
    disk_fails: bool,
    /// Files of processes that are gone, to become jobs, and their lengths.
    adoptees: VecDeque<(String, u64)>,
    /// Those of them that are audio of which the database may know the text.
    unproven: VecDeque<(String, u64)>,
    /// Files of ours that are of no more use.
    useless: VecDeque<String>,
    /// Processes that are gone and whose rows are to be looked through.
    inherit: VecDeque<String>,
    recordings: Recordings,
    rounds: Rounds,
    renewals: Renewals,
    twilio: Service,
    openai: Service,
    /// Google's, for the prompts.
    tts: Service,
    /// When a request that looked like Twilio's last came without a signature.
    unsigned: Option<UnixMillis>,
    draining: Option<Instant>,
    counters: Counters,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Request {
    since: Instant,
    path: String,
    level: Level,
}

/// An open WebSocket.
#[derive(Debug)]
struct Stream {
    /// The host it was asked of, for a call that another process announced.
    host: PublicHost,
    /// The call it speaks for, or wants to.
    call: Option<CallKey>,
    /// Whether its `start` was accepted: its frames count for the call.
    accepted: bool,
    /// What is heard on it, once it was accepted.
    heard: Option<Heard>,
}

/// Whose speech comes from a stream.
#[derive(Clone, Copy, Debug)]
struct Heard {
    call: CallSid,
    stream: StreamSid,
    /// When the stream began.
    since: UnixMillis,
}

/// What a fetch is for.
#[derive(Clone, Debug)]
enum Fetch {
    Update(CallKey),
    LookUp(CallKey),
    /// Of a fallback that failed.
    Probe(CallKey),
    /// Of a call that was given a recording document, for its recordings.
    Search(CallKey),
    /// With how often the gate had been shut when it left.
    Transcription(JobKey, u32),
    Recording(WorkKey),
    /// With which auth token it is asked: a 401 is asked again with the next one.
    OverdueEnd(OverdueCall, usize),
    OverdueRecordings(OverdueCall, usize),
}

impl Switchboard {
    /// A process that begins: it opens its database and knows no call.
    #[must_use]
    pub fn new(now: Now, settings: Settings, out: &mut Vec<Output>) -> Self {
        let account = settings.config.twilio.as_ref();
        let keys = account.and_then(TokenKeys::of_account);
        let transcription = Transcription::from_config(&settings.config);
        let mut board = Self {
            public_host: settings.config.public_host.as_deref().and_then(|host| host.parse().ok()),
            keys: keys.unwrap_or_else(|| TokenKeys::single(TokenKey::random(settings.development_key))),
            now,
            started: now.unix,
            calls: Slab::new(limits::CALLS_MAX),
            by_sid: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            ended: BTreeSet::new(),
            requests: Slab::new(limits::REQUESTS_MAX),
            streams: Slab::new(limits::STREAMS_MAX),
            fetches: Slab::new(limits::FETCHES_MAX),
            files: Slab::new(limits::FILE_COMMANDS_MAX),
            database: Database::open(now.mono, out),
            openai: Service::new(transcription.is_some()),
            speech: match transcription {
                Some(_) => Queue::new(),
                None => Queue::shut_for_good(speech::NO_KEY),
            },
            transcription,
            speech_in_memory: 0,
            speech_on_disk: 0,
            disk_fails: false,
            adoptees: VecDeque::new(),
            unproven: VecDeque::new(),
            useless: VecDeque::new(),
            inherit: VecDeque::new(),
            recordings: Recordings::new(),
            rounds: Rounds::new(now.mono),
            renewals: Renewals::new(now.mono),
            twilio: Service::new(account.is_some()),
            tts: Service::new(settings.config.google_credentials.is_some()),
            unsigned: None,
            draining: None,
            counters: Counters::default(),
            settings,
        };
        board.flush(out);
        board
    }

    /// An id for a request that is about to be handled.
    ///
    /// # Errors
    /// Its answer, when [`limits::REQUESTS_MAX`] requests wait already: 503, but the recording document for a webhook,
    /// which never gets 5xx.
    pub fn admit(&mut self, request: &http::Request) -> Result<RequestId, Box<Response>> {
        let entry = Request { since: self.now.mono, path: String::new(), level: Level::Info };
        self.requests.insert(entry).map_err(|_| Box::new(self.one_too_many(request)))
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.now = now.not_before(self.now);
        match input {
            Input::Request { id, request } => self.request(id, &request, out),
            Input::Fetched { id, result } => self.fetched(id, &result, out),
            Input::Stored { id, result } => {
                let finished = self.database.stored(self.now.mono, id, result, out);
                self.stored(finished, out);
            }
            Input::Stream { id, report } => self.reported(id, report, out),
            Input::Disk { id, result } => self.filed(id, result, out),
            Input::Prompt(report) => self.prompt(report, out),
            Input::Drain => self.drain(out),
        }
        self.flush(out);
    }

    /// Sends what can be sent now: speech, rounds, and the facts of everything that came before.
    fn flush(&mut self, out: &mut Vec<Output>) {
        self.flush_speech(out);
        self.flush_files(out);
        self.flush_renewals(out);
        self.flush_rounds(out);
        self.database.flush(self.now.mono, out);
        self.flush_spool(out);
    }

    /// Works off what is due, [`limits::EXPIRIES_PER_TURN_MAX`] calls at most; the rest stays due (I3).
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        self.now = now.not_before(self.now);
        for _ in 0..limits::EXPIRIES_PER_TURN_MAX {
            let Some((at, key)) = self.deadlines.first().copied() else { break };
            if at > self.now.mono {
                break;
            }
            self.expire(key, out);
            self.index(key);
        }
        self.flush(out);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let call = self.deadlines.first().map(|(at, _)| *at);
        let files = self.has_files() || self.database.has_useless_files();
        let speech = if files { Some(self.now.mono) } else { self.speech.next_timeout() };
        let rounds = self.next_renewal().into_iter().chain([self.next_round()]);
        call.into_iter().chain(self.database.next_timeout()).chain(speech).chain(rounds).min()
    }

    /// Whether a drain has nothing left to do, and nothing left to write: the process may exit.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.has_drained() && (self.renewals.retired || !self.database.takes_more())
    }

    /// Whether a drain has nothing left but its last word.
    fn has_drained(&self) -> bool {
        if self.draining.is_none() {
            return false;
        }
        let Gauges { live_calls, streams, requests, fetches, unwritten_facts, .. } = self.gauges();
        live_calls + streams + requests + fetches + unwritten_facts == 0 && !self.speech.is_busy()
    }

    /// How much of everything there is.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let under_way = |call: &Call| call.fallback.as_ref().is_some_and(|fallback| !fallback.is_confirmed());
        Gauges {
            calls: self.calls.len(),
            live_calls: self.calls.iter().filter(|(_, call)| call.is_live()).count(),
            streams: self.streams.len(),
            requests: self.requests.len(),
            fetches: self.fetches.len(),
            unwritten_facts: self.database.unwritten(),
            fallbacks_under_way: self.calls.iter().filter(|(_, call)| under_way(call)).count(),
            speech_waiting: self.speech.jobs.len() + self.adoptees.len() + self.unproven.len(),
            speech_in_memory: self.speech_in_memory,
            speech_on_disk: self.speech_on_disk,
            recordings: self.recordings.works.len(),
            spool_files: self.database.files(self.now.mono).0,
            file_commands: self.files.len(),
        }
    }

    /// Answers a request; the second answer to one goes nowhere (I1).
    fn reply(&mut self, id: RequestId, response: Response, out: &mut Vec<Output>) {
        let Some(request) = self.requests.remove(id) else { return };
        let mut line = LogLine::new(request.level, Event::Res);
        line.status = Some(u64::from(response.status));
        line.ms = Some(u64::try_from(self.now.mono.since(request.since).as_millis()).unwrap_or(u64::MAX));
        line.path = Some(request.path);
        out.push(Output::Reply { id, response });
        out.push(Output::Log(Box::new(line)));
    }

    /// The call, as a new entry if it is not known; `None` when memory is full of live calls.
    fn find_or_add(&mut self, sid: CallSid, host: &PublicHost) -> Option<CallKey> {
        if let Some(key) = self.by_sid.get(&sid) {
            return Some(*key);
        }
        if self.calls.len() >= limits::CALLS_MAX {
            self.forget_one_that_ended();
        }
        let key = self.calls.insert(Call::new(sid, host.clone(), self.now.mono)).ok()?;
        self.by_sid.insert(sid, key);
        Some(key)
    }

    /// Makes room: the call that ended longest ago leaves before its time.
    fn forget_one_that_ended(&mut self) {
        if let Some((_, key)) = self.ended.first().copied() {
            self.forget(key);
        }
    }

    /// Drops a call's entry. Its streams, if any are left, speak for nobody from here on.
    fn forget(&mut self, key: CallKey) {
        if let Some(call) = self.calls.remove(key) {
            self.by_sid.remove(&call.sid);
            if let Some(at) = call.indexed {
                self.deadlines.remove(&(at, key));
                self.ended.remove(&(at, key));
            }
        }
    }

    /// Files the call under its next deadline. To be called after anything that changed it.
    fn index(&mut self, key: CallKey) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let next = call.next_deadline();
        if call.indexed == Some(next) {
            return;
        }
        if let Some(at) = call.indexed.replace(next) {
            self.deadlines.remove(&(at, key));
            self.ended.remove(&(at, key));
        }
        if call.is_done() {
            self.ended.insert((next, key));
        }
        self.deadlines.insert((next, key));
    }

    /// A fact about a call, to be filled in.
    fn fact(&self, call: CallSid) -> CallFact {
        CallFact::new(call, self.now.unix, self.settings.node.clone())
    }

    fn write(&mut self, fact: CallFact, out: &mut Vec<Output>) {
        self.database.add(Fact::Call(Box::new(fact)), out);
    }

    /// Adds a line to a call's timeline.
    fn note(&mut self, call: CallSid, event: &'static str, detail: impl ToString, out: &mut Vec<Output>) {
        let detail = detail.to_string();
        self.database.add(Fact::Event(EventFact { call, at: self.now.unix, event: event.into(), detail }), out);
    }
}

/// Pushes a log line.
fn log(line: LogLine, out: &mut Vec<Output>) {
    out.push(Output::Log(Box::new(line)));
}
