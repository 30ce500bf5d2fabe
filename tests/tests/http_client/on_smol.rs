//! The client of the server on smol.

mod under_test {
    pub(super) use callwarden::fetch::{Client, ClientSettings};

    pub(super) const CUT_BEFORE_HEAD: &str = "without an answer";
    pub(super) const CUT_IN_HEAD: &str = "in the head";
    pub(super) const MUTE_HANDSHAKE: &str = "TLS with https://127.0.0.1";
    /// How many connections requests one after the other may take.
    pub(super) const REUSED: std::ops::RangeInclusive<usize> = 1..=1;
    pub(super) const FOREIGN_THREADS: &[&str] = &["async-std", "tokio"];

    pub(super) fn run(test: impl Future<Output = ()>) {
        smol::block_on(super::server::in_time(test));
    }
}

#[path = "answers.rs"]
mod answers;
#[path = "connections.rs"]
mod connections;
#[path = "server.rs"]
mod server;
