//! Media streams that send too much, or leave without a word.

use super::{beside_a_healthy_stream, page, until_ready_is};
use callwarden_core::path;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_tests::caller::{media, stream};
use callwarden_tests::http::until;
use callwarden_tests::websocket::{Opcode, Socket, message};
use std::process::Command;

/// A thousand seconds of a call in as many as it takes.
const MESSAGES: u64 = 50_000;
/// So many of them are one write.
const PER_WRITE: u64 = 500;

fn call(number: u128) -> CallSid {
    CallSid::from_number(number)
}

fn sid(number: u128) -> StreamSid {
    StreamSid::from_number(number)
}

#[test]
fn a_flood_of_frames_is_counted_to_the_last() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = stream(server, call(1), sid(1)).await;
        for first in (1..=MESSAGES).step_by(PER_WRITE as usize) {
            let frames = (first..first + PER_WRITE).map(|chunk| message(Opcode::Text, media(sid(1), chunk).as_bytes()));
            socket.raw.send(&frames.collect::<Vec<_>>().concat()).await.expect("open");
            if first % 10_000 == 1 {
                healthy.beat().await;
            }
        }
        socket.close().await;
        let end = server.wait_for_line("WS_STOP", |line| line["stream_sid"] == sid(1).as_str());
        assert_eq!(
            (&end["frames"], &end["detail"]),
            (&MESSAGES.into(), &"dropped=0 unreadable=0 out_of_order=0".into())
        );
    });
}

#[test]
fn a_flood_before_any_start_is_dropped_and_costs_no_lines() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = Socket::open(server.connect().await, path::MEDIA).await;
        let frames = message(Opcode::Text, media(sid(1), 1).as_bytes()).repeat(PER_WRITE as usize);
        for _ in 0..MESSAGES / PER_WRITE {
            socket.raw.send(&frames).await.expect("open");
        }
        socket.close().await;
        let detail = format!("dropped={MESSAGES} unreadable=0 out_of_order=0");
        let end = server.wait_for_line("WS_STOP", |line| line["detail"] == detail.as_str());
        let lines = server.settled_lines("WS_FRAME", |line| line["connection"] == end["connection"]).await;
        assert!(lines.is_empty(), "{lines:?}");
        healthy.beat().await;
    });
}

#[test]
fn a_flood_of_pings_is_answered_and_the_last_one_surely() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = stream(server, call(1), sid(1)).await;
        for number in 1_u32..=100 {
            let pings = message(Opcode::Ping, &number.to_be_bytes()).repeat(100);
            socket.raw.send(&pings).await.expect("open");
            // RFC 6455, 5.5.3: where several pings came, the answer to the last is enough.
            loop {
                let pong = socket.next().await.expect("open");
                assert!(pong.is(Opcode::Pong), "{pong:?}");
                if pong.payload == number.to_be_bytes() {
                    break;
                }
            }
        }
        socket.close().await;
        healthy.beat().await;
    });
}

#[test]
fn a_peer_that_floods_with_pings_and_reads_nothing_harms_only_itself() {
    beside_a_healthy_stream(async |server, healthy| {
        let mut socket = stream(server, call(1), sid(1)).await;
        let pings = message(Opcode::Ping, &[b'x'; 125]).repeat(PER_WRITE as usize);
        // The answers are several times what the buffers of a connection hold.
        for _ in 0..200 {
            socket.raw.send(&pings).await.expect("open");
        }
        healthy.beat().await;
        drop(socket);
        server.wait_for_line("WS_STOP", |line| line["stream_sid"] == sid(1).as_str());
    });
}

#[test]
fn streams_that_leave_without_a_word_are_noticed() {
    beside_a_healthy_stream(async |server, healthy| {
        // Unread bytes turn a close into a reset.
        let mut reset = stream(server, call(1), sid(1)).await;
        reset.text(&media(sid(1), 1)).await.expect("open");
        reset.raw.peek(1).await.expect("a mark");
        let unread = stream(server, call(2), sid(2)).await;
        drop((reset, unread));
        let mut half_open = stream(server, call(3), sid(3)).await;
        half_open.raw.half_close().expect("open");
        assert_eq!(half_open.raw.rest().await.first().copied(), None);
        let mut within_a_frame = stream(server, call(4), sid(4)).await;
        within_a_frame.raw.send(&message(Opcode::Text, media(sid(4), 1).as_bytes())[..50]).await.expect("open");
        drop(within_a_frame);
        for number in 1..=4 {
            let end = server.wait_for_line("WS_STOP", |line| line["stream_sid"] == sid(number).as_str());
            assert!(end["reason"].as_str().is_some_and(|reason| reason.starts_with("lost: ")), "{end}");
            server.wait_for_line("WS_HANDLER_ERROR", |line| line["stream_sid"] == sid(number).as_str());
        }
        healthy.beat().await;
    });
}

#[test]
fn descriptors_come_back_after_a_storm_of_connections() {
    beside_a_healthy_stream(async |server, healthy| {
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.id())).expect("a process").count();
        // Connections that are being closed and the database's files come and go.
        let (before, margin) = (descriptors(), 10);
        let mut storm = Vec::new();
        for number in 0..300 {
            let mut client = server.connect().await;
            match number % 3 {
                0 => storm.push(Socket::open(client, path::MEDIA).await.raw),
                1 => {
                    client.send(b"POST /webhook/incoming_call HTTP/1.1\r\nHost").await.expect("open");
                    storm.push(client);
                }
                _ => storm.push(client),
            }
        }
        until("all to be accepted", || descriptors() >= before + 300 - margin).await;
        healthy.beat().await;
        drop(storm);
        until("the descriptors to come back", || descriptors() <= before + margin).await;
    });
}

#[test]
fn a_process_without_descriptors_goes_on_and_accepts_again() {
    beside_a_healthy_stream(async |server, healthy| {
        until_ready_is(server, 200).await;
        let id = server.id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &id, "--nofile=64:64"]).status();
        assert!(limited.expect("prlimit runs").success());
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(server.connect().await);
        }
        server.wait_for_line("BAD_REQUEST", |line| line["reason"] == "accept_failed" && line["level"] == "ERROR");
        healthy.beat().await;
        drop(crowd);
        assert_eq!(page(server, path::HEALTHZ).await.status, 200);
    });
}
