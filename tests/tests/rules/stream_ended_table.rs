//! What `stream_ended` is answered with: every line of its table, in order, and D5 for its repeats.

use callwarden_core::log::Event;
use callwarden_core::store::FallbackReason;
use callwarden_core::stream::Ended;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, signed, text, token_in, unsigned};
use callwarden_tests::world::{RestFault, World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const RECORDING: &str = "RE00000000000000000000000000000001";

/// What a document does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    Goodbye,
    HangUp,
    Record,
    Connect,
}

fn does(document: &str) -> Does {
    let has = |verb: &str| document.contains(verb);
    match (has("<Connect"), has("<Record"), has("<Hangup"), has("<Say") || has("<Play")) {
        (true, false, false, false) => Does::Connect,
        (false, true, false, _) => Does::Record,
        (false, false, true, true) => Does::Goodbye,
        (false, false, true, false) => Does::HangUp,
        (false, false, false, false) if has("<Response/>") => Does::Nothing,
        other => panic!("{other:?}: {document}"),
    }
}

fn stream_ended(world: &mut World, caller: Caller) -> Does {
    does(&world.webhook(path::STREAM_ENDED, caller, &[("CallStatus", "in-progress")]))
}

/// Opens the call's stream of this ordinal, sends frames for a second and loses it.
fn stream(world: &mut World, caller: Caller, ordinal: u128, token: &str) {
    let stream = caller.stream(ordinal);
    let socket = world.open_stream(caller, stream, token);
    assert_eq!(world.socket(socket).closed, None);
    world.frames(socket, stream, SECOND);
    world.end_script_socket(socket, Ended::Closed(None));
    world.run_for(SECOND / 10);
}

/// A call that was announced and whose stream carried frames and ended.
fn streamed() -> (World, Caller) {
    let mut world = World::new();
    let caller = Caller::new(1);
    let token = world.announce(caller);
    stream(&mut world, caller, 1, &token);
    (world, caller)
}

/// A caller who said nothing for twenty seconds of a living stream.
fn finished() -> (World, Caller) {
    let mut world = World::new();
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, SECOND * 21);
    assert_eq!(world.socket(socket).closed, Some(1000));
    (world, caller)
}

fn recording_ended(world: &mut World, caller: Caller) -> Does {
    let recording = [("RecordingSid", RECORDING), ("RecordingDuration", "4"), ("Digits", "")];
    does(&world.webhook(path::HANDLE_RECORDING, caller, &recording))
}

#[test]
fn a_call_that_is_over_gets_an_empty_response_whatever_else_is_true() {
    for (mut world, caller) in [streamed(), finished()] {
        recording_ended(&mut world, caller);
        world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
        assert_eq!(stream_ended(&mut world, caller), Does::Nothing);
    }
    let (mut world, caller) = streamed();
    let document = world.webhook(path::STREAM_ENDED, caller, &[("CallStatus", "completed")]);
    assert_eq!(does(&document), Does::Nothing, "the request itself says so");
}

#[test]
fn a_caller_who_had_finished_hears_goodbye() {
    let (mut world, caller) = finished();
    assert_eq!(stream_ended(&mut world, caller), Does::Goodbye);
    assert_eq!(stream_ended(&mut world, caller), Does::Goodbye, "and again");
    recording_ended(&mut world, caller);
    assert_eq!(stream_ended(&mut world, caller), Does::Goodbye, "before the line of an ended recording");
}

#[test]
fn after_a_recording_that_ended_there_is_only_the_end() {
    let (mut world, caller) = streamed();
    assert_eq!(recording_ended(&mut world, caller), Does::Goodbye);
    assert_eq!(stream_ended(&mut world, caller), Does::HangUp);
}

#[test]
fn a_claimed_call_gets_the_recording_document() {
    let mut world = World::new();
    world.rest_always = RestFault::NotSent;
    let caller = Caller::new(1);
    world.announce(caller);
    world.run_for(SECOND * 9);
    assert_eq!(stream_ended(&mut world, caller), Does::Record);
    assert_eq!(stream_ended(&mut world, caller), Does::Record);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::NoStart), "the reason is the first one");
}

#[test]
fn a_call_without_any_frame_gets_the_recording_document_as_its_fallback() {
    for with_start in [false, true] {
        let mut world = World::new();
        let caller = Caller::new(1);
        let token = world.announce(caller);
        if with_start {
            world.open_stream(caller, caller.stream(1), &token);
        }
        assert_eq!(stream_ended(&mut world, caller), Does::Record);
        world.run_for(SECOND);
        assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamError));
        let how_far = if with_start { "start but no frame" } else { "no start seen" };
        assert_eq!(world.database.how_far(caller.call).as_deref(), Some(how_far));
        assert_eq!(world.database.claims_asked, 1);
        assert!(world.rest_log.is_empty());
    }
}

#[test]
fn a_call_whose_frames_were_heard_streams_again_three_streams_at_most() {
    let (mut world, caller) = streamed();
    for ordinal in 2..=3 {
        let document = world.webhook(path::STREAM_ENDED, caller, &[]);
        assert_eq!(does(&document), Does::Connect, "stream {ordinal}, without a greeting");
        stream(&mut world, caller, ordinal, &token_in(&document));
    }
    assert_eq!(stream_ended(&mut world, caller), Does::Record);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
}

#[test]
fn a_process_that_stops_opens_no_further_stream() {
    let (mut world, caller) = streamed();
    world.drain();
    assert_eq!(stream_ended(&mut world, caller), Does::Record);
}

#[test]
fn an_unknown_call_gets_the_recording_document() {
    let mut world = World::new();
    let caller = Caller::new(7);
    assert_eq!(stream_ended(&mut world, caller), Does::Record);
    world.run_for(SECOND);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
    assert_eq!(world.database.claims_asked, 1, "another process may have claimed it");
}

#[test]
fn an_unknown_call_that_another_process_has_claimed_gets_the_recording_document_all_the_same() {
    let mut world = World::new();
    let caller = Caller::new(7);
    let lease = world.now.mono + SECOND * 10;
    world.database.claims.insert(caller.call, ("node-2".into(), lease));
    assert_eq!(stream_ended(&mut world, caller), Does::Record);
}

#[test]
fn a_repeated_stream_ended_gets_the_same_answer_with_a_fresh_token() {
    let (mut world, caller) = streamed();
    let first = world.webhook(path::STREAM_ENDED, caller, &[]);
    world.run_for(SECOND);
    let second = world.webhook(path::STREAM_ENDED, caller, &[]);
    let (one, two) = (token_in(&first), token_in(&second));
    assert_ne!(one, two);
    assert_eq!(first.replace(&one, &two), second);
    stream(&mut world, caller, 2, &one);
}

#[test]
fn repeats_while_the_claim_is_open_wait_and_get_the_same_answer_from_one_claim() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    world.database.latency = Duration::from_millis(300);
    let form = caller.form(&[("CallStatus", "in-progress")]);
    let request = || signed(path::STREAM_ENDED, &form);
    let places: Vec<usize> = (0..3).map(|_| world.request(request())).collect();
    let bodies: Vec<String> = places.into_iter().map(|place| text(&world.answer(place)).to_owned()).collect();
    assert!(bodies.iter().all(|body| does(body) == Does::Record && *body == bodies[0]));
    world.run_for(SECOND * 2);
    assert_eq!(world.database.claims_asked, 1);
    assert_eq!(world.lines_of(caller, Event::WatchdogRedirect).len(), 1);
    assert_eq!(world.lines_of(caller, Event::WatchdogRedirectOk).len(), 1);
}

#[test]
fn a_call_that_ended_before_its_recording_began_is_asked_about_by_nobody() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    assert_eq!(stream_ended(&mut world, caller), Does::Record);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
    world.run_for(limits::ENDED_KEPT);
    assert!(world.rest_log.is_empty());
}

#[test]
fn a_recording_document_without_an_account_to_ask_twilio_as_is_taken_for_delivered() {
    let mut world = World::with(settings(&[("TWILIO_ACCOUNT_SID", ""), ("TWILIO_AUTH_TOKEN", "")]));
    let caller = Caller::new(1);
    world.ask(unsigned(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")])));
    let answer = world.ask(unsigned(path::STREAM_ENDED, &caller.form(&[])));
    assert_eq!(does(text(&answer)), Does::Record);
    world.run_for(limits::RECORDING_STARTS * 6);
    assert_eq!(world.database.claims_asked, 1);
    assert!(world.lines_of(caller, Event::WatchdogRedirectFail).is_empty());
}

#[test]
fn after_a_goodbye_nothing_is_asked_about_the_call() {
    let (mut world, caller) = finished();
    assert_eq!(stream_ended(&mut world, caller), Does::Goodbye);
    world.run_for(limits::BRIDGE_TIME * 3);
    assert!(world.rest_log.is_empty());
}
