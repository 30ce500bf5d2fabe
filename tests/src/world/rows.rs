//! What facts about speech come to: the rows of segments and recordings, transcripts, and what is taken of them. A plain
//! second telling of the SQL, which is tested against real databases.

use callwarden_core::limits;
use callwarden_core::sid::{AccountSid, CallSid, RecordingSid};
use callwarden_core::store::{
    CallFact, Fact, Job, JobState, Origin, OverdueCall, RecordingFact, RecordingState, SegmentFact, SegmentKey, Source,
    TakenRecording, TranscriptStart, WaitingSegment,
};
use callwarden_core::time::{Now, UnixMillis};
use std::collections::BTreeMap;

/// The merged rows.
#[derive(Debug, Default)]
pub struct Rows {
    calls: BTreeMap<CallSid, CallRow>,
    segments: BTreeMap<SegmentKey, SegmentFact>,
    recordings: BTreeMap<RecordingSid, RecordingRow>,
}

#[derive(Debug, Default)]
struct CallRow {
    account: Option<AccountSid>,
    updated: Option<UnixMillis>,
    begins: Option<TranscriptStart>,
    ended: bool,
    /// A recording should be there.
    recorded: bool,
    missing: Option<String>,
    looked_up: Option<(u32, UnixMillis)>,
}

impl CallRow {
    fn lacks_recording(&self, call: CallSid, recordings: &BTreeMap<RecordingSid, RecordingRow>) -> bool {
        if self.missing.is_some() {
            return false;
        }
        let mut recordings = recordings.values().filter(|recording| recording.call == call).peekable();
        let none = recordings.peek().is_none();
        recordings.any(RecordingRow::is_running) || self.recorded && none
    }
}

#[derive(Debug)]
struct RecordingRow {
    call: CallSid,
    created: UnixMillis,
    state: RecordingState,
    seconds: Option<u64>,
    job: Job,
    /// How often it was taken.
    tries: u32,
    taken: Option<(String, UnixMillis)>,
}

impl RecordingRow {
    fn is_running(&self) -> bool {
        self.state == RecordingState::InProgress && self.seconds.is_none()
    }

    fn is_waiting(&self) -> bool {
        self.state != RecordingState::Absent && !self.is_running() && self.job.state == JobState::Waiting
    }
}

/// The one that stays.
fn better(known: &Job, told: &Job) -> Job {
    let rank = |job: &Job| (job.state, job.attempts, job.next_at, job.error.clone());
    if rank(told) > rank(known) { told.clone() } else { known.clone() }
}

impl Rows {
    /// Takes a fact in.
    pub fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Call(fact) => self.call(fact),
            Fact::Recording(fact) => self.recording(fact),
            Fact::Segment(fact) => self.segment(fact),
            Fact::Event(_) => {}
        }
    }

    fn call(&mut self, fact: &CallFact) {
        let row = self.calls.entry(fact.call).or_default();
        row.updated = row.updated.max(Some(fact.at));
        row.account = row.account.or(fact.account);
        row.begins = row.begins.max(fact.transcript);
        row.ended |= fact.ended_at.is_some();
        row.recorded |= fact.fallback.is_some() || fact.source == Some(Source::Recording);
        row.missing = row.missing.take().max(fact.recording_missing.clone());
    }

    fn recording(&mut self, fact: &RecordingFact) {
        let call = self.calls.entry(fact.call).or_default();
        call.updated = call.updated.max(Some(fact.at));
        let row = self.recordings.entry(fact.recording).or_insert_with(|| RecordingRow {
            call: fact.call,
            created: fact.at,
            state: fact.state,
            seconds: None,
            job: Job::waiting(),
            tries: 0,
            taken: None,
        });
        row.created = row.created.min(fact.at);
        row.state = row.state.max(fact.state);
        row.seconds = row.seconds.max(fact.duration_seconds);
        if let Some(job) = &fact.job {
            row.taken = row.taken.take().filter(|_| job.attempts < row.tries);
            row.job = better(&row.job, job);
        }
    }

    fn segment(&mut self, fact: &SegmentFact) {
        let call = self.calls.entry(fact.key.call).or_default();
        call.updated = call.updated.max(Some(fact.at));
        let row = self.segments.entry(fact.key).or_insert_with(|| fact.clone());
        if (fact.at, &fact.node) > (row.at, &row.node) {
            (row.at, row.node) = (fact.at, fact.node.clone());
        }
        row.started_at = row.started_at.min(fact.started_at);
        row.job = better(&row.job, &fact.job);
        if fact.text > row.text {
            row.text.clone_from(&fact.text);
        }
    }

    pub(super) fn take_recordings(&mut self, now: Now, node: &str, limit: u64) -> Vec<TakenRecording> {
        let mut taken = Vec::new();
        for (sid, row) in &mut self.recordings {
            let begins = self.calls.get(&row.call).and_then(|call| call.begins);
            let open =
                row.job.state == JobState::Waiting || row.job.state == JobState::Failed && row.job.next_at.is_some();
            let due = row.job.next_at.is_none_or(|at| at <= now.unix);
            let free = row.taken.as_ref().is_none_or(|(_, until)| *until <= now.unix);
            let ready = row.state == RecordingState::Completed
                || row.state == RecordingState::InProgress && row.seconds.is_some();
            if !(open && due && free && ready && begins != Some(TranscriptStart::Disabled))
                || taken.len() as u64 >= limit
            {
                continue;
            }
            row.tries = row.tries.max(row.job.attempts) + 1;
            row.taken = Some((node.to_owned(), now.unix + limits::RECORDING_LEASE));
            let done = self
                .segments
                .values()
                .filter(|segment| segment.key.origin == Origin::Recording(*sid) && segment.job.state == JobState::Done);
            taken.push(TakenRecording {
                recording: *sid,
                call: row.call,
                account: self.calls.get(&row.call).and_then(|call| call.account),
                created_at: row.created,
                attempt: row.tries,
                failed: row.job.state == JobState::Failed,
                done: done.map(|segment| segment.key.sequence).collect(),
            });
        }
        taken
    }

    pub(super) fn take_overdue(&mut self, now: Now) -> Vec<OverdueCall> {
        let mut taken = Vec::new();
        let [first, second, third] = limits::LOOK_UP_TIMES;
        let recordings = &self.recordings;
        for (sid, row) in &mut self.calls {
            let updated = row.updated.unwrap_or_default();
            let (look_ups, due) = match row.looked_up.filter(|(_, at)| *at > updated) {
                None => (0, updated + first),
                Some((1, _)) => (1, updated + second),
                Some((2, _)) => (2, updated + third),
                Some((more, at)) => (more, at + third),
            };
            let room = (taken.len() as u64) < limits::OVERDUE_TAKEN_MAX;
            if room && due <= now.unix && (!row.ended || row.lacks_recording(*sid, recordings)) {
                row.looked_up = Some((look_ups + 1, now.unix));
                taken.push(OverdueCall { call: *sid, account: row.account, look_ups: look_ups + 1, ended: row.ended });
            }
        }
        taken
    }

    pub(super) fn done(&self, segments: &[SegmentKey]) -> Vec<SegmentKey> {
        let is_done =
            |key: &&SegmentKey| self.segments.get(key).is_some_and(|segment| segment.job.state == JobState::Done);
        segments.iter().filter(is_done).copied().collect()
    }

    pub(super) fn inherit(&mut self, node: &str) -> Vec<WaitingSegment> {
        for row in self.recordings.values_mut() {
            row.taken = row.taken.take().filter(|(holder, _)| holder != node);
        }
        self.waiting(|segment| segment.node == node)
    }

    pub(super) fn stale(&self, now: Now) -> Vec<WaitingSegment> {
        self.waiting(|segment| segment.at + limits::AUDIO_AGE_MAX + limits::STALE_AFTER <= now.unix)
    }

    fn waiting(&self, which: impl Fn(&SegmentFact) -> bool) -> Vec<WaitingSegment> {
        let waiting = self.segments.values().filter(|segment| segment.job.state == JobState::Waiting && which(segment));
        let found = |segment: &SegmentFact| WaitingSegment {
            key: segment.key,
            node: segment.node.clone(),
            started_at: segment.started_at,
            from: segment.from,
            to: segment.to,
        };
        waiting.map(found).take(usize::try_from(limits::SEGMENTS_FOUND_MAX).expect("small")).collect()
    }

    /// The segments of a call with a text, in order.
    #[must_use]
    pub fn texts(&self, call: CallSid) -> Vec<String> {
        let of_call = self.segments.values().filter(|segment| segment.key.call == call && !segment.text.is_empty());
        of_call.map(|segment| segment.text.clone()).collect()
    }

    /// A call's transcript (T1).
    #[must_use]
    pub fn transcript(&self, call: CallSid) -> String {
        let mut origins: BTreeMap<Origin, Vec<&SegmentFact>> = BTreeMap::new();
        for segment in self.segments.values().filter(|segment| segment.key.call == call) {
            origins.entry(segment.key.origin).or_default().push(segment);
        }
        let mut parts: Vec<(UnixMillis, Origin, String)> = Vec::new();
        for (origin, mut segments) in origins {
            let begun = segments.iter().map(|segment| segment.started_at).min().expect("not empty");
            segments.sort_by_key(|segment| (segment.key.sequence == 0, segment.key.sequence));
            let said = segments.iter().map(|segment| match segment.job.state {
                JobState::Failed => "[…]",
                JobState::Waiting | JobState::Done => segment.text.as_str(),
            });
            let said: Vec<&str> = said.filter(|text| !text.is_empty()).collect();
            if !said.is_empty() {
                parts.push((begun, origin, said.join(" ")));
            }
        }
        parts.sort();
        parts.into_iter().map(|(_, _, text)| text).collect::<Vec<_>>().join("\n")
    }

    /// How a call's transcript stands (T7).
    #[must_use]
    pub fn transcript_status(&self, call: CallSid) -> String {
        let Some(row) = self.calls.get(&call) else { return String::new() };
        let segments: Vec<_> = self.segments.values().filter(|segment| segment.key.call == call).collect();
        let recordings: Vec<_> = self.recordings.values().filter(|recording| recording.call == call).collect();
        let waits = segments.iter().any(|segment| segment.job.state == JobState::Waiting)
            || recordings.iter().any(|recording| recording.is_waiting());
        let failed = |job: &Job| (job.state == JobState::Failed).then(|| job.error.clone()).flatten();
        let failure = segments.iter().filter_map(|segment| failed(&segment.job)).min();
        let failure = failure.or_else(|| recordings.iter().filter_map(|recording| failed(&recording.job)).min());
        let gone = recordings.iter().any(|recording| recording.is_running()) || recordings.is_empty();
        let failure = failure.or_else(|| row.missing.clone().filter(|_| gone));
        match failure {
            _ if row.begins == Some(TranscriptStart::Disabled) => "disabled".to_owned(),
            _ if !row.ended || waits || row.lacks_recording(call, &self.recordings) => "pending".to_owned(),
            Some(failure) => format!("failed: {failure}"),
            None if !self.transcript(call).is_empty() => "done".to_owned(),
            None if !recordings.is_empty()
                && recordings.iter().all(|recording| recording.state == RecordingState::Absent) =>
            {
                "failed: Twilio kept no recording".to_owned()
            }
            None => "empty".to_owned(),
        }
    }

    /// Whether anything of a call was heard or recorded.
    #[must_use]
    pub fn has_speech(&self, call: CallSid) -> bool {
        self.segments.keys().any(|key| key.call == call) || self.recordings.values().any(|row| row.call == call)
    }

    /// The furthest state of a call's recordings.
    #[must_use]
    pub fn recording_state(&self, call: CallSid) -> Option<RecordingState> {
        self.recordings.values().filter(|row| row.call == call).map(|row| row.state).max()
    }

    /// Whether this text stands in any row.
    #[must_use]
    pub fn has_text(&self, text: &str) -> bool {
        self.segments.values().any(|segment| segment.text.contains(text))
    }

    /// A recording's job.
    #[must_use]
    pub fn job(&self, recording: RecordingSid) -> Option<&Job> {
        self.recordings.get(&recording).map(|row| &row.job)
    }

    /// A segment's row.
    #[must_use]
    pub fn segment_row(&self, key: SegmentKey) -> Option<&SegmentFact> {
        self.segments.get(&key)
    }
}
