//! What an HTTP server does without asking the service: for the log, and the answers it gives by itself.

use super::Response;
use super::head::Refusal;
use crate::log::{Event, Level, LogLine};
use core::net::IpAddr;
use std::io;

/// What the server did without asking the service.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A request was refused before it was routed, and the client was told so.
    Refused {
        /// The client.
        peer: IpAddr,
        /// The rule it broke.
        refusal: Refusal,
    },
    /// The service panicked.
    Panicked {
        /// The client, whose connection is closed.
        peer: IpAddr,
    },
    /// An answer of the service cannot be written down, and the client got none: a fault of ours.
    Unwritable {
        /// The client, whose connection is closed.
        peer: IpAddr,
        /// What is wrong with the answer.
        error: &'a io::Error,
    },
    /// A connection was closed at once, because `limits::CONNECTIONS_MAX` are open.
    Full {
        /// The client.
        peer: IpAddr,
    },
    /// No connection could be accepted; tried again after `limits::ACCEPT_RETRY`.
    AcceptFailed(&'a io::Error),
}

impl Notice<'_> {
    /// The line of the log.
    #[must_use]
    pub fn line(&self) -> LogLine {
        let line = |level, reason: &str| LogLine::new(level, Event::BadRequest).reason(reason);
        match self {
            // Ordinary on the internet: every scanner causes some.
            Self::Refused { peer, refusal } => line(Level::Info, "refused").cause(refusal).detail(peer),
            Self::Panicked { peer } => line(Level::Error, "service_panicked").detail(peer),
            Self::Unwritable { peer, error } => line(Level::Error, "answer_unwritable").cause(error).detail(peer),
            Self::Full { peer } => line(Level::Error, "too_many_connections").detail(peer),
            Self::AcceptFailed(error) => line(Level::Error, "accept_failed").cause(error),
        }
    }
}

/// The answer when there is no switchboard any more: the process is ending.
#[must_use]
pub fn stopped() -> Response {
    Response::text(503, "This process is stopping. Try again in a second.\n").with("retry-after", "1")
}

/// The answer to a plain request for what only a WebSocket can have.
#[must_use]
pub fn not_a_handshake() -> Response {
    Response::text(426, "this path is a WebSocket: send a handshake\n")
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
}
