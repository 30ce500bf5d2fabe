//! What the facts about a call come to in its row, once everything is written: D1, D2, W9.

use super::admission::value;
use super::deployment::Deployment;
use super::tale::{Event, Outcome, Tale};
use super::{Disagreement, Life, What, knows};
use callwarden_core::log::Event as Line;
use callwarden_core::store::{CallFact, Source, StoreAnswer, StoreError, TranscriptStart};
use callwarden_core::stream::StreamCommand;
use callwarden_core::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// After this long without news, and with a database that works, nothing is left to be written.
const SETTLED: Duration = Duration::from_secs(12);
/// From the lowest to the highest (D2).
const STATUSES: [&str; 10] = [
    "queued",
    "initiated",
    "ringing",
    "in-progress",
    "stream_closed",
    "canceled",
    "no-answer",
    "busy",
    "failed",
    "completed",
];

/// Compares the row of each call with what was heard of it, if the process lived through all of it.
pub fn check(life: &Life, tale: &Tale, deployment: &Deployment, found: &mut Vec<Disagreement>) {
    let last = tale.told.last().map_or(tale.end, |told| told.at);
    if tale.end.mono.since(last.mono.max(failed(life))) < SETTLED
        || tale.before(tale.told.len()).len() < tale.told.len()
    {
        return;
    }
    let facts: Vec<&CallFact> = facts(life, tale);
    for (rule, model, row) in columns(tale, &facts, deployment) {
        if model != row {
            found.push(Disagreement::new(rule, last, model, row).in_tale(&tale.told));
        }
    }
}

/// When the database last failed.
fn failed(life: &Life) -> Instant {
    let bad = |result: &Result<StoreAnswer, StoreError>| result.is_err();
    let last =
        life.moments.iter().rev().find(|moment| matches!(&moment.what, What::Stored { result, .. } if bad(result)));
    last.map_or(Instant::default(), |moment| moment.at.mono)
}

fn facts<'a>(life: &'a Life, tale: &Tale) -> Vec<&'a CallFact> {
    let all = life.moments.iter().filter_map(|moment| match &moment.what {
        What::Storing { facts, .. } => Some(facts),
        _ => None,
    });
    all.flatten().filter(|fact| fact.call == tale.call).collect()
}

/// Each column that the model foresees: the rule, what it should hold, what it holds.
fn columns(tale: &Tale, facts: &[&CallFact], deployment: &Deployment) -> Vec<(&'static str, String, String)> {
    let told = &tale.told;
    let mut columns = Vec::new();
    let mut column = |rule, name: &str, model: String, row: String| {
        columns.push((rule, format!("{name} {model}"), format!("{name} {row}")));
    };
    let sids: BTreeSet<&str> = started(tale);
    let row_streams = facts.iter().filter_map(|fact| fact.stream).map(|(ordinal, _)| ordinal as usize).max();
    column("D2", "streams", sids.len().to_string(), row_streams.unwrap_or_default().to_string());
    let row_frames = facts.iter().filter_map(|fact| fact.frames).max().unwrap_or_default();
    column("D2", "frames", frames(tale).to_string(), row_frames.to_string());
    if let Some(model) = status(tale) {
        let row = facts.iter().filter_map(|fact| fact.status).map(|status| status.as_str());
        let row = row.max_by_key(|status| rank(status)).unwrap_or("unknown");
        column("D2", "status", model.to_owned(), row.to_owned());
    }
    let row_source = facts.iter().filter_map(|fact| fact.source).min();
    column("D1", "source", format!("{:?}", source(tale, deployment)), format!("{row_source:?}"));
    let has_end = facts.iter().any(|fact| fact.ended_at.is_some());
    column("W6", "ended", knows::over_since(told).is_some().to_string(), has_end.to_string());
    let reason = facts.iter().filter_map(|fact| fact.fallback).min().map(|(_, reason)| reason.as_str());
    if knows::is_confirmed(told) {
        column("W9", "fallback_reason", format!("{:?}", said_reason(tale)), format!("{reason:?}"));
        let has_story = facts.iter().any(|fact| fact.how_far.is_some());
        column("W9", "how_far", "given".to_owned(), if has_story { "given" } else { "missing" }.to_owned());
    } else if !told.iter().any(|t| matches!(t.event, Event::Claims)) {
        column("W6", "fallback_reason", "None".to_owned(), format!("{reason:?}"));
    }
    if row_source.is_some() {
        let begins = if deployment.transcribes { TranscriptStart::Pending } else { TranscriptStart::Disabled };
        let row = facts.iter().filter_map(|fact| fact.transcript).max();
        column("T7", "transcript_status", format!("{:?}", Some(begins)), format!("{row:?}"));
    }
    columns
}

fn started(tale: &Tale) -> BTreeSet<&str> {
    let accepted = knows::accepted(&tale.told);
    let of = tale.told.iter().filter_map(|t| match &t.event {
        Event::Presents { stream, start, .. } if accepted.contains(stream) => Some(start.stream.as_str()),
        _ => None,
    });
    of.collect()
}

/// The frames of all streams that ended.
fn frames(tale: &Tale) -> u64 {
    let accepted = knows::accepted(&tale.told);
    let of = tale.told.iter().map(|t| match t.event {
        Event::Ends { stream, counts } if accepted.contains(&stream) => counts.frames,
        _ => 0,
    });
    of.sum()
}

fn rank(status: &str) -> usize {
    STATUSES.iter().position(|other| *other == status).unwrap_or_default()
}

/// The highest status that was told; `None` where a look-up found one, whose words the tale does not keep.
fn status(tale: &Tale) -> Option<&str> {
    let accepted = knows::accepted(&tale.told);
    let mut all = vec!["unknown"];
    let mut announced = false;
    for told in &tale.told {
        match &told.event {
            Event::LookedUp { outcome: Outcome::Over } | Event::Inquired { .. } => return None,
            Event::Commands { command: StreamCommand::Accept, .. } => all.push("in-progress"),
            Event::Ends { stream, .. } if accepted.contains(stream) => all.push("stream_closed"),
            // A repeated announcement is one row (D5).
            Event::Asks { path, form, .. }
                if path == "/webhook/incoming_call" && announced && !knows::says_over(path, form) => {}
            Event::Asks { path, form, .. } => {
                announced |= path == "/webhook/incoming_call";
                all.extend(status_in(path, form));
            }
            _ => {}
        }
    }
    all.into_iter().max_by_key(|status| rank(status))
}

fn status_in<'a>(path: &str, form: &'a [(String, String)]) -> Option<&'a str> {
    let told = Some(value(form, "CallStatus")).filter(|status| STATUSES.contains(status) && *status != "stream_closed");
    match path {
        "/webhook/incoming_call" => told.or(Some("ringing")),
        "/webhook/call_status" => told,
        "/webhook/stream_ended" => told.filter(|_| knows::says_over(path, form)),
        "/webhook/handle_recording" if value(form, "Digits") == "hangup" => Some("completed"),
        "/webhook/handle_recording" => told.filter(|_| knows::says_over(path, form)),
        _ => None,
    }
}

/// What the first document asked for.
fn source(tale: &Tale, deployment: &Deployment) -> Option<Source> {
    let asked = tale
        .told
        .iter()
        .position(|t| matches!(&t.event, Event::Asks { path, .. } if path == "/webhook/incoming_call"))?;
    let records = !deployment.streaming || knows::drains(&tale.told[..asked]);
    Some(if records { Source::Recording } else { Source::Stream })
}

fn said_reason(tale: &Tale) -> Option<&str> {
    tale.told.iter().rev().find_map(|t| match &t.event {
        Event::Logs { event: Line::WatchdogRedirect, reason, .. } => Some(reason.as_str()),
        _ => None,
    })
}
