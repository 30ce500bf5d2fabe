//! I11: no caller is left in silence, told by the far end's ledger; and I2, I4, I5, I7, I8 and I10 beside it. Virtual time.
//!
//! The bounds are those of the documentation, from the answer on: no `start` 8 s; mute 6 s after `start`; stalled 8 s;
//! quiet 30 s; healthy `END_SILENCE`; after a lost socket 8 s. Where REST fails, an open socket leads to the recording
//! 3 s later by the second route.

use bytes::Bytes;
use callwarden_core::far_end::{AfterFailure, HangUp, Heard, Plan, RecordingFate, StreamFault};
use callwarden_core::http::Method;
use callwarden_core::limits;
use callwarden_core::log::Event;
use callwarden_tests::world::{DatabaseFault, RestFault, World, settings};
use proptest::prelude::*;
use std::time::Duration;

/// The network, `connect_delay`, the notice of a failed stream, the last look: what no deadline of ours counts.
const SLACK: Duration = Duration::from_millis(400);
const AFTER_FAILURE: [AfterFailure; 3] = [AfterFailure::Action, AfterFailure::NextVerb, AfterFailure::Nothing];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A caller who is loud enough to be heard speaking, with few frames, for thousands of such calls.
fn caller() -> Plan {
    Plan {
        voice: Bytes::from_static(&[0x00, 0x80]),
        frame_interval: Duration::from_millis(100),
        speaks: seconds(300),
        ..Plan::default()
    }
}

const FAULTS: [StreamFault; 9] = [
    StreamFault::None,
    StreamFault::NeverStarts,
    StreamFault::HandshakeFails(502),
    StreamFault::ConnectsButNoStart,
    StreamFault::Mute(None),
    StreamFault::StallAfter(seconds(3), None),
    StreamFault::QuietAfter(seconds(3), None),
    StreamFault::DropAfter(seconds(3)),
    StreamFault::StopAfter(seconds(3)),
];

const REST_FAULTS: [RestFault; 11] = [
    RestFault::None,
    RestFault::Slow(seconds(2)),
    RestFault::AnswerLost,
    RestFault::NotSent,
    RestFault::Lost,
    RestFault::Refused(401, 20003),
    RestFault::Refused(403, 20003),
    RestFault::Refused(404, 20404),
    RestFault::Refused(400, 21220),
    RestFault::Refused(429, 20429),
    RestFault::Refused(503, 20503),
];

/// Whether updates are applied.
const fn works(rest: RestFault) -> bool {
    matches!(rest, RestFault::None | RestFault::Slow(_) | RestFault::AnswerLost)
}

/// The longest dead air that is allowed; `None` where only REST could help and REST fails for ever.
fn bound(fault: StreamFault, after: AfterFailure, rest: RestFault) -> Option<Duration> {
    let second_route = if works(rest) { Duration::ZERO } else { limits::UNCONFIRMED_CLOSE };
    let look_up = match rest {
        RestFault::Slow(time) => time,
        RestFault::AnswerLost => limits::REST_TIME,
        RestFault::None | RestFault::NotSent | RestFault::Refused(..) | RestFault::Found(_) | RestFault::Lost => {
            Duration::ZERO
        }
    };
    let silent = after == AfterFailure::Nothing;
    let only_rest = |time: Duration| works(rest).then_some(time);
    match fault {
        StreamFault::None | StreamFault::StopAfter(_) => Some(Duration::ZERO),
        StreamFault::NeverStarts => only_rest(seconds(8)),
        StreamFault::HandshakeFails(_) if silent => only_rest(limits::STREAM_ERROR_WAIT),
        StreamFault::DropAfter(_) if silent => only_rest(limits::BRIDGE_TIME + look_up),
        StreamFault::HandshakeFails(_) | StreamFault::DropAfter(_) => Some(Duration::ZERO),
        StreamFault::ConnectsButNoStart if works(rest) => Some(seconds(8)),
        StreamFault::ConnectsButNoStart => Some(limits::START_TIME),
        StreamFault::Mute(_) => Some(seconds(6) + second_route),
        StreamFault::StallAfter(..) => Some(seconds(8) + second_route),
        StreamFault::QuietAfter(..) => Some(limits::QUIET_TIME + second_route),
    }
}

/// Runs one call whose every stream has this fault, and checks what it went through.
fn run(fault: StreamFault, after_failure: AfterFailure, rest: RestFault) {
    let Some(bound) = bound(fault, after_failure, rest) else { return };
    let mut world = World::new();
    world.rest_always = rest;
    let call = world.call(Plan { faults: vec![fault; 30], after_failure, speaks: seconds(10), ..caller() });
    let ledger = world.run_to_the_end_of(call).clone();
    let case = format!("{fault:?}, {after_failure:?}, {rest:?}\n{ledger}");
    assert!(ledger.longest_dead_air() <= bound + SLACK, "{:?} allowed: {case}", bound + SLACK);
    let recorded = ledger.total(Heard::Recording) > Duration::ZERO;
    let dismissed = ledger.total(Heard::Goodbye) > Duration::ZERO;
    assert!(recorded || dismissed, "{case}");
    assert_eq!(recorded, world.database.fallback(world.sid(call)).is_some(), "a reason for each recording: {case}");
    assert_eq!(recorded, world.database.how_far(world.sid(call)).is_some(), "{case}");
    // Where no stream ever ran, nothing shows that an update whose answer was lost was applied: it is sent thrice.
    let no_signs = rest == RestFault::AnswerLost
        && (ledger.streams.iter().all(|stream| stream.started.is_none()) || after_failure == AfterFailure::Nothing);
    assert!(ledger.updates.len() <= if no_signs { 3 } else { 1 }, "delivered once: {case}");
    world.settle();
}

#[test]
fn no_caller_is_left_in_silence_whatever_fails_with_the_stream_and_with_rest() {
    for fault in FAULTS {
        for after in AFTER_FAILURE {
            for rest in REST_FAULTS {
                run(fault, after, rest);
            }
        }
    }
}

#[test]
fn a_caller_who_says_nothing_is_not_left_waiting_longer_than_the_end_silence() {
    let mut world = World::new();
    let call = world.call(Plan { speaks: seconds(3), ..caller() });
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.longest_silence() <= seconds(20) + SLACK, "{ledger}");
    assert!(ledger.total(Heard::Goodbye) > Duration::ZERO, "{ledger}");
}

#[test]
fn after_a_greeting_longer_than_four_seconds_a_missing_start_costs_four() {
    // 80 characters: eight seconds.
    let greeting = "שלום ".repeat(16);
    let mut world = World::with(settings(&[("GREETING_TEXT", greeting.as_str())]));
    let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
    let ledger = world.run_to_the_end_of(call);
    assert!(ledger.total(Heard::Greeting) > seconds(7), "{ledger}");
    assert!(ledger.longest_silence() <= seconds(4) + SLACK, "{ledger}");
}

#[test]
fn a_rest_outage_ends_in_a_recording_within_four_seconds_of_its_end() {
    for outage in [9, 12, 20, 31] {
        for fault in [RestFault::NotSent, RestFault::Refused(429, 20429)] {
            let mut world = World::new();
            world.rest_always = fault;
            let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
            world.run_for(seconds(outage));
            world.rest_always = RestFault::None;
            let ledger = world.run_to_the_end_of(call);
            assert!(ledger.longest_silence() <= seconds(outage + 4) + SLACK, "{outage} s of {fault:?}\n{ledger}");
        }
    }
}

#[test]
fn an_outage_in_which_updates_are_refused_or_lost_ends_in_a_recording_within_a_claims_ten_seconds() {
    for outage in [9, 11, 13] {
        for fault in [RestFault::Refused(401, 20003), RestFault::Refused(503, 20503), RestFault::Lost] {
            let mut world = World::new();
            world.rest_always = fault;
            let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
            world.run_for(seconds(outage));
            world.rest_always = RestFault::None;
            let ledger = world.run_to_the_end_of(call);
            let allowed = seconds(outage) + limits::CLAIM_OVERDUE + SLACK;
            assert!(ledger.longest_silence() <= allowed, "{outage} s of {fault:?}\n{ledger}");
        }
    }
}

#[test]
fn a_long_outage_of_rest_ends_in_a_recording_within_a_question_of_its_end() {
    for outage in [40, 61, 300] {
        for fault in [RestFault::Refused(503, 20503), RestFault::Lost] {
            let mut world = World::new();
            world.rest_always = fault;
            let call = world.call(Plan::with_fault(StreamFault::NeverStarts));
            world.run_for(seconds(outage));
            let updates = world.rest_log.iter().filter(|(_, method, _)| *method == Method::Post).count();
            assert_eq!(updates, 3, "an update that may have been applied is repeated twice at most (W7)");
            world.rest_always = RestFault::None;
            let ledger = world.run_to_the_end_of(call);
            let allowed = seconds(outage) + limits::REST_RETRY_MAX + limits::REST_TIME + SLACK;
            assert!(ledger.longest_silence() <= allowed, "{outage} s of {fault:?}\n{ledger}");
        }
    }
}

#[test]
fn an_outage_of_the_database_adds_the_time_of_a_claim_and_of_a_row_at_most() {
    for fault in [DatabaseFault::Refuses, DatabaseFault::Hangs, DatabaseFault::LosesAnswers] {
        for stream in FAULTS {
            let mut world = World::down(fault);
            let call = world.call(Plan { faults: vec![stream; 30], speaks: seconds(10), ..caller() });
            let ledger = world.run_to_the_end_of(call).clone();
            let allowed = bound(stream, AfterFailure::Action, RestFault::None).unwrap_or_default();
            assert!(
                ledger.longest_dead_air() <= allowed + limits::CLAIM_TIME.max(limits::ROW_TIME) + SLACK,
                "{fault:?} {stream:?}\n{ledger}"
            );
            world.database.fault = DatabaseFault::None;
            world.settle();
            let recorded = ledger.total(Heard::Recording) > Duration::ZERO;
            assert_eq!(recorded, world.database.fallback(world.sid(call)).is_some(), "{fault:?} {stream:?}");
        }
    }
}

#[test]
fn webhooks_that_arrive_twice_change_nothing_for_the_caller() {
    for fault in FAULTS {
        for (after_failure, later) in AFTER_FAILURE.into_iter().zip([0, 1, 40]) {
            let play = |twice: Option<Duration>| {
                let mut world = World::new();
                world.twice = twice;
                let call = world.call(Plan { faults: vec![fault; 30], after_failure, speaks: seconds(10), ..caller() });
                let ledger = world.run_to_the_end_of(call).clone();
                world.settle();
                let redirects = world.lines(call, Event::WatchdogRedirect).len();
                let confirmed = world.lines(call, Event::WatchdogRedirectOk).len();
                let spans: Vec<_> = ledger.spans.iter().map(|span| (span.heard, span.length())).collect();
                (spans, redirects, confirmed, world.rest_log.len(), world.database.fallback(world.sid(call)))
            };
            let later = Duration::from_millis(later);
            assert_eq!(play(Some(later)), play(None), "{fault:?}, {after_failure:?}, {later:?} later");
        }
    }
}

/// A random stretch of trouble for up to three calls at once.
#[derive(Clone, Debug)]
struct Script {
    plans: Vec<Plan>,
    rest: Vec<RestFault>,
    database: DatabaseFault,
    /// When the database fails, and for how long.
    outage: (u64, u64),
    /// Whether webhooks arrive twice, and how much later.
    twice: Option<Duration>,
}

fn fault() -> impl Strategy<Value = StreamFault> {
    let time = || (0_u64..9_000).prop_map(Duration::from_millis);
    prop_oneof![
        Just(StreamFault::None),
        Just(StreamFault::NeverStarts),
        Just(StreamFault::HandshakeFails(404)),
        Just(StreamFault::ConnectsButNoStart),
        prop::option::of(time()).prop_map(StreamFault::Mute),
        (time(), prop::option::of(time())).prop_map(|(after, resume)| StreamFault::StallAfter(after, resume)),
        (time(), prop::option::of(time())).prop_map(|(after, resume)| StreamFault::QuietAfter(after, resume)),
        time().prop_map(StreamFault::DropAfter),
        time().prop_map(StreamFault::StopAfter),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let time = || (0_u64..40_000).prop_map(Duration::from_millis);
    let hangs_up = prop_oneof![
        Just(HangUp::Never),
        Just(HangUp::Never),
        time().prop_map(HangUp::Answered),
        time().prop_map(HangUp::Streaming),
        time().prop_map(HangUp::Recording),
        (0_u64..50).prop_map(|time| HangUp::Ringing(Duration::from_millis(time))),
    ];
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let every = (prop::option::of(1_u32..9), prop::option::of(1_u32..9));
    let recording =
        prop_oneof![Just(RecordingFate::Kept), Just(RecordingFate::Absent), Just(RecordingFate::Unreported)];
    let faults = prop::collection::vec(fault(), 0..5);
    (faults, 0..AFTER_FAILURE.len(), hangs_up, switches, every, recording, time()).prop_map(
        |(faults, after, hangs_up, (hears, stop, forgotten, action), (duplicates, garbage), recording, speaks)| Plan {
            faults,
            hangs_up,
            recording,
            speaks,
            after_failure: AFTER_FAILURE[after],
            recording_hears: hears,
            stop_on_update: stop,
            forgotten_when_over: forgotten,
            action_after_hang_up: action,
            duplicate_every: duplicates,
            garbage_every: garbage,
            ..caller()
        },
    )
}

fn script() -> impl Strategy<Value = Script> {
    let rest = prop::collection::vec(0..REST_FAULTS.len(), 0..4);
    let database = prop_oneof![
        Just(DatabaseFault::None),
        Just(DatabaseFault::Refuses),
        Just(DatabaseFault::Hangs),
        Just(DatabaseFault::LosesAnswers),
    ];
    let twice = prop::option::of((0_u64..40).prop_map(Duration::from_millis));
    (prop::collection::vec(plan(), 1..4), rest, database, (0_u64..20, 0_u64..40), twice).prop_map(
        |(plans, rest, database, outage, twice)| Script {
            plans,
            rest: rest.into_iter().map(|at| REST_FAULTS[at]).collect(),
            database,
            outage,
            twice,
        },
    )
}

/// Runs a script to the end of every call and of everything known about them.
fn play(script: &Script, nuisance: bool) -> World {
    let mut world = World::new();
    (world.nuisance, world.twice) = (nuisance, script.twice);
    world.rest_next = script.rest.clone().into();
    let calls: Vec<usize> = script.plans.iter().map(|plan| world.call(plan.clone())).collect();
    world.run_for(seconds(script.outage.0));
    world.database.fault = script.database;
    world.run_for(seconds(script.outage.1));
    world.database.fault = DatabaseFault::None;
    for call in calls {
        world.run_to_the_end_of(call);
    }
    world.settle();
    world
}

/// The longest dead air a call of the script may have: the worst of its faults, and what each REST fault of the whole
/// script may cost it (a refusal 10 s, the next one 20 s, …).
fn allowed(script: &Script, plan: &Plan) -> Duration {
    // A stream that stalls before its first mark came back has never echoed: it counts as quiet (W3).
    let quiet = plan.faults.iter().any(|fault| match fault {
        StreamFault::QuietAfter(..) => true,
        StreamFault::StallAfter(after, _) => *after < SLACK,
        StreamFault::None
        | StreamFault::NeverStarts
        | StreamFault::HandshakeFails(_)
        | StreamFault::ConnectsButNoStart
        | StreamFault::Mute(_)
        | StreamFault::DropAfter(_)
        | StreamFault::StopAfter(_) => false,
    });
    let base = if quiet { limits::QUIET_TIME } else { limits::BRIDGE_TIME };
    let rest: Duration = (1_u32..).zip(&script.rest).map(|(nth, _)| limits::CLAIM_OVERDUE * nth + seconds(6)).sum();
    let database = if script.database == DatabaseFault::None { Duration::ZERO } else { limits::ROW_TIME };
    base + rest + database + SLACK * 4
}

/// Twilio's complaints about a server: messages or documents that are not what it asks for.
const COMPLAINTS: [u32; 12] = [11100, 11200, 11242, 11750, 11770, 12100, 12200, 12300, 13511, 31922, 31950, 31951];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_goes_wrong_every_call_ends_and_nobody_is_forgotten_in_silence(script in script()) {
        let world = play(&script, false);
        for (call, plan) in script.plans.iter().enumerate() {
            let ledger = world.ledger(call);
            let allowed = allowed(&script, plan);
            prop_assert!(ledger.longest_dead_air() <= allowed, "{:?} allowed\n{}\n{:#?}", allowed, ledger, script);
            let complaint = ledger.problems.iter().find(|problem| COMPLAINTS.contains(&problem.code));
            prop_assert!(complaint.is_none(), "{:?}\n{:#?}", complaint, script);
            let sid = world.sid(call);
            let confirmed = world.lines(call, Event::WatchdogRedirectOk).len();
            prop_assert!(confirmed <= 1, "one fallback a call\n{:#?}", script);
            prop_assert!(confirmed == 0 || world.database.fallback(sid).is_some(), "{:#?}", script);
            prop_assert!(ledger.recordings.is_empty() || confirmed == 1, "recorded without a reason\n{:#?}", script);
            prop_assert!(world.database.status(sid).is_some_and(|status| status.is_terminal()), "{:#?}", script);
        }
    }

    #[test]
    fn repeated_answers_needless_wake_ups_and_clocks_that_go_back_change_nothing(script in script()) {
        let (plain, disturbed) = (play(&script, false), play(&script, true));
        prop_assert!(plain.log == disturbed.log, "{:#?}", script);
        prop_assert!(plain.log == play(&script, false).log, "the same script gives the same log (I10)");
    }
}
