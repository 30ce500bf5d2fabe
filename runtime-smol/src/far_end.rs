//! A small Twilio on loopback: places simulated calls over real sockets and answers REST requests about them.
//!
//! What Twilio does is decided by the machine in [`callwarden_core::far_end`]; here are its sockets. TwiML always says
//! https and wss; a server given as `http://host:port` is reached in clear at that address, whatever host its documents
//! name, and is told that host.

mod call;
mod http;
mod openai;
mod rest;
mod socket;

#[cfg(test)]
mod tests;

pub use openai::OpenAiService;

use crate::clock::Clock;
use call::Live;
use callwarden_core::far_end::{FarInput, Ledger, Line, Plan};
use callwarden_core::sid::CallSid;
use smol::Task;
use smol::net::TcpListener;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A server to call, reached in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `host:port`.
    address: String,
}

/// Why a text is not a server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAServer;

impl fmt::Display for NotAServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the address of a server: expected http://HOST or http://HOST:PORT")
    }
}

impl std::error::Error for NotAServer {}

impl FromStr for Server {
    type Err = NotAServer;

    fn from_str(base: &str) -> Result<Self, NotAServer> {
        let authority = base.strip_prefix("http://").ok_or(NotAServer)?.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            return Err(NotAServer);
        }
        let named = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if named { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { address })
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.to_string() }
    }
}

impl Server {
    /// What Twilio's webhooks of this server begin with when it has no `PUBLIC_HOST`.
    #[must_use]
    pub fn public_base(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// The simulated Twilio. Dropping it ends its REST interface and forgets its calls.
#[derive(Debug)]
pub struct FarEndService {
    exchange: Arc<Exchange>,
    api: SocketAddr,
    /// Accepts REST connections for as long as it is kept.
    _accepting: Task<()>,
}

/// What calls and REST connections share.
#[derive(Debug)]
struct Exchange {
    clock: Clock,
    calls: Mutex<BTreeMap<CallSid, Arc<Live>>>,
    /// The status every REST request is refused with; 0 means none is.
    refusal: AtomicU16,
}

impl Exchange {
    fn calls(&self) -> MutexGuard<'_, BTreeMap<CallSid, Arc<Live>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FarEndService {
    /// Listens for REST requests on a free port of loopback.
    ///
    /// # Errors
    /// When the system has no port left.
    pub async fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let api = listener.local_addr()?;
        let calls = Mutex::default();
        let exchange = Arc::new(Exchange { clock: Clock::start(), calls, refusal: AtomicU16::new(0) });
        let accepting = smol::spawn(rest::serve(listener, Arc::clone(&exchange)));
        Ok(Self { exchange, api, _accepting: accepting })
    }

    /// The `TWILIO_API_BASE` of a server that is called from here.
    #[must_use]
    pub fn api_base(&self) -> String {
        format!("http://{}", self.api)
    }

    /// From now on every REST request is refused with this status (401: the credentials are wrong), until `None`.
    pub fn refuse_rest(&self, status: Option<u16>) {
        self.exchange.refusal.store(status.unwrap_or(0), Ordering::Relaxed);
    }

    /// Places a call to `server`. The URLs of `line` say what is asked; the connection leads to `server`.
    #[must_use]
    pub fn call(&self, server: &Server, line: Line, plan: Plan) -> PlacedCall {
        let call = line.call;
        let (live, arrivals) = Live::new(line, plan, self.exchange.clock);
        let live = Arc::new(live);
        self.exchange.calls().insert(call, Arc::clone(&live));
        let task = smol::spawn(call::run(Arc::clone(&live), server.address.clone(), arrivals));
        PlacedCall { live, task }
    }
}

/// A call under way. Dropping it cuts the call.
#[derive(Debug)]
pub struct PlacedCall {
    live: Arc<Live>,
    task: Task<Ledger>,
}

impl PlacedCall {
    /// The account up to this moment.
    #[must_use]
    pub fn so_far(&self) -> Ledger {
        self.live.machine().ledger_at(self.live.clock.now())
    }

    /// The caller hangs up.
    pub fn hang_up(&self) {
        self.live.input(FarInput::HangUp);
    }

    /// Waits for the end of the call and of everything Twilio tells about it.
    pub async fn ended(self) -> Ledger {
        self.task.await
    }
}
