//! What Twilio can give as the audio of a recording, and what becomes of the call's transcript then (T2). Virtual time.

use bytes::Bytes;
use callwarden_core::far_end::openai::UNKNOWN_SPEECH;
use callwarden_core::fetch::FetchResponse;
use callwarden_core::limits;
use callwarden_tests::world::World;
use callwarden_tests::world::speech::{self, recorded_caller};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// A recording is transcribed this long after Twilio has it ready.
const SOON: Duration = Duration::from_secs(8);
/// What was no sound is asked for again within this.
const AGAIN: Duration = Duration::from_secs(130);

/// A call whose recording Twilio gives as this.
fn given(answer: FetchResponse) -> (World, usize) {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    world.run_until(SECOND * 60, |world| !world.ledger(call).recordings.is_empty());
    world.recording_bodies.insert(world.ledger(call).recordings[0].recording, answer);
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    (world, call)
}

#[test]
fn an_answer_that_is_no_sound_at_all_is_asked_for_again_until_it_is_one() {
    let page = FetchResponse {
        status: 200,
        headers: [("content-type", "text/html")].into_iter().collect(),
        body: Bytes::from_static(b"<!doctype html><title>Please sign in</title>"),
    };
    for answer in [speech::recording_file(b""), page] {
        let (mut world, call) = given(answer);
        assert_eq!(world.transcript_status(call), "pending");
        world.run_for(HOUR / 2);
        assert!(world.downloads() <= 40, "{} downloads in half an hour", world.downloads());
        world.recording_bodies.clear();
        world.run_for(AGAIN);
        assert_eq!((world.transcript(call), world.transcript_status(call).as_str()), (speech::text(), "done"));
        assert_eq!(world.asked(), 1);
    }
}

#[test]
fn an_answer_that_stays_no_sound_has_failed_after_an_hour() {
    let (mut world, call) = given(speech::recording_file(b""));
    world.run_for(limits::RECORDING_READY_TIME + HOUR / 30);
    assert_eq!(world.transcript_status(call), "failed: Twilio answered 200 without a body");
    world.settle();
}

#[test]
fn a_file_without_sound_has_failed_and_says_so() {
    let (mut world, call) = given(speech::recording_of(&[]));
    let said = "failed: the recording is 0 s long: a WAV without audio";
    assert_eq!((world.transcript_status(call).as_str(), world.asked()), (said, 0));
    world.settle();
}

#[test]
fn a_damaged_file_has_failed_and_says_how() {
    for damaged in [
        &b"RIFF\x04\0\0\0WAVE"[..],
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x63\0\x01\0\x40\x1f\0\0\0\0\0\0\0\0\0\0data\0\0\0\0",
    ] {
        let (mut world, call) = given(speech::recording_file(damaged));
        let status = world.transcript_status(call);
        assert!(status.starts_with("failed: ") && status.len() > 20, "{status}");
        assert_eq!((world.asked(), world.downloads()), (0, 1), "it will not get better");
        world.settle();
    }
}

#[test]
fn an_mp3_in_the_place_of_a_wav_is_sent_as_what_it_is() {
    // MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes and 26 ms a frame.
    let frame = [&[0xFF, 0xFB, 0x90, 0x00][..], &[0; 413]].concat();
    let (mut world, call) = given(speech::recording_file(&frame.repeat(100)));
    assert_eq!((world.transcript(call).as_str(), world.transcript_status(call).as_str()), (UNKNOWN_SPEECH, "done"));
    let clip = world.openai.ledger().requests[0].clip.clone().expect("a clip");
    assert!(clip.name.ends_with(".mp3"), "{}", clip.name);
    world.settle();
}

#[test]
fn samples_of_another_kind_are_understood() {
    let sound = speech::sample();
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0\0\0data".to_vec();
    file.extend(u32::try_from(sound.len()).expect("small").to_le_bytes());
    file.extend_from_slice(&sound);
    for answer in [speech::recording_file(&file), speech::recording_of(&sound)] {
        let (world, call) = given(answer);
        assert_eq!((world.transcript(call), world.transcript_status(call).as_str()), (speech::text(), "done"));
    }
}

#[test]
fn a_process_killed_between_two_pieces_leaves_only_the_rest_to_the_next() {
    let mut world = World::transcribing();
    world.openai.set_delay(SECOND * 5);
    let call = world.call(recorded_caller());
    world.run_until(SECOND * 60, |world| !world.ledger(call).recordings.is_empty());
    let long = speech::recording_of(&speech::sample().repeat(100));
    world.recording_bodies.insert(world.ledger(call).recordings[0].recording, long);
    world.run_until(SECOND * 120, |world| world.asked() == 2);
    assert!(!world.transcript(call).is_empty(), "the first piece is stored before the second is sent");
    world.kill_and_restart();
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 30);
    assert_eq!(world.transcript_status(call), "done");
    assert!(world.transcript(call) == vec![speech::text(); 100].join(" "), "no word is lost and none is there twice");
    assert_eq!((world.asked(), world.downloads()), (4, 2), "the piece under way is sent again, the stored one is not");
    world.settle();
}
