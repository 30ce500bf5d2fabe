//! S1-S7: what arrives on the socket.

use super::*;
use crate::sid::AccountSid;

/// What the only `start` of this text, sent to a fresh socket, was reported as.
fn reported_start(text: &str) -> Start {
    let mut run = Run::opened(settings());
    run.text(0, text);
    match run.seen.as_slice() {
        [(0, StreamOutput::Report(StreamReport::Started(start)))] => (**start).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_stream_is_the_one_that_start_names_and_nothing_else_names_it() {
    let mut run = Run::opened(settings());
    run.text(0, r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#);
    run.text(1, &media_text(other_sid(), 1, "//8="));
    run.text(2, &mark_text(other_sid(), "callwarden-1"));
    run.text(3, &stop_text(other_sid()));
    assert_eq!(run.news(), [""; 0]);
    run.text(4, &start_text(sid()));
    run.command(5, StreamCommand::Accept);
    run.frame(6);
    assert_eq!(run.news(), ["4 started", "6 WS_FRAME", "6 heard", "6 mark 1"]);
    assert_eq!((run.counts().frames, run.counts().dropped), (1, 3));
}

#[test]
fn a_start_is_reported_with_all_the_switchboard_judges() {
    let (account, call) = (AccountSid::from_number(3), CallSid::from_number(7));
    let text = format!(
        r#"{{"event":"start","sequenceNumber":1,"start":{{"accountSid":"{account}","streamSid":"{sid}","callSid":"{call}","customParameters":{{"call_sid":"שלום","token":"t"}}}},"streamSid":"{sid}"}}"#,
        sid = sid()
    );
    let expected = Start {
        stream: sid(),
        call,
        account: Some(account),
        call_parameter: Some("שלום".into()),
        token: Some("t".into()),
    };
    assert_eq!(reported_start(&text), expected);
}

#[test]
fn the_sid_of_a_start_may_stand_inside_or_outside_its_body() {
    let call = CallSid::from_number(7);
    let inside = format!(r#"{{"event":"start","start":{{"streamSid":"{}","callSid":"{call}"}}}}"#, sid());
    let outside = format!(r#"{{"event":"start","start":{{"callSid":"{call}"}},"streamSid":"{}"}}"#, sid());
    for text in [inside, outside] {
        let start = reported_start(&text);
        assert_eq!((start.stream, start.call, start.token), (sid(), call, None));
    }
}

#[test]
fn custom_parameters_may_be_absent_an_object_or_a_json_text() {
    let token = |parameters: &str| {
        let call = CallSid::from_number(7);
        let start = format!(r#"{{"streamSid":"{}","callSid":"{call}"{parameters}}}"#, sid());
        reported_start(&format!(r#"{{"event":"start","start":{start}}}"#)).token
    };
    assert_eq!(token(""), None);
    assert_eq!(token(r#","customParameters":null"#), None);
    assert_eq!(token(r#","customParameters":["token"]"#), None);
    assert_eq!(token(r#","customParameters":{"token":"t"}"#).as_deref(), Some("t"));
    assert_eq!(token(r#","customParameters":"{\"token\":\"t\"}""#).as_deref(), Some("t"));
}

#[test]
fn a_start_without_valid_sids_is_refused() {
    let (stream, other, call) = (sid(), other_sid(), CallSid::from_number(7));
    for text in [
        format!(r#"{{"event":"start","start":{{"callSid":"{call}"}}}}"#),
        format!(r#"{{"event":"start","start":{{"streamSid":"{stream}"}}}}"#),
        format!(r#"{{"event":"start","start":{{"streamSid":"MZ1","callSid":"{call}"}}}}"#),
        format!(r#"{{"event":"start","start":{{"streamSid":"{call}","callSid":"{stream}"}}}}"#),
        format!(r#"{{"event":"start","start":{{"streamSid":"{stream}","callSid":"{call}"}},"streamSid":"{other}"}}"#),
    ] {
        let mut run = Run::opened(settings());
        run.text(0, &text);
        assert_eq!(run.news(), ["0 WS_REJECTED start_without_valid_sids", "0 close 1008"], "{text}");
    }
}

#[test]
fn nothing_is_sent_before_start_is_accepted_nor_after_stop() {
    let mut run = Run::opened(settings());
    run.frame(0);
    run.text(1, &start_text(sid()));
    run.frame(2);
    run.until(5_000);
    assert_eq!(run.news(), ["1 started", "2 WS_FRAME"]);
    run.command(5_000, StreamCommand::Accept);
    assert_eq!(run.news(), ["5000 heard", "5000 mark 1"]);
    run.text(5_001, &stop_text(sid()));
    run.frame(5_002);
    run.command(5_003, StreamCommand::Accept);
    run.until(60_000);
    assert_eq!(run.news(), ["5001 stopped", "10011 close 1000"]);
}

#[test]
fn what_is_sent_is_a_mark_of_the_documented_shape() {
    let mut run = Run::live(settings());
    run.frame(0);
    let sent: Vec<_> = run.seen.iter().filter(|(_, output)| matches!(output, StreamOutput::Send(_))).collect();
    let text = format!(r#"{{"event":"mark","streamSid":"{}","mark":{{"name":"callwarden-1"}}}}"#, sid());
    assert_eq!(sent, [&(0, StreamOutput::Send(text))]);
}

#[test]
fn a_message_of_a_foreign_stream_is_dropped_and_counted_and_changes_nothing() {
    let mut run = Run::heard(settings());
    let nameless = r#"{"event":"media","media":{"chunk":"2","payload":"//8="}}"#;
    let misnamed = r#"{"event":"media","media":{"chunk":"2","payload":"//8="},"streamSid":"שלום"}"#;
    let foreign = [
        media_text(other_sid(), 2, "//8="),
        mark_text(other_sid(), "callwarden-1"),
        stop_text(other_sid()),
        format!(r#"{{"event":"dtmf","dtmf":{{"digit":"1"}},"streamSid":"{}"}}"#, other_sid()),
        nameless.into(),
        misnamed.into(),
    ];
    for (text, at) in foreign.iter().zip(1_000..) {
        run.text(at, text);
    }
    assert_eq!((run.counts().frames, run.counts().dropped, run.counts().unreadable), (1, 6, 0));
    // Neither sign of life nor end: asked as if only the first frame had come, and never as a stream that echoes.
    run.until(12_000);
    assert_eq!(run.news(), ["6010 mark 2"]);
}

#[test]
fn a_key_pressed_is_no_frame_and_no_fault() {
    let mut run = Run::heard(settings());
    run.text(1_000, &format!(r#"{{"event":"dtmf","dtmf":{{"digit":"1"}},"streamSid":"{}"}}"#, sid()));
    assert_eq!((run.counts().dropped, run.counts().unreadable), (0, 0));
    run.until(6_010);
    assert_eq!(run.news(), ["6010 mark 2"]);
}

#[test]
fn a_second_start_of_the_same_stream_is_ignored() {
    let mut run = Run::heard(settings());
    run.text(1_000, &start_text(sid()));
    assert_eq!((run.news(), run.counts().dropped), (vec![], 1));
    run.until(6_010);
    assert_eq!(run.news(), ["6010 mark 2"]);
}

#[test]
fn a_second_start_of_another_stream_closes_the_socket() {
    for mut run in [Run::presented(settings()), Run::live(settings())] {
        run.text(1_000, &start_text(other_sid()));
        assert_eq!(run.news(), ["1000 WS_REJECTED second_start", "1000 close 1002"]);
    }
}

#[test]
fn a_start_after_stop_is_dropped() {
    let mut run = Run::live(settings());
    run.text(1_000, &stop_text(sid()));
    run.text(1_001, &start_text(other_sid()));
    assert_eq!((run.news(), run.counts().dropped), (vec!["1000 stopped".into()], 1));
}

#[test]
fn media_before_start_is_no_sign_of_life() {
    let mut run = Run::opened(settings());
    for at in 0..9 {
        run.frame(at * 1_000);
    }
    run.text(9_000, &start_text(sid()));
    run.command(9_000, StreamCommand::Accept);
    run.until(15_010);
    assert_eq!(run.news(), ["9000 started", "15010 mute"]);
    assert_eq!((run.counts().frames, run.counts().dropped), (0, 9));
}

#[test]
fn garbage_of_every_kind_is_survived_and_logged_once() {
    let mut run = Run::live(settings());
    for text in ["", "{", "null", "שלום", "[1,2]", "{}", r#"{"event":7}"#, r#"{"event":"media"}"#, "\u{0}\u{7f}"] {
        run.text(1, text);
    }
    run.at(2, |machine, now, out| machine.binary(now, out));
    run.text(3, r#"{"event":"close"}"#);
    assert_eq!((run.news(), run.counts().unreadable), (vec!["1 WS_BAD_JSON".into()], 11));
    run.frame(4);
    assert_eq!(run.news(), ["4 WS_FRAME", "4 heard", "4 mark 1"]);
}

#[test]
fn garbage_after_an_unknown_event_is_logged_too() {
    let mut run = Run::live(settings());
    run.text(1, r#"{"event":"close"}"#);
    run.text(2, "שלום");
    assert_eq!((run.news(), run.counts().unreadable), (vec!["2 WS_BAD_JSON".into()], 2));
}

#[test]
fn the_hundredth_unparsable_message_in_a_row_closes_the_socket() {
    let mut run = Run::live(settings());
    for at in 1..u64::from(limits::BAD_MESSAGES_IN_A_ROW_MAX) {
        run.text(at, "שלום");
    }
    assert_eq!(run.news(), ["1 WS_BAD_JSON"]);
    run.text(100, "שלום");
    run.text(101, "שלום");
    assert_eq!((run.news(), run.counts().unreadable), (vec!["100 close 1007".into()], 100));
}

#[test]
fn a_readable_message_in_between_starts_the_count_anew() {
    for readable in [r#"{"event":"close"}"#, r#"{"event":"connected"}"#, &media_text(other_sid(), 1, "")] {
        let mut run = Run::live(settings());
        for round in 0..3 {
            for at in 1..100 {
                run.at(round * 100 + at, |machine, now, out| machine.binary(now, out));
            }
            run.text(round * 100 + 100, readable);
        }
        assert_eq!(run.news(), ["1 WS_BAD_JSON"], "{readable}");
    }
}

#[test]
fn gaps_reorderings_and_duplicates_are_counted_and_their_frames_too() {
    let mut run = Run::live(settings());
    // After 4 a gap; 7 twice; 6 late, and 8 does not follow it.
    for (chunk, at) in [3, 4, 7, 7, 6, 8, 9].into_iter().zip(1..) {
        run.text(at, &media_text(sid(), chunk, "//8="));
    }
    assert_eq!((run.counts().frames, run.counts().bytes, run.counts().out_of_order), (7, 28, 4));
    run.text(9, &media_text(sid(), u64::MAX, ""));
    run.text(10, &media_text(sid(), 0, ""));
    assert_eq!(run.counts().out_of_order, 6);
}

#[test]
fn numbers_may_be_texts_or_numbers_and_a_frame_without_a_good_one_is_a_frame() {
    let mut run = Run::live(settings());
    for chunk in ["1", "\"2\"", "3", "\"x\"", "-4", "1.5", "null", "true", "4", "null", "6"] {
        let stream = sid();
        run.text(1, &format!(r#"{{"event":"media","media":{{"chunk":{chunk},"payload":""}},"streamSid":"{stream}"}}"#));
    }
    // Only 6 does not follow the last number there was.
    assert_eq!((run.counts().frames, run.counts().out_of_order, run.counts().unreadable), (11, 1, 0));
}

#[test]
fn a_socket_without_a_start_is_closed_after_ten_seconds() {
    let mut run = Run::opened(settings());
    run.text(9_999, r#"{"event":"connected"}"#);
    assert_eq!(run.news(), [""; 0]);
    run.until(60_000);
    assert_eq!(run.news(), ["10010 WS_REJECTED no_start_in_time", "10010 close 1008"]);
}

#[test]
fn a_start_in_the_last_look_is_in_time_when_it_is_accepted_then() {
    let mut run = Run::opened(settings());
    run.text(10_005, &start_text(sid()));
    run.command(10_009, StreamCommand::Accept);
    run.until(10_100);
    assert_eq!(run.news(), ["10005 started"]);
}

#[test]
fn a_start_that_nobody_accepts_is_closed_too() {
    let mut run = Run::presented(settings());
    run.until(60_000);
    assert_eq!(run.news(), ["10010 WS_REJECTED no_start_in_time", "10010 close 1008"]);
}

#[test]
fn the_first_frame_is_a_log_line_and_the_others_only_when_traced() {
    for (trace_frames, expected) in
        [(false, vec![(Level::Info, Some(4))]), (true, vec![(Level::Info, Some(4)), (Level::Trace, Some(4))])]
    {
        let mut run = Run::live(StreamSettings { trace_frames, ..settings() });
        run.frame(20);
        run.frame(40);
        let lines = run.seen.iter().filter_map(|(_, output)| match output {
            StreamOutput::Log(line) => {
                assert_eq!((line.event, line.stream_sid), (Event::WsFrame, Some(sid())));
                Some((line.level, line.len))
            }
            StreamOutput::Report(_) | StreamOutput::Send(_) | StreamOutput::Close(_) => None,
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }
}
