//! How a fallback reaches its call (W5, W7): one claim, then one of two routes. The answer to a TwiML fetch needs no
//! request of ours and wins over everything pending; otherwise the live call is updated by REST, and what may be
//! repeated after which answer is decided here.

use super::pages::Service;
use super::{Fetch, Output, Switchboard, log};
use crate::call::fallback::{Route, Step, Verdict};
use crate::call::phase::Cause;
use crate::call::{CallKey, Watch, WatchKind};
use crate::fetch::{FetchError, FetchResponse};
use crate::id::FetchId;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::prompts::Role;
use crate::rest::{self, UpdateOutcome};
use crate::store::Refusal;
use crate::stream::StreamCommand;
use crate::twiml::Document;

impl Switchboard {
    /// Whether the store still owes a word on the claim.
    pub(super) fn claim_is_open(&self, key: CallKey) -> bool {
        let fallback = self.calls.get(key).and_then(|call| call.fallback.as_ref());
        fallback.is_some_and(|fallback| matches!(fallback.step, Step::Claiming { .. }))
    }

    /// The claim is decided; `None` when the store did not say in time.
    pub(super) fn claim_settled(&mut self, key: CallKey, outcome: Option<Result<(), Refusal>>, out: &mut Vec<Output>) {
        let (now, prompt) = (self.now.mono, self.settings.prompts.get(Role::Fallback).length());
        let Some(call) = self.calls.get_mut(key) else { return };
        let sid = call.sid;
        let outcome =
            outcome.filter(|outcome| *outcome != Err(Refusal::FellBack) || !call.outlived_refusal(now, prompt));
        let Some(fallback) = &mut call.fallback else { return };
        let own = fallback.went_nowhere && outcome == Some(Err(Refusal::FellBack));
        let outcome = if own { Some(Ok(())) } else { outcome };
        let Step::Claiming { update, .. } = fallback.step else { return };
        if outcome.is_none() {
            self.counters.claims_blind += 1;
            log(LogLine::new(Level::Warn, Event::WatchdogBlind).call(sid).reason(fallback.reason), out);
        }
        if !update || !call.waiting.is_empty() {
            // The webhook that waits, for this or for its row, is answered next, and that confirms it.
            fallback.claimed(now);
            return;
        }
        match outcome {
            None | Some(Ok(())) => {
                fallback.claimed(now);
                self.fallback_due(key, out);
            }
            Some(Err(refusal)) => self.claim_refused(key, refusal, out),
        }
    }

    /// The row says that there is nothing to do here, or not now.
    fn claim_refused(&mut self, key: CallKey, refusal: Refusal, out: &mut Vec<Output>) {
        let bridge = Watch { at: self.now.mono + limits::BRIDGE_TIME, kind: WatchKind::Bridge };
        let Some(call) = self.calls.get_mut(key) else { return };
        // An update was sent before: its recording called back elsewhere, or the call is over and may have been recorded.
        if call.fallback.as_ref().is_some_and(|fallback| fallback.rounds > 1) {
            match refusal {
                Refusal::Recorded => return self.confirm(key, Route::Recorded, out),
                Refusal::Over => return self.end_call(key, None, None, out),
                Refusal::Held | Refusal::Elsewhere | Refusal::FellBack => {}
            }
        }
        call.fallback = None;
        call.claim_refused.get_or_insert(self.now.mono);
        let sid = call.sid;
        self.note(sid, "claim_refused", refusal.as_str(), out);
        let Some(call) = self.calls.get_mut(key) else { return };
        match refusal {
            Refusal::Held | Refusal::FellBack => call.watch = Some(bridge),
            // Whoever has the caller watches: should that process die too, the call comes back.
            Refusal::Elsewhere => self.release_streams(key, out),
            Refusal::Recorded => {
                call.recording.seen = true;
                call.step(Cause::Recording);
                self.release_streams(key, out);
            }
            Refusal::Over => self.end_call(key, None, None, out),
        }
    }

    /// Does what is due of a call's fallback, if anything.
    pub(super) fn fallback_due(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(fallback) = &mut call.fallback else { return };
        if fallback.close_socket.take_if(|at| *at <= now).is_some() {
            self.close_unconfirmed(key, out);
        }
        let Some(fallback) = self.calls.get_mut(key).and_then(|call| call.fallback.as_mut()) else { return };
        match fallback.step {
            Step::Claiming { until, .. } if until <= now => {
                self.claim_settled(key, None, out);
                self.answer_waiting(key, out);
            }
            Step::Due { at } if at <= now => self.send_update(key, out),
            Step::Sent { until, .. } if until <= now => fallback.ambiguous(now),
            Step::Signs { until } if until <= now => {
                let verdict = fallback.no_signs(now);
                self.after(key, verdict, "ambiguous", out);
            }
            Step::Agreement { until } if until <= now => {
                let verdict = fallback.no_agreement(now);
                self.after(key, verdict, "unknown_call", out);
            }
            Step::Failed { again } if again <= now => self.probe(key, out),
            Step::Probing { until, .. } if until <= now => fallback.not_reached(limits::REST_RETRY_MAX, now),
            Step::Answered { until } if until <= now => self.nothing_began(key, out),
            Step::Claiming { .. }
            | Step::Due { .. }
            | Step::Sent { .. }
            | Step::Signs { .. }
            | Step::Agreement { .. }
            | Step::Failed { .. }
            | Step::Probing { .. }
            | Step::Answered { .. }
            | Step::Confirmed => {}
        }
    }

    /// What follows an unhappy turn: the next attempt at once where one is due, else a failure that is said aloud.
    fn after(&mut self, key: CallKey, verdict: Verdict, cause: &str, out: &mut Vec<Output>) {
        match verdict {
            Verdict::Continues => self.fallback_due(key, out),
            Verdict::Hopeless => self.give_up(key, cause, out),
        }
    }

    /// Sends the next update, after one more look at whether it is still right (W6).
    fn send_update(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let now = self.now.mono;
        self.cancel_if_heard(key, out);
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(fallback) = &mut call.fallback else { return };
        let Some(twilio) = &self.settings.config.twilio else {
            return self.give_up(key, "no_credentials", out);
        };
        let Some(authorization) = rest::authorization(twilio, fallback.token) else {
            return self.give_up(key, "unauthorized", out);
        };
        let Ok(id) = self.fetches.insert(Fetch::Update(key)) else { return fallback.no_room(now) };
        fallback.sent(id, now);
        let document = Document::Record(self.settings.prompts.announcement(Role::Fallback)).to_xml(&call.host);
        let account = call.account.unwrap_or(twilio.sid);
        let base = &self.settings.config.twilio_api_base;
        let request = rest::update_call(base, account, call.sid, authorization, &document);
        let sid = call.sid;
        out.push(Output::Fetch { id, request });
        self.note(sid, "update_sent", "", out);
    }

    /// A fetch is over.
    pub(super) fn fetched(&mut self, id: FetchId, result: &Result<FetchResponse, FetchError>, out: &mut Vec<Output>) {
        let Some(fetch) = self.fetches.remove(id) else { return };
        let key = match fetch {
            Fetch::Update(key) => {
                self.updated(id, key, result, out);
                key
            }
            Fetch::LookUp(key) => {
                self.looked_up(id, key, result, out);
                key
            }
            Fetch::Probe(key) => {
                self.probed(id, key, result, out);
                key
            }
            Fetch::Search(key) => {
                self.searched(id, key, result, out);
                key
            }
            Fetch::Transcription(job, shut_count) => return self.transcribed(job, shut_count, result, out),
            Fetch::Recording(work) => return self.downloaded(work, result, out),
            Fetch::OverdueEnd(call, token) => return self.overdue_end(call, token, result, out),
            Fetch::OverdueRecordings(call, token) => {
                return self.overdue_recordings(&call, token, result, out);
            }
        };
        self.index(key);
    }

    fn updated(
        &mut self,
        id: FetchId,
        key: CallKey,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let now = self.now.mono;
        let rest::Answer { outcome, detail } = rest::update_outcome(result);
        self.use_of_twilio(!matches!(
            outcome,
            UpdateOutcome::NotDelivered
                | UpdateOutcome::Ambiguous
                | UpdateOutcome::Unauthorized
                | UpdateOutcome::Misconfigured
        ));
        let tokens = self.settings.config.twilio.as_ref().map_or(0, |account| account.auth_tokens.len());
        let Some(call) = self.calls.get_mut(key) else { return };
        let sid = call.sid;
        let Some(fallback) = call.fallback.as_mut() else { return };
        let awaited = matches!(fallback.step, Step::Sent { id: sent, .. } if sent == id);
        if outcome == UpdateOutcome::Accepted {
            return self.confirm(key, Route::Update, out);
        }
        if !awaited {
            return;
        }
        let signs = fallback.signs_seen;
        let verdict = match outcome {
            UpdateOutcome::Accepted => return,
            UpdateOutcome::NotDelivered => {
                fallback.not_delivered(now);
                Verdict::Continues
            }
            UpdateOutcome::Ambiguous if signs => return self.confirm(key, Route::Signs, out),
            UpdateOutcome::Ambiguous => {
                fallback.ambiguous(now);
                Verdict::Continues
            }
            UpdateOutcome::CallGone => {
                fallback.gone(now);
                Verdict::Continues
            }
            UpdateOutcome::Unauthorized => fallback.unauthorized(tokens, now),
            UpdateOutcome::Misconfigured => fallback.hopeless(now),
        };
        self.note(sid, "update_failed", &detail, out);
        if outcome == UpdateOutcome::CallGone && self.calls.get(key).is_some_and(|call| call.stopped_lately(now)) {
            return self.end_call(key, None, None, out);
        }
        self.cancel_if_heard(key, out);
        match verdict {
            Verdict::Continues => self.fallback_due(key, out),
            Verdict::Hopeless => self.give_up(key, &detail, out),
        }
    }

    /// No update will help: loud, and the socket is closed so that Twilio asks `stream_ended` (the second route).
    fn give_up(&mut self, key: CallKey, cause: &str, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let sid = call.sid;
        let Some(fallback) = &mut call.fallback else { return };
        fallback.hopeless(self.now.mono);
        let line =
            LogLine::new(Level::Error, Event::WatchdogRedirectFail).call(sid).reason(fallback.reason).cause(cause);
        call.trouble = Some(format!("update failed: {cause}"));
        self.counters.fallbacks_failed += 1;
        log(line, out);
        self.note(sid, "update_given_up", cause, out);
        self.close_unconfirmed(key, out);
        // Frames that came while an update might have been applied: it was not.
        self.cancel_if_heard(key, out);
    }

    /// Closes the socket of a call whose update is not confirmed, never before one was tried (W7), and not while its
    /// frames flow (W6) unless the process stops.
    fn close_unconfirmed(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let draining = self.draining.is_some();
        let Some(call) = self.calls.get_mut(key).filter(|call| draining || !call.is_heard()) else { return };
        let unconfirmed = call.fallback.as_ref().is_some_and(|fallback| !fallback.is_confirmed());
        if let Some(link) = call.link.filter(|_| unconfirmed && !call.closed_by_us) {
            call.closed_by_us = true;
            out.push(Output::Command { id: link.id, command: StreamCommand::Close });
        }
    }

    /// `stop`, a close that is not ours, `stream-stopped`: an update that may have been applied was (W7).
    pub(super) fn sign_of_update(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(fallback) = self.calls.get_mut(key).and_then(|call| call.fallback.as_mut()) else { return };
        match fallback.step {
            Step::Signs { .. } => self.confirm(key, Route::Signs, out),
            Step::Sent { .. } => fallback.signs_seen = true,
            Step::Claiming { .. }
            | Step::Due { .. }
            | Step::Agreement { .. }
            | Step::Failed { .. }
            | Step::Probing { .. }
            | Step::Answered { .. }
            | Step::Confirmed => {}
        }
    }

    /// The caller is being recorded: by an accepted update, an answer given, or a recording that called back (W5).
    pub(super) fn confirm(&mut self, key: CallKey, route: Route, out: &mut Vec<Output>) {
        let (now, prompt) = (self.now, self.settings.prompts.get(Role::Fallback).length());
        let Some(call) = self.calls.get_mut(key) else { return };
        let sid = call.sid;
        let Some(fallback) = &mut call.fallback else { return };
        let known = fallback.is_confirmed();
        match route {
            // What looks like a sign may be none: a recording has to follow it as it has to follow an answer.
            Route::Answer | Route::Signs => fallback.answered(now.mono + prompt + limits::RECORDING_STARTS),
            Route::Update | Route::Recording | Route::Recorded => fallback.step = Step::Confirmed,
        }
        if known {
            return;
        }
        let (reason, at, how_far) = (fallback.reason, fallback.at, fallback.how_far.clone());
        call.watch = None;
        call.step(Cause::Recording);
        self.counters.fallbacks_confirmed += 1;
        let mut line =
            LogLine::new(Level::Info, Event::WatchdogRedirectOk).call(sid).reason(reason).detail(route.as_str());
        line.ms = u64::try_from(now.unix.0.saturating_sub(at.0)).ok();
        log(line, out);
        self.note(sid, "fallback_confirmed", route.as_str(), out);
        let mut fact = self.fact(sid);
        fact.fallback = Some((at, reason));
        fact.how_far = Some(how_far);
        self.write(fact, out);
        self.release_streams(key, out);
    }

    pub(super) fn use_of_twilio(&mut self, well: bool) {
        if self.twilio != Service::Disabled {
            self.twilio.used(well, self.now.mono);
        }
    }
}
