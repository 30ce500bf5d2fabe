use super::*;
use crate::form::Form;
use crate::http::Headers;
use proptest::prelude::*;

const BASE: &str = "https://api.dublin.ie1.twilio.com";

fn account() -> TwilioAccount {
    TwilioAccount { sid: AccountSid::from_number(0xA), auth_tokens: vec![Secret::new("12345"), Secret::new("hidden")] }
}

fn answer(status: u16, body: &str) -> Result<FetchResponse, FetchError> {
    let headers = Headers::from_iter([("Twilio-Request-Id", "RQ7")]);
    Ok(FetchResponse { status, headers, body: bytes::Bytes::copy_from_slice(body.as_bytes()) })
}

fn error(status: u16, code: u64) -> Result<FetchResponse, FetchError> {
    answer(status, &format!(r#"{{"code": {code}, "message": "Call is not in-progress.", "status": {status}}}"#))
}

#[test]
fn an_update_is_a_post_to_the_webhooks_account_signed_in_as_the_configured_one() {
    let authorization = authorization(&account(), 0).expect("a token");
    let twiml = r#"<Response><Say>שלום & תודה</Say></Response>"#;
    let request = update_call(BASE, AccountSid::from_number(0xB), CallSid::from_number(1), authorization, twiml);
    assert_eq!(request.method, Method::Post);
    assert_eq!(
        request.url,
        "https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/AC0000000000000000000000000000000b\
         /Calls/CA00000000000000000000000000000001.json"
    );
    assert_eq!(request.headers, [("content-type", "application/x-www-form-urlencoded".to_owned())]);
    let expected = STANDARD.encode("AC0000000000000000000000000000000a:12345");
    assert_eq!(request.authorization.as_ref().map(Secret::expose), Some(format!("Basic {expected}").as_str()));
    assert_eq!(Form::parse(&request.body).iter().collect::<Vec<_>>(), [("Twiml", twiml)]);
    assert_eq!((request.timeout, request.response_bytes_max), (limits::REST_TIME, limits::REST_BYTES_MAX));
    assert!(!format!("{request:?}").contains(&expected));
}

#[test]
fn a_look_up_is_a_get_without_a_body() {
    let authorization = authorization(&account(), 1).expect("a token");
    let request = look_up_call(BASE, AccountSid::from_number(1), CallSid::from_number(2), authorization);
    assert_eq!((request.method, request.body.len(), request.headers.len()), (Method::Get, 0, 0));
    assert!(
        request
            .url
            .ends_with("/Accounts/AC00000000000000000000000000000001/Calls/CA00000000000000000000000000000002.json")
    );
}

#[test]
fn there_are_as_many_authorizations_as_tokens() {
    assert!(authorization(&account(), 1).is_some());
    assert_eq!(authorization(&account(), 2), None);
}

#[test]
fn each_answer_to_an_update_means_what_the_rule_says() {
    use UpdateOutcome::{Accepted, Ambiguous, CallGone, Misconfigured, NotDelivered, Unauthorized};
    let cases = [
        (answer(200, "{}"), Accepted),
        (answer(201, ""), Accepted),
        (error(400, 21_220), CallGone),
        (answer(400, r#"{"code": "21220"}"#), CallGone),
        (error(404, 20_404), CallGone),
        (answer(404, "<html>"), CallGone),
        (error(410, 20_410), CallGone),
        (error(401, 20_003), Unauthorized),
        (error(409, 20_409), NotDelivered),
        (error(429, 20_429), NotDelivered),
        (answer(408, ""), Ambiguous),
        (error(500, 20_500), Ambiguous),
        (answer(502, "Bad Gateway"), Ambiguous),
        (error(503, 20_503), Ambiguous),
        (error(400, 21_205), Misconfigured),
        (answer(400, ""), Misconfigured),
        (error(403, 20_005), Misconfigured),
        (answer(301, ""), Misconfigured),
        (Err(FetchError::NotSent("refused".to_owned())), NotDelivered),
        (Err(FetchError::Ambiguous("timeout".to_owned())), Ambiguous),
    ];
    for (result, outcome) in cases {
        assert_eq!(update_outcome(&result).outcome, outcome, "{result:?}");
    }
}

#[test]
fn each_answer_to_a_look_up_means_what_the_rule_says() {
    use LookUpOutcome::{Alive, Failed, NotFound, Over, Unauthorized};
    let over = |status, seconds: Option<u64>| Over { status, duration: seconds.map(Duration::from_secs) };
    let cases = [
        (answer(200, r#"{"status":"completed","duration":"61"}"#), over(CallStatus::Completed, Some(61))),
        (answer(200, r#"{"status":"completed","duration":61}"#), over(CallStatus::Completed, Some(61))),
        (answer(200, r#"{"status":"no-answer","duration":null}"#), over(CallStatus::NoAnswer, None)),
        (answer(200, r#"{"status":"busy","duration":"-1"}"#), over(CallStatus::Busy, None)),
        (answer(200, r#"{"status":"in-progress"}"#), Alive),
        (answer(200, r#"{"status":"ringing"}"#), Alive),
        (answer(200, r#"{"status":"stream_closed"}"#), Failed { retry: true }),
        (answer(200, r#"{"status":7}"#), Failed { retry: true }),
        (answer(200, "[]"), Failed { retry: true }),
        (answer(200, "<html>"), Failed { retry: true }),
        (error(404, 20_404), NotFound),
        (error(401, 20_003), Unauthorized),
        (error(429, 20_429), Failed { retry: true }),
        (answer(503, ""), Failed { retry: true }),
        (error(403, 20_005), Failed { retry: false }),
        (Err(FetchError::NotSent("refused".to_owned())), Failed { retry: true }),
        (Err(FetchError::Ambiguous("timeout".to_owned())), Failed { retry: true }),
    ];
    for (result, outcome) in cases {
        assert_eq!(look_up_outcome(&result).outcome, outcome, "{result:?}");
    }
}

#[test]
fn the_detail_tells_the_code_the_message_and_the_request() {
    let detail = |result| update_outcome(&result).detail;
    assert_eq!(detail(error(400, 21_220)), "Twilio answered 400, code 21220: Call is not in-progress. (request RQ7)");
    assert_eq!(detail(answer(502, "<html>")), "Twilio answered 502 with a body that is not JSON (request RQ7)");
    assert_eq!(detail(answer(503, "")), "Twilio answered 503 without a body (request RQ7)");
    assert_eq!(detail(answer(200, "{}")), "Twilio answered 200 (request RQ7)");
    let long = format!(r#"{{"message": "a\n{}"}}"#, "ש".repeat(limits::REST_MESSAGE_CHARS_MAX));
    let cut = format!("Twilio answered 400: a{} (request RQ7)", "ש".repeat(limits::REST_MESSAGE_CHARS_MAX - 1));
    assert_eq!(detail(answer(400, &long)), cut);
    assert_eq!(
        detail(Err(FetchError::NotSent("connection refused".to_owned()))),
        "the request could not be sent: connection refused"
    );
}

proptest! {
    #[test]
    fn any_answer_is_classified(status: u16, body in prop_oneof![".{0,60}", "\\{\"(code|status|message)\": ?.{0,9}\\}"]) {
        let result = answer(status, &body);
        let accepted = update_outcome(&result).outcome == UpdateOutcome::Accepted;
        prop_assert_eq!(accepted, (200..300).contains(&status));
        let found = matches!(look_up_outcome(&result).outcome, LookUpOutcome::Alive | LookUpOutcome::Over { .. });
        prop_assert!(!found || accepted);
    }
}
