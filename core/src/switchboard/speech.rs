//! From an utterance to its row (T1, T4-T6): kept in a file, sent, stored, and the file removed.
//!
//! ```text
//!   spoken ──▶ keeping ──▶ waiting ◀──────────┐
//!                            │  ▲             │ outage, blocked
//!                            ▼  │ read        │
//!                         reading ──▶ sent ───┤
//!                                             │ text
//!   gone ◀── leaving ◀── storing ◀── told ◀───┘
//! ```
//!
//! A piece of a recording goes the same way, but for the file: its sound can be had again from Twilio.

mod files;
mod queue;

pub(super) use files::FileWork;
pub(super) use queue::{Gate, JobKey, Later, OwnedClip, Queue, WorkKey, WorkKind};

use super::database::Taken;
use super::{Fetch, Output, Switchboard, log};
use crate::disk::{Content, DiskCommand, UtteranceFile};
use crate::fetch::{FetchError, FetchResponse};
use crate::id::StreamId;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::rest::Answer;
use crate::speech::Utterance;
use crate::store::{Fact, Job as Standing, JobState, Origin, SegmentFact, SegmentKey, TranscriptStart};
use crate::time::UnixMillis;
use crate::transcription::{self, Clip, Outcome};
use core::time::Duration;
use queue::{Job, Kept, Sound, Step};

/// Why nothing is transcribed without one.
pub(super) const NO_KEY: &str = "OPENAI_API_KEY is not set";

impl Switchboard {
    /// What the transcript of a new call begins as.
    pub(super) const fn transcript_start(&self) -> TranscriptStart {
        if self.transcription.is_some() { TranscriptStart::Pending } else { TranscriptStart::Disabled }
    }

    /// What is known of a segment that waits.
    pub(super) fn segment(&self, key: SegmentKey, started_at: UnixMillis, from: Duration, to: Duration) -> SegmentFact {
        let (at, node) = (self.now.unix, self.settings.node.clone());
        SegmentFact { key, at, node, started_at, from, to, job: Standing::waiting(), text: String::new() }
    }

    pub(super) fn write_segment(&mut self, mut fact: SegmentFact, job: Standing, out: &mut Vec<Output>) {
        (fact.at, fact.job) = (self.now.unix, job);
        self.database.add(Fact::Segment(Box::new(fact)), out);
    }

    /// Notes that a stream is listened to, or was to its end: its segment 0.
    pub(super) fn listening(&mut self, id: StreamId, ended: bool, out: &mut Vec<Output>) {
        let Some(heard) = self.streams.get(id).and_then(|stream| stream.heard) else { return };
        if self.transcription.is_none() {
            return;
        }
        let key = SegmentKey { call: heard.call, origin: Origin::Stream(heard.stream), sequence: 0 };
        let fact = self.segment(key, heard.since, Duration::ZERO, Duration::ZERO);
        let job = if ended { Standing::done(0) } else { Standing::waiting() };
        self.write_segment(fact, job, out);
    }

    /// A caller said something.
    pub(super) fn spoken(&mut self, id: StreamId, sequence: u32, utterance: Utterance, out: &mut Vec<Output>) {
        let Some(heard) = self.streams.get(id).and_then(|stream| stream.heard) else { return };
        let Utterance { from, to, audio, near_silent } = utterance;
        let (call, stream, started_at) = (heard.call, heard.stream, heard.since + from);
        let file = UtteranceFile { call, stream, sequence, started_at, from, to, near_silent };
        let fact = self.segment(file.key(), started_at, from, to);
        self.counters.utterances += 1;
        if self.speech_in_memory + audio.len() > limits::SPEECH_MEMORY_MAX {
            return self.cannot_be_kept(fact, "the disk does not take speech and the memory for it is full", out);
        }
        self.speech_in_memory += audio.len();
        let write = DiskCommand::Write {
            name: file.name(Content::Audio),
            bytes: audio.clone(),
            instead_of: None,
            synced: false,
        };
        let sound = Sound::Live { file, kept: None, audio: Some(audio), rewriting: false };
        match self.speech.add(Job { fact, near_silent, sound, transcribed: false, step: Step::Keeping }) {
            Ok(key) => {
                self.say_how_it_stands(key, out);
                self.file(FileWork::Of(key), write, out);
            }
            Err(job) => {
                self.speech_in_memory -= job.bytes_in_memory();
                self.cannot_be_kept(job.fact, "too much speech waits to be transcribed", out);
            }
        }
    }

    fn cannot_be_kept(&mut self, fact: SegmentFact, cause: &str, out: &mut Vec<Output>) {
        let line = LogLine::new(Level::Error, Event::TranscriptionFailed).call(fact.key.call).reason("no_room");
        log(line.cause(cause), out);
        self.counters.transcriptions_failed += 1;
        let failed = Standing { state: JobState::Failed, error: Some(cause.to_owned()), ..Standing::waiting() };
        self.write_segment(fact, failed, out);
    }

    /// Writes a job's row: where it stands, and behind a gate that needs a person, that it has failed so far.
    fn say_how_it_stands(&mut self, key: JobKey, out: &mut Vec<Output>) {
        let gate = self.speech.needs_a_person().map(str::to_owned);
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        if let (Some(cause), Sound::Live { .. }) = (gate, &job.sound) {
            (job.fact.job.state, job.fact.job.error) = (JobState::Failed, Some(cause));
        }
        let fact = job.fact.clone();
        let standing = fact.job.clone();
        self.write_segment(fact, standing, out);
    }

    /// A piece of a recording is to be transcribed; `false` when there is no room for it.
    pub(super) fn piece(&mut self, work: WorkKey, fact: SegmentFact, near_silent: bool, clip: OwnedClip) -> bool {
        let (sound, step) = (Sound::Piece { work, clip }, Step::Waiting(self.now.mono));
        self.speech.add(Job { fact, near_silent, sound, transcribed: false, step }).is_ok()
    }

    /// Sends what may be sent, and stores what is transcribed; what the database does not take is kept by
    /// [`Self::flush_files`].
    pub(super) fn flush_speech(&mut self, out: &mut Vec<Output>) {
        while let Some(key) = self.speech.next_told().filter(|_| self.database.takes_texts()) {
            self.store_text(key, out);
        }
        while let Some(key) = self.speech.next(self.now.mono) {
            self.send_or_read(key, out);
        }
    }

    fn send_or_read(&mut self, key: JobKey, out: &mut Vec<Output>) {
        let Some(job) = self.speech.jobs.get(key) else { return };
        match &job.sound {
            Sound::Live { file, kept, audio: None, .. } => {
                let name = file.name(kept.map_or(Content::Audio, Kept::content));
                self.speech.step(key, Step::Reading);
                self.file(FileWork::Of(key), DiskCommand::Read { name }, out);
            }
            Sound::Live { .. } | Sound::Piece { .. } => self.send(key, out),
        }
    }

    /// Sends a job whose sound is in memory.
    fn send(&mut self, key: JobKey, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let Some(job) = self.speech.jobs.get(key) else { return };
        // Without a service the gate is shut for good.
        let Some(service) = &self.transcription else { return };
        let clip = match &job.sound {
            Sound::Live { audio, .. } => Clip::MuLaw(audio.as_deref().unwrap_or_default()),
            Sound::Piece { clip, .. } => clip.borrowed(),
        };
        let request = service.request(&clip);
        let Ok(id) = self.fetches.insert(Fetch::Transcription(key, self.speech.shut_count())) else {
            return self.speech.step(key, Step::Waiting(now + limits::NO_ROOM_WAIT));
        };
        self.speech.step(key, Step::Sent);
        out.push(Output::Fetch { id, request });
    }

    /// The service answered, or did not.
    pub(super) fn transcribed(
        &mut self,
        key: JobKey,
        shut_count: u32,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let now = self.now.mono;
        let Some(service) = &self.transcription else { return };
        let Answer { outcome, detail } = service.outcome(self.now.unix, result);
        match outcome {
            Outcome::Text(text) => {
                self.service_answered(shut_count, out);
                self.take_text(key, text);
            }
            Outcome::Refused => {
                self.service_answered(shut_count, out);
                self.give_up_on(key, &detail, out);
            }
            Outcome::Outage { after } => {
                let spread = self.speech.jobs.get(key).map_or(0, |job| spread(&job.fact));
                let wait = transcription::retry_wait(self.speech.tries(), after, spread);
                let news = self.speech.failed(shut_count, &detail, false, now + wait);
                self.service_failed(news, Level::Warn, "outage", &detail, out);
                self.try_later(key, wait, false, &detail, out);
            }
            Outcome::Blocked => {
                let wait = limits::BLOCKED_RETRY;
                let news = self.speech.failed(shut_count, &detail, true, now + wait);
                self.service_failed(news, Level::Error, "blocked", &detail, out);
                self.try_later(key, wait, true, &detail, out);
                if news {
                    self.all_failed_so_far(wait, &detail, out);
                }
            }
        }
    }

    fn service_answered(&mut self, shut_count: u32, out: &mut Vec<Output>) {
        self.openai.used(true, self.now.mono);
        if self.speech.answered(shut_count, self.now.mono) {
            let waiting = self.speech.waiting().count() as u64;
            let line = LogLine::new(Level::Info, Event::TranscriptionFailed).reason("over").count(waiting);
            log(line.detail("the transcription service answers again; what waited is sent"), out);
        }
    }

    /// Says once what keeps the service from answering; each job's row says it too.
    fn service_failed(&mut self, news: bool, level: Level, reason: &str, cause: &str, out: &mut Vec<Output>) {
        self.openai.used(false, self.now.mono);
        if news {
            let waiting = self.speech.jobs.len() as u64;
            let line = LogLine::new(level, Event::TranscriptionFailed).reason(reason).cause(cause).count(waiting);
            log(line.detail("speech is kept and tried again until the service takes it"), out);
        }
    }

    /// A person has to act: until then everything that waits says why there is no text of it.
    fn all_failed_so_far(&mut self, wait: Duration, cause: &str, out: &mut Vec<Output>) {
        for key in self.speech.waiting().collect::<Vec<_>>() {
            let Some(job) = self.speech.jobs.get(key) else { continue };
            match job.sound {
                Sound::Piece { .. } => self.try_later(key, wait, true, cause, out),
                Sound::Live { .. } if job.fact.job.state != JobState::Failed => self.say_how_it_stands(key, out),
                Sound::Live { .. } => {}
            }
        }
    }

    /// A job's text came. It is dropped where a model made it of near-silence (T6).
    fn take_text(&mut self, key: JobKey, text: String) {
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        let invented = job.near_silent && transcription::is_stock_phrase(&text);
        self.counters.stock_phrases_dropped += u64::from(invented);
        job.fact.text = if invented { String::new() } else { text };
        job.fact.job = Standing::done(job.fact.job.attempts.saturating_add(1));
        job.transcribed = true;
        self.speech_in_memory -= job.drop_audio();
        self.speech.step(key, Step::Told);
    }

    pub(super) fn try_later(&mut self, key: JobKey, wait: Duration, blocked: bool, cause: &str, out: &mut Vec<Output>) {
        let (now, unix) = (self.now.mono, self.now.unix);
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        if let Sound::Piece { work, .. } = job.sound {
            self.speech.remove(key);
            let later = if blocked { Later::Blocked } else { Later::Outage };
            return self.recording_later(work, wait, later, cause, out);
        }
        let wait = wait.max(transcription::retry_wait(job.fact.job.attempts, None, spread(&job.fact)));
        let state = if blocked { JobState::Failed } else { job.fact.job.state };
        let attempts = job.fact.job.attempts.saturating_add(1);
        job.fact.job = Standing { state, attempts, error: Some(cause.to_owned()), next_at: Some(unix + wait) };
        self.speech_in_memory -= job.drop_audio_that_is_kept();
        self.speech.step(key, Step::Waiting(now + wait));
        self.say_how_it_stands(key, out);
    }

    /// A job's audio will never be transcribed.
    pub(super) fn give_up_on(&mut self, key: JobKey, cause: &str, out: &mut Vec<Output>) {
        let Some(job) = self.speech.remove(key) else { return };
        let line = LogLine::new(Level::Error, Event::TranscriptionFailed).call(job.fact.key.call).reason("given_up");
        log(line.cause(cause), out);
        self.counters.transcriptions_failed += 1;
        self.speech_in_memory -= job.bytes_in_memory();
        let attempts = job.fact.job.attempts.saturating_add(1);
        let failed = Standing { state: JobState::Failed, attempts, error: Some(cause.to_owned()), next_at: None };
        // A text that the database refused would take the news of its failure with it.
        self.write_segment(SegmentFact { text: String::new(), ..job.fact }, failed, out);
        match job.sound {
            Sound::Live { file, kept, .. } => {
                let name = self.not_kept(&file, kept);
                self.useless.extend(name);
            }
            Sound::Piece { work, .. } => self.piece_over(work, Err(cause), out),
        }
    }

    /// Hands a text to the database, or reads it first where it is in a file that a process left.
    fn store_text(&mut self, key: JobKey, out: &mut Vec<Output>) {
        let (at, node) = (self.now.unix, &self.settings.node);
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        if let (Sound::Live { file, .. }, false) = (&job.sound, job.transcribed) {
            let name = file.name(Content::Text);
            self.speech.step(key, Step::Reading);
            return self.file(FileWork::Of(key), DiskCommand::Read { name }, out);
        }
        job.fact.at = at;
        node.clone_into(&mut job.fact.node);
        let fact = Fact::Segment(Box::new(job.fact.clone()));
        self.speech.step(key, Step::Storing);
        self.database.store_text(key, fact, out);
    }

    /// The database took a text, or not.
    pub(super) fn text_stored(&mut self, key: JobKey, taken: Taken, out: &mut Vec<Output>) {
        let Some(job) = self.speech.jobs.get(key) else { return };
        match taken {
            Taken::Yes => {}
            Taken::NotNow => return self.speech.step(key, Step::Told),
            Taken::Never => return self.give_up_on(key, "the database refused its text", out),
        }
        let chars = job.fact.text.chars().count();
        match &job.sound {
            Sound::Live { file, kept, rewriting, .. } => {
                self.counters.utterances_transcribed += 1;
                let mut line = LogLine::new(Level::Info, Event::UtteranceTranscribed).call(job.fact.key.call);
                (line.stream_sid, line.chars) = (Some(file.stream), Some(chars as u64));
                log(line, out);
                let (file, kept, rewriting) = (*file, *kept, *rewriting);
                self.speech.step(key, Step::Leaving);
                if !rewriting {
                    self.leave(key, &file, kept, out);
                }
            }
            Sound::Piece { work, .. } => {
                let work = *work;
                self.speech.remove(key);
                self.piece_over(work, Ok(chars), out);
            }
        }
    }

    /// The database does not take a text now: the file holds it from now on in place of the audio, so that nobody has
    /// to transcribe it again (T5).
    pub(super) fn keep_text(&mut self, key: JobKey, out: &mut Vec<Output>) {
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        if let Sound::Live { file, kept: Some(Kept::Audio(_)), rewriting: rewriting @ false, .. } = &mut job.sound {
            *rewriting = true;
            let write = DiskCommand::Write {
                name: file.name(Content::Text),
                bytes: job.fact.text.clone().into(),
                instead_of: Some(file.name(Content::Audio)),
                synced: false,
            };
            self.file(FileWork::Text(key), write, out);
        }
    }
}

/// A number that differs between jobs, so that those which failed together do not come back together.
fn spread(fact: &SegmentFact) -> u64 {
    u64::try_from(fact.from.as_millis()).unwrap_or(u64::MAX)
}
