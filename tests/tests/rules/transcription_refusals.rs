//! What the transcription service can answer instead of a text, and what the call's row says then (T4, T7). Virtual time.

use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::limits;
use callwarden_core::log::{Event, Level};
use callwarden_tests::world::World;
use callwarden_tests::world::speech::{self, caller};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// After what a service does again by itself, everything is tried again within this.
const AGAIN: Duration = Duration::from_secs(130);

/// A call whose first sentence meets this, and nothing else does.
fn first_sentence_meets(fault: Fault) -> (World, usize) {
    let mut world = World::transcribing();
    world.openai.script([Some(fault)]);
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    assert_eq!(world.ledger(call).recordings.len(), 0, "the caller noticed nothing");
    (world, call)
}

#[track_caller]
fn assert_done(world: &World, call: usize) {
    assert_eq!((world.transcript(call), world.transcript_status(call)), (speech::text(), "done".to_owned()));
    assert!(world.nodes[0].disk.files.is_empty());
}

#[test]
fn what_passes_by_itself_is_asked_again_and_costs_no_word() {
    let faults = [
        Fault::Refuse(Refusal::timed_out()),
        Fault::Refuse(Refusal::conflict()),
        Fault::Refuse(Refusal::rate_limit()),
        Fault::Refuse(Refusal::server_error()),
        Fault::Refuse(Refusal::overloaded()),
        Fault::Flood,
        Fault::Cut,
        Fault::Drip(SECOND * 60),
    ];
    for fault in faults {
        let (mut world, call) = first_sentence_meets(fault.clone());
        world.run_for(SECOND * 5);
        assert_done(&world, call);
        assert_eq!(world.asked(), 6, "{fault:?}");
        assert_eq!(world.lines(call, Event::UtteranceTranscribed).len(), 5, "{fault:?}");
        world.settle();
    }
}

#[test]
fn a_clip_that_is_refused_for_good_leaves_a_mark_and_its_cause_and_the_others_are_there() {
    for (refusal, cause) in [
        (
            Refusal::undecodable(),
            "the transcription service answered 400, invalid_request_error, invalid_value: The audio",
        ),
        (Refusal::too_large(1), "the transcription service answered 413, server_error: Maximum content size"),
    ] {
        let (mut world, call) = first_sentence_meets(Fault::Refuse(refusal));
        world.run_for(SECOND * 5);
        let rest: Vec<String> = (1..5).map(speech::sentence_text).collect();
        assert_eq!(world.transcript(call), format!("[…] {}", rest.join(" ")));
        let status = world.transcript_status(call);
        assert!(status.starts_with(&format!("failed: {cause}")), "{status}");
        assert_eq!(world.asked(), 5, "it is not asked again");
        let loud = world.lines(call, Event::TranscriptionFailed);
        assert_eq!((loud.len(), loud[0].level, loud[0].reason.as_deref()), (1, Level::Error, Some("given_up")));
        assert!(world.nodes[0].disk.files.is_empty());
        world.settle();
    }
}

#[test]
fn what_has_no_words_to_the_service_leaves_none_and_no_mark() {
    for fault in [Fault::Wordless, Fault::Refuse(Refusal::too_short())] {
        let (mut world, call) = first_sentence_meets(fault.clone());
        world.run_for(SECOND * 5);
        let rest: Vec<String> = (1..5).map(speech::sentence_text).collect();
        assert_eq!(world.transcript(call), rest.join(" "), "{fault:?}");
        assert_eq!((world.transcript_status(call).as_str(), world.asked()), ("done", 5), "{fault:?}");
    }
    let mut world = World::transcribing();
    world.openai.set_fault(Some(Fault::Wordless));
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 5);
    assert_eq!((world.transcript(call).as_str(), world.transcript_status(call).as_str()), ("", "empty"));
    assert!(world.nodes[0].disk.files.is_empty());
}

#[test]
fn a_service_that_asks_to_be_left_alone_is_left_alone_so_long() {
    for seconds in [7_u32, 90] {
        let (mut world, call) = {
            let mut world = World::transcribing();
            let limited = Refusal::rate_limit().with("retry-after", &seconds.to_string());
            world.openai.script([Some(Fault::Refuse(limited))]);
            let call = world.call(caller(speech::paced(SECOND)));
            (world, call)
        };
        world.run_for(SECOND * 120);
        let times: Vec<_> = world.openai.ledger().requests.iter().map(|request| request.at.mono).collect();
        let waited = times[1].since(times[0]);
        let least = SECOND * seconds;
        assert!(waited >= least && waited <= least + SECOND, "{waited:?}, asked for {least:?}");
        assert_done(&world, call);
    }
}

/// Refusals that need a person, and what the status of a call says of each.
fn blocks() -> [(Fault, &'static str, &'static str); 3] {
    [
        (Fault::Refuse(Refusal::wrong_key()), "answered 401", "check OPENAI_API_KEY"),
        (Fault::Refuse(Refusal::quota_spent()), "answered 429, insufficient_quota", "check the account's quota"),
        (Fault::Page, "answered 200 with a body that is not JSON", "check OPENAI_BASE_URL"),
    ]
}

#[track_caller]
fn assert_blocked(world: &World, calls: &[usize], said: &str, hint: &str) {
    for call in calls {
        let status = world.transcript_status(*call);
        assert!(status.starts_with("failed: ") && status.contains(said) && status.contains(hint), "{call}: {status}");
        assert!(!status.contains(speech::OPENAI_KEY));
    }
}

#[test]
fn what_needs_a_person_is_readable_in_every_waiting_call_at_once_and_over_when_it_is_mended() {
    for (fault, said, hint) in blocks() {
        let mut world = World::transcribing();
        world.openai_down = true;
        let mut calls: Vec<usize> = (0..3).map(|_| world.call(caller(speech::paced(SECOND)))).collect();
        world.run_for(SECOND * 60);
        assert!(calls.iter().all(|call| world.transcript_status(*call) == "pending"));
        world.openai_down = false;
        world.openai.set_fault(Some(fault.clone()));
        world.run_for(limits::TRANSCRIPTION_RETRY_MAX);
        assert_blocked(&world, &calls, said, hint);
        let late = world.call(caller(speech::paced(SECOND)));
        world.run_to_the_end_of(late);
        world.run_for(SECOND * 2);
        calls.push(late);
        assert_blocked(&world, &calls, said, hint);
        world.run_for(HOUR * 3);
        assert_blocked(&world, &calls, said, hint);
        assert!(world.asked() <= 3 * 6 + 3, "{} requests in three hours", world.asked());
        world.openai.set_fault(None);
        world.run_for(limits::BLOCKED_RETRY + AGAIN);
        for call in &calls {
            assert_done(&world, *call);
        }
        let loud = world.logged(Event::TranscriptionFailed);
        let reasons: Vec<_> = loud.iter().filter_map(|line| line.reason.as_deref()).collect();
        assert_eq!(reasons, ["outage", "blocked", "over"], "{fault:?}: each is said once");
        world.settle();
    }
}

#[test]
fn recordings_that_wait_for_a_person_say_why_as_utterances_do() {
    for (fault, said, hint) in blocks() {
        let mut world = World::transcribing();
        world.openai.set_fault(Some(fault));
        let calls: Vec<usize> = (0..12).map(|_| world.call(speech::recorded_caller())).collect();
        for call in &calls {
            world.run_to_the_end_of(*call);
        }
        world.run_for(SECOND * 30);
        assert_blocked(&world, &calls, said, hint);
        world.run_for(HOUR * 3);
        assert_blocked(&world, &calls, said, hint);
        assert!(world.asked() <= 3 * 6 + 12, "{} requests in three hours", world.asked());
        world.openai.set_fault(None);
        world.run_for(limits::BLOCKED_RETRY + AGAIN);
        for call in &calls {
            assert_done(&world, *call);
        }
        world.settle();
    }
}

#[test]
fn an_outage_in_the_middle_of_a_wrong_key_leaves_the_cause_that_needs_a_person() {
    let mut world = World::transcribing();
    world.openai.set_fault(Some(Fault::Refuse(Refusal::wrong_key())));
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_for(SECOND * 30);
    world.openai.set_fault(Some(Fault::Refuse(Refusal::overloaded())));
    world.run_for(HOUR);
    assert!(world.transcript_status(call).starts_with("failed: "), "{}", world.transcript_status(call));
    world.openai.set_fault(None);
    world.run_for(AGAIN);
    assert_done(&world, call);
}

#[test]
fn a_clip_the_service_always_stumbles_over_costs_few_requests_and_holds_nobody_up() {
    let mut world = World::transcribing();
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_until(SECOND * 5, |world| world.asked() == 1);
    let stumble = world.openai.ledger().requests[0].clip.clone().expect("a clip").digest;
    world.run_for(SECOND * 30);
    world.stumbles_over = Some(stumble);
    let stumbled = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    let before = world.asked();
    let mut others = Vec::new();
    for _ in 0..60 {
        let at = speech::sentence(1);
        others.push(world.call(caller(speech::sample().slice(at.start * 8..at.end * 8))));
        world.run_for(SECOND * 60);
    }
    for call in others {
        let text = (world.transcript(call), world.transcript_status(call));
        assert_eq!(text, (speech::sentence_text(1), "done".to_owned()));
    }
    let spent = world.asked() - before;
    assert!(spent <= 60 + 5 + 80, "{spent} requests in an hour");
    assert_eq!(world.transcript_status(stumbled), "pending");
    world.stumbles_over = None;
    world.run_for(AGAIN);
    assert_done(&world, stumbled);
}

#[test]
fn a_clip_that_never_gets_a_text_has_failed_after_three_days() {
    let mut world = World::transcribing();
    world.openai_down = true;
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_for(limits::AUDIO_AGE_MAX - HOUR);
    assert_eq!((world.transcript_status(call).as_str(), world.nodes[0].disk.files.len()), ("pending", 5));
    world.openai_down = false;
    world.openai.set_fault(Some(Fault::Refuse(Refusal::overloaded())));
    world.run_for(HOUR + limits::STALE_ROUND + SECOND * 60);
    assert_eq!(world.transcript(call), "[…] […] […] […] […]");
    let status = world.transcript_status(call);
    assert!(status.starts_with("failed: kept for too long: the transcription service answered 503"), "{status}");
    assert!(world.nodes[0].disk.files.is_empty());
    world.settle();
}
