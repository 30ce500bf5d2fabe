//! Recordings: fetched from Twilio with our name, cut up where they are long, transcribed, and explained where not.

use super::memory::memory;
use super::storage::{Kept, Storage, TEXT, header, wav};
use super::voice::{Script, samples};
use super::{Site, column, discreet, millis, number, says, stopped, transcript};
use bytes::Bytes;
use callwarden_core::far_end::openai::UNKNOWN_SPEECH;
use callwarden_core::far_end::{HangUp, Plan, RecordingFate, StreamFault};
use callwarden_core::limits;
use callwarden_core::path::{CALL_STATUS, HANDLE_RECORDING, INCOMING_CALL, RECORDING_STATUS};
use callwarden_core::sid::{CallSid, RecordingSid};
use callwarden_tests::caller::{form, tell};
use callwarden_tests::database::{Row, TestDatabase};
use callwarden_tests::http::until;
use callwarden_tests::process::{AUTH_TOKEN, QUERY_WORD, Server};
use smol::block_on;
use smol::future::zip;
use std::collections::BTreeSet;
use std::time::Instant;

/// Twilio tells of a call that was recorded from its beginning, as far as the end of the recording.
pub(crate) async fn announce_recorded(server: &Server, call: CallSid) {
    tell(server, INCOMING_CALL, &form(call, &[("CallStatus", "ringing")])).await;
}

/// Twilio asks what follows a recording: the caller hung up.
pub(crate) async fn recording_is_over(server: &Server, call: CallSid, recording: RecordingSid, seconds: &str) {
    let sid = recording.to_string();
    let pairs = [("RecordingSid", sid.as_str()), ("RecordingDuration", seconds), ("Digits", "hangup")];
    tell(server, HANDLE_RECORDING, &form(call, &pairs)).await;
}

/// Twilio tells how a recording goes.
pub(crate) async fn recording_is(server: &Server, call: CallSid, recording: RecordingSid, state: &str, seconds: &str) {
    let sid = recording.to_string();
    let pairs = [("RecordingSid", sid.as_str()), ("RecordingStatus", state), ("RecordingDuration", seconds)];
    tell(server, RECORDING_STATUS, &form(call, &pairs)).await;
}

/// Twilio tells of a call's end.
pub(crate) async fn call_is_over(server: &Server, call: CallSid, seconds: &str) {
    tell(server, CALL_STATUS, &form(call, &[("CallStatus", "completed"), ("CallDuration", seconds)])).await;
}

async fn recorded(server: &Server, call: CallSid, recording: RecordingSid, seconds: &str) {
    announce_recorded(server, call).await;
    recording_is_over(server, call, recording, seconds).await;
    recording_is(server, call, recording, "completed", seconds).await;
    call_is_over(server, call, seconds).await;
}

/// A caller whose stream never starts is recorded, and the recording is ready only after a while.
async fn no_start(database: TestDatabase) {
    let site = Site::new(database, &[("STREAM_START_TIMEOUT", "1s")]).await;
    let server = site.server("node").await;
    let script = Script::sample();
    let plan = Plan {
        faults: vec![StreamFault::NeverStarts],
        hangs_up: HangUp::Recording(millis(4_400)),
        recording_delay: millis(2_500),
        ..says(&script)
    };
    let (call, ledger) = site.deployment.call(server.address(), plan).ended().await;
    let row = site.settled(call).await;
    let said = script.between(0, ledger.recordings[0].speech.as_millis() as usize * 8);
    assert_eq!(transcript(&row), (Some("done"), Some(said.as_str())), "{ledger}");
    assert_eq!((column(&row, "fallback_reason"), column(&row, "source")), (Some("no_start"), Some("stream")));
    let recordings = site.deployment.rows_of("recordings", call).await;
    assert_eq!((recordings.len(), column(&recordings[0], "job_state")), (1, Some("done")), "{recordings:?}");
    // Twilio had no audio of it yet when it was first asked for it.
    assert!((2..=6).contains(&number(&recordings[0], "job_attempts")), "{recordings:?}");
    site.paid_for(&[&said]);
    let lines = stopped(server);
    let transcribed: Vec<_> = lines.iter().filter(|line| line["message"] == "recording_transcribed").collect();
    assert_eq!(transcribed.len(), 1, "{transcribed:?}");
    assert_eq!(transcribed[0]["call_sid"], call.as_str());
    assert_eq!(transcribed[0]["chars"], said.chars().count());
}

/// A recording that Twilio does not keep, and one whose callback is lost on its way: the other webhook told of it.
async fn unusual_recordings() {
    let site = Site::new(TestDatabase::postgres(), &[("ENABLE_CALLS_STREAM", "false")]).await;
    let server = site.server("node").await;
    let script = Script::sample();
    let call = |recording| {
        let plan = Plan { recording, hangs_up: HangUp::Recording(millis(2_200)), ..says(&script) };
        site.deployment.call(server.address(), plan)
    };
    let (absent, unreported) = (call(RecordingFate::Absent), call(RecordingFate::Unreported));
    let (call, ledger) = unreported.ended().await;
    let said = script.between(0, ledger.recordings[0].speech.as_millis() as usize * 8);
    assert_eq!(transcript(&site.settled(call).await), (Some("done"), Some(said.as_str())), "{ledger}");
    let (call, _) = absent.ended().await;
    assert_eq!(transcript(&site.settled(call).await), (Some("failed: Twilio kept no recording"), None));
    stopped(server);
}

#[test]
fn a_call_without_a_stream_is_recorded_and_its_recording_transcribed_with_either_database() {
    let [postgres, sqlite] = TestDatabase::both();
    block_on(zip(zip(no_start(postgres), no_start(sqlite)), unusual_recordings()));
}

/// What is kept of a recording, and what becomes of it.
struct Case {
    kept: Kept,
    becomes: Becomes,
}

enum Becomes {
    /// Transcribed.
    Text(&'static str),
    /// There will never be a text, or not before somebody acts: the row says why.
    Failed(&'static str),
    /// It is tried again, and its job says why.
    TriedAgain(&'static str),
}

fn case(kept: Kept, becomes: Becomes) -> Case {
    Case { kept, becomes }
}

fn answer(status: u16, lines: impl Into<String>, body: &'static str) -> Kept {
    Kept::Answer(status, lines.into(), body)
}

/// An MPEG 1 layer III file of 128 kbit/s, 44.1 kHz: 417 bytes a frame of 26 ms.
fn mp3() -> Bytes {
    let mut file = Vec::new();
    for _ in 0..40 {
        file.extend([0xFF, 0xFB, 0x90, 0xC4]);
        file.resize(file.len() + 413, 0);
    }
    file.into()
}

#[test]
fn a_recording_that_cannot_be_had_or_read_leaves_its_cause_and_the_next_one_is_transcribed() {
    use Becomes::{Failed, Text, TriedAgain};
    block_on(async {
        let (storage, elsewhere) = (Storage::start().await, Storage::start().await);
        let base = storage.base();
        let settings = [("ENABLE_CALLS_STREAM", "false"), ("TWILIO_API_BASE", base.as_str())];
        let site = Site::new(TestDatabase::postgres(), &settings).await;
        let server = site.server("node").await;
        let to = |url: String| answer(302, format!("location: {url}\r\n"), "");
        let redirect = |scheme: &str| to(format!("{scheme}://{}/?{QUERY_WORD}", elsewhere.address()));
        let script = Script::sample();
        let whole = wav(&script.audio()[..samples(millis(2_069))]);
        let public_only = "has no public address, and this request may go to public ones only";
        let cases = [
            case(Kept::File(header(0).into()), Failed("the recording is 0 s long: a WAV without audio")),
            case(Kept::File(whole.slice(..30)), Failed("the recording is a WAV whose header is cut off")),
            case(answer(410, "", ""), Failed("Twilio answered 410")),
            case(answer(403, "", ""), Failed("Twilio answered 403")),
            case(redirect("http"), Failed("Twilio answered 302 without a body, a redirect that is not followed")),
            case(redirect("https"), Failed(public_only)),
            case(to("https://localhost/recording.wav".to_owned()), Failed(public_only)),
            case(answer(200, "content-type: audio/x-wav\r\n", ""), TriedAgain("Twilio answered 200 without a body")),
            case(answer(200, "", "<html>שלום</html>"), TriedAgain("Twilio answered 200 with a body that is not JSON")),
            case(answer(500, "", ""), TriedAgain("Twilio answered 500")),
            // What is called WAV and is an MP3 goes as the MP3 it is.
            case(Kept::File(mp3()), Text(UNKNOWN_SPEECH)),
            case(Kept::File(whole), Text("שלום, מדבר יוסי.")),
        ];
        for (number, case) in (1..).zip(&cases) {
            storage.keep(RecordingSid::from_number(number), case.kept.clone());
            recorded(&server, CallSid::from_number(number), RecordingSid::from_number(number), "3").await;
        }
        for (number, case) in (1..).zip(&cases) {
            let call = CallSid::from_number(number);
            let cause = match case.becomes {
                Text(text) => {
                    let row = site.settled(call).await;
                    assert_eq!(transcript(&row), (Some("done"), Some(text)));
                    continue;
                }
                Failed(cause) => {
                    let row = site.settled(call).await;
                    let said = column(&row, "transcript_status").and_then(|status| status.strip_prefix("failed: "));
                    assert!(said.is_some_and(|said| said.contains(cause)), "{cause}: {row:?}");
                    cause
                }
                TriedAgain(cause) => {
                    site.recording_until(call, |row| row.contains_key("job_error")).await;
                    let rows = site.deployment.rows_of("call_log", call).await;
                    assert_eq!(transcript(&rows[0]), (Some("pending"), None), "{cause}");
                    cause
                }
            };
            let row = site.recording_until(call, |row| row.contains_key("job_error")).await;
            assert!(row["job_error"].contains(cause), "{cause}: {row:?}");
        }
        assert_eq!((elsewhere.asked().connections, storage.asked().strangers), (0, 0));
        let lines = stopped(server);
        // What nobody can mend by waiting is loud.
        let loud: BTreeSet<_> =
            lines.iter().filter(|line| line["level"] == "ERROR").map(|line| line["call_sid"].as_str()).collect();
        let failed = cases.iter().filter(|case| matches!(case.becomes, Failed(_))).count();
        assert_eq!(loud.len(), failed, "{loud:?}");
    });
}

/// A token that Twilio does not take any more is no reason to go without the recording: the next one of the list is used.
#[test]
fn a_recording_is_fetched_with_the_next_token_while_tokens_are_exchanged() {
    block_on(async {
        let storage = Storage::start().await;
        let base = storage.base();
        let tokens = format!("ffffffffffffffffffffffffffffffff,{AUTH_TOKEN}");
        let settings =
            [("ENABLE_CALLS_STREAM", "false"), ("TWILIO_API_BASE", base.as_str()), ("TWILIO_AUTH_TOKEN", &tokens)];
        let site = Site::new(TestDatabase::sqlite(), &settings).await;
        let server = site.server("node").await;
        let (call, recording) = (CallSid::from_number(1), RecordingSid::from_number(1));
        storage.keep(recording, Kept::File(wav(&Script::sample().audio()[..samples(millis(2_069))])));
        recorded(&server, call, recording, "3").await;
        assert_eq!(transcript(&site.settled(call).await), (Some("done"), Some("שלום, מדבר יוסי.")));
        let asked = storage.asked();
        assert_eq!((asked.strangers, asked.recordings), (1, vec![recording]));
        stopped(server);
    });
}

/// A server without streams that has its recordings and their texts from this storage.
async fn site_with(storage: &Storage, database: TestDatabase) -> Site {
    let (base, service) = (storage.base(), storage.service());
    let settings =
        [("ENABLE_CALLS_STREAM", "false"), ("TWILIO_API_BASE", base.as_str()), ("OPENAI_BASE_URL", service.as_str())];
    Site::new(database, &settings).await
}

/// Where the server is killed between two pieces of a recording, the next one goes on with the piece after the last that
/// is stored.
#[test]
fn a_long_recording_is_gone_on_with_after_a_kill() {
    block_on(async {
        let storage = Storage::start().await;
        let site = site_with(&storage, TestDatabase::postgres()).await;
        storage.set_delay(millis(700));
        let server = site.server("node").await;
        let (call, recording) = (CallSid::from_number(1), RecordingSid::from_number(1));
        storage.keep(recording, Kept::Long(1_700));
        recorded(&server, call, recording, "1700").await;
        let is_done = |row: &Row| column(row, "state") == Some("done");
        site.segments_until(call, "the first piece", |rows| rows.first().is_some_and(is_done)).await;
        until("the second piece is asked for", || storage.asked().uploads.len() == 2).await;
        let server = discreet(site.deployment.kill_and_restart("node", server).await);
        let row = site.settled(call).await;
        assert_eq!(transcript(&row), (Some("done"), Some([TEXT; 3].join(" ").as_str())));
        // The one that was under way had to be asked for again.
        assert_eq!((storage.asked().uploads.len(), site.segments(call).await.len()), (4, 3));
        stopped(server);
    });
}

#[test]
fn a_recording_of_three_hours_is_transcribed_in_pieces_that_the_service_takes() {
    const SECONDS: u32 = 3 * 3_600;
    block_on(async {
        let storage = Storage::start().await;
        let site = site_with(&storage, TestDatabase::sqlite()).await;
        let server = site.server("node").await;
        let (call, recording) = (CallSid::from_number(1), RecordingSid::from_number(1));
        storage.keep(recording, Kept::Long(SECONDS));
        let before = peak_memory(&server);
        let began = Instant::now();
        recorded(&server, call, recording, &SECONDS.to_string()).await;
        let row = site.settled(call).await;
        let (took, peak) = (began.elapsed(), peak_memory(&server));
        let uploads = storage.asked().uploads;
        println!(
            "{} pieces, {} MB at most, in {took:?}; {before} then {peak} MiB",
            uploads.len(),
            uploads.iter().max().unwrap_or(&0) / 1_000_000
        );
        let longest = u64::try_from(limits::FAR_END_UPLOAD_BYTES_MAX).expect("a number");
        assert!(uploads.iter().all(|length| *length < longest), "{uploads:?}");
        let audio = u64::from(SECONDS) * 16_000;
        let sent: u64 = uploads.iter().sum();
        assert!(
            (audio..audio + 1_024 * uploads.len() as u64).contains(&sent),
            "every sample is sent once: {uploads:?}"
        );
        let text = vec![TEXT; uploads.len()].join(" ");
        assert_eq!(transcript(&row), (Some("done"), Some(text.as_str())));
        assert_eq!(site.segments(call).await.len(), uploads.len());
        assert_eq!(storage.asked().recordings, [recording]);
        assert!(peak < 700, "{peak} MiB");
        stopped(server);
    });
}

/// The most memory that a server had so far, in MiB.
fn peak_memory(server: &Server) -> u64 {
    memory(server, "VmHWM:") / 1_024
}
