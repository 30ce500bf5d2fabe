//! A balancer in front of several servers, or of one that is being started again: what Twilio sees of a deployment is
//! one address.

use crate::http::soon;
use smol::future::or;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use smol::net::{TcpListener, TcpStream};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What the requests begin with that open a Media Stream.
const STREAM: &[u8] = b"GET /ws/";

/// Forwards connections, whole, by their first bytes. A server that does not listen is waited for.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    /// Accepts for as long as it is kept.
    _accepting: smol::Task<()>,
}

impl Balancer {
    /// Leads Media Streams to `streams` and every other request to `webhooks`.
    ///
    /// # Panics
    /// Without loopback.
    pub async fn start(webhooks: SocketAddr, streams: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let accepting = smol::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that breaks is the business of its two ends.
                smol::spawn(async move { forward(client, webhooks, streams).await.unwrap_or_default() }).detach();
            }
        });
        Self { address, _accepting: accepting }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn forward(mut client: TcpStream, webhooks: SocketAddr, streams: SocketAddr) -> io::Result<()> {
    let mut first = [0; STREAM.len()];
    client.read_exact(&mut first).await?;
    let mut server = connect(if first == STREAM { streams } else { webhooks }).await;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    server.write_all(&first).await?;
    // Where one end closes, the other is closed too, without a goodbye.
    or(copy(client.clone(), server.clone()), copy(server.clone(), client.clone())).await.map(drop)
}

async fn connect(address: SocketAddr) -> TcpStream {
    soon("a server that listens", async {
        loop {
            match TcpStream::connect(address).await {
                Ok(server) => return server,
                Err(_) => drop(smol::Timer::after(Duration::from_millis(5)).await),
            }
        }
    })
    .await
}
