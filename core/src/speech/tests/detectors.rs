//! How well the ear tells speech from noise, beside loudness alone.

use super::super::ear::{BLOCK, Ear};
use super::sound::{self, FRAME, Sound};
use crate::{audio, limits};
use std::fmt::Write as _;

/// Frames after and before speech in which a detector may say either: 200 ms of hang-over, 60 ms of foresight.
const HANG_OVER: usize = 10;
const FORESIGHT: usize = 3;

/// Which frames of the undisturbed caller are speech, and which are surely none.
struct Truth {
    speech: Vec<bool>,
    silence: Vec<bool>,
}

impl Truth {
    /// Speech is a frame of at least -40 dBFS of a caller who speaks at -21.
    fn of(caller: &[u8]) -> Self {
        let speech: Vec<bool> = loud(caller);
        let silence = (0..speech.len())
            .map(|frame| {
                !speech[frame.saturating_sub(HANG_OVER)..(frame + FORESIGHT + 1).min(speech.len())].contains(&true)
            })
            .collect();
        Self { speech, silence }
    }

    /// Percent of the speech that was heard, and of the silence that was taken for speech.
    fn percentages(&self, heard: &[bool]) -> (usize, usize) {
        let share = |of: &[bool]| {
            let all = of.iter().filter(|of| **of).count();
            let both = of.iter().zip(heard).filter(|(of, heard)| **of && **heard).count();
            (100 * both + all / 2) / all
        };
        (share(&self.speech), share(&self.silence))
    }
}

/// Loudness alone.
fn loud(audio: &[u8]) -> Vec<bool> {
    audio.chunks_exact(FRAME).map(|frame| audio::mean_square(frame) >= limits::SPEECH_MEAN_SQUARE).collect()
}

/// The ear; of each frame what it says of the block in its middle.
fn heard(audio: &[u8]) -> Vec<bool> {
    let mut ear = Ear::default();
    let blocks: Vec<bool> = (BLOCK..=audio.len()).step_by(BLOCK).map(|end| ear.hears(&audio[..end])).collect();
    (0..audio.len() / FRAME).filter_map(|frame| blocks.get((frame * FRAME + FRAME / 2) / BLOCK).copied()).collect()
}

fn cases(caller: &Sound) -> Vec<(String, Sound)> {
    let samples = caller.len();
    let mut cases = vec![("undisturbed".to_owned(), caller.clone())];
    for (name, noise) in [("white", sound::white(samples)), ("brown", sound::brown(samples))] {
        for ratio in [20.0, 10.0, 5.0] {
            // The caller speaks at -21 dBFS.
            let noise = sound::at_level(&noise, -21.0 - ratio);
            cases.push((format!("{name} noise {ratio} dB below"), sound::mixed(caller, &noise)));
        }
    }
    let soft = sound::scaled(caller, 0.1);
    cases.push(("soft caller".to_owned(), soft.clone()));
    let line = sound::at_level(&sound::white(samples), -55.0);
    cases.push(("soft caller, noisy line".to_owned(), sound::mixed(&soft, &line)));
    let hum = sound::at_level(&sound::tone(50.0, samples), -30.0);
    cases.push(("hum of 50 Hz".to_owned(), sound::mixed(caller, &hum)));
    cases.push(("clicks".to_owned(), sound::mixed(caller, &sound::clicks(samples))));
    cases
}

/// A row of the table: its name, what the ear makes of it, and what loudness alone does.
type Row = (String, [(usize, usize); 2]);

/// The table in the module's documentation.
fn documented() -> Vec<Row> {
    let percentages = |cell: &str| {
        let (heard, taken) = cell.split_once(" / ")?;
        Some((heard.parse().ok()?, taken.parse().ok()?))
    };
    include_str!("../../speech.rs")
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("//! | ")?.strip_suffix(" |")?.split(" | ").collect();
            let [name, ear, alone] = cells[..] else { return None };
            Some((name.to_owned(), [percentages(ear)?, percentages(alone)?]))
        })
        .collect()
}

#[test]
fn the_ear_hears_speech_through_noise_where_loudness_alone_does_not() {
    let pause = sound::silence(2 * sound::RATE);
    let caller = [pause.clone(), sound::caller(), pause].concat();
    let truth = Truth::of(&sound::encoded(&caller));
    let measured: Vec<Row> = cases(&caller)
        .into_iter()
        .map(|(name, sound)| (name, sound::encoded(&sound)))
        .map(|(name, audio)| (name, [heard(&audio), loud(&audio)].map(|frames| truth.percentages(&frames))))
        .collect();
    let mut table = String::new();
    for (name, [ear, alone]) in &measured {
        writeln!(table, "//! | {name} | {} / {} | {} / {} |", ear.0, ear.1, alone.0, alone.1).expect("memory");
    }

    for (name, [(speech, noise), _]) in &measured {
        assert!(*speech >= if name.contains("soft") { 90 } else { 95 } && *noise <= 8, "{name}\n{table}");
    }
    // Another platform's logarithm may decide a block differently.
    let near = |(one, other): (&Row, &Row)| {
        let pairs = one.1.iter().zip(other.1);
        one.0 == other.0 && pairs.into_iter().all(|(a, b)| a.0.abs_diff(b.0) <= 2 && a.1.abs_diff(b.1) <= 2)
    };
    let documented = documented();
    assert!(
        documented.len() == measured.len() && documented.iter().zip(&measured).all(near),
        "the table of the documentation should be\n{table}"
    );
}
