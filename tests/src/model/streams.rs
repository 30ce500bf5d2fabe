//! Which `start` is accepted: section 4, S8, W6.

use super::duties::{Due, Duty};
use super::knows::{self, Claim};
use super::tale::{Event, Told};
use callwarden_core::id::StreamId;
use callwarden_core::sid::StreamSid;
use callwarden_core::stream::StreamCommand;
use callwarden_core::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// A stream that does not say within this whether it is heard is displaced (S8).
const CHALLENGE_TIME: Duration = Duration::from_secs(1);
/// Distinct streams that one call may start.
const STREAMS_SEEN_MAX: usize = 16;

/// Whether a command is one that the model foresees.
#[must_use]
pub fn is_judged(command: StreamCommand) -> bool {
    matches!(command, StreamCommand::Accept | StreamCommand::Refuse)
}

/// The verdicts that are due.
#[must_use]
pub fn dues(told: &[Told]) -> Vec<Due> {
    let waiting = (0..told.len()).filter_map(|at| match &told[at].event {
        Event::Presents { stream, start, admitted } if !is_settled(&told[at..], *stream) => {
            Some((at, *stream, start.stream, *admitted))
        }
        _ => None,
    });
    waiting.filter_map(|(at, stream, sid, admitted)| verdict(told, at, stream, sid, admitted)).collect()
}

/// Whether a stream that was presented got its verdict, or went away without one.
fn is_settled(since: &[Told], of: StreamId) -> bool {
    since.iter().any(|t| match t.event {
        Event::Commands { stream, command } => stream == of && is_judged(command),
        Event::Ends { stream, .. } => stream == of,
        _ => false,
    })
}

fn verdict(told: &[Told], at: usize, stream: StreamId, sid: StreamSid, admitted: bool) -> Option<Due> {
    let (before, now) = (&told[..at], told[at].at.mono);
    let tell = |at: Instant, command, rule| Some(Due { at, duty: Duty::Tell(stream, command), rule });
    if !admitted {
        return tell(now, StreamCommand::Refuse, "section 4");
    }
    // What happens while it waits counts too.
    if knows::over_since(told).is_some() || is_too_late(told) {
        return tell(now, StreamCommand::Refuse, "W6");
    }
    let mut seen = seen(before);
    seen.insert(sid);
    if seen.len() > STREAMS_SEEN_MAX {
        return tell(now, StreamCommand::Refuse, "too many streams");
    }
    let Some(live) = knows::live(before).filter(|live| *live != stream) else {
        return tell(now, StreamCommand::Accept, "W6");
    };
    if another_waits(before) {
        return tell(now, StreamCommand::Refuse, "S8");
    }
    let answer = told[at..].iter().find_map(|t| match t.event {
        Event::Challenged { stream, fresh } if stream == live => Some((t.at.mono, fresh)),
        Event::Ends { stream, .. } if stream == live => Some((t.at.mono, false)),
        _ => None,
    });
    match answer {
        Some((at, true)) => tell(at, StreamCommand::Refuse, "S8"),
        Some((at, false)) => tell(at, StreamCommand::Accept, "S8"),
        None => tell(now + CHALLENGE_TIME, StreamCommand::Accept, "S8"),
    }
}

/// Whether a newcomer waits already: one at a time is let try.
fn another_waits(told: &[Told]) -> bool {
    (0..told.len()).any(|at| match told[at].event {
        Event::Presents { stream, admitted: true, .. } => !is_settled(&told[at..], stream),
        _ => false,
    })
}

/// W6: after confirmation, and where a recording was asked for or runs.
fn is_too_late(told: &[Told]) -> bool {
    knows::is_confirmed(told)
        || knows::went_nowhere(told)
        || knows::is_recorded(told)
        || knows::has_finished(told)
        || matches!(knows::claim(told), Claim::Refused(_))
}

fn seen(told: &[Told]) -> BTreeSet<StreamSid> {
    let accepted = knows::accepted(told);
    let of = told.iter().filter_map(|t| match &t.event {
        Event::Presents { stream, start, .. } if accepted.contains(stream) => Some(start.stream),
        _ => None,
    });
    of.collect()
}
