//! When a call falls back, and when not: W1 to W4, W6 and W9, in virtual time.

use bytes::Bytes;
use callwarden_core::far_end::{AfterFailure, EndedBy, HangUp, Heard, Ledger, Plan, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::log::Event;
use callwarden_core::prompts::Prompts;
use callwarden_core::sid::StreamSid;
use callwarden_core::store::{CallFact, CallStatus, FallbackReason};
use callwarden_core::stream::Ended;
use callwarden_core::time::Instant;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, stop, token_in};
use callwarden_tests::world::{LATENCY, RestFault, World, settings};
use std::time::Duration;

const PRECISION: Duration = Duration::from_millis(50);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[track_caller]
fn assert_near(at: Instant, from: Instant, after: Duration) {
    let off = at.since(from).abs_diff(after);
    assert!(off <= PRECISION, "{:?} instead of {after:?}", at.since(from));
}

fn is_recorded(ledger: &Ledger) -> bool {
    ledger.total(Heard::Recording) > Duration::ZERO
}

/// Runs a call with this fault to its end and says when the watch acted.
fn fallen_back(plan: Plan) -> (World, usize, Instant) {
    let mut world = World::new();
    let call = world.call(plan);
    assert!(is_recorded(world.run_to_the_end_of(call)), "{}", world.ledger(call));
    assert_eq!(world.lines(call, Event::WatchdogRedirect).len(), 1);
    let at = world.logged_at(call, Event::WatchdogRedirect).expect("it fell back");
    (world, call, at)
}

#[test]
fn a_call_without_start_is_redirected_once_eight_seconds_after_the_answer() {
    let (mut world, call, at) = fallen_back(Plan::with_fault(StreamFault::NeverStarts));
    assert_near(at, world.answered_at(path::INCOMING_CALL), seconds(8.0));
    assert_eq!(world.ledger(call).updates.len(), 1);
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::NoStart));
    assert_eq!(world.database.how_far(world.sid(call)).as_deref(), Some("no start seen"));
    world.settle();
}

#[test]
fn a_stream_error_just_before_the_watch_does_not_postpone_it() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    let caller = Caller::new(1);
    world.announce(caller);
    let answered = world.now.mono;
    world.run_for(seconds(7.0));
    let stream = caller.stream(1);
    let error = [("StreamEvent", "stream-error"), ("StreamSid", stream.as_str()), ("StreamError", "31920")];
    world.webhook(path::STREAM_STATUS, caller, &error);
    world.run_for(seconds(3.0));
    assert_near(world.rest_at(Method::Post).expect("it fell back"), answered, seconds(8.0));
}

#[test]
fn a_mute_call_is_redirected_six_seconds_after_start() {
    let (mut world, call, at) = fallen_back(Plan::with_fault(StreamFault::Mute(None)));
    let start = world.logged_at(call, Event::WsStart).expect("a start");
    assert_near(at, start, seconds(6.0));
    assert_eq!(world.ledger(call).updates.len(), 1);
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::NoMedia));
    assert_eq!(world.database.how_far(world.sid(call)).as_deref(), Some("start but no frame"));
    world.settle();
}

#[test]
fn a_stalled_call_is_asked_by_mark_first_and_redirected_when_no_echo_comes() {
    let (mut world, call, at) = fallen_back(Plan::with_fault(StreamFault::StallAfter(seconds(3.0), None)));
    let stalled = world.ledger(call).spans.iter().find(|span| span.heard == Heard::Streaming).expect("speech").to;
    assert_near(at, stalled, seconds(8.0));
    assert_eq!(world.ledger(call).streams[0].marks, 1, "the first frame's mark came back, the question's did not");
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::MediaStalled));
    assert_eq!(world.database.how_far(world.sid(call)).as_deref(), Some("frames until second 3"));
    world.settle();
}

#[test]
fn a_stalled_call_whose_frames_come_back_while_it_is_asked_goes_on() {
    let fault = StreamFault::StallAfter(seconds(3.0), Some(seconds(7.8)));
    let mut world = World::new();
    let hangs_up = HangUp::Answered(seconds(30.0));
    let call = world.call(Plan { faults: vec![fault], speaks: seconds(60.0), hangs_up, ..loud() });
    assert_eq!(world.run_to_the_end_of(call).ended.map(|(_, by)| by), Some(EndedBy::Caller));
    assert!(world.lines(call, Event::WatchdogRedirect).is_empty() && world.rest_log.is_empty());
}

#[test]
fn a_quiet_call_that_echoes_is_left_alone_for_thirty_seconds() {
    let (world, call, at) = fallen_back(Plan::with_fault(StreamFault::QuietAfter(seconds(3.0), None)));
    let quiet = world.ledger(call).spans.iter().find(|span| span.heard == Heard::Streaming).expect("speech").to;
    assert_near(at, quiet, limits::QUIET_TIME);
    assert!(world.ledger(call).streams[0].marks >= 4, "it was asked every six seconds");
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::MediaQuiet));
}

#[test]
fn a_call_that_was_quiet_for_a_while_goes_on_as_if_nothing_had_been() {
    let fault = StreamFault::QuietAfter(seconds(2.0), Some(seconds(25.0)));
    let plan = Plan { faults: vec![fault], speaks: seconds(60.0), hangs_up: HangUp::Answered(seconds(45.0)), ..loud() };
    let mut world = World::new();
    let call = world.call(plan);
    world.run_to_the_end_of(call);
    assert!(world.rest_log.is_empty(), "nothing was asked of Twilio");
    assert!(world.lines(call, Event::WatchdogRedirect).is_empty());
}

/// A caller who is loud enough to be heard speaking.
fn loud() -> Plan {
    Plan { voice: Bytes::from_static(&[0x00, 0x80]), ..Plan::default() }
}

#[test]
fn a_healthy_call_is_never_redirected() {
    let mut world = World::new();
    let call = world.call(Plan { speaks: seconds(300.0), hangs_up: HangUp::Answered(seconds(300.0)), ..loud() });
    let ledger = world.run_to_the_end_of(call);
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Caller));
    assert!(ledger.updates.is_empty() && ledger.streams.len() == 1 && ledger.problems.is_empty(), "{ledger:?}");
    assert!(world.rest_log.is_empty());
    assert_eq!(world.database.fallback(world.sid(call)), None);
    assert_eq!(world.database.status(world.sid(call)), Some(CallStatus::Completed));
    assert_eq!(world.database.frames(world.sid(call)), Some(world.ledger(call).streams[0].frames));
    world.settle();
}

#[test]
fn a_call_that_is_over_is_never_redirected() {
    for (hangs_up, fault) in [
        (HangUp::Answered(seconds(7.9)), StreamFault::NeverStarts),
        (HangUp::Answered(seconds(5.9)), StreamFault::Mute(None)),
        (HangUp::Streaming(seconds(10.5)), StreamFault::StallAfter(seconds(3.0), None)),
        (HangUp::Ringing(Duration::from_millis(5)), StreamFault::None),
    ] {
        let mut world = World::new();
        let call = world.call(Plan { hangs_up, ..Plan::with_fault(fault) });
        world.run_to_the_end_of(call);
        world.settle();
        assert_eq!(world.rest_count(Method::Post), 0, "{fault:?} {hangs_up:?}");
        assert!(world.lines(call, Event::WatchdogRedirect).is_empty(), "{fault:?} {hangs_up:?}");
    }
}

#[test]
fn a_recording_is_never_interrupted_by_a_watch() {
    let plan = Plan { message: seconds(119.0), ..Plan::with_fault(StreamFault::HandshakeFails(502)) };
    let mut world = World::new();
    let call = world.call(plan);
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.updates.is_empty(), "the answer to stream_ended was the fallback");
    assert!(ledger.recordings[0].speech >= seconds(119.0), "{ledger}");
}

#[test]
fn a_long_greeting_buys_its_own_length_and_half_the_timeout() {
    // 81 characters: nine seconds of speech, so 9 + 8 / 2.
    let greeting = "שלום ".repeat(16) + "!";
    let mut world = World::with(settings(&[("GREETING_TEXT", greeting.as_str())]));
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    world.run_to_the_end_of(call);
    let at = world.logged_at(call, Event::WatchdogRedirect).expect("it fell back");
    assert_near(at, world.answered_at(path::INCOMING_CALL), seconds(13.0));
}

#[test]
fn a_short_greeting_changes_nothing() {
    let mut world = World::with(settings(&[("GREETING_TEXT", "שלום, במה נעזור?")]));
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    world.run_to_the_end_of(call);
    let at = world.logged_at(call, Event::WatchdogRedirect).expect("it fell back");
    assert_near(at, world.answered_at(path::INCOMING_CALL), seconds(8.0));
}

#[test]
fn a_greeting_file_whose_length_cannot_be_read_counts_as_fifteen_seconds() {
    let mut settings = settings(&[]);
    let unreadable = Bytes::from_static(b"ID3\x04\0\0\0\0\0\0no frame follows");
    let file = |name| (name == "greeting_he.mp3").then(|| unreadable.clone());
    settings.prompts = Prompts::new(&settings.config, file).expect("it is an MP3 by its tag");
    let mut world = World::with(settings);
    let caller = Caller::new(1);
    world.announce(caller);
    world.run_for(seconds(25.0));
    let fallback = world.log.iter().find(|(_, line)| line.event == Event::WatchdogRedirect).expect("it fell back").0;
    assert_near(fallback, world.answered_at(path::INCOMING_CALL), seconds(15.0 + 4.0));
}

#[test]
fn the_timeouts_are_those_of_the_configuration() {
    let mut world = World::with(settings(&[("STREAM_START_TIMEOUT", "3s"), ("MEDIA_TIMEOUT", "2s")]));
    let silent = world.call(Plan::with_fault(StreamFault::NeverStarts));
    world.run_to_the_end_of(silent);
    let at = world.logged_at(silent, Event::WatchdogRedirect).expect("it fell back");
    assert_near(at, world.answered_at(path::INCOMING_CALL), seconds(3.0));
    let mute = world.call(Plan::with_fault(StreamFault::Mute(None)));
    world.run_to_the_end_of(mute);
    let at = world.logged_at(mute, Event::WatchdogRedirect).expect("it fell back");
    assert_near(at, world.logged_at(mute, Event::WsStart).expect("a start"), seconds(2.0));
}

#[test]
fn stream_ended_before_any_frame_is_answered_with_the_recording_and_no_rest() {
    let (mut world, call, _) = fallen_back(Plan::with_fault(StreamFault::HandshakeFails(502)));
    assert!(world.rest_log.is_empty(), "no REST request was needed");
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::StreamError));
    let how_far = world.database.how_far(world.sid(call)).expect("it is written down");
    assert!(how_far.starts_with("no start seen; Twilio reported: Stream - Websocket - Handshake Error"), "{how_far}");
    world.settle();
}

#[test]
fn a_stream_error_that_nothing_follows_is_acted_upon_after_a_second_and_a_half() {
    let plan = Plan { after_failure: AfterFailure::Nothing, ..Plan::with_fault(StreamFault::HandshakeFails(502)) };
    let (mut world, call, at) = fallen_back(plan);
    assert_near(at, world.answered_at(path::STREAM_STATUS), limits::STREAM_ERROR_WAIT);
    assert_eq!(world.ledger(call).updates.len(), 1);
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::StreamError));
    world.settle();
}

#[test]
fn stream_ended_and_stream_error_give_one_fallback_in_either_order() {
    let error = [("StreamEvent", "stream-error"), ("StreamError", "Handshake Error"), ("StreamSid", MISSING)];
    for error_first in [true, false] {
        let mut world = World::new();
        let caller = Caller::new(1);
        world.announce(caller);
        if error_first {
            world.webhook(path::STREAM_STATUS, caller, &error);
            world.run_for(seconds(1.0));
        }
        let document = world.webhook(path::STREAM_ENDED, caller, &[("CallStatus", "in-progress")]);
        if !error_first {
            world.webhook(path::STREAM_STATUS, caller, &error);
        }
        world.run_for(seconds(5.0));
        let begun = [("RecordingStatus", "in-progress"), ("RecordingSid", "RE00000000000000000000000000000001")];
        world.webhook(path::RECORDING_STATUS, caller, &begun);
        world.run_for(seconds(60.0));
        assert!(document.contains("<Record"), "{document}");
        assert!(world.rest_log.is_empty(), "the answer is the fallback");
        assert_eq!(world.lines_of(caller, Event::WatchdogRedirect).len(), 1);
        assert_eq!(world.lines_of(caller, Event::WatchdogRedirectOk).len(), 1);
        assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamError));
    }
}

const MISSING: &str = "MZ00000000000000000000000000000999";

#[test]
fn a_repeated_stream_error_does_not_postpone_the_fallback() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    let error = [("StreamEvent", "stream-error"), ("StreamError", "Handshake Error"), ("StreamSid", MISSING)];
    let first = world.now.mono;
    for _ in 0..4 {
        world.webhook(path::STREAM_STATUS, caller, &error);
        world.run_for(seconds(1.0));
    }
    let (at, _) = world.log.iter().find(|(_, line)| line.event == Event::WatchdogRedirect).expect("it fell back");
    assert_near(*at, first, limits::STREAM_ERROR_WAIT);
}

#[test]
fn an_error_of_an_older_stream_says_nothing_about_the_present_one() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let (old, new) = (caller.stream(1), caller.stream(2));
    let first = world.open_stream(caller, old, &token);
    world.frames(first, old, seconds(1.0));
    world.say(first, &stop(old));
    world.run_for(LATENCY * 2);
    let token = token_in(&world.webhook(path::STREAM_ENDED, caller, &[]));
    let second = world.open_stream(caller, new, &token);
    let error = [("StreamEvent", "stream-error"), ("StreamError", "late"), ("StreamSid", old.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &error);
    world.frames(second, new, seconds(15.0));
    assert!(world.rest_log.is_empty());
    assert!(world.lines_of(caller, Event::WatchdogRedirect).is_empty());
    world.rest_always = RestFault::Refused(200, 0);
    world.run_for(limits::QUIET_TIME + seconds(1.0));
    let how_far = world.database.how_far(caller.call).expect("it fell back");
    assert!(how_far.starts_with("frames until second") && !how_far.contains("late"), "{how_far}");
}

#[test]
fn an_error_of_a_stream_that_has_just_gone_is_acted_upon_after_a_second_and_a_half() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.end_script_socket(socket, Ended::Closed(None));
    world.run_for(seconds(1.0));
    let error = [("StreamEvent", "stream-error"), ("StreamError", "Broken"), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &error);
    let told = world.now.mono;
    world.run_for(seconds(5.0));
    assert_near(world.rest_at(Method::Post).expect("it is moved"), told, limits::STREAM_ERROR_WAIT);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamError));
}

#[test]
fn an_error_of_a_stream_that_is_told_while_the_claim_is_decided_arms_nothing() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    world.run_for(seconds(7.5));
    // Another process has the caller.
    let fact = CallFact { stream: Some((1, caller.stream(1))), ..CallFact::new(caller.call, world.now.unix, "node-2") };
    world.database.take_call(world.now.mono, fact);
    world.database.latency = seconds(0.4);
    world.run_until(seconds(1.0), |world| world.database.claims_asked == 1);
    let error = [("StreamEvent", "stream-error"), ("StreamError", "Handshake Error"), ("StreamSid", MISSING)];
    world.webhook(path::STREAM_STATUS, caller, &error);
    world.run_for(seconds(20.0));
    assert!(world.database.timeline(caller.call).contains(&"claim_refused"));
    assert_eq!((world.database.claims_asked, world.rest_log.len()), (1, 0));
}

/// A stream that has carried frames, and that Twilio has just reported broken.
fn reported_broken(world: &mut World, caller: Caller) -> (StreamSid, usize) {
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, seconds(2.0));
    let error = [("StreamEvent", "stream-error"), ("StreamError", "Broken"), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &error);
    (stream, socket)
}

#[test]
fn a_stream_error_never_moves_a_call_whose_frames_go_on() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let (stream, socket) = reported_broken(&mut world, caller);
    world.frames(socket, stream, seconds(17.0));
    assert!(world.lines_of(caller, Event::WatchdogRedirect).is_empty(), "frames flow: no fallback (W6)");
    assert_eq!(world.socket(socket).closed, None);
}

#[test]
fn a_stream_reported_broken_whose_frames_stopped_is_lost_after_eight_seconds() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let (_, socket) = reported_broken(&mut world, caller);
    let told = world.now.mono;
    world.rest_next = [RestFault::Found("in-progress"), RestFault::Refused(200, 0)].into();
    world.run_for(seconds(9.0));
    assert_eq!(world.socket(socket).closed, Some(1000));
    assert_near(world.rest_at(Method::Get).expect("Twilio was asked"), told, limits::BRIDGE_TIME);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
}

#[test]
fn a_caller_who_left_before_any_stream_is_no_failure() {
    for hangs_up in [HangUp::Ringing(Duration::from_millis(500)), HangUp::Answered(seconds(2.0))] {
        let mut world = World::with(settings(&[("GREETING_TEXT", "שלום, תודה שהתקשרתם אלינו, אנא המתינו")]));
        let call = world.call(Plan { hangs_up, ..Plan::default() });
        world.run_to_the_end_of(call);
        assert_eq!(world.database.how_far(world.sid(call)).as_deref(), Some("caller_left"), "{hangs_up:?}");
        assert_eq!(world.database.fallback(world.sid(call)), None);
        world.settle();
    }
}

#[test]
fn a_caller_who_left_during_the_fallback_leaves_the_reason_behind() {
    let mut world = World::new();
    let plan = Plan { hangs_up: HangUp::Answered(seconds(8.1)), ..Plan::with_fault(StreamFault::NeverStarts) };
    world.rest_always = RestFault::NotSent;
    let call = world.call(plan);
    world.run_to_the_end_of(call);
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::NoStart));
    let how_far = world.database.how_far(world.sid(call)).expect("it is written down");
    assert_eq!(how_far, "no start seen; the call ended before the recording began");
    world.settle();
}

#[test]
fn a_refused_token_is_named_in_how_far() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    let socket = world.open_stream(caller, caller.stream(1), "1.1.1.AAAA");
    assert_eq!(world.socket(socket).closed, Some(1008));
    world.rest_always = RestFault::Refused(200, 0);
    world.run_for(seconds(9.0));
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::NoStart), "its watch was not touched");
    let how_far = world.database.how_far(caller.call).expect("it is written down");
    assert_eq!(how_far, "no start seen; token refused (malformed_token)");
}

#[test]
fn only_a_caller_who_was_neither_heard_nor_recorded_has_left() {
    let heard = Plan { hangs_up: HangUp::Streaming(seconds(2.0)), ..Plan::default() };
    let recorded = Plan { hangs_up: HangUp::Recording(seconds(2.0)), ..Plan::default() };
    let early = Plan { hangs_up: HangUp::Answered(seconds(2.0)), ..Plan::with_fault(StreamFault::NeverStarts) };
    for (stream, plan, left) in [("true", heard, false), ("false", recorded, false), ("true", early, true)] {
        let mut world = World::with(settings(&[("ENABLE_CALLS_STREAM", stream)]));
        let call = world.call(plan);
        world.run_to_the_end_of(call);
        world.run_for(seconds(5.0));
        let how_far = world.database.how_far(world.sid(call));
        assert_eq!(how_far.as_deref() == Some("caller_left"), left, "{how_far:?}");
    }
}
