//! Answers that never come, or when nobody waits for them any more: nothing hangs on them, and they change nothing (I2,
//! W8, D1). A switchboard alone is driven, for in the world every command is answered in its time.

use callwarden_core::far_end::rest_refusal;
use callwarden_core::fetch::{FetchError, FetchResponse};
use callwarden_core::http::{Headers, Method};
use callwarden_core::log::Event;
use callwarden_core::stream::{Counts, StreamCommand, StreamReport, Trouble};
use callwarden_core::switchboard::Input;
use callwarden_core::time::Instant;
use callwarden_core::{limits, path};
use callwarden_tests::world::alone::Alone;
use callwarden_tests::world::script::{Caller, signed, text, token_in};
use callwarden_tests::world::settings;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const RECORDING: &str = "RE00000000000000000000000000000001";

type Answer = Result<FetchResponse, FetchError>;
/// What a call goes through.
type Move = fn(&mut Alone, Caller);

fn refused() -> Answer {
    Ok(rest_refusal(403, 20003, "refused"))
}

fn alive() -> Answer {
    let body = r#"{"status":"in-progress"}"#.into();
    Ok(FetchResponse { status: 200, headers: Headers::default(), body })
}

fn alone() -> Alone {
    Alone::new(settings(&[]))
}

/// What Twilio is being asked: updates by POST, questions by GET.
fn asked(alone: &Alone) -> Vec<Method> {
    alone.fetches.iter().map(|(_, request)| request.method).collect()
}

fn webhook(alone: &mut Alone, path: &str, caller: Caller, more: &[(&str, &str)]) {
    alone.ask(signed(path, &caller.form(more)));
}

#[test]
fn a_process_that_nobody_asks_for_anything_wants_to_give_its_word_in_time() {
    let mut alone = alone();
    let mut now = Instant::from_millis(1_000);
    for _ in 0..30 {
        alone.run_for(limits::NODE_RENEWAL);
        now = now + limits::NODE_RENEWAL;
        let next = alone.switchboard.next_timeout().expect("a deadline");
        assert!(next <= now + limits::NODE_RENEWAL, "{next:?} is later than a renewal after {now:?}");
    }
}

#[test]
fn a_stream_error_whose_time_is_that_of_the_watch_leaves_the_watch_as_it_is() {
    for (after, reason) in [(0, "no_start"), (1, "no_start"), (-1, "stream_error")] {
        let (mut alone, caller) = (alone(), Caller::new(1));
        alone.announce(caller);
        let millis = (SECOND * 8 - limits::STREAM_ERROR_WAIT).as_millis();
        alone.run_for(Duration::from_millis(u64::try_from(millis).expect("few").saturating_add_signed(after)));
        webhook(&mut alone, path::STREAM_STATUS, caller, &[("StreamEvent", "stream-error"), ("StreamError", "31920")]);
        alone.run_for(SECOND * 2);
        let redirects = alone.log.iter().filter(|line| line.event == Event::WatchdogRedirect);
        let reasons: Vec<_> = redirects.filter_map(|line| line.reason.as_deref()).collect();
        assert_eq!(reasons, [reason], "{after} ms");
    }
}

#[test]
fn a_claim_that_is_never_answered_is_not_waited_for() {
    let mut alone = alone();
    alone.announce(Caller::new(1));
    alone.database_is_lost = true;
    alone.run_for(SECOND * 8 + limits::CLAIM_TIME);
    assert_eq!(asked(&alone), [Method::Post], "it acts on what it knows");
    assert_eq!(alone.log.iter().filter(|line| line.event == Event::WatchdogBlind).count(), 1);
}

#[test]
fn a_question_of_a_failed_fallback_that_is_never_answered_is_asked_again() {
    let mut alone = alone();
    alone.announce(Caller::new(1));
    alone.run_for(SECOND * 8);
    alone.fetched(refused());
    alone.run_for(limits::CLAIM_OVERDUE);
    assert_eq!(asked(&alone), [Method::Get]);
    alone.run_for(limits::REST_TIME + limits::REST_GRACE + limits::REST_RETRY_MAX);
    assert_eq!(asked(&alone), [Method::Get; 2]);
    alone.fetched(alive());
    assert_eq!(asked(&alone), [Method::Get], "the first answer comes too late");
    alone.fetched(alive());
    assert_eq!(asked(&alone), [Method::Post], "the second one is believed");
}

#[test]
fn whatever_else_befalls_the_call_the_answer_to_the_question_of_a_failed_fallback_is_waited_for() {
    let mut alone = alone();
    let caller = Caller::new(1);
    let token = alone.announce(caller);
    let id = alone.present(caller, token.clone());
    alone.input(Input::Stream { id, report: StreamReport::Trouble(Trouble::Mute, Counts::default()) });
    alone.fetched(refused());
    alone.run_for(limits::CLAIM_OVERDUE);
    assert_eq!(asked(&alone), [Method::Get]);
    // Another socket of the call takes the place of the first one, which says nothing to that.
    alone.present(caller, token);
    alone.run_for(limits::CHALLENGE_TIME);
    assert_eq!(alone.told(StreamCommand::Accept), 2);
    alone.fetched(alive());
    assert_eq!(asked(&alone), [Method::Post]);
}

#[test]
fn a_database_that_is_not_heard_of_costs_one_webhook_a_second_and_the_next_one_nothing() {
    let mut alone = alone();
    alone.database_is_lost = true;
    let announce = |alone: &mut Alone, number| {
        webhook(alone, path::INCOMING_CALL, Caller::new(number), &[("CallStatus", "ringing")]);
    };
    announce(&mut alone, 1);
    alone.run_for(limits::ROW_TIME - SECOND / 100);
    assert_eq!(alone.answered(), 0);
    alone.run_for(SECOND / 100);
    assert_eq!(alone.answered(), 1);
    announce(&mut alone, 2);
    assert_eq!(alone.answered(), 2);
}

#[test]
fn a_claim_that_is_not_decided_in_half_a_second_does_not_take_the_second_of_a_row_from_others() {
    let mut alone = alone();
    alone.announce(Caller::new(1));
    alone.database_is_lost = true;
    webhook(&mut alone, path::INCOMING_CALL, Caller::new(1), &[("ErrorCode", "11200")]);
    alone.run_for(limits::CLAIM_TIME - SECOND / 100);
    assert_eq!(alone.answered(), 1, "the claim is waited for (W5)");
    alone.run_for(SECOND / 100);
    assert_eq!(alone.answered(), 2);
    webhook(&mut alone, path::INCOMING_CALL, Caller::new(2), &[("CallStatus", "ringing")]);
    alone.run_for(limits::ROW_TIME - SECOND / 100);
    assert_eq!(alone.answered(), 2, "its row may still be written in time (D1)");
    alone.run_for(SECOND / 100);
    assert_eq!(alone.answered(), 3);
}

#[test]
fn a_late_word_that_a_stream_is_not_heard_asks_nobody_about_a_call_that_has_moved_on() {
    let moves: [(&str, Move, usize); 3] = [
        ("over", |alone, caller| webhook(alone, path::CALL_STATUS, caller, &[("CallStatus", "completed")]), 0),
        (
            "recorded",
            |alone, caller| {
                let begun = [("RecordingStatus", "in-progress"), ("RecordingSid", RECORDING)];
                webhook(alone, path::RECORDING_STATUS, caller, &begun);
            },
            0,
        ),
        ("nothing", |_, _| {}, 1),
    ];
    for (name, moves, questions) in moves {
        let mut alone = alone();
        let caller = Caller::new(1);
        let id = alone.stream(caller);
        alone.input(Input::Stream { id, report: StreamReport::Heard(Counts::default()) });
        moves(&mut alone, caller);
        alone.input(Input::Stream { id, report: StreamReport::Challenged { fresh: false } });
        assert_eq!(asked(&alone), vec![Method::Get; questions], "{name}");
    }
    let mut alone = alone();
    let id = alone.stream(Caller::new(1));
    alone.input(Input::Stream { id, report: StreamReport::Heard(Counts::default()) });
    alone.input(Input::Stream { id, report: StreamReport::Trouble(Trouble::Quiet, Counts::default()) });
    alone.input(Input::Stream { id, report: StreamReport::Challenged { fresh: false } });
    assert_eq!(asked(&alone), [Method::Post], "it is claimed: the update is the question");
}

#[test]
fn a_socket_that_was_closed_and_does_not_go_is_not_closed_again() {
    let mut alone = alone();
    let id = alone.stream(Caller::new(1));
    alone.input(Input::Stream { id, report: StreamReport::Trouble(Trouble::Mute, Counts::default()) });
    alone.fetched(refused());
    assert_eq!(alone.told(StreamCommand::Close), 1, "the update failed for good");
    alone.run_for(limits::UNCONFIRMED_CLOSE * 2);
    assert_eq!(alone.told(StreamCommand::Close), 1);
}

#[test]
fn the_socket_of_a_call_that_is_recorded_is_not_closed_before_its_time() {
    let mut alone = alone();
    let caller = Caller::new(1);
    let id = alone.stream(caller);
    alone.input(Input::Stream { id, report: StreamReport::Trouble(Trouble::Mute, Counts::default()) });
    alone.fetched(Err(FetchError::Ambiguous("timed out".to_owned())));
    webhook(&mut alone, path::INCOMING_CALL, caller, &[]);
    assert!(alone.told(StreamCommand::Release) > 0, "its answer was the recording document");
    alone.run_for(SECOND * 60);
    assert_eq!(alone.told(StreamCommand::Close), 0, "a stream that was released closes by itself");
}

#[test]
fn a_row_that_is_stored_long_after_its_webhook_was_answered_closes_no_stream() {
    let mut alone = alone();
    let caller = Caller::new(1);
    alone.database_is_lost = true;
    webhook(&mut alone, path::INCOMING_CALL, caller, &[("CallStatus", "ringing")]);
    alone.run_for(limits::ROW_TIME);
    let token = token_in(text(&alone.last_reply()));
    let id = alone.present(caller, token);
    alone.input(Input::Stream { id, report: StreamReport::Heard(Counts::default()) });
    alone.database_is_found();
    alone.run_for(SECOND);
    assert_eq!((alone.told(StreamCommand::Accept), alone.told(StreamCommand::Close)), (1, 0));
}
