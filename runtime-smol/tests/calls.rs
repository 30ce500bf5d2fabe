//! Whole calls: a real server process, a simulated Twilio, real sockets, and the rows in Postgres and in SQLite.
//!
//! Every deadline of the server is real here, and so short that calls are over in seconds. When exactly it acts is held
//! in virtual time elsewhere; the bounds here leave [`SLACK`] for a machine that does much else.

use bytes::Bytes;
use callwarden_core::far_end::{EndedBy, HangUp, Heard, Ledger, Plan, StreamFault};
use callwarden_core::path::INCOMING_CALL;
use callwarden_core::sid::CallSid;
use callwarden_tests::balancer::Balancer;
use callwarden_tests::caller::{form, tell};
use callwarden_tests::database::{Row, TestDatabase};
use callwarden_tests::deployment::{Caller, Deployment, page, shows};
use callwarden_tests::postgres::Cluster;
use callwarden_tests::process::{HOST, Server};
use serde_json::Value;
use smol::block_on;
use smol::future::zip;
use std::collections::BTreeMap;
use std::time::Duration;

/// The server.
const BINARY: &str = env!("CARGO_BIN_EXE_callwarden");
/// What a loaded machine may add to a time.
const SLACK: Duration = Duration::from_secs(3);

const START_TIMEOUT: Duration = Duration::from_secs(3);
const MEDIA_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than frames may be missing before a caller's silence is no longer taken for the end of what there was to say.
const END_SILENCE: Duration = Duration::from_millis(2_500);
/// How long a stream that echoed a mark has for the next one.
const ECHO_TIME: Duration = callwarden_core::limits::ECHO_TIME;
/// Each prompt is one second of speech.
const SETTINGS: [(&str, &str); 6] = [
    ("STREAM_START_TIMEOUT", "3s"),
    ("MEDIA_TIMEOUT", "1s"),
    ("END_SILENCE", "2500ms"),
    ("GREETING_TEXT", "שלום"),
    ("FALLBACK_TEXT", "אחרי הצליל"),
    ("GOODBYE_TEXT", "להתראות"),
];

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A caller who speaks aloud for a second, and hangs up during a recording, if there is one.
fn plan(faults: &[StreamFault]) -> Plan {
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
fn talker(faults: &[StreamFault]) -> Plan {
    Plan { speaks: Duration::from_secs(600), ..plan(faults) }
}

async fn deployment(database: TestDatabase) -> Deployment {
    Deployment::new(BINARY, database, &SETTINGS).await
}

/// Whether the caller heard these, in this order; other things may come between.
fn heard(ledger: &Ledger, expected: &[Heard]) {
    let mut heard = ledger.spans.iter().map(|span| span.heard);
    let missing = expected.iter().find(|expected| !heard.any(|heard| heard == **expected));
    assert_eq!(missing, None, "{ledger}");
}

fn codes(ledger: &Ledger) -> Vec<u32> {
    ledger.problems.iter().map(|problem| problem.code).collect()
}

fn ended_by(ledger: &Ledger) -> Option<EndedBy> {
    ledger.ended.map(|(_, by)| by)
}

fn is_over(row: &Row) -> bool {
    row.get("status").is_some_and(|status| status == "completed") && row.contains_key("duration_seconds")
}

fn column<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name).map(String::as_str)
}

fn number(row: &Row, name: &str) -> u64 {
    column(row, name).map_or(0, |number| number.parse().expect("a number"))
}

/// These stand on the timeline in this order. Two may fall into one millisecond.
fn in_order(timeline: &BTreeMap<String, i64>, expected: &[&str]) {
    let times: Vec<_> = expected.iter().map(|event| timeline.get(*event)).collect();
    assert!(times.is_sorted() && !times.contains(&None), "{timeline:?}");
}

/// The caller was moved to a recording by one REST update, was recorded, and it is written down why.
async fn moved(deployment: &Deployment, call: CallSid, ledger: &Ledger, reason: &str) -> Row {
    assert_eq!((ledger.updates.len(), ledger.recordings.len()), (1, 1), "{ledger}");
    recorded(deployment, call, ledger, reason).await
}

/// The caller was recorded, and it is written down why.
async fn recorded(deployment: &Deployment, call: CallSid, ledger: &Ledger, reason: &str) -> Row {
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

/// Ends a server whose calls are all over: no secret stands in its log, nothing panicked, no webhook met a 5xx.
fn stopped(server: Server) {
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
}

fn silent_at_most(ledger: &Ledger, bound: Duration) {
    assert!(ledger.longest_silence() <= bound + SLACK, "{ledger}");
}

async fn healthy(deployment: &Deployment, caller: Caller) {
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

async fn hangs_up(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    assert_eq!((ended_by(&ledger), codes(&ledger), ledger.updates.len()), (Some(EndedBy::Caller), vec![], 0));
    let frames = ledger.streams[0].frames;
    let row = deployment.row(call, |row| is_over(row) && number(row, "frames") == frames).await;
    assert_eq!((column(&row, "fallback_reason"), column(&row, "streams")), (None, Some("1")), "{row:?}");
    assert_eq!(deployment.rows_of("recordings", call).await, []);
}

async fn never_starts(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    let row = moved(deployment, call, &ledger, "no_start").await;
    assert_eq!(column(&row, "how_far"), Some("no start seen"), "{row:?}");
    assert_eq!((column(&row, "source"), number(&row, "streams")), (Some("stream"), 0), "{row:?}");
    silent_at_most(&ledger, START_TIMEOUT);
    in_order(&deployment.timeline(call).await, &["incoming_call", "fallback", "fallback_confirmed", "over"]);
}

async fn mute(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    let row = moved(deployment, call, &ledger, "no_media").await;
    assert_eq!(column(&row, "how_far"), Some("start but no frame"), "{row:?}");
    assert_eq!((number(&row, "frames"), number(&row, "streams")), (0, 1), "{row:?}");
    silent_at_most(&ledger, START_TIMEOUT + MEDIA_TIMEOUT);
}

async fn stalls(deployment: &Deployment, caller: Caller) {
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

async fn is_cut_off(deployment: &Deployment, caller: Caller) {
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

async fn is_refused(deployment: &Deployment, caller: Caller) {
    let (call, ledger) = caller.ended().await;
    assert_eq!((ledger.updates.len(), codes(&ledger)), (0, vec![31920]), "{ledger}");
    let row = recorded(deployment, call, &ledger, "stream_error").await;
    assert!(column(&row, "how_far").is_some_and(|how_far| how_far.starts_with("no start seen")), "{row:?}");
    let source = ledger.documents.last().and_then(|document| document.from.as_deref()).expect("from a URL");
    assert!(source.contains("/webhook/stream_ended"), "{source}");
    silent_at_most(&ledger, START_TIMEOUT);
}

/// Seven callers at once, each with a fate of its own.
async fn seven_callers(database: TestDatabase) {
    let deployment = deployment(database).await;
    let server = deployment.server("node").await;
    let call = |plan| deployment.call(server.address(), plan);
    let (first, second) = (call(plan(&[])), call(Plan { hangs_up: HangUp::Streaming(millis(700)), ..talker(&[]) }));
    let third = call(plan(&[StreamFault::NeverStarts]));
    let fourth = call(talker(&[StreamFault::Mute(None)]));
    let fifth = call(talker(&[StreamFault::StallAfter(millis(700), None)]));
    let sixth = call(Plan { speaks: millis(3_000), ..plan(&[StreamFault::DropAfter(millis(600))]) });
    let seventh = call(plan(&[StreamFault::HandshakeFails(403)]));
    healthy(&deployment, first).await;
    hangs_up(&deployment, second).await;
    never_starts(&deployment, third).await;
    mute(&deployment, fourth).await;
    stalls(&deployment, fifth).await;
    is_cut_off(&deployment, sixth).await;
    is_refused(&deployment, seventh).await;
    stopped(server);
    assert_eq!(deployment.database.rows("call_log").await.len(), 7);
}

#[test]
fn seven_callers_at_once_are_served_and_written_down_in_either_database() {
    let [postgres, sqlite] = TestDatabase::both();
    block_on(zip(seven_callers(postgres), seven_callers(sqlite)));
}

#[test]
fn where_rest_is_refused_closing_the_socket_brings_the_caller_to_the_recording() {
    block_on(async {
        let deployment = deployment(TestDatabase::sqlite()).await;
        let server = deployment.server("node").await;
        deployment.twilio.refuse_rest(Some(401));
        let mute = deployment.call(server.address(), talker(&[StreamFault::Mute(None)]));
        let stalls = deployment.call(server.address(), talker(&[StreamFault::StallAfter(millis(500), None)]));
        for (caller, reason) in [(mute, "no_media"), (stalls, "media_stalled")] {
            let (call, ledger) = caller.ended().await;
            assert_eq!((ledger.updates.len(), ledger.streams[0].closed), (0, Some(1000)), "{ledger}");
            recorded(&deployment, call, &ledger, reason).await;
            silent_at_most(&ledger, MEDIA_TIMEOUT + ECHO_TIME);
            let timeline = deployment.timeline(call).await;
            in_order(
                &timeline,
                &["fallback", "update_failed", "update_given_up", "stream_ended", "fallback_confirmed"],
            );
        }
        assert_eq!(server.settled_lines("WATCHDOG_REDIRECT_FAIL", |_| true).await.len(), 2);
        assert!(page(&server, "/readyz").await.contains("\"twilio\":\"error\""));
        stopped(server);
    });
}

#[test]
fn anyone_may_look_at_the_first_document_and_leaves_no_trace() {
    block_on(async {
        let deployment = deployment(TestDatabase::sqlite()).await;
        let server = deployment.server("node").await;
        let rest = "/webhook/incoming_call HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n";
        let get = format!("GET {rest}\r\n");
        let body = format!("CallSid={}&CallStatus=ringing", CallSid::from_number(1));
        let form = "Content-Type: application/x-www-form-urlencoded";
        let post = format!("POST {rest}{form}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for request in [get, post] {
            let mut client = server.connect().await;
            client.send(request.as_bytes()).await.expect("open");
            let answer = client.answer().await.expect("an answer");
            let twiml = String::from_utf8(answer.body.clone()).expect("text");
            assert_eq!((answer.status, answer.header("x-callwarden-preview")), (200, Some("1")), "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("text/xml; charset=utf-8"));
            let stream = format!("<Stream url=\"wss://{HOST}/ws/twilio-media\"");
            let (_, connect) = twiml.split_once("<Connect ").expect("a stream");
            assert!(connect.contains(&stream) && !twiml.contains("<Record"), "{twiml}");
        }
        assert_eq!(deployment.database.rows("call_log").await, []);
        assert_eq!(deployment.database.rows("call_events").await, []);
    });
}

#[test]
fn the_row_of_a_call_is_committed_before_twilio_has_its_answer() {
    block_on(async {
        for database in TestDatabase::both() {
            let deployment = deployment(database).await;
            let server = deployment.server("node").await;
            // A row that is written soon after an answer is found now and then, never so often.
            for number in 1..=20 {
                let call = CallSid::from_number(number);
                let answer = tell(&server, INCOMING_CALL, &form(call, &[("CallStatus", "ringing")])).await;
                let rows = deployment.rows_of("call_log", call).await;
                assert_eq!((answer.status, answer.header("x-callwarden-preview")), (200, None), "{answer:?}");
                assert_eq!(rows.len(), 1, "no row of call {number}");
                let expected = [Some("ringing"), Some("stream")];
                assert_eq!(["status", "source"].map(|name| column(&rows[0], name)), expected, "{rows:?}");
            }
        }
    });
}

#[test]
fn a_call_whose_socket_lands_on_another_server_is_left_alone_by_the_one_that_answered_it() {
    block_on(async {
        let deployment = deployment(TestDatabase::postgres()).await;
        let (answering, streaming) = (deployment.server("answering").await, deployment.server("streaming").await);
        let balancer = Balancer::start(answering.address(), streaming.address()).await;
        let caller = deployment.call(balancer.address(), talker(&[]));
        let unheard = deployment.call(balancer.address(), talker(&[StreamFault::Mute(None)]));
        let call = caller.sid;
        deployment.noted(call, "claim_refused").await;
        let ledger = caller.so_far();
        assert_eq!((ledger.updates.len(), ledger.heard()), (0, Some(Heard::Streaming)), "{ledger}");
        for (server, streams) in [(&answering, 0), (&streaming, 2)] {
            assert_eq!(server.settled_lines("WS_START", |_| true).await.len(), streams);
        }
        caller.hang_up();
        let (_, ledger) = caller.ended().await;
        assert_eq!((ledger.updates.len(), codes(&ledger)), (0, vec![]), "{ledger}");
        let frames = ledger.streams[0].frames;
        let row = deployment.row(call, |row| is_over(row) && number(row, "frames") == frames).await;
        assert_eq!((column(&row, "fallback_reason"), number(&row, "streams")), (None, 1), "{row:?}");
        // The one that has the socket watches it.
        mute(&deployment, unheard).await;
        assert_eq!(deployment.database.rows("call_log").await.len(), 2);
    });
}

/// The server is killed in mid-call and started again.
async fn killed(database: TestDatabase) {
    let deployment = deployment(database).await;
    let server = deployment.server("node").await;
    // Twilio's request waits for the new process, as it would at a balancer.
    let balancer = Balancer::start(server.address(), server.address()).await;
    let caller = deployment.call(balancer.address(), talker(&[]));
    let call = caller.sid;
    deployment.noted(call, "frames").await;
    let server = deployment.kill_and_restart("node", server).await;
    let (_, ledger) = caller.ended().await;
    assert_eq!((ledger.updates.len(), codes(&ledger)), (0, vec![31903]), "{ledger}");
    let row = recorded(&deployment, call, &ledger, "stream_lost").await;
    assert_eq!((number(&row, "streams"), column(&row, "source")), (1, Some("stream")), "{row:?}");
    stopped(server);
    assert_eq!(deployment.database.rows("call_log").await.len(), 1);
}

#[test]
fn a_caller_whose_server_was_killed_is_recorded_by_the_next_one_with_either_database() {
    let [postgres, sqlite] = TestDatabase::both();
    block_on(zip(killed(postgres), killed(sqlite)));
}

#[test]
fn a_server_that_is_stopped_moves_its_live_calls_to_recording_and_exits_0() {
    block_on(async {
        let settings: Vec<_> = SETTINGS.into_iter().chain([("DRAIN_SECONDS", "1")]).collect();
        let deployment = Deployment::new(BINARY, TestDatabase::postgres(), &settings).await;
        let server = deployment.server("node").await;
        let stays = || deployment.call(server.address(), Plan { hangs_up: HangUp::Never, ..talker(&[]) });
        let callers = [stays(), stays(), stays()];
        for caller in &callers {
            caller.until("a stream", |ledger| ledger.heard() == Some(Heard::Streaming)).await;
        }
        server.signal("TERM");
        let (code, lines) = server.ended();
        assert_eq!(code, Some(0));
        let lines_of = |event: &str| lines.iter().filter(|line| line["message"] == event).collect::<Vec<_>>();
        let (stops, moves) = (lines_of("APP_STOP"), lines_of("WATCHDOG_REDIRECT_OK"));
        assert_eq!(stops.last().map(|line| &line["detail"]), Some(&Value::from("drained")), "{stops:?}");
        assert_eq!(moves.len(), 3, "{moves:?}");
        let drained_after = since(stops[0], moves[2]);
        assert!(drained_after <= Duration::from_secs(1) + SLACK, "{drained_after:?}");
        for caller in callers {
            // Twilio records without us.
            caller.until("a recording", |ledger| ledger.heard() == Some(Heard::Recording)).await;
            caller.hang_up();
            let call = caller.sid;
            assert_eq!(caller.so_far().updates.len(), 1);
            let row = deployment.row(call, |row| row.contains_key("fallback_reason")).await;
            assert_eq!(column(&row, "fallback_reason"), Some("stream_lost"), "{row:?}");
        }
    });
}

#[test]
fn a_server_that_is_stopped_records_new_calls_and_ends_with_its_last_live_one() {
    block_on(async {
        let settings: Vec<_> = SETTINGS.into_iter().chain([("DRAIN_SECONDS", "60s")]).collect();
        let deployment = Deployment::new(BINARY, TestDatabase::sqlite(), &settings).await;
        let server = deployment.server("node").await;
        let live = deployment.call(server.address(), talker(&[]));
        live.until("a stream", |ledger| ledger.heard() == Some(Heard::Streaming)).await;
        server.signal("TERM");
        shows(&server, "/readyz", "\"draining\":true").await;
        let new = deployment.call(server.address(), talker(&[]));
        let (call, ledger) = new.ended().await;
        assert_eq!((ledger.streams.len(), codes(&ledger)), (0, vec![]), "{ledger}");
        heard(&ledger, &[Heard::Prompt, Heard::Beep, Heard::Recording]);
        let row = deployment.row(call, is_over).await;
        assert_eq!((column(&row, "source"), column(&row, "fallback_reason")), (Some("recording"), None), "{row:?}");
        assert_eq!(live.so_far().heard(), Some(Heard::Streaming));
        live.hang_up();
        let (call, ledger) = live.ended().await;
        // Long before its time to drain is over.
        assert_eq!(server.ended().0, Some(0));
        // It may have ended on the first word of the call's end, before it was told how long the call was.
        let row = deployment.row(call, |row| column(row, "status") == Some("completed")).await;
        assert_eq!((ledger.updates.len(), number(&row, "frames")), (0, ledger.streams[0].frames), "{row:?}");
    });
}

#[test]
fn no_caller_notices_that_the_database_is_away_and_every_row_arrives() {
    block_on(async {
        let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
        let deployment = deployment(TestDatabase::of(&cluster)).await;
        let server = deployment.server("node").await;
        let call = |plan| deployment.call(server.address(), plan);
        let early = call(Plan { speaks: millis(3_000), ..plan(&[]) });
        early.until("a stream", |ledger| ledger.heard() == Some(Heard::Streaming)).await;
        cluster.stop().unwrap_or_else(|error| panic!("{error}"));
        let healthy_call = call(plan(&[]));
        let silent = call(plan(&[StreamFault::NeverStarts]));
        let mute_call = call(talker(&[StreamFault::Mute(None)]));
        let refused = call(plan(&[StreamFault::HandshakeFails(502)]));
        for caller in [&early, &healthy_call, &silent, &mute_call, &refused] {
            caller.until("the end of a call", |ledger| ledger.ended.is_some()).await;
        }
        assert!(!page(&server, "/readyz").await.contains("\"db\":\"ok\""));
        // Nobody could be asked for a claim: three times it acted on what it knew.
        assert_eq!(server.settled_lines("WATCHDOG_BLIND", |_| true).await.len(), 3);
        cluster.restart().unwrap_or_else(|error| panic!("{error}"));
        shows(&server, "/readyz", "\"unwritten_facts\":0").await;
        healthy(&deployment, early).await;
        healthy(&deployment, healthy_call).await;
        never_starts(&deployment, silent).await;
        mute(&deployment, mute_call).await;
        is_refused(&deployment, refused).await;
        stopped(server);
        assert_eq!(deployment.database.rows("call_log").await.len(), 5);
    });
}

#[test]
fn a_call_without_a_stream_is_moved_when_its_time_is_over() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    block_on(async {
        let settings = [("STREAM_START_TIMEOUT", "500ms"), ("GREETING_TEXT", ""), ("FALLBACK_TEXT", "")];
        let deployment = Deployment::new(BINARY, TestDatabase::sqlite(), &settings).await;
        let server = deployment.server("node").await;
        for turn in 0..3 {
            let caller = deployment.call(server.address(), plan(&[StreamFault::NeverStarts]));
            caller.until("a recording", |ledger| ledger.heard() == Some(Heard::Recording)).await;
            caller.hang_up();
            let row = deployment.row(caller.sid, |row| row.contains_key("fallback_at")).await;
            let answers = server.settled_lines("RES", |line| line["path"] == INCOMING_CALL).await;
            let answered_after = answers[turn]["ms"].as_u64().expect("an answered webhook");
            let answered = number(&row, "created_at") + answered_after;
            // Each of the three is cut to whole milliseconds. How exact it is, is held in virtual time; here the machine
            // has its say too.
            let waited = millis(number(&row, "fallback_at") - answered);
            assert!((TIMEOUT - millis(2)..TIMEOUT + SLACK).contains(&waited), "{waited:?}");
            println!("moved {:?} late", waited.saturating_sub(TIMEOUT));
        }
    });
}

/// The time from one line of a log to another, as the server's own clock tells it.
fn since(from: &Value, to: &Value) -> Duration {
    let time_of_day = |line: &Value| {
        let text = line["timestamp"].as_str().and_then(|text| text.split_once('T')).expect("a time").1.to_owned();
        let parts: Vec<f64> =
            text.trim_end_matches('Z').split(':').map(|part| part.parse().expect("a number")).collect();
        (parts[0] * 60.0 + parts[1]) * 60.0 + parts[2]
    };
    let seconds = time_of_day(to) - time_of_day(from);
    // Midnight may pass between them.
    Duration::from_secs_f64(if seconds < 0.0 { seconds + 86_400.0 } else { seconds })
}
