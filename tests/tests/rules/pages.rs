//! What operators read: `/metrics` counts every time, and `/readyz` follows each use of a service. Virtual time.

use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::far_end::{AfterFailure, Plan, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::log::Event;
use callwarden_core::path;
use callwarden_core::sid::RecordingSid;
use callwarden_tests::world::script::{Caller, METRICS_TOKEN, get, metric, metrics};
use callwarden_tests::world::speech::{self, caller, recorded_caller};
use callwarden_tests::world::{DatabaseFault, RestFault, World, settings};
use serde_json::Value;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// Answers that nobody waits for.
const NEVER: RestFault = RestFault::Slow(HOUR);
const DOWN: RestFault = RestFault::Refused(503, 20503);

fn counting() -> World {
    World::with(speech::settings(&[("METRICS_TOKEN", METRICS_TOKEN)]))
}

/// Numbers of `/metrics`.
#[track_caller]
fn counted<const N: usize>(world: &mut World, names: [&str; N]) -> [u64; N] {
    let page = world.ask(metrics());
    names.map(|name| metric(&page, name))
}

/// What `/readyz` says of a service, and whether it says since when.
#[track_caller]
fn readyz(world: &mut World, service: &str) -> String {
    let response = world.ask(get(path::READYZ));
    let page: Value = serde_json::from_slice(&response.body).expect("JSON");
    let state = page[service].as_str().expect("a service").to_owned();
    assert_eq!(page[format!("{service}_error_seconds")].is_u64(), state == "error", "{page}");
    state
}

#[test]
fn what_is_said_on_streams_and_to_recordings_is_counted_each_time() {
    let mut world = counting();
    for plan in [caller(speech::paced(SECOND)), recorded_caller(), caller(speech::paced(SECOND)), recorded_caller()] {
        world.call(plan);
    }
    world.run_for(SECOND * 90);
    let names = ["utterances_total", "utterances_transcribed_total", "recordings_transcribed_total"];
    assert_eq!(counted(&mut world, names), [10, 10, 2]);
    assert_eq!(counted(&mut world, ["transcriptions_failed_total"]), [0]);
}

#[test]
fn a_recording_that_is_refused_is_counted_as_a_piece_and_as_a_whole() {
    let mut world = counting();
    world.openai.set_fault(Some(Fault::Refuse(Refusal::undecodable())));
    for plan in [recorded_caller(), recorded_caller()] {
        world.call(plan);
    }
    world.run_for(SECOND * 90);
    let names = ["transcriptions_failed_total", "recordings_transcribed_total"];
    assert_eq!(counted(&mut world, names), [4, 0]);
}

#[test]
fn what_a_process_that_is_gone_had_is_counted_by_the_next() {
    let mut world = counting();
    world.openai_down = true;
    for plan in [caller(speech::paced(SECOND)), caller(speech::paced(SECOND))] {
        world.call(plan);
    }
    world.run_for(SECOND * 10);
    world.nodes[0].disk.fails = true;
    world.run_for(SECOND * 15);
    world.nodes[0].disk.fails = false;
    let kept = world.nodes[0].disk.files.len() as u64;
    assert!((2..10).contains(&kept), "{kept} of 10 utterances are in files");
    let unheard = Plan::with_fault(StreamFault::NeverStarts);
    for plan in [unheard.clone(), unheard] {
        world.call(plan);
    }
    world.run_for(SECOND * 2);
    world.kill_and_restart();
    world.run_for(SECOND * 4);
    let names = ["utterances_adopted_total", "calls_taken_over_total"];
    assert_eq!(counted(&mut world, names), [kept, 2]);
    let lines = world.logged(Event::TranscriptionFailed).into_iter();
    let lost = lines.filter(|line| line.reason.as_deref() == Some("lost")).count() as u64;
    assert_eq!(lost + kept, 10);
    assert_eq!(counted(&mut world, ["transcriptions_failed_total"]), [lost]);
}

#[test]
fn facts_that_are_given_up_are_counted_on_both_pages() {
    let mut world = counting();
    world.database.fault = DatabaseFault::RefusesRecordings;
    for number in 1..=3 {
        let recording = RecordingSid::from_number(number).to_string();
        let begun = [("RecordingStatus", "in-progress"), ("RecordingSid", recording.as_str())];
        world.webhook(path::RECORDING_STATUS, Caller::new(number), &begun);
        world.run_for(SECOND);
    }
    let page: Value = serde_json::from_slice(&world.ask(get(path::READYZ)).body).expect("JSON");
    assert_eq!((&page["dropped_facts"], counted(&mut world, ["facts_dropped_total"])), (&3.into(), [3]));
}

#[test]
fn a_fallback_is_under_way_until_it_is_confirmed() {
    let mut world = World::new();
    let under_way = |world: &World| world.nodes[0].switchboard.gauges().fallbacks_under_way;
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    world.run_for(SECOND * 7);
    assert_eq!(under_way(&world), 0);
    world.run_until(SECOND * 60, |world| world.rest_count(Method::Post) == 1);
    assert_eq!(under_way(&world), 1);
    world.run_until(SECOND * 60, |world| !world.ledger(call).recordings.is_empty());
    assert_eq!(under_way(&world), 0);
}

#[test]
fn readyz_follows_each_use_of_the_transcription_service() {
    let mut world = counting();
    assert_eq!(readyz(&mut world, "openai"), "ok");
    world.openai_down = true;
    world.call(caller(speech::paced(SECOND)));
    world.run_for(SECOND * 10);
    assert_eq!(readyz(&mut world, "openai"), "error");
    world.openai_down = false;
    world.run_for(SECOND * 120);
    assert_eq!(readyz(&mut world, "openai"), "ok");
}

/// Runs until Twilio has answered so many REST requests.
fn answered(world: &mut World, requests: usize) {
    world.run_until(HOUR, |world| world.rest_log.len() == requests);
    world.run_for(SECOND / 10);
}

#[test]
fn readyz_follows_a_look_up_of_a_call_whose_stream_was_lost() {
    for (fault, state) in [(DOWN, "error"), (RestFault::Refused(401, 20003), "error"), (RestFault::None, "ok")] {
        let mut world = World::new();
        world.rest_next.push_back(fault);
        world.rest_always = NEVER;
        let faults = vec![StreamFault::DropAfter(SECOND)];
        world.call(Plan { after_failure: AfterFailure::Nothing, faults, ..Plan::default() });
        world.run_until(SECOND * 30, |world| world.rest_count(Method::Get) == 1);
        world.run_for(SECOND / 10);
        assert_eq!(readyz(&mut world, "twilio"), state, "{fault:?}");
    }
}

#[test]
fn readyz_follows_a_question_about_a_call_whose_fallback_failed() {
    let mut world = World::new();
    world.rest_next.extend([RestFault::Refused(403, 20003), RestFault::Found("in-progress")]);
    world.rest_always = NEVER;
    world.announce(Caller::new(1));
    answered(&mut world, 1);
    assert_eq!(readyz(&mut world, "twilio"), "error", "the update was refused");
    world.run_until(SECOND * 30, |world| world.rest_count(Method::Get) == 1);
    world.run_for(SECOND / 10);
    assert_eq!(readyz(&mut world, "twilio"), "ok", "it is within reach");
}

#[test]
fn readyz_follows_the_questions_about_calls_that_lack_their_end_or_a_recording() {
    let recorded = settings(&[("ENABLE_CALLS_STREAM", "false")]);
    let lacks_its_end = (World::new(), vec![(path::CALL_STATUS, "in-progress")]);
    let lacks_a_recording =
        (World::with(recorded), vec![(path::INCOMING_CALL, "ringing"), (path::CALL_STATUS, "completed")]);
    for (mut world, told) in [lacks_its_end, lacks_a_recording] {
        for (path, status) in &told {
            world.webhook(path, Caller::new(1), &[("CallStatus", status)]);
        }
        world.rest_next.extend([DOWN, RestFault::Refused(404, 20404)]);
        world.rest_always = NEVER;
        for (requests, state) in [(1, "error"), (2, "ok")] {
            answered(&mut world, requests);
            assert_eq!(readyz(&mut world, "twilio"), state, "{told:?}, {requests} times asked");
        }
    }
}
