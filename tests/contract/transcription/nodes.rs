//! Several processes and one database.

use super::recordings::{announce_recorded, call_is_over, recording_is, recording_is_over};
use super::storage::{Kept, Storage, wav};
use super::voice::Script;
use super::{Site, leaves, millis, openai_is, ready, stopped, transcript};
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::sid::{CallSid, RecordingSid};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::http::until;
use smol::block_on;

const CALLS: usize = 16;
/// Samples of each recording.
const LENGTH: usize = 4_000 * 8;

fn from(number: usize) -> usize {
    number * 8 * 500
}

fn sids(number: usize) -> (CallSid, RecordingSid) {
    let number = number as u128 + 1;
    (CallSid::from_number(number), RecordingSid::from_number(number))
}

#[test]
fn a_recording_is_transcribed_by_one_of_two_processes_whoever_hears_of_it_how_often_and_in_which_order() {
    block_on(async {
        let storage = Storage::start().await;
        let base = storage.base();
        let settings = [("ENABLE_CALLS_STREAM", "false"), ("TWILIO_API_BASE", base.as_str())];
        let site = Site::new(TestDatabase::postgres(), &settings).await;
        let servers = [site.server("first").await, site.server("second").await];
        let script = Script::sample();
        // No two callers say the same.
        let texts: Vec<String> = (0..CALLS).map(|number| script.between(from(number), from(number) + LENGTH)).collect();
        for number in 0..CALLS {
            let (call, recording) = sids(number);
            let said = &script.audio()[from(number)..from(number) + LENGTH];
            storage.keep(recording, Kept::File(wav(said)));
            let (one, other) = (&servers[number % 2], &servers[(number + 1) % 2]);
            announce_recorded(one, call).await;
            match number % 4 {
                0 => {
                    recording_is_over(one, call, recording, "4").await;
                    recording_is(other, call, recording, "completed", "4").await;
                    recording_is(other, call, recording, "in-progress", "").await;
                }
                1 => {
                    recording_is(other, call, recording, "completed", "4").await;
                    recording_is(one, call, recording, "completed", "4").await;
                    recording_is_over(one, call, recording, "4").await;
                    recording_is_over(other, call, recording, "4").await;
                }
                2 => {
                    recording_is(one, call, recording, "in-progress", "").await;
                    recording_is_over(other, call, recording, "4").await;
                    recording_is(one, call, recording, "completed", "4").await;
                }
                _ => {
                    recording_is_over(other, call, recording, "4").await;
                    recording_is_over(other, call, recording, "4").await;
                    recording_is(other, call, recording, "completed", "4").await;
                    recording_is(one, call, recording, "completed", "4").await;
                }
            }
            call_is_over(other, call, "5").await;
        }
        for (number, text) in texts.iter().enumerate() {
            let row = site.settled(sids(number).0).await;
            assert_eq!(transcript(&row), (Some("done"), Some(text.as_str())));
        }
        // Late repeats, when all is done.
        for number in 0..CALLS {
            let (call, recording) = sids(number);
            recording_is(&servers[number % 2], call, recording, "completed", "4").await;
        }
        let expected: Vec<&str> = texts.iter().map(String::as_str).collect();
        site.paid_for(&expected);
        let mut fetched = storage.asked().recordings;
        fetched.sort_unstable();
        assert_eq!(fetched, (0..CALLS).map(|number| sids(number).1).collect::<Vec<_>>());
        assert_eq!(storage.asked().strangers, 0);
        let logs = servers.map(stopped);
        let transcribed =
            |log: &Vec<serde_json::Value>| log.iter().filter(|line| line["message"] == "recording_transcribed").count();
        let shares = logs.each_ref().map(transcribed);
        assert_eq!(shares.iter().sum::<usize>(), CALLS, "{shares:?}");
    });
}

#[test]
fn a_process_leaves_the_speech_of_a_living_one_in_the_same_directory_alone() {
    block_on(async {
        let site = Site::new(TestDatabase::sqlite(), &[]).await;
        let first = site.server("node").await;
        site.openai.set_fault(Some(Fault::Refuse(Refusal::overloaded())));
        let script = Script::sentences(1, millis(1_000));
        let (call, _) = site.deployment.call(first.address(), leaves(&script, millis(2_500))).ended().await;
        openai_is(&first, "error").await;
        // As a deployment does it whose processes overlap.
        let second = site.server("node").await;
        until("both processes", || site.nodes("node") == 2).await;
        assert_eq!((ready(&second, "untranscribed").await, ready(&first, "untranscribed").await), (0.into(), 1.into()));
        assert_eq!(transcript(&site.deployment.rows_of("call_log", call).await[0]).0, Some("pending"));
        site.openai.set_fault(None);
        let row = site.settled(call).await;
        assert_eq!(transcript(&row), (Some("done"), Some(script.text().as_str())));
        site.paid_for(&[&script.text()]);
        for (server, transcribed) in [(first, 1), (second, 0)] {
            let lines = stopped(server);
            assert_eq!(lines.iter().filter(|line| line["message"] == "utterance_transcribed").count(), transcribed);
        }
    });
}
