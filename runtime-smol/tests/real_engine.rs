//! Recorded speech, a telephone line and a real recogniser: whether what a server makes of calls can be understood.
//!
//! The engine is installed by `tests/engine/install.sh`; without it this test says so and passes.

use bytes::Bytes;
use callwarden_core::far_end::{EndedBy, HangUp, Plan, StreamFault};
use callwarden_core::sid::CallSid;
use callwarden_tests::database::TestDatabase;
use callwarden_tests::deployment::{Caller, Deployment};
use callwarden_tests::engine::{Engine, KEY, say};
use callwarden_tests::speech::{Sentence, monologue, sentences, word_errors, words};
use smol::future::zip;
use std::time::{Duration, Instant};

/// The server.
const BINARY: &str = env!("CARGO_BIN_EXE_callwarden");
/// The share of words that may be wrong. Measured: 0.08 live, half of it with other silences around the sentences, and
/// 0.01 in the recording.
const ERRORS_MAX: f64 = 0.2;
/// After each sentence. An utterance ends in it.
const PAUSE: Duration = Duration::from_millis(900);
/// A call of half a minute on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A caller who reads all of it, into a stream or into a recording.
fn plan(spoken: &Sentence, faults: &[StreamFault]) -> Plan {
    let time = Duration::from_millis(spoken.voice.len() as u64 / 8);
    Plan {
        speaks: time,
        message: time,
        hangs_up: HangUp::Recording(time),
        faults: faults.to_vec(),
        voice: Bytes::from(spoken.voice.clone()),
        ..Plan::default()
    }
}

/// The transcript of a call in the database, compared with what was said. How many stretches of speech it was made of.
async fn understood(what: &str, deployment: &Deployment, call: CallSid, spoken: &Sentence) -> usize {
    let row = deployment.row(call, |row| row.get("transcript_status").is_some_and(|status| status != "pending")).await;
    assert_eq!(row["transcript_status"], "done", "{row:?}");
    let transcript = &row["transcript"];
    let (wrong, all) = (word_errors(&spoken.text, transcript), words(&spoken.text).len());
    let rate = wrong as f64 / all as f64;
    let segments = deployment.rows_of("transcript_segments", call).await;
    let sent = segments.iter().filter(|segment| !segment["text"].is_empty()).count();
    say(&format!("{what}: {wrong} of {all} words wrong ({:.1} %), sent in {sent}: {transcript}", 100.0 * rate));
    assert!(rate <= ERRORS_MAX, "{rate}");
    sent
}

async fn ended_by(caller: Caller) -> (CallSid, Option<EndedBy>) {
    let (call, ledger) = caller.ended_within(PATIENCE).await;
    assert_eq!(ledger.problems, [], "{ledger}");
    (call, ledger.ended.map(|(_, by)| by))
}

#[test]
fn callers_on_a_telephone_line_are_understood_live_and_from_a_recording() {
    let Some(engine) = Engine::start_if_installed() else { return };
    let spoken = sentences(&engine.speech());
    let said = monologue(&spoken, PAUSE);
    let base = engine.base_url();
    let settings = [
        ("OPENAI_API_KEY", KEY),
        ("OPENAI_BASE_URL", &base),
        ("TRANSCRIBE_MODEL", "whisper-1"),
        ("TRANSCRIBE_LANGUAGE", "en"),
        ("STREAM_START_TIMEOUT", "2s"),
        ("END_SILENCE", "3s"),
        ("GREETING_TEXT", "Hello."),
        ("FALLBACK_TEXT", "Sorry."),
        ("GOODBYE_TEXT", "Goodbye."),
    ];
    smol::block_on(async {
        let deployment = Deployment::new(BINARY, TestDatabase::postgres(), &settings).await;
        let server = deployment.server("node").await;
        // What is said stands in the database only.
        ["ashwood", KEY].into_iter().for_each(|text| server.keep_secret(text));
        let started = Instant::now();
        let call = |faults: &[StreamFault]| deployment.call(server.address(), plan(&said, faults));
        let (live, recorded) = zip(ended_by(call(&[])), ended_by(call(&[StreamFault::NeverStarts]))).await;
        assert_eq!((live.1, recorded.1), (Some(EndedBy::Document), Some(EndedBy::Caller)));
        let over = started.elapsed();
        let utterances = understood("live", &deployment, live.0, &said).await;
        assert!(utterances >= spoken.len(), "{utterances} utterances of {} sentences", spoken.len());
        understood("from the recording", &deployment, recorded.0, &said).await;
        let seconds = |time: Duration| time.as_secs_f64();
        say(&format!("calls of {:.1} s, transcripts {:.1} s later", seconds(over), seconds(started.elapsed() - over)));
        server.signal("TERM");
        assert_eq!(server.ended().0, Some(0));
    });
}
