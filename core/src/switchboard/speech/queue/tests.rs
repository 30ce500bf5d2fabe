use super::*;
use crate::sid::{CallSid, StreamSid};
use crate::store::{Job as Standing, Origin};
use crate::time::UnixMillis;

const UNTIL: Instant = Instant::from_millis(10_000);
const BEFORE: Instant = Instant::from_millis(9_000);

/// A piece of a recording that has come so far.
fn piece(step: Step) -> Job {
    let key =
        SegmentKey { call: CallSid::from_number(1), origin: Origin::Stream(StreamSid::from_number(1)), sequence: 1 };
    let (at, from, to) = (UnixMillis(0), Duration::ZERO, Duration::ZERO);
    let (node, text) = ("node-1".to_owned(), String::new());
    let fact = SegmentFact { key, at, node, started_at: at, from, to, job: Standing::waiting(), text };
    let mut works = Slab::<(), WorkKind>::new(1);
    let work = works.insert(()).expect("room");
    let clip = OwnedClip::Samples(wav::Format::TELEPHONE, Bytes::new());
    Job { fact, near_silent: false, sound: Sound::Piece { work, clip }, transcribed: false, step }
}

/// A queue whose gate is shut.
fn shut(blocked: bool) -> Queue {
    let mut queue = Queue::new();
    assert!(queue.failed(queue.shut_count(), "down", blocked, UNTIL), "that is news");
    queue
}

#[test]
fn while_the_service_answers_every_recording_may_be_begun() {
    let mut queue = Queue::new();
    queue.add(piece(Step::Sent)).expect("room");
    assert!(queue.may_take(BEFORE));
}

#[test]
fn during_an_outage_one_recording_may_be_begun_when_it_is_time_and_nothing_else_can_try_the_service() {
    let queue = shut(false);
    assert_eq!([BEFORE, UNTIL].map(|at| queue.may_take(at)), [false, true]);
    for step in [Step::Sent, Step::Waiting(BEFORE)] {
        let mut queue = shut(false);
        queue.add(piece(step)).expect("room");
        assert_eq!([BEFORE, UNTIL].map(|at| queue.may_take(at)), [false, false], "{step:?}");
    }
}

#[test]
fn behind_a_gate_that_needs_a_person_every_recording_may_be_begun_until_it_is_tried_again() {
    let queue = shut(true);
    assert_eq!([BEFORE, UNTIL].map(|at| queue.may_take(at)), [true, true]);
    for step in [Step::Sent, Step::Waiting(BEFORE)] {
        let mut queue = shut(true);
        queue.add(piece(step)).expect("room");
        assert_eq!([BEFORE, UNTIL].map(|at| queue.may_take(at)), [true, false], "{step:?}");
    }
}

#[test]
fn only_a_gate_that_needs_a_person_says_why_and_for_how_long() {
    assert_eq!(Queue::new().blocked(BEFORE), None);
    assert_eq!(shut(false).blocked(BEFORE), None);
    let queue = shut(true);
    assert_eq!(queue.blocked(BEFORE), Some(("down".to_owned(), Duration::from_secs(1))));
    assert_eq!(queue.blocked(UNTIL), None, "it is tried again");
}

#[test]
fn an_answer_opens_the_gate_unless_its_request_left_before_that_was_shut() {
    let mut queue = Queue::new();
    let before = queue.shut_count();
    assert!(!queue.answered(before, BEFORE), "it is open");
    queue.failed(before, "down", false, UNTIL);
    assert!(!queue.answered(before, BEFORE), "the service was well before it failed");
    assert_eq!(queue.tries(), 1);
    assert!(queue.answered(queue.shut_count(), BEFORE));
    assert_eq!(queue.tries(), 0);
}

#[test]
fn a_stopping_process_waits_for_what_is_over_by_itself() {
    use Step::{Keeping, Leaving, Reading, Sent, Storing, Told, Waiting};
    for (step, open, behind_a_gate) in [
        (Waiting(BEFORE), true, false),
        (Told, false, false),
        (Keeping, true, true),
        (Reading, true, true),
        (Sent, true, true),
        (Storing, true, true),
        (Leaving, true, true),
    ] {
        for (mut queue, busy) in [(Queue::new(), open), (shut(false), behind_a_gate)] {
            assert!(!queue.is_busy());
            queue.add(piece(step)).expect("room");
            assert_eq!(queue.is_busy(), busy, "{step:?}");
        }
    }
}

#[test]
fn a_text_that_waits_for_the_database_is_given_out_once_anew() {
    let mut queue = Queue::new();
    let key = queue.add(piece(Step::Told)).expect("room");
    assert!(queue.has_told_anew());
    assert_eq!([queue.take_told_anew(), queue.take_told_anew()], [Some(key), None]);
    assert_eq!((queue.has_told_anew(), queue.next_told()), (false, Some(key)));
}
