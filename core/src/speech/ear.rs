//! Tells speech from noise in pieces of 16 ms: a gate of loudness, and behind it a small neural network.

use crate::{audio, limits};
use core::fmt;
use earshot::Detector;

use super::samples;

/// Samples that are judged at a time. The detector wants 256 at 16,000 a second, which are these.
pub(super) const BLOCK: usize = 128;
/// Score from which a block is speech. The network was trained for this one.
const SPEECH_SCORE: f32 = 0.5;
/// Blocks below the gate after which the detector rests.
const HOLD_BLOCKS: usize = samples(limits::SPEECH_GATE_HOLD).div_ceil(BLOCK);
/// Samples a detector that wakes hears before the first that counts; whole blocks.
const WARM_UP: usize = samples(limits::SPEECH_WARM_UP).next_multiple_of(BLOCK);

/// The gate and, while it stands open, the detector. Closed, it is nothing but a pointer.
#[derive(Debug, Default)]
pub(super) struct Ear {
    awake: Option<Box<Awake>>,
}

impl Ear {
    /// Whether the last [`BLOCK`] of this sound is speech. What stands before it was heard earlier, and is there for a
    /// detector that has just been woken.
    pub(super) fn hears(&mut self, sound: &[u8]) -> bool {
        let Some(before) = sound.len().checked_sub(BLOCK) else { return false };
        let loudness = audio::mean_square(&sound[before..]);
        let loud = loudness >= limits::SPEECH_GATE_MEAN_SQUARE;
        if loud && self.awake.is_none() {
            self.awake = Some(Box::new(Awake::after(&sound[..before])));
        }
        let Some(awake) = &mut self.awake else { return false };
        let speech = awake.hears(&sound[before..]);
        awake.quiet_blocks = if loud { 0 } else { awake.quiet_blocks + 1 };
        if awake.quiet_blocks >= HOLD_BLOCKS {
            self.awake = None;
        }
        speech && loudness >= limits::SPEECH_LEAST_MEAN_SQUARE
    }

    /// Bytes it holds on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.awake.as_deref().map_or(0, size_of_val)
    }
}

/// A detector that hears every block since it woke.
struct Awake {
    detector: Detector,
    /// The last sample heard.
    last: i16,
    /// Blocks below the gate since the last one above it.
    quiet_blocks: usize,
}

impl Awake {
    fn after(sound: &[u8]) -> Self {
        let mut awake = Self { detector: Detector::default(), last: 0, quiet_blocks: 0 };
        let recent = &sound[sound.len().saturating_sub(WARM_UP)..];
        for block in recent.rchunks_exact(BLOCK).rev() {
            awake.hears(block);
        }
        awake
    }

    /// The detector's opinion of one block, which is given to it at twice the rate: each sample behind the mean of
    /// itself and the one before.
    fn hears(&mut self, block: &[u8]) -> bool {
        let mut doubled = [0; 2 * BLOCK];
        for (pair, byte) in doubled.chunks_exact_mut(2).zip(block) {
            let sample = audio::SAMPLES[usize::from(*byte)];
            pair[0] = self.last.midpoint(sample);
            pair[1] = sample;
            self.last = sample;
        }
        self.detector.predict_i16(&doubled) >= SPEECH_SCORE
    }
}

impl fmt::Debug for Awake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awake").field("quiet_blocks", &self.quiet_blocks).finish_non_exhaustive()
    }
}
