use super::super::tests::service;
use super::*;
use bytes::Bytes;
use proptest::prelude::*;

const KEY: &str = "sk-proj-hidden0123456789";
const NOW: UnixMillis = UnixMillis(0);

fn asked() -> Service {
    service(&[("OPENAI_API_KEY", KEY)]).expect("a service")
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<FetchResponse, FetchError> {
    Ok(FetchResponse { status, headers: headers.iter().copied().collect(), body: body.into() })
}

fn outcome(result: &Result<FetchResponse, FetchError>) -> Outcome {
    asked().outcome(NOW, result).outcome
}

fn detail(result: &Result<FetchResponse, FetchError>) -> String {
    asked().outcome(NOW, result).detail
}

fn error(kind: &str, code: &str, parameter: &str) -> String {
    format!(r#"{{"error": {{"message": "No.", "type": "{kind}", "param": "{parameter}", "code": "{code}"}}}}"#)
}

fn text(text: &str) -> Outcome {
    Outcome::Text(text.to_owned())
}

const OUTAGE: Outcome = Outcome::Outage { after: None };

/// What a status means when the body adds nothing.
fn by_status(status: u16) -> Outcome {
    if [408, 409, 429].contains(&status) || status >= 500 {
        OUTAGE
    } else if [400, 413, 415, 422].contains(&status) {
        Outcome::Refused
    } else {
        Outcome::Blocked
    }
}

#[test]
fn every_status_with_every_kind_of_body_means_what_the_rule_says() {
    let plain = error("invalid_request_error", "invalid_value", "file");
    let quota = error("insufficient_quota", "insufficient_quota", "");
    let inactive = r#"{"error": {"type": "billing_not_active", "message": "x", "code": null}}"#;
    let short = error("invalid_request_error", "audio_too_short", "file");
    let parameter = error("invalid_request_error", "invalid_value", "languages[]");
    let language = error("invalid_request_error", "unsupported_language", "");
    for status in 200..=599 {
        let of = |body: &str| outcome(&answer(status, &[], body.to_owned()));
        let is_success = status < 300;
        let expected = if is_success { text("שלום") } else { by_status(status) };
        assert_eq!(of(r#"{"text": "שלום", "usage": {"type": "duration", "seconds": 3}}"#), expected, "{status}");
        assert_eq!(of(r#"{"task": "transcribe", "duration": 1.5, "text": " שלום\n", "segments": []}"#), expected);
        assert_eq!(of(r#"{"text": " "}"#), if is_success { text("") } else { by_status(status) }, "{status}");
        for useless in
            ["", "<html>Welcome</html>", "{}", r#"{"text": 7}"#, r#"{"text": null}"#, "[]", "\"text\"", &plain]
        {
            assert_eq!(of(useless), by_status(status), "{status} {useless}");
        }
        let is_client_error = (400..500).contains(&status);
        for used_up in [quota.as_str(), inactive] {
            let expected = if is_client_error { Outcome::Blocked } else { by_status(status) };
            assert_eq!(of(used_up), expected, "{status} {used_up}");
        }
        assert_eq!(of(&short), if status == 400 { text("") } else { by_status(status) }, "{status}");
        for ours in [&parameter, &language] {
            let is_refused = [400, 422].contains(&status);
            assert_eq!(of(ours), if is_refused { Outcome::Blocked } else { by_status(status) }, "{status} {ours}");
        }
        let told = |value| outcome(&answer(status, &[("x-should-retry", value)], plain.clone()));
        let may_retry = status >= 400 && status != 401;
        assert_eq!(told("true"), if may_retry { OUTAGE } else { by_status(status) }, "{status}");
        let expected = if by_status(status) == OUTAGE { Outcome::Blocked } else { by_status(status) };
        assert_eq!(told("false"), expected, "{status}");
        assert_eq!(told("maybe"), by_status(status), "{status}");
    }
}

#[test]
fn what_did_not_come_back_is_asked_for_again() {
    for failed in [FetchError::NotSent("refused".to_owned()), FetchError::Ambiguous("cut".to_owned())] {
        let detail = failed.to_string();
        assert_eq!(asked().outcome(NOW, &Err(failed)), Answer { outcome: OUTAGE, detail });
    }
}

#[test]
fn the_service_says_how_long_it_wants_to_be_left_alone() {
    let after = |status, headers| outcome(&answer(status, headers, ""));
    let wait = |millis| Outcome::Outage { after: Some(Duration::from_millis(millis)) };
    assert_eq!(after(429, &[("retry-after-ms", "250"), ("retry-after", "9")]), wait(250));
    assert_eq!(after(503, &[("Retry-After", "2.5")]), wait(2_500));
    assert_eq!(after(503, &[("retry-after", "Thu, 01 Jan 1970 00:00:30 GMT")]), wait(30_000));
    assert_eq!(after(503, &[("retry-after", "3600")]), OUTAGE);
    assert_eq!(after(400, &[("x-should-retry", "true"), ("retry-after", "1")]), wait(1_000));
}

#[test]
fn hebrew_survives_byte_for_byte_with_points_marks_and_signs() {
    let said = "\u{200f}שָׁלוֹם, קוֹרְאִים לִי ״דנה״ 😀\u{202b}050-1234567\u{202c} — מ־10 עד 12\nתודה\u{200e}";
    let escaped: String = said.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    for json in [format!("{{\"text\": {}}}", Value::from(said)), format!("{{\"text\": \"{escaped}\"}}")] {
        assert_eq!(outcome(&answer(200, &[], json)), text(said));
    }
}

#[test]
fn the_detail_says_what_happened_and_where_to_look() {
    let id = &[("X-Request-Id", "req_7")][..];
    let quota = r#"{"error": {"message": "You exceeded\nyour quota.", "type": "insufficient_quota", "code": "insufficient_quota"}}"#;
    for (status, body, expected) in [
        (200, r#"{"text": "שלום"}"#, ""),
        (200, "<html>", " with a body that is not JSON; check OPENAI_BASE_URL"),
        (200, "{}", " with JSON that has no text; check OPENAI_BASE_URL"),
        (302, "", "; check OPENAI_BASE_URL and TRANSCRIBE_MODEL"),
        (404, r#"{"detail": "Not Found"}"#, ": Not Found; check OPENAI_BASE_URL and TRANSCRIBE_MODEL"),
        (429, quota, ", insufficient_quota: You exceededyour quota.; check the account's quota and billing"),
        (403, "", "; check what OPENAI_API_KEY is allowed to do"),
        (451, "", "; check the account, and whether OPENAI_BASE_URL is the service meant"),
        (
            400,
            &error("invalid_request_error", "unsupported_language", "language"),
            ", invalid_request_error, unsupported_language: No.; check TRANSCRIBE_MODEL and TRANSCRIBE_LANGUAGE",
        ),
        (400, &error("invalid_request_error", "audio_too_short", ""), ", invalid_request_error, audio_too_short: No."),
        (400, r#"{"detail": {"error": {"message": "Bad.", "type": "E", "code": 400}}}"#, ", E, 400: Bad."),
        (503, r#"{"error": "busy"}"#, ": busy"),
        (502, "<html>", ""),
    ] {
        let told = detail(&answer(status, id, body.to_owned()));
        assert_eq!(told, format!("the transcription service answered {status}{expected} (request req_7)"));
    }
}

#[test]
fn the_key_is_in_no_detail_however_it_is_repeated() {
    let quoted = |status, message: &str| {
        let error = serde_json::json!({ "error": { "message": message, "type": KEY, "code": KEY } });
        detail(&answer(status, &[("x-request-id", KEY)], error.to_string()))
    };
    let rest = "x".repeat(limits::REST_MESSAGE_CHARS_MAX - 10);
    for message in
        [KEY.to_owned(), format!("Bearer {KEY}!"), format!("{rest}{KEY}"), KEY.replace("hidden", "hid\u{7}den")]
    {
        for status in [400, 403, 429, 500] {
            let told = quoted(status, &message);
            assert!(told.contains("***") && !told.contains("hid"), "{told}");
            assert!(!told.contains(&KEY[..10]), "{told}");
        }
    }
    let told = quoted(401, "Incorrect API key provided: sk-proj-hid***789.");
    assert!(!told.contains("hid") && told.contains("check OPENAI_API_KEY"), "{told}");
}

#[test]
fn a_long_message_is_cut() {
    let long = serde_json::json!({ "error": { "message": "ש".repeat(9_999) } }).to_string();
    let told = detail(&answer(500, &[], long));
    assert_eq!(told.chars().filter(|sign| *sign == 'ש').count(), limits::REST_MESSAGE_CHARS_MAX);
}

#[test]
fn waits_double_as_the_services_own_client_has_it_and_then_on_to_a_minute() {
    let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];
    for (attempt, most) in (0..).zip(seconds.map(Duration::from_secs_f64)) {
        let waits: Vec<_> = (0..1_000).map(|spread| retry_wait(attempt, None, spread)).collect();
        let (least, longest) = (waits.iter().min().expect("some"), waits.iter().max().expect("some"));
        assert!(*longest == most && *least == most - most / 4, "{attempt}: {least:?} to {longest:?}");
        let mean = waits.iter().sum::<Duration>() / 1_000;
        assert!(mean.abs_diff(most - most / 8) < most / 100, "{attempt}: {mean:?}");
    }
    assert_eq!(retry_wait(7, Some(Duration::from_millis(3)), 9), Duration::from_millis(3));
}

proptest! {
    #[test]
    fn no_number_of_attempts_waits_longer_than_the_bound(attempt: u32, spread: u64) {
        let wait = retry_wait(attempt, None, spread);
        prop_assert!(wait <= limits::TRANSCRIPTION_RETRY_MAX && wait >= limits::TRANSCRIPTION_RETRY_MIN * 3 / 4);
        prop_assert_eq!(wait, retry_wait(attempt, None, spread));
    }

    #[test]
    fn any_bytes_are_classified(status: u16, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let result = answer(status, &[], body);
        prop_assert!((200..300).contains(&status) || !matches!(outcome(&result), Outcome::Text(_)));
        let start = format!("the transcription service answered {status}");
        prop_assert!(detail(&result).starts_with(&start));
    }

    #[test]
    fn what_was_said_is_in_no_detail(
        status in 200_u16..600,
        said in "[א-ת]{6}[א-ת ]{0,30}[א-ת]",
        more in "(, \"(usage|error|text|duration)\": (\\{\\}|null|7|\"x\"))?",
        cut in 0_usize..200,
    ) {
        let json = format!(r#"{{"text": "{said}", "segments": [{{"text": "{said}"}}]{more}}}"#);
        let whole = answer(status, &[], json.clone());
        prop_assert!(!detail(&whole).contains(&said));
        let cut = &json.as_bytes()[..cut.min(json.len())];
        prop_assert!(!detail(&answer(status, &[], cut.to_vec())).contains(&said));
        if status < 300 && !more.contains("text") {
            prop_assert_eq!(outcome(&whole), Outcome::Text(said));
        }
    }
}
