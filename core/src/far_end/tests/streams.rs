//! Streams one after the other, what their messages carry, and drivers that come late.

use super::*;

const CONNECT: &str = "<Connect action=\"https://h/stream_ended\"><Stream url=\"wss://h/ws\"/></Connect>";

fn connected(plan: Plan) -> Desk {
    let desk = Desk::new(plan, |path, request| match path {
        "/incoming_call" => twiml(CONNECT),
        _ => application(path, request),
    });
    desk.dial()
}

/// What has come of the newest stream: whether a socket is under way or open, messages, closes, problems.
fn course(desk: &Desk, messages_before: usize, closes_before: usize) -> (bool, bool, usize, usize, usize) {
    (
        desk.opening.is_some(),
        desk.socket.is_some(),
        desk.sent.len() - messages_before,
        desk.closed.len() - closes_before,
        desk.far.ledger().problems.len(),
    )
}

#[test]
fn what_was_to_happen_to_a_stream_does_not_happen_to_the_one_after_it() {
    let later = Duration::from_secs(2);
    let ordinary = || Plan { frame_interval: Duration::from_millis(100), ..Plan::default() };
    let faulty = |fault| Plan { faults: vec![fault; 2], ..ordinary() };
    for plan in [
        Plan { connect_delay: later, ..ordinary() },
        Plan { start_delay: later, ..ordinary() },
        faulty(StreamFault::StallAfter(later, None)),
        faulty(StreamFault::DropAfter(later)),
        faulty(StreamFault::StopAfter(later)),
        Plan { failure_notice: later, ..faulty(StreamFault::HandshakeFails(502)) },
    ] {
        let mut only = connected(plan.clone());
        let mut second = connected(plan.clone());
        second.wait_seconds(1);
        assert_eq!(second.update(CONNECT), 200);
        let (messages, closes) = (second.sent.len(), second.closed.len());
        only.wait(Duration::from_millis(1_900));
        second.wait(Duration::from_millis(1_900));
        let before = course(&only, 0, 0);
        assert_eq!(course(&second, messages, closes), before, "{plan:?}");
        only.wait(Duration::from_millis(1_400));
        second.wait(Duration::from_millis(1_400));
        assert_eq!(course(&second, messages, closes), course(&only, 0, 0), "{plan:?}");
        assert_ne!(course(&only, 0, 0), before, "{plan:?}");
    }
}

#[test]
fn every_stream_of_a_call_has_a_sid_of_its_own() {
    let mut desk = connected(Plan::default());
    for _ in 0..3 {
        desk.wait_seconds(1);
        desk.update(CONNECT);
    }
    let streams = &desk.far.ledger().streams;
    let distinct: std::collections::BTreeSet<_> = streams.iter().map(|streamed| streamed.stream).collect();
    assert_eq!((streams.len(), distinct.len()), (4, 4));
}

#[test]
fn the_sequence_numbers_of_a_stream_count_its_messages() {
    let mut desk = connected(Plan { frame_interval: Duration::from_millis(100), ..Plan::default() });
    desk.wait(Duration::from_millis(480));
    desk.server_sends(r#"{"event":"mark","streamSid":"STR","mark":{"name":"a"}}"#);
    desk.wait(Duration::from_millis(200));
    desk.update("<Hangup/>");
    let read = |text: &String| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let messages: Vec<_> = desk.sent.iter().map(read).collect();
    let kinds: Vec<_> = messages.iter().filter_map(|message| message["event"].as_str()).collect();
    assert_eq!(kinds, ["connected", "start", "media", "media", "media", "mark", "media", "media", "stop"]);
    let numbers: Vec<_> = messages[1..].iter().filter_map(|message| message["sequenceNumber"].as_str()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn garbage_takes_turns() {
    let interval = Duration::from_millis(100);
    let plan = Plan { garbage_every: Some(2), frame_interval: interval, speaks: Duration::ZERO, ..Plan::default() };
    let mut desk = connected(plan);
    desk.wait(Duration::from_millis(150) + interval * 10 + interval / 2);
    let sid = desk.far.ledger().streams[0].stream.to_string();
    let kind = |text: &String| match serde_json::from_str::<serde_json::Value>(text) {
        Err(_) => "no JSON",
        Ok(message) => match (message["event"].as_str(), message["streamSid"] == sid.as_str()) {
            (Some("media"), true) => "frame",
            (Some("media"), false) => "frame of another stream",
            (Some("start"), true) => "start",
            (_, true) => "unknown event",
            (_, false) => "something else",
        },
    };
    let kinds: Vec<_> = desk.sent[2..].iter().map(kind).filter(|kind| *kind != "frame").collect();
    assert_eq!(kinds, ["no JSON", "unknown event", "frame of another stream", "start", "no JSON"]);
    let frames = desk.sent[2..].iter().map(kind).filter(|kind| *kind == "frame").count();
    assert_eq!(frames, 10);
}

#[test]
fn a_socket_that_is_opened_twice_says_hello_once() {
    let mut desk = connected(Plan::default());
    desk.wait_seconds(1);
    let (id, messages) = (desk.socket.expect("open"), desk.sent.len());
    desk.put(FarInput::SocketOpened { id });
    assert_eq!(desk.sent.len(), messages);
}

#[test]
fn a_stream_that_cannot_even_be_tried_fails_with_the_code_of_its_flaw() {
    for (stream, code) in [
        ("url=\"nowhere at all\"", Some(31923)),
        ("url=\"https://h/ws\"", Some(31922)),
        ("url=\"wss://h/ws?token=1\"", Some(31920)),
        ("url=\"wss://h/ws#rc=1\"", Some(31920)),
        ("url=\"wss://h/ws\" track=\"both_tracks\"", Some(31941)),
        ("url=\"wss://h/ws\" track=\"inbound_track\"", None),
        ("url=\"wss://h/ws\"", None),
    ] {
        let document = format!("<Connect action=\"https://h/stream_ended\"><Stream {stream}/></Connect>");
        let desk = Desk::new(Plan::default(), move |path, request| match path {
            "/incoming_call" => twiml(&document),
            _ => application(path, request),
        });
        let mut desk = desk.dial();
        desk.wait_seconds(1);
        assert_eq!(codes(desk.far.ledger()), code.into_iter().collect::<Vec<_>>(), "{stream}");
        assert_eq!(desk.socket.is_some(), code.is_none(), "{stream}");
        assert_eq!(desk.bodies("/stream_ended").len(), usize::from(code.is_some()), "{stream}");
    }
}

#[test]
fn a_driver_that_is_late_gets_everything_in_its_order() {
    let mut plan = Plan::with_fault(StreamFault::StopAfter(Duration::from_secs(2)));
    plan.frame_interval = Duration::from_millis(100);
    let run = |late: bool| {
        let mut desk = connected(plan.clone());
        desk.wait_seconds(1);
        if late {
            desk.at(desk.now.mono + Duration::from_secs(2));
            let mut out = Vec::new();
            desk.far.handle_timeout(desk.now, &mut out);
            desk.perform(out);
        }
        desk.wait_seconds(2);
        desk.sent
    };
    let events = |sent: &[String]| -> Vec<_> { sent.iter().map(|text| text.contains("\"stop\"")).collect() };
    assert_eq!(events(&run(true)), events(&run(false)));
}

#[test]
fn the_bound_of_a_turn_is_on_what_the_turn_itself_puts_out() {
    let mut desk = connected(Plan::default());
    desk.wait_seconds(1);
    let mut out: Vec<_> = (0..limits::FAR_END_OUTPUTS_PER_TURN_MAX).map(|_| FarOutput::Ended(Box::default())).collect();
    desk.at(desk.now.mono + Duration::from_millis(100));
    desk.far.handle_timeout(desk.now, &mut out);
    assert_eq!(out.len(), limits::FAR_END_OUTPUTS_PER_TURN_MAX + 5);
}
