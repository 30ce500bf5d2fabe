//! What the switchboard asks of the database: *facts*, which may arrive in any order and any number of times, and
//! *decisions*, which are one conditional update each (D2).
//!
//! A runtime turns a [`StoreCommand`] into the [`sql::Statement`]s of its database, runs them in one transaction and
//! answers with a [`StoreAnswer`] or a [`StoreError`]. It knows no table by name.

pub mod sql;

use crate::sid::{AccountSid, CallSid, RecordingSid, StreamSid};
use crate::time::UnixMillis;
use core::fmt;
use core::time::Duration;

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
    /// What the status begins as; afterwards it follows from the rows of the call's segments and recordings.
    pub transcript: Option<TranscriptStart>,
    /// Why a recording that should be there is none (T8); greatest text stays.
    pub recording_missing: Option<String>,
}

/// What `call_log.transcript_status` begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TranscriptStart {
    /// The call will be transcribed.
    Pending,
    /// There is no `OPENAI_API_KEY`: nothing of the call is sent anywhere, for good.
    Disabled,
}

impl TranscriptStart {
    /// As it stands in `call_log.transcript_status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Disabled => "disabled",
        }
    }
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
            transcript: None,
            recording_missing: None,
        }
    }

    /// Whether the transcript's status may follow from it.
    pub(crate) fn decides_the_transcript(&self) -> bool {
        self.ended_at.is_some()
            || self.fallback.is_some()
            || self.source == Some(Source::Recording)
            || self.recording_missing.is_some()
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
    /// The process that says so.
    pub node: String,
    /// How its transcription stands, when that is what became known.
    pub job: Option<Job>,
}

/// How far a transcription has come; the higher state wins (D2), so that a late failure never undoes a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// There is work to do. Stored as NULL.
    Waiting,
    /// It failed; it may be tried again all the same, when [`Job::next_at`] says so.
    Failed,
    /// Done.
    Done,
}

impl JobState {
    /// As it stands in `state` and `job_state`; `None` is NULL.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Waiting => None,
            Self::Failed => Some("failed"),
            Self::Done => Some("done"),
        }
    }
}

/// Where the transcription of a segment or a recording stands (T5). Of two, the one with the higher state stays, then
/// the one after more attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// How far it has come.
    pub state: JobState,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed; never speech.
    pub error: Option<String>,
    /// When it is tried next.
    pub next_at: Option<UnixMillis>,
}

impl Job {
    /// Work to do at once.
    #[must_use]
    pub const fn waiting() -> Self {
        Self { state: JobState::Waiting, attempts: 0, error: None, next_at: None }
    }

    /// Work that is done after so many tries.
    #[must_use]
    pub const fn done(attempts: u32) -> Self {
        Self { state: JobState::Done, attempts, error: None, next_at: None }
    }
}

/// Where words were heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Live, on a stream.
    Stream(StreamSid),
    /// In a recording.
    Recording(RecordingSid),
}

impl Origin {
    /// As it stands in `transcript_segments.origin`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stream(stream) => stream.as_str(),
            Self::Recording(recording) => recording.as_str(),
        }
    }

    /// Reads it back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let stream = text.parse().map(Self::Stream).ok();
        stream.or_else(|| text.parse().map(Self::Recording).ok())
    }
}

/// Names a stretch of speech of a call: the key of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentKey {
    /// Which call.
    pub call: CallSid,
    /// Where it was heard.
    pub origin: Origin,
    /// Its place there, from 1. Of a stream, 0 stands for the listening itself: done when the stream has ended and its
    /// last utterance was announced, so that what a crash cut off leaves a trace.
    pub sequence: u32,
}

/// What is known of a stretch of speech (T1, T5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFact {
    /// Which.
    pub key: SegmentKey,
    /// When this became known.
    pub at: UnixMillis,
    /// The process that has its audio, or had it; the one with the greatest `at` stays.
    pub node: String,
    /// When it was begun to be spoken; least stays.
    pub started_at: UnixMillis,
    /// Where it begins in its origin; least stays.
    pub from: Duration,
    /// Where it ends; greatest stays.
    pub to: Duration,
    /// How its transcription stands.
    pub job: Job,
    /// What was said. Greatest text stays, so that an empty one never overwrites.
    pub text: String,
}

/// Something that is true whatever else is known: merged into its row, in any order, any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says what its content says")]
pub enum Fact {
    Call(Box<CallFact>),
    Event(EventFact),
    Recording(RecordingFact),
    Segment(Box<SegmentFact>),
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
    /// Take recordings that wait to be transcribed, for `limits::RECORDING_LEASE`; answered by
    /// [`StoreAnswer::Recordings`].
    TakeRecordings {
        /// Who takes them.
        node: String,
        /// How many at most.
        limit: u64,
    },
    /// Take calls that lack their end or their recording and were not heard of for long (T8); answered by
    /// [`StoreAnswer::Overdue`].
    TakeOverdue,
    /// Which segments wait for a process that is gone; gives its recordings back. Answered by
    /// [`StoreAnswer::Segments`].
    Inherit {
        /// The process that is gone.
        node: String,
    },
    /// Which segments have waited for longer than any process keeps their audio; answered by
    /// [`StoreAnswer::Segments`].
    FindStale,
}

/// The database's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Committed.
    Done,
    /// Whether the claim was granted.
    Claimed(bool),
    /// The recordings that were taken.
    Recordings(Vec<TakenRecording>),
    /// The calls that were taken.
    Overdue(Vec<OverdueCall>),
    /// The segments that were found.
    Segments(Vec<WaitingSegment>),
}

/// A recording to be transcribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenRecording {
    /// Which.
    pub recording: RecordingSid,
    /// Its call.
    pub call: CallSid,
    /// The call's account, where it is known.
    pub account: Option<AccountSid>,
    /// When it was first heard of.
    pub created_at: UnixMillis,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Whether an earlier try has failed so that a person had to act: its row says so until it is done.
    pub failed: bool,
    /// The pieces whose text is stored already.
    pub done: Vec<u32>,
}

/// A call that lacks its end or its recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverdueCall {
    /// Which.
    pub call: CallSid,
    /// Its account, where it is known.
    pub account: Option<AccountSid>,
    /// How often it was looked up, this time included.
    pub look_ups: u32,
    /// Whether its end is known.
    pub ended: bool,
}

/// A segment whose transcription nobody works on any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingSegment {
    /// Which.
    pub key: SegmentKey,
    /// The process that had its audio.
    pub node: String,
    /// When it was begun to be spoken.
    pub started_at: UnixMillis,
    /// Where it begins in its origin.
    pub from: Duration,
    /// Where it ends.
    pub to: Duration,
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
