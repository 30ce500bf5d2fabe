//! What callers experience.

use super::*;

#[test]
fn a_healthy_call_is_greeted_streamed_and_bid_farewell() {
    let mut desk = Desk::new(Plan::default(), application).dial();
    desk.wait_seconds(12);
    assert_eq!(desk.sent[0], r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
    assert!(desk.sent[1].contains(r#""customParameters":{"call_sid":"x"}"#), "{}", desk.sent[1]);
    desk.server_sends(r#"{"event":"mark","streamSid":"STR","mark":{"name":"a"}}"#);
    assert!(desk.sent.last().expect("an echo").ends_with(r#""mark":{"name":"a"}}"#));
    desk.put(FarInput::SocketClosed { id: desk.socket.expect("open"), code: Some(1000) });
    let (ledger, requests) = desk.end();
    // Three seconds of greeting, a socket after 150 ms, five seconds of speech, silence, three seconds of farewell.
    assert_eq!(ledger.by_second(), "GGGSSSSSssssEEE");
    assert_eq!(ledger.longest_dead_air(), Duration::from_millis(170));
    assert_eq!((ledger.problems.len(), ledger.streams[0].closed, ledger.streams[0].marks), (0, Some(1000), 1));
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Document));
    let events = bodies(&requests, "/stream_status");
    assert!(events[0].contains("StreamEvent=stream-started") && events[1].contains("StreamEvent=stream-stopped"));
    let last = bodies(&requests, "/call_status").remove(0);
    assert!(last.contains("CallStatus=completed") && last.contains("CallDuration=15&Duration=1"), "{last}");
}

#[test]
fn frames_are_160_bytes_every_20_milliseconds_of_the_callers_voice_and_then_silence() {
    let plan = Plan { speaks: Duration::from_millis(40), voice: vec![1, 2, 3].into(), ..Plan::default() };
    let mut desk = Desk::new(plan, application).dial();
    desk.wait(Duration::from_millis(3_000 + 50 + 100 + 60));
    let payload = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["media"].clone();
    assert_eq!(desk.sent.len(), 5);
    let (first, third) = (payload(&desk.sent[2]), payload(&desk.sent[4]));
    assert_eq!((&first["chunk"], &first["timestamp"]), (&"1".into(), &"20".into()));
    assert!(first["payload"].as_str().expect("text").starts_with("AQID"));
    assert_eq!(third["payload"].as_str(), Some(format!("{}w==", "/".repeat(213)).as_str()));
}

fn faulty(fault: StreamFault) -> Desk {
    Desk::new(Plan { frame_interval: Duration::from_millis(100), ..Plan::with_fault(fault) }, application).dial()
}

#[test]
fn each_fault_is_silence_to_the_caller_from_its_first_moment() {
    let s = Duration::from_secs;
    for (fault, seconds, messages) in [
        (StreamFault::NeverStarts, "GGG.......", 0),
        (StreamFault::ConnectsButNoStart, "GGG.......", 1),
        (StreamFault::Mute(None), "GGG.......", 2),
        (StreamFault::Mute(Some(s(3))), "GGG...SSSS", 2 + 39),
        (StreamFault::StallAfter(s(2), None), "GGGSS.....", 2 + 20),
        (StreamFault::QuietAfter(s(2), Some(s(3))), "GGGSS...ss", 2 + 20 + 18),
    ] {
        let mut desk = faulty(fault);
        desk.wait_seconds(10);
        let ledger = desk.far.ledger_at(desk.now);
        assert_eq!(ledger.by_second(), seconds, "{fault:?}");
        assert_eq!(desk.sent.len(), messages, "{fault:?}");
    }
}

#[test]
fn a_stalled_stream_echoes_no_marks_and_a_quiet_one_does() {
    for (fault, echoes) in [
        (StreamFault::StallAfter(Duration::from_secs(1), None), 0),
        (StreamFault::QuietAfter(Duration::from_secs(1), None), 1),
    ] {
        let mut desk = faulty(fault);
        desk.wait_seconds(7);
        desk.server_sends(r#"{"event":"mark","streamSid":"STR","mark":{"name":"are you there"}}"#);
        assert_eq!(desk.far.ledger().streams[0].marks, echoes, "{fault:?}");
    }
}

#[test]
fn a_broken_socket_says_no_stop_and_a_stream_that_is_stopped_does() {
    for (fault, how, stops, event) in [
        (StreamFault::DropAfter(Duration::from_secs(2)), "dropped", false, "stream-error"),
        (StreamFault::StopAfter(Duration::from_secs(2)), "closed", true, "stream-stopped"),
    ] {
        let mut desk = faulty(fault);
        desk.wait_seconds(6);
        assert_eq!(desk.closed, [how]);
        assert_eq!(desk.sent.last().expect("frames").contains("\"stop\""), stops);
        assert!(desk.bodies("/stream_status")[1].contains(event));
        assert_eq!(desk.far.ledger().heard(), Some(Heard::Goodbye));
    }
}

#[test]
fn after_a_failed_handshake_the_action_or_the_next_verb_or_nothing_follows() {
    for (after_failure, asked) in [(AfterFailure::Action, 1), (AfterFailure::NextVerb, 1), (AfterFailure::Nothing, 0)] {
        let plan = Plan { after_failure, ..Plan::with_fault(StreamFault::HandshakeFails(502)) };
        let mut desk = Desk::new(plan, application).dial();
        desk.wait_seconds(5);
        assert_eq!(desk.bodies("/stream_ended").len(), asked, "{after_failure:?}");
        assert_eq!(codes(desk.far.ledger()), [31920]);
        assert!(desk.bodies("/stream_status")[0].contains("StreamEvent=stream-error"));
    }
}

#[test]
fn a_socket_the_server_refuses_or_loses_is_a_failed_stream() {
    let mut desk = Desk::new(Plan::default(), application).dial();
    desk.wait(Duration::from_millis(3_060));
    let (_, id) = desk.opening.take().expect("being opened");
    desk.put(FarInput::SocketFailed { id, status: Some(503) });
    desk.put(FarInput::SocketOpened { id });
    desk.wait_seconds(1);
    assert_eq!((codes(desk.far.ledger()), desk.sent.len()), (vec![31920], 0));
    let mut desk = Desk::new(Plan::default(), application).dial();
    desk.wait_seconds(4);
    desk.put(FarInput::SocketClosed { id: desk.socket.expect("open"), code: None });
    desk.wait_seconds(1);
    assert_eq!(codes(desk.far.ledger()), [31903]);
}

#[test]
fn duplicates_and_garbage_are_sent_as_planned() {
    let interval = Duration::from_millis(100);
    let plan = Plan { duplicate_every: Some(2), garbage_every: Some(3), frame_interval: interval, ..Plan::default() };
    let mut desk = Desk::new(plan, application).dial();
    desk.wait(Duration::from_millis(3_000 + 50 + 100 + 1_200));
    assert_eq!(desk.sent.len(), 2 + 12 + 6 + 4);
    assert_eq!(desk.sent[3], desk.sent[4]);
    assert_eq!(desk.sent.iter().filter(|text| serde_json::from_str::<serde_json::Value>(text).is_err()).count(), 1);
}

#[test]
fn the_server_is_warned_once_per_stream_about_messages_that_do_not_conform() {
    let mut desk = Desk::new(Plan::default(), application).dial();
    desk.wait_seconds(4);
    desk.server_sends(r#"{"event":"mark","streamSid":"STR","mark":{"name":"a"},"extra":1}"#);
    desk.server_sends(r#"{"event":"start"}"#);
    desk.put(FarInput::SocketBinary { id: desk.socket.expect("open") });
    assert_eq!(codes(desk.far.ledger()), [31951, 31950]);
}

#[test]
fn a_recording_ends_by_silence_and_calls_back() {
    let mut desk = Desk::new(Plan::default(), |path, request| match path {
        "/incoming_call" => twiml(RECORD),
        _ => application(path, request),
    });
    desk = desk.dial();
    let (ledger, requests) = desk.end();
    // Three seconds of prompt, half a second of beep, four of speech and ten of silence.
    assert_eq!(ledger.by_second(), "PPP*RRRRRRRRRRRRRREEE");
    let told = bodies(&requests, "/recording_status");
    assert!(told[0].contains("RecordingStatus=in-progress"), "{told:?}");
    let expected = "RecordingSource=RecordVerb&RecordingTrack=inbound&RecordingSid=RE000000000000000c0000000000000000&\
        RecordingUrl=https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2FAccounts%2FAC0000000000000000000000000000000a%2FRecordings%2FRE000000000000000c0000000000000000&\
        RecordingStatus=completed&RecordingChannels=1&ErrorCode=0&CallSid=CA0000000000000000000000000000000c&\
        RecordingStartTime=Wed%2C+20+Apr+2022+23%3A45%3A28+%2B0000&AccountSid=AC0000000000000000000000000000000a&RecordingDuration=14";
    assert_eq!(told[1], expected);
    let action = bodies(&requests, "/handle_recording").remove(0);
    assert!(action.contains("&RecordingDuration=14") && !action.contains("Digits"), "{action}");
    assert_eq!((ledger.recordings[0].speech, ledger.problems.len()), (Duration::from_secs(4), 0));
    assert_eq!(ledger.longest_silence(), Duration::ZERO);
}

fn recorded(plan: Plan, record: &'static str) -> (Ledger, Vec<FetchRequest>) {
    let desk = Desk::new(plan, move |path, request| match path {
        "/incoming_call" => twiml(record),
        _ => application(path, request),
    });
    desk.dial().end()
}

#[test]
fn a_caller_who_hangs_up_while_recorded_is_reported_with_the_digits_hangup() {
    let plan = Plan { hangs_up: HangUp::Recording(Duration::from_secs(2)), ..Plan::default() };
    let (ledger, requests) = recorded(plan, RECORD);
    let action = bodies(&requests, "/handle_recording").remove(0);
    assert!(action.contains("Digits=hangup") && action.contains("CallStatus=completed"), "{action}");
    assert_eq!(ledger.recordings[0].to.map(|to| to.since(ledger.recordings[0].from)), Some(Duration::from_secs(2)));
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Caller));
    assert!(bodies(&requests, "/recording_status")[1].contains("RecordingStatus=completed"));
}

#[test]
fn a_recording_is_absent_when_nothing_is_left_and_runs_to_its_length_when_nothing_is_heard() {
    let trimmed = "<Record action=\"https://h/handle_recording\" recordingStatusCallback=\"https://h/recording_status\" \
        recordingStatusCallbackEvent=\"absent\" playBeep=\"false\" maxLength=\"30\"/>";
    let silent = Plan { message: Duration::ZERO, recording_delay: Duration::ZERO, ..Plan::default() };
    let (_, requests) = recorded(silent, trimmed);
    assert!(bodies(&requests, "/recording_status")[0].contains("RecordingStatus=absent"));
    let first = requests.iter().position(|request| request.url.ends_with("/recording_status"));
    assert!(first < requests.iter().position(|request| request.url.ends_with("/handle_recording")));
    let (ledger, _) = recorded(Plan { recording_hears: false, ..Plan::default() }, trimmed);
    assert_eq!(ledger.total(Heard::Recording), Duration::from_secs(30));
    let (_, requests) = recorded(Plan { recording: RecordingFate::Unreported, ..Plan::default() }, RECORD);
    assert_eq!(bodies(&requests, "/recording_status").len(), 1);
}

#[test]
fn a_caller_may_hang_up_at_any_moment() {
    let s = Duration::from_secs;
    for (hangs_up, seconds) in
        [(HangUp::Ringing(s(1)), "~"), (HangUp::Answered(s(2)), "GG"), (HangUp::Streaming(s(2)), "GGGSSS")]
    {
        let plan = Plan { hangs_up, ..Plan::default() };
        let never_answered = hangs_up == HangUp::Ringing(s(1));
        let desk = Desk::new(plan, move |path, request| match path {
            "/incoming_call" if never_answered => None,
            _ => application(path, request),
        });
        let (ledger, requests) = desk.dial().end();
        assert_eq!(ledger.by_second(), seconds);
        let expected = if never_answered { "CallStatus=no-answer" } else { "CallStatus=completed" };
        assert!(bodies(&requests, "/call_status")[0].contains(expected));
        let asked = usize::from(hangs_up == HangUp::Streaming(s(2)));
        assert_eq!(bodies(&requests, "/stream_ended").len(), asked, "{hangs_up:?}");
    }
}

#[test]
fn hebrew_is_heard_in_googles_voices_only() {
    for (say, heard) in [
        ("<Say language=\"he-IL\" voice=\"Google.he-IL-Standard-D\">שלום</Say>", Duration::from_secs(1)),
        ("<Say language=\"he-IL\">שלום</Say>", Duration::ZERO),
        ("<Say language=\"he-IL\" voice=\"Polly.Joanna\">שלום</Say>", Duration::ZERO),
        ("<Say language=\"he-IL\" voice=\"Google.he-IL-Neural2-A\">שלום</Say>", Duration::ZERO),
        ("<Say voice=\"Google.he-IL-Wavenet-A\">שלום</Say>", Duration::ZERO),
        ("<Say>Thank you for calling</Say>", Duration::from_secs(3)),
        ("<Say></Say>", Duration::ZERO),
    ] {
        let desk =
            Desk::new(Plan::default(), move |path, _| if path == "/incoming_call" { twiml(say) } else { status(204) });
        let (ledger, _) = desk.dial().end();
        assert_eq!(ledger.total(Heard::Goodbye), heard, "{say}");
        assert_eq!(ledger.problems.is_empty(), !heard.is_zero(), "{say}");
    }
}

#[test]
fn a_prompt_that_cannot_be_fetched_is_skipped() {
    let mut desk = Desk::new(Plan::default(), application);
    desk.media_fails = true;
    let mut desk = desk.dial();
    desk.wait_seconds(1);
    assert_eq!((desk.far.ledger().heard(), codes(desk.far.ledger())), (Some(Heard::Streaming), vec![11200]));
}

#[test]
fn a_call_ends_after_four_hours() {
    let desk = Desk::new(Plan::with_fault(StreamFault::NeverStarts), application).dial();
    let (ledger, _) = desk.end();
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::TimeLimit));
    assert_eq!(ledger.longest_silence(), limits::FAR_END_CALL_TIME - Duration::from_secs(3));
}

#[test]
fn a_driver_that_is_late_gets_a_bounded_number_of_frames_at_a_time() {
    let mut desk = Desk::new(Plan::default(), application).dial();
    desk.wait_seconds(4);
    desk.at(desk.now.mono + Duration::from_secs(2));
    let mut out = Vec::new();
    desk.far.handle_timeout(desk.now, &mut out);
    assert_eq!(out.len(), limits::FAR_END_OUTPUTS_PER_TURN_MAX);
    assert!(desk.far.next_timeout().is_some_and(|next| next <= desk.now.mono));
}

#[test]
fn early_wake_ups_and_clocks_that_go_back_change_nothing() {
    let run = |disturb: bool| {
        let mut desk = Desk::new(Plan::default(), application).dial();
        for _ in 0..40 {
            desk.wait(Duration::from_millis(250));
            if disturb {
                let mut out = Vec::new();
                desk.far.handle_timeout(Now::default(), &mut out);
                desk.far.handle_timeout(desk.now, &mut out);
                desk.far.start(desk.now, &mut out);
                assert!(out.is_empty());
            }
        }
        (desk.sent.clone(), desk.far.ledger().clone())
    };
    assert_eq!(run(false), run(true));
}
