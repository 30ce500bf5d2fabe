//! Renders the prompts that are texts: one at a time, as often as it takes, beside the calls and never in their way.
//!
//! ```text
//!  idle ──due──▶ signing ──▶ asking for a token ──▶ asking for speech ──▶ idle
//!    │              │                 │                ▲   │
//!    │              └────── failed ───┴──▶ idle        │   └─ 401 with a kept token ──▶ signing
//!    └──due, the token still counts────────────────────┘
//! ```
//!
//! Each failure is reported and waited after, longer every time; a failure that only a change at Google or here can end
//! waits the longest time at once. A token that cannot be had holds up every prompt, speech that cannot be had its own.

use super::{AudioFile, Rendering, Role};
use crate::config::Config;
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::google::{self, AccessToken, Refusal, ServiceAccount, Trouble, Voice};
use crate::limits;
use crate::secret::Secret;
use crate::time::{Instant, Now, UnixMillis};
use bytes::Bytes;
use core::time::Duration;

/// The machine.
#[derive(Debug)]
pub struct Renderer {
    account: ServiceAccount,
    voice: Voice,
    base_url: String,
    jobs: Vec<Job>,
    token: Option<Token>,
    state: State,
    steps: u64,
    now: Instant,
}

/// A prompt that is to be rendered.
#[derive(Debug)]
struct Job {
    rendering: Rendering,
    due: Instant,
    failures: u32,
}

/// An access token, and until when it is used.
#[derive(Debug)]
struct Token {
    authorization: Secret,
    until: Instant,
}

/// What is waited for. There is one thing at most, and its answer names it.
#[derive(Debug)]
enum State {
    Idle,
    Signing { step: RenderStep, role: Role, assertion: String },
    AskingForToken { step: RenderStep, role: Role, since: Instant },
    AskingForSpeech { step: RenderStep, role: Role, token: TokenAge },
}

/// Whether a refused token may merely have become old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenAge {
    Fresh,
    Kept,
}

/// Names what a runtime was asked for: a late or second answer finds that something else is waited for (I2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderStep(u64);

/// What the runtime answers.
#[derive(Debug)]
pub enum RenderInput {
    /// The signature under a message; exactly once per [`RenderOutput::Sign`].
    Signed {
        /// Which.
        step: RenderStep,
        /// The signature, or why there is none.
        result: Result<Vec<u8>, String>,
    },
    /// A fetch is over; exactly once per [`RenderOutput::Fetch`].
    Fetched {
        /// Which.
        step: RenderStep,
        /// What came of it.
        result: Result<FetchResponse, FetchError>,
    },
}

/// What the runtime does.
#[derive(Debug)]
#[must_use]
pub enum RenderOutput {
    /// Sign the message with the service account's key (RSASSA-PKCS1-v1_5 with SHA-256).
    Sign {
        /// For the answer.
        step: RenderStep,
        /// What to sign, as its bytes stand.
        message: String,
    },
    /// Perform an HTTP request.
    Fetch {
        /// For the answer.
        step: RenderStep,
        /// What to ask.
        request: FetchRequest,
    },
    /// Keep a file for the next start, whole or not at all. When that fails, [`RenderReport::NotKept`] says so.
    Keep {
        /// Its name, without a directory.
        file: String,
        /// Its content.
        bytes: Bytes,
    },
    /// Tell those who use prompts.
    Report(RenderReport),
}

/// What became of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderReport {
    /// There is audio.
    Rendered {
        /// Which.
        role: Role,
        /// The name it is kept under.
        file: String,
        /// The audio.
        audio: AudioFile,
    },
    /// There is none yet; it is tried again.
    Failed(RenderFailure),
    /// The audio is in use, but the next start has to render it again.
    NotKept {
        /// The file.
        file: String,
        /// Why.
        cause: String,
    },
}

/// Why there is no audio yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderFailure {
    /// For which prompt it was tried.
    pub role: Role,
    /// Whether somebody has to change something.
    pub is_lasting: bool,
    /// What happened and what to do; never a credential.
    pub cause: String,
}

impl Renderer {
    /// A machine for what is not rendered yet. It begins with the first [`Self::handle_timeout`].
    #[must_use]
    pub fn new(now: Now, account: ServiceAccount, config: &Config, to_render: Vec<Rendering>) -> Self {
        let job = |rendering| Job { rendering, due: now.mono, failures: 0 };
        Self {
            account,
            voice: config.google_tts_voice.clone(),
            base_url: config.google_tts_base_url.clone(),
            jobs: to_render.into_iter().map(job).collect(),
            token: None,
            state: State::Idle,
            steps: 0,
            now: now.mono,
        }
    }

    /// Takes an answer in. One that is not waited for changes nothing.
    pub fn handle(&mut self, now: Now, input: RenderInput, out: &mut Vec<RenderOutput>) {
        self.now = self.now.max(now.mono);
        match (core::mem::replace(&mut self.state, State::Idle), input) {
            (State::Signing { step, role, assertion }, RenderInput::Signed { step: of, result }) if step == of => {
                match result {
                    Ok(signature) => {
                        let request = google::token_request(&self.account, &assertion, &signature);
                        let step = self.step();
                        self.state = State::AskingForToken { step, role, since: self.now };
                        out.push(RenderOutput::Fetch { step, request });
                    }
                    Err(cause) => self.no_token(role, true, format!("no access token: signing failed: {cause}"), out),
                }
            }
            (State::AskingForToken { step, role, since }, RenderInput::Fetched { step: of, result }) if step == of => {
                match google::granted(&result) {
                    Ok(AccessToken { authorization, life }) => {
                        let until = since + life.saturating_sub(limits::ACCESS_TOKEN_MARGIN);
                        self.ask_for_speech(role, authorization.clone(), TokenAge::Fresh, out);
                        self.token = Some(Token { authorization, until });
                    }
                    Err(refusal) => self.no_token(role, is_lasting(&refusal), refusal.to_string(), out),
                }
            }
            (State::AskingForSpeech { step, role, token }, RenderInput::Fetched { step: of, result }) if step == of => {
                match google::synthesized(&result) {
                    Ok(audio) => self.rendered(role, &audio, out),
                    Err(refusal) => self.no_speech(role, token, &refusal, now.unix, out),
                }
            }
            (state, RenderInput::Signed { .. } | RenderInput::Fetched { .. }) => {
                self.state = state;
                return;
            }
        }
        self.begin(now.unix, out);
    }

    /// Begins what is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<RenderOutput>) {
        self.now = self.now.max(now.mono);
        self.begin(now.unix, out);
    }

    /// When [`Self::handle_timeout`] wants to be called; never while an answer is waited for.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle => self.jobs.iter().map(|job| job.due).min(),
            State::Signing { .. } | State::AskingForToken { .. } | State::AskingForSpeech { .. } => None,
        }
    }

    /// Whether there is nothing left to render.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether every prompt is rendered or was tried: for those who do not wait for Google to come back.
    #[must_use]
    pub fn has_tried_all(&self) -> bool {
        self.jobs.iter().all(|job| job.failures > 0)
    }

    /// Begins with the prompt that is due longest, if any is and nothing else is under way. `unix` is the wall clock as
    /// it stands, also when it went back: an assertion of the future would be refused.
    fn begin(&mut self, unix: UnixMillis, out: &mut Vec<RenderOutput>) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        let due = self.jobs.iter().filter(|job| job.due <= self.now).min_by_key(|job| job.due);
        let Some(role) = due.map(|job| job.rendering.role) else { return };
        match &self.token {
            Some(token) if self.now < token.until => {
                let authorization = token.authorization.clone();
                self.ask_for_speech(role, authorization, TokenAge::Kept, out);
            }
            Some(_) | None => self.sign(role, unix, out),
        }
    }

    fn sign(&mut self, role: Role, unix: UnixMillis, out: &mut Vec<RenderOutput>) {
        let (assertion, step) = (self.account.assertion(unix), self.step());
        out.push(RenderOutput::Sign { step, message: assertion.clone() });
        self.state = State::Signing { step, role, assertion };
    }

    fn ask_for_speech(&mut self, role: Role, authorization: Secret, token: TokenAge, out: &mut Vec<RenderOutput>) {
        let Some(job) = self.jobs.iter().find(|job| job.rendering.role == role) else { return };
        let request = google::synthesize(&self.base_url, &authorization, &self.voice, &job.rendering.text);
        let step = self.step();
        self.state = State::AskingForSpeech { step, role, token };
        out.push(RenderOutput::Fetch { step, request });
    }

    /// One audio serves every prompt of the same text.
    fn rendered(&mut self, role: Role, audio: &AudioFile, out: &mut Vec<RenderOutput>) {
        let Some(job) = self.jobs.iter().find(|job| job.rendering.role == role) else { return };
        let file = job.rendering.file.clone();
        self.jobs.retain(|job| {
            let is_other = job.rendering.file != file;
            if !is_other {
                let (role, file, audio) = (job.rendering.role, file.clone(), audio.clone());
                out.push(RenderOutput::Report(RenderReport::Rendered { role, file, audio }));
            }
            is_other
        });
        out.push(RenderOutput::Keep { file, bytes: audio.bytes.clone() });
    }

    fn no_speech(
        &mut self,
        role: Role,
        token: TokenAge,
        refusal: &Refusal,
        unix: UnixMillis,
        out: &mut Vec<RenderOutput>,
    ) {
        match (refusal.trouble, token) {
            (Trouble::Passing | Trouble::Lasting, _) => {
                let lasting = is_lasting(refusal);
                self.put_off(lasting, |job| job.rendering.role == role);
                self.report_failure(role, lasting, refusal.to_string(), out);
            }
            (Trouble::Token, TokenAge::Kept) => {
                self.token = None;
                self.sign(role, unix, out);
            }
            (Trouble::Token, TokenAge::Fresh) => {
                self.token = None;
                self.no_token(role, true, refusal.to_string(), out);
            }
        }
    }

    /// Without a token no prompt can be rendered.
    fn no_token(&mut self, role: Role, lasting: bool, cause: String, out: &mut Vec<RenderOutput>) {
        self.put_off(lasting, |_| true);
        self.report_failure(role, lasting, cause, out);
    }

    fn put_off(&mut self, lasting: bool, concerns: impl Fn(&Job) -> bool) {
        for job in self.jobs.iter_mut().filter(|job| concerns(job)) {
            job.due = self.now + if lasting { limits::RENDER_RETRY_MAX } else { wait_after(job.failures) };
            job.failures = job.failures.saturating_add(1);
        }
    }

    fn report_failure(&self, role: Role, is_lasting: bool, cause: String, out: &mut Vec<RenderOutput>) {
        out.push(RenderOutput::Report(RenderReport::Failed(RenderFailure { role, is_lasting, cause })));
    }

    fn step(&mut self) -> RenderStep {
        self.steps = self.steps.wrapping_add(1);
        RenderStep(self.steps)
    }
}

fn is_lasting(refusal: &Refusal) -> bool {
    refusal.trouble == Trouble::Lasting
}

fn wait_after(failures: u32) -> Duration {
    let doubled = limits::RENDER_RETRY_MIN.saturating_mul(2_u32.saturating_pow(failures));
    doubled.min(limits::RENDER_RETRY_MAX)
}

#[cfg(test)]
mod tests;
