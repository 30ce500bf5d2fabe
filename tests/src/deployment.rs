//! Whole deployments on loopback: server processes, the simulated Twilio that calls them, and the rows they write.
//!
//! Its functions are for tests: they panic where something that has to happen does not.

use crate::database::{Row, TestDatabase};
use crate::http::{RawAnswer, RawClient, soon};
use callwarden::far_end::{FarEndService, PlacedCall, Server};
use callwarden_core::far_end::{Ledger, Line, Plan};
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid};
use serde_json::Value;
use smol::Timer;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The name Twilio knows a deployment by. Nothing resolves it: the far end connects where it is told.
pub const PUBLIC_HOST: &str = "calls.example";
/// What the server and Twilio share.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Between two looks at something that nothing announces.
const LOOK: Duration = Duration::from_millis(20);

/// One Twilio account, one database, and the settings its servers have in common.
#[derive(Debug)]
pub struct Deployment {
    program: &'static str,
    settings: Vec<(String, String)>,
    /// The simulated Twilio.
    pub twilio: FarEndService,
    /// Where the rows are.
    pub database: TestDatabase,
    directory: PathBuf,
    servers: AtomicU32,
    calls: AtomicU32,
}

impl Deployment {
    /// A deployment without a server. `program` is the server's binary; `settings` come on top of what every test needs.
    ///
    /// # Panics
    /// Without loopback.
    pub async fn new(program: &'static str, database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("callwarden-פריסה-{}-{number}", std::process::id()));
        let twilio = FarEndService::listen().await.expect("loopback");
        let own = [
            ("BIND", "127.0.0.1".to_owned()),
            ("PUBLIC_HOST", PUBLIC_HOST.to_owned()),
            ("DATABASE_URL", database.url()),
            ("TWILIO_ACCOUNT_SID", Self::account().to_string()),
            ("TWILIO_AUTH_TOKEN", AUTH_TOKEN.to_owned()),
            ("TWILIO_API_BASE", twilio.api_base()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        let given = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let settings = own.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value)).collect();
        let (servers, calls) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { program, settings, twilio, database, directory, servers, calls }
    }

    /// The account of every call.
    #[must_use]
    pub fn account() -> AccountSid {
        AccountSid::from_number(0xA11)
    }

    /// A new server that has opened its database.
    pub async fn server(&self) -> ServerProcess {
        let number = self.servers.fetch_add(1, Ordering::Relaxed);
        let data = self.directory.join(format!("node-{number}"));
        let mut settings = self.settings.clone();
        settings.push(("DATA_DIR".to_owned(), data.display().to_string()));
        let server = ServerProcess::start(self.program, settings, 0).await;
        server.ready().await;
        server
    }

    /// Places a call to a server or to a balancer.
    pub fn call(&self, address: SocketAddr, plan: Plan) -> Caller {
        let sid = CallSid::from_number(u128::from(self.calls.fetch_add(1, Ordering::Relaxed)) + 1);
        let token = Some(Secret::new(AUTH_TOKEN));
        let line = Line::to_server(&format!("https://{PUBLIC_HOST}"), Self::account(), sid, token);
        Caller { sid, placed: self.twilio.call(&Server::from(address), line, plan) }
    }

    /// The call's row, once it is as expected.
    ///
    /// # Panics
    /// When it does not become so, showing it.
    pub async fn row(&self, call: CallSid, is_expected: impl Fn(&Row) -> bool) -> Row {
        let latest = Mutex::new(None);
        let find = async {
            loop {
                let rows = self.database.rows("call_log").await;
                let row = rows.into_iter().find(|row| row["call_sid"] == call.as_str());
                if row.as_ref().is_some_and(&is_expected) {
                    return row;
                }
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = row;
                Timer::after(LOOK).await;
            }
        };
        let given_up = async {
            Timer::after(crate::http::PATIENCE).await;
            None
        };
        smol::future::or(find, given_up).await.unwrap_or_else(|| panic!("{call} is not as expected: {latest:?}"))
    }

    /// The call's rows of another table.
    pub async fn rows_of(&self, table: &str, call: CallSid) -> Vec<Row> {
        let rows = self.database.rows(table).await;
        rows.into_iter().filter(|row| row["call_sid"] == call.as_str()).collect()
    }

    /// Waits for an event on the call's timeline.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn noted(&self, call: CallSid, event: &str) {
        let noted = async {
            while !self.timeline(call).await.iter().any(|found| found == event) {
                Timer::after(LOOK).await;
            }
        };
        soon(event, noted).await;
    }

    /// The names on the call's timeline, in the order of their times.
    pub async fn timeline(&self, call: CallSid) -> Vec<String> {
        let mut rows = self.rows_of("call_events", call).await;
        rows.sort_by_key(|row| row["at"].parse::<i64>().expect("milliseconds"));
        rows.into_iter().map(|row| row["event"].clone()).collect()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        // Nothing is there when no server was started.
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

/// A call under way.
#[derive(Debug)]
pub struct Caller {
    /// Its identifier.
    pub sid: CallSid,
    placed: PlacedCall,
}

impl Caller {
    /// The account up to this moment.
    #[must_use]
    pub fn so_far(&self) -> Ledger {
        self.placed.so_far()
    }

    /// Waits until the account is as expected.
    pub async fn until(&self, what: &str, is_expected: impl Fn(&Ledger) -> bool) -> Ledger {
        soon(what, async {
            loop {
                let ledger = self.so_far();
                if is_expected(&ledger) {
                    return ledger;
                }
                Timer::after(LOOK).await;
            }
        })
        .await
    }

    /// The caller hangs up.
    pub fn hang_up(&self) {
        self.placed.hang_up();
    }

    /// Waits for the end of the call.
    pub async fn ended(self) -> (CallSid, Ledger) {
        (self.sid, soon("the end of a call", self.placed.ended()).await)
    }
}

/// A running server; killed when dropped. After a failed test its log is shown.
#[derive(Debug)]
pub struct ServerProcess {
    program: &'static str,
    settings: Vec<(String, String)>,
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl ServerProcess {
    async fn start(program: &'static str, settings: Vec<(String, String)>, port: u16) -> Self {
        let mut command = Command::new(program);
        let variables = settings.iter().map(|(name, value)| (name, value));
        command.env_clear().envs(variables).env("PORT", port.to_string()).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server runs");
        let log = Arc::default();
        let stderr = child.stderr.take().expect("piped");
        let reader = Some(std::thread::spawn({
            let log = Arc::clone(&log);
            move || read_log(stderr, &log)
        }));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self { program, settings, child, address: nowhere, log, reader };
        let line = server.line("APP_START", 0).await;
        let (_, address) = line["detail"].as_str().and_then(|detail| detail.split_once("http://")).expect("an address");
        server.address = address.split(' ').next().and_then(|address| address.parse().ok()).expect("an address");
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until its database is open.
    pub async fn ready(&self) {
        let open = async {
            while !self.page("/readyz").await.contains("\"db\":\"ok\"") {
                Timer::after(LOOK).await;
            }
        };
        soon("an open database", open).await;
    }

    /// What it answers to one request, sent as it stands.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn ask(&self, request: &str) -> RawAnswer {
        let mut client = RawClient::connect(self.address).await.expect("the server listens");
        client.send(request.as_bytes()).await.expect("sent");
        client.answer().await.expect("an answer")
    }

    /// The body of one of its pages.
    ///
    /// # Panics
    /// When it is no text.
    pub async fn page(&self, path: &str) -> String {
        let answer =
            self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {PUBLIC_HOST}\r\nConnection: close\r\n\r\n")).await;
        String::from_utf8(answer.body).expect("text")
    }

    /// The lines of its log that tell of `event`.
    #[must_use]
    pub fn lines(&self, event: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = log.iter().filter(|line| line.contains(event)).filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &Value| line["message"] == event).collect()
    }

    /// The line of its log that tells of `event` for the first time, the second, …, counted from 0; waits for it.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn line(&self, event: &str, number: usize) -> Value {
        let logged = async {
            loop {
                if let Some(line) = self.lines(event).into_iter().nth(number) {
                    return line;
                }
                Timer::after(LOOK).await;
            }
        };
        soon(event, logged).await
    }

    /// Kills it, as the system does when memory runs out, and starts it again on the same port.
    pub async fn kill_and_restart(&mut self) {
        self.stop();
        let (program, settings, port) = (self.program, self.settings.clone(), self.address.port());
        *self = Self::start(program, settings, port).await;
    }

    /// Sends the signal of an orderly stop.
    ///
    /// # Panics
    /// When the system has no `kill`.
    pub fn terminate(&self) {
        let killed = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("a child") {
                    return status.code();
                }
                Timer::after(LOOK).await;
            }
        };
        let code = soon("the end of a server", ended).await;
        self.stop();
        code
    }

    /// Ends it, if it runs, and reads its log to the end.
    fn stop(&mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic");
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("The log of the server at {}:\n{}", self.address, log.join("\n"));
        }
    }
}

fn read_log(stderr: ChildStderr, log: &Mutex<Vec<String>>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
