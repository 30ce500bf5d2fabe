//! A client that sends raw bytes and reads answers strictly.

use smol::future::FutureExt as _;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// Nothing here takes this long, whatever else the machine does: a wait that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits, but not for ever.
///
/// # Panics
/// After [`PATIENCE`].
pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    within(PATIENCE, what, wait).await
}

/// Waits for what may take longer than [`PATIENCE`].
///
/// # Panics
/// After `time`.
pub async fn within<T>(time: Duration, what: &str, wait: impl Future<Output = T>) -> T {
    let never = async {
        smol::Timer::after(time).await;
        panic!("waited in vain for {what}")
    };
    wait.or(never).await
}

/// Waits until a condition holds that nothing announces.
///
/// # Panics
/// After [`PATIENCE`].
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    soon(what, async {
        while !condition() {
            smol::Timer::after(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// One answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status code.
    pub status: u16,
    /// The header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The value of a header line that may stand once.
    ///
    /// # Panics
    /// When it stands twice.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} stands twice: {:?}", self.headers);
        first
    }
}

/// A connection that sends what it is told.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of one read.
    read_bytes: usize,
    /// For each request whose answer is to come: whether it is HEAD, so that its answer has no body.
    heads: Vec<bool>,
}

impl RawClient {
    /// A new connection.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new(), read_bytes: 64 * 1024, heads: Vec::new() })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the server has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.expect_answer_to(bytes);
        self.send_part(bytes).await
    }

    /// Notes requests that are sent in parts.
    pub fn expect_answer_to(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for (at, _) in text.match_indices(" HTTP/1.") {
            let line = text[..at].rsplit('\n').next().unwrap_or_default();
            self.heads.push(line.starts_with("HEAD "));
        }
    }

    /// Sends bytes that are a part of something.
    ///
    /// # Errors
    /// When the server has closed.
    pub async fn send_part(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// From now on reads a few bytes at a time.
    pub const fn read_slowly(&mut self) {
        self.read_bytes = 7;
    }

    /// Ends the client's half.
    ///
    /// # Errors
    /// When the server has closed.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads one answer; `None` when the server closed instead.
    ///
    /// # Panics
    /// When what comes is not a well formed answer, or nothing does.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        let end = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                assert_eq!(self.received, b"", "the server closed within an answer");
                return None;
            }
        };
        let head = String::from_utf8(self.received.drain(..end + 4).collect()).expect("an ASCII head");
        let mut answer = parse(&head);
        if answer.status < 200 {
            return Some(answer);
        }
        assert!(answer.header("date").is_some(), "{head}");
        let is_head = if self.heads.is_empty() { false } else { self.heads.remove(0) };
        let length = answer.header("content-length").map(|length| length.parse::<usize>().expect("a length"));
        assert_eq!(length.is_none(), matches!(answer.status, 204 | 304), "{head}");
        if !is_head {
            let length = length.unwrap_or_default();
            while self.received.len() < length {
                assert!(self.more().await, "the server closed within a body");
            }
            answer.body = self.received.drain(..length).collect();
        }
        Some(answer)
    }

    /// Reads until at least this many unused bytes are there, and shows all of them; `None` when the server closed
    /// instead. What was read stays when this is dropped.
    pub async fn peek(&mut self, count: usize) -> Option<&[u8]> {
        while self.received.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(&self.received)
    }

    /// Uses up this many bytes of those [`Self::peek`] showed.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.received.drain(..count).collect()
    }

    /// Reads exactly these bytes.
    ///
    /// # Panics
    /// When others come, or none.
    pub async fn expect(&mut self, bytes: &[u8]) {
        while self.received.len() < bytes.len() {
            assert!(self.more().await, "the server closed");
        }
        assert_eq!(self.received.drain(..bytes.len()).collect::<Vec<_>>(), bytes);
    }

    /// Reads to the end of the connection, whatever still comes.
    ///
    /// # Errors
    /// When it is reset instead, so that what was sent last may be lost.
    ///
    /// # Panics
    /// When neither comes.
    pub async fn end(mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        while soon("the end of the connection", self.stream.read(&mut buffer)).await? > 0 {}
        Ok(())
    }

    /// Reads to the end of the connection, and gives what still came.
    ///
    /// # Panics
    /// When the end does not come.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.received)
    }

    /// A reset counts as the end: what is asked here is whether more comes.
    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; self.read_bytes];
        match soon("bytes of the server", self.stream.read(&mut buffer)).await {
            Ok(bytes) => {
                self.received.extend_from_slice(&buffer[..bytes]);
                bytes > 0
            }
            Err(_) => false,
        }
    }
}

fn parse(head: &str) -> RawAnswer {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").expect("a header line");
        (name.to_ascii_lowercase(), value.to_owned())
    });
    RawAnswer { status: status[..3].parse().expect("a status"), headers: headers.collect(), body: Vec::new() }
}
