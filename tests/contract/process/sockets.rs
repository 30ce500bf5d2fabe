//! Media streams that are not what Twilio sends.

use super::beside_a_healthy_stream;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_core::{limits, path};
use callwarden_tests::caller::{announce, media, start, stop, stream};
use callwarden_tests::process::Server;
use callwarden_tests::websocket::{Opcode, Socket, frame, message};
use serde_json::Value;

fn call(number: u128) -> CallSid {
    CallSid::from_number(number)
}

fn sid(number: u128) -> StreamSid {
    StreamSid::from_number(number)
}

async fn open(server: &Server) -> Socket {
    Socket::open(server.connect().await, path::MEDIA).await
}

/// The line of a call's stream that ended.
fn stopped(server: &Server, stream: StreamSid) -> Value {
    server.wait_for_line("WS_STOP", |line| line["stream_sid"] == stream.as_str())
}

/// The end of a socket that never presented a stream.
fn stopped_nameless(server: &Server, detail: &str) -> Value {
    server.wait_for_line("WS_STOP", |line| line["stream_sid"].is_null() && line["detail"] == detail)
}

#[test]
fn both_paths_upgrade_at_once_with_whatever_proxies_and_browsers_add() {
    beside_a_healthy_stream(async |server, healthy| {
        for path in [path::MEDIA.to_owned(), format!("{}/", path::MEDIA)] {
            for lines in [
                "Connection: Upgrade\r\n",
                "Connection: keep-alive, Upgrade\r\n",
                "connection: UPGRADE\r\n",
                "Connection: keep-alive\r\nConnection: upgrade\r\n",
                "Connection: Upgrade\r\nOrigin: https://elsewhere.example\r\n",
                "Connection: Upgrade\r\nSec-WebSocket-Protocol: audio.twilio.com, x\r\n",
                "Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
            ] {
                let mut client = server.connect().await;
                client.send(&callwarden_tests::websocket::handshake(&path, lines)).await.expect("open");
                let answer = client.answer().await.expect("an answer");
                let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(
                    (answer.status, names),
                    (101, vec!["upgrade", "connection", "sec-websocket-accept"]),
                    "{lines}"
                );
                assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
                Socket { raw: client }.close().await;
            }
        }
        healthy.beat().await;
    });
}

#[test]
fn a_start_in_pieces_with_the_handshake_is_whole() {
    beside_a_healthy_stream(async |server, healthy| {
        let token = announce(server, call(1)).await;
        let text = start(call(1), sid(1), &token).into_bytes();
        let (first, rest) = text.split_at(7);
        let (second, third) = rest.split_at(100);
        let mut raw = server.connect().await;
        let pieces =
            [frame(1, first), message(Opcode::Ping, b"between"), frame(0, second), frame(0x80, third)].concat();
        let handshake = callwarden_tests::websocket::handshake(path::MEDIA, "Connection: Upgrade\r\n");
        raw.send(&[handshake, pieces].concat()).await.expect("open");
        assert_eq!(raw.answer().await.expect("an answer").status, 101);
        let mut socket = Socket { raw };
        let pong = socket.next().await.expect("a pong");
        assert!(pong.is(Opcode::Pong) && pong.payload == b"between", "{pong:?}");
        server.wait_for_line("WS_START", |line| line["stream_sid"] == sid(1).as_str());
        socket.close().await;
        healthy.beat().await;
    });
}

#[test]
fn binary_and_unknown_messages_are_counted_and_survived() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = stream(server, call(1), sid(1)).await;
        for payload in [&b""[..], b"\x00\xff", "שלום".as_bytes()] {
            socket.raw.send(&message(Opcode::Binary, payload)).await.expect("open");
        }
        socket.text(r#"{"event":"אירוע","streamSid":7}"#).await.expect("open");
        socket.text(r#"{"event":"weather","streamSid":"MZ1","of":{"the":["day"]}}"#).await.expect("open");
        socket.text(&media(sid(1), 1)).await.expect("open");
        socket.close().await;
        let end = stopped(server, sid(1));
        assert_eq!((&end["frames"], &end["detail"]), (&1.into(), &"dropped=0 unreadable=5 out_of_order=0".into()));
        let bad = server.settled_lines("WS_BAD_JSON", |line| line["call_sid"] == call(1).as_str()).await;
        assert_eq!(bad.len(), 1, "{bad:?}");
        healthy.beat().await;
    });
}

#[test]
fn a_message_too_long_closes_with_1009_and_the_peer_learns_it() {
    beside_a_healthy_stream(async |server, healthy| {
        let long = vec![b'x'; limits::MESSAGE_BYTES_MAX + 1];
        let half = &long[..limits::MESSAGE_BYTES_MAX / 2 + 1];
        for bytes in [
            message(Opcode::Text, &long),
            message(Opcode::Text, &long.repeat(32)),
            [frame(1, half), frame(0x80, half)].concat(),
        ] {
            let mut socket = open(server).await;
            // The server need not read to the end of it.
            socket.raw.send(&bytes).await.ok();
            assert_eq!(socket.closed_with().await, Some(1009), "{} bytes", bytes.len());
            healthy.beat().await;
        }
        server
            .wait_for_line("WS_HANDLER_ERROR", |line| line["cause"].as_str().is_some_and(|text| text.contains("long")));
    });
}

#[test]
fn frames_that_break_the_protocol_close_with_its_code() {
    beside_a_healthy_stream(async |server, healthy| {
        let unmasked = b"\x81\x05hello";
        let too_long_ping = frame(0x89, &[b'x'; 126]);
        for (bytes, code) in [
            (unmasked.to_vec(), 1002),
            (frame(0xc1, b"compressed?"), 1002),
            (frame(0x83, b"reserved opcode"), 1002),
            (frame(0x80, b"a continuation of nothing"), 1002),
            (frame(0x09, b"a ping in pieces"), 1002),
            (too_long_ping, 1002),
            ([frame(1, b"one"), frame(0x81, b"and another within it")].concat(), 1002),
            (message(Opcode::Text, b"no UTF-8: \xff"), 1007),
        ] {
            // More of it lies unread behind the fault, as it does with a sender that has not noticed yet.
            let mut socket = open(server).await;
            let more = message(Opcode::Text, &[b'x'; 8 * 1024]).repeat(4);
            socket.raw.send(&[&bytes[..], &more].concat()).await.ok();
            assert_eq!(socket.closed_with().await, Some(code), "{}", String::from_utf8_lossy(&bytes));
        }
        healthy.beat().await;
        let lines = server.settled_lines("WS_HANDLER_ERROR", |line| line["level"] == "WARN").await;
        assert_eq!(lines.len(), 8, "{lines:?}");
    });
}

#[test]
fn a_peer_that_still_sends_is_told_and_not_reset() {
    beside_a_healthy_stream(async |server, healthy| {
        let more = message(Opcode::Text, &vec![b'x'; 16 * 1024]).repeat(64);
        for (bytes, code) in [
            (message(Opcode::Text, &vec![b'x'; 2 * 1024 * 1024]), 1009),
            ([&b"\x81\x05hello"[..], &more].concat(), 1002),
        ] {
            let mut socket = open(server).await;
            socket.raw.send(&bytes).await.expect("the server reads it away");
            assert_eq!(socket.closed_with().await, Some(code));
            socket.raw.half_close().expect("open");
            socket.raw.end().await.expect("an orderly end");
        }
        healthy.beat().await;
    });
}

#[test]
fn text_that_is_no_json_is_named_once_and_a_hundred_in_a_row_close_with_1007() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = stream(server, call(1), sid(1)).await;
        for number in 1..limits::BAD_MESSAGES_IN_A_ROW_MAX {
            socket.text("זה לא JSON").await.expect("open");
            // A good one in between begins the count anew.
            if number == 50 {
                socket.text(&media(sid(1), 1)).await.expect("open");
            }
        }
        socket.text(&media(sid(1), 2)).await.expect("open");
        for _ in 0..limits::BAD_MESSAGES_IN_A_ROW_MAX {
            socket.text("{").await.ok();
        }
        assert_eq!(socket.closed_with().await, Some(1007));
        let end = stopped(server, sid(1));
        assert_eq!(end["detail"], "dropped=0 unreadable=199 out_of_order=0", "{end}");
        let bad = server.settled_lines("WS_BAD_JSON", |line| line["call_sid"] == call(1).as_str()).await;
        assert_eq!(bad.len(), 1, "{bad:?}");
        healthy.beat().await;
    });
}

#[test]
fn media_before_start_and_of_a_foreign_stream_is_dropped_and_counted() {
    beside_a_healthy_stream(async |server, healthy| {
        let token = announce(server, call(1)).await;
        let mut socket = open(server).await;
        for chunk in 1..=3 {
            socket.text(&media(sid(1), chunk)).await.expect("open");
        }
        socket.text(&start(call(1), sid(1), &token)).await.expect("open");
        server.wait_for_line("WS_START", |line| line["stream_sid"] == sid(1).as_str());
        for (stream, chunk) in [(2, 1), (1, 1), (0xa11, 2), (1, 2), (1, 9)] {
            socket.text(&media(sid(stream), chunk)).await.expect("open");
        }
        socket.text(&stop(call(1), sid(2))).await.expect("open");
        socket.close().await;
        let end = stopped(server, sid(1));
        assert_eq!((&end["frames"], &end["detail"]), (&3.into(), &"dropped=6 unreadable=0 out_of_order=1".into()));
        healthy.beat().await;
    });
}

#[test]
fn a_second_start_of_the_same_stream_is_ignored_and_of_another_closes_with_1002() {
    beside_a_healthy_stream(async |server, healthy| {
        let token = announce(server, call(1)).await;
        let mut socket = open(server).await;
        for _ in 0..3 {
            socket.text(&start(call(1), sid(1), &token)).await.expect("open");
        }
        socket.text(&media(sid(1), 1)).await.expect("open");
        server.wait_for_line("WS_FRAME", |line| line["stream_sid"] == sid(1).as_str());
        socket.text(&start(call(1), sid(2), &token)).await.expect("open");
        assert_eq!(socket.closed_with().await, Some(1002));
        server.wait_for_line("WS_REJECTED", |line| {
            line["reason"] == "second_start" && line["call_sid"] == call(1).as_str()
        });
        assert_eq!(stopped(server, sid(1))["frames"], 1);
        assert_eq!(server.settled_lines("WS_START", |line| line["call_sid"] == call(1).as_str()).await.len(), 1);
        healthy.beat().await;
    });
}

#[test]
fn a_forged_token_is_refused_with_1008_and_the_call_keeps_its_watch() {
    beside_a_healthy_stream(async |server, healthy| {
        let (token, of_another) = (announce(server, call(1)).await, announce(server, call(2)).await);
        let (signed, mac) = token.rsplit_once('.').expect("a MAC");
        let forged = format!("{signed}.{}{}", if mac.starts_with('A') { 'B' } else { 'A' }, &mac[1..]);
        let good = start(call(1), sid(1), &token);
        for (text, reason) in [
            (start(call(1), sid(1), &forged), "wrong_token"),
            (start(call(1), sid(1), &of_another), "wrong_token"),
            (start(call(1), sid(1), "preview"), "malformed_token"),
            (start(call(1), sid(1), "אסימון"), "malformed_token"),
            (good.replace(&format!(r#","token":"{token}""#), ""), "no_token"),
            (
                good.replace(&format!(r#""call_sid":"{}""#, call(1)), &format!(r#""call_sid":"{}""#, call(2))),
                "foreign_call",
            ),
            (good.replace(call(1).as_str(), "CAnot-a-sid"), "start_without_valid_sids"),
            (good.replacen(sid(1).as_str(), sid(2).as_str(), 1), "start_without_valid_sids"),
        ] {
            let mut socket = open(server).await;
            socket.text(&text).await.expect("open");
            assert_eq!(socket.closed_with().await, Some(1008), "{reason}");
            server.wait_for_line("WS_REJECTED", |line| line["reason"] == reason);
        }
        let refused = server.settled_lines("WS_REJECTED", |line| line["level"] == "WARN").await;
        assert_eq!(refused.len(), 8, "{refused:?}");
        // None of that used the call up.
        let mut socket = open(server).await;
        socket.text(&good).await.expect("open");
        server.wait_for_line("WS_START", |line| line["call_sid"] == call(1).as_str());
        socket.close().await;
        healthy.beat().await;
    });
}

#[test]
fn a_replayed_token_does_not_displace_a_stream_that_is_heard() {
    beside_a_healthy_stream(async |server, healthy| {
        let token = announce(server, call(0xa11)).await;
        for stream in [0xa11, 1] {
            let mut socket = open(server).await;
            socket.text(&start(call(0xa11), sid(stream), &token)).await.expect("open");
            assert_eq!(socket.closed_with().await, Some(1008));
        }
        server.wait_for_line("WS_REJECTED", |line| line["reason"] == "stream_is_live");
        healthy.beat().await;
    });
}

#[test]
fn a_socket_that_says_nothing_of_a_stream_ends_without_harm() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = open(server).await;
        socket.text(r#"{"event":"connected"}"#).await.expect("open");
        socket.text(&stop(call(1), sid(1))).await.expect("open");
        socket.close().await;
        stopped_nameless(server, "dropped=1 unreadable=0 out_of_order=0");
        healthy.beat().await;
    });
}

#[test]
fn json_that_is_odd_or_bottomless_is_survived() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = stream(server, call(1), sid(1)).await;
        // The last three are frames of sound, with a number or a payload that says nothing.
        let (deep, wide) = ("[".repeat(30_000), vec!["0"; 30_000].join(","));
        for text in [
            deep.clone(),
            format!(r#"{{"event":"x","of":{deep}"#),
            format!(r#"{{"event":"x","of":{deep}{}}}"#, "]".repeat(30_000)),
            format!(r#"{{"event":"x","of":[{wide}]}}"#),
            format!(r#"{{"event":"{}"}}"#, "x".repeat(60_000)),
            r#"{"event":"media","media":{"payload":"\ud800"}}"#.to_owned(),
            "\u{feff}{\"event\":\"connected\"}".to_owned(),
            r#"{"event":"connected","event":"stop"}"#.to_owned(),
            r#"{"event":"mark"}"#.to_owned(),
            media(sid(1), 1).replace("\"1\"", "1e400"),
            media(sid(1), 1).replace("\"1\"", "[]"),
            media(sid(1), 1).replace("\"1\"", "18446744073709551616"),
            media(sid(1), 1).replace("/w==", "זה לא base64"),
        ] {
            socket.text(&text).await.expect("open");
            socket.raw.send(&message(Opcode::Ping, b"taken in?")).await.expect("open");
            while !socket.next().await.expect("open").is(Opcode::Pong) {}
        }
        socket.text(&media(sid(1), 2)).await.expect("open");
        socket.close().await;
        let end = stopped(server, sid(1));
        assert_eq!(
            (&end["frames"], &end["detail"]),
            (&4.into(), &"dropped=0 unreadable=10 out_of_order=0".into()),
            "{end}"
        );
        healthy.beat().await;
    });
}
