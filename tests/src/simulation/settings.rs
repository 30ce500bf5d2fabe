//! The settings of a script as the processes read them.

use crate::script;
use crate::world::{self, google, speech};
use callwarden_core::audio::wav;
use callwarden_core::config::Config;
use callwarden_core::prompts::{Prompts, Role};
use callwarden_core::switchboard::Settings;
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    /// Settings that were made already: thousands of runs share a few.
    static KNOWN: RefCell<BTreeMap<script::Settings, Settings>> = const { RefCell::new(BTreeMap::new()) };
    /// Prompts of which the greeting is a file, by its length: such a file is long, and a hash names it.
    static WITH_FILE: RefCell<BTreeMap<u8, Prompts>> = const { RefCell::new(BTreeMap::new()) };
}
/// Settings that are kept.
const KNOWN_MAX: usize = 4_096;

/// The settings of a process.
pub(super) fn settings(script: &script::Settings) -> Settings {
    KNOWN.with_borrow_mut(|known| {
        if let Some(settings) = known.get(script) {
            return settings.clone();
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.entry(script.clone()).or_insert(make(script)).clone()
    })
}

fn make(script: &script::Settings) -> Settings {
    // Twilio's voice says ten characters a second.
    let greeting = "שלום ולהית".repeat(script.greeting.into());
    let time = |milliseconds: u32| format!("{milliseconds}ms");
    let pairs = [
        ("ENABLE_CALLS_STREAM", script.streaming.to_string()),
        ("STREAM_START_TIMEOUT", time(script.start_timeout)),
        ("MEDIA_TIMEOUT", time(script.media_timeout)),
        ("END_SILENCE", time(script.end_silence)),
        ("DRAIN_SECONDS", time(script.drain)),
        ("GREETING_TEXT", greeting),
        ("OPENAI_API_KEY", if script.transcription { speech::OPENAI_KEY.to_owned() } else { String::new() }),
    ];
    let credentials = if script.voice { google::credentials() } else { String::new() };
    let voice = [("GOOGLE_APPLICATION_CREDENTIALS", credentials.as_str()), ("GOOGLE_TTS_BASE_URL", google::BASE_URL)];
    let voice = voice.iter().filter(|_| script.voice).copied();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).chain(voice).collect();
    let mut settings = world::settings(&pairs);
    if script.greeting_is_a_file && script.greeting > 0 {
        // Nothing but the greeting's text differs, and that goes with its length.
        settings.prompts = WITH_FILE.with_borrow_mut(|known| {
            known.entry(script.greeting).or_insert_with(|| with_file(&settings.config, script.greeting)).clone()
        });
    }
    settings
}

/// Prompts of which the greeting is a file of so many seconds.
fn with_file(config: &Config, seconds: u8) -> Prompts {
    let [name, ..] = Role::Greeting.file_names();
    let file = |asked: &'static str| {
        (asked == name).then(|| {
            let samples = vec![0; usize::from(seconds) * 16_000];
            [&wav::header(wav::Format::TELEPHONE, samples.len())[..], &samples].concat().into()
        })
    };
    Prompts::new(config, file).expect("a file of silence")
}
