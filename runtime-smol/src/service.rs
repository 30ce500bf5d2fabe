//! The way from a connection to the switchboard and back.

use crate::log;
use crate::server::{self, Notice};
use crate::switch::{Answer, Message};
use callwarden_core::http::{Request, Response};
use callwarden_core::log::{Event, Level, LogLine};
use smol::channel::{Sender, bounded};
use smol::net::TcpStream;

/// Answers requests. Every connection has a copy.
#[derive(Clone, Debug)]
pub struct Service {
    inbox: Sender<Message>,
}

impl Service {
    /// A service in front of the switchboard's inbox.
    pub(crate) fn new(inbox: Sender<Message>) -> Self {
        Self { inbox }
    }

    async fn ask(&self, request: Request) -> Answer {
        let (reply, answer) = bounded(1);
        // A closed inbox drops the request, and with it the way for an answer.
        self.inbox.send(Message::Request { request, reply }).await.ok();
        answer.recv().await.unwrap_or_else(|_| Answer::Response(stopped()))
    }
}

impl server::Service for Service {
    /// An upgrade that is dropped, because its client is gone, reports its stream's end by itself.
    async fn call(&self, request: Request) -> server::Answer {
        match self.ask(request).await {
            Answer::Response(response) => server::Answer::Reply(response),
            Answer::Upgrade(session) => server::Answer::Upgrade(Box::new(|upgraded| {
                Box::pin(async move { session.run(upgraded.socket(unpaced).await).await })
            })),
        }
    }

    fn notice(&self, notice: Notice<'_>) {
        let line = |level, reason: &str| LogLine::new(level, Event::BadRequest).reason(reason);
        log::print(&match notice {
            // Ordinary on the internet: every scanner causes some.
            Notice::Refused { peer, refusal } => line(Level::Info, "refused").cause(refusal).detail(peer),
            Notice::Panicked { peer } => line(Level::Error, "service_panicked").detail(peer),
            Notice::Unwritable { peer, error } => line(Level::Error, "answer_unwritable").cause(error).detail(peer),
            Notice::Full { peer } => line(Level::Error, "too_many_connections").detail(peer),
            Notice::AcceptFailed(error) => line(Level::Error, "accept_failed").cause(error),
        });
    }
}

/// Hands the connection through: its task wakes for every frame.
fn unpaced(stream: TcpStream) -> TcpStream {
    stream
}

/// There is no switchboard any more: the process is ending.
fn stopped() -> Response {
    Response::text(503, "This process is stopping. Try again in a second.\n").with("retry-after", "1")
}
