//! What became of a call, in lines of text that can be compared: without times, nodes, tokens and counts of frames, which
//! are never the same twice.

use callwarden_core::far_end::{Heard, Ledger};
use callwarden_core::log::{Level, LogLine};
use callwarden_core::sid::CallSid;
use callwarden_core::store::{Fact, StoreCommand};
use callwarden_tests::database::{Row, TestDatabase, answered};
use callwarden_tests::world::World;
use serde_json::Value;
use std::time::Duration;

/// A silence shorter than this is the network's and the machine's.
const SHORT: Duration = Duration::from_millis(600);
/// Columns that hold times or names of processes; claims, which are no facts; and transcripts, whose segments the
/// simulated database does not show: they are compared by themselves.
const NEVER_THE_SAME: [&str; 10] = [
    "at",
    "claim_node",
    "claim_until",
    "created_at",
    "job_until",
    "node",
    "node_at",
    "transcript",
    "transcript_status",
    "updated_at",
];
/// Columns of which only whether there is a value can be compared.
const PRESENT: [&str; 9] = [
    "duration_seconds",
    "ended_at",
    "fallback_at",
    "finished_at",
    "first_media_at",
    "frames",
    "how_far_at",
    "job_next_at",
    "stream_started_at",
];
/// What the two Twilios put into different words: the simulated network has no close frames and no sockets that break,
/// and one text for every refusal.
const WORDS: [(&str, &str); 5] = [
    ("closed without a code", "closed"),
    ("closed with 1000", "closed"),
    ("lost: WebSocket protocol error: Connection reset without closing handshake", "lost"),
    ("lost: connection reset", "lost"),
    ("Authenticate", "refused"),
];
/// Noted unless Twilio's word that the call is over came first, on another connection.
const MAY_COME_TOO_LATE: &str = "stop";

/// A document without its token.
pub(super) fn without_token(twiml: &str) -> String {
    match twiml.split_once("name=\"token\" value=\"") {
        Some((before, rest)) => {
            let after = rest.split_once('"').map_or("", |(_, after)| after);
            format!("{before}name=\"token\" value=\"#\"{after}")
        }
        None => twiml.to_owned(),
    }
}

/// A text in common words, whose numbers are not to be compared.
fn in_common(text: &str) -> String {
    let text = WORDS.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    // Which of two webhooks comes first, that of the failure or that of its consequence, is the network's affair.
    let text = text.split("; Twilio reported").next().unwrap_or_default();
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}

/// What the caller heard and Twilio did.
pub(super) fn of_ledger(ledger: &Ledger) -> Vec<String> {
    let mut heard: Vec<Heard> = Vec::new();
    for span in &ledger.spans {
        let is_short = span.heard.is_silence() && span.length() < SHORT;
        if !is_short && heard.last() != Some(&span.heard) {
            heard.push(span.heard);
        }
    }
    let mut lines = vec![format!("heard {heard:?}"), format!("ended {:?}", ledger.ended.map(|(_, by)| by))];
    lines.push(format!("updates {}", ledger.updates.len()));
    for document in &ledger.documents {
        let from = document.from.as_deref().unwrap_or("REST");
        lines.push(format!("document {from} {}", without_token(&document.twiml)));
    }
    lines.extend(ledger.problems.iter().map(|problem| format!("problem {}", problem.code)));
    lines.extend(ledger.recordings.iter().map(|recorded| format!("recorded {}", recorded.recording)));
    for stream in &ledger.streams {
        let (sid, closed) = (stream.stream, stream.closed);
        lines.push(format!("stream {sid} closed {closed:?} marked {}", stream.marks > 0));
    }
    lines
}

/// A row, from which nothing is read that is never the same.
fn of_row(table: &str, row: &Row) -> String {
    let columns = row.iter().filter(|(name, _)| !NEVER_THE_SAME.contains(&name.as_str()));
    let columns = columns.map(|(name, value)| match name.as_str() {
        name if PRESENT.contains(&name) => format!(" {name}"),
        "how_far" | "detail" => format!(" {name}={:?}", in_common(value)),
        name => format!(" {name}={value:?}"),
    });
    format!("{table}:{}", columns.collect::<String>())
}

/// The rows about a call.
pub(super) async fn of_rows(database: &TestDatabase, call: CallSid) -> Vec<String> {
    let mut lines = Vec::new();
    for table in ["call_log", "call_events", "recordings"] {
        let rows = database.rows(table).await;
        let about = rows.iter().filter(|row| row.get("call_sid").is_some_and(|sid| sid == call.as_str()));
        let about = about.filter(|row| row.get("event").is_none_or(|event| event != MAY_COME_TOO_LATE));
        lines.extend(about.map(|row| of_row(table, row)));
    }
    // Equal events of one millisecond are one row.
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// The rows that the facts of a world come to in a real database.
pub(super) async fn of_facts(world: &World, call: CallSid) -> Vec<String> {
    let database = TestDatabase::sqlite();
    let store = database.store().await;
    let calls = world.database.call_facts.iter().map(|(_, fact)| Fact::Call(fact.clone()));
    let events = world.database.events.iter().cloned().map(Fact::Event);
    let recordings = world.database.recordings.iter().cloned().map(Fact::Recording);
    for fact in calls.chain(events).chain(recordings) {
        answered(&store, StoreCommand::Facts(vec![fact])).await;
    }
    of_rows(&database, call).await
}

/// Lines that tell of the moment or of the machine rather than of the call.
const OF_THE_MOMENT: [&str; 3] = ["DB_", "RES", "REQ"];

fn is_of_the_call(event: &str) -> bool {
    !OF_THE_MOMENT.iter().any(|start| event.starts_with(start))
}

/// What the server's log says about a call.
pub(super) fn of_log(lines: &[Value], call: CallSid) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = lines.iter().filter(|line| line["call_sid"] == call.as_str() && line["level"] != "TRACE");
    let about = about.filter(|line| is_of_the_call(line["message"].as_str().unwrap_or_default()));
    let mut said: Vec<String> = about
        .map(|line| {
            format!("log {} {} {}", text(&line["level"]), text(&line["message"]), in_common(&text(&line["reason"])))
        })
        .collect();
    said.sort_unstable();
    said
}

/// What the simulator's log says about a call.
pub(super) fn of_lines<'a>(lines: impl Iterator<Item = &'a LogLine>, call: CallSid) -> Vec<String> {
    let about = lines.filter(|line| line.call_sid == Some(call) && line.level != Level::Trace);
    let about = about.filter(|line| is_of_the_call(line.event.as_str()));
    let mut said: Vec<String> = about
        .map(|line| {
            let level = format!("{:?}", line.level).to_uppercase();
            format!("log {level} {} {}", line.event.as_str(), in_common(line.reason.as_deref().unwrap_or_default()))
        })
        .collect();
    said.sort_unstable();
    said
}
