//! Requests, their repeats, and what follows when there is no usable answer.

use super::*;
use crate::http::Method;
use std::cell::RefCell;
use std::rc::Rc;

/// Answers the first webhook with each of `answers` in turn, and returns the time and number of attempts.
fn attempts(url: &'static str, answers: Vec<Option<Answer>>) -> (Vec<u64>, Ledger) {
    let times = Rc::new(RefCell::new(Vec::new()));
    let mut answers = answers.into_iter();
    let mut desk = Desk::new(Plan::default(), move |path, _| match path {
        "/incoming_call" => answers.next().unwrap_or_else(|| twiml("<Hangup/>")),
        _ => status(204),
    });
    desk.far.line.voice_url = url.to_owned();
    let mut desk = desk.dial();
    let started = desk.now.mono;
    for _ in 0..400 {
        let count = desk.bodies("/incoming_call").len();
        let mut seen = times.borrow_mut();
        while seen.len() < count {
            seen.push(u64::try_from(desk.now.mono.since(started).as_millis()).expect("short"));
        }
        drop(seen);
        desk.wait(Duration::from_millis(100));
    }
    let ledger = desk.far.ledger().clone();
    (times.take(), ledger)
}

fn not_sent() -> Option<Answer> {
    Some(Err(FetchError::NotSent("refused".to_owned())))
}

fn cut() -> Option<Answer> {
    Some(Err(FetchError::Ambiguous("cut".to_owned())))
}

#[test]
fn by_default_only_a_failed_connection_is_repeated_and_once() {
    let (times, ledger) = attempts("https://h/incoming_call", vec![not_sent()]);
    assert_eq!((times.len(), ledger.ended.map(|(_, by)| by)), (2, Some(EndedBy::Document)));
    let (times, ledger) = attempts("https://h/incoming_call", vec![not_sent(), not_sent()]);
    assert_eq!((times.len(), codes(&ledger)), (2, vec![11205]));
    assert_eq!(ledger.total(Heard::Failure), Duration::from_secs(4));
    for answer in [status(500), cut(), status(404), status(302)] {
        let (times, ledger) = attempts("https://h/incoming_call", vec![answer]);
        assert_eq!((times.len(), ledger.ended.map(|(_, by)| by)), (1, Some(EndedBy::Failure)));
    }
}

#[test]
fn overrides_in_the_fragment_repeat_what_they_name_and_are_not_sent() {
    let url = "https://h/incoming_call#rc=3&rp=ct,rt,5xx&rt=4000";
    let (times, ledger) = attempts(url, vec![status(503), cut(), None]);
    assert_eq!(times, [0, 0, 0, 4_000]);
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Document));
    assert_eq!(attempts(url, vec![status(404)]).0.len(), 1);
    assert_eq!(attempts(url, vec![status(503), status(503), status(503), status(503)]).0.len(), 4);
    assert_eq!(attempts("https://h/incoming_call#rc=9", vec![]).0.len(), 0);
}

#[test]
fn all_attempts_together_end_after_fifteen_seconds() {
    let (times, ledger) = attempts("https://h/incoming_call#rc=5&rp=all&rt=4000", vec![None, None, None, None, None]);
    assert_eq!(times, [0, 4_000, 8_000, 12_000]);
    assert_eq!(codes(&ledger), [11205]);
    let (_, ledger) = attempts("https://h/incoming_call", vec![None]);
    assert_eq!(ledger.problems[0].at.since(ledger.spans[0].from), limits::FAR_END_REQUEST_TIME);
}

#[test]
fn answers_that_are_no_twiml_fail_with_twilios_codes() {
    let answer = |kind: &str, body: String| {
        let headers = [("content-type", kind)].into_iter().collect();
        Some(Ok(FetchResponse { status: 200, headers, body: body.into() }))
    };
    let long = xml(&format!("<!--{}-->", "x".repeat(limits::FAR_END_TWIML_BYTES_MAX)));
    for (reply, code) in [
        (status(200), 12300),
        (answer("application/json", xml("")), 12300),
        (answer("text/xml", String::new()), 11770),
        (answer("text/xml", long), 11750),
        (answer("text/xml", "<Response/>".to_owned()), 12100),
        (answer("text/xml", "<?xml version=\"1.0\"?><html/>".to_owned()), 12102),
    ] {
        let (_, ledger) = attempts("https://h/incoming_call", vec![reply]);
        assert_eq!(codes(&ledger), [code]);
    }
}

#[test]
fn the_fallback_url_is_asked_once_with_the_error() {
    let mut desk = Desk::new(Plan::default(), |path, _| match path {
        "/incoming_call" => status(500),
        "/fallback" => twiml(GOODBYE),
        _ => status(204),
    });
    desk.far.line.fallback_url = Some("https://h/fallback".to_owned());
    let (ledger, requests) = desk.dial().end();
    let asked = bodies(&requests, "/fallback");
    assert!(asked[0].ends_with("&ErrorCode=11200&ErrorUrl=https%3A%2F%2Fh%2Fincoming_call"), "{}", asked[0]);
    assert_eq!((asked.len(), ledger.total(Heard::Goodbye)), (1, Duration::from_secs(3)));
    let mut desk = Desk::new(Plan::default(), |_, _| status(500));
    desk.far.line.fallback_url = Some("https://h/fallback".to_owned());
    let (ledger, requests) = desk.dial().end();
    assert_eq!((bodies(&requests, "/fallback").len(), ledger.ended.map(|(_, by)| by)), (1, Some(EndedBy::Failure)));
}

#[test]
fn a_request_looks_like_twilios() {
    let plan = Plan { hangs_up: HangUp::Answered(Duration::from_secs(4)), ..Plan::default() };
    let (_, requests) = Desk::new(plan, application).dial().end();
    let first = &requests[0];
    let header = |name: &str| first.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    assert_eq!(header("user-agent"), Some("TwilioProxy/1.1"));
    assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded; charset=UTF-8"));
    assert_eq!((header("i-twilio-idempotency-token"), first.method), (None, Method::Post));
    let body = core::str::from_utf8(&first.body).expect("text");
    assert!(body.starts_with("CallSid=CA0000000000000000000000000000000c&AccountSid=AC"), "{body}");
    assert!(body.contains("&CallStatus=ringing&ApiVersion=2010-04-01&Direction=inbound&FromCity=&"), "{body}");
    assert!(body.contains("&CallToken=%257B%2522parent"), "{body}");
    let pairs = wire::read_form(body).expect("a form");
    let sorted: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
    let input: String = sorted.into_iter().map(|(name, value)| name + &value).collect();
    let by_get = wire::signature("12345", &format!("https://h/incoming_call{input}"), &Vec::new());
    assert_eq!(header("x-twilio-signature"), Some(by_get.as_str()));
    let callback = requests.iter().find(|request| request.url.ends_with("/stream_status")).expect("a callback");
    assert!(callback.headers.iter().any(|(name, _)| *name == "i-twilio-idempotency-token"));
}

#[test]
fn a_get_carries_its_parameters_in_the_signed_query() {
    let mut desk = Desk::new(Plan::default(), application);
    desk.far.line.voice_by_get = true;
    let desk = desk.dial();
    let request = &desk.requests[0];
    assert_eq!((request.method, request.body.len()), (Method::Get, 0));
    assert!(request.url.starts_with("https://h/incoming_call?CallSid=CA"), "{}", request.url);
    let expected = wire::signature("12345", &request.url, &Vec::new());
    assert!(request.headers.contains(&("x-twilio-signature", expected)));
}

#[test]
fn repeats_of_a_callback_carry_the_same_token_and_late_answers_change_nothing() {
    let mut first = true;
    let mut desk = Desk::new(Plan::default(), move |path, _| match path {
        "/incoming_call" => twiml("<Hangup/>"),
        _ if core::mem::take(&mut first) => None,
        _ => status(204),
    });
    desk.far.line.status_callback = Some("https://h/call_status#rc=1&rp=rt&rt=1000".to_owned());
    let (_, requests) = desk.dial().end();
    let tokens: Vec<_> =
        requests.iter().flat_map(|request| &request.headers).filter(|(name, _)| name.starts_with("i-")).collect();
    assert_eq!((tokens.len(), tokens[0]), (2, tokens[1]));
}

#[test]
fn more_callbacks_than_a_call_can_have_are_not_sent() {
    let mut desk = Desk::new(Plan::default(), |path, request| match path {
        "/stream_status" => None,
        _ => application(path, request),
    });
    desk = desk.dial();
    let mut out = Vec::new();
    for _ in 0..=limits::FAR_END_REQUESTS_MAX {
        desk.far.ask(Purpose::Notice, "https://h/stream_status", false, Vec::new(), &mut out);
    }
    assert_eq!((out.len(), codes(desk.far.ledger())), (limits::FAR_END_REQUESTS_MAX, vec![15002]));
}

#[test]
fn two_callbacks_carry_two_tokens() {
    let (_, requests) = Desk::new(Plan::default(), application).dial().end();
    let headers = requests.iter().flat_map(|request| &request.headers);
    let tokens: Vec<_> = headers.filter(|(name, _)| *name == "i-twilio-idempotency-token").collect();
    let distinct: std::collections::BTreeSet<_> = tokens.iter().collect();
    assert_eq!((tokens.len(), distinct.len()), (3, 3), "of the stream's start, its end and the call's");
}

#[test]
fn a_refusal_is_repeated_where_the_fragment_says_so() {
    let url = "https://h/incoming_call#rc=2&rp=4xx";
    assert_eq!(attempts(url, vec![status(404), status(499), twiml("<Hangup/>")]).0.len(), 3);
    assert_eq!(attempts(url, vec![status(404), status(500)]).0.len(), 2);
    assert_eq!(attempts("https://h/incoming_call#rc=2&rp=5xx", vec![status(499)]).0.len(), 1);
}

#[test]
fn every_override_that_twilio_documents_is_taken() {
    let read = wire::Overrides::of("https://h/p#ct=2000&tt=5000&sni=y&e=ashburn").expect("valid");
    assert_eq!(read, wire::Overrides { total: Duration::from_secs(5), ..wire::Overrides::default() });
    for wrong in ["ct=99", "ct=10001", "tt=15001"] {
        assert!(wire::Overrides::of(&format!("https://h/p#{wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn every_day_is_dated_as_a_reader_of_dates_has_it() {
    let day = 86_400_000;
    for at in (0..160_000).map(|number| UnixMillis(number * day)) {
        let text = wire::rfc2822(at);
        assert_eq!(crate::http::date::parse(&text.replace("+0000", "GMT")), Some(at), "{text}");
    }
}
