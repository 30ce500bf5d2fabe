//! The document that each request must be answered with.

use super::Disagreement;
use super::admission::value;
use super::deployment::Deployment;
use super::duties::{Due, Duty};
use super::knows;
use super::tale::{Event, Tale, Told};
use callwarden_core::http::Response;
use callwarden_core::store::FallbackReason;
use callwarden_core::stream::StreamCommand;
use callwarden_core::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a document does, found by looking for its verbs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the documents in section 5")]
pub enum Document {
    Connect {
        greeting: bool,
        call: String,
        token: String,
    },
    Record {
        prompt: bool,
    },
    Goodbye,
    HangUp,
    Empty,
    /// No TwiML.
    None,
    /// Verbs that do not go together.
    Confused,
}

/// A kind of [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as those of the document")]
pub enum Kind {
    Connect,
    /// `<Connect>` without a greeting.
    Reconnect,
    Record,
    /// `<Record>` without a prompt.
    GoOn,
    Goodbye,
    Empty,
    None,
    HangUp,
}

/// The document in an answer.
#[must_use]
pub fn document(response: &Response) -> Document {
    Document::read(&String::from_utf8_lossy(&response.body))
}

impl Document {
    /// What a text does.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let has = |verb: &str| text.contains(verb);
        let says = has("<Say") || has("<Play");
        match (has("<Connect"), has("<Record"), has("<Hangup"), says) {
            (true, false, false, greeting) => {
                Self::Connect { greeting, call: parameter(text, "call_sid"), token: parameter(text, "token") }
            }
            (false, true, false, prompt) => Self::Record { prompt },
            (false, false, true, true) => Self::Goodbye,
            (false, false, true, false) => Self::HangUp,
            (false, false, false, false) if has("<Response") => Self::Empty,
            (false, false, false, false) if text.is_empty() => Self::None,
            _ => Self::Confused,
        }
    }

    fn is(&self, kind: Kind, deployment: &Deployment) -> bool {
        match kind {
            Kind::Connect => {
                matches!(self, Self::Connect { greeting, .. } if *greeting != deployment.greeting.is_zero())
            }
            Kind::Reconnect => matches!(self, Self::Connect { greeting: false, .. }),
            Kind::Record => *self == Self::Record { prompt: deployment.has_fallback },
            Kind::GoOn => *self == Self::Record { prompt: false },
            Kind::Goodbye => *self == if deployment.has_goodbye { Self::Goodbye } else { Self::HangUp },
            Kind::HangUp => *self == Self::HangUp,
            Kind::Empty => *self == Self::Empty,
            Kind::None => *self == Self::None,
        }
    }
}

fn parameter(text: &str, name: &str) -> String {
    let rest = text.split_once(&format!("name=\"{name}\" value=\"")).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// A `stream_ended` this soon after one that was answered with `<Connect>` is its repeat (D5).
const REPEAT_TIME: Duration = Duration::from_millis(200);
/// The longest wait for what a row says.
const ROW_READ_TIME: Duration = Duration::from_millis(500);
/// The longest wait for a call's own row (D1).
const ROW_TIME: Duration = Duration::from_secs(1);
/// Streams of one call (the `stream_ended` table).
const STREAMS_MAX: usize = 3;
/// A recording of so many seconds hit its length.
const RECORDING_SECONDS: u64 = 120;
/// It goes on this often.
const GOES_ON_MAX: usize = 2;

/// Checks the answer to every webhook of a call.
pub fn check(tale: &Tale, deployment: &Deployment, found: &mut Vec<Disagreement>) {
    for (at, told) in tale.told.iter().enumerate() {
        let Event::Answers { ask, document } = &told.event else { continue };
        let before = tale.before(at);
        let asked = before.iter().find_map(|told| match &told.event {
            Event::Asks { ask: this, path, form } if this == ask => Some((path, form, told.at.mono)),
            _ => None,
        });
        let Some((path, form, since)) = asked else { continue };
        let (rule, kind) = expected(before, path, form, since, deployment);
        let fits = document.is(kind, deployment) && is_for(document, tale);
        if !fits {
            let given = format!("{path} was answered with {document:?}");
            found.push(Disagreement::new(rule, told.at, format!("{kind:?}"), given).in_tale(&tale.told[..=at]));
        }
    }
}

fn is_for(document: &Document, tale: &Tale) -> bool {
    match document {
        Document::Connect { call, token, .. } => *call == tale.call.to_string() && token.split('.').count() == 4,
        _ => true,
    }
}

/// What a request must be answered with, and the rule that says so.
fn expected(
    told: &[Told],
    path: &str,
    form: &[(String, String)],
    since: Instant,
    deployment: &Deployment,
) -> (&'static str, Kind) {
    match path {
        "/webhook/incoming_call" => incoming_call(told, form, deployment),
        "/webhook/stream_ended" => stream_ended(told, since, deployment),
        "/webhook/handle_recording" => handle_recording(told),
        _ => ("section 3", Kind::None),
    }
}

/// The claim that a waiting request makes: the answer that moves its call to a recording is a fallback (W4, W5).
#[must_use]
pub fn claim(told: &[Told], deployment: &Deployment) -> Option<Due> {
    let waiting = (0..told.len()).filter_map(|at| match &told[at].event {
        Event::Asks { ask, path, form } if !is_answered(told, *ask) => Some((path, form, at)),
        _ => None,
    });
    let reason = if knows::was_heard(told) { FallbackReason::StreamLost } else { FallbackReason::StreamError };
    if knows::is_claimed(told) || knows::is_recorded(told) {
        return None;
    }
    let dues = waiting.filter_map(|(path, form, at)| {
        let now = told[at].at.mono;
        let (rule, kind) = expected(told, path, form, now, deployment);
        let due = match path.as_str() {
            "/webhook/stream_ended" => Some(row_read(told, now)),
            "/webhook/incoming_call" if !value(form, "ErrorCode").is_empty() => Some(now),
            // Assumed: a process that stops moves a call that had a document with a stream, or still waits for it.
            "/webhook/incoming_call" if was_announced_before_a_drain(told, at) => Some(row_stored(told, at)),
            _ => None,
        };
        due.filter(|_| kind == Kind::Record).map(|at| Due { at, duty: Duty::Claim(reason), rule })
    });
    dues.min_by_key(|due| due.at)
}

fn is_answered(told: &[Told], ask: usize) -> bool {
    told.iter().any(|t| matches!(t.event, Event::Answers { ask: of, .. } if of == ask))
}

/// Before a stream's end is judged the row is read, for another process may have had the stream: so long that takes.
/// Assumed: where the call's first row is being written, that ends the wait too.
fn row_read(told: &[Told], asked: Instant) -> Instant {
    let Some(sought) = told.iter().rposition(|t| matches!(t.event, Event::SeeksRow)) else { return asked };
    let is_first = told[..sought].iter().any(|t| match &t.event {
        Event::Asks { ask, path, .. } if path == "/webhook/incoming_call" => !is_answered(&told[..sought], *ask),
        _ => false,
    });
    let is_there = |t: &&Told| match t.event {
        Event::RowRead => true,
        Event::RowStored { .. } => is_first,
        _ => false,
    };
    let read = told[sought..].iter().find(is_there).map(|t| t.at.mono);
    asked.max(read.unwrap_or(told[sought].at.mono + ROW_READ_TIME))
}

/// Whoever is first to ask about a call waits for its row, and whoever asks again meanwhile waits too; they are answered
/// by what is right when it is there (D1). After the drain began it is right at once.
fn row_stored(told: &[Told], at: usize) -> Instant {
    let asked = told[at].at.mono;
    let waits = |t: &Told| match &t.event {
        Event::Asks { ask, path, .. } => path == "/webhook/incoming_call" && !is_answered(told, *ask),
        _ => false,
    };
    let first = told.iter().position(waits).filter(|_| !knows::drains(&told[..at])).unwrap_or(at);
    let begun = told[first].at.mono;
    let of_it = |t: &Told| matches!(t.event, Event::Stores) && t.at.mono == begun;
    let Some(stores) = told[first..].iter().position(of_it) else { return asked };
    let stored = told[first + stores..].iter().find(|t| matches!(t.event, Event::RowStored { .. })).map(|t| t.at.mono);
    stored.unwrap_or(begun + ROW_TIME).max(asked)
}

fn incoming_call(told: &[Told], form: &[(String, String)], deployment: &Deployment) -> (&'static str, Kind) {
    if knows::over_since(told).is_some() {
        ("W6", Kind::Empty)
    } else if knows::has_recording_ended(told) {
        // As in the table of `stream_ended`, where D5 is silent.
        ("W6", Kind::HangUp)
    } else if knows::is_claimed(told) || !value(form, "ErrorCode").is_empty() {
        ("D5", Kind::Record)
    } else if !deployment.streaming || knows::drains(told) && !knows::is_heard(told) {
        ("section 5", Kind::Record)
    } else if knows::is_recorded(told) {
        ("W6", Kind::Record)
    } else {
        ("section 5", Kind::Connect)
    }
}

/// The table of section 6, from the top.
fn stream_ended(told: &[Told], since: Instant, deployment: &Deployment) -> (&'static str, Kind) {
    let connects = connects(since_start(told));
    let is_repeat = connects.last().is_some_and(|last| since.since(*last) <= REPEAT_TIME);
    // A repeat (D5) of an answer is none of its own.
    let in_vain = connects.chunk_by(|one, next| next.since(*one) <= REPEAT_TIME).count();
    if knows::over_since(told).is_some() {
        ("stream_ended: over", Kind::Empty)
    } else if knows::has_finished(told) {
        ("stream_ended: finished (W12)", Kind::Goodbye)
    } else if knows::has_recording_ended(told) {
        ("stream_ended: a recording has ended", Kind::HangUp)
    } else if knows::is_claimed(told) {
        ("stream_ended: claimed (W5)", Kind::Record)
    } else if !knows::was_heard(told) {
        ("stream_ended: no frame ever (W4)", Kind::Record)
    } else if streams(told) < STREAMS_MAX
        && (in_vain < STREAMS_MAX || is_repeat)
        && !knows::drains(told)
        && deployment.streaming
    {
        ("stream_ended: frames seen", Kind::Reconnect)
    } else {
        ("stream_ended: anything else", Kind::Record)
    }
}

/// Whether the call was announced before the process began to stop, by the request at this place at the latest.
fn was_announced_before_a_drain(told: &[Told], at: usize) -> bool {
    let drains = told.iter().position(|t| matches!(t.event, Event::Drains));
    told[..drains.unwrap_or_default().min(at + 1)]
        .iter()
        .any(|t| matches!(&t.event, Event::Asks { path, .. } if path == "/webhook/incoming_call"))
}

/// The tale since a stream last started: what was given before was not in vain.
fn since_start(told: &[Told]) -> &[Told] {
    let started = told.iter().rposition(|t| matches!(t.event, Event::Commands { command: StreamCommand::Accept, .. }));
    &told[started.unwrap_or_default()..]
}

/// When `stream_ended` was answered with a stream.
fn connects(told: &[Told]) -> Vec<Instant> {
    let is_of = |ask: usize| {
        told.iter().any(|told| {
            matches!(&told.event, Event::Asks { ask: this, path, .. } if *this == ask && path == "/webhook/stream_ended")
        })
    };
    let at = told.iter().filter_map(|told| match &told.event {
        Event::Answers { ask, document: Document::Connect { .. } } if is_of(*ask) => Some(told.at.mono),
        _ => None,
    });
    at.collect()
}

/// The distinct streams so far: those accepted, and those that Twilio says have ended and that never got here.
fn streams(told: &[Told]) -> usize {
    let accepted = knows::accepted(told);
    let started = told.iter().filter_map(|t| match &t.event {
        Event::Presents { stream, start, .. } if accepted.contains(stream) => Some(start.stream.to_string()),
        Event::Asks { form, .. } if value(form, "StreamEvent") == "stream-stopped" => {
            Some(value(form, "StreamSid").to_owned()).filter(|sid| sid.starts_with("MZ"))
        }
        _ => None,
    });
    started.collect::<BTreeSet<_>>().len()
}

fn handle_recording(told: &[Told]) -> (&'static str, Kind) {
    let mut full: Vec<&str> = Vec::new();
    let mut last = false;
    for event in told {
        if let Event::Asks { path, form, .. } = &event.event
            && path == "/webhook/handle_recording"
        {
            let sid = value(form, "RecordingSid");
            last = value(form, "RecordingDuration").parse::<u64>().is_ok_and(|seconds| seconds >= RECORDING_SECONDS);
            last &= value(form, "Digits").is_empty();
            last &= full.iter().take(GOES_ON_MAX).any(|other| *other == sid) || full.len() < GOES_ON_MAX;
            if last && !full.contains(&sid) {
                full.push(sid);
            }
        }
    }
    match (knows::over_since(told), last) {
        (Some(_), _) => ("W6", Kind::Empty),
        (None, true) => ("section 5", Kind::GoOn),
        (None, false) => ("section 5", Kind::Goodbye),
    }
}
