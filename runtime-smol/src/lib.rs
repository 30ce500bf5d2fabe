//! callwarden on smol: sockets, timers, threads, files and signals for the machines of `callwarden-core`, which hold
//! every rule. `serve` starts a server; the binary and the tests do the same thing with it.

pub mod clock;
pub mod demo;
pub mod disk;
pub mod far_end;
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
