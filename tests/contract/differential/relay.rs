//! Stands between the server and Twilio's REST interface and notes what is asked.

use callwarden_tests::http::soon;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// The relay. Dropping it closes it.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
    _accepting: smol::Task<()>,
}

#[derive(Default)]
struct Inside {
    /// Where to, once it is known.
    target: Option<SocketAddr>,
    asked: Vec<String>,
}

impl Relay {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let inside = Arc::new(Mutex::new(Inside::default()));
        let theirs = Arc::clone(&inside);
        let accepting = smol::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("loopback");
                let inside = Arc::clone(&theirs);
                // The simulated Twilio closes after each answer.
                smol::spawn(async move { relay(stream, &inside).await.unwrap_or_default() }).detach();
            }
        });
        Self { address, inside, _accepting: accepting }
    }

    pub(super) fn lead_to(&self, api_base: &str) {
        let target = api_base.strip_prefix("http://").and_then(|address| address.parse().ok());
        self.inside.lock().expect("no holder panics").target = Some(target.expect("an address"));
    }

    /// The method and path of every request that names this.
    pub(super) fn asked(&self, name: &str) -> Vec<String> {
        let inside = self.inside.lock().expect("no holder panics");
        inside.asked.iter().filter(|asked| asked.contains(name)).cloned().collect()
    }
}

async fn relay(mut near: TcpStream, inside: &Mutex<Inside>) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match soon("a request", near.read(&mut buffer)).await? {
            0 => return Ok(()),
            bytes => request.extend_from_slice(&buffer[..bytes]),
        }
    }
    let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
    let target = {
        let mut inside = inside.lock().expect("no holder panics");
        inside.asked.push(line.trim_end_matches(" HTTP/1.1").to_owned());
        inside.target.expect("it is known before a server starts")
    };
    let mut far = TcpStream::connect(target).await?;
    far.write_all(&request).await?;
    let up = async {
        smol::io::copy(near.clone(), far.clone()).await?;
        smol::future::pending().await
    };
    let down = smol::io::copy(far.clone(), near.clone());
    smol::future::or(down, up).await?;
    near.close().await
}
