//! Bytes of a connection: cut anywhere they are the same requests; each gets one answer, and a webhook never a 5xx.

use super::source::{Source, text};
use crate::world::{AUTH_TOKEN, HOST, settings};
use callwarden_core::far_end;
use callwarden_core::form::{self, Form};
use callwarden_core::http::gate::{Gate, Step};
use callwarden_core::http::head::Refusal;
use callwarden_core::http::{Headers, Method, Request, Response};
use callwarden_core::path;
use callwarden_core::secret::Secret;
use callwarden_core::signature::{self, Payload};
use callwarden_core::store::{StoreAnswer, StoreCommand};
use callwarden_core::switchboard::{Input, Output, Switchboard};
use callwarden_core::time::{Instant, Now, UnixMillis};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

const REQUESTS_MAX: usize = 16;

/// The gate, forms, signatures, and every webhook of a switchboard whose database takes everything.
pub fn webhook(data: &[u8]) {
    let mut source = Source::new(data);
    let (mode, cut) = (source.byte(), usize::from(source.word()));
    let bytes = source.rest();
    if mode.is_multiple_of(2) {
        let whole = requests(&[bytes]);
        let cut = cut.min(bytes.len());
        assert_eq!(whole, requests(&[&bytes[..cut], &bytes[cut..]]), "a cut at {cut} changes what is read");
        whole.0.into_iter().for_each(|request| answered(vec![request]));
    } else {
        answered(conversation(Source::new(bytes)));
    }
    round_trip(&Form::parse(bytes));
}

/// Everything that a connection's bytes are, and the rule they break.
fn requests(cuts: &[&[u8]]) -> (Vec<Request>, Option<Refusal>) {
    let (mut gate, mut found) = (Gate::default(), Vec::new());
    for cut in cuts {
        gate.receive(cut);
        loop {
            match gate.advance() {
                Ok(Step::Request(head, body)) => {
                    let (method, target, headers) = (head.method, head.target, head.headers);
                    found.push(Request { method, target, headers, body, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) });
                }
                Ok(Step::Idle | Step::Head | Step::Body { .. }) => break,
                Err(refusal) => {
                    assert!((400..=505).contains(&refusal.response().status));
                    return (found, Some(refusal));
                }
            }
        }
    }
    (found, None)
}

/// Webhooks as Twilio might send them, of a few calls, in any order.
fn conversation(mut source: Source<'_>) -> Vec<Request> {
    let paths = [
        path::INCOMING_CALL,
        path::STREAM_ENDED,
        path::CALL_STATUS,
        path::STREAM_STATUS,
        path::HANDLE_RECORDING,
        path::RECORDING_STATUS,
    ];
    let mut requests = Vec::new();
    while !source.is_empty() && requests.len() < REQUESTS_MAX {
        let path = source.one_of(&paths);
        let mut pairs = vec![("CallSid".to_owned(), format!("CA{:032x}", source.byte() % 3))];
        for _ in 0..source.byte() % 6 {
            pairs.push(field(&mut source));
        }
        requests.push(signed(path, &pairs, source.byte() < 240));
    }
    requests
}

fn field(source: &mut Source<'_>) -> (String, String) {
    let known: [(&str, &[&str]); 10] = [
        ("CallStatus", &["ringing", "in-progress", "completed", "busy", "canceled", "no-answer", "failed", "queued"]),
        ("AccountSid", &["AC00000000000000000000000000000001", "AC00000000000000000000000000000002", "AC"]),
        ("StreamSid", &["MZ00000000000000000000000000000001", "MZ00000000000000000000000000000002"]),
        ("StreamEvent", &["stream-started", "stream-stopped", "stream-error", "?"]),
        ("RecordingSid", &["RE00000000000000000000000000000001", "RE00000000000000000000000000000002"]),
        ("RecordingStatus", &["in-progress", "completed", "absent", "failed"]),
        ("RecordingDuration", &["0", "1", "120", "-1", "99999999999999999999"]),
        ("Digits", &["hangup", "", "1"]),
        ("ErrorCode", &["11200", ""]),
        ("CallDuration", &["1", "18446744073709551616"]),
    ];
    let (name, values) = source.one_of(&known);
    let value = if source.byte() < 224 { source.one_of(values).to_owned() } else { text(source.some()) };
    (name.to_owned(), value)
}

fn signed(path: &str, pairs: &[(String, String)], well: bool) -> Request {
    let pairs = || pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let token = Secret::new(if well { AUTH_TOKEN } else { "another" });
    let signature = signature::sign(&token, &format!("https://{HOST}{path}"), pairs());
    let headers = [
        ("host", HOST),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-twilio-signature", signature.as_str()),
    ];
    Request {
        method: Method::Post,
        target: path.to_owned(),
        headers: headers.into_iter().collect::<Headers>(),
        body: form::encode(pairs()).into(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// Each request gets one answer (I1), and Twilio always one it can use.
fn answered(requests: Vec<Request>) {
    if requests.is_empty() {
        return;
    }
    let now = Now { mono: Instant::from_millis(1_000), unix: UnixMillis(1_795_000_000_000) };
    let mut out = Vec::new();
    let mut board = Switchboard::new(now, settings(&[]), &mut out);
    work_off(&mut board, now, out);
    for request in requests {
        let (path, is_webhook) = (request.path().to_owned(), request.path().starts_with("/webhook/"));
        let id = board.admit(&request).expect("room");
        let mut out = Vec::new();
        board.handle(now, Input::Request { id, request }, &mut out);
        let answers = work_off(&mut board, now, out);
        assert_eq!(answers.len(), 1, "I1: {path}");
        if let Some(Some(response)) = answers.first().filter(|_| is_webhook) {
            usable(response);
        }
    }
}

/// Lets the database take everything; the answers, `None` for an upgrade.
fn work_off(board: &mut Switchboard, now: Now, out: Vec<Output>) -> Vec<Option<Response>> {
    let (mut left, mut answers) = (VecDeque::from(out), Vec::new());
    while let Some(output) = left.pop_front() {
        match output {
            Output::Reply { response, .. } => answers.push(Some(response)),
            Output::Upgrade { .. } => answers.push(None),
            Output::Store { id, command, .. } => {
                let answer = match command {
                    StoreCommand::Claim(_) => StoreAnswer::Claimed(Ok(())),
                    StoreCommand::TakeRecordings { .. } => StoreAnswer::Recordings(Vec::new()),
                    StoreCommand::TakeOverdue => StoreAnswer::Overdue(Vec::new()),
                    StoreCommand::FindDone { .. } => StoreAnswer::Known(Vec::new()),
                    StoreCommand::Inherit { .. } | StoreCommand::FindStale => StoreAnswer::Segments(Vec::new()),
                    StoreCommand::Renew { .. } => StoreAnswer::TakenOver(Vec::new()),
                    StoreCommand::FindCall { .. } => StoreAnswer::Found(None),
                    StoreCommand::Open
                    | StoreCommand::Facts(_)
                    | StoreCommand::Release { .. }
                    | StoreCommand::Retire { .. } => StoreAnswer::Done,
                };
                let mut out = Vec::new();
                board.handle(now, Input::Stored { id, result: Ok(answer) }, &mut out);
                left.extend(out);
            }
            Output::Fetch { .. } | Output::Disk { .. } | Output::Command { .. } | Output::Log(_) => {}
        }
    }
    answers
}

fn usable(response: &Response) {
    assert!(response.status < 500, "a webhook never gets {}", response.status);
    if response.status == 200 {
        let twiml = text(&response.body);
        let document = far_end::twiml::read(&twiml).unwrap_or_else(|fault| panic!("{fault:?}: {twiml}"));
        assert!(document.warnings.is_empty(), "{:?}: {twiml}", document.warnings);
        assert!(twiml.chars().count() <= callwarden_core::limits::REST_TWIML_CHARS_MAX, "{twiml}");
    }
}

/// What was read, written and read again, is the same; signed, it verifies; changed, it does not.
fn round_trip(form: &Form) {
    let pairs: Vec<(String, String)> = form.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let again = Form::parse(form::encode(form.iter()).as_bytes());
    assert!(again.iter().eq(form.iter()), "{pairs:?}");
    let (token, url) = (Secret::new(AUTH_TOKEN), format!("https://{HOST}/webhook/call_status"));
    let signature = signature::sign(&token, &url, again.iter());
    let tokens = [token];
    assert!(signature::verify(&tokens, &url, Payload::Form(&again), &signature), "{pairs:?}");
    let other = Form::parse(form::encode(again.iter().chain([("Fuzz", "1")])).as_bytes());
    let is_longer = other.iter().count() > again.iter().count();
    assert!(!is_longer || !signature::verify(&tokens, &url, Payload::Form(&other), &signature), "{pairs:?}");
}
