//! The server on tokio.

mod under_test {
    pub(super) use callwarden_tokio::server::{Answer, Connections, ServerLimits, Service, Stopper, serve, stop};
    use callwarden_tokio::spawner::Spawner;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio::runtime::{Handle, Runtime};

    /// What runs the test and its clients. The server runs on a runtime that the test's thread has entered.
    pub(super) type Executor = Arc<smol::Executor<'static>>;

    pub(super) async fn listen() -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback")
    }

    pub(super) fn spawner(_: &Executor) -> Spawner {
        Spawner::new(&Handle::current())
    }

    pub(super) fn spawn(executor: &Executor, task: impl Future<Output = ()> + Send + 'static) -> smol::Task<()> {
        let running = tokio::spawn(task);
        executor.spawn(async { running.await.expect("no panic") })
    }

    /// Runs a test beside a runtime of its own.
    pub(super) fn run<F: Future<Output = ()>>(test: impl FnOnce(Executor) -> F) {
        let runtime = Runtime::new().expect("threads");
        let context = runtime.enter();
        let executor = Executor::default();
        smol::block_on(executor.run(test(Arc::clone(&executor))));
        drop(context);
        runtime.shutdown_background();
    }
}

#[path = "answers.rs"]
mod answers;
#[path = "cases.rs"]
mod cases;
#[path = "test_server.rs"]
mod test_server;
