//! Utterances of whole streams.

use super::super::*;
use super::sound::{self, RATE, Sound};
use crate::limits::{UTTERANCE_END_SILENCE, UTTERANCE_LEAD_IN, UTTERANCE_TAIL, UTTERANCE_TIME_MAX};

const FRAME_TIME: Duration = Duration::from_millis(20);

/// Hears this sound, frame by frame, from this place on.
fn hear(listener: &mut Listener, sound: &[f64], from: Duration) -> Vec<Utterance> {
    let mut spoken = Vec::new();
    for (frame, number) in sound::encoded(sound).chunks(FRAME).zip(0..) {
        listener.hear(frame, from + FRAME_TIME * number, &mut spoken);
    }
    spoken
}

/// All utterances of a stream.
fn utterances(sound: &[f64]) -> Vec<Utterance> {
    let mut listener = Listener::new();
    let mut spoken = hear(&mut listener, sound, Duration::ZERO);
    spoken.extend(listener.flush());
    spoken
}

fn seconds(seconds: f64) -> usize {
    (seconds * RATE as f64) as usize
}

fn pause(time: f64) -> Sound {
    sound::silence(seconds(time))
}

/// A part of the caller's first words, where there is no pause.
fn word(time: f64) -> Sound {
    sound::caller()[seconds(0.16)..][..seconds(time)].to_vec()
}

/// Without a pause in which an utterance would end.
fn fluent(time: f64) -> Sound {
    sound::caller().into_iter().cycle().take(seconds(time)).collect()
}

/// The places of the first and the last loud frame, from both ends.
fn margins(utterance: &Utterance) -> (Duration, Duration) {
    let loud = |frame: &&[u8]| audio::mean_square(frame) >= limits::SPEECH_MEAN_SQUARE;
    let quiet_before = |frames: usize| FRAME_TIME * u32::try_from(frames).expect("few");
    let frames: Vec<&[u8]> = utterance.audio.chunks(FRAME).collect();
    (
        quiet_before(frames.iter().take_while(|frame| !loud(frame)).count()),
        quiet_before(frames.iter().rev().take_while(|frame| !loud(frame)).count()),
    )
}

#[test]
fn the_caller_of_the_demo_pauses_too_briefly_to_end_an_utterance() {
    let spoken = utterances(&sound::caller());
    let [all] = &spoken[..] else { panic!("{} utterances", spoken.len()) };
    assert!(all.from.is_zero() && all.to > Duration::from_millis(12_500), "{:?} to {:?}", all.from, all.to);
    assert!(!all.near_silent);
}

#[test]
fn sentences_with_a_second_between_them_are_utterances_with_a_margin_on_either_side() {
    let mut stretched = pause(1.0);
    let mut quiet_frames = 0;
    for frame in sound::caller().chunks(FRAME) {
        quiet_frames = if sound::root_mean_square(frame) < 16.0 { quiet_frames + 1 } else { 0 };
        stretched.extend(frame);
        if quiet_frames == 12 {
            stretched.extend(pause(1.0));
        }
    }
    stretched.extend(pause(1.0));
    let spoken = utterances(&stretched);
    assert_eq!(spoken.len(), 5);
    for utterance in &spoken {
        let (before, after) = margins(utterance);
        assert!(before >= UTTERANCE_LEAD_IN - Duration::from_millis(100), "{before:?} before {:?}", utterance.from);
        assert!(before <= UTTERANCE_LEAD_IN + Duration::from_millis(100), "{before:?} before {:?}", utterance.from);
        assert!(after >= UTTERANCE_TAIL - Duration::from_millis(40), "{after:?} after {:?}", utterance.to);
        assert!(after <= UTTERANCE_END_SILENCE, "{after:?} after {:?}", utterance.to);
    }
}

#[test]
fn silence_noise_hum_clicks_and_a_pressed_key_are_no_utterance() {
    let samples = seconds(10.0);
    let key = |time| sound::at_level(&sound::mixed(&sound::tone(697.0, time), &sound::tone(1_209.0, time)), -15.0);
    for (name, sound) in [
        ("silence", sound::silence(samples)),
        ("a noisy line", sound::at_level(&sound::white(samples), -50.0)),
        ("loud white noise", sound::at_level(&sound::white(samples), -20.0)),
        ("loud brown noise", sound::at_level(&sound::brown(samples), -30.0)),
        ("hum", sound::at_level(&sound::tone(50.0, samples), -20.0)),
        ("clicks", sound::clicks(samples)),
        ("keys", [key(seconds(0.2)), pause(1.0)].concat().repeat(5)),
    ] {
        let spoken = utterances(&sound);
        assert!(spoken.is_empty(), "{name}: {:?} to {:?}", spoken[0].from, spoken[0].to);
    }
}

#[test]
fn speech_without_end_is_cut_in_a_pause_and_goes_on_without_loss_or_repeat() {
    let sound = fluent(60.0);
    let spoken = utterances(&sound);
    assert!(spoken.len() >= 4);
    assert!(spoken.windows(2).all(|pair| pair[0].to == pair[1].from));
    let audio: Vec<u8> = spoken.iter().flat_map(|utterance| utterance.audio.iter().copied()).collect();
    assert_eq!(audio, sound::encoded(&sound));
    for utterance in &spoken[..spoken.len() - 1] {
        let length = utterance.to - utterance.from;
        assert!(length <= UTTERANCE_TIME_MAX && length >= UTTERANCE_TIME_MAX - limits::UTTERANCE_CUT_WINDOW);
        let end = &utterance.audio[utterance.audio.len() - PAUSE_BLOCKS * BLOCK..];
        assert!(audio::mean_square(end) < limits::SPEECH_GATE_MEAN_SQUARE, "cut in a word at {:?}", utterance.to);
    }
}

#[test]
fn speech_without_end_is_cut_before_a_block_more_would_be_too_long() {
    let (mut listener, mut spoken) = (Listener::new(), Vec::new());
    let audio = sound::encoded(&fluent(16.0));
    let place = |blocks: usize| Duration::from_micros((blocks * BLOCK) as u64 * MICROS_PER_SAMPLE);
    let cut = audio.chunks(BLOCK).enumerate().find_map(|(number, block)| {
        listener.hear(block, place(number), &mut spoken);
        (!spoken.is_empty()).then(|| place(number + 1))
    });
    let heard = cut.expect("a cut") - spoken[0].from;
    assert!(heard <= UTTERANCE_TIME_MAX && heard + place(1) > UTTERANCE_TIME_MAX, "{heard:?}");
}

#[test]
fn the_rest_of_a_long_utterance_is_never_too_short() {
    // The cut lies in the last pause; the word behind it is all there is of the next utterance.
    let word = word(0.2);
    let long = [fluent(14.3), pause(0.5), word.clone()].concat();
    let spoken = utterances(&[long, pause(2.0)].concat());
    let [first, rest] = &spoken[..] else { panic!("{} utterances", spoken.len()) };
    assert_eq!(first.to, rest.from);
    assert!(rest.to - rest.from < Duration::from_millis(1_200));
    // On its own it is too short.
    assert_eq!(utterances(&[word, pause(2.0)].concat()), []);
}

#[test]
fn what_follows_a_cut_is_speech_by_one_block_only_where_speech_was_cut() {
    let least = limits::UTTERANCE_SPEECH_MIN;
    let noted = |blocks: usize| {
        let mut speech = Speech::default();
        (0..blocks).for_each(|_| speech.note(true));
        speech
    };
    let enough = samples(least).div_ceil(BLOCK);
    assert!(noted(enough).rest(1).has(least) && !noted(enough).rest(0).has(least));
    assert!(!noted(enough - 1).rest(1).has(least), "a click before the cut makes no speech of a click behind it");
}

#[test]
fn of_the_newest_blocks_those_of_speech_are_counted() {
    let is_speech = |block: usize| block.is_multiple_of(3) || block % 7 == 2;
    let mut recent = Recent::default();
    for newest in 0..400 {
        recent.push(is_speech(newest));
        for blocks in 0..200 {
            let oldest = (newest + 1).saturating_sub(blocks.min(192));
            let expected = (oldest..=newest).filter(|block| is_speech(*block)).count();
            assert_eq!(recent.count(blocks), expected, "the last {blocks} of {newest}");
        }
    }
}

#[test]
fn silence_behind_a_cut_is_no_utterance() {
    let spoken = utterances(&[fluent(14.7), pause(3.0)].concat());
    assert_eq!(spoken.len(), 1);
}

#[test]
fn the_last_word_is_given_out_when_the_stream_ends_in_it() {
    let mut listener = Listener::new();
    assert_eq!(listener.flush(), None);
    // Too short for an utterance that a silence ends.
    let sound = [pause(2.0), word(0.16)].concat();
    assert_eq!(hear(&mut listener, &sound, Duration::ZERO), []);
    let last = listener.flush().expect("the word");
    assert_eq!(last.to, Duration::from_millis(2_160));
    assert!(last.from >= Duration::from_millis(1_600) && last.from <= Duration::from_millis(1_900), "{:?}", last.from);
    assert_eq!(listener.flush(), None);
    assert_eq!(hear(&mut listener, &pause(1.0), last.to), []);
    assert_eq!(listener.flush(), None);
}

#[test]
fn a_click_before_the_end_is_no_last_word() {
    assert_eq!(utterances(&[pause(1.0), sound::clicks(80)].concat()), []);
}

#[test]
fn a_gap_ends_an_utterance_and_what_follows_has_its_own_place() {
    let mut listener = Listener::new();
    let sound = word(0.8);
    assert_eq!(hear(&mut listener, &sound, Duration::ZERO), []);
    let spoken = hear(&mut listener, &[pause(0.5), sound, pause(1.0)].concat(), Duration::from_secs(60));
    let [before, after] = &spoken[..] else { panic!("{} utterances", spoken.len()) };
    assert!(before.to > Duration::from_millis(800) && before.to < Duration::from_millis(1_300), "{:?}", before.to);
    assert!(after.from > Duration::from_secs(60) && after.from < Duration::from_millis(60_500), "{:?}", after.from);
    assert_eq!(before.audio.last(), Some(&SILENCE));
}

#[test]
fn a_shorter_gap_is_silence_within_the_utterance_and_jitter_is_nothing() {
    let sound = word(0.8);
    for (late, silence) in [(600, 600), (500, 0), (40, 0)] {
        let mut listener = Listener::new();
        assert_eq!(hear(&mut listener, &sound, Duration::ZERO), []);
        let at = Duration::from_millis(800 + late);
        let spoken = hear(&mut listener, &[sound.clone(), pause(1.0)].concat(), at);
        let [all] = &spoken[..] else { panic!("{late}: {} utterances", spoken.len()) };
        let without = [sound::encoded(&sound), vec![SILENCE; silence * 8], sound::encoded(&sound)].concat();
        assert_eq!(all.audio[..without.len()], without, "{late}");
    }
}

#[test]
fn a_place_that_goes_back_or_beyond_any_call_parts_nothing() {
    let mut listener = Listener::new();
    let sound = [word(0.8), pause(1.0)].concat();
    let early = hear(&mut listener, &sound, Duration::from_secs(5));
    assert!(early[0].from == Duration::from_secs(5));
    let late = hear(&mut listener, &sound, Duration::MAX - Duration::from_secs(60));
    assert_eq!(late[0].from, limits::AUDIO_PLACE_MAX);
    let back = hear(&mut listener, &sound, Duration::ZERO);
    assert!(back[0].from >= late[0].to);
}

#[test]
fn a_caller_speaks_from_the_first_tenth_of_a_second_of_speech_to_its_end() {
    let mut listener = Listener::new();
    let sound = sound::encoded(&[pause(1.0), word(0.8), pause(1.0)].concat());
    let mut spoken = Vec::new();
    let speaks: Vec<bool> =
        sound.chunks(FRAME).map(|frame| listener.hear(frame, Duration::ZERO, &mut spoken)).collect();
    let (first, last) = (speaks.iter().position(|speaks| *speaks), speaks.iter().rposition(|speaks| *speaks));
    assert!((Some(54)..=Some(62)).contains(&first), "{first:?}");
    assert!((Some(85)..=Some(92)).contains(&last), "{last:?}");
}

#[test]
fn a_murmur_is_near_silent_and_the_usual_caller_is_not() {
    let murmur = utterances(&sound::scaled(&sound::caller(), 0.03));
    assert!(!murmur.is_empty() && murmur.iter().all(|utterance| utterance.near_silent));
    let soft = utterances(&sound::scaled(&sound::caller(), 0.1));
    assert!(!soft.is_empty() && soft.iter().all(|utterance| !utterance.near_silent));
}

/// Bytes a listener holds, its own included.
fn held(listener: &Listener) -> usize {
    size_of_val(listener) + listener.sound.capacity() + listener.ear.held()
}

#[test]
fn a_quiet_listener_holds_one_step_and_a_detector_only_while_it_is_loud() {
    let mut listener = Listener::new();
    assert!(held(&listener) < 256);
    hear(&mut listener, &pause(10.0), Duration::ZERO);
    assert!(held(&listener) < 9 * 1024);
    hear(&mut listener, &sound::at_level(&sound::white(seconds(5.0)), -30.0), Duration::from_secs(10));
    assert!((9 * 1024..17 * 1024).contains(&held(&listener)));
    // After speech, after a cut, and after sound that was no utterance.
    for (sound, number) in [fluent(14.0), fluent(40.0), [word(0.1), pause(0.6)].concat().repeat(20)].iter().zip(1..) {
        let from = Duration::from_secs(100 * number);
        hear(&mut listener, &[&sound[..], &pause(2.0)].concat(), from);
        assert!(held(&listener) < 9 * 1024, "{} after {number}", held(&listener));
    }
}

#[test]
fn a_listener_that_is_shown_names_its_detector_without_what_that_holds() {
    let mut listener = Listener::new();
    hear(&mut listener, &sound::at_level(&sound::white(seconds(0.2)), -30.0), Duration::ZERO);
    let shown = format!("{:?}", listener.ear);
    assert!(shown.contains("Awake { quiet_blocks: 0") && shown.len() < 80, "{shown}");
}

#[test]
fn the_longest_utterance_is_held_in_steps() {
    let (mut listener, mut spoken, mut most) = (Listener::new(), Vec::new(), 0);
    for frame in sound::encoded(&fluent(40.0)).chunks(FRAME) {
        listener.hear(frame, Duration::ZERO, &mut spoken);
        most = most.max(held(&listener));
        assert!(listener.sound.capacity() <= listener.sound.len() + limits::UTTERANCE_STEP_BYTES + FRAME);
    }
    assert!((LONGEST..150 * 1024).contains(&most), "{most}");
    for utterance in spoken {
        let audio = utterance.audio.try_into_mut().expect("nobody else has it");
        assert_eq!(audio.capacity(), audio.len());
    }
}
