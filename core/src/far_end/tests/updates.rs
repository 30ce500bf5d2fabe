//! REST requests on a live call.

use super::*;
use crate::http::Method;
use crate::secret::Secret;

/// The base64 of AC0000000000000000000000000000000a:12345.
const CREDENTIALS: &str = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwYToxMjM0NQ==";
const MOVED: &str = "<Record action=\"https://h/handle_recording\" playBeep=\"false\"/>";

fn desk_with(first: &'static str) -> Desk {
    let desk = Desk::new(Plan::default(), move |path, request| match path {
        "/incoming_call" => twiml(first),
        "/never" => None,
        _ => application(path, request),
    });
    desk.dial()
}

#[test]
fn an_update_interrupts_every_verb_at_once() {
    for (first, wait) in [
        ("<Play>https://h/a.wav</Play>", 1_000),
        ("<Say>A text that takes some seconds to say</Say>", 1_000),
        ("<Pause length=\"60\"/>", 1_000),
        ("<Redirect>https://h/never</Redirect>", 1_000),
        ("<Record action=\"https://h/never\"/>", 200),
        ("<Record action=\"https://h/never\"/>", 2_000),
        (GREET_AND_STREAM, 3_020),
        (GREET_AND_STREAM, 3_100),
        (GREET_AND_STREAM, 5_000),
    ] {
        let mut desk = desk_with(first);
        desk.wait(Duration::from_millis(wait));
        assert_eq!(desk.update(MOVED), 200, "{first}");
        assert_eq!((desk.far.ledger().heard(), desk.socket), (Some(Heard::Recording), None), "{first}");
        assert_eq!(desk.bodies("/stream_ended").len(), 0, "the action of an interrupted verb is not asked");
        // Silence ends the recording after the four seconds of the message and five more.
        desk.wait(Duration::from_millis(8_900));
        assert_eq!(desk.far.ledger().heard(), Some(Heard::Recording), "{first} at {wait} ms");
        let (ledger, requests) = desk.end();
        assert_eq!(bodies(&requests, "/handle_recording").len(), 1);
        assert_eq!((ledger.updates.len(), ledger.documents[1].from.as_deref()), (1, None));
        let unanswered = if first.starts_with("<Redirect>") { vec![11205] } else { vec![] };
        assert_eq!(codes(&ledger), unanswered, "{first}");
    }
}

#[test]
fn a_running_stream_says_stop_before_an_update_closes_it_unless_planned_otherwise() {
    for stop_on_update in [true, false] {
        let mut desk = Desk::new(Plan { stop_on_update, ..Plan::default() }, application).dial();
        desk.wait_seconds(5);
        desk.update(MOVED);
        assert_eq!(desk.sent.last().expect("messages").contains("\"event\":\"stop\""), stop_on_update);
        assert_eq!(desk.closed, ["closed"]);
        assert!(desk.bodies("/stream_status")[1].contains("stream-stopped"));
    }
}

#[test]
fn an_update_of_a_recording_starts_a_second_one() {
    let mut desk = desk_with(MOVED);
    desk.wait_seconds(2);
    desk.update(MOVED);
    desk.wait_seconds(1);
    let recordings = &desk.far.ledger().recordings;
    assert_eq!((recordings.len(), recordings[0].to, recordings[1].to), (2, Some(recordings[1].from), None));
    assert_ne!(recordings[0].recording, recordings[1].recording);
}

#[test]
fn record_by_update_needs_an_absolute_action() {
    for document in ["<Record/>", "<Record action=\"/handle_recording\"/>"] {
        let mut desk = desk_with("<Pause length=\"60\"/>");
        desk.wait_seconds(1);
        assert_eq!(desk.update(document), 200);
        assert_eq!((codes(desk.far.ledger()), desk.far.ledger().heard()), (vec![11100], Some(Heard::Failure)));
    }
    let mut desk = desk_with("<Record action=\"/handle_recording\"/>");
    desk.wait_seconds(60);
    assert_eq!((codes(desk.far.ledger()), desk.bodies("/handle_recording").len()), (vec![], 1));
}

#[test]
fn a_document_that_cannot_be_parsed_is_accepted_and_then_fails() {
    let mut desk = desk_with("<Pause length=\"60\"/>");
    let mut out = Vec::new();
    let answer = desk.far.rest_update(desk.now, "Twiml=%3CResponse%2F%3E", &mut out);
    assert_eq!((answer.status, codes(desk.far.ledger())), (200, vec![12100]));
}

#[test]
fn only_a_call_in_progress_can_be_changed() {
    let code = |answer: &FetchResponse| {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, body["code"].as_u64())
    };
    let mut out = Vec::new();
    let mut ringing = Desk::new(Plan::default(), |_, _| None).dial();
    let answer = ringing.far.rest_update(ringing.now, "Status=completed", &mut out);
    assert_eq!(code(&answer), (400, Some(21220)));
    for (forgotten_when_over, expected) in [(false, (400, Some(21220))), (true, (404, Some(20404)))] {
        let plan = Plan { forgotten_when_over, ..Plan::default() };
        let mut desk = Desk::new(plan, |_, _| twiml("<Hangup/>")).dial();
        assert!(desk.far.is_over());
        let answer = desk.far.rest_update(desk.now, "Status=completed", &mut out);
        assert_eq!(code(&answer), expected);
        assert_eq!(desk.far.rest_look_up().status, if forgotten_when_over { 404 } else { 200 });
    }
}

#[test]
fn an_update_is_read_strictly() {
    let long = format!("Twiml={}", "x".repeat(limits::REST_TWIML_CHARS_MAX + 1));
    for form in ["", "Twiml=a&Url=https://h/", "Status=ringing", "Foo=1", "Twiml=%", "Url=nowhere", long.as_str()] {
        let mut desk = desk_with("<Pause length=\"60\"/>");
        let mut out = Vec::new();
        let answer = desk.far.rest_update(desk.now, form, &mut out);
        assert_eq!((answer.status, desk.far.ledger().updates.len()), (400, 0), "{form}");
    }
    let mut desk = desk_with("<Pause length=\"60\"/>");
    let mut out = Vec::new();
    let answer = desk.far.rest_update(desk.now, "Url=https%3A%2F%2Fh%2Fstream_ended&Method=POST", &mut out);
    desk.perform(out);
    assert_eq!((answer.status, desk.far.ledger().heard()), (200, Some(Heard::Goodbye)));
    let answer = desk.far.rest_update(desk.now, "Status=completed&StatusCallbackMethod=GET", &mut Vec::new());
    assert_eq!((answer.status, desk.far.ledger().ended.map(|(_, by)| by)), (200, Some(EndedBy::Rest)));
}

/// The answer to a GET below the account.
fn get(desk: &mut Desk, path: &str) -> FetchResponse {
    let url = format!("https://api.twilio.com/2010-04-01/Accounts/AC0000000000000000000000000000000a/{path}");
    assert!(desk.far.answers(&url), "{url}");
    let request = FetchRequest {
        method: Method::Get,
        url,
        headers: Vec::new(),
        authorization: Some(Secret::new(CREDENTIALS)),
        body: Default::default(),
        timeout: limits::REST_TIME,
        response_bytes_max: limits::REST_BYTES_MAX,
        public_only: false,
    };
    desk.far.rest(desk.now, &request, &mut Vec::new())
}

const LIST: &str = "Calls/CA0000000000000000000000000000000c/Recordings.json?PageSize=20";

fn recorded_for(plan: Plan) -> Desk {
    let desk = Desk::new(plan, |path, request| match path {
        "/incoming_call" => twiml(MOVED),
        _ => application(path, request),
    });
    desk.dial()
}

#[test]
fn recordings_can_be_listed_and_had_once_they_are_ready() {
    let voice = vec![0x80_u8; 8].into();
    let plan = Plan { voice, message: Duration::from_secs(1), ..Plan::default() };
    let record =
        "<Record action=\"https://h/handle_recording\" timeout=\"2\" playBeep=\"false\" trim=\"do-not-trim\"/>";
    let desk = Desk::new(plan, move |path, request| match path {
        "/incoming_call" => twiml(record),
        _ => application(path, request),
    });
    let mut desk = desk.dial();
    let status = |answer: FetchResponse| {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        (body["recordings"][0]["status"].as_str().map(str::to_owned), body["recordings"][0]["duration"].clone())
    };
    let file = format!("Recordings/{}.wav", desk.far.ledger().recordings[0].recording);
    for (wait, expected, code) in [(1_000, "in-progress", 404), (2_300, "processing", 404), (500, "completed", 200)] {
        desk.wait(Duration::from_millis(wait));
        assert_eq!(status(get(&mut desk, LIST)).0.as_deref(), Some(expected));
        assert_eq!(get(&mut desk, &file).status, code, "{expected}");
    }
    assert_eq!(status(get(&mut desk, LIST)).1, "3");
    let audio = get(&mut desk, &file).body;
    assert_eq!(playing_time("audio/x-wav", &audio), Ok(Duration::from_secs(3)));
    let length = u32::from_le_bytes([audio[4], audio[5], audio[6], audio[7]]);
    assert_eq!(length as usize, audio.len() - 8, "the head counts what follows it");
    assert_eq!(get(&mut desk, file.trim_end_matches(".wav")).body, audio);
    let sample = |second: usize| i16::from_le_bytes([audio[44 + second * 16_000], audio[45 + second * 16_000]]);
    assert_eq!((sample(0), sample(2)), (32_124, 0));
    assert_eq!(get(&mut desk, &file.replace(".wav", ".json")).status, 200);
    assert!(!desk.far.answers(
        "/2010-04-01/Accounts/AC0000000000000000000000000000000a/Recordings/RE00000000000000000000000000000000"
    ));
}

#[test]
fn a_rest_request_needs_the_right_path_and_credentials() {
    let mut desk = desk_with("<Pause length=\"60\"/>");
    let account = "/2010-04-01/Accounts/AC0000000000000000000000000000000a";
    let call = format!("{account}/Calls/CA0000000000000000000000000000000c.json");
    let right = CREDENTIALS;
    let other = format!("{account}/Calls/CA00000000000000000000000000000000.json");
    for (method, path, authorization, status) in [
        (Method::Get, call.as_str(), Some(right), 200),
        (Method::Post, call.as_str(), Some(right), 400),
        (Method::Get, call.as_str(), None, 401),
        (Method::Get, call.as_str(), Some("Basic QUM6MTIzNDU="), 401),
        (Method::Get, other.as_str(), Some(right), 404),
        (Method::Get, account, Some(right), 404),
        (Method::Delete, call.as_str(), Some(right), 405),
    ] {
        let request = FetchRequest {
            method,
            url: format!("https://api.twilio.com{path}"),
            headers: Vec::new(),
            authorization: authorization.map(Secret::new),
            body: Default::default(),
            timeout: limits::REST_TIME,
            response_bytes_max: limits::REST_BYTES_MAX,
            public_only: false,
        };
        assert_eq!(desk.far.rest(desk.now, &request, &mut Vec::new()).status, status, "{method:?} {path}");
    }
    let body: serde_json::Value = serde_json::from_slice(&desk.far.rest_look_up().body).expect("JSON");
    assert_eq!((body["status"].as_str(), body["caller_name"].as_str()), (Some("in-progress"), Some("ישראל ישראלי")));
    assert_eq!(rest_call(&format!("http://127.0.0.1:1{call}")), Some((desk.far.line.account, desk.far.line.call)));
}

#[test]
fn a_refused_update_says_what_is_wrong_with_it() {
    let long = |letters: usize| format!("Twiml={}", "x".repeat(letters));
    for (form, expected) in [
        ("Foo=1", Some(20001)),
        ("Status=completed&Foo=1", Some(20001)),
        ("Status=ringing", Some(20422)),
        (&long(limits::REST_TWIML_CHARS_MAX + 1), Some(20422)),
        (&long(limits::REST_TWIML_CHARS_MAX), None),
    ] {
        let mut desk = desk_with("<Pause length=\"60\"/>");
        let answer = desk.far.rest_update(desk.now, form, &mut Vec::new());
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["code"].as_u64(), expected, "{}", &form[..form.len().min(40)]);
    }
}

#[test]
fn an_update_by_url_is_asked_for_with_its_method() {
    for (method, expected) in [("GET", Method::Get), ("POST", Method::Post)] {
        let mut desk = desk_with("<Pause length=\"60\"/>");
        let mut out = Vec::new();
        let form = format!("Url=https%3A%2F%2Fh%2Fstream_ended&Method={method}");
        desk.far.rest_update(desk.now, &form, &mut out);
        desk.perform(out);
        assert_eq!(desk.requests.last().expect("a request").method, expected);
    }
}

#[test]
fn a_recording_is_ready_at_its_time_and_not_before() {
    let mut desk = recorded_for(Plan { message: Duration::from_secs(1), ..Plan::default() });
    let status = |desk: &mut Desk| {
        let body: serde_json::Value = serde_json::from_slice(&get(desk, LIST).body).expect("JSON");
        body["recordings"][0]["status"].as_str().map(str::to_owned)
    };
    // A second of message and five of silence, and half a second that Twilio takes.
    desk.wait(Duration::from_millis(6_499));
    assert_eq!(status(&mut desk).as_deref(), Some("processing"));
    desk.wait(Duration::from_millis(1));
    assert_eq!(status(&mut desk).as_deref(), Some("completed"));
}

#[test]
fn a_recording_that_is_not_kept_is_listed_as_absent_and_has_no_file() {
    let mut desk = recorded_for(Plan { recording: RecordingFate::Absent, ..Plan::default() });
    desk.wait_seconds(20);
    let body: serde_json::Value = serde_json::from_slice(&get(&mut desk, LIST).body).expect("JSON");
    assert_eq!((&body["recordings"][0]["status"], &body["recordings"][0]["duration"]), (&"absent".into(), &().into()));
    let file = format!("Recordings/{}.wav", desk.far.ledger().recordings[0].recording);
    assert_eq!(get(&mut desk, &file).status, 404);
}

#[test]
fn a_call_is_answered_for_under_its_own_account_only() {
    let mut desk = desk_with("<Pause length=\"60\"/>");
    let path = "/2010-04-01/Accounts/AC0000000000000000000000000000000a/Calls/CA0000000000000000000000000000000c.json";
    assert!(desk.far.answers(path));
    assert!(!desk.far.answers(&path.replace("00a/", "00b/")));
    let body: serde_json::Value = serde_json::from_slice(
        &get(
            &mut desk,
            path.strip_prefix("/2010-04-01/Accounts/AC0000000000000000000000000000000a/").expect("the account"),
        )
        .body,
    )
    .expect("JSON");
    assert_eq!(body["uri"].as_str(), Some(path));
}
