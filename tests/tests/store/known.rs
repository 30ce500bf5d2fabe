//! What can become known of a call that matters to its transcript, piece by piece.

use super::{AT, fact, failed, recorded, recording, said, segment, stream};
use callwarden_core::store::{
    CallStatus, Fact, FallbackReason, Job, JobState, RecordingState, Source, TranscriptStart,
};

/// Something known of the call with this number, whose recordings have numbers from ten times that.
pub(super) type Known = fn(u128) -> Fact;

pub(super) const BEGUN: Known = |call| fact(call, |fact| fact.transcript = Some(TranscriptStart::Pending));
pub(super) const DISABLED: Known = |call| fact(call, |fact| fact.transcript = Some(TranscriptStart::Disabled));
pub(super) const ENDED: Known = |call| fact(call, |fact| fact.ended_at = Some(AT));
pub(super) const FELL_BACK: Known = |call| fact(call, |fact| fact.fallback = Some((AT, FallbackReason::NoMedia)));
pub(super) const TO_BE_RECORDED: Known = |call| fact(call, |fact| fact.source = Some(Source::Recording));
pub(super) const MISSING: Known = |call| fact(call, |fact| fact.recording_missing = Some("no recording".to_owned()));
pub(super) const STREAMED: Known = |call| fact(call, |fact| fact.source = Some(Source::Stream));
pub(super) const STREAM_CLOSED: Known = |call| fact(call, |fact| fact.status = Some(CallStatus::StreamClosed));
pub(super) const SAID: Known = |call| said(call, 1, "שלום");
pub(super) const NOTHING_SAID: Known = |call| said(call, 1, "");
pub(super) const SECOND_WAITS: Known = |call| segment(call, stream(1), 2, |fact| fact.job = Job::waiting());
pub(super) const SECOND_FAILED: Known =
    |call| segment(call, stream(1), 2, |fact| fact.job = failed(3, "the audio is lost"));
pub(super) const SECOND_DONE: Known = |call| said(call, 2, "וברכה");
pub(super) const THIRD_FAILED: Known = |call| segment(call, stream(1), 3, |fact| fact.job = failed(1, "a bad answer"));
pub(super) const RUNNING: Known = |call| {
    recording(10 * call, call, |fact| {
        (fact.state, fact.duration_seconds) = (RecordingState::InProgress, None);
    })
};
pub(super) const RECORDED: Known = |call| recording(10 * call, call, |fact| fact.state = RecordingState::InProgress);
pub(super) const COMPLETED: Known = |call| recording(10 * call, call, |_| {});
pub(super) const ABSENT: Known =
    |call| recording(10 * call, call, |fact| (fact.state, fact.duration_seconds) = (RecordingState::Absent, None));
pub(super) const BLOCKED: Known = |call| {
    let blocked = Job { next_at: Some(AT), ..failed(1, "the key is wrong") };
    recording(10 * call, call, |fact| fact.job = Some(blocked))
};
pub(super) const RECORDING_LATER: Known = |call| {
    let later = Job { state: JobState::Waiting, ..failed(1, "HTTP 503") };
    recording(10 * call, call, |fact| fact.job = Some(later))
};
pub(super) const RECORDING_FAILED: Known =
    |call| recording(10 * call, call, |fact| fact.job = Some(failed(2, "not a WAV")));
pub(super) const RECORDING_DONE: Known = |call| recording(10 * call, call, |fact| fact.job = Some(Job::done(3)));
pub(super) const RECORDING_SAID: Known =
    |call| segment(call, recorded(10 * call), 1, |fact| "הקלטה".clone_into(&mut fact.text));
pub(super) const OTHER_COMPLETED: Known = |call| recording(10 * call + 1, call, |_| {});
pub(super) const OTHER_DONE: Known = |call| recording(10 * call + 1, call, |fact| fact.job = Some(Job::done(1)));
pub(super) const OTHER_FAILED: Known = |call| recording(10 * call + 1, call, |fact| fact.job = Some(failed(1, "gone")));
