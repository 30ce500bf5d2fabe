//! Recordings are taken to be transcribed by one process at a time, and none is forgotten (T2, T5).

use super::known::*;
use super::{AT, ago, all, call, fact, failed, of_call, on_both, put, recorded, recording, segment};
use callwarden::store::Store;
use callwarden_core::limits::{RECORDING_LEASE, RECORDINGS_PASSED_OVER_MAX};
use callwarden_core::sid::{AccountSid, RecordingSid};
use callwarden_core::store::{
    Fact, Job, JobState, RecordingState, StoreAnswer, StoreCommand, TakenRecording, TranscriptStart,
};
use callwarden_core::time::UnixMillis;
use callwarden_tests::database::{Row, TestDatabase, answered};
use core::time::Duration;
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);
/// Later than any test runs.
const LATER: UnixMillis = UnixMillis(4_102_444_800_000);

async fn take(store: &Store, node: &str, limit: u64) -> Vec<TakenRecording> {
    let command = StoreCommand::TakeRecordings { node: node.to_owned(), limit };
    let StoreAnswer::Recordings(taken) = answered(store, command).await else { panic!("no recordings") };
    taken
}

/// Which recordings were taken, and which try of each it is.
async fn tries(store: &Store, node: &str) -> Vec<(RecordingSid, u32)> {
    let mut taken: Vec<_> =
        take(store, node, 100).await.into_iter().map(|taken| (taken.recording, taken.attempt)).collect();
    taken.sort_unstable();
    taken
}

fn sid(number: u128) -> RecordingSid {
    RecordingSid::from_number(number)
}

/// How a try of the first recording went.
fn told(job: Job) -> Fact {
    recording(1, 1, |fact| {
        (fact.state, fact.duration_seconds, fact.job) = (RecordingState::InProgress, None, Some(job));
    })
}

/// A recording that was tried.
fn tried(number: u128, job: Job) -> Fact {
    recording(10 * number, number, |fact| fact.job = Some(job))
}

fn waiting(attempts: u32, next_at: Option<UnixMillis>) -> Job {
    Job { state: JobState::Waiting, attempts, error: Some("HTTP 503".to_owned()), next_at }
}

fn blocked(attempts: u32, next_at: UnixMillis) -> Job {
    Job { next_at: Some(next_at), ..failed(attempts, "the key is wrong") }
}

async fn row(database: &TestDatabase) -> Row {
    database.rows("recordings").await.swap_remove(0)
}

/// Lets the time be over for which recordings were taken.
async fn lease_over(database: &TestDatabase) {
    move_lease(database, RECORDING_LEASE).await;
}

/// Moves the end of that time, as if so much had passed.
async fn move_lease(database: &TestDatabase, passed: Duration) {
    let now = ago(database, Duration::ZERO);
    let then = ago(database, passed);
    database.execute(&format!("UPDATE recordings SET job_until = job_until + ({then} - {now})")).await;
}

#[test]
fn a_recording_is_taken_with_all_that_is_needed_to_fetch_it() {
    on_both(async |_, store| {
        let account = AccountSid::from_number(7);
        let done = [2, 10, 1].map(|sequence| segment(1, recorded(1), sequence, |_| {}));
        let waits = segment(1, recorded(1), 3, |fact| fact.job = Job::waiting());
        let lost = segment(1, recorded(1), 4, |fact| fact.job = failed(1, "why"));
        let others = [segment(1, recorded(2), 5, |_| {}), segment(2, recorded(1), 6, |_| {})];
        put(&store, vec![recording(1, 1, |_| {}), fact(1, |fact| fact.account = Some(account))]).await;
        put(&store, [done.as_slice(), &others, &[waits, lost]].concat()).await;
        let expected = TakenRecording {
            recording: sid(1),
            call: call(1),
            account: Some(account),
            created_at: AT,
            attempt: 1,
            failed: false,
            done: vec![1, 2, 10],
        };
        assert_eq!(take(&store, "node-1", 4).await, [expected]);
    });
}

#[test]
fn a_recording_is_taken_without_its_account_where_that_is_unknown() {
    on_both(async |_, store| {
        put(&store, vec![recording(1, 1, |_| {})]).await;
        let taken = take(&store, "node-1", 1).await;
        assert_eq!((taken[0].account, taken[0].done.as_slice()), (None, [].as_slice()));
    });
}

#[test]
fn only_what_has_sound_and_waits_is_taken() {
    let cases: [(Known, bool); 13] = [
        (COMPLETED, true),
        (|n| recording(10 * n, n, |fact| fact.duration_seconds = None), true),
        (RECORDED, true),
        (RUNNING, false),
        (ABSENT, false),
        (|n| recording(10 * n, n, |fact| fact.state = RecordingState::Absent), false),
        (RECORDING_DONE, false),
        (|n| tried(n, Job { next_at: Some(AT), ..Job::done(1) }), false),
        (RECORDING_FAILED, false),
        (|n| tried(n, blocked(1, AT)), true),
        (|n| tried(n, blocked(1, LATER)), false),
        (|n| tried(n, waiting(1, Some(AT))), true),
        (|n| tried(n, waiting(1, Some(LATER))), false),
    ];
    on_both(async |_, store| {
        let mut expected = Vec::new();
        for (number, (fact, taken)) in (1..).zip(cases) {
            put(&store, vec![fact(number)]).await;
            expected.extend(taken.then(|| sid(10 * number)));
        }
        let taken: Vec<_> = tries(&store, "node-1").await.into_iter().map(|(recording, _)| recording).collect();
        assert_eq!(taken, expected);
    });
}

#[test]
fn recordings_of_calls_that_are_never_transcribed_are_not_taken() {
    on_both(async |_, store| {
        let begins = |number, begins| fact(number, |fact| fact.transcript = Some(begins));
        put(&store, vec![recording(1, 1, |_| {}), begins(1, TranscriptStart::Disabled)]).await;
        put(&store, vec![recording(2, 2, |_| {}), begins(2, TranscriptStart::Pending)]).await;
        put(&store, vec![recording(3, 3, |_| {})]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(2), 1), (sid(3), 1)]);
    });
}

#[test]
fn recordings_of_calls_that_are_never_transcribed_do_not_wait_for_ever_among_the_others() {
    on_both(async |database, store| {
        let disabled = |number| fact(number, |fact| fact.transcript = Some(TranscriptStart::Disabled));
        let most = u128::from(RECORDINGS_PASSED_OVER_MAX);
        for number in 1..=most + 1 {
            put(&store, vec![recording(number, number, |_| {}), disabled(number)]).await;
        }
        let waiting = async || {
            let rows = database.rows("recordings").await;
            rows.iter().filter(|row| !row.contains_key("job_state")).count()
        };
        assert_eq!(tries(&store, "node-1").await, []);
        assert_eq!(waiting().await, 1, "some at a time");
        assert_eq!(tries(&store, "node-1").await, []);
        assert_eq!(waiting().await, 0);
    });
}

#[test]
fn no_more_are_taken_than_asked_for_and_the_oldest_first() {
    on_both(async |_, store| {
        for number in 1..=5 {
            put(&store, vec![recording(number, number, |fact| fact.at = UnixMillis(AT.0 - number as i64))]).await;
        }
        for expected in [vec![sid(4), sid(5)], vec![sid(2), sid(3)], vec![sid(1)], vec![]] {
            let mut taken: Vec<_> = take(&store, "node-1", 2).await.into_iter().map(|taken| taken.recording).collect();
            taken.sort_unstable();
            assert_eq!(taken, expected);
        }
    });
}

#[test]
fn nobody_else_takes_a_recording_until_its_time_is_over() {
    on_both(async |database, store| {
        let other = database.store().await;
        put(&store, vec![recording(1, 1, |_| {})]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 1)]);
        let taken = row(database).await;
        assert_eq!((taken["job_node"].as_str(), taken["job_tries"].as_str()), ("node-1", "1"));
        assert_eq!(tries(&other, "node-2").await, []);
        assert_eq!(tries(&store, "node-1").await, []);
        move_lease(database, RECORDING_LEASE - 10 * SECOND).await;
        assert_eq!(tries(&other, "node-2").await, []);
        move_lease(database, 10 * SECOND).await;
        assert_eq!(tries(&other, "node-2").await, [(sid(1), 2)]);
        assert_eq!(tries(&store, "node-1").await, []);
        assert_eq!(row(database).await["job_node"], "node-2");
    });
}

#[test]
fn news_of_a_recording_do_not_free_it() {
    on_both(async |database, store| {
        put(&store, vec![recording(1, 1, |fact| fact.state = RecordingState::InProgress)]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 1)]);
        put(&store, vec![recording(1, 1, |_| {})]).await;
        assert_eq!(row(database).await["state"], "completed");
        assert_eq!(tries(&store, "node-2").await, []);
    });
}

#[test]
fn who_tells_how_a_try_went_gives_the_recording_back() {
    on_both(async |database, store| {
        put(&store, vec![recording(1, 1, |_| {})]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 1)]);
        put(&store, vec![told(waiting(1, None))]).await;
        assert_eq!(row(database).await.get("job_until"), None);
        assert_eq!(tries(&store, "node-2").await, [(sid(1), 2)]);
        put(&store, vec![told(waiting(2, Some(LATER)))]).await;
        assert_eq!(tries(&store, "node-1").await, []);
        let due = format!("UPDATE recordings SET job_next_at = {}", ago(database, SECOND));
        database.execute(&due).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 3)]);
        put(&store, vec![told(Job::done(3))]).await;
        assert_eq!(tries(&store, "node-2").await, []);
        assert_eq!(row(database).await["job_state"], "done");
    });
}

#[test]
fn a_late_word_on_an_earlier_try_does_not_free_a_later_one() {
    on_both(async |database, store| {
        put(&store, vec![recording(1, 1, |_| {})]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 1)]);
        lease_over(database).await;
        assert_eq!(tries(&store, "node-2").await, [(sid(1), 2)]);
        for late in [waiting(1, Some(AT)), blocked(1, AT)] {
            put(&store, vec![told(late)]).await;
            assert_eq!(tries(&store, "node-1").await, []);
        }
        put(&store, vec![told(Job::done(2))]).await;
        put(&store, vec![told(Job { next_at: Some(AT), ..failed(1, "late") })]).await;
        assert_eq!(tries(&store, "node-1").await, []);
        assert_eq!(row(database).await["job_state"], "done");
    });
}

#[test]
fn a_blocked_recording_stays_failed_until_a_later_try_is_done() {
    on_both(async |database, store| {
        put(&store, vec![recording(1, 1, |_| {}), fact(1, |fact| fact.ended_at = Some(AT))]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 1)]);
        for attempt in [1, 2] {
            put(&store, vec![told(blocked(attempt, AT))]).await;
            assert_eq!(of_call(database, 1, "transcript_status").await, "failed: the key is wrong");
            let taken = take(&store, "node-1", 1).await;
            assert_eq!((taken[0].attempt, taken[0].failed), (attempt + 1, true));
            assert_eq!(row(database).await["job_state"], "failed");
            assert_eq!(tries(&store, "node-2").await, []);
        }
        let text = segment(1, recorded(1), 1, |fact| "שלום".clone_into(&mut fact.text));
        put(&store, vec![text, told(Job::done(3))]).await;
        assert_eq!(of_call(database, 1, "transcript_status").await, "done");
        assert_eq!(tries(&store, "node-1").await, []);
    });
}

#[test]
fn a_blocked_recording_that_fails_for_good_is_never_taken_again() {
    on_both(async |database, store| {
        put(&store, vec![recording(1, 1, |_| {})]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 1)]);
        put(&store, vec![told(blocked(1, AT))]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 2)]);
        put(&store, vec![told(failed(2, "not a WAV"))]).await;
        assert_eq!(tries(&store, "node-1").await, []);
        lease_over(database).await;
        assert_eq!(tries(&store, "node-2").await, []);
        assert_eq!(row(database).await["job_error"], "not a WAV");
    });
}

#[test]
fn a_blocked_recording_whose_taker_died_is_taken_again_when_its_time_is_over() {
    on_both(async |database, store| {
        put(&store, vec![recording(1, 1, |_| {})]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 1)]);
        put(&store, vec![told(blocked(1, AT))]).await;
        assert_eq!(tries(&store, "node-1").await, [(sid(1), 2)]);
        lease_over(database).await;
        assert_eq!(tries(&store, "node-2").await, [(sid(1), 3)]);
    });
}

#[test]
fn a_recording_of_a_process_that_is_gone_is_free_at_once_blocked_before_or_not() {
    on_both(async |_, store| {
        let others = recording(2, 2, |fact| fact.job = Some(blocked(1, AT)));
        put(&store, vec![recording(1, 1, |_| {}), others]).await;
        assert_eq!(tries(&store, "gone").await, [(sid(1), 1), (sid(2), 2)]);
        put(&store, vec![recording(3, 3, |_| {})]).await;
        assert_eq!(tries(&store, "alive").await, [(sid(3), 1)]);
        let inherit = StoreCommand::Inherit { node: "gone".to_owned() };
        assert_eq!(answered(&store, inherit).await, StoreAnswer::Segments(Vec::new()));
        assert_eq!(tries(&store, "node-2").await, [(sid(1), 2), (sid(2), 3)]);
    });
}

#[test]
fn what_a_process_that_is_gone_had_finished_is_not_taken_again() {
    on_both(async |_, store| {
        let takeable = (1..=4).map(|number| recording(number, number, |_| {}));
        put(&store, takeable.collect()).await;
        assert_eq!(tries(&store, "gone").await.len(), 4);
        let over = [Job::done(1), failed(1, "not a WAV"), waiting(1, Some(LATER)), blocked(1, LATER)];
        let over = (1..).zip(over).map(|(number, job)| recording(number, number, |fact| fact.job = Some(job)));
        put(&store, over.collect()).await;
        answered(&store, StoreCommand::Inherit { node: "gone".to_owned() }).await;
        assert_eq!(tries(&store, "node-2").await, []);
    });
}

#[test]
fn two_processes_that_take_at_once_never_take_the_same() {
    let count = 60_u128;
    on_both(async |database, store| {
        let other = database.store().await;
        for first in (1..=count).step_by(30) {
            put(&store, (first..first + 30).map(|number| recording(number, number, |_| {})).collect()).await;
        }
        let held = async |store, node, limit| {
            take(store, node, limit).await.into_iter().map(|taken| (taken.recording, node)).collect::<Vec<_>>()
        };
        let takers =
            (0..24).map(|turn| if turn % 2 == 0 { held(&store, "node-1", 4) } else { held(&other, "node-2", 4) });
        let mut taken = all(takers).await.concat();
        // Who met a row that somebody was just taking passed it over.
        taken.extend(held(&store, "node-1", 100).await);
        assert_eq!(taken.len(), 60);
        let holders: BTreeMap<String, &str> =
            taken.iter().map(|(recording, node)| (recording.to_string(), *node)).collect();
        for row in database.rows("recordings").await {
            assert_eq!(row["job_tries"], "1");
            assert_eq!(holders[&row["recording_sid"]], row["job_node"]);
        }
    });
}
