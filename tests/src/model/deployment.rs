//! What the model has to know of the deployment: settings, as plain values.

use crate::world::script;
use callwarden_core::prompts::{Prompts, Role};
use callwarden_core::switchboard::Settings;
use callwarden_core::twiml::Announcement;
use std::time::Duration;

/// The settings that the rules look at.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The auth tokens, in order; none in development mode.
    pub auth_tokens: Vec<String>,
    /// The configured account; none in development mode.
    pub account: Option<String>,
    /// `PUBLIC_HOST`.
    pub public_host: Option<String>,
    /// `TWILIO_API_BASE`.
    pub api_base: String,
    /// `ENABLE_CALLS_STREAM`.
    pub streaming: bool,
    /// `STREAM_START_TIMEOUT`.
    pub start_timeout: Duration,
    /// How long the greeting lasts; zero where there is none.
    pub greeting: Duration,
    /// Whether there is a prompt before the beep.
    pub has_fallback: bool,
    /// How long that lasts.
    pub fallback: Duration,
    /// Whether there is one before hanging up.
    pub has_goodbye: bool,
    /// `DRAIN_SECONDS`.
    pub drain: Duration,
    /// Whether speech is transcribed.
    pub transcribes: bool,
    /// Where stream tokens' key comes from in development mode.
    pub development_key: [u8; 32],
}

/// A greeting file whose length cannot be read (W1).
const UNREADABLE: Duration = Duration::from_secs(15);
/// Characters of spoken text a second (W1).
const CHARACTERS_A_SECOND: usize = 10;

impl Deployment {
    /// Of the settings a switchboard is made with.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let config = &settings.config;
        let tokens = config.twilio.iter().flat_map(|twilio| &twilio.auth_tokens);
        Self {
            auth_tokens: tokens.map(|token| token.expose().to_owned()).collect(),
            account: config.twilio.as_ref().map(|twilio| twilio.sid.to_string()),
            public_host: config.public_host.clone(),
            api_base: config.twilio_api_base.clone(),
            streaming: config.streaming,
            start_timeout: config.stream_start_timeout,
            greeting: length(&settings.prompts, Role::Greeting),
            has_fallback: !matches!(settings.prompts.announcement(Role::Fallback), Announcement::Silent),
            fallback: length(&settings.prompts, Role::Fallback),
            has_goodbye: !matches!(settings.prompts.announcement(Role::Goodbye), Announcement::Silent),
            drain: config.drain,
            transcribes: config.openai_api_key.is_some(),
            development_key: settings.development_key,
        }
    }

    /// Whether unsigned webhooks are believed.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.auth_tokens.is_empty()
    }
}

/// W1: the audio's own length; one second for every ten characters begun of a spoken text.
fn length(prompts: &Prompts, role: Role) -> Duration {
    match prompts.announcement(role) {
        Announcement::Silent => Duration::ZERO,
        Announcement::Say(text, _) => {
            let begun = text.chars().collect::<Vec<_>>().chunks(CHARACTERS_A_SECOND).count();
            Duration::from_secs(u64::try_from(begun).expect("a short text"))
        }
        Announcement::Play(path) => {
            let audio = prompts.answer(&script::get(path)).expect("a prompt that is played is served");
            callwarden_core::audio::duration(&audio.body).unwrap_or(UNREADABLE)
        }
    }
}
