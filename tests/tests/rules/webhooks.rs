//! What a webhook leaves behind and is answered with: D1, D5, recordings, damaged forms. Virtual time.

use bytes::Bytes;
use callwarden_core::far_end::{Plan, StreamFault};
use callwarden_core::http::{Request, Response};
use callwarden_core::log::Event;
use callwarden_core::sid::AccountSid;
use callwarden_core::store::{CallStatus, RecordingState, Source, TranscriptStart};
use callwarden_core::stream::Ended;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, signed, text, token_in, unsigned};
use callwarden_tests::world::{DatabaseFault, RestFault, World, settings};
use proptest::prelude::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const RECORDING: &str = "RE0000000000000000000000000000000a";

fn incoming(caller: Caller) -> Request {
    signed(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing"), ("From", "+972501234567")]))
}

fn is_stream(response: &Response) -> bool {
    response.status == 200 && text(response).contains("<Connect") && !text(response).contains("<Record")
}

fn is_recording(response: &Response) -> bool {
    response.status == 200 && text(response).contains("<Record") && !text(response).contains("<Connect")
}

/// How long the last answer took.
fn milliseconds(world: &World) -> u64 {
    world.logged(Event::Res).last().and_then(|line| line.ms).expect("an answer")
}

/// A world without an auth token: its webhooks need no signature.
fn development() -> World {
    World::with(settings(&[("TWILIO_ACCOUNT_SID", ""), ("TWILIO_AUTH_TOKEN", "")]))
}

#[test]
fn a_signed_post_leaves_a_committed_ringing_row_before_the_answer_arrives() {
    let mut world = World::new();
    world.database.latency = Duration::from_millis(300);
    let caller = Caller::new(1);
    let place = world.request(incoming(caller));
    world.run_for(Duration::from_millis(299));
    assert!(world.answers[place].is_none(), "the row is not committed yet");
    let response = world.answer(place);
    assert!(is_stream(&response));
    assert_eq!(milliseconds(&world), 300);
    let (_, row) = &world.database.call_facts[0];
    assert_eq!((row.status, row.source), (Some(CallStatus::Ringing), Some(Source::Stream)));
    assert_eq!(row.from.as_deref(), Some("+972501234567"));
    assert_eq!(row.account, Some(caller.account));
    assert_eq!(row.transcript, Some(TranscriptStart::Disabled));
}

#[test]
fn a_database_that_hangs_costs_one_second_once_and_nothing_more_until_it_answers() {
    let mut world = World::new();
    world.database.fault = DatabaseFault::Hangs;
    assert!(is_stream(&world.ask(incoming(Caller::new(1)))));
    assert_eq!(milliseconds(&world), 1_000);
    for number in 2..5 {
        assert!(is_stream(&world.ask(incoming(Caller::new(number)))));
        assert_eq!(milliseconds(&world), 0, "it is not waited for again");
    }
    world.database.fault = DatabaseFault::None;
    world.run_for(limits::STORE_TIME + limits::STORE_RETRY_MAX);
    for number in 1..5 {
        assert_eq!(world.database.status(Caller::new(number).call), Some(CallStatus::Ringing), "nothing is lost");
    }
    assert!(is_stream(&world.ask(incoming(Caller::new(5)))));
    assert_eq!(milliseconds(&world), 2, "a probe succeeded: rows are waited for again");
}

#[test]
fn a_slow_database_is_waited_for_up_to_one_second_only() {
    let mut world = World::new();
    world.database.latency = Duration::from_millis(990);
    assert!(is_stream(&world.ask(incoming(Caller::new(1)))));
    assert_eq!(milliseconds(&world), 990);
    assert!(world.logged(Event::DbError).is_empty());
}

#[test]
fn a_duplicate_incoming_call_gets_the_same_answer_one_row_one_watch_and_one_fetch() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    world.database.latency = Duration::from_millis(200);
    let caller = Caller::new(1);
    let together = [world.request(incoming(caller)), world.request(incoming(caller))];
    let mut answers: Vec<Response> = together.into_iter().map(|place| world.answer(place)).collect();
    world.run_for(SECOND * 3);
    answers.push(world.ask(incoming(caller)));
    let bodies: Vec<String> =
        answers.iter().map(|answer| text(answer).replace(&token_in(text(answer)), "TOKEN")).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0] && body.contains("<Connect")), "{bodies:?}");
    assert_ne!(token_in(text(&answers[0])), token_in(text(&answers[2])), "the token is fresh");
    world.run_for(SECOND * 30);
    assert_eq!(world.database.call_facts.iter().filter(|(_, fact)| fact.source.is_some()).count(), 1);
    assert_eq!(world.lines_of(caller, Event::IncomingCall).len(), 1);
    assert_eq!(world.lines_of(caller, Event::WatchdogRedirect).len(), 1);
    assert_eq!(world.rest_log.len(), 1);
    let redirected = world.rest_log[0].0.since(world.answered_at(path::INCOMING_CALL));
    assert!(redirected.abs_diff(SECOND * 8) <= SECOND / 2, "the first answer's watch counts: {redirected:?}");
}

#[test]
fn a_duplicate_after_a_claim_or_with_an_error_code_gets_the_recording_document() {
    let mut world = World::new();
    world.rest_always = RestFault::NotSent;
    let claimed = Caller::new(1);
    world.announce(claimed);
    world.run_for(SECOND * 9);
    assert!(is_recording(&world.ask(incoming(claimed))));

    for announced in [true, false] {
        let failed = Caller::new(2 + u128::from(announced));
        if announced {
            world.announce(failed);
        }
        let form = failed.form(&[("ErrorCode", "11200"), ("ErrorUrl", "https://calls.example.com/")]);
        assert!(is_recording(&world.ask(signed(path::INCOMING_CALL, &form))));
        world.run_for(SECOND);
        let how_far = world.database.how_far(failed.call).expect("it is written down");
        assert_eq!(how_far, "no start seen; Twilio could not run our document: error 11200");
    }
}

#[test]
fn a_duplicate_after_start_arms_nothing() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, SECOND);
    assert!(is_stream(&world.ask(incoming(caller))));
    world.frames(socket, stream, SECOND * 3);
    world.end_script_socket(socket, Ended::Closed(None));
    world.run_for(SECOND * 7);
    assert!(world.rest_log.is_empty(), "the lost stream has eight seconds of its own");
}

#[test]
fn an_announcement_that_comes_after_the_end_leaves_its_row_and_no_watch() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "no-answer")]);
    assert!(text(&world.ask(incoming(caller))).contains("<Response/>"));
    world.run_for(SECOND * 20);
    assert!(world.database.call_facts.iter().any(|(_, fact)| fact.from.as_deref() == Some("+972501234567")));
    assert_eq!(world.database.status(caller.call), Some(CallStatus::NoAnswer));
    assert!(world.rest_log.is_empty());
}

/// The row said that the call was over and the watch did not know: it was claimed, refused and looked up for hours.
#[test]
fn a_request_for_a_document_that_says_the_call_is_over_ends_it() {
    for webhook in [path::INCOMING_CALL, path::STREAM_ENDED, path::HANDLE_RECORDING] {
        let mut world = World::new();
        let caller = Caller::new(1);
        let form = caller.form(&[("CallStatus", "completed"), ("RecordingSid", RECORDING), ("RecordingDuration", "4")]);
        assert!(text(&world.ask(signed(webhook, &form))).contains("<Response/>"), "{webhook}");
        world.run_for(SECOND * 30);
        assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed), "{webhook}");
        assert!(world.rest_log.is_empty() && world.database.claims_asked == 0, "{webhook}");
    }
}

#[test]
fn a_sub_accounts_call_is_taken_and_said() {
    let mut world = World::new();
    let caller = Caller { account: AccountSid::from_number(0x5), ..Caller::new(1) };
    assert!(is_stream(&world.ask(incoming(caller))));
    let reasons: Vec<_> = world.lines_of(caller, Event::IncomingCall).iter().map(|line| line.reason.clone()).collect();
    assert_eq!(reasons, [Some("sub_account".to_owned()), None]);
    assert_eq!(world.database.call_facts[0].1.account, Some(caller.account));
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "in-progress")]);
    let said = world.lines_of(caller, Event::IncomingCall).into_iter();
    assert_eq!(said.filter(|line| line.reason.as_deref() == Some("sub_account")).count(), 1, "once a call");
}

#[test]
fn with_streaming_off_every_call_is_recorded_and_nothing_is_watched() {
    let mut world = World::with(settings(&[("ENABLE_CALLS_STREAM", "false")]));
    let call = world.call(Plan::default());
    let ledger = world.run_to_the_end_of(call);
    assert_eq!((ledger.recordings.len(), ledger.streams.len()), (1, 0));
    assert!(world.lines(call, Event::WatchdogRedirect).is_empty() && world.rest_log.is_empty());
    assert_eq!(world.database.call_facts[0].1.source, Some(Source::Recording));
    assert_eq!(world.database.fallback(world.sid(call)), None);
    world.settle();
}

#[test]
fn handle_recording_gives_the_same_answer_twice_and_says_goodbye() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let form = caller.form(&[("RecordingSid", RECORDING), ("RecordingDuration", "9"), ("Digits", "")]);
    let first = world.ask(signed(path::HANDLE_RECORDING, &form));
    let second = world.ask(signed(path::HANDLE_RECORDING, &form));
    assert!(text(&first).contains("<Hangup/>") && !text(&first).contains("<Record"));
    assert_eq!(text(&first), text(&second));
}

#[test]
fn a_recording_that_hit_its_length_goes_on_twice_at_most_and_repeats_count_once() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let mut ended = |number: u32| {
        let sid = format!("RE{number:032x}");
        let form = caller.form(&[("RecordingSid", sid.as_str()), ("RecordingDuration", "120")]);
        let answers = [0, 1].map(|_| text(&world.ask(signed(path::HANDLE_RECORDING, &form))).to_owned());
        assert_eq!(answers[0], answers[1], "recording {number}");
        answers[0].contains("<Record")
    };
    assert_eq!([ended(1), ended(2), ended(3), ended(4)], [true, true, false, false]);
}

#[test]
fn a_caller_who_presses_a_key_has_said_it_all_however_long_the_recording_is() {
    let mut world = World::new();
    let form = [("RecordingSid", RECORDING), ("RecordingDuration", "120"), ("Digits", "1")];
    let answer = world.webhook(path::HANDLE_RECORDING, Caller::new(1), &form);
    assert!(answer.contains("<Hangup/>") && !answer.contains("<Record"), "{answer}");
}

#[test]
fn a_caller_who_hangs_up_during_a_recording_ends_the_call() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let form = caller.form(&[("RecordingSid", RECORDING), ("RecordingDuration", "120"), ("Digits", "hangup")]);
    assert!(text(&world.ask(signed(path::HANDLE_RECORDING, &form))).contains("<Response/>"));
    world.run_for(SECOND);
    assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed));
    let states: Vec<_> = world.database.recordings.iter().map(|recording| recording.state).collect();
    assert_eq!(states, [RecordingState::InProgress], "that it is complete is for Twilio to say");
}

#[test]
fn a_webhook_of_no_call_is_answered_and_watches_nothing() {
    let mut world = development();
    for call in ["", "unknown", "CA", "{CALL_SID}", "CA000000000000000000000000000000zz", "<Hangup/>"] {
        let form = [("CallSid".to_owned(), call.to_owned())];
        assert!(is_recording(&world.ask(unsigned(path::INCOMING_CALL, &form))), "{call}");
        assert!(is_recording(&world.ask(unsigned(path::STREAM_ENDED, &form))), "{call}");
        assert!(text(&world.ask(unsigned(path::HANDLE_RECORDING, &form))).contains("<Hangup/>"), "{call}");
        for webhook in [path::CALL_STATUS, path::STREAM_STATUS, path::RECORDING_STATUS] {
            assert_eq!(world.ask(unsigned(webhook, &form)).status, 204, "{call}");
        }
    }
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 0);
    assert!(world.database.call_facts.is_empty() && world.rest_log.is_empty());
    assert_eq!(world.logged(Event::BadWebhook).len(), 6 * 6);
}

#[test]
fn a_damaged_form_is_used_as_far_as_it_goes() {
    let mut world = development();
    let caller = Caller::new(1);
    let mut request = unsigned(path::INCOMING_CALL, &caller.form(&[("CallerName", "ישראל ישראלי")]));
    let mut body = request.body.to_vec();
    body.extend_from_slice(b"&From=%FF%FE%zz&=&&&%&To=\xff");
    request.body = Bytes::from(body);
    assert!(is_stream(&world.ask(request)));
    assert_eq!(world.lines_of(caller, Event::BadWebhook).len(), 1);
    assert_eq!(world.database.status(caller.call), Some(CallStatus::Ringing));
}

#[test]
fn request_lines_carry_no_query() {
    let mut world = World::new();
    let secret = "/webhook/incoming_call?CallSid=CA00000000000000000000000000000001&From=%2B972501234567";
    world.ask(callwarden_tests::world::script::get(secret));
    let lines: Vec<_> = [world.logged(Event::Req), world.logged(Event::Res)].concat();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.path.as_deref() == Some(path::INCOMING_CALL)), "{lines:?}");
}

const WEBHOOKS: [&str; 6] = [
    path::INCOMING_CALL,
    path::CALL_STATUS,
    path::STREAM_STATUS,
    path::STREAM_ENDED,
    path::HANDLE_RECORDING,
    path::RECORDING_STATUS,
];

/// Names and values that mean something to some webhook, in any combination.
fn form() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        Just("CallSid"),
        Just("CallSid"),
        Just("CallSid"),
        Just("AccountSid"),
        Just("CallStatus"),
        Just("CallDuration"),
        Just("ErrorCode"),
        Just("StreamSid"),
        Just("StreamEvent"),
        Just("StreamError"),
        Just("RecordingSid"),
        Just("RecordingStatus"),
        Just("RecordingDuration"),
        Just("Digits"),
    ];
    let value = prop_oneof![
        Just("CA00000000000000000000000000000001".to_owned()),
        Just("CA00000000000000000000000000000001".to_owned()),
        Just("CA00000000000000000000000000000001".to_owned()),
        Just("MZ00000000000000000000000000000001".to_owned()),
        Just(RECORDING.to_owned()),
        Just("completed".to_owned()),
        Just("in-progress".to_owned()),
        Just("stream-error".to_owned()),
        Just("stream-stopped".to_owned()),
        Just("hangup".to_owned()),
        Just("120".to_owned()),
        Just("99999999999999999999".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec((name.prop_map(str::to_owned), value), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_webhook_is_ever_answered_with_a_server_error(
        requests in prop::collection::vec((0..WEBHOOKS.len(), form(), prop::collection::vec(any::<u8>(), 0..20)), 1..12),
        fault in prop_oneof![
            Just(DatabaseFault::None),
            Just(DatabaseFault::Refuses),
            Just(DatabaseFault::Hangs),
            Just(DatabaseFault::LosesAnswers),
            Just(DatabaseFault::RefusesRecordings),
        ],
        rest in prop_oneof![Just(RestFault::NotSent), Just(RestFault::Lost), Just(RestFault::Refused(500, 0))],
    ) {
        let mut world = development();
        // The model reads a damaged form otherwise than the machine: which of two values counts is nobody's rule.
        world.history = None;
        world.database.fault = fault;
        world.rest_always = rest;
        for (webhook, pairs, garbage) in requests {
            let mut request = unsigned(WEBHOOKS[webhook], &pairs);
            request.body = Bytes::from([request.body.as_ref(), &garbage].concat());
            let response = world.ask(request);
            let wants_document = matches!(WEBHOOKS[webhook], path::INCOMING_CALL | path::STREAM_ENDED | path::HANDLE_RECORDING);
            prop_assert_eq!(response.status, if wants_document { 200 } else { 204 });
            if wants_document {
                prop_assert!(text(&response).starts_with("<?xml"));
                prop_assert_eq!(response.header("content-type"), Some("text/xml; charset=utf-8"));
                prop_assert_eq!(response.header("cache-control"), Some("no-store"));
            }
            prop_assert!(milliseconds(&world) <= 1_000, "Twilio waits a second at most");
        }
        world.database.fault = DatabaseFault::None;
        world.settle();
    }
}

#[test]
fn a_call_nobody_can_reach_by_rest_keeps_its_watch_in_development_mode() {
    let mut world = development();
    let call = world.call(Plan::with_fault(StreamFault::Mute(None)));
    let ledger = world.run_to_the_end_of(call);
    assert_eq!(ledger.recordings.len(), 1, "without credentials the second route alone leads to the recording");
    assert!(world.rest_log.is_empty());
    let failed = world.lines(call, Event::WatchdogRedirectFail);
    assert_eq!(failed.iter().map(|line| line.cause.as_deref()).collect::<Vec<_>>(), [Some("no_credentials")]);
    world.settle();
}

#[test]
fn a_stream_that_twilio_says_has_started_stands_in_the_calls_timeline() {
    let mut world = World::new();
    let caller = Caller::new(1);
    world.webhook(path::STREAM_STATUS, caller, &[("StreamEvent", "stream-started")]);
    world.webhook(path::STREAM_STATUS, caller, &[("StreamEvent", "stream-restarted")]);
    world.run_for(SECOND);
    let events: Vec<&str> = world.database.events.iter().map(|event| event.event.as_ref()).collect();
    assert_eq!(events, ["stream-started"]);
}
