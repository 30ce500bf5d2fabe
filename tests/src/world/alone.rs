//! A switchboard on its own, for crowds too large for the world and for answers that never come: its database answers at
//! once and finds nothing, and the script decides what its disk and the services it asks answer, and when.

use super::script::{Caller, get, signed, text, token_in};
use callwarden_core::disk::{DiskAnswer, DiskCommand, DiskError};
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::{Request, Response};
use callwarden_core::id::{DiskId, FetchId, StoreId, StreamId};
use callwarden_core::log::LogLine;
use callwarden_core::speech::Utterance;
use callwarden_core::store::{Fact, KnownCall, SegmentFact, StoreAnswer, StoreCommand, WaitingSegment};
use callwarden_core::stream::{Start, StreamCommand, StreamReport};
use callwarden_core::switchboard::{Input, Output, Settings, Switchboard};
use callwarden_core::time::{Instant, Now, UnixMillis};
use callwarden_core::{limits, path};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The wall clock at the monotonic clock's zero.
const STARTED: i64 = 1_795_000_000_000;

/// The switchboard and what it has said.
pub struct Alone {
    /// The machine.
    pub switchboard: Switchboard,
    /// File commands it waits for.
    pub disk: VecDeque<(DiskId, DiskCommand)>,
    /// Requests it waits for.
    pub fetches: VecDeque<(FetchId, FetchRequest)>,
    /// Every log line.
    pub log: Vec<LogLine>,
    /// Every fact about speech that the database took.
    pub segments: Vec<SegmentFact>,
    /// What the database finds for a process that is gone, one answer each.
    pub inherited: VecDeque<Vec<WaitingSegment>>,
    /// Calls whose process is gone, until the switchboard says that it lives.
    pub taken_over: Vec<KnownCall>,
    /// Whether the database is not heard of any more, not even that it failed.
    pub database_is_lost: bool,
    unanswered: VecDeque<(StoreId, StoreCommand)>,
    /// What it said to whoever asked it something, and to streams.
    pub said: Vec<Output>,
    now: Instant,
    sequences: BTreeMap<StreamId, u32>,
}

impl Alone {
    /// A process with these settings, whose database is open.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut out = Vec::new();
        let now = Instant::from_millis(1_000);
        let switchboard = Switchboard::new(at(now), settings, &mut out);
        let mut alone = Self {
            switchboard,
            disk: VecDeque::new(),
            fetches: VecDeque::new(),
            log: Vec::new(),
            segments: Vec::new(),
            inherited: VecDeque::new(),
            taken_over: Vec::new(),
            database_is_lost: false,
            unanswered: VecDeque::new(),
            said: Vec::new(),
            now,
            sequences: BTreeMap::new(),
        };
        alone.perform(out);
        alone
    }

    /// Puts an input to it and works off what that causes.
    pub fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.switchboard.handle(at(self.now), input, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: Vec<Output>) {
        let mut left = VecDeque::from(out);
        while let Some(output) = left.pop_front() {
            match output {
                Output::Log(line) => self.log.push(*line),
                Output::Disk { id, command } => self.disk.push_back((id, command)),
                Output::Fetch { id, request } => self.fetches.push_back((id, request)),
                Output::Store { id, command, .. } if self.database_is_lost => self.unanswered.push_back((id, command)),
                Output::Store { id, command, .. } => {
                    let result = Ok(self.stored(command));
                    let mut out = Vec::new();
                    self.switchboard.handle(at(self.now), Input::Stored { id, result }, &mut out);
                    left.extend(out);
                }
                Output::Reply { .. } | Output::Upgrade { .. } | Output::Command { .. } => self.said.push(output),
            }
        }
    }

    fn stored(&mut self, command: StoreCommand) -> StoreAnswer {
        match command {
            StoreCommand::Facts(facts) => {
                let segments = facts.into_iter().filter_map(|fact| match fact {
                    Fact::Segment(fact) => Some(*fact),
                    Fact::Call(_) | Fact::Event(_) | Fact::Recording(_) => None,
                });
                self.segments.extend(segments);
                StoreAnswer::Done
            }
            StoreCommand::Open | StoreCommand::Release { .. } | StoreCommand::Retire { .. } => StoreAnswer::Done,
            StoreCommand::Claim(_) => StoreAnswer::Claimed(Ok(())),
            StoreCommand::TakeRecordings { .. } => StoreAnswer::Recordings(Vec::new()),
            StoreCommand::TakeOverdue => StoreAnswer::Overdue(Vec::new()),
            StoreCommand::FindDone { .. } => StoreAnswer::Known(Vec::new()),
            StoreCommand::Inherit { .. } => StoreAnswer::Segments(self.inherited.pop_front().unwrap_or_default()),
            StoreCommand::FindStale => StoreAnswer::Segments(Vec::new()),
            StoreCommand::FindCall { .. } => StoreAnswer::Found(None),
            StoreCommand::Renew { .. } => StoreAnswer::TakenOver(std::mem::take(&mut self.taken_over)),
        }
    }

    /// Goes on in time and does what is due then.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut stuck = 0;
        while let Some(due) = self.switchboard.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let mut out = Vec::new();
            self.switchboard.handle_timeout(at(self.now), &mut out);
            let moved = !out.is_empty() || self.switchboard.next_timeout().is_none_or(|next| next > self.now);
            stuck = if moved { 0 } else { stuck + 1 };
            assert!(stuck < limits::EXPIRIES_PER_TURN_MAX, "I3: a deadline that is due stays as it is");
            self.perform(out);
        }
        self.now = end;
    }

    /// The database is heard of again, and answers everything.
    pub fn database_is_found(&mut self) {
        self.database_is_lost = false;
        while let Some((id, command)) = self.unanswered.pop_front() {
            let result = Ok(self.stored(command));
            self.input(Input::Stored { id, result });
        }
    }

    /// The disk answers its oldest command.
    pub fn filed(&mut self, result: Result<DiskAnswer, DiskError>) {
        let (id, _) = self.disk.pop_front().expect("a file command");
        self.input(Input::Disk { id, result });
    }

    /// The oldest request is answered.
    pub fn fetched(&mut self, result: Result<FetchResponse, FetchError>) {
        let (id, _) = self.fetches.pop_front().expect("a request");
        self.input(Input::Fetched { id, result });
    }

    /// Asks it something.
    pub fn ask(&mut self, request: Request) {
        let id = self.switchboard.admit(&request).expect("room for a request");
        self.input(Input::Request { id, request });
    }

    /// How often it told streams this.
    #[must_use]
    pub fn told(&self, wanted: StreamCommand) -> usize {
        let told = |output: &&Output| matches!(output, Output::Command { command, .. } if *command == wanted);
        self.said.iter().filter(told).count()
    }

    /// How many requests it answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.said.iter().filter(|output| matches!(output, Output::Reply { .. })).count()
    }

    /// The answer to a request that is no upgrade.
    pub fn reply(&mut self, request: Request) -> Response {
        self.ask(request);
        self.last_reply()
    }

    /// What it answered last.
    #[must_use]
    pub fn last_reply(&self) -> Response {
        let Some(Output::Reply { response, .. }) = self.said.last() else { panic!("no answer") };
        response.clone()
    }

    /// Announces a call and returns the token of its document.
    pub fn announce(&mut self, caller: Caller) -> String {
        let announced = signed(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")]));
        token_in(text(&self.reply(announced)))
    }

    /// A call whose stream is accepted.
    pub fn stream(&mut self, caller: Caller) -> StreamId {
        let token = self.announce(caller);
        self.present(caller, token)
    }

    /// A socket on which the call's stream presents itself with this token.
    pub fn present(&mut self, caller: Caller, token: String) -> StreamId {
        let mut request = get(path::MEDIA);
        request.headers.push("connection", "Upgrade");
        request.headers.push("upgrade", "websocket");
        self.ask(request);
        let Some(&Output::Upgrade { stream: id, .. }) = self.said.last() else { panic!("no upgrade") };
        let start = Start {
            stream: caller.stream(1),
            call: caller.call,
            account: Some(caller.account),
            call_parameter: Some(caller.call.to_string()),
            token: Some(token),
        };
        self.input(Input::Stream { id, report: StreamReport::Started(Box::new(start)) });
        id
    }

    /// The caller of a stream says this, the next utterance a second after the last one.
    pub fn says(&mut self, id: StreamId, audio: &bytes::Bytes) {
        let sequence = self.sequences.entry(id).or_default();
        *sequence += 1;
        let sequence = *sequence;
        let from = Duration::from_secs(1) * sequence;
        let to = from + callwarden_core::audio::mulaw_length(audio.len());
        let utterance = Box::new(Utterance { from, to, audio: audio.clone(), near_silent: false });
        self.input(Input::Stream { id, report: StreamReport::Spoken { sequence, utterance } });
    }

    /// The reasons and causes of `transcription_failed` lines about calls.
    #[must_use]
    pub fn failures(&self) -> Vec<(&str, &str)> {
        let about_calls = self.log.iter().filter(|line| line.call_sid.is_some());
        about_calls.filter_map(|line| Some((line.reason.as_deref()?, line.cause.as_deref()?))).collect()
    }
}

fn at(mono: Instant) -> Now {
    let since_start = i64::try_from(mono.as_micros() / 1_000).expect("a few days");
    Now { mono, unix: UnixMillis(STARTED + since_start) }
}
