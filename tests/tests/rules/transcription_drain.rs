//! What becomes of speech when the process is asked to stop: what is under way is finished, what cannot be is left to the
//! next process, and nobody waits for a service that is down. Virtual time.

use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::far_end::{HangUp, Plan};
use callwarden_core::limits;
use callwarden_core::log::Event;
use callwarden_tests::world::speech::{self, caller, recorded_caller};
use callwarden_tests::world::{DatabaseFault, World};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn assert_done(world: &World, call: usize) {
    assert_eq!((world.transcript(call), world.transcript_status(call)), (speech::text(), "done".to_owned()));
    assert!(world.nodes[0].disk.files.is_empty(), "no file is left of what is stored");
}

#[test]
fn what_is_at_the_service_is_stored_before_the_process_may_exit() {
    let mut world = World::transcribing();
    world.openai.set_delay(SECOND * 3);
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    assert_eq!(world.asked(), 5, "the last one is at the service");
    world.drain();
    assert!(!world.nodes[0].switchboard.is_drained());
    world.run_until(SECOND * 10, |world| world.nodes[0].switchboard.is_drained());
    assert_done(&world, call);
}

#[test]
fn what_was_said_until_the_stream_had_to_end_is_stored_and_the_recording_left_to_the_next_process() {
    let mut world = World::with(speech::settings(&[("DRAIN_SECONDS", "5")]));
    let voice = speech::once(SECOND * 60);
    let message = speech::length(&speech::sample());
    let call = world.call(Plan { voice, speaks: SECOND * 100, message, ..Plan::default() });
    world.run_for(SECOND * 3);
    world.drain();
    world.run_until(SECOND * 30, |world| world.nodes[0].switchboard.is_drained());
    let ledger = world.ledger(call);
    let stream = ledger.streams[0].started.expect("a stream");
    let heard = usize::try_from(ledger.updates[0].since(stream).as_millis()).expect("few");
    let on_stream = speech::words(0..heard);
    assert!(on_stream.split(' ').count() > 5, "it ran on for DRAIN_SECONDS: {on_stream}");
    assert_eq!(world.transcript(call), on_stream);
    world.kill_and_restart();
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 10);
    assert_eq!(world.transcript(call), format!("{on_stream}\n{}", speech::text()));
    assert_eq!(world.transcript_status(call), "done");
    world.settle();
}

#[test]
fn a_stopping_process_does_not_wait_for_a_service_that_is_down_and_leaves_the_speech_to_the_next() {
    let services: [(bool, Option<Fault>); 3] = [
        (true, None),
        (false, Some(Fault::Refuse(Refusal::overloaded()))),
        (false, Some(Fault::Refuse(Refusal::wrong_key()))),
    ];
    for (down, fault) in services {
        let mut world = World::transcribing();
        world.openai_down = down;
        world.openai.set_fault(fault.clone());
        let call = world.call(caller(speech::paced(SECOND)));
        world.run_to_the_end_of(call);
        world.run_for(SECOND);
        world.drain();
        world.run_until(SECOND * 2, |world| world.nodes[0].switchboard.is_drained());
        assert_eq!(world.nodes[0].disk.files.len(), 5, "{fault:?}");
        world.openai_down = false;
        world.openai.set_fault(None);
        world.kill_and_restart();
        world.run_for(SECOND * 10);
        assert_done(&world, call);
        assert!(world.openai.ledger().repeats().is_empty());
        world.settle();
    }
}

#[test]
fn a_recording_that_is_ready_while_the_process_stops_is_left_to_the_next() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    world.run_until(SECOND * 60, |world| !world.ledger(call).recordings.is_empty());
    world.drain();
    world.run_to_the_end_of(call);
    world.run_until(SECOND * 2, |world| world.nodes[0].switchboard.is_drained());
    assert_eq!((world.asked(), world.transcript_status(call).as_str()), (0, "pending"));
    world.kill_and_restart();
    world.run_for(SECOND * 10);
    assert_done(&world, call);
    assert_eq!(world.lines(call, Event::RecordingTranscribed).len(), 1);
    world.settle();
}

#[test]
fn a_recording_that_is_being_transcribed_is_finished_before_the_process_may_exit() {
    let mut world = World::transcribing();
    world.openai.set_delay(SECOND * 3);
    let call = world.call(recorded_caller());
    world.run_until(SECOND * 60, |world| world.asked() == 1);
    world.drain();
    assert!(!world.nodes[0].switchboard.is_drained());
    world.run_until(SECOND * 10, |world| world.nodes[0].switchboard.is_drained());
    assert_eq!(world.transcript(call), speech::text(), "though the caller is still being thanked");
    world.run_to_the_end_of(call);
    world.run_for(SECOND);
    assert_done(&world, call);
}

#[test]
fn a_recording_whose_transcription_fails_while_the_process_stops_is_left_to_the_next() {
    let mut world = World::transcribing();
    world.openai.set_delay(SECOND * 3);
    let call = world.call(recorded_caller());
    world.run_until(SECOND * 60, |world| world.asked() == 1);
    world.openai_down = true;
    world.drain();
    world.run_until(SECOND * 10, |world| world.nodes[0].switchboard.is_drained());
    world.kill_and_restart();
    world.openai_down = false;
    world.run_for(SECOND * 20);
    assert_done(&world, call);
    world.settle();
}

#[test]
fn texts_that_a_database_which_is_down_did_not_take_are_left_in_files() {
    let mut world = World::with(speech::settings(&[("DRAIN_SECONDS", "5")]));
    let call = world.call(Plan { hangs_up: HangUp::Never, message: Duration::ZERO, ..caller(speech::paced(SECOND)) });
    world.run_for(SECOND * 12);
    let before = world.asked();
    world.database.fault = DatabaseFault::Refuses;
    world.drain();
    world.run_for(SECOND * 5 + limits::DRAIN_MOVES_TIME);
    assert!(!world.nodes[0].switchboard.is_drained(), "rows wait that nobody else has");
    assert!(world.asked() > before);
    let texts_kept = world.nodes[0].disk.of_speech();
    assert!(!texts_kept.is_empty() && texts_kept.iter().all(|name| name.ends_with(".txt")), "{texts_kept:?}");
    let texts = world.asked();
    world.kill_and_restart();
    world.database.fault = DatabaseFault::None;
    world.run_for(SECOND * 60);
    assert!(world.nodes[0].disk.files.is_empty());
    let told: Vec<String> = world.database.rows.texts(world.sid(call));
    assert_eq!(told.join(" "), speech::text());
    assert_eq!(world.asked(), texts, "nothing is asked for again");
}
