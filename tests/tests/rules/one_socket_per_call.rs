//! S8 and the token: which socket speaks for a call. Virtual time.

use callwarden_core::far_end::{HangUp, Plan};
use callwarden_core::log::Event;
use callwarden_core::sid::StreamSid;
use callwarden_core::store::FallbackReason;
use callwarden_core::stream::Ended;
use callwarden_core::token::TokenKey;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, frame, stop, token_in};
use callwarden_tests::world::{AUTH_TOKEN, LATENCY, RestFault, World};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A call whose first stream carried frames until a moment ago.
fn streaming() -> (World, Caller, String, StreamSid, usize) {
    let mut world = World::new();
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, SECOND);
    (world, caller, token, stream, socket)
}

fn refusals(world: &World, caller: Caller) -> Vec<String> {
    world.lines_of(caller, Event::WsRejected).iter().filter_map(|line| line.reason.clone()).collect()
}

#[test]
fn a_fresh_stream_is_not_displaced_by_a_replayed_token() {
    let (mut world, caller, token, stream, socket) = streaming();
    let thief = world.open_stream(caller, caller.stream(2), &token);
    world.run_for(SECOND / 10);
    assert_eq!((world.socket(thief).closed, world.socket(socket).closed), (Some(1008), None));
    assert_eq!(refusals(&world, caller), ["stream_is_live"]);
    world.frames(socket, stream, SECOND * 10);
    assert!(world.lines_of(caller, Event::WatchdogRedirect).is_empty(), "the live call goes on");
}

#[test]
fn a_stream_that_had_a_frame_two_seconds_ago_is_fresh_and_after_that_it_is_not() {
    for (silent_for, displaced) in
        [(limits::STREAM_FRESH - SECOND / 5, false), (limits::STREAM_FRESH + SECOND / 10, true)]
    {
        let (mut world, caller, token, _, socket) = streaming();
        world.run_for(silent_for);
        let newcomer = world.open_stream(caller, caller.stream(2), &token);
        world.run_for(SECOND / 10);
        let expected = if displaced { (None, Some(1000)) } else { (Some(1008), None) };
        assert_eq!((world.socket(newcomer).closed, world.socket(socket).closed), expected, "{silent_for:?}");
    }
}

#[test]
fn a_stream_without_any_frame_is_displaced_and_the_newcomer_is_watched() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let first = world.open_stream(caller, caller.stream(1), &token);
    world.run_for(SECOND * 5);
    let second = world.open_stream(caller, caller.stream(2), &token);
    world.run_for(SECOND * 5);
    assert_eq!((world.socket(first).closed, world.socket(second).closed), (Some(1000), None));
    assert!(world.rest_log.is_empty(), "its own six seconds count");
    world.run_for(SECOND * 2);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::NoMedia));
    assert_eq!(world.rest_log.len(), 1);
}

#[test]
fn what_a_displaced_socket_still_says_changes_nothing() {
    let (mut world, caller, token, old, socket) = streaming();
    world.run_for(SECOND * 3);
    let new = caller.stream(2);
    let newcomer = world.open_stream(caller, new, &token);
    world.frames(newcomer, new, SECOND);
    world.say(socket, &frame(old, 77));
    world.say(socket, &stop(old));
    world.frames(newcomer, new, SECOND * 12);
    assert!(world.rest_log.is_empty());
    assert_eq!(world.socket(newcomer).closed, None);
}

#[test]
fn a_stream_that_does_not_answer_the_question_is_displaced_after_a_second() {
    let (mut world, caller, token, _, socket) = streaming();
    world.freeze(socket);
    let new = caller.stream(2);
    let newcomer = world.open_stream(caller, new, &token);
    assert_eq!(world.lines_of(caller, Event::WsStart).len(), 1);
    world.frames(newcomer, new, limits::CHALLENGE_TIME + SECOND / 2);
    assert_eq!(world.lines_of(caller, Event::WsStart).len(), 2, "the newcomer is accepted");
    world.frames(newcomer, new, SECOND * 10);
    world.end_script_socket(socket, Ended::Lost("the task hung".into()));
    world.frames(newcomer, new, SECOND);
    assert_eq!(world.socket(newcomer).closed, None);
    assert!(world.rest_log.is_empty());
}

#[test]
fn of_two_newcomers_at_once_the_second_is_refused() {
    let (mut world, caller, token, _, socket) = streaming();
    world.freeze(socket);
    let first = world.open_stream(caller, caller.stream(2), &token);
    let second = world.open_stream(caller, caller.stream(3), &token);
    assert_eq!((world.socket(first).closed, world.socket(second).closed), (None, Some(1008)));
    assert_eq!(refusals(&world, caller), ["another_socket_waits"]);
    world.run_for(limits::CHALLENGE_TIME);
    assert_eq!(world.lines_of(caller, Event::WsStart).len(), 2);
}

#[test]
fn a_newcomer_that_leaves_while_it_waits_leaves_no_trace() {
    let (mut world, caller, token, _, socket) = streaming();
    world.freeze(socket);
    let newcomer = world.open_stream(caller, caller.stream(2), &token);
    world.end_script_socket(newcomer, Ended::Closed(None));
    world.run_for(SECOND * 3);
    assert_eq!(world.lines_of(caller, Event::WsStart).len(), 1);
    world.end_script_socket(socket, Ended::Lost("the task hung".into()));
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
    world.settle();
}

#[test]
fn when_the_older_socket_goes_away_the_waiting_one_takes_its_place() {
    let (mut world, caller, token, _, socket) = streaming();
    world.freeze(socket);
    let new = caller.stream(2);
    let newcomer = world.open_stream(caller, new, &token);
    world.end_script_socket(socket, Ended::Lost("reset".into()));
    world.run_for(LATENCY * 2);
    assert_eq!(world.lines_of(caller, Event::WsStart).len(), 2);
    world.frames(newcomer, new, SECOND * 12);
    assert!(world.rest_log.is_empty(), "nothing was lost");
}

#[test]
fn a_newcomer_that_still_waits_when_the_recording_begins_is_refused() {
    let (mut world, caller, token, _, socket) = streaming();
    world.freeze(socket);
    let newcomer = world.open_stream(caller, caller.stream(2), &token);
    world.webhook(path::RECORDING_STATUS, caller, &[("RecordingStatus", "in-progress")]);
    world.run_for(LATENCY);
    assert_eq!(world.socket(newcomer).closed, Some(1008));
    assert_eq!(refusals(&world, caller), ["too_late"]);
}

#[test]
fn a_caller_who_had_finished_is_not_streamed_again() {
    let (mut world, caller, token, stream, socket) = streaming();
    world.frames(socket, stream, SECOND * 20);
    assert_eq!(world.socket(socket).closed, Some(1000));
    let late = world.open_stream(caller, caller.stream(2), &token);
    assert_eq!(world.socket(late).closed, Some(1008));
}

#[test]
fn a_start_without_a_valid_token_is_refused_and_touches_nothing() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    let (caller, other) = (Caller::new(1), Caller::new(2));
    let token = world.announce(caller);
    let foreign = world.announce(other);
    let key = TokenKey::derive(AUTH_TOKEN.as_bytes());
    let long_ago = world.now.unix + Duration::ZERO;
    let expired = {
        let life = i64::try_from((limits::TOKEN_LIFE + limits::TOKEN_SKEW).as_millis()).expect("minutes");
        key.issue(caller.call, 1, callwarden_core::time::UnixMillis(long_ago.0 - life - 1))
    };
    let wrong_key = TokenKey::derive(b"another auth token").issue(caller.call, 1, world.now.unix);
    for (bad, reason) in [
        (foreign.as_str(), "wrong_token"),
        (wrong_key.as_str(), "wrong_token"),
        (expired.as_str(), "expired_token"),
        ("preview", "malformed_token"),
        ("", "malformed_token"),
        ("אסימון", "malformed_token"),
    ] {
        let before = refusals(&world, caller).len();
        let socket = world.open_stream(caller, caller.stream(1), bad);
        assert_eq!(world.socket(socket).closed, Some(1008), "{bad}");
        assert_eq!(refusals(&world, caller)[before..], [reason.to_owned()], "{bad}");
    }
    let without_parameter = world.open_socket();
    let start = caller.start(caller.stream(1), &token).replace(r#""call_sid":"#, r#""other":"#);
    world.say(without_parameter, &start);
    world.run_for(LATENCY * 2);
    assert_eq!(world.socket(without_parameter).closed, Some(1008), "it must name its call twice");
    assert_eq!(refusals(&world, caller).last().map(String::as_str), Some("foreign_call"));
    world.run_for(SECOND * 9);
    let reason = world.database.fallback(caller.call);
    assert_eq!(reason, Some(FallbackReason::NoStart), "its watch was not touched");
}

#[test]
fn a_start_of_a_call_that_another_process_announced_is_accepted_and_watched() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    let caller = Caller::new(9);
    let token = TokenKey::derive(AUTH_TOKEN.as_bytes()).issue(caller.call, 1, world.now.unix);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, SECOND);
    assert_eq!(world.lines_of(caller, Event::WsStart).len(), 1);
    let second = world.webhook(path::STREAM_ENDED, caller, &[]);
    let stream = caller.stream(2);
    world.open_stream(caller, stream, &token_in(&second));
    world.run_for(SECOND * 7);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::NoMedia));
    assert_eq!(world.rest_log.len(), 1);
}

#[test]
fn no_call_starts_more_streams_than_are_counted() {
    let (mut world, caller, token, _, mut socket) = streaming();
    for ordinal in 2..=limits::STREAMS_SEEN_MAX {
        world.end_script_socket(socket, Ended::Closed(None));
        world.run_for(SECOND / 10);
        socket = world.open_stream(caller, caller.stream(ordinal as u128), &token);
        assert_eq!(world.socket(socket).closed, None, "stream {ordinal}");
    }
    world.end_script_socket(socket, Ended::Closed(None));
    world.run_for(SECOND / 10);
    let one_more = world.open_stream(caller, caller.stream(100), &token);
    assert_eq!(world.socket(one_more).closed, Some(1008));
    assert_eq!(refusals(&world, caller), ["too_many_streams"]);
}

#[test]
fn a_socket_that_never_starts_is_closed_and_the_call_keeps_its_own_watch() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    let idle = world.open_socket();
    world.say(idle, r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
    world.run_for(limits::START_TIME + SECOND / 10);
    assert_eq!(world.socket(idle).closed, Some(1008));
    assert_eq!(world.lines_of(caller, Event::WatchdogRedirect).len(), 1);
}

#[test]
fn two_calls_do_not_influence_each_other() {
    let plan = || Plan { hangs_up: HangUp::Answered(SECOND * 12), ..Plan::default() };
    let mut alone = World::new();
    let call = alone.call(plan());
    let expected = alone.run_to_the_end_of(call).clone();
    let mut world = World::new();
    let call = world.call(plan());
    let mute = world.call(Plan::with_fault(callwarden_core::far_end::StreamFault::Mute(None)));
    world.rest_always = RestFault::NotSent;
    assert_eq!(*world.run_to_the_end_of(call), expected);
    assert_eq!(world.database.timeline(world.sid(call)), alone.database.timeline(alone.sid(call)));
    world.run_to_the_end_of(mute);
    world.settle();
}
