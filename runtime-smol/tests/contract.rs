//! The contract of both servers, held against the one on smol.

/// The binary.
const BINARY: &str = env!("CARGO_BIN_EXE_callwarden");
/// What it is called.
const NAME: &str = env!("CARGO_PKG_NAME");
/// What `/version` says it runs on.
const RUNTIME: &str = "smol";

#[path = "../../tests/contract/suite.rs"]
mod suite;
