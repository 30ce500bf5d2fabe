//! What the switchboard asks of the database: *facts*, which may arrive in any order and any number of times, and
//! *decisions*, which are one conditional update each (D2).
//!
//! A runtime turns a [`StoreCommand`] into the [`sql::Statement`]s of its database, runs them in one transaction and
//! answers with a [`StoreAnswer`] or a [`StoreError`]. It knows no table by name.

mod fact;
mod nodes;
mod speech;
pub mod spooled;
pub mod sql;
mod status;

pub use fact::{CallFact, EventFact, Fact, RecordingFact};
pub use nodes::{KnownCall, Refusal};
pub use speech::{Job, JobState, Origin, SegmentFact, SegmentKey};
pub use status::{CallStatus, FallbackReason, RecordingState, Source, TranscriptStart};

use crate::sid::{AccountSid, CallSid, RecordingSid};
use crate::time::UnixMillis;
use core::fmt;
use core::time::Duration;

/// The claim of a call's one fallback (W5): granted to at most one process at a time.
///
/// Refused when the row says that the call is over, that it already fell back, that another process holds an
/// unexpired claim, or that more streams started than this process knows of (another one has the caller); and when a
/// recording of the call has called back, whichever process heard it (W6).
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
    /// Whether it knows that the caller had finished, if the row says so (W12): goodbye may be playing. It does as well
    /// where it had the newest stream, for then the row speaks of an earlier one.
    pub knows_finished: bool,
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
    /// Which of these segments are done already; answered by [`StoreAnswer::Known`].
    FindDone {
        /// Those in question.
        segments: Vec<SegmentKey>,
    },
    /// Which segments wait for a process that is gone; gives its recordings back. Answered by
    /// [`StoreAnswer::Segments`].
    Inherit {
        /// The process that is gone.
        node: String,
    },
    /// Which segments have waited for longer than any process keeps their audio; answered by
    /// [`StoreAnswer::Segments`].
    FindStale,
    /// Say that this process lives, for `limits::NODE_LEASE`, and take over open calls of processes that do not; answered
    /// by [`StoreAnswer::TakenOver`]. At most `limits::CALLS_TAKEN_MAX` at a time.
    Renew {
        /// Who lives.
        node: String,
        /// Who is known to be gone, whatever its last word was.
        gone: Vec<String>,
    },
    /// What is known of an open call that this process was asked about; answered by [`StoreAnswer::Found`].
    FindCall {
        /// Which.
        call: CallSid,
    },
    /// Say that this process is gone: its calls may be taken over at once.
    Retire {
        /// Who is gone.
        node: String,
    },
}

/// The database's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Committed.
    Done,
    /// Whether the claim was granted, and if not, why.
    Claimed(Result<(), Refusal>),
    /// The recordings that were taken.
    Recordings(Vec<TakenRecording>),
    /// The calls that were taken.
    Overdue(Vec<OverdueCall>),
    /// The segments that were found.
    Segments(Vec<WaitingSegment>),
    /// Those of the segments asked about that are done.
    Known(Vec<SegmentKey>),
    /// The calls that are this process's from now on.
    TakenOver(Vec<KnownCall>),
    /// The call, unless it has no row or is over.
    Found(Option<Box<KnownCall>>),
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
    fn an_error_of_the_database_says_whether_it_was_away_or_took_offence() {
        let away = StoreError::Unavailable("connection refused".to_owned()).to_string();
        assert!(away.contains("unavailable") && away.contains("connection refused"), "{away}");
        let refused = StoreError::Refused("a constraint".to_owned()).to_string();
        assert!(refused.contains("refused the data") && refused.contains("a constraint"), "{refused}");
    }
}
