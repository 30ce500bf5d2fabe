//! Whole calls: the far end plays the same plan in virtual time and over real sockets.

use super::account::{of_facts, of_ledger, of_lines, of_log, of_rows};
use super::relay::Relay;
use super::{super::BINARY, DEPLOYMENT};
use bytes::Bytes;
use callwarden::far_end::{OpenAiService, PlacedCall, Server as Called};
use callwarden_core::far_end::openai::Ear;
use callwarden_core::far_end::{AfterFailure, HangUp, Line, Plan, RecordingFate, StreamFault, sample};
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::deployment::Deployment;
use callwarden_tests::http::{PATIENCE, within};
use callwarden_tests::process::Server;
use callwarden_tests::world::speech::OPENAI_KEY;
use callwarden_tests::world::{AUTH_TOKEN, HOST, RestFault, World, settings};
use smol::Timer;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Deadlines that a real call can wait for, with prompts of a second each.
const SETTINGS: [(&str, &str); 6] = [
    ("STREAM_START_TIMEOUT", "3s"),
    ("MEDIA_TIMEOUT", "1s"),
    ("END_SILENCE", "2500ms"),
    ("GREETING_TEXT", "שלום"),
    ("FALLBACK_TEXT", "אחרי הצליל"),
    ("GOODBYE_TEXT", "להתראות"),
];
/// Where the simulator's Twilio is asked.
const TWILIO: &str = "https://api.twilio.com";
/// Between two looks at what nothing announces.
const LOOK: Duration = Duration::from_millis(50);
/// No call of these lasts so long.
const LONGEST: Duration = Duration::from_secs(60);
/// What is still told and written after a call's end.
const AFTERMATH: Duration = Duration::from_secs(20);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A caller who speaks aloud for a second, and hangs up during a recording, if there is one.
fn plan(faults: &[StreamFault]) -> Plan {
    Plan {
        speaks: millis(1_000),
        hangs_up: HangUp::Recording(millis(500)),
        faults: faults.to_vec(),
        voice: Bytes::from_static(&[0x00, 0x80]),
        recording_delay: millis(100),
        ..Plan::default()
    }
}

/// A caller who does not stop speaking.
fn talker(faults: &[StreamFault]) -> Plan {
    Plan { speaks: Duration::from_secs(600), ..plan(faults) }
}

/// What callers and networks do, each by its name.
fn plans() -> Vec<(&'static str, Plan)> {
    use StreamFault::{
        ConnectsButNoStart, DropAfter, HandshakeFails, Mute, NeverStarts, None as Healthy, StallAfter, StopAfter,
    };
    vec![
        ("healthy", plan(&[])),
        ("hangs up while it rings", Plan { hangs_up: HangUp::Ringing(millis(500)), ..plan(&[NeverStarts]) }),
        ("hangs up in mid-word", Plan { hangs_up: HangUp::Streaming(millis(700)), ..talker(&[]) }),
        ("hangs up before any stream", Plan { hangs_up: HangUp::Answered(millis(1_800)), ..plan(&[NeverStarts]) }),
        ("never starts", plan(&[NeverStarts])),
        ("connects and does not start", plan(&[ConnectsButNoStart])),
        ("starts late", Plan { start_delay: millis(1_500), ..plan(&[]) }),
        ("mute", talker(&[Mute(None)])),
        ("mute at first", Plan { hangs_up: HangUp::Streaming(millis(900)), ..talker(&[Mute(Some(millis(500)))]) }),
        ("stalls", talker(&[StallAfter(millis(700), None)])),
        ("is cut off once", Plan { speaks: millis(3_000), ..plan(&[DropAfter(millis(600))]) }),
        ("is stopped once", Plan { speaks: millis(3_000), ..plan(&[StopAfter(millis(600))]) }),
        ("is refused", plan(&[HandshakeFails(403)])),
        ("is refused and goes on", Plan { after_failure: AfterFailure::NextVerb, ..plan(&[HandshakeFails(500)]) }),
        ("keeps no recording", Plan { recording: RecordingFate::Absent, ..plan(&[NeverStarts]) }),
        ("garbage between the frames", Plan { garbage_every: Some(7), duplicate_every: Some(5), ..plan(&[Healthy]) }),
    ]
}

/// What the simulator makes of each of these plans, played side by side.
async fn simulated(plans: &[(&str, Plan)], more: &[(&str, &str)], rest: RestFault) -> Vec<Vec<String>> {
    let mut world = World::with(settings(&[&SETTINGS[..], more].concat()));
    world.rest_always = rest;
    let calls: Vec<usize> = plans.iter().map(|(_, plan)| world.call(plan.clone())).collect();
    for call in &calls {
        world.run_to_the_end_of(*call);
    }
    world.run_for(AFTERMATH);
    let mut accounts = Vec::new();
    for (call, number) in calls.into_iter().zip(0..) {
        let sid = world.sid(call);
        assert_eq!(sid, line(number).call, "both Twilios number their calls alike");
        let mut lines = of_ledger(world.ledger(call));
        let asked = world.rest_log.iter().filter(|(_, _, url)| url.contains(sid.as_str()));
        lines.extend(asked.map(|(_, method, url)| {
            format!("rest {} {}", format!("{method:?}").to_uppercase(), url.trim_start_matches(TWILIO))
        }));
        lines.extend(of_lines(world.log.iter().map(|(_, line)| line), sid));
        lines.extend(of_facts(&world, sid).await);
        if transcribes(more) {
            lines.push(format!("said {:?} {}", world.transcript(call), world.transcript_status(call)));
        }
        accounts.push(lines);
    }
    accounts
}

fn transcribes(settings: &[(&str, &str)]) -> bool {
    settings.iter().any(|(name, _)| *name == "OPENAI_API_KEY")
}

fn line(number: u128) -> Line {
    let account = AccountSid::from_number(1);
    let call = CallSid::from_number(0x100 + number);
    Line::to_server(&format!("https://{HOST}"), account, call, Some(Secret::new(AUTH_TOKEN)))
}

/// A server, the simulated Twilio that calls it, and what is between them.
struct Site {
    deployment: Deployment,
    relay: Relay,
    server: Server,
    transcribes: bool,
}

impl Site {
    async fn new(more: &[(&str, &str)]) -> Self {
        let relay = Relay::start().await;
        let api = format!("http://{}", relay.address);
        let all = [&SETTINGS[..], &DEPLOYMENT, more, &[("TWILIO_API_BASE", api.as_str())]].concat();
        let deployment = Deployment::new(BINARY, TestDatabase::sqlite(), &all).await;
        relay.lead_to(&deployment.twilio.api_base());
        let server = deployment.server("node").await;
        Self { deployment, relay, server, transcribes: transcribes(more) }
    }

    fn call(&self, plan: Plan, number: u128) -> PlacedCall {
        self.deployment.twilio.call(&Called::from(self.server.address()), line(number), plan)
    }

    /// What the server made of a call so far, whose account is this.
    async fn account(&self, ledger: &[String], call: CallSid) -> Vec<String> {
        let mut lines = ledger.to_vec();
        lines.extend(self.relay.asked(call.as_str()).into_iter().map(|asked| format!("rest {asked}")));
        lines.extend(of_log(&self.server.lines(), call));
        lines.extend(of_rows(&self.deployment.database, call).await);
        if self.transcribes {
            let rows = self.deployment.rows_of("call_log", call).await;
            let column = |name: &str| rows.first().and_then(|row| row.get(name).cloned()).unwrap_or_default();
            lines.push(format!("said {:?} {}", column("transcript"), column("transcript_status")));
        }
        lines
    }

    fn stop(self) {
        self.server.signal("TERM");
        assert_eq!(self.server.ended().0, Some(0));
    }
}

/// Nothing where they are equal; else every line that only one side has, or both whole when the order differs.
fn difference(name: &str, expected: &[String], found: &[String]) -> Vec<String> {
    if expected == found {
        return Vec::new();
    }
    let (simulator, server): (BTreeSet<_>, BTreeSet<_>) = (expected.iter().collect(), found.iter().collect());
    let missing = simulator.difference(&server).map(|line| format!("{name}: simulator alone: {line}"));
    let added = server.difference(&simulator).map(|line| format!("{name}: server alone:    {line}"));
    let mut lines: Vec<String> = missing.chain(added).collect();
    if lines.is_empty() {
        lines.push(format!("{name}: the order or the number of lines: {expected:#?} and {found:#?}"));
    }
    lines
}

/// Plays plans side by side and compares each with the simulator. `rest` is what becomes of every REST request, in the
/// simulator and as the status of a refusal.
async fn play(plans: Vec<(&'static str, Plan)>, more: &[(&str, &str)], rest: (RestFault, Option<u16>)) {
    let site = Site::new(more).await;
    site.deployment.twilio.refuse_rest(rest.1);
    let numbered = || plans.iter().zip(0_u128..);
    let placed: Vec<_> = numbered().map(|((_, plan), number)| site.call(plan.clone(), number)).collect();
    let mut accounts = Vec::new();
    let expected = simulated(&plans, more, rest.0).await;
    for (((name, _), number), (placed, expected)) in numbered().zip(placed.into_iter().zip(expected)) {
        let ledger = of_ledger(&within(LONGEST, "the end of a call", placed.ended()).await);
        accounts.push((*name, line(number).call, expected, ledger));
    }
    // What Twilio tells after the end of a call, and what is written about it, comes when it comes.
    let until = Instant::now() + PATIENCE;
    let mut different = vec![String::new()];
    while !different.is_empty() && Instant::now() < until {
        Timer::after(LOOK).await;
        different.clear();
        for (name, call, expected, ledger) in &accounts {
            different.extend(difference(name, expected, &site.account(ledger, *call).await));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    site.stop();
}

#[test]
fn calls_of_every_fate_come_to_the_same_as_in_the_simulator() {
    smol::block_on(play(plans(), &[], (RestFault::None, None)));
}

#[test]
fn calls_whose_move_is_refused_come_to_the_same_as_in_the_simulator() {
    use StreamFault::{Mute, NeverStarts, StallAfter};
    let plans = vec![
        ("mute", talker(&[Mute(None)])),
        ("stalls", talker(&[StallAfter(millis(700), None)])),
        ("never starts", Plan { hangs_up: HangUp::Answered(millis(9_000)), ..plan(&[NeverStarts]) }),
    ];
    smol::block_on(play(plans, &[], (RestFault::Refused(401, 20003), Some(401))));
}

#[test]
fn a_caller_is_transcribed_to_the_same_words_as_in_the_simulator() {
    smol::block_on(async {
        let ear = Ear::new(vec![sample::passage().expect("a table of words")]);
        let openai = OpenAiService::listen(Secret::new(OPENAI_KEY), ear).await.expect("loopback");
        let base = openai.base_url();
        let more = [("OPENAI_API_KEY", OPENAI_KEY), ("OPENAI_BASE_URL", base.as_str())];
        let voice = sample::speech();
        let speaks = Plan { speaks: voice_time(&voice), voice, ..plan(&[]) };
        play(vec![("speaks", speaks)], &more, (RestFault::None, None)).await;
    });
}

/// How long mu-law at 8,000 samples a second takes.
fn voice_time(voice: &[u8]) -> Duration {
    Duration::from_millis(voice.len() as u64 / 8)
}
