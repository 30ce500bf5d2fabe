//! The database as the switchboard sees it: a queue of facts that wait their turn, and whether it answers (D1, D4).
//!
//! Facts commute and may repeat (D2), so they are sent in batches, several at once, and sent again after any failure.
//! While the database does not answer they wait here, within [`limits::FACTS_WAITING_MAX`]; one batch at a time is
//! tried until one is taken.

use super::Output;
use super::speech::JobKey;
use crate::call::CallKey;
use crate::id::{StoreId, StoreKind};
use crate::key::Slab;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::sid::CallSid;
use crate::store::{Claim, Fact, KnownCall, Refusal, StoreAnswer, StoreCommand, StoreError};
use crate::time::Instant;
use core::time::Duration;
use std::collections::VecDeque;

/// What a finished command means for a call that waits for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// Nobody waits.
    Nothing,
    /// The row of a new call is committed, or will be later: its webhook can be answered.
    Row(CallKey),
    /// A claim was decided; `None` when the database did not say.
    Claim(CallKey, Option<Result<(), Refusal>>),
    /// What a call's row says; `None` when there is none, or no word.
    Found(CallKey, Option<Box<KnownCall>>),
    /// Rows of recordings are committed: one of them may be ready to be transcribed.
    Recordings,
    /// A text was taken, or not.
    Text(JobKey, Taken),
    /// A round is over; `None` when the database did not answer.
    Round(Round, Option<StoreAnswer>),
}

/// What is asked of the database from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Recordings,
    Overdue,
    Stale,
    /// With the files of audio in question, and their lengths.
    Adopt(Vec<(String, u64)>),
    Inherit(String),
    /// With the processes declared gone.
    Renew(Vec<String>),
    Retire,
}

/// Whether the database took something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is committed.
    Yes,
    /// It did not answer: the same may be sent again.
    NotNow,
    /// It will never take it.
    Never,
}

/// Whether the database answers, and since when it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not opened yet, or not answering.
    Down {
        /// Since when.
        since: Instant,
        /// The last cause; empty before the first try has ended.
        cause: String,
    },
    /// Answering.
    Up,
}

#[derive(Debug)]
enum UnderWay {
    Open,
    Facts(Vec<Fact>),
    Row(CallKey, Vec<Fact>),
    Claim(CallKey),
    Find(CallKey),
    Release,
    Text(JobKey),
    Round(Round),
}

/// A command under way.
#[derive(Debug)]
struct Sent {
    work: UnderWay,
    /// How often the database had fallen when it left. What was sent before the last fall proves nothing about now: a
    /// late success does not end an outage, and eight failures at once are one.
    falls: u32,
}

/// The queue and the state.
#[derive(Debug)]
pub(super) struct Database {
    state: State,
    opened: bool,
    waiting: VecDeque<Fact>,
    /// Facts of a batch the database refused, sent one by one to find the bad one.
    suspects: VecDeque<Fact>,
    under_way: Slab<Sent, StoreKind>,
    falls: u32,
    /// Rows to be asked for once the database is open for the first time.
    sought: VecDeque<(CallKey, CallSid)>,
    fact_commands: usize,
    texts: usize,
    retry: Option<(Instant, Duration)>,
    dropped: u64,
    announced: bool,
}

impl Database {
    /// A database that is being opened.
    pub(super) fn open(now: Instant, out: &mut Vec<Output>) -> Self {
        let mut database = Self {
            state: State::Down { since: now, cause: String::new() },
            opened: false,
            waiting: VecDeque::new(),
            suspects: VecDeque::new(),
            under_way: Slab::new(limits::STORE_COMMANDS_MAX),
            falls: 0,
            sought: VecDeque::new(),
            fact_commands: 0,
            texts: 0,
            retry: None,
            dropped: 0,
            announced: false,
        };
        database.send(UnderWay::Open, StoreCommand::Open, limits::STORE_TIME, out);
        database
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Facts that are not in the database yet.
    pub(super) fn unwritten(&self) -> usize {
        let under_way = self.under_way.iter().map(|(_, sent)| match &sent.work {
            UnderWay::Facts(facts) | UnderWay::Row(_, facts) => facts.len(),
            UnderWay::Text(_) => 1,
            UnderWay::Open | UnderWay::Claim(_) | UnderWay::Find(_) | UnderWay::Release | UnderWay::Round(_) => 0,
        });
        self.waiting.len() + self.suspects.len() + under_way.sum::<usize>()
    }

    /// Facts given up because the memory for waiting ones was full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether there is no room for another fact.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= limits::FACTS_WAITING_MAX
    }

    /// Queues a fact; [`Self::flush`] sends it.
    pub(super) fn add(&mut self, fact: Fact, out: &mut Vec<Output>) {
        if self.is_full() {
            self.make_room(&fact, out);
            if self.is_full() {
                return;
            }
        }
        self.waiting.push_back(fact);
        self.announce(out);
    }

    /// Says once per outage that rows wait.
    fn announce(&mut self, out: &mut Vec<Output>) {
        let failing = matches!(&self.state, State::Down { cause, .. } if !cause.is_empty());
        if failing && !self.announced {
            self.announced = true;
            let line = LogLine::new(Level::Warn, Event::DbSpooled)
                .count(self.unwritten() as u64)
                .detail("rows wait in memory until the database answers");
            out.push(Output::Log(Box::new(line)));
        }
    }

    /// Timeline events go first: a call's row matters more. A fact that finds no event to displace is given up.
    fn make_room(&mut self, fact: &Fact, out: &mut Vec<Output>) {
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            let line = LogLine::new(Level::Error, Event::DbError)
                .reason("waiting_facts_full")
                .count(self.dropped)
                .detail("the database has not answered for long; timeline events are given up first");
            out.push(Output::Log(Box::new(line)));
        }
        if !matches!(fact, Fact::Event(_))
            && let Some(place) = self.waiting.iter().position(|waiting| matches!(waiting, Fact::Event(_)))
        {
            self.waiting.remove(place);
        }
    }

    /// Writes a new call's row before its webhook is answered (D1). Returns whether there is something to wait for;
    /// otherwise the facts wait with the others.
    pub(super) fn write_row(&mut self, call: CallKey, facts: Vec<Fact>, out: &mut Vec<Output>) -> bool {
        if !self.takes_more() {
            for fact in facts {
                self.add(fact, out);
            }
            return false;
        }
        self.send(UnderWay::Row(call, facts.clone()), StoreCommand::Facts(facts), limits::ROW_TIME, out)
    }

    /// Whether a row, a claim, a release or a round can be sent. Opening and the queue of facts always find room.
    pub(super) fn takes_more(&self) -> bool {
        let reserved = limits::FACT_COMMANDS_MAX + 1;
        self.is_up() && self.under_way.len() + reserved < limits::STORE_COMMANDS_MAX
    }

    /// Asks for a claim (W5). Returns whether an answer will come.
    pub(super) fn claim(&mut self, call: CallKey, claim: Claim, out: &mut Vec<Output>) -> bool {
        self.takes_more() && self.send(UnderWay::Claim(call), StoreCommand::Claim(claim), limits::CLAIM_TIME, out)
    }

    /// Asks what a call's row says; of a database that is being opened, as soon as it is. Returns whether an answer will
    /// come.
    pub(super) fn find(&mut self, key: CallKey, call: CallSid, out: &mut Vec<Output>) -> bool {
        let first_try = matches!(&self.state, State::Down { cause, .. } if cause.is_empty());
        if first_try && self.sought.len() < limits::ROWS_SOUGHT_MAX {
            self.sought.push_back((key, call));
            return true;
        }
        let command = StoreCommand::FindCall { call };
        self.takes_more() && self.send(UnderWay::Find(key), command, limits::CLAIM_TIME, out)
    }

    /// Gives a claim back. Best effort: an unreleased claim expires by itself.
    pub(super) fn release(&mut self, command: StoreCommand, out: &mut Vec<Output>) {
        if self.takes_more() {
            self.send(UnderWay::Release, command, limits::STORE_TIME, out);
        }
    }

    /// Whether a text can be stored now.
    pub(super) fn takes_texts(&self) -> bool {
        self.takes_more() && self.texts < limits::TEXTS_STORED_AT_ONCE_MAX
    }

    /// Stores the text of a job; asked for only while [`Self::takes_texts`].
    pub(super) fn store_text(&mut self, job: JobKey, fact: Fact, out: &mut Vec<Output>) {
        if self.send(UnderWay::Text(job), StoreCommand::Facts(vec![fact]), limits::STORE_TIME, out) {
            self.texts += 1;
        }
    }

    /// Asks for what is asked from time to time; only while [`Self::takes_more`].
    pub(super) fn ask(&mut self, round: Round, command: StoreCommand, out: &mut Vec<Output>) {
        let sent = self.send(UnderWay::Round(round), command, limits::STORE_TIME, out);
        debug_assert!(sent, "there is room");
    }

    /// The database let a webhook wait too long: it is not waited for again until it answers something (D1).
    pub(super) fn was_too_slow(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.is_up() {
            self.fell(now, "no answer within the time of a webhook", out);
        }
    }

    /// Sends what waits, as far as there is room; while the database is down, one batch when it is time to try.
    pub(super) fn flush(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let State::Down { .. } = self.state {
            let due = self.retry.is_some_and(|(at, _)| at <= now);
            if !due || self.fact_commands > 0 || self.is_opening() {
                return;
            }
            if !self.opened || (self.waiting.is_empty() && self.suspects.is_empty()) {
                self.send(UnderWay::Open, StoreCommand::Open, limits::STORE_TIME, out);
            } else {
                self.send_batch(out);
            }
            return;
        }
        while let Some((key, call)) = self.sought.pop_front() {
            self.find(key, call, out);
        }
        while self.fact_commands < limits::FACT_COMMANDS_MAX && self.send_batch(out) {}
    }

    fn is_opening(&self) -> bool {
        self.under_way.iter().any(|(_, sent)| matches!(sent.work, UnderWay::Open))
    }

    fn send_batch(&mut self, out: &mut Vec<Output>) -> bool {
        let batch: Vec<Fact> = match self.suspects.pop_front() {
            Some(suspect) => vec![suspect],
            None => self.waiting.drain(..self.waiting.len().min(limits::FACTS_PER_COMMAND_MAX)).collect(),
        };
        if batch.is_empty() {
            return false;
        }
        self.fact_commands += 1;
        let sent = self.send(UnderWay::Facts(batch.clone()), StoreCommand::Facts(batch), limits::STORE_TIME, out);
        debug_assert!(sent, "room for the queue of facts is reserved");
        sent
    }

    fn send(&mut self, work: UnderWay, command: StoreCommand, timeout: Duration, out: &mut Vec<Output>) -> bool {
        let Ok(id) = self.under_way.insert(Sent { work, falls: self.falls }) else { return false };
        out.push(Output::Store { id, command, timeout });
        true
    }

    /// When [`Self::flush`] wants to be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let waiting_to_retry = !self.is_up() && self.fact_commands == 0 && !self.is_opening();
        self.retry.filter(|_| waiting_to_retry).map(|(at, _)| at)
    }

    /// A command is over.
    pub(super) fn stored(
        &mut self,
        now: Instant,
        id: StoreId,
        result: Result<StoreAnswer, StoreError>,
        out: &mut Vec<Output>,
    ) -> Finished {
        let Some(Sent { work, falls }) = self.under_way.remove(id) else { return Finished::Nothing };
        let news = falls == self.falls;
        match work {
            UnderWay::Facts(_) => self.fact_commands -= 1,
            UnderWay::Text(_) => self.texts -= 1,
            UnderWay::Open
            | UnderWay::Row(..)
            | UnderWay::Claim(_)
            | UnderWay::Find(_)
            | UnderWay::Release
            | UnderWay::Round(_) => {}
        }
        match result {
            Ok(answer) => {
                if news {
                    (self.state, self.retry) = (State::Up, None);
                }
                self.succeeded(work, answer, out)
            }
            Err(StoreError::Unavailable(cause)) => {
                if news {
                    self.fell(now, &cause, out);
                }
                self.failed(work, out)
            }
            Err(StoreError::Refused(cause)) => self.refused(now, work, &cause, out),
        }
    }

    fn succeeded(&mut self, work: UnderWay, answer: StoreAnswer, out: &mut Vec<Output>) -> Finished {
        if let UnderWay::Open = work {
            self.opened = true;
        }
        // On a busy process something is always under way; what waited is not, once nothing waits any more.
        let caught_up = self.is_up() && self.waiting.is_empty() && self.suspects.is_empty();
        if self.announced && caught_up {
            self.announced = false;
            out.push(Output::Log(Box::new(LogLine::new(Level::Info, Event::DbReplayed))));
        }
        match (work, answer) {
            (UnderWay::Row(call, _), _) => Finished::Row(call),
            (UnderWay::Claim(call), StoreAnswer::Claimed(outcome)) => Finished::Claim(call, Some(outcome)),
            (UnderWay::Claim(call), _) => Finished::Claim(call, None),
            (UnderWay::Find(call), StoreAnswer::Found(known)) => Finished::Found(call, known),
            (UnderWay::Find(call), _) => Finished::Found(call, None),
            (UnderWay::Text(job), _) => Finished::Text(job, Taken::Yes),
            (UnderWay::Round(round), answer) => Finished::Round(round, Some(answer)),
            (UnderWay::Facts(facts), _) if facts.iter().any(|fact| matches!(fact, Fact::Recording(_))) => {
                Finished::Recordings
            }
            (UnderWay::Open | UnderWay::Facts(_) | UnderWay::Release, _) => Finished::Nothing,
        }
    }

    fn failed(&mut self, work: UnderWay, out: &mut Vec<Output>) -> Finished {
        match work {
            UnderWay::Facts(facts) => {
                self.wait_again(facts, out);
                Finished::Nothing
            }
            UnderWay::Row(call, facts) => {
                self.wait_again(facts, out);
                Finished::Row(call)
            }
            UnderWay::Claim(call) => Finished::Claim(call, None),
            UnderWay::Find(call) => Finished::Found(call, None),
            UnderWay::Text(job) => Finished::Text(job, Taken::NotNow),
            UnderWay::Round(round) => Finished::Round(round, None),
            UnderWay::Open if !self.waiting.is_empty() => {
                self.announce(out);
                Finished::Nothing
            }
            UnderWay::Open | UnderWay::Release => Finished::Nothing,
        }
    }

    fn refused(&mut self, now: Instant, work: UnderWay, cause: &str, out: &mut Vec<Output>) -> Finished {
        let mut report = |level, count| {
            let line = LogLine::new(level, Event::DbError).reason("refused").cause(cause).count(count);
            out.push(Output::Log(Box::new(line)));
        };
        match work {
            UnderWay::Facts(facts) if facts.len() == 1 => {
                self.dropped += 1;
                report(Level::Error, self.dropped);
                Finished::Nothing
            }
            UnderWay::Facts(facts) => {
                report(Level::Warn, facts.len() as u64);
                self.suspects.extend(facts);
                Finished::Nothing
            }
            UnderWay::Row(call, facts) => {
                report(Level::Warn, facts.len() as u64);
                self.suspects.extend(facts);
                Finished::Row(call)
            }
            UnderWay::Claim(call) => {
                report(Level::Error, 1);
                Finished::Claim(call, None)
            }
            UnderWay::Find(call) => {
                report(Level::Error, 1);
                Finished::Found(call, None)
            }
            UnderWay::Text(job) => {
                report(Level::Error, 1);
                Finished::Text(job, Taken::Never)
            }
            UnderWay::Round(round) => {
                report(Level::Error, 1);
                Finished::Round(round, None)
            }
            UnderWay::Open => {
                self.fell(now, cause, out);
                Finished::Nothing
            }
            UnderWay::Release => Finished::Nothing,
        }
    }

    /// Facts that were not taken go back to the front, so that rows are written before what follows them.
    fn wait_again(&mut self, facts: Vec<Fact>, out: &mut Vec<Output>) {
        for fact in facts.into_iter().rev() {
            if self.is_full() {
                self.make_room(&fact, out);
            }
            if !self.is_full() {
                self.waiting.push_front(fact);
            }
        }
        self.announce(out);
    }

    fn fell(&mut self, now: Instant, cause: &str, out: &mut Vec<Output>) {
        self.falls = self.falls.wrapping_add(1);
        let wait = self.retry.map_or(limits::STORE_RETRY_MIN, |(_, wait)| (wait * 2).min(limits::STORE_RETRY_MAX));
        self.retry = Some((now + wait, wait));
        let news = match &self.state {
            State::Up => true,
            State::Down { cause: known, .. } => known.is_empty(),
        };
        if news {
            let line = LogLine::new(Level::Error, Event::DbError)
                .cause(cause)
                .detail("calls are answered all the same; trying again until it answers");
            out.push(Output::Log(Box::new(line)));
        }
        match &mut self.state {
            State::Up => self.state = State::Down { since: now, cause: cause.to_owned() },
            State::Down { cause: known, .. } => cause.clone_into(known),
        }
    }
}
