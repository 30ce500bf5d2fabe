//! The claim of a call's one fallback (W5): granted to one process at a time, and refused when the row says no.

use super::{AT, all, call, fact, on_both, put};
use callwarden::store::Store;
use callwarden_core::config::Database;
use callwarden_core::limits::CLAIM_LEASE;
use callwarden_core::sid::StreamSid;
use callwarden_core::store::{CallStatus, Claim, FallbackReason, StoreAnswer, StoreCommand};
use callwarden_tests::database::{TestDatabase, answered};

async fn claim(store: &Store, node: &str, known_streams: u32) -> bool {
    let claim = Claim { call: call(1), node: node.to_owned(), at: AT, known_streams, knows_finished: false };
    answered(store, StoreCommand::Claim(claim)).await == StoreAnswer::Claimed(Ok(()))
}

async fn release(store: &Store, node: &str) {
    let release = StoreCommand::Release { call: call(1), node: node.to_owned() };
    assert_eq!(answered(store, release).await, StoreAnswer::Done);
}

#[test]
fn one_of_many_concurrent_claimers_wins() {
    on_both(async |database, store| {
        let stores = [&store, &database.store().await];
        put(&store, vec![fact(1, |fact| fact.status = Some(CallStatus::InProgress))]).await;
        let claims = (0..8).map(|node| {
            let store = stores[node % 2];
            async move { claim(store, &format!("node-{node}"), 0).await }
        });
        let granted = all(claims).await;
        assert_eq!(granted.iter().filter(|granted| **granted).count(), 1, "{granted:?}");
    });
}

#[test]
fn a_claim_of_a_call_without_a_row_makes_the_row() {
    on_both(async |database, store| {
        assert!(claim(&store, "node-1", 0).await);
        let rows = database.rows("call_log").await;
        assert_eq!(rows[0]["claim_node"], "node-1");
        assert_eq!(rows[0]["created_at"], AT.to_string());
    });
}

#[test]
fn a_claim_is_refused_once_the_call_is_over() {
    on_both(async |_, store| {
        put(&store, vec![fact(1, |fact| fact.status = Some(CallStatus::StreamClosed))]).await;
        assert!(claim(&store, "node-1", 0).await);
        put(&store, vec![fact(1, |fact| fact.status = Some(CallStatus::Canceled))]).await;
        assert!(!claim(&store, "node-1", 0).await);
    });
}

#[test]
fn a_claim_is_refused_once_the_call_has_an_end() {
    on_both(async |_, store| {
        put(&store, vec![fact(1, |fact| fact.ended_at = Some(AT))]).await;
        assert!(!claim(&store, "node-1", 0).await);
    });
}

#[test]
fn a_claim_is_refused_after_a_fallback() {
    on_both(async |_, store| {
        assert!(claim(&store, "node-1", 0).await);
        put(&store, vec![fact(1, |fact| fact.fallback = Some((AT, FallbackReason::NoStart)))]).await;
        assert!(!claim(&store, "node-1", 0).await);
        assert!(!claim(&store, "node-2", 0).await);
    });
}

#[test]
fn a_claim_is_refused_when_more_streams_started_than_the_claimer_knows_of() {
    on_both(async |_, store| {
        put(&store, vec![fact(1, |fact| fact.stream = Some((2, StreamSid::from_number(2))))]).await;
        assert!(!claim(&store, "node-1", 1).await);
        assert!(claim(&store, "node-1", 2).await);
    });
}

#[test]
fn a_held_claim_is_its_holders_until_it_is_released() {
    on_both(async |_, store| {
        assert!(claim(&store, "node-1", 0).await);
        assert!(!claim(&store, "node-2", 0).await);
        assert!(claim(&store, "node-1", 0).await);
        release(&store, "node-2").await;
        assert!(!claim(&store, "node-2", 0).await);
        release(&store, "node-1").await;
        release(&store, "node-1").await;
        assert!(claim(&store, "node-2", 0).await);
        assert!(!claim(&store, "node-1", 0).await);
    });
}

#[test]
fn a_claim_lasts_its_lease_by_the_databases_clock_and_may_then_be_taken_over() {
    on_both(async |database, store| {
        assert!(claim(&store, "node-1", 0).await);
        let lease = i64::try_from(CLAIM_LEASE.as_millis()).expect("some seconds");
        shift_claim(database, 1_000 - lease).await;
        assert!(!claim(&store, "node-2", 0).await);
        shift_claim(database, -1_000).await;
        assert!(claim(&store, "node-2", 0).await);
        assert!(!claim(&store, "node-1", 0).await);
    });
}

/// Moves the end of the claim, as if time had passed; the test itself must not take a second.
async fn shift_claim(database: &TestDatabase, milliseconds: i64) {
    let by = match database.database() {
        Database::Postgres(_) => format!("interval '{milliseconds} milliseconds'"),
        Database::Sqlite(_) | Database::Embedded(_) => milliseconds.to_string(),
    };
    assert_eq!(database.execute(&format!("UPDATE call_log SET claim_until = claim_until + {by}")).await, 1);
}
