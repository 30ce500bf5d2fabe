//! G.711 mu-law, the audio of media streams: 8,000 samples a second, a byte each.

use crate::limits;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use core::time::Duration;

/// The 16-bit sample of every mu-law byte.
pub const SAMPLES: [i16; 256] = samples();
/// The squares of [`SAMPLES`], so that loudness costs one look-up and one addition a sample.
const SQUARES: [u32; 256] = squares();
/// Characters of base64 decoded at a time, a multiple of four; a frame of 20 ms has 216.
const PIECE_CHARS: usize = 1_024;

const fn samples() -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = sample(byte as u8);
        byte += 1;
    }
    table
}

/// The bits are inverted: a sign, three bits of exponent, four of mantissa; the bias of 132 makes the steps meet.
const fn sample(byte: u8) -> i16 {
    const BIAS: i16 = 132;
    let bits = !byte;
    let magnitude = ((((bits & 0x0f) as i16) << 3) + BIAS) << ((bits >> 4) & 7);
    if bits & 0x80 == 0 { magnitude - BIAS } else { BIAS - magnitude }
}

const fn squares() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (SAMPLES[byte] as i32).pow(2).unsigned_abs();
        byte += 1;
    }
    table
}

/// How long so many bytes of mu-law last.
#[must_use]
pub const fn mulaw_length(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 125)
}

/// The loudness of mu-law audio: the mean of its squared samples; 0 for no audio.
#[must_use]
pub fn mean_square(audio: &[u8]) -> u32 {
    mean(sum_of_squares(audio), audio.len())
}

/// A payload that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBase64;

impl fmt::Display for NotBase64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payload is not base64")
    }
}

impl core::error::Error for NotBase64 {}

/// [`mean_square`] of a `media` message's payload: nothing is allocated.
///
/// # Errors
/// When the text is not base64 with its padding.
pub fn mean_square_of_base64(payload: &str) -> Result<u32, NotBase64> {
    let (mut sum, mut samples) = (0_u64, 0);
    decode_base64(payload, |piece| {
        sum += sum_of_squares(piece);
        samples += piece.len();
    })?;
    Ok(mean(sum, samples))
}

/// Decodes a `media` message's payload piece by piece on the stack; a frame of 20 ms is one piece.
///
/// # Errors
/// When the text is not base64 with its padding; the pieces before the fault were given out.
pub fn decode_base64(payload: &str, mut each: impl FnMut(&[u8])) -> Result<(), NotBase64> {
    let mut buffer = [0_u8; PIECE_CHARS / 4 * 3];
    let mut ended = false;
    for piece in payload.as_bytes().chunks(PIECE_CHARS) {
        if ended {
            return Err(NotBase64);
        }
        let length = STANDARD.decode_slice(piece, &mut buffer).map_err(|_| NotBase64)?;
        ended = length % 3 != 0;
        each(&buffer[..length]);
    }
    Ok(())
}

fn sum_of_squares(audio: &[u8]) -> u64 {
    audio.iter().map(|byte| u64::from(SQUARES[usize::from(*byte)])).sum()
}

fn mean(sum: u64, samples: usize) -> u32 {
    // A mean of values that fit 32 bits fits them too.
    u32::try_from(sum / (samples.max(1) as u64)).unwrap_or(u32::MAX)
}

/// Tells by loudness alone whether a caller speaks, for W12 while transcription is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpeechMeter {
    loud_in_a_row: u32,
}

impl SpeechMeter {
    /// Takes the loudness of the next frame; true while the caller speaks: that frame and those right before it were
    /// loud ([`limits::SPEECH_MEAN_SQUARE`], [`limits::SPEECH_FRAMES_MIN`]).
    pub fn hear(&mut self, mean_square: u32) -> bool {
        let loud = mean_square >= limits::SPEECH_MEAN_SQUARE;
        self.loud_in_a_row = if loud { self.loud_in_a_row.saturating_add(1) } else { 0 };
        self.loud_in_a_row >= limits::SPEECH_FRAMES_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_holds_the_values_of_g711() {
        let known = [
            (0x00, -32_124),
            (0x01, -31_100),
            (0x0f, -16_764),
            (0x10, -15_996),
            (0x6f, -132),
            (0x70, -120),
            (0x7e, -8),
            (0x7f, 0),
            (0x80, 32_124),
            (0x8f, 16_764),
            (0xef, 132),
            (0xfe, 8),
            (0xff, 0),
        ];
        for (byte, sample) in known {
            assert_eq!(SAMPLES[byte], sample, "{byte:#x}");
        }
        assert!(SAMPLES[..128].is_sorted() && SAMPLES[128..].is_sorted_by(|louder, softer| louder > softer));
    }

    #[test]
    fn silence_is_quiet_and_the_loudest_frame_is_full_scale() {
        assert_eq!(mean_square(&[]), 0);
        assert_eq!(mean_square(&[0xff, 0x7f, 0xff]), 0);
        assert_eq!(mean_square(&[0x00, 0x80]), 32_124 * 32_124);
        assert_eq!(mean_square(&[0xfe, 0xff]), 32);
    }

    #[test]
    fn a_payload_that_is_not_base64_says_so() {
        let unpadded = format!("{}A", "A".repeat(PIECE_CHARS));
        let padded_inside = format!("{}AA=={}", "A".repeat(PIECE_CHARS - 4), "A".repeat(4));
        for payload in ["A", "AA", "A===", "שלום", "AAA\n", &unpadded, &padded_inside] {
            assert_eq!(mean_square_of_base64(payload), Err(NotBase64), "{payload}");
        }
        assert_eq!(mean_square_of_base64(""), Ok(0));
        assert!(NotBase64.to_string().contains("not base64"));
    }

    #[test]
    fn a_click_is_not_speech_and_a_spoken_syllable_is() {
        let mut meter = SpeechMeter::default();
        let loud = limits::SPEECH_MEAN_SQUARE;
        for _ in 1..limits::SPEECH_FRAMES_MIN {
            assert!(!meter.hear(loud));
        }
        assert!(!meter.hear(loud - 1));
        for _ in 1..limits::SPEECH_FRAMES_MIN {
            assert!(!meter.hear(loud));
        }
        assert!(meter.hear(loud) && meter.hear(u32::MAX));
        assert!(!meter.hear(0));
    }

    proptest! {
        #[test]
        fn a_payload_is_as_loud_as_its_bytes(audio in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            prop_assert_eq!(mean_square_of_base64(&STANDARD.encode(&audio)), Ok(mean_square(&audio)));
        }

        #[test]
        fn any_text_is_measured_or_refused(payload in "[A-Za-z0-9+/=]{0,40}|.{0,40}") {
            prop_assert_eq!(mean_square_of_base64(&payload).is_ok(), STANDARD.decode(&payload).is_ok());
        }
    }
}
