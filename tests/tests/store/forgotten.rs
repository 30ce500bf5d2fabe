//! Segments whose audio was a process's that is gone, or that everybody forgot (T5).

use super::{AT, ago, call, on_both, put, recorded, segment, stream};
use callwarden::store::Store;
use callwarden_core::limits::{AUDIO_AGE_MAX, SEGMENTS_FOUND_MAX, STALE_AFTER};
use callwarden_core::store::{Job, JobState, SegmentFact, SegmentKey, StoreAnswer, StoreCommand, WaitingSegment};
use callwarden_core::time::UnixMillis;
use callwarden_tests::database::{TestDatabase, answered};
use core::time::Duration;

async fn found(store: &Store, command: StoreCommand) -> Vec<WaitingSegment> {
    let StoreAnswer::Segments(segments) = answered(store, command).await else { panic!("no segments") };
    segments
}

fn inherit(node: &str) -> StoreCommand {
    StoreCommand::Inherit { node: node.to_owned() }
}

/// A segment that waits for a process.
fn waits_for(node: &str) -> impl Fn(&mut SegmentFact) {
    move |fact| {
        node.clone_into(&mut fact.node);
        fact.job = Job::waiting();
    }
}

/// Lets all segments of a call be last heard of so long ago.
async fn age(database: &TestDatabase, number: u128, age: Duration) {
    let then = ago(database, age);
    let call = call(number);
    database.execute(&format!("UPDATE transcript_segments SET updated_at = {then} WHERE call_sid = '{call}'")).await;
}

#[test]
fn of_the_segments_asked_about_those_that_are_done_are_known() {
    on_both(async |_, store| {
        let done = |fact: &mut SegmentFact| fact.job = Job::done(1);
        let failed = |fact: &mut SegmentFact| fact.job = super::failed(1, "why");
        put(
            &store,
            vec![
                segment(1, stream(1), 1, done),
                segment(1, stream(1), 2, waits_for("gone")),
                segment(1, stream(1), 3, failed),
                segment(1, stream(2), 1, done),
                segment(2, stream(1), 1, waits_for("gone")),
            ],
        )
        .await;
        let key = |number, origin, sequence| SegmentKey { call: call(number), origin, sequence };
        let segments = vec![
            key(1, stream(1), 3),
            key(1, stream(1), 2),
            key(1, stream(2), 1),
            key(1, stream(1), 1),
            key(2, stream(1), 1),
            key(9, stream(1), 1),
        ];
        let StoreAnswer::Known(mut known) = answered(&store, StoreCommand::FindDone { segments }).await else {
            panic!("no segments");
        };
        known.sort_unstable();
        assert_eq!(known, [key(1, stream(1), 1), key(1, stream(2), 1)]);
    });
}

#[test]
fn who_inherits_finds_the_waiting_segments_of_the_process_that_is_gone_and_no_others() {
    on_both(async |_, store| {
        let gone = waits_for("gone");
        let again =
            Job { state: JobState::Waiting, attempts: 3, error: Some("HTTP 500".to_owned()), next_at: Some(AT) };
        put(
            &store,
            vec![
                segment(2, stream(1), 0, &gone),
                segment(1, stream(1), 2, &gone),
                segment(1, stream(1), 1, |fact| {
                    gone(fact);
                    fact.job = again;
                }),
                segment(1, recorded(1), 1, &gone),
                segment(1, stream(1), 3, waits_for("alive")),
                segment(1, stream(1), 4, |fact| (fact.node, fact.job) = ("gone".to_owned(), Job::done(1))),
                segment(1, stream(1), 5, |fact| (fact.node, fact.job) = ("gone".to_owned(), super::failed(1, "why"))),
                segment(1, stream(1), 6, waits_for("gone-2")),
            ],
        )
        .await;
        let waiting = |number, origin, sequence: u32| WaitingSegment {
            key: SegmentKey { call: call(number), origin, sequence },
            node: "gone".to_owned(),
            started_at: AT + Duration::from_secs(sequence.into()),
            from: Duration::from_secs(sequence.into()),
            to: Duration::from_secs(u64::from(sequence) + 1),
        };
        let expected =
            [waiting(1, stream(1), 1), waiting(1, stream(1), 2), waiting(1, recorded(1), 1), waiting(2, stream(1), 0)];
        let mut told = found(&store, inherit("gone")).await;
        told.sort_by_key(|segment| segment.key);
        assert_eq!(told, expected);
        assert_eq!(found(&store, inherit("nobody")).await, []);
        assert_eq!(found(&store, inherit("alive")).await.len(), 1);
    });
}

#[test]
fn a_segment_taken_over_by_another_process_is_not_the_dead_ones_any_more() {
    on_both(async |_, store| {
        put(&store, vec![segment(1, stream(1), 1, waits_for("gone"))]).await;
        let later = |fact: &mut SegmentFact| {
            waits_for("alive")(fact);
            fact.at = UnixMillis(AT.0 + 1);
        };
        put(&store, vec![segment(1, stream(1), 1, later)]).await;
        assert_eq!(found(&store, inherit("gone")).await, []);
        assert_eq!(found(&store, inherit("alive")).await.len(), 1);
    });
}

#[test]
fn a_segment_is_stale_when_it_waited_for_longer_than_audio_is_kept() {
    on_both(async |database, store| {
        let kept = AUDIO_AGE_MAX + STALE_AFTER;
        let minute = Duration::from_secs(60);
        for (number, since) in [(1, kept - minute), (2, kept + minute), (3, Duration::ZERO), (4, 10 * kept)] {
            put(
                &store,
                vec![segment(number, stream(1), 1, waits_for("node-1")), segment(number, stream(1), 2, |_| {})],
            )
            .await;
            age(database, number, since).await;
        }
        let mut stale: Vec<_> =
            found(&store, StoreCommand::FindStale).await.into_iter().map(|segment| segment.key).collect();
        stale.sort_unstable();
        let first = |number| SegmentKey { call: call(number), origin: stream(1), sequence: 1 };
        assert_eq!(stale, [first(2), first(4)]);
    });
}

#[test]
fn no_more_segments_are_found_than_fit_an_answer_and_the_rest_when_those_are_settled() {
    on_both(async |database, store| {
        let count = u32::try_from(SEGMENTS_FOUND_MAX).expect("small") + 3;
        let sequences: Vec<u32> = (1..=count).collect();
        for some in sequences.chunks(64) {
            put(&store, some.iter().map(|number| segment(1, stream(1), *number, waits_for("gone"))).collect()).await;
        }
        age(database, 1, 2 * AUDIO_AGE_MAX).await;
        assert_eq!(found(&store, inherit("gone")).await.len() as u64, SEGMENTS_FOUND_MAX);
        let stale = found(&store, StoreCommand::FindStale).await;
        assert_eq!(stale.len() as u64, SEGMENTS_FOUND_MAX);
        let settled: Vec<_> = stale.iter().map(|found| found.key.sequence).collect();
        for some in settled.chunks(64) {
            put(&store, some.iter().map(|number| segment(1, stream(1), *number, |_| {})).collect()).await;
        }
        let rest = found(&store, inherit("gone")).await.into_iter().map(|found| found.key.sequence);
        let mut all: Vec<u32> = rest.chain(settled).collect();
        all.sort_unstable();
        assert_eq!(all, sequences);
    });
}
