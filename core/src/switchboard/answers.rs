//! Which TwiML a call gets: one decision for every fetch, first or repeated (D5).

use super::{Output, Switchboard};
use crate::call::fallback::Route;
use crate::call::phase::{Cause, Phase};
use crate::call::{Call, CallKey, Question, Watch, WatchKind};
use crate::id::RequestId;
use crate::limits;
use crate::prompts::Role;
use crate::store::{FallbackReason, Source};
use crate::time::Instant;
use crate::twiml::{self, Announcement, Document};
use core::time::Duration;

/// What a fetch is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The call is over.
    Nothing,
    /// The caller had finished (W12).
    Goodbye,
    /// A recording has ended.
    HangUp,
    /// The recording document, which is what the call asked for anyway or was promised already.
    Record,
    /// The recording document, as this call's fallback.
    FallBack(FallbackReason),
    /// A stream; with the greeting only the first time.
    Connect { greeting: bool },
}

impl Switchboard {
    /// A TwiML fetch: answered now, or when what it depends on is settled (the row, the claim).
    pub(super) fn ask(&mut self, id: RequestId, key: CallKey, question: Question, out: &mut Vec<Output>) {
        if question == Question::StreamEnded
            && let Some(time) = self.seek_row(key, out)
        {
            return self.wait_or_answer(id, key, question, Some(time), out);
        }
        self.ask_knowing(id, key, question, out);
    }

    /// A fetch about a call of which all is known that can be.
    fn ask_knowing(&mut self, id: RequestId, key: CallKey, question: Question, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(key) else { return };
        let time = match self.decide(call, question) {
            Answer::FallBack(reason) => {
                self.fall_back(key, reason, None, false, out);
                self.claim_is_open(key).then_some(limits::CLAIM_TIME)
            }
            // A repeat of a webhook whose row is not written yet waits with the first (D5).
            Answer::Nothing | Answer::Goodbye | Answer::HangUp | Answer::Record | Answer::Connect { .. } => {
                (!call.waiting.is_empty()).then_some(limits::ROW_TIME)
            }
        };
        self.wait_or_answer(id, key, question, time, out);
    }

    /// The row is there, or will not come: whoever waits asks again.
    pub(super) fn row_is_there(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        (call.row_awaited, call.waiting_until) = (false, None);
        for waiting in core::mem::take(&mut call.waiting) {
            self.ask_knowing(waiting.id, key, waiting.question, out);
        }
    }

    /// What everyone waiting for is there, or will not come: answer them all.
    pub(super) fn answer_waiting(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        call.waiting_until = None;
        for waiting in core::mem::take(&mut call.waiting) {
            self.answer(waiting.id, key, waiting.question, out);
        }
    }

    /// Answers a fetch with what is right at this moment, and arms what follows from it.
    pub(super) fn answer(&mut self, id: RequestId, key: CallKey, question: Question, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(key) else { return };
        let answer = self.decide(call, question);
        match answer {
            Answer::Record => self.give_recording(key, out),
            Answer::FallBack(reason) => {
                // Decided only now: the process began to stop while the row was waited for.
                self.fall_back(key, reason, None, false, out);
                self.give_recording(key, out);
            }
            Answer::Connect { greeting } => self.give_stream(key, greeting),
            Answer::Goodbye | Answer::HangUp | Answer::Nothing => self.disarm(key),
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        // Whoever asks is alive: an earlier `stop` no longer agrees with "no such call" (W7).
        (call.look_up, call.stopped) = (None, None);
        if call.link.is_none() {
            // What is still told of the stream before it says nothing about what follows.
            call.last_stream = None;
        }
        let prompts = &self.settings.prompts;
        let ordinal = call.streams_started().saturating_add(1);
        let connects = matches!(answer, Answer::Connect { .. });
        let token = if connects { self.keys.issue(call.sid, ordinal, self.now.unix) } else { String::new() };
        let document = match answer {
            Answer::Nothing => Document::Empty,
            Answer::Goodbye => Document::Goodbye(prompts.announcement(Role::Goodbye)),
            Answer::HangUp => Document::Hangup,
            Answer::Record | Answer::FallBack(_) => Document::Record(prompts.announcement(Role::Fallback)),
            Answer::Connect { greeting } => Document::Stream {
                greeting: if greeting { prompts.announcement(Role::Greeting) } else { Announcement::Silent },
                call: Some(call.sid),
                token: &token,
            },
        };
        let response = twiml::response(&document, &call.host);
        self.reply(id, response, out);
    }

    /// First match decides: the table of `stream_ended`, and D5 for `incoming_call`.
    fn decide(&self, call: &Call, question: Question) -> Answer {
        let streaming = self.settings.config.streaming && self.draining.is_none();
        let heard = call.heard_ever;
        match question {
            _ if call.is_over() => Answer::Nothing,
            _ if call.finished => Answer::Goodbye,
            _ if call.recording.ended => Answer::HangUp,
            _ if call.is_claimed() || call.is_recording() => Answer::Record,
            Question::AfterError => Answer::FallBack(FallbackReason::StreamError),
            Question::Incoming if call.source == Some(Source::Recording) => Answer::Record,
            // Also while the process stops: a caller who is heard is on a stream, and whoever asks is a repeat.
            Question::Incoming if streaming || call.is_heard() => Answer::Connect { greeting: true },
            Question::StreamEnded if !heard && !call.is_unknown() => Answer::FallBack(FallbackReason::StreamError),
            Question::StreamEnded if streaming && heard && may_stream_again(call, self.now.mono) => {
                Answer::Connect { greeting: false }
            }
            Question::Incoming | Question::StreamEnded => Answer::FallBack(FallbackReason::StreamLost),
        }
    }

    /// The answer is the recording document: whatever was to bring the call there is done (W5).
    fn give_recording(&mut self, key: CallKey, out: &mut Vec<Output>) {
        self.confirm(key, Route::Answer, out);
        if let Some(call) = self.calls.get_mut(key) {
            call.step(Cause::Recording);
            call.watch = None;
        }
        self.release_streams(key, out);
    }

    /// The answer is a stream: it is watched from this moment on (W1, W11).
    fn give_stream(&mut self, key: CallKey, greeting: bool) {
        let (now, wait) = (self.now.mono, self.start_wait());
        let Some(call) = self.calls.get_mut(key) else { return };
        if !greeting {
            call.step(Cause::Lost);
            if !call.has_just_reconnected(now) {
                call.reconnects = call.reconnects.saturating_add(1);
                call.reconnected = Some(now);
            }
            call.watch = Some(Watch { at: now + limits::BRIDGE_TIME_RECONNECT, kind: WatchKind::Bridge });
        } else if call.phase == Phase::Announced && call.watch.is_none() {
            call.watch = Some(Watch { at: now + wait, kind: WatchKind::Start });
        }
    }

    fn disarm(&mut self, key: CallKey) {
        if let Some(call) = self.calls.get_mut(key) {
            call.watch = None;
        }
    }

    /// W1: a greeting is played before the stream starts, so a long one buys time.
    pub(super) fn start_wait(&self) -> Duration {
        let timeout = self.settings.config.stream_start_timeout;
        timeout.max(self.settings.prompts.get(Role::Greeting).length() + timeout / 2)
    }
}

/// Neither too many streams so far, nor too many asked for in vain: a stream that fails before its `start` comes back here
/// at once, and each round is silence.
fn may_stream_again(call: &Call, now: Instant) -> bool {
    let in_vain = call.reconnects >= limits::STREAMS_PER_CALL_MAX && !call.has_just_reconnected(now);
    call.streams_started() < limits::STREAMS_PER_CALL_MAX && !in_vain
}
