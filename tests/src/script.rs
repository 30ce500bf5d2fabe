//! A script: everything that happens in one simulated run, as data. The generator writes scripts, the simulation plays
//! them, and those that found a bug are kept as JSON.
//!
//! Times are in milliseconds; those of steps count from the start of the run. What a script leaves out is ordinary:
//! `{"calls":[{}]}` is one call in which nothing goes wrong.

use crate::google::Mood;
use crate::world::{DatabaseFault, Hook, HookFault, RestFault, speech};
use bytes::Bytes;
use callwarden_core::far_end::{self, Plan};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Decides which process gets a request and how long each is under way; 0: all the same.
    pub seed: u64,
    /// How many processes there are.
    pub nodes: u8,
    /// The settings of each.
    pub settings: Settings,
    /// Whether every machine is woken between any two events, clocks go back, and answers to effects come twice.
    pub nuisance: bool,
    /// Whether the run goes on until every process has forgotten every call.
    pub to_the_last: bool,
    /// The calls.
    pub calls: Vec<Call>,
    /// What else happens, and when.
    pub steps: Vec<Step>,
}

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `ENABLE_CALLS_STREAM`.
    pub streaming: bool,
    /// `STREAM_START_TIMEOUT`.
    pub start_timeout: u32,
    /// `MEDIA_TIMEOUT`.
    pub media_timeout: u32,
    /// `END_SILENCE`; 0 turns it off.
    pub end_silence: u32,
    /// `DRAIN_SECONDS`, in milliseconds.
    pub drain: u32,
    /// Whether there is an `OPENAI_API_KEY`.
    pub transcription: bool,
    /// How long the greeting plays, in seconds; 0 for none.
    pub greeting: u8,
    /// Whether it is a file, which Twilio fetches.
    pub greeting_is_a_file: bool,
    /// Whether Google renders what is no file, beside the calls.
    pub voice: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            streaming: true,
            start_timeout: 8_000,
            media_timeout: 6_000,
            end_silence: 20_000,
            drain: 30_000,
            transcription: false,
            greeting: 0,
            greeting_is_a_file: false,
            voice: false,
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            seed: 0,
            nodes: 1,
            settings: Settings::default(),
            nuisance: false,
            to_the_last: false,
            calls: Vec::new(),
            steps: Vec::new(),
        }
    }
}

impl Script {
    /// The script as JSON, without what is ordinary in it.
    ///
    /// # Panics
    /// Never: every script can be written.
    #[must_use]
    pub fn brief(&self) -> Value {
        let value = |script: &Self| serde_json::to_value(script).expect("a script is plain data");
        let mut brief = value(self);
        leave_out(&mut brief, &value(&Self::default()));
        let plain = serde_json::to_value(Call::default()).expect("a call is plain data");
        for call in brief.get_mut("calls").and_then(Value::as_array_mut).into_iter().flatten() {
            leave_out(call, &plain);
        }
        brief
    }
}

/// Drops the members of an object that are those of the other.
fn leave_out(value: &mut Value, ordinary: &Value) {
    let (Some(members), Some(ordinary)) = (value.as_object_mut(), ordinary.as_object()) else { return };
    members.retain(|name, member| ordinary.get(name) != Some(member));
    for (name, member) in members {
        leave_out(member, ordinary.get(name).unwrap_or(&Value::Null));
    }
}

/// What goes wrong with one stream; see [`far_end::StreamFault`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the far end's faults")]
pub enum Stream {
    #[default]
    Works,
    NeverStarts,
    HandshakeFails(u16),
    ConnectsButNoStart,
    Mute(Option<u32>),
    StallAfter(u32, Option<u32>),
    QuietAfter(u32, Option<u32>),
    DropAfter(u32),
    StopAfter(u32),
}

/// When the caller hangs up; see [`far_end::HangUp`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the far end's plan")]
pub enum HangUp {
    #[default]
    Never,
    Ringing(u32),
    Answered(u32),
    Streaming(u32),
    Recording(u32),
}

/// What Twilio does with a `<Connect>` that failed; see [`far_end::AfterFailure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the far end's plan")]
pub enum AfterFailure {
    #[default]
    Action,
    NextVerb,
    Nothing,
}

/// What becomes of recordings; see [`far_end::RecordingFate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the far end's plan")]
pub enum Recording {
    #[default]
    Kept,
    Absent,
    Unreported,
}

/// A call: when it comes in, and its plan; see [`far_end::Plan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are those of the far end's plan")]
pub struct Call {
    pub at: u32,
    pub speaks: u32,
    pub message: u32,
    pub hangs_up: HangUp,
    pub streams: Vec<Stream>,
    pub after_failure: AfterFailure,
    pub failure_notice: u32,
    pub connect_delay: u32,
    pub start_delay: u32,
    pub frame_interval: u32,
    pub duplicate_every: Option<u32>,
    pub garbage_every: Option<u32>,
    pub recording_hears: bool,
    pub recording: Recording,
    pub recording_delay: u32,
    pub stop_on_update: bool,
    pub forgotten_when_over: bool,
    pub action_after_hang_up: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            at: 0,
            speaks: 5_000,
            message: 4_000,
            hangs_up: HangUp::Never,
            streams: Vec::new(),
            after_failure: AfterFailure::Action,
            failure_notice: 200,
            connect_delay: 50,
            start_delay: 0,
            frame_interval: 1_000,
            duplicate_every: None,
            garbage_every: None,
            recording_hears: true,
            recording: Recording::Kept,
            recording_delay: 500,
            stop_on_update: true,
            forgotten_when_over: false,
            action_after_hang_up: true,
        }
    }
}

const fn milliseconds(time: u32) -> Duration {
    Duration::from_millis(time as u64)
}

impl Stream {
    /// The far end's own word for it.
    #[must_use]
    pub fn fault(self) -> far_end::StreamFault {
        use far_end::StreamFault as Fault;
        match self {
            Self::Works => Fault::None,
            Self::NeverStarts => Fault::NeverStarts,
            Self::HandshakeFails(status) => Fault::HandshakeFails(status),
            Self::ConnectsButNoStart => Fault::ConnectsButNoStart,
            Self::Mute(resume) => Fault::Mute(resume.map(milliseconds)),
            Self::StallAfter(after, resume) => Fault::StallAfter(milliseconds(after), resume.map(milliseconds)),
            Self::QuietAfter(after, resume) => Fault::QuietAfter(milliseconds(after), resume.map(milliseconds)),
            Self::DropAfter(after) => Fault::DropAfter(milliseconds(after)),
            Self::StopAfter(after) => Fault::StopAfter(milliseconds(after)),
        }
    }
}

impl Call {
    /// The far end's plan. A caller speaks the sample where it is transcribed; otherwise two loud samples do, for they
    /// cost no neural network.
    #[must_use]
    pub fn plan(&self, transcription: bool) -> Plan {
        Plan {
            speaks: milliseconds(self.speaks),
            message: milliseconds(self.message),
            hangs_up: match self.hangs_up {
                HangUp::Never => far_end::HangUp::Never,
                HangUp::Ringing(after) => far_end::HangUp::Ringing(milliseconds(after)),
                HangUp::Answered(after) => far_end::HangUp::Answered(milliseconds(after)),
                HangUp::Streaming(after) => far_end::HangUp::Streaming(milliseconds(after)),
                HangUp::Recording(after) => far_end::HangUp::Recording(milliseconds(after)),
            },
            faults: self.streams.iter().map(|stream| stream.fault()).collect(),
            after_failure: match self.after_failure {
                AfterFailure::Action => far_end::AfterFailure::Action,
                AfterFailure::NextVerb => far_end::AfterFailure::NextVerb,
                AfterFailure::Nothing => far_end::AfterFailure::Nothing,
            },
            failure_notice: milliseconds(self.failure_notice),
            connect_delay: milliseconds(self.connect_delay),
            start_delay: milliseconds(self.start_delay),
            voice: if transcription { speech::sample() } else { Bytes::from_static(&[0x00, 0x80]) },
            frame_interval: milliseconds(self.frame_interval.max(20)),
            duplicate_every: self.duplicate_every,
            garbage_every: self.garbage_every,
            recording_hears: self.recording_hears,
            recording: match self.recording {
                Recording::Kept => far_end::RecordingFate::Kept,
                Recording::Absent => far_end::RecordingFate::Absent,
                Recording::Unreported => far_end::RecordingFate::Unreported,
            },
            recording_delay: milliseconds(self.recording_delay),
            stop_on_update: self.stop_on_update,
            forgotten_when_over: self.forgotten_when_over,
            action_after_hang_up: self.action_after_hang_up,
        }
    }
}

/// Something that happens at a time of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When.
    pub at: u32,
    /// What.
    pub what: Happening,
}

/// What may happen. A number of a node or a call beyond the last one counts from the first again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    /// The database fails for a while.
    Database(Database, u32),
    /// All REST requests fail for a while.
    RestOutage(Rest, u32),
    /// The next REST requests meet these, one each.
    Rest(Vec<Rest>),
    /// The transcription service fails for a while.
    OpenAi(OpenAi, u32),
    /// Google fails for a while.
    Google(Google, u32),
    /// The next webhooks of this kind meet these, one each.
    Hooks(Hook, Vec<HookFault>),
    /// The wall clock of a node jumps by so much.
    Clock(u8, i32),
    /// The process of a node is killed, and the next one starts after a while, on an empty disk if `moved`.
    Kill {
        /// Which node.
        node: u8,
        /// How long no process runs there.
        down: u32,
        /// Whether the next one finds another disk.
        moved: bool,
    },
    /// The process of a node is told to stop, and is followed by the next one when it has.
    Drain(u8),
    /// A disk refuses everything for a while.
    Disk(u8, u32),
    /// The task of a call's socket hangs for a while, and is then ended.
    Freeze(u8, u32),
    /// The task of a call's socket ends.
    Break(u8),
    /// Twilio reads nothing more from a call's socket.
    Unread(u8),
    /// The caller hangs up.
    HangUp(u8),
    /// Somebody who is not Twilio does this, with what he may have learnt about a call.
    Hostile(u8, Hostile),
}

/// How the database fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the world's faults")]
pub enum Database {
    Refuses,
    Hangs,
    LosesAnswers,
    /// It aborts one command in three, as after a deadlock.
    Conflicts,
    /// Every command takes so long.
    Slow(u32),
}

impl Database {
    /// The world's own word for it.
    #[must_use]
    pub const fn fault(self) -> DatabaseFault {
        match self {
            Self::Refuses => DatabaseFault::Refuses,
            Self::Hangs => DatabaseFault::Hangs,
            Self::LosesAnswers => DatabaseFault::LosesAnswers,
            Self::Conflicts => DatabaseFault::Conflicts,
            Self::Slow(_) => DatabaseFault::None,
        }
    }
}

/// How a REST request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the world's faults")]
pub enum Rest {
    Works,
    NotSent,
    Refused(u16, u32),
    AnswerLost,
    Lost,
    Slow(u32),
}

impl Rest {
    /// The world's own word for it.
    #[must_use]
    pub const fn fault(self) -> RestFault {
        match self {
            Self::Works => RestFault::None,
            Self::NotSent => RestFault::NotSent,
            Self::Refused(status, code) => RestFault::Refused(status, code),
            Self::AnswerLost => RestFault::AnswerLost,
            Self::Lost => RestFault::Lost,
            Self::Slow(time) => RestFault::Slow(milliseconds(time)),
        }
    }
}

/// What is wrong with Google.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of its moods")]
pub enum Google {
    Away,
    Silent,
    Garbage,
    NoToken(u16),
    NoSpeech(u16),
}

impl Google {
    /// Its own word for it.
    #[must_use]
    pub const fn mood(self) -> Mood {
        match self {
            Self::Away => Mood::Away,
            Self::Silent => Mood::Silent,
            Self::Garbage => Mood::Garbage,
            Self::NoToken(status) => Mood::NoToken(status),
            Self::NoSpeech(status) => Mood::NoSpeech(status),
        }
    }
}

/// How the transcription service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OpenAi {
    /// It cannot be reached.
    Down,
    /// It answers 500.
    Stumbles,
    /// It answers 429.
    Busy,
    /// It refuses the key.
    WrongKey,
    /// Its text is empty, whatever was said.
    Wordless,
    /// Its connection breaks within the answer.
    Cut,
}

/// What somebody who is not Twilio may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hostile {
    /// A webhook without a signature: says the call is over.
    Unsigned(Hook),
    /// The same with a signature of another token.
    WrongSignature(Hook),
    /// A socket on which nothing makes sense.
    Garbage,
    /// A socket with a made-up token.
    ForgedToken,
    /// A socket for one call with the token of another.
    TokenOfAnotherCall,
    /// A socket with the token of a document of the call.
    ReplayedToken,
    /// The same, and a second `start` of another stream after it.
    SecondStart,
}
