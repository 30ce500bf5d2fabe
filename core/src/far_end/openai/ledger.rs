//! What was asked of the API, and what became of it.

use super::{Fault, Hearing, Refusal};
use crate::time::Now;
use core::time::Duration;
use std::collections::BTreeSet;

/// The file of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Its name in the form.
    pub name: String,
    /// Its content type in the form, if it gives one.
    pub content_type: Option<String>,
    /// How many bytes it has.
    pub bytes: usize,
    /// The SHA-256 of its bytes, in hexadecimal: two requests with one digest carried the same audio.
    pub digest: String,
    /// How long it plays, where it could be told.
    pub length: Option<Duration>,
    /// Samples a second of a WAV file.
    pub rate: Option<u32>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcription {
    /// When it arrived.
    pub at: Now,
    /// Its file, if it had one.
    pub clip: Option<Clip>,
    /// All other fields of the form, in their order.
    pub fields: Vec<(String, String)>,
    /// What was found in the audio; `None` for a request that is refused.
    pub heard: Option<Hearing>,
    /// The text it is answered with, unless a fault befalls it.
    pub text: Option<String>,
    /// Why it is not answered with a text, whatever befalls it.
    pub refused: Option<Refusal>,
    /// What befell it.
    pub fault: Option<Fault>,
    /// The status it was answered with.
    pub status: u16,
}

impl Transcription {
    pub(super) fn arrived(at: Now) -> Self {
        let (fields, status) = (Vec::new(), 0);
        Self { at, clip: None, fields, heard: None, text: None, refused: None, fault: None, status }
    }

    /// The first field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether whoever asked got the text: answered with 200, and nothing went wrong on the way.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        match self.fault {
            None | Some(Fault::Wordless | Fault::Drip(_)) => self.status == 200,
            Some(Fault::Refuse(_) | Fault::Page | Fault::Flood | Fault::Cut) => false,
        }
    }
}

/// Every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In their order.
    pub requests: Vec<Transcription>,
}

impl Ledger {
    /// The texts of the requests that got theirs.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.requests.iter().filter(|request| request.succeeded()).filter_map(|request| request.text.as_deref())
    }

    /// The digests of audio that was asked for again although it had been answered: work paid for twice.
    #[must_use]
    pub fn repeats(&self) -> Vec<&str> {
        let (mut answered, mut repeats) = (BTreeSet::new(), Vec::new());
        for request in &self.requests {
            let Some(clip) = &request.clip else { continue };
            if answered.contains(clip.digest.as_str()) {
                repeats.push(clip.digest.as_str());
            }
            if request.succeeded() {
                answered.insert(clip.digest.as_str());
            }
        }
        repeats
    }
}
