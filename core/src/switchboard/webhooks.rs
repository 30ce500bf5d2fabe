//! What each webhook tells of its call. Facts are written whatever this process knows of the call, because another
//! one may have answered it; none of these ever fails: Twilio gets TwiML or 204.

use super::routes::Webhook;
use super::{Output, Switchboard, log};
use crate::call::fallback::Route;
use crate::call::phase::{Cause, Phase};
use crate::call::{Call, CallKey, Question, Waiting};
use crate::form::Form;
use crate::http::Response;
use crate::id::RequestId;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::prompts::Role;
use crate::sid::{AccountSid, CallSid, RecordingSid, StreamSid};
use crate::store::{CallStatus, EventFact, Fact, RecordingFact, RecordingState, Source};
use crate::twiml::{self, Document, PublicHost};
use core::time::Duration;

impl Switchboard {
    /// A webhook that is Twilio's.
    pub(super) fn believed(
        &mut self,
        id: RequestId,
        webhook: Webhook,
        form: &Form,
        host: &PublicHost,
        out: &mut Vec<Output>,
    ) {
        let Some(sid) = form.get("CallSid").and_then(|sid| sid.parse::<CallSid>().ok()) else {
            let line = LogLine::new(Level::Warn, Event::BadWebhook)
                .reason(format_args!("{webhook:?}"))
                .detail("no valid CallSid in it: answered, but no call can be watched");
            log(line, out);
            let response = self.answer_without_a_call(webhook, host);
            return self.reply(id, response, out);
        };
        if form.is_damaged() {
            let line = LogLine::new(Level::Warn, Event::BadWebhook).call(sid).reason(format_args!("{webhook:?}"));
            log(line.detail("bytes that are no UTF-8, or too many parameters; the rest is used"), out);
        }
        let Some(key) = self.find_or_add(sid, host) else {
            self.counters.calls_unwatched += 1;
            log(LogLine::new(Level::Error, Event::BadWebhook).call(sid).reason("memory_full"), out);
            let response = self.answer_without_a_call(webhook, host);
            return self.reply(id, response, out);
        };
        self.heard_of(key, form, out);
        match webhook {
            Webhook::IncomingCall => self.incoming_call(id, key, form, out),
            Webhook::StreamEnded => self.stream_ended(id, key, form, out),
            Webhook::HandleRecording => self.handle_recording(id, key, form, out),
            Webhook::CallStatus => self.call_status(key, form, out),
            Webhook::StreamStatus => self.stream_status(key, form, out),
            Webhook::RecordingStatus => self.recording_status(key, form, out),
        }
        if matches!(webhook, Webhook::CallStatus | Webhook::StreamStatus | Webhook::RecordingStatus) {
            self.reply(id, Response::empty(204), out);
        }
        self.index(key);
    }

    /// What a webhook gets that names no call we could watch: TwiML must end in a recording all the same.
    pub(super) fn answer_without_a_call(&self, webhook: Webhook, host: &PublicHost) -> Response {
        let prompts = &self.settings.prompts;
        match webhook {
            Webhook::IncomingCall | Webhook::StreamEnded => {
                twiml::response(&Document::Record(prompts.announcement(Role::Fallback)), host)
            }
            Webhook::HandleRecording => twiml::response(&Document::Goodbye(prompts.announcement(Role::Goodbye)), host),
            Webhook::CallStatus | Webhook::StreamStatus | Webhook::RecordingStatus => Response::empty(204),
        }
    }

    /// The TwiML a real call would get, for anyone: no row, no watch, a token that admits nobody.
    pub(super) fn preview(&self, form: &Form, host: &PublicHost) -> Response {
        let prompts = &self.settings.prompts;
        let call = form.get("CallSid").and_then(|sid| sid.parse().ok());
        let document = if self.settings.config.streaming && self.draining.is_none() {
            let greeting = prompts.announcement(Role::Greeting);
            Document::Stream { greeting, call, token: crate::token::PREVIEW_TOKEN }
        } else {
            Document::Record(prompts.announcement(Role::Fallback))
        };
        twiml::response(&document, host).with("x-callwarden-preview", "1")
    }

    /// Common to all webhooks: the call was heard of, and whose it is.
    fn heard_of(&mut self, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        let configured = self.settings.config.twilio.as_ref().map(|account| account.sid);
        let now = self.now.mono;
        let Some(call) = self.calls.get_mut(key) else { return };
        call.heard_of = now;
        let account = form.get("AccountSid").and_then(|sid| sid.parse::<AccountSid>().ok());
        if call.account.is_none() && account.is_some() {
            call.account = account;
            if configured.is_some() && configured != account {
                let line = LogLine::new(Level::Info, Event::IncomingCall).call(call.sid).reason("sub_account");
                log(line.detail("the call belongs to another account than TWILIO_ACCOUNT_SID"), out);
            }
        }
    }

    fn incoming_call(&mut self, id: RequestId, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        self.end_if_over(key, form, out);
        let recording = !self.settings.config.streaming || self.draining.is_some();
        let Some(call) = self.calls.get_mut(key) else { return };
        let error = form.get("ErrorCode").filter(|code| !code.is_empty());
        if let Some(code) = error {
            let code: String = code.chars().take(limits::ERROR_CODE_CHARS_MAX).collect();
            call.trouble = Some(format!("Twilio could not run our document: error {code}"));
        }
        let question = if error.is_some() { Question::AfterError } else { Question::Incoming };
        if call.source.is_some() {
            return self.ask(id, key, question, out);
        }
        call.source = Some(if recording { Source::Recording } else { Source::Stream });
        let (sid, source) = (call.sid, call.source);
        self.counters.calls += 1;
        log(LogLine::new(Level::Info, Event::IncomingCall).call(sid), out);
        let text =
            |name: &str| form.get(name).map(|text| text.chars().take(limits::TEXT_CHARS_MAX).collect::<String>());
        let mut fact = self.call_fact(key, form);
        fact.status = Some(fact.status.unwrap_or(CallStatus::Ringing));
        (fact.source, fact.from, fact.to) = (source, text("From"), text("To"));
        fact.direction = text("Direction");
        fact.transcript = Some(self.transcript_start());
        let event = EventFact { call: sid, at: self.now.unix, event: "incoming_call".into(), detail: String::new() };
        let facts = vec![Fact::Call(Box::new(fact)), Fact::Event(event)];
        if question == Question::AfterError {
            facts.into_iter().for_each(|fact| self.database.add(fact, out));
            return self.ask(id, key, question, out);
        }
        let waits = self.database.write_row(key, facts, out);
        self.wait_or_answer(id, key, question, waits.then_some(limits::ROW_TIME), out);
    }

    fn call_fact(&self, key: CallKey, form: &Form) -> crate::store::CallFact {
        let call = self.calls.get(key);
        let mut fact = self.fact(call.map_or(CallSid::from_number(0), |call| call.sid));
        fact.account = call.and_then(|call| call.account);
        fact.public_host = call.map(|call| call.host.to_string());
        fact.status = form.get("CallStatus").and_then(CallStatus::from_twilio);
        fact
    }

    /// W6: whatever is asked for a call, the request may say that it is over.
    fn end_if_over(&mut self, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        let status = form.get("CallStatus").and_then(CallStatus::from_twilio).filter(|status| status.is_terminal());
        if let Some(status) = status {
            self.end_call(key, Some(status), None, out);
        }
    }

    fn stream_ended(&mut self, id: RequestId, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        self.end_if_over(key, form, out);
        if let Some(sid) = self.calls.get(key).map(|call| call.sid) {
            self.note(sid, "stream_ended", "", out);
        }
        self.let_go(key, out);
        self.ask(id, key, Question::StreamEnded, out);
    }

    fn call_status(&mut self, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        let Some(sid) = self.calls.get(key).map(|call| call.sid) else { return };
        let text = form.get("CallStatus").unwrap_or_default();
        let detail: String = text.chars().take(limits::ERROR_CODE_CHARS_MAX).collect();
        self.note(sid, "call_status", detail, out);
        let Some(status) = CallStatus::from_twilio(text) else { return };
        if status.is_terminal() {
            let duration = form.get("CallDuration").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            return self.end_call(key, Some(status), duration, out);
        }
        let fact = self.call_fact(key, form);
        self.write(fact, out);
    }

    fn stream_status(&mut self, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        let Some(sid) = self.calls.get(key).map(|call| call.sid) else { return };
        let stream = form.get("StreamSid").and_then(|sid| sid.parse::<StreamSid>().ok());
        let error: String = form.get("StreamError").unwrap_or_default().chars().take(limits::TEXT_CHARS_MAX).collect();
        match form.get("StreamEvent") {
            Some("stream-started") => self.note(sid, "stream-started", "", out),
            Some("stream-stopped") => {
                self.note(sid, "stream-stopped", "", out);
                self.stream_stopped(key, stream, out);
            }
            Some("stream-error") => {
                self.note(sid, "stream-error", &error, out);
                self.stream_error(key, stream, &error);
            }
            _ => {}
        }
    }

    /// The `<Record>` verb ended: the caller hung up, fell silent, pressed a key or talked to the limit.
    fn handle_recording(&mut self, id: RequestId, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        let recording = form.get("RecordingSid").and_then(|sid| sid.parse::<RecordingSid>().ok());
        let seconds: Option<u64> = form.get("RecordingDuration").and_then(|seconds| seconds.parse().ok());
        // It has ended, however long it was: its row says so by a length.
        self.recording_seen(key, recording, RecordingState::InProgress, seconds.or(Some(0)), out);
        let digits = form.get("Digits").unwrap_or_default();
        let goes_on =
            digits.is_empty() && seconds.is_some_and(|seconds| seconds >= u64::from(limits::RECORD_LENGTH_SECONDS));
        if digits == "hangup" {
            self.end_call(key, Some(CallStatus::Completed), None, out);
        }
        self.end_if_over(key, form, out);
        let continued = |call: &mut Call| {
            let room = call.recording.continued.len() < limits::RECORD_CONTINUED_MAX;
            // A repeated webhook gets the answer of the first.
            recording.is_some_and(|sid| {
                call.recording.continued.contains(&sid) || (room && call.recording.continued.insert(sid))
            })
        };
        let goodbye = self.settings.prompts.announcement(Role::Goodbye);
        let Some(call) = self.calls.get_mut(key) else { return };
        let document = if call.is_over() {
            Document::Empty
        } else if goes_on && continued(call) {
            Document::RecordAgain
        } else {
            call.recording.ended = true;
            Document::Goodbye(goodbye)
        };
        let response = twiml::response(&document, &call.host);
        self.reply(id, response, out);
    }

    fn recording_status(&mut self, key: CallKey, form: &Form, out: &mut Vec<Output>) {
        let Some(state) = form.get("RecordingStatus").and_then(RecordingState::from_twilio) else { return };
        let recording = form.get("RecordingSid").and_then(|sid| sid.parse::<RecordingSid>().ok());
        let seconds = form.get("RecordingDuration").and_then(|seconds| seconds.parse().ok());
        self.recording_seen(key, recording, state, seconds, out);
    }

    /// A recording called back: the only proof that one runs, and the end of every watch (W5, W6).
    fn recording_seen(
        &mut self,
        key: CallKey,
        recording: Option<RecordingSid>,
        state: RecordingState,
        duration_seconds: Option<u64>,
        out: &mut Vec<Output>,
    ) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let sid = call.sid;
        call.recording.seen = true;
        (call.watch, call.look_up) = (None, None);
        if let Some(recording) = recording {
            let node = self.settings.node.clone();
            let at = self.now.unix;
            let job = self.nobody_will_listen();
            let fact = RecordingFact { recording, call: sid, at, state, duration_seconds, node, job };
            self.database.add(Fact::Recording(fact), out);
        }
        self.note(sid, "recording", state.as_str(), out);
        self.confirm(key, Route::Recording, out);
        if let Some(call) = self.calls.get_mut(key)
            && call.phase != Phase::Ended
        {
            call.step(Cause::Recording);
        }
        self.release_streams(key, out);
    }

    /// Answers a TwiML fetch once `time` has passed or what it waits for is there; at once without a `time`.
    pub(super) fn wait_or_answer(
        &mut self,
        id: RequestId,
        key: CallKey,
        question: Question,
        time: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
        let now = self.now.mono;
        let Some(call) = self.calls.get_mut(key) else { return };
        match time {
            Some(time) if call.waiting.len() < limits::WAITERS_PER_CALL_MAX => {
                call.waiting.push(Waiting { id, question });
                call.waiting_until.get_or_insert(now + time);
            }
            _ => self.answer(id, key, question, out),
        }
    }
}
