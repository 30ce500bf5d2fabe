//! Recorded speech, a telephone line and a real recogniser: whether what reaches it can be understood.
//!
//! The engine is installed by `tests/engine/install.sh`; without it these tests say so and pass.

use callwarden_tests::engine::{Engine, KEY, say};
use callwarden_tests::http::RawClient;
use callwarden_tests::sound::wav;
use callwarden_tests::speech::{Sentence, monologue, sentences, word_errors, words};
use serde_json::Value;
use smol::block_on;
use std::time::Duration;

/// The share of words that may be wrong. Measured: 0.04 sentence by sentence, 0.01 in one recording, and 0.09 with a
/// sharper low-pass.
const ERRORS_MAX: f64 = 0.2;

/// What becomes of speech that is handed to the engine directly, as a server would.
fn transcribed(engine: &Engine, voice: &[u8]) -> String {
    let body = [
        &b"--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
            --b\r\ncontent-disposition: form-data; name=\"language\"\r\n\r\nen\r\n\
            --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\n"[..],
        &wav(voice),
        b"\r\n--b--\r\n",
    ]
    .concat();
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: engine\r\nauthorization: Bearer {KEY}\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = block_on(async {
        let mut client = RawClient::connect(engine.address()).await.expect("the engine listens");
        client.send(&[head.as_bytes(), &body].concat()).await.expect("the engine takes it");
        client.answer().await.expect("an answer")
    });
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    answer["text"].as_str().expect("a text").to_owned()
}

/// How many words of these sentences were heard wrong, as a share.
fn error_rate(what: &str, sentences: &[Sentence], heard: impl Fn(&Sentence) -> String) -> f64 {
    let (mut wrong, mut spoken) = (0, 0);
    for sentence in sentences {
        wrong += word_errors(&sentence.text, &heard(sentence));
        spoken += words(&sentence.text).len();
    }
    let rate = wrong as f64 / spoken as f64;
    say(&format!("{what}: {wrong} of {spoken} words wrong ({:.1} %)", 100.0 * rate));
    rate
}

#[test]
fn sentences_over_a_telephone_line_are_understood_one_by_one_and_in_one_recording() {
    let Some(engine) = Engine::start_if_installed() else { return };
    let spoken = sentences(&engine.speech());
    let rate = error_rate("sentence by sentence", &spoken, |sentence| transcribed(&engine, &sentence.voice));
    assert!(rate <= ERRORS_MAX, "{rate}");
    let whole = [monologue(&spoken, Duration::from_millis(800))];
    let rate = error_rate("in one recording", &whole, |whole| transcribed(&engine, &whole.voice));
    assert!(rate <= ERRORS_MAX, "{rate}");
}
