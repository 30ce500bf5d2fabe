//! What follows from a tale. Each question is asked of the whole of it and answered from its beginning.

use super::admission::value;
use super::answers::Document;
use super::delivery;
use super::tale::{Event, Found, Outcome, Told};
use callwarden_core::id::StreamId;
use callwarden_core::log::Event as Line;
use callwarden_core::stream::StreamCommand;
use callwarden_core::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// "No such call" means over when something agrees within this (W7).
pub const AGREEMENT: Duration = Duration::from_secs(5);
/// An entry of a call that ended leaves memory this long after the last word of it (W10).
const ENDED_KEPT: Duration = Duration::from_secs(60);
/// One of which nothing is heard, after this (W10).
const SILENT_ENTRY: Duration = Duration::from_secs(5 * 3_600);
/// A call that Twilio does not know is over after so many look-ups (T8).
const UNKNOWN_LOOK_UPS: u32 = 2;
/// One that it tells nothing of, after so many: a day (T8).
const LOOK_UPS_MAX: u32 = 26;
/// Twilio's words for a call that is over.
const TERMINAL: [&str; 5] = ["completed", "busy", "failed", "no-answer", "canceled"];

/// How the fallback of a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody wants it.
    None,
    /// The store was asked then.
    Asked(Instant),
    /// It is ours since then, or the store did not say.
    Held(Instant),
    /// Somebody else has it.
    Refused(Instant),
}

/// For each place in a tale, from where on the process remembers it (W10).
#[must_use]
pub fn memory(told: &[Told]) -> Vec<usize> {
    let mut from = 0;
    let begins = (0..told.len()).map(|at| {
        let known = &told[from..at];
        let over = over_since(known);
        let silent = last_word(known).max(over).map_or(Duration::ZERO, |last| told[at].at.mono.since(last));
        if silent > SILENT_ENTRY || silent > ENDED_KEPT && over.is_some() && !has_sockets(known) {
            from = at;
        }
        from
    });
    begins.collect()
}

/// When Twilio last said anything about the call, or one of its streams was let in.
fn last_word(told: &[Told]) -> Option<Instant> {
    let is_word =
        |t: &&Told| matches!(t.event, Event::Asks { .. } | Event::Commands { command: StreamCommand::Accept, .. });
    told.iter().rfind(is_word).map(|t| t.at.mono)
}

/// Whether the socket of one of its streams is still there.
fn has_sockets(told: &[Told]) -> bool {
    told.iter().any(|t| match t.event {
        Event::Presents { stream: of, .. } => {
            !told.iter().any(|t| matches!(t.event, Event::Ends { stream, .. } if stream == of))
        }
        _ => false,
    })
}

/// Whether a webhook says that its call is over (W6): one of those whose `CallStatus` Twilio documents, or the `Digits` of
/// the recording's `action`.
#[must_use]
pub fn says_over(path: &str, form: &[(String, String)]) -> bool {
    let tells = !["/webhook/stream_status", "/webhook/recording_status"].contains(&path);
    let hung_up = path == "/webhook/handle_recording" && value(form, "Digits") == "hangup";
    tells && TERMINAL.contains(&value(form, "CallStatus")) || hung_up
}

/// Since when the call is known to be over: a webhook says so, or W7 and W11 find it so.
#[must_use]
pub fn over_since(told: &[Told]) -> Option<Instant> {
    (0..told.len()).find_map(|at| {
        let over = match &told[at].event {
            Event::Asks { path, form, .. } => says_over(path, form),
            // What a process has forgotten its row still knows; who waits gets the recording document all the same.
            Event::RowSaysOver => !is_claimed(&told[..at]) && !delivery::is_asked_for(&told[..at]),
            Event::LookedUp { outcome: Outcome::Over } | Event::Inquired { outcome: Outcome::Over, .. } => true,
            Event::Inquired { outcome: Outcome::NoSuchCall, look_ups } => *look_ups >= UNKNOWN_LOOK_UPS,
            Event::Inquired { look_ups, .. } => *look_ups >= LOOK_UPS_MAX,
            Event::Updated { outcome: Outcome::NoSuchCall } => stopped_lately(&told[..at], told[at].at.mono),
            Event::Stops { .. } => agrees_late(told, at),
            _ => false,
        };
        over.then_some(told[at].at.mono)
    })
}

/// A `stop` within [`AGREEMENT`] after an update that found no such call, of a caller who was not heard since.
fn agrees_late(told: &[Told], at: usize) -> bool {
    let now = told[at].at.mono;
    let asked = told[..at].iter().rposition(|t| matches!(t.event, Event::Updated { .. }));
    let Some(asked) = asked.filter(|asked| now.since(told[*asked].at.mono) <= AGREEMENT) else { return false };
    let called_off = told[asked..at].iter().any(|t| is_called_off(&t.event));
    told[asked].event.is_update(Outcome::NoSuchCall) && !called_off && !is_closed_by_us(&told[..at])
}

impl Event {
    fn is_update(&self, of: Outcome) -> bool {
        matches!(self, Self::Updated { outcome } if *outcome == of)
    }
}

/// Whether Twilio ended the last stream within [`AGREEMENT`] before `now`, of its own accord and after the last document
/// that asked for one.
fn stopped_lately(told: &[Told], now: Instant) -> bool {
    let connected =
        told.iter().rposition(|t| matches!(t.event, Event::Answers { document: Document::Connect { .. }, .. }));
    let since = &told[connected.map_or(0, |at| at + 1)..];
    let lately = |t: &Told| matches!(t.event, Event::Stops { .. }) && now.since(t.at.mono) <= AGREEMENT;
    since.iter().any(lately) && !is_closed_by_us(since)
}

fn is_closed_by_us(told: &[Told]) -> bool {
    told.iter().any(|t| matches!(t.event, Event::Commands { command: StreamCommand::Close, .. }))
}

/// Whether the caller had finished (W12): whoever is being moved to a recording may yet speak there.
#[must_use]
pub fn has_finished(told: &[Told]) -> bool {
    let counts = |before: &[Told]| !is_claimed(before) && !is_recorded(before);
    (0..told.len()).any(|at| matches!(told[at].event, Event::FallsSilent { .. }) && counts(&told[..at]))
}

/// Whether the fallback is claimed, as far as this process has a say. A claim that the store refused is not its own, and
/// it does not say whose: assumed is that the process goes on without.
#[must_use]
pub fn is_claimed(told: &[Told]) -> bool {
    matches!(claim(told), Claim::Asked(_) | Claim::Held(_))
}

/// Whether a recording of the call has called back (W6).
#[must_use]
pub fn is_recorded(told: &[Told]) -> bool {
    told.iter().any(|t| matches!(&t.event, Event::Asks { path, .. } if is_of_recording(path)))
}

/// Whether a webhook is about a recording.
#[must_use]
pub fn is_of_recording(path: &str) -> bool {
    path == "/webhook/recording_status" || path == "/webhook/handle_recording"
}

/// Whether a recording of the call has ended; one that goes on has not. Assumed: `handle_recording` says so, while
/// `completed` says that its file is ready.
#[must_use]
pub fn has_recording_ended(told: &[Told]) -> bool {
    let goes_on = |of: usize| {
        let record =
            |t: &Told| matches!(t.event, Event::Answers { ask, document: Document::Record { .. } } if ask == of);
        told.iter().any(record)
    };
    told.iter().any(|t| match &t.event {
        Event::Asks { ask, path, .. } if path == "/webhook/handle_recording" => !goes_on(*ask),
        _ => false,
    })
}

/// The streams that were accepted, each once.
#[must_use]
pub fn accepted(told: &[Told]) -> BTreeSet<StreamId> {
    let of = told.iter().filter_map(|t| match t.event {
        Event::Commands { stream, command: StreamCommand::Accept } => Some(stream),
        _ => None,
    });
    of.collect()
}

/// The accepted stream that neither stopped nor ended, nor was displaced; `stream_ended` says that there is none.
#[must_use]
pub fn live(told: &[Told]) -> Option<StreamId> {
    let at = told.iter().rposition(|t| matches!(t.event, Event::Commands { command: StreamCommand::Accept, .. }))?;
    let Event::Commands { stream: of, .. } = told[at].event else { return None };
    let gone = told[at..].iter().any(|t| match t.event {
        Event::Stops { stream, .. } | Event::Ends { stream, .. } => stream == of,
        Event::Challenged { stream, fresh } => stream == of && !fresh,
        _ => false,
    });
    let over =
        told[at..].iter().any(|t| matches!(&t.event, Event::Asks { path, .. } if path == "/webhook/stream_ended"));
    let gone = gone || over;
    (!gone).then_some(of)
}

/// Whether any accepted stream ever carried a frame.
#[must_use]
pub fn was_heard(told: &[Told]) -> bool {
    let accepted = accepted(told);
    told.iter().any(|t| match t.event {
        Event::Hears { stream, .. } => accepted.contains(&stream),
        Event::Stops { stream, counts } | Event::Ends { stream, counts } => {
            accepted.contains(&stream) && counts.frames > 0
        }
        _ => false,
    })
}

/// Whether the live stream carries frames.
#[must_use]
pub fn is_heard(told: &[Told]) -> bool {
    let Some(of) = live(told) else { return false };
    let last = told.iter().rev().find_map(|t| match t.event {
        Event::Hears { stream, .. } if stream == of => Some(true),
        Event::Troubles { stream, .. } if stream == of => Some(false),
        _ => None,
    });
    last == Some(true)
}

/// Whether the process was told to stop.
#[must_use]
pub fn drains(told: &[Told]) -> bool {
    told.iter().any(|t| matches!(t.event, Event::Drains))
}

/// How the fallback stands.
#[must_use]
pub fn claim(told: &[Told]) -> Claim {
    let Some(at) = told.iter().rposition(|t| matches!(t.event, Event::Claims)) else { return Claim::None };
    let since = &told[at..];
    let given_back = since.iter().any(|t| is_called_off(&t.event));
    let answered = since.iter().find_map(|t| match t.event {
        Event::ClaimAnswered { granted } => Some((t.at.mono, granted)),
        _ => None,
    });
    match answered {
        _ if given_back => Claim::None,
        None => Claim::Asked(told[at].at.mono),
        // Whoever asked was answered with the recording all the same, and is being recorded.
        Some((at, Some(Err(_))))
            if since.iter().any(gives_recording) || went_nowhere(&told[..told.len() - since.len()]) =>
        {
            Claim::Held(at)
        }
        Some((at, Some(Err(_)))) => Claim::Refused(at),
        Some((at, Some(Ok(())) | None)) => Claim::Held(at),
    }
}

/// Whether a fallback counted as arrived by the least that tells so, and what the store says of it is the process's own
/// word. When it is claimed once more, it went nowhere (W5).
#[must_use]
pub fn went_nowhere(told: &[Told]) -> bool {
    let given = (0..told.len()).any(|at| gives_recording(&told[at]) && is_claimed(&told[..at]));
    let ends = (0..told.len()).filter(|at| matches!(told[*at].event, Event::Claims)).chain([told.len()]);
    given || ends.into_iter().any(|end| signs(&told[..end]).is_some())
}

/// Whether a fallback was called off (W6).
#[must_use]
pub fn is_called_off(event: &Event) -> bool {
    matches!(event, Event::Logs { event: Line::WatchdogCancelled, .. })
}

/// The tale since the fallback was last claimed.
#[must_use]
pub fn since_claim(told: &[Told]) -> &[Told] {
    let at = told.iter().rposition(|t| matches!(t.event, Event::Claims)).unwrap_or(told.len());
    &told[at..]
}

/// Whether the fallback has arrived for sure (W5): an update was accepted, an answer was given, a recording called back,
/// or an ambiguous update left signs (W7).
#[must_use]
pub fn is_confirmed(told: &[Told]) -> bool {
    if !matches!(claim(told), Claim::Held(_)) {
        return false;
    }
    is_proved(told) || is_taken_since(told).is_some()
}

/// Since when the fallback counts as arrived by the least that tells so: somebody was given the recording document, or an
/// ambiguous update left signs. Both may be about somebody else.
#[must_use]
pub fn is_taken_since(told: &[Told]) -> Option<Instant> {
    let given = since_claim(told).iter().rfind(|t| gives_recording(t)).map(|t| t.at.mono);
    given.max(signs(told))
}

/// Whether more tells so than that.
#[must_use]
pub fn is_proved(told: &[Told]) -> bool {
    let proves = |t: &Told| match &t.event {
        Event::Updated { outcome: Outcome::Fine } | Event::Searched { outcome: Found::Some } => true,
        Event::Asks { path, .. } => is_of_recording(path),
        _ => false,
    };
    since_claim(told).iter().any(proves)
}

/// Whether somebody was given the recording document.
#[must_use]
pub fn gives_recording(told: &Told) -> bool {
    matches!(told.event, Event::Answers { document: Document::Record { .. }, .. })
}

/// When something showed that an update without an answer was acted upon: what ended the stream was not us.
fn signs(told: &[Told]) -> Option<Instant> {
    let begun = told.len() - since_claim(told).len();
    let since = &told[begun..];
    let sent = since.iter().position(|t| matches!(t.event, Event::Updates { .. }))?;
    let closed = since.iter().position(|t| matches!(t.event, Event::Commands { command: StreamCommand::Close, .. }));
    let until = closed.unwrap_or(since.len()).max(sent);
    let sign = (begun + sent..begun + until).find(|at| ends_current(&told[..*at], &told[*at].event))?;
    // While an update is awaited, its answer is what has to be ambiguous.
    let is_of_update = |t: &Told| matches!(t.event, Event::Updates { .. } | Event::Updated { .. });
    if told[begun..sign].iter().any(|t| is_called_off(&t.event)) {
        return None;
    }
    let last = told[begun..sign].iter().rfind(|t| is_of_update(t))?;
    if last.event.is_update(Outcome::Ambiguous) {
        return Some(told[sign].at.mono);
    }
    let answer = told[sign..].iter().find(|t| is_of_update(t))?;
    answer.event.is_update(Outcome::Ambiguous).then_some(answer.at.mono)
}

/// Whether it is news of the last stream that it is over. After a later document nothing that is told of it is news.
fn ends_current(before: &[Told], event: &Event) -> bool {
    let accept = before.iter().rposition(|t| matches!(t.event, Event::Commands { command: StreamCommand::Accept, .. }));
    let Some(accept) = accept else { return false };
    let Event::Commands { stream: last, .. } = before[accept].event else { return false };
    let answered = before[accept..]
        .iter()
        .any(|t| matches!(&t.event, Event::Asks { path, .. } if path == "/webhook/stream_ended"));
    match event {
        Event::Stops { stream, .. } | Event::Ends { stream, .. } => *stream == last && !answered,
        Event::Asks { form, .. } if value(form, "StreamEvent") == "stream-stopped" => {
            let sid = value(form, "StreamSid");
            !answered && (sid.is_empty() || is_presented(before, last, sid))
        }
        _ => false,
    }
}

fn is_presented(told: &[Told], of: StreamId, sid: &str) -> bool {
    told.iter().any(|t| match &t.event {
        Event::Presents { stream, start, .. } => *stream == of && start.stream.as_str() == sid,
        _ => false,
    })
}
