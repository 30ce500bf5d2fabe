//! When nobody must be left in silence any longer: W1 to W4 and W11.

use super::admission::value;
use super::answers::Document;
use super::deployment::Deployment;
use super::duties::{Due, Duty};
use super::knows;
use super::tale::{Event, Told};
use callwarden_core::id::StreamId;
use callwarden_core::store::{FallbackReason, Refusal};
use callwarden_core::stream::{StreamCommand, Trouble};
use callwarden_core::time::Instant;
use std::time::Duration;

/// After a stream went away something must happen within this (W11).
const BRIDGE: Duration = Duration::from_secs(8);
/// After a repeated `<Connect>` (W11).
const BRIDGE_AFTER_CONNECT: Duration = Duration::from_secs(4);
/// `stream_ended` usually follows a `stream-error` (W4).
const ERROR_WAIT: Duration = Duration::from_millis(1_500);

/// What the watch over a call waits for.
#[derive(Clone, Copy, Debug)]
enum Watch {
    /// Nothing: somebody else looks after the call, or nobody needs to.
    Off,
    /// Then the call falls back.
    FallBack(Instant, FallbackReason, &'static str),
    /// Then Twilio is asked.
    Ask(Instant),
    /// Twilio has been asked.
    Asking,
}

/// What the watch of the call is due to do.
#[must_use]
pub fn due(told: &[Told], deployment: &Deployment) -> Option<Due> {
    if knows::is_claimed(told) || knows::over_since(told).is_some() || knows::is_recorded(told) {
        return None;
    }
    let mut watch = Watch::Off;
    for at in 0..told.len() {
        watch = after(watch, told, at, deployment);
    }
    let silent = knows::live(told).is_some() || !matches!(watch, Watch::Off);
    let moved = drained(told, deployment).filter(|_| silent && is_known(told));
    let moved = moved.map(|at| Due { at, duty: Duty::Claim(FallbackReason::StreamLost), rule: "section 8" });
    moved.into_iter().chain(watch.due(deployment)).min_by_key(|due| due.at)
}

impl Watch {
    fn due(self, deployment: &Deployment) -> Option<Due> {
        match self {
            Watch::Off | Watch::Asking => None,
            Watch::FallBack(at, reason, rule) => Some(Due { at, duty: Duty::Claim(reason), rule }),
            // Without credentials there is nobody to ask.
            Watch::Ask(_) if deployment.is_development() => None,
            Watch::Ask(at) => Some(Due { at, duty: Duty::LookUp, rule: "W11" }),
        }
    }
}

/// Whether the process has announced the call, or had a stream of it: one that it has merely heard of is not its own.
fn is_known(told: &[Told]) -> bool {
    let announces = |t: &Told| matches!(&t.event, Event::Asks { path, .. } if path == "/webhook/incoming_call");
    told.iter().any(announces) || !knows::accepted(told).is_empty()
}

/// When the time to stop is over, if it comes before anything else does: then what is still live is moved (section 8).
fn drained(told: &[Told], deployment: &Deployment) -> Option<Instant> {
    let told = told.iter().find(|t| matches!(t.event, Event::Drains))?;
    Some(told.at.mono + deployment.drain)
}

/// What the watch waits for after one more thing.
fn after(watch: Watch, told: &[Told], at: usize, deployment: &Deployment) -> Watch {
    let (before, now) = (&told[..at], told[at].at.mono);
    let of_live = |stream: StreamId| knows::live(before) == Some(stream);
    match &told[at].event {
        Event::Answers { ask, document } => match (fetched(before, *ask), document) {
            ("/webhook/incoming_call", Document::Connect { .. }) => announced(watch, before, now, deployment),
            ("/webhook/stream_ended", Document::Connect { .. }) if knows::live(before).is_none() => {
                Watch::Ask(now + BRIDGE_AFTER_CONNECT)
            }
            ("/webhook/incoming_call" | "/webhook/stream_ended" | "/webhook/handle_recording", document)
                if !matches!(document, Document::Connect { .. }) =>
            {
                Watch::Off
            }
            _ => watch,
        },
        Event::Asks { path, form, .. } if path == "/webhook/stream_status" => stream_status(watch, told, at, form),
        Event::Commands { command: StreamCommand::Accept, .. } | Event::Claims => Watch::Off,
        Event::Hears { stream, .. } if of_live(*stream) => Watch::Off,
        Event::Troubles { stream, trouble } if of_live(*stream) => trouble_of(*trouble, now),
        Event::Challenged { stream, fresh: true } if of_live(*stream) => Watch::Off,
        Event::Stops { stream, .. } | Event::Ends { stream, .. } if of_live(*stream) => Watch::Ask(now + BRIDGE),
        Event::ClaimAnswered { granted: Some(Err(Refusal::Held | Refusal::FellBack)) } => Watch::Ask(now + BRIDGE),
        // Somebody else has the caller, or there is none any more.
        Event::ClaimAnswered { granted: Some(Err(Refusal::Elsewhere | Refusal::Recorded | Refusal::Over)) } => {
            Watch::Off
        }
        Event::LooksUp { .. } => match watch {
            Watch::Ask(_) => Watch::Asking,
            other => other,
        },
        Event::LookedUp { .. } => match watch {
            // Whatever keeps it from being told over, a wrong token included, leaves the caller alive.
            Watch::Asking => Watch::FallBack(now, FallbackReason::StreamLost, "W11"),
            other => other,
        },
        _ => watch,
    }
}

/// The path of the request that an answer is for.
pub fn fetched(told: &[Told], of: usize) -> &str {
    let path = told.iter().find_map(|told| match &told.event {
        Event::Asks { ask, path, .. } if *ask == of => Some(path.as_str()),
        _ => None,
    });
    path.unwrap_or_default()
}

/// W1: the first document counts; after a `start` one more arms nothing (D5).
fn announced(watch: Watch, before: &[Told], now: Instant, deployment: &Deployment) -> Watch {
    let half = deployment.start_timeout / 2;
    let time = deployment.start_timeout.max(deployment.greeting + half);
    match watch {
        Watch::Off if knows::accepted(before).is_empty() => Watch::FallBack(now + time, FallbackReason::NoStart, "W1"),
        other => other,
    }
}

fn trouble_of(trouble: Trouble, now: Instant) -> Watch {
    match trouble {
        Trouble::Mute => Watch::FallBack(now, FallbackReason::NoMedia, "W2"),
        Trouble::Stalled => Watch::FallBack(now, FallbackReason::MediaStalled, "W3"),
        Trouble::Quiet => Watch::FallBack(now, FallbackReason::MediaQuiet, "W3"),
    }
}

/// W4 and W11: what Twilio says of the current stream.
fn stream_status(watch: Watch, told: &[Told], at: usize, form: &[(String, String)]) -> Watch {
    let (before, now) = (&told[..at], told[at].at.mono);
    if !has_stream(before) {
        return watch;
    }
    if value(form, "StreamEvent") == "stream-error" && !knows::was_heard(before) {
        return match watch {
            Watch::FallBack(due, ..) if due <= now + ERROR_WAIT => watch,
            _ => Watch::FallBack(now + ERROR_WAIT, FallbackReason::StreamError, "W4"),
        };
    }
    if value(form, "StreamEvent") == "stream-error" && matches!(watch, Watch::Off) {
        return Watch::Ask(now + BRIDGE);
    }
    watch
}

/// Whether the call is to have a stream, or has one: then an error can be about it. Assumed: so may a call of which
/// nothing is known, for another process may have announced it.
fn has_stream(told: &[Told]) -> bool {
    let last = told.iter().rev().find_map(|t| match &t.event {
        Event::Answers { document, .. } if *document != Document::None => Some(document),
        _ => None,
    });
    last.is_none_or(|last| matches!(last, Document::Connect { .. }))
}
