//! The contract of both servers, held against the one on tokio.

/// The binary.
const BINARY: &str = env!("CARGO_BIN_EXE_callwarden-tokio");
/// What it is called.
const NAME: &str = env!("CARGO_PKG_NAME");
/// What `/version` says it runs on.
const RUNTIME: &str = "tokio";

/// How the threads of the other runtime begin, which a build of the whole workspace could start by mistake.
const FOREIGN_THREADS: [&str; 4] = ["async-std", "async-io", "smol", "blocking-"];

#[path = "../../tests/contract/suite.rs"]
mod suite;
