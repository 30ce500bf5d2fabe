//! The far end of transcription: `POST …/audio/transcriptions` as OpenAI documents it, as a machine without I/O.
//!
//! It is written from the documentation alone and shares no code with the side that asks: it takes the form apart,
//! reads the audio and refuses what the API refuses with code of its own. What it hears is no guess: its [`Ear`] knows
//! the passages a simulated caller can speak, and finds in a clip the very samples and so the very words.
//!
//! # Driving it
//!
//! [`OpenAi::answer`] takes an arrived request and says what to send ([`Reply::response`]), when ([`Reply::after`]) and
//! how ([`Reply::delivery`]). Every request is entered in [`OpenAi::ledger`], refused ones as well.
//!
//! # What it does not do
//!
//! It streams no events, writes no subtitles (`srt`, `vtt`), tells no speakers apart and gives no probabilities; asked
//! for them, it refuses with 400. Formats other than WAV of 16 bits are looked at, not decoded: they are speech it does
//! not know.

mod answers;
mod ear;
mod form;
mod ledger;
mod multipart;
mod refusal;
mod wav;

#[cfg(test)]
mod tests;

pub use ear::{Ear, Hearing, NotATable, Passage, Piece, UNKNOWN_SPEECH, Word};
pub use ledger::{Clip, Ledger, Transcription};
pub use refusal::Refusal;

use crate::fetch::{FetchRequest, FetchResponse};
use crate::http::Method;
use crate::limits;
use crate::secret::Secret;
use crate::time::Now;
use core::time::Duration;
use form::Order;
use std::collections::VecDeque;

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused.
    Refuse(Refusal),
    /// Something on the way answers with a page of its own, and with 200.
    Page,
    /// The answer is JSON of 10 MB.
    Flood,
    /// The text is empty, whatever was said.
    Wordless,
    /// The bytes of the answer come one by one, so far apart.
    Drip(Duration),
    /// The connection is cut within the body of the answer.
    Cut,
}

/// How a driver sends an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As it is.
    Whole,
    /// Byte by byte, so far apart.
    Drip(Duration),
    /// The head and half of the body, then the connection is cut.
    Cut,
}

/// An answer and the manner of sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reply {
    /// What is sent.
    pub response: FetchResponse,
    /// How long it takes to come.
    pub after: Duration,
    /// How it is sent.
    pub delivery: Delivery,
}

/// The simulated API.
#[derive(Debug)]
pub struct OpenAi {
    key: Secret,
    ear: Ear,
    /// What it answers to a clip without speech.
    on_silence: String,
    delay: Duration,
    /// What befalls the next requests, one each.
    script: VecDeque<Option<Fault>>,
    /// What befalls every request after those.
    fault: Option<Fault>,
    ledger: Ledger,
}

impl OpenAi {
    /// An API that takes this key and understands what this ear knows.
    #[must_use]
    pub fn new(key: Secret, ear: Ear) -> Self {
        Self {
            key,
            ear,
            on_silence: String::new(),
            delay: Duration::ZERO,
            script: VecDeque::new(),
            fault: None,
            ledger: Ledger::default(),
        }
    }

    /// From now on silence is answered with this text, as models of the Whisper family do; at first it is empty.
    pub fn say_on_silence(&mut self, text: impl Into<String>) {
        self.on_silence = text.into();
    }

    /// From now on an answer takes this long.
    pub fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// This befalls every request that no [`Self::script`] provides for, until it is set anew.
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    /// What befalls the next requests, one each and in this order, after those a script provides for already.
    pub fn script(&mut self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.script.extend(faults);
    }

    /// Every request so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Answers a request, whatever its method and path.
    pub fn answer(&mut self, now: Now, request: &FetchRequest) -> Reply {
        let mut entry = Transcription::arrived(now);
        let answered = self.transcribe(request, &mut entry);
        entry.fault = self.script.pop_front().unwrap_or_else(|| self.fault.clone());
        let (mut delivery, mut response) = (Delivery::Whole, answered.unwrap_or_else(|refusal| refusal.response()));
        match &entry.fault {
            Some(Fault::Refuse(refusal)) => response = refusal.response(),
            Some(Fault::Page) => response = answers::page(),
            Some(Fault::Flood) => response = answers::flood(),
            Some(Fault::Wordless) if response.status == 200 => response = answers::wordless(),
            Some(Fault::Drip(apart)) => delivery = Delivery::Drip(*apart),
            Some(Fault::Cut) => delivery = Delivery::Cut,
            Some(Fault::Wordless) | None => {}
        }
        entry.status = response.status;
        self.ledger.requests.push(entry);
        Reply { response, after: self.delay, delivery }
    }

    /// Refuses a request whose body was not even read, being longer than the API takes. `bytes` is what it announced.
    pub fn refuse_unread(&mut self, now: Now, bytes: usize) -> Reply {
        let mut entry = Transcription::arrived(now);
        let refusal = Refusal::too_large(bytes);
        let response = refusal.response();
        (entry.status, entry.refused) = (response.status, Some(refusal));
        self.ledger.requests.push(entry);
        Reply { response, after: self.delay, delivery: Delivery::Whole }
    }

    /// What the API answers when nothing goes wrong on the way.
    fn transcribe(&self, request: &FetchRequest, entry: &mut Transcription) -> Result<FetchResponse, Refusal> {
        let result = self.admit(request).and_then(|()| Order::read(request, entry)).map(|order| {
            let hearing = order.audio.as_ref().map_or_else(Hearing::of_unknown_speech, |clip| self.ear.hear(clip));
            let text = if hearing.is_silence() { self.on_silence.clone() } else { hearing.text.clone() };
            let answer = answers::answer(&order, &text);
            (entry.heard, entry.text) = (Some(hearing), Some(text));
            answer
        });
        entry.refused = result.as_ref().err().cloned();
        result
    }

    fn admit(&self, request: &FetchRequest) -> Result<(), Refusal> {
        let (path, _) = request.url.split_once('?').unwrap_or((&request.url, ""));
        if !path.ends_with("/v1/audio/transcriptions") || request.method != Method::Post {
            return Err(Refusal::no_such_url());
        }
        let given = request.authorization.as_ref().map(Secret::expose).and_then(|line| line.strip_prefix("Bearer "));
        match given {
            None => Err(Refusal::no_key()),
            Some(key) if key != self.key.expose() => Err(Refusal::wrong_key()),
            Some(_) if request.body.len() > limits::FAR_END_UPLOAD_BYTES_MAX => {
                Err(Refusal::too_large(request.body.len()))
            }
            Some(_) => Ok(()),
        }
    }
}
