//! A server as a process of its own, met as an operator and Twilio meet it: environment, sockets, log, signals.
//!
//! The binary's path is the caller's to give: cargo tells it (`CARGO_BIN_EXE_…`) to the tests of the crate that builds it.

use crate::http::{PATIENCE, RawClient};
use crate::signal::kill;
use callwarden_core::config::TwilioAccount;
use callwarden_core::rest;
use callwarden_core::secret::Secret;
use callwarden_core::sid::CallSid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// The account whose webhooks are believed.
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// The account's auth token.
pub const AUTH_TOKEN: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
/// The host under which Twilio knows the server.
pub const HOST: &str = "calls.example";
/// The caller's number, which is personal data.
pub const FROM: &str = "+972501234567";
/// A word for queries, which are not logged.
pub const QUERY_WORD: &str = "pomegranate";

/// A running server process; it does not outlive its test.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: Arc<Log>,
    address: SocketAddr,
    directory: PathBuf,
    /// What no line of the log may hold.
    secrets: Mutex<Vec<String>>,
}

/// What the process has logged so far.
#[derive(Debug, Default)]
struct Log {
    written: Mutex<Written>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Server {
    /// Starts `binary` as it is deployed, on a free port of loopback, with an SQLite file and chatty; `variables` add
    /// to that or change it. Nothing of this process's environment is handed on.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(binary: &str, variables: &[(&str, &str)]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("callwarden-תהליך-{}-{number}", std::process::id()));
        let mut child = Command::new(binary)
            .env_clear()
            .env("PORT", "0")
            .env("BIND", "127.0.0.1")
            .env("PUBLIC_HOST", HOST)
            .env("TWILIO_ACCOUNT_SID", ACCOUNT)
            .env("TWILIO_AUTH_TOKEN", AUTH_TOKEN)
            // Nobody listens there, and a test that reaches Twilio's real API would be a fault.
            .env("TWILIO_API_BASE", "http://127.0.0.1:9")
            .env("DATABASE_URL", format!("sqlite:{}", directory.join("calls.db").display()))
            .env("DATA_DIR", &directory)
            .env("WORKER_THREADS", "2")
            // Its callers are silent, and not every test announces one to stream.
            .env("END_SILENCE", "0")
            .env("STREAM_START_TIMEOUT", "60s")
            .env("RUST_LOG", "debug")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = Arc::new(Log::default());
        let (stderr, reader) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        std::thread::spawn(move || reader.read(stderr));
        let account =
            TwilioAccount { sid: ACCOUNT.parse().expect("an account"), auth_tokens: vec![Secret::new(AUTH_TOKEN)] };
        let authorization = rest::authorization(&account, 0).expect("a token").expose().to_owned();
        let secrets = [FROM.trim_start_matches('+'), AUTH_TOKEN, &authorization, QUERY_WORD].map(str::to_owned).into();
        let nowhere = SocketAddr::from(([0; 4], 0));
        let mut server = Self { child, log, address: nowhere, directory, secrets: Mutex::new(secrets) };
        let started = server.wait_for_line("APP_START", |line| line["level"] == "INFO");
        let (_, address) = started["detail"].as_str().and_then(|text| text.split_once("http://")).expect("an address");
        server.address = address.split(' ').next().and_then(|text| text.parse().ok()).expect("an address");
        server
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its `DATA_DIR`, which goes with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new connection.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn connect(&self) -> RawClient {
        RawClient::connect(self.address).await.expect("it listens")
    }

    /// The lines of an event that fit, once all that was answered so far is logged.
    ///
    /// # Panics
    /// As [`Self::settle`].
    pub async fn settled_lines(&self, event: &str, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.settle().await;
        self.lines_of(event, fits)
    }

    /// Waits until all that was answered so far is logged: an answer leaves before its lines.
    ///
    /// # Panics
    /// As [`Self::lines`], and when the server does not answer.
    pub async fn settle(&self) {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let path = format!("/settled/{}", ASKED.fetch_add(1, Ordering::Relaxed));
        let mut client = self.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.expect("open");
        client.answer().await.expect("an answer");
        self.wait_for_line("RES", |line| line["path"] == path.as_str());
    }

    /// From now on this may not stand in the log.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn keep_secret(&self, text: &str) {
        self.secrets.lock().expect("no holder panics").push(text.to_owned());
    }

    /// The lines of its log so far.
    ///
    /// # Panics
    /// When one is no JSON.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        self.log.lock().lines.iter().map(|line| parse(line)).collect()
    }

    fn lines_of(&self, event: &str, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["message"] == event && fits(line)).collect()
    }

    /// The first line of an event that fits, as soon as it is there.
    ///
    /// # Panics
    /// When it does not come; with the log.
    pub fn wait_for_line(&self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let (mut written, mut seen) = (self.log.lock(), 0);
        loop {
            let new = written.lines[seen..].iter().map(|line| parse(line));
            if let Some(line) = new.into_iter().find(|line| line["message"] == event && fits(line)) {
                return line;
            }
            seen = written.lines.len();
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !written.ended, "no such {event} in the log:\n{}", written.lines.join("\n"));
            written = self.log.more.wait_timeout(written, left).expect("no holder panics").0;
        }
    }

    /// Every call that its log names.
    ///
    /// # Panics
    /// As [`Self::lines`].
    #[must_use]
    pub fn calls(&self) -> BTreeSet<CallSid> {
        let calls = self.lines();
        calls.iter().filter_map(|line| line["call_sid"].as_str()?.parse().ok()).collect()
    }

    /// Sends it a signal, by its short name.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, name: &str) {
        let killed = kill(name, &[self.child.id().to_string()]).status();
        assert!(killed.expect("a shell").success());
    }

    /// Waits for its end: the exit code (none after a killing signal), and the whole log, in which no secret stands and
    /// nothing panicked, and after which no webhook was ever answered with a 5xx.
    ///
    /// # Panics
    /// When one of that does not hold, or it does not end.
    pub fn ended(mut self) -> (Option<i32>, Vec<Value>) {
        let mut written = self.log.lock();
        let until = Instant::now() + PATIENCE;
        while !written.ended {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not end:\n{}", written.lines.join("\n"));
            written = self.log.more.wait_timeout(written, left).expect("no holder panics").0;
        }
        drop(written);
        let code = self.child.wait().expect("a child").code();
        self.check_log();
        (code, self.lines())
    }

    fn check_log(&self) {
        let secrets = self.secrets.lock().expect("no holder panics");
        for line in &self.log.lock().lines {
            for secret in secrets.iter() {
                assert!(!line.contains(secret.as_str()), "{secret} stands in the log: {line}");
            }
            assert!(!line.contains("panicked") && !line.contains("internal error"), "{line}");
        }
        for line in self.lines_of("RES", |line| line["path"].as_str().is_some_and(|path| path.starts_with("/webhook")))
        {
            assert!(line["status"].as_u64().is_some_and(|status| status < 500), "{line}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.directory).ok();
        if std::thread::panicking() {
            eprintln!("The log of the server at {}:\n{}", self.address, self.log.lock().lines.join("\n"));
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self, stderr: ChildStderr) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            self.lock().lines.push(line);
            self.more.notify_all();
        }
        self.lock().ended = true;
        self.more.notify_all();
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("the log holds a line that is no JSON: {error}: {line}"))
}
