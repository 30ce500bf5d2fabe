//! Speech as rows: segments, which are the jobs of transcribing them (T1, T5).

use crate::sid::{CallSid, RecordingSid, StreamSid};
use crate::time::UnixMillis;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// How far a transcription has come; the higher state wins (D2), so that a late failure never undoes a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_its_sid_and_read_back() {
        let (stream, recording) = (StreamSid::from_number(1), RecordingSid::from_number(1));
        for (origin, text) in
            [(Origin::Stream(stream), stream.to_string()), (Origin::Recording(recording), recording.to_string())]
        {
            assert_eq!((origin.as_str(), Origin::parse(&text)), (text.as_str(), Some(origin)));
        }
        assert_eq!(Origin::parse("CA00000000000000000000000000000001"), None);
    }
}
