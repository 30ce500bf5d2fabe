//! A call that lacks its end, or a recording that should be there, is looked up in time, and by one process (T8).

use super::known::*;
use super::{AT, ago, all, call, fact, of_call, on_both, put, recording, segment, stream};
use callwarden::store::Store;
use callwarden_core::limits::{LOOK_UP_TIMES, OVERDUE_TAKEN_MAX};
use callwarden_core::sid::{AccountSid, CallSid};
use callwarden_core::store::{Fact, OverdueCall, RecordingState, Source, StoreAnswer, StoreCommand};
use callwarden_core::time::UnixMillis;
use callwarden_tests::database::{TestDatabase, answered};
use core::time::Duration;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

const MINUTE: Duration = Duration::from_secs(60);
/// What a loaded machine may take between two statements of a test.
const SLACK: Duration = Duration::from_secs(20);

async fn take(store: &Store) -> Vec<OverdueCall> {
    let StoreAnswer::Overdue(calls) = answered(store, StoreCommand::TakeOverdue).await else { panic!("no calls") };
    calls
}

/// Which calls are taken, and how often each was.
async fn look_ups(store: &Store) -> Vec<(CallSid, u32)> {
    let mut taken: Vec<_> = take(store).await.into_iter().map(|taken| (taken.call, taken.look_ups)).collect();
    taken.sort_unstable();
    taken
}

/// Lets every call be last heard of so long ago.
async fn heard(database: &TestDatabase, age: Duration) {
    database.execute(&format!("UPDATE call_log SET updated_at = {}", ago(database, age))).await;
}

/// Lets every call that was looked up be looked up so long ago.
async fn looked_up(database: &TestDatabase, age: Duration) {
    let then = ago(database, age);
    database.execute(&format!("UPDATE call_log SET looked_up_at = {then} WHERE looked_up_at IS NOT NULL")).await;
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    UnixMillis(i64::try_from(since.as_millis()).expect("a time before 2262"))
}

#[test]
fn the_times_are_the_promised_ones() {
    assert_eq!(LOOK_UP_TIMES, [2 * MINUTE, 10 * MINUTE, 60 * MINUTE]);
}

#[test]
fn an_overdue_call_is_taken_with_its_account_and_whether_it_ended() {
    on_both(async |database, store| {
        let account = AccountSid::from_number(7);
        put(&store, vec![fact(1, |fact| fact.account = Some(account))]).await;
        let recorded = fact(2, |fact| (fact.ended_at, fact.source) = (Some(AT), Some(Source::Recording)));
        put(&store, vec![recorded]).await;
        heard(database, 3 * MINUTE).await;
        let mut taken = take(&store).await;
        taken.sort_by_key(|taken| taken.call);
        let expected = [
            OverdueCall { call: call(1), account: Some(account), look_ups: 1, ended: false },
            OverdueCall { call: call(2), account: None, look_ups: 1, ended: true },
        ];
        assert_eq!(taken, expected);
    });
}

#[test]
fn a_call_without_an_end_is_looked_up_after_2_10_and_60_minutes_and_every_hour() {
    on_both(async |database, store| {
        put(&store, vec![fact(1, |_| {})]).await;
        // How long ago it was heard of and looked up, and which look-up it is time for.
        let steps = [
            (2 * MINUTE - SLACK, Duration::ZERO, None),
            (2 * MINUTE, Duration::ZERO, Some(1)),
            (10 * MINUTE - SLACK, 8 * MINUTE - SLACK, None),
            (10 * MINUTE, 8 * MINUTE, Some(2)),
            (60 * MINUTE - SLACK, 50 * MINUTE - SLACK, None),
            (60 * MINUTE, 50 * MINUTE, Some(3)),
            (120 * MINUTE - SLACK, 60 * MINUTE - SLACK, None),
            (120 * MINUTE, 60 * MINUTE, Some(4)),
            (180 * MINUTE - SLACK, 60 * MINUTE - SLACK, None),
            (180 * MINUTE, 60 * MINUTE, Some(5)),
        ];
        for (since_heard, since_looked_up, expected) in steps {
            heard(database, since_heard).await;
            looked_up(database, since_looked_up).await;
            let expected: Vec<_> = expected.map(|look_ups| (call(1), look_ups)).into_iter().collect();
            assert_eq!(look_ups(&store).await, expected, "{since_heard:?} after it was heard of");
            assert_eq!(look_ups(&store).await, [], "again at once, {since_heard:?} after it was heard of");
        }
    });
}

#[test]
fn news_of_a_call_begin_the_count_anew() {
    let news: [fn() -> Fact; 3] = [
        || fact(1, |fact| fact.at = now()),
        || segment(1, stream(1), 1, |fact| fact.at = now()),
        || {
            recording(1, 1, |fact| {
                (fact.state, fact.duration_seconds, fact.at) = (RecordingState::InProgress, None, now());
            })
        },
    ];
    on_both(async |database, store| {
        put(&store, vec![fact(1, |_| {})]).await;
        for news in news {
            heard(database, 11 * MINUTE).await;
            looked_up(database, 12 * MINUTE).await;
            assert_eq!(look_ups(&store).await, [(call(1), 1)]);
            assert_eq!(look_ups(&store).await, [(call(1), 2)]);
            // The look-ups were before the news.
            looked_up(database, MINUTE).await;
            put(&store, vec![news()]).await;
            assert_eq!(look_ups(&store).await, []);
            heard(database, 3 * MINUTE).await;
            looked_up(database, 4 * MINUTE).await;
            assert_eq!(look_ups(&store).await, [(call(1), 1)]);
        }
    });
}

#[test]
fn a_late_repeat_of_an_old_fact_is_no_news() {
    on_both(async |database, store| {
        put(&store, vec![fact(1, |_| {})]).await;
        heard(database, 3 * MINUTE).await;
        assert_eq!(look_ups(&store).await, [(call(1), 1)]);
        put(&store, vec![fact(1, |_| {})]).await;
        heard(database, 10 * MINUTE).await;
        assert_eq!(look_ups(&store).await, [(call(1), 2)]);
    });
}

/// What is known of a call, and whether it is looked up.
const KINDS: [(&[Known], bool); 24] = [
    // Without an end.
    (&[BEGUN], true),
    (&[DISABLED], true),
    (&[MISSING], true),
    (&[STREAMED, SAID, STREAM_CLOSED], true),
    (&[FELL_BACK, COMPLETED, RECORDING_DONE], true),
    // Ended, and nothing was to be recorded.
    (&[ENDED], false),
    (&[STREAMED, ENDED], false),
    (&[STREAMED, SAID, ENDED], false),
    (&[STREAMED, SECOND_WAITS, ENDED], false),
    (&[STREAMED, SECOND_FAILED, ENDED], false),
    // Ended, and a recording should be there.
    (&[FELL_BACK, ENDED], true),
    (&[TO_BE_RECORDED, ENDED], true),
    (&[STREAMED, RUNNING, ENDED], true),
    (&[FELL_BACK, RUNNING, ENDED], true),
    (&[FELL_BACK, RUNNING, OTHER_COMPLETED, OTHER_DONE, ENDED], true),
    (&[FELL_BACK, MISSING, ENDED], false),
    (&[RUNNING, MISSING, ENDED], false),
    (&[FELL_BACK, ENDED, DISABLED], false),
    (&[RUNNING, ENDED, DISABLED], false),
    // Ended, and there it is.
    (&[FELL_BACK, COMPLETED, ENDED], false),
    (&[FELL_BACK, RUNNING, RECORDED, ENDED], false),
    (&[FELL_BACK, ABSENT, ENDED], false),
    (&[TO_BE_RECORDED, COMPLETED, RECORDING_DONE, ENDED], false),
    (&[FELL_BACK, COMPLETED, BLOCKED, ENDED], false),
];

#[test]
fn only_calls_that_lack_their_end_or_a_recording_are_looked_up() {
    on_both(async |database, store| {
        let mut expected = Vec::new();
        for (number, (known, overdue)) in (1..).zip(KINDS) {
            put(&store, known.iter().map(|fact| fact(number)).collect()).await;
            expected.extend(overdue.then(|| (call(number), 1)));
        }
        heard(database, 2 * MINUTE - SLACK).await;
        assert_eq!(look_ups(&store).await, []);
        heard(database, 3 * MINUTE).await;
        assert_eq!(look_ups(&store).await, expected);
    });
}

#[test]
fn a_recording_that_is_missing_is_looked_up_until_it_is_known_or_said_to_be_none() {
    on_both(async |database, store| {
        let recorded = |number| fact(number, |fact| (fact.ended_at, fact.source) = (Some(AT), Some(Source::Recording)));
        put(&store, vec![recorded(1), recorded(2)]).await;
        heard(database, 3 * MINUTE).await;
        assert_eq!(look_ups(&store).await, [(call(1), 1), (call(2), 1)]);
        put(&store, vec![recording(1, 1, |_| {})]).await;
        heard(database, 11 * MINUTE).await;
        looked_up(database, 8 * MINUTE).await;
        assert_eq!(look_ups(&store).await, [(call(2), 2)]);
        put(&store, vec![fact(2, |fact| fact.recording_missing = Some("no recording".to_owned()))]).await;
        heard(database, 70 * MINUTE).await;
        looked_up(database, 60 * MINUTE).await;
        assert_eq!(look_ups(&store).await, []);
        assert_eq!(of_call(database, 1, "transcript_status").await, "pending");
        assert_eq!(of_call(database, 2, "transcript_status").await, "failed: no recording");
    });
}

#[test]
fn no_more_calls_are_taken_than_at_a_time_and_the_oldest_first() {
    on_both(async |database, store| {
        let count = u128::from(OVERDUE_TAKEN_MAX) + 2;
        put(
            &store,
            (1..=count).map(|number| fact(number, |fact| fact.at = UnixMillis(AT.0 - number as i64))).collect(),
        )
        .await;
        // All are late, each a millisecond more than the one before.
        let late = ago(database, 3 * MINUTE);
        let sql =
            format!("UPDATE call_log SET updated_at = {late} + (created_at - (SELECT max(created_at) FROM call_log))");
        database.execute(&sql).await;
        let first: Vec<_> = look_ups(&store).await.into_iter().map(|(call, _)| call).collect();
        assert_eq!(first, (3..=count).map(call).collect::<Vec<_>>());
        assert_eq!(look_ups(&store).await, [(call(1), 1), (call(2), 1)]);
        assert_eq!(look_ups(&store).await, []);
    });
}

#[test]
fn two_processes_at_once_never_take_one_call_for_the_same_look_up() {
    let count = 60_u128;
    on_both(async |database, store| {
        let other = database.store().await;
        put(&store, (1..=count).map(|number| fact(number, |_| {})).collect()).await;
        let steps = [(1, 3, 0), (2, 11, 8), (3, 61, 50), (4, 121, 60)];
        for (look_up, since_heard, since_looked_up) in steps {
            heard(database, since_heard * MINUTE).await;
            looked_up(database, since_looked_up * MINUTE).await;
            let takers = (0..12).map(|turn| look_ups([&store, &other][turn % 2]));
            let mut taken = all(takers).await.concat();
            // Who met a row that somebody was just taking passed it over.
            while taken.len() < 60 {
                let more = look_ups(&store).await;
                assert!(!more.is_empty(), "{} were never taken", 60 - taken.len());
                taken.extend(more);
            }
            let expected: BTreeSet<_> = (1..=count).map(|number| (call(number), look_up)).collect();
            assert_eq!(taken.len(), 60);
            assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    });
}
