//! callwarden on tokio: sockets, timers, threads, files and signals for the machines of `callwarden-core`, which hold
//! every rule. `serve` starts a server; the binary and the tests do the same thing with it.
//!
//! The files are those of `runtime-smol`, in the same order and with the same things in the same places, so that the two
//! can be read side by side. Nothing but libraries and what follows from them differs; one suite of tests runs against
//! both binaries.

pub mod clock;
pub mod disk;
pub mod fetch;
pub mod google;
pub mod log;
pub mod log_writer;
pub mod prompts;
pub mod serve;
pub mod server;
pub mod service;
pub mod session;
pub mod signals;
pub mod spawner;
pub mod store;
pub mod switch;
mod wait;
