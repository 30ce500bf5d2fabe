//! The two watches of a live stream: whether frames flow (W2, W3), and whether the caller says anything (W12).
//!
//! Both keep a few instants and compute their deadline when asked. A frame costs each of them a store.

use crate::limits;
use crate::time::Instant;
use core::time::Duration;

/// What a deadline of the frame watch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameDue {
    /// W2: `start`, but no frame.
    Mute,
    /// W3: ask by mark.
    Ask,
    /// W3: the mark did not come back.
    NoEcho,
    /// W3: 30 s without a frame.
    Quiet,
}

/// W2 and W3: when a frame was last heard, and what was asked since.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameWatch {
    last_frame: Option<Instant>,
    /// How many marks were sent.
    marks: u32,
    /// Whether any came back: only then does the next one's missing echo mean anything.
    echoes: bool,
    /// When the newest mark of the present quiet was sent.
    asked: Option<Instant>,
    /// Whether its echo is due: the stream had echoed before it was sent, and it has not come back.
    echo_due: bool,
    /// Reported and not over; the watch rests until a frame is heard.
    trouble: bool,
}

impl FrameWatch {
    /// A frame came, whether or not the stream is accepted yet.
    pub(super) fn frame(&mut self, now: Instant) {
        self.last_frame = Some(now);
    }

    /// A frame of a live stream came: nothing is asked any more. Whether that is news: the first one is, and the first
    /// after trouble.
    pub(super) fn heard(&mut self) -> bool {
        (self.asked, self.echo_due) = (None, false);
        core::mem::take(&mut self.trouble) || self.marks == 0
    }

    /// Whether no mark was sent yet: the first frame sends one, to learn whether this stream echoes.
    pub(super) fn has_asked_nothing(&self) -> bool {
        self.marks == 0
    }

    /// The number of the next mark, which is sent now.
    pub(super) fn next_mark(&mut self) -> u32 {
        self.marks = self.marks.saturating_add(1);
        self.marks
    }

    /// The stream is quiet and is asked whether it lives.
    pub(super) fn ask(&mut self, now: Instant) {
        (self.asked, self.echo_due) = (Some(now), self.echoes);
    }

    /// A mark of ours came back; any other name is none of ours.
    pub(super) fn echoed(&mut self, number: u32) {
        if (1..=self.marks).contains(&number) {
            self.echoes = true;
            self.echo_due &= number != self.marks;
        }
    }

    /// Trouble is reported; the watch rests until a frame is heard.
    pub(super) fn rest(&mut self) {
        self.trouble = true;
    }

    /// Whether a frame came within `time`.
    pub(super) fn is_heard_within(&self, time: Duration, now: Instant) -> bool {
        self.last_frame.is_some_and(|last| now.since(last) <= time)
    }

    /// The next deadline of a stream that started at `started`.
    pub(super) fn deadline(&self, started: Instant, timeout: Duration) -> Option<(Instant, FrameDue)> {
        if self.trouble {
            return None;
        }
        let Some(last) = self.last_frame else { return Some((started + timeout, FrameDue::Mute)) };
        let quiet = (last + limits::QUIET_TIME.max(timeout), FrameDue::Quiet);
        let next = match self.asked {
            None => (last + timeout, FrameDue::Ask),
            Some(asked) if self.echo_due => (asked + limits::ECHO_TIME, FrameDue::NoEcho),
            Some(asked) => (asked + timeout, FrameDue::Ask),
        };
        Some(if next.0 < quiet.0 { next } else { quiet })
    }
}

/// W12: until when the caller may go on saying nothing.
///
/// The time is measured over frames that flow. A pause between frames that W3 would ask about starts it anew. A shorter
/// one does not, but nobody is said goodbye to in the middle of it: the caller may be speaking unheard. The first frame
/// after it gives the caller [`limits::HEARING_AGAIN`] to be heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SilenceWatch {
    /// When the silence will have lasted too long; `None` before the first frame.
    over: Option<Instant>,
    /// It passed during a pause between frames.
    resting: bool,
}

impl SilenceWatch {
    /// A frame came, in which the caller `speaks` or not; `paused` when frames had been missing for so long that the
    /// measure starts anew, or for ever.
    pub(super) fn frame(&mut self, speaks: bool, paused: bool, limit: Duration, now: Instant) {
        if speaks || paused {
            self.over = Some(now + limit);
        } else if self.resting {
            self.over = self.over.max(Some(now + limits::HEARING_AGAIN.min(limit)));
        }
        self.resting = false;
    }

    /// The silence has lasted too long, if frames `flow`; otherwise it is judged when they do. Whether to report it: once
    /// for every `limit`, for the first report may have come while a fallback was under way that was then called off.
    pub(super) fn is_over(&mut self, flow: bool, limit: Duration, now: Instant) -> bool {
        if flow {
            self.over = Some(now + limit);
        }
        self.resting = !flow;
        flow
    }

    /// The next deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.over.filter(|_| !self.resting)
    }
}
