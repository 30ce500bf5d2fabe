//! Which socket speaks for a call, and what its reports mean.

use super::{Heard, Output, Switchboard, log};
use crate::call::phase::{Cause, Phase};
use crate::call::{Call, CallKey, Challenger, Link, Watch, WatchKind};
use crate::id::StreamId;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::sid::StreamSid;
use crate::store::{CallStatus, FallbackReason};
use crate::stream::{Counts, Start, StreamCommand, StreamReport, Trouble};

impl Switchboard {
    /// A stream reports.
    pub(super) fn reported(&mut self, id: StreamId, report: StreamReport, out: &mut Vec<Output>) {
        let Some(stream) = self.streams.get(id) else { return };
        let key = stream.call;
        match report {
            StreamReport::Started(start) => return self.started(id, start, out),
            StreamReport::Ended { how, counts } => {
                let accepted = stream.accepted;
                self.listening(id, true, out);
                self.streams.remove(id);
                if let Some(key) = key {
                    self.socket_gone(id, key, accepted.then_some(counts), &how, out);
                }
            }
            StreamReport::Challenged { fresh } => self.challenged(id, key, fresh, out),
            StreamReport::Heard(_) => self.heard(id, key, out),
            StreamReport::Trouble(trouble, counts) => self.trouble(id, key, trouble, counts, out),
            StreamReport::CallerSilent(counts) => self.caller_silent(id, key, counts, out),
            StreamReport::Stopped(counts) => self.stopped(id, key, counts, out),
            StreamReport::Spoken { sequence, utterance } => return self.spoken(id, sequence, *utterance, out),
        }
        if let Some(key) = key {
            self.index(key);
        }
    }

    /// A `start`: is it one of ours, and may it speak for its call?
    fn started(&mut self, id: StreamId, start: Box<Start>, out: &mut Vec<Output>) {
        let ordinal = match self.check_token(&start) {
            Ok(ordinal) => ordinal,
            Err(reason) => {
                if let Some(call) = self.by_sid.get(&start.call).and_then(|key| self.calls.get_mut(*key)) {
                    call.trouble = Some(format!("token refused ({reason})"));
                }
                return self.refuse(id, &start, reason, out);
            }
        };
        let Some(host) = self.streams.get(id).map(|stream| stream.host.clone()) else { return };
        let Some(key) = self.find_or_add(start.call, &host) else {
            self.counters.calls_unwatched += 1;
            return self.refuse(id, &start, "memory_full", out);
        };
        if let Some(stream) = self.streams.get_mut(id) {
            stream.call = Some(key);
        }
        let now = self.now.mono;
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.phase.after(Cause::Start).is_none() || call.finished {
            self.refuse(id, &start, "too_late", out);
        } else if call.streams.len() >= limits::STREAMS_SEEN_MAX {
            self.refuse(id, &start, "too_many_streams", out);
        } else if call.challenger.is_some() {
            self.refuse(id, &start, "another_socket_waits", out);
        } else if let Some(link) = call.link {
            call.challenger = Some(Challenger { id, start, ordinal, until: now + limits::CHALLENGE_TIME });
            out.push(Output::Command { id: link.id, command: StreamCommand::Challenge });
        } else {
            self.accept(id, key, &start, ordinal, out);
        }
        self.index(key);
    }

    fn check_token(&self, start: &Start) -> Result<u32, &'static str> {
        if start.call_parameter.as_deref() != Some(start.call.as_str()) {
            return Err("foreign_call");
        }
        let token = start.token.as_deref().ok_or("no_token")?;
        self.keys.verify(token, start.call, self.now.unix).map_err(crate::token::TokenError::as_str)
    }

    fn refuse(&mut self, id: StreamId, start: &Start, reason: &'static str, out: &mut Vec<Output>) {
        self.counters.streams_refused += 1;
        let line = LogLine::new(Level::Warn, Event::WsRejected).call(start.call).stream(start.stream).connection(id);
        log(line.reason(reason), out);
        out.push(Output::Command { id, command: StreamCommand::Refuse });
    }

    fn accept(&mut self, id: StreamId, key: CallKey, start: &Start, ordinal: u32, out: &mut Vec<Output>) {
        let drain = self.drain_watch();
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(stream) = self.streams.get_mut(id) {
            stream.accepted = true;
            stream.heard = Some(Heard { call: start.call, stream: start.stream, since: self.now.unix });
        }
        call.step(Cause::Start);
        call.link = Some(Link { id, stream: start.stream, heard: false });
        call.count_stream(start.stream, ordinal);
        call.own_stream = call.own_stream.max(ordinal);
        call.last_stream = Some(start.stream);
        (call.watch, call.look_up) = (drain, None);
        (call.stopped, call.closed_by_us) = (None, false);
        (call.reconnects, call.reconnected) = (0, None);
        call.heard_of = self.now.mono;
        call.account = call.account.or(start.account);
        let ordinal = call.streams_started();
        let account = call.account;
        self.counters.streams_accepted += 1;
        out.push(Output::Command { id, command: StreamCommand::Accept });
        let line = LogLine::new(Level::Info, Event::WsStart).call(start.call).stream(start.stream).connection(id);
        log(line, out);
        let mut fact = self.fact(start.call);
        fact.account = account;
        fact.status = Some(CallStatus::InProgress);
        fact.stream = Some((ordinal, start.stream));
        fact.stream_started_at = Some(self.now.unix);
        self.write(fact, out);
        self.note(start.call, "start", start.stream, out);
        self.listening(id, false, out);
    }

    /// The stream says whether it is heard: to another socket that claims its call (S8), or after its time (W11).
    fn challenged(&mut self, id: StreamId, key: Option<CallKey>, fresh: bool, out: &mut Vec<Output>) {
        let Some((key, call)) = self.linked(id, key) else { return };
        if let Some(challenger) = call.challenger.take() {
            self.settle_challenge(key, challenger, fresh, out);
        } else if let Some(link) = call.link.as_mut().filter(|_| !fresh) {
            (link.heard, call.closed_by_us) = (false, true);
            self.look_up(key, out);
        }
    }

    /// The newcomer is refused, or takes the place of a stream that is not heard.
    pub(super) fn settle_challenge(&mut self, key: CallKey, newcomer: Challenger, fresh: bool, out: &mut Vec<Output>) {
        if fresh {
            return self.refuse(newcomer.id, &newcomer.start, "stream_is_live", out);
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(old) = call.link.take() {
            out.push(Output::Command { id: old.id, command: StreamCommand::Close });
        }
        self.accept(newcomer.id, key, &newcomer.start, newcomer.ordinal, out);
    }

    /// Frames flow: the first ones, or again. A fallback that is not on its way is called off (W6).
    fn heard(&mut self, id: StreamId, key: Option<CallKey>, out: &mut Vec<Output>) {
        let now = self.now;
        let Some((key, call)) = self.linked(id, key) else { return };
        let Some(link) = &mut call.link else { return };
        link.heard = true;
        (call.heard_ever, call.heard_of, call.claim_refused) = (true, now.mono, None);
        let sid = call.sid;
        let mut fact = self.fact(sid);
        fact.first_media_at = Some(now.unix);
        self.write(fact, out);
        self.note(sid, "frames", "", out);
        self.cancel_if_heard(key, out);
    }

    fn trouble(&mut self, id: StreamId, key: Option<CallKey>, trouble: Trouble, counts: Counts, out: &mut Vec<Output>) {
        let Some((key, call)) = self.linked(id, key) else { return };
        let Some(link) = &mut call.link else { return };
        link.heard = false;
        let reason = match trouble {
            Trouble::Mute => FallbackReason::NoMedia,
            Trouble::Stalled => FallbackReason::MediaStalled,
            Trouble::Quiet => FallbackReason::MediaQuiet,
        };
        self.fall_back(key, reason, Some(counts), true, out);
    }

    /// W12: the intent is stored first, then the stream is closed, then `stream_ended` says goodbye.
    fn caller_silent(&mut self, id: StreamId, key: Option<CallKey>, counts: Counts, out: &mut Vec<Output>) {
        let now = self.now;
        let Some((key, call)) = self.linked(id, key) else { return };
        if call.is_claimed() || call.is_recording() || call.finished {
            return;
        }
        call.finished = true;
        let sid = call.sid;
        self.note(sid, "caller_finished", counts.how_far(), out);
        let mut fact = self.fact(sid);
        fact.finished_at = Some(now.unix);
        let waits = self.database.write_row(key, vec![crate::store::Fact::Call(Box::new(fact))], out);
        match self.calls.get_mut(key) {
            Some(call) if waits => call.waiting_until = Some(now.mono + limits::CLAIM_TIME),
            _ => self.close_finished(key, out),
        }
    }

    /// The intent of W12 is stored, or the store is not waited for any longer.
    pub(super) fn close_finished(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(link) = call.link.filter(|_| call.finished && !call.closed_by_us) {
            call.closed_by_us = true;
            out.push(Output::Command { id: link.id, command: StreamCommand::Close });
        }
    }

    /// `stop`: the stream is over, the call perhaps not (W6).
    fn stopped(&mut self, id: StreamId, key: Option<CallKey>, counts: Counts, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let Some((key, call)) = self.linked(id, key) else { return };
        if let Some(link) = &mut call.link {
            link.heard = false;
        }
        call.stopped = Some(now);
        let sid = call.sid;
        self.note(sid, "stop", counts.how_far(), out);
        self.sign_of_update(key, out);
        self.stopped_agrees(key, out);
        self.stream_lost(key);
    }

    /// The socket is gone, with or without a `stop`. `counts` where its stream was accepted.
    fn socket_gone(&mut self, id: StreamId, key: CallKey, counts: Option<Counts>, how: &str, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        call.challenger.take_if(|challenger| challenger.id == id);
        let Some(counts) = counts else { return };
        call.frames += counts.frames;
        let (sid, frames) = (call.sid, call.frames);
        let link = call.link.take_if(|link| link.id == id);
        let newcomer = link.and_then(|_| call.challenger.take());
        let mut fact = self.fact(sid);
        fact.frames = Some(frames);
        fact.status = Some(CallStatus::StreamClosed);
        self.write(fact, out);
        self.note(sid, "socket_closed", format_args!("{how}; {}", counts.how_far()), out);
        if link.is_none() {
            return;
        }
        if self.calls.get(key).is_some_and(|call| !call.closed_by_us) {
            self.sign_of_update(key, out);
        }
        match newcomer {
            Some(newcomer) => self.accept(newcomer.id, key, &newcomer.start, newcomer.ordinal, out),
            None => self.stream_lost(key),
        }
    }

    /// Twilio says that the stream is over and asks what follows: whatever socket is left speaks for nobody.
    pub(super) fn let_go(&mut self, key: CallKey, out: &mut Vec<Output>) {
        if let Some(link) = self.calls.get_mut(key).and_then(|call| call.link.take()) {
            out.push(Output::Command { id: link.id, command: StreamCommand::Close });
        }
    }

    /// The stream is over, and something must follow (W11).
    pub(super) fn stream_lost(&mut self, key: CallKey) {
        if self.calls.get_mut(key).is_some_and(|call| call.step(Cause::Lost)) {
            self.arm_bridge(key);
        }
    }

    /// Arms the deadline of W11. What was armed already and comes sooner stays.
    fn arm_bridge(&mut self, key: CallKey) {
        let at = self.now.mono + limits::BRIDGE_TIME;
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.is_recording() || call.is_claimed() || call.is_over() {
            return;
        }
        if call.watch.is_none_or(|watch| watch.at > at) {
            call.watch = Some(Watch { at, kind: WatchKind::Bridge });
        }
    }

    /// Twilio's callback says that a stream stopped. One that we closed had to.
    pub(super) fn stream_stopped(&mut self, key: CallKey, stream: Option<StreamSid>, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let Some(call) = self.calls.get_mut(key) else { return };
        call.told_of(stream);
        if stream.is_some_and(|stream| call.last_stream != Some(stream)) || call.streams.is_empty() {
            return;
        }
        if let Some(link) = &mut call.link {
            link.heard = false;
        }
        // One that comes after another stream was asked for says nothing about what happened since.
        if !call.closed_by_us && call.reconnected.is_none() {
            call.stopped = Some(now);
            self.sign_of_update(key, out);
            self.stopped_agrees(key, out);
        }
        self.stream_lost(key);
    }

    /// Twilio's callback says that a stream failed: before any frame its `stream_ended` should follow (W4), after
    /// frames it is a lost stream (W11).
    pub(super) fn stream_error(&mut self, key: CallKey, stream: Option<StreamSid>, error: &str) {
        let now = self.now.mono;
        let Some(call) = self.calls.get_mut(key) else { return };
        if !call.is_current(stream) {
            return;
        }
        call.trouble = Some(format!("Twilio reported: {error}"));
        if call.is_heard() {
            // Perhaps only a warning: when the time is over, the stream says whether its frames go on (W6).
            return self.arm_bridge(key);
        }
        if call.heard_ever {
            return self.stream_lost(key);
        }
        let live = matches!(call.phase, Phase::Announced | Phase::Streaming | Phase::Between) && !call.is_claimed();
        let at = now + limits::STREAM_ERROR_WAIT;
        // What was armed already and comes sooner stays, a repeat's own watch among it.
        if live && call.watch.is_none_or(|watch| watch.at > at) {
            call.watch = Some(Watch { at, kind: WatchKind::StreamError });
        }
    }

    /// Nothing followed what looked like the end of a stream. One whose frames go on may have them (W6); else Twilio is
    /// asked.
    pub(super) fn bridge_expired(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(key) else { return };
        match call.link.filter(|link| link.heard) {
            Some(link) => out.push(Output::Command { id: link.id, command: StreamCommand::Challenge }),
            None => self.look_up(key, out),
        }
    }

    /// The call has moved on: its sockets stop watching and close by themselves if Twilio does not close them.
    pub(super) fn release_streams(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(link) = &mut call.link {
            link.heard = false;
            out.push(Output::Command { id: link.id, command: StreamCommand::Release });
        }
        if let Some(newcomer) = call.challenger.take() {
            self.refuse(newcomer.id, &newcomer.start, "too_late", out);
        }
    }

    /// The call whose live socket this is.
    fn linked(&mut self, id: StreamId, key: Option<CallKey>) -> Option<(CallKey, &mut Call)> {
        let call = self.calls.get_mut(key?)?;
        call.link.is_some_and(|link| link.id == id).then_some((key?, call))
    }
}
