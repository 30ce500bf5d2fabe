//! The simulated API, asked rightly and wrongly.

use super::*;
use crate::time::{Instant, UnixMillis};
use serde_json::Value;

const KEY: &str = "sk-test";

/// A second of noise as mu-law.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..8_000).map(|_| next()).collect()
}

fn api() -> OpenAi {
    let passage = Passage::from_table(&noise(), "0\t500\tשלום\n500\t1000\tעולם").expect("a table");
    OpenAi::new(Secret::new(KEY), Ear::new(vec![passage]))
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let data = u32::try_from(2 * samples.len()).expect("short");
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend(data.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// What the passage sounds like in linear samples, told by the table of the server's side.
fn speech() -> Vec<i16> {
    noise().iter().map(|byte| crate::audio::SAMPLES[usize::from(*byte)]).collect()
}

/// A request with this file name, file and fields.
fn request(name: &str, file: &[u8], fields: &[(&str, &str)]) -> FetchRequest {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes());
    }
    let head = format!("--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n");
    body.extend([head.as_bytes(), b"content-type: audio/wav\r\n\r\n", file, b"\r\n--b--\r\n"].concat());
    FetchRequest {
        method: Method::Post,
        url: "https://api.openai.com/v1/audio/transcriptions".to_owned(),
        headers: vec![("content-type", "multipart/form-data; boundary=b".to_owned())],
        authorization: Some(Secret::new(format!("Bearer {KEY}"))),
        body: body.into(),
        timeout: Duration::from_secs(60),
        response_bytes_max: 1 << 20,
        public_only: false,
    }
}

const NEW: [(&str, &str); 2] = [("model", "gpt-transcribe"), ("languages[]", "he")];
const OLD: [(&str, &str); 2] = [("model", "whisper-1"), ("language", "he")];

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.response.body).expect("JSON")
}

fn ask(api: &mut OpenAi, request: &FetchRequest) -> (u16, Value) {
    let reply = api.answer(Now::default(), request);
    (reply.response.status, body(&reply))
}

/// The status, the code and the field of a refusal.
fn refused(request: &FetchRequest) -> (u16, String, String) {
    let (status, answer) = ask(&mut api(), request);
    let error = &answer["error"];
    assert!(error["message"].is_string() && error["type"].is_string(), "{answer}");
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("param"))
}

/// What becomes of a second of speech with these fields.
fn with(fields: &[(&str, &str)]) -> (u16, String, String) {
    refused(&request("a.wav", &wav(&speech()), fields))
}

#[test]
fn both_dialects_are_answered_with_what_was_said() {
    let mut api = api();
    let (status, answer) = ask(&mut api, &request("a.wav", &wav(&speech()), &NEW));
    assert_eq!((status, &answer["text"]), (200, &"שלום עולם".into()));
    assert_eq!((&answer["languages"][0]["code"], &answer["usage"]["type"]), (&"he".into(), &"tokens".into()));
    let (status, answer) = ask(&mut api, &request("a.WAV", &wav(&speech()[..4_000]), &OLD));
    assert_eq!((status, &answer["text"], answer.get("languages")), (200, &"שלום".into(), None));
    assert_eq!((&answer["usage"]["type"], &answer["usage"]["seconds"]), (&"duration".into(), &1.into()));
    let requests = &api.ledger().requests;
    let clip = requests[0].clip.as_ref().expect("a clip");
    assert_eq!((clip.name.as_str(), clip.length, clip.rate), ("a.wav", Some(Duration::from_secs(1)), Some(8_000)));
    assert_eq!((requests[1].field("language"), requests[1].text.as_deref()), (Some("he"), Some("שלום")));
    assert_eq!(api.ledger().texts().collect::<Vec<_>>(), ["שלום עולם", "שלום"]);
}

#[test]
fn whisper_answers_as_text_and_verbosely_when_it_is_asked_to() {
    let mut api = api();
    let verbose =
        [OLD[0], ("response_format", "verbose_json"), ("timestamp_granularities[]", "segment"), ("stream", "true")];
    let (_, answer) = ask(&mut api, &request("a.wav", &wav(&speech()), &verbose));
    assert_eq!((&answer["segments"][0]["text"], answer["duration"].as_f64()), (&"שלום עולם".into(), Some(1.0)));
    let (_, answer) = ask(&mut api, &request("a.wav", &wav(&[0; 8_000]), &verbose));
    assert_eq!(answer["segments"], Value::Array(Vec::new()));
    let reply = api.answer(Now::default(), &request("a.wav", &wav(&speech()), &[OLD[0], ("response_format", "text")]));
    assert_eq!(
        (&reply.response.body[..], reply.response.headers.get("content-type")),
        ("שלום עולם\n".as_bytes(), Some("text/plain; charset=utf-8"))
    );
}

#[test]
fn silence_is_empty_or_a_stock_phrase_and_a_stranger_is_unknown() {
    let mut api = api();
    let silence = request("a.wav", &wav(&[0; 8_000]), &NEW);
    let (_, answer) = ask(&mut api, &silence);
    assert_eq!((&answer["text"], &answer["languages"]), (&"".into(), &Value::Array(Vec::new())));
    api.say_on_silence("תודה רבה");
    assert_eq!(ask(&mut api, &silence).1["text"], "תודה רבה");
    let stranger: Vec<i16> = speech().iter().map(|sample| sample.rotate_left(1)).collect();
    assert_eq!(ask(&mut api, &request("a.wav", &wav(&stranger), &NEW)).1["text"], UNKNOWN_SPEECH);
    // MPEG 2 layer III, 32 kbit/s, 24 kHz: 24 ms a frame.
    let mut frame = vec![0xFF, 0xF3, 0x44, 0xC4];
    frame.resize(96, 0);
    assert_eq!(ask(&mut api, &request("a.mp3", &frame.repeat(9), &NEW)).1["text"], UNKNOWN_SPEECH);
}

#[test]
fn a_key_is_demanded() {
    let mut request = request("a.wav", &wav(&speech()), &NEW);
    for (line, code) in [(None, ""), (Some("Basic abc"), ""), (Some("Bearer sk-other"), "invalid_api_key")] {
        request.authorization = line.map(Secret::new);
        let (status, given, _) = refused(&request);
        assert_eq!((status, given.as_str()), (401, code), "{line:?}");
    }
}

#[test]
fn other_paths_and_methods_are_unknown() {
    let mut request = request("a.wav", &wav(&speech()), &NEW);
    request.method = Method::Get;
    assert_eq!(refused(&request).0, 404);
    (request.method, request.url) = (Method::Post, "/v1/audio/translations".to_owned());
    assert_eq!(refused(&request).0, 404);
    request.url = "/v1/audio/transcriptions?api-version=1".to_owned();
    assert_eq!(ask(&mut api(), &request).0, 200);
}

#[test]
fn each_model_takes_its_own_fields_only() {
    let model = |name| ("model", name);
    let (new, omni, old) = (model("gpt-transcribe"), model("gpt-4o-mini-transcribe"), model("whisper-1"));
    for (fields, code, param) in [
        (vec![("language", "he")], "missing_required_parameter", "model"),
        (vec![new, ("language", "he")], "unsupported_parameter", "language"),
        (vec![new, ("languages[]", "he"), ("language", "he")], "unsupported_parameter", "language"),
        (vec![old, ("languages[]", "he")], "unsupported_parameter", "languages[]"),
        (vec![omni, ("keywords[]", "a")], "unsupported_parameter", "keywords[]"),
        (vec![new, ("response_format", "verbose_json")], "unsupported_value", "response_format"),
        (vec![omni, ("response_format", "text")], "unsupported_value", "response_format"),
        (vec![old, ("response_format", "srt")], "unsupported_value", "response_format"),
        (vec![new, ("languages", "he")], "unknown_parameter", "languages"),
        (vec![new, ("languages[]", "iw")], "unsupported_language", "languages[]"),
        (vec![old, ("language", "Hebrew")], "unsupported_language", "language"),
        (vec![new, ("prompt", "a\nb")], "invalid_value", "prompt"),
        (vec![new, ("keywords[]", "<a>")], "invalid_value", "keywords[]"),
        (vec![old, ("temperature", "2")], "invalid_value", "temperature"),
        (vec![old, ("timestamp_granularities[]", "word")], "invalid_value", "timestamp_granularities[]"),
        (vec![new, ("timestamp_granularities[]", "word")], "unsupported_parameter", "timestamp_granularities[]"),
        (vec![new, ("include[]", "logprobs")], "unsupported_parameter", "include[]"),
        (vec![new, ("stream", "true")], "invalid_value", "stream"),
        (vec![old, old], "", "model"),
    ] {
        assert_eq!(with(&fields), (400, code.to_owned(), param.to_owned()), "{fields:?}");
    }
    assert_eq!(with(&[model("gpt-9")]).1, "model_not_found");
}

#[test]
fn a_prompt_has_only_so_many_characters() {
    let mut api = api();
    let longest = "א".repeat(limits::FAR_END_PROMPT_CHARS_MAX);
    let prompt = |text: &str| request("a.wav", &wav(&speech()), &[NEW[0], ("prompt", text), ("temperature", "0")]);
    assert_eq!(ask(&mut api, &prompt(&longest)).0, 200);
    assert_eq!(ask(&mut api, &prompt(&format!("{longest}א"))).0, 400);
}

#[test]
fn a_file_must_be_named_be_what_it_says_and_last_a_tenth_of_a_second() {
    let (tenth, less) = (wav(&speech()[..800]), wav(&speech()[..799]));
    assert_eq!(ask(&mut api(), &request("a.wav", &tenth, &NEW)).0, 200);
    assert_eq!(refused(&request("a.wav", &less, &NEW)), (400, "audio_too_short".to_owned(), "file".to_owned()));
    let mut mu_law = wav(&speech());
    mu_law[20] = 7;
    for (name, file) in [("a.wav", &mu_law[..]), ("a.mp3", &tenth), ("a.flac", &tenth), ("a.wav", b"<html>")] {
        assert_eq!(refused(&request(name, file, &NEW)).1, "invalid_value", "{name}");
    }
    for name in ["a", "wav", "a.aiff", ""] {
        assert_eq!(refused(&request(name, &tenth, &NEW)), (400, String::new(), String::new()), "{name}");
    }
}

#[test]
fn a_body_must_be_a_form_with_a_file_of_at_most_25_megabytes() {
    let mut asked = request("a.wav", &wav(&speech()), &NEW);
    asked.body = asked.body.slice(..asked.body.len() - 4);
    assert_eq!(refused(&asked).0, 400);
    asked.headers = vec![("content-type", "application/json".to_owned())];
    assert_eq!(refused(&asked).0, 400);
    asked.headers = vec![("Content-Type", "multipart/form-data; boundary=b".to_owned())];
    asked.body = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n".into();
    assert_eq!(refused(&asked), (400, "missing_required_parameter".to_owned(), "file".to_owned()));
    let around = request("a.wav", b"", &NEW).body.len();
    let mut file = wav(&[]);
    file.resize(limits::FAR_END_UPLOAD_BYTES_MAX - around, 0);
    let data = u32::try_from(file.len() - 44).expect("a file");
    file[40..44].copy_from_slice(&data.to_le_bytes());
    assert_eq!(ask(&mut api(), &request("a.wav", &file, &NEW)).0, 200);
    file.push(0);
    assert_eq!(refused(&request("a.wav", &file, &NEW)).0, 413);
    let mut api = api();
    let reply = api.refuse_unread(Now::default(), 1 << 30);
    assert_eq!((reply.response.status, api.ledger().requests[0].status), (413, 413));
}

#[test]
fn faults_befall_one_request_each_or_all() {
    let mut api = api();
    let asked = request("a.wav", &wav(&speech()), &NEW);
    let limited = Refusal::rate_limit().with("retry-after", "2");
    api.set_fault(Some(Fault::Refuse(Refusal::overloaded())));
    api.script([
        Some(Fault::Refuse(limited)),
        None,
        Some(Fault::Refuse(Refusal::quota_spent())),
        Some(Fault::Page),
        Some(Fault::Wordless),
        Some(Fault::Cut),
        Some(Fault::Drip(Duration::from_millis(5))),
    ]);
    let mut replies: Vec<Reply> = (0..9).map(|_| api.answer(Now::default(), &asked)).collect();
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.response.status).collect();
    assert_eq!(statuses, [429, 200, 429, 200, 200, 200, 200, 503, 503]);
    assert_eq!(replies[0].response.headers.get("retry-after"), Some("2"));
    assert_eq!((&body(&replies[1])["text"], &body(&replies[4])["text"]), (&"שלום עולם".into(), &"".into()));
    assert_eq!(body(&replies[2])["error"]["code"], "insufficient_quota");
    assert!(replies[3].response.body.starts_with(b"<!doctype html>"));
    assert_eq!(
        replies.split_off(5)[..2].iter().map(|reply| reply.delivery).collect::<Vec<_>>(),
        [Delivery::Cut, Delivery::Drip(Duration::from_millis(5))]
    );
    api.set_fault(Some(Fault::Flood));
    let flood = api.answer(Now::default(), &asked);
    assert!(flood.response.body.len() > 10 * 1024 * 1024 && body(&flood)["text"].is_string());
    let got: Vec<bool> = api.ledger().requests.iter().map(Transcription::succeeded).collect();
    assert_eq!(got, [false, true, false, false, true, false, true, false, false, false]);
    // The second request got its text, so eight of the same audio are too many.
    assert_eq!(api.ledger().repeats().len(), 8);
}

#[test]
fn a_refusal_that_befalls_a_request_has_its_own_status() {
    let mut api = api();
    let asked = request("a.wav", &wav(&speech()), &NEW);
    let refusals = [
        Refusal::wrong_key(),
        Refusal::timed_out(),
        Refusal::conflict(),
        Refusal::too_large(1),
        Refusal::server_error(),
    ];
    api.script(refusals.map(|refusal| Some(Fault::Refuse(refusal))));
    let statuses: Vec<u16> = (0..5).map(|_| ask(&mut api, &asked).0).collect();
    assert_eq!(statuses, [401, 408, 409, 413, 500]);
}

#[test]
fn a_request_that_is_refused_is_entered_with_what_could_be_read_and_when() {
    let mut api = api();
    let now = Now { mono: Instant::from_millis(7), unix: UnixMillis(9) };
    api.set_delay(Duration::from_secs(3));
    let reply = api.answer(now, &request("a.wav", &wav(&speech()), &[NEW[0], OLD[1]]));
    assert_eq!((reply.after, reply.delivery), (Duration::from_secs(3), Delivery::Whole));
    let entry = &api.ledger().requests[0];
    assert_eq!((entry.at, entry.field("language"), entry.status, &entry.text), (now, Some("he"), 400, &None));
    assert_eq!(entry.refused.as_ref().and_then(|refusal| refusal.code), Some("unsupported_parameter"));
    assert!(entry.clip.is_some() && api.ledger().texts().next().is_none() && api.ledger().repeats().is_empty());
}

#[test]
fn an_answer_without_words_befalls_only_what_would_be_answered() {
    let mut api = api();
    api.set_fault(Some(Fault::Wordless));
    let mut asked = request("a.wav", &wav(&speech()), &NEW);
    assert_eq!(ask(&mut api, &asked).0, 200);
    asked.authorization = None;
    assert_eq!(ask(&mut api, &asked).0, 401);
}

#[test]
fn use_is_counted_in_tenths_of_a_second_and_words() {
    let usage = ask(&mut api(), &request("a.wav", &wav(&speech()), &NEW)).1["usage"].clone();
    let counted = ["input_tokens", "output_tokens", "total_tokens"].map(|name| usage[name].as_u64());
    assert_eq!(counted, [Some(10), Some(2), Some(12)]);
}

#[test]
fn a_table_of_words_says_which_line_is_none() {
    for (table, line) in [
        ("0\t500", 1),
        ("0\t500\t", 1),
        ("0\t1001\tא", 1),
        ("0\t500\tא\n499\t600\tב", 2),
        ("0\t500\tא\n500\t500\tב", 2),
        ("# a comment\n\n0\t0\tא", 3),
    ] {
        let wrong = Passage::from_table(&noise(), table).expect_err(table);
        assert_eq!(wrong, NotATable(line), "{table}");
        assert!(wrong.to_string().starts_with(&format!("line {line} is not ")), "{wrong}");
    }
    let passage = Passage::from_table(&noise(), "0\t500\tא\n500\t1000\tב").expect("a table");
    assert_eq!(Ear::new(vec![passage.clone()]).passages(), [passage]);
}

#[test]
fn a_murmur_is_silence() {
    let mut api = api();
    let murmur: Vec<i16> = (0..8_000).map(|place| if place % 2 == 0 { 100 } else { -100 }).collect();
    assert_eq!(ask(&mut api, &request("a.wav", &wav(&murmur), &NEW)).1["text"], "");
    let loud: Vec<i16> = murmur.iter().map(|sample| sample * 10).collect();
    assert_eq!(ask(&mut api, &request("a.wav", &wav(&loud), &NEW)).1["text"], UNKNOWN_SPEECH);
}

#[test]
fn a_model_may_have_a_date_and_fields_that_others_have_not() {
    let (dated, omni, old) = (("model", "gpt-transcribe-2026-03-04"), ("model", "gpt-4o-transcribe"), OLD[0]);
    for fields in [
        vec![dated, ("languages[]", "he")],
        vec![omni, ("prompt", "a <name>\nand more")],
        vec![old, ("prompt", "a <name>\nand more")],
        vec![omni, ("include[]", "logprobs")],
    ] {
        assert_eq!(ask(&mut api(), &request("a.wav", &wav(&speech()), &fields)).0, 200, "{fields:?}");
    }
    assert_eq!(with(&[("model", "gpt-transcribed")]).1, "model_not_found");
    assert_eq!(with(&[omni, ("include[]", "words")]).1, "invalid_value");
}
