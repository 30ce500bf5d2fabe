//! One connection: request, answer, and so on until one side has enough.

use super::{Answer, Entered, OnUpgrade, Service, Shared, Upgraded, answer};
use bytes::Bytes;
use callwarden_core::http::gate::{Gate, Step};
use callwarden_core::http::head::{Head, Refusal};
use callwarden_core::http::notice::{Notice, not_a_handshake};
use callwarden_core::http::websocket::Upgrade;
use callwarden_core::http::{Method, Request, Response};
use futures_util::FutureExt as _;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

/// Bytes of one read; Twilio's webhooks fit. On the heap and dropped with the connection's task.
const READ_BYTES: usize = 4 * 1024;

/// Runs a connection to its end. Errors of the socket need no handling: the client is gone, and knows.
pub(super) async fn run<S: Service>(shared: &Shared<S>, stream: TcpStream, peer: IpAddr, entered: Entered) {
    let buffer = vec![0; READ_BYTES].into_boxed_slice();
    let connection = Connection { shared, stream, peer, gate: Gate::default(), buffer };
    if let Ok(Some((socket, on_upgrade))) = connection.serve().await {
        shared.spawner.spawn(async move {
            on_upgrade(socket).await;
            drop(entered);
        });
    }
}

/// What comes after the requests that were answered.
enum Next {
    /// A request to answer.
    Request(Head, Bytes),
    /// Tell the client which rule it broke, and close.
    Refuse(Refusal),
    /// Nothing more: the client closed, was idle for too long, or the server stops.
    End,
}

/// What is done with a connection after an answer.
enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It is closed so that the client can read what it was sent.
    Close,
    /// It is closed at once.
    Drop,
    /// It becomes a WebSocket.
    Upgrade(OnUpgrade),
}

struct Connection<'a, S> {
    shared: &'a Shared<S>,
    stream: TcpStream,
    peer: IpAddr,
    gate: Gate,
    buffer: Box<[u8]>,
}

impl<S: Service> Connection<'_, S> {
    async fn serve(mut self) -> io::Result<Option<(Upgraded, OnUpgrade)>> {
        loop {
            let after = match self.next().await? {
                Next::Request(head, body) => self.answer(head, body).await?,
                Next::Refuse(refusal) => {
                    self.shared.service.notice(Notice::Refused { peer: self.peer, refusal });
                    self.reply(&refusal.response(), None, false).await?
                }
                Next::End => After::Drop,
            };
            match after {
                // A client whose requests are always there already must not keep a thread to itself.
                After::KeepAlive => yield_now().await,
                After::Close => {
                    self.linger().await?;
                    return Ok(None);
                }
                After::Drop => return Ok(None),
                After::Upgrade(on_upgrade) => {
                    let upgraded = Upgraded { stream: self.stream, early: self.gate.into_rest() };
                    return Ok(Some((upgraded, on_upgrade)));
                }
            }
        }
    }

    /// Reads until a request is whole, or a rule or a deadline is broken.
    async fn next(&mut self) -> io::Result<Next> {
        let limits = self.shared.limits;
        let idle_until = Instant::now() + limits.idle_time;
        let (mut head_until, mut body_until) = (None, None);
        loop {
            let (until, late) = match self.gate.advance() {
                Ok(Step::Request(head, body)) => return Ok(Next::Request(head, body)),
                Err(refusal) => return Ok(Next::Refuse(refusal)),
                Ok(Step::Idle) if self.shared.stop.is_told() => return Ok(Next::End),
                Ok(Step::Idle) => (idle_until, None),
                Ok(Step::Head) => (due(&mut head_until, limits.head_time), Some(Refusal::HeadLate)),
                Ok(Step::Body { ask }) => {
                    if ask {
                        self.write(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), &[]).await?;
                    }
                    (due(&mut body_until, limits.body_time), Some(Refusal::BodyLate))
                }
            };
            let shared = self.shared;
            let read = match late {
                None => tokio::select! {
                    biased;
                    read = self.read(until) => read,
                    () = shared.stop.wait() => None,
                },
                Some(_) => self.read(until).await,
            };
            match read.transpose()? {
                Some(0) => return Ok(Next::End),
                Some(bytes) => self.gate.receive(&self.buffer[..bytes]),
                None => return Ok(late.map_or(Next::End, Next::Refuse)),
            }
        }
    }

    async fn answer(&mut self, head: Head, body: Bytes) -> io::Result<After> {
        let Head { method, target, headers, keep_alive, upgrade, .. } = head;
        let request = Request { method, target, headers, body, peer: self.peer };
        let answer = AssertUnwindSafe(async { self.shared.service.call(request).await }).catch_unwind().await;
        let keep_alive = keep_alive && !self.shared.stop.is_told();
        match (answer, upgrade) {
            (Ok(Answer::Reply(response)), _) => self.reply(&response, Some(method), keep_alive).await,
            (Ok(Answer::Upgrade(on_upgrade)), Some(upgrade)) => self.upgrade(&upgrade, on_upgrade).await,
            (Ok(Answer::Upgrade(_)), None) => self.reply(&not_a_handshake(), Some(method), keep_alive).await,
            (Ok(Answer::Close), _) => Ok(After::Drop),
            (Err(_), _) => {
                self.shared.service.notice(Notice::Panicked { peer: self.peer });
                Ok(After::Drop)
            }
        }
    }

    async fn upgrade(&mut self, upgrade: &Upgrade, on_upgrade: OnUpgrade) -> io::Result<After> {
        self.write(upgrade.switching_protocols().into_bytes(), &[]).await?;
        Ok(After::Upgrade(on_upgrade))
    }

    async fn reply(&mut self, response: &Response, method: Option<Method>, keep_alive: bool) -> io::Result<After> {
        let head = match answer::head(response, keep_alive, SystemTime::now()) {
            Ok(head) => head,
            Err(error) => {
                self.shared.service.notice(Notice::Unwritable { peer: self.peer, error: &error });
                return Ok(After::Drop);
            }
        };
        let body = match method {
            Some(Method::Head) => &[],
            _ if response.has_no_body() => &[],
            _ => &response.body[..],
        };
        self.write(head, body).await?;
        Ok(if keep_alive { After::KeepAlive } else { After::Close })
    }

    /// Writes within the time a client has to take an answer.
    async fn write(&mut self, head: Vec<u8>, body: &[u8]) -> io::Result<()> {
        let until = Instant::now() + self.shared.limits.write_time;
        let written = timeout_at(until, answer::write(&mut self.stream, head, body)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends our half and reads the client's away, so that it can read the answer before the connection is gone.
    async fn linger(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let until = Instant::now() + self.shared.limits.linger_time;
        while self.read(until).await.transpose()?.is_some_and(|bytes| bytes > 0) {
            // A client that sends faster than this reads would hold the thread until the deadline.
            yield_now().await;
        }
        Ok(())
    }

    /// Reads into the buffer: how many bytes, or `None` once it is `until`. The clock is asked first, because a client
    /// that always has a byte ready never lets the timer be looked at.
    async fn read(&mut self, until: Instant) -> Option<io::Result<usize>> {
        if until <= Instant::now() {
            return None;
        }
        timeout_at(until, self.stream.read(&mut self.buffer)).await.ok()
    }
}

/// The deadline that starts now unless it has started.
fn due(until: &mut Option<Instant>, time: Duration) -> Instant {
    *until.get_or_insert_with(|| Instant::now() + time)
}
