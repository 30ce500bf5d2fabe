use super::super::{Input, Settings};
use super::*;
use crate::config::Config;
use crate::http::{Method, Request, Response};
use crate::path;
use crate::prompts::{AudioFile, Prompts, RenderFailure, Role};
use crate::time::{Instant, Now, UnixMillis};
use bytes::Bytes;
use core::net::{IpAddr, Ipv4Addr};
use serde_json::Value;

const CREDENTIALS: (&str, &str) = ("GOOGLE_APPLICATION_CREDENTIALS", "/run/google.json");

fn at(seconds: u64) -> Now {
    Now { mono: Instant::from_millis(seconds * 1_000), unix: UnixMillis(0) }
}

fn board(pairs: &[(&str, &str)]) -> Switchboard {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::from_pairs(pairs).expect("valid");
    let prompts = Prompts::new(&config, |_| None).expect("no files");
    let settings =
        Settings { config, prompts, node: "n".to_owned(), development_key: [7; 32], runtime: "virtual", trace: false };
    Switchboard::new(at(0), settings, &mut Vec::new())
}

fn ask(board: &mut Switchboard, seconds: u64, target: &str) -> Response {
    let (headers, body) = ([("host", "calls.example")].into_iter().collect(), Bytes::new());
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let request = Request { method: Method::Get, target: target.to_owned(), headers, body, peer };
    let id = board.admit(&request).expect("room");
    let mut out = Vec::new();
    board.handle(at(seconds), Input::Request { id, request }, &mut out);
    let reply = out.into_iter().find_map(|output| match output {
        Output::Reply { response, .. } => Some(response),
        Output::Upgrade { .. }
        | Output::Fetch { .. }
        | Output::Store { .. }
        | Output::Disk { .. }
        | Output::Command { .. }
        | Output::Log(_) => None,
    });
    reply.expect("an answer")
}

/// What `/readyz` says of speech, and for how many seconds it has failed.
fn speech(board: &mut Switchboard, seconds: u64) -> (String, Option<u64>) {
    let page: Value = serde_json::from_slice(&ask(board, seconds, path::READYZ).body).expect("JSON");
    (page["tts"].as_str().expect("a word").to_owned(), page["tts_error_seconds"].as_u64())
}

fn tell(board: &mut Switchboard, seconds: u64, report: RenderReport) -> LogLine {
    let mut out = Vec::new();
    board.handle(at(seconds), Input::Prompt(report), &mut out);
    let lines = out.into_iter().find_map(|output| if let Output::Log(line) = output { Some(*line) } else { None });
    lines.expect("a line")
}

fn failed(is_lasting: bool) -> RenderReport {
    RenderReport::Failed(RenderFailure { role: Role::Greeting, is_lasting, cause: "Google is away".to_owned() })
}

fn rendered() -> RenderReport {
    let format = [&b"RIFF\0\0\0\0WAVEfmt "[..], &16_u32.to_le_bytes(), &[7, 0, 1, 0], &8_000_u32.to_le_bytes()];
    let more = [&8_000_u32.to_le_bytes()[..], &[1, 0, 8, 0], b"data", &80_000_u32.to_le_bytes(), &[0xff; 80_000]];
    let audio = AudioFile::with_sound([format.concat(), more.concat()].concat().into()).expect("sound");
    RenderReport::Rendered { role: Role::Greeting, file: "a.wav".to_owned(), audio }
}

#[test]
fn readyz_says_how_the_last_use_of_google_went_and_since_when_it_fails() {
    let mut board = board(&[CREDENTIALS]);
    assert_eq!(speech(&mut board, 1), ("ok".to_owned(), None));
    let line = tell(&mut board, 10, failed(false));
    assert_eq!((line.level, line.event), (Level::Warn, Event::PromptFailed));
    assert_eq!((line.cause.as_deref(), line.detail.as_deref()), (Some("Google is away"), Some("greeting")));
    assert_eq!(tell(&mut board, 15, failed(true)).level, Level::Error);
    assert_eq!(speech(&mut board, 20), ("error".to_owned(), Some(10)));
    let line = tell(&mut board, 30, rendered());
    assert_eq!((line.level, line.event, line.bytes), (Level::Info, Event::PromptRendered, Some(80_044)));
    assert_eq!(speech(&mut board, 31), ("ok".to_owned(), None));
    let unkept = RenderReport::NotKept { file: "a.wav".to_owned(), cause: "the disk is full".to_owned() };
    assert_eq!(tell(&mut board, 32, unkept).event, Event::PromptNotKept);
    assert_eq!(speech(&mut board, 33), ("ok".to_owned(), None));
}

#[test]
fn without_credentials_speech_is_disabled() {
    assert_eq!(speech(&mut board(&[]), 1), ("disabled".to_owned(), None));
}

#[test]
fn calls_are_spoken_to_until_the_prompt_is_rendered_and_its_length_counts_from_then_on() {
    let mut board = board(&[CREDENTIALS]);
    let preview = |board: &mut Switchboard| ask(board, 1, path::INCOMING_CALL).body;
    assert!(String::from_utf8_lossy(&preview(&mut board)).contains("<Say language=\"he-IL\""));
    assert_eq!(ask(&mut board, 1, path::GREETING_AUDIO).status, 404);
    tell(&mut board, 2, failed(true));
    assert!(String::from_utf8_lossy(&preview(&mut board)).contains("<Say language=\"he-IL\""));
    tell(&mut board, 3, rendered());
    let twiml = preview(&mut board);
    assert!(String::from_utf8_lossy(&twiml).contains("/static/tts/greeting_he.mp3</Play>"));
    let audio = ask(&mut board, 3, path::GREETING_AUDIO);
    assert_eq!((audio.status, audio.header("content-type")), (200, Some("audio/wav")));
    assert_eq!(board.settings.prompts.get(Role::Greeting).length().as_secs(), 10);
}
