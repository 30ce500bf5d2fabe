//! The files of utterances: what the disk says, and what other processes left (T5).

use super::super::database::FileKey;
use super::super::{Output, Switchboard, log};
use super::queue::{Job, JobKey, Kept, Sound, Step};
use crate::disk::{Content, DiskAnswer, DiskCommand, DiskError, Orphan, UtteranceFile};
use crate::id::DiskId;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::store::{Job as Standing, JobState, SegmentKey, WaitingSegment, spooled};

/// What a file command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum FileWork {
    /// Adopts the files of processes that are gone.
    Adopt,
    /// A job's file is written, read or removed.
    Of(JobKey),
    /// A job's text takes the place of its audio.
    Text(JobKey),
    /// Facts are written to a file (D3).
    Spool(FileKey),
    /// A file of facts is read.
    Unspool(String),
    /// Something is removed that nobody asks for any more.
    Remove,
}

impl Switchboard {
    /// Gives the disk a command.
    pub(in crate::switchboard) fn file(&mut self, work: FileWork, command: DiskCommand, out: &mut Vec<Output>) {
        match self.files.insert(work) {
            Ok(id) => out.push(Output::Disk { id, command }),
            // As many commands as jobs are under way: what is to be removed then stays until its age is over.
            Err(FileWork::Of(key)) => self.job_filed(key, Err(DiskError("too many file commands".to_owned())), out),
            Err(FileWork::Text(key)) => self.text_filed(key, false, out),
            Err(work @ (FileWork::Spool(_) | FileWork::Unspool(_))) => {
                self.facts_filed(work, &Err(DiskError("too many file commands".to_owned())), out);
            }
            Err(FileWork::Adopt | FileWork::Remove) => {}
        }
    }

    /// A file command is over.
    pub(in crate::switchboard) fn filed(
        &mut self,
        id: DiskId,
        result: Result<DiskAnswer, DiskError>,
        out: &mut Vec<Output>,
    ) {
        let Some(work) = self.files.remove(id) else { return };
        let failed = result.as_ref().err().map(|error| error.0.clone());
        self.disk_said(failed, out);
        match (work, result) {
            (FileWork::Adopt, Ok(DiskAnswer::Adopted(orphans))) => self.adopted(orphans),
            (FileWork::Adopt | FileWork::Remove, _) => {}
            (work @ (FileWork::Spool(_) | FileWork::Unspool(_)), result) => self.facts_filed(work, &result, out),
            (FileWork::Of(key), result) => self.job_filed(key, result, out),
            (FileWork::Text(key), result) => self.text_filed(key, result.is_ok(), out),
        }
    }

    /// Says once when the disk begins to fail, and when it works again.
    fn disk_said(&mut self, failed: Option<String>, out: &mut Vec<Output>) {
        match (failed, self.disk_fails) {
            (Some(cause), false) => {
                let line = LogLine::new(Level::Error, Event::TranscriptionFailed).reason("disk").cause(cause);
                log(
                    line.detail("DATA_DIR does not take speech: what is not transcribed is lost with the process"),
                    out,
                );
                self.disk_fails = true;
            }
            (None, true) => {
                let line = LogLine::new(Level::Info, Event::TranscriptionFailed).reason("disk_over");
                log(line.detail("DATA_DIR takes speech again"), out);
                self.disk_fails = false;
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    /// Facts are in a file, or were read from one, or could not be (D3).
    fn facts_filed(&mut self, work: FileWork, result: &Result<DiskAnswer, DiskError>, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let failed = result.as_ref().err().map(|error| error.0.as_str());
        match (work, result) {
            (FileWork::Spool(file), _) => self.database.spooled(file, failed, now, out),
            (FileWork::Unspool(name), Ok(DiskAnswer::Bytes(content))) => {
                self.database.unspooled(name, Ok(content), now, out);
            }
            (FileWork::Unspool(name), _) => {
                let cause = failed.unwrap_or("the disk has something else in its place");
                self.database.unspooled(name, Err(cause), now, out);
            }
            (FileWork::Adopt | FileWork::Of(_) | FileWork::Text(_) | FileWork::Remove, _) => {}
        }
    }

    fn job_filed(&mut self, key: JobKey, result: Result<DiskAnswer, DiskError>, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        match (job.step, result) {
            (Step::Keeping, result) => {
                if let (Sound::Live { kept, audio, .. }, Ok(_)) = (&mut job.sound, &result) {
                    let bytes = audio.as_ref().map_or(0, |audio| audio.len() as u64);
                    *kept = Some(Kept::Audio(bytes));
                    self.speech_on_disk += bytes;
                }
                self.speech.step(key, Step::Waiting(now));
                self.flush_speech(out);
                self.make_room_on_disk(out);
                // What could not leave at once waits in its file.
                if let Some(job) = self.speech.jobs.get_mut(key).filter(|job| matches!(job.step, Step::Waiting(_))) {
                    self.speech_in_memory -= job.drop_audio_that_is_kept();
                }
            }
            (Step::Reading, Ok(DiskAnswer::Bytes(bytes))) => match &mut job.sound {
                Sound::Live { kept: Some(Kept::Text), .. } => {
                    job.fact.text = String::from_utf8_lossy(&bytes).into_owned();
                    job.fact.job = Standing::done(job.fact.job.attempts.saturating_add(1));
                    job.transcribed = true;
                    self.speech.step(key, Step::Told);
                }
                Sound::Live { audio, .. } => {
                    self.speech_in_memory += bytes.len();
                    *audio = Some(bytes);
                    self.send(key, out);
                }
                Sound::Piece { .. } => {}
            },
            (Step::Reading, Ok(DiskAnswer::Done | DiskAnswer::Adopted(_))) => {
                self.give_up_on(key, "the disk has something else in its file", out);
            }
            (Step::Reading, Err(error)) => {
                let cause = format!("its file cannot be read: {error}");
                self.try_later(key, limits::BLOCKED_RETRY, true, &cause, out);
            }
            (Step::Leaving, _) => {
                self.speech.remove(key);
            }
            (Step::Waiting(_) | Step::Sent | Step::Told | Step::Storing, _) => {}
        }
    }

    /// The text of a job is in its file in place of the audio, or could not be written and the audio stays.
    fn text_filed(&mut self, key: JobKey, written: bool, out: &mut Vec<Output>) {
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        let step = job.step;
        let Sound::Live { file, kept, rewriting, .. } = &mut job.sound else { return };
        *rewriting = false;
        if let (true, Some(Kept::Audio(bytes))) = (written, *kept) {
            self.speech_on_disk -= bytes;
            *kept = Some(Kept::Text);
        }
        let (file, kept) = (*file, *kept);
        if step == Step::Leaving {
            self.leave(key, &file, kept, out);
        }
    }

    /// A job is done with: its file goes, and then the job.
    pub(super) fn leave(&mut self, key: JobKey, file: &UtteranceFile, kept: Option<Kept>, out: &mut Vec<Output>) {
        match self.not_kept(file, kept) {
            Some(name) => self.file(FileWork::Of(key), DiskCommand::Remove { name }, out),
            None => drop(self.speech.remove(key)),
        }
    }

    /// A file is of no more use: its name, if there is one.
    pub(super) fn not_kept(&mut self, file: &UtteranceFile, kept: Option<Kept>) -> Option<String> {
        if let Some(Kept::Audio(bytes)) = kept {
            self.speech_on_disk -= bytes;
        }
        kept.map(|kept| file.name(kept.content()))
    }

    /// The oldest speech gives way when too much of it is kept.
    fn make_room_on_disk(&mut self, out: &mut Vec<Output>) {
        while self.speech_on_disk > limits::SPEECH_ON_DISK_MAX {
            let kept = |job: &Job| matches!(job.sound, Sound::Live { kept: Some(Kept::Audio(_)), .. });
            let waiting = self.speech.waiting().filter_map(|key| self.speech.jobs.get(key).map(|job| (key, job)));
            let oldest = waiting.filter(|(_, job)| kept(job)).min_by_key(|(_, job)| job.fact.started_at);
            let Some(key) = oldest.map(|(key, _)| key) else { return };
            self.give_up_on(key, "newer speech took its place: too much of it is kept in DATA_DIR", out);
        }
    }

    /// What processes that are gone left: their files become jobs of this one, and their rows are looked through.
    fn adopted(&mut self, orphans: Vec<Orphan>) {
        for Orphan { node, files } in orphans {
            let (facts, speech): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| spooled::is_one(name));
            facts.into_iter().for_each(|(name, _)| self.database.found_spooled(name));
            self.adoptees.extend(speech);
            self.renewals.is_gone(&node, self.now.mono);
            if !self.inherit.contains(&node) {
                self.inherit.push_back(node);
            }
        }
    }

    /// Keeps the texts that a database which is down does not take, makes jobs of files, and removes what is of no more
    /// use: some at a time, the rest has its turn at once.
    pub(in crate::switchboard) fn flush_files(&mut self, out: &mut Vec<Output>) {
        for _ in 0..limits::FILES_PER_TURN_MAX {
            let told = if self.database.is_up() { None } else { self.speech.take_told_anew() };
            let Some(key) = told else { break };
            self.keep_text(key, out);
        }
        for _ in 0..limits::FILES_PER_TURN_MAX {
            let Some((name, bytes)) = self.adoptees.pop_front() else { break };
            match UtteranceFile::parse(&name) {
                Some((_, Content::Audio)) => self.unproven.push_back((name, bytes)),
                Some((_, Content::Text)) => self.adopt(&name, bytes, out),
                // A file that is none of ours is somebody's, and left alone.
                None => {}
            }
        }
        for _ in 0..limits::FILES_PER_TURN_MAX {
            let Some(name) = self.useless.pop_front() else { break };
            self.file(FileWork::Remove, DiskCommand::Remove { name }, out);
        }
    }

    /// Writes what a database that is down does not take, reads what was written once it is wanted, and removes what is
    /// of no more use (D3).
    pub(in crate::switchboard) fn flush_spool(&mut self, out: &mut Vec<Output>) {
        let now = self.now.mono;
        for _ in 0..limits::FILES_PER_TURN_MAX {
            let Some(name) = self.database.next_useless() else { break };
            self.file(FileWork::Remove, DiskCommand::Remove { name }, out);
        }
        if let Some((file, name, bytes)) = self.database.next_to_spool(&self.settings.node, now) {
            let write = DiskCommand::Write { name, bytes, instead_of: None, synced: true };
            self.file(FileWork::Spool(file), write, out);
        }
        if let Some(name) = self.database.next_to_read(now) {
            self.file(FileWork::Unspool(name.clone()), DiskCommand::Read { name }, out);
        }
    }

    /// Whether [`Self::flush_files`] has more to do.
    pub(in crate::switchboard) fn has_files(&self) -> bool {
        let texts = !self.database.is_up() && self.speech.has_told_anew();
        texts || !self.adoptees.is_empty() || !self.useless.is_empty()
    }

    /// The database said which of these segments are done: their process was killed before it could remove their
    /// audio, which nobody has to transcribe again. The others become jobs.
    pub(in crate::switchboard) fn proven(
        &mut self,
        files: Vec<(String, u64)>,
        done: &[SegmentKey],
        out: &mut Vec<Output>,
    ) {
        for (name, bytes) in files {
            if UtteranceFile::parse(&name).is_some_and(|(file, _)| done.contains(&file.key())) {
                self.useless.push_back(name);
            } else {
                self.adopt(&name, bytes, out);
            }
        }
    }

    fn adopt(&mut self, name: &str, bytes: u64, out: &mut Vec<Output>) {
        let Some((file, content)) = UtteranceFile::parse(name) else { return };
        let fact = self.segment(file.key(), file.started_at, file.from, file.to);
        let (kept, step) = match content {
            Content::Audio => (Kept::Audio(bytes), Step::Waiting(self.now.mono)),
            Content::Text => (Kept::Text, Step::Told),
        };
        let sound = Sound::Live { file, kept: Some(kept), audio: None, rewriting: false };
        let near_silent = file.near_silent;
        match self.speech.add(Job { fact, near_silent, sound, transcribed: false, step }) {
            Ok(key) => {
                if let Kept::Audio(bytes) = kept {
                    self.speech_on_disk += bytes;
                }
                self.counters.utterances_adopted += 1;
                self.say_how_it_stands(key, out);
                self.make_room_on_disk(out);
            }
            // Both of its files are there, or one process left it to another: once is enough.
            Err(job) if self.speech.knows(job.fact.key) => self.useless.push_back(name.to_owned()),
            Err(_) => {}
        }
    }

    /// Gives up some of what has been kept for too long (T5). Whether there may be more.
    pub(in crate::switchboard) fn drop_what_is_too_old(&mut self, out: &mut Vec<Output>) -> bool {
        let now = self.now.unix;
        let old = |job: &Job| job.fact.started_at + limits::AUDIO_AGE_MAX <= now;
        let waiting = self.speech.waiting().filter(|key| self.speech.jobs.get(*key).is_some_and(old));
        let some: Vec<JobKey> = waiting.take(limits::FILES_PER_TURN_MAX).collect();
        for key in &some {
            let last = self.speech.jobs.get(*key).and_then(|job| job.fact.job.error.clone()).unwrap_or_default();
            self.give_up_on(*key, &format!("kept for too long: {last}"), out);
        }
        some.len() == limits::FILES_PER_TURN_MAX
    }

    /// The rows that wait for a process that is gone: those without a file are lost.
    pub(in crate::switchboard) fn inherited(
        &mut self,
        node: &str,
        segments: Vec<WaitingSegment>,
        out: &mut Vec<Output>,
    ) {
        let more = segments.len() as u64 >= limits::SEGMENTS_FOUND_MAX;
        for segment in segments.into_iter().filter(|segment| !self.speech.knows(segment.key)).collect::<Vec<_>>() {
            let cause = if segment.key.sequence == 0 {
                "the server stopped while the caller was on a stream: what was being said is lost"
            } else {
                "its audio was lost with the server that heard it"
            };
            self.segment_lost(segment, cause.to_owned(), out);
        }
        if more {
            // Once these are written.
            self.inherit.push_back(node.to_owned());
            self.rounds.inherit = self.now.mono + limits::INHERIT_WAIT;
        } else {
            self.file(FileWork::Remove, DiskCommand::Bury { node: node.to_owned() }, out);
        }
    }

    /// Segments whose process has forgotten them, or never came back.
    pub(in crate::switchboard) fn stale(&mut self, segments: Vec<WaitingSegment>, out: &mut Vec<Output>) {
        for segment in segments.into_iter().filter(|segment| !self.speech.knows(segment.key)).collect::<Vec<_>>() {
            let cause = format!("audio on node {}, which did not come back", segment.node);
            self.segment_lost(segment, cause, out);
        }
    }

    fn segment_lost(&mut self, segment: WaitingSegment, cause: String, out: &mut Vec<Output>) {
        let WaitingSegment { key, started_at, from, to, .. } = segment;
        let line = LogLine::new(Level::Error, Event::TranscriptionFailed).call(key.call).reason("lost").cause(&cause);
        log(line, out);
        self.counters.transcriptions_failed += 1;
        let fact = self.segment(key, started_at, from, to);
        let failed = Standing { state: JobState::Failed, error: Some(cause), ..Standing::waiting() };
        self.write_segment(fact, failed, out);
    }
}
