//! Many writers of one call, over two connections at once: nothing is lost, and nobody deadlocks (D2).

use super::{AT, all, fact, of_call, on_both, put, recorded, recording, said, segment};
use callwarden::store::Store;
use callwarden_core::config::Database;
use callwarden_core::limits::STORE_TIME;
use callwarden_core::sid::RecordingSid;
use callwarden_core::store::{
    CallStatus, Fact, FallbackReason, Job, RecordingFact, RecordingState, StoreAnswer, StoreCommand, StoreError,
    TranscriptStart,
};
use callwarden_tests::database::TestDatabase;
use core::time::Duration;
use smol::block_on;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// How often a command that had to wait for too long is sent again.
const ATTEMPTS_MAX: u32 = 50;
/// Utterances of the call that many write to.
const UTTERANCES: u32 = 200;

/// Lets Postgres look for deadlocks before a wait for a lock ends by itself, so that its error tells one.
async fn reveal_deadlocks(database: &TestDatabase) {
    if let Database::Postgres(_) = database.database() {
        let sql = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''20ms''', current_database());
            END $$";
        database.execute(sql).await;
    }
}

/// Sends a command until it is answered. On a loaded machine it may have to wait for its turn for too long, but it
/// never meets a deadlock (40P01).
async fn send(store: &Store, command: StoreCommand) -> StoreAnswer {
    for _ in 0..ATTEMPTS_MAX {
        match store.run(command.clone(), STORE_TIME).await {
            Err(StoreError::Unavailable(cause)) => assert!(!cause.contains("40P01"), "{cause}"),
            answer => return answer.expect("the data is good"),
        }
    }
    panic!("the database stays unavailable");
}

async fn send_facts(store: &Store, facts: Vec<Fact>) {
    assert_eq!(send(store, StoreCommand::Facts(facts)).await, StoreAnswer::Done);
}

/// Each sequence from 1 once, in an order that jumps.
fn jumping() -> impl Iterator<Item = u32> {
    // 77 and 200 have no common divisor.
    (0..UTTERANCES).map(|place| place * 77 % UTTERANCES + 1)
}

fn joined() -> String {
    (1..=UTTERANCES).map(|sequence| format!("משפט-{sequence}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn two_processes_that_write_one_calls_utterances_at_once_lose_none() {
    on_both(async |database, first| {
        reveal_deadlocks(database).await;
        let stores = [first, database.store().await];
        let writers = jumping().zip(stores.iter().cycle()).map(|(sequence, store)| async move {
            send_facts(store, vec![said(1, sequence, &format!("משפט-{sequence}"))]).await;
        });
        all(writers).await;
        assert_eq!(of_call(database, 1, "transcript").await, joined());
        assert_eq!(database.rows("transcript_segments").await.len(), UTTERANCES as usize);
    });
}

#[test]
fn utterances_written_beside_their_calls_other_facts_lose_nothing() {
    let steps = || {
        let running = |fact: &mut RecordingFact| {
            (fact.state, fact.duration_seconds) = (RecordingState::InProgress, None);
        };
        vec![
            fact(1, |fact| fact.transcript = Some(TranscriptStart::Pending)),
            fact(1, |fact| fact.status = Some(CallStatus::InProgress)),
            fact(1, |fact| fact.frames = Some(50)),
            fact(1, |fact| fact.fallback = Some((AT, FallbackReason::StreamLost))),
            recording(1, 1, running),
            recording(2, 1, running),
            recording(1, 1, |_| {}),
            recording(2, 1, |_| {}),
            segment(1, recorded(2), 1, |fact| {
                fact.started_at = AT + Duration::from_secs(600);
                "ההקלטה".clone_into(&mut fact.text);
            }),
            recording(2, 1, |fact| fact.job = Some(Job::done(1))),
            recording(1, 1, |fact| fact.job = Some(Job::done(1))),
            fact(1, |fact| (fact.status, fact.ended_at) = (Some(CallStatus::Completed), Some(AT))),
        ]
    };
    on_both(async |database, first| {
        reveal_deadlocks(database).await;
        let stores = [first, database.store().await];
        let utterances = jumping().map(|sequence| vec![said(1, sequence, &format!("משפט-{sequence}"))]);
        let mut commands: Vec<Vec<Fact>> = utterances.collect();
        // Every step alone, spread over the utterances, and all of them together, both ways round.
        for (place, step) in steps().into_iter().enumerate() {
            commands.insert(place * 16, vec![step]);
        }
        commands.insert(50, steps());
        commands.insert(120, steps().into_iter().rev().collect());
        let writers = commands.into_iter().zip(stores.iter().cycle());
        all(writers.map(|(facts, store)| send_facts(store, facts))).await;
        assert_eq!(of_call(database, 1, "transcript").await, format!("{}\nההקלטה", joined()));
        assert_eq!(of_call(database, 1, "transcript_status").await, "done");
        assert_eq!(of_call(database, 1, "status").await, "completed");
    });
}

#[test]
fn commands_about_the_same_speech_in_any_order_never_deadlock() {
    let calls = 1..=6_u128;
    let facts = |turn: u32| -> Vec<Fact> {
        let of_one = |number| {
            [
                said(number, turn + 1, "מילה"),
                recording(number, number, |_| {}),
                fact(number, |fact| fact.ended_at = Some(AT)),
            ]
        };
        calls.clone().flat_map(of_one).collect()
    };
    on_both(async |database, first| {
        reveal_deadlocks(database).await;
        let stores = [first, database.store().await];
        let commands = (0..40_u32).map(|turn| {
            let mut facts = facts(turn);
            if turn % 2 == 1 {
                facts.reverse();
            }
            send_facts(&stores[turn as usize / 2 % 2], facts)
        });
        all(commands).await;
        for number in calls.clone() {
            assert_eq!(of_call(database, number, "transcript").await, ["מילה"; 40].join(" "));
        }
    });
}

#[test]
fn recordings_are_given_back_in_the_order_in_which_facts_lock_them() {
    let database = TestDatabase::postgres();
    let Database::Postgres(url) = database.database() else { panic!("a database of Postgres") };
    block_on(async {
        reveal_deadlocks(&database).await;
        let store = database.store().await;
        // Their rows lie in the order in which they came, which is not that of their names.
        for number in [2, 1] {
            put(&store, vec![recording(number, number, |_| {})]).await;
        }
        database.execute("UPDATE recordings SET job_node = 'gone', job_until = now() + interval '1 hour'").await;
        let mut facts = PgConnection::connect(url.expose()).await.expect("a connection");
        let change = |number| {
            let sid = RecordingSid::from_number(number);
            sqlx::raw_sql(AssertSqlSafe(format!("UPDATE recordings SET state = state WHERE recording_sid = '{sid}'")))
        };
        facts.execute("BEGIN").await.expect("a transaction");
        facts.execute(change(1)).await.expect("the first row");
        let goes_on = async {
            while !someone_waits_for_a_lock(&database).await {}
            facts.execute(change(2)).await.expect("the second row");
            facts.execute("COMMIT").await.expect("both rows");
        };
        let inherit = StoreCommand::Inherit { node: "gone".to_owned() };
        let (inherited, ()) = smol::future::zip(send(&store, inherit), goes_on).await;
        assert_eq!(inherited, StoreAnswer::Segments(Vec::new()));
        assert!(database.rows("recordings").await.iter().all(|row| !row.contains_key("job_until")));
    });
}

async fn someone_waits_for_a_lock(database: &TestDatabase) -> bool {
    let sql = "CREATE TABLE IF NOT EXISTS waits (one bigint); INSERT INTO waits
        SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    database.execute(sql).await > 0
}
