//! The outgoing HTTP clients against real sockets on loopback: servers that behave, stall, lie and leave. Both are held
//! to the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::duplicate_mod, reason = "the same tests, once for each client")]

mod on_smol;
mod on_tokio;
