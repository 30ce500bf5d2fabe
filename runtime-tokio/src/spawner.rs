//! Starts tasks on the server's threads without keeping them alive.

use std::any::Any;
use std::future::{Future, pending};
use std::panic::resume_unwind;
use tokio::runtime::Handle;

/// A handle to start tasks with.
#[derive(Clone, Debug)]
pub struct Spawner(Handle);

impl Spawner {
    /// A handle to `runtime`.
    #[must_use]
    pub fn new(runtime: &Handle) -> Self {
        Self(runtime.clone())
    }

    /// Runs `task` to its end beside everything else. After the server stopped it is dropped unrun.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(task));
    }
}

/// Runs `work` on a thread that may block. Its panic goes on in the task that waits.
pub(crate) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime shuts down, and with it the task that waits.
            Err(_) => pending().await,
        },
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
