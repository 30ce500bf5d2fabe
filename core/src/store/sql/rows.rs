//! Rows that statements return, as the values they stand for.

use super::{Column, Parameter};
use crate::store::{KnownCall, Origin, OverdueCall, Refusal, SegmentKey, Source, TakenRecording, WaitingSegment};
use crate::time::UnixMillis;
use core::time::Duration;

/// The columns of a taken recording.
pub(super) const RECORDING: &[Column] =
    &[Column::Text, Column::Text, Column::Text, Column::Integer, Column::Integer, Column::Integer, Column::Text];
/// The columns of an overdue call.
pub(super) const OVERDUE: &[Column] = &[Column::Text, Column::Text, Column::Integer, Column::Integer];
/// The columns of a known call.
pub(super) const KNOWN_CALL: &[Column] = &[
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Integer,
    Column::Text,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
];
/// The column of a claim's refusal.
pub(super) const REFUSAL: &[Column] = &[Column::Text];
/// The columns of a segment's key.
pub(super) const KEY: &[Column] = &[Column::Text, Column::Text, Column::Integer];
/// The columns of a waiting segment.
pub(super) const SEGMENT: &[Column] =
    &[Column::Text, Column::Text, Column::Integer, Column::Text, Column::Integer, Column::Integer, Column::Integer];

/// Reads every row. One that is not of this program's making (an edited table) is passed over: nothing can be done
/// with it.
pub(super) fn read<T>(rows: &[Vec<Parameter>], one: impl Fn(&[Parameter]) -> Option<T>) -> Vec<T> {
    rows.iter().filter_map(|row| one(row)).collect()
}

pub(super) fn recording(row: &[Parameter]) -> Option<TakenRecording> {
    let [recording, call, account, created_at, attempt, failed, done] = row else { return None };
    Some(TakenRecording {
        recording: text(recording)?.parse().ok()?,
        call: text(call)?.parse().ok()?,
        account: text(account).and_then(|sid| sid.parse().ok()),
        created_at: UnixMillis(integer(created_at)?),
        attempt: integer(attempt)?.try_into().ok()?,
        failed: integer(failed)? != 0,
        done: text(done).unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect(),
    })
}

pub(super) fn overdue(row: &[Parameter]) -> Option<OverdueCall> {
    let [call, account, look_ups, ended] = row else { return None };
    Some(OverdueCall {
        call: text(call)?.parse().ok()?,
        account: text(account).and_then(|sid| sid.parse().ok()),
        look_ups: integer(look_ups)?.try_into().ok()?,
        ended: integer(ended)? != 0,
    })
}

pub(super) fn known_call(row: &[Parameter]) -> Option<KnownCall> {
    let [call, account, host, source, streams, stream, heard, finished, age, recorded] = row else { return None };
    Some(KnownCall {
        call: text(call)?.parse().ok()?,
        account: text(account).and_then(|sid| sid.parse().ok()),
        host: text(host).map(str::to_owned),
        source: text(source).and_then(Source::parse),
        streams: integer(streams)?.try_into().ok()?,
        stream: text(stream).and_then(|sid| sid.parse().ok()),
        heard: integer(heard)? != 0,
        finished: integer(finished)? != 0,
        age: Duration::from_millis(integer(age)?.try_into().ok()?),
        recorded: integer(recorded)? != 0,
    })
}

pub(super) fn refusal(row: &[Parameter]) -> Option<Refusal> {
    let [reason] = row else { return None };
    Refusal::parse(text(reason)?)
}

pub(super) fn key(row: &[Parameter]) -> Option<SegmentKey> {
    let [call, origin, sequence] = row else { return None };
    Some(SegmentKey {
        call: text(call)?.parse().ok()?,
        origin: Origin::parse(text(origin)?)?,
        sequence: integer(sequence)?.try_into().ok()?,
    })
}

pub(super) fn segment(row: &[Parameter]) -> Option<WaitingSegment> {
    let (first, rest) = row.split_at_checked(KEY.len())?;
    let [node, started_at, from, to] = rest else { return None };
    let span = |value| Some(Duration::from_millis(integer(value)?.try_into().ok()?));
    Some(WaitingSegment {
        key: key(first)?,
        node: text(node)?.to_owned(),
        started_at: UnixMillis(integer(started_at)?),
        from: span(from)?,
        to: span(to)?,
    })
}

fn text(value: &Parameter) -> Option<&str> {
    match value {
        Parameter::Text(text) => text.as_deref(),
        Parameter::Integer(_) => None,
    }
}

const fn integer(value: &Parameter) -> Option<i64> {
    match value {
        Parameter::Integer(number) => *number,
        Parameter::Text(_) => None,
    }
}
