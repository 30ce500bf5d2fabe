//! The bodies of answers.

use super::form::{Family, Format, Order};
use crate::fetch::FetchResponse;
use serde_json::{Value, json};

/// Bytes of a flood, of JSON that is correct.
const FLOOD_BYTES: usize = 10 * 1024 * 1024;

pub(super) fn json(status: u16, body: &Value) -> FetchResponse {
    let headers = [("content-type", "application/json"), ("x-request-id", "req_00000000000000000000000000000000")];
    FetchResponse { status, headers: headers.into_iter().collect(), body: body.to_string().into() }
}

/// A transcription.
pub(super) fn answer(order: &Order, text: &str) -> FetchResponse {
    match order.format {
        Format::Json => json(200, &short(order, text)),
        Format::Text => plain("text/plain; charset=utf-8", format!("{text}\n")),
        Format::Verbose => json(200, &verbose(order, text)),
    }
}

fn short(order: &Order, text: &str) -> Value {
    let mut answer = json!({ "text": text, "usage": usage(order, text) });
    if order.family == Family::Transcribe {
        // Empty when the model is unsure, as it is where nothing was said.
        let heard = order.languages.iter().take(usize::from(!text.is_empty()));
        answer["languages"] = heard.map(|code| json!({ "code": code })).collect();
    }
    answer
}

fn usage(order: &Order, text: &str) -> Value {
    let seconds = order.length.as_millis().div_ceil(1_000);
    if order.family == Family::Whisper {
        return json!({ "type": "duration", "seconds": seconds });
    }
    let (heard, said) = (seconds * 10, text.split_whitespace().count() as u128);
    json!({
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": { "text_tokens": 0, "audio_tokens": heard },
        "output_tokens": said,
        "total_tokens": heard + said,
    })
}

fn verbose(order: &Order, text: &str) -> Value {
    let seconds = order.length.as_secs_f64();
    let segment = json!({
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": seconds,
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": -0.2,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.01,
    });
    let segments: Vec<Value> = if text.is_empty() { Vec::new() } else { vec![segment] };
    json!({
        "task": "transcribe",
        "language": order.languages.first(),
        "duration": seconds,
        "text": text,
        "segments": segments,
        "usage": usage(order, text),
    })
}

/// What a proxy says in the place of the API.
pub(super) fn page() -> FetchResponse {
    plain("text/html", "<!doctype html><html><body><h1>Please sign in</h1></body></html>".to_owned())
}

/// A text longer than any speech.
pub(super) fn flood() -> FetchResponse {
    json(200, &json!({ "text": "x".repeat(FLOOD_BYTES) }))
}

pub(super) fn wordless() -> FetchResponse {
    json(200, &json!({ "text": "" }))
}

fn plain(kind: &str, body: String) -> FetchResponse {
    FetchResponse { status: 200, headers: [("content-type", kind)].into_iter().collect(), body: body.into() }
}
