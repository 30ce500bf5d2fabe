//! The bugs of the system this one replaces, none of which may come back. Each has a test here or, where a rule's own
//! test covers it, there:
//!
//! | bug | test |
//! |---|---|
//! | the watch's thread failed on a missing name, and nobody was ever redirected | `watch_rules::a_call_without_start_is_redirected_once_eight_seconds_after_the_answer` |
//! | one look after the sleep: a stream that stalled later was never seen | `watch_rules::a_stalled_call_is_asked_by_mark_first_and_redirected_when_no_echo_comes` |
//! | no repeat of the update, errors swallowed | `fallback_rules::an_update_that_was_not_delivered_is_repeated_at_growing_intervals` |
//! | the socket on another instance looked like "no start" | `one_socket_per_call::a_start_of_a_call_that_another_process_announced_is_accepted_and_watched` |
//! | `stream_ended` was answered with 204, and the call ended | `stream_ended_table` |
//! | a broken hook made every request a 500 | `webhooks::no_webhook_is_ever_answered_with_a_server_error` |
//! | signatures went unchecked in production | `admission::a_missing_signature_is_refused_on_every_webhook_but_incoming_call` |
//! | anyone could mark a call as started on the open media socket | `one_socket_per_call::a_start_without_a_valid_token_is_refused_and_touches_nothing` |
//! | phone numbers and keys were printed | `admission::secrets_reach_no_page_and_no_log_line` |
//! | a failing insert was forgotten | `database_outage::a_database_that_goes_down_and_comes_back_gets_every_fact_and_it_is_said_once` |
//! | a hung database made Twilio give up on the webhook | `webhooks::a_database_that_hangs_costs_one_second_once_and_nothing_more_until_it_answers` |
//! | the readiness page was hard-coded, then printed exceptions | `admission::readyz_tells_each_services_real_state` |
//! | the thread that transcribed a recording failed on a missing request, and no transcript was ever made | `recordings::a_recording_is_transcribed_once_though_both_webhooks_tell_of_it` |
//! | the thread that transcribed a stream died at its first text | `live_transcription::a_minute_of_speech_is_stored_sentence_by_sentence_while_the_caller_speaks` |
//! | a recording was fetched once, without credentials, and given up | `recordings::a_recording_that_is_not_ready_yet_is_asked_for_again` |
//! | work waited in the memory of one container, for files that another one had | `recordings::a_process_killed_while_it_transcribes_a_recording_leaves_it_to_the_next` |
//! | the check of a deployment wrote fake calls into production | `admission::an_unsigned_get_or_post_of_incoming_call_is_a_preview_that_lets_nobody_in` |

use bytes::Bytes;
use callwarden_core::far_end::{AfterFailure, HangUp, Heard, Plan, StreamFault};
use callwarden_core::fetch::FetchResponse;
use callwarden_core::http::Headers;
use callwarden_core::http::Method;
use callwarden_core::log::Event;
use callwarden_core::store::CallStatus;
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, frame, get, stop, text, unsigned};
use callwarden_tests::world::speech::{self, recorded_caller};
use callwarden_tests::world::{HOST, RestFault, World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn development() -> World {
    World::with(settings(&[("TWILIO_ACCOUNT_SID", ""), ("TWILIO_AUTH_TOKEN", "")]))
}

/// The log line was written first and failed, so the redirect was never sent.
#[test]
fn the_update_leaves_at_the_moment_the_watch_acts_and_waits_for_no_log_line() {
    let mut world = World::new();
    world.database.latency = Duration::ZERO;
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    world.run_to_the_end_of(call);
    assert_eq!(world.rest_at(Method::Post), world.logged_at(call, Event::WatchdogRedirect));
}

/// The clock ran from the webhook, though the stream can start only after the greeting: healthy calls were cut off.
#[test]
fn a_greeting_longer_than_the_timeout_does_not_cost_a_healthy_call_its_stream() {
    let greeting = "שלום, תודה שהתקשרתם אלינו. ".repeat(7);
    let mut world = World::with(settings(&[("GREETING_TEXT", greeting.as_str())]));
    let call = world.call(Plan { hangs_up: HangUp::Streaming(SECOND * 10), ..Plan::default() });
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.total(Heard::Greeting) > SECOND * 15, "{ledger}");
    assert!(ledger.updates.is_empty() && ledger.streams[0].frames > 400, "{ledger}");
}

/// A call that was already being recorded read as "never started", and its recording was restarted.
#[test]
fn a_running_recording_is_not_restarted_by_the_watch_that_came_too_late() {
    for after_failure in [AfterFailure::Action, AfterFailure::NextVerb] {
        let mut world = World::new();
        let plan = Plan { after_failure, message: SECOND * 60, ..Plan::with_fault(StreamFault::HandshakeFails(500)) };
        let call = world.call(plan);
        let ledger = world.run_to_the_end_of(call);
        assert_eq!((ledger.recordings.len(), ledger.updates.len()), (1, 0), "{ledger}");
    }
}

/// A late frame after the end brought the entry back for ever.
#[test]
fn frames_after_the_end_of_a_call_bring_nothing_back() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let token = world.announce(caller);
    let stream = caller.stream(1);
    let socket = world.open_stream(caller, stream, &token);
    world.frames(socket, stream, SECOND);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed")]);
    world.frames(socket, stream, SECOND * 3);
    world.say(socket, &stop(stream));
    world.say(socket, &frame(stream, 9));
    world.run_for(limits::ENDED_KEPT + SECOND * 10);
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 0);
    let late = world.open_stream(caller, caller.stream(2), &token);
    world.run_for(SECOND * 60);
    // For this process a new call, which another one may have announced, until the row says that it is over.
    assert_eq!(world.lines_of(caller, Event::WatchdogRedirectOk).len(), 0);
    assert_eq!(world.socket(late).closed, Some(1000));
    world.settle();
}

/// Three copies of a webhook started three watchdogs and made three rows.
#[test]
fn three_copies_of_a_webhook_are_one_call() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    let caller = Caller::new(1);
    (0..3).for_each(|_| drop(world.announce(caller)));
    world.run_for(SECOND * 30);
    assert_eq!((world.rest_log.len(), world.database.claims_asked), (1, 1));
    assert_eq!(world.database.call_facts.iter().filter(|(_, fact)| fact.source.is_some()).count(), 1);
}

/// A caller who hung up during the greeting cost a REST request that failed.
#[test]
fn a_caller_who_hangs_up_during_the_greeting_costs_no_request() {
    let mut world = World::with(settings(&[("GREETING_TEXT", "שלום, תודה שהתקשרתם אלינו, במה נוכל לעזור לכם?")]));
    let call = world.call(Plan { hangs_up: HangUp::Answered(SECOND), ..Plan::default() });
    world.run_to_the_end_of(call);
    world.settle();
    assert!(world.rest_log.is_empty());
    assert_eq!(world.database.how_far(world.sid(call)).as_deref(), Some("caller_left"));
}

/// Deadlines were kept by the wall clock.
#[test]
fn a_wall_clock_that_is_set_moves_no_deadline() {
    for off in [-3_600_000, 600_000] {
        let mut world = World::new();
        let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
        world.run_for(SECOND * 4);
        world.wall_clock_off = off;
        let ledger = world.run_to_the_end_of(call);
        let silence = ledger.longest_silence();
        assert!(silence.abs_diff(SECOND * 8) < SECOND / 10, "{silence:?} with the clock off by {off} ms");
    }
}

/// The numbers were 8 and 6, then 6 and 6, then 3 and 3, then off: no test held them.
#[test]
fn the_watch_is_on_by_default_with_eight_and_six_seconds() {
    let config = settings(&[]).config;
    assert_eq!((config.stream_start_timeout, config.media_timeout), (SECOND * 8, SECOND * 6));
    assert_eq!((config.streaming, config.end_silence), (true, Some(SECOND * 20)));
}

/// The watch on idle callers fired before the stream had started, and while there was speech.
#[test]
fn the_silence_of_a_caller_is_counted_from_the_last_speech_in_a_stream_and_from_nothing_else() {
    let greeting = "שלום, תודה שהתקשרתם אלינו. ".repeat(10);
    let mut world = World::with(settings(&[("GREETING_TEXT", greeting.as_str())]));
    let voice = Bytes::from_static(&[0x00, 0x80]);
    let call = world.call(Plan { voice, speaks: SECOND * 30, ..Plan::default() });
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.total(Heard::Greeting) > SECOND * 20 && ledger.total(Heard::Streaming) > SECOND * 29, "{ledger}");
    let waited = ledger.total(Heard::StreamingSilent);
    assert!(waited.abs_diff(SECOND * 20) < SECOND / 2, "{waited:?}\n{ledger}");
}

/// The fallback began with a recording without a beep; the prompt came after it, and then the line dropped.
#[test]
fn the_fallback_speaks_first_then_beeps_then_records() {
    let mut world = World::new();
    let call = world.call(Plan::with_fault(StreamFault::Mute(None)));
    let ledger = world.run_to_the_end_of(call);
    let heard: Vec<Heard> = ledger.spans.iter().map(|span| span.heard).collect();
    let prompt = heard.iter().position(|heard| *heard == Heard::Prompt).expect("a prompt");
    assert_eq!(heard[prompt..prompt + 3], [Heard::Prompt, Heard::Beep, Heard::Recording], "{ledger}");
    assert_eq!(heard.last(), Some(&Heard::Goodbye), "the caller is not dropped");
}

/// Recordings were cut at four and thirty seconds, and a relative action in a document sent by REST led nowhere.
#[test]
fn a_message_of_two_minutes_is_kept_and_its_end_comes_back_to_us() {
    let mut world = World::new();
    let call = world.call(Plan { message: SECOND * 119, ..Plan::with_fault(StreamFault::NeverStarts) });
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.recordings[0].speech >= SECOND * 119, "{ledger}");
    let updated = ledger.documents.iter().find(|document| document.from.is_none()).expect("an update");
    for attribute in ["action", "recordingStatusCallback"] {
        assert!(updated.twiml.contains(&format!(r#"{attribute}="https://{HOST}/webhook/"#)), "{}", updated.twiml);
    }
    assert!(ledger.problems.is_empty(), "{:?}", ledger.problems);
}

/// A public host with or without its scheme gave relative URLs.
#[test]
fn a_public_host_is_understood_however_it_is_written() {
    for host in [HOST, "https://calls.example.com", " http://calls.example.com/ ", "WSS://calls.example.com//"] {
        let mut world = World::with(settings(&[("PUBLIC_HOST", host)]));
        let document = world.ask(get(path::INCOMING_CALL));
        assert!(text(&document).contains(r#"url="wss://calls.example.com/ws/twilio-media""#), "{host}");
    }
}

/// A request without a call became a call named "unknown", with a row and a REST update.
#[test]
fn there_is_no_call_named_unknown() {
    let mut world = development();
    for request in
        [get(path::INCOMING_CALL), unsigned(path::INCOMING_CALL, &[("CallSid".to_owned(), "unknown".to_owned())])]
    {
        assert_eq!(world.ask(request).status, 200);
    }
    world.run_for(SECOND * 30);
    assert!(world.database.call_facts.is_empty() && world.rest_log.is_empty());
}

/// Values were pasted into XML: a crafted CallSid or number broke or rewrote the document.
#[test]
fn nothing_a_caller_controls_reaches_a_document() {
    let mut world = development();
    let hostile = r#""/></Stream><Hangup/><Say>שלום</Say>"#;
    let caller = Caller::new(1);
    let names = ["From", "To", "CallerName", "Direction", "AccountSid", "CallStatus"];
    let form = caller.form(&names.map(|name| (name, hostile)));
    let document = world.ask(unsigned(path::INCOMING_CALL, &form));
    assert!(text(&document).contains("<Connect") && !text(&document).contains("Hangup"), "{}", text(&document));
    let document = world.ask(unsigned(path::INCOMING_CALL, &[("CallSid".to_owned(), hostile.to_owned())]));
    assert!(!text(&document).contains("Hangup"), "{}", text(&document));
}

/// A fast path outside the program answered with the literal text `{CALL_SID}`, and that call could not be matched.
#[test]
fn every_stream_names_its_own_call_and_is_matched() {
    let mut world = World::new();
    let call = world.call(Plan { hangs_up: HangUp::Streaming(SECOND * 2), ..Plan::default() });
    world.run_to_the_end_of(call);
    let sid = world.sid(call);
    let document = &world.ledger(call).documents[0].twiml;
    assert!(document.contains(&format!(r#"<Parameter name="call_sid" value="{sid}"/>"#)), "{document}");
    assert_eq!(world.lines(call, Event::WsStart).len(), 1);
    assert_eq!(world.database.frames(sid), Some(world.ledger(call).streams[0].frames));
}

/// Crashed calls ate places in a set that nobody cleaned, until all callers were refused.
#[test]
fn calls_of_which_nothing_is_heard_any_more_free_their_places() {
    let mut world = World::new();
    world.rest_always = RestFault::Refused(200, 0);
    for number in 1..=500 {
        world.announce(Caller::new(number));
    }
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 500);
    world.settle();
}

/// An empty answer to a repeated webhook overwrote what was known, and a status of an unknown call was lost.
#[test]
fn a_status_of_a_call_this_process_does_not_know_is_written_all_the_same() {
    let mut world = World::new();
    let caller = Caller::new(77);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", "completed"), ("CallDuration", "31")]);
    world.run_for(SECOND);
    assert_eq!(world.database.status(caller.call), Some(CallStatus::Completed));
    assert_eq!(world.database.how_far(caller.call), None, "this process cannot tell how far it got");
    world.settle();
}

/// The empty transcript of a repeated callback overwrote the good one, and the status began anew.
#[test]
fn nothing_that_comes_later_takes_a_transcript_back() {
    let mut world = World::transcribing();
    let call = world.call(recorded_caller());
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 10);
    let recording = world.ledger(call).recordings[0].recording;
    let gone = FetchResponse { status: 404, headers: Headers::default(), body: Bytes::new() };
    world.recording_bodies.insert(recording, gone);
    let caller = Caller { call: world.sid(call), ..Caller::new(1) };
    for status in ["in-progress", "completed", "absent", "failed"] {
        let sid = recording.to_string();
        let form = [("RecordingSid", sid.as_str()), ("RecordingStatus", status), ("RecordingDuration", "0")];
        world.webhook(path::RECORDING_STATUS, caller, &form);
        world.webhook(path::INCOMING_CALL, caller, &[("CallStatus", "ringing")]);
        world.run_for(SECOND * 30);
        assert_eq!((world.transcript(call), world.transcript_status(call).as_str()), (speech::text(), "done"));
    }
}

/// Three downloads that failed made all others wait for an hour.
#[test]
fn recordings_that_cannot_be_had_do_not_hold_up_the_others() {
    let mut world = World::transcribing();
    let calls: Vec<usize> = (0..8).map(|_| world.call(recorded_caller())).collect();
    world.run_until(SECOND * 60, |world| calls.iter().all(|call| !world.ledger(*call).recordings.is_empty()));
    for call in &calls[..6] {
        let recording = world.ledger(*call).recordings[0].recording;
        let page = FetchResponse { status: 502, headers: Headers::default(), body: Bytes::new() };
        world.recording_bodies.insert(recording, page);
    }
    world.run_to_the_end_of(calls[7]);
    world.run_for(SECOND * 10);
    for call in &calls[6..] {
        assert_eq!((world.transcript(*call), world.transcript_status(*call).as_str()), (speech::text(), "done"));
    }
    assert!(calls[..6].iter().all(|call| world.transcript_status(*call) == "pending"));
}

/// Each frame of 20 ms was sent as a file of its own: fifty requests a second. Later, streams of more than five minutes
/// were cut off, and every call left a thread behind.
#[test]
fn a_call_of_six_minutes_is_heard_to_its_end_with_a_request_a_sentence_and_leaves_nothing_behind() {
    let mut world = World::transcribing();
    let pause = SECOND * 10;
    let minute = speech::paced(pause);
    let length = speech::length(&minute) * 6;
    let plan = Plan { speaks: length, hangs_up: HangUp::Streaming(length), voice: minute, ..Plan::default() };
    let call = world.call(plan);
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 2);
    let said = vec![speech::text(); 6].join(" ");
    assert_eq!((world.transcript(call), world.transcript_status(call).as_str()), (said, "done"));
    assert_eq!(world.openai.ledger().requests.len(), 6 * 5);
    assert!(world.nodes[0].disk.files.is_empty());
    world.settle();
}

/// Transcripts went to a file on a disk that vanished with its container.
#[test]
fn a_new_process_on_an_empty_disk_finds_every_transcript_in_the_database() {
    let mut world = World::transcribing();
    let call = world.call(speech::caller(speech::sample()));
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 2);
    assert!(world.nodes[0].disk.files.is_empty(), "nothing of it is on the disk any more");
    world.kill_and_restart();
    world.run_for(SECOND * 10);
    assert_eq!((world.transcript(call), world.transcript_status(call).as_str()), (speech::text(), "done"));
}
