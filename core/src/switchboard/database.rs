//! The database as the switchboard sees it: a queue of facts that wait their turn, and whether it answers (D1, D4).
//!
//! Facts commute and may repeat (D2), so they are sent in batches, several at once, and sent again after any failure.
//! While the database does not answer they wait here, within [`limits::FACTS_WAITING_MAX`], and in files ([`spool`]); one
//! batch at a time is tried until one is taken.

mod spool;
mod work;

pub(super) use spool::FileKey;
pub(super) use work::{Finished, Round, Taken};

use super::Output;
use super::speech::JobKey;
use crate::call::CallKey;
use crate::id::{StoreId, StoreKind};
use crate::key::Slab;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::sid::CallSid;
use crate::store::{Claim, Fact, StoreAnswer, StoreCommand, StoreError};
use crate::time::Instant;
use core::time::Duration;
use spool::Spool;
use std::collections::VecDeque;
use work::{UnderWay, Waiting};

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
    waiting: VecDeque<Waiting>,
    /// Facts of a batch the database refused, sent one by one to find the bad one.
    suspects: VecDeque<Waiting>,
    under_way: Slab<Sent, StoreKind>,
    falls: u32,
    /// Rows to be asked for once the database is open for the first time.
    sought: VecDeque<(CallKey, CallSid)>,
    fact_commands: usize,
    texts: usize,
    retry: Option<(Instant, Duration)>,
    dropped: u64,
    announced: bool,
    spool: Spool,
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
            spool: Spool::default(),
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
        let under_way = self.under_way.iter().map(|(_, sent)| sent.work.facts().len());
        self.waiting.len() + self.suspects.len() + self.texts + under_way.sum::<usize>()
    }

    /// Facts given up because the memory for waiting ones was full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether there is no room for another fact.
    fn is_full(&self) -> bool {
        self.waiting.len() >= limits::FACTS_WAITING_MAX
    }

    /// Queues a fact; [`Self::flush`] sends it.
    pub(super) fn add(&mut self, fact: Fact, out: &mut Vec<Output>) {
        if self.has_room_for(&fact, out) {
            self.waiting.push_back(fact.into());
            self.announce(out);
        }
    }

    /// Says once per outage that rows wait.
    fn announce(&mut self, out: &mut Vec<Output>) {
        let failing = matches!(&self.state, State::Down { cause, .. } if !cause.is_empty());
        if failing && !self.announced {
            self.announced = true;
            let line = LogLine::new(Level::Warn, Event::DbSpooled)
                .count(self.unwritten() as u64)
                .detail("rows wait in memory and in DATA_DIR until the database answers");
            out.push(Output::Log(Box::new(line)));
        }
    }

    /// Whether there is room for one more fact, made if need be.
    fn has_room_for(&mut self, fact: &Fact, out: &mut Vec<Output>) -> bool {
        if self.is_full() {
            self.make_room(fact, out);
        }
        !self.is_full()
    }

    /// What is safe in a file leaves memory first: the file is read again. Of what is not, timeline events go first: a
    /// call's row matters more. A fact that finds no event to displace is given up.
    fn make_room(&mut self, fact: &Fact, out: &mut Vec<Output>) {
        if let Some(place) = self.waiting.iter().rposition(|waiting| self.spool.is_safe(waiting.file)) {
            if let Some(file) = self.waiting.remove(place).and_then(|waiting| waiting.file) {
                self.spool.set_aside(file);
            }
            return;
        }
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            let line = LogLine::new(Level::Error, Event::DbError)
                .reason("waiting_facts_full")
                .count(self.dropped)
                .detail("the database has not answered for long; timeline events are given up first");
            out.push(Output::Log(Box::new(line)));
        }
        if !matches!(fact, Fact::Event(_))
            && let Some(place) = self.waiting.iter().position(|waiting| matches!(waiting.fact, Fact::Event(_)))
            && let Some(waiting) = self.waiting.remove(place)
        {
            self.spool.taken(waiting.file);
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
        let command = StoreCommand::Facts(facts.clone());
        let waiting = facts.into_iter().map(Waiting::from).collect();
        self.send(UnderWay::Row(call, waiting), command, limits::ROW_TIME, out)
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
        let batch: Vec<Waiting> = match self.suspects.pop_front() {
            Some(suspect) => vec![suspect],
            None => self.waiting.drain(..self.waiting.len().min(limits::FACTS_PER_COMMAND_MAX)).collect(),
        };
        if batch.is_empty() {
            return false;
        }
        self.fact_commands += 1;
        let command = StoreCommand::Facts(batch.iter().map(|waiting| waiting.fact.clone()).collect());
        let sent = self.send(UnderWay::Facts(batch), command, limits::STORE_TIME, out);
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
        let retry = self.retry.filter(|_| waiting_to_retry).map(|(at, _)| at);
        let wants_to_write = !self.is_up() && self.without_a_file() > 0;
        retry.into_iter().chain(self.spool.next_timeout(wants_to_write)).min()
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
        work.facts().iter().for_each(|waiting| self.spool.taken(waiting.file));
        // On a busy process something is always under way; what waited is not, once nothing waits any more.
        let caught_up = self.is_up() && self.waiting.is_empty() && self.suspects.is_empty() && !self.spool.has_unread();
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
            (UnderWay::Facts(facts), _) if facts.iter().any(|waiting| matches!(waiting.fact, Fact::Recording(_))) => {
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
                facts.iter().for_each(|waiting| self.spool.taken(waiting.file));
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
    fn wait_again(&mut self, facts: Vec<Waiting>, out: &mut Vec<Output>) {
        for waiting in facts.into_iter().rev() {
            match waiting.file.filter(|_| self.is_full() && self.spool.is_safe(waiting.file)) {
                Some(file) => self.spool.set_aside(file),
                None if self.has_room_for(&waiting.fact, out) => self.waiting.push_front(waiting),
                None => self.spool.taken(waiting.file),
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
