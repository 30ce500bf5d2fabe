use super::*;
use core::net::{IpAddr, Ipv4Addr};
use proptest::prelude::*;

/// Half a second of mu-law as WAV.
fn wav() -> Bytes {
    let format =
        [&b"fmt "[..], &16_u32.to_le_bytes(), &[7, 0, 1, 0], &8_000_u32.to_le_bytes(), &8_000_u32.to_le_bytes()];
    let data = [&[1, 0, 8, 0][..], b"data", &4_000_u32.to_le_bytes(), &[0xff; 4_000]];
    Bytes::from([b"RIFF\0\0\0\0WAVE", &format.concat()[..], &data.concat()].concat())
}

fn config(pairs: &[(&str, &str)]) -> Config {
    Config::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).expect("valid")
}

fn with_greeting() -> Prompts {
    let file = |name| (name == "greeting_he.wav").then(wav);
    Prompts::new(&config(&[("FALLBACK_TEXT", "אנא המתינו"), ("GOODBYE_TEXT", "")]), file).expect("prompts")
}

fn ask(method: Method, target: &str, headers: &[(&str, &str)]) -> Option<Response> {
    with_greeting().answer(&Request {
        method,
        target: target.to_owned(),
        headers: headers.iter().copied().collect(),
        body: Bytes::new(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    })
}

fn get(headers: &[(&str, &str)]) -> Response {
    ask(Method::Get, path::GREETING_AUDIO, headers).expect("an answer")
}

fn etag() -> String {
    get(&[]).header("etag").expect("an ETag").to_owned()
}

#[test]
fn a_file_wins_over_a_text_and_an_empty_text_is_nothing() {
    let prompts = with_greeting();
    assert_eq!(prompts.announcement(Role::Greeting), Announcement::Play(path::GREETING_AUDIO));
    assert_eq!(prompts.announcement(Role::Fallback), Announcement::Say("אנא המתינו", prompts.say_voice()));
    assert_eq!(prompts.announcement(Role::Goodbye), Announcement::Silent);
}

#[test]
fn a_spoken_text_has_the_configured_voice_where_twilio_has_it() {
    for (voice, spoken) in
        [("he-IL-Standard-C", "Google.he-IL-Standard-C"), ("he-IL-Chirp3-HD-Kore", "Google.he-IL-Wavenet-A")]
    {
        let prompts = Prompts::new(&config(&[("GOOGLE_TTS_VOICE", voice)]), |_| None).expect("no files");
        assert_eq!(prompts.say_voice().as_str(), spoken);
        assert!(matches!(prompts.announcement(Role::Greeting), Announcement::Say(_, by) if by.as_str() == spoken));
    }
}

#[test]
fn the_name_of_a_rendering_is_its_voice_and_text_and_nothing_else() {
    let names = |pairs: &[(&str, &str)]| {
        let config = config(pairs);
        let prompts = Prompts::new(&config, |_| None).expect("no files");
        let renderings = prompts.to_render(&config.google_tts_voice);
        renderings.into_iter().map(|rendering| rendering.file).collect::<Vec<_>>()
    };
    let (default, other) = (names(&[]), names(&[("GREETING_TEXT", "שלום")]));
    assert_eq!(default, names(&[("PORT", "1")]));
    assert!(default[0] != other[0] && default[1..] == other[1..]);
    let voice = names(&[("GOOGLE_TTS_VOICE", "he-IL-Wavenet-B")]);
    assert!(voice.iter().all(|name| !default.contains(name)));
    let is_plain =
        |name: &String| name.len() == 68 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    assert!(default.iter().all(is_plain), "{default:?}");
}

#[test]
fn the_length_is_the_files_or_a_second_for_ten_characters() {
    let prompts = with_greeting();
    assert_eq!(prompts.get(Role::Greeting).length(), Duration::from_millis(500));
    assert_eq!(prompts.get(Role::Fallback).length(), Duration::from_secs(1));
    assert_eq!(prompts.get(Role::Goodbye).length(), Duration::ZERO);
    assert_eq!(Prompt::Say("אבגדהוזחטיכ".to_owned()).length(), Duration::from_secs(2));
    let unreadable = AudioFile::new(Bytes::from_static(b"ID3 nothing follows")).expect("a file");
    let unreadable = Prompt::File { name: "greeting_he.mp3", audio: unreadable };
    assert_eq!(unreadable.length(), limits::GREETING_UNREADABLE);
}

#[test]
fn every_file_that_is_no_audio_is_named() {
    let problems = Prompts::new(&config(&[]), |name| match name {
        "greeting_he.mp3" => Some(Bytes::from_static(b"<html>")),
        "goodbye_he.wav" => Some(Bytes::new()),
        _ => None,
    })
    .expect_err("problems");
    let lines: Vec<_> = problems.iter().map(PromptProblem::to_string).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("PROMPTS_DIR: greeting_he.mp3 is neither MP3 nor WAV"), "{lines:?}");
    assert!(lines[1].starts_with("PROMPTS_DIR: goodbye_he.wav is neither MP3 nor WAV"), "{lines:?}");
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let mut bytes = wav().to_vec();
    bytes.resize(limits::PROMPT_BYTES_MAX, 0xff);
    assert!(AudioFile::new(bytes.clone().into()).is_ok());
    bytes.push(0);
    assert_eq!(AudioFile::new(bytes.into()), Err(NotAPrompt::TooLong));
}

#[test]
fn rendered_audio_replaces_a_text_and_nothing_else() {
    let mut prompts = with_greeting();
    let greeting = prompts.get(Role::Greeting).clone();
    let audio = AudioFile::with_sound(wav()).expect("sound");
    for role in Role::ALL {
        prompts.rendered(role, "a.wav".to_owned(), audio.clone());
    }
    assert_eq!(prompts.announcement(Role::Fallback), Announcement::Play(path::FALLBACK_AUDIO));
    assert_eq!(prompts.get(Role::Fallback).length(), Duration::from_millis(500));
    assert_eq!(prompts.get(Role::Fallback), &Prompt::Rendered { file: "a.wav".to_owned(), audio });
    assert_eq!(prompts.announcement(Role::Goodbye), Announcement::Silent);
    assert_eq!(prompts.get(Role::Greeting), &greeting);
}

#[test]
fn a_prompt_is_served_with_its_type_and_its_tag() {
    for method in [Method::Get, Method::Head] {
        let response =
            ask(method, "/static/tts/greeting_he.mp3?v=1", &[("range", "elephants=1-2")]).expect("an answer");
        assert_eq!((response.status, &response.body), (200, &wav()));
        assert_eq!(response.header("content-type"), Some("audio/wav"));
        assert_eq!(response.header("accept-ranges"), Some("bytes"));
        assert_eq!(response.header("etag").map(str::len), Some(66));
    }
    assert_ne!(AudioFile::new(wav().slice(..4_000)).expect("a file").etag, etag());
}

#[test]
fn a_prompt_that_did_not_change_is_not_sent_again() {
    let (tag, weak) = (etag(), format!("\"x\", W/{}", etag()));
    for value in [&tag, &weak, "*"] {
        let response = get(&[("If-None-Match", value), ("Range", "bytes=0-1")]);
        assert_eq!((response.status, response.body.len(), response.header("etag")), (304, 0, Some(tag.as_str())));
    }
    assert_eq!(get(&[("If-None-Match", "\"other\"")]).status, 200);
}

#[test]
fn a_single_range_is_served_and_one_beyond_the_file_is_refused() {
    let (file, last) = (wav(), wav().len() - 1);
    let total = file.len();
    let part = |range: &str| {
        let response = get(&[("Range", range)]);
        (response.status, response.header("content-range").map(str::to_owned), response.body)
    };
    let served = |from: usize, to: usize| (206, Some(format!("bytes {from}-{to}/{total}")), file.slice(from..=to));
    assert_eq!(part("bytes=0-0"), served(0, 0));
    assert_eq!(part("bytes=10-"), served(10, last));
    assert_eq!(part("bytes=-5"), served(total - 5, last));
    assert_eq!(part("bytes=5-999999999999999999999"), served(5, last));
    assert_eq!(part("bytes=-99999999"), served(0, last));
    for beyond in ["bytes=-0".to_owned(), format!("bytes={total}-"), format!("bytes={total}-{total}")] {
        assert_eq!(part(&beyond), (416, Some(format!("bytes */{total}")), Bytes::new()), "{beyond}");
    }
    assert_eq!(Range::read("bytes=-5", 0), Range::Beyond, "an empty file has no last bytes");
    for whole in ["bytes=", "bytes=-", "bytes=2-1", "bytes=0-1,3-4", "bytes=+1-2", "bytes=1", "octets=0-1", "ש"] {
        assert_eq!(part(whole), (200, None, file.clone()), "{whole}");
    }
}

#[test]
fn a_range_of_another_version_gets_the_whole_file() {
    assert_eq!(get(&[("Range", "bytes=0-1"), ("If-Range", &etag())]).status, 206);
    assert_eq!(get(&[("Range", "bytes=0-1"), ("If-Range", "\"old\"")]).status, 200);
    let head = ask(Method::Head, path::GREETING_AUDIO, &[("Range", "bytes=0-1")]).expect("an answer");
    assert_eq!(head.status, 200);
}

#[test]
fn what_is_no_file_is_not_found_and_other_paths_are_not_ours() {
    for path in [path::FALLBACK_AUDIO, path::GOODBYE_AUDIO] {
        assert_eq!(ask(Method::Get, path, &[]).expect("an answer").status, 404);
    }
    let refused = ask(Method::Post, path::GREETING_AUDIO, &[]).expect("an answer");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    for path in ["/static/tts/", "/static/tts/greeting_he.wav", "/static/tts/../greeting_he.mp3", "/"] {
        assert_eq!(ask(Method::Get, path, &[]), None, "{path}");
    }
}

proptest! {
    #[test]
    fn any_range_header_is_answered_with_bytes_of_the_file(
        header in "bytes=[0-9]{0,6}-[0-9]{0,6}|bytes=.{0,12}|.{0,12}", total in 1_usize..5_000,
    ) {
        match Range::read(&header, total) {
            Range::Part { from, to } => prop_assert!(from <= to && to < total),
            Range::Whole | Range::Beyond => {}
        }
    }
}
