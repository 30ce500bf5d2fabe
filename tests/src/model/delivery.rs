//! How a claimed fallback reaches its call: W5 to W7.

use super::admission;
use super::answers::Document;
use super::deployment::Deployment;
use super::duties::{Due, Duty};
use super::knows::{self, Claim};
use super::tale::{Event, Found, Outcome, Told};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callwarden_core::log::Event as Line;
use callwarden_core::store::FallbackReason;
use callwarden_core::time::Instant;
use std::time::Duration;

/// The first wait before an update that did not arrive is tried again (W7).
const RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest (W7).
const RETRY_MAX: Duration = Duration::from_secs(4);
/// How long signs of an ambiguous update are waited for (W7).
const SIGNS_WAIT: Duration = Duration::from_millis(1_500);
/// How often an ambiguous update is repeated (W7).
const AMBIGUOUS_REPEATS: usize = 2;
/// A fallback that failed begins anew after this, then after so much more each time (W5).
const OVERDUE: Duration = Duration::from_secs(10);
/// After the recording document was given and its prompt is over, a recording has called back within this (W5).
const RECORDING_STARTS: Duration = Duration::from_secs(10);
/// At most so many times that.
const OVERDUE_FACTOR_MAX: u32 = 6;
/// Twilio is asked again after this while it cannot be reached (W5).
const ASK_AGAIN: Duration = Duration::from_secs(4);

/// An update without an answer is ambiguous after this: the client's time, and a grace for the runtime (W7).
const ANSWER_TIME: Duration = Duration::from_millis(4_500);

/// Where the delivery by REST stands.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An update is due, with the auth token of this place.
    Update(Instant, usize),
    /// It failed for good, then.
    Failed(Instant),
    /// There is no such call.
    Gone,
}

/// What the delivery of a claimed fallback is due to do.
#[must_use]
pub fn dues(told: &[Told], deployment: &Deployment) -> Vec<Due> {
    let held = match knows::claim(told) {
        Claim::Held(held) => held,
        // A caller who is heard before the store has answered is let go at once.
        Claim::Asked(_) => return heard_since(told).map(call_off).into_iter().collect(),
        Claim::None => return release(told).into_iter().collect(),
        Claim::Refused(_) => return Vec::new(),
    };
    if knows::over_since(told).is_some() {
        return Vec::new();
    }
    if knows::is_confirmed(told) {
        return nowhere(told, deployment).into_iter().collect();
    }
    let since = knows::since_claim(told);
    if let Some(heard) = heard_since(told) {
        let at = heard.max(held).max(answered(since));
        return vec![call_off(at)];
    }
    if is_asked_for(told) {
        return Vec::new();
    }
    let due = match step(since, held, deployment) {
        Step::Update(at, nth) => Some(Due { at, duty: Duty::Update(nth), rule: "W7" }),
        Step::Failed(at) => anew(told, at, deployment),
        Step::Gone => None,
    };
    due.into_iter().collect()
}

fn call_off(at: Instant) -> Due {
    Due { at, duty: Duty::CallOff, rule: "W6" }
}

/// A claim that the store has granted is given back when the fallback is called off. Where it is down the lease ends by
/// itself.
fn release(told: &[Told]) -> Option<Due> {
    let since = knows::since_claim(told);
    let granted = since.iter().any(|t| matches!(t.event, Event::ClaimAnswered { granted: Some(Ok(())) }));
    let returned = since.iter().any(|t| matches!(t.event, Event::Releases | Event::StoreIsDown));
    let off = since.iter().find(|t| knows::is_called_off(&t.event)).filter(|_| granted && !returned);
    off.map(|t| Due { at: t.at.mono, duty: Duty::Release, rule: "W6" })
}

/// One that the store has not answered may be given back as well.
#[must_use]
pub fn may_release(told: &[Told], now: Instant) -> bool {
    knows::since_claim(told).iter().any(|t| knows::is_called_off(&t.event) && t.at.mono == now)
}

/// When the caller was heard again on a live stream since the fallback was claimed (W6). Assumed: a process that stops
/// goes on with it, for the stream would not last.
fn heard_since(told: &[Told]) -> Option<Instant> {
    if knows::drains(told) {
        return None;
    }
    let live = knows::live(told)?;
    let heard =
        knows::since_claim(told).iter().find(|t| matches!(t.event, Event::Hears { stream, .. } if stream == live));
    heard.map(|t| t.at.mono)
}

/// When it is known what the last update did: it was answered, or signs were waited for. Until then it may have moved
/// the call, and nothing is given back.
fn answered(since: &[Told]) -> Instant {
    let sent = since.iter().rposition(|t| matches!(t.event, Event::Updates { .. }));
    let answer = |sent: usize| since[sent..].iter().find(|t| matches!(t.event, Event::Updated { .. }));
    let Some(sent) = sent else { return Instant::default() };
    match answer(sent).map(|t| (t.at.mono, &t.event)) {
        None => since[sent].at.mono + ANSWER_TIME + SIGNS_WAIT,
        Some((at, Event::Updated { outcome: Outcome::Ambiguous })) => at + SIGNS_WAIT,
        Some((at, _)) => at,
    }
}

/// Whether a request waits that was there when the claim was settled: it is answered with the recording document, the
/// other route (W5).
#[must_use]
pub fn is_asked_for(told: &[Told]) -> bool {
    let settled = told.iter().rposition(|t| matches!(t.event, Event::ClaimAnswered { .. })).unwrap_or_default();
    let answered = |of: usize| told.iter().any(|t| matches!(t.event, Event::Answers { ask, .. } if ask == of));
    told[..settled].iter().any(|t| match &t.event {
        Event::Asks { ask, path, .. } => {
            (path == "/webhook/stream_ended" || path == "/webhook/incoming_call") && !answered(*ask)
        }
        _ => false,
    })
}

/// W7's table, over all attempts since the claim.
fn step(since: &[Told], held: Instant, deployment: &Deployment) -> Step {
    if deployment.is_development() {
        return Step::Failed(held);
    }
    let (mut step, mut token) = (Step::Update(held, 0), 0);
    let (mut undelivered, mut ambiguous, mut unknown) = (0_u32, 0, 0);
    let mut waits = false;
    for t in since {
        let now = t.at.mono;
        // One that is never answered is ambiguous too.
        ambiguous += usize::from(waits && matches!(t.event, Event::Updates { .. }));
        waits = !matches!(t.event, Event::Updated { .. }) && (waits || matches!(t.event, Event::Updates { .. }));
        step = match t.event {
            Event::Updates { .. } => after_silence(now + ANSWER_TIME, ambiguous + 1, token),
            Event::Updated { outcome: Outcome::NotDelivered } => {
                undelivered += 1;
                Step::Update(now + RETRY_MAX.min(RETRY_MIN * 2_u32.pow(undelivered.min(10) - 1)), token)
            }
            Event::Updated { outcome: Outcome::Ambiguous } => {
                ambiguous += 1;
                after_silence(now, ambiguous, token)
            }
            Event::Updated { outcome: Outcome::NoSuchCall } => {
                unknown += 1;
                let again = now + knows::AGREEMENT;
                if unknown > 1 { Step::Failed(again) } else { Step::Update(again, token) }
            }
            Event::Updated { outcome: Outcome::Unauthorized } => {
                token += 1;
                if token < deployment.auth_tokens.len() { Step::Update(now, token) } else { Step::Failed(now) }
            }
            Event::Updated { outcome: Outcome::Refused } => Step::Failed(now),
            Event::Updated { outcome: Outcome::Over } => Step::Gone,
            _ => step,
        };
    }
    step
}

/// W7: signs are waited for, then it is sent again, twice at most.
fn after_silence(now: Instant, times: usize, token: usize) -> Step {
    let again = now + SIGNS_WAIT;
    if times > AMBIGUOUS_REPEATS { Step::Failed(again) } else { Step::Update(again, token) }
}

/// W5: an unconfirmed claim is overdue again. Before it is taken up Twilio is asked about the call.
fn anew(told: &[Told], failed: Instant, deployment: &Deployment) -> Option<Due> {
    let called_off = told.iter().rposition(|t| knows::is_called_off(&t.event)).unwrap_or_default();
    let rounds = (called_off..told.len()).filter(|at| match told[*at].event {
        Event::ClaimAnswered { granted } => !matches!(granted, Some(Err(_))) || knows::went_nowhere(&told[..*at]),
        _ => false,
    });
    let factor = u32::try_from(rounds.count()).unwrap_or(u32::MAX).clamp(1, OVERDUE_FACTOR_MAX);
    let (at, duty) = asks(told, failed, failed + OVERDUE * factor)?;
    let duty = if deployment.is_development() { Duty::Claim(reason(told)) } else { duty };
    Some(Due { at, duty, rule: "W5" })
}

/// W5: a recording document, or signs of an update, after which no recording calls back went nowhere, unless Twilio lists one. Where Twilio
/// cannot be asked about that or does not say, it is left at that.
fn nowhere(told: &[Told], deployment: &Deployment) -> Option<Due> {
    if knows::is_proved(told) || deployment.is_development() {
        return None;
    }
    let is_left = |t: &Told| match t.event {
        Event::LookedUp { outcome } => !matches!(outcome, Outcome::Fine | Outcome::NotDelivered | Outcome::Ambiguous),
        Event::Searched { outcome } => outcome == Found::Unsaid,
        _ => false,
    };
    let since = knows::since_claim(told);
    // An answer to what was asked before the document was given once more is not waited for any longer.
    let is_awaited = |at: usize| {
        let asked = since[..at].iter().rposition(|t| matches!(t.event, Event::LooksUp { .. } | Event::Searches { .. }));
        asked.is_some_and(|asked| !since[asked..at].iter().any(knows::gives_recording))
    };
    if (0..since.len()).any(|at| is_left(&since[at]) && is_awaited(at)) {
        return None;
    }
    let begins = knows::is_taken_since(told)? + deployment.fallback + RECORDING_STARTS;
    let (at, duty) = asks(told, begins, begins)?;
    Some(Due { at, duty, rule: "W5" })
}

/// Twilio is asked about the call at this moment, again and again until it answers; then the claim is. What was given a
/// recording document may have a recording that nobody told of.
fn asks(told: &[Told], since: Instant, first: Instant) -> Option<(Instant, Duty)> {
    let mut due = Some((first, Duty::LookUp));
    for at in 0..told.len() {
        let now = told[at].at.mono;
        if now < since {
            continue;
        }
        due = match told[at].event {
            Event::LooksUp { .. } | Event::Searches { .. } => None,
            Event::LookedUp { outcome: Outcome::NotDelivered | Outcome::Ambiguous }
            | Event::Searched { outcome: Found::NotReached } => Some((now + ASK_AGAIN, Duty::LookUp)),
            Event::LookedUp { outcome: Outcome::Fine } if knows::went_nowhere(&told[..at]) => Some((now, Duty::Search)),
            Event::LookedUp { .. } | Event::Searched { .. } => Some((now, Duty::Claim(reason(told)))),
            _ => due,
        };
    }
    due
}

fn reason(told: &[Told]) -> FallbackReason {
    let said = told.iter().rev().find_map(|t| match &t.event {
        Event::Logs { event: Line::WatchdogRedirect, reason, .. } => Some(reason.as_str()),
        _ => None,
    });
    let found = FallbackReason::ALL.into_iter().find(|reason| Some(reason.as_str()) == said);
    found.unwrap_or(FallbackReason::StreamLost)
}

/// What is wrong with whom a request goes to, or with its proof: the account of the signed webhook, the listed token.
#[must_use]
pub fn flaw(url: &str, authorization: &str, nth: usize, told: &[Told], deployment: &Deployment) -> Option<String> {
    let named = told.iter().find_map(|t| match &t.event {
        Event::Asks { form, .. } => Some(admission::value(form, "AccountSid")).filter(|sid| sid.starts_with("AC")),
        Event::Presents { start, admitted: true, .. } => start.account.as_ref().map(|sid| sid.as_str()),
        _ => None,
    });
    let configured = deployment.account.clone().unwrap_or_default();
    let account = named.unwrap_or(&configured);
    let base = format!("{}/2010-04-01/Accounts/{account}/Calls/", deployment.api_base);
    if !url.starts_with(&base) {
        return Some(format!("{base}…"));
    }
    let token = &deployment.auth_tokens[nth];
    let expected = format!("Basic {}", STANDARD.encode(format!("{configured}:{token}")));
    (authorization != expected).then(|| format!("the auth token of place {nth}"))
}

/// What is wrong with the document of an update.
#[must_use]
pub fn flaw_of_document(document: &Document, deployment: &Deployment) -> Option<String> {
    let fits = *document == Document::Record { prompt: deployment.has_fallback };
    (!fits).then(|| "the recording document".to_owned())
}
