//! When a recording that Twilio has not ready yet is asked for again.

use callwarden_core::far_end::{HangUp, Plan, StreamFault};
use callwarden_core::log::Event;
use callwarden_tests::world::speech::{OPENAI_KEY, sample};
use callwarden_tests::world::{World, settings};
use std::time::Duration;

/// A caller who leaves a message of two seconds.
fn message() -> Plan {
    Plan {
        hangs_up: HangUp::Recording(Duration::from_secs(2)),
        voice: sample(),
        ..Plan::with_fault(StreamFault::NeverStarts)
    }
}

#[test]
fn each_of_several_recordings_that_are_not_ready_is_asked_for_again_in_its_own_time() {
    let mut world = World::with(settings(&[("OPENAI_API_KEY", OPENAI_KEY)]));
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(world.call(message()));
        world.run_for(Duration::from_millis(400));
    }
    for call in calls {
        let ended = world.run_to_the_end_of(call).recordings[0].to.expect("it ended");
        world.run_until(Duration::from_secs(10), |world| world.logged_at(call, Event::RecordingTranscribed).is_some());
        let waited = world.logged_at(call, Event::RecordingTranscribed).expect("it is logged").since(ended);
        assert!(waited < Duration::from_secs(3), "call {call}: {waited:?}");
        assert_eq!(world.database.rows.transcript_status(world.sid(call)), "done");
    }
}
