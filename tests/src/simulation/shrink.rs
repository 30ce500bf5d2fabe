//! Makes a script that fails smaller while it fails in the same way.

use super::{Failure, run};
use crate::script::{Call, Script, Settings};

/// Runs after which the smallest script so far is good enough.
const RUNS_MAX: usize = 2_000;

/// The smallest script found that breaks the same invariant.
#[must_use]
pub fn shrink(failure: Box<Failure>) -> Box<Failure> {
    let mut best = failure;
    let mut left = RUNS_MAX;
    'again: while left > 0 {
        for smaller in candidates(&best.script) {
            if left == 0 || smaller == best.script {
                continue;
            }
            left -= 1;
            match run(&smaller) {
                Err(failure) if failure.invariant == best.invariant => {
                    best = failure;
                    continue 'again;
                }
                _ => {}
            }
        }
        break;
    }
    best
}

/// Scripts with a little less in them, the boldest first.
fn candidates(script: &Script) -> Vec<Script> {
    let mut found = Vec::new();
    let mut add = |change: &dyn Fn(&mut Script)| {
        let mut smaller = script.clone();
        change(&mut smaller);
        found.push(smaller);
    };
    let calls = script.calls.len();
    add(&|script| script.calls.truncate(calls / 2));
    add(&|script| drop(script.calls.drain(..calls / 2)));
    add(&|script| script.steps.clear());
    add(&|script| script.nodes = 1);
    add(&|script| script.seed = 0);
    add(&|script| script.settings = Settings { transcription: script.settings.transcription, ..Settings::default() });
    add(&|script| script.settings.transcription = false);
    add(&|script| script.nuisance = false);
    add(&|script| script.to_the_last = false);
    for place in 0..script.steps.len() {
        add(&|script| drop(script.steps.remove(place)));
    }
    for place in 0..calls {
        add(&|script| drop(script.calls.remove(place)));
    }
    for place in 0..calls {
        add(&|script| {
            let call = &mut script.calls[place];
            *call = Call {
                at: call.at,
                streams: call.streams.clone(),
                frame_interval: call.frame_interval,
                ..Call::default()
            };
        });
        for stream in 0..script.calls[place].streams.len() {
            add(&|script| drop(script.calls[place].streams.drain(stream..=stream)));
        }
        let plain = Call::default();
        add(&|script| script.calls[place].hangs_up = plain.hangs_up);
        add(&|script| script.calls[place].duplicate_every = None);
        add(&|script| script.calls[place].garbage_every = None);
        add(&|script| script.calls[place].recording = plain.recording);
        add(&|script| script.calls[place].after_failure = plain.after_failure);
        add(&|script| script.calls[place].speaks = plain.speaks);
        add(&|script| script.calls[place].message = plain.message);
        add(&|script| script.calls[place].at = 0);
    }
    found
}
