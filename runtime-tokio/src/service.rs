//! The way from a connection to the switchboard and back.

use crate::log;
use crate::server;
use crate::switch::{Answer, Message};
use callwarden_core::http::Request;
use callwarden_core::http::notice::{Notice, stopped};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

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
        let (reply, answer) = oneshot::channel();
        // A closed inbox drops the request, and with it the way for an answer.
        self.inbox.send(Message::Request { request, reply }).await.ok();
        answer.await.unwrap_or_else(|_| Answer::Response(stopped()))
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
        log::print(&notice.line());
    }
}

/// Hands the connection through: its task wakes for every frame.
fn unpaced(stream: TcpStream) -> TcpStream {
    stream
}
