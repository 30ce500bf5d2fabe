//! What a switchboard owes a call at every moment, and whether it did exactly that: nothing else, and nothing late.

use super::deployment::Deployment;
use super::tale::{Event, Tale, Told};
use super::{Disagreement, answers, delivery, knows, streams, watch};
use callwarden_core::id::StreamId;
use callwarden_core::store::FallbackReason;
use callwarden_core::stream::StreamCommand;
use callwarden_core::time::Instant;
use std::time::Duration;

/// A deadline is met within this (W8).
pub const PRECISION: Duration = Duration::from_millis(50);

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Claim the fallback, for this reason.
    Claim(FallbackReason),
    /// Ask Twilio about the call, with the first auth token.
    LookUp,
    /// Ask Twilio for the recordings of the call, with the first auth token.
    Search,
    /// Send the update, with the auth token of this place.
    Update(usize),
    /// Call the fallback off.
    CallOff,
    /// Give the claim back.
    Release,
    /// Tell a stream something.
    Tell(StreamId, StreamCommand),
}

/// A duty, when it has to be done, and by which rule.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Not before, and hardly later.
    pub at: Instant,
    /// What.
    pub duty: Duty,
    /// The rule's name.
    pub rule: &'static str,
}

/// All duties that follow from a tale.
#[must_use]
pub fn of(told: &[Told], deployment: &Deployment) -> Vec<Due> {
    let mut dues = streams::dues(told);
    dues.extend(answers::claim(told, deployment));
    dues.extend(watch::due(told, deployment));
    dues.extend(delivery::dues(told, deployment));
    dues
}

/// Checks everything the switchboard did about a call, and everything it should have done.
pub fn check(tale: &Tale, deployment: &Deployment, found: &mut Vec<Disagreement>) {
    for at in 0..tale.told.len() {
        let now = tale.told[at].at;
        if let Some(deed) = Deed::of(&tale.told[at].event)
            && let Some((rule, model)) = objection(&deed, tale.before(at), now.mono, deployment)
        {
            let did = format!("{:?}", tale.told[at].event);
            found.push(Disagreement::new(rule, now, model, did).in_tale(&tale.told[..=at]));
        }
        let next = tale.told.get(at + 1).map_or(tale.end, |next| next.at);
        if next.mono.since(now.mono) <= PRECISION {
            continue;
        }
        let owed = of(tale.before(at + 1), deployment);
        if let Some(late) = owed.iter().find(|due| due.at.max(now.mono) + PRECISION < next.mono) {
            let model = format!("{:?} at {:.3} s", late.duty, super::as_seconds(late.at));
            let did = format!("nothing until {:.3} s", super::seconds(next));
            found.push(Disagreement::new(late.rule, next, model, did).in_tale(&tale.told[..=at]));
        }
    }
}

/// Something a switchboard does on a duty.
struct Deed<'a> {
    event: &'a Event,
}

impl<'a> Deed<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        let is_deed = match event {
            Event::Claims
            | Event::LooksUp { .. }
            | Event::Searches { .. }
            | Event::Updates { .. }
            | Event::Releases => true,
            Event::Commands { command, .. } => streams::is_judged(*command),
            event => knows::is_called_off(event),
        };
        is_deed.then_some(Self { event })
    }

    fn fulfils(&self, duty: Duty) -> bool {
        match (self.event, duty) {
            (Event::Claims, Duty::Claim(_))
            | (Event::LooksUp { .. }, Duty::LookUp)
            | (Event::Searches { .. }, Duty::Search)
            | (Event::Updates { .. }, Duty::Update(_))
            | (Event::Releases, Duty::Release) => true,
            (event, Duty::CallOff) => knows::is_called_off(event),
            (Event::Commands { stream, command }, Duty::Tell(to, what)) => *stream == to && *command == what,
            _ => false,
        }
    }

    /// What is wrong with how it was done.
    fn flaw(&self, duty: Duty, told: &[Told], deployment: &Deployment) -> Option<String> {
        match (self.event, duty) {
            (Event::LooksUp { url, authorization }, Duty::LookUp)
            | (Event::Searches { url, authorization }, Duty::Search) => {
                delivery::flaw(url, authorization, 0, told, deployment)
            }
            (Event::Updates { url, authorization, document }, Duty::Update(nth)) => {
                delivery::flaw(url, authorization, nth, told, deployment)
                    .or_else(|| delivery::flaw_of_document(document, deployment))
            }
            _ => None,
        }
    }
}

fn objection(deed: &Deed<'_>, told: &[Told], now: Instant, deployment: &Deployment) -> Option<(&'static str, String)> {
    let owed = of(told, deployment);
    let meant: Vec<&Due> = owed.iter().filter(|due| deed.fulfils(due.duty)).collect();
    let Some(due) = meant.iter().find(|due| due.at <= now).or(meant.first()) else {
        if matches!(deed.event, Event::Releases) && delivery::may_release(told, now) {
            return None;
        }
        return Some(("nothing is due", format!("only {owed:?} is due")));
    };
    if due.at > now {
        return Some((due.rule, format!("not before {:.3} s", super::as_seconds(due.at))));
    }
    deed.flaw(due.duty, told, deployment).map(|flaw| (due.rule, flaw))
}
