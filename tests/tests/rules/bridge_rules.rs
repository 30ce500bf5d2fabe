//! Between streams and at the end of what a caller has to say: W10, W11, W12, in virtual time.

use bytes::Bytes;
use callwarden_core::far_end::{AfterFailure, EndedBy, HangUp, Heard, Plan, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::log::Event;
use callwarden_core::sid::StreamSid;
use callwarden_core::store::{CallFact, CallStatus, FallbackReason};
use callwarden_core::stream::Ended;
use callwarden_core::time::Instant;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, stop, token_in};
use callwarden_tests::world::{LATENCY, RestFault, World, settings};
use std::time::Duration;

const ACCEPTED: RestFault = RestFault::Refused(200, 0);
const ALIVE: RestFault = RestFault::Found("in-progress");

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[track_caller]
fn assert_near(at: Instant, from: Instant, after: Duration) {
    let off = at.since(from).abs_diff(after);
    assert!(off <= Duration::from_millis(50), "{:?} instead of {after:?}", at.since(from));
}

/// A call of the script's with a stream that carries frames.
fn streaming(world: &mut World) -> (Caller, StreamSid, usize) {
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, seconds(2.0));
    (caller, stream, socket)
}

/// A caller who is loud enough to be heard speaking.
fn loud(speaks: Duration) -> Plan {
    Plan { voice: Bytes::from_static(&[0x00, 0x80]), speaks, ..Plan::default() }
}

type Loss = fn(&mut World, StreamSid, usize);

const LOSSES: [(&str, Loss); 3] = [
    ("stop", |world, stream, socket| {
        world.say(socket, &stop(stream));
        world.end_script_socket(socket, Ended::Closed(Some(1000)));
    }),
    ("close", |world, _, socket| world.end_script_socket(socket, Ended::Closed(None))),
    ("loss", |world, _, socket| world.end_script_socket(socket, Ended::Lost("connection reset".into()))),
];

#[test]
fn eight_seconds_after_a_stream_went_away_twilio_is_asked_and_a_live_call_is_recorded() {
    for (name, loss) in LOSSES {
        let mut world = World::new();
        world.rest_next = [ALIVE, ACCEPTED].into();
        let (caller, stream, socket) = streaming(&mut world);
        let lost = world.now.mono + LATENCY;
        loss(&mut world, stream, socket);
        world.run_for(seconds(9.0));
        assert_near(world.rest_at(Method::Get).expect(name), lost, limits::BRIDGE_TIME);
        assert_eq!(world.rest_count(Method::Post), 1, "{name}");
        assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost), "{name}");
        let how_far = world.database.how_far(caller.call).expect("it is written down");
        assert!(how_far.starts_with("frames heard, then the stream was lost"), "{how_far}");
    }
}

#[test]
fn a_call_that_twilio_says_is_over_gets_its_end_and_no_update() {
    for (found, status) in [("completed", CallStatus::Completed), ("failed", CallStatus::Failed)] {
        let mut world = World::new();
        world.rest_next = [RestFault::Found(found)].into();
        let (caller, stream, socket) = streaming(&mut world);
        LOSSES[0].1(&mut world, stream, socket);
        world.settle();
        assert_eq!(world.rest_count(Method::Post), 0);
        assert_eq!(world.database.status(caller.call), Some(status));
        let duration = world.database.call_facts.iter().find_map(|(_, fact)| fact.duration_seconds);
        assert_eq!(duration, Some(61));
    }
}

/// Another process may have answered what Twilio asked after the `stop`: only the answer to an update speaks of now.
#[test]
fn a_call_that_twilio_does_not_know_long_after_its_stream_stopped_is_moved_as_soon_as_it_does() {
    let mut world = World::new();
    world.rest_next = [RestFault::Refused(404, 20404), RestFault::Refused(404, 20404), ACCEPTED].into();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    world.run_for(limits::BRIDGE_TIME + limits::OVER_AGREEMENT + seconds(1.0));
    assert_eq!(world.rest_count(Method::Post), 2);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
}

#[test]
fn where_twilio_cannot_be_asked_the_call_counts_as_alive() {
    for fault in [RestFault::NotSent, RestFault::Lost, RestFault::Refused(401, 20003), RestFault::Refused(503, 20503)] {
        let mut world = World::new();
        world.rest_next = [fault, ACCEPTED].into();
        let (caller, stream, socket) = streaming(&mut world);
        LOSSES[2].1(&mut world, stream, socket);
        world.run_for(seconds(14.0));
        assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost), "{fault:?}");
    }
}

#[test]
fn whatever_follows_the_stream_disarms_the_question() {
    type Next = fn(&mut World, Caller);
    let followers: [(&str, Next); 4] = [
        ("recording", |world, caller| {
            let recording =
                [("RecordingStatus", "in-progress"), ("RecordingSid", "RE00000000000000000000000000000001")];
            world.webhook(path::RECORDING_STATUS, caller, &recording);
        }),
        ("status", |world, caller| {
            world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
        }),
        ("start", |world, caller| {
            let token = token_in(&world.webhook(path::STREAM_ENDED, caller, &[]));
            let stream = caller.stream(2);
            let socket = world.open_stream(caller, stream, &token);
            world.frames(socket, stream, seconds(10.0));
        }),
        ("fetch", |world, caller| {
            world.webhook(path::STREAM_ENDED, caller, &[("CallStatus", "completed")]);
        }),
    ];
    for (name, next) in followers {
        let mut world = World::new();
        let (caller, stream, socket) = streaming(&mut world);
        LOSSES[0].1(&mut world, stream, socket);
        world.run_for(seconds(7.0));
        next(&mut world, caller);
        world.run_for(seconds(7.0));
        assert!(world.rest_log.is_empty(), "{name}");
    }
}

#[test]
fn four_seconds_after_a_repeated_connect_twilio_is_asked() {
    let mut world = World::new();
    world.rest_next = [ALIVE, ACCEPTED].into();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    world.run_for(seconds(1.0));
    assert!(world.webhook(path::STREAM_ENDED, caller, &[]).contains("<Connect"));
    let answered = world.now.mono;
    world.run_for(seconds(5.0));
    assert_near(world.rest_at(Method::Get).expect("Twilio was asked"), answered, limits::BRIDGE_TIME_RECONNECT);
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
}

#[test]
fn late_word_of_the_old_stream_does_not_postpone_the_question() {
    let mut world = World::new();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    world.run_for(seconds(1.0));
    world.webhook(path::STREAM_ENDED, caller, &[]);
    let answered = world.now.mono;
    world.run_for(seconds(2.0));
    let stopped = [("StreamEvent", "stream-stopped"), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &stopped);
    world.run_for(seconds(3.0));
    assert_near(world.rest_at(Method::Get).expect("Twilio was asked"), answered, limits::BRIDGE_TIME_RECONNECT);
}

/// Twilio's callback that a stream stopped may come after the request that follows the stream was answered.
#[test]
fn late_word_of_the_old_stream_does_not_agree_with_no_such_call() {
    let mut world = World::new();
    world.rest_next = [RestFault::Refused(404, 20404), ACCEPTED].into();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    world.run_for(seconds(1.0));
    world.webhook(path::STREAM_ENDED, caller, &[]);
    let stopped = [("StreamEvent", "stream-stopped"), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &stopped);
    world.run_for(seconds(5.0));
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
    assert_eq!(world.rest_count(Method::Post), 1, "the caller waits for a stream that did not come");
}

/// Nor is it a sign of an update that Twilio never got.
#[test]
fn late_word_of_the_old_stream_is_no_sign_of_an_update() {
    let mut world = World::new();
    world.rest_next = [ALIVE, RestFault::Lost, ACCEPTED].into();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    world.webhook(path::STREAM_ENDED, caller, &[]);
    world.run_until(seconds(9.0), |world| world.rest_count(Method::Post) == 1);
    let stopped = [("StreamEvent", "stream-stopped"), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &stopped);
    world.run_for(seconds(8.0));
    assert_eq!(world.rest_count(Method::Post), 2);
}

#[test]
fn a_stop_of_a_moment_ago_agrees_at_once_with_no_such_call() {
    let updates = |stopped: Duration| {
        let mut world = World::with(settings(&[("DRAIN_SECONDS", "10")]));
        world.rest_next = [RestFault::Refused(404, 20404), ACCEPTED].into();
        let (_, stream, socket) = streaming(&mut world);
        world.drain();
        world.run_for(seconds(10.0) - stopped);
        LOSSES[0].1(&mut world, stream, socket);
        world.run_for(seconds(20.0));
        world.rest_count(Method::Post)
    };
    assert_eq!(updates(limits::OVER_AGREEMENT - seconds(0.1)), 1, "over");
    assert_eq!(updates(limits::OVER_AGREEMENT + seconds(0.1)), 2, "one more try");
}

#[test]
fn a_stop_that_twilio_tells_of_after_another_stream_was_asked_for_agrees_with_nothing() {
    let mut world = World::new();
    world.rest_next = [ALIVE, RestFault::Refused(400, 21220), ACCEPTED].into();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    world.webhook(path::STREAM_ENDED, caller, &[]);
    let stopped = [("StreamEvent", "stream-stopped"), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &stopped);
    world.run_for(limits::BRIDGE_TIME_RECONNECT + limits::OVER_AGREEMENT + seconds(1.0));
    assert_eq!(world.rest_count(Method::Post), 2, "the call is alive, and gets one more try");
}

#[test]
fn a_caller_who_had_finished_on_an_earlier_stream_elsewhere_is_not_left_in_silence() {
    let mut world = World::new();
    world.rest_next = [ALIVE, ACCEPTED].into();
    let (caller, stream, socket) = streaming(&mut world);
    let mut fact = CallFact::new(caller.call, world.now.unix, "node-2");
    (fact.stream, fact.finished_at) = (Some((1, caller.stream(7))), Some(world.now.unix));
    world.database.take_call(world.now.mono, fact);
    LOSSES[0].1(&mut world, stream, socket);
    world.run_for(limits::BRIDGE_TIME + seconds(1.0));
    assert_eq!(world.rest_count(Method::Post), 1, "the stream that was lost came after the one it had finished on");
}

#[test]
fn a_claim_refused_for_a_fallback_that_did_not_come_about_is_waited_for_as_long_as_a_claim_lasts() {
    let mut world = World::new();
    // The model does not know why a claim is refused.
    world.history = None;
    world.rest_next = [ALIVE, ALIVE, ACCEPTED].into();
    let (caller, ..) = streaming(&mut world);
    let mut fact = CallFact::new(caller.call, world.now.unix, "node-2");
    fact.fallback = Some((world.now.unix, FallbackReason::StreamError));
    world.database.take_call(world.now.mono, fact);
    let silent = world.now.mono;
    world.run_for(limits::QUIET_TIME + limits::CLAIM_LEASE);
    assert_eq!(world.rest_count(Method::Post), 0, "the other process may move the call");
    world.run_for(limits::BRIDGE_TIME);
    assert_eq!(world.rest_count(Method::Post), 1, "its socket is still here");
    assert!(world.rest_at(Method::Get).is_some_and(|at| at > silent + limits::QUIET_TIME));
}

#[test]
fn a_refused_claim_is_believed_while_twilio_does_not_say_that_the_call_lives() {
    for answer in [RestFault::Refused(404, 20404), RestFault::Lost, RestFault::Refused(401, 20003)] {
        let mut world = World::new();
        world.rest_always = answer;
        let (caller, ..) = streaming(&mut world);
        let mut fact = CallFact::new(caller.call, world.now.unix, "node-2");
        fact.fallback = Some((world.now.unix, FallbackReason::StreamError));
        world.database.take_call(world.now.mono, fact);
        world.run_for(limits::QUIET_TIME + limits::BRIDGE_TIME * 4);
        assert!(world.rest_count(Method::Get) > 1, "{answer:?}");
        assert_eq!(world.rest_count(Method::Post), 0, "{answer:?}");
    }
}

#[test]
fn a_caller_who_fell_silent_while_a_fallback_was_under_way_is_not_left_waiting() {
    let mut world = World::with(settings(&[("END_SILENCE", "5s")]));
    world.rest_next = [RestFault::Lost].into();
    // Frames come again right after an update was sent that is lost, and with them nothing but silence.
    let faults = vec![StreamFault::StallAfter(seconds(3.0), Some(seconds(8.1)))];
    let call = world.call(Plan { faults, frame_interval: Duration::from_millis(100), ..loud(seconds(3.0)) });
    let ledger = world.run_to_the_end_of(call).clone();
    assert_eq!(world.lines(call, Event::WatchdogCancelled).len(), 1, "{ledger}");
    assert!(ledger.total(Heard::Goodbye) > Duration::ZERO, "{ledger}");
    assert!(ledger.total(Heard::StreamingSilent) < seconds(11.0), "{ledger}");
}

#[test]
fn the_sockets_of_a_call_that_is_over_are_closed() {
    let mut world = World::new();
    let (caller, _, socket) = streaming(&mut world);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
    world.run_for(limits::CLOSE_TIME + seconds(0.1));
    assert_eq!(world.socket(socket).closed, Some(1000));
    assert!(world.rest_log.is_empty());
}

#[test]
fn a_start_while_twilio_is_asked_is_not_punished_for_the_answer() {
    let mut world = World::new();
    world.rest_next = [RestFault::Lost].into();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    let token = token_in(&world.webhook(path::STREAM_ENDED, caller, &[]));
    world.run_until(seconds(9.0), |world| world.rest_count(Method::Get) == 1);
    let stream = caller.stream(2);
    let socket = world.open_stream(caller, stream, &token);
    world.run_for(seconds(4.5));
    world.frames(socket, stream, seconds(5.0));
    assert!(world.lines_of(caller, Event::WatchdogRedirect).is_empty());
    assert_eq!(world.rest_log.len(), 1);
}

#[test]
fn a_document_given_while_twilio_is_asked_has_a_watch_of_its_own() {
    let mut world = World::new();
    world.rest_next = [RestFault::Lost].into();
    let (caller, stream, socket) = streaming(&mut world);
    LOSSES[0].1(&mut world, stream, socket);
    world.run_until(seconds(9.0), |world| world.rest_count(Method::Get) == 1);
    world.run_for(seconds(0.5));
    let token = token_in(&world.webhook(path::STREAM_ENDED, caller, &[]));
    world.run_for(seconds(3.8));
    let stream = caller.stream(2);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, seconds(5.0));
    assert!(world.lines_of(caller, Event::WatchdogRedirect).is_empty());
}

#[test]
fn streams_that_break_and_can_never_be_opened_again_end_in_a_recording() {
    for after_failure in [AfterFailure::Action, AfterFailure::NextVerb, AfterFailure::Nothing] {
        let mut faults = vec![StreamFault::DropAfter(seconds(3.0))];
        faults.extend([StreamFault::HandshakeFails(502); 30]);
        let mut world = World::new();
        let call = world.call(Plan { faults, after_failure, ..Plan::default() });
        let ledger = world.run_to_the_end_of(call);
        assert!(ledger.total(Heard::Recording) > Duration::ZERO, "{after_failure:?}\n{ledger}");
        assert!(ledger.longest_silence() < seconds(8.5), "{after_failure:?}\n{ledger}");
        assert!(ledger.streams.len() <= 4, "{after_failure:?}: {} connects", ledger.streams.len());
        assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::StreamLost));
        world.settle();
    }
}

#[test]
fn a_repeat_of_the_last_request_that_gets_a_stream_does_not_end_the_watch_on_it() {
    let faults = vec![StreamFault::DropAfter(seconds(3.0)), StreamFault::HandshakeFails(404), StreamFault::NeverStarts];
    for extra in 0..2 {
        let mut faults = faults.clone();
        faults.splice(1..1, vec![StreamFault::HandshakeFails(404); extra]);
        let mut world = World::new();
        world.twice = Some(Duration::from_millis(1));
        let call = world.call(Plan { faults, ..Plan::default() });
        let ledger = world.run_to_the_end_of(call);
        assert!(ledger.longest_dead_air() < seconds(6.0), "{extra}\n{ledger}");
    }
}

#[test]
fn a_panic_of_a_streams_task_is_a_lost_stream() {
    let mut world = World::new();
    let call = world.call(Plan { hangs_up: HangUp::Answered(seconds(40.0)), ..loud(seconds(40.0)) });
    world.run_for(seconds(5.0));
    world.break_socket_of(call);
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.longest_dead_air() < seconds(8.5), "{ledger}");
    assert!(world.log.iter().any(|(_, line)| line.event == Event::WsHandlerError));
}

#[test]
fn a_caller_who_has_finished_hears_goodbye() {
    let mut world = World::new();
    let call = world.call(loud(seconds(4.0)));
    let ledger = world.run_to_the_end_of(call);
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Document));
    assert!(ledger.total(Heard::Goodbye) > Duration::ZERO && ledger.recordings.is_empty(), "{ledger}");
    let silent = ledger.total(Heard::StreamingSilent);
    assert!(silent.abs_diff(seconds(20.0)) < seconds(0.3), "{silent:?}");
    let sid = world.sid(call);
    let facts = &world.database.call_facts;
    let stored = facts.iter().position(|(_, fact)| fact.call == sid && fact.finished_at.is_some());
    let closed = facts.iter().position(|(_, fact)| fact.call == sid && fact.status == Some(CallStatus::StreamClosed));
    assert!(stored < closed && stored.is_some(), "the intent is stored before the stream is closed");
    assert_eq!(world.database.fallback(sid), None, "no failure");
    world.settle();
}

#[test]
fn without_an_end_silence_nobody_is_hung_up_on() {
    let mut world = World::with(settings(&[("END_SILENCE", "0")]));
    let call = world.call(Plan { hangs_up: HangUp::Answered(seconds(600.0)), ..loud(seconds(2.0)) });
    let ledger = world.run_to_the_end_of(call);
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Caller), "{ledger}");
}

#[test]
fn a_database_that_hangs_delays_the_goodbye_by_half_a_second_and_is_not_blamed_for_it() {
    let mut world = World::new();
    let call = world.call(loud(seconds(4.0)));
    world.run_for(seconds(10.0));
    world.database.latency = Duration::from_millis(700);
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.longest_silence() < seconds(20.0 + 0.7), "{ledger}");
    assert!(ledger.total(Heard::Goodbye) > Duration::ZERO, "{ledger}");
    assert!(world.logged(Event::DbError).is_empty(), "0.7 s is within a webhook's time");
}

#[test]
fn a_finished_caller_whom_twilio_forgets_is_still_not_left_in_silence() {
    let mut world = World::new();
    world.rest_next = [ALIVE, ACCEPTED].into();
    let (caller, stream, socket) = streaming(&mut world);
    world.frames(socket, stream, seconds(20.0));
    assert_eq!(world.socket(socket).closed, Some(1000), "the caller had finished");
    world.run_for(limits::BRIDGE_TIME + seconds(1.0));
    assert_eq!(world.rest_count(Method::Post), 1, "nobody asked stream_ended, so the call is fetched");
    assert!(world.webhook(path::STREAM_ENDED, caller, &[]).contains("<Hangup/>"));
}

#[test]
fn an_entry_leaves_memory_a_minute_after_its_end_or_five_hours_after_the_last_word() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
    world.run_for(limits::ENDED_KEPT - seconds(1.0));
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 1, "late webhooks still find it");
    world.run_for(seconds(2.0));
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 0);

    let silent = Caller::new(2);
    world.webhook(path::RECORDING_STATUS, silent, &[("RecordingStatus", "in-progress")]);
    world.run_for(limits::SILENT_ENTRY - seconds(1.0));
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 1);
    world.run_for(seconds(2.0));
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 0);
}

#[test]
fn a_call_whose_end_twilio_had_to_be_asked_for_stays_in_memory_for_a_minute_too() {
    let mut world = World::new();
    world.rest_next = [RestFault::NotSent; 20].into();
    world.rest_always = RestFault::Found("completed");
    let caller = Caller::new(1);
    world.announce(caller);
    world.run_until(seconds(300.0), |world| world.database.status(caller.call) == Some(CallStatus::Completed));
    world.run_for(seconds(50.0));
    let late = world.webhook(path::INCOMING_CALL, caller, &[("CallStatus", "ringing")]);
    assert!(late.contains("<Response/>"), "{late}");
}
