//! What a caller went through, judged from the far end's ledger when everything is over: I11 with its bounds, what
//! Twilio would complain about (I6), and whether the rows tell the same story (I12, W9).
//!
//! The bound of a silence is what each stream that was asked for within it may cost by its own fault, and what each
//! trouble that befell the call within it may cost. A silence in which nothing went wrong is bounded by the network.

use super::Stats;
use super::play::{Play, milliseconds, name};
use crate::script::{self, AfterFailure, Happening, Stream};
use crate::world::{Hook, HookFault, Trouble};
use callwarden_core::far_end::{EndedBy, Heard, Ledger};
use callwarden_core::limits;
use callwarden_core::store::CallStatus;
use callwarden_core::time::Instant;
use std::time::Duration;

/// The network and the last look: what no deadline of ours counts.
const SLACK: Duration = Duration::from_millis(1_200);
/// What a claim that another process may have taken costs: look-ups until it has run out.
const ANOTHER_NODE: Duration = Duration::from_secs(18);
/// Twilio's complaints about a server: messages or documents that are not what it asks for.
const COMPLAINTS: [u32; 12] = [11100, 11200, 11242, 11750, 11770, 12100, 12200, 12300, 13511, 31922, 31950, 31951];

/// A stretch in which nobody listened to the caller.
#[derive(Clone, Copy, Debug)]
struct Silence {
    from: Instant,
    to: Instant,
    /// The part in which a stream carried the silence of a caller who said nothing.
    carried: Duration,
}

/// Judges a call that is over.
pub(super) fn judge(play: &Play<'_>, call: usize, stats: &mut Stats) -> Result<(), String> {
    let troubles = play.world().witness.troubles(call);
    for troubled in troubles {
        *stats.faults.entry(name(troubled.what)).or_default() += 1;
    }
    let ledger = play.world().ledger(call);
    count(stats, ledger);
    for silence in silences(ledger) {
        let Some(allowed) = allowed(play, call, ledger, silence) else { continue };
        let lasted = silence.to.since(silence.from).saturating_sub(silence.carried);
        if lasted > allowed {
            return Err(format!("I11: call {call} is in silence for {lasted:?}, {allowed:?} are allowed: {silence:?}"));
        }
    }
    let complaint = ledger.problems.iter().find(|problem| COMPLAINTS.contains(&problem.code));
    if let Some(problem) = complaint.filter(|problem| problem.code != 11200 || troubles.is_empty()) {
        return Err(format!("I6: Twilio complains about call {call}: {} {}", problem.code, problem.text));
    }
    is_let_in(play, call, ledger)?;
    rows(play, call, ledger)
}

fn count(stats: &mut Stats, ledger: &Ledger) {
    let total = |heard| ledger.total(heard) > Duration::ZERO;
    let outcome = match ledger.ended {
        _ if total(Heard::Failure) => "failure",
        None => "not over",
        Some((_, EndedBy::Caller)) if ledger.answered.is_none() => "left while it rang",
        Some(_) if total(Heard::Recording) && total(Heard::Streaming) => "streamed, then recorded",
        Some(_) if total(Heard::Recording) => "recorded",
        Some((_, EndedBy::Caller)) => "hung up on a stream or before",
        Some((_, EndedBy::Document)) if total(Heard::Goodbye) => "dismissed",
        Some((_, EndedBy::Document | EndedBy::Failure | EndedBy::Rest | EndedBy::TimeLimit)) => "ended otherwise",
    };
    *stats.outcomes.entry(outcome.to_owned()).or_default() += 1;
    stats.media += ledger.streams.iter().map(|stream| stream.frames).sum::<u64>();
}

/// Every stretch of silence: [`Heard::Silence`], and what a stream carried of it between and around.
fn silences(ledger: &Ledger) -> Vec<Silence> {
    let mut found: Vec<Silence> = Vec::new();
    for span in ledger.spans.iter().filter(|span| span.heard == Heard::Silence) {
        match found.last_mut() {
            Some(last) if last.to == span.from => last.to = span.to,
            _ => found.push(Silence { from: span.from, to: span.to, carried: Duration::ZERO }),
        }
    }
    for span in ledger.spans.iter().filter(|span| span.heard == Heard::StreamingSilent) {
        found.push(Silence { from: span.from, to: span.to, carried: Duration::ZERO });
    }
    found
}

/// How long a silence may last; `None` where nothing is promised.
fn allowed(play: &Play<'_>, call: usize, ledger: &Ledger, silence: Silence) -> Option<Duration> {
    let script = play.script();
    let planned = play.call(call);
    let carried = ledger.spans.iter().any(|span| span.from == silence.from && span.heard == Heard::StreamingSilent);
    let mut allowed = SLACK;
    if carried {
        if script.settings.end_silence == 0 {
            return None;
        }
        allowed += milliseconds(script.settings.end_silence) + milliseconds(planned.frame_interval) * 2;
    }
    let asked = |ordinal: usize| -> Option<(Instant, Instant)> {
        let mut documents =
            ledger.documents.iter().enumerate().filter(|(_, document)| document.twiml.contains("<Stream"));
        let (place, document) = documents.nth(ordinal)?;
        Some((document.at, ledger.documents.get(place + 1).map_or(silence.to, |next| next.at)))
    };
    for ordinal in 0..ledger.streams.len() {
        if asked(ordinal).is_some_and(|(from, to)| from <= silence.to && to >= silence.from) {
            allowed += of_stream(script, planned, ordinal);
        }
    }
    let mut rest = 0;
    for troubled in play.world().witness.troubles(call) {
        if troubled.at > silence.to || troubled.at + LINGERS < silence.from {
            continue;
        }
        allowed += match troubled.what {
            Trouble::Hook(_, HookFault::Lost) => Duration::from_secs(9),
            Trouble::Hook(_, HookFault::Late(by)) => milliseconds(by) + Duration::from_secs(9),
            // What several processes may cost today: see `README.md`.
            Trouble::Hook(Hook::StreamEnded, _) if script.nodes > 1 => return None,
            Trouble::Hook(_, HookFault::Twice(_)) => Duration::from_secs(1),
            Trouble::Hook(_, HookFault::Unanswered) => Duration::from_secs(10),
            Trouble::Rest(_) => {
                rest += 1;
                limits::CLAIM_OVERDUE * rest.min(limits::OVERDUE_FACTOR_MAX) + Duration::from_secs(6)
            }
            // What a kill may cost: see `README.md`.
            Trouble::Killed if play.database.is_empty() && !is_taken_on_trust(play, call) => {
                TAKEN_OVER + longest_down(script)
            }
            Trouble::Killed => return None,
            Trouble::Frozen => milliseconds(8_000) + limits::BRIDGE_TIME + Duration::from_secs(2),
            Trouble::Broken => limits::BRIDGE_TIME + Duration::from_secs(2),
            Trouble::Unread => limits::QUIET_TIME + limits::CLOSE_TIME,
            Trouble::Hostile => Duration::from_secs(20),
        };
    }
    let ill = play.database.iter().any(|ill| ill.from <= silence.to && ill.to + LINGERS >= silence.from);
    if ill {
        allowed += (limits::ROW_TIME + limits::CLAIM_TIME) * 2;
    }
    if script.nodes > 1 {
        allowed += ANOTHER_NODE;
    }
    Some(allowed)
}

/// From a kill until the call is watched by another process and its time there is over. A process that has begun a moment
/// ago takes nobody for gone before its own word has been good for a while.
const TAKEN_OVER: Duration = Duration::from_millis(2 * 6_000 + 2 * 2_000 + 8_000 + 2_000);

/// Whether a fallback may have been confirmed by somebody else: by the answer to a repeated `incoming_call`, or by signs
/// that a stranger made. That it went nowhere, only the process that believed so can find out.
fn is_taken_on_trust(play: &Play<'_>, call: usize) -> bool {
    let of_another =
        |what: &Trouble| matches!(what, Trouble::Hostile | Trouble::Hook(Hook::IncomingCall, HookFault::Twice(_)));
    play.world().witness.troubles(call).iter().any(|troubled| of_another(&troubled.what))
}

/// How long a place is without a process.
fn longest_down(script: &script::Script) -> Duration {
    let down = |step: &script::Step| {
        if let Happening::Kill { down, .. } = step.what { milliseconds(down) } else { Duration::ZERO }
    };
    script.steps.iter().map(down).sum()
}

/// A trouble so long before a silence may still be felt in it: the longest deadline that may run from it.
const LINGERS: Duration = Duration::from_secs(30);

/// What a stream may cost by its own fault.
fn of_stream(script: &script::Script, call: &script::Call, ordinal: usize) -> Duration {
    let settings = &script.settings;
    let second = |seconds: u64| Duration::from_secs(seconds);
    let timeout = milliseconds(settings.start_timeout);
    // Rendered, it is shorter than Twilio speaks it.
    let greeting = second(settings.greeting.into()).mul_f64(if settings.voice { 0.6 } else { 1.0 });
    let start = if ordinal == 0 {
        timeout.max(greeting + timeout / 2).saturating_sub(greeting)
    } else {
        limits::BRIDGE_TIME_RECONNECT + second(1)
    };
    let opens = milliseconds(call.connect_delay + call.start_delay + call.frame_interval);
    let notice = milliseconds(call.failure_notice);
    let nothing_follows = call.after_failure == AfterFailure::Nothing;
    let at_most = |bound: Duration, resume: Option<u32>| {
        resume.map_or(bound, |resume| bound.min(milliseconds(resume + call.frame_interval)))
    };
    let echo = Duration::from_secs(1);
    let failed = |ordinal: usize| match (nothing_follows, ordinal) {
        (false, _) => notice,
        (true, 0) => notice + limits::STREAM_ERROR_WAIT,
        (true, _) => notice + limits::BRIDGE_TIME + second(1),
    };
    // A process that stops refuses sockets, and may move a call before Twilio has answered it, which Twilio refuses; where
    // none runs no socket can be opened.
    let stops = |step: &script::Step| matches!(step.what, Happening::Drain(_) | Happening::Kill { .. });
    let stops = script.steps.iter().any(stops);
    let refused = if stops { failed(ordinal) + limits::OVER_AGREEMENT } else { Duration::ZERO };
    let by_fault = match call.streams.get(ordinal).copied().unwrap_or_default() {
        Stream::Works | Stream::StopAfter(_) => opens,
        Stream::NeverStarts => start,
        Stream::HandshakeFails(_) => failed(ordinal),
        Stream::ConnectsButNoStart => start.max(limits::START_TIME),
        Stream::Mute(resume) => opens + at_most(milliseconds(settings.media_timeout), resume),
        Stream::StallAfter(after, resume) if milliseconds(after) < echo => opens + at_most(limits::QUIET_TIME, resume),
        Stream::StallAfter(_, resume) => {
            opens + at_most(milliseconds(settings.media_timeout) + limits::ECHO_TIME, resume)
        }
        Stream::QuietAfter(_, resume) => opens + at_most(limits::QUIET_TIME, resume),
        Stream::DropAfter(_) => opens + failed(1),
    };
    by_fault + refused
}

/// What the transcription service understood is in the rows (T1), unless its audio was lost before it came.
pub(super) fn texts(play: &Play<'_>) -> Result<(), String> {
    let requests = &play.world().openai.ledger().requests;
    let came = requests.iter().filter(|request| request.status == 200 && request.fault.is_none());
    for text in came.filter_map(|request| request.text.as_deref()).map(str::trim) {
        if !text.is_empty() && !play.world().database.rows.has_text(text) && !play.loses_a_disk() {
            return Err(format!("T1: {text:?} was understood, and is in no row"));
        }
    }
    Ok(())
}

/// Google was asked as it wants to be; that a clock is ahead is not the asker's fault.
pub(super) fn prompts(play: &Play<'_>) -> Result<(), String> {
    let complaints = &play.world().google.complaints;
    match complaints.iter().find(|complaint| !complaint.starts_with("issued at")) {
        Some(complaint) => Err(format!("I6: Google complains: {complaint}")),
        None => Ok(()),
    }
}

/// Twilio's own streams are let in: none is closed as a stranger's (1008) while nothing speaks against it.
fn is_let_in(play: &Play<'_>, call: usize, ledger: &Ledger) -> Result<(), String> {
    let world = play.world();
    let jumps = |step: &script::Step| matches!(step.what, Happening::Clock(..) | Happening::Drain(_));
    let fell_back = world.database.fallback(world.sid(call)).is_some() || !ledger.recordings.is_empty();
    let silent = play.call(call).streams.contains(&Stream::ConnectsButNoStart);
    // That the caller had finished (W12) one process learns from another through the store alone.
    let untold = play.script().nodes > 1 && !play.database.is_empty() && world.database.has_finished(world.sid(call));
    if fell_back || silent || untold || play.script().steps.iter().any(jumps) {
        return Ok(());
    }
    let strange = world.witness.troubles(call).iter().any(|troubled| troubled.what != Trouble::Killed);
    if !strange && ledger.streams.iter().any(|stream| stream.closed == Some(1008)) {
        return Err(format!("section 4: a stream of call {call}, Twilio's own, is refused"));
    }
    Ok(())
}

/// The rows tell what happened.
fn rows(play: &Play<'_>, call: usize, ledger: &Ledger) -> Result<(), String> {
    let world = play.world();
    let sid = world.sid(call);
    let Some(status) = world.database.status(sid) else { return Ok(()) };
    let troubles = world.witness.troubles(call);
    let killed = troubles.iter().any(|troubled| troubled.what == Trouble::Killed);
    let recorded = !ledger.recordings.is_empty();
    let reason = world.database.fallback(sid).is_some();
    let asked = !play.script().settings.streaming || world.database.recording_was_asked(sid);
    // A process that acted blindly may have its next claim refused, and forgets what it did before.
    let blind = play.script().nodes > 1 && !play.database.is_empty();
    if recorded && !reason && !asked && !killed && !blind {
        return Err(format!("W9: call {call} was recorded, and its row does not say why"));
    }
    let truth = if ledger.answered.is_some() { CallStatus::Completed } else { CallStatus::NoAnswer };
    if world.witness.was_told_the_end(call) && status != truth {
        return Err(format!("D2: the row of call {call} says {status:?} in the end, Twilio said {truth:?}"));
    }
    Ok(())
}
