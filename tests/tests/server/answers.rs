//! What a server does beyond single requests: deadlines, limits, faults of the service, stopping.

use super::test_server::{BIG_BYTES, ECHO_CHARS, TestServer};
use super::under_test::{ServerLimits, run};
use callwarden_tests::http::{PATIENCE, RawClient, soon, until};
use std::time::Duration;

const GET: &[u8] = b"GET /1 HTTP/1.1\r\nHost: x.test\r\n\r\n";
const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nHost: x.test\r\n\r\n";
const WEBSOCKET: &[u8] = b"GET /ws HTTP/1.1\r\nHost: x.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A deadline that shall be reached.
const SHORT: Duration = Duration::from_millis(150);

async fn ask(client: &mut RawClient, request: &[u8]) -> u16 {
    client.send(request).await.expect("an open connection");
    client.answer().await.expect("an answer").status
}

#[test]
fn an_answer_says_what_it_is_once() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits::default()).await;
        let mut client = server.connect().await;
        client.send(b"\n").await.expect("open");
        assert_eq!(client.answer().await.expect("an answer").header("connection"), Some("close"));
        let mut client = server.connect().await;
        client
            .send(
                b"POST /1?x=%2F' HTTP/1.1\r\nHost: x.test\r\nContent-Length: 8\r\n\r\n\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
            )
            .await
            .expect("open");
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.body, "Post /1?x=%2F' שלום\n".as_bytes());
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!((answer.header("connection"), answer.header("transfer-encoding")), (None, None));
        let length = answer.body.len().to_string();
        client
            .send(
                b"HEAD /1?x=%2F' HTTP/1.1\r\nHost: x.test\r\nContent-Length: 8\r\n\r\n\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
            )
            .await
            .expect("open");
        let head = client.answer().await.expect("an answer");
        assert_eq!((head.header("content-length"), head.body.len()), (Some(length.as_str()), 0));
    });
}

#[test]
fn a_handshake_is_answered_by_three_lines_and_nothing_else() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits::default()).await;
        let mut client = server.connect().await;
        client.send(WEBSOCKET).await.expect("open");
        let answer = client.answer().await.expect("an answer");
        let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((answer.status, names), (101, vec!["upgrade", "connection", "sec-websocket-accept"]));
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    });
}

#[test]
fn a_message_longer_than_the_limit_ends_its_socket() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits::default()).await;
        for (bytes, is_echoed) in [(64 * 1024_u64, true), (64 * 1024 + 1, false)] {
            let mut client = server.connect().await;
            assert_eq!(ask(&mut client, WEBSOCKET).await, 101);
            let head = [&b"\x81\xff"[..], &bytes.to_be_bytes(), &[0; 4]].concat();
            client.send(&[&head[..], &vec![b'a'; 64 * 1024 + 1][..bytes as usize]].concat()).await.ok();
            if is_echoed {
                client.expect(&[&b"\x81\x64"[..], &[b'a'; ECHO_CHARS]].concat()).await;
            } else {
                assert!(!client.rest().await.starts_with(b"\x81"));
            }
        }
        until("both sockets to end", || server.connections.open() == 0).await;
    });
}

#[test]
fn a_fault_of_the_service_closes_its_own_connection_only() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits::default()).await;
        let mut bystander = server.connect().await;
        assert_eq!(ask(&mut bystander, GET).await, 200);
        for (path, notice) in [("/panic", "Panicked"), ("/broken", "Unwritable"), ("/close", "")] {
            let mut client = server.connect().await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: x.test\r\n\r\n").as_bytes()).await.expect("open");
            assert_eq!(client.answer().await, None, "{path}");
            assert!(server.notices().last().is_none_or(|last| last.starts_with(notice)), "{path}");
        }
        assert_eq!(server.notices().len(), 2);
        assert_eq!(ask(&mut bystander, GET).await, 200);
    });
}

#[test]
fn a_panic_of_a_socket_ends_that_socket_and_gives_its_room_back() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits { connections: 1, ..ServerLimits::default() }).await;
        for _ in 0..2 {
            let mut client = server.connect().await;
            let asked = String::from_utf8_lossy(WEBSOCKET).replace("/ws", "/ws-panic");
            assert_eq!(ask(&mut client, asked.as_bytes()).await, 101);
            assert_eq!(client.rest().await, b"");
            until("the socket to leave", || server.connections.open() == 0).await;
        }
    });
}

#[test]
fn a_refused_request_is_noticed_with_its_rule() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits::default()).await;
        assert_eq!(ask(&mut server.connect().await, b"GET / HTTP/1.1\r\n\r\n").await, 400);
        assert_eq!(server.notices(), ["Refused { peer: 127.0.0.1, refusal: Host }"]);
    });
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    run(|executor| async move {
        let limits = ServerLimits { write_time: SHORT, ..ServerLimits::default() };
        let server = TestServer::start(&executor, limits).await;
        let mut client = server.connect().await;
        client.send(b"GET /big HTTP/1.1\r\nHost: x.test\r\n\r\n").await.expect("open");
        client.expect(b"HTTP/1.1 200 OK\r\n").await;
        until("the slow reader to be cut", || server.connections.open() == 0).await;
        assert!(client.rest().await.len() < BIG_BYTES);
    });
}

#[test]
fn a_long_answer_arrives_whole() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits::default()).await;
        let mut client = server.connect().await;
        client.send(b"GET /big HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n").await.expect("open");
        let answer = client.answer().await.expect("an answer");
        assert!(answer.body.len() == BIG_BYTES && answer.body.iter().all(|byte| *byte == b'z'));
        assert_eq!(client.rest().await, b"");
    });
}

#[test]
fn half_a_request_is_told_that_it_is_late_and_none_is_closed_silently() {
    run(|executor| async move {
        let limits = ServerLimits { head_time: SHORT, body_time: SHORT, idle_time: SHORT, ..ServerLimits::default() };
        let server = TestServer::start(&executor, limits).await;
        for (half, status) in [
            (&b""[..], None),
            (b"\r\n", None),
            (b"\r", Some(408)),
            (b"GET /1 HTTP/1.1\r\nHost: x.test\r\n\r", Some(408)),
            (b"POST /1 HTTP/1.1\r\nHost: x.test\r\nContent-Length: 3\r\n\r\nab", Some(408)),
            (b"POST /1 HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", Some(408)),
        ] {
            let mut client = server.connect().await;
            client.send(half).await.expect("open");
            assert_eq!(client.answer().await.map(|answer| answer.status), status, "{half:?}");
            assert_eq!(client.rest().await, b"");
        }
        until("every connection to end", || server.connections.open() == 0).await;
        assert_eq!(server.notices().iter().filter(|notice| notice.contains("Late")).count(), 4);
    });
}

#[test]
fn what_a_refused_client_still_sends_is_read_away() {
    run(|executor| async move {
        let server =
            TestServer::start(&executor, ServerLimits { linger_time: PATIENCE, ..ServerLimits::default() }).await;
        let mut client = server.connect().await;
        client.send(b"POST /1 HTTP/1.1\r\nHost: x.test\r\nContent-Length: 16000000\r\n\r\n").await.expect("open");
        client.send(&vec![b'z'; 16_000_000]).await.expect("read away");
        assert_eq!(client.answer().await.expect("an answer").status, 413);
        assert_eq!(client.rest().await, b"");
        drop(client);
        until("the connection to end", || server.connections.open() == 0).await;
    });
}

#[test]
fn a_client_that_never_stops_sending_cannot_hold_a_connection_that_is_over() {
    run(|executor| async move {
        let limits = ServerLimits { linger_time: SHORT, ..ServerLimits::default() };
        let server = TestServer::start(&executor, limits).await;
        let mut client = server.connect().await;
        assert_eq!(ask(&mut client, b"\n").await, 400);
        soon("the server to give up", async { while client.send(&[b'x'; 64 * 1024]).await.is_ok() {} }).await;
        until("the connection to end", || server.connections.open() == 0).await;
    });
}

#[test]
fn empty_lines_do_not_keep_a_connection_alive() {
    run(|executor| async move {
        let limits = ServerLimits { linger_time: SHORT, ..ServerLimits::default() };
        let server = TestServer::start(&executor, limits).await;
        let mut client = server.connect().await;
        soon("the server to give up", async { while client.send(&b"\r\n".repeat(1_000)).await.is_ok() {} }).await;
    });
}

#[test]
fn connections_above_the_limit_are_closed_at_once_and_room_is_given_back() {
    run(|executor| async move {
        let limits = ServerLimits { connections: 2, ..ServerLimits::default() };
        let server = TestServer::start(&executor, limits).await;
        let (mut first, mut second) = (server.connect().await, server.connect().await);
        assert_eq!((ask(&mut first, GET).await, ask(&mut second, WEBSOCKET).await), (200, 101));
        assert_eq!(server.connect().await.rest().await, b"");
        assert_eq!(server.notices(), ["Full { peer: 127.0.0.1 }"]);
        drop(second);
        until("the socket to leave", || server.connections.open() == 1).await;
        assert_eq!(ask(&mut server.connect().await, GET).await, 200);
        assert_eq!(ask(&mut first, GET).await, 200);
    });
}

#[test]
fn a_stopped_server_answers_what_it_has_begun_and_closes_the_rest() {
    run(|executor| async move {
        let server = TestServer::start(&executor, ServerLimits::default()).await;
        let (mut idle, mut waiting, mut socket) =
            (server.connect().await, server.connect().await, server.connect().await);
        assert_eq!((ask(&mut idle, GET).await, ask(&mut socket, WEBSOCKET).await), (200, 101));
        waiting.send(WAIT).await.expect("open");
        until("the request to reach the service", || server.release.receiver_count() == 2).await;
        let TestServer { stopper, serving, release, address, .. } = server;
        drop(stopper);
        assert_eq!(idle.rest().await, b"");
        assert!(!serving.is_finished());
        release.send(()).await.expect("the service waits");
        let answer = waiting.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(waiting.rest().await, b"");
        drop(waiting);
        soon("the server to stop", serving).await;
        assert!(smol::net::TcpStream::connect(address).await.is_err());
        socket.send(b"\x81\x82\0\0\0\0hi").await.expect("a socket is not the server's to close");
        socket.expect(b"\x81\x02hi").await;
    });
}
