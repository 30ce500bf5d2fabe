//! One WebSocket of Twilio's, from the upgrade to its end: the stream rules S1-S7, the frame watch W2 and W3, and
//! the caller's silence W12.
//!
//! One task owns the socket and this machine. A media frame stays here: it is parsed in place, counted and its time
//! noted; nothing is allocated, sent or re-armed for it. The switchboard hears only of what is rare
//! ([`StreamReport`]).
//!
//! ```text
//!   Opened ──start──▶ Presented ──Accept──▶ Live ──stop──▶ Stopped ──┐
//!     │                   │                   │                      │ socket gone
//!     │ 10 s (S7)         │ Refuse, 10 s      │ Release ▶ Released   ▼
//!     └───────▶ Closing ◀─┴───────────────────┴──────────────────▶ Ended
//! ```
//!
//! Every deadline gets a *last look*: when it passes, the machine first asks to be called again
//! [`limits::LAST_LOOK`] later, and acts only if nothing arrived meanwhile. A runtime reads its socket before it
//! looks at its timer, so frames that were waiting in the socket while the process was busy still count (W3).

mod ear;
mod hearing;
mod report;
#[cfg(test)]
mod tests;
mod watch;

pub use report::{CloseCode, Counts, Ended, Start, StreamCommand, StreamOutput, StreamReport, StreamSettings, Trouble};

use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::sid::{CallSid, StreamSid};
use crate::time::Instant;
use crate::wire::{self, Message, Outbound, StartMessage};
use core::time::Duration;
use ear::Ear;
use watch::{FrameDue, FrameWatch, SilenceWatch};

/// The machine of one WebSocket, owned by exactly one task.
#[derive(Debug)]
pub struct MediaStream {
    settings: StreamSettings,
    connection: String,
    now: Instant,
    opened: Instant,
    phase: Phase,
    /// Set by `start` (S1).
    identity: Option<Identity>,
    counts: Counts,
    bad_in_a_row: u32,
    /// `WS_BAD_JSON` was said (S6).
    bad_logged: bool,
    last_chunk: Option<u64>,
    /// The newest frame that was heard.
    heard_chunk: Option<u64>,
    watch: FrameWatch,
    silence: SilenceWatch,
    ear: Ear,
    /// Utterances so far.
    spoken: u32,
    /// What was said before the stream was accepted; nobody is told before it is.
    unaccepted: Vec<StreamReport>,
    last_look: Option<LastLook>,
}

/// A deadline that passed and waits for what the socket may hold already. It says nothing about any other deadline.
#[derive(Clone, Copy, Debug)]
struct LastLook {
    deadline: Instant,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opened,
    Presented,
    Live,
    /// The call moved on; the socket should close.
    Released {
        since: Instant,
    },
    Stopped {
        since: Instant,
    },
    Closing,
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    stream: StreamSid,
    call: CallSid,
    started: Instant,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// S7.
    NoStart,
    /// W2, W3.
    Frames(FrameDue),
    /// W12.
    CallerSilent,
    /// The peer should have closed.
    Linger,
}

impl MediaStream {
    /// A socket that was just upgraded; `connection` is the id that `WS_CONNECTED` carries.
    #[must_use]
    pub fn new(now: Instant, connection: impl ToString, settings: StreamSettings) -> Self {
        Self {
            settings,
            connection: connection.to_string(),
            now,
            opened: now,
            phase: Phase::Opened,
            identity: None,
            counts: Counts::default(),
            bad_in_a_row: 0,
            bad_logged: false,
            last_chunk: None,
            heard_chunk: None,
            watch: FrameWatch::default(),
            silence: SilenceWatch::default(),
            ear: Ear::new(false, false),
            spoken: 0,
            unaccepted: Vec::new(),
            last_look: None,
        }
    }

    /// A text message arrived.
    pub fn text(&mut self, now: Instant, text: &str, out: &mut Vec<StreamOutput>) {
        self.advance(now);
        if matches!(self.phase, Phase::Closing | Phase::Ended) {
            return;
        }
        let message = match wire::parse(text) {
            Ok(message) => message,
            Err(error) => return self.unreadable(&error.to_string(), out),
        };
        self.bad_in_a_row = 0;
        match message {
            Message::Media { stream, chunk, timestamp, payload } => {
                self.media(stream, chunk, timestamp.map(Duration::from_millis), &payload, out);
            }
            Message::Start(start) => self.start(&start, out),
            Message::Mark { stream, name } => self.mark(stream, &name),
            Message::Stop { stream } => self.stop(stream, out),
            Message::Dtmf { stream } => {
                self.is_ours(stream);
            }
            Message::Connected => {}
            Message::Unknown => self.counts.unreadable += 1,
        }
    }

    /// A binary message arrived; Twilio sends none (S6).
    pub fn binary(&mut self, now: Instant, out: &mut Vec<StreamOutput>) {
        self.advance(now);
        if !matches!(self.phase, Phase::Closing | Phase::Ended) {
            self.unreadable("a binary message", out);
        }
    }

    /// The switchboard says something. A command that comes too late changes nothing.
    pub fn command(&mut self, now: Instant, command: StreamCommand, out: &mut Vec<StreamOutput>) {
        self.advance(now);
        match (command, self.phase) {
            (_, Phase::Closing | Phase::Ended) => {}
            (StreamCommand::Accept, Phase::Presented) => self.accepted(out),
            (StreamCommand::Refuse, _) => self.close(CloseCode::Policy, out),
            (StreamCommand::Challenge, _) => self.challenged(out),
            (StreamCommand::Release, Phase::Live | Phase::Presented) => {
                self.phase = Phase::Released { since: self.now }
            }
            (StreamCommand::Close, _) => self.close(CloseCode::Normal, out),
            (StreamCommand::Accept | StreamCommand::Release, _) => {}
        }
    }

    /// The socket is gone. Call once, last.
    pub fn ended(&mut self, now: Instant, how: &Ended, out: &mut Vec<StreamOutput>) {
        self.advance(now);
        if self.phase == Phase::Ended {
            return;
        }
        self.heard_out(out);
        self.phase = Phase::Ended;
        out.push(StreamOutput::Report(StreamReport::Ended { how: how.to_string(), counts: self.counts }));
        let Counts { frames, bytes, dropped, unreadable, out_of_order, .. } = self.counts;
        let mut line = self
            .line(Level::Info, Event::WsStop)
            .reason(how)
            .detail(format_args!("dropped={dropped} unreadable={unreadable} out_of_order={out_of_order}"));
        (line.frames, line.bytes) = (Some(frames), Some(bytes));
        out.push(StreamOutput::Log(Box::new(line)));
        if let Ended::Lost(cause) = how {
            out.push(StreamOutput::Log(Box::new(self.line(Level::Warn, Event::WsHandlerError).cause(cause))));
        }
    }

    /// Works off what is due. Early and repeated calls are harmless (I8); afterwards [`Self::next_timeout`] is later
    /// than now (I3).
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<StreamOutput>) {
        self.advance(now);
        if let Some((deadline, due)) = self.overdue()
            && self.last_look_at(deadline).is_some_and(|until| until <= self.now)
        {
            self.last_look = None;
            self.act(due, out);
        }
        if let Some((deadline, _)) = self.overdue()
            && self.last_look_at(deadline).is_none()
        {
            self.last_look = Some(LastLook { deadline, until: self.now + limits::LAST_LOOK });
        }
    }

    /// When [`Self::handle_timeout`] wants to be called. Computed from a few instants, never stored per frame.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let (deadline, _) = self.deadline()?;
        Some(self.last_look_at(deadline).unwrap_or(deadline))
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn overdue(&self) -> Option<(Instant, Due)> {
        self.deadline().filter(|(deadline, _)| *deadline <= self.now)
    }

    /// When the last look at this deadline ends, if it began.
    fn last_look_at(&self, deadline: Instant) -> Option<Instant> {
        self.last_look.filter(|look| look.deadline == deadline).map(|look| look.until)
    }

    /// The earliest deadline of the present phase.
    fn deadline(&self) -> Option<(Instant, Due)> {
        match self.phase {
            Phase::Opened | Phase::Presented => Some((self.opened + limits::START_TIME, Due::NoStart)),
            Phase::Released { since } | Phase::Stopped { since } => Some((since + limits::CLOSE_TIME, Due::Linger)),
            Phase::Closing | Phase::Ended => None,
            Phase::Live => self.watch_deadline(),
        }
    }

    fn watch_deadline(&self) -> Option<(Instant, Due)> {
        let started = self.identity?.started;
        let frames = self.watch.deadline(started, self.settings.media_timeout).map(|(at, due)| (at, Due::Frames(due)));
        let silence = self.silence.deadline().map(|at| (at, Due::CallerSilent));
        frames.into_iter().chain(silence).min_by_key(|(at, _)| *at)
    }

    fn act(&mut self, due: Due, out: &mut Vec<StreamOutput>) {
        match due {
            Due::NoStart => {
                let line = self.line(Level::Warn, Event::WsRejected).reason("no_start_in_time");
                out.push(StreamOutput::Log(Box::new(line)));
                self.close(CloseCode::Policy, out);
            }
            Due::Frames(FrameDue::Mute) => self.trouble(Trouble::Mute, out),
            Due::Frames(FrameDue::NoEcho) => self.trouble(Trouble::Stalled, out),
            Due::Frames(FrameDue::Quiet) => self.trouble(Trouble::Quiet, out),
            Due::Frames(FrameDue::Ask) => {
                self.watch.ask(self.now);
                self.send_mark(out);
            }
            Due::CallerSilent => {
                let Some(limit) = self.settings.end_silence else { return };
                // Half of a short END_SILENCE: frames that stopped with the caller's last word say nothing of silence.
                let flow = self.watch.is_heard_within(limits::STREAM_FRESH.min(limit / 2), self.now);
                if self.silence.is_over(flow, limit, self.now) {
                    out.push(StreamOutput::Report(StreamReport::CallerSilent(self.counts)));
                }
            }
            Due::Linger => self.close(CloseCode::Normal, out),
        }
    }

    fn trouble(&mut self, trouble: Trouble, out: &mut Vec<StreamOutput>) {
        self.watch.rest();
        out.push(StreamOutput::Report(StreamReport::Trouble(trouble, self.counts)));
    }

    /// A frame of a live stream: the first one is news, and so is the first after trouble.
    fn heard(&mut self, out: &mut Vec<StreamOutput>) {
        if self.watch.heard() {
            out.push(StreamOutput::Report(StreamReport::Heard(self.counts)));
        }
        if self.watch.has_asked_nothing() {
            self.send_mark(out);
        }
    }

    fn start(&mut self, start: &StartMessage, out: &mut Vec<StreamOutput>) {
        let stream = start.stream.as_deref().or(start.envelope_stream.as_deref());
        if let Some(identity) = self.identity {
            let same = stream == Some(identity.stream.as_str());
            self.counts.dropped += 1;
            if !same && !matches!(self.phase, Phase::Stopped { .. }) {
                let line = self.line(Level::Warn, Event::WsRejected).reason("second_start");
                out.push(StreamOutput::Log(Box::new(line)));
                self.close(CloseCode::Protocol, out);
            }
            return;
        }
        let agree = start.envelope_stream.as_deref().is_none_or(|envelope| Some(envelope) == stream);
        let stream = stream.and_then(|sid| sid.parse().ok()).filter(|_| agree);
        let call = start.call.as_deref().and_then(|sid| sid.parse().ok());
        let (Some(stream), Some(call)) = (stream, call) else {
            let line = self.line(Level::Warn, Event::WsRejected).reason("start_without_valid_sids");
            out.push(StreamOutput::Log(Box::new(line)));
            return self.close(CloseCode::Policy, out);
        };
        self.identity = Some(Identity { stream, call, started: self.now });
        self.phase = Phase::Presented;
        self.ear = Ear::new(self.settings.listen, self.settings.end_silence.is_some());
        out.push(StreamOutput::Report(StreamReport::Started(Box::new(Start {
            stream,
            call,
            account: start.account.as_deref().and_then(|sid| sid.parse().ok()),
            call_parameter: start.parameters.get("call_sid").cloned(),
            token: start.parameters.get("token").cloned(),
        }))));
    }

    fn accepted(&mut self, out: &mut Vec<StreamOutput>) {
        self.phase = Phase::Live;
        out.extend(self.unaccepted.drain(..).map(StreamOutput::Report));
        if self.counts.frames > 0 {
            self.heard(out);
        }
    }

    fn mark(&mut self, stream: Option<StreamSid>, name: &str) {
        if self.is_ours(stream)
            && let Some(number) = wire::mark_number(name)
        {
            self.watch.echoed(number);
        }
    }

    fn stop(&mut self, stream: Option<StreamSid>, out: &mut Vec<StreamOutput>) {
        if self.is_ours(stream) {
            self.heard_out(out);
            self.phase = Phase::Stopped { since: self.now };
            out.push(StreamOutput::Report(StreamReport::Stopped(self.counts)));
        }
    }

    /// S4 and S5: only what names our stream between its `start` and its `stop` counts.
    fn is_ours(&mut self, stream: Option<StreamSid>) -> bool {
        let running = matches!(self.phase, Phase::Presented | Phase::Live | Phase::Released { .. });
        let ours = running && stream.is_some() && stream == self.identity.map(|identity| identity.stream);
        if !ours {
            self.counts.dropped += 1;
        }
        ours
    }

    fn unreadable(&mut self, cause: &str, out: &mut Vec<StreamOutput>) {
        self.counts.unreadable += 1;
        self.bad_in_a_row += 1;
        if !self.bad_logged {
            self.bad_logged = true;
            let line = self.line(Level::Warn, Event::WsBadJson).cause(cause);
            out.push(StreamOutput::Log(Box::new(line)));
        }
        if self.bad_in_a_row >= limits::BAD_MESSAGES_IN_A_ROW_MAX {
            self.close(CloseCode::BadData, out);
        }
    }

    fn challenged(&mut self, out: &mut Vec<StreamOutput>) {
        let fresh = self.phase == Phase::Live && self.watch.is_heard_within(limits::STREAM_FRESH, self.now);
        out.push(StreamOutput::Report(StreamReport::Challenged { fresh }));
        if !fresh {
            self.close(CloseCode::Normal, out);
        }
    }

    /// S2: a mark needs a live stream, and only a live one calls this.
    fn send_mark(&mut self, out: &mut Vec<StreamOutput>) {
        if let Some(Identity { stream, .. }) = self.identity {
            let number = self.watch.next_mark();
            out.push(StreamOutput::Send(Outbound::Mark { stream, number }.to_text()));
        }
    }

    fn close(&mut self, code: CloseCode, out: &mut Vec<StreamOutput>) {
        self.heard_out(out);
        self.phase = Phase::Closing;
        out.push(StreamOutput::Close(code));
    }

    fn line(&self, level: Level, event: Event) -> LogLine {
        let mut line = LogLine::new(level, event).connection(&self.connection);
        line.call_sid = self.identity.map(|identity| identity.call);
        line.stream_sid = self.identity.map(|identity| identity.stream);
        line
    }
}
