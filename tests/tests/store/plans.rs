//! What is asked of the database every few seconds looks at the few rows that matter, not at all there ever were.

use callwarden_core::config::Database;
use callwarden_core::store::StoreCommand;
use callwarden_core::store::sql::{Dialect, Parameter, Statement, statements};
use callwarden_tests::database::TestDatabase;
use smol::block_on;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};

/// A year of calls: each with three utterances, every fifth with a recording, a third of those absent. All are settled but
/// some two hundred of each kind.
const ROWS: &str = "
    INSERT INTO call_log (call_sid, node, source, created_at, updated_at, ended_at, fallback_at, transcript_status)
    SELECT {call}, 'node-' || n % 3, 'stream', {then}, {then}, CASE WHEN n % 250 <> 0 THEN {then} END,
        CASE WHEN n % 5 = 1 THEN {then} END, CASE WHEN n % 250 IN (0, 1, 2) THEN 'pending' ELSE 'done' END
    FROM {numbers};
    INSERT INTO recordings (recording_sid, call_sid, state, duration_seconds, created_at, updated_at, job_state,
        job_tries, job_node, job_until)
    SELECT {recording}, {call}, CASE WHEN n % 3 = 0 THEN 'absent' ELSE 'completed' END, 5, {then}, {then},
        CASE WHEN n % 3 <> 0 AND n % 250 <> 1 THEN 'done' END, 1, 'node-' || n % 3,
        CASE WHEN n % 1000 = 1 THEN {then} END
    FROM {numbers} WHERE n % 5 = 1;
    INSERT INTO transcript_segments (call_sid, origin, sequence, started_at, from_ms, to_ms, text, node, state,
        updated_at)
    SELECT {call}, {call}, sequence, {then}, 0, 1000, 'שלום וברכה', 'node-' || n % 3,
        CASE WHEN n % 250 <> 2 OR sequence <> 1 THEN 'done' END, {then}
    FROM {numbers}, (SELECT 1 AS sequence UNION ALL SELECT 2 UNION ALL SELECT 3) AS sequences;
    INSERT INTO nodes (node, started_at, alive_until) SELECT 'node-' || n, {then}, {then} FROM {numbers} WHERE n < 100";

/// Fills a database, in its own words for numbers, texts and times.
async fn fill(database: &TestDatabase) {
    let sid = |prefix| match database.database() {
        Database::Postgres(_) => format!("'{prefix}' || lpad(to_hex(n), 32, '0')"),
        Database::Sqlite(_) | Database::Embedded(_) => format!("'{prefix}' || format('%032x', n)"),
    };
    let (numbers, then) = match database.database() {
        Database::Postgres(_) => ("generate_series(1, 50000) AS n", "now() - n * interval '10 minutes'"),
        Database::Sqlite(_) | Database::Embedded(_) => (
            "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 50000)
                SELECT n FROM numbers)",
            "unixepoch() * 1000 - n * 600000",
        ),
    };
    let sql = ROWS.replace("{call}", &sid("CA")).replace("{recording}", &sid("RE"));
    database.execute(&sql.replace("{numbers}", numbers).replace("{then}", then)).await;
}

/// What is asked all the time, and the index that finds it: one of these, each of which holds the rows that matter alone.
fn asked() -> [(StoreCommand, &'static [&'static str]); 5] {
    let node = || "node-2".to_owned();
    [
        (StoreCommand::TakeRecordings { node: node(), limit: 4 }, &["recordings_waiting", "recordings_waiting"]),
        (StoreCommand::TakeOverdue, &["call_log_unsettled"]),
        (StoreCommand::Inherit { node: node() }, &["recordings_taken", "transcript_segments_waiting"]),
        (StoreCommand::FindStale, &["transcript_segments_waiting"]),
        (
            StoreCommand::Renew { node: node(), gone: Vec::new() },
            &["", "call_log_open|call_log_unsettled", "recordings_taken", "call_log_open"],
        ),
    ]
}

fn uses(plan: &str, indexes: &str) -> bool {
    indexes.split('|').any(|index| plan.contains(index))
}

fn literal(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Text(text) => text.as_ref().map_or("NULL".to_owned(), |text| format!("'{text}'")),
        Parameter::Integer(number) => number.map_or("NULL".to_owned(), |number| number.to_string()),
    }
}

/// How Postgres runs a statement that the driver has prepared.
async fn postgres_plan(connection: &mut PgConnection, statement: &Statement) -> String {
    let types = statement.parameters.iter().map(|parameter| match parameter {
        Parameter::Text(_) => "text",
        Parameter::Integer(_) => "bigint",
    });
    let types = types.collect::<Vec<_>>().join(", ");
    let values = statement.parameters.iter().map(literal).collect::<Vec<_>>().join(", ");
    let prepare = format!("PREPARE asked ({types}) AS {}", statement.sql);
    connection.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await.expect("a valid statement");
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE asked ({values})")));
    let lines = connection.fetch_all(explain).await.expect("a plan");
    connection.execute("DEALLOCATE asked").await.expect("it was prepared");
    lines.iter().map(|line| line.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[test]
fn postgres_finds_what_waits_by_an_index_whichever_way_it_plans() {
    let database = TestDatabase::postgres();
    let Database::Postgres(url) = database.database() else { panic!("a database of Postgres") };
    block_on(async {
        database.store().await;
        fill(&database).await;
        // As the server does by itself, in a while. SQLite never does.
        database.execute("ANALYZE").await;
        let mut connection = PgConnection::connect(url.expose()).await.expect("a connection");
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let set = sqlx::raw_sql(AssertSqlSafe(format!("SET plan_cache_mode = {mode}")));
            connection.execute(set).await.expect("a setting");
            for (command, indexes) in asked() {
                let statements = statements(&command, Dialect::Postgres);
                assert_eq!(statements.len(), indexes.len());
                for (statement, index) in statements.iter().zip(indexes) {
                    let plan = postgres_plan(&mut connection, statement).await;
                    let said = format!("{mode}, {command:?}:\n{plan}");
                    // There are as many nodes as processes.
                    let all = plan.lines().any(|line| line.contains("Seq Scan") && !line.contains("on nodes"));
                    assert!(uses(&plan, index) && !all, "{said}");
                }
            }
        }
    });
}

/// How SQLite runs a statement.
async fn sqlite_plan(connection: &mut SqliteConnection, statement: &Statement) -> String {
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.sql)));
    let lines = connection.fetch_all(explain).await.expect("a plan");
    lines.iter().map(|line| line.get::<String, _>("detail")).collect::<Vec<_>>().join("\n")
}

#[test]
fn sqlite_finds_what_waits_by_an_index() {
    let database = TestDatabase::sqlite();
    let Database::Sqlite(path) = database.database() else { panic!("a file") };
    block_on(async {
        database.store().await;
        fill(&database).await;
        let mut connection = SqliteConnection::connect(&path.to_string_lossy()).await.expect("a connection");
        for (command, indexes) in asked() {
            let statements = statements(&command, Dialect::Sqlite);
            for (statement, index) in statements.iter().zip(indexes) {
                let plan = sqlite_plan(&mut connection, statement).await;
                let is_all = |line: &str| line.starts_with("SCAN") && !line.contains(" USING ");
                let all = plan.lines().any(|line| is_all(line) && !["SCAN gone", "SCAN nodes"].contains(&line));
                assert!(uses(&plan, index) && !all, "{command:?}:\n{plan}");
            }
        }
    });
}
