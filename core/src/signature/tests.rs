use super::*;
use crate::form::encode;
use proptest::prelude::*;

const U: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const P: [(&str, &str); 5] = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
];

fn token() -> Secret {
    Secret::new("12345")
}

fn form(pairs: &[(&str, &str)]) -> Form {
    Form::parse(encode(pairs.iter().copied()).as_bytes())
}

fn accepts(url: &str, pairs: &[(&str, &str)], signature: &str) -> bool {
    verify(&[token()], url, Payload::Form(&form(pairs)), signature)
}

fn accepts_body(url: &str, body: &str, signature: &str) -> bool {
    verify(&[token()], url, Payload::Body(body.as_bytes()), signature)
}

#[test]
fn the_signature_of_twilios_documentation_is_accepted() {
    assert!(accepts(U, &P, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    let pairs = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675310"),
        ("Digits", "1234"),
        ("From", "+14158675310"),
        ("To", "+18005551212"),
    ];
    assert!(accepts("https://example.com/myapp.php?foo=1&bar=2", &pairs, "L/OH5YylLD5NRKLltdqwSvS0BnU="));
}

#[test]
fn a_signature_with_the_port_or_without_it_is_accepted() {
    let with = |scheme: &str, host: &str| format!("{scheme}://{host}/myapp.php?foo=1&bar=2");
    assert!(accepts(U, &P, "kvajT1Ptam85bY51eRf/AJRuM3w="));
    assert!(accepts(&with("https", "mycompany.com:443"), &P, "kvajT1Ptam85bY51eRf/AJRuM3w="));
    assert!(accepts(&with("https", "mycompany.com:443"), &P, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    assert!(accepts(&with("https", "mycompany.com:1234"), &P, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    assert!(accepts(&with("http", "mycompany.com:1234"), &P, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="));
    assert!(accepts(&with("http", "mycompany.com"), &P, "0ZXoZLH/DfblKGATFgpif+LLRf4="));
    assert!(accepts(&with("http", "mycompany.com:80"), &P, "0ZXoZLH/DfblKGATFgpif+LLRf4="));
    assert!(!accepts(U, &P, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="));
}

#[test]
fn the_colons_of_an_address_are_no_port() {
    let url = |host: &str| format!("https://{host}/myapp.php");
    for (received, signed) in
        [("[2001:db8::1]", "[2001:db8::1]:443"), ("[::a]:443", "[::a]"), ("[::1]:443", "[::1]:443")]
    {
        assert!(accepts(&url(received), &P, &sign(&token(), &url(signed), P)), "{received}");
    }
}

#[test]
fn repeated_values_are_sorted_and_counted_once() {
    let pairs = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")];
    assert!(accepts(U, &pairs, "IK+Dwps556ElfBT0I3Rgjkr1wJU="));
    let addresses = [("MessagingBinding.Address", "+1325xxxxxxx"), ("MessagingBinding.Address", "+1415xxxxxxx")];
    assert!(accepts(U, &addresses, "83O6e2vORAoJHUNzJjDWN1jz+BA="));
}

#[test]
fn a_json_body_is_checked_by_its_hash_in_the_query() {
    let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
    let body = r#"{"property": "value", "boolean": true}"#;
    let url = format!("{U}&bodySHA256={hash}");
    assert!(accepts_body(&url, body, "a9nBmqA0ju/hNViExpshrM61xv4="));
    assert!(!accepts_body(&url, r#"{"property": "value", "boolean": false}"#, "a9nBmqA0ju/hNViExpshrM61xv4="));
    let only = format!("https://mycompany.com/myapp.php?bodySHA256={hash}");
    assert!(accepts_body(&only, body, "y77kIzt2vzLz71DgmJGsen2scGs="));
    let empty = "https://mycompany.com/myapp.php?foo=1&bar=2\
                 &bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert!(accepts_body(empty, "{}", "Ldidvp12m26NI7eqEvxnEpkd9Hc="));
}

#[test]
fn a_body_without_its_hash_is_refused_though_the_url_is_signed() {
    let signature = sign(&token(), U, []);
    assert_eq!(signature, "zYQTYrRWXE7LtzbG4PfP7/bkkGo=");
    assert!(verify(&[token()], U, Payload::Nothing, &signature));
    assert!(!accepts_body(U, "{}", &signature));
    assert!(!accepts_body(U, "", &signature));
}

#[test]
fn what_a_request_carries_is_told_by_its_method_and_content_type() {
    let kind = |method, content_type: &str, body: &'static str| {
        let request = Request {
            method,
            target: "/".to_owned(),
            headers: [("Content-Type", content_type)].into_iter().collect(),
            body: body.into(),
            peer: core::net::Ipv4Addr::LOCALHOST.into(),
        };
        match Payload::of(&request, &Form::parse(body.as_bytes())) {
            Payload::Nothing => "nothing",
            Payload::Form(_) => "form",
            Payload::Body(_) => "body",
        }
    };
    assert_eq!(kind(Method::Get, "application/x-www-form-urlencoded", "a=b"), "nothing");
    assert_eq!(kind(Method::Post, "Application/X-WWW-Form-Urlencoded; charset=UTF-8", "a=b"), "form");
    assert_eq!(kind(Method::Post, "application/json", "{}"), "body");
    assert_eq!(kind(Method::Post, "", "a=b"), "body");
    assert_eq!(kind(Method::Post, "", ""), "form");
}

#[test]
fn names_sort_before_values_are_appended() {
    let pairs = [&P[..], &[("Reason", "Participant"), ("ReasonConferenceEnded", "test")]].concat();
    assert!(accepts(U, &pairs, "vOEb5UThFn24KEfnOFLQY2AE5FY="));
    assert!(!accepts(U, &pairs, "95+Bu0JVPi0r/SsESZCVf0dWAjw="));
    assert!(accepts(U, &[("property", "value"), ("boolean", "true")], "NBdBDr/T/lgjI+tlgpXjKZQZs/k="));
}

#[test]
fn a_quote_in_the_query_is_accepted_escaped_and_raw() {
    let url = format!("{U}&Body=It's+amazing");
    assert!(accepts(&url, &P, "TfZzewPq8wqrGlMfyAud8+/IvJ0="));
    assert!(accepts(&url, &P, "dsq4Ehbj6cs+KdTkpF5sSSplOWw="));
}

#[test]
fn a_query_that_old_systems_wrote_anew_is_accepted() {
    let received = "https://mycompany.com/a?name=It%27s+a%21&x=1&name=%D7%A9";
    let signed = "https://mycompany.com/a?name=It's%20a!&name=%D7%A9&x=1";
    assert!(accepts(received, &P, &sign(&token(), signed, P)));
}

#[test]
fn credentials_in_the_url_are_signed_or_left_out() {
    let url = "https://user:pass@mycompany.com/myapp.php?foo=1&bar=2";
    assert!(accepts(url, &P, "CukzLTc1tT5dXEDIHm/tKBanW10="));
    assert!(accepts(url, &P, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
}

#[test]
fn hebrew_names_and_empty_values_are_signed() {
    let pairs = [
        ("CallSid", "CA00000000000000000000000000000001"),
        ("CallerName", "ישראל ישראלי"),
        ("From", "+972501234567"),
        ("To", "+972331234567"),
        ("FromCity", ""),
    ];
    assert!(accepts("https://example.com/voice", &pairs, "QWF1XHCGrd1iRE/dSWVEpiCejqQ="));
}

#[test]
fn a_stream_url_signs_like_any_other() {
    assert_eq!(sign(&token(), "wss://example.com/stream", []), "KG4JbhDlv15BMlxSTOWKt9btbgg=");
    assert_eq!(sign(&token(), "wss://example.com/stream/", []), "Jg6Z/GYqtvZUUtFCEi2KISJhfbU=");
}

#[test]
fn parameters_added_after_signing_do_not_break_it() {
    let signature = sign(&token(), U, P);
    let added = [&P[..], &[("CallToken", "%7B%22a%22"), ("StirVerstat", "TN-Validation-Passed-A")]].concat();
    assert!(accepts(U, &added, &signature));
    assert!(accepts(U, &added, &sign(&token(), U, added.iter().copied())));
    assert!(!accepts(U, &[&P[..], &[("CallTokens", "x")]].concat(), &signature));
}

#[test]
fn the_fragment_is_not_signed() {
    assert!(accepts(&format!("{U}#rc=3"), &P, "RSOYDt4T1cUTdK1PDd93/VVr8B8="));
    assert_eq!(sign(&token(), &format!("{U}#rc=3"), P), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
}

#[test]
fn any_of_several_tokens_verifies_and_none_admits_nobody() {
    let form = form(&P);
    let verify = |tokens: &[Secret]| verify(tokens, U, Payload::Form(&form), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    assert!(verify(&[Secret::new("new"), token()]));
    assert!(!verify(&[Secret::new("new")]));
    assert!(!verify(&[]));
}

#[test]
fn texts_that_are_no_signature_are_refused() {
    for text in ["", "=", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "RSOYDt4T1cUTdK1PDd93/VVr8B8=x", "AAAA", "חתימה"] {
        assert!(!accepts(U, &P, text), "{text}");
    }
}

#[test]
fn the_most_ambiguous_url_has_twelve_spellings() {
    assert_eq!(url_spellings("https://u:p@h:1/a?b='&c=+").len(), 12);
    assert_eq!(url_spellings("https://h/a").len(), 2);
}

proptest! {
    #[test]
    fn whatever_is_signed_verifies_and_stops_verifying_when_altered(
        path in "/[a-z/]{0,10}",
        query in proptest::option::of("[a-z]{1,5}=[ -\"$-~]{0,10}"),
        pairs in proptest::collection::vec(("[A-Za-z]{1,8}", "[א-ת a-z+&]{0,10}"), 1..8),
    ) {
        let url = format!("https://example.com{path}{}", query.map(|text| format!("?{text}")).unwrap_or_default());
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let signature = sign(&token(), &url, pairs.iter().copied());
        prop_assert!(accepts(&url, &pairs, &signature));
        let more = [&pairs[..], &[("Added", "1")]].concat();
        prop_assert!(!accepts(&url, &more, &signature));
        let longer = url + "x";
        prop_assert!(!accepts(&longer, &pairs, &signature));
    }

    #[test]
    fn hostile_urls_and_signatures_are_survived(url in "\\PC{0,60}", header in "\\PC{0,40}", body: Vec<u8>) {
        prop_assert!(!verify(&[token()], &url, Payload::Body(&body), &header));
        prop_assert!(!verify(&[token()], &url, Payload::Form(&Form::parse(&body)), &header));
        prop_assert!(url_spellings(&url).len() <= 12);
    }
}
