//! Facts: true whatever else is known, merged into their rows in any order and any number of times (D2).

use super::{CallStatus, FallbackReason, Job, RecordingState, SegmentFact, Source, TranscriptStart};
use crate::sid::{AccountSid, CallSid, RecordingSid, StreamSid};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What is known of a call at one moment. Each absent member leaves its column as it is; each present one is merged
/// by a rule that gives the same row in any order and for any repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFact {
    /// Which call: the row's key.
    pub call: CallSid,
    /// When this became known: `created_at` takes the least, `updated_at` the greatest.
    pub at: UnixMillis,
    /// The process that says so. Whose the call is, is said by who announces or streams it ([`Self::owns`]); the greatest
    /// `at` of those stays.
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

    /// Whether the call is the process's that says so: it answers for its watch.
    #[must_use]
    pub fn owns(&self) -> bool {
        self.source.is_some() || self.stream.is_some()
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventFact {
    /// Which call.
    pub call: CallSid,
    /// When.
    pub at: UnixMillis,
    /// What, from a closed set.
    pub event: Cow<'static, str>,
    /// Particulars; never a phone number or speech.
    pub detail: String,
}

/// What is known of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Something that is true whatever else is known: merged into its row, in any order, any number of times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each says what its content says")]
pub enum Fact {
    Call(Box<CallFact>),
    Event(EventFact),
    Recording(RecordingFact),
    Segment(Box<SegmentFact>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_process_that_announces_or_streams_it() {
        let fact = |source, stream| CallFact {
            source,
            stream,
            ..CallFact::new(CallSid::from_number(1), UnixMillis(1), "node")
        };
        let stream = Some((1, StreamSid::from_number(1)));
        for (fact, owns) in [
            (fact(None, None), false),
            (fact(Some(Source::Stream), None), true),
            (fact(Some(Source::Recording), None), true),
            (fact(None, stream), true),
            (fact(Some(Source::Stream), stream), true),
        ] {
            assert_eq!(fact.owns(), owns, "{fact:?}");
        }
    }
}
