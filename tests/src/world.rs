//! The world in virtual time: one switchboard with its streams, simulated calls at its far end, a network, a database
//! and Twilio's REST interface between them. One thread, one clock, no socket.
//!
//! The world is stricter than a real one: it steps exactly to the next event or deadline and never a tick later, so a
//! machine that forgets to say when it wants to be woken is found out. Everything is deterministic: the same script
//! gives the same log lines in the same order (I10).

pub mod alone;
mod database;
mod disk;
mod network;
pub mod rows;
pub mod script;
pub mod speech;
mod wiring;

pub use database::{DatabaseFault, SimulatedDatabase};
pub use disk::SimulatedDisk;
pub use network::RestFault;

use callwarden_core::config::Config;
use callwarden_core::disk::{DiskAnswer, DiskError};
use callwarden_core::far_end::openai::OpenAi;
use callwarden_core::far_end::{AskId, FarEnd, Ledger, Line, MediaId, Plan, SocketId};
use callwarden_core::fetch::FetchResponse;
use callwarden_core::http::{Method, Request, Response};
use callwarden_core::id::{DiskId, FetchId, RequestId, StoreId, StreamId};
use callwarden_core::log::{Event, LogLine};
use callwarden_core::prompts::Prompts;
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid, RecordingSid};
use callwarden_core::store::{StoreAnswer, StoreError};
use callwarden_core::stream::MediaStream;
use callwarden_core::switchboard::{Settings, Switchboard};
use callwarden_core::time::{Instant, Now, UnixMillis};
use script::ScriptSocket;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The auth token of the simulated account.
pub const AUTH_TOKEN: &str = "virtual-auth-token";
/// The public host of the simulated deployment.
pub const HOST: &str = "calls.example.com";
/// One way through the simulated network.
pub const LATENCY: Duration = Duration::from_millis(10);
/// The wall clock at the monotonic clock's zero.
const STARTED: UnixMillis = UnixMillis(1_795_000_000_000);
/// A run that takes more steps than this is stuck.
const STEPS_MAX: usize = 2_000_000;

/// Who asked the switchboard for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Call(usize, AskId),
    Media(usize, MediaId),
    Socket(usize, SocketId),
    Script(usize),
}

/// Something on its way.
#[derive(Debug)]
enum InTransit {
    ToServer(Asker, Box<Request>),
    Answered(usize, AskId, Box<Response>),
    Unreachable(usize, AskId),
    MediaAnswered(usize, MediaId, Box<Response>),
    SocketOpened(usize, SocketId),
    SocketRefused(usize, SocketId, u16),
    ToStream(StreamId, String),
    StreamEnded(StreamId, callwarden_core::stream::Ended),
    ToFarEnd(usize, SocketId, String),
    ClosedByServer(usize, SocketId, u16),
    Stored(StoreId, Result<StoreAnswer, StoreError>),
    Fetched(FetchId, Result<FetchResponse, callwarden_core::fetch::FetchError>),
    Update(FetchId, Box<callwarden_core::fetch::FetchRequest>, RestFault),
    Transcribe(FetchId, Box<callwarden_core::fetch::FetchRequest>),
    Filed(DiskId, Result<DiskAnswer, DiskError>),
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Call(usize, SocketId),
    Script(usize),
}

struct Socket {
    machine: MediaStream,
    peer: Peer,
    /// Its task hangs: it takes and does nothing.
    frozen: bool,
}

/// A simulated deployment and its calls.
pub struct World {
    /// The present.
    pub now: Now,
    /// The machine under test.
    pub switchboard: Switchboard,
    /// The calls, in order of [`World::call`].
    pub calls: Vec<FarEnd>,
    /// The database.
    pub database: SimulatedDatabase,
    /// The disk.
    pub disk: SimulatedDisk,
    /// The transcription service.
    pub openai: OpenAi,
    /// Whether it cannot even be reached.
    pub openai_down: bool,
    /// The digest of a clip to which the service always answers 500.
    pub stumbles_over: Option<String>,
    /// What becomes of the next REST requests, one each; afterwards [`World::rest_always`].
    pub rest_next: VecDeque<RestFault>,
    /// What becomes of every other REST request.
    pub rest_always: RestFault,
    /// What Twilio gives in the place of a recording's audio.
    pub recording_bodies: BTreeMap<RecordingSid, FetchResponse>,
    /// Webhooks of calls to these paths find no connection.
    pub lost_paths: BTreeSet<&'static str>,
    /// Every REST request the server made: when, method, URL.
    pub rest_log: Vec<(Instant, Method, String)>,
    /// Every log line.
    pub log: Vec<(Instant, LogLine)>,
    /// By how many milliseconds the wall clock is off.
    pub wall_clock_off: i64,
    /// Wakes every machine between any two events and repeats every answer to an effect: nothing may change (I2, I4, I8).
    pub nuisance: bool,
    /// Delivers every webhook of a call a second time so much later; the second answer goes nowhere (I7).
    pub twice: Option<Duration>,
    /// Answers to requests of [`World::request`].
    pub answers: Vec<Option<Response>>,
    settings: Settings,
    ended: BTreeMap<usize, Ledger>,
    sockets: BTreeMap<StreamId, Socket>,
    script_streams: BTreeMap<usize, StreamId>,
    script_sockets: BTreeMap<usize, ScriptSocket>,
    of_request: BTreeMap<RequestId, Asker>,
    transit: BTreeMap<(Instant, u64), InTransit>,
    serial: u64,
    steps: usize,
}

/// The ordinary configuration of a world: an account, a public host, short prompts.
#[must_use]
pub fn settings(more: &[(&str, &str)]) -> Settings {
    let account = AccountSid::from_number(1).to_string();
    let base = [
        ("TWILIO_ACCOUNT_SID", account.as_str()),
        ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
        ("DATABASE_URL", "postgres://virtual/virtual"),
        ("PUBLIC_HOST", HOST),
        ("GREETING_TEXT", ""),
    ];
    let pairs = base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let pairs: BTreeMap<String, String> = pairs.collect();
    let config = Config::from_pairs(pairs).expect("a valid configuration");
    let prompts = Prompts::new(&config, |_| None).expect("no prompt files");
    Settings { config, prompts, node: "node-1".into(), development_key: [7; 32], runtime: "virtual", trace: false }
}

impl World {
    /// A deployment with the ordinary configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::with(settings(&[]))
    }

    /// A deployment with these settings.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self::begin(settings, DatabaseFault::None)
    }

    /// The ordinary deployment, whose database fails from the start.
    #[must_use]
    pub fn down(fault: DatabaseFault) -> Self {
        Self::begin(settings(&[]), fault)
    }

    fn begin(settings: Settings, fault: DatabaseFault) -> Self {
        let now = Now { mono: Instant::from_millis(1_000), unix: STARTED };
        let mut out = Vec::new();
        let switchboard = Switchboard::new(now, settings.clone(), &mut out);
        let mut world = Self {
            now,
            switchboard,
            calls: Vec::new(),
            database: SimulatedDatabase { fault, ..SimulatedDatabase::default() },
            disk: SimulatedDisk::default(),
            openai: speech::service(),
            openai_down: false,
            stumbles_over: None,
            settings,
            rest_next: VecDeque::new(),
            rest_always: RestFault::None,
            recording_bodies: BTreeMap::new(),
            lost_paths: BTreeSet::new(),
            rest_log: Vec::new(),
            log: Vec::new(),
            wall_clock_off: 0,
            nuisance: false,
            twice: None,
            answers: Vec::new(),
            ended: BTreeMap::new(),
            sockets: BTreeMap::new(),
            script_streams: BTreeMap::new(),
            script_sockets: BTreeMap::new(),
            of_request: BTreeMap::new(),
            transit: BTreeMap::new(),
            serial: 0,
            steps: 0,
        };
        world.perform(out);
        world.run_for(Duration::from_millis(100));
        world
    }

    /// Kills the process and starts another one on the same disk and database. Its sockets are lost, and so is the
    /// answer to whatever it was asked.
    pub fn kill_and_restart(&mut self) {
        let old = std::mem::take(&mut self.settings.node);
        self.disk.orphan(&old);
        self.settings.node = format!("{old}+");
        let of_the_old_one = |event: &InTransit| match event {
            InTransit::Stored(..)
            | InTransit::Fetched(..)
            | InTransit::Filed(..)
            | InTransit::ToStream(..)
            | InTransit::StreamEnded(..) => true,
            InTransit::ToServer(..)
            | InTransit::Answered(..)
            | InTransit::Unreachable(..)
            | InTransit::MediaAnswered(..)
            | InTransit::SocketOpened(..)
            | InTransit::SocketRefused(..)
            | InTransit::ToFarEnd(..)
            | InTransit::ClosedByServer(..)
            | InTransit::Update(..)
            | InTransit::Transcribe(..) => false,
        };
        self.transit.retain(|_, event| !of_the_old_one(event));
        self.of_request.clear();
        for (_, socket) in std::mem::take(&mut self.sockets) {
            if let Peer::Call(call, id) = socket.peer {
                self.send(LATENCY, InTransit::ClosedByServer(call, id, 1006));
            }
        }
        let mut out = Vec::new();
        self.switchboard = Switchboard::new(self.now, self.settings.clone(), &mut out);
        self.perform(out);
    }

    /// Starts a call and says which it is.
    pub fn call(&mut self, plan: Plan) -> usize {
        let number = 0x100 + self.calls.len() as u128;
        let line = Line::to_server(
            &format!("https://{HOST}"),
            AccountSid::from_number(1),
            CallSid::from_number(number),
            Some(Secret::new(AUTH_TOKEN)),
        );
        let mut far = FarEnd::new(line, plan);
        let mut out = Vec::new();
        far.start(self.now, &mut out);
        let index = self.calls.len();
        self.calls.push(far);
        self.perform_far(index, out);
        index
    }

    /// The identifier of a call.
    #[must_use]
    pub fn sid(&self, call: usize) -> CallSid {
        self.calls[call].line().call
    }

    /// What the caller experienced so far.
    #[must_use]
    pub fn ledger(&self, call: usize) -> &Ledger {
        self.ended.get(&call).unwrap_or_else(|| self.calls[call].ledger())
    }

    /// Sends a request of the script's own; its answer will be in [`World::answers`] at the returned place.
    pub fn request(&mut self, request: Request) -> usize {
        self.answers.push(None);
        let place = self.answers.len() - 1;
        self.script_asked(place, request);
        place
    }

    /// Runs until a call has ended and everything about it is settled.
    pub fn run_to_the_end_of(&mut self, call: usize) -> &Ledger {
        self.run_until(Duration::from_secs(6 * 3600), |world| world.ended.contains_key(&call));
        &self.ended[&call]
    }

    /// Runs until `done`; panics when that has not come within `limit`.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now.mono + limit;
        while !done(self) {
            assert!(self.next_event().is_some_and(|at| at <= end), "it did not come about within {limit:?}");
            self.step();
        }
    }

    /// Runs for so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while self.next_event().is_some_and(|at| at <= end) {
            self.step();
        }
        self.go_to(end);
    }

    /// The log lines of a call with this event.
    #[must_use]
    pub fn lines(&self, call: usize, event: Event) -> Vec<&LogLine> {
        let sid = self.sid(call);
        self.log.iter().map(|(_, line)| line).filter(|line| line.event == event && line.call_sid == Some(sid)).collect()
    }

    /// When a call's first line with this event was logged.
    #[must_use]
    pub fn logged_at(&self, call: usize, event: Event) -> Option<Instant> {
        let sid = self.sid(call);
        let found = self.log.iter().find(|(_, line)| line.event == event && line.call_sid == Some(sid));
        found.map(|(at, _)| *at)
    }

    fn next_event(&self) -> Option<Instant> {
        let transit = self.transit.first_key_value().map(|((at, _), _)| *at);
        let far = self.calls.iter().filter_map(FarEnd::next_timeout);
        let awake = self.sockets.values().filter(|socket| !socket.frozen);
        let sockets = awake.filter_map(|socket| socket.machine.next_timeout());
        transit.into_iter().chain(far).chain(sockets).chain(self.switchboard.next_timeout()).min()
    }

    /// Goes to the next event or deadline and does what is due then: first what arrives, then what the far ends do,
    /// then the streams' and the switchboard's deadlines.
    fn step(&mut self) {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "the world is stuck: some deadline does not move");
        let Some(at) = self.next_event() else { return };
        if self.nuisance && at > self.now.mono {
            self.wake_everything(self.now.mono + at.since(self.now.mono) / 2);
        }
        self.go_to(at);
        let now = self.now;
        if let Some(entry) = self.transit.first_entry().filter(|entry| entry.key().0 <= now.mono) {
            let event = entry.remove();
            return self.arrive(event);
        }
        if let Some(index) = self.calls.iter().position(|far| far.next_timeout().is_some_and(|at| at <= now.mono)) {
            let mut out = Vec::new();
            self.calls[index].handle_timeout(now, &mut out);
            return self.perform_far(index, out);
        }
        let due = |socket: &Socket| !socket.frozen && socket.machine.next_timeout().is_some_and(|at| at <= now.mono);
        if let Some(id) = self.sockets.iter().find(|(_, socket)| due(socket)).map(|(id, _)| *id) {
            return self.with_socket(id, |machine, now, out| machine.handle_timeout(now, out));
        }
        let mut out = Vec::new();
        self.switchboard.handle_timeout(now, &mut out);
        self.perform(out);
    }

    /// Wakes every machine though none asked for it, once now and once by clocks that went back.
    fn wake_everything(&mut self, at: Instant) {
        self.go_to(at);
        let (mut out, mut heard, mut far) = (Vec::new(), Vec::new(), Vec::new());
        for now in [self.now, Now::default()] {
            self.switchboard.handle_timeout(now, &mut out);
            for socket in self.sockets.values_mut().filter(|socket| !socket.frozen) {
                socket.machine.handle_timeout(now.mono, &mut heard);
            }
            for call in &mut self.calls {
                call.handle_timeout(now, &mut far);
            }
        }
        assert!(out.is_empty() && heard.is_empty() && far.is_empty(), "I8: {out:?} {heard:?} {far:?}");
    }

    fn go_to(&mut self, at: Instant) {
        self.now.mono = self.now.mono.max(at);
        let since_start = i64::try_from(self.now.mono.as_micros() / 1_000).expect("a few hours");
        self.now.unix = UnixMillis(STARTED.0 + since_start + self.wall_clock_off);
    }

    fn send(&mut self, delay: Duration, event: InTransit) {
        self.serial += 1;
        self.transit.insert((self.now.mono + delay, self.serial), event);
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
