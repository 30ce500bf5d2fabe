//! The transcription service, the database or the disk goes away and comes back, or the process itself does: every word
//! that was said is in the transcript in the end, none was paid for twice, and what is lost says so (T4, T5). Virtual
//! time.

use callwarden_core::disk::{Content, DiskAnswer, DiskCommand, Orphan, UtteranceFile};
use callwarden_core::far_end::Plan;
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::limits;
use callwarden_core::log::{Event, Level};
use callwarden_core::path;
use callwarden_core::store::JobState;
use callwarden_core::time::UnixMillis;
use callwarden_tests::world::alone::Alone;
use callwarden_tests::world::script::Caller;
use callwarden_tests::world::speech::{self, caller};
use callwarden_tests::world::{DatabaseFault, LATENCY, World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// After the end of an outage everything that waited is tried again within this.
const BACK: Duration = Duration::from_secs(130);
/// What a crash cuts off.
const LOST: &str = "failed: the server stopped while the caller was on a stream: what was being said is lost";

/// How the service is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Unreachable,
    Overloaded,
}

fn go_away(world: &mut World, away: Away) {
    match away {
        Away::Unreachable => world.openai_down = true,
        Away::Overloaded => world.openai.set_fault(Some(Fault::Refuse(Refusal::overloaded()))),
    }
}

fn come_back(world: &mut World) {
    world.openai_down = false;
    world.openai.set_fault(None);
}

/// The reasons of `transcription_failed` lines, in order.
fn said(world: &World) -> Vec<&str> {
    world.logged(Event::TranscriptionFailed).into_iter().filter_map(|line| line.reason.as_deref()).collect()
}

#[track_caller]
fn assert_done(world: &World, call: usize) {
    assert_eq!(world.transcript(call), speech::text());
    assert_eq!(world.transcript_status(call), "done");
    assert!(world.nodes[0].disk.files.is_empty(), "no file is left of what is stored");
    assert!(world.openai.ledger().repeats().is_empty(), "nothing is paid for twice");
}

#[test]
fn an_outage_of_a_minute_an_hour_or_ten_costs_no_word_and_few_requests() {
    for (outage, away) in [
        (SECOND * 60, Away::Unreachable),
        (SECOND * 60, Away::Overloaded),
        (HOUR, Away::Overloaded),
        (HOUR * 10, Away::Unreachable),
        (HOUR * 10, Away::Overloaded),
    ] {
        let mut world = World::transcribing();
        let call = world.call(caller(speech::paced(SECOND)));
        world.run_for(SECOND * 4);
        assert_eq!(world.transcript(call), speech::sentence_text(0));
        go_away(&mut world, away);
        world.run_for(outage);
        assert_eq!(world.transcript(call), speech::sentence_text(0));
        assert_eq!(world.transcript_status(call), "pending");
        let hours = usize::try_from(outage.as_secs() / 3_600).expect("few");
        assert!(world.asked() <= 20 + 80 * hours, "{} requests in {outage:?} of {away:?}", world.asked());
        come_back(&mut world);
        world.run_for(BACK);
        assert_done(&world, call);
        assert_eq!(said(&world), ["outage", "over"], "each is said once");
        world.settle();
    }
}

#[test]
fn many_calls_in_an_outage_cost_no_more_requests_than_one() {
    let mut world = World::transcribing();
    go_away(&mut world, Away::Overloaded);
    let calls: Vec<usize> = (0..10).map(|_| world.call(caller(speech::paced(SECOND)))).collect();
    world.run_for(HOUR);
    assert!(world.asked() <= 20 + 80 + 10, "{} requests", world.asked());
    come_back(&mut world);
    world.run_for(BACK);
    for call in calls {
        assert_eq!((world.transcript(call), world.transcript_status(call)), (speech::text(), "done".to_owned()));
    }
}

#[test]
fn an_outage_that_outlives_the_process_costs_no_word() {
    for (before, after) in [(SECOND * 10, SECOND * 10), (SECOND * 600, HOUR), (HOUR * 5, SECOND)] {
        for away in [Away::Unreachable, Away::Overloaded] {
            let mut world = World::transcribing();
            go_away(&mut world, away);
            let call = world.call(caller(speech::paced(SECOND)));
            world.run_to_the_end_of(call);
            world.run_for(before);
            world.kill_and_restart();
            world.run_for(after);
            world.kill_and_restart();
            world.kill_and_restart();
            come_back(&mut world);
            world.run_for(BACK);
            assert_done(&world, call);
            world.settle();
        }
    }
}

#[test]
fn what_a_process_left_counts_as_waiting_before_the_database_has_said_what_of_it_is_done() {
    let mut world = World::transcribing();
    go_away(&mut world, Away::Unreachable);
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    world.run_for(SECOND);
    world.database.fault = DatabaseFault::Refuses;
    world.kill_and_restart();
    world.run_for(SECOND);
    assert_eq!(world.nodes[0].disk.of_speech().len(), 5);
    assert_eq!(world.nodes[0].switchboard.gauges().speech_waiting, 5);
    world.database.fault = DatabaseFault::None;
    come_back(&mut world);
    world.run_for(BACK);
    assert_done(&world, call);
}

/// A caller who goes on speaking, sentence by sentence, and has nothing to say to a recording.
fn talker() -> Plan {
    Plan { voice: speech::paced(SECOND * 3 / 2), speaks: SECOND * 100, message: Duration::ZERO, ..Plan::default() }
}

/// Kills the process when that has come about, and waits until nothing is left to do. Twilio does not reach the next one
/// with its question, so that nobody speaks to that.
fn kill_when(world: &mut World, done: impl Fn(&World) -> bool) {
    world.run_until(SECOND * 60, done);
    world.lost_paths.insert(path::STREAM_ENDED);
    world.kill_and_restart();
    come_back(world);
    world.run_for(BACK);
}

#[track_caller]
fn assert_cut_off(world: &World, call: usize, sentences: &[usize]) {
    let said = sentences.iter().map(|number| speech::sentence_text(*number)).chain(["[…]".to_owned()]);
    assert_eq!(world.transcript(call), said.collect::<Vec<_>>().join(" "));
    assert_eq!(world.transcript_status(call), LOST);
    assert!(world.nodes[0].disk.files.is_empty(), "{:?}", world.nodes[0].disk.files.keys());
}

#[test]
fn a_process_killed_while_it_keeps_an_utterance_loses_only_what_is_being_said() {
    let mut world = World::transcribing();
    let call = world.call(talker());
    kill_when(&mut world, |world| world.nodes[0].disk.writes == 1);
    assert_cut_off(&world, call, &[0]);
    assert_eq!(world.asked(), 1);
}

#[test]
fn a_process_killed_while_utterances_wait_loses_only_what_is_being_said() {
    let mut world = World::transcribing();
    go_away(&mut world, Away::Unreachable);
    let call = world.call(talker());
    world.run_for(SECOND * 12);
    assert_eq!(world.nodes[0].disk.files.len(), 2);
    kill_when(&mut world, |_| true);
    assert_cut_off(&world, call, &[0, 1]);
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_process_killed_while_an_utterance_is_at_the_service_asks_for_it_once_more() {
    let mut world = World::transcribing();
    world.openai.set_delay(SECOND * 5);
    let call = world.call(talker());
    kill_when(&mut world, |world| world.asked() == 1);
    assert_cut_off(&world, call, &[0]);
    assert_eq!(world.asked(), 2, "the first answer was lost with the process");
}

#[test]
fn a_process_killed_after_the_database_took_a_text_and_before_it_said_so_asks_for_nothing_again() {
    let mut world = World::transcribing();
    let call = world.call(talker());
    world.run_until(SECOND * 5, |world| world.asked() == 1);
    world.database.latency = SECOND / 2;
    world.run_for(LATENCY * 4);
    kill_when(&mut world, |_| true);
    assert_cut_off(&world, call, &[0]);
    assert_eq!(world.asked(), 1, "its file was still there");
}

#[test]
fn a_process_killed_after_a_text_was_stored_asks_for_nothing_again() {
    let mut world = World::transcribing();
    let call = world.call(talker());
    kill_when(&mut world, |world| !world.transcript(call).is_empty() && world.nodes[0].disk.files.is_empty());
    assert_cut_off(&world, call, &[0]);
    assert_eq!(world.asked(), 1);
}

#[test]
fn a_process_killed_while_a_caller_is_silent_says_so_too_for_nobody_knows() {
    let mut world = World::transcribing();
    let call = world.call(Plan { voice: speech::once(SECOND * 100), ..talker() });
    world.run_for(SECOND * 16);
    kill_when(&mut world, |_| true);
    assert_eq!(world.transcript(call), format!("{} […]", speech::text()));
    assert_eq!(world.transcript_status(call), LOST);
}

#[test]
fn a_text_the_database_does_not_take_is_kept_in_place_of_its_audio() {
    for fault in [DatabaseFault::Refuses, DatabaseFault::Hangs, DatabaseFault::LosesAnswers] {
        let mut world = World::transcribing();
        let call = world.call(caller(speech::paced(SECOND)));
        world.run_for(SECOND * 2);
        world.database.fault = fault;
        world.run_to_the_end_of(call);
        world.run_for(SECOND * 30);
        let kept = world.nodes[0].disk.of_speech();
        assert_eq!(kept.len(), 5, "{fault:?}");
        assert!(kept.iter().all(|name| name.ends_with(".txt")), "{fault:?}: {kept:?}");
        assert_eq!(world.asked(), 5);
        world.database.fault = DatabaseFault::None;
        world.run_for(SECOND * 30);
        assert_done(&world, call);
        assert_eq!(world.asked(), 5);
        world.settle();
    }
}

#[test]
fn texts_that_the_database_did_not_take_are_stored_by_the_next_process_and_not_asked_for_again() {
    for fault in [DatabaseFault::Refuses, DatabaseFault::Hangs] {
        let mut world = World::transcribing();
        let call = world.call(caller(speech::paced(SECOND)));
        world.run_for(SECOND * 2);
        world.database.fault = fault;
        world.run_to_the_end_of(call);
        world.run_for(SECOND * 30);
        world.kill_and_restart();
        world.run_for(SECOND * 30);
        world.database.fault = DatabaseFault::None;
        world.run_for(SECOND * 30);
        assert_eq!(world.asked(), 5, "{fault:?}");
        assert_done(&world, call);
        assert!(world.nodes[0].disk.files.is_empty());
    }
}

#[test]
fn a_database_that_goes_away_while_it_takes_texts_gets_them_when_it_is_back() {
    let mut world = World::transcribing();
    world.database.latency = SECOND * 2;
    let calls: Vec<usize> = (0..12).map(|_| world.call(caller(speech::paced(SECOND)))).collect();
    world.run_until(SECOND * 10, |world| world.asked() == 12);
    world.run_for(SECOND / 10);
    world.database.fault = DatabaseFault::Hangs;
    world.run_for(SECOND * 40);
    assert!(
        world.nodes[0].disk.of_speech().iter().all(|name| name.ends_with(".txt")),
        "{:?}",
        world.nodes[0].disk.of_speech()
    );
    (world.database.fault, world.database.latency) = (DatabaseFault::None, SECOND / 100);
    world.run_for(SECOND * 60);
    for call in calls {
        assert_eq!((world.transcript(call), world.transcript_status(call)), (speech::text(), "done".to_owned()));
    }
    assert_eq!(world.asked(), 60);
}

#[test]
fn a_database_that_refuses_a_text_for_good_costs_that_text_and_no_other() {
    let mut world = World::transcribing();
    world.database.fault = DatabaseFault::RefusesTexts;
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 10);
    assert_eq!(world.transcript(call), "[…] […] […] […] […]");
    assert_eq!(world.transcript_status(call), "failed: the database refused its text");
    assert!(world.nodes[0].disk.files.is_empty());
    world.settle();
}

#[test]
fn a_disk_that_fails_is_said_once_and_everything_is_transcribed_all_the_same() {
    let mut world = World::transcribing();
    world.nodes[0].disk.fails = true;
    for _ in 0..2 {
        let call = world.call(caller(speech::paced(SECOND)));
        world.run_to_the_end_of(call);
        world.run_for(SECOND * 2);
        assert_done_with_repeats(&world, call);
    }
    let loud: Vec<_> =
        world.logged(Event::TranscriptionFailed).into_iter().filter(|line| line.level == Level::Error).collect();
    assert_eq!(loud.len(), 1);
    assert_eq!((loud[0].reason.as_deref(), loud[0].cause.as_deref()), (Some("disk"), Some("no space left on device")));
    world.nodes[0].disk.fails = false;
    world.run_for(limits::ADOPT_TIME);
    assert_eq!(said(&world), ["disk", "disk_over"]);
    world.settle();
}

/// Two callers who say the same are the same clips.
#[track_caller]
fn assert_done_with_repeats(world: &World, call: usize) {
    assert_eq!((world.transcript(call), world.transcript_status(call)), (speech::text(), "done".to_owned()));
}

#[test]
fn an_outage_on_a_full_disk_costs_no_word_while_the_process_lives() {
    let mut world = World::transcribing();
    world.nodes[0].disk.fails = true;
    go_away(&mut world, Away::Unreachable);
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_for(HOUR);
    come_back(&mut world);
    world.run_for(BACK);
    assert_done(&world, call);
}

#[test]
fn what_a_full_disk_did_not_keep_is_lost_with_the_process_and_said_so() {
    let mut world = World::transcribing();
    world.nodes[0].disk.fails = true;
    go_away(&mut world, Away::Unreachable);
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    world.run_for(SECOND);
    world.nodes[0].disk.fails = false;
    world.kill_and_restart();
    come_back(&mut world);
    world.run_for(BACK);
    assert_eq!(world.transcript(call), "[…] […] […] […] […]");
    assert_eq!(world.transcript_status(call), "failed: its audio was lost with the server that heard it");
    assert_eq!(said(&world).iter().filter(|reason| **reason == "lost").count(), 5, "each is said");
    world.settle();
}

#[test]
fn audio_that_cannot_be_read_for_a_while_is_read_later() {
    let mut world = World::transcribing();
    go_away(&mut world, Away::Unreachable);
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 10);
    world.nodes[0].disk.fails = true;
    come_back(&mut world);
    world.run_for(SECOND * 120);
    let status = world.transcript_status(call);
    assert!(status.starts_with("failed: its file cannot be read: no space left"), "{status}");
    world.nodes[0].disk.fails = false;
    world.run_for(limits::BLOCKED_RETRY);
    assert_done(&world, call);
    world.settle();
}

#[test]
fn a_process_killed_between_the_text_and_its_audio_leaves_both_and_the_text_counts() {
    let mut alone = Alone::new(speech::settings(&[]));
    let caller = Caller::new(1);
    let (call, stream, started_at) = (caller.call, caller.stream(1), UnixMillis(1_795_000_000_000));
    let (from, to) = (Duration::ZERO, SECOND);
    let file = UtteranceFile { call, stream, sequence: 1, started_at, from, to, near_silent: false };
    let [audio, text] = [Content::Audio, Content::Text].map(|content| file.name(content));
    let files = vec![(audio.clone(), 8_000), (text.clone(), 10)];
    alone.filed(Ok(DiskAnswer::Adopted(vec![Orphan { node: "gone".to_owned(), files }])));
    let commands: Vec<_> = alone.disk.iter().map(|(_, command)| command.clone()).collect();
    assert!(commands.contains(&DiskCommand::Remove { name: audio.clone() }), "{commands:?}");
    assert!(commands.contains(&DiskCommand::Read { name: text }), "{commands:?}");
    assert!(!commands.contains(&DiskCommand::Read { name: audio }), "{commands:?}");
}

#[test]
fn speech_that_was_left_to_a_process_without_a_key_says_why_it_has_no_text() {
    let mut alone = Alone::new(settings(&[]));
    let caller = Caller::new(1);
    let (call, stream, started_at) = (caller.call, caller.stream(1), UnixMillis(1_795_000_000_000));
    let (from, to) = (Duration::ZERO, SECOND);
    let file = UtteranceFile { call, stream, sequence: 1, started_at, from, to, near_silent: false };
    let files = vec![(file.name(Content::Audio), 8_000)];
    alone.filed(Ok(DiskAnswer::Adopted(vec![Orphan { node: "gone".to_owned(), files }])));
    alone.run_for(HOUR);
    let row = alone.segments.last().expect("its row");
    assert_eq!((row.job.state, row.job.error.as_deref()), (JobState::Failed, Some("OPENAI_API_KEY is not set")));
    let read = alone.disk.iter().any(|(_, command)| matches!(command, DiskCommand::Read { .. }));
    assert!(!read, "the next process may have a key");
}

#[test]
fn speech_on_a_machine_that_does_not_come_back_has_failed_after_three_days_and_says_where_it_was() {
    let mut world = World::transcribing();
    go_away(&mut world, Away::Unreachable);
    let call = world.call(caller(speech::paced(SECOND)));
    world.run_to_the_end_of(call);
    world.run_for(SECOND * 10);
    world.kill(0);
    world.start_again(0, true);
    come_back(&mut world);
    world.run_for(limits::AUDIO_AGE_MAX);
    assert_eq!(world.transcript_status(call), "pending");
    world.run_for(limits::STALE_AFTER + limits::STALE_ROUND);
    assert_eq!(world.transcript(call), "[…] […] […] […] […]");
    assert_eq!(world.transcript_status(call), "failed: audio on node node-1, which did not come back");
    assert_eq!(said(&world).iter().filter(|reason| **reason == "lost").count(), 5, "each is said");
}
