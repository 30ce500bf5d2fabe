//! Webhooks while the database is away, stopped, frozen or locked.

use super::{Directory, page, server, until_ready_is};
use callwarden_core::path;
use callwarden_core::sid::CallSid;
use callwarden_core::store::spooled;
use callwarden_tests::caller::{form, stop_server, tell};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::http::soon;
use callwarden_tests::postgres::Cluster;
use callwarden_tests::process::{FROM, Server};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// A webhook waits a second for its row; the rest is for a loaded machine.
const ANSWER_TIME: Duration = Duration::from_millis(1_500);
const PASSWORD: &str = "hush-hush";

/// Announces a call; how long the answer took.
async fn announce(server: &Server, number: u128) -> Duration {
    let begun = Instant::now();
    let body = form(CallSid::from_number(number), &[("CallStatus", "ringing"), ("Direction", "inbound")]);
    let answer = tell(server, path::INCOMING_CALL, &body).await;
    let twiml = String::from_utf8_lossy(&answer.body);
    assert!(answer.status == 200 && twiml.contains("<Stream "), "{} {twiml}", answer.status);
    begun.elapsed()
}

/// The calls that have a row.
async fn calls(database: &TestDatabase) -> BTreeSet<String> {
    database.rows("call_log").await.into_iter().map(|row| row["call_sid"].clone()).collect()
}

fn numbered(numbers: std::ops::RangeInclusive<u128>) -> BTreeSet<String> {
    numbers.map(|number| CallSid::from_number(number).to_string()).collect()
}

async fn until_written(database: &TestDatabase, expected: &BTreeSet<String>) {
    soon("the rows", async {
        while calls(database).await != *expected {
            smol::Timer::after(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A Postgres server of the test's own with a database, and a server beside it that may not know it yet.
fn own_postgres() -> (Cluster, TestDatabase, String) {
    let cluster = Cluster::start().expect("Postgres");
    let url = cluster.create_database("calls").expect("a database");
    let with_password = url.replace("postgres@", &format!("postgres:{PASSWORD}@"));
    (cluster, TestDatabase::at(&url), with_password)
}

#[test]
fn the_row_of_a_new_call_is_committed_before_its_answer() {
    smol::block_on(async {
        let database = TestDatabase::postgres();
        let server = server(&[("DATABASE_URL", &database.url())]);
        until_ready_is(&server, 200).await;
        for number in 1..=10 {
            announce(&server, number).await;
            let rows = database.rows("call_log").await;
            let sid = CallSid::from_number(number);
            let row = rows.iter().find(|row| row["call_sid"] == sid.as_str()).expect("a row");
            let row = ["status", "source", "from_number", "direction"].map(|name| row[name].as_str());
            assert_eq!(row, ["ringing", "stream", FROM, "inbound"]);
        }
        stop_server(server).await;
    });
}

#[test]
fn a_server_starts_and_answers_without_its_database_and_the_rows_follow() {
    smol::block_on(async {
        let (cluster, database, url) = own_postgres();
        cluster.stop().expect("stopped");
        let server = server(&[("DATABASE_URL", &url)]);
        server.keep_secret(PASSWORD);
        assert_eq!(page(&server, path::HEALTHZ).await.status, 200);
        let ready = page(&server, path::READYZ).await;
        assert!(ready.status == 503 && String::from_utf8_lossy(&ready.body).contains(r#""db":"error""#), "{ready:?}");
        for number in 1..=20 {
            assert!(announce(&server, number).await < ANSWER_TIME);
        }
        let place = format!("127.0.0.1:{}/calls", cluster.port());
        server.wait_for_line("DB_ERROR", |line| line["cause"].as_str().is_some_and(|cause| cause.contains(&place)));
        server.wait_for_line("DB_SPOOLED", |line| line["level"] == "WARN");
        cluster.restart().expect("started");
        until_ready_is(&server, 200).await;
        until_written(&database, &numbered(1..=20)).await;
        server.wait_for_line("DB_REPLAYED", |_| true);
        let errors = server.settled_lines("DB_ERROR", |line| line["level"] == "ERROR").await;
        assert_eq!(errors.len(), 1, "an outage is one line: {errors:?}");
        stop_server(server).await;
    });
}

#[test]
fn a_database_that_is_restarted_under_load_loses_no_row() {
    smol::block_on(async {
        let (cluster, database, url) = own_postgres();
        let server = server(&[("DATABASE_URL", &url)]);
        server.keep_secret(PASSWORD);
        until_ready_is(&server, 200).await;
        let restarted = smol::unblock(move || cluster.restart().map(|()| cluster));
        let mut numbers = 0;
        // Calls before, during and after: from the moment it is down to a while after it is back.
        while !restarted.is_finished() || numbers < 50 {
            numbers += 1;
            assert!(announce(&server, numbers).await < ANSWER_TIME);
            let body = form(CallSid::from_number(numbers), &[("CallStatus", "completed"), ("CallDuration", "7")]);
            assert_eq!(tell(&server, path::CALL_STATUS, &body).await.status, 204);
        }
        let _cluster = restarted.await.expect("restarted");
        until_ready_is(&server, 200).await;
        until_written(&database, &numbered(1..=numbers)).await;
        soon("the last status", async {
            while database.rows("call_log").await.iter().any(|row| row["status"] != "completed") {
                smol::Timer::after(Duration::from_millis(20)).await;
            }
        })
        .await;
        stop_server(server).await;
    });
}

/// The files of facts that any process left in a `DATA_DIR`.
fn files_of_facts(data: &Directory) -> Vec<String> {
    let mut found = Vec::new();
    let utterances = Path::new(data.path()).join("utterances");
    for node in std::fs::read_dir(utterances).into_iter().flatten().flatten().filter(|node| node.path().is_dir()) {
        for file in std::fs::read_dir(node.path()).into_iter().flatten().flatten() {
            if file.file_name().to_str().is_some_and(spooled::is_one) {
                found.extend(std::fs::read_to_string(file.path()));
            }
        }
    }
    found
}

#[test]
fn what_was_acknowledged_during_an_outage_survives_a_kill() {
    smol::block_on(async {
        let (cluster, database, url) = own_postgres();
        let data = Directory::new();
        let variables = [("DATABASE_URL", url.as_str()), ("DATA_DIR", data.path())];
        let first = server(&variables);
        first.keep_secret(PASSWORD);
        until_ready_is(&first, 200).await;
        cluster.stop().expect("stopped");
        for number in 1..=20 {
            assert!(announce(&first, number).await < ANSWER_TIME);
            let body = form(CallSid::from_number(number), &[("CallStatus", "completed"), ("CallDuration", "7")]);
            assert_eq!(tell(&first, path::CALL_STATUS, &body).await.status, 204);
        }
        let has_all = || {
            let text = files_of_facts(&data).concat();
            numbered(1..=20).iter().all(|call| text.contains(&format!("{{\"call\":\"{call}\"")))
                && text.matches("\"event\":\"over\"").count() == 20
        };
        soon("the files", async {
            while !has_all() {
                smol::Timer::after(Duration::from_millis(20)).await;
            }
        })
        .await;
        first.signal("KILL");
        assert_eq!(first.ended().0, None);
        cluster.restart().expect("started");
        let second = server(&variables);
        second.keep_secret(PASSWORD);
        until_written(&database, &numbered(1..=20)).await;
        soon("every end, and no file", async {
            while database.rows("call_log").await.iter().any(|row| row["status"] != "completed")
                || !files_of_facts(&data).is_empty()
            {
                smol::Timer::after(Duration::from_millis(20)).await;
            }
        })
        .await;
        stop_server(second).await;
    });
}

#[test]
fn a_database_that_hangs_holds_one_webhook_for_a_second_and_then_none() {
    smol::block_on(async {
        let (cluster, database, url) = own_postgres();
        let server = server(&[("DATABASE_URL", &url)]);
        server.keep_secret(PASSWORD);
        until_ready_is(&server, 200).await;
        announce(&server, 1).await;
        let frozen = cluster.freeze().expect("frozen");
        for number in 2..=6 {
            let took = announce(&server, number).await;
            assert!(took < ANSWER_TIME, "{took:?}");
        }
        let late = server.settled_lines("RES", |line| line["ms"].as_u64() >= Some(900)).await;
        assert_eq!(late.len(), 1, "{late:?}");
        let body = form(CallSid::from_number(1), &[("CallStatus", "completed")]);
        assert_eq!(tell(&server, path::CALL_STATUS, &body).await.status, 204);
        assert_eq!(page(&server, path::READYZ).await.status, 503);
        assert_eq!(page(&server, path::HEALTHZ).await.status, 200);
        drop(frozen);
        until_ready_is(&server, 200).await;
        until_written(&database, &numbered(1..=6)).await;
        stop_server(server).await;
    });
}

/// Webhooks are answered in time while another connection holds `lock`, and their rows are written when it lets go.
async fn outlast<C>(database: &TestDatabase, lock: &'static str)
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c>,
{
    let server = server(&[("DATABASE_URL", &database.url())]);
    until_ready_is(&server, 200).await;
    let mut holder = C::connect(&database.url()).await.expect("a connection");
    holder.execute(lock).await.expect("the lock");
    for number in 1..=3 {
        let took = announce(&server, number).await;
        assert!(took < ANSWER_TIME, "{took:?}");
    }
    until_ready_is(&server, 503).await;
    holder.execute("ROLLBACK").await.expect("released");
    until_ready_is(&server, 200).await;
    until_written(database, &numbered(1..=3)).await;
    stop_server(server).await;
}

#[test]
fn a_locked_table_holds_a_webhook_no_longer_than_its_time() {
    let lock = "BEGIN; LOCK TABLE call_log IN ACCESS EXCLUSIVE MODE";
    smol::block_on(async { outlast::<PgConnection>(&TestDatabase::postgres(), lock).await });
}

#[test]
fn a_file_that_another_process_locks_holds_a_webhook_no_longer_than_its_time() {
    smol::block_on(async { outlast::<SqliteConnection>(&TestDatabase::sqlite(), "BEGIN IMMEDIATE").await });
}

#[test]
fn values_that_a_database_dislikes_cost_no_row() {
    smol::block_on(async {
        for database in TestDatabase::both() {
            let server = server(&[("DATABASE_URL", &database.url())]);
            until_ready_is(&server, 200).await;
            let long = "ש".repeat(1_000);
            let odd =
                ["\0", "a\0b", "\u{feff}\u{ffff}\u{202e}", "'; DROP TABLE call_log; --", long.as_str(), "{}", "\\x00"];
            for (number, text) in (1..).zip(odd) {
                let call = CallSid::from_number(number);
                let names =
                    ["To", "Direction", "CallStatus", "ErrorCode", "StreamError", "AccountSid", "RecordingStatus"];
                let body = form(call, &names.map(|name| (name, text)));
                let paths = [path::INCOMING_CALL, path::STREAM_ENDED, path::HANDLE_RECORDING];
                for path in paths.into_iter().chain([path::CALL_STATUS, path::STREAM_STATUS, path::RECORDING_STATUS]) {
                    assert!(tell(&server, path, &body).await.status < 300, "{path} {text}");
                }
                let numbers = ["CallDuration", "RecordingDuration", "Timestamp", "SequenceNumber"];
                for number in ["-1", "99999999999", "9223372036854775808", "18446744073709551615", "1e9", "٣"] {
                    let more = numbers.map(|name| (name, number));
                    let recording = format!("RE{:032x}", number.len());
                    let known = [("RecordingSid", recording.as_str()), ("RecordingStatus", "completed")];
                    let ended = [("CallStatus", "completed")];
                    let body = form(call, &[&more[..], &known, &ended].concat());
                    for path in [path::RECORDING_STATUS, path::HANDLE_RECORDING, path::CALL_STATUS] {
                        assert!(tell(&server, path, &body).await.status < 300, "{path} {number}");
                    }
                }
            }
            until_written(&database, &numbered(1..=odd.len() as u128)).await;
            let refused = server.settled_lines("DB_ERROR", |line| line["reason"] == "refused").await;
            assert!(refused.is_empty(), "{refused:?}");
            stop_server(server).await;
            assert!(database.rows("call_log").await.iter().all(|row| row["status"] == "completed"));
        }
    });
}

#[test]
fn a_file_that_is_no_database_hinders_no_call_and_is_named_once() {
    smol::block_on(async {
        let file = std::env::temp_dir().join(format!("callwarden-לא-מסד-{}", std::process::id()));
        std::fs::write(&file, "זה לא מסד נתונים".repeat(1_000)).expect("written");
        let server = server(&[("DATABASE_URL", &format!("sqlite:{}", file.display())), ("DRAIN_SECONDS", "0")]);
        let name = file.to_str().expect("UTF-8");
        server.wait_for_line("DB_ERROR", |line| line["cause"].as_str().is_some_and(|cause| cause.contains(name)));
        for number in 1..=5 {
            assert!(announce(&server, number).await < ANSWER_TIME);
        }
        assert_eq!(page(&server, path::READYZ).await.status, 503);
        assert_eq!(page(&server, path::HEALTHZ).await.status, 200);
        // It is tried again after 250 ms and then 500 ms, and says nothing new.
        soon("the third try", async {
            while String::from_utf8_lossy(&page(&server, path::READYZ).await.body).contains(r#""db_error_seconds":0"#) {
                smol::Timer::after(Duration::from_millis(20)).await;
            }
        })
        .await;
        let errors = server.settled_lines("DB_ERROR", |line| line["level"] == "ERROR").await;
        assert_eq!(errors.len(), 1, "{errors:?}");
        server.signal("TERM");
        let (code, lines) = server.ended();
        let last = lines.last().expect("a line");
        assert_eq!((code, &last["message"], &last["level"]), (Some(0), &"APP_STOP".into(), &"WARN".into()));
        assert!(last["detail"].as_str().is_some_and(|detail| detail.contains("rows")), "{last}");
        std::fs::remove_file(file).expect("still there");
    });
}
