//! Starts tasks on the server's executor without keeping it alive.

use smol::Executor;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};

/// A handle to start tasks with. Tasks hold one of these and never the executor itself, or the two would keep each
/// other alive after the server stopped.
#[derive(Clone)]
pub struct Spawner(Weak<Executor<'static>>);

impl Spawner {
    /// A handle to `executor`.
    #[must_use]
    pub fn new(executor: &Arc<Executor<'static>>) -> Self {
        Self(Arc::downgrade(executor))
    }

    /// Runs `task` to its end beside everything else. After the server stopped it is dropped unrun.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}

/// What a caught panic said.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&'static str>().copied())
        .unwrap_or("a panic without a text")
}
