//! What one caller experienced, told from Twilio's side of the line only.
//!
//! This is the measure of the promise that no caller is left in silence (I11): it knows nothing of the server's
//! deadlines, so it cannot agree with them by mistake.

use crate::sid::{RecordingSid, StreamSid};
use crate::time::{Instant, UnixMillis};
use core::fmt;
use core::time::Duration;

/// What a caller hears, or what becomes of what the caller says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// The call is not answered yet; the caller hears it ring.
    Ringing,
    /// A prompt before a stream.
    Greeting,
    /// A prompt before a recording.
    Prompt,
    /// A prompt after which the call ends.
    Goodbye,
    /// The beep of a recording.
    Beep,
    /// The caller is being recorded.
    Recording,
    /// The caller speaks and a stream carries it.
    Streaming,
    /// A stream carries the silence of a caller who says nothing.
    StreamingSilent,
    /// Nothing is heard and nobody listens, whether the caller speaks or not.
    Silence,
    /// Twilio's own announcement of an application error.
    Failure,
}

impl Heard {
    /// Whether the caller neither hears us nor speaks to anybody nor is being recorded.
    #[must_use]
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::StreamingSilent | Self::Silence)
    }

    /// One letter of [`Ledger::by_second`].
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Ringing => '~',
            Self::Greeting => 'G',
            Self::Prompt => 'P',
            Self::Goodbye => 'E',
            Self::Beep => '*',
            Self::Recording => 'R',
            Self::Streaming => 'S',
            Self::StreamingSilent => 's',
            Self::Silence => '.',
            Self::Failure => '!',
        }
    }
}

/// A stretch of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub from: Instant,
    /// The first moment after it.
    pub to: Instant,
    /// What it was.
    pub heard: Heard,
}

impl Span {
    /// How long it lasted.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

/// A document Twilio executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// When.
    pub at: Instant,
    /// Where it came from: a URL, or `None` for a REST update.
    pub from: Option<String>,
    /// The document.
    pub twiml: String,
}

/// Something Twilio's debugger would show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// When.
    pub at: Instant,
    /// Twilio's error or warning code.
    pub code: u32,
    /// In words.
    pub text: String,
}

/// A recording of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its identifier.
    pub recording: RecordingSid,
    /// When it began, after the beep.
    pub from: Instant,
    /// The same moment, as Twilio dates it.
    pub dated: UnixMillis,
    /// When it ended; `None` while it runs.
    pub to: Option<Instant>,
    /// How much of it the caller spoke.
    pub speech: Duration,
    /// How much of it is kept once it ended: nothing of an absent one.
    pub kept: Duration,
}

/// A stream of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// Its identifier.
    pub stream: StreamSid,
    /// When `start` was sent.
    pub started: Option<Instant>,
    /// Frames sent.
    pub frames: u64,
    /// Marks echoed.
    pub marks: u64,
    /// The code of the close frame the server sent, if it closed the socket.
    pub closed: Option<u16>,
}

/// How a call came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The caller hung up.
    Caller,
    /// `<Hangup>`, `<Reject>`, or no verb was left.
    Document,
    /// The application failed: no document could be had or executed.
    Failure,
    /// A REST request ended it.
    Rest,
    /// Twilio's limit of four hours.
    TimeLimit,
}

/// The account of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What the caller experienced, without gaps, from the first ring to the end.
    pub spans: Vec<Span>,
    /// Every document executed.
    pub documents: Vec<Executed>,
    /// Every error and warning.
    pub problems: Vec<Problem>,
    /// Every recording.
    pub recordings: Vec<Recorded>,
    /// Every stream whose socket was asked for.
    pub streams: Vec<Streamed>,
    /// When each REST update was applied.
    pub updates: Vec<Instant>,
    /// When the call was answered.
    pub answered: Option<Instant>,
    /// When and how the call ended.
    pub ended: Option<(Instant, EndedBy)>,
}

impl Ledger {
    /// From `at` on it is `heard`.
    pub(super) fn change(&mut self, at: Instant, heard: Heard) {
        self.close(at);
        match self.spans.last_mut() {
            Some(last) if last.heard == heard => last.to = at,
            Some(_) | None => self.spans.push(Span { from: at, to: at, heard }),
        }
    }

    /// The running span reaches to `at`; one without length disappears.
    pub(super) fn close(&mut self, at: Instant) {
        let Some(last) = self.spans.last_mut() else { return };
        last.to = last.to.max(at);
        if last.length().is_zero() {
            self.spans.pop();
        }
    }

    pub(super) fn problem(&mut self, at: Instant, code: u32, text: impl Into<String>) {
        self.problems.push(Problem { at, code, text: text.into() });
    }

    /// What it is at the moment.
    #[must_use]
    pub fn heard(&self) -> Option<Heard> {
        self.spans.last().map(|span| span.heard)
    }

    /// The longest unbroken time in which the caller neither heard us nor spoke to anybody nor was being recorded.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        self.longest(Heard::is_silence)
    }

    /// The longest unbroken time in which nobody listened: [`Self::longest_silence`] without the time a living stream
    /// carried the silence of a caller who said nothing.
    #[must_use]
    pub fn longest_dead_air(&self) -> Duration {
        self.longest(|heard| heard == Heard::Silence)
    }

    fn longest(&self, counts: impl Fn(Heard) -> bool) -> Duration {
        let (mut longest, mut running) = (Duration::ZERO, Duration::ZERO);
        for span in &self.spans {
            running = if counts(span.heard) { running + span.length() } else { Duration::ZERO };
            longest = longest.max(running);
        }
        longest
    }

    /// How long it was `heard` in all.
    #[must_use]
    pub fn total(&self, heard: Heard) -> Duration {
        self.spans.iter().filter(|span| span.heard == heard).map(Span::length).sum()
    }

    /// One letter for every second since the answer: what most of that second was, and `*` where a beep fell into it.
    #[must_use]
    pub fn by_second(&self) -> String {
        let Some(start) = self.answered.or_else(|| self.spans.first().map(|span| span.from)) else {
            return String::new();
        };
        let end = self.spans.last().map_or(start, |span| span.to);
        let (mut text, mut from) = (String::new(), start);
        while from < end {
            let to = from + Duration::from_secs(1);
            text.push(self.most_of(from, to).letter());
            from = to;
        }
        text
    }

    fn most_of(&self, from: Instant, to: Instant) -> Heard {
        let mut best = (Duration::ZERO, Heard::Silence);
        for span in self.spans.iter().filter(|span| span.from < to && from < span.to) {
            if span.heard == Heard::Beep && from <= span.from {
                return Heard::Beep;
            }
            let share = span.to.min(to).since(span.from.max(from));
            if share > best.0 {
                best = (share, span.heard);
            }
        }
        best.1
    }
}

impl fmt::Display for Ledger {
    /// One line per span, as `  3.500  12.000  Streaming`, in seconds since the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.spans.first() else { return Ok(()) };
        for span in &self.spans {
            let (from, to) = (span.from.since(first.from), span.to.since(first.from));
            writeln!(f, "{:9.3} {:9.3}  {:?}", from.as_secs_f64(), to.as_secs_f64(), span.heard)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(changes: &[(u64, Heard)], end: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for &(at, heard) in changes {
            ledger.change(Instant::from_millis(at), heard);
        }
        ledger.close(Instant::from_millis(end));
        ledger
    }

    #[test]
    fn silence_is_counted_across_a_stream_that_dies_under_a_silent_caller() {
        use Heard::{Beep, Greeting, Prompt, Recording, Silence, Streaming, StreamingSilent};
        let changes = [
            (0, Greeting),
            (2_000, Silence),
            (2_300, Streaming),
            (5_000, StreamingSilent),
            (8_000, Silence),
            (14_000, Prompt),
            (16_000, Beep),
            (16_500, Recording),
        ];
        let ledger = ledger(&changes, 20_000);
        assert_eq!(ledger.longest_silence(), Duration::from_secs(9));
        assert_eq!(ledger.longest_dead_air(), Duration::from_secs(6));
        assert_eq!(ledger.total(Streaming), Duration::from_millis(2_700));
        assert_eq!(ledger.by_second(), "GGSSSsss......PP*RRR");
    }

    #[test]
    fn a_beep_marks_the_second_it_begins_in() {
        use Heard::{Beep, Prompt, Recording};
        let ledger = ledger(&[(0, Prompt), (1_800, Beep), (2_300, Recording)], 4_000);
        assert_eq!(ledger.by_second(), "P*RR");
    }

    #[test]
    fn a_ledger_is_shown_a_line_a_span_in_seconds_since_the_first() {
        use Heard::{Greeting, Silence};
        let ledger = ledger(&[(500, Greeting), (3_500, Silence)], 12_750);
        assert_eq!(ledger.to_string(), "    0.000     3.000  Greeting\n    3.000    12.250  Silence\n");
        assert_eq!(Ledger::default().to_string(), "");
    }

    #[test]
    fn spans_touch_and_equal_neighbours_are_one() {
        use Heard::{Greeting, Silence};
        let ledger =
            ledger(&[(0, Silence), (0, Greeting), (1_000, Greeting), (3_000, Silence), (3_000, Greeting)], 4_000);
        assert_eq!(
            ledger.spans,
            [Span { from: Instant::from_millis(0), to: Instant::from_millis(4_000), heard: Greeting }]
        );
    }

    #[test]
    fn an_empty_ledger_has_no_silence_and_no_seconds() {
        let ledger = Ledger::default();
        assert_eq!((ledger.longest_silence(), ledger.by_second()), (Duration::ZERO, String::new()));
    }
}
