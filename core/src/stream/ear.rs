//! What a stream makes of the sound of its frames: whether the caller speaks (W12), and what is said (T1).

use crate::audio::{self, SpeechMeter};
use crate::speech::{Listener, Utterance};
use core::time::Duration;

/// The ear of one stream.
#[derive(Debug)]
pub(super) enum Ear {
    /// Nothing is transcribed: loudness alone tells whether the caller speaks, if that matters.
    Meter(Option<SpeechMeter>),
    /// Speech is cut into utterances.
    Listener {
        /// Cuts it.
        listener: Box<Listener>,
        /// Where the next frame begins, if it says nothing else.
        place: Duration,
    },
}

impl Ear {
    /// An ear that listens to what is said, or that only measures for W12, or that does nothing.
    pub(super) fn new(listens: bool, measures: bool) -> Self {
        if listens {
            Self::Listener { listener: Box::new(Listener::new()), place: Duration::ZERO }
        } else {
            Self::Meter(measures.then(SpeechMeter::default))
        }
    }

    /// Hears the payload of a frame that begins `at` in its stream, as far as it says so; `limit` is where it can begin
    /// at most. Utterances that are over are appended to `spoken`. Whether the caller speaks.
    ///
    /// A payload that is no base64 says nothing of the caller; what could be decoded of it is heard.
    pub(super) fn hear(
        &mut self,
        payload: &str,
        at: Option<Duration>,
        limit: Duration,
        spoken: &mut Vec<Utterance>,
    ) -> bool {
        match self {
            Self::Meter(None) => false,
            Self::Meter(Some(meter)) => {
                audio::mean_square_of_base64(payload).is_ok_and(|loudness| meter.hear(loudness))
            }
            Self::Listener { listener, place } => {
                // Time does not go back, and a frame that claims to come from the future is not believed.
                let mut begins = at.unwrap_or(*place).min(limit).max(*place);
                let mut speaks = false;
                let decoded = audio::decode_base64(payload, |piece| {
                    speaks |= listener.hear(piece, begins, spoken);
                    begins += audio::mulaw_length(piece.len());
                });
                *place = begins;
                speaks && decoded.is_ok()
            }
        }
    }

    /// Nothing more will be heard: what was being said is over.
    pub(super) fn flush(&mut self) -> Option<Utterance> {
        match self {
            Self::Meter(_) => None,
            Self::Listener { listener, .. } => listener.flush(),
        }
    }
}
