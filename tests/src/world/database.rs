//! The simulated database: takes facts after a while, grants claims as the real one does, and can be made to fail.
//!
//! It keeps facts as they came instead of merging them: what the merges yield is tested on the real databases.

use super::nodes::Nodes;
use super::rows::Rows;
use callwarden_core::limits;
use callwarden_core::sid::CallSid;
use callwarden_core::store::{
    CallFact, CallStatus, EventFact, Fact, FallbackReason, RecordingFact, Refusal, Source, StoreAnswer, StoreCommand,
    StoreError,
};
use callwarden_core::time::{Instant, Now};
use std::collections::BTreeMap;
use std::time::Duration;

/// While a command takes no longer than this, facts hardly wait for their turn.
const QUICK: Duration = Duration::from_millis(100);

/// What is wrong with the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatabaseFault {
    /// Nothing.
    #[default]
    None,
    /// It cannot be reached.
    Refuses,
    /// It accepts and never answers; the client gives up after its time.
    Hangs,
    /// It does what it is told, and the answer is lost.
    LosesAnswers,
    /// It aborts one command in three, as after a deadlock.
    Conflicts,
    /// It will not take the facts of this kind: every command with a recording in it.
    RefusesRecordings,
    /// It will not take what was said: every command with a text in it.
    RefusesTexts,
}

/// Facts and claims of one database.
#[derive(Debug)]
pub struct SimulatedDatabase {
    /// What is wrong with it.
    pub fault: DatabaseFault,
    /// How long it takes.
    pub latency: Duration,
    /// Every fact about a call, in order of arrival.
    pub call_facts: Vec<(Instant, Box<CallFact>)>,
    /// Every line of a timeline.
    pub events: Vec<EventFact>,
    /// Every fact about a recording.
    pub recordings: Vec<RecordingFact>,
    /// What the facts about speech come to.
    pub rows: Rows,
    /// How many claims were asked for.
    pub claims_asked: usize,
    /// Held claims: by whom, until when.
    pub claims: BTreeMap<CallSid, (String, Instant)>,
    /// Which processes live, and whose call is whose.
    pub nodes: Nodes,
    /// How many commands of each kind arrived: opens and others.
    pub commands: usize,
    /// When a command last failed.
    pub(super) ill_at: Option<Instant>,
    /// When a command last took longer than [`QUICK`].
    pub(super) slow_at: Option<Instant>,
    /// The places of each call's facts among all.
    pub(super) by_call: BTreeMap<CallSid, Vec<usize>>,
}

impl Default for SimulatedDatabase {
    fn default() -> Self {
        Self {
            fault: DatabaseFault::None,
            latency: Duration::from_millis(2),
            call_facts: Vec::new(),
            events: Vec::new(),
            recordings: Vec::new(),
            rows: Rows::default(),
            claims_asked: 0,
            claims: BTreeMap::new(),
            nodes: Nodes::default(),
            commands: 0,
            ill_at: None,
            slow_at: None,
            by_call: BTreeMap::new(),
        }
    }
}

impl SimulatedDatabase {
    /// The answer to a command and when it comes: a client gives up by itself.
    pub(super) fn run(
        &mut self,
        now: Now,
        command: StoreCommand,
        timeout: Duration,
    ) -> (Duration, Result<StoreAnswer, StoreError>) {
        self.commands += 1;
        if self.fault != DatabaseFault::None || self.latency > timeout {
            self.ill_at = Some(now.mono);
        }
        if self.latency > QUICK {
            self.slow_at = Some(now.mono);
        }
        let lost = |cause: &str| Err(StoreError::Unavailable(cause.to_owned()));
        let has_recording = matches!(&command, StoreCommand::Facts(facts)
            if facts.iter().any(|fact| matches!(fact, Fact::Recording(_))));
        let has_text = matches!(&command, StoreCommand::Facts(facts)
            if facts.iter().any(|fact| matches!(fact, Fact::Segment(fact) if !fact.text.is_empty())));
        match self.fault {
            DatabaseFault::Refuses => (Duration::from_millis(1), lost("connection refused")),
            DatabaseFault::Hangs => (timeout, lost("no answer")),
            DatabaseFault::LosesAnswers => {
                self.apply(now, command);
                (timeout, lost("connection reset"))
            }
            DatabaseFault::Conflicts if self.commands.is_multiple_of(3) => {
                (self.latency, lost("deadlock detected (code 40P01)"))
            }
            DatabaseFault::RefusesRecordings if has_recording => {
                (self.latency, Err(StoreError::Refused("a constraint".to_owned())))
            }
            DatabaseFault::RefusesTexts if has_text => {
                (self.latency, Err(StoreError::Refused("a constraint".to_owned())))
            }
            DatabaseFault::None
            | DatabaseFault::Conflicts
            | DatabaseFault::RefusesRecordings
            | DatabaseFault::RefusesTexts => {
                let answer = self.apply(now, command);
                if self.latency > timeout { (timeout, lost("too slow")) } else { (self.latency, Ok(answer)) }
            }
        }
    }

    /// Whether no command has failed, or taken long, for so long.
    #[must_use]
    pub(super) fn has_been_quick_for(&self, now: Instant, time: Duration) -> bool {
        self.has_been_well_for(now, time) && self.slow_at.is_none_or(|at| at + time < now)
    }

    /// Whether no command has failed for so long.
    #[must_use]
    pub(super) fn has_been_well_for(&self, now: Instant, time: Duration) -> bool {
        self.fault == DatabaseFault::None && self.ill_at.is_none_or(|at| at + time < now)
    }

    fn apply(&mut self, now: Now, command: StoreCommand) -> StoreAnswer {
        match command {
            StoreCommand::Open => {}
            StoreCommand::Facts(facts) => {
                for fact in facts {
                    self.rows.take(&fact);
                    match fact {
                        Fact::Call(fact) => self.take_call(now.mono, fact),
                        Fact::Event(fact) => self.events.push(fact),
                        Fact::Recording(fact) => self.recordings.push(fact),
                        Fact::Segment(_) => {}
                    }
                }
            }
            StoreCommand::Claim(claim) => {
                self.claims_asked += 1;
                let over = self.status(claim.call).is_some_and(CallStatus::is_terminal);
                let held =
                    self.claims.get(&claim.call).is_some_and(|(node, until)| *node != claim.node && *until > now.mono);
                let started = self.of(claim.call).filter_map(|fact| fact.stream).map(|(ordinal, _)| ordinal).max();
                let finished = !claim.knows_finished && self.of(claim.call).any(|fact| fact.finished_at.is_some());
                let elsewhere = finished || started.is_some_and(|streams| streams > claim.known_streams);
                let refusal = match () {
                    () if over => Err(Refusal::Over),
                    () if self.has_recording(claim.call) => Err(Refusal::Recorded),
                    () if self.fallback(claim.call).is_some() => Err(Refusal::FellBack),
                    () if elsewhere => Err(Refusal::Elsewhere),
                    () if held => Err(Refusal::Held),
                    () => Ok(()),
                };
                if refusal.is_ok() {
                    let until = now.mono + limits::CLAIM_LEASE;
                    self.claims.insert(claim.call, (claim.node, until));
                }
                return StoreAnswer::Claimed(refusal);
            }
            StoreCommand::Release { call, .. } => {
                self.claims.remove(&call);
            }
            StoreCommand::TakeRecordings { node, limit } => {
                assert!(limit > 0, "there is room for a recording");
                return StoreAnswer::Recordings(self.rows.take_recordings(now, &node, limit));
            }
            StoreCommand::TakeOverdue => return StoreAnswer::Overdue(self.rows.take_overdue(now)),
            StoreCommand::FindDone { segments } => return StoreAnswer::Known(self.rows.done(&segments)),
            StoreCommand::Inherit { node } => return StoreAnswer::Segments(self.rows.inherit(&node)),
            StoreCommand::FindStale => return StoreAnswer::Segments(self.rows.stale(now)),
            StoreCommand::Renew { node, gone } => {
                self.nodes.renew(&node, now.mono);
                for gone in gone {
                    self.nodes.declare_gone(&gone, now.mono);
                }
                return StoreAnswer::TakenOver(self.take_over(&node, now));
            }
            StoreCommand::FindCall { call } => return StoreAnswer::Found(self.find_call(call, now).map(Box::new)),
            StoreCommand::Retire { node } => self.nodes.declare_gone(&node, now.mono),
        }
        StoreAnswer::Done
    }

    /// Takes what a process says of a call.
    pub fn take_call(&mut self, at: Instant, fact: impl Into<Box<CallFact>>) {
        let fact = fact.into();
        self.nodes.told(&fact);
        self.by_call.entry(fact.call).or_default().push(self.call_facts.len());
        self.call_facts.push((at, fact));
    }

    /// Whether a row says that the caller had finished (W12).
    #[must_use]
    pub fn has_finished(&self, call: CallSid) -> bool {
        self.of(call).any(|fact| fact.finished_at.is_some())
    }

    pub(super) fn of(&self, call: CallSid) -> impl Iterator<Item = &CallFact> {
        let places = self.by_call.get(&call).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|place| &*self.call_facts[*place].1)
    }

    /// The status the merged row would have.
    #[must_use]
    pub fn status(&self, call: CallSid) -> Option<CallStatus> {
        self.of(call).filter_map(|fact| fact.status).max()
    }

    /// Why the merged row says the call fell back.
    #[must_use]
    pub fn fallback(&self, call: CallSid) -> Option<FallbackReason> {
        self.of(call).filter_map(|fact| fact.fallback).min().map(|(_, reason)| reason)
    }

    /// Whether the merged row says that the first document asked for a recording.
    #[must_use]
    pub fn recording_was_asked(&self, call: CallSid) -> bool {
        self.of(call).any(|fact| fact.source == Some(Source::Recording))
    }

    /// How far the merged row says the call got.
    #[must_use]
    pub fn how_far(&self, call: CallSid) -> Option<String> {
        let told = self.of(call).filter_map(|fact| fact.how_far.as_ref().map(|text| (fact.at, text)));
        told.max().map(|(_, text)| text.clone())
    }

    /// Frames in the merged row.
    #[must_use]
    pub fn frames(&self, call: CallSid) -> Option<u64> {
        self.of(call).filter_map(|fact| fact.frames).max()
    }

    /// The names of a call's timeline, in order of time.
    #[must_use]
    pub fn timeline(&self, call: CallSid) -> Vec<&str> {
        let mut events: Vec<_> = self.events.iter().filter(|event| event.call == call).collect();
        events.sort_by_key(|event| event.at);
        events.iter().map(|event| &*event.event).collect()
    }
}
