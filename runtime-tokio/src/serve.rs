//! Starts and stops a server. The binary, `demo` and the tests all come through here.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::fetch::{Client, ClientSettings};
use crate::google;
use crate::log;
use crate::prompts::{self, Studio};
use crate::server::{self, Connections, ServerLimits, Stopper};
use crate::service::Service;
use crate::spawner::Spawner;
use crate::store::Store;
use crate::switch::{self, Hands, Message};
use callwarden_core::config::Config;
use callwarden_core::lifecycle::{self, Finish, StartError};
use callwarden_core::limits;
use callwarden_core::prompts::{Prompts, Renderer};
use callwarden_core::switchboard::{Settings, Switchboard};
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Takes hold of the address `config` names.
///
/// # Errors
/// [`StartError::Listen`].
pub fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(config.bind, config.port);
    TcpListener::bind(address).map_err(|error| StartError::Listen(address, error))
}

/// The threads that run a server's tasks: as many as `config` says, or one per processor.
///
/// # Errors
/// When the system gives none.
pub fn runtime(config: &Config) -> io::Result<Runtime> {
    let count = match config.worker_threads {
        Some(count) => count,
        None => std::thread::available_parallelism()?.get(),
    };
    let number = AtomicUsize::new(1);
    Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name_fn(move || format!("worker-{}", number.fetch_add(1, Ordering::Relaxed)))
        .enable_all()
        .build()
}

/// Starts a server on `listener` with the threads of `runtime` and returns at once. A database that is away does not
/// hinder it.
///
/// # Errors
/// [`StartError`], with nothing left running.
pub fn serve(config: &Config, listener: TcpListener, runtime: Runtime) -> Result<Running, StartError> {
    check_data_dir(&config.data_dir)?;
    let mut prompts = prompts::read(config).map_err(StartError::Prompts)?;
    let account = google::open(config).map_err(StartError::Credentials)?;
    if account.is_some() {
        prompts::take_kept(config, &mut prompts);
    }
    let address = listener.local_addr().map_err(StartError::System)?;
    let handle = runtime.handle().clone();
    let _context = handle.enter();
    listener.set_nonblocking(true).map_err(StartError::System)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::System)?;

    let clock = Clock::start();
    let spawner = Spawner::new(&handle);
    let (sender, inbox) = channel(limits::INBOX_MAX);
    // A drain's end and a panic after it.
    let (finish_sender, finish) = channel(2);
    let client = Client::new(ClientSettings::default());
    let studio = account.map(|account| Studio::new(config, &prompts, account, clock, client.clone()));
    let settings = settings(config, prompts)
        .map_err(|Unspecified| StartError::System(io::Error::other("it has no random bytes")))?;
    let disk = Disk::new(&config.data_dir, &settings.node);
    let hands = Hands {
        clock,
        spawner: spawner.clone(),
        client,
        store: Arc::new(Store::new(&config.database).map_err(StartError::Database)?),
        disk: disk.map_err(|error| StartError::DataDir(config.data_dir.clone(), error))?,
        inbox: sender.clone(),
    };
    let mut first = Vec::new();
    let board = Switchboard::new(clock.now(), settings, &mut first);
    spawner.spawn(switch::run(board, first, hands, inbox, finish_sender));
    if let Some(studio) = studio {
        let inbox = sender.clone();
        // No call waits for it, and without a switchboard nobody is interested.
        spawner.spawn(studio.run(Renderer::is_done, move |report| {
            let inbox = inbox.clone();
            async move { inbox.send(Message::Prompt(report)).await.unwrap_or_default() }
        }));
    }
    let (stopper, stop) = server::stop();
    let (limits, connections) = (ServerLimits::default(), Connections::default());
    let service = Service::new(sender.clone());
    let gate = runtime.spawn(server::serve(listener, service, spawner, limits, connections, stop));

    let running = Running {
        address,
        drain_time: config.drain,
        inbox: sender,
        finish,
        gate: Some((stopper, gate)),
        handle: handle.clone(),
        runtime: Some(runtime),
    };
    for line in lifecycle::started(config, address) {
        log::print(&line);
    }
    Ok(running)
}

/// What the switchboard is made with. Its name and its key are random: two processes must never share one.
pub(crate) fn settings(config: &Config, prompts: Prompts) -> Result<Settings, Unspecified> {
    let random = SystemRandom::new();
    let node = u64::from_ne_bytes(ring::rand::generate(&random)?.expose());
    Ok(Settings {
        config: config.clone(),
        prompts,
        node: format!("{node:016x}"),
        development_key: ring::rand::generate(&random)?.expose(),
        runtime: "tokio",
        trace: log::is_traced(),
    })
}

/// Facts that the database does not take are kept there: better no start than a call log with holes.
fn check_data_dir(path: &Path) -> Result<(), StartError> {
    let probe = path.join(".writable");
    fs::create_dir_all(path)
        .and_then(|()| fs::write(&probe, b""))
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|error| StartError::DataDir(path.to_owned(), error))
}

/// A running server. Dropping it ends every task and closes every socket, as a crash would; [`Running::drain`] first
/// is the kind way.
pub struct Running {
    address: SocketAddr,
    drain_time: Duration,
    inbox: Sender<Message>,
    finish: Receiver<Finish>,
    gate: Option<(Stopper, JoinHandle<()>)>,
    handle: Handle,
    /// There until the drop, which takes its time.
    runtime: Option<Runtime>,
}

impl Running {
    /// Where it listens; the real port where the configuration said 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What runs its tasks, and whatever waits for them.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Asks the switchboard to drain and waits until it has: for `DRAIN_SECONDS`, and for the moves of what is open
    /// then, [`limits::DRAIN_MOVES_TIME`] at most (`None`). Serves all the while; at the end requests under way get
    /// their answers, and nothing is accepted any more.
    pub async fn drain(&mut self) -> Option<Finish> {
        self.drain_within(self.drain_time + limits::DRAIN_MOVES_TIME).await
    }

    async fn drain_within(&mut self, limit: Duration) -> Option<Finish> {
        let finish = timeout(limit, self.drained()).await.ok();
        self.close_gate().await;
        match finish {
            // The last requests came after that: what they told is acknowledged, so it has to be written too.
            Some(Finish::Drained) => timeout(limits::STORE_TIME, self.drained()).await.ok(),
            Some(Finish::Panicked(_)) | None => finish,
        }
    }

    /// Tells the switchboard to drain, or once more, and waits for its word.
    async fn drained(&mut self) -> Finish {
        // A switchboard that is gone says so in `finish`.
        self.inbox.send(Message::Drain).await.ok();
        self.finished().await
    }

    /// Accepts nothing more and lets requests under way be answered.
    async fn close_gate(&mut self) {
        if let Some((stopper, gate)) = self.gate.take() {
            drop(stopper);
            // The task is not cancelled, and its panic would have been reported.
            timeout(limits::WRITE_TIME, gate).await.ok();
        }
    }

    /// Waits for the switchboard's end: a finished drain, or a panic, after which the process must end.
    pub async fn finished(&mut self) -> Finish {
        self.finish.recv().await.unwrap_or_else(|| Finish::Panicked("the switchboard's task is gone".to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The threads end, the tasks with them, and the sockets with the tasks. What blocks is not waited for longer.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(limits::THREADS_END_TIME);
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
