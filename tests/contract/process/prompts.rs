//! Prompts that Google renders: once, beside the calls, and never in their way.

use super::{Directory, server};
use callwarden_core::limits;
use callwarden_core::path;
use callwarden_core::sid::CallSid;
use callwarden_tests::caller::{form, post, stop_server, tell};
use callwarden_tests::deployment::{page, shows};
use callwarden_tests::google::{Google, KEY, Mood, speech};
use callwarden_tests::http::{RawAnswer, RawClient, until};
use callwarden_tests::process::{HOST, Server};
use serde_json::Value;

const TEXTS: [(&str, &str); 3] =
    [("GREETING_TEXT", "שלום וברכה"), ("FALLBACK_TEXT", "השאירו הודעה"), ("GOODBYE_TEXT", "להתראות")];

/// A server that renders at `google` and keeps its files in `data`. Nothing of the key may stand in its log.
fn rendering(google: &Google, data: &Directory, more: &[(&str, &str)]) -> Server {
    let settings = google.settings();
    let google = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let variables: Vec<_> = TEXTS.into_iter().chain(google).chain([("DATA_DIR", data.path())]).collect();
    let server = server(&[&variables[..], more].concat());
    KEY.lines().filter(|line| !line.starts_with("-----")).for_each(|line| server.keep_secret(line));
    (1..=9).for_each(|number| server.keep_secret(&format!("ya29.simulated-{number}")));
    server.keep_secret("eyJ");
    server
}

async fn ask(server: &Server, method: &str, path: &str, lines: &str) -> RawAnswer {
    let mut client = server.connect().await;
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n").as_bytes()).await.expect("open");
    client.answer().await.expect("an answer")
}

async fn incoming_call(server: &Server, call: u128) -> String {
    let body = form(CallSid::from_number(call), &[("CallStatus", "ringing")]);
    let answer = tell(server, path::INCOMING_CALL, &body).await;
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).expect("UTF-8")
}

async fn ready(server: &Server) -> Value {
    serde_json::from_str(&page(server, path::READYZ).await).expect("JSON")
}

fn played(name: &str) -> String {
    format!("<Play>https://{HOST}/static/tts/{name}_he.mp3</Play>")
}

#[test]
fn prompts_are_rendered_once_and_a_second_start_asks_for_nothing() {
    smol::block_on(async {
        let (google, data) = (Google::start().await, Directory::new());
        let first = rendering(&google, &data, &[]);
        for role in ["greeting", "fallback", "goodbye"] {
            first.wait_for_line("PROMPT_RENDERED", |line| line["detail"] == role);
        }
        assert!(incoming_call(&first, 1).await.contains(&played("greeting")));
        assert_eq!(google.spoken(), TEXTS.map(|(_, text)| text));
        assert_eq!((google.tokens().len(), google.requests()), (1, 4));
        stop_server(first).await;
        let second = rendering(&google, &data, &[]);
        assert!(incoming_call(&second, 1).await.contains(&played("greeting")));
        for (name, text) in ["greeting", "fallback", "goodbye"].into_iter().zip(TEXTS.map(|(_, text)| text)) {
            let answer = ask(&second, "GET", &format!("/static/tts/{name}_he.mp3"), "").await;
            assert_eq!((answer.status, answer.body), (200, speech(text)), "{name}");
        }
        stop_server(second).await;
        assert_eq!((google.requests(), google.complaints()), (4, vec![]));
    });
}

#[test]
fn a_rendered_prompt_is_served_with_its_type_length_tag_head_and_ranges() {
    smol::block_on(async {
        let (google, data) = (Google::start().await, Directory::new());
        let server = rendering(&google, &data, &[]);
        server.wait_for_line("PROMPT_RENDERED", |line| line["detail"] == "greeting");
        let wav = speech(TEXTS[0].1);
        let whole = ask(&server, "GET", path::GREETING_AUDIO, "").await;
        assert_eq!((whole.status, &whole.body, whole.header("content-type")), (200, &wav, Some("audio/wav")));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let tag = whole.header("etag").expect("a tag").to_owned();
        let head = ask(&server, "HEAD", path::GREETING_AUDIO, "").await;
        let length = wav.len().to_string();
        assert_eq!(
            (head.status, head.header("content-length"), head.header("etag")),
            (200, Some(&*length), Some(&*tag))
        );
        let part = ask(&server, "GET", path::GREETING_AUDIO, "Range: bytes=10-19\r\n").await;
        let range = format!("bytes 10-19/{length}");
        assert_eq!((part.status, &part.body[..], part.header("content-range")), (206, &wav[10..20], Some(&*range)));
        let same = ask(&server, "GET", path::GREETING_AUDIO, &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((same.status, same.body.len()), (304, 0));
        stop_server(server).await;
    });
}

#[test]
fn a_file_of_ones_own_and_an_empty_text_are_not_rendered() {
    smol::block_on(async {
        let (google, data, own) = (Google::start().await, Directory::new(), Directory::new());
        let recorded = speech("הקלטה");
        std::fs::write(own.0.join("greeting_he.wav"), &recorded).expect("written");
        let server = rendering(&google, &data, &[("PROMPTS_DIR", own.path()), ("GOODBYE_TEXT", "")]);
        server.wait_for_line("PROMPT_RENDERED", |line| line["detail"] == "fallback");
        assert_eq!(ask(&server, "GET", path::GREETING_AUDIO, "").await.body, recorded);
        assert_eq!(ask(&server, "GET", path::GOODBYE_AUDIO, "").await.status, 404);
        stop_server(server).await;
        assert_eq!((google.spoken(), google.complaints()), (vec![TEXTS[1].1.to_owned()], vec![]));
    });
}

#[test]
fn while_google_fails_calls_are_spoken_to_and_readyz_says_so_and_for_how_long() {
    smol::block_on(async {
        let huge = Mood::Huge(limits::SPEECH_BYTES_MAX);
        for mood in [
            Mood::Away,
            Mood::Garbage,
            Mood::NoToken(400),
            Mood::NoSpeech(403),
            Mood::NoSpeech(401),
            Mood::NoSpeech(503),
            huge,
        ] {
            let (google, data) = (Google::start().await, Directory::new());
            google.set_mood(mood);
            let server = rendering(&google, &data, &[("GOOGLE_TTS_VOICE", "he-IL-Standard-B")]);
            let line = server.wait_for_line("PROMPT_FAILED", |line| line["detail"] == "greeting");
            let lasting = matches!(mood, Mood::NoToken(_) | Mood::NoSpeech(401 | 403));
            assert_eq!(line["level"], if lasting { "ERROR" } else { "WARN" }, "{line}");
            let twiml = incoming_call(&server, 1).await;
            assert!(
                twiml.contains(r#"<Say language="he-IL" voice="Google.he-IL-Standard-B">שלום וברכה</Say>"#),
                "{twiml}"
            );
            shows(&server, path::READYZ, "\"tts_error_seconds\":1").await;
            let ready = ready(&server).await;
            assert_eq!((&ready["tts"], &ready["db"]), (&"error".into(), &"ok".into()), "{ready}");
            stop_server(server).await;
            assert_eq!(google.complaints(), Vec::<String>::new());
        }
    });
}

#[test]
fn a_google_that_does_not_answer_holds_up_neither_calls_nor_the_end() {
    smol::block_on(async {
        let (google, data) = (Google::start().await, Directory::new());
        google.set_mood(Mood::Silent);
        let server = rendering(&google, &data, &[("WORKER_THREADS", "1")]);
        until("a request", || google.requests() == 1).await;
        let twiml = incoming_call(&server, 1).await;
        assert!(twiml.contains(r#"<Say language="he-IL" voice="Google.he-IL-Wavenet-A">"#), "{twiml}");
        stop_server(server).await;
        assert_eq!((google.requests(), google.tokens().len()), (1, 0));
    });
}

#[test]
fn when_google_is_back_prompts_are_played_from_then_on() {
    smol::block_on(async {
        let (google, data) = (Google::start().await, Directory::new());
        google.set_mood(Mood::NoSpeech(503));
        let server = rendering(&google, &data, &[]);
        server.wait_for_line("PROMPT_FAILED", |line| line["detail"] == "goodbye");
        assert!(incoming_call(&server, 1).await.contains("<Say "));
        google.forget_tokens();
        google.set_mood(Mood::Fine);
        for role in ["greeting", "fallback", "goodbye"] {
            server.wait_for_line("PROMPT_RENDERED", |line| line["detail"] == role);
        }
        assert!(incoming_call(&server, 2).await.contains(&played("greeting")));
        let ready = ready(&server).await;
        assert_eq!((&ready["tts"], &ready["tts_error_seconds"]), (&"ok".into(), &Value::Null));
        stop_server(server).await;
        assert_eq!((google.tokens().len(), google.complaints()), (2, vec![]));
    });
}

#[test]
fn the_simulated_google_complains_of_what_is_not_signed_or_not_asked_as_it_should_be() {
    smol::block_on(async {
        let google = Google::start().await;
        let mut client = RawClient::connect(google.address()).await.expect("it listens");
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        for (path, body, complaint) in [
            ("/token", format!("{grant}&assertion=e30.e30.AAAA"), "the signature does not fit"),
            ("/token", format!("{grant}&assertion=e30"), "no signature"),
            ("/v1/other", String::new(), "/v1/other"),
        ] {
            client.send(&post(path, body.as_bytes(), "")).await.expect("open");
            assert_eq!(client.answer().await.expect("an answer").status, 400);
            assert!(
                google.complaints().last().is_some_and(|last| last.contains(complaint)),
                "{:?}",
                google.complaints()
            );
        }
        client.send(&post("/v1/text:synthesize", b"", "")).await.expect("open");
        assert_eq!(client.answer().await.expect("an answer").status, 401);
    });
}

#[test]
fn a_rendering_that_cannot_be_kept_is_played_all_the_same() {
    smol::block_on(async {
        let (google, data) = (Google::start().await, Directory::new());
        std::fs::write(data.0.join("prompts"), "a file where the directory should be").expect("written");
        let server = rendering(&google, &data, &[]);
        server.wait_for_line("PROMPT_NOT_KEPT", |line| line["cause"].is_string());
        assert!(incoming_call(&server, 1).await.contains(&played("greeting")));
        assert_eq!(ready(&server).await["tts"], "ok");
        stop_server(server).await;
    });
}
