//! The store on real databases: claims, hostile data, and what happens while a database is away, slow or locked.

use callwarden::store::Store;
use callwarden_core::config::Database;
use callwarden_core::limits::{
    CLAIM_LEASE, LOCK_TIME, POSTGRES_CONNECTIONS_MAX, STATEMENT_TIME, STORE_TIME, STORED_TIME_MAX, TEXT_CHARS_MAX,
    TRANSACTION_IDLE_TIME,
};
use callwarden_core::secret::Secret;
use callwarden_core::sid::{CallSid, RecordingSid, StreamSid};
use callwarden_core::store::{
    CallFact, CallStatus, Claim, EventFact, Fact, FallbackReason, RecordingFact, RecordingState, StoreAnswer,
    StoreCommand, StoreError,
};
use callwarden_core::time::UnixMillis;
use callwarden_tests::database::{TestDatabase, answered};
use callwarden_tests::postgres::Cluster;
use core::time::Duration;
use smol::block_on;
use sqlx::{Connection, Executor, PgConnection};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

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
    Fact::Event(EventFact { call: call(number), at: AT, event: "note", detail: detail.to_owned() })
}

async fn put(store: &Store, facts: Vec<Fact>) {
    assert_eq!(answered(store, StoreCommand::Facts(facts)).await, StoreAnswer::Done);
}

async fn claim(store: &Store, node: &str, known_streams: u32) -> bool {
    let claim = Claim { call: call(1), node: node.to_owned(), at: AT, known_streams };
    answered(store, StoreCommand::Claim(claim)).await == StoreAnswer::Claimed(true)
}

async fn release(store: &Store, node: &str) {
    let release = StoreCommand::Release { call: call(1), node: node.to_owned() };
    assert_eq!(answered(store, release).await, StoreAnswer::Done);
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
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            put(&store, vec![fact(1, |_| {})]).await;
            database.store().await;
            assert_eq!(database.rows("call_log").await.len(), 1);
        });
    }
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
fn one_of_many_concurrent_claimers_wins() {
    for database in TestDatabase::both() {
        block_on(async {
            let stores = [database.store().await, database.store().await];
            put(&stores[0], vec![fact(1, |fact| fact.status = Some(CallStatus::InProgress))]).await;
            let claims = (0..8).map(|node| {
                let store = &stores[node % 2];
                async move { claim(store, &format!("node-{node}"), 0).await }
            });
            let granted = all(claims).await;
            assert_eq!(granted.iter().filter(|granted| **granted).count(), 1, "{granted:?}");
        });
    }
}

#[test]
fn a_claim_of_a_call_without_a_row_makes_the_row() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            assert!(claim(&store, "node-1", 0).await);
            let rows = database.rows("call_log").await;
            assert_eq!(rows[0]["claim_node"], "node-1");
            assert_eq!(rows[0]["created_at"], AT.to_string());
        });
    }
}

#[test]
fn a_claim_is_refused_once_the_call_is_over() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            put(&store, vec![fact(1, |fact| fact.status = Some(CallStatus::StreamClosed))]).await;
            assert!(claim(&store, "node-1", 0).await);
            put(&store, vec![fact(1, |fact| fact.status = Some(CallStatus::Canceled))]).await;
            assert!(!claim(&store, "node-1", 0).await);
        });
    }
}

#[test]
fn a_claim_is_refused_once_the_call_has_an_end() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            put(&store, vec![fact(1, |fact| fact.ended_at = Some(AT))]).await;
            assert!(!claim(&store, "node-1", 0).await);
        });
    }
}

#[test]
fn a_claim_is_refused_after_a_fallback() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            assert!(claim(&store, "node-1", 0).await);
            put(&store, vec![fact(1, |fact| fact.fallback = Some((AT, FallbackReason::NoStart)))]).await;
            assert!(!claim(&store, "node-1", 0).await);
            assert!(!claim(&store, "node-2", 0).await);
        });
    }
}

#[test]
fn a_claim_is_refused_when_more_streams_started_than_the_claimer_knows_of() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            put(&store, vec![fact(1, |fact| fact.stream = Some((2, StreamSid::from_number(2))))]).await;
            assert!(!claim(&store, "node-1", 1).await);
            assert!(claim(&store, "node-1", 2).await);
        });
    }
}

#[test]
fn a_held_claim_is_its_holders_until_it_is_released() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            assert!(claim(&store, "node-1", 0).await);
            assert!(!claim(&store, "node-2", 0).await);
            assert!(claim(&store, "node-1", 0).await);
            release(&store, "node-2").await;
            assert!(!claim(&store, "node-2", 0).await);
            release(&store, "node-1").await;
            release(&store, "node-1").await;
            assert!(claim(&store, "node-2", 0).await);
            assert!(!claim(&store, "node-1", 0).await);
        });
    }
}

#[test]
fn a_claim_lasts_its_lease_by_the_databases_clock_and_may_then_be_taken_over() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            assert!(claim(&store, "node-1", 0).await);
            let lease = i64::try_from(CLAIM_LEASE.as_millis()).expect("some seconds");
            shift_claim(&database, 1_000 - lease).await;
            assert!(!claim(&store, "node-2", 0).await);
            shift_claim(&database, -1_000).await;
            assert!(claim(&store, "node-2", 0).await);
            assert!(!claim(&store, "node-1", 0).await);
        });
    }
}

/// Moves the end of the claim, as if time had passed; the test itself must not take a second.
async fn shift_claim(database: &TestDatabase, milliseconds: i64) {
    let by = match database.database() {
        Database::Postgres(_) => format!("interval '{milliseconds} milliseconds'"),
        Database::Sqlite(_) | Database::Embedded(_) => milliseconds.to_string(),
    };
    assert_eq!(database.execute(&format!("UPDATE call_log SET claim_until = claim_until + {by}")).await, 1);
}

#[test]
fn hostile_texts_are_stored_cut_and_without_nul() {
    let long = "שלום עולם\0".repeat(100_000);
    let wide = "\u{1f4de}".repeat(10_000);
    let stored: String = "שלום עולם\u{fffd}".chars().cycle().take(TEXT_CHARS_MAX).collect();
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            put(&store, vec![fact(1, |fact| fact.from = Some(long.clone())), event(1, &wide), event(1, "")]).await;
            let rows = database.rows("call_log").await;
            assert_eq!(rows[0]["from_number"], stored);
            let details: Vec<_> =
                database.rows("call_events").await.iter().map(|row| row["detail"].chars().count()).collect();
            assert_eq!(details, [0, TEXT_CHARS_MAX]);
        });
    }
}

#[test]
fn times_are_kept_to_the_millisecond_and_counts_to_the_last_one() {
    let times = [0, 1, 999, 1_700_000_000_001, 1_767_225_600_123, 4_102_444_799_999, STORED_TIME_MAX.0 - 1, i64::MAX];
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
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
}

#[test]
fn a_command_is_stored_whole_or_not_at_all() {
    for database in TestDatabase::both() {
        block_on(async {
            let store = database.store().await;
            database.execute("DROP TABLE recordings").await;
            let recording = RecordingFact {
                recording: RecordingSid::from_number(1),
                call: call(1),
                at: AT,
                state: RecordingState::InProgress,
                duration_seconds: None,
            };
            let facts = vec![fact(1, |_| {}), Fact::Recording(recording)];
            let text = unavailable(store.run(StoreCommand::Facts(facts), STORE_TIME).await);
            assert!(text.contains("recordings"), "{text}");
            assert_eq!(database.rows("call_log").await, []);
        });
    }
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
fn commands_about_the_same_calls_in_any_order_never_deadlock() {
    let database = TestDatabase::postgres();
    block_on(async {
        let store = &database.store().await;
        let forwards: Vec<_> = (0..6).flat_map(|number| [fact(number, |_| {}), event(number, "again")]).collect();
        let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
        let repeated = [forwards, backwards].into_iter().map(|facts| async move {
            for _ in 0..40 {
                // The lock timeout would end a deadlock before the server finds it.
                if let Err(error) = store.run(StoreCommand::Facts(facts.clone()), STORE_TIME).await {
                    assert!(!error.to_string().contains("lock"), "{error}");
                }
            }
        });
        all(repeated).await;
        assert_eq!(database.rows("call_log").await.len(), 6);
        assert_eq!(database.rows("call_events").await.len(), 6);
    });
}

#[test]
fn a_locked_row_makes_the_database_unavailable_before_a_webhook_gives_up() {
    let database = TestDatabase::postgres();
    let Database::Postgres(url) = database.database() else { panic!("a database of Postgres") };
    block_on(async {
        let store = database.store().await;
        put(&store, vec![fact(1, |_| {})]).await;
        let mut holder = PgConnection::connect(url.expose()).await.expect("a connection");
        holder.execute("BEGIN").await.expect("a transaction");
        holder.execute("SELECT 1 FROM call_log FOR UPDATE").await.expect("the lock");
        let started = Instant::now();
        let text = unavailable(store.run(StoreCommand::Facts(vec![fact(1, |_| {})]), STORE_TIME).await);
        assert!(text.contains("lock timeout"), "{text}");
        assert!(started.elapsed() < STORE_TIME);
        holder.execute("ROLLBACK").await.expect("the end");
        put(&store, vec![fact(1, |_| {})]).await;
    });
}

#[test]
fn a_slow_statement_is_ended_by_the_server() {
    let database = TestDatabase::postgres();
    block_on(async {
        let store = database.store().await;
        database
            .execute(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN new; END';
                CREATE TRIGGER slow BEFORE INSERT ON call_events FOR EACH ROW EXECUTE FUNCTION slow()",
            )
            .await;
        let started = Instant::now();
        let text = unavailable(store.run(StoreCommand::Facts(vec![event(1, "slow")]), STORE_TIME).await);
        assert!(text.contains("statement timeout") && text.contains("57014"), "{text}");
        assert!((STATEMENT_TIME..STORE_TIME).contains(&started.elapsed()));
    });
}

#[test]
fn an_answer_later_than_the_commands_time_is_unavailable() {
    let database = TestDatabase::postgres();
    let Database::Postgres(url) = database.database() else { panic!("a database of Postgres") };
    block_on(async {
        let store = database.store().await;
        let mut holder = PgConnection::connect(url.expose()).await.expect("a connection");
        holder.execute("BEGIN; LOCK TABLE call_log").await.expect("the lock");
        let command = StoreCommand::Facts(vec![fact(1, |_| {})]);
        let text = unavailable(store.run(command, Duration::from_millis(50)).await);
        assert!(text.contains("no answer within 50 ms"), "{text}");
        holder.execute("ROLLBACK").await.expect("the end");
        put(&store, vec![fact(1, |_| {})]).await;
    });
}

#[test]
fn more_commands_than_connections_wait_for_their_turn() {
    let database = TestDatabase::postgres();
    block_on(async {
        let store = database.store().await;
        let commands = (0..100).map(|number| put(&store, vec![fact(number, |_| {})]));
        all(commands).await;
        assert_eq!(database.rows("call_log").await.len(), 100);
        let sql = "CREATE TABLE connected AS SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'callwarden'";
        database.execute(sql).await;
        let connected: u32 = database.rows("connected").await[0]["count"].parse().expect("a number");
        assert!((1..=POSTGRES_CONNECTIONS_MAX).contains(&connected), "{connected}");
    });
}

#[test]
fn each_connection_to_postgres_carries_the_limits() {
    let database = TestDatabase::postgres();
    block_on(async {
        let store = database.store().await;
        database
            .execute(
                "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    SELECT string_agg(setting || coalesce(unit, ''), ' ' ORDER BY name) INTO new.detail FROM pg_settings
                    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout');
                    RETURN new; END $$;
                CREATE TRIGGER tell BEFORE INSERT ON call_events FOR EACH ROW EXECUTE FUNCTION tell()",
            )
            .await;
        put(&store, vec![event(1, "")]).await;
        let [idle, lock, statement] = [TRANSACTION_IDLE_TIME, LOCK_TIME, STATEMENT_TIME].map(|time| time.as_millis());
        assert_eq!(database.rows("call_events").await[0]["detail"], format!("{idle}ms {lock}ms {statement}ms"));
    });
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = silent.local_addr().expect("its address").port();
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let store = Store::new(&Database::Postgres(Secret::new(url))).expect("an address");
    let text = unavailable(block_on(store.run(StoreCommand::Open, Duration::from_millis(50))));
    assert_eq!(text, format!("127.0.0.1:{port}/postgres: no answer within 50 ms"));
}

#[test]
fn an_outage_says_its_cause_and_ends_with_the_server_back() {
    let cluster = Cluster::start().expect("a server");
    let url = cluster.create_database("outage").expect("a database");
    block_on(async {
        let store = Store::new(&Database::Postgres(Secret::new(url))).expect("an address");
        assert_eq!(store.run(StoreCommand::Open, STORE_TIME).await, Ok(StoreAnswer::Done));
        put(&store, vec![fact(1, |_| {})]).await;
        cluster.stop().expect("stopped");
        for command in [StoreCommand::Facts(vec![fact(2, |_| {})]), StoreCommand::Open] {
            let started = Instant::now();
            let text = unavailable(store.run(command, STORE_TIME).await);
            assert!(text.contains("Connection refused"), "{text}");
            assert!(text.contains(&format!("127.0.0.1:{}/outage", cluster.port())), "{text}");
            assert!(started.elapsed() < STORE_TIME);
        }
        cluster.restart().expect("started");
        put(&store, vec![fact(2, |_| {})]).await;
    });
}

#[test]
fn a_wrong_address_is_reported_by_its_cause_and_never_with_the_password() {
    let port = Cluster::shared().port();
    let cases = [
        (format!("postgres://nobody:hunter2@127.0.0.1:{port}/postgres"), "role \"nobody\" does not exist"),
        (format!("postgres://postgres:hunter2@127.0.0.1:{port}/nowhere"), "database \"nowhere\" does not exist"),
        (format!("postgres://postgres:hunter2@127.0.0.1:{port}/postgres?sslmode=require"), "TLS"),
    ];
    for (url, cause) in cases {
        let store = Store::new(&Database::Postgres(Secret::new(url))).expect("an address");
        let text = unavailable(block_on(store.run(StoreCommand::Open, STORE_TIME)));
        assert!(text.contains(cause) && !text.contains("hunter2"), "{text}");
    }
    for url in ["postgres://postgres:hunter2@127.0.0.1:port/postgres", "hunter2"] {
        match Store::new(&Database::Postgres(Secret::new(url))) {
            Err(StoreError::Refused(text)) => assert!(!text.contains("hunter2"), "{text}"),
            other => panic!("expected a refusal, not {other:?}"),
        }
    }
}

#[test]
fn a_schema_of_a_newer_version_is_refused() {
    for database in TestDatabase::both() {
        block_on(async {
            database.store().await;
            database.execute("UPDATE _sqlx_migrations SET version = 9999").await;
            let store = Store::new(database.database()).expect("an address");
            match store.run(StoreCommand::Open, STORE_TIME).await {
                Err(StoreError::Refused(text)) => assert!(text.contains("newest version"), "{text}"),
                other => panic!("expected a refusal, not {other:?}"),
            }
        });
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let database = TestDatabase::sqlite();
    let Database::Sqlite(path) = database.database() else { panic!("a file") };
    block_on(database.store());
    let directory = path.parent().expect("its directory");
    for (wrong, cause) in [(directory.to_owned(), "unable to open"), (path.join("below.db"), "directory")] {
        let store = Store::new(&Database::Sqlite(wrong.clone())).expect("a path");
        let text = unavailable(block_on(store.run(StoreCommand::Open, STORE_TIME)));
        assert!(text.contains(cause) && text.contains(&wrong.display().to_string()), "{text}");
    }
}
