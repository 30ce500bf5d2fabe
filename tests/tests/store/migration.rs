//! A database of an earlier version is brought to this one, with its rows.

use super::{AT, ago, call, fact, of_call, put, recorded, recording, said, segment, stream};
use callwarden::store::Store;
use callwarden_core::config::Database;
use callwarden_core::limits::STORE_TIME;
use callwarden_core::sid::RecordingSid;
use callwarden_core::store::{CallStatus, Job, StoreAnswer, StoreCommand, TranscriptStart};
use callwarden_tests::database::{Row, TestDatabase, answered};
use core::time::Duration;
use smol::block_on;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};

const TABLES: [&str; 5] = ["call_log", "call_events", "transcript_segments", "recordings", "nodes"];

/// The first so many of the migrations.
fn until(version: i64, migrations: Migrator) -> Migrator {
    Migrator::with_migrations(migrations.iter().filter(|migration| migration.version <= version).cloned().collect())
}

/// Brings an empty database to a version.
async fn bring(database: &TestDatabase, version: i64) {
    match database.database() {
        Database::Postgres(url) => {
            let mut connection = PgConnection::connect(url.expose()).await.expect("a connection");
            let migrations = until(version, sqlx::migrate!("../core/migrations/postgres"));
            migrations.run(&mut connection).await.expect("the earlier version");
        }
        Database::Sqlite(path) | Database::Embedded(path) => {
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("its directory");
            let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut connection = SqliteConnection::connect_with(&options).await.expect("a connection");
            let migrations = until(version, sqlx::migrate!("../core/migrations/sqlite"));
            migrations.run(&mut connection).await.expect("the earlier version");
        }
    }
}

/// What a process of the first version leaves: a call that it ended, one that goes on, one moved to a recording.
async fn fill(database: &TestDatabase) {
    let [long_ago, then] = [30, 1].map(|days| ago(database, Duration::from_secs(days * 24 * 60 * 60)));
    let [ended, open, moved] = [1, 2, 3].map(call);
    let [kept, absent] = [1, 2].map(RecordingSid::from_number);
    let heard = stream(1);
    let heard = heard.as_str();
    let sql = format!(
        "INSERT INTO call_log (call_sid, node, from_number, status, source, how_far, frames, streams, transcript_status,
            fallback_at, fallback_reason, created_at, updated_at, ended_at)
        VALUES
            ('{ended}', 'old', '+972501234567', 'completed', 'stream', 'שניות 12', 600, 1, 'disabled', NULL, NULL,
                {long_ago}, {long_ago}, {long_ago}),
            ('{open}', 'old', NULL, 'in-progress', 'stream', NULL, NULL, NULL, NULL, NULL, NULL, {then}, {then}, NULL),
            ('{moved}', 'old', NULL, 'completed', 'stream', NULL, 0, 1, 'disabled', {then}, 'no_media', {then}, {then},
                {then});
        INSERT INTO call_events (call_sid, at, event, detail)
            VALUES ('{ended}', {long_ago}, 'note', 'שלום'), ('{open}', {then}, 'note', '');
        INSERT INTO recordings (recording_sid, call_sid, state, duration_seconds, created_at, updated_at)
            VALUES ('{kept}', '{moved}', 'completed', 5, {then}, {then}),
                ('{absent}', '{moved}', 'absent', NULL, {then}, {then});
        INSERT INTO transcript_segments (call_sid, origin, sequence, started_at, from_ms, to_ms, text)
            VALUES ('{open}', '{heard}', 1, {then}, 0, 1000, 'מישהו כתב');
        INSERT INTO nodes (node, started_at, alive_until) VALUES ('old', {then}, {then})"
    );
    database.execute(&sql).await;
}

async fn rows(database: &TestDatabase) -> Vec<Vec<Row>> {
    let mut rows = Vec::new();
    for table in TABLES {
        rows.push(database.rows(table).await);
    }
    rows
}

/// Runs the test on each kind of database, as the first version left it.
fn on_both_of_the_first_version(test: impl AsyncFn(&TestDatabase)) {
    for database in TestDatabase::both() {
        block_on(async {
            bring(&database, 1).await;
            fill(&database).await;
            test(&database).await;
        });
    }
}

#[test]
fn every_row_of_the_first_version_is_kept_as_it_was() {
    on_both_of_the_first_version(async |database| {
        let before = rows(database).await;
        database.store().await;
        let after = rows(database).await;
        assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1, 2, 1]);
        for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
            let kept: Row = after.clone().into_iter().filter(|(column, _)| before.contains_key(column)).collect();
            assert_eq!(kept, *before);
        }
        assert_eq!(after.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1, 2, 1]);
    });
}

#[test]
fn a_migrated_database_has_the_schema_of_a_new_one() {
    for (old, new) in TestDatabase::both().into_iter().zip(TestDatabase::both()) {
        block_on(async {
            bring(&old, 1).await;
            old.store().await;
            new.store().await;
            for table in TABLES {
                assert_eq!(old.columns(table).await, new.columns(table).await);
            }
        });
    }
}

#[test]
fn facts_go_on_in_the_rows_of_the_first_version() {
    on_both_of_the_first_version(async |database| {
        let store = database.store().await;
        let begun = fact(2, |fact| fact.transcript = Some(TranscriptStart::Pending));
        let over = fact(2, |fact| (fact.status, fact.ended_at) = (Some(CallStatus::Completed), Some(AT)));
        put(&store, vec![begun, said(2, 1, "מישהו כתב"), said(2, 2, "ואמר"), over]).await;
        assert_eq!(of_call(database, 2, "transcript").await, "מישהו כתב ואמר");
        assert_eq!(of_call(database, 2, "transcript_status").await, "done");
        let done = recording(1, 3, |fact| fact.job = Some(Job::done(1)));
        put(&store, vec![segment(3, recorded(1), 1, |fact| "הודעה".clone_into(&mut fact.text)), done]).await;
        assert_eq!(of_call(database, 3, "transcript").await, "הודעה");
        assert_eq!(of_call(database, 3, "transcript_status").await, "disabled");
    });
}

#[test]
fn what_the_first_version_left_open_is_looked_up_and_what_it_never_sent_anywhere_is_not() {
    on_both_of_the_first_version(async |database| {
        let store = database.store().await;
        let StoreAnswer::Overdue(overdue) = answered(&store, StoreCommand::TakeOverdue).await else {
            panic!("calls");
        };
        assert_eq!(overdue.iter().map(|taken| taken.call).collect::<Vec<_>>(), [call(2)]);
        let take = StoreCommand::TakeRecordings { node: "new".to_owned(), limit: 4 };
        assert_eq!(answered(&store, take).await, StoreAnswer::Recordings(Vec::new()));
    });
}

#[test]
fn processes_that_start_at_once_migrate_once() {
    let database = TestDatabase::postgres();
    block_on(async {
        bring(&database, 1).await;
        fill(&database).await;
        let stores: Vec<Store> = (0..4).map(|_| Store::new(database.database()).expect("an address")).collect();
        let opened = super::all(stores.iter().map(|store| store.run(StoreCommand::Open, STORE_TIME))).await;
        assert!(opened.iter().all(|opened| *opened == Ok(StoreAnswer::Done)), "{opened:?}");
        assert_eq!(database.rows("_sqlx_migrations").await.len(), 3);
    });
}
