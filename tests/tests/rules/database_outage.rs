//! The database goes away and comes back: nothing acknowledged is lost below the limit, nobody waits, and it is said
//! once (D1, D4, section "crash"). Virtual time.

use callwarden_core::far_end::{Heard, Plan, StreamFault};
use callwarden_core::log::{Event, Level};
use callwarden_core::store::{CallStatus, FallbackReason, RecordingState};
use callwarden_core::time::Instant;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, frame, get, signed};
use callwarden_tests::world::{DatabaseFault, LATENCY, World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const RECORDING: &str = "RE0000000000000000000000000000000b";
/// An outage is over for us this long after the database is back.
const BACK: Duration = Duration::from_secs(8);

/// Log lines as (event, level), of the database only.
fn said(world: &World) -> Vec<(Event, Level)> {
    let lines = world.log.iter().map(|(_, line)| (line.event, line.level));
    lines.filter(|(event, _)| matches!(event, Event::DbError | Event::DbSpooled | Event::DbReplayed)).collect()
}

/// What an outage says, once each.
const OUTAGE: [(Event, Level); 3] =
    [(Event::DbError, Level::Error), (Event::DbSpooled, Level::Warn), (Event::DbReplayed, Level::Info)];

/// A call from its announcement to its end, told by webhooks.
pub(crate) fn whole_call(world: &mut World, caller: Caller) {
    world.announce(caller);
    world.webhook(path::STREAM_ENDED, caller, &[]);
    world.webhook(path::RECORDING_STATUS, caller, &[("RecordingStatus", "in-progress"), ("RecordingSid", RECORDING)]);
    world.webhook(path::HANDLE_RECORDING, caller, &[("RecordingSid", RECORDING), ("RecordingDuration", "3")]);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed"), ("CallDuration", "9")]);
    world.webhook(path::RECORDING_STATUS, caller, &[("RecordingStatus", "completed"), ("RecordingSid", RECORDING)]);
}

#[track_caller]
pub(crate) fn assert_whole(world: &World, caller: Caller) {
    assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed));
    assert_eq!(world.database.fallback(caller.call), Some(FallbackReason::StreamError));
    assert_eq!(world.database.how_far(caller.call).as_deref(), Some("no start seen"));
    let timeline = world.database.timeline(caller.call);
    for event in ["incoming_call", "stream_ended", "fallback", "fallback_confirmed", "recording", "over"] {
        assert!(timeline.contains(&event), "{event} is missing: {timeline:?}");
    }
    let states: Vec<_> = world.database.recordings.iter().filter(|fact| fact.call == caller.call).collect();
    assert_eq!(states.iter().map(|fact| fact.state).max(), Some(RecordingState::Completed));
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, 0);
}

#[test]
fn a_database_that_is_down_at_the_start_gets_every_fact_once_it_is_up() {
    for fault in [DatabaseFault::Refuses, DatabaseFault::Hangs] {
        let mut world = World::down(fault);
        let caller = Caller::new(1);
        whole_call(&mut world, caller);
        assert!(world.now.mono.as_micros() < 3_000_000, "what follows a stream was waited for once, and nothing else");
        world.run_for(SECOND * 30);
        assert!(world.database.call_facts.is_empty());
        world.database.fault = DatabaseFault::None;
        world.run_for(BACK);
        assert_whole(&world, caller);
        assert_eq!(said(&world), OUTAGE, "{fault:?}");
    }
}

#[test]
fn a_database_that_goes_down_and_comes_back_gets_every_fact_and_it_is_said_once() {
    for fault in [DatabaseFault::Refuses, DatabaseFault::Hangs, DatabaseFault::LosesAnswers] {
        let mut world = World::new();
        let (before, during, after) = (Caller::new(1), Caller::new(2), Caller::new(3));
        whole_call(&mut world, before);
        world.run_for(SECOND);
        world.database.fault = fault;
        whole_call(&mut world, during);
        world.run_for(SECOND * 60);
        world.database.fault = DatabaseFault::None;
        world.run_for(BACK);
        whole_call(&mut world, after);
        world.run_for(SECOND);
        for caller in [before, during, after] {
            assert_whole(&world, caller);
        }
        assert_eq!(said(&world), OUTAGE, "{fault:?}");
        world.database.fault = fault;
        whole_call(&mut world, Caller::new(4));
        world.run_for(SECOND * 10);
        assert_eq!(said(&world)[3..], OUTAGE[..2], "the next outage is said again");
    }
}

#[test]
fn the_end_of_an_outage_is_said_though_new_calls_never_stop_coming() {
    let mut world = World::new();
    world.database.latency = SECOND / 10;
    let mut number = 0;
    for fault in [DatabaseFault::None, DatabaseFault::Refuses, DatabaseFault::None] {
        world.database.fault = fault;
        for _ in 0..200 {
            number += 1;
            world.request(signed(path::INCOMING_CALL, &Caller::new(number).form(&[("CallStatus", "ringing")])));
            world.run_for(SECOND / 40);
        }
    }
    assert!(world.nodes[0].switchboard.gauges().unwritten_facts > 0, "rows are always under way");
    assert_eq!(said(&world), OUTAGE);
}

#[test]
fn a_short_outage_is_over_soon_however_long_the_one_before_was() {
    let mut world = World::new();
    for (number, outage) in [(1, SECOND * 60), (2, SECOND / 10)] {
        world.database.fault = DatabaseFault::Refuses;
        world.announce(Caller::new(number));
        world.run_for(outage);
        world.database.fault = DatabaseFault::None;
        world.run_for(if number == 1 { BACK } else { limits::STORE_RETRY_MIN });
        assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, 0, "outage {number}");
    }
}

#[test]
fn a_database_that_stays_away_is_tried_ever_more_rarely_and_never_less_often_than_every_two_seconds() {
    let mut world = World::new();
    world.database.fault = DatabaseFault::Refuses;
    world.announce(Caller::new(1));
    let before = world.database.commands;
    let tried = |world: &mut World, time| {
        world.run_for(time);
        world.database.commands - before
    };
    // After 0.25, 0.5, 1, and from then on 2 seconds each.
    let tries: Vec<usize> = (0..10).map(|_| tried(&mut world, SECOND)).collect();
    assert_eq!(tries, [2, 3, 3, 4, 4, 5, 5, 6, 6, 7]);
}

#[test]
fn more_calls_than_wait_for_a_database_that_is_being_opened_are_answered_without_it() {
    let mut world = World::down(DatabaseFault::Hangs);
    let asked: Vec<usize> = (0..=limits::ROWS_SOUGHT_MAX)
        .map(|number| world.request(signed(path::STREAM_ENDED, &Caller::new(0x100 + number as u128).form(&[]))))
        .collect();
    world.run_for(SECOND / 10);
    let answered: Vec<usize> = asked.iter().copied().filter(|place| world.answers[*place].is_some()).collect();
    assert_eq!(answered, asked[limits::ROWS_SOUGHT_MAX..], "the last one waits for nothing");
    world.run_for(limits::ROW_TIME);
    assert!(asked.iter().all(|place| world.answers[*place].is_some()));
}

#[test]
fn many_failures_at_once_are_one_and_do_not_delay_the_next_try() {
    let mut world = World::new();
    world.database.fault = DatabaseFault::Refuses;
    for number in 1..=8 {
        world.request(signed(path::INCOMING_CALL, &Caller::new(number).form(&[("CallStatus", "ringing")])));
    }
    world.run_for(SECOND / 10);
    world.database.fault = DatabaseFault::None;
    world.run_for(limits::STORE_RETRY_MIN);
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, 0);
    assert_eq!(said(&world), OUTAGE);
}

#[test]
fn a_call_falls_back_without_the_database_as_fast_as_with_it() {
    for (fault, extra) in [(DatabaseFault::Refuses, Duration::ZERO), (DatabaseFault::Hangs, limits::CLAIM_TIME)] {
        let mut world = World::new();
        let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
        world.run_for(SECOND * 5);
        world.database.fault = fault;
        let ledger = world.run_to_the_end_of(call);
        assert!(ledger.total(Heard::Recording) > Duration::ZERO, "{ledger}");
        let limit = SECOND * 8 + extra + SECOND / 10;
        assert!(ledger.longest_silence() <= limit, "{fault:?}\n{ledger}");
        assert_eq!(world.lines(call, Event::WatchdogBlind).len(), 1, "{fault:?}");
    }
}

#[test]
fn a_slow_claim_is_waited_for_half_a_second_and_its_late_answer_changes_nothing() {
    for (latency, blind) in [(450, 0), (550, 1)] {
        let mut world = World::new();
        let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
        world.run_for(SECOND * 5);
        world.database.latency = Duration::from_millis(latency);
        let ledger = world.run_to_the_end_of(call);
        assert_eq!(ledger.updates.len(), 1);
        assert_eq!(world.lines(call, Event::WatchdogBlind).len(), blind, "{latency} ms");
        world.settle();
    }
}

#[test]
fn facts_that_the_database_refuses_are_found_one_by_one_and_the_others_arrive() {
    let mut world = World::new();
    world.database.fault = DatabaseFault::RefusesRecordings;
    let (good, bad) = (Caller::new(1), Caller::new(2));
    world.announce(good);
    whole_call(&mut world, bad);
    world.webhook(path::CALL_STATUS, good, &[("CallStatus", "completed")]);
    world.run_for(SECOND * 5);
    assert!(world.database.recordings.is_empty());
    for caller in [good, bad] {
        assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed));
    }
    assert_eq!(world.database.fallback(bad.call), Some(FallbackReason::StreamError));
    let refused: Vec<_> = world.logged(Event::DbError).into_iter().filter(|line| line.level == Level::Error).collect();
    assert_eq!(refused.len(), 3, "each refused fact is said");
    assert!(refused.iter().all(|line| line.cause.as_deref() == Some("a constraint")));
    assert_eq!(world.ask(get(path::READYZ)).status, 200, "the database works");
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, 0);
}

/// Fills the memory for waiting facts with calls, each leaving one row and one timeline event at least.
fn fill(world: &mut World) -> u128 {
    let mut number = 0x1000;
    while world.nodes[0].switchboard.gauges().unwritten_facts < limits::FACTS_WAITING_MAX {
        number += 1;
        let form = Caller::new(number).form(&[("CallStatus", "in-progress")]);
        for _ in 0..8 {
            world.request(signed(path::CALL_STATUS, &form));
        }
        world.run_for(Duration::ZERO);
    }
    number
}

#[test]
fn the_memory_for_waiting_facts_is_bounded_and_timeline_events_go_first() {
    let mut world = World::down(DatabaseFault::Refuses);
    fill(&mut world);
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, limits::FACTS_WAITING_MAX);
    assert_eq!(world.ask(get(path::HEALTHZ)).status, 503, "balancers send calls elsewhere");
    let late = Caller::new(1);
    let document = world.webhook(path::INCOMING_CALL, late, &[("CallStatus", "ringing")]);
    assert!(document.contains("<Connect"), "a call that comes all the same is answered");
    world.webhook(path::CALL_STATUS, late, &[("CallStatus", "completed")]);
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, limits::FACTS_WAITING_MAX);
    let full =
        world.logged(Event::DbError).into_iter().filter(|line| line.reason.as_deref() == Some("waiting_facts_full"));
    assert!(full.clone().count() > 0 && full.clone().count() < 8, "counted, not said each time");
    world.database.fault = DatabaseFault::None;
    world.run_for(SECOND * 30);
    assert_eq!(world.database.status(late.call), Some(CallStatus::Completed), "its row displaced timeline events");
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, 0);
    assert_eq!(world.ask(get(path::HEALTHZ)).status, 200);
}

#[test]
fn a_refused_batch_is_taken_apart_and_nothing_but_what_is_refused_is_given_up() {
    let mut world = World::new();
    let callers = [1, 2].map(Caller::new);
    callers.iter().for_each(|caller| drop(world.announce(*caller)));
    world.database.fault = DatabaseFault::Refuses;
    let begun = [("RecordingStatus", "in-progress"), ("RecordingSid", RECORDING)];
    world.webhook(path::CALL_STATUS, callers[0], &[("CallStatus", "completed")]);
    for caller in callers {
        world.webhook(path::RECORDING_STATUS, caller, &begun);
    }
    world.webhook(path::CALL_STATUS, callers[1], &[("CallStatus", "completed")]);
    world.database.fault = DatabaseFault::RefusesRecordings;
    world.run_for(BACK);
    for caller in callers {
        assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed));
    }
    let refused = world.logged(Event::DbError).into_iter().filter(|line| line.reason.as_deref() == Some("refused"));
    let given_up = refused.filter(|line| line.level == Level::Error).map(|line| line.count).collect::<Vec<_>>();
    assert_eq!(given_up, [Some(1), Some(2)], "each recording is refused by itself");
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, 0);
}

#[test]
fn facts_leave_in_batches_of_bounded_size_and_number() {
    let mut world = World::down(DatabaseFault::Refuses);
    for number in 0..40 {
        whole_call(&mut world, Caller::new(0x2000 + number));
    }
    let facts = world.nodes[0].switchboard.gauges().unwritten_facts;
    let before = world.database.commands;
    world.database.fault = DatabaseFault::None;
    world.run_for(BACK);
    assert_eq!(world.nodes[0].switchboard.gauges().unwritten_facts, 0);
    let least = facts.div_ceil(limits::FACTS_PER_COMMAND_MAX);
    let commands = world.database.commands - before;
    assert!((least..=least + limits::FACT_COMMANDS_MAX + 2).contains(&commands), "{commands} commands, {facts} facts");
}

/// When the stream of a caller who says nothing is closed, where the database takes so long, or is known to be away.
fn closed_at(latency: Duration, fault: DatabaseFault) -> Instant {
    let mut world = World::with(settings(&[("END_SILENCE", "3s")]));
    let caller = Caller::new(1);
    let (token, stream) = (world.announce(caller), caller.stream(1));
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, SECOND);
    (world.database.latency, world.database.fault) = (latency, fault);
    world.announce(Caller::new(2));
    for chunk in 1_000.. {
        if world.socket(socket).closed.is_some() {
            break;
        }
        world.say(socket, &frame(stream, chunk));
        world.run_for(LATENCY);
    }
    world.now.mono
}

#[test]
fn that_a_caller_had_finished_is_stored_before_the_stream_is_closed_unless_it_cannot_be() {
    let quick = closed_at(LATENCY, DatabaseFault::None);
    let slow = closed_at(LATENCY * 30, DatabaseFault::None);
    assert!(slow.since(quick).abs_diff(LATENCY * 29) <= LATENCY, "{:?} later", slow.since(quick));
    let down = closed_at(LATENCY, DatabaseFault::Refuses);
    assert!(down <= quick, "{:?} later", down.since(quick));
}
