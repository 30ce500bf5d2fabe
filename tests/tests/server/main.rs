//! The HTTP servers over real sockets, met with hostile and odd requests. Both are held to the same answers.

#![expect(clippy::duplicate_mod, reason = "the same tests, once for each server")]

mod on_smol;
mod on_tokio;
