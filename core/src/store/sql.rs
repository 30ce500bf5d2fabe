//! The SQL of each [`StoreCommand`], for Postgres and for SQLite.
//!
//! The texts are files beside this module, two of each: a merge is one upsert per fact, a decision is one conditional
//! upsert (D2). They are static, so that a connection prepares each once. Tests run every one against both databases.

use super::{CallFact, Claim, EventFact, Fact, RecordingFact, StoreAnswer, StoreCommand};
use crate::limits::{CLAIM_LEASE, LOCK_TIME, STATEMENT_TIME, STORED_TIME_MAX, TEXT_CHARS_MAX, TRANSACTION_IDLE_TIME};
use crate::time::UnixMillis;
use core::time::Duration;

/// Which database's SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 13 or newer.
    Postgres,
    /// SQLite 3.42 or newer.
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
#[must_use]
pub fn statements(command: &StoreCommand, dialect: Dialect) -> Vec<Statement> {
    let mut rows = match command {
        StoreCommand::Open => Vec::new(),
        StoreCommand::Facts(facts) => facts.iter().map(merge).collect(),
        StoreCommand::Claim(claim) => vec![(Verb::Claim, claim_parameters(claim))],
        StoreCommand::Release { call, node } => vec![(Verb::Release, vec![text(call.as_str()), text(node)])],
    };
    rows.sort_unstable();
    rows.dedup();
    rows.into_iter().map(|(verb, parameters)| Statement { sql: verb.sql(dialect), parameters }).collect()
}

/// The answer to `command`, whose statements changed so many rows in all.
#[must_use]
pub const fn answer(command: &StoreCommand, rows_affected: u64) -> StoreAnswer {
    match command {
        StoreCommand::Claim(_) => StoreAnswer::Claimed(rows_affected > 0),
        StoreCommand::Open | StoreCommand::Facts(_) | StoreCommand::Release { .. } => StoreAnswer::Done,
    }
}

/// What a statement does. The order is the order of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    MergeCall,
    Claim,
    Release,
    AddEvent,
    MergeRecording,
}

impl Verb {
    const fn sql(self, dialect: Dialect) -> &'static str {
        match (dialect, self) {
            (Dialect::Postgres, Self::MergeCall) => include_str!("sql/postgres/merge_call.sql"),
            (Dialect::Postgres, Self::Claim) => include_str!("sql/postgres/claim.sql"),
            (Dialect::Postgres, Self::Release) => include_str!("sql/postgres/release.sql"),
            (Dialect::Postgres, Self::AddEvent) => include_str!("sql/postgres/add_event.sql"),
            (Dialect::Postgres, Self::MergeRecording) => include_str!("sql/postgres/merge_recording.sql"),
            (Dialect::Sqlite, Self::MergeCall) => include_str!("sql/sqlite/merge_call.sql"),
            (Dialect::Sqlite, Self::Claim) => include_str!("sql/sqlite/claim.sql"),
            (Dialect::Sqlite, Self::Release) => include_str!("sql/sqlite/release.sql"),
            (Dialect::Sqlite, Self::AddEvent) => include_str!("sql/sqlite/add_event.sql"),
            (Dialect::Sqlite, Self::MergeRecording) => include_str!("sql/sqlite/merge_recording.sql"),
        }
    }
}

fn merge(fact: &Fact) -> (Verb, Vec<Parameter>) {
    match fact {
        Fact::Call(fact) => (Verb::MergeCall, call_parameters(fact)),
        Fact::Event(fact) => (Verb::AddEvent, event_parameters(fact)),
        Fact::Recording(fact) => (Verb::MergeRecording, recording_parameters(fact)),
    }
}

fn call_parameters(fact: &CallFact) -> Vec<Parameter> {
    let optional = |value: &Option<String>| Parameter::Text(value.as_deref().map(storable));
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
        optional(&fact.transcript_status),
    ]
}

fn event_parameters(fact: &EventFact) -> Vec<Parameter> {
    vec![text(fact.call.as_str()), time(Some(fact.at)), text(fact.event), text(&fact.detail)]
}

fn recording_parameters(fact: &RecordingFact) -> Vec<Parameter> {
    vec![
        text(fact.recording.as_str()),
        text(fact.call.as_str()),
        time(Some(fact.at)),
        text(fact.state.as_str()),
        count(fact.duration_seconds),
    ]
}

fn claim_parameters(claim: &Claim) -> Vec<Parameter> {
    vec![
        text(claim.call.as_str()),
        time(Some(claim.at)),
        text(&claim.node),
        count(u64::try_from(CLAIM_LEASE.as_millis()).ok()),
        count(Some(u64::from(claim.known_streams))),
    ]
}

fn text(value: &str) -> Parameter {
    Parameter::Text(Some(storable(value)))
}

/// `value` as it is stored: cut to [`TEXT_CHARS_MAX`], and with U+FFFD for NUL, which Postgres does not take.
fn storable(value: &str) -> String {
    value
        .chars()
        .take(TEXT_CHARS_MAX)
        .map(|char| if char == '\0' { char::REPLACEMENT_CHARACTER } else { char })
        .collect()
}

/// A time within what both databases keep to the millisecond.
fn time(value: Option<UnixMillis>) -> Parameter {
    Parameter::Integer(value.map(|at| at.clamp(UnixMillis(0), STORED_TIME_MAX).0))
}

fn count(value: Option<u64>) -> Parameter {
    Parameter::Integer(value.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
