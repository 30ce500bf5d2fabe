//! Webhooks that are not what Twilio sends.

use super::beside_a_healthy_stream;
use callwarden_core::path;
use callwarden_core::sid::CallSid;
use callwarden_tests::caller::{form, post, signature, tell, webhook};
use callwarden_tests::http::RawAnswer;
use callwarden_tests::process::{FROM, QUERY_WORD, Server};

/// Every webhook, and whether it is answered with TwiML.
const WEBHOOKS: [(&str, bool); 6] = [
    (path::INCOMING_CALL, true),
    (path::STREAM_ENDED, true),
    (path::HANDLE_RECORDING, true),
    (path::CALL_STATUS, false),
    (path::STREAM_STATUS, false),
    (path::RECORDING_STATUS, false),
];

fn call(number: u128) -> CallSid {
    CallSid::from_number(number)
}

async fn ask(server: &Server, request: &[u8]) -> RawAnswer {
    let mut client = server.connect().await;
    client.send(request).await.expect("open");
    client.answer().await.expect("an answer")
}

fn text(answer: &RawAnswer) -> String {
    String::from_utf8(answer.body.clone()).expect("UTF-8")
}

/// The answer Twilio can use, whatever it sent: TwiML, or nothing where it wants nothing.
fn assert_usable(answer: &RawAnswer, is_twiml: bool) {
    let body = text(answer);
    if is_twiml {
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/xml; charset=utf-8")), "{body}");
        assert!(body.starts_with("<?xml") && body.trim_end().ends_with("</Response>"), "{body}");
    } else {
        assert_eq!((answer.status, body.as_str()), (204, ""));
    }
}

#[test]
fn a_webhook_without_its_fields_gets_a_usable_answer_and_a_line() {
    beside_a_healthy_stream(async |server, healthy| {
        let bodies = ["", "&&&=&=x&", "CallSid=", "CallSid=CA1&CallStatus=ringing", "CallStatus=completed", "x"];
        for (path, is_twiml) in WEBHOOKS {
            for body in bodies {
                assert_usable(&tell(server, path, body).await, is_twiml);
            }
            healthy.beat().await;
        }
        let lines = server.settled_lines("BAD_WEBHOOK", |line| line["level"] == "WARN").await;
        assert_eq!(lines.len(), WEBHOOKS.len() * bodies.len());
    });
}

#[test]
fn a_call_that_names_nothing_but_itself_is_answered() {
    beside_a_healthy_stream(async |server, _| {
        for (number, (path, is_twiml)) in (1..).zip(WEBHOOKS) {
            let body = format!("CallSid={}", call(number));
            assert_usable(&tell(server, path, &body).await, is_twiml);
        }
    });
}

#[test]
fn repeated_fields_are_read_once_and_still_verify() {
    beside_a_healthy_stream(async |server, _| {
        let (first, second) = (form(call(1), &[]), form(call(2), &[("CallStatus", "ringing"), ("CallStatus", "busy")]));
        let answer = tell(server, path::INCOMING_CALL, &format!("{first}&{second}&{second}")).await;
        assert_usable(&answer, true);
        assert!(text(&answer).contains(call(1).as_str()) && !text(&answer).contains(call(2).as_str()));
        server.wait_for_line("INCOMING_CALL", |line| line["call_sid"] == call(1).as_str());
        let many = vec!["Digits=1"; 5_000].join("&");
        assert_usable(&tell(server, path::HANDLE_RECORDING, &format!("{first}&{many}")).await, true);
        server.wait_for_line("BAD_WEBHOOK", |line| line["call_sid"] == call(1).as_str());
    });
}

#[test]
fn text_that_is_no_utf_8_is_survived_and_noted() {
    beside_a_healthy_stream(async |server, healthy| {
        let raw: Vec<u8> = (0x80..=0xff).collect();
        let bodies = [&b"&CallerName=%FF%FE%00%C3%28"[..], &[&b"&CallerName="[..], &raw].concat(), b"&%ED%A0%80=%\xd7"];
        for (number, body) in (1..).zip(bodies) {
            let body = [form(call(number), &[]).as_bytes(), body].concat();
            assert_usable(&ask(server, &webhook(path::INCOMING_CALL, &body)).await, true);
            server.wait_for_line("BAD_WEBHOOK", |line| line["call_sid"] == call(number).as_str());
            healthy.beat().await;
        }
    });
}

#[test]
fn only_the_form_that_was_signed_is_believed_whatever_its_content_type() {
    beside_a_healthy_stream(async |server, _| {
        let body = form(call(1), &[("CallStatus", "ringing")]);
        let form_kind = "Content-Type: application/x-www-form-urlencoded";
        for (kind, status) in [
            ("Content-Type: APPLICATION/X-WWW-FORM-URLENCODED; charset=UTF-8", 204),
            ("X-No-Content-Type: 1", 403),
            ("Content-Type: application/json", 403),
            ("Content-Type: text/plain", 403),
            ("Content-Type: multipart/form-data; boundary=x", 403),
            ("Content-Type:", 403),
        ] {
            let request = String::from_utf8(webhook(path::CALL_STATUS, body.as_bytes())).expect("UTF-8");
            assert_eq!(ask(server, request.replace(form_kind, kind).as_bytes()).await.status, status, "{kind}");
        }
        assert_eq!(server.settled_lines("SIGNATURE_REJECTED", |line| line["reason"] == "wrong").await.len(), 5);
    });
}

#[test]
fn a_wrong_signature_is_refused_on_every_path_and_changes_nothing() {
    beside_a_healthy_stream(async |server, healthy| {
        let body = form(call(1), &[("CallStatus", "completed")]);
        let right = signature(path::CALL_STATUS, body.as_bytes());
        let of_another_path = signature("/webhook/other", body.as_bytes());
        let wrong =
            ["", "=", "שלום", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", &right[1..], &of_another_path, &"A".repeat(4_000)];
        for (path, _) in WEBHOOKS {
            for wrong in wrong {
                let request = post(path, body.as_bytes(), &format!("X-Twilio-Signature: {wrong}\r\n"));
                // A header line beyond ASCII is refused before anybody looks at what it signs.
                let status = if wrong.is_ascii() { 403 } else { 400 };
                assert_eq!(ask(server, &request).await.status, status, "{path} {wrong}");
            }
            healthy.beat().await;
        }
        let changed = body.replace("completed", "busy");
        let request = post(path::CALL_STATUS, changed.as_bytes(), &format!("X-Twilio-Signature: {right}\r\n"));
        assert_eq!(ask(server, &request).await.status, 403);
        let rejected = server
            .settled_lines("SIGNATURE_REJECTED", |line| line["level"] == "WARN" && line["reason"] == "wrong")
            .await;
        assert_eq!(rejected.len(), WEBHOOKS.len() * (wrong.len() - 1) + 1);
        assert!(server.settled_lines("INCOMING_CALL", |line| line["call_sid"] == call(1).as_str()).await.is_empty());
    });
}

#[test]
fn an_unsigned_webhook_is_refused_and_an_unsigned_call_gets_a_preview_that_lets_nobody_in() {
    beside_a_healthy_stream(async |server, _| {
        let body = form(call(1), &[]);
        for (path, _) in WEBHOOKS.into_iter().filter(|(path, _)| *path != path::INCOMING_CALL) {
            assert_eq!(ask(server, &post(path, body.as_bytes(), "")).await.status, 403, "{path}");
        }
        assert_eq!(server.settled_lines("SIGNATURE_REJECTED", |line| line["reason"] == "missing").await.len(), 5);
        let answer = ask(server, &post(path::INCOMING_CALL, body.as_bytes(), "")).await;
        assert_usable(&answer, true);
        assert_eq!(answer.header("x-callwarden-preview"), Some("1"));
        assert!(text(&answer).contains("value=\"preview\""), "{}", text(&answer));
        // It looks like Twilio's, so a proxy may have taken its signature away.
        server.wait_for_line("SIGNATURE_MISSING", |line| line["level"] == "ERROR");
        let ready = ask(server, b"GET /readyz HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert!(text(&ready).contains(r#""signature":"missing""#), "{}", text(&ready));
        assert!(server.settled_lines("INCOMING_CALL", |line| line["call_sid"] == call(1).as_str()).await.is_empty());
    });
}

#[test]
fn pipelined_webhooks_are_answered_in_their_order() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut client = server.connect().await;
        let mut requests = Vec::new();
        for number in 1..=100 {
            requests.extend(webhook(path::INCOMING_CALL, form(call(number), &[("CallStatus", "ringing")]).as_bytes()));
            requests.extend(webhook(path::CALL_STATUS, form(call(number), &[("CallStatus", "completed")]).as_bytes()));
        }
        client.send(&requests).await.expect("open");
        for number in 1..=100 {
            let answer = client.answer().await.expect("an answer");
            assert_usable(&answer, true);
            assert!(text(&answer).contains(call(number).as_str()), "{}", text(&answer));
            assert_usable(&client.answer().await.expect("an answer"), false);
        }
        healthy.beat().await;
    });
}

#[test]
fn queries_and_numbers_are_answered_and_never_logged() {
    beside_a_healthy_stream(async |server, _| {
        let target = format!("{}?key={QUERY_WORD}&From={FROM}", path::INCOMING_CALL);
        assert_usable(&tell(server, &target, &form(call(1), &[])).await, true);
        server.wait_for_line("REQ", |line| line["path"] == path::INCOMING_CALL);
        for target in [format!("/nothing?{QUERY_WORD}"), format!("{}?{QUERY_WORD}", path::MEDIA)] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
            assert!(matches!(ask(server, request.as_bytes()).await.status, 404 | 426), "{target}");
        }
        let refused = format!("GET /?{QUERY_WORD} HTTP/1.1\r\n\r\n");
        assert_eq!(ask(server, refused.as_bytes()).await.status, 400);
    });
}
