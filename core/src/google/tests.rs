use super::*;
use crate::fetch::FetchRequest;
use crate::form::Form;
use crate::http::{Headers, Method};
use crate::secret::Secret;
use crate::time::UnixMillis;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use core::time::Duration;
use proptest::prelude::*;
use serde_json::json;

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

fn key_file() -> Value {
    json!({
        "type": "service_account",
        "project_id": "calls",
        "private_key_id": "key-7",
        "private_key": PEM,
        "client_email": "calls@calls.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

fn account() -> ServiceAccount {
    ServiceAccount::from_json(key_file().to_string().as_bytes()).expect("a key file")
}

fn with(member: &str, value: impl Into<Value>) -> String {
    let mut file = key_file();
    file[member] = value.into();
    file.to_string()
}

fn without(member: &str) -> String {
    let mut file = key_file();
    file.as_object_mut().expect("an object").remove(member);
    file.to_string()
}

fn problem(text: &str) -> String {
    ServiceAccount::from_json(text.as_bytes()).expect_err("a problem").to_string()
}

fn answer(status: u16, body: impl ToString) -> Result<FetchResponse, FetchError> {
    Ok(FetchResponse { status, headers: Headers::default(), body: body.to_string().into() })
}

/// A WAV of mu-law as Google makes it.
fn wav(bytes: u32) -> Vec<u8> {
    let format = [&b"fmt "[..], &18_u32.to_le_bytes(), &[7, 0, 1, 0], &8_000_u32.to_le_bytes()];
    let more = [&8_000_u32.to_le_bytes()[..], &[1, 0, 8, 0, 0, 0], b"data", &bytes.to_le_bytes()];
    let sound = vec![0xff; bytes as usize];
    [b"RIFF\0\0\0\0WAVE", &format.concat()[..], &more.concat(), &sound].concat()
}

#[test]
fn a_key_file_is_read_whatever_else_it_holds() {
    let account = account();
    assert_eq!(account.client_email, "calls@calls.iam.gserviceaccount.com");
    assert_eq!(account.private_key_id.as_deref(), Some("key-7"));
    assert_eq!(account.private_key.expose(), PEM.trim());
    let plain = ServiceAccount::from_json(without("private_key_id").as_bytes()).expect("a key file");
    assert_eq!(plain.private_key_id, None);
    let pkcs1 = PEM.replace("PRIVATE", "RSA PRIVATE");
    assert!(ServiceAccount::from_json(with("private_key", pkcs1).as_bytes()).is_ok());
    assert!(!format!("{account:?}").contains("AAAA"));
}

#[test]
fn every_fault_of_a_key_file_is_one_line_that_names_the_variable_and_what_to_do_and_no_secret() {
    let pem = |label: &str| PEM.replace("PRIVATE KEY", label).replace("AAAA", "hush-hush");
    let whole = with("private_key", pem("PRIVATE KEY"));
    let old = pem("RSA PRIVATE KEY").replace("hush", "Proc-Type: 4,ENCRYPTED\nhush");
    let cases = [
        (whole[..whole.len() / 2].to_owned(), "ends in the middle", "as Google gave it out"),
        (whole.replace("\\n", "\n"), "no JSON (line 2, column ", "on one line"),
        ("hush-hush".to_owned(), "no JSON (line 1, column 1)", "on one line"),
        ("[]".to_owned(), "`type` is not service_account", "IAM, Service accounts"),
        (r#"{"installed":{"client_secret":"hush-hush"}}"#.to_owned(), "`type` is not", "IAM, Service accounts"),
        (with("type", "authorized_user"), "`type` is authorized_user", "IAM, Service accounts"),
        (with("type", "hush-hush"), "`type` is not service_account", "IAM, Service accounts"),
        (without("client_email"), "`client_email` is missing", "IAM, Service accounts"),
        (with("client_email", 7), "`client_email` is missing or empty", "IAM, Service accounts"),
        (with("private_key", " "), "`private_key` is missing or empty", "IAM, Service accounts"),
        (without("token_uri"), "`token_uri` is missing", "IAM, Service accounts"),
        (with("token_uri", "hush-hush"), "`token_uri` is no http", "IAM, Service accounts"),
        (with("token_uri", "https://u:hush-hush@h/token"), "`token_uri` is no http", "IAM, Service accounts"),
        (with("private_key", pem("PRIVATE KEY").replace('\n', "\\n")), "escaped twice", "as Google gave it out"),
        (with("private_key", "hush-hush"), "no whole PEM", "as Google gave it out"),
        (with("private_key", &pem("PRIVATE KEY")[..40]), "no whole PEM", "as Google gave it out"),
        (with("private_key", pem("hush-hush")), "no whole PEM", "as Google gave it out"),
        (with("private_key", pem("EC PRIVATE KEY")), "is labelled EC PRIVATE KEY", "make a new JSON key"),
        (with("private_key", pem("PUBLIC KEY")), "is labelled PUBLIC KEY", "make a new JSON key"),
        (with("private_key", pem("ENCRYPTED PRIVATE KEY")), "is encrypted", "make a new JSON key"),
        (with("private_key", old), "is encrypted", "make a new JSON key"),
    ];
    for (text, wrong, instead) in cases {
        let line = problem(&text);
        assert!(line.starts_with("GOOGLE_APPLICATION_CREDENTIALS: ") && line.lines().count() == 1, "{line}");
        assert!(line.contains(wrong) && line.contains(instead), "{wrong}: {line}");
        assert!(!line.contains("hush"), "{line}");
    }
}

#[test]
fn a_key_file_may_be_as_long_as_its_limit() {
    let file = |bytes: usize| {
        let text = with("project_id", "");
        let missing = bytes - text.len();
        text.replace(r#""project_id":"""#, &format!(r#""project_id":"{}""#, "p".repeat(missing)))
    };
    assert!(ServiceAccount::from_json(file(limits::CREDENTIALS_BYTES_MAX).as_bytes()).is_ok());
    assert!(problem(&file(limits::CREDENTIALS_BYTES_MAX + 1)).contains("longer than 64 KiB"));
}

#[test]
fn what_begins_like_json_is_the_content_and_anything_else_a_path_that_is_not_shown() {
    let inline = Credentials::from_setting(&key_file().to_string());
    assert_eq!(inline, Ok(Credentials::Inline(Box::new(account()))));
    let path = Credentials::from_setting("/run/secrets/גוגל.json").expect("a path");
    assert_eq!(path, Credentials::File(Secret::new("/run/secrets/גוגל.json")));
    assert!(!format!("{path:?}").contains("secrets"));
}

#[test]
fn an_assertion_says_who_asks_for_what_and_counts_an_hour() {
    let assertion = account().assertion(UnixMillis(1_700_000_010_999));
    let parts: Vec<_> = assertion.split('.').collect();
    let part = |index: usize| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[index]).expect("base64url")).expect("JSON")
    };
    assert_eq!(parts.len(), 2);
    assert_eq!(part(0), json!({"alg": "RS256", "typ": "JWT", "kid": "key-7"}));
    assert_eq!(
        part(1),
        json!({
            "iss": "calls@calls.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": 1_700_000_000,
            "exp": 1_700_003_600,
        })
    );
}

#[test]
fn a_token_is_asked_for_with_the_signed_assertion() {
    let request = token_request(&account(), "header.claims", &[0xfb, 0xff, 0xfe]);
    assert_eq!((request.method, request.url.as_str()), (Method::Post, "https://oauth2.googleapis.com/token"));
    assert_eq!(request.headers, [("content-type", "application/x-www-form-urlencoded".to_owned())]);
    assert_eq!((request.authorization, request.timeout), (None, limits::GOOGLE_TOKEN_TIME));
    assert_eq!(request.response_bytes_max, limits::GOOGLE_TOKEN_BYTES_MAX);
    let form = Form::parse(&request.body);
    assert_eq!(form.get("grant_type"), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
    assert_eq!(form.get("assertion"), Some("header.claims.-__-"));
}

#[test]
fn a_granted_token_is_a_bearer_for_as_long_as_it_says() {
    let token =
        granted(&answer(200, json!({"access_token": "ya29.a-b_c", "expires_in": 3_599, "token_type": "Bearer"})));
    let authorization = Secret::new("Bearer ya29.a-b_c");
    assert_eq!(token, Ok(AccessToken { authorization, life: Duration::from_secs(3_599) }));
    let silent = granted(&answer(200, json!({"access_token": "x"}))).expect("a token");
    assert_eq!(silent.life, Duration::ZERO);
}

#[test]
fn why_there_is_no_token_is_said_with_googles_words_and_what_to_do() {
    let (passing, lasting) = (Trouble::Passing, Trouble::Lasting);
    let expired = json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."});
    for (result, trouble, said) in [
        (answer(400, expired), lasting, "Google answered 400, invalid_grant: Invalid JWT Signature; see that the key"),
        (answer(401, ""), lasting, "Google answered 401 without a body; see"),
        (answer(302, "moved"), lasting, "Google answered 302 with a body that is not JSON; see"),
        (answer(429, "{}"), passing, "Google answered 429; this may pass"),
        (answer(503, "<html>"), passing, "Google answered 503 with a body that is not JSON; this may pass"),
        (answer(200, "<html>"), passing, "Google answered 200 without a token; this may pass"),
        (answer(200, json!({"access_token": "a b"})), passing, "without a token"),
        (answer(200, json!({"access_token": ""})), passing, "without a token"),
        (Err(FetchError::NotSent("refused".to_owned())), passing, "could not be sent: refused; this may pass"),
        (Err(FetchError::Ambiguous("timeout".to_owned())), passing, "no usable answer: timeout; this may pass"),
    ] {
        let refusal = granted(&result).expect_err("no token");
        assert_eq!(refusal.trouble, trouble, "{refusal}");
        assert!(
            refusal.to_string().starts_with("no access token: ") && refusal.to_string().contains(said),
            "{refusal}"
        );
    }
}

#[test]
fn speech_is_asked_for_as_a_telephone_carries_it() {
    let voice: Voice = "he-IL-Chirp3-HD-Kore".parse().expect("a voice");
    let request: FetchRequest = synthesize("https://tts.example/v1", &Secret::new("Bearer x"), &voice, "שלום \"לך\"");
    assert_eq!((request.method, request.url.as_str()), (Method::Post, "https://tts.example/v1/text:synthesize"));
    assert_eq!(request.headers, [("content-type", "application/json; charset=utf-8".to_owned())]);
    assert_eq!((request.authorization, request.timeout), (Some(Secret::new("Bearer x")), limits::SPEECH_TIME));
    assert_eq!(request.response_bytes_max, limits::SPEECH_BYTES_MAX);
    assert_eq!(
        serde_json::from_slice::<Value>(&request.body).expect("JSON"),
        json!({
            "input": {"text": "שלום \"לך\""},
            "voice": {"languageCode": "he-IL", "name": "he-IL-Chirp3-HD-Kore"},
            "audioConfig": {"audioEncoding": "MULAW", "sampleRateHertz": 8_000},
        })
    );
}

#[test]
fn speech_is_audio_with_a_length() {
    let audio = synthesized(&answer(200, json!({"audioContent": STANDARD.encode(wav(4_000))}))).expect("audio");
    assert_eq!((audio.bytes, audio.duration), (Bytes::from(wav(4_000)), Some(Duration::from_millis(500))));
}

#[test]
fn why_there_is_no_speech_is_said_with_googles_words_and_what_to_do() {
    let (passing, lasting) = (Trouble::Passing, Trouble::Lasting);
    let content = |bytes: &[u8]| json!({"audioContent": STANDARD.encode(bytes)});
    let error = |status: &str, message: &str| json!({"error": {"code": 1, "message": message, "status": status}});
    for (result, trouble, said) in [
        (
            answer(400, error("INVALID_ARGUMENT", "Voice does not exist.")),
            lasting,
            "400, INVALID_ARGUMENT: Voice does not exist; see that Google has the voice of GOOGLE_TTS_VOICE",
        ),
        (
            answer(403, error("PERMISSION_DENIED", "it is disabled.\n Enable it")),
            lasting,
            "403, PERMISSION_DENIED: it is disabled. Enable it; enable the Cloud Text-to-Speech API",
        ),
        (answer(404, "not found"), lasting, "404 with a body that is not JSON; see that GOOGLE_TTS_BASE_URL"),
        (answer(301, ""), lasting, "301 without a body; see that GOOGLE_TTS_BASE_URL"),
        (
            answer(401, error("UNAUTHENTICATED", "no")),
            Trouble::Token,
            "401, UNAUTHENTICATED: no; see that the service account",
        ),
        (answer(429, error("RESOURCE_EXHAUSTED", "slow")), passing, "429, RESOURCE_EXHAUSTED: slow; this may pass"),
        (answer(500, ""), passing, "500 without a body; this may pass"),
        (answer(200, "garbage"), passing, "200 without audio; this may pass"),
        (answer(200, json!({"audioContent": "%"})), passing, "200 without audio"),
        (answer(200, content(b"text")), passing, "200 with audio that holds no sound"),
        (answer(200, content(&wav(0))), passing, "200 with audio that holds no sound"),
        (Err(FetchError::Ambiguous("cut".to_owned())), passing, "no usable answer: cut; this may pass"),
    ] {
        let refusal = synthesized(&result).expect_err("no speech");
        assert_eq!(refusal.trouble, trouble, "{refusal}");
        assert!(refusal.to_string().contains(said), "{said}: {refusal}");
    }
}

#[test]
fn googles_words_are_cut_at_their_limit() {
    let long = "מ".repeat(limits::GOOGLE_MESSAGE_CHARS_MAX + 1);
    let refusal = synthesized(&answer(500, json!({"error": {"message": long}}))).expect_err("no speech");
    assert_eq!(refusal.detail.matches('מ').count(), limits::GOOGLE_MESSAGE_CHARS_MAX);
}

#[test]
fn a_voice_says_its_language() {
    for (name, language) in [
        ("he-IL-Wavenet-A", "he-IL"),
        ("he-IL-Chirp3-HD-Kore", "he-IL"),
        ("cmn-CN-Standard-B", "cmn-CN"),
        ("es-419-Neural2-A", "es-419"),
        ("sr-rs-Standard-A", "sr-rs"),
    ] {
        let voice: Voice = name.parse().expect("a voice");
        assert_eq!((voice.as_str(), voice.language_code()), (name, language));
    }
    assert_eq!(Voice::default().to_string().parse(), Ok(Voice::default()));
    let longest = format!("he-IL-{}", "x".repeat(limits::VOICE_CHARS_MAX - 6));
    assert!(longest.parse::<Voice>().is_ok());
    let longer = format!("{longest}x");
    for wrong in [
        "",
        "he",
        "he-IL",
        "he-IL-",
        "Kore",
        "Google.he-IL-Wavenet-A",
        "h-IL-A",
        "he-ISR-A",
        "he-IL-A B",
        "he--A",
        "ש-IL-A",
    ] {
        assert_eq!(wrong.parse::<Voice>(), Err(NotAVoice), "{wrong}");
    }
    assert_eq!(longer.parse::<Voice>(), Err(NotAVoice));
}

proptest! {
    #[test]
    fn whatever_is_wrong_with_a_key_file_is_one_line(text in ".{0,80}", cut in 0_usize..300) {
        for text in [text.clone(), with("private_key", text.as_str()), with("type", text.as_str())] {
            let text: String = text.chars().take(cut).collect();
            if let Err(problem) = ServiceAccount::from_json(text.as_bytes()) {
                prop_assert_eq!(problem.to_string().lines().count(), 1);
            }
        }
    }

    #[test]
    fn any_answer_is_read(status in 200_u16..600, body in prop_oneof![
        ".{0,40}",
        Just(r#"{"error":{"message":7}}"#.to_owned()),
        Just(r#"{"error":[]}"#.to_owned()),
        Just(r#"{"audioContent":7,"access_token":7,"expires_in":-1}"#.to_owned()),
    ]) {
        let result = answer(status, body);
        prop_assert!(granted(&result).is_err());
        prop_assert!(synthesized(&result).is_err());
    }

    #[test]
    fn what_a_voice_reads_it_shows(name in "[a-z]{2,3}-[A-Z]{2}(-[A-Za-z0-9]{1,8}){1,4}") {
        let voice: Voice = name.parse().expect("a voice");
        prop_assert_eq!(voice.to_string(), name.clone());
        prop_assert!(name.starts_with(voice.language_code()));
    }
}
