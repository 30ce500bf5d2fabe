//! Several processes on one database: each says that it lives, and takes over the calls of those that do not.
//!
//! A call that is taken over is watched anew from here. Its stream, if it had one, broke with its process, and Twilio
//! asks `stream_ended` of whoever answers; a call without a stream still waits for its first. Either way 8 s pass before
//! anything is done to it (W1, W11), time for whatever Twilio asks by itself, and the claim that follows knows as many
//! streams as the row did: where another process has the caller by then, it is refused.

use super::database::Round;
use super::{Output, Switchboard, log};
use crate::call::phase::Cause;
use crate::call::{Call, CallKey, Watch, WatchKind};
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::store::{KnownCall, StoreAnswer, StoreCommand};
use crate::time::Instant;
use core::time::Duration;
use std::collections::VecDeque;

/// When this process says next that it lives.
#[derive(Debug)]
pub(super) struct Renewals {
    at: Instant,
    under_way: bool,
    /// Processes that are known to be gone, and whose calls nobody was asked for yet.
    gone: VecDeque<String>,
    /// Whether this process has said that it is gone.
    pub(super) retired: bool,
}

impl Renewals {
    pub(super) const fn new(now: Instant) -> Self {
        Self { at: now, under_way: false, gone: VecDeque::new(), retired: false }
    }

    /// A process is gone, whatever its last word was: its directory was free.
    pub(super) fn is_gone(&mut self, node: &str, now: Instant) {
        if !self.gone.iter().any(|gone| gone == node) {
            self.gone.push_back(node.to_owned());
            self.at = now;
        }
    }
}

impl Switchboard {
    /// Says that this process lives, when it is time to; and that it is gone, once it has drained.
    pub(super) fn flush_renewals(&mut self, out: &mut Vec<Output>) {
        let now = self.now.mono;
        if self.renewals.under_way || self.renewals.retired || !self.database.takes_more() {
            return;
        }
        if self.has_drained() {
            self.renewals.under_way = true;
            let command = StoreCommand::Retire { node: self.settings.node.clone() };
            return self.database.ask(Round::Retire, command, out);
        }
        if self.renewals.at > now {
            return;
        }
        self.renewals.at = now + limits::NODE_RENEWAL;
        self.renewals.under_way = true;
        let node = self.settings.node.clone();
        let gone: Vec<_> = self.renewals.gone.iter().take(limits::GONE_DECLARED_MAX).cloned().collect();
        let command = StoreCommand::Renew { node, gone: gone.clone() };
        self.database.ask(Round::Renew(gone), command, out);
    }

    /// When the next word is due; `None` while none can be given.
    pub(super) fn next_renewal(&self) -> Option<Instant> {
        let can = !self.renewals.under_way && !self.renewals.retired && self.database.takes_more();
        can.then_some(self.renewals.at)
    }

    /// The word was taken, or not: then it is given again in its time.
    pub(super) fn renewed(&mut self, gone: &[String], answer: Option<StoreAnswer>, out: &mut Vec<Output>) {
        self.renewals.under_way = false;
        let Some(StoreAnswer::TakenOver(calls)) = answer else { return };
        self.renewals.gone.retain(|node| !gone.contains(node));
        if calls.len() as u64 >= limits::CALLS_TAKEN_MAX || !self.renewals.gone.is_empty() {
            self.renewals.at = self.now.mono;
        }
        for call in calls {
            self.take_over(&call, out);
        }
    }

    /// The last word was taken, or it was not: then this process counts as gone when the word before has run out.
    pub(super) fn has_retired(&mut self) {
        (self.renewals.under_way, self.renewals.retired) = (false, true);
    }

    fn take_over(&mut self, taken: &KnownCall, out: &mut Vec<Output>) {
        let host = taken.host.as_deref().and_then(|host| host.parse().ok()).or_else(|| self.public_host.clone());
        let line = LogLine::new(Level::Warn, Event::CallTakenOver).call(taken.call);
        let Some(key) = host.and_then(|host| self.find_or_add(taken.call, &host)) else {
            self.counters.calls_unwatched += 1;
            return log(line.reason("memory_full"), out);
        };
        log(line, out);
        self.note(taken.call, "taken_over", "its process is gone", out);
        self.counters.calls_taken_over += 1;
        let wait = self.start_wait().saturating_sub(taken.age).max(limits::BRIDGE_TIME);
        let Some(call) = self.calls.get_mut(key) else { return };
        learn(call, taken);
        if taken.streams == 0 && call.streams_known() == 0 {
            self.await_start(key, wait);
        } else {
            self.stream_lost(key);
        }
        self.index(key);
    }

    /// Asks what the row says when Twilio asks what follows a stream, for with several processes it asks whichever it
    /// reaches: another one may have had the stream, and the caller may have finished on it. Returns how long the answer is
    /// awaited, if one will come; of a database that is being opened a little longer.
    pub(super) fn seek_row(&mut self, key: CallKey, out: &mut Vec<Output>) -> Option<Duration> {
        let settled = |call: &Call| call.finished || call.is_claimed() || call.is_recording() || call.is_over();
        let call = self.calls.get_mut(key).filter(|call| !settled(call))?;
        call.row_awaited = call.row_awaited || self.database.find(key, call.sid, out);
        let time = if self.database.is_up() { limits::CLAIM_TIME } else { limits::ROW_TIME };
        call.row_awaited.then_some(time)
    }

    /// The row of a call, or that there is none.
    pub(super) fn found(&mut self, key: CallKey, known: Option<&KnownCall>, out: &mut Vec<Output>) {
        if let (Some(call), Some(known)) = (self.calls.get_mut(key), known) {
            learn(call, known);
        }
        self.row_is_there(key, out);
    }

    /// W1 for a call that was taken over: what was left of its time, and never less than what a lost stream gets.
    fn await_start(&mut self, key: CallKey, wait: Duration) {
        let at = self.now.mono + wait;
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.is_live() && call.watch.is_none() && !call.is_claimed() {
            call.watch = Some(Watch { at, kind: WatchKind::Start });
        }
    }
}

/// Takes over what the row knows and this process does not.
fn learn(call: &mut Call, known: &KnownCall) {
    call.account = call.account.or(known.account);
    call.source = call.source.or(known.source);
    if let Some(stream) = known.stream.filter(|_| known.streams > call.streams_started()) {
        call.count_stream(stream, known.streams);
        call.last_stream = Some(stream);
    }
    call.heard_ever |= known.heard;
    call.finished |= known.finished && !call.had_the_newest(known.streams);
    call.recording.seen |= known.recorded;
    if known.recorded {
        call.step(Cause::Recording);
    } else if known.streams > 0 && call.link.is_none() {
        call.step(Cause::Lost);
    }
}

#[cfg(test)]
mod tests;
