//! I9: calls do not influence each other. Many calls of one process, and each of them alone, are told by the caller and by
//! the rows in the same words.

use callwarden_core::far_end::Ledger;
use callwarden_core::limits;
use callwarden_core::store::EventFact;
use callwarden_tests::generate;
use callwarden_tests::script::{Call, Script};
use callwarden_tests::simulation::settings_of;
use callwarden_tests::world::World;
use proptest::prelude::*;
use std::time::Duration;

/// What is left of a call when it is over. Not when or in which order its facts came: they go to the database together
/// with those of others, and commute (D2).
#[derive(Debug, PartialEq, Eq)]
struct Told {
    ledger: Ledger,
    facts: Vec<String>,
    events: Vec<EventFact>,
}

/// Plays some of a script's calls, each at its own time, the first of them under the name it has as this one of all.
fn play(script: &Script, first: usize, calls: &[&Call]) -> Vec<Told> {
    let mut world = World::of_nodes(&settings_of(&script.settings), 1, 0);
    world.first_call += first;
    let begun = world.now.mono;
    for call in calls {
        let at = begun + Duration::from_millis(call.at.into());
        world.run_for(at.since(world.now.mono));
        world.call(call.plan(false));
    }
    world.run_until(Duration::from_secs(3_600), World::is_over);
    world.run_for(limits::STORE_TIME);
    (0..calls.len()).map(|call| told(&world, call)).collect()
}

fn told(world: &World, call: usize) -> Told {
    let sid = world.sid(call);
    let facts = world.database.call_facts.iter().filter(|(_, fact)| fact.call == sid);
    let mut facts: Vec<String> = facts.map(|(_, fact)| format!("{fact:?}")).collect();
    let mut events: Vec<EventFact> = world.database.events.iter().filter(|event| event.call == sid).cloned().collect();
    facts.sort_unstable();
    events.sort_unstable();
    Told { ledger: world.ledger(call).clone(), facts, events }
}

proptest! {
    #[test]
    fn a_call_among_others_goes_as_it_goes_alone(seed: u64) {
        let mut script = generate::script_of(seed);
        (script.settings.transcription, script.settings.voice) = (false, false);
        let mut calls: Vec<&Call> = script.calls.iter().collect();
        calls.sort_by_key(|call| call.at);
        for (which, together) in play(&script, 0, &calls).iter().enumerate() {
            let alone = play(&script, which, &calls[which..=which]).remove(0);
            prop_assert_eq!(together, &alone, "call {} of seed {}", which, seed);
        }
    }
}
