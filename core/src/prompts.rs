//! The three prompts of a call: where each comes from, how long it plays, and the HTTP answers that serve the files.
//!
//! A file in `PROMPTS_DIR` wins; else a text, which Google renders once into audio ([`Renderer`]) or Twilio speaks; else
//! nothing.

mod list;
mod renderer;

pub use list::{KEPT, List};
pub use renderer::{RenderFailure, RenderInput, RenderOutput, RenderReport, RenderStep, Renderer};

use crate::audio::{self, Kind};
use crate::config::Config;
use crate::google::Voice;
use crate::http::{Headers, Method, Request, Response};
use crate::twiml::{Announcement, SayVoice};
use crate::{limits, path};
use bytes::Bytes;
use core::fmt;
use core::time::Duration;
use sha2::{Digest as _, Sha256};

/// How long Twilio may keep a prompt before it asks whether it changed.
const CACHE: &str = "public, max-age=300";
/// Characters a voice speaks in a second (W1).
const CHARS_PER_SECOND: usize = 10;
/// Begins what a rendering's name is the hash of. Another number for another kind of audio, so that what an older
/// version kept is rendered anew.
const RENDERING_VERSION: &str = "callwarden prompt 1, MULAW 8000";

/// The places in a call where a prompt may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Before the stream.
    Greeting,
    /// Before a recording.
    Fallback,
    /// Before hanging up.
    Goodbye,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Greeting, Self::Fallback, Self::Goodbye];

    /// The path its audio is served under. It ends in `.mp3` whatever the file is; the content type tells the truth.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Greeting => path::GREETING_AUDIO,
            Self::Fallback => path::FALLBACK_AUDIO,
            Self::Goodbye => path::GOODBYE_AUDIO,
        }
    }

    /// The names its file may have in `PROMPTS_DIR`; the first that exists is used.
    #[must_use]
    pub const fn file_names(self) -> [&'static str; 2] {
        match self {
            Self::Greeting => ["greeting_he.mp3", "greeting_he.wav"],
            Self::Fallback => ["fallback_he.mp3", "fallback_he.wav"],
            Self::Goodbye => ["goodbye_he.mp3", "goodbye_he.wav"],
        }
    }

    /// The role in a word, for logs and lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Fallback => "fallback",
            Self::Goodbye => "goodbye",
        }
    }

    fn text(self, config: &Config) -> &str {
        match self {
            Self::Greeting => &config.greeting_text,
            Self::Fallback => &config.fallback_text,
            Self::Goodbye => &config.goodbye_text,
        }
    }
}

/// An audio file that is served to Twilio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFile {
    /// The whole file.
    pub bytes: Bytes,
    /// Its format, by its content.
    pub kind: Kind,
    /// The hash of its content in quotes, as the `etag` header has it.
    pub etag: String,
    /// How long it plays, where its bytes tell.
    pub duration: Option<Duration>,
}

/// Why bytes cannot be a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPrompt {
    /// Neither MP3 nor WAV.
    NotAudio,
    /// Longer than [`limits::PROMPT_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for NotAPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAudio => f.write_str("neither MP3 nor WAV; Twilio would not play it: convert it to one of them"),
            Self::TooLong => write!(
                f,
                "longer than {} MiB; callers would hang up before its end: shorten it",
                limits::PROMPT_BYTES_MAX / 1024 / 1024
            ),
        }
    }
}

impl core::error::Error for NotAPrompt {}

impl AudioFile {
    /// Looks at a file's content.
    ///
    /// # Errors
    /// When Twilio could not play it.
    pub fn new(bytes: Bytes) -> Result<Self, NotAPrompt> {
        if bytes.len() > limits::PROMPT_BYTES_MAX {
            return Err(NotAPrompt::TooLong);
        }
        let kind = Kind::of(&bytes).ok_or(NotAPrompt::NotAudio)?;
        Ok(Self { kind, etag: format!("\"{}\"", hash(&bytes)), duration: audio::duration(&bytes), bytes })
    }

    /// A rendering: Google always says how long it is, so one of no length is damaged.
    #[must_use]
    pub fn with_sound(bytes: Bytes) -> Option<Self> {
        Self::new(bytes).ok().filter(|audio| audio.duration > Some(Duration::ZERO))
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file in `PROMPTS_DIR` that cannot be used. The start is refused, for the caller would hear nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptProblem {
    /// The file's name in `PROMPTS_DIR`.
    pub file: &'static str,
    /// What is wrong with it.
    pub wrong: NotAPrompt,
}

impl fmt::Display for PromptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PROMPTS_DIR: {} is {}", self.file, self.wrong)
    }
}

impl core::error::Error for PromptProblem {}

/// What is said in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A file in `PROMPTS_DIR`.
    File {
        /// Its name there.
        name: &'static str,
        /// Its content.
        audio: AudioFile,
    },
    /// What Google made of the text.
    Rendered {
        /// The name it is kept under, see [`Rendering::file`].
        file: String,
        /// Its content.
        audio: AudioFile,
    },
    /// A text that Twilio speaks, as long as Google has not rendered it.
    Say(String),
    /// Nothing.
    None,
}

impl Prompt {
    /// How long it plays (W1): a file's length ([`limits::GREETING_UNREADABLE`] where it cannot be read), a second for
    /// every ten characters of a text, rounded up.
    #[must_use]
    pub fn length(&self) -> Duration {
        match self {
            Self::File { audio, .. } | Self::Rendered { audio, .. } => {
                audio.duration.unwrap_or(limits::GREETING_UNREADABLE)
            }
            Self::Say(text) => Duration::from_secs(text.chars().count().div_ceil(CHARS_PER_SECOND) as u64),
            Self::None => Duration::ZERO,
        }
    }

    /// The audio that is served, where there is some.
    #[must_use]
    pub const fn audio(&self) -> Option<&AudioFile> {
        match self {
            Self::File { audio, .. } | Self::Rendered { audio, .. } => Some(audio),
            Self::Say(_) | Self::None => None,
        }
    }
}

/// A text for Google to render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendering {
    /// Where it is heard.
    pub role: Role,
    /// What is said.
    pub text: String,
    /// The name it is kept under: a hash of voice and text, so that a change of either is rendered anew.
    pub file: String,
}

/// The prompts of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    greeting: Prompt,
    fallback: Prompt,
    goodbye: Prompt,
    say_voice: SayVoice,
}

impl Prompts {
    /// The prompts of a configuration. `file` gives the content of a file in `PROMPTS_DIR`, or `None` where there is
    /// no such file; it is asked for [`Role::file_names`].
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn new(
        config: &Config,
        mut file: impl FnMut(&'static str) -> Option<Bytes>,
    ) -> Result<Self, Vec<PromptProblem>> {
        let mut problems = Vec::new();
        let mut prompt = |role: Role| {
            let found = role.file_names().into_iter().find_map(|name| file(name).map(|bytes| (name, bytes)));
            match found.map(|(name, bytes)| (name, AudioFile::new(bytes))) {
                Some((name, Ok(audio))) => return Prompt::File { name, audio },
                Some((file, Err(wrong))) => problems.push(PromptProblem { file, wrong }),
                None => {}
            }
            match role.text(config).trim() {
                "" => Prompt::None,
                text => Prompt::Say(text.to_owned()),
            }
        };
        let prompts = Self {
            greeting: prompt(Role::Greeting),
            fallback: prompt(Role::Fallback),
            goodbye: prompt(Role::Goodbye),
            say_voice: SayVoice::nearest(&config.google_tts_voice),
        };
        if problems.is_empty() { Ok(prompts) } else { Err(problems) }
    }

    /// The prompt of a role.
    #[must_use]
    pub const fn get(&self, role: Role) -> &Prompt {
        match role {
            Role::Greeting => &self.greeting,
            Role::Fallback => &self.fallback,
            Role::Goodbye => &self.goodbye,
        }
    }

    /// What Google is to render: the texts that are no audio yet.
    #[must_use]
    pub fn to_render(&self, voice: &Voice) -> Vec<Rendering> {
        let rendering = |role: Role| match self.get(role) {
            Prompt::Say(text) => {
                let named = format!("{RENDERING_VERSION}\n{voice}\n{text}");
                Some(Rendering { role, text: text.clone(), file: format!("{}.wav", hash(named.as_bytes())) })
            }
            Prompt::File { .. } | Prompt::Rendered { .. } | Prompt::None => None,
        };
        Role::ALL.into_iter().filter_map(rendering).collect()
    }

    /// Takes what was rendered before and kept. `kept` gives the content of a file by its name, see [`Rendering::file`];
    /// a damaged one does not count and is rendered anew.
    pub fn take_kept(&mut self, voice: &Voice, mut kept: impl FnMut(&str) -> Option<Bytes>) {
        for Rendering { role, file, .. } in self.to_render(voice) {
            if let Some(audio) = kept(&file).and_then(AudioFile::with_sound) {
                self.rendered(role, file, audio);
            }
        }
    }

    /// Takes audio that was rendered from the role's text. A file or a missing prompt stays as it is.
    pub fn rendered(&mut self, role: Role, file: String, audio: AudioFile) {
        let prompt = match role {
            Role::Greeting => &mut self.greeting,
            Role::Fallback => &mut self.fallback,
            Role::Goodbye => &mut self.goodbye,
        };
        if let Prompt::Say(_) = prompt {
            *prompt = Prompt::Rendered { file, audio };
        }
    }

    /// The voice of the texts that Twilio speaks.
    #[must_use]
    pub const fn say_voice(&self) -> SayVoice {
        self.say_voice
    }

    /// What TwiML says in a role.
    #[must_use]
    pub fn announcement(&self, role: Role) -> Announcement<'_> {
        match self.get(role) {
            Prompt::File { .. } | Prompt::Rendered { .. } => Announcement::Play(role.path()),
            Prompt::Say(text) => Announcement::Say(text, self.say_voice),
            Prompt::None => Announcement::Silent,
        }
    }

    /// Answers a request for a prompt's audio; `None` when its path is none of theirs.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Option<Response> {
        let role = Role::ALL.into_iter().find(|role| role.path() == request.path())?;
        Some(match (request.method, self.get(role).audio()) {
            (Method::Get | Method::Head, Some(audio)) => serve(audio, request.method, &request.headers),
            (Method::Get | Method::Head, None) => Response::text(404, "no such prompt\n"),
            (Method::Post | Method::Put | Method::Delete | Method::Options | Method::Patch, _) => {
                Response::text(405, "prompts can only be read\n").with("allow", "GET, HEAD")
            }
        })
    }
}

fn serve(file: &AudioFile, method: Method, headers: &Headers) -> Response {
    let head = |status: u16| {
        Response::empty(status)
            .with("etag", file.etag.as_str())
            .with("cache-control", CACHE)
            .with("accept-ranges", "bytes")
    };
    let typed = |status: u16| head(status).with("content-type", file.kind.content_type());
    if headers.all("if-none-match").flat_map(|list| list.split(',')).any(|tag| is_same(tag, &file.etag)) {
        return head(304);
    }
    // A range of another version must not be mixed with this one.
    let same_version = headers.get("if-range").is_none_or(|tag| tag.trim() == file.etag);
    let range = headers.get("range").filter(|_| method == Method::Get && same_version);
    let total = file.bytes.len();
    match range.map_or(Range::Whole, |range| Range::read(range, total)) {
        Range::Whole => typed(200).body(file.bytes.clone()),
        Range::Part { from, to } => {
            typed(206).with("content-range", format!("bytes {from}-{to}/{total}")).body(file.bytes.slice(from..=to))
        }
        Range::Beyond => head(416).with("content-range", format!("bytes */{total}")),
    }
}

/// The weak comparison that `If-None-Match` asks for.
fn is_same(tag: &str, etag: &str) -> bool {
    let tag = tag.trim();
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
}

/// What part of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// All of it: nothing else was asked for, or it cannot be understood, or several ranges are asked for.
    Whole,
    /// The bytes `from` to `to`, both inclusive and within the file.
    Part { from: usize, to: usize },
    /// Nothing that the file has.
    Beyond,
}

impl Range {
    fn read(header: &str, total: usize) -> Self {
        let Some((from, to)) = header.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
            return Self::Whole;
        };
        match (from, to, digits(from), digits(to)) {
            ("", _, _, Some(last)) if last > 0 && total > 0 => {
                Self::Part { from: total.saturating_sub(last), to: total - 1 }
            }
            ("", _, _, Some(_)) => Self::Beyond,
            (_, "", Some(from), _) if from < total => Self::Part { from, to: total - 1 },
            (_, "", Some(_), _) => Self::Beyond,
            (_, _, Some(from), Some(to)) if from > to => Self::Whole,
            (_, _, Some(from), Some(to)) if from < total => Self::Part { from, to: to.min(total - 1) },
            (_, _, Some(_), Some(_)) => Self::Beyond,
            _ => Self::Whole,
        }
    }
}

/// A decimal number without a sign; one too large for us is larger than any file.
fn digits(text: &str) -> Option<usize> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
