//! Documents: what is read of them, what comes of each verb, and answers that come too late.

use super::*;

fn played(verbs: &'static str) -> (Ledger, Vec<FetchRequest>) {
    let desk = Desk::new(Plan::default(), move |path, request| match path {
        "/incoming_call" => twiml(verbs),
        _ => application(path, request),
    });
    desk.dial().end()
}

#[test]
fn a_rejected_call_is_busy_and_one_that_was_answered_before_is_completed() {
    for (verbs, status, answered) in [
        ("<Reject/>", "busy", false),
        ("<Reject reason=\"busy\"/>", "busy", false),
        ("<Pause length=\"2\"/><Reject/>", "completed", true),
    ] {
        let (ledger, requests) = played(verbs);
        assert!(bodies(&requests, "/call_status")[0].contains(&format!("CallStatus={status}")), "{verbs}");
        assert_eq!((ledger.answered.is_some(), ledger.problems.len()), (answered, 0), "{verbs}");
        assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Document), "{verbs}");
    }
}

#[test]
fn a_prompt_is_heard_as_often_as_its_loop_says() {
    for (verb, seconds) in [
        ("<Play>https://h/a.wav</Play>", 3),
        ("<Play loop=\"3\">https://h/a.wav</Play>", 9),
        ("<Say loop=\"2\">Thank you for calling</Say>", 6),
        ("<Play loop=\"0\">https://h/a.wav</Play>", 3_000),
        ("<Play loop=\"1001\">https://h/a.wav</Play>", 3_000),
    ] {
        let (ledger, _) = played(verb);
        assert_eq!(ledger.total(Heard::Goodbye), Duration::from_secs(seconds), "{verb}");
    }
}

#[test]
fn only_white_space_and_comments_may_stand_outside_the_root_and_the_declaration_comes_once() {
    let read = |text: &str| twiml::read(text).map(|document| document.verbs.len()).map_err(|fault| fault.code);
    let declaration = "<?xml version=\"1.0\"?>";
    assert_eq!(read(&format!("{declaration}\n<Response>\n<Hangup/>\n</Response>\n")), Ok(1));
    for wrong in [
        format!("{declaration}x<Response/>"),
        format!("{declaration}<Response/>x"),
        format!("{declaration}<Response>{declaration}</Response>"),
        format!("{declaration}<Response/>{declaration}"),
        format!("{declaration}{declaration}<Response/>x"),
    ] {
        assert_eq!(read(&wrong), Err(12100), "{wrong}");
    }
}

#[test]
fn a_second_stream_in_one_connect_is_warned_about() {
    let warnings = |streams: usize| {
        let streams = "<Stream url=\"wss://h/\"/>".repeat(streams);
        let document = twiml::read(&xml(&format!("<Connect>{streams}</Connect>"))).expect("parses");
        (document.verbs.len(), document.warnings.len())
    };
    assert_eq!([0, 1, 2].map(warnings), [(0, 0), (1, 0), (1, 1)]);
}

#[test]
fn a_document_of_64_kib_is_the_longest() {
    let around = xml("<!---->").len();
    for (length, expected) in
        [(limits::FAR_END_TWIML_BYTES_MAX, None), (limits::FAR_END_TWIML_BYTES_MAX + 1, Some(11750))]
    {
        let comment = "x".repeat(length - around);
        let desk = Desk::new(Plan::default(), move |path, request| match path {
            "/incoming_call" => twiml(&format!("<!--{comment}-->")),
            _ => application(path, request),
        });
        let (ledger, requests) = desk.dial().end();
        assert_eq!(codes(&ledger), expected.into_iter().collect::<Vec<_>>(), "{length} bytes");
        assert_eq!(requests[0].response_bytes_max, limits::FAR_END_TWIML_BYTES_MAX + 1, "what is too long is seen");
    }
}

#[test]
fn an_answer_to_a_verb_that_was_interrupted_neither_runs_nor_fails_the_call() {
    let late = twiml(GOODBYE).expect("an answer");
    let wrong = status(500).expect("an answer");
    for (answer, expected) in [(Some(late), vec![]), (Some(wrong), vec![11200]), (None, vec![11205])] {
        let mut desk = Desk::new(Plan::default(), |path, request| match path {
            "/incoming_call" => twiml("<Redirect>https://h/never</Redirect>"),
            "/never" => None,
            _ => application(path, request),
        });
        desk = desk.dial();
        desk.wait_seconds(1);
        let id = desk.unanswered.pop().expect("a request without an answer");
        assert_eq!(desk.update("<Pause length=\"60\"/>"), 200);
        if let Some(result) = answer {
            desk.put(FarInput::Answered { id, result });
        }
        desk.wait_seconds(20);
        assert_eq!(desk.far.ledger().heard(), Some(Heard::Silence), "{expected:?}");
        assert_eq!((codes(desk.far.ledger()), desk.ended.len()), (expected, 0));
        assert_eq!(desk.far.ledger().documents.len(), 2, "the first and the update");
    }
}
