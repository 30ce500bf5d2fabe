//! Google, and what renders the prompts of each process, in virtual time.

use super::node::{Node, Process};
use super::{InTransit, LATENCY, World, network};
use crate::google::{GoogleService, Mood};
use bytes::Bytes;
use callwarden::google::Signer;
use callwarden_core::fetch::{FetchError, FetchRequest};
use callwarden_core::google::{Credentials, ServiceAccount};
use callwarden_core::limits;
use callwarden_core::prompts::{RenderInput, RenderOutput, RenderReport, RenderStep, Renderer};
use callwarden_core::switchboard::{Input, Settings};
use callwarden_core::time::{Instant, Now};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Where the simulated Google gives tokens.
pub const TOKEN_URI: &str = "https://google.example/token";
/// Where it speaks: `GOOGLE_TTS_BASE_URL`.
pub const BASE_URL: &str = "https://google.example/v1";

thread_local! {
    /// The signer of the one service account there is: reading its key takes as long as a call.
    static SIGNER: Rc<Signer> = Rc::new(Signer::new(&account(&credentials())).expect("a key"));
    /// What it has signed. The same message has the same signature, and all runs begin at the same time.
    static SIGNED: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}
/// Signatures that are kept.
const SIGNED_MAX: usize = 4_096;

/// What is set as `GOOGLE_APPLICATION_CREDENTIALS`.
#[must_use]
pub fn credentials() -> String {
    GoogleService::new(TOKEN_URI.to_owned()).credentials()
}

fn account(credentials: &str) -> ServiceAccount {
    ServiceAccount::from_json(credentials.as_bytes()).expect("a key file")
}

/// Where the texts of one process become audio.
pub(super) struct Studio {
    renderer: Renderer,
    signer: Rc<Signer>,
}

/// Takes what was rendered before, and begins with the rest.
pub(super) fn studio(now: Now, settings: &mut Settings, kept: &BTreeMap<String, Bytes>) -> Option<Studio> {
    let Some(Credentials::Inline(account)) = &settings.config.google_credentials else { return None };
    let account = ServiceAccount::clone(account);
    let voice = &settings.config.google_tts_voice;
    settings.prompts.take_kept(voice, |file| kept.get(file).cloned());
    let renderer = Renderer::new(now, account, &settings.config, settings.prompts.to_render(voice));
    Some(Studio { renderer, signer: SIGNER.with(Rc::clone) })
}

impl Studio {
    fn sign(&self, message: &str) -> Result<Vec<u8>, String> {
        SIGNED.with_borrow_mut(|signed| {
            if let Some(signature) = signed.get(message) {
                return Ok(signature.clone());
            }
            if signed.len() >= SIGNED_MAX {
                signed.clear();
            }
            let signature = self.signer.sign(message)?;
            signed.insert(message.to_owned(), signature.clone());
            Ok(signature)
        })
    }
}

impl Node {
    /// When its renderer wants to be woken.
    pub(super) fn next_rendering(&self) -> Option<Instant> {
        self.studio.as_ref().filter(|_| self.is_running()).and_then(|studio| studio.renderer.next_timeout())
    }

    /// Whether every text is audio, or its clock is so far ahead that Google gives it no token.
    #[must_use]
    pub fn has_rendered(&self) -> bool {
        let ahead =
            u64::try_from(self.clock_off).is_ok_and(|off| Duration::from_millis(off) > limits::ASSERTION_BACKDATED);
        ahead || self.studio.as_ref().is_none_or(|studio| studio.renderer.is_done())
    }
}

impl World {
    /// Wakes the renderer of a place.
    pub(super) fn wake_renderer(&mut self, place: usize) {
        let now = self.now_at(place);
        let mut out = Vec::new();
        if let Some(studio) = &mut self.nodes[place].studio {
            studio.renderer.handle_timeout(now, &mut out);
        }
        self.render(place, out);
    }

    /// Google answered, or did not.
    pub(super) fn rendering_answered(&mut self, process: Process, input: RenderInput) {
        let Some(place) = self.place_of(process) else { return };
        let now = self.now_at(place);
        let mut out = Vec::new();
        if let Some(studio) = &mut self.nodes[place].studio {
            studio.renderer.handle(now, input, &mut out);
        }
        self.render(place, out);
    }

    fn render(&mut self, place: usize, out: Vec<RenderOutput>) {
        let process = self.process(place);
        for output in out {
            match output {
                RenderOutput::Sign { step, message } => {
                    let Some(studio) = &self.nodes[place].studio else { continue };
                    let signed = RenderInput::Signed { step, result: studio.sign(&message) };
                    self.send(Duration::ZERO, InTransit::Rendered(process, signed));
                }
                RenderOutput::Fetch { step, request } => {
                    self.send(LATENCY, InTransit::ToGoogle(process, step, Box::new(request)));
                }
                RenderOutput::Keep { file, bytes } => {
                    let node = &mut self.nodes[place];
                    if node.disk.fails {
                        let cause = "no space left on device".to_owned();
                        self.input(place, Input::Prompt(RenderReport::NotKept { file, cause }));
                    } else {
                        node.disk.kept.insert(file, bytes);
                    }
                }
                RenderOutput::Report(report) => self.input(place, Input::Prompt(report)),
            }
        }
    }

    pub(super) fn google_is_asked(&mut self, process: Process, step: RenderStep, request: FetchRequest) {
        let timeout = request.timeout;
        self.google.requests += 1;
        let now = u64::try_from(self.now.unix.0).expect("after 1970") / 1_000;
        let authorization = request.authorization.clone();
        let mut arrived = network::arriving(request);
        if let Some(authorization) = authorization {
            arrived.headers.push("authorization", authorization.expose());
        }
        let (delay, result) = if self.google.mood == Mood::Silent {
            (timeout, Err(FetchError::Ambiguous("no answer".to_owned())))
        } else {
            let closed = || FetchError::Ambiguous("the connection was closed without an answer".to_owned());
            (LATENCY, self.google.answer(now, &arrived).map(network::fetched).ok_or_else(closed))
        };
        self.send(delay, InTransit::Rendered(process, RenderInput::Fetched { step, result }));
    }
}
