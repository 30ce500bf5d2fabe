//! What waits to be transcribed, and when the next one may be sent: a plain data structure without effects.
//!
//! While the service answers, [`limits::TRANSCRIPTIONS_MAX`] requests are under way. Once it fails, the *gate* shuts: one
//! request at a time tries it, after waits that grow, and whatever else comes waits behind the gate. The first success
//! opens it. So an outage costs a few requests however long it lasts, and ends without anybody's help.
//!
//! A job that failed waits by how often it has: one that the service always stumbles over holds nobody up, and is not
//! sent again with each success of another.

use crate::audio::{Kind, wav};
use crate::disk::{Content, UtteranceFile};
use crate::key::{Key, Slab};
use crate::limits;
use crate::store::{SegmentFact, SegmentKey};
use crate::time::Instant;
use crate::transcription::Clip;
use bytes::Bytes;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// Marker of [`WorkKey`].
#[derive(Debug)]
pub(in crate::switchboard) struct WorkKind;

/// Names a recording that is worked on.
pub(in crate::switchboard) type WorkKey = Key<WorkKind>;

/// Names a job of the queue.
pub(in crate::switchboard) type JobKey = Key<Job>;

/// A stretch of speech that is to be transcribed and stored.
#[derive(Debug)]
pub(in crate::switchboard) struct Job {
    /// What its row is told; its job and text change as it goes on.
    pub(in crate::switchboard) fact: SegmentFact,
    /// Whether a stock phrase in its text is not to be believed (T6).
    pub(in crate::switchboard) near_silent: bool,
    /// Its sound.
    pub(in crate::switchboard) sound: Sound,
    /// Its text is known and waits for the database.
    pub(in crate::switchboard) transcribed: bool,
    /// What is under way for it.
    pub(in crate::switchboard) step: Step,
}

/// Where the sound of a job is.
#[derive(Debug)]
pub(in crate::switchboard) enum Sound {
    /// A live utterance: in a file of this process, in memory, or in both.
    Live {
        /// Names its file.
        file: UtteranceFile,
        /// What the file holds; `None` while there is none.
        kept: Option<Kept>,
        /// The mu-law bytes, while they are in memory.
        audio: Option<Bytes>,
        /// Its text is being written to its file.
        rewriting: bool,
    },
    /// A piece of a recording that is in memory.
    Piece {
        /// The recording.
        work: WorkKey,
        /// The piece.
        clip: OwnedClip,
    },
}

/// Sound in the form it is sent in.
#[derive(Debug)]
pub(in crate::switchboard) enum OwnedClip {
    /// A file as it is.
    File(Kind, Bytes),
    /// 16-bit samples.
    Samples(wav::Format, Bytes),
}

impl OwnedClip {
    pub(in crate::switchboard) fn borrowed(&self) -> Clip<'_> {
        match self {
            Self::File(kind, bytes) => Clip::File { kind: *kind, bytes },
            Self::Samples(format, bytes) => Clip::Samples { format: *format, bytes },
        }
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum Kept {
    /// The audio, of so many bytes.
    Audio(u64),
    /// The text.
    Text,
}

impl Kept {
    pub(in crate::switchboard) const fn content(self) -> Content {
        match self {
            Self::Audio(_) => Content::Audio,
            Self::Text => Content::Text,
        }
    }
}

impl Job {
    /// Bytes of live audio it holds in memory.
    pub(in crate::switchboard) fn bytes_in_memory(&self) -> usize {
        match &self.sound {
            Sound::Live { audio, .. } => audio.as_ref().map_or(0, Bytes::len),
            Sound::Piece { .. } => 0,
        }
    }

    /// Lets go of the audio in memory, and says how many bytes that were.
    pub(in crate::switchboard) fn drop_audio(&mut self) -> usize {
        match &mut self.sound {
            Sound::Live { audio, .. } => audio.take().map_or(0, |audio| audio.len()),
            Sound::Piece { .. } => 0,
        }
    }

    /// The same where a file holds it too.
    pub(in crate::switchboard) fn drop_audio_that_is_kept(&mut self) -> usize {
        let kept = matches!(self.sound, Sound::Live { kept: Some(_), .. });
        if kept { self.drop_audio() } else { 0 }
    }
}

/// What is under way for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum Step {
    /// Its audio is being written to its file; it is not sent before (T5).
    Keeping,
    /// It waits for its turn from then on.
    Waiting(Instant),
    /// Its file is being read.
    Reading,
    /// It was sent.
    Sent,
    /// Its text waits for the database; it may still be in the file.
    Told,
    /// The database is taking its text.
    Storing,
    /// Its file is being removed.
    Leaving,
}

/// Why a recording is tried again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum Later {
    /// Twilio has it not ready yet, which is normal.
    NotReady,
    /// Something is in trouble that will pass.
    Outage,
    /// A person has to act; until then it has failed.
    Blocked,
}

/// Whether the service may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum Gate {
    /// It answers.
    Open,
    /// It did not.
    Shut {
        /// Why, in words.
        cause: String,
        /// Whether a person has to act: what waits is said to have failed meanwhile.
        blocked: bool,
        /// When it is tried again.
        until: Instant,
        /// How often it was tried in vain.
        tries: u32,
    },
}

/// The queue and its gate.
#[derive(Debug)]
pub(in crate::switchboard) struct Queue {
    pub(in crate::switchboard) jobs: Slab<Job>,
    by_segment: BTreeMap<SegmentKey, JobKey>,
    due: BTreeSet<(Instant, JobKey)>,
    told: BTreeSet<JobKey>,
    /// Those of them of which nobody has asked yet whether they are to be kept in a file.
    told_anew: BTreeSet<JobKey>,
    pub(in crate::switchboard) gate: Gate,
    /// How often the gate was shut: a failure of a request that left before the last time says nothing new.
    shut: u32,
    under_way: usize,
}

impl Queue {
    pub(in crate::switchboard) fn new() -> Self {
        Self {
            jobs: Slab::new(limits::SPEECH_JOBS_MAX),
            by_segment: BTreeMap::new(),
            due: BTreeSet::new(),
            told: BTreeSet::new(),
            told_anew: BTreeSet::new(),
            gate: Gate::Open,
            shut: 0,
            under_way: 0,
        }
    }

    /// A queue whose gate nothing opens: whatever comes to it has failed for this cause.
    pub(in crate::switchboard) fn shut_for_good(cause: &str) -> Self {
        let until = Instant::from_micros(u64::MAX);
        let gate = Gate::Shut { cause: cause.to_owned(), blocked: true, until, tries: 0 };
        Self { gate, ..Self::new() }
    }

    /// Takes a job in.
    ///
    /// # Errors
    /// Gives it back when the queue is full, or when there is one for this segment already.
    pub(in crate::switchboard) fn add(&mut self, job: Job) -> Result<JobKey, Box<Job>> {
        let (segment, step) = (job.fact.key, job.step);
        if self.by_segment.contains_key(&segment) {
            return Err(Box::new(job));
        }
        let key = self.jobs.insert(job).map_err(Box::new)?;
        self.by_segment.insert(segment, key);
        self.file(key, step);
        Ok(key)
    }

    /// Whether a job for this segment is in the queue.
    pub(in crate::switchboard) fn knows(&self, segment: SegmentKey) -> bool {
        self.by_segment.contains_key(&segment)
    }

    /// Takes a job out.
    pub(in crate::switchboard) fn remove(&mut self, key: JobKey) -> Option<Job> {
        let job = self.jobs.remove(key)?;
        self.unfile(key, job.step);
        self.by_segment.remove(&job.fact.key);
        Some(job)
    }

    /// Moves a job on.
    pub(in crate::switchboard) fn step(&mut self, key: JobKey, step: Step) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let before = core::mem::replace(&mut job.step, step);
        self.unfile(key, before);
        self.file(key, step);
    }

    fn file(&mut self, key: JobKey, step: Step) {
        match step {
            Step::Waiting(at) => {
                self.due.insert((at, key));
            }
            Step::Told => {
                self.told.insert(key);
                self.told_anew.insert(key);
            }
            Step::Sent | Step::Reading => self.under_way += 1,
            Step::Keeping | Step::Storing | Step::Leaving => {}
        }
    }

    fn unfile(&mut self, key: JobKey, step: Step) {
        match step {
            Step::Waiting(at) => {
                self.due.remove(&(at, key));
            }
            Step::Told => {
                self.told.remove(&key);
                self.told_anew.remove(&key);
            }
            Step::Sent | Step::Reading => self.under_way -= 1,
            Step::Keeping | Step::Storing | Step::Leaving => {}
        }
    }

    /// The next job to be sent, if one is due and the gate lets it through.
    pub(in crate::switchboard) fn next(&self, now: Instant) -> Option<JobKey> {
        let lets_through = match &self.gate {
            Gate::Open => self.under_way < limits::TRANSCRIPTIONS_MAX,
            Gate::Shut { until, .. } => self.under_way == 0 && *until <= now,
        };
        let (at, key) = self.due.first().copied().filter(|_| lets_through)?;
        (at <= now).then_some(key)
    }

    /// Whether a recording may be begun: while the gate is shut only one, where nothing else can try the service. Behind
    /// a gate that needs a person all may, to say why they wait.
    pub(in crate::switchboard) fn may_take(&self, now: Instant) -> bool {
        match &self.gate {
            Gate::Open => true,
            Gate::Shut { blocked: true, until, .. } if *until > now => true,
            Gate::Shut { until, .. } => *until <= now && self.under_way == 0 && self.due.is_empty(),
        }
    }

    /// Why everything that waits has failed so far: a person has to act.
    pub(in crate::switchboard) fn needs_a_person(&self) -> Option<&str> {
        match &self.gate {
            Gate::Shut { cause, blocked: true, .. } => Some(cause),
            Gate::Shut { blocked: false, .. } | Gate::Open => None,
        }
    }

    /// Why and for how long nothing is asked, where a person has to act.
    pub(in crate::switchboard) fn blocked(&self, now: Instant) -> Option<(String, Duration)> {
        match &self.gate {
            Gate::Shut { cause, blocked: true, until, .. } if *until > now => Some((cause.clone(), until.since(now))),
            Gate::Open | Gate::Shut { .. } => None,
        }
    }

    /// A job whose text waits for the database.
    pub(in crate::switchboard) fn next_told(&self) -> Option<JobKey> {
        self.told.first().copied()
    }

    /// A job whose text waits for the database, each once.
    pub(in crate::switchboard) fn take_told_anew(&mut self) -> Option<JobKey> {
        self.told_anew.pop_first()
    }

    /// Whether [`Self::take_told_anew`] has one.
    pub(in crate::switchboard) fn has_told_anew(&self) -> bool {
        !self.told_anew.is_empty()
    }

    /// When [`Self::next`] may have one that it has not now.
    pub(in crate::switchboard) fn next_timeout(&self) -> Option<Instant> {
        let (at, _) = self.due.first().copied()?;
        match &self.gate {
            Gate::Open if self.under_way < limits::TRANSCRIPTIONS_MAX => Some(at),
            Gate::Shut { until, .. } if self.under_way == 0 => Some(at.max(*until)),
            Gate::Open | Gate::Shut { .. } => None,
        }
    }

    /// To be kept with a request that leaves, for [`Self::answered`] and [`Self::failed`].
    pub(in crate::switchboard) const fn shut_count(&self) -> u32 {
        self.shut
    }

    /// The service answered a request that left when the gate had been shut so often; whether that opens the gate. What
    /// waited until a person acted may go at once then.
    pub(in crate::switchboard) fn answered(&mut self, shut_count: u32, now: Instant) -> bool {
        if shut_count != self.shut || self.gate == Gate::Open {
            return false;
        }
        let before = core::mem::replace(&mut self.gate, Gate::Open);
        if matches!(before, Gate::Shut { blocked: false, .. }) {
            return true;
        }
        for (at, key) in core::mem::take(&mut self.due) {
            let at = at.min(now);
            if let Some(job) = self.jobs.get_mut(key) {
                job.step = Step::Waiting(at);
                self.due.insert((at, key));
            }
        }
        true
    }

    /// How often the service was tried in vain.
    pub(in crate::switchboard) const fn tries(&self) -> u32 {
        match &self.gate {
            Gate::Open => 0,
            Gate::Shut { tries, .. } => *tries,
        }
    }

    /// A request that left when the gate had been shut so often failed; the gate is shut until then. Whether that is
    /// news.
    pub(in crate::switchboard) fn failed(
        &mut self,
        shut_count: u32,
        cause: &str,
        blocked: bool,
        until: Instant,
    ) -> bool {
        if shut_count != self.shut {
            return false;
        }
        let news = match &self.gate {
            Gate::Open => true,
            Gate::Shut { blocked: known, .. } => *known != blocked,
        };
        self.shut = self.shut.wrapping_add(1);
        self.gate = Gate::Shut { cause: cause.to_owned(), blocked, until, tries: self.tries().saturating_add(1) };
        news
    }

    /// Whether something is on its way and will be over by itself: what a stopping process waits for.
    pub(in crate::switchboard) fn is_busy(&self) -> bool {
        let moves = |job: &Job| match job.step {
            Step::Waiting(_) => self.gate == Gate::Open,
            Step::Told => false,
            Step::Keeping | Step::Reading | Step::Sent | Step::Storing | Step::Leaving => true,
        };
        self.jobs.iter().any(|(_, job)| moves(job))
    }

    /// Every job that has neither been transcribed nor been sent, in order of time.
    pub(in crate::switchboard) fn waiting(&self) -> impl Iterator<Item = JobKey> {
        self.due.iter().map(|(_, key)| *key)
    }
}

#[cfg(test)]
mod tests;
