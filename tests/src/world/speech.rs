//! The simulated transcription service, and the sample that simulated callers speak.

use super::{InTransit, LATENCY, World};
use bytes::Bytes;
use callwarden_core::far_end::openai::{Delivery, Ear, OpenAi, Passage};
use callwarden_core::fetch::{FetchError, FetchRequest};
use callwarden_core::id::FetchId;
use callwarden_core::secret::Secret;

/// The key of the simulated service.
pub const OPENAI_KEY: &str = "virtual-openai-key";
/// Bytes before the sound in the sample's file.
const HEADER: usize = 58;
const SAMPLE: &[u8] = include_bytes!("../../../runtime-smol/assets/speech_he.wav");
const WORDS: &str = include_str!("../../../runtime-smol/assets/speech_he.words.tsv");

/// What a caller of the sample says, as mu-law: 12.6 s in five sentences.
#[must_use]
pub fn sample() -> Bytes {
    let data = SAMPLE.windows(4).position(|name| name == b"data").expect("a chunk of sound");
    assert_eq!(data + 8, HEADER, "the header of the sample");
    Bytes::from_static(&SAMPLE[HEADER..])
}

/// The sample and its words.
#[must_use]
pub fn passage() -> Passage {
    Passage::from_table(&sample(), WORDS).expect("a table of words")
}

/// The service, which understands the sample.
#[must_use]
pub fn service() -> OpenAi {
    OpenAi::new(Secret::new(OPENAI_KEY), Ear::new(vec![passage()]))
}

impl World {
    pub(super) fn openai_is_asked(&mut self, id: FetchId, request: &FetchRequest) {
        if self.openai_down {
            let refused = Err(FetchError::NotSent("connection refused".to_owned()));
            return self.send(LATENCY, InTransit::Fetched(id, refused));
        }
        let reply = self.openai.answer(self.now, request);
        let result = match reply.delivery {
            Delivery::Whole if reply.response.body.len() <= request.response_bytes_max => Ok(reply.response),
            Delivery::Whole => Err(FetchError::Ambiguous("the answer is too long".to_owned())),
            Delivery::Cut => Err(FetchError::Ambiguous("the connection was closed within the body".to_owned())),
            Delivery::Drip(_) => Err(FetchError::Ambiguous("the peer sent no more of the body".to_owned())),
        };
        self.send(LATENCY + reply.after, InTransit::Fetched(id, result));
    }
}
