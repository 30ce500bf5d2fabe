//! Transcription from end to end: real server processes, real sockets, a simulated Twilio and a simulated OpenAI, and
//! the rows in Postgres and in SQLite.
//!
//! Calls last as long as they last, so they run side by side. No log of a server in here may hold a word that was said,
//! a phone number or the key: every server's end looks through all of it.

mod faults;
mod live;
mod memory;
mod nodes;
mod outages;
mod recordings;
mod storage;
mod voice;

use super::BINARY;
use callwarden::far_end::OpenAiService;
use callwarden_core::far_end::openai::Ear;
use callwarden_core::far_end::{HangUp, Plan, sample};
use callwarden_core::secret::Secret;
use callwarden_core::sid::CallSid;
use callwarden_core::store::spooled;
use callwarden_tests::database::{Row, TestDatabase};
use callwarden_tests::deployment::{Caller, Deployment, page, shows};
use callwarden_tests::http::soon;
use callwarden_tests::process::Server;
use serde_json::Value;
use smol::Timer;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use voice::Script;

/// The key of the simulated OpenAI.
const KEY: &str = "sk-simulated-9f8e7d6c5b4a";
/// The number called, which is personal data like the caller's.
const TO: &str = "97233760000";
/// Between two looks at something that nothing announces.
const LOOK: Duration = Duration::from_millis(20);
/// How long after the end of an utterance, or of a call, its text may be missing; the service's own time comes on top.
const PROMPT: Duration = Duration::from_secs(2);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An OpenAI and a deployment that asks it.
struct Site {
    openai: OpenAiService,
    deployment: Deployment,
}

impl Site {
    async fn new(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let passage = sample::passage().expect("a table of words");
        let openai = OpenAiService::listen(Secret::new(KEY), Ear::new(vec![passage])).await.expect("loopback");
        let base = openai.base_url();
        let own = [("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", base.as_str())];
        let deployment = Deployment::new(BINARY, database, &[&SILENT_PROMPTS[..], &own, settings].concat()).await;
        Self { openai, deployment }
    }

    async fn server(&self, name: &str) -> Server {
        discreet(self.deployment.server(name).await)
    }

    /// The row of a call whose transcript is as it will stay.
    async fn settled(&self, call: CallSid) -> Row {
        self.deployment.row(call, is_settled).await
    }

    /// The row of a call that is over, once this is its whole transcript. What a stream heard is written by several
    /// commands at once: until the last of them a row may be final and lack a part.
    async fn transcribed(&self, call: CallSid, text: &str) -> Row {
        self.deployment.row(call, |row| is_settled(row) && transcript(row) == (Some("done"), Some(text))).await
    }

    /// A call's stretches of speech, in order.
    async fn segments(&self, call: CallSid) -> Vec<Row> {
        let mut rows = self.deployment.rows_of("transcript_segments", call).await;
        rows.retain(|row| row["sequence"] != "0");
        rows.sort_by_key(|row| (row["started_at"].clone(), number(row, "sequence")));
        rows
    }

    /// Waits until a call's stretches of speech are as expected.
    async fn segments_until(&self, call: CallSid, what: &str, is_expected: impl Fn(&[Row]) -> bool) -> Vec<Row> {
        soon(what, async {
            loop {
                let rows = self.segments(call).await;
                if is_expected(&rows) {
                    return rows;
                }
                Timer::after(LOOK).await;
            }
        })
        .await
    }

    /// The row of a call's only recording, once it is as expected.
    async fn recording_until(&self, call: CallSid, is_expected: impl Fn(&Row) -> bool) -> Row {
        soon("a recording's row", async {
            loop {
                let rows = self.deployment.rows_of("recordings", call).await;
                if let [row] = &rows[..]
                    && is_expected(row)
                {
                    return row.clone();
                }
                Timer::after(LOOK).await;
            }
        })
        .await
    }

    /// The files of speech in the `DATA_DIR` of this name.
    fn paths(&self, name: &str) -> Vec<PathBuf> {
        let nodes = entries(&self.deployment.data_dir(name).join("utterances")).into_iter();
        let files = nodes.filter(|node| node.is_dir()).flat_map(|node| entries(&node));
        files.filter(|path| !path.to_str().is_some_and(spooled::is_one)).collect()
    }

    /// Their names.
    fn files(&self, name: &str) -> Vec<String> {
        let text = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).expect("UTF-8").to_owned();
        self.paths(name).iter().map(text).collect()
    }

    /// Waits until no file is left there: a text is stored before its file goes.
    async fn no_files(&self, name: &str) {
        soon("no file", async {
            while !self.files(name).is_empty() {
                Timer::after(LOOK).await;
            }
        })
        .await;
    }

    /// How many processes the `DATA_DIR` of this name knows of.
    fn nodes(&self, name: &str) -> usize {
        let entries = entries(&self.deployment.data_dir(name).join("utterances"));
        entries.iter().filter(|entry| entry.extension().is_some_and(|name| name == "lock")).count()
    }

    /// Nothing was transcribed twice, and these are the texts there were, in whatever order.
    fn paid_for(&self, expected: &[&str]) {
        let ledger = self.openai.ledger();
        let (mut texts, mut expected): (Vec<_>, Vec<_>) = (ledger.texts().collect(), expected.to_vec());
        texts.sort_unstable();
        expected.sort_unstable();
        assert_eq!((ledger.repeats(), texts), (vec![], expected));
    }
}

/// Calls without prompts: what is timed is what is said.
const SILENT_PROMPTS: [(&str, &str); 3] = [("GREETING_TEXT", ""), ("FALLBACK_TEXT", ""), ("GOODBYE_TEXT", "")];

/// From now on nothing of what is said, by whom, or with which key, may stand in the server's log: in no spelling that a
/// library could have.
fn discreet(server: Server) -> Server {
    server.keep_secret(KEY);
    server.keep_secret(TO);
    for word in Script::sample().words() {
        let word = word.trim_end_matches(['.', ',', '?']);
        let escaped = |prefix: &str| word.bytes().map(|byte| format!("{prefix}{byte:02x}")).collect::<String>();
        for spelling in [word.to_owned(), escaped("\\x"), escaped("\\\\x"), escaped("%").to_uppercase()] {
            server.keep_secret(&spelling);
        }
    }
    server
}

/// Ends a server whose calls are all over; its log is discreet and nothing panicked.
fn stopped(server: Server) -> Vec<Value> {
    server.signal("TERM");
    let (code, lines) = server.ended();
    assert_eq!(code, Some(0));
    lines
}

/// A caller of this script who goes on until something ends the call.
fn says(script: &Script) -> Plan {
    Plan {
        speaks: Duration::from_secs(600),
        message: Duration::from_secs(600),
        voice: script.audio(),
        recording_delay: millis(100),
        ..Plan::default()
    }
}

/// A caller who hangs up so long after the first frame.
fn leaves(script: &Script, after: Duration) -> Plan {
    Plan { hangs_up: HangUp::Streaming(after), ..says(script) }
}

/// Waits until the first stream of a caller has sent so many samples.
async fn spoken(caller: &Caller, samples: usize) {
    let sent = |frames: u64| frames >= samples.div_ceil(voice::FRAME) as u64;
    caller.until("a caller's frames", |ledger| ledger.streams.first().is_some_and(|stream| sent(stream.frames))).await;
}

/// The rows of what a stream heard may be written by several commands at once: until the end of the call is written too,
/// an empty transcript may only lack its first part.
fn is_settled(row: &Row) -> bool {
    column(row, "ended_at").is_some() && column(row, "transcript_status").is_some_and(|status| status != "pending")
}

fn column<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name).map(String::as_str)
}

fn number(row: &Row, name: &str) -> u64 {
    column(row, name).map_or(0, |number| number.parse().expect("a number"))
}

/// Status and text of a transcript.
fn transcript(row: &Row) -> (Option<&str>, Option<&str>) {
    (column(row, "transcript_status"), column(row, "transcript"))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// A member of `/readyz`.
async fn ready(server: &Server, name: &str) -> Value {
    serde_json::from_str::<Value>(&page(server, "/readyz").await).expect("JSON")[name].take()
}

/// Waits until `/readyz` says this of the transcription service.
async fn openai_is(server: &Server, state: &str) {
    shows(server, "/readyz", &format!("\"openai\":\"{state}\"")).await;
}
