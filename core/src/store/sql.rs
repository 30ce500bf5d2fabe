//! The SQL of each [`StoreCommand`], for Postgres and for SQLite.
//!
//! The texts are files beside this module, two of each where the databases differ: a merge is one upsert per fact, a decision is one conditional
//! upsert (D2). They are static, so that a connection prepares each once. Tests run every one against both databases.

mod rows;

use super::{
    CallFact, Claim, EventFact, Fact, Job, RecordingFact, Refusal, SegmentFact, SegmentKey, StoreAnswer, StoreCommand,
};
use crate::limits::{
    AUDIO_AGE_MAX, CALLS_TAKEN_MAX, CLAIM_LEASE, LOCK_TIME, LOOK_UP_TIMES, NODE_KEPT, NODE_LEASE, OVERDUE_TAKEN_MAX,
    RECORDING_LEASE, RECORDINGS_PASSED_OVER_MAX, SEGMENT_CHARS_MAX, SEGMENTS_FOUND_MAX, SILENT_ENTRY, STALE_AFTER,
    STATEMENT_TIME, STORED_TIME_MAX, TEXT_CHARS_MAX, TRANSACTION_IDLE_TIME,
};
use crate::sid::CallSid;
use crate::time::UnixMillis;
use core::time::Duration;

/// Which database's SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 13 or newer.
    Postgres,
    /// SQLite 3.44 or newer.
    Sqlite,
}

impl Dialect {
    /// Whether an error with this code says that the database will never take the data. Every other error may pass:
    /// the same statement is worth sending again, even where a person has to create a table or free a disk first.
    ///
    /// A code of Postgres is its SQLSTATE: data exceptions, violated constraints, exceeded limits. A code of SQLite is
    /// its extended result code, whose lowest byte is the kind: too big, constraint, mismatch, range.
    #[must_use]
    pub fn refuses(self, code: &str) -> bool {
        match self {
            Self::Postgres => ["22", "23", "54"].iter().any(|class| code.starts_with(class)),
            Self::Sqlite => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18 | 19 | 20 | 25)),
        }
    }
}

/// The settings of each connection to Postgres, in its own names and units.
#[must_use]
pub fn postgres_settings() -> [(&'static str, String); 3] {
    let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
    [
        ("statement_timeout", milliseconds(STATEMENT_TIME)),
        ("lock_timeout", milliseconds(LOCK_TIME)),
        ("idle_in_transaction_session_timeout", milliseconds(TRANSACTION_IDLE_TIME)),
    ]
}

/// One SQL statement and its parameters, `$1` first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The text.
    pub sql: &'static str,
    /// What its placeholders stand for.
    pub parameters: Vec<Parameter>,
    /// What is in the rows it returns, column by column; empty when it returns none.
    pub columns: &'static [Column],
}

/// What a column of a returned row holds; each value may be NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Becomes a [`Parameter::Text`].
    Text,
    /// Eight bytes in both databases; becomes a [`Parameter::Integer`].
    Integer,
}

/// What the statements of a command came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows they changed in all.
    pub rows_affected: u64,
    /// Rows they returned, in order.
    pub rows: Vec<Vec<Parameter>>,
}

/// A value of a [`Statement`]. The kind is known even where the value is not, because Postgres types its parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// A text that both databases take: without NUL, and not too long.
    Text(Option<String>),
    /// A count, or a time in milliseconds since 1970.
    Integer(Option<i64>),
}

/// What to run in one transaction to perform `command`; nothing for [`StoreCommand::Open`], which is migrations.
///
/// The statements are in the order of tables and keys. Transactions that touch the same rows lock them in that one
/// order, so that they wait for each other and never deadlock. Equal statements are left out.
///
/// What a transcript or its status follows from is written under the lock of the call's row, and both are joined anew
/// in the same transaction: of two writers the second one sees what the first wrote (D2).
#[must_use]
pub fn statements(command: &StoreCommand, dialect: Dialect) -> Vec<Statement> {
    let mut rows = match command {
        StoreCommand::Open => Vec::new(),
        StoreCommand::Facts(facts) => facts.iter().flat_map(merge).collect(),
        StoreCommand::Claim(claim) => vec![
            (Verb::Claim, claim_parameters(claim)),
            (Verb::ClaimRefusal, [vec![text(claim.call.as_str())], known_parameters(claim)].concat()),
        ],
        StoreCommand::Release { call, node } => vec![(Verb::Release, vec![text(call.as_str()), text(node)])],
        StoreCommand::TakeRecordings { node, limit } => vec![
            (Verb::PassOver, vec![count(Some(RECORDINGS_PASSED_OVER_MAX))]),
            (Verb::TakeRecordings, vec![text(node), millis(RECORDING_LEASE), count(Some(*limit))]),
        ],
        StoreCommand::TakeOverdue => {
            let times = LOOK_UP_TIMES.map(millis);
            vec![(Verb::TakeOverdue, times.into_iter().chain([count(Some(OVERDUE_TAKEN_MAX))]).collect())]
        }
        StoreCommand::FindDone { segments } => {
            let key = |key: &SegmentKey| {
                [text(key.call.as_str()), text(key.origin.as_str()), count(Some(key.sequence.into()))]
            };
            segments.iter().map(|segment| (Verb::DoneSegment, key(segment).to_vec())).collect()
        }
        StoreCommand::Inherit { node } => vec![
            (Verb::ReturnRecordings, vec![text(node)]),
            (Verb::SegmentsOf, vec![text(node), count(Some(SEGMENTS_FOUND_MAX))]),
        ],
        StoreCommand::FindStale => {
            vec![(Verb::StaleSegments, vec![millis(AUDIO_AGE_MAX + STALE_AFTER), count(Some(SEGMENTS_FOUND_MAX))])]
        }
        StoreCommand::Renew { node, gone } => {
            let (lease, age) = (millis(NODE_LEASE), millis(SILENT_ENTRY));
            let mut rows = vec![
                (Verb::RenewNode, vec![text(node), lease.clone()]),
                (Verb::TakeOver, vec![text(node), lease.clone(), age, count(Some(CALLS_TAKEN_MAX))]),
                (Verb::ReturnOfTheGone, vec![text(node), lease]),
                (Verb::ForgetNodes, vec![millis(NODE_KEPT)]),
            ];
            rows.extend(gone.iter().map(|gone| (Verb::DeclareGone, vec![text(gone)])));
            rows
        }
        StoreCommand::FindCall { call } => vec![(Verb::FindCall, vec![text(call.as_str())])],
        StoreCommand::Retire { node } => vec![(Verb::DeclareGone, vec![text(node)])],
    };
    rows.sort_unstable();
    rows.dedup();
    let statement = |(verb, parameters): (Verb, _)| {
        let columns = verb.columns();
        Statement { sql: verb.sql(dialect), parameters, columns }
    };
    rows.into_iter().map(statement).collect()
}

/// The answer to `command`, whose statements came to this.
#[must_use]
pub fn answer(command: &StoreCommand, outcome: &Outcome) -> StoreAnswer {
    match command {
        StoreCommand::Claim(_) if outcome.rows_affected > 0 => StoreAnswer::Claimed(Ok(())),
        StoreCommand::Claim(_) => {
            let refusal = rows::read(&outcome.rows, rows::refusal).pop();
            StoreAnswer::Claimed(Err(refusal.unwrap_or(Refusal::Held)))
        }
        StoreCommand::Renew { .. } => StoreAnswer::TakenOver(rows::read(&outcome.rows, rows::known_call)),
        StoreCommand::FindCall { .. } => {
            StoreAnswer::Found(rows::read(&outcome.rows, rows::known_call).pop().map(Box::new))
        }
        StoreCommand::Open | StoreCommand::Facts(_) | StoreCommand::Release { .. } | StoreCommand::Retire { .. } => {
            StoreAnswer::Done
        }
        StoreCommand::TakeRecordings { .. } => StoreAnswer::Recordings(rows::read(&outcome.rows, rows::recording)),
        StoreCommand::TakeOverdue => StoreAnswer::Overdue(rows::read(&outcome.rows, rows::overdue)),
        StoreCommand::FindDone { .. } => StoreAnswer::Known(rows::read(&outcome.rows, rows::key)),
        StoreCommand::Inherit { .. } | StoreCommand::FindStale => {
            StoreAnswer::Segments(rows::read(&outcome.rows, rows::segment))
        }
    }
}

/// What a statement does. The order is the order of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    RenewNode,
    DeclareGone,
    MergeCall,
    Claim,
    ClaimRefusal,
    Release,
    FindCall,
    TakeOverdue,
    TakeOver,
    AddEvent,
    MergeRecording,
    PassOver,
    TakeRecordings,
    ReturnRecordings,
    ReturnOfTheGone,
    MergeSegment,
    DoneSegment,
    SegmentsOf,
    StaleSegments,
    JoinTranscript,
    ForgetNodes,
}

impl Verb {
    const fn sql(self, dialect: Dialect) -> &'static str {
        macro_rules! text {
            ($name:literal) => {
                match dialect {
                    Dialect::Postgres => include_str!(concat!("sql/postgres/", $name, ".sql")),
                    Dialect::Sqlite => include_str!(concat!("sql/sqlite/", $name, ".sql")),
                }
            };
        }
        match self {
            Self::RenewNode => text!("renew_node"),
            Self::DeclareGone => text!("declare_gone"),
            Self::MergeCall => text!("merge_call"),
            Self::Claim => text!("claim"),
            Self::ClaimRefusal => include_str!("sql/both/claim_refusal.sql"),
            Self::Release => text!("release"),
            Self::TakeOverdue => text!("take_overdue"),
            Self::FindCall => text!("find_call"),
            Self::TakeOver => text!("take_over"),
            Self::AddEvent => text!("add_event"),
            Self::MergeRecording => text!("merge_recording"),
            Self::PassOver => text!("pass_over"),
            Self::TakeRecordings => text!("take_recordings"),
            Self::ReturnRecordings => text!("return_recordings"),
            Self::ReturnOfTheGone => text!("return_of_the_gone"),
            Self::MergeSegment => text!("merge_segment"),
            Self::DoneSegment => include_str!("sql/both/done_segment.sql"),
            Self::SegmentsOf => text!("segments_of"),
            Self::StaleSegments => text!("stale_segments"),
            Self::JoinTranscript => include_str!("sql/both/join_transcript.sql"),
            Self::ForgetNodes => text!("forget_nodes"),
        }
    }

    const fn columns(self) -> &'static [Column] {
        match self {
            Self::TakeRecordings => rows::RECORDING,
            Self::TakeOverdue => rows::OVERDUE,
            Self::TakeOver | Self::FindCall => rows::KNOWN_CALL,
            Self::ClaimRefusal => rows::REFUSAL,
            Self::DoneSegment => rows::KEY,
            Self::SegmentsOf | Self::StaleSegments => rows::SEGMENT,
            Self::RenewNode
            | Self::DeclareGone
            | Self::MergeCall
            | Self::Claim
            | Self::Release
            | Self::AddEvent
            | Self::MergeRecording
            | Self::PassOver
            | Self::ReturnRecordings
            | Self::ReturnOfTheGone
            | Self::MergeSegment
            | Self::JoinTranscript
            | Self::ForgetNodes => &[],
        }
    }
}

fn merge(fact: &Fact) -> Vec<(Verb, Vec<Parameter>)> {
    let join = |call: CallSid| (Verb::JoinTranscript, vec![text(call.as_str()), text("\n")]);
    // Locks the call's row, and makes it where it is missing.
    let lock = |call, at, node: &str| (Verb::MergeCall, call_parameters(&CallFact::new(call, at, node)));
    match fact {
        Fact::Call(fact) => {
            let mut rows = vec![(Verb::MergeCall, call_parameters(fact))];
            rows.extend(fact.decides_the_transcript().then(|| join(fact.call)));
            rows
        }
        Fact::Event(fact) => vec![(Verb::AddEvent, event_parameters(fact))],
        Fact::Recording(fact) => vec![
            lock(fact.call, fact.at, &fact.node),
            (Verb::MergeRecording, recording_parameters(fact)),
            join(fact.call),
        ],
        Fact::Segment(fact) => vec![
            lock(fact.key.call, fact.at, &fact.node),
            (Verb::MergeSegment, segment_parameters(fact)),
            join(fact.key.call),
        ],
    }
}

fn call_parameters(fact: &CallFact) -> Vec<Parameter> {
    let optional =
        |value: &Option<String>| Parameter::Text(value.as_deref().map(|text| storable(text, TEXT_CHARS_MAX)));
    vec![
        text(fact.call.as_str()),
        time(Some(fact.at)),
        text(&fact.node),
        Parameter::Text(fact.account.map(|account| account.to_string())),
        optional(&fact.from),
        optional(&fact.to),
        optional(&fact.direction),
        optional(&fact.public_host),
        Parameter::Text(fact.status.map(|status| status.as_str().to_owned())),
        Parameter::Text(fact.source.map(|source| source.as_str().to_owned())),
        Parameter::Integer(fact.stream.map(|(ordinal, _)| i64::from(ordinal))),
        Parameter::Text(fact.stream.map(|(_, stream)| stream.to_string())),
        time(fact.stream_started_at),
        time(fact.first_media_at),
        count(fact.frames),
        time(fact.fallback.map(|(at, _)| at)),
        Parameter::Text(fact.fallback.map(|(_, reason)| reason.as_str().to_owned())),
        time(fact.how_far.as_ref().map(|_| fact.at)),
        optional(&fact.how_far),
        time(fact.finished_at),
        time(fact.ended_at),
        count(fact.duration_seconds),
        Parameter::Text(fact.transcript.map(|start| start.as_str().to_owned())),
        optional(&fact.recording_missing),
        time(Some(if fact.owns() { fact.at } else { UnixMillis(0) })),
    ]
}

fn event_parameters(fact: &EventFact) -> Vec<Parameter> {
    vec![text(fact.call.as_str()), time(Some(fact.at)), text(&fact.event), text(&fact.detail)]
}

fn recording_parameters(fact: &RecordingFact) -> Vec<Parameter> {
    vec![
        text(fact.recording.as_str()),
        text(fact.call.as_str()),
        time(Some(fact.at)),
        text(fact.state.as_str()),
        count(fact.duration_seconds),
    ]
    .into_iter()
    .chain(job_parameters(fact.job.as_ref()))
    .collect()
}

/// State, attempts, error, next try.
fn job_parameters(job: Option<&Job>) -> [Parameter; 4] {
    [
        Parameter::Text(job.and_then(|job| job.state.as_str()).map(str::to_owned)),
        count(job.map(|job| job.attempts.into())),
        Parameter::Text(job.and_then(|job| job.error.as_deref()).map(|error| storable(error, TEXT_CHARS_MAX))),
        time(job.and_then(|job| job.next_at)),
    ]
}

fn segment_parameters(fact: &SegmentFact) -> Vec<Parameter> {
    let key = &fact.key;
    let place = [
        text(key.call.as_str()),
        text(key.origin.as_str()),
        count(Some(key.sequence.into())),
        time(Some(fact.at)),
        text(&fact.node),
        time(Some(fact.started_at)),
        millis(fact.from),
        millis(fact.to),
    ];
    let said = Parameter::Text(Some(storable(&fact.text, SEGMENT_CHARS_MAX)));
    place.into_iter().chain(job_parameters(Some(&fact.job))).chain([said]).collect()
}

fn claim_parameters(claim: &Claim) -> Vec<Parameter> {
    vec![text(claim.call.as_str()), time(Some(claim.at)), text(&claim.node), millis(CLAIM_LEASE)]
        .into_iter()
        .chain(known_parameters(claim))
        .collect()
}

/// What the claimer knows.
fn known_parameters(claim: &Claim) -> Vec<Parameter> {
    vec![count(Some(claim.known_streams.into())), count(Some(claim.knows_finished.into()))]
}

fn text(value: &str) -> Parameter {
    Parameter::Text(Some(storable(value, TEXT_CHARS_MAX)))
}

/// `value` as it is stored: cut to so many characters, and with U+FFFD for NUL, which Postgres does not take.
fn storable(value: &str, chars_max: usize) -> String {
    value.chars().take(chars_max).map(|char| if char == '\0' { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// A time within what both databases keep to the millisecond.
fn time(value: Option<UnixMillis>) -> Parameter {
    Parameter::Integer(value.map(|at| at.clamp(UnixMillis(0), STORED_TIME_MAX).0))
}

/// A time span in milliseconds.
fn millis(span: Duration) -> Parameter {
    count(u64::try_from(span.as_millis()).ok())
}

fn count(value: Option<u64>) -> Parameter {
    Parameter::Integer(value.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
