//! The five calls of the demo, and what must come of each.

use callwarden_core::far_end::{EndedBy, HangUp, Heard, Plan, StreamFault, sample};
use std::time::Duration;

/// How long the demo's server lets a caller say nothing.
pub(super) const END_SILENCE: Duration = Duration::from_secs(5);

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// What it shows, in at most 25 characters.
    pub(super) name: &'static str,
    pub(super) plan: Plan,
    /// What the caller has to hear, in this order; other things may come between.
    pub(super) hears: &'static [Heard],
    pub(super) ended_by: EndedBy,
    /// What the watchdog has to give as its reason, if it has to act.
    pub(super) fallback: Option<&'static str>,
    /// How many seconds the caller speaks into each stream and each recording: a line of the transcript each.
    pub(super) says: &'static [u64],
    /// No silence may be longer.
    pub(super) silence_max: Duration,
}

pub(super) fn all() -> [Scene; 5] {
    use Heard::{Beep, Goodbye, Greeting, Prompt, Recording, Streaming, StreamingSilent};
    let seconds = Duration::from_secs;
    let plan = |speaks: u64, faults: &[StreamFault], hangs_up: HangUp| Plan {
        speaks: seconds(speaks),
        faults: faults.to_vec(),
        hangs_up,
        voice: sample::speech(),
        ..Plan::default()
    };
    let recorded: &[Heard] = &[Greeting, Prompt, Beep, Recording];
    [
        Scene {
            name: "speaks and is thanked",
            plan: plan(6, &[], HangUp::Never),
            hears: &[Greeting, Streaming, StreamingSilent, Goodbye],
            ended_by: EndedBy::Document,
            fallback: None,
            says: &[6],
            silence_max: END_SILENCE,
        },
        Scene {
            name: "hangs up in mid-word",
            plan: plan(30, &[], HangUp::Streaming(seconds(5))),
            hears: &[Greeting, Streaming],
            ended_by: EndedBy::Caller,
            fallback: None,
            says: &[5],
            silence_max: END_SILENCE,
        },
        Scene {
            name: "the stream never starts",
            plan: plan(6, &[StreamFault::NeverStarts], HangUp::Never),
            hears: &[Greeting, Prompt, Beep, Recording, Goodbye],
            ended_by: EndedBy::Document,
            fallback: Some("no_start"),
            says: &[4],
            silence_max: seconds(8),
        },
        Scene {
            name: "the stream stays mute",
            plan: plan(6, &[StreamFault::Mute(None)], HangUp::Recording(seconds(6))),
            hears: recorded,
            ended_by: EndedBy::Caller,
            fallback: Some("no_media"),
            says: &[4],
            silence_max: seconds(14),
        },
        Scene {
            name: "the stream stalls",
            plan: plan(30, &[StreamFault::StallAfter(seconds(5), None)], HangUp::Recording(seconds(6))),
            hears: &[Greeting, Streaming, Prompt, Beep, Recording],
            ended_by: EndedBy::Caller,
            fallback: Some("media_stalled"),
            says: &[5, 4],
            silence_max: seconds(8),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_their_column() {
        assert!(all().iter().all(|scene| scene.name.is_ascii() && scene.name.len() <= 25));
    }
}
