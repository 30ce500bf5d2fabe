//! What holds for any sound in any frames.

use super::super::*;
use super::sound::{self, RATE, Sound};
use proptest::prelude::*;

/// A part of a stream, so many milliseconds long.
fn part() -> impl Strategy<Value = Sound> {
    let samples = |millis: usize| millis * RATE / 1_000;
    let speech = (0_usize..9_000, 50_usize..3_500)
        .prop_map(move |(from, millis)| sound::caller()[samples(from)..][..samples(millis)].to_vec());
    let silence = (0_usize..1_500).prop_map(move |millis| sound::silence(samples(millis)));
    let noise = (20_usize..800, -50..-15)
        .prop_map(move |(millis, level)| sound::at_level(&sound::white(samples(millis)), f64::from(level)));
    let tone = (20_usize..800, 50..3_000)
        .prop_map(move |(millis, hertz)| sound::scaled(&sound::tone(f64::from(hertz), samples(millis)), 8_000.0));
    let clicks = (20_usize..800).prop_map(move |millis| sound::clicks(samples(millis)));
    prop_oneof![4 => speech, 4 => silence, 1 => noise, 1 => tone, 1 => clicks]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    // Loud without a pause for longer than an utterance may be, or anything.
    let parts = proptest::collection::vec(part(), 1..12).prop_map(|parts| sound::encoded(&parts.concat()));
    let long = (0..RATE, 14 * RATE..32 * RATE).prop_map(|(from, samples)| {
        sound::encoded(&sound::caller().into_iter().cycle().skip(from).take(samples).collect::<Sound>())
    });
    prop_oneof![3 => parts, 1 => long]
}

fn time(samples: usize) -> Duration {
    Duration::from_micros(125 * u64::try_from(samples).expect("short"))
}

/// Hears this sound in frames of these lengths, over and over.
fn utterances(audio: &[u8], frames: &[usize]) -> Vec<Utterance> {
    let (mut listener, mut spoken, mut at) = (Listener::new(), Vec::new(), 0);
    for frame in frames.iter().cycle() {
        let end = (at + frame).min(audio.len());
        listener.hear(&audio[at..end], time(at), &mut spoken);
        at = end;
        if at == audio.len() {
            break;
        }
    }
    spoken.extend(listener.flush());
    spoken
}

/// What holds for the utterances of any stream.
fn check(spoken: &[Utterance]) -> Result<(), TestCaseError> {
    for utterance in spoken {
        prop_assert!(utterance.from < utterance.to && utterance.to - utterance.from <= limits::UTTERANCE_TIME_MAX);
        prop_assert_eq!(time(utterance.audio.len()), utterance.to - utterance.from);
        prop_assert!(utterance.to - utterance.from >= limits::LAST_UTTERANCE_SPEECH_MIN);
    }
    prop_assert!(spoken.windows(2).all(|pair| pair[0].to <= pair[1].from));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn frames_of_any_length_give_the_same_utterances_and_each_is_a_part_of_the_stream(
        audio in stream(),
        frames in proptest::collection::vec(1_usize..2_000, 1..20),
    ) {
        let spoken = utterances(&audio, &[FRAME]);
        check(&spoken)?;
        for utterance in &spoken {
            let from = usize::try_from(utterance.from.as_micros() / 125).expect("short");
            prop_assert_eq!(&utterance.audio, &audio[from..][..utterance.audio.len()]);
        }
        prop_assert_eq!(&utterances(&audio, &frames), &spoken);
        prop_assert_eq!(&utterances(&audio, &[audio.len()]), &spoken);
    }

    #[test]
    fn no_speech_is_left_out_between_the_pieces_of_a_long_one(audio in stream()) {
        let spoken = utterances(&audio, &[FRAME]);
        for pair in spoken.windows(2).filter(|pair| pair[0].to - pair[0].from >= Duration::from_secs(12)) {
            // Cut, or ended by a silence that is as long as it must be.
            let silence = pair[1].from - pair[0].to;
            let kept = limits::UTTERANCE_TAIL + limits::UTTERANCE_LEAD_IN;
            prop_assert!(silence.is_zero() || silence + kept >= limits::UTTERANCE_END_SILENCE);
        }
    }

    #[test]
    fn any_bytes_at_any_places_are_survived(
        frames in proptest::collection::vec(
            (
                prop_oneof![stream(), proptest::collection::vec(any::<u8>(), 0..400)],
                prop_oneof![0_u64..20_000, any::<u64>()],
                any::<bool>(),
            ),
            1..6,
        ),
    ) {
        let (mut listener, mut spoken) = (Listener::new(), Vec::new());
        for (audio, at, flush) in frames {
            for (frame, number) in audio.chunks(FRAME).zip(0..) {
                let at = Duration::from_millis(at).saturating_add(Duration::from_millis(20 * number));
                listener.hear(frame, at, &mut spoken);
            }
            if flush {
                spoken.extend(listener.flush());
            }
        }
        check(&spoken)?;
    }
}
