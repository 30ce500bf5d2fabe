//! The server on smol.

mod under_test {
    pub(super) use callwarden::server::{Answer, Connections, ServerLimits, Service, Stopper, serve, stop};
    use callwarden::spawner::Spawner;
    use smol::net::TcpListener;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    pub(super) type Executor = Arc<smol::Executor<'static>>;

    pub(super) async fn listen() -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback")
    }

    pub(super) fn spawner(executor: &Executor) -> Spawner {
        Spawner::new(executor)
    }

    pub(super) fn spawn(executor: &Executor, task: impl Future<Output = ()> + Send + 'static) -> smol::Task<()> {
        executor.spawn(task)
    }

    /// Runs a test on an executor of its own.
    pub(super) fn run<F: Future<Output = ()>>(test: impl FnOnce(Executor) -> F) {
        let executor = Executor::default();
        smol::block_on(executor.run(test(Arc::clone(&executor))));
    }
}

#[path = "answers.rs"]
mod answers;
#[path = "cases.rs"]
mod cases;
#[path = "test_server.rs"]
mod test_server;
