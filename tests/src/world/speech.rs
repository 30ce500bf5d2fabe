//! The simulated transcription service, and the sample that simulated callers speak.

use super::node::Process;
use super::{InTransit, LATENCY, World};
use bytes::Bytes;
use callwarden_core::audio::{SAMPLES, wav};
use callwarden_core::far_end::openai::{Delivery, Ear, OpenAi, Passage};
use callwarden_core::far_end::{HangUp, Plan, StreamFault};
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Headers;
use callwarden_core::id::FetchId;
use callwarden_core::secret::Secret;
use callwarden_core::switchboard::Settings;
use std::ops::Range;
use std::time::Duration;

/// The key of the simulated service.
pub const OPENAI_KEY: &str = "virtual-openai-key";

/// What a caller of the sample says, as mu-law: 12.6 s in five sentences.
#[must_use]
pub fn sample() -> Bytes {
    callwarden_core::far_end::sample::speech()
}

/// The sample and its words.
#[must_use]
pub fn passage() -> Passage {
    callwarden_core::far_end::sample::passage().expect("a table of words")
}

/// The five sentences of the sample: where each begins and ends, in milliseconds. The cuts lie in its pauses.
const SENTENCES: [Range<usize>; 5] = [0..1_903, 1_903..8_003, 8_003..9_843, 9_843..11_393, 11_393..12_584];
/// Mu-law of no sound.
const SILENCE: u8 = 0xFF;

/// Where a sentence of the sample stands in it, in milliseconds; from 0.
#[must_use]
pub fn sentence(number: usize) -> Range<usize> {
    SENTENCES[number].clone()
}

/// Silence, as mu-law.
#[must_use]
pub fn silence(length: Duration) -> Bytes {
    vec![SILENCE; samples(length)].into()
}

/// The sentences of the sample, each followed by this much silence.
#[must_use]
pub fn paced(pause: Duration) -> Bytes {
    let said = sample();
    let parts = SENTENCES.map(|at| [&said[at.start * 8..at.end * 8], &silence(pause)].concat());
    parts.concat().into()
}

/// The sample, and then this much silence.
#[must_use]
pub fn once(pause: Duration) -> Bytes {
    [sample(), silence(pause)].concat().into()
}

/// How long mu-law plays.
#[must_use]
pub fn length(voice: &[u8]) -> Duration {
    callwarden_core::audio::mulaw_length(voice.len())
}

fn samples(length: Duration) -> usize {
    usize::try_from(length.as_millis()).expect("a few minutes") * 8
}

/// The words of the sample whose middle lies here, in milliseconds: what a transcription of this part says.
#[must_use]
pub fn words(part: Range<usize>) -> String {
    let passage = passage();
    let inside = passage.words().iter().filter(|word| part.contains(&((word.from + word.to) / 16)));
    inside.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// The words of a sentence, from 0.
#[must_use]
pub fn sentence_text(number: usize) -> String {
    words(sentence(number))
}

/// The whole text of the sample.
#[must_use]
pub fn text() -> String {
    passage().text()
}

/// The ordinary settings of a world that transcribes, and these.
#[must_use]
pub fn settings(more: &[(&str, &str)]) -> Settings {
    let all: Vec<_> = [("OPENAI_API_KEY", OPENAI_KEY)].into_iter().chain(more.iter().copied()).collect();
    super::settings(&all)
}

/// A caller who says this to a stream, and hangs up at its end.
#[must_use]
pub fn caller(voice: Bytes) -> Plan {
    let length = length(&voice);
    Plan { speaks: length, hangs_up: HangUp::Streaming(length), voice, ..Plan::default() }
}

/// A caller whom no stream hears, and who says the sample to the recording.
#[must_use]
pub fn recorded_caller() -> Plan {
    Plan { message: length(&sample()), voice: sample(), ..Plan::with_fault(StreamFault::NeverStarts) }
}

/// What Twilio answers with when this mu-law was recorded.
#[must_use]
pub fn recording_of(sound: &[u8]) -> FetchResponse {
    let samples: Vec<u8> = sound.iter().flat_map(|byte| SAMPLES[usize::from(*byte)].to_le_bytes()).collect();
    recording_file(&[&wav::header(wav::Format::TELEPHONE, samples.len())[..], &samples].concat())
}

/// What Twilio answers with when this is the recording's file.
#[must_use]
pub fn recording_file(file: &[u8]) -> FetchResponse {
    let headers: Headers = [("content-type", "audio/x-wav")].into_iter().collect();
    FetchResponse { status: 200, headers, body: Bytes::copy_from_slice(file) }
}

/// The service, which understands the sample; where nothing is transcribed it need not.
#[must_use]
pub fn service(transcribes: bool) -> OpenAi {
    OpenAi::new(Secret::new(OPENAI_KEY), Ear::new(if transcribes { vec![passage()] } else { Vec::new() }))
}

impl World {
    /// An ordinary deployment that transcribes.
    #[must_use]
    pub fn transcribing() -> Self {
        Self::with(settings(&[]))
    }

    /// A call's transcript as the database has it.
    #[must_use]
    pub fn transcript(&self, call: usize) -> String {
        self.database.rows.transcript(self.sid(call))
    }

    /// How it stands.
    #[must_use]
    pub fn transcript_status(&self, call: usize) -> String {
        self.database.rows.transcript_status(self.sid(call))
    }

    /// How often the service was asked for a transcription.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.openai.ledger().requests.len()
    }

    /// How often Twilio was asked for the audio of a recording.
    #[must_use]
    pub fn downloads(&self) -> usize {
        self.rest_log.iter().filter(|(_, _, url)| url.ends_with(".wav")).count()
    }

    pub(super) fn openai_is_asked(&mut self, process: Process, id: FetchId, request: &FetchRequest) {
        if self.openai_down {
            let refused = Err(FetchError::NotSent("connection refused".to_owned()));
            return self.send(LATENCY, InTransit::Fetched(process, id, refused));
        }
        let mut reply = self.openai.answer(self.now, request);
        let digest =
            self.openai.ledger().requests.last().and_then(|request| request.clip.as_ref()).map(|clip| &clip.digest);
        if digest.is_some() && digest == self.stumbles_over.as_ref() {
            reply.response = FetchResponse { status: 500, headers: Headers::default(), body: Bytes::new() };
        }
        let result = match reply.delivery {
            Delivery::Whole if reply.response.body.len() <= request.response_bytes_max => Ok(reply.response),
            Delivery::Whole => Err(FetchError::Ambiguous("the answer is too long".to_owned())),
            Delivery::Cut => Err(FetchError::Ambiguous("the connection was closed within the body".to_owned())),
            Delivery::Drip(_) => Err(FetchError::Ambiguous("the peer sent no more of the body".to_owned())),
        };
        self.send(LATENCY + reply.after, InTransit::Fetched(process, id, result));
    }
}
