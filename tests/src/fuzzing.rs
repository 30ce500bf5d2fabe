//! What the fuzzer runs: one function per target, each from any bytes to nothing, or to a panic that says what is wrong.
//!
//! They stand here and not in `fuzz/`, so that an ordinary test replays the corpora through the same code on stable.

mod answers;
mod configuration;
mod media;
mod script;
mod source;
mod twiml;
mod webhook;

pub use answers::answers;
pub use configuration::configuration;
pub use media::media;
pub use script::script;
pub use twiml::twiml;
pub use webhook::webhook;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("answers", answers),
    ("configuration", configuration),
    ("media", media),
    ("script", script),
    ("twiml", twiml),
    ("webhook", webhook),
];
