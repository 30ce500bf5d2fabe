//! W8 and section "several processes": a watch outlives its process. The next one takes the call over from its row,
//! whatever was under way when the process was killed. Virtual time.

use bytes::Bytes;
use callwarden_core::far_end::{AfterFailure, HangUp, Heard, Plan, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::limits;
use callwarden_core::log::Event;
use callwarden_core::path;
use callwarden_core::store::{CallFact, CallStatus, FallbackReason, RecordingFact, RecordingState};
use callwarden_core::stream::Ended;
use callwarden_tests::world::script::Caller;
use callwarden_tests::world::{DatabaseFault, LATENCY, RestFault, World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// The network, and the rounds of the process that takes over.
const SLACK: Duration = Duration::from_millis(500);

/// A caller whose stream never starts, and who does not give up.
fn unheard() -> Plan {
    Plan { hangs_up: HangUp::Recording(SECOND * 5), ..Plan::with_fault(StreamFault::NeverStarts) }
}

/// A caller who is loud enough to be heard speaking.
fn talker() -> Plan {
    let voice = Bytes::from_static(&[0x00, 0x80]);
    let hangs_up = HangUp::Answered(SECOND * 60);
    Plan { voice, speaks: SECOND * 300, frame_interval: SECOND / 10, hangs_up, ..Plan::default() }
}

#[test]
fn a_call_without_a_stream_whose_process_dies_is_recorded_by_the_next() {
    for killed_after in [0, 1, 3, 7] {
        let mut world = World::new();
        let call = world.call(unheard());
        world.run_for(SECOND * killed_after + SLACK);
        world.kill_and_restart();
        let ledger = world.run_to_the_end_of(call).clone();
        let bound = SECOND * killed_after + limits::BRIDGE_TIME + SLACK * 2;
        assert!(ledger.longest_dead_air() <= bound, "killed after {killed_after} s: {ledger}");
        assert!(ledger.total(Heard::Recording) > SECOND, "{ledger}");
        assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::NoStart));
        assert_eq!(world.lines(call, Event::CallTakenOver).len(), 1);
        world.settle();
    }
}

/// The instants between the decision and its effect: the claim sent, granted, the update sent, applied, answered.
#[test]
fn a_process_killed_between_the_claim_and_the_update_leaves_one_recording_and_no_silence() {
    for milliseconds in 0..60 {
        let mut world = World::new();
        let call = world.call(unheard());
        world.run_until(SECOND * 20, |world| world.database.claims_asked == 1);
        world.run_for(Duration::from_millis(milliseconds));
        world.kill_and_restart();
        let ledger = world.run_to_the_end_of(call).clone();
        assert_eq!(ledger.recordings.len(), 1, "killed {milliseconds} ms after the claim: {ledger}");
        assert_eq!(ledger.updates.len(), 1, "killed {milliseconds} ms after the claim: {ledger}");
        assert!(ledger.longest_dead_air() <= limits::BRIDGE_TIME * 2 + SLACK * 2, "{ledger}");
        world.settle();
    }
}

#[test]
fn a_stream_that_broke_with_its_process_goes_on_at_the_next_and_is_counted_as_the_second() {
    let mut world = World::new();
    let call = world.call(talker());
    world.run_for(SECOND * 5);
    world.kill_and_restart();
    world.run_for(SECOND * 5);
    let sid = world.sid(call);
    let ordinals = world.database.call_facts.iter().filter(|(_, fact)| fact.call == sid).filter_map(|(_, f)| f.stream);
    assert_eq!(ordinals.map(|(ordinal, _)| ordinal).collect::<Vec<_>>(), [1, 2]);
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.longest_dead_air() <= SECOND, "{ledger}");
    assert_eq!(ledger.total(Heard::Recording), Duration::ZERO, "{ledger}");
    world.settle();
}

#[test]
fn a_call_that_broke_with_three_processes_is_recorded() {
    let mut world = World::new();
    let call = world.call(talker());
    for _ in 0..3 {
        world.run_for(SECOND * 5);
        world.kill_and_restart();
    }
    let ledger = world.run_to_the_end_of(call);
    assert_eq!(ledger.streams.len(), 3, "{ledger}");
    assert!(ledger.total(Heard::Recording) > SECOND, "{ledger}");
    world.settle();
}

#[test]
fn a_stream_that_broke_and_of_which_twilio_says_nothing_is_recorded_after_eight_seconds() {
    let mut world = World::new();
    let faults = vec![StreamFault::DropAfter(SECOND * 5)];
    let call = world.call(Plan { after_failure: AfterFailure::Nothing, faults, ..talker() });
    world.run_for(SECOND * 7);
    world.kill_and_restart();
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.longest_dead_air() <= SECOND * 2 + limits::BRIDGE_TIME + SLACK, "{ledger}");
    assert!(ledger.total(Heard::Recording) > SECOND, "{ledger}");
    assert_eq!(world.database.fallback(world.sid(call)), Some(FallbackReason::StreamLost));
    world.settle();
}

#[test]
fn a_long_greeting_is_heard_to_its_end_though_its_process_dies() {
    let greeting = "שלום ".repeat(40);
    let mut world = World::with(settings(&[("GREETING_TEXT", greeting.as_str())]));
    let call = world.call(unheard());
    world.run_for(SECOND * 3);
    world.kill_and_restart();
    let ledger = world.run_to_the_end_of(call);
    assert_eq!(ledger.total(Heard::Greeting).as_secs(), 20, "{ledger}");
    assert!(ledger.longest_dead_air() <= SECOND * 4 + SLACK, "{ledger}");
    world.settle();
}

#[test]
fn a_caller_who_had_finished_is_told_goodbye_by_the_next_process() {
    let mut world = World::with(settings(&[("END_SILENCE", "3s")]));
    let call = world.call(Plan { speaks: SECOND * 2, ..talker() });
    world.lost_paths.insert(path::STREAM_ENDED);
    let sid = world.sid(call);
    world.run_until(SECOND * 20, |world| {
        world.database.call_facts.iter().any(|(_, fact)| fact.call == sid && fact.finished_at.is_some())
    });
    world.lost_paths.clear();
    world.kill_and_restart();
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.total(Heard::Goodbye) > SECOND, "{ledger}");
    assert_eq!(ledger.total(Heard::Recording), Duration::ZERO, "{ledger}");
    world.settle();
}

#[test]
fn a_call_that_is_recorded_when_its_process_dies_is_left_alone() {
    let mut world = World::new();
    let call = world.call(Plan { message: SECOND * 30, ..Plan::with_fault(StreamFault::NeverStarts) });
    world.run_until(SECOND * 20, |world| world.ledger(call).heard() == Some(Heard::Recording));
    world.run_for(SECOND);
    world.kill_and_restart();
    let ledger = world.run_to_the_end_of(call);
    assert_eq!((ledger.recordings.len(), ledger.updates.len()), (1, 1), "{ledger}");
    assert_eq!(world.lines(call, Event::CallTakenOver).len(), 0);
    world.settle();
}

#[test]
fn a_caller_who_left_while_no_process_was_up_is_found_to_have_left() {
    let mut world = World::new();
    let call = world.call(Plan { hangs_up: HangUp::Answered(SECOND * 5), ..unheard() });
    world.run_for(SECOND * 2);
    world.lost_paths.insert(path::CALL_STATUS);
    world.kill_and_restart();
    world.run_to_the_end_of(call);
    world.run_for(limits::BRIDGE_TIME * 2 + SECOND * 10);
    assert!(world.database.timeline(world.sid(call)).contains(&"over"));
    world.settle();
}

#[test]
fn a_process_that_drained_says_that_it_is_gone() {
    let mut world = World::new();
    world.drain();
    world.run_for(LATENCY * 2);
    assert!(world.nodes[0].switchboard.is_drained());
    assert_eq!(world.database.nodes.living(world.now.mono), 0);
}

#[test]
fn a_process_gives_its_word_in_time_all_the_while() {
    let mut world = World::new();
    for _ in 0..600 {
        world.run_for(SECOND / 2);
        assert_eq!(world.database.nodes.living(world.now.mono), 1);
    }
}

#[test]
fn whichever_of_three_processes_dies_another_one_has_its_callers_within_eight_seconds() {
    for seed in 0..20 {
        let mut world = World::of_nodes(&settings(&[]), 3, seed);
        world.run_for(limits::NODE_LEASE * 2);
        let calls: Vec<usize> = (0..6).map(|_| world.call(unheard())).collect();
        world.run_for(SECOND * 2);
        world.kill(0);
        for call in calls {
            let ledger = world.run_to_the_end_of(call).clone();
            let bound = SECOND * 2 + limits::NODE_LEASE + limits::NODE_RENEWAL + limits::BRIDGE_TIME + SLACK * 2;
            assert!(ledger.longest_dead_air() <= bound, "seed {seed}: {ledger}");
            assert!(ledger.total(Heard::Recording) > SECOND, "seed {seed}: {ledger}");
            assert_eq!(ledger.updates.len(), 1, "seed {seed}: {ledger}");
        }
    }
}

#[test]
fn an_outage_of_the_database_takes_no_stream_away_from_a_process_that_lives() {
    for fault in [DatabaseFault::Refuses, DatabaseFault::Hangs] {
        let mut world = World::of_nodes(&settings(&[]), 3, 7);
        world.run_for(limits::NODE_LEASE * 2);
        let calls: Vec<usize> = (0..6).map(|_| world.call(talker())).collect();
        // Until then the process that announced a call may have to ask the database who streams it.
        world.run_for(SECOND * 12);
        world.database.fault = fault;
        world.run_for(SECOND * 20);
        world.database.fault = DatabaseFault::None;
        for call in calls {
            let ledger = world.run_to_the_end_of(call).clone();
            assert_eq!((ledger.streams.len(), ledger.updates.len()), (1, 0), "{fault:?}: {ledger}");
            assert!(world.lines(call, Event::CallTakenOver).is_empty(), "{fault:?}");
        }
    }
}

/// Clocks that differ by five seconds either way.
#[test]
fn clocks_that_differ_take_no_stream_away_from_a_process_that_lives() {
    for off in [-5_000, 5_000] {
        let mut world = World::of_nodes(&settings(&[]), 2, 3);
        world.nodes[1].clock_off = off;
        let calls: Vec<usize> = (0..6).map(|_| world.call(talker())).collect();
        for call in calls {
            let ledger = world.run_to_the_end_of(call).clone();
            assert_eq!((ledger.streams.len(), ledger.updates.len()), (1, 0), "{off}: {ledger}");
            assert!(world.lines(call, Event::CallTakenOver).is_empty(), "{off}");
        }
    }
}

/// A balancer that sends every request to any process.
#[test]
fn whichever_process_is_asked_a_caller_who_had_finished_is_told_goodbye_and_a_broken_stream_goes_on() {
    for seed in 0..20 {
        let mut world = World::of_nodes(&settings(&[("END_SILENCE", "3s")]), 3, seed);
        let finished = world.call(Plan { speaks: SECOND * 2, ..talker() });
        let broken = world.call(Plan { faults: vec![StreamFault::DropAfter(SECOND * 2)], ..talker() });
        let ledger = world.run_to_the_end_of(finished).clone();
        assert!(ledger.total(Heard::Goodbye) > SECOND, "seed {seed}: {ledger}");
        assert_eq!(ledger.total(Heard::Recording), Duration::ZERO, "seed {seed}: {ledger}");
        let ledger = world.run_to_the_end_of(broken).clone();
        assert_eq!((ledger.streams.len(), ledger.updates.len()), (2, 0), "seed {seed}: {ledger}");
        assert_eq!(ledger.total(Heard::Recording), Duration::ZERO, "seed {seed}: {ledger}");
    }
}

/// Two processes, a call that the first one announced, and the end of the first one. All it was to be asked goes to the
/// second one.
fn left_behind() -> (World, Caller, String) {
    let mut world = World::of_nodes(&settings(&[]), 2, 0);
    world.rest_always = RestFault::Refused(200, 0);
    let caller = Caller::new(1);
    let token = world.announce(caller);
    world.kill(0);
    (world, caller, token)
}

/// How long after the end of the first process the second one asks for its calls, and gets them.
fn taken_after() -> Duration {
    let (mut world, ..) = left_behind();
    let killed = world.now.mono;
    world.run_until(SECOND * 10, |world| !world.logged(Event::CallTakenOver).is_empty());
    world.now.mono.since(killed)
}

#[test]
fn a_watch_that_is_armed_when_its_call_is_taken_over_stays() {
    let taken = taken_after();
    let (mut world, caller, _) = left_behind();
    world.run_for(taken - SECOND);
    let error = [("StreamEvent", "stream-error"), ("StreamError", "Handshake Error")];
    world.webhook(path::STREAM_STATUS, caller, &error);
    let told = world.now.mono;
    world.run_for(SECOND * 5);
    assert_eq!(world.lines_of(caller, Event::CallTakenOver).len(), 1);
    let moved = world.rest_at(Method::Post).expect("it is moved").since(told);
    assert!(moved.abs_diff(limits::STREAM_ERROR_WAIT) <= LATENCY, "{moved:?}");
}

#[test]
fn a_stream_that_starts_while_its_call_is_being_taken_over_is_watched_as_a_stream() {
    let taken = taken_after();
    let (mut world, caller, token) = left_behind();
    world.run_for(taken - LATENCY);
    world.database.latency = SECOND / 2;
    world.run_for(LATENCY * 2);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    assert!(world.lines_of(caller, Event::CallTakenOver).is_empty(), "the answer is on its way");
    world.frames(socket, stream, SECOND * 3);
    assert_eq!(world.lines_of(caller, Event::CallTakenOver).len(), 1);
    world.rest_next = [RestFault::Found("in-progress")].into();
    world.end_script_socket(socket, Ended::Lost("connection reset".into()));
    world.run_for(limits::BRIDGE_TIME + SECOND);
    assert_eq!((world.rest_count(Method::Get), world.rest_count(Method::Post)), (1, 1));
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamLost));
}

#[test]
fn a_call_that_another_process_knows_to_be_recorded_or_over_has_no_fallback_here() {
    for over in [false, true] {
        let mut world = World::new();
        let caller = Caller::new(1);
        world.announce(caller);
        world.run_for(SECOND * 5);
        let (call, at, node) = (caller.call, world.now.unix, "node-2".to_owned());
        if over {
            let fact = CallFact { status: Some(CallStatus::Completed), ..CallFact::new(call, at, node) };
            world.database.take_call(world.now.mono, fact);
        } else {
            let (recording, state) =
                ("RE00000000000000000000000000000001".parse().expect("a SID"), RecordingState::InProgress);
            let fact = RecordingFact { recording, call, at, state, duration_seconds: None, node, job: None };
            world.database.recordings.push(fact);
        }
        world.run_for(SECOND * 30);
        assert!(world.database.timeline(call).contains(&"claim_refused"));
        assert_eq!((world.database.claims_asked, world.rest_count(Method::Post)), (1, 0));
        assert_eq!(world.database.fallback(call), None, "over: {over}");
    }
}
