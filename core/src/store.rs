//! What the switchboard asks of the database: *facts*, which may arrive in any order and any number of times, and
//! *decisions*, which are one conditional update each (D2).
//!
//! A runtime turns a [`StoreCommand`] into the [`sql::Statement`]s of its database, runs them in one transaction and
//! answers with a [`StoreAnswer`] or a [`StoreError`]. It knows no table by name.

pub mod sql;

use crate::sid::{AccountSid, CallSid, RecordingSid, StreamSid};
use crate::time::UnixMillis;
use core::fmt;

/// A call's status, in the total order that decides which of two wins (D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the values of Twilio's CallStatus, and our own stream_closed")]
pub enum CallStatus {
    Queued,
    Initiated,
    Ringing,
    InProgress,
    StreamClosed,
    Canceled,
    NoAnswer,
    Busy,
    Failed,
    Completed,
}

impl CallStatus {
    /// Every status, lowest first.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Initiated,
        Self::Ringing,
        Self::InProgress,
        Self::StreamClosed,
        Self::Canceled,
        Self::NoAnswer,
        Self::Busy,
        Self::Failed,
        Self::Completed,
    ];

    /// As it stands in webhooks and in `call_log.status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::StreamClosed => "stream_closed",
            Self::Canceled => "canceled",
            Self::NoAnswer => "no-answer",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }

    /// Reads a webhook's `CallStatus`; `None` for a value Twilio does not document, and for our own `stream_closed`.
    #[must_use]
    pub fn from_twilio(text: &str) -> Option<Self> {
        Self::ALL.into_iter().filter(|status| *status != Self::StreamClosed).find(|status| status.as_str() == text)
    }

    /// Whether the call is over: one of Twilio's terminal statuses.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self > Self::StreamClosed
    }
}

/// What the first TwiML asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `<Record>`, because streaming is off or the process drains.
    Recording,
    /// `<Connect><Stream>`.
    Stream,
}

impl Source {
    /// As it stands in `call_log.source`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Stream => "stream",
        }
    }
}

/// Why a call was moved to recording (W1-W4, W11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FallbackReason {
    /// No `start` in time (W1).
    NoStart,
    /// `start`, then not one frame (W2).
    NoMedia,
    /// Frames stopped, and a mark was not echoed (W3).
    MediaStalled,
    /// Frames stopped for 30 s though marks are echoed, or none ever was (W3).
    MediaQuiet,
    /// Twilio reported a stream error, or ended the stream, before any frame (W4).
    StreamError,
    /// The stream went away and nothing came after it (W11).
    StreamLost,
}

impl FallbackReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::NoStart, Self::NoMedia, Self::MediaStalled, Self::MediaQuiet, Self::StreamError, Self::StreamLost];

    /// As it stands in `call_log.fallback_reason` and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoStart => "no_start",
            Self::NoMedia => "no_media",
            Self::MediaStalled => "media_stalled",
            Self::MediaQuiet => "media_quiet",
            Self::StreamError => "stream_error",
            Self::StreamLost => "stream_lost",
        }
    }
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a call at one moment. Each absent member leaves its column as it is; each present one is merged
/// by a rule that gives the same row in any order and for any repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFact {
    /// Which call: the row's key.
    pub call: CallSid,
    /// When this became known: `created_at` takes the least, `updated_at` the greatest.
    pub at: UnixMillis,
    /// The process that says so; the one with the greatest `at` stays.
    pub node: String,
    /// Greatest text stays (the same in every webhook of a call).
    pub account: Option<AccountSid>,
    /// `From`; greatest text stays.
    pub from: Option<String>,
    /// `To`; greatest text stays.
    pub to: Option<String>,
    /// `Direction`; greatest text stays.
    pub direction: Option<String>,
    /// The host the call came in on; greatest text stays.
    pub public_host: Option<String>,
    /// Greatest in the order of [`CallStatus`] stays.
    pub status: Option<CallStatus>,
    /// Least stays: `recording` wins over `stream`.
    pub source: Option<Source>,
    /// Ordinal (from 1) and identifier of a stream that started; `streams` and `stream_sid` take the greatest pair.
    pub stream: Option<(u32, StreamSid)>,
    /// Least stays.
    pub stream_started_at: Option<UnixMillis>,
    /// Least stays.
    pub first_media_at: Option<UnixMillis>,
    /// Frames heard over all streams; greatest stays.
    pub frames: Option<u64>,
    /// When and why it fell back; the least pair stays.
    pub fallback: Option<(UnixMillis, FallbackReason)>,
    /// How far the call got (W9); the text of the greatest `at` stays (greatest text on a tie).
    pub how_far: Option<String>,
    /// The stream was closed because the caller had finished (W12); least stays.
    pub finished_at: Option<UnixMillis>,
    /// Least stays.
    pub ended_at: Option<UnixMillis>,
    /// Greatest stays.
    pub duration_seconds: Option<u64>,
    /// `pending` gives way to anything else; otherwise the greatest text stays.
    pub transcript_status: Option<String>,
}

impl CallFact {
    /// A fact that says only that the call exists.
    #[must_use]
    pub fn new(call: CallSid, at: UnixMillis, node: impl Into<String>) -> Self {
        Self {
            call,
            at,
            node: node.into(),
            account: None,
            from: None,
            to: None,
            direction: None,
            public_host: None,
            status: None,
            source: None,
            stream: None,
            stream_started_at: None,
            first_media_at: None,
            frames: None,
            fallback: None,
            how_far: None,
            finished_at: None,
            ended_at: None,
            duration_seconds: None,
            transcript_status: None,
        }
    }
}

/// A line of a call's timeline. The same line twice is one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventFact {
    /// Which call.
    pub call: CallSid,
    /// When.
    pub at: UnixMillis,
    /// What, from a closed set.
    pub event: &'static str,
    /// Particulars; never a phone number or speech.
    pub detail: String,
}

/// A recording's state, in the total order that decides which of two wins (D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the values of Twilio's RecordingStatus")]
pub enum RecordingState {
    InProgress,
    Absent,
    Completed,
}

impl RecordingState {
    /// As it stands in webhooks and in `recordings.state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in-progress",
            Self::Absent => "absent",
            Self::Completed => "completed",
        }
    }

    /// Reads a webhook's `RecordingStatus`; Twilio's `failed` leaves nothing to fetch, like `absent`.
    #[must_use]
    pub fn from_twilio(text: &str) -> Option<Self> {
        match text {
            "in-progress" => Some(Self::InProgress),
            "absent" | "failed" => Some(Self::Absent),
            "completed" => Some(Self::Completed),
            _ => None,
        }
    }
}

/// What is known of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingFact {
    /// Which recording: the row's key.
    pub recording: RecordingSid,
    /// Its call; greatest text stays.
    pub call: CallSid,
    /// When this became known.
    pub at: UnixMillis,
    /// Greatest in the order of [`RecordingState`] stays.
    pub state: RecordingState,
    /// Greatest stays.
    pub duration_seconds: Option<u64>,
}

/// Something that is true whatever else is known: merged into its row, in any order, any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says what its content says")]
pub enum Fact {
    Call(Box<CallFact>),
    Event(EventFact),
    Recording(RecordingFact),
}

/// The claim of a call's one fallback (W5): granted to at most one process at a time.
///
/// Refused when the row says that the call is over, that it already fell back, that another process holds an
/// unexpired claim, or that more streams started than this process knows of (another one has the caller).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which call.
    pub call: CallSid,
    /// Who claims.
    pub node: String,
    /// When, for a row that does not exist yet.
    pub at: UnixMillis,
    /// How many streams of the call this process has seen start, or was told by Twilio that they stopped.
    pub known_streams: u32,
}

/// One piece of work for the database, done in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreCommand {
    /// Connect, and bring the schema to the newest version. Everything else needs this first.
    Open,
    /// Merge facts. At most `limits::FACTS_PER_COMMAND_MAX`.
    Facts(Vec<Fact>),
    /// Claim a fallback; answered by [`StoreAnswer::Claimed`].
    Claim(Claim),
    /// Give an unused claim of this process back: the caller was heard again.
    Release {
        /// Which call.
        call: CallSid,
        /// Who held it.
        node: String,
    },
}

/// The database's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Committed.
    Done,
    /// Whether the claim was granted.
    Claimed(bool),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Down, too slow, or gone in the middle; facts may be sent again.
    Unavailable(String),
    /// The database will never take this data (a constraint, a bad value): our bug or a hostile text.
    Refused(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(cause) => write!(f, "the database is unavailable: {cause}"),
            Self::Refused(cause) => write!(f, "the database refused the data: {cause}"),
        }
    }
}

impl core::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statuses_are_in_the_documented_order() {
        let names: Vec<_> = CallStatus::ALL.iter().map(|status| status.as_str()).collect();
        assert_eq!(
            names.join(" < "),
            "queued < initiated < ringing < in-progress < stream_closed < canceled < no-answer < busy < failed < completed"
        );
        assert!(CallStatus::ALL.is_sorted());
        assert!(CallStatus::ALL.iter().filter(|status| status.is_terminal()).count() == 5);
    }

    #[test]
    fn twilio_cannot_say_stream_closed() {
        assert_eq!(CallStatus::from_twilio("stream_closed"), None);
        assert_eq!(CallStatus::from_twilio("on-hold"), None);
        assert_eq!(CallStatus::from_twilio("no-answer"), Some(CallStatus::NoAnswer));
    }
}
