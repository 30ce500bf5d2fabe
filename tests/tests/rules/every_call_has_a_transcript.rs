//! I12: every call ends with a transcript or with a written reason why it has none, whatever went wrong with Twilio, the
//! service, the database, the disk and the process itself; and I2, I5, I7, I8 and I10 beside it. Virtual time.

use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::far_end::{AfterFailure, HangUp, Plan, RecordingFate, StreamFault};
use callwarden_core::limits;
use callwarden_core::path;
use callwarden_core::sid::AccountSid;
use callwarden_tests::world::script::Caller;
use callwarden_tests::world::speech;
use callwarden_tests::world::{DatabaseFault, RestFault, World};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Everything that is tried again after the last fault has been tried again within this: a refusal of ten minutes, and
/// three look-ups.
const AFTERWARDS: Duration = Duration::from_secs(3 * 3_600);

/// What is wrong for a while.
#[derive(Clone, Debug)]
struct Trouble {
    /// When it begins, and for how long it lasts.
    span: (Duration, Duration),
    service: Option<Fault>,
    unreachable: bool,
    database: DatabaseFault,
    disk: bool,
    rest: RestFault,
}

impl Trouble {
    fn none() -> Self {
        Self {
            span: (Duration::ZERO, Duration::ZERO),
            service: None,
            unreachable: false,
            database: DatabaseFault::None,
            disk: false,
            rest: RestFault::None,
        }
    }
}

/// A few calls, and what goes wrong with them.
#[derive(Clone, Debug)]
struct Script {
    plans: Vec<Plan>,
    trouble: Trouble,
    /// When the process is killed.
    killed: Option<Duration>,
    /// Webhooks that never arrive.
    lost: Vec<&'static str>,
    twice: Option<Duration>,
}

fn fault() -> impl Strategy<Value = StreamFault> {
    let time = || (500_u64..6_000).prop_map(Duration::from_millis);
    prop_oneof![
        4 => Just(StreamFault::None),
        1 => Just(StreamFault::NeverStarts),
        1 => Just(StreamFault::HandshakeFails(502)),
        1 => prop::option::of(time()).prop_map(StreamFault::Mute),
        1 => (time(), prop::option::of(time())).prop_map(|(after, resume)| StreamFault::StallAfter(after, resume)),
        1 => time().prop_map(StreamFault::DropAfter),
        1 => time().prop_map(StreamFault::StopAfter),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let time = || (0_u64..14_000).prop_map(Duration::from_millis);
    let hangs_up = prop_oneof![
        Just(HangUp::Never),
        time().prop_map(HangUp::Answered),
        time().prop_map(HangUp::Streaming),
        time().prop_map(HangUp::Recording),
    ];
    let fates = [RecordingFate::Kept, RecordingFate::Kept, RecordingFate::Absent, RecordingFate::Unreported];
    let after = [AfterFailure::Action, AfterFailure::NextVerb, AfterFailure::Nothing];
    let every = (prop::option::of(2_u32..9), prop::option::of(2_u32..9));
    let switches = (any::<bool>(), any::<bool>());
    let rest = (select(fates.to_vec()), select(after.to_vec()), every, switches, (time(), time()));
    (prop::collection::vec(fault(), 0..4), hangs_up, rest).prop_map(
        |(faults, hangs_up, (recording, after_failure, every, switches, (speaks, message)))| Plan {
            faults,
            hangs_up,
            recording,
            after_failure,
            speaks,
            message,
            voice: speech::paced(Duration::from_millis(900)),
            duplicate_every: every.0,
            garbage_every: every.1,
            forgotten_when_over: switches.0,
            action_after_hang_up: switches.1,
            ..Plan::default()
        },
    )
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let service = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Fault::Refuse(Refusal::overloaded()))),
        1 => Just(Some(Fault::Refuse(Refusal::wrong_key()))),
        1 => Just(Some(Fault::Refuse(Refusal::undecodable()))),
        1 => Just(Some(Fault::Page)),
        1 => Just(Some(Fault::Cut)),
    ];
    let database = [DatabaseFault::None, DatabaseFault::None, DatabaseFault::Refuses, DatabaseFault::Hangs];
    let rest = [RestFault::None, RestFault::None, RestFault::NotSent, RestFault::Refused(401, 20003), RestFault::Lost];
    let span = (0_u64..20_000, 0_u64..120_000);
    let span = span.prop_map(|(from, length)| (Duration::from_millis(from), Duration::from_millis(length)));
    (span, service, any::<bool>(), select(database.to_vec()), any::<bool>(), select(rest.to_vec())).prop_map(
        |(span, service, unreachable, database, disk, rest)| Trouble {
            span,
            service,
            unreachable,
            database,
            disk,
            rest,
        },
    )
}

fn script() -> impl Strategy<Value = Script> {
    let paths = vec![path::CALL_STATUS, path::STREAM_STATUS, path::HANDLE_RECORDING, path::RECORDING_STATUS];
    let killed = prop::option::weighted(0.4, (0_u64..30_000).prop_map(Duration::from_millis));
    let twice = prop::option::of((0_u64..40).prop_map(Duration::from_millis));
    (prop::collection::vec(plan(), 1..4), trouble(), killed, subsequence(paths, 0..3), twice)
        .prop_map(|(plans, trouble, killed, lost, twice)| Script { plans, trouble, killed, lost, twice })
}

/// Runs a script to the end of every call, and on until nothing is left to be done for any.
fn play(script: &Script, nuisance: bool) -> World {
    let mut world = World::transcribing();
    (world.nuisance, world.twice) = (nuisance, script.twice);
    world.lost_paths.extend(script.lost.iter().copied());
    let calls: Vec<usize> = script.plans.iter().map(|plan| world.call(plan.clone())).collect();
    let Trouble { span: (from, length), service, unreachable, database, disk, rest } = script.trouble.clone();
    let mut moments = vec![(from, 0), (from + length, 1)];
    moments.extend(script.killed.map(|at| (at, 2)));
    moments.sort_unstable();
    let begun = world.now.mono;
    for (at, what) in moments {
        world.run_for((begun + at).since(world.now.mono));
        match what {
            0 => {
                world.openai.set_fault(service.clone());
                (world.openai_down, world.database.fault) = (unreachable, database);
                (world.nodes[0].disk.fails, world.rest_always) = (disk, rest);
            }
            1 => {
                world.openai.set_fault(None);
                (world.openai_down, world.database.fault) = (false, DatabaseFault::None);
                (world.nodes[0].disk.fails, world.rest_always) = (false, RestFault::None);
            }
            _ => world.kill_and_restart(),
        }
    }
    for call in calls {
        world.run_to_the_end_of(call);
    }
    world.run_for(AFTERWARDS);
    world.settle();
    world
}

/// A call's transcript and how it stands.
fn outcome(world: &World, call: usize) -> (String, String) {
    (world.transcript(call), world.transcript_status(call))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_goes_wrong_every_call_has_a_transcript_or_a_written_reason(script in script()) {
        let world = play(&script, false);
        let known = speech::text();
        for call in 0..script.plans.len() {
            let (transcript, status) = outcome(&world, call);
            let reason = status.strip_prefix("failed: ").is_some_and(|reason| reason.len() > 8);
            // A process that was killed while the database was away may take all it knew of a call with it.
            let unknown = script.killed.is_some() && script.trouble.database != DatabaseFault::None && status.is_empty();
            prop_assert!(reason || unknown || ["done", "empty"].contains(&status.as_str()), "{status:?}\n{script:#?}");
            prop_assert_eq!(status == "empty", transcript.is_empty() && !reason && !unknown, "{:#?}", script);
            for word in transcript.split_whitespace().filter(|word| *word != "[…]") {
                prop_assert!(known.contains(word), "{word} was never said\n{script:#?}");
            }
            let marked = transcript.contains("[…]");
            prop_assert!(!marked || reason, "a mark has its reason: {status}\n{script:#?}");
        }
        prop_assert!(world.nodes[0].disk.files.is_empty(), "{:?}\n{script:#?}", world.nodes[0].disk.files.keys());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn repeated_answers_needless_wake_ups_and_clocks_that_go_back_change_no_line(script in script()) {
        let (plain, disturbed) = (play(&script, false), play(&script, true));
        prop_assert!(plain.log == disturbed.log, "{:#?}", script);
        prop_assert!(plain.log == play(&script, false).log, "the same script gives the same log (I10)");
    }

    /// Callers who hang up just when a deadline passes may be recorded or not; these stay on the line.
    #[test]
    fn webhooks_that_arrive_twice_change_no_transcript(plans in prop::collection::vec(plan(), 1..3), later in 0_u64..40) {
        let plans: Vec<Plan> = plans.into_iter().map(|plan| Plan { hangs_up: HangUp::Never, ..plan }).collect();
        let script = Script { plans, trouble: Trouble::none(), killed: None, lost: Vec::new(), twice: None };
        let once = play(&script, false);
        let twice = play(&Script { twice: Some(Duration::from_millis(later)), ..script.clone() }, false);
        for call in 0..script.plans.len() {
            prop_assert_eq!(outcome(&once, call), outcome(&twice, call), "{:#?}", script);
        }
    }
}

#[test]
fn the_ordinary_call_of_these_scripts_is_transcribed() {
    let plan = Plan { hangs_up: HangUp::Streaming(seconds(18)), ..speech::caller(speech::paced(seconds(1))) };
    let script = Script { plans: vec![plan], trouble: Trouble::none(), killed: None, lost: Vec::new(), twice: None };
    let world = play(&script, false);
    assert_eq!(outcome(&world, 0), (speech::text(), "done".to_owned()));
    assert!(AFTERWARDS > limits::BLOCKED_RETRY + limits::LOOK_UP_TIMES[2]);
}

#[test]
fn a_recording_whose_announcement_was_lost_is_not_pending_for_ever_where_nothing_is_transcribed() {
    let mut world = World::down(DatabaseFault::Refuses);
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    world.run_for(Duration::from_secs(1));
    // What its row would have said is on the disk that is lost with it.
    world.kill(0);
    world.start_again(0, true);
    world.database.fault = DatabaseFault::None;
    world.hang_up(call);
    let caller = Caller { call: world.sid(call), account: AccountSid::from_number(1) };
    let recording = [("RecordingSid", "RE00000000000000000000000000000001"), ("RecordingStatus", "completed")];
    world.webhook(path::RECORDING_STATUS, caller, &recording);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.transcript_status(call), "failed: OPENAI_API_KEY is not set");
}

#[test]
fn a_recording_that_only_a_look_up_found_is_not_pending_for_ever_where_nothing_is_transcribed() {
    let mut world = World::down(DatabaseFault::Refuses);
    let call = world.call(Plan { speaks: seconds(60), ..Plan::default() });
    world.run_for(seconds(2));
    // What its row would have said is on the disk that is lost with it.
    world.kill(0);
    world.start_again(0, true);
    world.database.fault = DatabaseFault::None;
    world.lost_paths = [path::RECORDING_STATUS, path::HANDLE_RECORDING].into();
    world.run_to_the_end_of(call);
    world.run_for(AFTERWARDS);
    assert!(!world.ledger(call).recordings.is_empty());
    assert_eq!(world.transcript_status(call), "failed: OPENAI_API_KEY is not set");
}
