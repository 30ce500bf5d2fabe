//! The HTTP server over real sockets, met with hostile and odd requests.

mod answers;
mod cases;
