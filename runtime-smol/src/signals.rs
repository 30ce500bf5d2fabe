//! The signals that ask the process to stop.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use smol::Async;
use smol::future::or;
use smol::io::AsyncReadExt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// SIGTERM and SIGINT, caught. The first asks for a drain; a second one of either ends the process at once.
#[derive(Debug)]
pub struct Signals {
    terminate: Async<UnixStream>,
    interrupt: Async<UnixStream>,
}

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// When the system gives no pipe or handler.
    pub fn catch() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        // Handlers run in the order of their registration: the second signal finds the mark that the first one left.
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
            flag::register(signal, Arc::clone(&stopping))?;
        }
        Ok(Self { terminate: stream_of(SIGTERM)?, interrupt: stream_of(SIGINT)? })
    }

    /// Waits for the first signal and names it.
    pub async fn first(&mut self) -> &'static str {
        or(name_of(&mut self.terminate, "SIGTERM"), name_of(&mut self.interrupt, "SIGINT")).await
    }
}

/// A stream that receives a byte at each `signal`.
fn stream_of(signal: i32) -> io::Result<Async<UnixStream>> {
    let (read, write) = UnixStream::pair()?;
    pipe::register(signal, write)?;
    Async::new(read)
}

async fn name_of(stream: &mut Async<UnixStream>, name: &'static str) -> &'static str {
    match stream.read(&mut [0]).await {
        Ok(_) => name,
        // A pipe of this process cannot fail; if it does, stopping is the safe reading.
        Err(_) => name,
    }
}
