//! From a recording to what a telephone line makes of it.

use std::f64::consts::PI;

/// Samples a second of a recording.
pub const RECORDED_RATE: u32 = 16_000;
/// Taps of the low-pass: 6 ms of sound.
const TAPS: usize = 95;
/// The end of the telephone's band, as a share of [`RECORDED_RATE`].
const BAND: f64 = 3_400.0 / 16_000.0;

/// The samples of a WAV file of one channel, 16 bits and [`RECORDED_RATE`].
///
/// # Panics
/// When it is another kind of file.
#[must_use]
pub fn read_wav(file: &[u8]) -> Vec<i16> {
    assert!(file.starts_with(b"RIFF") && file[8..].starts_with(b"WAVE"), "no WAV file");
    let mut chunks = &file[12..];
    let mut right = false;
    while let Some((head, rest)) = chunks.split_at_checked(8) {
        let length = u32::from_le_bytes(*head.last_chunk().expect("eight bytes")) as usize;
        let content = &rest[..length.min(rest.len())];
        match &head[..4] {
            b"fmt " => right = content.starts_with(b"\x01\0\x01\0\x80\x3e\0\0") && content[14..].starts_with(&[16, 0]),
            b"data" => {
                assert!(right, "not one channel of 16 bits at {RECORDED_RATE} Hz");
                return content.as_chunks().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect();
            }
            _ => {}
        }
        chunks = rest.get(length + length % 2..).unwrap_or_default();
    }
    panic!("a WAV file without data")
}

/// A recording as it comes out of a telephone line: 8,000 samples a second up to 3,400 Hz, in mu-law.
#[must_use]
pub fn telephone(recording: &[i16]) -> Vec<u8> {
    let filter = low_pass();
    let at = |place: usize, tap: usize| (place + tap).checked_sub(TAPS / 2).and_then(|place| recording.get(place));
    let sample = |place| -> f64 {
        (0..TAPS).map(|tap| filter[tap] * at(place, tap).map_or(0.0, |sample| f64::from(*sample))).sum()
    };
    (0..recording.len()).step_by(2).map(|place| mu_law(sample(place).round() as i16)).collect()
}

/// A sinc in a Blackman window, whose sum is 1.
fn low_pass() -> [f64; TAPS] {
    let mut taps = [0.0; TAPS];
    for (place, tap) in taps.iter_mut().enumerate() {
        let phase = 2.0 * PI * place as f64 / (TAPS - 1) as f64;
        let window = 0.42 - 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos();
        let away = 2.0 * PI * BAND * (place as f64 - (TAPS / 2) as f64);
        *tap = window * if place == TAPS / 2 { 1.0 } else { away.sin() / away };
    }
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| tap / sum)
}

/// A linear sample in mu-law (G.711): a sign, the place of the highest bit, the four bits after it, all inverted.
#[must_use]
pub fn mu_law(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs().min(32_635) + 132;
    let exponent = magnitude.ilog2() as u8 - 7;
    let mantissa = (magnitude >> (exponent + 3)) as u8 & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | exponent << 4 | mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;
    use callwarden_core::audio::SAMPLES;

    /// Half a second of a tone.
    fn tone(hertz: f64) -> Vec<i16> {
        let sample = |place: i32| (10_000.0 * (2.0 * PI * hertz * f64::from(place) / 16_000.0).sin()) as i16;
        (0..8_000).map(sample).collect()
    }

    fn loudness(mu_law: &[u8]) -> f64 {
        f64::from(callwarden_core::audio::mean_square(&mu_law[100..mu_law.len() - 100])).sqrt()
    }

    #[test]
    fn every_mu_law_byte_comes_back_from_its_sample() {
        for byte in 0..=u8::MAX {
            // 0x7f is a second zero.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(mu_law(SAMPLES[usize::from(byte)]), expected);
        }
        assert_eq!((mu_law(i16::MAX), mu_law(i16::MIN)), (0x80, 0x00));
    }

    #[test]
    fn no_sample_is_changed_by_more_than_half_a_step() {
        for sample in -32_635..=32_635_i16 {
            let back = SAMPLES[usize::from(mu_law(sample))];
            let step = 8 << ((i32::from(sample).abs() + 132).ilog2() - 7);
            assert!((i32::from(sample) - i32::from(back)).abs() <= step / 2, "{sample} {back}");
        }
    }

    #[test]
    fn a_line_lets_the_voice_through_and_nothing_that_would_fold_into_it() {
        let voice = loudness(&telephone(&tone(1_000.0)));
        assert!((6_900.0..7_200.0).contains(&voice), "{voice}");
        let above = loudness(&telephone(&tone(4_500.0)));
        assert!(above < 20.0, "{above}");
        assert_eq!(telephone(&[]).len(), 0);
    }

    #[test]
    fn a_recording_is_read_by_its_chunks() {
        let file = b"RIFF\x32\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0\
                     data\x04\0\0\0\x08\0\xf8\xff";
        assert_eq!(read_wav(file), [8, -8]);
    }
}
