//! What a caller says on a stream is in the database while the call goes on, and all of it soon after the call has ended,
//! once and in order (T1, T3, T6, T7). Virtual time; callers speak the sample, and the service's ear knows its words.

use bytes::Bytes;
use callwarden_core::audio::SAMPLES;
use callwarden_core::far_end::{AfterFailure, HangUp, Heard, Plan, StreamFault};
use callwarden_core::log::Event;
use callwarden_core::store::FallbackReason;
use callwarden_tests::world::script::text;
use callwarden_tests::world::speech::{self, caller};
use callwarden_tests::world::{World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// A text is in the database this long after its last word, or after the caller hung up.
const SOON: Duration = Duration::from_secs(2);

/// Runs a call to its end and the little that is left to do for it.
fn run(world: &mut World, plan: Plan) -> usize {
    let call = world.call(plan);
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    call
}

#[track_caller]
fn assert_transcribed(world: &World, call: usize, expected: &str) {
    assert_eq!(world.transcript(call), expected);
    assert_eq!(world.transcript_status(call), if expected.is_empty() { "empty" } else { "done" });
    assert!(world.nodes[0].disk.files.is_empty(), "no file is left of what is stored");
}

#[test]
fn a_minute_of_speech_is_stored_sentence_by_sentence_while_the_caller_speaks() {
    let mut world = World::transcribing();
    let call = world.call(caller(speech::paced(SECOND * 60 / 5 - speech::length(&speech::sample()) / 5)));
    world.run_until(SECOND * 5, |world| !world.transcript(call).is_empty());
    let first_frame = world.ledger(call).streams[0].started.expect("a stream");
    let said = Duration::from_millis(1_737);
    assert!(world.now.mono <= first_frame + said + SOON, "{:?}", world.now.mono);
    assert_eq!(world.transcript(call), speech::sentence_text(0));
    assert_eq!(world.transcript_status(call), "pending", "the call goes on");
    world.run_to_the_end_of(call);
    let told: Vec<String> = world.database.rows.texts(world.sid(call));
    assert_eq!(told, (0..5).map(speech::sentence_text).collect::<Vec<_>>(), "one segment a sentence");
    world.run_for(SOON);
    assert_transcribed(&world, call, &speech::text());
    assert_eq!(world.lines(call, Event::UtteranceTranscribed).len(), 5);
    assert_eq!(world.asked(), 5);
    world.settle();
}

#[test]
fn the_whispering_dialect_gives_the_same_transcript() {
    let mut world = World::with(speech::settings(&[("TRANSCRIBE_MODEL", "whisper-1")]));
    let call = run(&mut world, caller(speech::paced(SECOND)));
    assert_transcribed(&world, call, &speech::text());
}

#[test]
fn speech_without_a_pause_is_cut_between_words_and_each_word_is_there_once() {
    let mut world = World::transcribing();
    let voice: Bytes = [speech::sample(), speech::sample(), speech::sample()].concat().into();
    let call = run(&mut world, caller(voice));
    assert_transcribed(&world, call, &[speech::text(), speech::text(), speech::text()].join(" "));
    assert_eq!(world.asked(), 3, "38 s in pieces of 15 s at most");
}

#[test]
fn a_caller_who_hangs_up_in_mid_word_loses_nothing_that_was_said() {
    for end in [400, 950, 2_500, 4_300, 6_200, 9_300, 11_000, 12_100] {
        let mut world = World::transcribing();
        let hangs_up = HangUp::Streaming(Duration::from_millis(end));
        let call = run(&mut world, Plan { hangs_up, ..caller(speech::sample()) });
        let end = usize::try_from(end).expect("small");
        assert_transcribed(&world, call, &speech::words(0..end));
    }
}

#[test]
fn a_caller_whose_end_nobody_hears_of_is_transcribed_all_the_same() {
    let mut world = World::transcribing();
    let plan = Plan { hangs_up: HangUp::Never, ..caller(speech::sample()) };
    let call = world.call(plan);
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.total(Heard::Goodbye) > Duration::ZERO, "silence ended it (W12)\n{ledger}");
    world.run_for(SOON);
    assert_transcribed(&world, call, &speech::text());
}

/// What was said on every stream of the call, and then to its recording.
fn on_streams_and_recorded(world: &World, call: usize, on_a_stream: &str) -> String {
    let ledger = world.ledger(call);
    let heard = ledger.streams.iter().filter(|stream| stream.frames > 0).map(|_| on_a_stream.to_owned());
    heard.chain(ledger.recordings.iter().map(|_| speech::text())).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_was_said_before_a_stream_failed_is_there_and_a_new_line_parts_it_from_what_followed() {
    let said = Duration::from_millis(1_903);
    let faults = [
        (StreamFault::DropAfter(said), 3),
        (StreamFault::StopAfter(said), 3),
        (StreamFault::StallAfter(said, None), 1),
        (StreamFault::QuietAfter(said, None), 1),
        (StreamFault::Mute(None), 0),
        (StreamFault::HandshakeFails(502), 0),
    ];
    for (fault, heard) in faults {
        let mut world = World::transcribing();
        let voice = speech::once(SECOND * 60);
        let message = speech::length(&speech::sample());
        let plan = Plan { faults: vec![fault; 8], speaks: SECOND * 200, message, voice, ..Plan::default() };
        let call = run(&mut world, plan);
        let expected = on_streams_and_recorded(&world, call, &speech::sentence_text(0));
        assert_eq!(expected.lines().count(), heard + 1, "{fault:?}: {expected}");
        assert_transcribed(&world, call, &expected);
        world.settle();
    }
}

#[test]
fn what_was_said_before_the_task_of_a_stream_panicked_is_there() {
    let mut world = World::transcribing();
    let voice = speech::once(SECOND * 60);
    let message = speech::length(&speech::sample());
    let call = world.call(Plan { speaks: SECOND * 200, message, voice, ..Plan::default() });
    world.run_for(SECOND * 2);
    world.break_socket_of(call);
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::StreamLost));
    let expected = on_streams_and_recorded(&world, call, &speech::sentence_text(0));
    assert_eq!(expected.lines().count(), 2);
    assert_transcribed(&world, call, &expected);
}

#[test]
fn frames_that_pause_and_come_back_are_one_transcript() {
    let fault = StreamFault::QuietAfter(Duration::from_millis(1_903), Some(SECOND * 3));
    let mut world = World::transcribing();
    let plan = Plan { faults: vec![fault], ..caller(speech::once(SECOND)) };
    let call = run(&mut world, plan);
    let heard = [speech::sentence_text(0), speech::words(4_903..12_600)].join(" ");
    assert_transcribed(&world, call, &heard);
}

#[test]
fn a_call_that_goes_on_on_a_second_stream_has_a_line_for_each() {
    for after_failure in [AfterFailure::Action, AfterFailure::NextVerb] {
        let mut world = World::transcribing();
        let plan = Plan {
            faults: vec![StreamFault::DropAfter(Duration::from_millis(8_003))],
            hangs_up: HangUp::Streaming(SECOND * 25),
            speaks: SECOND * 60,
            voice: speech::once(SECOND * 20),
            after_failure,
            ..Plan::default()
        };
        let call = run(&mut world, plan);
        let before = speech::words(0..8_003);
        assert_transcribed(&world, call, &format!("{before}\n{}", speech::text()));
    }
}

#[test]
fn frames_that_come_twice_and_messages_that_are_none_change_no_clip() {
    let clips = |duplicate_every, garbage_every| {
        let mut world = World::transcribing();
        let call = run(&mut world, Plan { duplicate_every, garbage_every, ..caller(speech::paced(SECOND)) });
        assert_transcribed(&world, call, &speech::text());
        let requests = &world.openai.ledger().requests;
        requests.iter().filter_map(|request| Some(request.clip.as_ref()?.digest.clone())).collect::<Vec<_>>()
    };
    let plain = clips(None, None);
    assert_eq!(plain.len(), 5);
    for (duplicates, garbage) in [(Some(1), None), (Some(3), Some(5)), (None, Some(1))] {
        assert_eq!(clips(duplicates, garbage), plain, "{duplicates:?} {garbage:?}");
    }
}

/// A byte of mu-law for a sample.
fn mu_law(sample: i16) -> u8 {
    let distance = |byte: &u8| SAMPLES[usize::from(*byte)].abs_diff(sample);
    (0..=u8::MAX).min_by_key(distance).unwrap_or(u8::MAX)
}

/// The hum of a mains line: as loud as speech, and none.
fn hum() -> Bytes {
    let sample = |at: i32| (f64::from(at) * std::f64::consts::TAU / 160.0).sin() * 3_000.0;
    (0..160).map(|at| mu_law(sample(at) as i16)).collect::<Vec<u8>>().into()
}

#[test]
fn a_hum_is_no_speech_to_a_call_that_is_transcribed_and_its_silence_ends_it() {
    let plan = || Plan { voice: hum(), speaks: SECOND * 120, ..Plan::default() };
    for (more, finished) in [(speech::settings(&[]), true), (settings(&[]), false)] {
        let mut world = World::with(more);
        let call = world.call(plan());
        world.run_for(SECOND * 30);
        let over = world.ledger(call).total(Heard::Goodbye) > Duration::ZERO;
        assert_eq!(over, finished, "loudness alone takes it for speech\n{}", world.ledger(call));
        assert!(world.openai.ledger().requests.is_empty());
    }
}

#[test]
fn of_a_caller_who_says_nothing_nothing_is_kept_or_sent() {
    let mut world = World::transcribing();
    let call = run(&mut world, Plan { hangs_up: HangUp::Streaming(SECOND * 10), ..Plan::default() });
    assert_transcribed(&world, call, "");
    assert!(world.openai.ledger().requests.is_empty());
    assert_eq!(world.nodes[0].disk.writes, 0);
}

/// The sample, so soft that next to nothing can be heard.
fn murmur() -> Bytes {
    speech::sample().iter().map(|byte| mu_law(SAMPLES[usize::from(*byte)] / 32)).collect::<Vec<u8>>().into()
}

#[test]
fn a_phrase_that_the_service_makes_up_over_a_murmur_is_dropped_and_counted() {
    let mut world = World::with(speech::settings(&[("METRICS_TOKEN", "metrics")]));
    world.openai.say_on_silence("תודה רבה.");
    let call = run(&mut world, caller(murmur()));
    assert!(!world.openai.ledger().requests.is_empty(), "it was an utterance");
    assert_transcribed(&world, call, "");
    let mut request = callwarden_tests::world::script::get(callwarden_core::path::METRICS);
    request.headers.push("authorization", "Bearer metrics");
    let metrics = world.ask(request);
    let dropped = world.asked();
    let line = format!("callwarden_stock_phrases_dropped_total {dropped}\n");
    assert!(text(&metrics).contains(&line), "{}", text(&metrics));
}

#[test]
fn a_caller_who_really_says_thank_you_is_believed() {
    let mut world = World::transcribing();
    world.openai.say_on_silence("תודה רבה.");
    let at = speech::sentence(4);
    let call = run(&mut world, caller(speech::sample().slice(at.start * 8..at.end * 8)));
    assert_transcribed(&world, call, "תודה רבה.");
}

#[test]
fn what_the_service_says_over_a_murmur_is_kept_when_it_is_no_such_phrase() {
    let mut world = World::transcribing();
    world.openai.say_on_silence("אני אתקשר מחר");
    let call = run(&mut world, caller(murmur()));
    assert!(world.transcript(call).starts_with("אני אתקשר מחר"), "{}", world.transcript(call));
    assert_eq!(world.transcript_status(call), "done");
}

#[test]
fn without_a_key_nothing_is_listened_to_kept_or_fetched() {
    let mut world = World::new();
    let streamed = run(&mut world, caller(speech::sample()));
    let recorded = run(&mut world, speech::recorded_caller());
    world.run_for(SECOND * 3_600 * 3);
    for call in [streamed, recorded] {
        assert_eq!((world.transcript(call).as_str(), world.transcript_status(call).as_str()), ("", "disabled"));
        assert!(world.database.rows.texts(world.sid(call)).is_empty());
    }
    assert!(world.openai.ledger().requests.is_empty());
    assert_eq!(world.nodes[0].disk.writes, 0);
    assert!(world.rest_log.iter().all(|(_, _, url)| !url.contains("/Recordings")), "{:?}", world.rest_log);
    world.settle();
}
