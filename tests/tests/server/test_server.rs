//! A server with a small service of its own on loopback.

use super::under_test::{
    Answer, Connections, Executor, ServerLimits, Service, Stopper, listen, serve, spawn, spawner, stop,
};
use callwarden_core::http::notice::Notice;
use callwarden_core::http::{Request, Response};
use callwarden_tests::http::RawClient;
use futures_util::SinkExt;
use smol::stream::StreamExt as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// A service with one path per behaviour; any other path answers 200 and tells what was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe {
    notices: Arc<Mutex<Vec<String>>>,
    release: Arc<Mutex<Option<smol::channel::Receiver<()>>>>,
}

impl Service for Probe {
    async fn call(&self, request: Request) -> Answer {
        match request.path() {
            "/nope" => Answer::Reply(Response::text(404, "not here\n")),
            "/boom" => Answer::Reply(Response::text(500, "failed\n")),
            "/empty" => Answer::Reply(Response::empty(204)),
            "/big" => Answer::Reply(Response::empty(200).body(vec![b'z'; BIG_BYTES])),
            "/broken" => Answer::Reply(Response::empty(200).with("x-a", "1\r\nx-b: 2")),
            "/close" => Answer::Close,
            "/panic" => panic!("as asked"),
            "/wait" => {
                let release = self.release.lock().expect("no holder panics").clone();
                release.expect("a test that waits holds the other end").recv().await.expect("released");
                Answer::Reply(Response::text(200, "released\n"))
            }
            "/ws-panic" => Answer::Upgrade(Box::new(|_| Box::pin(async { panic!("as asked") }))),
            "/ws" => Answer::Upgrade(Box::new(|upgraded| {
                Box::pin(async move {
                    let mut socket = upgraded.socket(|stream| stream).await;
                    while let Some(Ok(message)) = socket.next().await {
                        let Ok(text) = message.into_text() else { break };
                        let echo: String = text.chars().take(ECHO_CHARS).collect();
                        if SinkExt::send(&mut socket, echo.into()).await.is_err() {
                            break;
                        }
                    }
                })
            })),
            _ => Answer::Reply(Response::text(
                200,
                format!("{:?} {} {}\n", request.method, request.target, String::from_utf8_lossy(&request.body)),
            )),
        }
    }

    fn notice(&self, notice: Notice<'_>) {
        self.notices.lock().expect("no holder panics").push(format!("{notice:?}"));
    }
}

/// How much of a message the socket at `/ws` sends back: a server does not hold long ones for a slow peer.
pub(crate) const ECHO_CHARS: usize = 100;

/// Bytes of the answer at `/big`: more than the buffers of a loopback connection hold.
pub(crate) const BIG_BYTES: usize = 16 * 1024 * 1024;

/// A server on loopback.
#[derive(Debug)]
pub(crate) struct TestServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its open connections.
    pub(crate) connections: Connections,
    /// Ends when the server has stopped.
    pub(crate) serving: smol::Task<()>,
    /// Stops it when dropped.
    pub(crate) stopper: Stopper,
    /// A value lets one request at `/wait` go on.
    pub(crate) release: smol::channel::Sender<()>,
    probe: Probe,
}

impl TestServer {
    /// Starts one on `executor`.
    pub(crate) async fn start(executor: &Executor, limits: ServerLimits) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().expect("bound");
        let (release, released) = smol::channel::unbounded();
        let probe = Probe { notices: Arc::default(), release: Arc::new(Mutex::new(Some(released))) };
        let connections = Connections::default();
        let (stopper, stop) = stop();
        let spawner = spawner(executor);
        let serving = spawn(executor, serve(listener, probe.clone(), spawner, limits, connections.clone(), stop));
        Self { address, connections, serving, stopper, release, probe }
    }

    /// What the server noticed, as debug text.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.probe.notices.lock().expect("no holder panics").clone()
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> RawClient {
        RawClient::connect(self.address).await.expect("the server listens")
    }
}
