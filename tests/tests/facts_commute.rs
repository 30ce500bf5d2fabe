//! D2: facts give the same rows in any order, with any repeats, in any batches and over two connections at once, in
//! Postgres and in SQLite; and these rows are the ones the rules on each fact promise.

use callwarden::store::Store;
use callwarden_core::sid::{AccountSid, CallSid, RecordingSid, StreamSid};
use callwarden_core::store::{
    CallFact, CallStatus, EventFact, Fact, FallbackReason, Job, JobState, Origin, RecordingFact, RecordingState,
    SegmentFact, SegmentKey, Source, StoreAnswer, StoreCommand, TranscriptStart,
};
use callwarden_core::time::UnixMillis;
use callwarden_tests::database::{Row, TestDatabase, answered};
use callwarden_tests::world::rows::Rows;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use smol::block_on;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const TABLES: [&str; 4] = ["call_log", "call_events", "recordings", "transcript_segments"];

/// The rows of [`TABLES`].
type Tables = [Vec<Row>; 4];

// Few values of each kind, so that facts meet and tie.

fn time() -> impl Strategy<Value = UnixMillis> {
    (0..3_i64).prop_map(|step| UnixMillis(1_767_225_600_000 + step * 61))
}

/// Texts whose order differs between bytes and every language's alphabet.
fn text() -> impl Strategy<Value = String> {
    select(vec!["", "a", "B", "a b", "a-", "é", "שלום", "ש", "+972501234567"]).prop_map(str::to_owned)
}

fn call() -> impl Strategy<Value = CallSid> {
    (1..3_u128).prop_map(CallSid::from_number)
}

/// A member that half of the facts have.
fn maybe<S: Strategy>(some: S) -> impl Strategy<Value = Option<S::Value>> {
    weighted(0.5, some)
}

fn call_fact() -> impl Strategy<Value = CallFact> {
    let names = (maybe(text()), maybe(text()), maybe(text()), maybe(text()), maybe(text()), maybe(text()));
    let times = (maybe(time()), maybe(time()), maybe(time()), maybe(time()));
    let counts = (maybe(0..3_u64), maybe(0..3_u64));
    let stream = maybe((1..4_u32, (0..3_u128).prop_map(StreamSid::from_number)));
    let begins = maybe(select(vec![TranscriptStart::Pending, TranscriptStart::Disabled]));
    let ranks = (
        maybe(select(&CallStatus::ALL[..])),
        maybe(select(&[Source::Recording, Source::Stream][..])),
        maybe((time(), select(&FallbackReason::ALL[..]))),
        maybe((0..3_u128).prop_map(AccountSid::from_number)),
        begins,
    );
    let node = select(vec!["node-1", "node-2", "Node"]);
    (call(), time(), node, names, times, counts, stream, ranks).prop_map(
        |(call, at, node, names, times, counts, stream, ranks)| {
            let mut fact = CallFact::new(call, at, node);
            (fact.from, fact.to, fact.direction, fact.public_host, fact.how_far, fact.recording_missing) = names;
            (fact.stream_started_at, fact.first_media_at, fact.finished_at, fact.ended_at) = times;
            (fact.frames, fact.duration_seconds) = counts;
            fact.stream = stream;
            (fact.status, fact.source, fact.fallback, fact.account, fact.transcript) = ranks;
            fact
        },
    )
}

fn job() -> impl Strategy<Value = Job> {
    let states = select(vec![JobState::Waiting, JobState::Failed, JobState::Done]);
    (states, 0..3_u32, maybe(text()), maybe(time())).prop_map(|(state, attempts, error, next_at)| Job {
        state,
        attempts,
        error,
        next_at,
    })
}

/// A segment of a stream or of a recording, of the call that this one belongs to.
fn segment_fact() -> impl Strategy<Value = SegmentFact> {
    let origin = prop_oneof![
        (0..2_u128).prop_map(|number| (number, Origin::Stream(StreamSid::from_number(number)))),
        (0..2_u128).prop_map(|number| (number, Origin::Recording(RecordingSid::from_number(number)))),
    ];
    let node = select(vec!["node-1", "node-2", "Node"]);
    (origin, 0..3_u32, time(), node, time(), (0..3_u64, 0..3_u64), job(), text()).prop_map(
        |((number, origin), sequence, at, node, started_at, (from, to), job, text)| SegmentFact {
            key: SegmentKey { call: CallSid::from_number(number + 1), origin, sequence },
            at,
            node: node.to_owned(),
            started_at,
            from: Duration::from_millis(from),
            to: Duration::from_millis(to),
            job,
            text,
        },
    )
}

fn event_fact() -> impl Strategy<Value = EventFact> {
    (call(), time(), select(vec!["note", "start"]), text()).prop_map(|(call, at, event, detail)| EventFact {
        call,
        at,
        event: event.into(),
        detail,
    })
}

fn recording_fact() -> impl Strategy<Value = RecordingFact> {
    let states = [RecordingState::InProgress, RecordingState::Absent, RecordingState::Completed];
    let node = select(vec!["node-1", "node-2", "Node"]);
    (0..2_u128, time(), select(states.to_vec()), maybe(0..3_u64), node, maybe(job())).prop_map(
        |(number, at, state, duration_seconds, node, job)| RecordingFact {
            recording: RecordingSid::from_number(number),
            call: CallSid::from_number(number + 1),
            at,
            state,
            duration_seconds,
            node: node.to_owned(),
            job,
        },
    )
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let fact = prop_oneof![
        4 => call_fact().prop_map(|fact| Fact::Call(Box::new(fact))),
        1 => event_fact().prop_map(Fact::Event),
        2 => recording_fact().prop_map(Fact::Recording),
        3 => segment_fact().prop_map(|fact| Fact::Segment(Box::new(fact))),
    ];
    prop::collection::vec(fact, 1..20)
}

/// Facts, and the same facts in another order, some of them more than once, in batches.
fn rearranged() -> impl Strategy<Value = (Vec<Fact>, Vec<Vec<Fact>>)> {
    facts()
        .prop_flat_map(|facts| {
            let repeats = prop::sample::subsequence(facts.clone(), 0..=facts.len());
            (Just(facts), repeats)
        })
        .prop_flat_map(|(facts, repeats)| {
            let again = [facts.clone(), repeats].concat();
            (Just(facts), Just(again).prop_shuffle(), prop::collection::vec(1..6_usize, 32))
        })
        .prop_map(|(facts, mut again, sizes)| {
            let mut batches = Vec::new();
            for size in sizes {
                let rest = again.split_off(size.min(again.len()));
                batches.push(core::mem::replace(&mut again, rest));
            }
            batches.retain(|batch| !batch.is_empty());
            (facts, batches)
        })
}

// The rules, stated over all facts at once instead of merged step by step.

fn expected(facts: &[Fact]) -> Tables {
    let mut calls: BTreeMap<CallSid, Vec<CallFact>> = BTreeMap::new();
    let mut events = BTreeSet::new();
    let mut recordings: BTreeMap<RecordingSid, Vec<&RecordingFact>> = BTreeMap::new();
    let mut segments: BTreeMap<SegmentKey, Vec<&SegmentFact>> = BTreeMap::new();
    let mut rows = Rows::default();
    for fact in facts {
        rows.take(fact);
        match fact {
            Fact::Call(fact) => calls.entry(fact.call).or_default().push((**fact).clone()),
            Fact::Event(fact) => drop(events.insert(fact)),
            Fact::Recording(fact) => {
                calls.entry(fact.call).or_default().push(CallFact::new(fact.call, fact.at, &fact.node));
                recordings.entry(fact.recording).or_default().push(fact);
            }
            Fact::Segment(fact) => {
                calls.entry(fact.key.call).or_default().push(CallFact::new(fact.key.call, fact.at, &fact.node));
                segments.entry(fact.key).or_default().push(fact);
            }
        }
    }
    let mut tables = [
        calls.values().map(|facts| call_row(&facts.iter().collect::<Vec<_>>(), &rows)).collect::<Vec<_>>(),
        events.into_iter().map(event_row).collect(),
        recordings.values().map(|facts| recording_row(facts)).collect(),
        segments.values().map(|facts| segment_row(facts)).collect(),
    ];
    tables.iter_mut().for_each(|rows| rows.sort_unstable());
    tables
}

/// Since when the call is its process's, as far as this fact goes.
fn owned_at(fact: &CallFact) -> UnixMillis {
    if fact.source.is_some() || fact.stream.is_some() { fact.at } else { UnixMillis(0) }
}

/// What becomes of a transcript is told a second time by [`Rows`]. It is joined only when something asks for it.
fn call_row(facts: &[&CallFact], rows: &Rows) -> Row {
    let stream = greatest(facts, |fact| fact.stream);
    let fallback = least(facts, |fact| fact.fallback);
    let how_far = greatest(facts, |fact| fact.how_far.clone().map(|how_far| (fact.at, how_far)));
    let call = facts[0].call;
    let begins = greatest(facts, |fact| fact.transcript).map(|begins| begins.as_str().to_owned());
    let decided = rows.has_speech(call)
        || facts.iter().any(|fact| {
            let recorded = fact.source == Some(Source::Recording) || fact.recording_missing.is_some();
            fact.ended_at.is_some() || fact.fallback.is_some() || recorded
        });
    let transcript = Some(rows.transcript(call)).filter(|text| !text.is_empty());
    let status = if decided { Some(rows.transcript_status(call)) } else { begins };
    row([
        ("call_sid", said(facts.first().map(|fact| fact.call))),
        ("created_at", said(least(facts, |fact| Some(fact.at)))),
        ("updated_at", said(greatest(facts, |fact| Some(fact.at)))),
        ("node", greatest(facts, |fact| Some((owned_at(fact), fact.node.clone()))).map(|(_, node)| node)),
        ("node_at", greatest(facts, |fact| Some(owned_at(fact))).map(|at| at.to_string())),
        ("account_sid", said(greatest(facts, |fact| fact.account))),
        ("from_number", greatest(facts, |fact| fact.from.clone())),
        ("to_number", greatest(facts, |fact| fact.to.clone())),
        ("direction", greatest(facts, |fact| fact.direction.clone())),
        ("public_host", greatest(facts, |fact| fact.public_host.clone())),
        ("status", said(greatest(facts, |fact| fact.status).map(CallStatus::as_str))),
        ("source", said(least(facts, |fact| fact.source).map(Source::as_str))),
        ("streams", said(stream.map(|(ordinal, _)| ordinal))),
        ("stream_sid", said(stream.map(|(_, stream)| stream))),
        ("stream_started_at", said(least(facts, |fact| fact.stream_started_at))),
        ("first_media_at", said(least(facts, |fact| fact.first_media_at))),
        ("frames", said(greatest(facts, |fact| fact.frames))),
        ("fallback_at", said(fallback.map(|(at, _)| at))),
        ("fallback_reason", said(fallback.map(|(_, reason)| reason))),
        ("how_far_at", said(how_far.clone().map(|(at, _)| at))),
        ("how_far", how_far.map(|(_, how_far)| how_far)),
        ("finished_at", said(least(facts, |fact| fact.finished_at))),
        ("ended_at", said(least(facts, |fact| fact.ended_at))),
        ("duration_seconds", said(greatest(facts, |fact| fact.duration_seconds))),
        ("transcript", transcript),
        ("transcript_status", status),
        ("recording_missing", greatest(facts, |fact| fact.recording_missing.clone())),
        ("look_ups", said(Some(0))),
    ])
}

fn event_row(fact: &EventFact) -> Row {
    row([
        ("call_sid", said(Some(fact.call))),
        ("at", said(Some(fact.at))),
        ("event", said(Some(&fact.event))),
        ("detail", said(Some(&fact.detail))),
    ])
}

fn recording_row(facts: &[&RecordingFact]) -> Row {
    let job = best(facts.iter().filter_map(|fact| fact.job.as_ref()));
    row([
        ("recording_sid", said(facts.first().map(|fact| fact.recording))),
        ("call_sid", said(greatest(facts, |fact| Some(fact.call)))),
        ("created_at", said(least(facts, |fact| Some(fact.at)))),
        ("updated_at", said(greatest(facts, |fact| Some(fact.at)))),
        ("state", said(greatest(facts, |fact| Some(fact.state)).map(RecordingState::as_str))),
        ("duration_seconds", said(greatest(facts, |fact| fact.duration_seconds))),
        ("job_attempts", said(Some(job.attempts))),
        ("job_state", said(job.state.as_str())),
        ("job_error", job.error),
        ("job_next_at", said(job.next_at)),
        ("job_tries", said(Some(0))),
    ])
}

fn segment_row(facts: &[&SegmentFact]) -> Row {
    let job = best(facts.iter().map(|fact| &fact.job));
    row([
        ("call_sid", said(facts.first().map(|fact| fact.key.call))),
        ("origin", facts.first().map(|fact| fact.key.origin.as_str().to_owned())),
        ("sequence", said(facts.first().map(|fact| fact.key.sequence))),
        ("updated_at", said(greatest(facts, |fact| Some(fact.at)))),
        ("node", greatest(facts, |fact| Some((fact.at, fact.node.clone()))).map(|(_, node)| node)),
        ("started_at", said(least(facts, |fact| Some(fact.started_at)))),
        ("from_ms", said(least(facts, |fact| Some(fact.from.as_millis())))),
        ("to_ms", said(greatest(facts, |fact| Some(fact.to.as_millis())))),
        ("state", said(job.state.as_str())),
        ("attempts", said(Some(job.attempts))),
        ("error", job.error),
        ("next_at", said(job.next_at)),
        ("text", greatest(facts, |fact| Some(fact.text.clone()))),
    ])
}

/// The job that stays of all that were told.
fn best<'a>(jobs: impl Iterator<Item = &'a Job>) -> Job {
    let rank = |job: &&Job| (job.state, job.attempts, job.next_at, job.error.clone());
    jobs.max_by_key(rank).cloned().unwrap_or_else(Job::waiting)
}

fn greatest<T, V: Ord>(facts: &[&T], member: impl Fn(&T) -> Option<V>) -> Option<V> {
    facts.iter().filter_map(|fact| member(fact)).max()
}

fn least<T, V: Ord>(facts: &[&T], member: impl Fn(&T) -> Option<V>) -> Option<V> {
    facts.iter().filter_map(|fact| member(fact)).min()
}

fn said(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn row<const COLUMNS: usize>(columns: [(&str, Option<String>); COLUMNS]) -> Row {
    columns.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

// The same facts in real databases.

async fn store_batches(store: &Store, batches: &[Vec<Fact>]) {
    for batch in batches {
        assert_eq!(answered(store, StoreCommand::Facts(batch.clone())).await, StoreAnswer::Done);
    }
}

async fn empty(database: &TestDatabase) {
    database.execute(&TABLES.map(|table| format!("DELETE FROM {table}")).join(";")).await;
}

async fn tables(database: &TestDatabase) -> Tables {
    let mut tables = Tables::default();
    for (rows, table) in tables.iter_mut().zip(TABLES) {
        *rows = database.rows(table).await;
    }
    tables
}

fn check(cases: u32, test: impl Fn((Vec<Fact>, Vec<Vec<Fact>>))) {
    // A failure is told within a minute, made small or not.
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_time: 30_000, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&rearranged(), |case| {
            test(case);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn facts_in_any_order_repeated_and_batched_give_the_promised_rows_in_both_databases() {
    block_on(async {
        let databases = TestDatabase::both();
        let stores = [databases[0].store().await, databases[1].store().await];
        check(32, |(facts, batches)| {
            let promised = expected(&facts);
            let one_by_one: Vec<_> = facts.into_iter().map(|fact| vec![fact]).collect();
            block_on(async {
                for (database, store) in databases.iter().zip(&stores) {
                    empty(database).await;
                    store_batches(store, &one_by_one).await;
                    assert_eq!(tables(database).await, promised, "one by one in {:?}", database.database());
                    empty(database).await;
                    store_batches(store, &batches).await;
                    assert_eq!(tables(database).await, promised, "rearranged in {:?}", database.database());
                }
            });
        });
    });
}

#[test]
fn facts_from_two_processes_at_once_give_the_promised_rows_in_both_databases() {
    block_on(async {
        for database in TestDatabase::both() {
            let stores = [database.store().await, database.store().await];
            check(16, |(facts, batches)| {
                let (one, other) = batches.split_at(batches.len() / 2);
                block_on(async {
                    empty(&database).await;
                    smol::future::zip(store_batches(&stores[0], one), store_batches(&stores[1], other)).await;
                    assert_eq!(tables(&database).await, expected(&facts), "in {:?}", database.database());
                });
            });
        }
    });
}
