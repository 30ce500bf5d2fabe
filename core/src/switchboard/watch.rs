//! Deadlines, and when a call falls back.
//!
//! A fallback begins here and nowhere else ([`Switchboard::fall_back`]), whatever noticed the silence; `delivery` brings
//! it to the call.

use super::database::Finished;
use super::{Output, Switchboard, log};
use crate::call::fallback::{Fallback, Step};
use crate::call::phase::Cause;
use crate::call::{CallKey, Watch, WatchKind};
use crate::log::{Event, Level, LogLine};
use crate::store::{CallStatus, Claim, FallbackReason, StoreCommand};
use crate::stream::{Counts, StreamCommand};
use core::time::Duration;

impl Switchboard {
    /// A call's deadline is due: does whatever of it has come. Each part disarms itself before it acts (I3).
    pub(super) fn expire(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.waiting_until.is_some_and(|until| until <= now) {
            call.waiting_until = None;
            self.waited_long_enough(key, out);
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(newcomer) = call.challenger.take_if(|newcomer| newcomer.until <= now) {
            self.settle_challenge(key, newcomer, false, out);
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(watch) = call.watch.take_if(|watch| watch.at <= now) {
            self.watch_expired(key, watch.kind, out);
        }
        self.fallback_due(key, out);
        self.forget_if_old(key, out);
    }

    /// The store did not answer a webhook's row, a claim or an intent in time.
    fn waited_long_enough(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let somebody_waits = self.calls.get(key).is_some_and(|call| !call.waiting.is_empty());
        if somebody_waits && !self.claim_is_open(key) {
            self.database.was_too_slow(self.now.mono, out);
        }
        if self.calls.get(key).is_some_and(|call| call.row_awaited) {
            return self.row_is_there(key, out);
        }
        if somebody_waits {
            self.claim_settled(key, None, out);
            self.answer_waiting(key, out);
        }
        self.close_finished(key, out);
    }

    fn watch_expired(&mut self, key: CallKey, kind: WatchKind, out: &mut Vec<Output>) {
        match kind {
            WatchKind::Start => self.fall_back(key, FallbackReason::NoStart, None, true, out),
            WatchKind::StreamError => self.fall_back(key, FallbackReason::StreamError, None, true, out),
            WatchKind::Drain => {
                if let Some(call) = self.calls.get_mut(key) {
                    call.trouble = Some("the server was stopped".to_owned());
                }
                self.fall_back(key, FallbackReason::StreamLost, None, true, out);
            }
            WatchKind::Bridge => self.bridge_expired(key, out),
        }
    }

    /// Decides that a call falls back: once, never while it is heard, recorded or over (W5, W6). With `update` the
    /// call is fetched by REST; without, a waiting webhook will be answered with the document.
    pub(super) fn fall_back(
        &mut self,
        key: CallKey,
        reason: FallbackReason,
        counts: Option<Counts>,
        update: bool,
        out: &mut Vec<Output>,
    ) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(key) else { return };
        let heard = update && call.is_heard() && self.draining.is_none();
        // A caller who had finished awaits `stream_ended`; only when that does not come something else must.
        let finished = call.finished && reason != FallbackReason::StreamLost;
        if call.is_claimed() || call.is_recording() || call.is_over() || finished || heard {
            return;
        }
        call.watch = None;
        let how_far = call.how_far(counts);
        call.fallback = Some(Fallback::new(reason, how_far.clone(), now.mono, now.unix, update));
        let sid = call.sid;
        *self.counters.fallbacks.entry(reason).or_default() += 1;
        let line = LogLine::new(Level::Warn, Event::WatchdogRedirect).call(sid).reason(reason).detail(&how_far);
        log(line, out);
        self.note(sid, "fallback", format_args!("{reason}: {how_far}"), out);
        self.claim(key, out);
    }

    /// Asks the store for the claim; without a store the watch acts on what this process knows: silence is worse than
    /// a second prompt.
    pub(super) fn claim(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(key) else { return };
        let (known_streams, call_sid) = (call.streams_known(), call.sid);
        let knows_finished = call.finished || call.had_the_newest(known_streams);
        let (at, node) = (self.now.unix, self.settings.node.clone());
        if !self.database.claim(key, Claim { call: call_sid, node, at, known_streams, knows_finished }, out) {
            self.claim_settled(key, None, out);
            self.answer_waiting(key, out);
        }
    }

    /// The call is over (W6): nothing watches it any more, and its row says how it ended (W9).
    pub(super) fn end_call(
        &mut self,
        key: CallKey,
        status: Option<CallStatus>,
        duration: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(key) else { return };
        let sid = call.sid;
        let is_news = !call.is_over();
        // Late and repeated webhooks find it for a minute from now, whoever told of its end (W10).
        call.heard_of = now.mono;
        call.watch = None;
        call.step(Cause::Over);
        let unheard = call.streams.is_empty() && !call.is_recording();
        let unconfirmed = call.fallback.take_if(|fallback| !fallback.is_confirmed());
        let left_early = is_news && unheard && unconfirmed.is_none() && !call.is_unknown();
        let mut fact = self.fact(sid);
        fact.status = status;
        fact.ended_at = Some(now.unix);
        fact.duration_seconds = duration.map(|duration| duration.as_secs());
        if let Some(fallback) = &unconfirmed {
            fact.fallback = Some((fallback.at, fallback.reason));
            fact.how_far = Some(format!("{}; the call ended before the recording began", fallback.how_far));
        } else if left_early {
            fact.how_far = Some("caller_left".to_owned());
        }
        self.write(fact, out);
        if is_news {
            self.note(sid, "over", status.map_or("unknown", CallStatus::as_str), out);
        }
        self.release_streams(key, out);
        self.answer_waiting(key, out);
    }

    /// Frames flow again: what was not sent yet is not sent, and the claim is given back (W6).
    pub(super) fn cancel_if_heard(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let node = self.settings.node.clone();
        let Some(call) = self.calls.get_mut(key) else { return };
        if !call.is_heard() || self.draining.is_some() {
            return;
        }
        let Some(fallback) = call.fallback.take_if(|fallback| fallback.can_be_cancelled()) else { return };
        let sid = call.sid;
        self.counters.fallbacks_cancelled += 1;
        log(LogLine::new(Level::Info, Event::WatchdogCancelled).call(sid).reason(fallback.reason), out);
        self.note(sid, "fallback_cancelled", fallback.reason, out);
        self.database.release(StoreCommand::Release { call: sid, node }, out);
    }

    /// `stop` agrees with "no such call": it is over (W7).
    pub(super) fn stopped_agrees(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(key) else { return };
        if call.fallback.as_ref().is_some_and(|fallback| matches!(fallback.step, Step::Agreement { .. })) {
            self.end_call(key, None, None, out);
        }
    }

    /// A database command that a call waited for is over.
    pub(super) fn stored(&mut self, finished: Finished, out: &mut Vec<Output>) {
        let key = match finished {
            Finished::Nothing => return,
            Finished::Recordings => {
                self.rounds.recordings = self.now.mono;
                return;
            }
            Finished::Text(job, taken) => return self.text_stored(job, taken, out),
            Finished::Round(round, answer) => return self.round_over(round, answer, out),
            Finished::Row(key) => {
                self.answer_waiting(key, out);
                self.close_finished(key, out);
                key
            }
            Finished::Found(key, known) => {
                self.found(key, known.as_deref(), out);
                key
            }
            Finished::Claim(key, granted) => {
                self.claim_settled(key, granted, out);
                self.answer_waiting(key, out);
                key
            }
        };
        self.index(key);
    }

    /// The process stops: new calls are recorded, streams may run on for `DRAIN_SECONDS`; what is then still live is
    /// moved to recording, for Twilio records without us.
    pub(super) fn drain(&mut self, out: &mut Vec<Output>) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(self.now.mono);
        let keys: Vec<CallKey> = self.calls.iter().filter(|(_, call)| call.is_live()).map(|(key, _)| key).collect();
        log(
            LogLine::new(Level::Info, Event::AppStop).count(keys.len() as u64).detail("draining: live calls go on"),
            out,
        );
        let drain = self.drain_watch();
        for key in keys {
            if let Some(call) = self.calls.get_mut(key) {
                call.watch = call.watch.into_iter().chain(drain).min_by_key(|watch| watch.at);
            }
            self.index(key);
        }
    }

    /// The end of the time that streams have while the process stops; `None` while it does not.
    pub(super) fn drain_watch(&self) -> Option<Watch> {
        self.draining.map(|since| Watch { at: since + self.settings.config.drain, kind: WatchKind::Drain })
    }

    /// W10: an entry that ended, or was not heard of for hours, leaves memory.
    fn forget_if_old(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(key) else { return };
        if call.heard_of + call.kept() > self.now.mono {
            return;
        }
        if let Some(link) = call.link {
            out.push(Output::Command { id: link.id, command: StreamCommand::Close });
        }
        self.forget(key);
    }
}
