//! The HTTP server: accepts connections and turns their bytes into [`Request`]s and [`Answer`]s into bytes.
//!
//! async-h1 has no maintainer, and bare it loses pipelined requests, panics at non-ASCII header values, has no limits
//! and answers nothing to a request it does not like. So no byte of a client reaches it: the [`Gate`] of the core reads
//! and judges heads and frames bodies, and async-h1's encoder writes the heads of our own answers. Its decoder is not
//! used, because it would parse a second time, and differently, what the gate has judged: it builds a URL out of `Host`
//! and target, and Twilio signs the target as it was sent.
//!
//! A connection is one task. It never waits without a deadline ([`ServerLimits`]) except for the service, and when it
//! becomes a WebSocket the socket moves to a task of its own, so that nothing of HTTP stays in memory with it.
//!
//! [`Gate`]: callwarden_core::http::gate::Gate

mod answer;
mod connection;

use crate::spawner::Spawner;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use callwarden_core::http::notice::Notice;
use callwarden_core::http::{Request, Response};
use callwarden_core::limits;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt as _;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the server serves.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. A panic closes this connection without an answer and harms no other.
    fn call(&self, request: Request) -> impl Future<Output = Answer> + Send;

    /// Hears what the server did without asking, for the log.
    fn notice(&self, notice: Notice<'_>);
}

/// What to do about a request.
pub enum Answer {
    /// Send this.
    Reply(Response),
    /// Complete the WebSocket handshake and run this on the socket, in a task of its own. Where the request is no
    /// handshake, or the client has gone, it is dropped without being called.
    Upgrade(OnUpgrade),
    /// Close the connection without an answer.
    Close,
}

/// Takes over the socket of a completed WebSocket handshake.
pub type OnUpgrade = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A socket after its handshake.
#[derive(Debug)]
pub struct Upgraded {
    stream: TcpStream,
    early: Vec<u8>,
}

impl Upgraded {
    /// The WebSocket, over the connection as `wrap` gives it back: a reader that paces itself wraps it, others hand
    /// it through. Frames that arrived together with the handshake are its first.
    pub async fn socket<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        wrap: impl FnOnce(TcpStream) -> S,
    ) -> WebSocketStream<S> {
        WebSocketStream::from_partially_read(wrap(self.stream), self.early, Role::Server, Some(socket_config())).await
    }
}

/// Every message goes out at once, nothing is collected, and what a client may make us hold is bounded.
fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits::SOCKET_READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(limits::SOCKET_WRITE_BYTES_MAX)
        .max_message_size(Some(limits::MESSAGE_BYTES_MAX))
        .max_frame_size(Some(limits::MESSAGE_BYTES_MAX))
        .accept_unmasked_frames(false)
}

/// The deadlines of a connection and the number of connections; the default is [`limits`]. Sizes are the core's.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// [`limits::HEAD_TIME`].
    pub head_time: Duration,
    /// [`limits::BODY_TIME`].
    pub body_time: Duration,
    /// [`limits::IDLE_TIME`].
    pub idle_time: Duration,
    /// [`limits::WRITE_TIME`].
    pub write_time: Duration,
    /// [`limits::LINGER_TIME`].
    pub linger_time: Duration,
    /// [`limits::CONNECTIONS_MAX`].
    pub connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_time: limits::HEAD_TIME,
            body_time: limits::BODY_TIME,
            idle_time: limits::IDLE_TIME,
            write_time: limits::WRITE_TIME,
            linger_time: limits::LINGER_TIME,
            connections: limits::CONNECTIONS_MAX,
        }
    }
}

/// Stops the server when dropped.
#[derive(Debug)]
pub struct Stopper {
    _running: Sender<Infallible>,
}

/// Tells whether the server shall stop.
#[derive(Clone, Debug)]
pub struct Stop(Receiver<Infallible>);

/// A pair of the one who stops and what is told so.
#[must_use]
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = smol::channel::bounded(1);
    (Stopper { _running: sender }, Stop(receiver))
}

impl Stop {
    /// Ends when the [`Stopper`] is dropped.
    async fn wait(&self) {
        closed(&self.0).await;
    }

    /// Whether the [`Stopper`] is dropped.
    fn is_told(&self) -> bool {
        self.0.is_closed()
    }
}

/// The open connections of a server, WebSockets included.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<AtomicUsize>);

impl Connections {
    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Room for one more below `max`, held until it is dropped.
    fn enter(&self, max: usize) -> Option<Entered> {
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1))
            .ok()
            .map(|_| Entered(self.clone()))
    }
}

/// One open connection.
#[derive(Debug)]
struct Entered(Connections);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Everything the connections of a server share.
#[derive(Debug)]
struct Shared<S> {
    service: S,
    limits: ServerLimits,
    spawner: Spawner,
    stop: Stop,
}

/// Serves `listener` until told to stop, one task per connection of `spawner`'s. Then no connection is accepted, idle
/// ones are closed, requests under way are answered, and this returns. WebSockets are not waited for.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: S,
    spawner: Spawner,
    limits: ServerLimits,
    connections: Connections,
    stop: Stop,
) {
    let shared = Arc::new(Shared { service, limits, spawner: spawner.clone(), stop });
    // Each connection holds a sender while it speaks HTTP, so the channel closes when the last one is done.
    let (speaking, all_done) = smol::channel::bounded::<Infallible>(1);
    while let Some(accepted) = async { Some(listener.accept().await) }.or(stopped(&shared.stop)).await {
        let (stream, peer) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
            Err(error) => {
                shared.service.notice(Notice::AcceptFailed(&error));
                smol::Timer::after(limits::ACCEPT_RETRY).await;
                continue;
            }
        };
        let Some(entered) = connections.enter(limits.connections) else {
            shared.service.notice(Notice::Full { peer });
            continue;
        };
        // An answer that waits for the acknowledgement of the one before costs 40 ms; without it it still works.
        stream.set_nodelay(true).ok();
        let (shared, speaking) = (Arc::clone(&shared), speaking.clone());
        spawner.spawn(async move {
            connection::run(&shared, stream, peer, entered).await;
            drop(speaking);
        });
    }
    drop((listener, speaking));
    closed(&all_done).await;
}

/// Ends when the last sender is dropped.
async fn closed(channel: &Receiver<Infallible>) {
    while channel.recv().await.is_ok() {}
}

/// `None` once told to stop.
async fn stopped<T>(stop: &Stop) -> Option<T> {
    stop.wait().await;
    None
}
