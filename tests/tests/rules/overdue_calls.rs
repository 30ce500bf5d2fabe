//! T8 and I12: nothing waits for ever. A call whose end or recording nobody tells of is looked up at Twilio, and every
//! call ends with a transcript or with a written reason why it has none. Virtual time.

use callwarden_core::far_end::{AfterFailure, HangUp, Heard, Plan, RecordingFate, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::limits;
use callwarden_core::log::Event;
use callwarden_core::path;
use callwarden_core::store::CallStatus;
use callwarden_tests::world::script::{Caller, unsigned};
use callwarden_tests::world::speech::{self, caller, recorded_caller};
use callwarden_tests::world::{AUTH_TOKEN, RestFault, World};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A look-up is made within a round of its time, and what it finds is processed soon after.
const SLACK: Duration = Duration::from_secs(45);

fn gets(world: &World) -> usize {
    world.rest_count(Method::Get)
}

#[track_caller]
fn assert_done(world: &World, call: usize) {
    assert_eq!((world.transcript(call), world.transcript_status(call)), (speech::text(), "done".to_owned()));
}

/// A call that is being recorded when its process dies, so that nobody takes it over, and whose end is told to nobody.
fn forgotten(plan: Plan) -> (World, usize) {
    let mut world = World::transcribing();
    let call = world.call(plan);
    world.run_until(SECOND * 30, |world| world.ledger(call).heard() == Some(Heard::Recording));
    world.lost_paths.extend([path::CALL_STATUS, path::HANDLE_RECORDING, path::RECORDING_STATUS]);
    world.run_for(SECOND);
    world.kill_and_restart();
    world.run_to_the_end_of(call);
    (world, call)
}

#[test]
fn the_end_of_a_call_that_nobody_told_is_found_two_minutes_after_the_last_sign() {
    let (mut world, call) = forgotten(recorded_caller());
    let sid = world.sid(call);
    assert_ne!(world.database.status(sid), Some(CallStatus::Completed));
    world.run_for(limits::LOOK_UP_TIMES[0] - SECOND * 60);
    assert_eq!((world.transcript_status(call).as_str(), gets(&world)), ("pending", 0));
    world.run_for(SLACK + SECOND * 60);
    assert!(world.database.status(sid).is_some_and(CallStatus::is_terminal));
    assert!(world.database.timeline(sid).contains(&"looked_up"));
    assert_done(&world, call);
    world.run_for(DAY);
    assert_eq!(gets(&world), 3, "the call, its recordings and the audio: what is settled is not asked about again");
    world.settle();
}

#[test]
fn a_call_twilio_does_not_know_is_over_after_ten_minutes() {
    let (mut world, call) = forgotten(Plan { forgotten_when_over: true, ..recorded_caller() });
    let is_over = |world: &World| world.database.timeline(world.sid(call)).contains(&"over");
    world.run_for(limits::LOOK_UP_TIMES[0] + SLACK);
    assert_eq!((is_over(&world), gets(&world)), (false, 1), "it may not know it yet");
    world.run_for(limits::LOOK_UP_TIMES[1] - limits::LOOK_UP_TIMES[0]);
    assert!(is_over(&world));
    world.settle();
}

#[test]
fn a_call_that_is_still_alive_is_not_over() {
    let mut world = World::transcribing();
    let caller = Caller::new(1);
    world.announce(caller);
    world.rest_always = RestFault::Found("in-progress");
    world.run_for(HOUR * 4);
    assert_eq!(world.database.rows.transcript_status(caller.call), "pending");
    world.rest_always = RestFault::None;
    world.run_for(HOUR + SLACK);
    assert_eq!(world.database.rows.transcript_status(caller.call), "failed: no recording");
}

#[test]
fn a_long_call_that_is_heard_all_the_time_is_never_looked_up() {
    let mut world = World::with(speech::settings(&[("END_SILENCE", "0")]));
    let plan = Plan { frame_interval: SECOND / 2, hangs_up: HangUp::Streaming(HOUR), ..Plan::default() };
    let call = world.call(plan);
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.streams[0].frames > 7_000, "{ledger}");
    assert_eq!(gets(&world), 0);
}

#[test]
fn a_recording_nobody_told_of_is_found_in_the_list_of_its_call() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    world.lost_paths.extend([path::HANDLE_RECORDING, path::RECORDING_STATUS]);
    world.run_to_the_end_of(call);
    world.run_for(limits::LOOK_UP_TIMES[0] - SECOND * 5);
    assert_eq!(world.transcript_status(call), "pending");
    world.run_for(SLACK);
    assert_done(&world, call);
    assert!(world.database.timeline(world.sid(call)).contains(&"recording_found"));
    assert_eq!(world.asked(), 1);
    world.settle();
}

#[test]
fn a_call_of_which_nothing_at_all_is_told_after_its_beginning_ends_by_itself() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    let all =
        [path::HANDLE_RECORDING, path::RECORDING_STATUS, path::CALL_STATUS, path::STREAM_ENDED, path::STREAM_STATUS];
    world.lost_paths.extend(all);
    world.run_to_the_end_of(call);
    world.run_for(limits::LOOK_UP_TIMES[0] + SLACK);
    assert_done(&world, call);
    world.settle();
}

#[test]
fn a_recording_that_was_never_made_is_missed_after_an_hour() {
    let mut world = World::transcribing();
    let plan = Plan { hangs_up: HangUp::Answered(SECOND * 9), ..recorded_caller() };
    let call = world.call(plan);
    world.run_to_the_end_of(call);
    assert!(world.ledger(call).recordings.is_empty(), "the caller left during the prompt");
    world.run_for(limits::LOOK_UP_TIMES[2] - SLACK);
    assert_eq!(world.transcript_status(call), "pending");
    world.run_for(SLACK * 2);
    assert_eq!(world.transcript_status(call), "failed: no recording");
    assert_eq!(gets(&world), 3, "asked after 2, 10 and 60 minutes");
    let lines = world.lines(call, Event::TranscriptionFailed);
    assert_eq!(lines.iter().filter(|line| line.reason.as_deref() == Some("no_recording")).count(), 1);
    world.run_for(DAY);
    assert_eq!(gets(&world), 3);
    world.settle();
}

#[test]
fn a_recording_that_comes_after_it_was_missed_is_transcribed_all_the_same() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    world.lost_paths.extend([path::HANDLE_RECORDING, path::RECORDING_STATUS]);
    world.run_to_the_end_of(call);
    world.rest_always = RestFault::Refused(404, 20404);
    world.run_for(limits::LOOK_UP_TIMES[2] + SLACK);
    assert_eq!(world.transcript_status(call), "failed: no recording");
    world.rest_always = RestFault::None;
    let recording = world.ledger(call).recordings[0].recording.to_string();
    let caller = Caller { call: world.sid(call), ..Caller::new(1) };
    let ready = [("RecordingSid", recording.as_str()), ("RecordingStatus", "completed"), ("RecordingDuration", "23")];
    world.webhook(path::RECORDING_STATUS, caller, &ready);
    world.run_for(SLACK);
    assert_done(&world, call);
}

#[test]
fn recordings_that_twilio_cannot_find_are_asked_for_until_an_hour_has_passed() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    world.lost_paths.extend([path::HANDLE_RECORDING, path::RECORDING_STATUS]);
    world.run_to_the_end_of(call);
    world.rest_always = RestFault::Refused(404, 20404);
    world.run_for(limits::LOOK_UP_TIMES[1] + SLACK);
    assert_eq!((world.transcript_status(call).as_str(), gets(&world)), ("pending", 2));
    world.run_for(limits::LOOK_UP_TIMES[2] - limits::LOOK_UP_TIMES[1]);
    assert_eq!((world.transcript_status(call).as_str(), gets(&world)), ("failed: no recording", 3));
}

#[test]
fn a_day_without_twilio_ends_with_a_written_reason() {
    let faults = [RestFault::NotSent, RestFault::Refused(503, 20503), RestFault::Refused(401, 20003)];
    // Whether the end of the call was told, and only its recording is looked for, or not even that.
    for (fault, ended) in faults.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
        let mut world = World::transcribing();
        let call = world.call(recorded_caller());
        world.lost_paths.extend([path::HANDLE_RECORDING, path::RECORDING_STATUS]);
        world.lost_paths.extend((!ended).then_some(path::CALL_STATUS));
        world.run_to_the_end_of(call);
        world.kill_and_restart();
        world.rest_always = fault;
        world.run_for(DAY - HOUR);
        assert_eq!(world.transcript_status(call), "pending", "{fault:?}");
        world.run_for(HOUR * 3);
        let status = world.transcript_status(call);
        assert!(status.starts_with("failed: no recording: ") && status.len() > 30, "{fault:?}: {status}");
        let asked = gets(&world);
        assert!(asked <= usize::try_from(limits::LOOK_UPS_MAX).expect("few") + 1, "{asked} questions");
        world.run_for(DAY);
        assert_eq!(gets(&world), asked, "{fault:?}: it is settled");
        world.settle();
    }
}

#[test]
fn an_outage_of_twilio_shorter_than_a_day_costs_no_transcript() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    world.lost_paths.extend([path::HANDLE_RECORDING, path::RECORDING_STATUS, path::CALL_STATUS]);
    world.run_to_the_end_of(call);
    world.kill_and_restart();
    world.rest_always = RestFault::NotSent;
    world.run_for(HOUR * 20);
    world.rest_always = RestFault::None;
    world.run_for(HOUR + SLACK);
    assert_done(&world, call);
    world.settle();
}

#[test]
fn a_question_is_asked_with_the_second_auth_token_where_the_first_is_refused() {
    let tokens = format!("an-older-token,{AUTH_TOKEN}");
    let mut world = World::with(speech::settings(&[("TWILIO_AUTH_TOKEN", tokens.as_str())]));
    let call = world.call(recorded_caller());
    world.lost_paths.extend([path::HANDLE_RECORDING, path::RECORDING_STATUS, path::CALL_STATUS]);
    world.run_to_the_end_of(call);
    world.kill_and_restart();
    world.run_for(limits::LOOK_UP_TIMES[0] + SLACK);
    assert_done(&world, call);
    world.settle();
}

#[test]
fn without_credentials_a_recording_nobody_tells_of_is_missed_after_an_hour() {
    for ended in [false, true] {
        let mut world = World::with(speech::settings(&[
            ("TWILIO_ACCOUNT_SID", ""),
            ("TWILIO_AUTH_TOKEN", ""),
            ("ENABLE_CALLS_STREAM", "false"),
        ]));
        let caller = Caller::new(1);
        world.ask(unsigned(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")])));
        if ended {
            world.ask(unsigned(path::CALL_STATUS, &caller.form(&[("CallStatus", "completed")])));
        }
        world.run_for(limits::LOOK_UP_TIMES[2] - SLACK);
        assert_eq!(world.database.rows.transcript_status(caller.call), "pending", "ended: {ended}");
        world.run_for(SLACK * 2);
        assert_eq!(world.database.rows.transcript_status(caller.call), "failed: no recording", "ended: {ended}");
        world.run_for(DAY);
        world.settle();
    }
}

#[test]
fn every_combination_of_lost_callbacks_ends_by_itself() {
    let lost =
        [path::CALL_STATUS, path::STREAM_ENDED, path::STREAM_STATUS, path::HANDLE_RECORDING, path::RECORDING_STATUS];
    let sentence = speech::sample().slice(0..speech::sentence(0).end * 8);
    let recorded = || Plan { message: SECOND * 2, ..recorded_caller() };
    let plans = [
        (caller(sentence), SECOND),
        (recorded(), SECOND * 11),
        (Plan { recording: RecordingFate::Unreported, ..recorded() }, SECOND * 11),
        (Plan { recording: RecordingFate::Absent, ..recorded() }, SECOND * 11),
        (Plan { after_failure: AfterFailure::Nothing, ..Plan::with_fault(StreamFault::DropAfter(SECOND)) }, SECOND * 3),
    ];
    for (number, (plan, moment)) in plans.iter().enumerate() {
        for which in 0..1 << lost.len() {
            for killed in [false, true] {
                let mut world = World::transcribing();
                let paths = lost.iter().enumerate().filter(|(place, _)| which >> place & 1 == 1).map(|(_, path)| *path);
                world.lost_paths.extend(paths);
                let call = world.call(plan.clone());
                world.run_for(*moment);
                if killed {
                    world.kill_and_restart();
                }
                world.run_to_the_end_of(call);
                world.run_for(limits::LOOK_UP_TIMES[2] + limits::LOOK_UP_TIMES[1] + SLACK);
                let status = world.transcript_status(call);
                assert_ne!(status, "pending", "plan {number}, lost {:?}, killed {killed}", world.lost_paths);
                if which % 8 == 7 {
                    world.settle();
                    assert_eq!(world.transcript_status(call), status);
                }
            }
        }
    }
}
