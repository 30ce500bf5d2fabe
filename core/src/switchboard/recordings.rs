//! Recordings: fetched from Twilio, transcribed piece by piece, stored (T2, T5).
//!
//! A recording is a row before it is work. A process *takes* some whose turn it is, for a time; whatever happens to it,
//! the row goes back to the others. So it does not matter which webhook told of a recording first, how often, or to whom,
//! and one recording gives one transcript.

use super::speech::{self, Gate, Later, OwnedClip, WorkKey, WorkKind};
use super::{Fetch, Output, Switchboard, log};
use crate::audio::{Encoding, Format, Kind, NotARecording, Piece, Recording, wav};
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::key::Slab;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::rest::{self, DownloadOutcome, Keeper};
use crate::sid::RecordingSid;
use crate::store::{
    Fact, Job, JobState, Origin, RecordingFact, RecordingState, SegmentKey, StoreCommand, TakenRecording,
};
use crate::time::Instant;
use crate::transcription;
use bytes::Bytes;
use core::num::NonZeroU16;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

/// The recordings this process took.
#[derive(Debug)]
pub(super) struct Recordings {
    pub(super) works: Slab<Work, WorkKind>,
    known: BTreeSet<RecordingSid>,
    /// When those that were given back are to be tried again: each that comes before another round would.
    retries: BTreeSet<Instant>,
}

impl Recordings {
    pub(super) fn new() -> Self {
        let capacity = usize::try_from(limits::RECORDINGS_TAKEN_MAX).unwrap_or(usize::MAX);
        Self { works: Slab::new(capacity), known: BTreeSet::new(), retries: BTreeSet::new() }
    }

    /// How many more may be taken.
    pub(super) fn room(&self) -> u64 {
        limits::RECORDINGS_TAKEN_MAX.saturating_sub(self.works.len() as u64)
    }

    /// When the next one is to be tried again; those whose time has come are forgotten.
    pub(super) fn next_retry(&mut self, now: Instant) -> Option<Instant> {
        while self.retries.first().is_some_and(|at| *at <= now) {
            self.retries.pop_first();
        }
        self.retries.first().copied()
    }

    /// One is to be tried again after so long. What waits longer than for a round is found by one, so that these are
    /// only the times of a few seconds.
    fn retry(&mut self, now: Instant, wait: Duration) {
        if wait <= limits::RECORDINGS_ROUND {
            self.retries.insert(now + wait);
        }
    }

    fn remove(&mut self, key: WorkKey) -> Option<Work> {
        let work = self.works.remove(key)?;
        self.known.remove(&work.taken.recording);
        Some(work)
    }
}

/// A recording that is worked on.
#[derive(Debug)]
pub(super) struct Work {
    taken: TakenRecording,
    /// Which auth token is used: a 401 is tried again with the next one.
    token: usize,
    /// Who was asked for it last.
    asked: Keeper,
    /// What is still to be transcribed.
    parts: VecDeque<(u32, Part)>,
    /// Characters transcribed so far.
    chars: usize,
    /// Why a piece will never be transcribed.
    failure: Option<String>,
}

/// What of a recording one request takes.
#[derive(Debug)]
struct Part {
    from: Duration,
    to: Duration,
    near_silent: bool,
    silent: bool,
    sound: PartSound,
}

#[derive(Debug)]
enum PartSound {
    File(Kind, Bytes),
    Samples(Format, Bytes),
}

/// What requests can take of a file: a WAV is cut up in its pauses where it is long. An MP3, which Twilio gives only to
/// those who ask for it, cannot be cut, and goes as it is.
fn parts(file: &Bytes) -> Result<Vec<Part>, NotARecording> {
    if Kind::of(file) == Some(Kind::Mp3) && file.len() <= limits::CLIP_BYTES_MAX {
        let to = crate::audio::duration(file).unwrap_or_default();
        let sound = PartSound::File(Kind::Mp3, file.clone());
        return Ok(vec![Part { from: Duration::ZERO, to, near_silent: false, silent: false, sound }]);
    }
    let recording = Recording::read(file)?;
    let format = recording.format();
    let part = |piece: Piece| {
        let Piece { from, to, samples, near_silent, silent } = piece;
        Part { from, to, near_silent, silent, sound: PartSound::Samples(format, samples) }
    };
    Ok(recording.pieces().map(part).collect())
}

impl Part {
    /// Samples that are not of 16 bits become so.
    fn clip(self) -> OwnedClip {
        match self.sound {
            PartSound::File(kind, bytes) => OwnedClip::File(kind, bytes),
            PartSound::Samples(Format { encoding, rate, channels }, bytes) => {
                let channels = NonZeroU16::new(channels).unwrap_or(NonZeroU16::MIN);
                let format = wav::Format { hertz: rate, channels };
                let samples = match encoding {
                    Encoding::Pcm16 => bytes,
                    Encoding::MuLaw | Encoding::ALaw => {
                        encoding.samples(&bytes).flat_map(i16::to_le_bytes).collect::<Vec<u8>>().into()
                    }
                };
                OwnedClip::Samples(format, samples)
            }
        }
    }
}

impl Switchboard {
    /// What a process without a key knows of any recording's transcription. The announcement of the call says the same,
    /// but may have been lost with another process (T7). One that has a key may try it all the same.
    pub(super) fn nobody_will_listen(&self) -> Option<Job> {
        let error = Some(speech::NO_KEY.to_owned());
        let job = Job { state: JobState::Failed, attempts: 0, error, next_at: Some(self.now.unix) };
        self.transcription.is_none().then_some(job)
    }

    /// Recordings whose turn it is.
    pub(super) fn took_recordings(&mut self, taken: Vec<TakenRecording>, out: &mut Vec<Output>) {
        for taken in taken {
            let recording = taken.recording;
            if !self.recordings.known.insert(recording) {
                continue;
            }
            let work = Work { taken, token: 0, asked: Keeper::Twilio, parts: VecDeque::new(), chars: 0, failure: None };
            match self.recordings.works.insert(work) {
                Ok(key) => match self.speech.blocked(self.now.mono) {
                    Some((cause, wait)) => self.recording_later(key, wait, Later::Blocked, &cause, out),
                    None => self.download(key, out),
                },
                // More than was asked for: its row is free again when its time is over.
                Err(_) => {
                    self.recordings.known.remove(&recording);
                }
            }
        }
    }

    fn download(&mut self, key: WorkKey, out: &mut Vec<Output>) {
        let Some(work) = self.recordings.works.get(key) else { return };
        let Some(twilio) = &self.settings.config.twilio else {
            let cause = "no TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN to fetch the recording with";
            return self.recording_failed(key, cause, out);
        };
        let Some(authorization) = rest::authorization(twilio, work.token) else {
            let cause = "Twilio takes none of the tokens in TWILIO_AUTH_TOKEN for its recording";
            return self.recording_later(key, limits::BLOCKED_RETRY, Later::Blocked, cause, out);
        };
        let account = work.taken.account.unwrap_or(twilio.sid);
        let base = &self.settings.config.twilio_api_base;
        let request = rest::recording_audio(base, account, work.taken.recording, authorization);
        self.ask_for_audio(key, request, out);
    }

    fn ask_for_audio(&mut self, key: WorkKey, request: FetchRequest, out: &mut Vec<Output>) {
        match self.fetches.insert(Fetch::Recording(key)) {
            Ok(id) => out.push(Output::Fetch { id, request }),
            Err(_) => self.recording_later(
                key,
                limits::RECORDING_RETRY_MIN,
                Later::Outage,
                "too many requests under way",
                out,
            ),
        }
    }

    /// Twilio gave the recording, or not.
    pub(super) fn downloaded(
        &mut self,
        key: WorkKey,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let now = self.now.unix;
        let Some(work) = self.recordings.works.get_mut(key) else { return };
        let rest::Answer { outcome, detail } = rest::download_outcome(work.asked, now, result);
        let wait = transcription::retry_wait(work.taken.attempt, None, 0).max(limits::RECORDING_RETRY_MIN);
        match outcome {
            DownloadOutcome::Ready(file) => self.cut_up(key, &file, out),
            DownloadOutcome::Redirect(storage) => {
                work.asked = Keeper::Storage;
                self.ask_for_audio(key, rest::recording_redirected(&storage), out);
            }
            DownloadOutcome::Unauthorized => {
                work.token += 1;
                self.download(key, out);
            }
            DownloadOutcome::NotYet if work.taken.created_at + limits::RECORDING_READY_TIME <= now => {
                self.recording_failed(key, &detail, out);
            }
            DownloadOutcome::NotYet => self.recording_later(key, wait, Later::NotReady, &detail, out),
            DownloadOutcome::Outage { after } => {
                self.recording_later(key, after.unwrap_or(wait), Later::Outage, &detail, out);
            }
            DownloadOutcome::Forbidden => {
                self.recording_later(key, limits::BLOCKED_RETRY, Later::Blocked, &detail, out)
            }
            DownloadOutcome::Gone => self.recording_failed(key, &detail, out),
        }
    }

    fn cut_up(&mut self, key: WorkKey, file: &Bytes, out: &mut Vec<Output>) {
        let parts = match parts(file) {
            Ok(parts) => parts,
            Err(error) => return self.recording_failed(key, &error.to_string(), out),
        };
        let Some(work) = self.recordings.works.get_mut(key) else { return };
        let numbered = (1..).zip(parts).filter(|(number, _)| !work.taken.done.contains(number));
        work.parts = numbered.collect();
        self.next_part(key, out);
    }

    /// One part after the other: a recording takes one place in the queue, however long it is.
    fn next_part(&mut self, key: WorkKey, out: &mut Vec<Output>) {
        let Some(work) = self.recordings.works.get_mut(key) else { return };
        let Some((number, part)) = work.parts.pop_front() else { return self.recording_over(key, out) };
        let TakenRecording { call, recording, created_at, .. } = work.taken;
        let segment = SegmentKey { call, origin: Origin::Recording(recording), sequence: number };
        let fact = self.segment(segment, created_at + part.from, part.from, part.to);
        if part.silent {
            self.write_segment(fact, Job::done(1), out);
            return self.next_part(key, out);
        }
        if let Some((cause, wait)) = self.speech.blocked(self.now.mono) {
            return self.recording_later(key, wait, Later::Blocked, &cause, out);
        }
        if !self.piece(key, fact, part.near_silent, part.clip()) {
            let cause = "too much speech waits to be transcribed";
            self.recording_later(key, limits::BLOCKED_RETRY, Later::Outage, cause, out);
        }
    }

    /// A piece is stored, or will never be transcribed.
    pub(super) fn piece_over(&mut self, key: WorkKey, result: Result<usize, &str>, out: &mut Vec<Output>) {
        let Some(work) = self.recordings.works.get_mut(key) else { return };
        match result {
            Ok(chars) => work.chars += chars,
            Err(cause) => work.failure = Some(cause.to_owned()),
        }
        self.next_part(key, out);
    }

    fn recording_over(&mut self, key: WorkKey, out: &mut Vec<Output>) {
        let Some(work) = self.recordings.works.get(key) else { return };
        if let Some(failure) = work.failure.clone() {
            return self.recording_failed(key, &failure, out);
        }
        let (call, recording, chars) = (work.taken.call, work.taken.recording, work.chars);
        let attempts = work.taken.attempt;
        self.counters.recordings_transcribed += 1;
        let mut line = LogLine::new(Level::Info, Event::RecordingTranscribed).call(call).detail(recording);
        line.chars = Some(chars as u64);
        log(line, out);
        self.note(call, "recording_transcribed", recording, out);
        self.give_back(key, Job::done(attempts), out);
    }

    /// The recording will never be transcribed.
    fn recording_failed(&mut self, key: WorkKey, cause: &str, out: &mut Vec<Output>) {
        let Some(work) = self.recordings.works.get(key) else { return };
        let line = LogLine::new(Level::Error, Event::TranscriptionFailed).call(work.taken.call).reason("recording");
        log(line.cause(cause).detail(work.taken.recording), out);
        self.counters.transcriptions_failed += 1;
        let attempts = work.taken.attempt;
        let error = Some(cause.to_owned());
        self.give_back(key, Job { state: JobState::Failed, attempts, error, next_at: None }, out);
    }

    /// The recording is tried again then, by whoever takes it; for how long depends on its age.
    pub(super) fn recording_later(
        &mut self,
        key: WorkKey,
        wait: Duration,
        later: Later,
        cause: &str,
        out: &mut Vec<Output>,
    ) {
        let now = self.now.unix;
        let Some(work) = self.recordings.works.get(key) else { return };
        if work.taken.created_at + limits::AUDIO_AGE_MAX <= now {
            return self.recording_failed(key, &format!("tried for too long: {cause}"), out);
        }
        let wait = wait.max(transcription::retry_wait(work.taken.attempt, None, 0));
        let level = match later {
            Later::NotReady => Level::Debug,
            Later::Outage => Level::Warn,
            Later::Blocked if work.taken.failed => Level::Info,
            Later::Blocked => Level::Error,
        };
        let line = LogLine::new(level, Event::TranscriptionFailed).call(work.taken.call).reason("recording_later");
        log(line.cause(cause).detail(work.taken.recording), out);
        let state = if later == Later::Blocked || work.taken.failed { JobState::Failed } else { JobState::Waiting };
        let (attempts, error) = (work.taken.attempt, Some(cause.to_owned()));
        // The database's clock decides, and may be a little behind.
        self.recordings.retry(self.now.mono, wait + limits::INHERIT_WAIT);
        self.give_back(key, Job { state, attempts, error, next_at: Some(now + wait) }, out);
    }

    /// Writes how a try went into the recording's row, which frees it.
    fn give_back(&mut self, key: WorkKey, job: Job, out: &mut Vec<Output>) {
        let Some(work) = self.recordings.remove(key) else { return };
        let TakenRecording { recording, call, .. } = work.taken;
        let (at, node) = (self.now.unix, self.settings.node.clone());
        // The lowest state says nothing new of the recording itself.
        let state = RecordingState::InProgress;
        let fact = RecordingFact { recording, call, at, state, duration_seconds: None, node, job: Some(job) };
        self.database.add(Fact::Recording(fact), out);
        self.rounds.recordings = self.now.mono;
    }

    /// What to ask the database for, if there is room for more. While the service is out, only what is needed to try
    /// it; while it needs a person, all: their rows shall say so.
    pub(super) fn take_recordings(&self) -> Option<StoreCommand> {
        let limit = match self.speech.gate {
            _ if !self.speech.may_take(self.now.mono) => 0,
            Gate::Shut { blocked: false, .. } => self.recordings.room().min(1),
            Gate::Shut { blocked: true, .. } | Gate::Open => self.recordings.room(),
        };
        let node = self.settings.node.clone();
        (limit > 0 && self.transcription.is_some()).then_some(StoreCommand::TakeRecordings { node, limit })
    }
}
