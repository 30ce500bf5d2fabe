//! What becomes of calls and of rows when the process is asked to stop, in virtual time.

use callwarden_core::far_end::{Heard, Plan, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::log::Event;
use callwarden_core::sid::AccountSid;
use callwarden_core::store::{CallFact, CallStatus, FallbackReason};
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, get, signed, text};
use callwarden_tests::world::{DatabaseFault, RestFault, World, settings};
use std::time::Duration;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A caller who is loud enough to be heard speaking.
fn loud(speaks: Duration) -> Plan {
    Plan { speaks, voice: vec![0x10; 8_000].into(), ..Plan::default() }
}

#[test]
fn a_drain_ends_with_every_caller_recorded_and_nothing_left_to_do() {
    for rest in [RestFault::None, RestFault::Refused(401, 20003), RestFault::Lost] {
        let mut world = World::with(settings(&[("DRAIN_SECONDS", "10")]));
        world.rest_always = rest;
        let healthy = world.call(Plan { message: seconds(60.0), ..loud(seconds(300.0)) });
        let mute = world.call(Plan::with_fault(StreamFault::Mute(None)));
        world.run_for(seconds(3.0));
        let late = world.call(Plan { start_delay: seconds(1.5), ..loud(seconds(300.0)) });
        world.run_for(seconds(0.5));
        world.drain();
        assert!(!world.nodes[0].switchboard.is_drained());
        assert_eq!(world.ask(get(path::HEALTHZ)).status, 503);
        assert_eq!(world.ask(get(path::READYZ)).status, 503);
        let new = world.call(loud(seconds(5.0)));
        world.run_until(seconds(60.0), |world| world.nodes[0].switchboard.is_drained());
        for call in [healthy, mute, late, new] {
            let ledger = world.run_to_the_end_of(call);
            assert!(ledger.total(Heard::Recording) > Duration::ZERO, "{rest:?}, call {call}\n{ledger}");
            assert!(ledger.longest_silence() < seconds(11.5), "{rest:?}, call {call}\n{ledger}");
        }
        assert!(world.ledger(healthy).total(Heard::Streaming) > seconds(10.0), "it ran on for DRAIN_SECONDS");
        assert!(world.ledger(new).streams.is_empty(), "a new call is recorded at once");
        world.settle();
    }
}

#[test]
fn a_drain_says_that_the_server_was_stopped_and_blames_no_stream() {
    let mut world = World::with(settings(&[("DRAIN_SECONDS", "1")]));
    let call = world.call(loud(seconds(300.0)));
    world.run_for(seconds(3.0));
    world.drain();
    world.run_until(seconds(30.0), |world| world.nodes[0].switchboard.is_drained());
    let sid = world.sid(call);
    assert_eq!(world.database.fallback(sid), Some(FallbackReason::StreamLost));
    assert_eq!(world.database.how_far(sid).as_deref(), Some("frames heard; the server was stopped"));
}

#[test]
fn a_drain_waits_for_unwritten_rows_also_when_the_database_is_down() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.announce(caller);
    world.database.fault = DatabaseFault::Refuses;
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
    world.drain();
    world.run_for(seconds(5.0));
    assert!(!world.nodes[0].switchboard.is_drained(), "what was acknowledged is not written");
    world.database.fault = DatabaseFault::None;
    world.run_until(limits::STORE_RETRY_MAX * 2, |world| world.nodes[0].switchboard.is_drained());
    assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed));
}

#[test]
fn a_drain_leaves_alone_what_it_has_merely_heard_of() {
    let mut world = World::with(settings(&[("DRAIN_SECONDS", "1")]));
    world.rest_always = RestFault::Refused(200, 0);
    let elsewhere = Caller::new(1);
    world.webhook(path::CALL_STATUS, elsewhere, &[("CallStatus", "ringing")]);
    world.run_for(seconds(1.0));
    world.drain();
    world.run_for(seconds(0.1));
    assert!(world.nodes[0].switchboard.is_drained(), "another process answered that call");
    world.run_for(seconds(30.0));
    assert_eq!((world.rest_count(Method::Post), world.logged(Event::WatchdogRedirect).len()), (0, 0));
}

#[test]
fn a_repeat_of_a_webhook_does_not_end_the_stream_of_a_caller_who_is_heard_while_the_process_stops() {
    let mut world = World::new();
    let call = world.call(loud(seconds(60.0)));
    world.run_for(seconds(5.0));
    world.drain();
    let caller = Caller { call: world.sid(call), account: AccountSid::from_number(1) };
    let answer = world.ask(signed(path::INCOMING_CALL, &caller.form(&[])));
    assert!(text(&answer).contains("<Connect"), "{answer:?}");
    world.run_for(seconds(15.0));
    assert_eq!(world.database.fallback(caller.call), None);
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.total(Heard::Streaming) > seconds(15.0), "{ledger}");
    world.settle();
}

#[test]
fn a_stream_that_another_process_had_and_twilio_says_has_stopped_stands_in_no_claims_way() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    let caller = Caller::new(1);
    let stream = caller.stream(1);
    let mut fact = CallFact::new(caller.call, world.now.unix, "node-2");
    fact.stream = Some((1, stream));
    world.database.take_call(world.now.mono, fact);
    let of_stream = |event| [("StreamEvent", event), ("StreamSid", stream.as_str())];
    world.webhook(path::STREAM_STATUS, caller, &of_stream("stream-error"));
    world.run_for(seconds(3.0));
    assert_eq!(world.rest_count(Method::Post), 0, "the other process may have the caller");
    world.webhook(path::STREAM_STATUS, caller, &of_stream("stream-stopped"));
    world.webhook(path::STREAM_STATUS, caller, &of_stream("stream-error"));
    world.run_for(seconds(3.0));
    assert_eq!(world.rest_count(Method::Post), 1);
}

#[test]
fn a_call_whose_row_is_written_while_the_process_begins_to_stop_is_recorded_with_a_reason() {
    let mut world = World::new();
    world.database.latency = seconds(0.1);
    let caller = Caller::new(1);
    let place = world.request(signed(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")])));
    world.run_for(seconds(0.05));
    world.drain();
    let response = world.answer(place);
    assert!(text(&response).contains("<Record"), "{response:?}");
    world.run_for(seconds(1.0));
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
    assert_eq!(world.database.how_far(caller.call).as_deref(), Some("no start seen"));
}
