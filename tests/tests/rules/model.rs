//! The model against the switchboard, over runs that nobody wrote: calls, faults and requests decoded from bytes.
//!
//! Every [`World`] is judged by the model when it is dropped, so the worlds of all other tests here are too.

use callwarden_core::far_end::{AfterFailure, HangUp, Plan, RecordingFate, StreamFault};
use callwarden_core::path;
use callwarden_core::stream::Ended;
use callwarden_tests::world::script::{self, Caller, signed, signed_with, stop, unsigned};
use callwarden_tests::world::{DatabaseFault, LATENCY, RestFault, World, settings};
use proptest::prelude::*;
use std::time::Duration;

/// Bytes to choose by; when they are used up every choice is the first.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.next()) % all.len()].clone()
    }

    /// Up to so many seconds, in 256 steps.
    fn time(&mut self, most: u32) -> Duration {
        Duration::from_secs(1) * most * u32::from(self.next()) / 256
    }
}

const RECORDING: &str = "RE0000000000000000000000000000000a";

fn fault(choices: &mut Choices<'_>) -> StreamFault {
    let after = choices.time(12);
    let back = choices.of(&[None, Some(after + Duration::from_secs(9))]);
    choices.of(&[
        StreamFault::None,
        StreamFault::NeverStarts,
        StreamFault::HandshakeFails(502),
        StreamFault::ConnectsButNoStart,
        StreamFault::Mute(None),
        StreamFault::Mute(Some(after)),
        StreamFault::StallAfter(after, back),
        StreamFault::QuietAfter(after, back),
        StreamFault::DropAfter(after),
        StreamFault::StopAfter(after),
    ])
}

fn plan(choices: &mut Choices<'_>) -> Plan {
    let faults = (0..choices.of(&[1_u8, 2, 4])).map(|_| fault(choices)).collect();
    let time = choices.time(40);
    Plan {
        faults,
        frame_interval: Duration::from_millis(200),
        hangs_up: choices.of(&[
            HangUp::Never,
            HangUp::Ringing(time / 8),
            HangUp::Answered(time),
            HangUp::Streaming(time),
            HangUp::Recording(time / 4),
        ]),
        after_failure: choices.of(&[AfterFailure::Action, AfterFailure::NextVerb, AfterFailure::Nothing]),
        recording: choices.of(&[RecordingFate::Kept, RecordingFate::Absent, RecordingFate::Unreported]),
        start_delay: choices.of(&[Duration::ZERO, Duration::from_secs(3), Duration::from_secs(9)]),
        stop_on_update: choices.of(&[true, false]),
        forgotten_when_over: choices.of(&[false, true]),
        action_after_hang_up: choices.of(&[true, false]),
        duplicate_every: choices.of(&[None, Some(3)]),
        ..Plan::default()
    }
}

fn rest(choices: &mut Choices<'_>) -> RestFault {
    choices.of(&[
        RestFault::None,
        RestFault::NotSent,
        RestFault::Lost,
        RestFault::AnswerLost,
        RestFault::Slow(Duration::from_millis(3_500)),
        RestFault::Refused(401, 20003),
        RestFault::Refused(403, 20003),
        RestFault::Refused(404, 20404),
        RestFault::Refused(400, 21220),
        RestFault::Refused(429, 20429),
        RestFault::Refused(503, 20503),
        RestFault::Found("completed"),
        RestFault::Found("in-progress"),
    ])
}

fn database(choices: &mut Choices<'_>) -> DatabaseFault {
    choices.of(&[DatabaseFault::None, DatabaseFault::Refuses, DatabaseFault::Hangs, DatabaseFault::LosesAnswers])
}

/// A webhook that Twilio might send, at any moment, late, twice or about something else; or somebody who is not Twilio.
fn webhook(world: &mut World, choices: &mut Choices<'_>, caller: Caller) {
    let webhook = choices.of(&[
        path::INCOMING_CALL,
        path::STREAM_ENDED,
        path::CALL_STATUS,
        path::STREAM_STATUS,
        path::HANDLE_RECORDING,
        path::RECORDING_STATUS,
    ]);
    let stream = caller.stream(u128::from(choices.of(&[1_u8, 2, 3])));
    let form = caller.form(&[
        ("CallStatus", choices.of(&["in-progress", "ringing", "completed", "busy", "odd"])),
        ("StreamEvent", choices.of(&["stream-stopped", "stream-error", "stream-started"])),
        ("StreamSid", stream.as_str()),
        ("RecordingSid", RECORDING),
        ("RecordingStatus", choices.of(&["in-progress", "completed", "absent"])),
        ("RecordingDuration", choices.of(&["4", "120", "never"])),
        ("Digits", choices.of(&["", "1", "hangup"])),
        ("ErrorCode", choices.of(&["", "", "", "11200"])),
    ]);
    let request = match choices.next() % 8 {
        0 => unsigned(webhook, &form),
        1 => signed_with("another token", webhook, &form),
        2 => script::get(webhook),
        _ => signed(webhook, &form),
    };
    world.request(request);
}

/// A socket of the script's own: whose it is, and which of its streams is spoken on it.
fn speak(world: &mut World, choices: &mut Choices<'_>, caller: Caller, sockets: &mut Vec<(usize, u128)>) {
    let ordinal = u128::from(choices.of(&[1_u8, 2, 3]));
    match choices.next() % 4 {
        0 => {
            let document = world.webhook(path::STREAM_ENDED, caller, &[]);
            let token = if document.contains("\"token\"") { script::token_in(&document) } else { "none".to_owned() };
            sockets.push((world.open_stream(caller, caller.stream(ordinal), &token), ordinal));
        }
        kind => {
            let Some((socket, ordinal)) = sockets.last().copied() else { return };
            match kind {
                1 => world.frames(socket, caller.stream(ordinal), choices.time(8)),
                2 => world.say(socket, &stop(caller.stream(ordinal))),
                _ => {
                    sockets.pop();
                    world.end_script_socket(socket, Ended::Closed(Some(1000)));
                }
            }
        }
    }
}

/// Runs what the bytes say. The model judges it when the world is dropped.
fn run(bytes: &[u8]) {
    let choices = &mut Choices(bytes);
    let greeting = choices.of(&["", "שלום, הגעתם. דברו אחרי הצליל ונחזור אליכם בהקדם האפשרי, תודה רבה."]);
    let mut world = World::with(settings(&[("GREETING_TEXT", greeting), ("DRAIN_SECONDS", "20")]));
    world.twice = choices.of(&[None, None, Some(Duration::from_millis(1)), Some(Duration::from_secs(2))]);
    let caller = Caller::new(1);
    let mut sockets = Vec::new();
    let (mut calls, mut drained) = (0, false);
    while !choices.0.is_empty() {
        match choices.next() % 12 {
            0..=2 if calls < 3 => {
                calls += 1;
                let plan = plan(choices);
                world.call(plan);
            }
            3 => world.rest_always = rest(choices),
            4 => world.rest_next.push_back(rest(choices)),
            5 => world.database.fault = database(choices),
            6 => world.database.latency = Duration::from_millis(choices.of(&[2, 300, 700, 990])),
            7 | 8 => webhook(&mut world, choices, caller),
            9 => {
                world.request(signed(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")])));
            }
            10 if !drained => speak(&mut world, choices, caller, &mut sockets),
            11 if choices.next() % 16 == 15 => {
                // From now on sockets are refused.
                drained = true;
                world.drain();
            }
            _ => {}
        }
        let time = choices.time(8);
        world.run_for(time + LATENCY);
    }
    world.database.fault = DatabaseFault::None;
    world.rest_always = RestFault::None;
    world.run_for(Duration::from_secs(150));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_switchboard_agrees_with_the_model_whatever_happens(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        run(&bytes);
    }
}
