//! What is said on a stream: when its text is there, and that none of it is missing.

use super::faults::never_ends;
use super::voice::{FRAME, Script, samples};
use super::{
    LOOK, PROMPT, Site, column, is_settled, leaves, millis, number, openai_is, ready, says, spoken, stopped, transcript,
};
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::far_end::{EndedBy, Plan, StreamFault};
use callwarden_tests::database::{Row, TestDatabase};
use callwarden_tests::http::soon;
use serde_json::Value;
use smol::future::zip;
use smol::{Timer, block_on};
use std::fs;
use std::time::{Duration, Instant};

/// How long the simulated service takes.
const DELAY: Duration = millis(300);
/// Everything that every library has to say. Each frame of a stream is a line of ours and several of the WebSocket's.
const EVERYTHING: &str = "callwarden=trace,sqlx=trace,rustls=trace,tungstenite=trace,async_tungstenite=trace,\
    async_h1=trace,surf=trace,http_client=trace,async_io=debug";

/// A caller whose sentences are a second apart.
async fn a_minute() {
    let site = Site::new(TestDatabase::postgres(), &[("RUST_LOG", EVERYTHING)]).await;
    site.openai.set_delay(DELAY);
    let server = site.server("node").await;
    let script = Script::sentences(17, millis(1_000));
    let caller = site.deployment.call(server.address(), says(&script));
    let call = caller.sid;

    let first = script.sentence(0);
    spoken(&caller, first.to).await;
    let said = Instant::now();
    let segments = site.segments_until(call, "the first text", |rows| !rows.is_empty() && is_said(&rows[0])).await;
    let first_waited = said.elapsed();
    assert!(first_waited <= PROMPT + DELAY, "the first sentence has its text after {first_waited:?}");
    let from = samples(millis(number(&segments[0], "from_ms")));
    let to = samples(millis(number(&segments[0], "to_ms")));
    assert!(from <= first.from && first.to <= to && to <= first.to + samples(millis(400)), "{segments:?}");
    let row = site.deployment.row(call, |row| row.contains_key("transcript")).await;
    assert_eq!(transcript(&row), (Some("pending"), Some(first.text.as_str())));

    site.no_files("node").await;
    for part in 1..=3 {
        spoken(&caller, script.end() * part / 3).await;
    }
    caller.hang_up();
    let hung_up = Instant::now();
    let row = soon("the whole transcript", async {
        loop {
            let rows = site.deployment.rows_of("call_log", call).await;
            let whole = (Some("done"), Some(script.text()));
            if rows.first().is_some_and(|row| is_settled(row) && transcript(row) == (whole.0, whole.1.as_deref())) {
                return rows[0].clone();
            }
            Timer::after(LOOK).await;
        }
    })
    .await;
    let waited = hung_up.elapsed();
    println!("first text after {first_waited:?}, whole transcript after {waited:?}");
    assert!(waited <= PROMPT + DELAY, "the whole transcript is there after {waited:?}");
    assert!(number(&row, "frames") >= 3_000 && !row.contains_key("fallback_reason"), "{row:?}");

    let segments = site.segments(call).await;
    let texts: Vec<_> = segments.iter().map(|row| row["text"].as_str()).collect();
    assert_eq!(texts, script.texts());
    site.paid_for(&script.texts());
    site.no_files("node").await;
    for request in &site.openai.ledger().requests {
        assert_eq!((request.field("model"), request.field("languages[]")), (Some("gpt-transcribe"), Some("he")));
    }
    assert_eq!(caller.ended().await.1.ended.map(|(_, by)| by), Some(EndedBy::Caller));
    let lines = stopped(server);
    let logged = lines.iter().filter(|line| line["message"] == "utterance_transcribed");
    let logged: Vec<_> = logged.map(|line| (line["call_sid"].as_str(), line["chars"].as_u64())).collect();
    let chars = script.texts().into_iter().map(|text| (Some(call.as_str()), Some(text.chars().count() as u64)));
    assert_eq!(logged, chars.collect::<Vec<_>>());
    assert!(lines.iter().any(|line| line["level"] == "TRACE"), "the log is as talkative as can be");
}

#[test]
fn a_call_of_a_minute_is_in_postgres_sentence_by_sentence_and_whole_when_the_caller_hangs_up() {
    // An answer that never ends takes most of a minute, too.
    block_on(zip(a_minute(), never_ends()));
}

fn is_said(row: &Row) -> bool {
    column(row, "state") == Some("done")
}

/// Callers who hang up in the middle of a word, shortly before and after it, and behind a pause.
async fn hung_up_in_mid_word() {
    let site = Site::new(TestDatabase::sqlite(), &[]).await;
    let server = site.server("node").await;
    let (fluent, paused) = (Script::sample(), Script::sentences(5, millis(1_000)));
    let plans = [
        (&fluent, fluent.middle(7) + millis(100)),
        (&fluent, fluent.middle(7) - millis(100)),
        (&fluent, fluent.middle(2)),
        (&fluent, fluent.middle(9)),
        // The first word of a sentence, of which there is too little to be one anywhere but at the end.
        (&paused, paused.middle(3) - millis(150)),
        (&paused, paused.middle(3) + millis(60)),
    ];
    let callers: Vec<_> = plans
        .iter()
        .map(|(script, after)| (*script, site.deployment.call(server.address(), leaves(script, *after))))
        .collect();
    let mut segments = 0;
    for (script, caller) in callers {
        let (call, ledger) = caller.ended().await;
        let said = script.between(0, ledger.streams[0].frames as usize * FRAME);
        site.transcribed(call, &said).await;
        segments += site.segments(call).await.len();
    }
    // What two callers say alike is asked for twice.
    assert_eq!(site.openai.ledger().requests.len(), segments);
    site.no_files("node").await;
    stopped(server);
}

/// The socket breaks between two sentences, and Twilio opens another one; frames come twice, and what is no message comes
/// between them.
async fn broken_and_noisy_streams() {
    let site = Site::new(TestDatabase::sqlite(), &[]).await;
    let server = site.server("node").await;
    let script = Script::sentences(5, millis(1_000));
    let breaks = says(&script);
    let breaks = Plan { faults: vec![StreamFault::DropAfter(millis(2_500))], ..breaks };
    let noisy = Plan { duplicate_every: Some(3), garbage_every: Some(7), ..leaves(&script, script.middle(9)) };
    let breaks = site.deployment.call(server.address(), breaks);
    let noisy = site.deployment.call(server.address(), noisy);
    let (call, ledger) = noisy.ended().await;
    let said = script.between(0, ledger.streams[0].frames as usize * FRAME);
    site.transcribed(call, &said).await;

    breaks.until("a second stream", |ledger| ledger.streams.get(1).is_some_and(|s| s.frames > 100)).await;
    breaks.hang_up();
    let (call, ledger) = (breaks.sid, breaks.ended().await.1);
    let again = script.between(0, ledger.streams[1].frames as usize * FRAME);
    let both = format!("{}\n{again}", script.sentence(0).text);
    site.transcribed(call, &both).await;
    stopped(server);
}

/// A caller who has said everything hears goodbye, and all of it is there.
async fn a_caller_finishes() {
    let site = Site::new(TestDatabase::sqlite(), &[("END_SILENCE", "2s")]).await;
    let server = site.server("node").await;
    let script = Script::sentences(2, millis(1_000)).before(millis(20_000));
    let (call, ledger) = site.deployment.call(server.address(), says(&script)).ended().await;
    assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Document), "{ledger}");
    site.transcribed(call, &script.text()).await;
    stopped(server);
}

/// Where `DATA_DIR` takes nothing, speech is kept in memory.
async fn nothing_can_be_written() {
    let site = Site::new(TestDatabase::sqlite(), &[]).await;
    let server = site.server("node").await;
    fs::remove_dir_all(site.deployment.data_dir("node").join("utterances")).expect("a directory");
    site.openai.script([Some(Fault::Refuse(Refusal::overloaded()))]);
    let script = Script::sentences(2, millis(1_000));
    let (call, ledger) = site.deployment.call(server.address(), leaves(&script, script.middle(14))).ended().await;
    site.transcribed(call, &script.between(0, ledger.streams[0].frames as usize * FRAME)).await;
    let lines = stopped(server);
    let failed = lines.iter().filter(|line| line["message"] == "transcription_failed" && line["reason"] == "disk");
    assert_eq!(failed.map(|line| line["level"].as_str()).collect::<Vec<_>>(), [Some("ERROR")]);
}

/// Nobody is asked about silence, and `/readyz` tells what the last real use of the service showed.
async fn silence_is_not_sent() {
    let site = Site::new(TestDatabase::sqlite(), &[]).await;
    let server = site.server("node").await;
    assert_eq!(
        (ready(&server, "openai").await, ready(&server, "openai_error_seconds").await),
        ("ok".into(), Value::Null)
    );
    let script = Script::sentences(1, millis(5_000));
    let silent = leaves(&script, millis(3_000));
    let caller = site.deployment.call(server.address(), Plan { speaks: Duration::ZERO, ..silent.clone() });
    let (call, _) = caller.ended().await;
    assert_eq!(transcript(&site.settled(call).await), (Some("empty"), None));
    assert_eq!((site.openai.ledger().requests.len(), ready(&server, "openai").await), (0, "ok".into()));

    site.openai.set_fault(Some(Fault::Refuse(Refusal::overloaded())));
    let caller = site.deployment.call(server.address(), silent);
    openai_is(&server, "error").await;
    assert!(ready(&server, "openai_error_seconds").await.is_u64());
    soon("a second of failure", async {
        while ready(&server, "openai_error_seconds").await.as_u64() < Some(1) {
            Timer::after(LOOK).await;
        }
    })
    .await;
    site.openai.set_fault(None);
    openai_is(&server, "ok").await;
    assert_eq!(ready(&server, "openai_error_seconds").await, Value::Null);
    let (call, _) = caller.ended().await;
    site.transcribed(call, &script.text()).await;
    stopped(server);
}

/// Without a key nothing is asked, and rows say so.
async fn nothing_is_transcribed_without_a_key() {
    let site = Site::new(TestDatabase::sqlite(), &[("OPENAI_API_KEY", "")]).await;
    let server = site.server("node").await;
    let state = (ready(&server, "openai").await, ready(&server, "openai_error_seconds").await);
    assert_eq!(state, ("disabled".into(), Value::Null));
    let caller = site.deployment.call(server.address(), leaves(&Script::sample(), millis(1_500)));
    let (call, _) = caller.ended().await;
    assert_eq!(transcript(&site.settled(call).await), (Some("disabled"), None));
    assert_eq!((site.openai.ledger().requests.len(), site.segments(call).await), (0, vec![]));
    stopped(server);
}

#[test]
fn a_caller_is_heard_to_the_end_however_a_stream_ends_and_silence_is_never_sent() {
    block_on(async {
        let unheard = zip(silence_is_not_sent(), nothing_is_transcribed_without_a_key());
        let ends = zip(hung_up_in_mid_word(), a_caller_finishes());
        zip(zip(ends, unheard), zip(broken_and_noisy_streams(), nothing_can_be_written())).await;
    });
}
