//! The model: a second opinion on everything a [`Switchboard`](callwarden_core::switchboard::Switchboard) says.
//!
//! It is dumber than the code. It keeps nothing but the [history](crate::world::history) and works every answer out
//! anew from the whole of it: who may be believed, what each request must be answered, when each watch is due, whether
//! an update may be sent, what the rows come to. It is written from the rules in `docs/architecture.md` and shares no
//! helper with the machine, so that both cannot share a misreading. Where they disagree it panics with both sides, the
//! rule, the time, and the call's story.
//!
//! - [`admission`]: signatures, previews, development mode, wrong methods (sections 3 and 4).
//! - [`tale`]: what one process heard and said of one call, in the words of the rules.
//! - [`knows`]: what follows from a tale: whether the call is over, heard, claimed, confirmed.
//! - [`answers`]: the document each request must get (W4, W5, W12, D5, the `stream_ended` table).
//! - [`streams`]: which `start` is accepted (S8, W6) and when a stream must be closed (W7).
//! - [`watch`]: when a fallback or a question to Twilio is due, and why (W1 to W4, W11).
//! - [`delivery`]: when an update may and must be sent (W5 to W7).
//! - [`duties`]: everything that is owed at a moment, and whether exactly that was done (W8).
//! - [`rows`]: the final row (D1, D2, W9).

#![expect(clippy::wildcard_enum_match_arm, reason = "a question looks for a few events among many")]

pub mod admission;
pub mod answers;
pub mod delivery;
pub mod deployment;
pub mod duties;
pub mod keys;
pub mod knows;
pub mod rows;
pub mod streams;
pub mod tale;
pub mod watch;

use crate::world::history::{History, Moment, What};
use callwarden_core::switchboard::Settings;
use callwarden_core::time::{Instant, Now};
use deployment::Deployment;
use std::collections::BTreeMap;
use tale::Told;

/// Where the model and the switchboard do not agree.
#[derive(Debug)]
pub struct Disagreement {
    /// The rule, by its name in the documentation.
    pub rule: &'static str,
    /// When.
    pub at: Now,
    /// What the model says.
    pub model: String,
    /// What the switchboard did.
    pub switchboard: String,
    /// The call's story up to there.
    pub story: String,
}

impl Disagreement {
    fn new(rule: &'static str, at: Now, model: impl Into<String>, switchboard: impl Into<String>) -> Self {
        Self { rule, at, model: model.into(), switchboard: switchboard.into(), story: String::new() }
    }

    fn in_tale(mut self, tale: &[Told]) -> Self {
        self.story = tale.iter().map(|told| format!("  {told}\n")).collect();
        self
    }
}

/// Judges a whole history, which ends at `end`; panics at the first disagreement.
pub fn check(history: &History, settings: &Settings, end: Now) {
    let mut found = disagreements(history, settings, end);
    found.sort_by_key(|disagreement| disagreement.at.mono);
    let Some(first) = found.first() else { return };
    panic!(
        "the model disagrees ({} times; the first at {:.3} s)\n rule: {}\n model: {}\n switchboard: {}\n story:\n{}",
        found.len(),
        seconds(first.at),
        first.rule,
        first.model,
        first.switchboard,
        first.story,
    );
}

/// Everything in a history that the model does not agree with.
#[must_use]
pub fn disagreements(history: &History, settings: &Settings, end: Now) -> Vec<Disagreement> {
    let deployment = Deployment::of(settings);
    let mut found = Vec::new();
    for life in lives(history, end) {
        admission::check(&life, &deployment, &mut found);
        for tale in tale::of_every_call(&life, &deployment) {
            answers::check(&tale, &deployment, &mut found);
            duties::check(&tale, &deployment, &mut found);
            rows::check(&life, &tale, &deployment, &mut found);
        }
    }
    found
}

/// What one process heard and said from its start to its end.
#[derive(Debug)]
pub struct Life {
    /// In order.
    pub moments: Vec<Moment>,
    /// When it was killed, or the history ends.
    pub end: Now,
}

fn lives(history: &History, end: Now) -> Vec<Life> {
    let mut running: BTreeMap<usize, Life> = BTreeMap::new();
    let mut over = Vec::new();
    for moment in &history.moments {
        if matches!(moment.what, What::Born)
            && let Some(mut old) = running.remove(&moment.node)
        {
            old.end = moment.at;
            over.push(old);
        }
        let life = running.entry(moment.node).or_insert_with(|| Life { moments: Vec::new(), end });
        life.moments.push(moment.clone());
    }
    over.extend(running.into_values());
    over
}

fn seconds(at: Now) -> f64 {
    as_seconds(at.mono)
}

fn as_seconds(at: Instant) -> f64 {
    at.since(Instant::default()).as_secs_f64()
}
