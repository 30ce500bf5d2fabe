//! A small OpenAI on loopback: `POST /v1/audio/transcriptions` over real sockets.
//!
//! What is answered is decided by the machine in [`callwarden_core::far_end::openai`]; here it gets its sockets, its
//! time, and the ways of answering that only a socket knows: late, byte by byte, cut off.

#[cfg(test)]
mod tests;

use super::{http, rest};
use crate::clock::Clock;
use callwarden_core::far_end::openai::{Delivery, Ear, Fault, Ledger, OpenAi, Reply};
use callwarden_core::fetch::FetchRequest;
use callwarden_core::limits;
use callwarden_core::secret::Secret;
use smol::future::or;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};
use smol::{Task, Timer};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The simulated API. Dropping it ends it; requests under way are answered.
#[derive(Debug)]
pub struct OpenAiService {
    api: Arc<Api>,
    address: SocketAddr,
    /// Accepts connections for as long as it is kept.
    _accepting: Task<()>,
}

#[derive(Debug)]
struct Api {
    clock: Clock,
    machine: Mutex<OpenAi>,
}

impl Api {
    fn machine(&self) -> MutexGuard<'_, OpenAi> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenAiService {
    /// Listens on a free port of loopback for requests with this key, and understands what this ear knows.
    ///
    /// # Errors
    /// When the system has no port left.
    pub async fn listen(key: Secret, ear: Ear) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let api = Arc::new(Api { clock: Clock::start(), machine: Mutex::new(OpenAi::new(key, ear)) });
        let accepting = smol::spawn(serve(listener, Arc::clone(&api)));
        Ok(Self { api, address, _accepting: accepting })
    }

    /// The `OPENAI_BASE_URL` of a server that asks here.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on silence is answered with this text.
    pub fn say_on_silence(&self, text: &str) {
        self.api.machine().say_on_silence(text);
    }

    /// From now on an answer takes this long.
    pub fn set_delay(&self, delay: Duration) {
        self.api.machine().set_delay(delay);
    }

    /// This befalls every request that no [`Self::script`] provides for, until it is set anew.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.api.machine().set_fault(fault);
    }

    /// What befalls the next requests, one each and in this order.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.api.machine().script(faults);
    }

    /// Every request so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.api.machine().ledger().clone()
    }
}

async fn serve(listener: TcpListener, api: Arc<Api>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => smol::spawn(attend(stream, Arc::clone(&api))).detach(),
            Err(_) => drop(Timer::after(limits::ACCEPT_RETRY).await),
        }
    }
}

async fn attend(mut stream: TcpStream, api: Arc<Api>) {
    stream.set_nodelay(true).ok();
    let late = async {
        Timer::after(limits::FAR_END_REQUEST_TIME).await;
        None
    };
    // One that never becomes a request is not answered: nothing of it could be entered in the ledger.
    let Some(arrived) = or(async { read(&mut stream).await.ok().flatten() }, late).await else { return };
    let now = api.clock.now();
    let reply = match arrived {
        Arrived::Whole(request) => api.machine().answer(now, &request),
        Arrived::TooLong(bytes) => api.machine().refuse_unread(now, bytes),
    };
    Timer::after(reply.after).await;
    // A client that left before its answer is its own affair.
    deliver(&mut stream, &reply).await.ok();
}

/// A request, or the length of a body that is not worth reading.
enum Arrived {
    Whole(Box<FetchRequest>),
    TooLong(usize),
}

async fn read(stream: &mut TcpStream) -> Result<Option<Arrived>, String> {
    let Some((head, early)) = http::read_head(stream).await? else { return Ok(None) };
    let (mut request, length) = rest::parse(&head)?;
    if length > limits::FAR_END_UPLOAD_BYTES_READ_MAX {
        // Read away all the same: closed before, the connection would be reset and the answer lost.
        let mut rest = stream.take(length.saturating_sub(early.len()) as u64);
        smol::io::copy(&mut rest, &mut smol::io::sink()).await.map_err(|error| error.to_string())?;
        return Ok(Some(Arrived::TooLong(length)));
    }
    request.body = http::read_body(stream, early, Some(length), limits::FAR_END_UPLOAD_BYTES_READ_MAX).await?;
    Ok(Some(Arrived::Whole(Box::new(request))))
}

async fn deliver(stream: &mut TcpStream, reply: &Reply) -> io::Result<()> {
    let head = rest::head(&reply.response);
    let body = &reply.response.body;
    match reply.delivery {
        Delivery::Whole => stream.write_all(&[head.as_bytes(), body].concat()).await?,
        Delivery::Drip(apart) => {
            for byte in head.bytes().chain(body.iter().copied()) {
                stream.write_all(&[byte]).await?;
                Timer::after(apart).await;
            }
        }
        Delivery::Cut => stream.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat()).await?,
    }
    stream.close().await
}
