//! What the database does not take stands in files of `DATA_DIR` (D3): a process may be killed, its disk may be full, and
//! memory may be too small. Virtual time.

use crate::database_outage::{assert_whole, whole_call};
use callwarden_core::log::{Event, Level, LogLine};
use callwarden_core::store::{CallStatus, spooled};
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, get};
use callwarden_tests::world::{DatabaseFault, World};
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// An outage is over for us this long after the database is back.
const BACK: Duration = Duration::from_secs(8);

/// What was said of the spool itself.
fn said(world: &World, reason: &str) -> Vec<LogLine> {
    let lines = world.log.iter().map(|(_, line)| line);
    lines
        .filter(|line| line.event == Event::DbError && line.reason.as_deref() == Some(reason))
        .map(LogLine::clone)
        .collect()
}

fn files(world: &World) -> Vec<&str> {
    world.nodes[0].disk.files.keys().map(String::as_str).filter(|name| spooled::is_one(name)).collect()
}

fn readyz(world: &mut World) -> serde_json::Value {
    serde_json::from_slice(&world.ask(get(path::READYZ)).body).expect("JSON")
}

#[test]
fn what_was_acknowledged_while_the_database_was_down_survives_the_process() {
    for fault in [DatabaseFault::Refuses, DatabaseFault::Hangs, DatabaseFault::LosesAnswers] {
        let mut world = World::new();
        let caller = Caller::new(1);
        world.database.fault = fault;
        whole_call(&mut world, caller);
        world.run_for(limits::STORE_TIME);
        world.kill_and_restart();
        world.run_for(SECOND * 30);
        assert!(!files(&world).is_empty(), "{fault:?}: adopted, and still waiting");
        world.database.fault = DatabaseFault::None;
        world.run_for(BACK);
        assert_whole(&world, caller);
        assert_eq!(files(&world), [""; 0], "{fault:?}");
    }
}

#[test]
fn it_survives_several_processes_and_is_taken_by_the_last() {
    let mut world = World::new();
    world.database.fault = DatabaseFault::Refuses;
    for number in 1..=4 {
        whole_call(&mut world, Caller::new(number));
        world.run_for(SECOND);
        world.kill_and_restart();
    }
    world.database.fault = DatabaseFault::None;
    world.run_for(BACK);
    for number in 1..=4 {
        assert_eq!(world.database.status(Caller::new(number).call), Some(CallStatus::Completed));
    }
    assert_eq!(files(&world), [""; 0]);
}

#[test]
fn a_file_goes_when_the_database_has_all_that_is_in_it_and_no_sooner() {
    let mut world = World::new();
    world.database.fault = DatabaseFault::Refuses;
    whole_call(&mut world, Caller::new(1));
    world.run_for(SECOND);
    let page = readyz(&mut world);
    assert!(page["spool_files"].as_u64() > Some(0) && page["spool_error_seconds"].is_null(), "{page}");
    assert!(!files(&world).is_empty());
    world.run_for(SECOND * 60);
    let page = readyz(&mut world);
    assert!(page["spool_oldest_seconds"].as_u64() >= Some(60), "{page}");
    world.database.fault = DatabaseFault::None;
    world.run_for(BACK);
    assert_eq!(files(&world), [""; 0]);
    let page = readyz(&mut world);
    assert_eq!((page["spool_files"].as_u64(), page["spool_oldest_seconds"].is_null()), (Some(0), true), "{page}");
}

#[test]
fn nothing_is_written_while_the_database_answers() {
    let mut world = World::new();
    whole_call(&mut world, Caller::new(1));
    world.run_for(SECOND * 10);
    assert_eq!(world.nodes[0].disk.writes, 0);
}

#[test]
fn a_disk_that_keeps_nothing_is_said_once_and_tried_until_it_does() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.database.fault = DatabaseFault::Refuses;
    world.nodes[0].disk.fails = true;
    whole_call(&mut world, caller);
    world.run_for(SECOND * 10);
    let lines = said(&world, "spool");
    assert_eq!(lines.iter().map(|line| line.level).collect::<Vec<_>>(), [Level::Error]);
    assert_eq!(lines[0].cause.as_deref(), Some("no space left on device"));
    let healthz = world.ask(get(path::HEALTHZ));
    let text = String::from_utf8_lossy(&healthz.body).into_owned();
    assert_eq!((healthz.status, text.contains("DATA_DIR")), (503, true), "{text}");
    assert!(readyz(&mut world)["spool_error_seconds"].as_u64() >= Some(9));
    world.nodes[0].disk.fails = false;
    world.run_for(limits::SPOOL_RETRY + SECOND / 10);
    assert_eq!(world.ask(get(path::HEALTHZ)).status, 200);
    world.kill_and_restart();
    world.database.fault = DatabaseFault::None;
    world.run_for(BACK);
    assert_whole(&world, caller);
}

#[test]
fn a_disk_that_keeps_nothing_costs_nothing_while_the_database_answers() {
    let mut world = World::new();
    world.nodes[0].disk.fails = true;
    let caller = Caller::new(1);
    whole_call(&mut world, caller);
    world.run_for(SECOND * 10);
    assert_whole(&world, caller);
    assert_eq!(world.ask(get(path::HEALTHZ)).status, 200);
    assert!(said(&world, "spool").is_empty());
}

#[test]
fn a_file_that_cannot_be_read_now_is_read_later() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.database.fault = DatabaseFault::Refuses;
    whole_call(&mut world, caller);
    world.run_for(SECOND);
    world.kill_and_restart();
    // The directory was adopted at once; what is in it is read a moment later.
    world.nodes[0].disk.fails = true;
    world.database.fault = DatabaseFault::None;
    world.run_for(BACK);
    assert_eq!(said(&world, "spool").len(), 1);
    assert_eq!(world.database.status(caller.call), None);
    world.nodes[0].disk.fails = false;
    world.run_for(limits::SPOOL_RETRY + SECOND);
    assert_whole(&world, caller);
}

#[test]
fn a_damaged_line_is_said_and_its_file_is_left_for_somebody_to_look_at() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.database.fault = DatabaseFault::Refuses;
    whole_call(&mut world, caller);
    world.run_for(SECOND);
    let disk = &mut world.nodes[0].disk;
    let (name, content) = disk.files.iter().find(|(name, _)| spooled::is_one(name)).expect("a file");
    let (name, damaged) = (name.clone(), [content, &b"{\"Call\":{\"call\":\"CA1\"}}\n"[..]].concat());
    disk.files.insert(name.clone(), damaged.into());
    world.kill_and_restart();
    world.database.fault = DatabaseFault::None;
    world.run_for(BACK);
    assert_whole(&world, caller);
    let lines = said(&world, "spool_unreadable");
    assert_eq!(lines.len(), 1);
    let detail = lines[0].detail.as_deref().unwrap_or_default();
    assert!(lines[0].count == Some(1) && detail.contains(&name), "{detail}");
    assert_eq!(files(&world), [name.as_str()]);
}

#[test]
fn facts_that_memory_has_no_room_for_wait_in_files_and_none_is_lost() {
    let mut world = World::new();
    world.database.fault = DatabaseFault::Refuses;
    let calls = u128::try_from(limits::FACTS_WAITING_MAX / 3 + 3_000).expect("a number");
    let status = [("CallStatus", "completed"), ("CallDuration", "9")];
    for number in 1..=calls {
        world.webhook(path::CALL_STATUS, Caller::new(number), &status);
        world.run_for(SECOND / 10_000);
    }
    let page = readyz(&mut world);
    assert_eq!(page["unwritten_facts"], limits::FACTS_WAITING_MAX, "{page}");
    world.run_for(SECOND * 2);
    assert_eq!(world.ask(get(path::HEALTHZ)).status, 200, "memory is full, and what comes is kept all the same");
    assert_eq!(readyz(&mut world)["dropped_facts"], 0);
    world.database.fault = DatabaseFault::None;
    world.run_for(SECOND * 60);
    for number in 1..=calls {
        let call = Caller::new(number).call;
        assert_eq!(world.database.status(call), Some(CallStatus::Completed), "call {number}");
        // What was in a file that memory had no room for may come twice, which changes nothing (D2).
        let timeline: BTreeSet<&str> = world.database.timeline(call).into_iter().collect();
        assert_eq!(timeline, BTreeSet::from(["call_status", "over"]), "call {number}");
    }
    assert_eq!(files(&world), [""; 0]);
}
