//! Clips cut, mixed and damaged.

use super::*;
use proptest::prelude::*;

/// A second of noise that never repeats, as mu-law; with a quiet middle from 0.4 s to 0.6 s.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..8_000)
        .map(|place| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let byte = (state >> 24) as u8;
            if (3_200..4_800).contains(&place) { byte | 0x7C } else { byte }
        })
        .collect()
}

const TABLE: &str = "# milliseconds\n0\t100\tאחת\n100\t400\tשתיים,\n600\t900\tשלוש\n\n900\t1000\tארבע.\n";

fn passage(seed: u32) -> Passage {
    Passage::from_table(&noise(seed), TABLE).expect("a table")
}

fn hear(ear: &Ear, samples: &[i16]) -> Hearing {
    ear.hear(&Audio { rate: 8_000, samples: samples.to_vec() })
}

#[test]
fn a_clip_holds_the_words_whose_middle_it_has() {
    let ear = Ear::new(vec![passage(1)]);
    let samples = ear.passages[0].samples.clone();
    assert_eq!(hear(&ear, &samples).text, "אחת שתיים, שלוש ארבע.");
    assert_eq!(hear(&ear, &samples[..2_000]).text, "אחת");
    assert_eq!(hear(&ear, &samples[..2_001]).text, "אחת שתיים,");
    assert_eq!(hear(&ear, &samples[2_000..]).text, "שתיים, שלוש ארבע.");
    assert_eq!(hear(&ear, &samples[2_001..]).text, "שלוש ארבע.");
    assert_eq!(hear(&ear, &samples[1_500..2_500]).text, "שתיים,");
    let between = hear(&ear, &samples[401..2_000]);
    let piece = Piece { passage: 0, from: 401, to: 2_000, at: 0 };
    assert_eq!(between, Hearing { text: String::new(), pieces: vec![piece], unknown: 0 });
    assert!(!between.is_silence());
    assert_eq!(hear(&ear, &samples[..401]).text, "אחת");
}

#[test]
fn silence_around_and_lost_frames_within_do_not_matter() {
    let ear = Ear::new(vec![passage(1)]);
    let samples = &ear.passages[0].samples;
    let quiet = vec![0; 4_000];
    let padded = [&quiet[..], &samples[..4_000], &quiet, &samples[4_000..], &quiet].concat();
    assert_eq!(hear(&ear, &padded).text, "אחת שתיים, שלוש ארבע.");
    // The middle of the second word among them.
    let lost = [&samples[..1_920], &samples[2_080..5_600], &samples[5_920..]].concat();
    let hearing = hear(&ear, &lost);
    assert_eq!((hearing.text.as_str(), hearing.pieces.len()), ("אחת שתיים, שלוש ארבע.", 3));
    assert!(hear(&ear, &quiet).is_silence() && hear(&ear, &[]).is_silence());
}

#[test]
fn what_is_said_twice_is_heard_twice_and_speakers_are_told_apart() {
    let ear = Ear::new(vec![passage(1), Passage::from_table(&noise(2), "0\t500\tאחר").expect("a table")]);
    let (one, other) = (&ear.passages[0].samples, &ear.passages[1].samples);
    let text = hear(&ear, &[&one[6_100..], &one[..2_000], &other[..], &one[..900]].concat()).text;
    assert_eq!(text, "ארבע. אחת אחר אחת");
}

#[test]
fn speech_it_does_not_know_is_said_to_be_unknown() {
    let ear = Ear::new(vec![passage(1)]);
    let known = &ear.passages[0].samples;
    let stranger = passage(3).samples;
    let hearing = hear(&ear, &[&known[..3_200], &stranger[..3_200], &known[4_800..]].concat());
    assert_eq!(hearing.text, format!("אחת שתיים, {UNKNOWN_SPEECH} שלוש ארבע."));
    assert_eq!(hear(&ear, &stranger).unknown, 1);
    // Shorter than 0.3 s it may be a click.
    assert!(hear(&ear, &stranger[..BLOCK * (SPEECH_BLOCKS - 1)]).is_silence());
    // One sample in ten changed, and it is no longer what was said.
    let damaged: Vec<i16> = (0..).zip(known).map(|(place, sample)| if place % 10 == 0 { 5 } else { *sample }).collect();
    assert_eq!((hear(&ear, &damaged).pieces.len(), hear(&ear, &damaged).text.as_str()), (0, UNKNOWN_SPEECH));
}

#[test]
fn a_table_that_is_none_names_its_line() {
    for (table, line) in [
        ("0\t1", 1),
        ("0\t1\t", 1),
        ("#\n0\t1\ta\nx\t2\tb", 3),
        ("2\t1\ta", 1),
        ("0\t9\ta\n8\t10\tb", 2),
        ("0\t1001\ta", 1),
        ("0\t99999999999999999999\ta", 1),
    ] {
        assert_eq!(Passage::from_table(&noise(1), table), Err(NotATable(line)), "{table}");
    }
    assert_eq!(passage(1).text(), "אחת שתיים, שלוש ארבע.");
    assert_eq!(passage(1).words()[3].from, 7_200);
}

proptest! {
    #[test]
    fn cut_anywhere_nothing_is_lost_and_nothing_is_heard_twice(mut cuts in proptest::collection::vec(0_usize..8_000, 0..6)) {
        let ear = Ear::new(vec![passage(1)]);
        let samples = &ear.passages[0].samples;
        cuts.extend([0, samples.len()]);
        cuts.sort_unstable();
        // Clips that are too short to be recognised would not be sent.
        cuts.dedup_by(|next, earlier| *next - *earlier < 2 * WINDOW);
        *cuts.last_mut().expect("not empty") = samples.len();
        let clips = cuts.windows(2).map(|cut| hear(&ear, &samples[cut[0]..cut[1]]));
        let texts: Vec<String> = clips.map(|hearing| hearing.text).filter(|text| !text.is_empty()).collect();
        prop_assert_eq!(texts.join(" "), ear.passages[0].text());
    }

    #[test]
    fn pieces_lie_in_the_clip_one_after_the_other(
        parts in proptest::collection::vec((0_usize..8_000, 1_usize..2_000, any::<bool>()), 0..8),
    ) {
        let ear = Ear::new(vec![passage(1)]);
        let samples = &ear.passages[0].samples;
        let mut clip = Vec::new();
        for (from, length, known) in parts {
            let to = (from + length).min(samples.len());
            clip.extend(samples[from..to].iter().map(|sample| if known { *sample } else { sample.rotate_left(3) }));
        }
        let mut end = 0;
        for piece in hear(&ear, &clip).pieces {
            prop_assert!(piece.at >= end);
            end = piece.at + piece.samples();
            prop_assert_eq!(&clip[piece.at..end], &samples[piece.from..piece.to]);
        }
    }
}
