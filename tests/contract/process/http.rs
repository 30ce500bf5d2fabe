//! Requests that are no webhooks, or no HTTP.

use super::beside_a_healthy_stream;
use callwarden_core::sid::CallSid;
use callwarden_core::{limits, path};
use callwarden_tests::caller::{form, post, webhook};
use callwarden_tests::http::RawAnswer;
use callwarden_tests::process::Server;
use callwarden_tests::websocket::handshake;

async fn ask(server: &Server, request: &[u8]) -> RawAnswer {
    let mut client = server.connect().await;
    // A refusal may come before all is sent.
    client.send(request).await.ok();
    client.answer().await.expect("an answer")
}

fn refused(server: &Server, what: &str) {
    server.wait_for_line("BAD_REQUEST", |line| {
        line["reason"] == "refused" && line["cause"].as_str().is_some_and(|cause| cause.contains(what))
    });
}

#[test]
fn unknown_paths_and_methods_are_told_so() {
    beside_a_healthy_stream(async |server, healthy| {
        for (line, status, allowed) in [
            ("GET /", 404, None),
            ("GET /webhook", 404, None),
            ("POST /webhook/incoming_call/", 404, None),
            ("POST /webhook/incoming_calls", 404, None),
            ("GET /WS/twilio-media", 404, None),
            ("GET /static/tts/../../etc/passwd", 404, None),
            ("GET /%2e%2e/%00", 404, None),
            ("DELETE /webhook/incoming_call", 405, Some("GET, HEAD, POST")),
            ("PUT /webhook/incoming_call", 405, Some("GET, HEAD, POST")),
            ("GET /webhook/call_status", 405, Some("POST")),
            ("PATCH /webhook/recording_status", 405, Some("POST")),
            ("POST /healthz", 405, Some("GET, HEAD")),
            ("DELETE /version", 405, Some("GET, HEAD")),
            ("GET /metrics", 404, None),
            ("GET /ws/twilio-media", 426, None),
            ("POST /ws/twilio-media/", 426, None),
        ] {
            let answer = ask(server, format!("{line} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes()).await;
            assert_eq!((answer.status, answer.header("allow")), (status, allowed), "{line}");
            let (method, path) = line.split_once(' ').expect("two words");
            server.wait_for_line("REQ", |line| line["path"] == path && line["method"] == method);
            server.wait_for_line("RES", |line| line["path"] == path && line["status"] == status);
        }
        healthy.beat().await;
    });
}

#[test]
fn what_is_no_request_is_refused_with_the_rule_it_broke() {
    beside_a_healthy_stream(async |server, healthy| {
        let long = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Long: {}\r\n\r\n", "x".repeat(100 * 1024));
        let many = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", "X: 1\r\n".repeat(limits::HEADERS_MAX));
        for (request, status, rule) in [
            ("BREW /coffee HTTP/1.1\r\nHost: a.example\r\n\r\n", 501, "method"),
            ("GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", 505, "version"),
            ("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, "target"),
            ("GET / HTTP/1.1\r\n\r\n", 400, "host"),
            ("GET / HTTP/1.1\r\nHost: a.example\r\nX: שלום\r\n\r\n", 400, "head is not"),
            ("GET / HTTP/1.1\nHost: a.example\n\n", 400, "head is not"),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03", 400, "head is not"),
            (&long, 431, "head is too long"),
            (&many, 431, "head is too long"),
        ] {
            let answer = ask(server, request.as_bytes()).await;
            assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{rule}");
            refused(server, rule);
        }
        healthy.beat().await;
    });
}

#[test]
fn a_body_of_a_mebibyte_is_refused_and_the_answer_arrives() {
    beside_a_healthy_stream(async |server, healthy| {
        let body = [form(CallSid::from_number(1), &[]).as_bytes(), b"&x=", &vec![b'x'; 1024 * 1024]].concat();
        assert_eq!(ask(server, &webhook(path::INCOMING_CALL, &body)).await.status, 413);
        refused(server, "body is too long");
        let head = format!("POST {} HTTP/1.1\r\nHost: a.example\r\n", path::INCOMING_CALL);
        let chunk = [&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat();
        let chunked =
            [head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n", &chunk.repeat(64), b"0\r\n\r\n"].concat();
        assert_eq!(ask(server, &chunked).await.status, 413);
        healthy.beat().await;
    });
}

#[test]
fn half_a_request_waits_for_its_deadline_and_no_longer() {
    beside_a_healthy_stream(async |server, healthy| {
        let whole = webhook(path::CALL_STATUS, form(CallSid::from_number(1), &[]).as_bytes());
        let head = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
        // Those who leave are forgotten, wherever they stopped.
        for end in [1, head / 2, head, head + 1, whole.len() - 1] {
            server.connect().await.send(&whole[..end]).await.expect("open");
        }
        let (mut in_head, mut in_body) = (server.connect().await, server.connect().await);
        in_head.send(&whole[..head / 2]).await.expect("open");
        in_body.send(&whole[..head + 1]).await.expect("open");
        for client in [&mut in_head, &mut in_body] {
            assert_eq!(client.answer().await.expect("an answer").status, 408);
            assert_eq!(client.rest().await, b"");
        }
        refused(server, "head did not arrive in time");
        refused(server, "body did not arrive in time");
        healthy.beat().await;
    });
}

#[test]
fn a_handshake_of_another_version_or_with_a_bad_key_is_told_which_is_spoken() {
    beside_a_healthy_stream(async |server, healthy| {
        let good = String::from_utf8(handshake(path::MEDIA, "Connection: Upgrade\r\n")).expect("ASCII");
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        for bad in [
            good.replace("Version: 13", "Version: 8"),
            good.replace("Version: 13", "Version: x"),
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
            good.replace(key, "Sec-WebSocket-Key: c2hvcnQ="),
            good.replace(key, "Sec-WebSocket-Key: not base64!"),
            good.replace(key, &format!("{key}\r\n{key}")),
            good.replace(&format!("{key}\r\n"), ""),
        ] {
            let answer = ask(server, bad.as_bytes()).await;
            assert_eq!((answer.status, answer.header("sec-websocket-version")), (400, Some("13")), "{bad}");
        }
        refused(server, "WebSocket handshake");
        // One of HTTP/1.0, or with another method, is a plain request.
        for plain in [good.replace("HTTP/1.1", "HTTP/1.0"), good.replace("GET", "POST")] {
            assert_eq!(ask(server, plain.as_bytes()).await.status, 426, "{plain}");
        }
        assert_eq!(ask(server, &handshake("/ws/other", "Connection: Upgrade\r\n")).await.status, 404);
        healthy.beat().await;
    });
}

#[test]
fn an_expectation_is_met_before_the_body_comes() {
    beside_a_healthy_stream(async |server, _| {
        let mut client = server.connect().await;
        let request = webhook(path::CALL_STATUS, form(CallSid::from_number(1), &[]).as_bytes());
        let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 2;
        client.send(&[&request[..head], b"Expect: 100-continue\r\n\r\n"].concat()).await.expect("open");
        assert_eq!(client.answer().await.expect("an answer").status, 100);
        client.send(&request[head + 2..]).await.expect("open");
        assert_eq!(client.answer().await.expect("an answer").status, 204);
        let other = post(path::CALL_STATUS, b"x=1", "Expect: a-miracle\r\n");
        assert_eq!(ask(server, &other).await.status, 417);
        refused(server, "expectation");
    });
}
