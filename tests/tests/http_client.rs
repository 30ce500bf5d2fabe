//! The outgoing HTTP client against real sockets on loopback: servers that behave, stall, lie and leave.

use bytes::Bytes;
use callwarden::fetch::{Client, ClientSettings};
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::secret::Secret;
use core::time::Duration;
use futures_rustls::TlsAcceptor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use smol::future::{FutureExt, poll_once, zip};
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// Long for a test that only waits when something is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Short for a deadline that a test waits for.
const SHORT: Duration = Duration::from_millis(150);

/// Runs a test, or fails it when it hangs.
fn run(test: impl Future<Output = ()>) {
    let hung = async {
        smol::Timer::after(2 * PATIENCE).await;
        panic!("the test hangs");
    };
    smol::block_on(test.or(hung));
}

/// The far end: a listener, with TLS 1.3 or plain.
struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    root: Option<CertificateDer<'static>>,
}

impl Server {
    async fn plain() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: None, root: None }
    }

    /// A server with a certificate for `name` from an authority of its own.
    async fn tls(name: &str) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let (tls, root) = (Some(TlsAcceptor::from(Arc::new(config))), Some(authority.as_ref().der().clone()));
        Self { tls, root, ..Self::plain().await }
    }

    /// One of each kind.
    async fn both() -> [Self; 2] {
        [Self::plain().await, Self::tls("127.0.0.1").await]
    }

    fn settings(&self) -> ClientSettings {
        ClientSettings {
            connect_time: PATIENCE,
            head_time: PATIENCE,
            stall_time: PATIENCE,
            idle_time: PATIENCE,
            extra_roots: self.root.clone().into_iter().collect(),
        }
    }

    /// A client that trusts this server and waits for everything.
    fn client(&self) -> Client {
        Client::new(self.settings())
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.listener.local_addr().unwrap())
    }

    fn get(&self) -> FetchRequest {
        FetchRequest {
            method: Method::Get,
            url: self.url("/"),
            headers: Vec::new(),
            authorization: None,
            body: Bytes::new(),
            timeout: PATIENCE,
            response_bytes_max: 100,
        }
    }

    async fn accept_tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// The next connection, its handshake done.
    async fn accept(&self) -> Peer {
        let tcp = self.accept_tcp().await;
        match &self.tls {
            Some(tls) => Peer(Box::new(tls.accept(tcp).await.unwrap())),
            None => Peer(Box::new(tcp)),
        }
    }

    /// Whether another connection is waiting.
    async fn was_asked_again(&self) -> bool {
        poll_once(self.listener.accept()).await.is_some()
    }
}

trait Transport: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Transport for T {}

/// The server's side of a connection; dropping it closes the connection.
struct Peer(Box<dyn Transport>);

impl Peer {
    /// Reads one request with its body.
    async fn request(&mut self) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            self.read_onto(&mut text, 1).await;
        }
        let head = String::from_utf8(text.clone()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        self.read_onto(&mut text, length).await;
        String::from_utf8(text).unwrap()
    }

    async fn read_onto(&mut self, text: &mut Vec<u8>, bytes: usize) {
        let start = text.len();
        text.resize(start + bytes, 0);
        self.0.read_exact(&mut text[start..]).await.unwrap();
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Sends pieces far enough apart to arrive one by one, mostly; nothing depends on it.
    async fn send_slowly(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.send(piece).await;
            smol::Timer::after(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the client's close.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is a close, too.
        self.0.read_to_end(&mut rest).await.ok();
    }
}

/// Fetches `request` while the server answers its first connection with `answer`, whatever it is, and keeps it open.
async fn answered(server: &Server, request: FetchRequest, answer: &[&str]) -> Result<FetchResponse, FetchError> {
    let client = server.client();
    let far_end = async {
        let mut peer = server.accept().await;
        peer.request().await;
        peer.send_slowly(answer).await;
        peer
    };
    zip(client.fetch(request), far_end).await.0
}

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

fn ambiguous(result: Result<FetchResponse, FetchError>) -> String {
    match result {
        Err(FetchError::Ambiguous(cause)) => cause,
        other => panic!("expected an ambiguous failure: {other:?}"),
    }
}

fn not_sent(result: Result<FetchResponse, FetchError>) -> String {
    match result {
        Err(FetchError::NotSent(cause)) => cause,
        other => panic!("expected that nothing was sent: {other:?}"),
    }
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
            let far_end = async {
                let mut peer = server.accept().await;
                for (pieces, ..) in answers {
                    peer.request().await;
                    peer.send_slowly(pieces).await;
                }
                peer
            };
            zip(near_end, far_end).await;
            assert!(!server.was_asked_again().await);
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
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "contradictory"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "contradictory"),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok", "neither content-length nor chunked"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n", "too long"),
        (too_long.as_str(), "too long"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "chunked coding is wrong"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP/1"),
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
        ("", "without an answer"),
        ("HTTP/1.1 200 OK\r\nconte", "in the head"),
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
fn a_body_that_floods_for_ever_ends_with_the_request_s_own_timeout() {
    run(async {
        let server = Server::plain().await;
        let client = server.client();
        let request = FetchRequest { timeout: 2 * SHORT, response_bytes_max: usize::MAX, ..server.get() };
        // In a thread of its own, so that the client's socket always has something to read.
        let listener = server.listener.clone();
        let far_end = std::thread::spawn(move || {
            smol::block_on(async {
                let mut peer = Peer(Box::new(listener.accept().await.unwrap().0));
                peer.request().await;
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                let flood = "1;............................................................\r\nx\r\n".repeat(500);
                while peer.0.write_all(flood.as_bytes()).await.is_ok() {}
            });
        });
        assert!(ambiguous(client.fetch(request).await).contains("in the time the request had"));
        far_end.join().unwrap();
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
            assert!(cause.contains("without an answer") && !cause.contains("private"), "{cause}");
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
        assert!(!server.was_asked_again().await);
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
        assert!(cause.contains("TLS with https://127.0.0.1") && cause.contains("not done in time"), "{cause}");

        let request = FetchRequest { timeout: SHORT, ..mute.get() };
        let client = mute.client();
        let (result, _tcp) = zip(client.fetch(request), mute.accept_tcp()).await;
        assert!(not_sent(result).contains("not done in time"));
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
        assert!(!names.is_empty() && !names.iter().any(|name| name.starts_with("async-std")), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("tokio")), "{names:?}");
    });
}
