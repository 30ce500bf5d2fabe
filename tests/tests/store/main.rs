//! The store on real databases.

mod claims;
mod forgotten;
mod known;
mod migration;
mod nodes;
mod outages;
mod overdue;
mod plans;
mod recordings;
mod transcript_status;
mod transcripts;
mod writers;

use callwarden::store::Store;
use callwarden_core::config::Database;
use callwarden_core::limits::{STORE_TIME, STORED_TIME_MAX, TEXT_CHARS_MAX};
use callwarden_core::sid::{CallSid, RecordingSid, StreamSid};
use callwarden_core::store::{
    CallFact, CallStatus, EventFact, Fact, Job, JobState, Origin, RecordingFact, RecordingState, SegmentFact,
    SegmentKey, StoreAnswer, StoreCommand, StoreError,
};
use callwarden_core::time::UnixMillis;
use callwarden_tests::database::{Row, TestDatabase, answered};
use core::time::Duration;
use smol::block_on;

const AT: UnixMillis = UnixMillis(1_767_225_600_123);

fn call(number: u128) -> CallSid {
    CallSid::from_number(number)
}

fn fact(number: u128, change: impl FnOnce(&mut CallFact)) -> Fact {
    let mut fact = CallFact::new(call(number), AT, "node-1");
    change(&mut fact);
    Fact::Call(Box::new(fact))
}

fn event(number: u128, detail: &str) -> Fact {
    Fact::Event(EventFact { call: call(number), at: AT, event: "note".into(), detail: detail.to_owned() })
}

fn stream(number: u128) -> Origin {
    Origin::Stream(StreamSid::from_number(number))
}

fn recorded(number: u128) -> Origin {
    Origin::Recording(RecordingSid::from_number(number))
}

/// A stretch of speech, of a second, without words.
fn segment(number: u128, origin: Origin, sequence: u32, change: impl FnOnce(&mut SegmentFact)) -> Fact {
    let from = Duration::from_secs(sequence.into());
    let mut fact = SegmentFact {
        key: SegmentKey { call: call(number), origin, sequence },
        at: AT,
        node: "node-1".to_owned(),
        started_at: AT + from,
        from,
        to: from + Duration::from_secs(1),
        job: Job::done(1),
        text: String::new(),
    };
    change(&mut fact);
    Fact::Segment(Box::new(fact))
}

/// What was said on a call's first stream.
fn said(number: u128, sequence: u32, text: &str) -> Fact {
    segment(number, stream(1), sequence, |fact| text.clone_into(&mut fact.text))
}

/// A recording of a call, with something in it to transcribe.
fn recording(number: u128, of: u128, change: impl FnOnce(&mut RecordingFact)) -> Fact {
    let mut fact = RecordingFact {
        recording: RecordingSid::from_number(number),
        call: call(of),
        at: AT,
        state: RecordingState::Completed,
        duration_seconds: Some(5),
        node: "node-1".to_owned(),
        job: None,
    };
    change(&mut fact);
    Fact::Recording(fact)
}

fn failed(attempts: u32, error: &str) -> Job {
    Job { state: JobState::Failed, attempts, error: Some(error.to_owned()), next_at: None }
}

/// The row of a call.
async fn call_row(database: &TestDatabase, number: u128) -> Row {
    let rows = database.rows("call_log").await;
    rows.into_iter().find(|row| row["call_sid"] == call(number).as_str()).expect("the call's row")
}

/// A column of a call's row; empty where nothing is known.
async fn of_call(database: &TestDatabase, number: u128, column: &str) -> String {
    call_row(database, number).await.remove(column).unwrap_or_default()
}

/// So long ago, as SQL that the database reads its own clock with. Tests move what is stored: none waits.
fn ago(database: &TestDatabase, span: Duration) -> String {
    let milliseconds = span.as_millis();
    match database.database() {
        Database::Postgres(_) => format!("(now() - interval '{milliseconds} milliseconds')"),
        Database::Sqlite(_) | Database::Embedded(_) => {
            format!("(CAST(round(unixepoch('subsec') * 1000) AS integer) - {milliseconds})")
        }
    }
}

async fn put(store: &Store, facts: Vec<Fact>) {
    assert_eq!(answered(store, StoreCommand::Facts(facts)).await, StoreAnswer::Done);
}

/// Runs the test on each kind of database, with an open store.
fn on_both(test: impl AsyncFn(&TestDatabase, Store)) {
    for database in TestDatabase::both() {
        block_on(async { test(&database, database.store().await).await });
    }
}

/// Runs the futures at once.
async fn all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = futures.map(|future| executor.spawn(future)).collect();
    let answers = async {
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await);
        }
        answers
    };
    executor.run(answers).await
}

fn unavailable(result: Result<StoreAnswer, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(text)) => text,
        other => panic!("expected that the database is unavailable, not {other:?}"),
    }
}

#[test]
fn a_store_can_be_shared_by_tasks_on_any_thread() {
    fn shareable(_: &(impl Send + Sync)) {}
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let database = TestDatabase::sqlite();
    let store = Store::new(database.database()).expect("a path");
    shareable(&store);
    assert_eq!(block_on(sendable(store.run(StoreCommand::Open, STORE_TIME))), Ok(StoreAnswer::Done));
}

#[test]
fn nothing_is_stored_before_the_database_is_open() {
    for database in TestDatabase::both() {
        let store = Store::new(database.database()).expect("an address");
        let text = unavailable(block_on(store.run(StoreCommand::Facts(Vec::new()), STORE_TIME)));
        assert!(text.contains("not connected yet"), "{text}");
        block_on(database.store());
    }
}

#[test]
fn opening_twice_keeps_the_rows_and_servers_may_open_at_once() {
    on_both(async |database, store| {
        put(&store, vec![fact(1, |_| {})]).await;
        database.store().await;
        assert_eq!(database.rows("call_log").await.len(), 1);
    });
    let database = TestDatabase::postgres();
    block_on(smol::future::zip(database.store(), smol::future::zip(database.store(), database.store())));
}

#[test]
fn every_text_column_of_postgres_is_compared_byte_by_byte() {
    let database = TestDatabase::postgres();
    block_on(async {
        database.store().await;
        let sql = "CREATE TABLE wrong AS SELECT table_name::text, column_name::text FROM information_schema.columns
            WHERE table_name IN ('call_log', 'call_events', 'transcript_segments', 'recordings', 'nodes')
                AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'";
        database.execute(sql).await;
        assert_eq!(database.rows("wrong").await, []);
    });
}

#[test]
fn both_databases_have_the_same_columns() {
    let columns = TestDatabase::both().map(|database| {
        block_on(async {
            database.store().await;
            let mut columns = Vec::new();
            for table in ["call_log", "call_events", "transcript_segments", "recordings", "nodes"] {
                columns.push(database.columns(table).await);
            }
            columns
        })
    });
    assert_eq!(columns[0], columns[1]);
    assert!(columns[0].iter().all(|columns| !columns.is_empty()));
}

#[test]
fn hostile_texts_are_stored_cut_and_without_nul() {
    let long = "שלום עולם\0".repeat(100_000);
    let wide = "\u{1f4de}".repeat(10_000);
    let stored: String = "שלום עולם\u{fffd}".chars().cycle().take(TEXT_CHARS_MAX).collect();
    on_both(async |database, store| {
        put(&store, vec![fact(1, |fact| fact.from = Some(long.clone())), event(1, &wide), event(1, "")]).await;
        let rows = database.rows("call_log").await;
        assert_eq!(rows[0]["from_number"], stored);
        let details: Vec<_> =
            database.rows("call_events").await.iter().map(|row| row["detail"].chars().count()).collect();
        assert_eq!(details, [0, TEXT_CHARS_MAX]);
    });
}

#[test]
fn times_are_kept_to_the_millisecond_and_counts_to_the_last_one() {
    let times = [0, 1, 999, 1_700_000_000_001, 1_767_225_600_123, 4_102_444_799_999, STORED_TIME_MAX.0 - 1, i64::MAX];
    on_both(async |database, store| {
        let facts = times.iter().zip(1..).map(|(at, number)| {
            fact(number, |fact| {
                fact.at = UnixMillis(*at);
                fact.frames = Some(u64::MAX - 1);
            })
        });
        put(&store, facts.collect()).await;
        for (row, at) in database.rows("call_log").await.iter().zip(times) {
            assert_eq!(row["created_at"], at.min(STORED_TIME_MAX.0).to_string());
            assert_eq!(row["frames"], i64::MAX.to_string());
        }
    });
}

#[test]
fn a_command_is_stored_whole_or_not_at_all() {
    on_both(async |database, store| {
        database.execute("DROP TABLE recordings").await;
        let recording = RecordingFact {
            recording: RecordingSid::from_number(1),
            call: call(1),
            at: AT,
            state: RecordingState::InProgress,
            duration_seconds: None,
            node: "node".to_owned(),
            job: None,
        };
        let facts = vec![fact(1, |_| {}), Fact::Recording(recording)];
        let text = unavailable(store.run(StoreCommand::Facts(facts), STORE_TIME).await);
        assert!(text.contains("recordings"), "{text}");
        assert_eq!(database.rows("call_log").await, []);
    });
}

#[test]
fn data_that_breaks_a_constraint_is_refused() {
    let constraint = "ALTER TABLE call_log ADD CONSTRAINT no_busy CHECK (status <> 'busy')";
    let trigger = "CREATE TRIGGER no_busy BEFORE INSERT ON call_log WHEN new.status = 'busy'
        BEGIN SELECT RAISE(ABORT, 'no_busy'); END";
    for (database, rule) in TestDatabase::both().iter().zip([constraint, trigger]) {
        block_on(async {
            let store = database.store().await;
            database.execute(rule).await;
            let busy = StoreCommand::Facts(vec![fact(1, |fact| fact.status = Some(CallStatus::Busy))]);
            match store.run(busy, STORE_TIME).await {
                Err(StoreError::Refused(text)) => assert!(text.contains("no_busy"), "{text}"),
                other => panic!("expected a refusal, not {other:?}"),
            }
        });
    }
}

#[test]
fn a_schema_of_a_newer_version_is_refused() {
    for database in TestDatabase::both() {
        block_on(async {
            database.store().await;
            database.execute("UPDATE _sqlx_migrations SET version = version + 9998").await;
            let store = Store::new(database.database()).expect("an address");
            match store.run(StoreCommand::Open, STORE_TIME).await {
                Err(StoreError::Refused(text)) => assert!(text.contains("newest version"), "{text}"),
                other => panic!("expected a refusal, not {other:?}"),
            }
        });
    }
}
