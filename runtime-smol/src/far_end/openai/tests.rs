//! The simulated API over real sockets.

use super::*;
use callwarden_core::audio::SAMPLES;
use callwarden_core::far_end::openai::Refusal;
use callwarden_core::far_end::sample;
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use smol::block_on;
use std::time::Instant;

async fn service() -> OpenAiService {
    let ear = Ear::new(vec![sample::passage().expect("a table")]);
    OpenAiService::listen(Secret::new("sk-test"), ear).await.expect("a port")
}

fn wav(mu_law: &[u8]) -> Vec<u8> {
    let data = u32::try_from(2 * mu_law.len()).expect("short");
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    file.extend(mu_law.iter().flat_map(|byte| SAMPLES[usize::from(*byte)].to_le_bytes()));
    file
}

/// Sends a piece of the sample and waits this long for the answer.
async fn ask(service: &OpenAiService, mu_law: &[u8], patience: Duration) -> Result<FetchResponse, FetchError> {
    send(service, &wav(mu_law), patience).await
}

async fn send(service: &OpenAiService, file: &[u8], patience: Duration) -> Result<FetchResponse, FetchError> {
    let fields = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ngpt-transcribe\r\n\
        --b\r\ncontent-disposition: form-data; name=\"languages[]\"\r\n\r\nhe\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\n";
    let request = FetchRequest {
        method: Method::Post,
        url: format!("{}/audio/transcriptions", service.base_url()),
        headers: vec![
            ("content-type", "multipart/form-data; boundary=b".to_owned()),
            ("authorization", "Bearer sk-test".to_owned()),
        ],
        authorization: None,
        body: [fields.as_bytes(), file, b"\r\n--b--\r\n"].concat().into(),
        timeout: patience,
        response_bytes_max: 16 * 1024 * 1024,
        public_only: false,
    };
    super::http::exchange(&service.address.to_string(), request).await
}

const PATIENCE: Duration = Duration::from_secs(30);

fn text(response: &FetchResponse) -> String {
    let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    body["text"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn pieces_of_the_sample_are_answered_with_their_words() {
    block_on(async {
        let (service, voice) = (service().await, sample::speech());
        let whole = ask(&service, &voice, PATIENCE).await.expect("an answer");
        assert_eq!((whole.status, text(&whole)), (200, sample::passage().expect("a table").text()));
        // Cut in the pause after the first sentence, and in the middle of a word.
        let (first, rest) = voice.split_at(15_200);
        assert_eq!(text(&ask(&service, first, PATIENCE).await.expect("an answer")), "שלום, מדבר יוסי.");
        assert_eq!(text(&ask(&service, &rest[..5_000], PATIENCE).await.expect("an answer")), "הרכב");
        let ledger = service.ledger();
        assert_eq!((ledger.requests.len(), ledger.repeats().len()), (3, 0));
        assert!(ledger.requests.iter().is_sorted_by_key(|request| request.at.mono));
    });
}

#[test]
fn answers_come_late_byte_by_byte_or_cut_off_when_they_are_told_to() {
    block_on(async {
        let (service, voice) = (service().await, sample::speech());
        service.script([Some(Fault::Cut), Some(Fault::Drip(Duration::from_millis(1))), Some(Fault::Flood)]);
        let cut = ask(&service, &voice[..16_000], PATIENCE).await;
        let text_of_cut = "the connection was closed within a body".to_owned();
        assert_eq!(cut, Err(FetchError::Ambiguous(text_of_cut)));
        let from = Instant::now();
        let dripped = ask(&service, &voice[..16_000], PATIENCE).await.expect("an answer");
        assert_eq!(text(&dripped), "שלום, מדבר יוסי.");
        assert!(from.elapsed() >= Duration::from_millis(u64::try_from(dripped.body.len()).expect("short")));
        let flood = ask(&service, &voice[..16_000], PATIENCE).await.expect("an answer");
        assert!(flood.body.len() > 10 * 1024 * 1024);
        service.set_delay(Duration::from_secs(60));
        let late = ask(&service, &voice[..16_000], Duration::from_millis(200)).await;
        assert_eq!(late, Err(FetchError::Ambiguous("no answer in time".to_owned())));
        assert_eq!(service.ledger().repeats().len(), 2);
    });
}

#[test]
fn a_refusal_and_what_is_said_to_silence_can_be_set() {
    block_on(async {
        let service = service().await;
        service.say_on_silence("תודה רבה");
        service.script([Some(Fault::Refuse(Refusal::rate_limit().with("retry-after", "1")))]);
        let refused = ask(&service, &[0xFF; 8_000], PATIENCE).await.expect("an answer");
        assert_eq!((refused.status, refused.headers.get("retry-after")), (429, Some("1")));
        assert_eq!(text(&ask(&service, &[0xFF; 8_000], PATIENCE).await.expect("an answer")), "תודה רבה");
        service.set_fault(Some(Fault::Refuse(Refusal::server_error())));
        assert_eq!(ask(&service, &[0xFF; 8_000], PATIENCE).await.expect("an answer").status, 500);
    });
}

#[test]
fn a_body_that_is_too_long_is_refused_whether_it_is_kept_or_not() {
    block_on(async {
        let service = service().await;
        for bytes in [limits::FAR_END_UPLOAD_BYTES_MAX, limits::FAR_END_UPLOAD_BYTES_READ_MAX] {
            assert_eq!(send(&service, &vec![0; bytes], PATIENCE).await.expect("an answer").status, 413);
        }
        let ledger = service.ledger();
        let refused: Vec<_> = ledger.requests.iter().map(|request| (request.status, request.clip.is_some())).collect();
        assert_eq!(refused, [(413, false), (413, false)]);
    });
}
