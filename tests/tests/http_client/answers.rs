//! What a request looks like on the wire, and what is made of answers that are odd, cut, late or lies.

use super::server::{SHORT, Server, ambiguous, answered};
use super::under_test::{CUT_BEFORE_HEAD, CUT_IN_HEAD, Client, ClientSettings, REUSED, run};
use bytes::Bytes;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::limits::RESPONSE_HEAD_BYTES_MAX;
use callwarden_core::secret::Secret;
use core::time::Duration;
use smol::future::zip;
use smol::io::{AsyncReadExt, AsyncWriteExt};

/// The same, but the server closes after its answer; `politely` means with TLS's own goodbye.
async fn answered_and_closed(server: &Server, answer: &str, politely: bool) -> Result<FetchResponse, FetchError> {
    let client = server.client();
    let far_end = async {
        let mut peer = server.accept().await;
        peer.request().await;
        peer.send(answer).await;
        if politely {
            peer.0.close().await.unwrap();
        }
    };
    zip(client.fetch(server.get()), far_end).await.0
}

#[test]
fn a_request_arrives_as_it_was_made() {
    run(async {
        for server in Server::both().await {
            let request = FetchRequest {
                method: Method::Post,
                url: server.url("/2010-04-01/Calls.json?a=b"),
                headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
                authorization: Some(Secret::new("Basic QUM6dG9rZW4=")),
                body: Bytes::from_static("Twiml=שלום".as_bytes()),
                ..server.get()
            };
            let client = server.client();
            let far_end = async {
                let mut peer = server.accept().await;
                let text = peer.request().await;
                peer.send("HTTP/1.1 201 Created\r\ncontent-length: 4\r\nX-Id: 7\r\n\r\nטו").await;
                text
            };
            let (response, text) = zip(client.fetch(request), far_end).await;
            let response = response.unwrap();
            assert_eq!((response.status, response.body.as_ref()), (201, "טו".as_bytes()));
            assert_eq!(response.headers.get("x-id"), Some("7"));

            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, "Twiml=שלום");
            let address = server.listener.local_addr().unwrap();
            let version = env!("CARGO_PKG_VERSION");
            let mut lines: Vec<&str> = head.lines().collect();
            lines[1..].sort_unstable();
            assert_eq!(
                lines,
                [
                    "POST /2010-04-01/Calls.json?a=b HTTP/1.1",
                    "accept-encoding: identity",
                    "accept: */*",
                    "authorization: Basic QUM6dG9rZW4=",
                    "content-length: 14",
                    "content-type: application/x-www-form-urlencoded",
                    &format!("host: {address}"),
                    &format!("user-agent: callwarden/{version}"),
                ]
            );
        }
    });
}

#[test]
fn a_body_without_a_content_type_gets_none() {
    run(async {
        let server = Server::plain().await;
        let request = FetchRequest { method: Method::Post, body: Bytes::from_static(b"x"), ..server.get() };
        let client = server.client();
        let far_end = async {
            let mut peer = server.accept().await;
            let text = peer.request().await;
            peer.send("HTTP/1.1 204 x\r\n\r\n").await;
            text
        };
        let (response, text) = zip(client.fetch(request), far_end).await;
        assert_eq!(response.unwrap().status, 204);
        assert!(text.contains("content-length: 1\r\n") && !text.contains("content-type"), "{text}");
    });
}

#[test]
fn answers_of_every_framing_come_over_one_connection() {
    let answers: &[(&[&str], u16, &str)] = &[
        (&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain"], 200, "plain"),
        (&["HTTP/1.1 200 OK\r\ncontent-", "length: 8\r\n\r", "\nin ", "parts"], 200, "in parts"),
        (&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"], 200, "abcde"),
        (
            &[
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "3",
                "\r\na",
                "bc\r",
                "\n0\r\n",
                "x: y\r\n\r",
                "\n",
            ],
            200,
            "abc",
        ),
        (&["HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", "HTTP/1.1 404 x\r\ncontent-length: 2\r\n\r\nno"], 404, "no"),
        (&["HTTP/1.1 204 No Content\r\n\r\n"], 204, ""),
        (&["HTTP/1.1 520 Origin Error\r\nx-name: שלום\r\ncontent-length: 0\r\n\r\n"], 520, ""),
        (&["HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"], 302, ""),
    ];
    run(async {
        for server in Server::both().await {
            let client = server.client();
            let near_end = async {
                for (sent, status, body) in answers {
                    let response = client.fetch(server.get()).await.unwrap();
                    assert_eq!((response.status, response.body.as_ref()), (*status, body.as_bytes()), "{sent:?}");
                    if *status == 520 {
                        assert_eq!(response.headers.get("x-name"), Some("שלום"));
                    }
                }
            };
            let pieces = answers.iter().map(|(pieces, ..)| *pieces);
            let ((), connections) = zip(near_end, server.answer_in_turn(pieces)).await;
            assert!(REUSED.contains(&connections), "{connections} connections");
        }
    });
}

#[test]
fn head_is_answered_without_a_body_whatever_length_it_declares() {
    run(async {
        let server = Server::plain().await;
        let request = FetchRequest { method: Method::Head, ..server.get() };
        let response = answered(&server, request, &["HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"]).await.unwrap();
        assert_eq!((response.status, response.body.len()), (200, 0));
        assert_eq!(response.headers.get("content-length"), Some("5000"));
    });
}

#[test]
fn an_answer_that_cannot_be_trusted_is_ambiguous() {
    let too_long = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n65\r\n{}", "x".repeat(101));
    let long_head =
        format!("HTTP/1.1 200 OK\r\nx-name: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(RESPONSE_HEAD_BYTES_MAX));
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "contradictory"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "contradictory"),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok", "neither content-length nor chunked"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n", "too long"),
        (too_long.as_str(), "too long"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "chunked coding is wrong"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP/1"),
        ("HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n", "not HTTP/1"),
        (long_head.as_str(), "the head of the answer is too long"),
    ];
    run(async {
        for (sent, expected) in cases {
            let server = Server::plain().await;
            let cause = ambiguous(answered(&server, server.get(), &[sent]).await);
            assert!(cause.contains(expected), "{sent:?}: {cause}");
        }
    });
}

#[test]
fn a_cut_answer_is_never_taken_for_a_whole_one() {
    let cases = [
        ("", CUT_BEFORE_HEAD),
        ("HTTP/1.1 200 OK\r\nconte", CUT_IN_HEAD),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour", "in the body"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfour", "in the body"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n", "in the body"),
    ];
    run(async {
        for (sent, expected) in cases {
            for server in Server::both().await {
                for politely in [true, false] {
                    let cause = ambiguous(answered_and_closed(&server, sent, politely).await);
                    assert!(cause.contains(expected), "{sent:?}: {cause}");
                }
            }
        }
    });
}

#[test]
fn a_server_that_stalls_is_given_up_and_the_connection_closed() {
    let cases = [
        ("", "sent no answer within"),
        ("HTTP/1.1 200 OK\r\n", "sent no answer within"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "sent no answer within"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour", "sent no more of the body within"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n", "sent no more of the body within"),
    ];
    run(async {
        for (sent, expected) in cases {
            for server in Server::both().await {
                let client = Client::new(ClientSettings { head_time: SHORT, stall_time: SHORT, ..server.settings() });
                let far_end = async {
                    let mut peer = server.accept().await;
                    peer.request().await;
                    peer.send(sent).await;
                    peer.closed().await;
                };
                let (result, ()) = zip(client.fetch(server.get()), far_end).await;
                let cause = ambiguous(result);
                assert!(cause.contains(expected), "{sent:?}: {cause}");
            }
        }
    });
}

#[test]
fn a_body_that_drips_for_ever_ends_with_the_request_s_own_timeout() {
    run(async {
        let server = Server::plain().await;
        let client = server.client();
        let request = FetchRequest { timeout: 2 * SHORT, response_bytes_max: usize::MAX, ..server.get() };
        let far_end = async {
            let mut peer = server.accept().await;
            peer.request().await;
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while peer.0.write_all(b"1\r\nx\r\n").await.is_ok() {
                smol::Timer::after(Duration::from_millis(5)).await;
            }
        };
        let (result, ()) = zip(client.fetch(request), far_end).await;
        assert!(ambiguous(result).contains("in the time the request had"));
    });
}

#[test]
fn a_mute_server_ends_with_the_request_s_own_timeout() {
    run(async {
        for sent in ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour"] {
            let server = Server::plain().await;
            let request = FetchRequest { timeout: 2 * SHORT, ..server.get() };
            let cause = ambiguous(answered(&server, request, &[sent]).await);
            assert!(cause.contains("in the time the request had"), "{cause}");
        }
    });
}

#[test]
fn a_slow_body_may_take_longer_than_a_stall() {
    run(async {
        let server = Server::plain().await;
        let stall_time = Duration::from_secs(1);
        let client = Client::new(ClientSettings { stall_time, ..server.settings() });
        let far_end = async {
            let mut peer = server.accept().await;
            peer.request().await;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n").await;
            for _ in 0..11 {
                smol::Timer::after(stall_time / 10).await;
                peer.send("x").await;
            }
        };
        let (result, ()) = zip(client.fetch(server.get()), far_end).await;
        assert_eq!(result.unwrap().body.as_ref(), &[b'x'; 11]);
    });
}

#[test]
fn a_server_that_takes_no_request_is_given_up_and_one_that_answers_early_is_heard() {
    run(async {
        let body = Bytes::from(vec![b'x'; 32 * 1024 * 1024]);
        for server in Server::both().await {
            let upload = FetchRequest { method: Method::Post, body: body.clone(), ..server.get() };
            let client = Client::new(ClientSettings { stall_time: 2 * SHORT, ..server.settings() });
            let far_end = async { server.accept().await };
            let (result, _peer) = zip(client.fetch(upload.clone()), far_end).await;
            let cause = ambiguous(result);
            assert!(cause.contains("took no more of the request"), "{cause}");

            let far_end = async {
                let mut peer = server.accept().await;
                peer.0.read_exact(&mut [0; 16]).await.unwrap();
                peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig").await;
                peer
            };
            let (result, mut peer) = zip(client.fetch(upload), far_end).await;
            let response = result.unwrap();
            assert_eq!((response.status, response.body.as_ref()), (413, &b"big"[..]));
            peer.closed().await;
        }
    });
}
