//! Whole calls: a real server process, a simulated Twilio, real sockets, and the rows in Postgres and in SQLite.
//!
//! Every deadline of the server is real here, and so short that calls are over in seconds. When exactly it acts is held
//! in virtual time elsewhere; the bounds here leave [`fates::SLACK`] for a machine that does much else.

mod fates;

use super::BINARY;
use callwarden_core::far_end::{HangUp, Heard, Ledger, Plan, StreamFault};
use callwarden_core::path::INCOMING_CALL;
use callwarden_core::sid::CallSid;
use callwarden_tests::balancer::Balancer;
use callwarden_tests::caller::{form, tell};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::deployment::{Deployment, page, shows};
use callwarden_tests::postgres::Cluster;
use callwarden_tests::process::{HOST, Server};
use fates::{
    ECHO_TIME, MEDIA_TIMEOUT, SETTINGS, SLACK, codes, column, hangs_up, healthy, heard, in_order, is_cut_off, is_over,
    is_refused, millis, mute, never_starts, number, plan, recorded, silent_at_most, stalls, talker,
};
use serde_json::Value;
use smol::block_on;
use smol::future::zip;
use std::time::Duration;

async fn deployment(database: TestDatabase) -> Deployment {
    Deployment::new(BINARY, database, &SETTINGS).await
}

/// Ends a server whose calls are all over: no secret stands in its log, nothing panicked, no webhook met a 5xx.
fn stopped(server: Server) {
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
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
    let streams_again = |ledger: &Ledger| ledger.streams.len() == 2 && ledger.heard() == Some(Heard::Streaming);
    caller.until("a second stream", streams_again).await;
    deployment.row(call, |row| number(row, "streams") == 2).await;
    caller.hang_up();
    let (_, ledger) = caller.ended().await;
    assert_eq!((ledger.updates.len(), ledger.recordings.len(), codes(&ledger)), (0, 0, vec![31903]), "{ledger}");
    let row = deployment.row(call, is_over).await;
    assert_eq!((column(&row, "fallback_reason"), column(&row, "source")), (None, Some("stream")), "{row:?}");
    assert_eq!(server.settled_lines("CALL_TAKEN_OVER", |_| true).await.len(), 1);
    stopped(server);
    assert_eq!(deployment.database.rows("call_log").await.len(), 1);
}

#[test]
fn a_caller_whose_server_was_killed_goes_on_with_the_next_one_with_either_database() {
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
