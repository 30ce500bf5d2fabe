//! The world in virtual time: processes with their streams, simulated calls at the far end, and a network, a database,
//! Twilio's REST interface and OpenAI between them. One thread, one clock, no socket.
//!
//! The world is stricter than a real one: it steps exactly to the next event or deadline and never a tick later, so a
//! machine that forgets to say when it wants to be woken is found out. Everything is deterministic: the same script
//! gives the same log lines in the same order (I10).

mod agenda;
pub mod alone;
mod database;
mod disk;
mod far;
pub mod google;
pub mod history;
mod invariants;
mod network;
mod node;
mod nodes;
mod processes;
pub mod rows;
pub mod script;
pub mod speech;
mod wiring;

pub use database::{DatabaseFault, SimulatedDatabase};
pub use disk::SimulatedDisk;
pub use invariants::{Trouble, Troubled, Witness};
pub use network::{Hook, HookFault, RestFault};
pub use node::Node;

use crate::google::GoogleService;
use crate::model;
use agenda::{Agenda, Next, Wake, first};
use callwarden_core::config::Config;
use callwarden_core::disk::{DiskAnswer, DiskError};
use callwarden_core::far_end::openai::OpenAi;
use callwarden_core::far_end::{AskId, FarEnd, FarOutput, Ledger, Line, MediaId, Plan, SocketId};
use callwarden_core::fetch::FetchResponse;
use callwarden_core::http::{Method, Request, Response};
use callwarden_core::id::{DiskId, FetchId, StoreId, StreamId};
use callwarden_core::log::{Event, LogLine};
use callwarden_core::prompts::{Prompts, RenderInput, RenderStep};
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid, RecordingSid};
use callwarden_core::store::{StoreAnswer, StoreError};
use callwarden_core::switchboard::{Output, Settings};
use callwarden_core::time::{Instant, Now, UnixMillis};
use history::History;
use invariants::Told;
use network::Chance;
use node::Process;
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
    Call(usize, AskId, Told),
    Media(usize, MediaId),
    Socket(usize, SocketId),
    Script(usize),
}

/// Something on its way. What names a process is lost with it.
#[derive(Debug)]
enum InTransit {
    ToServer(Asker, Box<Request>),
    Answered(usize, AskId, Box<Response>),
    Unreachable(Asker),
    Reset(Asker),
    MediaAnswered(usize, MediaId, Box<Response>),
    SocketOpened(usize, SocketId),
    SocketRefused(usize, SocketId, u16),
    ToStream(Process, StreamId, String),
    StreamEnded(Process, StreamId, callwarden_core::stream::Ended),
    ToFarEnd(usize, SocketId, String),
    ClosedByServer(usize, SocketId, u16),
    Stored(Process, StoreId, Result<StoreAnswer, StoreError>),
    Fetched(Process, FetchId, Result<FetchResponse, callwarden_core::fetch::FetchError>),
    Update(Process, FetchId, Box<callwarden_core::fetch::FetchRequest>, RestFault),
    Transcribe(Process, FetchId, Box<callwarden_core::fetch::FetchRequest>),
    Filed(Process, DiskId, Result<DiskAnswer, DiskError>),
    ToGoogle(Process, RenderStep, Box<callwarden_core::fetch::FetchRequest>),
    Rendered(Process, RenderInput),
}

/// A simulated deployment and its calls.
pub struct World {
    /// The present.
    pub now: Now,
    /// The processes, each in its place for good.
    pub nodes: Vec<Node>,
    /// The calls, in order of [`World::call`].
    pub calls: Vec<FarEnd>,
    /// The database.
    pub database: SimulatedDatabase,
    /// The transcription service.
    pub openai: OpenAi,
    /// What renders prompts.
    pub google: GoogleService,
    /// Whether the transcription service cannot even be reached.
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
    /// What befalls the next webhooks of each kind.
    pub hooks: BTreeMap<Hook, VecDeque<HookFault>>,
    /// Every REST request the server made: when, method, URL.
    pub rest_log: Vec<(Instant, Method, String)>,
    /// Every log line.
    pub log: Vec<(Instant, LogLine)>,
    /// Whether log lines and REST requests are kept.
    pub keeps_log: bool,
    /// By how many milliseconds the wall clock is off.
    pub wall_clock_off: i64,
    /// Wakes every machine between any two events and repeats every answer to an effect: nothing may change (I2, I4, I8).
    pub nuisance: bool,
    /// Delivers every webhook of a call a second time so much later; the second answer goes nowhere (I7).
    pub twice: Option<Duration>,
    /// What the only switchboard heard and said, for the [model] that judges it in the end; `None` where the
    /// model cannot: several processes, and whatever came before or comes after a kill.
    pub history: Option<History>,
    /// Answers to requests of [`World::request`].
    pub answers: Vec<Option<Response>>,
    /// The number of the first call, from which the others are counted.
    pub first_call: usize,
    /// What befell each call: of use to whoever judges what it went through.
    pub witness: Witness,
    chance: Chance,
    ended: BTreeMap<usize, Ledger>,
    /// The earliest deadline of each far end on the agenda.
    far_armed: Vec<Option<Instant>>,
    /// The socket of each call, where one is open.
    far_sockets: Vec<Option<(SocketId, Process, StreamId)>>,
    script_streams: BTreeMap<usize, (Process, StreamId)>,
    script_sockets: BTreeMap<usize, ScriptSocket>,
    agenda: Agenda,
    steps: usize,
    /// How often in a row a switchboard that was woken did nothing and stayed due.
    stuck: usize,
    inputs: u64,
    /// Room for what a switchboard says, used again and again.
    outputs: Vec<Output>,
    /// Room for what a far end says.
    far_outputs: Vec<FarOutput>,
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

    /// A deployment of one process with these settings.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self::begin(&settings, 1, DatabaseFault::None)
    }

    /// A deployment of several processes behind one balancer, which sends each request to any of them.
    #[must_use]
    pub fn of_nodes(settings: &Settings, nodes: usize, seed: u64) -> Self {
        let mut world = Self::begin(settings, nodes, DatabaseFault::None);
        world.chance = Chance::new(seed);
        // Millions of calls are for whoever has invariants: the model looks at all that was before at every step.
        world.history = None;
        world
    }

    /// The ordinary deployment, whose database fails from the start.
    #[must_use]
    pub fn down(fault: DatabaseFault) -> Self {
        let mut world = Self::begin(&settings(&[]), 1, fault);
        // The model does not see that a row is waited for while the database is being opened.
        world.history = None;
        world
    }

    fn begin(settings: &Settings, nodes: usize, fault: DatabaseFault) -> Self {
        let mut world = Self {
            now: Now { mono: Instant::from_millis(1_000), unix: STARTED },
            nodes: Vec::new(),
            calls: Vec::new(),
            database: SimulatedDatabase { fault, ..SimulatedDatabase::default() },
            openai: speech::service(settings.config.openai_api_key.is_some()),
            google: GoogleService::new(google::TOKEN_URI.to_owned()),
            openai_down: false,
            stumbles_over: None,
            rest_next: VecDeque::new(),
            rest_always: RestFault::None,
            recording_bodies: BTreeMap::new(),
            lost_paths: BTreeSet::new(),
            hooks: BTreeMap::new(),
            rest_log: Vec::new(),
            log: Vec::new(),
            keeps_log: true,
            wall_clock_off: 0,
            nuisance: false,
            twice: None,
            history: (nodes == 1).then(History::default),
            answers: Vec::new(),
            first_call: 0x100,
            witness: Witness::default(),
            chance: Chance::new(0),
            ended: BTreeMap::new(),
            far_armed: Vec::new(),
            far_sockets: Vec::new(),
            script_streams: BTreeMap::new(),
            script_sockets: BTreeMap::new(),
            agenda: Agenda::default(),
            steps: 0,
            stuck: 0,
            inputs: 0,
            outputs: Vec::new(),
            far_outputs: Vec::new(),
        };
        for place in 1..=nodes {
            world.add_node(Settings { node: format!("node-{place}"), ..settings.clone() });
        }
        world.run_for(Duration::from_millis(100));
        world
    }

    /// Starts a call and says which it is.
    pub fn call(&mut self, plan: Plan) -> usize {
        let number = (self.first_call + self.calls.len()) as u128;
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
        self.far_armed.push(None);
        self.far_sockets.push(None);
        self.witness.add_call();
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
            let next = self.next_event().filter(|(at, _)| *at <= end);
            self.step(next.unwrap_or_else(|| panic!("it did not come about within {limit:?}")));
        }
    }

    /// Runs for so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(next) = self.next_event().filter(|(at, _)| *at <= end) {
            self.step(next);
        }
        self.go_to(end);
    }

    /// What came in at the machines under test so far: requests, messages of streams, completions.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Whether every call is over and nothing about any is under way at its far end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended.len() == self.calls.len()
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

    /// What comes next, and when. Of what is due at once, first what arrives, then what the far ends do, then the
    /// streams' deadlines, the renderers' and the switchboards'.
    fn next_event(&mut self) -> Option<(Instant, Next)> {
        let transit = self.agenda.next_arrival().map(|at| (at, Next::Arrival));
        let machine = self.next_wake().map(|(at, wake)| (at, Next::Machine(wake)));
        let mut next = first(self.now.mono, transit, machine);
        for (place, node) in self.nodes.iter().enumerate() {
            next = first(self.now.mono, next, node.next_rendering().map(|at| (at, Next::Renderer(place))));
        }
        for (place, node) in self.nodes.iter().enumerate() {
            next = first(self.now.mono, next, node.next_timeout().map(|at| (at, Next::Switchboard(place))));
        }
        next
    }

    /// The next far end or stream that wants to be woken. Deadlines that moved later are filed anew on the way.
    fn next_wake(&mut self) -> Option<(Instant, Wake)> {
        loop {
            let (at, wake) = self.agenda.next_wake()?;
            let (wanted, armed) = self.deadline(wake);
            if armed == Some(at) {
                if wanted.is_some_and(|wanted| wanted <= at) {
                    return Some((at, wake));
                }
                self.set_armed(wake, wanted);
                self.agenda.put_off(wanted);
            } else {
                self.agenda.put_off(None);
            }
        }
    }

    /// Goes to the next event or deadline and does it.
    fn step(&mut self, (at, next): (Instant, Next)) {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "the world is stuck: some deadline does not move");
        if self.nuisance && at > self.now.mono {
            self.wake_everything(self.now.mono + at.since(self.now.mono) / 2);
        }
        self.go_to(at);
        match next {
            Next::Arrival => {
                let event = self.agenda.arrived(self.now.mono).expect("it has arrived");
                self.arrive(event);
            }
            Next::Machine(wake) => self.wake(wake),
            Next::Renderer(place) => self.wake_renderer(place),
            Next::Switchboard(place) => self.wake_switchboard(place),
        }
    }

    /// Wakes every machine though none asked for it, once now and once by clocks that went back.
    fn wake_everything(&mut self, at: Instant) {
        self.go_to(at);
        let (mut out, mut heard, mut far) = (Vec::new(), Vec::new(), Vec::new());
        for long_ago in [false, true] {
            for place in 0..self.nodes.len() {
                let now = if long_ago { Now::default() } else { self.now_at(place) };
                self.nodes[place].wake(now, &mut out, &mut heard);
            }
            let now = if long_ago { Now::default() } else { self.now };
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

    /// The present by the clocks of a node.
    fn now_at(&self, place: usize) -> Now {
        Now { mono: self.now.mono, unix: UnixMillis(self.now.unix.0 + self.nodes[place].clock_off) }
    }

    /// A process begins in this place.
    fn born(&mut self, place: usize) {
        let now = self.now_at(place);
        if let Some(history) = &mut self.history {
            history.born(place, now);
        }
    }

    fn send(&mut self, delay: Duration, event: InTransit) {
        self.agenda.send(self.now.mono + delay, event);
    }

    fn log(&mut self, line: LogLine) {
        if self.keeps_log {
            self.log.push((self.now.mono, line));
        }
    }
}

/// Where the model judges, it does so in the end, whatever the test looked at; and nothing is counted that is gone.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_speech_is_counted();
        }
        if let Some(history) = self.history.take().filter(|_| !std::thread::panicking()) {
            model::check(&history, &self.nodes[0].settings, self.now);
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
