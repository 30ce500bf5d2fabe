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
use smol::channel::{Receiver, Sender, bounded};
use smol::future::or;
use smol::{Async, Executor, Task, Timer, block_on};
use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Takes hold of the address `config` names.
///
/// # Errors
/// [`StartError::Listen`].
pub fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(config.bind, config.port);
    TcpListener::bind(address).map_err(|error| StartError::Listen(address, error))
}

/// Starts a server on `listener` with threads of its own and returns at once. A database that is away does not
/// hinder it.
///
/// # Errors
/// [`StartError`], with nothing left running.
pub fn serve(config: &Config, listener: TcpListener) -> Result<Running, StartError> {
    check_data_dir(&config.data_dir)?;
    let mut prompts = prompts::read(config).map_err(StartError::Prompts)?;
    let account = google::open(config).map_err(StartError::Credentials)?;
    if account.is_some() {
        prompts::take_kept(config, &mut prompts);
    }
    let address = listener.local_addr().map_err(StartError::System)?;
    let listener = Async::new(listener).map_err(StartError::System)?.into();

    let clock = Clock::start();
    let executor = Arc::new(Executor::new());
    let spawner = Spawner::new(&executor);
    let (sender, inbox) = bounded(limits::INBOX_MAX);
    let (finish_sender, finish) = bounded(1);
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
    let gate = executor.spawn(server::serve(listener, service, spawner, limits, connections, stop));

    let mut running = Running {
        address,
        drain_time: config.drain,
        inbox: sender,
        finish,
        gate: Some((stopper, gate)),
        threads: Threads::default(),
        executor,
    };
    running.threads.start(&running.executor, config.worker_threads).map_err(StartError::System)?;
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
        runtime: "smol",
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
    gate: Option<(Stopper, Task<()>)>,
    threads: Threads,
    executor: Arc<Executor<'static>>,
}

impl Running {
    /// Where it listens; the real port where the configuration said 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the switchboard to drain and waits until it has: for `DRAIN_SECONDS`, and for the moves of what is open
    /// then, [`limits::DRAIN_MOVES_TIME`] at most (`None`). Serves all the while; at the end requests under way get
    /// their answers, and nothing is accepted any more.
    pub async fn drain(&mut self) -> Option<Finish> {
        self.drain_within(self.drain_time + limits::DRAIN_MOVES_TIME).await
    }

    async fn drain_within(&mut self, limit: Duration) -> Option<Finish> {
        let finish = within(limit, self.drained()).await;
        self.close_gate().await;
        match finish {
            // The last requests came after that: what they told is acknowledged, so it has to be written too.
            Some(Finish::Drained) => within(limits::STORE_TIME, self.drained()).await,
            Some(Finish::Panicked(_)) | None => finish,
        }
    }

    /// Tells the switchboard to drain, or once more, and waits for its word.
    async fn drained(&self) -> Finish {
        // A switchboard that is gone says so in `finish`.
        self.inbox.send(Message::Drain).await.ok();
        self.finished().await
    }

    /// Accepts nothing more and lets requests under way be answered.
    async fn close_gate(&mut self) {
        if let Some((stopper, gate)) = self.gate.take() {
            drop(stopper);
            within(limits::WRITE_TIME, gate).await;
        }
    }

    /// Waits for the switchboard's end: a finished drain, or a panic, after which the process must end.
    pub async fn finished(&self) -> Finish {
        self.finish.recv().await.unwrap_or_else(|_| Finish::Panicked("the switchboard's task is gone".to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Then the executor goes, its tasks with it, and the sockets with the tasks.
        self.threads.stop();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What `wait` came to, or `None` after `limit`.
async fn within<T>(limit: Duration, wait: impl Future<Output = T>) -> Option<T> {
    or(async { Some(wait.await) }, async {
        Timer::after(limit).await;
        None
    })
    .await
}

/// The threads that run the tasks.
#[derive(Default)]
struct Threads {
    stop: Option<Sender<()>>,
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts `count` of them, or one per processor.
    fn start(&mut self, executor: &Arc<Executor<'static>>, count: Option<usize>) -> io::Result<()> {
        let (stop, stopped) = bounded(1);
        self.stop = Some(stop);
        let count = match count {
            Some(count) => count,
            None => thread::available_parallelism()?.get(),
        };
        for number in 1..=count {
            let (executor, stopped) = (Arc::clone(executor), stopped.clone());
            // The channel only ever closes.
            let work = move || block_on(executor.run(async { stopped.recv().await.unwrap_or_default() }));
            self.running.push(thread::Builder::new().name(format!("worker-{number}")).spawn(work)?);
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.stop = None;
        for thread in self.running.drain(..) {
            // A task's panic ends in the task; the executor's own would have ended its thread already.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests;
