//! The client of the server on tokio.

mod under_test {
    pub(super) use callwarden_tokio::fetch::{Client, ClientSettings};
    use std::sync::LazyLock;
    use tokio::runtime::Runtime;

    /// The library does not tell how much of a head came.
    pub(super) const CUT_BEFORE_HEAD: &str = "without a whole head";
    pub(super) const CUT_IN_HEAD: &str = "without a whole head";
    /// Nor whether TCP or TLS took too long.
    pub(super) const MUTE_HANDSHAKE: &str = "connect to 127.0.0.1:";
    /// A connection goes back to the pool a moment after its answer is read, maybe after the next request looked there.
    pub(super) const REUSED: std::ops::RangeInclusive<usize> = 1..=8;
    pub(super) const FOREIGN_THREADS: &[&str] = &["async-std"];

    /// The client's sockets and timers are tokio's, the far end's are not.
    pub(super) fn run(test: impl Future<Output = ()>) {
        static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
        let _context = RUNTIME.enter();
        smol::block_on(super::server::in_time(test));
    }
}

#[path = "answers.rs"]
mod answers;
#[path = "connections.rs"]
mod connections;
#[path = "server.rs"]
mod server;
