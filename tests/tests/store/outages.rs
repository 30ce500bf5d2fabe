//! What a process hears while its database is away, silent, slow, locked, or busy.

use super::{all, event, fact, put, unavailable};
use callwarden::store::Store;
use callwarden_core::config::Database;
use callwarden_core::limits::{LOCK_TIME, POSTGRES_CONNECTIONS_MAX, STATEMENT_TIME, STORE_TIME, TRANSACTION_IDLE_TIME};
use callwarden_core::secret::Secret;
use callwarden_core::store::{StoreAnswer, StoreCommand, StoreError};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::postgres::Cluster;
use core::time::Duration;
use smol::block_on;
use sqlx::{Connection, Executor, PgConnection};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

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
        assert!(text.contains("timeout (code "), "{text}");
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
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    PERFORM pg_sleep(60); RETURN new; END $$;
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
