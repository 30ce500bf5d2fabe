//! The far end of the client under test: a scripted server on loopback.

use super::under_test::{Client, ClientSettings};
use bytes::Bytes;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use core::time::Duration;
use futures_rustls::TlsAcceptor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use smol::future::{FutureExt, poll_once, zip};
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Long for a test that only waits when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Short for a deadline that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// A test that fails when it hangs.
pub(crate) async fn in_time(test: impl Future<Output = ()>) {
    let hung = async {
        smol::Timer::after(2 * PATIENCE).await;
        panic!("the test hangs");
    };
    test.or(hung).await;
}

/// The far end: a listener, with TLS 1.3 or plain.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    root: Option<CertificateDer<'static>>,
}

impl Server {
    pub(crate) async fn plain() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), tls: None, root: None }
    }

    /// A server with a certificate for `name` from an authority of its own.
    pub(crate) async fn tls(name: &str) -> Self {
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
    pub(crate) async fn both() -> [Self; 2] {
        [Self::plain().await, Self::tls("127.0.0.1").await]
    }

    pub(crate) fn settings(&self) -> ClientSettings {
        ClientSettings {
            connect_time: PATIENCE,
            head_time: PATIENCE,
            stall_time: PATIENCE,
            idle_time: PATIENCE,
            extra_roots: self.root.clone().into_iter().collect(),
        }
    }

    /// A client that trusts this server and waits for everything.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.settings())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.listener.local_addr().unwrap())
    }

    pub(crate) fn get(&self) -> FetchRequest {
        FetchRequest {
            method: Method::Get,
            url: self.url("/"),
            headers: Vec::new(),
            authorization: None,
            body: Bytes::new(),
            timeout: PATIENCE,
            response_bytes_max: 100,
            public_only: false,
        }
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// The next connection, its handshake done.
    pub(crate) async fn accept(&self) -> Peer {
        let tcp = self.accept_tcp().await;
        match &self.tls {
            Some(tls) => Peer(Box::new(tls.accept(tcp).await.unwrap())),
            None => Peer(Box::new(tcp)),
        }
    }

    /// Answers one request after the other, on whichever connection it comes, and says how many connections there were.
    pub(crate) async fn answer_in_turn<'a>(&self, answers: impl Iterator<Item = &'a [&'a str]>) -> usize {
        let answers = RefCell::new(answers.peekable());
        let (all_sent, connections) = (smol::channel::bounded(1), Cell::new(0));
        // Dropped first: its tasks borrow the others.
        let executor = smol::LocalExecutor::new();
        let accept = async {
            loop {
                let mut peer = self.accept().await;
                connections.set(connections.get() + 1);
                let (answers, done) = (&answers, &all_sent.0);
                let serving = executor.spawn(async move {
                    loop {
                        peer.request().await;
                        let pieces = answers.borrow_mut().next().unwrap();
                        peer.send_slowly(pieces).await;
                        if answers.borrow_mut().peek().is_none() {
                            done.send(peer).await.unwrap();
                            return;
                        }
                    }
                });
                serving.detach();
            }
        };
        let done = async { all_sent.1.recv().await.map(drop).unwrap() };
        executor.run(done.or(accept)).await;
        connections.get()
    }

    /// Whether another connection is waiting.
    pub(crate) async fn was_asked_again(&self) -> bool {
        poll_once(self.listener.accept()).await.is_some()
    }
}

pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Transport for T {}

/// The server's side of a connection; dropping it closes the connection.
pub(crate) struct Peer(pub(crate) Box<dyn Transport>);

impl Peer {
    /// Reads one request with its body.
    pub(crate) async fn request(&mut self) -> String {
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

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Sends pieces far enough apart to arrive one by one, mostly; nothing depends on it.
    pub(crate) async fn send_slowly(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.send(piece).await;
            smol::Timer::after(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the client's close.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is a close, too.
        self.0.read_to_end(&mut rest).await.ok();
    }
}

/// Fetches `request` while the server answers its first connection with `answer`, whatever it is, and keeps it open.
pub(crate) async fn answered(
    server: &Server,
    request: FetchRequest,
    answer: &[&str],
) -> Result<FetchResponse, FetchError> {
    let client = server.client();
    let far_end = async {
        let mut peer = server.accept().await;
        peer.request().await;
        peer.send_slowly(answer).await;
        peer
    };
    zip(client.fetch(request), far_end).await.0
}

pub(crate) fn ambiguous(result: Result<FetchResponse, FetchError>) -> String {
    match result {
        Err(FetchError::Ambiguous(cause)) => cause,
        other => panic!("expected an ambiguous failure: {other:?}"),
    }
}

pub(crate) fn not_sent(result: Result<FetchResponse, FetchError>) -> String {
    match result {
        Err(FetchError::NotSent(cause)) => cause,
        other => panic!("expected that nothing was sent: {other:?}"),
    }
}
