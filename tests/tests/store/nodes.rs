//! Processes that live, and open calls of those that do not: taken over by one, once, by the database's clock.

use super::{AT, ago, all, call, fact, on_both, put, recording};
use callwarden::store::Store;
use callwarden_core::limits::{CALLS_TAKEN_MAX, NODE_KEPT, NODE_LEASE, SILENT_ENTRY};
use callwarden_core::sid::{AccountSid, CallSid, StreamSid};
use callwarden_core::store::{
    CallFact, CallStatus, Claim, FallbackReason, KnownCall, Refusal, Source, StoreAnswer, StoreCommand,
};
use callwarden_tests::database::{TestDatabase, answered};
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn renew(store: &Store, node: &str, gone: &[&str]) -> Vec<KnownCall> {
    let gone = gone.iter().map(|gone| (*gone).to_owned()).collect();
    let command = StoreCommand::Renew { node: node.to_owned(), gone };
    let StoreAnswer::TakenOver(calls) = answered(store, command).await else { panic!("no calls") };
    calls
}

fn numbers(calls: &[KnownCall]) -> Vec<CallSid> {
    let mut calls: Vec<_> = calls.iter().map(|taken| taken.call).collect();
    calls.sort_unstable();
    calls
}

/// Lets the word of a process have run out so long ago.
async fn word_ended(database: &TestDatabase, node: &str, age: Duration) {
    let then = ago(database, age);
    assert_eq!(database.execute(&format!("UPDATE nodes SET alive_until = {then} WHERE node = '{node}'")).await, 1);
}

/// Lets a process have been steady for so long.
async fn steady(database: &TestDatabase, node: &str, time: Duration) {
    let then = ago(database, time);
    assert_eq!(database.execute(&format!("UPDATE nodes SET steady_since = {then} WHERE node = '{node}'")).await, 1);
}

/// A database in which `old`'s word has run out and `new` has been steady.
async fn one_gone(database: &TestDatabase, store: &Store) {
    renew(store, "old", &[]).await;
    renew(store, "new", &[]).await;
    word_ended(database, "old", SECOND).await;
    steady(database, "new", NODE_LEASE + SECOND).await;
}

/// A call of `old`'s, announced just now.
async fn announced(database: &TestDatabase, store: &Store, number: u128, change: impl FnOnce(&mut CallFact)) {
    let mut known = CallFact::new(call(number), AT, "old");
    known.source = Some(Source::Stream);
    change(&mut known);
    put(store, vec![callwarden_core::store::Fact::Call(Box::new(known))]).await;
    let now = ago(database, SECOND);
    database.execute(&format!("UPDATE call_log SET created_at = {now}")).await;
}

#[test]
fn an_open_call_of_a_process_whose_word_has_run_out_is_taken_over_once() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        announced(database, &store, 1, |fact| fact.status = Some(CallStatus::Ringing)).await;
        let stores = [&store, &database.store().await];
        let takers = (0..4).map(|place| {
            let store = stores[place % 2];
            async move { renew(store, "new", &[]).await }
        });
        let taken = all(takers).await;
        assert_eq!(taken.iter().map(|calls| numbers(calls)).collect::<Vec<_>>().concat(), [call(1)]);
        assert_eq!(database.rows("call_log").await[0]["node"], "new");
    });
}

#[test]
fn a_taken_call_comes_with_all_that_its_watch_needs() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        let (account, stream) = (AccountSid::from_number(7), StreamSid::from_number(8));
        announced(database, &store, 1, |fact| {
            (fact.account, fact.public_host) = (Some(account), Some("calls.example".to_owned()));
            (fact.source, fact.stream) = (Some(Source::Stream), Some((2, stream)));
            (fact.first_media_at, fact.finished_at) = (Some(AT), Some(AT));
        })
        .await;
        let taken = renew(&store, "new", &[]).await;
        let [KnownCall { age, .. }] = taken[..] else { panic!("{taken:?}") };
        assert!((SECOND..SECOND * 60).contains(&age), "{age:?}");
        let expected = KnownCall {
            call: call(1),
            account: Some(account),
            host: Some("calls.example".to_owned()),
            source: Some(Source::Stream),
            streams: 2,
            stream: Some(stream),
            heard: true,
            finished: true,
            age,
            recorded: false,
        };
        assert_eq!(taken, [expected]);
    });
}

#[test]
fn a_call_of_a_process_that_lives_is_its_own() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        announced(database, &store, 1, |_| {}).await;
        renew(&store, "old", &[]).await;
        assert_eq!(renew(&store, "new", &[]).await, []);
    });
}

#[test]
fn after_an_outage_nobody_is_taken_for_gone_before_all_could_renew_their_word() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        announced(database, &store, 1, |_| {}).await;
        word_ended(database, "new", SECOND).await;
        assert_eq!(renew(&store, "new", &[]).await, [], "its own word had run out too");
        assert_eq!(renew(&store, "new", &[]).await, [], "nor is it steady yet");
        steady(database, "new", NODE_LEASE + SECOND).await;
        assert_eq!(numbers(&renew(&store, "new", &[]).await), [call(1)]);
    });
}

#[test]
fn a_process_that_is_declared_gone_or_has_retired_is_gone_at_once() {
    on_both(async |database, store| {
        for (number, node) in [(1, "declared"), (2, "retired")] {
            renew(&store, node, &[]).await;
            put(&store, vec![fact(number, |fact| fact.node = node.to_owned())]).await;
        }
        put(&store, vec![fact(3, |fact| fact.node = "unheard-of".to_owned())]).await;
        database.execute(&format!("UPDATE call_log SET created_at = {}", ago(database, SECOND))).await;
        answered(&store, StoreCommand::Retire { node: "retired".to_owned() }).await;
        assert_eq!(numbers(&renew(&store, "new", &["declared", "unheard-of"]).await), [call(1), call(2), call(3)]);
    });
}

#[test]
fn what_needs_no_watch_is_not_taken_over() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        announced(database, &store, 1, |fact| fact.ended_at = Some(AT)).await;
        announced(database, &store, 2, |fact| fact.status = Some(CallStatus::Busy)).await;
        announced(database, &store, 3, |fact| fact.fallback = Some((AT, FallbackReason::NoStart))).await;
        announced(database, &store, 4, |fact| fact.source = Some(Source::Recording)).await;
        put(&store, vec![recording(1, 5, |fact| fact.node = "old".to_owned())]).await;
        announced(database, &store, 6, |_| {}).await;
        let long_ago = ago(database, SILENT_ENTRY + SECOND);
        let old = format!("UPDATE call_log SET created_at = {long_ago} WHERE call_sid = '{}'", call(6));
        assert_eq!(database.execute(&old).await, 1);
        announced_now(database, 5).await;
        assert_eq!(renew(&store, "new", &[]).await, []);
    });
}

async fn announced_now(database: &TestDatabase, number: u128) {
    let now = ago(database, SECOND);
    let sql = format!("UPDATE call_log SET created_at = {now}, node = 'old' WHERE call_sid = '{}'", call(number));
    assert_eq!(database.execute(&sql).await, 1);
}

#[test]
fn a_crowd_is_taken_over_in_parts() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        let crowd = u128::from(CALLS_TAKEN_MAX) + 3;
        for batch in (1..=crowd).collect::<Vec<_>>().chunks(64) {
            put(&store, batch.iter().map(|number| fact(*number, |fact| fact.node = "old".to_owned())).collect()).await;
        }
        database.execute(&format!("UPDATE call_log SET created_at = {}", ago(database, SECOND))).await;
        let (first, second) = (renew(&store, "new", &[]).await, renew(&store, "new", &[]).await);
        assert_eq!((first.len() as u64, second.len()), (CALLS_TAKEN_MAX, 3));
    });
}

#[test]
fn the_unused_claim_of_a_process_that_is_gone_is_free_and_another_ones_is_not() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        for (number, node) in [(1, "old"), (2, "other")] {
            announced(database, &store, number, |_| {}).await;
            assert_eq!(claim(&store, number, node).await, Ok(()));
        }
        assert_eq!(renew(&store, "new", &[]).await.len(), 2);
        assert_eq!(claim(&store, 1, "new").await, Ok(()));
        assert_eq!(claim(&store, 2, "new").await, Err(Refusal::Held));
    });
}

async fn claim(store: &Store, number: u128, node: &str) -> Result<(), Refusal> {
    let claim = Claim { call: call(number), node: node.to_owned(), at: AT, known_streams: 0, knows_finished: false };
    let StoreAnswer::Claimed(claimed) = answered(store, StoreCommand::Claim(claim)).await else { panic!("no word") };
    claimed
}

#[test]
fn a_claim_that_is_refused_says_why() {
    on_both(async |_, store| {
        put(&store, vec![fact(1, |fact| fact.ended_at = Some(AT))]).await;
        put(&store, vec![fact(2, |fact| fact.fallback = Some((AT, FallbackReason::NoStart)))]).await;
        put(&store, vec![recording(1, 3, |_| {})]).await;
        put(&store, vec![fact(4, |fact| fact.stream = Some((1, StreamSid::from_number(1))))]).await;
        put(&store, vec![fact(5, |fact| fact.finished_at = Some(AT))]).await;
        let reasons = [Refusal::Over, Refusal::FellBack, Refusal::Recorded, Refusal::Elsewhere, Refusal::Elsewhere];
        for (number, reason) in (1..).zip(reasons) {
            assert_eq!(claim(&store, number, "new").await, Err(reason), "{number}");
        }
        let knows = Claim { call: call(5), node: "new".to_owned(), at: AT, known_streams: 0, knows_finished: true };
        assert_eq!(answered(&store, StoreCommand::Claim(knows)).await, StoreAnswer::Claimed(Ok(())));
    });
}

#[test]
fn the_recordings_a_process_held_when_it_went_are_free() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        put(&store, vec![recording(1, 1, |_| {})]).await;
        let take = StoreCommand::TakeRecordings { node: "old".to_owned(), limit: 1 };
        answered(&store, take).await;
        assert!(database.rows("recordings").await[0].contains_key("job_until"));
        renew(&store, "new", &[]).await;
        assert!(!database.rows("recordings").await[0].contains_key("job_until"));
    });
}

#[test]
fn a_process_is_forgotten_a_day_after_it_went_unless_an_open_call_is_its() {
    on_both(async |database, store| {
        one_gone(database, &store).await;
        word_ended(database, "old", NODE_KEPT + SECOND).await;
        let long_ago = ago(database, NODE_KEPT + SECOND);
        database.execute(&format!("UPDATE nodes SET started_at = {long_ago}")).await;
        put(&store, vec![fact(1, |fact| fact.node = "old".to_owned())]).await;
        renew(&store, "new", &[]).await;
        assert_eq!(database.rows("nodes").await.len(), 2);
        put(&store, vec![fact(1, |fact| fact.ended_at = Some(AT))]).await;
        renew(&store, "new", &[]).await;
        assert_eq!(database.rows("nodes").await.len(), 1, "the one that lives");
    });
}
