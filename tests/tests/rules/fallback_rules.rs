//! One fallback per call, and how it reaches the call: W5, W6 and W7, in virtual time.

use callwarden_core::far_end::{Heard, Plan, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::log::{Event, Level};
use callwarden_core::sid::{AccountSid, StreamSid};
use callwarden_core::store::{CallFact, CallStatus, FallbackReason};
use callwarden_core::time::Instant;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, frame, signed, stop, text};
use callwarden_tests::world::{AUTH_TOKEN, DatabaseFault, LATENCY, RestFault, World, settings};
use std::time::Duration;

const ACCEPTED: RestFault = RestFault::Refused(200, 0);
const UNAUTHORIZED: RestFault = RestFault::Refused(401, 20003);
const NOT_IN_PROGRESS: RestFault = RestFault::Refused(400, 21220);
const NOT_FOUND: RestFault = RestFault::Refused(404, 20404);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Announces the script's call and waits until its watch has just acted.
fn without_start(faults: impl IntoIterator<Item = RestFault>, otherwise: RestFault) -> (World, Caller, String) {
    let mut world = World::new();
    world.rest_next.extend(faults);
    world.rest_always = otherwise;
    let caller = Caller::new(1);
    let token = world.announce(caller);
    world.run_until(seconds(9.0), |world| !world.rest_log.is_empty());
    (world, caller, token)
}

/// A call whose stream started and carries nothing, when its watch has just acted.
fn mute(faults: impl IntoIterator<Item = RestFault>, otherwise: RestFault) -> (World, Caller, StreamSid, usize) {
    let mut world = World::new();
    world.rest_next.extend(faults);
    world.rest_always = otherwise;
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.run_until(seconds(9.0), |world| !world.rest_log.is_empty());
    (world, caller, stream, socket)
}

/// Seconds from the first update to each of the following ones, to a tenth.
fn updates_after_the_first(world: &World) -> Vec<f64> {
    let times: Vec<Instant> =
        world.rest_log.iter().filter(|(_, of, _)| *of == Method::Post).map(|(at, ..)| *at).collect();
    let first = times.first().copied().unwrap_or_default();
    times.iter().skip(1).map(|at| (at.since(first).as_secs_f64() * 10.0).round() / 10.0).collect()
}

#[track_caller]
fn assert_confirmed_by(world: &World, caller: Caller, route: &str) {
    let lines = world.lines_of(caller, Event::WatchdogRedirectOk);
    assert_eq!(lines.iter().map(|line| line.detail.as_deref()).collect::<Vec<_>>(), [Some(route)]);
}

#[test]
fn a_fallback_is_claimed_once_and_delivered_once() {
    let mut world = World::new();
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    world.run_to_the_end_of(call);
    world.settle();
    assert_eq!(world.database.claims_asked, 1);
    assert_eq!(world.rest_count(Method::Post), 1);
    assert_eq!(world.lines(call, Event::WatchdogRedirectOk).len(), 1);
}

#[test]
fn the_answer_to_a_fetch_is_a_delivery_and_drops_what_rest_still_had_to_do() {
    for webhook in [path::STREAM_ENDED, path::INCOMING_CALL] {
        let (mut world, caller, _) = without_start([], RestFault::NotSent);
        world.run_for(seconds(0.2));
        assert!(world.webhook(webhook, caller, &[]).contains("<Record"), "{webhook}");
        world.run_for(seconds(120.0));
        assert_eq!(world.rest_count(Method::Post), 1, "{webhook}");
        assert_confirmed_by(&world, caller, "answer");
    }
}

/// The find of a fuzzer: the answer to a repeated webhook goes nowhere.
#[test]
fn a_recording_document_after_which_no_recording_begins_went_nowhere() {
    for lost in [RestFault::NotSent, RestFault::Refused(503, 20503)] {
        let mut world = World::new();
        world.rest_next = [NOT_IN_PROGRESS].into();
        let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
        world.run_until(seconds(20.0), |world| !world.rest_log.is_empty());
        let caller = Caller { call: world.sid(call), account: AccountSid::from_number(1) };
        world.rest_next = [lost].into();
        let answer = world.ask(signed(path::INCOMING_CALL, &caller.form(&[])));
        assert!(text(&answer).contains("<Record"), "{answer:?}");
        let ledger = world.run_to_the_end_of(call);
        assert!(ledger.total(Heard::Recording) > Duration::ZERO, "{ledger}");
        let bound = limits::RECORDING_STARTS + limits::REST_RETRY_MAX + seconds(20.0);
        assert!(ledger.longest_silence() < bound, "{ledger}");
        assert_eq!(world.database.claims_asked, 2);
        world.settle();
    }
}

#[test]
fn a_recording_that_calls_back_in_time_or_is_listed_is_not_begun_again() {
    for untold in [false, true] {
        let mut world = World::new();
        if untold {
            world.lost_paths = [path::RECORDING_STATUS, path::HANDLE_RECORDING].into();
        }
        let call = world.call(Plan { message: seconds(60.0), ..Plan::with_fault(StreamFault::HandshakeFails(500)) });
        world.run_for(seconds(40.0));
        assert_eq!(world.rest_count(Method::Get), if untold { 2 } else { 0 }, "whether it lives, and is recorded");
        let ledger = world.run_to_the_end_of(call);
        assert_eq!((ledger.recordings.len(), ledger.updates.len()), (1, 0), "{ledger}");
    }
}

#[test]
fn a_call_whose_updates_were_ambiguous_and_that_ends_elsewhere_keeps_its_reason() {
    let (mut world, caller, _) = without_start([], RestFault::Lost);
    world.run_until(seconds(60.0), |world| world.lines_of(caller, Event::WatchdogRedirectFail).len() == 1);
    let mut fact = CallFact::new(caller.call, world.now.unix, "node-2");
    (fact.status, fact.ended_at) = (Some(CallStatus::Completed), Some(world.now.unix));
    world.database.take_call(world.now.mono, fact);
    world.rest_always = NOT_FOUND;
    world.run_for(limits::CLAIM_OVERDUE * 2);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::NoStart));
    assert_eq!(world.nodes[0].switchboard.gauges().live_calls, 0);
}

#[test]
fn a_fetch_that_waits_while_the_store_goes_down_is_the_delivery_and_no_update_is_sent() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    world.run_for(seconds(7.8));
    world.database.fault = DatabaseFault::Hangs;
    let fetch = world.request(signed(path::STREAM_ENDED, &caller.form(&[])));
    world.run_for(seconds(0.01));
    world.database.fault = DatabaseFault::Refuses;
    world.webhook(path::CALL_STATUS, Caller::new(2), &[("CallStatus", "completed")]);
    world.run_for(seconds(0.1));
    assert!(!world.logged(Event::DbError).is_empty(), "the claim cannot even be asked for");
    let answer = world.answer(fetch);
    assert!(text(&answer).contains("<Record"), "{answer:?}");
    world.run_for(seconds(5.0));
    assert_eq!(world.rest_count(Method::Post), 0);
    assert_confirmed_by(&world, caller, "answer");
}

#[test]
fn after_a_claim_no_fetch_is_answered_with_a_stream() {
    let (mut world, caller, _) = without_start([], ACCEPTED);
    world.run_for(seconds(1.0));
    for webhook in [path::INCOMING_CALL, path::STREAM_ENDED, path::INCOMING_CALL] {
        let document = world.webhook(webhook, caller, &[]);
        assert!(document.contains("<Record") && !document.contains("<Connect"), "{document}");
    }
    assert_confirmed_by(&world, caller, "update");
}

#[test]
fn a_recording_that_calls_back_confirms_an_update_whose_answer_was_lost() {
    let (mut world, caller, _) = without_start([], RestFault::Lost);
    world.run_for(seconds(2.0));
    world.webhook(path::RECORDING_STATUS, caller, &[("RecordingStatus", "in-progress"), ("RecordingSid", RECORDING)]);
    world.run_for(seconds(60.0));
    assert_eq!(world.rest_count(Method::Post), 1);
    assert_confirmed_by(&world, caller, "recording");
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::NoStart));
}

const RECORDING: &str = "RE00000000000000000000000000000001";

#[test]
fn a_fallback_that_failed_begins_anew_after_ten_seconds_and_then_ever_more_rarely() {
    let (mut world, ..) = without_start([], RestFault::Refused(403, 20003));
    world.run_for(seconds(300.0));
    assert_eq!(updates_after_the_first(&world), [10.0, 30.1, 60.1, 100.2, 150.2, 210.3, 270.3]);
}

#[test]
fn a_claim_that_another_process_holds_is_respected_until_it_runs_out() {
    let mut world = World::new();
    let call = world.call(Plan::with_fault(StreamFault::Mute(None)));
    world.run_until(seconds(5.0), |world| world.logged_at(call, Event::WsStart).is_some());
    let lease = world.now.mono + seconds(6.0) + limits::CLAIM_LEASE;
    let sid = world.sid(call);
    world.database.claims.insert(sid, ("node-2".into(), lease));
    let ledger = world.run_to_the_end_of(call);
    assert_eq!(ledger.updates.len(), 1);
    assert!(ledger.updates[0] > lease, "not before the other one's claim ran out");
    assert!(ledger.longest_dead_air() < seconds(6.0 + 8.0 + 8.0 + 0.5), "{ledger}");
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::StreamLost));
    world.settle();
}

#[test]
fn a_late_start_before_the_update_left_is_accepted_and_its_first_frame_calls_the_fallback_off() {
    let (mut world, caller, token) = without_start([], RestFault::NotSent);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, seconds(10.0));
    assert_eq!(world.socket(socket).closed, None);
    assert_eq!(world.rest_count(Method::Post), 1, "the attempt that failed before the stream came");
    assert_eq!(world.lines_of(caller, Event::WatchdogCancelled).len(), 1);
    assert!(world.database.claims.is_empty(), "the claim is given back");
    assert_eq!(world.database.fallback(caller.call), None);
}

#[test]
fn a_late_start_while_the_update_is_in_flight_is_accepted_and_nothing_more_is_sent() {
    let (mut world, caller, token) = without_start([], RestFault::Lost);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, seconds(15.0));
    assert_eq!(world.rest_count(Method::Post), 1);
    assert_eq!(world.lines_of(caller, Event::WatchdogCancelled).len(), 1);
    assert!(world.database.claims.is_empty());
    assert!(world.lines_of(caller, Event::WatchdogRedirectFail).is_empty());
}

#[test]
fn a_stream_that_comes_back_in_time_cancels_the_update() {
    let mut world = World::new();
    world.rest_always = RestFault::NotSent;
    let fault = StreamFault::Mute(Some(seconds(6.3)));
    let call = world.call(Plan { faults: vec![fault], ..Plan::default() });
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.updates.is_empty() && ledger.recordings.is_empty(), "{ledger}");
    assert!(ledger.total(Heard::Streaming) > Duration::ZERO, "{ledger}");
    assert_eq!(world.lines(call, Event::WatchdogCancelled).len(), 1);
    world.settle();
}

#[test]
fn a_late_start_that_stays_mute_does_not_call_the_fallback_off() {
    let (mut world, caller, token) = without_start([RestFault::NotSent, RestFault::NotSent], ACCEPTED);
    world.open_stream(caller, caller.stream(1), &token);
    world.run_for(seconds(3.0));
    assert_confirmed_by(&world, caller, "update");
}

#[test]
fn a_cancelled_call_can_fall_back_later() {
    let (mut world, caller, token) = without_start([RestFault::NotSent], ACCEPTED);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, seconds(2.0));
    world.run_for(limits::QUIET_TIME + seconds(1.0));
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::MediaQuiet));
    assert_confirmed_by(&world, caller, "update");
}

#[test]
fn late_start_after_a_fallback_is_refused() {
    let (mut world, caller, token) = without_start([], ACCEPTED);
    world.run_for(seconds(0.1));
    let socket = world.open_stream(caller, caller.stream(1), &token);
    assert_eq!(world.socket(socket).closed, Some(1008));
    let reasons: Vec<_> = world.lines_of(caller, Event::WsRejected).iter().map(|line| line.reason.clone()).collect();
    assert_eq!(reasons, [Some("too_late".to_owned())]);
}

#[test]
fn an_update_that_was_not_delivered_is_repeated_at_growing_intervals() {
    for fault in [RestFault::NotSent, RestFault::Refused(429, 20429), RestFault::Refused(409, 20409)] {
        let (mut world, caller, _) = without_start([fault; 6], ACCEPTED);
        world.run_for(seconds(30.0));
        assert_eq!(updates_after_the_first(&world), [0.5, 1.5, 3.6, 7.6, 11.6, 15.6], "{fault:?}");
        assert_confirmed_by(&world, caller, "update");
    }
}

#[test]
fn an_ambiguous_update_of_which_signs_are_seen_is_not_repeated() {
    for stop_on_update in [true, false] {
        let mut world = World::new();
        world.rest_always = RestFault::AnswerLost;
        let call = world.call(Plan { stop_on_update, ..Plan::with_fault(StreamFault::Mute(None)) });
        assert_eq!(world.run_to_the_end_of(call).updates.len(), 1, "stop_on_update {stop_on_update}");
        assert_eq!(world.rest_count(Method::Post), 1);
    }
}

#[test]
fn each_sign_alone_proves_an_ambiguous_update() {
    type Sign = fn(&mut World, Caller, StreamSid, usize);
    let signs: [(&str, Sign); 3] = [
        ("stop", |world, _, stream, socket| world.say(socket, &stop(stream))),
        ("close", |world, _, _, socket| {
            world.end_script_socket(socket, callwarden_core::stream::Ended::Closed(Some(1000)));
        }),
        ("stream-stopped", |world, caller, stream, _| {
            world.webhook(
                path::STREAM_STATUS,
                caller,
                &[("StreamEvent", "stream-stopped"), ("StreamSid", stream.as_str())],
            );
        }),
    ];
    for (name, sign) in signs {
        for after in [1.0, 4.5] {
            let (mut world, caller, stream, socket) = mute([RestFault::Lost], UNAUTHORIZED);
            world.run_for(seconds(after));
            sign(&mut world, caller, stream, socket);
            world.run_for(seconds(30.0));
            if after < 3.0 {
                assert_eq!(world.rest_count(Method::Post), 1, "{name} after {after} s");
                assert_confirmed_by(&world, caller, "signs");
            } else {
                assert!(world.rest_count(Method::Post) > 1, "{name} after we closed the socket proves nothing");
            }
        }
    }
}

#[test]
fn an_ambiguous_update_without_signs_is_repeated_twice_at_most() {
    let (mut world, caller, _) = without_start([], RestFault::Lost);
    world.run_for(seconds(20.0));
    assert_eq!(updates_after_the_first(&world), [5.5, 11.0]);
    let failed = world.lines_of(caller, Event::WatchdogRedirectFail);
    assert_eq!(failed.iter().map(|line| line.cause.as_deref()).collect::<Vec<_>>(), [Some("ambiguous")]);
}

#[test]
fn no_such_call_means_over_when_something_agrees() {
    for refusal in [NOT_IN_PROGRESS, NOT_FOUND] {
        let (mut world, caller, stream, socket) = mute([], refusal);
        world.run_for(seconds(1.0));
        world.say(socket, &stop(stream));
        world.run_for(seconds(30.0));
        assert_eq!(world.rest_count(Method::Post), 1, "{refusal:?}, stop");
        assert!(world.lines_of(caller, Event::WatchdogRedirectFail).is_empty());

        let (mut world, caller, _) = without_start([], refusal);
        world.run_for(seconds(4.0));
        world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed"), ("CallDuration", "12")]);
        world.run_for(seconds(30.0));
        assert_eq!(world.rest_count(Method::Post), 1, "{refusal:?}, status");
        assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed));
        assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::NoStart));
        assert!(world.lines_of(caller, Event::WatchdogRedirectFail).is_empty());
    }
}

#[test]
fn no_such_call_that_nothing_agrees_with_is_tried_once_more_and_then_said_aloud() {
    for refusal in [NOT_IN_PROGRESS, NOT_FOUND] {
        let (mut world, caller, _) = without_start([], refusal);
        world.run_for(seconds(15.0));
        assert_eq!(updates_after_the_first(&world), [5.0], "{refusal:?}");
        let failed = world.lines_of(caller, Event::WatchdogRedirectFail);
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].level, failed[0].cause.as_deref()), (Level::Error, Some("unknown_call")));
    }
}

#[test]
fn the_end_of_a_socket_that_we_closed_does_not_agree_with_no_such_call() {
    let (mut world, caller, stream, socket) = mute([], NOT_FOUND);
    world.run_for(limits::UNCONFIRMED_CLOSE + LATENCY * 2);
    assert_eq!(world.socket(socket).closed, Some(1000));
    let stopped = [("StreamEvent", "stream-stopped"), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &stopped);
    assert!(world.webhook(path::STREAM_ENDED, caller, &[]).contains("<Record"), "the caller is still there");
}

#[test]
fn a_stop_before_a_later_document_does_not_agree_with_no_such_call() {
    let mut world = World::new();
    world.rest_next = [NOT_FOUND].into();
    let faults = vec![StreamFault::StopAfter(seconds(1.0)), StreamFault::NeverStarts];
    let call = world.call(Plan { faults, ..Plan::default() });
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.total(Heard::Recording) > Duration::ZERO, "{ledger}");
    assert!(ledger.longest_dead_air() < limits::BRIDGE_TIME_RECONNECT + seconds(0.5), "{ledger}");
}

#[test]
fn a_refused_token_is_followed_by_the_next_listed_one() {
    let both = format!("not-yet-active,{AUTH_TOKEN}");
    let mut world = World::with(settings(&[("TWILIO_AUTH_TOKEN", both.as_str())]));
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    assert_eq!(world.run_to_the_end_of(call).updates.len(), 1);
    assert_eq!(updates_after_the_first(&world), [0.0], "the second token is tried at once");
    assert!(world.lines(call, Event::WatchdogRedirectFail).is_empty());
}

#[test]
fn a_refusal_for_good_is_loud_and_names_the_cause() {
    for (refusal, words) in [
        (UNAUTHORIZED, "Twilio answered 401, code 20003"),
        (RestFault::Refused(403, 20003), "Twilio answered 403"),
        (RestFault::Refused(400, 21205), "Twilio answered 400, code 21205"),
    ] {
        let (mut world, caller, _) = without_start([], refusal);
        world.run_for(seconds(1.0));
        assert_eq!(world.rest_count(Method::Post), 1);
        let failed = world.lines_of(caller, Event::WatchdogRedirectFail);
        assert_eq!((failed.len(), failed[0].level), (1, Level::Error));
        assert!(failed[0].cause.as_deref().is_some_and(|cause| cause.starts_with(words)), "{:?}", failed[0].cause);
    }
}

#[test]
fn the_update_goes_to_the_account_of_the_signed_webhook() {
    let mut world = World::new();
    let caller = Caller { account: AccountSid::from_number(0x2222), ..Caller::new(1) };
    world.announce(caller);
    world.run_until(seconds(9.0), |world| !world.rest_log.is_empty());
    let expected = format!("/2010-04-01/Accounts/{}/Calls/{}.json", caller.account, caller.call);
    assert!(world.rest_log[0].2.ends_with(&expected), "{}", world.rest_log[0].2);
}

#[test]
fn the_socket_is_closed_three_seconds_after_an_unconfirmed_update_and_never_before_it() {
    let (mut world, _, _, socket) = mute([], RestFault::Lost);
    world.run_for(limits::UNCONFIRMED_CLOSE - LATENCY);
    assert_eq!(world.socket(socket).closed, None);
    world.run_for(LATENCY * 3);
    assert_eq!(world.socket(socket).closed, Some(1000));
}

#[test]
fn with_rest_refusing_the_mute_and_stalled_ones_still_reach_the_recording_by_the_second_route() {
    for fault in [StreamFault::Mute(None), StreamFault::StallAfter(seconds(3.0), None)] {
        for refusal in [UNAUTHORIZED, RestFault::Refused(403, 20003), RestFault::NotSent, RestFault::Lost] {
            let mut world = World::new();
            world.rest_always = refusal;
            let call = world.call(Plan::with_fault(fault));
            let ledger = world.run_to_the_end_of(call);
            assert!(ledger.updates.is_empty() && ledger.total(Heard::Recording) > Duration::ZERO, "{fault:?}");
            let record = ledger.documents.iter().find(|document| document.twiml.contains("<Record"));
            let from = record.and_then(|document| document.from.as_deref()).expect("a document of ours");
            assert!(from.contains(path::STREAM_ENDED), "{from}");
            assert!(ledger.longest_dead_air() < seconds(8.0 + 3.0 + 0.3), "{fault:?} {refusal:?}\n{ledger}");
            let reason =
                if fault == StreamFault::Mute(None) { FallbackReason::NoMedia } else { FallbackReason::MediaStalled };
            assert_eq!(world.database.fallback(world.sid(call)), Some(reason));
            world.settle();
        }
    }
}

#[test]
fn a_frame_after_the_update_was_accepted_changes_nothing() {
    let (mut world, caller, stream, socket) = mute([], ACCEPTED);
    world.run_for(seconds(0.1));
    world.say(socket, &frame(stream, 1));
    world.run_for(seconds(1.0));
    assert!(world.lines_of(caller, Event::WatchdogCancelled).is_empty());
    assert_confirmed_by(&world, caller, "update");
}
