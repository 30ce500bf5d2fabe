//! What callers do, and what has to come of each: heard by the caller, asked of Twilio, and written down.

use bytes::Bytes;
use callwarden_core::far_end::{EndedBy, HangUp, Heard, Ledger, Plan, StreamFault};
use callwarden_core::sid::CallSid;
use callwarden_tests::database::Row;
use callwarden_tests::deployment::{Caller, Deployment};
use callwarden_tests::process::HOST;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a loaded machine may add to a time.
pub(super) const SLACK: Duration = Duration::from_secs(3);

const START_TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const MEDIA_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than frames may be missing before a caller's silence is no longer taken for the end of what there was to say.
const END_SILENCE: Duration = Duration::from_millis(2_500);
/// How long a stream that echoed a mark has for the next one.
pub(super) const ECHO_TIME: Duration = callwarden_core::limits::ECHO_TIME;
/// Each prompt is one second of speech.
pub(super) const SETTINGS: [(&str, &str); 6] = [
    ("STREAM_START_TIMEOUT", "3s"),
    ("MEDIA_TIMEOUT", "1s"),
    ("END_SILENCE", "2500ms"),
    ("GREETING_TEXT", "שלום"),
    ("FALLBACK_TEXT", "אחרי הצליל"),
    ("GOODBYE_TEXT", "להתראות"),
];

pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A caller who speaks aloud for a second, and hangs up during a recording, if there is one.
pub(super) fn plan(faults: &[StreamFault]) -> Plan {
    Plan {
        speaks: millis(1_000),
        hangs_up: HangUp::Recording(millis(500)),
        faults: faults.to_vec(),
        voice: Bytes::from_static(&[0x00, 0x80]),
        recording_delay: millis(100),
        ..Plan::default()
    }
}

/// A caller who does not stop speaking.
pub(super) fn talker(faults: &[StreamFault]) -> Plan {
    Plan { speaks: Duration::from_secs(600), ..plan(faults) }
}

/// Whether the caller heard these, in this order; other things may come between.
pub(super) fn heard(ledger: &Ledger, expected: &[Heard]) {
    let mut heard = ledger.spans.iter().map(|span| span.heard);
    let missing = expected.iter().find(|expected| !heard.any(|heard| heard == **expected));
    assert_eq!(missing, None, "{ledger}");
}

pub(super) fn codes(ledger: &Ledger) -> Vec<u32> {
    ledger.problems.iter().map(|problem| problem.code).collect()
}

pub(super) fn ended_by(ledger: &Ledger) -> Option<EndedBy> {
    ledger.ended.map(|(_, by)| by)
}

pub(super) fn is_over(row: &Row) -> bool {
    row.get("status").is_some_and(|status| status == "completed") && row.contains_key("duration_seconds")
}

pub(super) fn column<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name).map(String::as_str)
}

pub(super) fn number(row: &Row, name: &str) -> u64 {
    column(row, name).map_or(0, |number| number.parse().expect("a number"))
}

/// These stand on the timeline in this order. Two may fall into one millisecond.
pub(super) fn in_order(timeline: &BTreeMap<String, i64>, expected: &[&str]) {
    let times: Vec<_> = expected.iter().map(|event| timeline.get(*event)).collect();
    assert!(times.is_sorted() && !times.contains(&None), "{timeline:?}");
}

/// The caller was moved to a recording by one REST update, was recorded, and it is written down why.
async fn moved(deployment: &Deployment, call: CallSid, ledger: &Ledger, reason: &str) -> Row {
    assert_eq!((ledger.updates.len(), ledger.recordings.len()), (1, 1), "{ledger}");
    recorded(deployment, call, ledger, reason).await
}

/// The caller was recorded, and it is written down why.
pub(super) async fn recorded(deployment: &Deployment, call: CallSid, ledger: &Ledger, reason: &str) -> Row {
    heard(ledger, &[Heard::Prompt, Heard::Beep, Heard::Recording]);
    assert_eq!((ledger.recordings.len(), ended_by(ledger)), (1, Some(EndedBy::Caller)), "{ledger}");
    let row = deployment.row(call, is_over).await;
    assert_eq!(column(&row, "fallback_reason"), Some(reason), "{row:?}");
    assert!(row.contains_key("fallback_at") && row.contains_key("ended_at"), "{row:?}");
    let recordings = deployment.rows_of("recordings", call).await;
    assert_eq!(recordings.len(), 1, "{recordings:?}");
    assert_eq!(column(&recordings[0], "recording_sid"), Some(ledger.recordings[0].recording.as_str()));
    row
}

pub(super) fn silent_at_most(ledger: &Ledger, bound: Duration) {
    assert!(ledger.longest_silence() <= bound + SLACK, "{ledger}");
}

pub(super) async fn healthy(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    heard(&ledger, &[Heard::Greeting, Heard::Streaming, Heard::StreamingSilent, Heard::Goodbye]);
    assert_eq!((ended_by(&ledger), codes(&ledger), ledger.updates.len()), (Some(EndedBy::Document), vec![], 0));
    assert_eq!((ledger.streams.len(), ledger.streams[0].closed), (1, Some(1000)), "{ledger}");
    silent_at_most(&ledger, END_SILENCE);
    let row = deployment.row(call, is_over).await;
    let texts = ["source", "fallback_reason", "transcript_status", "stream_sid", "direction", "public_host"];
    let stream = ledger.streams[0].stream.to_string();
    let expected = [Some("stream"), None, Some("disabled"), Some(stream.as_str()), Some("inbound"), Some(HOST)];
    assert_eq!(texts.map(|name| column(&row, name)), expected, "{row:?}");
    assert_eq!((column(&row, "from_number"), column(&row, "to_number")), (Some("+972501234567"), Some("+97233760000")));
    // The last frames were under way when the server closed.
    let frames = number(&row, "frames");
    assert!((50..=ledger.streams[0].frames).contains(&frames), "{row:?}");
    for name in ["created_at", "stream_started_at", "first_media_at", "ended_at"] {
        assert!(number(&row, name) >= number(&row, "created_at"), "{name} {row:?}");
    }
    let timeline = deployment.timeline(call).await;
    in_order(&timeline, &["incoming_call", "start", "frames", "caller_finished", "stream_ended", "over"]);
    // Callbacks, and the socket's own end, come when they come.
    for event in ["stream-started", "stream-stopped", "socket_closed", "call_status"] {
        assert!(timeline.contains_key(event), "{event} {timeline:?}");
    }
}

pub(super) async fn hangs_up(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    assert_eq!((ended_by(&ledger), codes(&ledger), ledger.updates.len()), (Some(EndedBy::Caller), vec![], 0));
    let frames = ledger.streams[0].frames;
    let row = deployment.row(call, |row| is_over(row) && number(row, "frames") == frames).await;
    assert_eq!((column(&row, "fallback_reason"), column(&row, "streams")), (None, Some("1")), "{row:?}");
    assert_eq!(deployment.rows_of("recordings", call).await, []);
}

pub(super) async fn never_starts(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    let row = moved(deployment, call, &ledger, "no_start").await;
    assert_eq!(column(&row, "how_far"), Some("no start seen"), "{row:?}");
    assert_eq!((column(&row, "source"), number(&row, "streams")), (Some("stream"), 0), "{row:?}");
    silent_at_most(&ledger, START_TIMEOUT);
    in_order(&deployment.timeline(call).await, &["incoming_call", "fallback", "fallback_confirmed", "over"]);
}

pub(super) async fn mute(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    let row = moved(deployment, call, &ledger, "no_media").await;
    assert_eq!(column(&row, "how_far"), Some("start but no frame"), "{row:?}");
    assert_eq!((number(&row, "frames"), number(&row, "streams")), (0, 1), "{row:?}");
    silent_at_most(&ledger, START_TIMEOUT + MEDIA_TIMEOUT);
}

pub(super) async fn stalls(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    let row = moved(deployment, call, &ledger, "media_stalled").await;
    assert!(column(&row, "how_far").is_some_and(|how_far| how_far.starts_with("frames until second ")), "{row:?}");
    assert_eq!(number(&row, "frames"), ledger.streams[0].frames);
    // The first mark came back; the one that asked was waited for in vain.
    assert!(ledger.streams[0].marks >= 1, "{ledger}");
    let stalled = ledger.spans.iter().rfind(|span| span.heard == Heard::Streaming).expect("it streamed").to;
    let waited = ledger.updates[0].since(stalled);
    assert!(waited >= MEDIA_TIMEOUT + ECHO_TIME - millis(500), "moved unasked after {waited:?}");
    silent_at_most(&ledger, MEDIA_TIMEOUT + ECHO_TIME);
}

pub(super) async fn is_cut_off(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    heard(&ledger, &[Heard::Greeting, Heard::Streaming, Heard::Silence, Heard::Streaming, Heard::Goodbye]);
    assert_eq!((ledger.streams.len(), ledger.updates.len(), codes(&ledger)), (2, 0, vec![31903]), "{ledger}");
    let greetings = ledger.documents.iter().filter(|document| document.twiml.contains("שלום"));
    assert_eq!(greetings.count(), 1, "the caller is greeted once");
    let row = deployment.row(call, is_over).await;
    let last = ledger.streams[1].stream.to_string();
    assert_eq!((number(&row, "streams"), column(&row, "stream_sid")), (2, Some(last.as_str())), "{row:?}");
    assert_eq!(column(&row, "fallback_reason"), None, "{row:?}");
    assert!(number(&row, "frames") > ledger.streams[1].frames / 2, "the frames of both streams count: {row:?}");
    silent_at_most(&ledger, END_SILENCE);
}

pub(super) async fn is_refused(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    assert_eq!((ledger.updates.len(), codes(&ledger)), (0, vec![31920]), "{ledger}");
    let row = recorded(deployment, call, &ledger, "stream_error").await;
    assert!(column(&row, "how_far").is_some_and(|how_far| how_far.starts_with("no start seen")), "{row:?}");
    let source = ledger.documents.last().and_then(|document| document.from.as_deref()).expect("from a URL");
    assert!(source.contains("/webhook/stream_ended"), "{source}");
    silent_at_most(&ledger, START_TIMEOUT);
}
