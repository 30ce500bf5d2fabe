//! Which connection a request goes over, and what failures before its first byte are called.

use super::server::{PATIENCE, SHORT, Server, ambiguous, answered, not_sent};
use super::under_test::{CUT_BEFORE_HEAD, Client, ClientSettings, FOREIGN_THREADS, MUTE_HANDSHAKE, REUSED, run};
use callwarden_core::fetch::FetchRequest;
use callwarden_core::http::Method;
use callwarden_core::secret::Secret;
use core::time::Duration;
use smol::future::zip;
use std::time::Instant;

#[test]
fn an_idle_connection_that_the_server_closed_is_replaced_before_anything_is_sent() {
    run(async {
        for server in Server::both().await {
            let client = server.client();
            for _ in 0..3 {
                let far_end = async {
                    let mut peer = server.accept().await;
                    peer.request().await;
                    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                };
                let (result, ()) = zip(client.fetch(server.get()), far_end).await;
                assert_eq!(result.unwrap().status, 200);
            }
        }
    });
}

#[test]
fn a_connection_past_its_idle_time_or_marked_close_is_not_used_again() {
    run(async {
        let server = Server::plain().await;
        let impatient = Client::new(ClientSettings { idle_time: Duration::ZERO, ..server.settings() });
        for (client, lines) in [(impatient, ""), (server.client(), "connection: close\r\n")] {
            let mut peers = Vec::new();
            for _ in 0..2 {
                let far_end = async {
                    let mut peer = server.accept().await;
                    peer.request().await;
                    peer.send(&format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok")).await;
                    peer
                };
                let (result, peer) = zip(client.fetch(server.get()), far_end).await;
                assert_eq!(result.unwrap().status, 200);
                peers.push(peer);
            }
        }
    });
}

#[test]
fn a_request_that_met_a_close_after_it_was_written_is_not_repeated_and_the_error_keeps_its_secrets() {
    run(async {
        for server in Server::both().await {
            let client = server.client();
            let request = FetchRequest {
                method: Method::Post,
                url: server.url("/private-path?private-query"),
                authorization: Some(Secret::new("Basic private-token")),
                ..server.get()
            };
            let far_end = async {
                let mut peer = server.accept().await;
                peer.request().await;
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                peer.request().await;
            };
            let near_end = async {
                assert_eq!(client.fetch(request.clone()).await.unwrap().status, 200);
                client.fetch(request.clone()).await
            };
            let (result, ()) = zip(near_end, far_end).await;
            let cause = ambiguous(result);
            assert!(cause.contains(CUT_BEFORE_HEAD) && !cause.contains("private"), "{cause}");
            assert!(!server.was_asked_again().await);
        }
    });
}

#[test]
fn requests_at_the_same_time_have_a_connection_each_and_both_are_kept() {
    run(async {
        let server = Server::tls("127.0.0.1").await;
        let client = server.client();
        let near_end = async {
            for _ in 0..2 {
                let (one, two) = zip(client.fetch(server.get()), client.fetch(server.get())).await;
                assert_eq!((one.unwrap().status, two.unwrap().status), (200, 200));
            }
        };
        let far_end = async {
            let (mut one, mut two) = (server.accept().await, server.accept().await);
            for _ in 0..2 {
                zip(one.request(), two.request()).await;
                one.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                two.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
            (one, two)
        };
        zip(near_end, far_end).await;
        if REUSED.end() == &1 {
            assert!(!server.was_asked_again().await);
        }
    });
}

#[test]
fn a_certificate_from_an_unknown_root_or_for_another_name_means_not_sent() {
    run(async {
        for (name, trusted, expected) in [("127.0.0.1", false, "UnknownIssuer"), ("other.test", true, "not valid for")]
        {
            let server = Server::tls(name).await;
            let mut settings = server.settings();
            settings.extra_roots.truncate(usize::from(trusted));
            let client = Client::new(settings);
            let far_end = async {
                let tcp = server.accept_tcp().await;
                server.tls.as_ref().unwrap().accept(tcp).await.is_err()
            };
            let (result, refused) = zip(client.fetch(server.get()), far_end).await;
            let cause = not_sent(result);
            assert!(refused && cause.contains(expected), "{cause}");
        }
    });
}

#[test]
fn a_refused_connection_an_unknown_host_and_a_mute_handshake_mean_not_sent() {
    run(async {
        let gone = Server::plain().await;
        let request = gone.get();
        let client = gone.client();
        drop(gone);
        let cause = not_sent(client.fetch(request.clone()).await);
        assert!(cause.contains("connect to 127.0.0.1:") && cause.contains("refused"), "{cause}");

        let unknown = FetchRequest { url: "https://host.invalid/".to_owned(), ..request };
        let hasty = Client::new(ClientSettings { connect_time: 10 * SHORT, ..ClientSettings::default() });
        let cause = not_sent(hasty.fetch(unknown).await);
        assert!(cause.contains("no address for host.invalid"), "{cause}");

        let mute = Server::tls("127.0.0.1").await;
        let client = Client::new(ClientSettings { connect_time: SHORT, ..mute.settings() });
        let (result, _tcp) = zip(client.fetch(mute.get()), mute.accept_tcp()).await;
        let cause = not_sent(result);
        assert!(cause.contains(MUTE_HANDSHAKE) && cause.contains("not done in time"), "{cause}");

        let request = FetchRequest { timeout: SHORT, ..mute.get() };
        let client = mute.client();
        let start = Instant::now();
        let (result, _tcp) = zip(client.fetch(request), mute.accept_tcp()).await;
        assert!(not_sent(result).contains("not done in time") && start.elapsed() < PATIENCE);
    });
}

#[test]
fn no_thread_of_another_runtime_starts() {
    run(async {
        let server = Server::tls("127.0.0.1").await;
        let response = answered(&server, server.get(), &["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await;
        assert_eq!(response.unwrap().status, 200);
        let names: Vec<String> = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .collect();
        let foreign = |name: &String| FOREIGN_THREADS.iter().any(|start| name.starts_with(start));
        assert!(!names.is_empty() && !names.iter().any(foreign), "{names:?}");
    });
}
