//! Whole deployments on loopback: server processes, the simulated Twilio that calls them, and the rows they write.
//!
//! Its functions are for tests: they panic where something that has to happen does not.

use crate::database::{Row, TestDatabase};
use crate::http::{PATIENCE, soon, within};
use crate::process::{ACCOUNT, AUTH_TOKEN, HOST, Server};
use callwarden::far_end::{self, FarEndService, PlacedCall};
use callwarden_core::far_end::{Ledger, Line, Plan};
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid};
use smol::Timer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Between two looks at something that nothing announces.
const LOOK: Duration = Duration::from_millis(20);

/// One Twilio account, one database, and the settings its servers have in common.
#[derive(Debug)]
pub struct Deployment {
    binary: &'static str,
    settings: Vec<(String, String)>,
    /// The simulated Twilio.
    pub twilio: FarEndService,
    /// Where the rows are.
    pub database: TestDatabase,
    directory: PathBuf,
    calls: AtomicU32,
}

impl Deployment {
    /// A deployment without a server; `settings` come on top of what every test needs.
    ///
    /// # Panics
    /// Without loopback.
    pub async fn new(binary: &'static str, database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("callwarden-פריסה-{}-{number}", std::process::id()));
        let twilio = FarEndService::listen().await.expect("loopback");
        let own = [("DATABASE_URL", database.url()), ("TWILIO_API_BASE", twilio.api_base())];
        let given = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let settings = own.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value)).collect();
        Self { binary, settings, twilio, database, directory, calls: AtomicU32::new(0) }
    }

    /// A server that has opened its database. Its `DATA_DIR` is that of its name.
    pub async fn server(&self, name: &str) -> Server {
        self.server_at(name, 0).await
    }

    /// Where the servers of this name keep their files.
    #[must_use]
    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Kills a server, as the system does when memory runs out, and starts it again on the same port.
    pub async fn kill_and_restart(&self, name: &str, server: Server) -> Server {
        let port = server.address().port();
        server.signal("KILL");
        server.ended();
        self.server_at(name, port).await
    }

    /// As [`Self::server`], on a port that another one has left.
    pub async fn server_at(&self, name: &str, port: u16) -> Server {
        let (data, port) = (self.data_dir(name).display().to_string(), port.to_string());
        let mut variables: Vec<_> = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.extend([("DATA_DIR", data.as_str()), ("PORT", port.as_str())]);
        let server = Server::start(self.binary, &variables);
        shows(&server, "/readyz", "\"db\":\"ok\"").await;
        server
    }

    /// Places a call to a server or to a balancer.
    ///
    /// # Panics
    /// Never: the account has the form of one.
    pub fn call(&self, address: SocketAddr, plan: Plan) -> Caller {
        let sid = CallSid::from_number(u128::from(self.calls.fetch_add(1, Ordering::Relaxed)) + 1);
        let account: AccountSid = ACCOUNT.parse().expect("an account");
        let line = Line::to_server(&format!("https://{HOST}"), account, sid, Some(Secret::new(AUTH_TOKEN)));
        Caller { sid, placed: self.twilio.call(&far_end::Server::from(address), line, plan) }
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
            Timer::after(PATIENCE).await;
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
            while !self.timeline(call).await.contains_key(event) {
                Timer::after(LOOK).await;
            }
        };
        soon(event, noted).await;
    }

    /// What is on the call's timeline, and when it was first noted, in milliseconds since 1970.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn timeline(&self, call: CallSid) -> BTreeMap<String, i64> {
        let mut timeline = BTreeMap::new();
        for row in self.rows_of("call_events", call).await {
            let at: i64 = row["at"].parse().expect("milliseconds");
            let first = timeline.entry(row["event"].clone()).or_insert(at);
            *first = at.min(*first);
        }
        timeline
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
        self.ended_within(PATIENCE).await
    }

    /// Waits for the end of a long call.
    pub async fn ended_within(self, time: Duration) -> (CallSid, Ledger) {
        (self.sid, within(time, "the end of a call", self.placed.ended()).await)
    }
}

/// The body of one of a server's pages.
///
/// # Panics
/// When it does not answer, or not with text.
pub async fn page(server: &Server, path: &str) -> String {
    let mut client = server.connect().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.expect("open");
    String::from_utf8(client.answer().await.expect("an answer").body).expect("text")
}

/// Waits until a page of a server holds `text`.
///
/// # Panics
/// When it does not, and as [`page`].
pub async fn shows(server: &Server, path: &str, text: &str) {
    let shown = async {
        while !page(server, path).await.contains(text) {
            Timer::after(LOOK).await;
        }
    };
    soon(text, shown).await;
}
