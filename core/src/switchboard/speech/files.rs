//! The files of utterances: what the disk says, and what other processes left (T5).

use super::super::{Output, Switchboard, log};
use super::queue::{Job, JobKey, Sound, Step};
use crate::disk::{Content, DiskAnswer, DiskCommand, DiskError, Orphan, UtteranceFile};
use crate::id::DiskId;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::store::{Job as Standing, JobState, WaitingSegment};
use core::time::Duration;

/// What a file command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum FileWork {
    /// Adopts the files of processes that are gone.
    Adopt,
    /// A job's file is written, read or removed.
    Of(JobKey),
    /// A job's text takes the place of its audio.
    Text(JobKey),
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
            (FileWork::Adopt, Ok(DiskAnswer::Adopted(orphans))) => self.adopted(orphans, out),
            (FileWork::Adopt | FileWork::Remove, _) => {}
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

    fn job_filed(&mut self, key: JobKey, result: Result<DiskAnswer, DiskError>, out: &mut Vec<Output>) {
        let now = self.now.mono;
        let Some(job) = self.speech.jobs.get_mut(key) else { return };
        match (job.step, result) {
            (Step::Keeping, result) => {
                if let (Sound::Live { kept, audio, .. }, Ok(_)) = (&mut job.sound, &result) {
                    *kept = Some(Content::Audio);
                    self.speech_on_disk += audio.as_ref().map_or(0, |audio| audio.len() as u64);
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
                Sound::Live { kept: Some(Content::Text), .. } => {
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
        let file = *file;
        if written && *kept == Some(Content::Audio) {
            *kept = Some(Content::Text);
            self.speech_on_disk = self.speech_on_disk.saturating_sub(bytes_of(&file));
        }
        let kept = *kept;
        if step == Step::Leaving {
            self.leave(key, &file, kept, out);
        }
    }

    /// A job is done with: its file goes, and then the job.
    pub(super) fn leave(&mut self, key: JobKey, file: &UtteranceFile, kept: Option<Content>, out: &mut Vec<Output>) {
        let Some(content) = kept else {
            self.speech.remove(key);
            return;
        };
        if content == Content::Audio {
            self.speech_on_disk = self.speech_on_disk.saturating_sub(bytes_of(file));
        }
        self.file(FileWork::Of(key), DiskCommand::Remove { name: file.name(content) }, out);
    }

    /// Removes the file of a job that was given up.
    pub(super) fn remove_file(&mut self, file: &UtteranceFile, kept: Option<Content>, out: &mut Vec<Output>) {
        if let Some(content) = kept {
            if content == Content::Audio {
                self.speech_on_disk = self.speech_on_disk.saturating_sub(bytes_of(file));
            }
            self.file(FileWork::Remove, DiskCommand::Remove { name: file.name(content) }, out);
        }
    }

    /// The oldest speech gives way when too much of it is kept.
    fn make_room_on_disk(&mut self, out: &mut Vec<Output>) {
        while self.speech_on_disk > limits::SPEECH_ON_DISK_MAX {
            let kept = |job: &Job| matches!(job.sound, Sound::Live { kept: Some(Content::Audio), .. });
            let waiting = self.speech.waiting().filter_map(|key| self.speech.jobs.get(key).map(|job| (key, job)));
            let oldest = waiting.filter(|(_, job)| kept(job)).min_by_key(|(_, job)| job.fact.started_at);
            let Some(key) = oldest.map(|(key, _)| key) else { return };
            self.give_up_on(key, "newer speech took its place: too much of it is kept in DATA_DIR", out);
        }
    }

    /// What processes that are gone left: their files become jobs of this one, and their rows are looked through.
    fn adopted(&mut self, orphans: Vec<Orphan>, out: &mut Vec<Output>) {
        for Orphan { node, mut files } in orphans {
            // A text comes before the audio whose place it was about to take: nobody has to transcribe that again.
            files.sort_by_key(|(name, _)| UtteranceFile::parse(name).is_some_and(|(_, kept)| kept == Content::Audio));
            for (name, bytes) in files {
                self.adopt(&name, bytes, out);
            }
            if !self.inherit.contains(&node) {
                self.inherit.push_back(node);
            }
        }
        self.drop_what_is_too_old(out);
        self.make_room_on_disk(out);
    }

    fn adopt(&mut self, name: &str, bytes: u64, out: &mut Vec<Output>) {
        // A file that is none of ours is somebody's, and left alone.
        let Some((file, content)) = UtteranceFile::parse(name) else { return };
        let fact = self.segment(file.key(), file.started_at, file.from, file.to);
        let step = match content {
            Content::Audio => Step::Waiting(self.now.mono),
            Content::Text => Step::Told,
        };
        let sound = Sound::Live { file, kept: Some(content), audio: None, rewriting: false };
        let near_silent = file.near_silent;
        match self.speech.add(Job { fact, near_silent, sound, transcribed: false, step }) {
            Ok(key) => {
                if content == Content::Audio {
                    self.speech_on_disk += bytes;
                }
                self.counters.utterances_adopted += 1;
                self.say_how_it_stands(key, out);
            }
            // Both of its files are there, or one process left it to another: once is enough.
            Err(job) if self.speech.knows(job.fact.key) => self.file(FileWork::Remove, remove(name), out),
            Err(_) => {}
        }
    }

    /// Gives up what has been kept for too long (T5).
    pub(in crate::switchboard) fn drop_what_is_too_old(&mut self, out: &mut Vec<Output>) {
        let now = self.now.unix;
        let old = |job: &Job| job.fact.started_at + limits::AUDIO_AGE_MAX <= now;
        let waiting = self.speech.waiting().filter(|key| self.speech.jobs.get(*key).is_some_and(old));
        for key in waiting.collect::<Vec<_>>() {
            let last = self.speech.jobs.get(key).and_then(|job| job.fact.job.error.clone()).unwrap_or_default();
            self.give_up_on(key, &format!("kept for too long: {last}"), out);
        }
    }

    /// The rows that wait for a process that is gone: those without a file are lost. `more` when there are others.
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
            self.inherit.push_back(node.to_owned());
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

fn remove(name: &str) -> DiskCommand {
    DiskCommand::Remove { name: name.to_owned() }
}

/// Bytes of an utterance's audio: eight for a millisecond.
fn bytes_of(file: &UtteranceFile) -> u64 {
    let length: Duration = file.to.saturating_sub(file.from);
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).saturating_mul(8)
}
