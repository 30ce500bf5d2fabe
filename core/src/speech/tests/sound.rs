//! Sounds to listen to: the caller of the demo, and noises made without chance.

use crate::audio;
use std::f64::consts::TAU;

/// Samples a second.
pub(super) const RATE: usize = 8_000;
/// Samples of 20 ms.
pub(super) const FRAME: usize = 160;

/// Samples that may be mixed; full scale is 32,768.
pub(super) type Sound = Vec<f64>;

/// The caller of the demo: 12.6 s of Hebrew with pauses.
pub(super) fn caller() -> Sound {
    let file: &[u8] = include_bytes!("../../../assets/speech_he.wav");
    let data = file.windows(4).position(|name| name == b"data").expect("a data chunk") + 8;
    file[data..].iter().map(|byte| f64::from(audio::SAMPLES[usize::from(*byte)])).collect()
}

pub(super) fn silence(samples: usize) -> Sound {
    vec![0.0; samples]
}

/// A linear congruential generator; a sum of twelve of its numbers is close enough to a normal one.
pub(super) fn white(samples: usize) -> Sound {
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    (0..samples).map(|_| (0..12).map(|_| next()).sum()).collect()
}

/// White noise whose low tones prevail, as those of traffic and wind do.
pub(super) fn brown(samples: usize) -> Sound {
    let mut level = 0.0;
    white(samples)
        .into_iter()
        .map(|step| {
            level = 0.98 * level + step;
            level
        })
        .collect()
}

pub(super) fn tone(hertz: f64, samples: usize) -> Sound {
    (0..samples).map(|sample| (TAU * hertz * sample as f64 / RATE as f64).sin()).collect()
}

/// A click of 1 ms twice a second.
pub(super) fn clicks(samples: usize) -> Sound {
    (0..samples).map(|sample| if sample % (RATE / 2) < 8 { 12_000.0 } else { 0.0 }).collect()
}

pub(super) fn scaled(sound: &[f64], by: f64) -> Sound {
    sound.iter().map(|sample| sample * by).collect()
}

/// As loud as this on the whole, in dB below full scale.
pub(super) fn at_level(sound: &[f64], decibels: f64) -> Sound {
    scaled(sound, 32_768.0 * 10_f64.powf(decibels / 20.0) / root_mean_square(sound))
}

pub(super) fn mixed(one: &[f64], other: &[f64]) -> Sound {
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}

pub(super) fn root_mean_square(sound: &[f64]) -> f64 {
    (sound.iter().map(|sample| sample * sample).sum::<f64>() / sound.len() as f64).sqrt()
}

/// Mu-law: the byte whose sample is nearest.
pub(super) fn encoded(sound: &[f64]) -> Vec<u8> {
    sound.iter().map(|sample| encode(sample.round() as i32)).collect()
}

fn encode(sample: i32) -> u8 {
    let biased = sample.abs().min(32_635) + 132;
    let exponent = 24 - u8::try_from(biased.leading_zeros()).expect("at most 32");
    let mantissa = u8::try_from(biased >> (exponent + 3) & 0x0f).expect("four bits");
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | exponent << 4 | mantissa)
}

#[test]
fn encoding_is_the_inverse_of_the_table() {
    for (byte, sample) in (0_u8..=255).zip(audio::SAMPLES).filter(|(byte, _)| *byte != 0x7f) {
        assert_eq!(encode(i32::from(sample)), byte);
    }
    assert_eq!(encode(0), 0xff);
}
