//! The contract of both servers, held against the one on smol.

/// The binary.
const BINARY: &str = env!("CARGO_BIN_EXE_callwarden");
/// What it is called.
const NAME: &str = env!("CARGO_PKG_NAME");
/// What `/version` says it runs on.
const RUNTIME: &str = "smol";

/// How the threads of the other runtime begin, which a build of the whole workspace could start by mistake.
const FOREIGN_THREADS: [&str; 2] = ["async-std", "tokio"];

#[path = "../../tests/contract/suite.rs"]
mod suite;
