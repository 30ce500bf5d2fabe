//! What Twilio, the transcription service and Google answer, or something on the way does: any status, headers and body
//! mean something, and no text of theirs goes into a log without an end.

use super::source::{Source, text};
use crate::world::speech::settings;
use callwarden_core::audio::{self, Recording};
use callwarden_core::fetch::{FetchError, FetchResponse};
use callwarden_core::google;
use callwarden_core::http::Headers;
use callwarden_core::limits;
use callwarden_core::rest::{self, DownloadOutcome, Keeper};
use callwarden_core::time::UnixMillis;
use callwarden_core::transcription::{Clip, Service};
use std::time::Duration;

const NOW: UnixMillis = UnixMillis(1_795_000_000_000);
/// Of a line of the log about an answer: the server's own words, and what is quoted of the answer.
const DETAIL_CHARS_MAX: usize = 2_000;

/// Classification of answers, and audio files.
pub fn answers(data: &[u8]) {
    let mut source = Source::new(data);
    let result = result(&mut source);
    let details = [
        rest::update_outcome(&result).detail,
        rest::look_up_outcome(&result).detail,
        rest::recordings_outcome(&result).detail,
        rest::download_outcome(Keeper::Storage, NOW, &result).detail,
        download(&result),
        transcription("gpt-transcribe", &result),
        transcription("whisper-1", &result),
    ];
    for detail in details {
        assert!(detail.chars().count() <= DETAIL_CHARS_MAX, "{} characters: {detail}", detail.chars().count());
    }
    drop((google::granted(&result), google::synthesized(&result)));
    if let Ok(response) = &result {
        drop(google::ServiceAccount::from_json(&response.body));
        sound(response);
    }
}

fn result(source: &mut Source<'_>) -> Result<FetchResponse, FetchError> {
    match source.byte() {
        0 => return Err(FetchError::NotSent(text(source.some()))),
        1 => return Err(FetchError::Ambiguous(text(source.some()))),
        2 => return Err(FetchError::NotAllowed(text(source.some()))),
        _ => {}
    }
    let usual = [200, 201, 204, 301, 307, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 599];
    let status = if source.byte() < 224 { source.one_of(&usual) } else { 100 + source.word() % 900 };
    let names = [
        "content-type",
        "retry-after",
        "retry-after-ms",
        "location",
        "twilio-request-id",
        "x-request-id",
        "x-should-retry",
    ];
    let values = [
        "application/json",
        "audio/x-wav",
        "7",
        "0.5",
        "Thu, 03 Dec 2026 21:46:41 GMT",
        "https://a.example/b",
        "true",
        "false",
    ];
    let mut headers = Headers::default();
    for _ in 0..source.byte() % 4 {
        let name = source.one_of(&names);
        let value = if source.byte() < 192 { source.one_of(&values).to_owned() } else { text(source.some()) };
        headers.push(name, value);
    }
    Ok(FetchResponse { status, headers, body: source.take(usize::MAX).to_vec().into() })
}

/// Audio is taken as it is, and a redirect leads to https only.
fn download(result: &Result<FetchResponse, FetchError>) -> String {
    let answer = rest::download_outcome(Keeper::Twilio, NOW, result);
    match (&answer.outcome, result) {
        (DownloadOutcome::Ready(body), Ok(response)) => assert_eq!(body, &response.body),
        (DownloadOutcome::Ready(_), Err(error)) => panic!("{error} is ready"),
        (DownloadOutcome::Redirect(storage), _) => {
            let request = rest::recording_redirected(storage);
            assert!(request.url.starts_with("https://") && request.public_only && request.authorization.is_none());
        }
        _ => {}
    }
    answer.detail
}

fn transcription(model: &str, result: &Result<FetchResponse, FetchError>) -> String {
    let config = settings(&[("TRANSCRIBE_MODEL", model)]).config;
    Service::from_config(&config).expect("a key").outcome(NOW, result).detail
}

/// A file's length is told or not; the pieces of a recording are all of it, each within its bounds.
fn sound(response: &FetchResponse) {
    let lengths = [audio::duration(&response.body), Clip::file(&response.body).and_then(|clip| clip.duration())];
    assert!(lengths[1].is_none() || lengths[0] == lengths[1], "{lengths:?}");
    let Ok(recording) = Recording::read(&response.body) else { return };
    let mut at = Duration::ZERO;
    for piece in recording.pieces() {
        assert_eq!(piece.from, at, "the pieces follow each other");
        assert!(piece.to > piece.from && !piece.samples.is_empty());
        assert!(piece.to - piece.from <= limits::CLIP_TIME_MAX);
        at = piece.to;
    }
    assert_eq!(at, recording.duration());
}
