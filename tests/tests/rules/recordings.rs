//! From a recording to its text (T2): whoever tells of it, in whichever order and how often, it is fetched when it is
//! ready, transcribed once, and where that is impossible the call's row says why. Virtual time.

use bytes::Bytes;
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::far_end::{Heard, Plan, RecordingFate};
use callwarden_core::log::{Event, Level};
use callwarden_core::sid::RecordingSid;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, get, signed, unsigned};
use callwarden_tests::world::speech::{self, recorded_caller};
use callwarden_tests::world::{AUTH_TOKEN, RestFault, World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// A recording is transcribed this long after Twilio has it ready.
const SOON: Duration = Duration::from_secs(8);
/// After the end of an outage everything that waited is tried again within this.
const BACK: Duration = Duration::from_secs(130);

fn run(world: &mut World, plan: Plan) -> usize {
    let call = world.call(plan);
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    call
}

/// Runs until this call is being recorded, and says which recording it is.
fn run_until_recorded(world: &mut World, call: usize) -> RecordingSid {
    world.run_until(SECOND * 60, |world| !world.ledger(call).recordings.is_empty());
    world.ledger(call).recordings[0].recording
}

#[track_caller]
fn assert_done(world: &World, call: usize) {
    assert_eq!((world.transcript(call), world.transcript_status(call)), (speech::text(), "done".to_owned()));
}

#[track_caller]
fn assert_done_once(world: &World, call: usize) {
    assert_done(world, call);
    assert_eq!(world.asked(), 1, "it is transcribed once");
    assert_eq!(world.lines(call, Event::RecordingTranscribed).len(), 1);
}

#[test]
fn a_recording_is_transcribed_once_though_both_webhooks_tell_of_it() {
    let mut world = World::transcribing();
    let call = run(&mut world, recorded_caller());
    assert_done_once(&world, call);
    let line = world.lines(call, Event::RecordingTranscribed)[0];
    assert_eq!(line.chars, Some(speech::text().chars().count() as u64));
    assert_eq!(world.nodes[0].disk.writes, 0, "its sound can be had from Twilio again");
    world.settle();
}

#[test]
fn either_webhook_alone_is_enough() {
    for lost in [path::HANDLE_RECORDING, path::RECORDING_STATUS] {
        let mut world = World::transcribing();
        let call = world.call(recorded_caller());
        run_until_recorded(&mut world, call);
        world.run_for(SECOND);
        world.lost_paths.insert(lost);
        world.run_to_the_end_of(call);
        world.run_for(SOON);
        assert_done_once(&world, call);
        world.settle();
    }
}

#[test]
fn webhooks_in_the_other_order_and_again_and_again_make_no_second_transcript() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    let recording = run_until_recorded(&mut world, call).to_string();
    world.run_for(SECOND);
    world.lost_paths.insert(path::HANDLE_RECORDING);
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    let caller = Caller { call: world.sid(call), ..Caller::new(1) };
    for _ in 0..3 {
        let ended = [("RecordingSid", recording.as_str()), ("RecordingDuration", "23")];
        world.webhook(path::HANDLE_RECORDING, caller, &ended);
        let ready =
            [("RecordingSid", recording.as_str()), ("RecordingStatus", "completed"), ("RecordingDuration", "23")];
        world.webhook(path::RECORDING_STATUS, caller, &ready);
        let begun = [("RecordingSid", recording.as_str()), ("RecordingStatus", "in-progress")];
        world.webhook(path::RECORDING_STATUS, caller, &begun);
        world.run_for(SOON);
    }
    assert_done_once(&world, call);
    assert_eq!(world.downloads(), 1);
    world.settle();
}

#[test]
fn every_webhook_twice_is_one_transcript() {
    for later in [0, 700, 20_000] {
        let mut world = World::transcribing();
        world.twice = Some(Duration::from_millis(later));
        let call = run(&mut world, recorded_caller());
        world.run_for(SECOND * 30);
        assert_done_once(&world, call);
        world.settle();
    }
}

#[test]
fn a_recording_that_is_not_ready_yet_is_asked_for_again() {
    for (delay, most) in [(SECOND * 3, 4), (SECOND * 90, 12)] {
        let mut world = World::transcribing();
        let call = run(&mut world, Plan { recording_delay: delay, ..recorded_caller() });
        world.run_for(delay + SECOND * 60);
        assert_done_once(&world, call);
        assert!((2..=most).contains(&world.downloads()), "{} downloads", world.downloads());
        world.settle();
    }
}

#[test]
fn a_recording_that_twilio_never_has_ready_has_failed_after_an_hour() {
    let mut world = World::transcribing();
    let plan = Plan { recording_delay: HOUR * 100, recording: RecordingFate::Unreported, ..recorded_caller() };
    let call = run(&mut world, plan);
    assert_eq!(world.transcript_status(call), "pending");
    world.run_for(limits::RECORDING_READY_TIME + SECOND * 70);
    let status = world.transcript_status(call);
    assert!(status.starts_with("failed: Twilio answered 404, code 20404"), "{status}");
    assert!(world.downloads() <= 80, "{} downloads", world.downloads());
    world.settle();
}

#[test]
fn a_recording_that_twilio_did_not_keep_is_said_to_be_none() {
    let mut world = World::transcribing();
    let call = run(&mut world, Plan { recording: RecordingFate::Absent, ..recorded_caller() });
    assert_eq!(world.transcript_status(call), "failed: Twilio kept no recording");
    world.settle();
    assert_eq!((world.asked(), world.transcript_status(call).as_str()), (0, "failed: Twilio kept no recording"));
}

#[test]
fn a_recording_that_failed_at_twilio_is_said_to_be_none() {
    let mut world = World::transcribing();
    let plan = Plan { recording: RecordingFate::Unreported, recording_delay: HOUR * 100, ..recorded_caller() };
    let call = world.call(plan);
    let recording = run_until_recorded(&mut world, call).to_string();
    world.run_to_the_end_of(call);
    let caller = Caller { call: world.sid(call), ..Caller::new(1) };
    let failed = [("RecordingSid", recording.as_str()), ("RecordingStatus", "failed"), ("ErrorCode", "13227")];
    world.webhook(path::RECORDING_STATUS, caller, &failed);
    world.run_for(SOON);
    assert_eq!(world.transcript_status(call), "failed: Twilio kept no recording");
    world.settle();
}

#[test]
fn a_recording_without_a_word_is_empty_and_costs_nothing() {
    let mut world = World::transcribing();
    let call = run(&mut world, Plan { voice: Bytes::new(), ..recorded_caller() });
    assert_eq!((world.transcript_status(call).as_str(), world.asked()), ("empty", 0));
    world.settle();
}

#[test]
fn a_message_that_reached_the_longest_recording_goes_on_and_its_parts_follow_each_other() {
    let mut world = World::transcribing();
    let call = world.call(Plan { message: SECOND * 400, ..recorded_caller() });
    for part in 0..3 {
        world.run_until(SECOND * 200, |world| world.ledger(call).recordings.len() == part + 1);
        let recording = world.ledger(call).recordings[part].recording;
        let at = speech::sentence(part);
        let sound = speech::sample().slice(at.start * 8..at.end * 8);
        world.recording_bodies.insert(recording, speech::recording_of(&sound));
    }
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    let ledger = world.ledger(call);
    assert_eq!(ledger.recordings.len(), 3, "{ledger}");
    assert!(ledger.total(Heard::Recording) >= SECOND * 360, "{ledger}");
    let said: Vec<String> = (0..3).map(speech::sentence_text).collect();
    assert_eq!((world.transcript(call), world.transcript_status(call).as_str()), (said.join("\n"), "done"));
    assert_eq!(world.asked(), 3);
    world.settle();
}

#[test]
fn the_second_auth_token_is_tried_where_the_first_is_refused() {
    let tokens = format!("an-older-token,{AUTH_TOKEN}");
    let mut world = World::with(speech::settings(&[("TWILIO_AUTH_TOKEN", tokens.as_str())]));
    let call = run(&mut world, recorded_caller());
    assert_done_once(&world, call);
    assert!(world.downloads() >= 2);
    world.settle();
}

#[test]
fn tokens_that_twilio_refuses_are_said_and_tried_again_until_they_are_mended() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    run_until_recorded(&mut world, call);
    world.rest_always = RestFault::Refused(401, 20003);
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    let said = "failed: Twilio takes none of the tokens in TWILIO_AUTH_TOKEN for its recording";
    assert_eq!(world.transcript_status(call), said);
    world.run_for(HOUR * 3);
    assert_eq!(world.transcript_status(call), said);
    assert!(world.downloads() <= 3 * 6 + 2, "{} downloads", world.downloads());
    let levels: Vec<Level> = world.lines(call, Event::TranscriptionFailed).iter().map(|line| line.level).collect();
    assert!(levels.len() > 10 && levels[0] == Level::Error, "{levels:?}");
    assert!(levels[1..].iter().all(|level| *level == Level::Info), "it is said loudly once: {levels:?}");
    world.rest_always = RestFault::None;
    world.run_for(limits::BLOCKED_RETRY + SOON);
    assert_done_once(&world, call);
    world.settle();
}

#[test]
fn an_outage_of_twilio_is_waited_out() {
    for fault in [RestFault::NotSent, RestFault::Refused(503, 20503), RestFault::Lost, RestFault::Refused(429, 20429)] {
        let mut world = World::transcribing();
        let call = world.call(recorded_caller());
        run_until_recorded(&mut world, call);
        world.rest_always = fault;
        world.run_to_the_end_of(call);
        world.run_for(HOUR);
        assert_eq!(world.transcript_status(call), "pending", "{fault:?}");
        assert!(world.downloads() <= 80, "{} downloads", world.downloads());
        world.rest_always = RestFault::None;
        world.run_for(BACK + limits::RECORDING_TIME);
        assert_done_once(&world, call);
        world.settle();
    }
}

#[test]
fn an_outage_of_the_service_is_waited_out_and_few_recordings_are_fetched_meanwhile() {
    let mut world = World::transcribing();
    world.openai.set_fault(Some(Fault::Refuse(Refusal::overloaded())));
    let calls: Vec<usize> = (0..8).map(|_| world.call(recorded_caller())).collect();
    world.run_for(HOUR);
    assert!(calls.iter().all(|call| world.transcript_status(*call) == "pending"));
    assert!(world.asked() <= 100 && world.downloads() <= 120, "{} {}", world.asked(), world.downloads());
    world.openai.set_fault(None);
    world.run_for(BACK);
    for call in calls {
        assert_done(&world, call);
    }
    world.settle();
}

#[test]
fn a_recording_the_service_refuses_for_good_has_failed_and_says_why() {
    let mut world = World::transcribing();
    world.openai.set_fault(Some(Fault::Refuse(Refusal::undecodable())));
    let call = run(&mut world, recorded_caller());
    let status = world.transcript_status(call);
    assert!(status.starts_with("failed: the transcription service answered 400"), "{status}");
    assert_eq!((world.transcript(call).as_str(), world.asked()), ("[…]", 1));
    world.settle();
    assert_eq!(world.asked(), 1);
}

#[test]
fn a_process_killed_while_it_fetches_a_recording_leaves_it_to_the_next() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    run_until_recorded(&mut world, call);
    world.rest_always = RestFault::Slow(SECOND * 5);
    world.run_until(SECOND * 60, |world| world.downloads() == 1);
    world.kill_and_restart();
    world.rest_always = RestFault::None;
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    assert_done_once(&world, call);
    world.settle();
}

#[test]
fn a_process_killed_while_it_transcribes_a_recording_leaves_it_to_the_next() {
    for at in [0, 4_999, 5_015, 5_025, 5_500] {
        let mut world = World::transcribing();
        world.openai.set_delay(SECOND * 5);
        let call = world.call(recorded_caller());
        world.run_until(SECOND * 60, |world| world.asked() == 1);
        world.run_for(Duration::from_millis(at));
        let stored = !world.transcript(call).is_empty();
        world.kill_and_restart();
        world.run_to_the_end_of(call);
        world.run_for(SOON * 2);
        assert_done(&world, call);
        assert_eq!(world.asked(), if stored { 1 } else { 2 }, "killed {at} ms after it was asked");
        world.settle();
    }
}

#[test]
fn without_credentials_the_row_says_what_is_missing() {
    let mut world = World::with(speech::settings(&[("TWILIO_ACCOUNT_SID", ""), ("TWILIO_AUTH_TOKEN", "")]));
    let caller = Caller::new(1);
    let recording = RecordingSid::from_number(9).to_string();
    let ready =
        caller.form(&[("RecordingSid", &recording), ("RecordingStatus", "completed"), ("RecordingDuration", "4")]);
    for (path, form) in [
        (path::INCOMING_CALL, caller.form(&[("CallStatus", "ringing")])),
        (path::RECORDING_STATUS, ready),
        (path::CALL_STATUS, caller.form(&[("CallStatus", "completed")])),
    ] {
        world.ask(unsigned(path, &form));
    }
    world.run_for(SOON);
    let status = world.database.rows.transcript_status(caller.call);
    assert_eq!(status, "failed: no TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN to fetch the recording with");
    assert!(world.rest_log.is_empty());
    world.settle();
}

#[test]
fn a_recording_of_a_call_nobody_announced_is_transcribed_too() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    let recording = run_until_recorded(&mut world, call);
    world.kill_and_restart();
    world.run_to_the_end_of(call);
    world.run_for(SOON);
    assert_done_once(&world, call);
    assert!(world.database.rows.job(recording).is_some());
    assert_eq!(world.ask(get(path::HEALTHZ)).status, 200);
}

#[test]
fn a_recording_is_fetched_from_twilio_whatever_url_a_webhook_names() {
    let mut world = World::transcribing();
    let call = world.call(Plan { recording: RecordingFate::Unreported, ..recorded_caller() });
    let recording = run_until_recorded(&mut world, call).to_string();
    let caller = Caller { call: world.sid(call), ..Caller::new(1) };
    let elsewhere = "https://169.254.169.254/latest/meta-data";
    world.run_to_the_end_of(call);
    let ready = [("RecordingSid", recording.as_str()), ("RecordingStatus", "completed"), ("RecordingUrl", elsewhere)];
    world.ask(signed(path::RECORDING_STATUS, &caller.form(&ready)));
    world.run_for(SOON);
    assert_done_once(&world, call);
    let base = settings(&[]).config.twilio_api_base;
    assert!(world.rest_log.iter().all(|(_, _, url)| url.starts_with(&base)), "{:?}", world.rest_log);
}
