//! The process from its start to its end: signals, kills, threads.

use super::super::FOREIGN_THREADS;
use super::{server, until_ready_is};
use callwarden_core::path;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_tests::caller::{Healthy, announce, form, media, stop, stop_server, stream, tell, webhook};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::http::soon;
use callwarden_tests::websocket::handshake;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

fn call(number: u128) -> CallSid {
    CallSid::from_number(number)
}

#[test]
fn a_signal_right_after_the_answers_loses_no_fact() {
    for signal in ["TERM", "INT"] {
        smol::block_on(async {
            let database = TestDatabase::sqlite();
            let server = server(&[("DATABASE_URL", &database.url()), ("DRAIN_SECONDS", "20")]);
            until_ready_is(&server, 200).await;
            let mut client = server.connect().await;
            let mut requests = Vec::new();
            for number in 1..=50 {
                requests
                    .extend(webhook(path::INCOMING_CALL, form(call(number), &[("CallStatus", "ringing")]).as_bytes()));
                requests
                    .extend(webhook(path::CALL_STATUS, form(call(number), &[("CallStatus", "completed")]).as_bytes()));
            }
            client.send(&requests).await.expect("open");
            for _ in 1..=100 {
                assert!(matches!(client.answer().await.expect("an answer").status, 200 | 204));
            }
            server.signal(signal);
            let (code, lines) = server.ended();
            assert_eq!(code, Some(0));
            assert!(lines.iter().any(|line| line["message"] == "APP_STOP" && line["detail"] == "drained"), "{lines:?}");
            let rows = database.rows("call_log").await;
            let completed = rows.iter().filter(|row| row["status"] == "completed").count();
            assert_eq!((rows.len(), completed), (50, 50), "SIG{signal}");
        });
    }
}

#[test]
fn a_drain_lets_a_stream_run_to_its_end_and_takes_no_other() {
    smol::block_on(async {
        let database = TestDatabase::sqlite();
        let server = server(&[("DATABASE_URL", &database.url()), ("DRAIN_SECONDS", "60")]);
        until_ready_is(&server, 200).await;
        let sid = StreamSid::from_number(1);
        let mut socket = stream(&server, call(1), sid).await;
        socket.text(&media(sid, 1)).await.expect("open");
        server.wait_for_line("WS_FRAME", |line| line["stream_sid"] == sid.as_str());
        let mut health = server.connect().await;
        server.signal("TERM");
        server.wait_for_line("APP_STOP", |line| line["reason"] == "SIGTERM");
        soon("the drain", async {
            loop {
                health.send(b"GET /healthz HTTP/1.1\r\nHost: a.example\r\n\r\n").await.expect("open");
                if health.answer().await.expect("an answer").status == 503 {
                    break;
                }
            }
        })
        .await;
        let mut other = server.connect().await;
        other.send(&handshake(path::MEDIA, "Connection: Upgrade\r\n")).await.expect("open");
        assert_eq!(other.answer().await.expect("an answer").status, 503);
        let answer = tell(&server, path::INCOMING_CALL, &form(call(2), &[("CallStatus", "ringing")])).await;
        assert!(String::from_utf8_lossy(&answer.body).contains("<Record "), "{answer:?}");
        socket.text(&media(sid, 2)).await.expect("open");
        socket.text(&stop(call(1), sid)).await.expect("open");
        socket.close().await;
        // With the end of the last live call the process is done.
        tell(&server, path::CALL_STATUS, &form(call(1), &[("CallStatus", "completed")])).await;
        let (code, lines) = server.ended();
        assert_eq!(code, Some(0));
        assert!(lines.iter().any(|line| line["message"] == "APP_STOP" && line["detail"] == "drained"), "{lines:?}");
        let rows = database.rows("call_log").await;
        let row = rows.iter().find(|row| row["call_sid"] == call(1).as_str()).expect("a row");
        assert_eq!((row["frames"].as_str(), row["status"].as_str()), ("2", "completed"));
    });
}

#[test]
fn what_was_answered_survives_a_kill() {
    smol::block_on(async {
        let database = TestDatabase::sqlite();
        let first = server(&[("DATABASE_URL", &database.url())]);
        until_ready_is(&first, 200).await;
        for number in 1..=20 {
            announce(&first, call(number)).await;
        }
        first.signal("KILL");
        assert_eq!(first.ended().0, None);
        let second = server(&[("DATABASE_URL", &database.url())]);
        until_ready_is(&second, 200).await;
        announce(&second, call(21)).await;
        stop_server(second).await;
        assert_eq!(database.rows("call_log").await.len(), 21);
    });
}

#[test]
fn a_call_that_never_streams_is_moved_over_rest_and_no_foreign_runtime_starts_for_it() {
    smol::block_on(async {
        let twilio = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let base = format!("http://{}", twilio.local_addr().expect("bound"));
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = twilio.accept().expect("a request");
            let mut request = Vec::new();
            let mut bytes = [0; 4096];
            while !request.ends_with(b"%3C%2FResponse%3E") {
                let count = stream.read(&mut bytes).expect("a request");
                assert_ne!(count, 0, "{}", String::from_utf8_lossy(&request));
                request.extend_from_slice(&bytes[..count]);
            }
            let body = r#"{"status":"in-progress"}"#;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).expect("open");
            String::from_utf8(request).expect("ASCII")
        });
        let server = server(&[("TWILIO_API_BASE", &base), ("STREAM_START_TIMEOUT", "100ms"), ("GREETING_TEXT", "")]);
        announce(&server, call(1)).await;
        server.wait_for_line("WATCHDOG_REDIRECT", |line| line["reason"] == "no_start");
        server.wait_for_line("WATCHDOG_REDIRECT_OK", |line| line["call_sid"] == call(1).as_str());
        let request = answering.join().expect("an update");
        assert!(
            request.starts_with("POST /2010-04-01/Accounts/AC") && request.contains("Twiml=%3C%3Fxml"),
            "{request}"
        );
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).expect("a process");
        let names: Vec<_> = tasks
            .map(|task| std::fs::read_to_string(task.expect("a task").path().join("comm")).expect("a name"))
            .collect();
        assert!(names.iter().any(|name| name.starts_with("worker-1")), "{names:?}");
        let foreign = |name: &String| FOREIGN_THREADS.iter().any(|other| name.starts_with(other));
        assert!(!names.iter().any(foreign), "{names:?}");
        tell(&server, path::CALL_STATUS, &form(call(1), &[("CallStatus", "completed")])).await;
        stop_server(server).await;
    });
}

#[test]
fn a_webhook_under_way_at_a_signal_is_answered_and_written() {
    smol::block_on(async {
        let database = TestDatabase::sqlite();
        let server = server(&[("DATABASE_URL", &database.url())]);
        until_ready_is(&server, 200).await;
        let request = webhook(path::CALL_STATUS, form(call(1), &[("CallStatus", "completed")]).as_bytes());
        let (most, rest) = request.split_at(request.len() - 1);
        let mut client = server.connect().await;
        client.send(most).await.expect("open");
        // Its head is there before anything that is answered later.
        until_ready_is(&server, 200).await;
        server.signal("TERM");
        soon("the listener to close", async {
            while std::net::TcpStream::connect(server.address()).is_ok() {
                smol::Timer::after(Duration::from_millis(2)).await;
            }
        })
        .await;
        client.send(rest).await.expect("open");
        assert_eq!(client.answer().await.expect("an answer").status, 204);
        drop(client);
        assert_eq!(server.ended().0, Some(0));
        let rows = database.rows("call_log").await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["status"], "completed");
    });
}

#[test]
fn a_process_that_was_held_up_hears_what_waited_before_it_judges() {
    smol::block_on(async {
        let server = server(&[("MEDIA_TIMEOUT", "500ms")]);
        let healthy = Healthy::start(&server).await;
        server.signal("STOP");
        // Longer than a stream may be without a frame and without the echo of a mark; its frames wait meanwhile.
        smol::Timer::after(Duration::from_secs(3)).await;
        server.signal("CONT");
        healthy.finish(&server).await;
        stop_server(server).await;
    });
}
