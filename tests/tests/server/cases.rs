//! Raw requests, good and bad, against a server over loopback: each has one documented answer.

use super::test_server::TestServer;
use super::under_test::{ServerLimits, run};
use callwarden_tests::http::RawClient;
use serde_json::Value;
use smol::Timer;
use smol::future::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Short enough to wait for, long enough that no case that is not late comes late on a busy machine.
const LATE: Duration = Duration::from_secs(2);

#[test]
fn every_raw_request_gets_its_documented_answer() {
    let document: Value = serde_json::from_str(include_str!("../../data/http-cases.json")).expect("the case file");
    let cases = document["cases"].as_array().expect("a list").clone();
    run(|executor| async move {
        let limits = ServerLimits { head_time: LATE, body_time: LATE, linger_time: LATE, ..ServerLimits::default() };
        let server = Arc::new(TestServer::start(&executor, limits).await);
        let running = cases.into_iter().map(|case| {
            let server = Arc::clone(&server);
            let name = text(&case["name"]);
            (name, executor.spawn(play(server, case)))
        });
        for (name, case) in running.collect::<Vec<_>>() {
            let outcome = AssertUnwindSafe(case).catch_unwind().await.unwrap_or_else(|_| Err("panicked".to_owned()));
            assert_eq!(outcome, Ok(()), "case `{name}`");
        }
    });
}

/// Plays one case.
async fn play(server: Arc<TestServer>, case: Value) -> Result<(), String> {
    let mut client = server.connect().await;
    let mut statuses = Vec::new();
    for step in case["steps"].as_array().expect("a list") {
        take(&mut client, step, &mut statuses).await;
    }
    let expected: Vec<u64> = case["answers"].as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
    while statuses.len() < expected.len() {
        read_answer(&mut client, &mut statuses).await;
    }
    if statuses != expected {
        return Err(format!("answered {statuses:?} instead of {expected:?}"));
    }
    match text(&case["after"]).as_str() {
        "open" => {
            client.send(b"GET /open HTTP/1.1\r\nHost: x.test\r\n\r\n").await.map_err(|error| error.to_string())?;
            let answer = client.answer().await.ok_or("closed")?;
            (answer.body == b"Get /open \n").then_some(()).ok_or_else(|| format!("answered {answer:?}"))
        }
        "closed" => {
            let rest = client.rest().await;
            let is_frame = statuses.last() == Some(&101);
            (rest.is_empty() || is_frame).then_some(()).ok_or_else(|| String::from_utf8_lossy(&rest).into_owned())
        }
        "websocket" => {
            client.expect(b"\x81\x02hi").await;
            Ok(())
        }
        other => Err(format!("no such end: {other}")),
    }
}

async fn take(client: &mut RawClient, step: &Value, statuses: &mut Vec<u64>) {
    // A server that refuses may have closed before everything is sent; what it answered is judged, not the sending.
    if step["send"].is_string() {
        client.send(&bytes(&step["send"])).await.ok();
    } else if step["send_bytewise"].is_string() {
        for byte in bytes(&step["send_bytewise"]) {
            client.send(&[byte]).await.ok();
            Timer::after(Duration::from_millis(step["gap_ms"].as_u64().expect("a number"))).await;
        }
    } else if let Some(pause) = step["pause_ms"].as_u64() {
        Timer::after(Duration::from_millis(pause)).await;
    } else if let Some(answers) = step["await"].as_u64() {
        while (statuses.len() as u64) < answers {
            read_answer(client, statuses).await;
        }
    } else {
        assert_eq!(step["half_close"], true, "no such step: {step}");
        client.half_close().ok();
    }
}

async fn read_answer(client: &mut RawClient, statuses: &mut Vec<u64>) {
    match client.answer().await {
        Some(answer) => statuses.push(answer.status.into()),
        None => statuses.push(0),
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The bytes of a case's text: latin-1, and `<c x n>` stands for `n` times `c`.
fn bytes(value: &Value) -> Vec<u8> {
    let text = text(value);
    let latin_1 = |text: &str| text.chars().map(|c| u8::try_from(c).expect("latin-1")).collect::<Vec<_>>();
    let Some((before, (byte, count, after))) = text.split_once('<').and_then(|(before, rest)| {
        let (repeat, after) = rest.split_once('>')?;
        let (byte, count) = repeat.split_once(" x ")?;
        Some((before, (byte, count.parse().ok()?, after)))
    }) else {
        return latin_1(&text);
    };
    [latin_1(before), latin_1(&byte.repeat(count)), latin_1(after)].concat()
}
