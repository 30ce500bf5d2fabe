//! What is shown to nobody: secrets in the settings, and what the log holds of a call at its most talkative.

use super::{BINARY, page, server};
use callwarden_core::path;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_tests::caller::{announce, form, media, start, stop, stop_server, stream, tell};
use callwarden_tests::google;
use callwarden_tests::process::{ACCOUNT, AUTH_TOKEN, FROM, QUERY_WORD};
use callwarden_tests::websocket::Socket;
use std::process::Command;

fn secrets() -> [(&'static str, String); 6] {
    [
        ("TWILIO_AUTH_TOKEN", "first-auth-token,second-auth-token".to_owned()),
        (
            "DATABASE_URL",
            "postgres://calls:data%40base-password@db.example:5433/calls?sslpassword=key-password".to_owned(),
        ),
        ("OPENAI_API_KEY", "sk-openai-key".to_owned()),
        ("GOOGLE_APPLICATION_CREDENTIALS", google::key_file(google::KEY, "https://tokens.example").to_string()),
        ("METRICS_TOKEN", "metrics-token".to_owned()),
        ("CONSOLE_TOKEN", "console-token".to_owned()),
    ]
}

/// No part of a secret that anybody could use.
fn parts() -> Vec<&'static str> {
    let texts = [
        "first-auth-token",
        "second-auth-token",
        "base-password",
        "key-password",
        "sk-openai-key",
        "metrics-token",
        "console-token",
    ];
    texts.into_iter().chain(google::KEY.lines().filter(|line| !line.starts_with("-----"))).collect()
}

#[test]
fn config_masks_every_secret_and_shows_where_the_database_is() {
    let mut command = Command::new(BINARY);
    command.arg("config").env_clear().env("TWILIO_ACCOUNT_SID", ACCOUNT).envs(secrets());
    let output = command.output().expect("it runs");
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    for (name, _) in secrets() {
        let line = shown.lines().find(|line| line.starts_with(&format!("{name}="))).expect("a line");
        assert!(line.contains("***"), "{line}");
    }
    assert!(shown.contains("DATABASE_URL=postgres://calls:***@db.example:5433/calls?***\n"), "{shown}");
    assert!(parts().iter().all(|part| !shown.contains(part) && !said.contains(part)), "{shown}{said}");
}

#[test]
fn a_wrong_setting_is_named_without_its_neighbours_secrets() {
    for (name, wrong) in [
        ("DATABASE_URL", "mysql://calls:hush-hush@db.example/calls"),
        ("DATABASE_URL", "postgres://calls:hush-hush@db.example:port/calls"),
        ("TWILIO_ACCOUNT_SID", "hush-hush"),
        ("TWILIO_AUTH_TOKEN", "hush-hush,"),
        ("OPENAI_BASE_URL", "https://user:hush-hush@api.example/v1"),
        ("GOOGLE_APPLICATION_CREDENTIALS", r#"{"type":"service_account","private_key":"hush-hush"}"#),
        ("GOOGLE_APPLICATION_CREDENTIALS", "hush-hush"),
    ] {
        let mut command = Command::new(BINARY);
        command.env_clear().env("TWILIO_ACCOUNT_SID", ACCOUNT).envs(secrets()).env("PORT", "0").env(name, wrong);
        let output = command.env("DATA_DIR", std::env::temp_dir()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(name) && said.lines().count() == 1, "{said}");
        assert!(parts().iter().chain(&["hush-hush"]).all(|part| !said.contains(part)), "{said}");
    }
}

#[test]
fn a_whole_call_at_the_most_talkative_level_says_nothing_personal_and_no_secret() {
    smol::block_on(async {
        let filter = "callwarden=trace,sqlx=trace,rustls=trace,tungstenite=trace,async_h1=trace,surf=trace,hyper=trace,reqwest=trace";
        let variables = [("RUST_LOG", filter), ("STREAM_START_TIMEOUT", "100ms"), ("METRICS_TOKEN", "metrics-token")];
        let server = server(&[&variables[..], &[("GREETING_TEXT", "")]].concat());
        server.keep_secret("metrics-token");
        server.keep_secret("ישראל");
        server.keep_secret("שלום");
        let (call, sid) = (CallSid::from_number(1), StreamSid::from_number(1));
        let mut socket = stream(&server, call, sid).await;
        for chunk in 1..=10 {
            socket.text(&media(sid, chunk)).await.expect("open");
        }
        socket.text(&format!("שלום {FROM}")).await.expect("open");
        socket
            .text(&format!(r#"{{"event":"dtmf","dtmf":{{"digit":"{FROM}"}},"streamSid":"{sid}"}}"#))
            .await
            .expect("open");
        socket.text(&stop(call, sid)).await.expect("open");
        socket.close().await;
        let heard = server.wait_for_line("WS_STOP", |line| line["call_sid"] == call.as_str());
        assert_eq!(heard["frames"], 10);
        // A forged start, a call that nobody can move, and pages with a secret in the wrong place.
        let mut forged = Socket::open(server.connect().await, path::MEDIA).await;
        forged.text(&start(call, sid, AUTH_TOKEN)).await.expect("open");
        assert_eq!(forged.closed_with().await, Some(1008));
        announce(&server, CallSid::from_number(2)).await;
        server.wait_for_line("WATCHDOG_REDIRECT", |line| line["reason"] == "no_start");
        for target in [format!("/metrics?token=metrics-token&{QUERY_WORD}"), format!("/healthz?{FROM}")] {
            page(&server, &target).await;
        }
        let status = form(call, &[("CallStatus", FROM), ("SipResponseCode", QUERY_WORD), ("ErrorCode", FROM)]);
        tell(&server, path::CALL_STATUS, &status).await;
        tell(&server, path::STREAM_ENDED, &status).await;
        stop_server(server).await;
    });
}

#[test]
#[should_panic(expected = "stands in the log")]
fn a_secret_in_the_log_would_be_found() {
    let server = server(&[]);
    server.keep_secret("store=sqlite");
    smol::block_on(stop_server(server));
}
