use super::*;
use proptest::prelude::*;
use quick_xml::{Reader, XmlVersion};

const FRAGMENT: &str = "#rc=3&amp;rp=ct,rt,5xx&amp;rt=4000";

fn voice() -> SayVoice {
    SayVoice::nearest(&Voice::default())
}

fn host() -> PublicHost {
    "calls.example.com".parse().expect("a host")
}

#[test]
fn the_stream_document_has_exactly_its_shape() {
    let document = Document::Stream {
        greeting: Announcement::Play(path::GREETING_AUDIO),
        call: Some(CallSid::from_number(1)),
        token: "1.0.99.abc",
    };
    let expected = [
        r#"<?xml version="1.0" encoding="UTF-8"?><Response>"#,
        "<Play>https://calls.example.com/static/tts/greeting_he.mp3</Play>",
        &format!(r#"<Connect action="https://calls.example.com/webhook/stream_ended{FRAGMENT}" method="POST">"#),
        r#"<Stream url="wss://calls.example.com/ws/twilio-media" "#,
        &format!(r#"statusCallback="https://calls.example.com/webhook/stream_status{FRAGMENT}">"#),
        r#"<Parameter name="call_sid" value="CA00000000000000000000000000000001"/>"#,
        r#"<Parameter name="token" value="1.0.99.abc"/></Stream></Connect>"#,
        &format!(r#"<Redirect method="POST">https://calls.example.com/webhook/stream_ended{FRAGMENT}</Redirect>"#),
        "</Response>",
    ]
    .concat();
    assert_eq!(document.to_xml(&host()), expected);
}

#[test]
fn the_recording_document_has_exactly_its_shape_and_goes_on_without_its_prompt() {
    let record = [
        &format!(r#"<Record action="https://calls.example.com/webhook/handle_recording{FRAGMENT}" method="POST" "#),
        r#"recordingStatusCallback="https://calls.example.com/webhook/recording_status"#,
        &format!(r#"{FRAGMENT}" recordingStatusCallbackEvent="in-progress completed absent" "#),
        r#"playBeep="true" timeout="10" maxLength="120" trim="do-not-trim"/></Response>"#,
    ]
    .concat();
    let declared = r#"<?xml version="1.0" encoding="UTF-8"?><Response>"#;
    let prompt = "<Play>https://calls.example.com/static/tts/fallback_he.mp3</Play>";
    let with_prompt = Document::Record(Announcement::Play(path::FALLBACK_AUDIO));
    assert_eq!(with_prompt.to_xml(&host()), format!("{declared}{prompt}{record}"));
    assert_eq!(Document::RecordAgain.to_xml(&host()), format!("{declared}{record}"));
}

#[test]
fn the_short_documents_end_the_call() {
    let xml = |document: Document<'_>| {
        let xml = document.to_xml(&host());
        xml.strip_prefix(r#"<?xml version="1.0" encoding="UTF-8"?>"#).expect("a declaration").to_owned()
    };
    assert_eq!(xml(Document::Empty), "<Response/>");
    assert_eq!(xml(Document::Hangup), "<Response><Hangup/></Response>");
    assert_eq!(xml(Document::Goodbye(Announcement::Silent)), "<Response><Hangup/></Response>");
    assert_eq!(
        xml(Document::Goodbye(Announcement::Say("תודה & להתראות", voice()))),
        concat!(
            r#"<Response><Say language="he-IL" voice="Google.he-IL-Wavenet-A">תודה &amp; להתראות</Say>"#,
            "<Hangup/></Response>"
        )
    );
}

#[test]
fn a_text_without_anything_to_speak_is_no_prompt() {
    for text in ["", " \n", "\u{0}\u{1b}\u{ffff}"] {
        assert!(!Document::Record(Announcement::Say(text, voice())).to_xml(&host()).contains("Say"), "{text:?}");
    }
}

#[test]
fn every_kind_of_white_space_is_spoken_as_a_space() {
    assert_eq!(spoken("\u{a0}one\ntwo\u{a0}three\u{85}four\t"), "one two three four");
}

#[test]
fn a_voice_that_say_does_not_have_is_replaced_by_one_that_it_has() {
    let named = |name: &str| SayVoice::nearest(&name.parse().expect("a voice")).as_str();
    for letter in ["A", "B", "C", "D"] {
        for family in ["he-IL-Wavenet", "he-IL-Standard"] {
            assert_eq!(named(&format!("{family}-{letter}")), format!("Google.{family}-{letter}"));
        }
    }
    for elsewhere in
        ["he-IL-Chirp3-HD-Kore", "he-IL-Wavenet-E", "he-IL-Neural2-A", "en-US-Wavenet-A", "he-IL-wavenet-b"]
    {
        assert_eq!(named(elsewhere), "Google.he-IL-Wavenet-A");
    }
    let named = SayVoice::nearest(&"he-IL-Standard-D".parse().expect("a voice"));
    let xml = Document::Goodbye(Announcement::Say("שלום", named)).to_xml(&host());
    assert!(xml.contains(r#"<Say language="he-IL" voice="Google.he-IL-Standard-D">שלום</Say>"#), "{xml}");
}

#[test]
fn a_response_is_xml_and_is_not_cached() {
    let response = response(&Document::Empty, &host());
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/xml; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert!(response.body.starts_with(b"<?xml"));
}

#[test]
fn a_host_is_a_name_or_an_address_with_an_optional_port() {
    let longest = format!("{}.{}.{}.{}:65535", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
    assert_eq!(longest.len(), limits::PUBLIC_HOST_CHARS_MAX);
    for good in ["localhost", "a.b:8080", "127.0.0.1:1", "[::1]", "[::1]:443", "xn--4dbrk0ce.co.il", &longest] {
        assert_eq!(good.parse::<PublicHost>().map(|host| host.to_string()), Ok(good.to_owned()));
    }
    let longer = format!("e{longest}");
    for bad in [
        "",
        ":80",
        "a:",
        "a:0",
        "a:65536",
        "a:+1",
        "a/b",
        "a b",
        "a_b",
        "-a",
        "a-",
        "a..b",
        "a.",
        "u@a",
        "a?b",
        "a#b",
        "[::1",
        "[::1]x",
        "::1",
        "ישראל.co.il",
        "a\"b",
        "a\r\nb",
        &longer,
    ] {
        assert_eq!(bad.parse::<PublicHost>(), Err(HostError), "{bad}");
    }
}

#[test]
fn a_pasted_setting_loses_its_scheme_and_slashes_but_not_a_path() {
    for text in
        [" https://Calls.example.com/ ", "WSS://Calls.example.com//", "Calls.example.com", "http://Calls.example.com"]
    {
        assert_eq!(PublicHost::from_setting(text).map(|host| host.to_string()), Ok("Calls.example.com".to_owned()));
    }
    for text in ["https://calls.example.com/webhook", "https://", "", "ftp://calls.example.com", "ש"] {
        assert_eq!(PublicHost::from_setting(text), Err(HostError), "{text}");
    }
}

#[test]
fn a_host_as_text_is_what_was_read() {
    assert_eq!(host().as_str(), "calls.example.com");
}

#[test]
fn the_forwarded_host_wins_over_the_host_and_nonsense_does_not_count() {
    let headers = |lines: &[(&str, &str)]| PublicHost::from_headers(&lines.iter().copied().collect());
    assert_eq!(headers(&[("Host", "in:80"), ("X-Forwarded-Host", "out.example, in")]), "out.example".parse().ok());
    assert_eq!(headers(&[("Host", "in:80")]), "in:80".parse().ok());
    assert_eq!(headers(&[("Host", "in:80"), ("X-Forwarded-Host", "a b")]), "in:80".parse().ok());
    assert_eq!(headers(&[("Host", "a/\"b")]), None);
    assert_eq!(headers(&[]), None);
}

/// The values of all attributes and the text content, as a reader sees them.
fn read(xml: &str) -> (Vec<String>, String) {
    let (mut reader, mut values, mut text) = (Reader::from_str(xml), Vec::new(), String::new());
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(element) | Event::Empty(element) => {
                for attribute in element.attributes() {
                    let attribute = attribute.expect("an attribute");
                    values.push(attribute.normalized_value(XmlVersion::Implicit1_0).expect("a value").into_owned());
                }
            }
            Event::Text(part) => text.push_str(&part.xml10_content()),
            Event::GeneralRef(name) => {
                let reference = format!("&{};", name.xml10_content());
                text.push_str(&quick_xml::escape::unescape(&reference).expect("a known entity"));
            }
            Event::Eof => return (values, text),
            Event::Decl(_) | Event::End(_) => {}
            Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => panic!("never written"),
        }
    }
}

fn any_host() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,20}(-[a-z0-9]{1,5})?(\\.[A-Z]{1,20}){0,3}(:[1-9][0-9]{0,3})?"
}

proptest! {
    #[test]
    fn any_text_host_and_token_come_back_from_a_reader(text in ".{0,60}", token in "[ -~א-ת]{0,40}", host in any_host()) {
        let host: PublicHost = host.parse().expect("a host");
        let greeting = Announcement::Say(&text, voice());
        let xml = Document::Stream { greeting, call: None, token: &token }.to_xml(&host);
        prop_assert!(xml.starts_with(r#"<?xml version="1.0" encoding="UTF-8"?><Response>"#));
        let (values, content) = read(&xml);
        prop_assert_eq!(content, format!("{}{}", spoken(&text), host.callback(path::STREAM_ENDED)));
        prop_assert!(values.contains(&token));
        prop_assert!(values.contains(&host.wss(path::MEDIA)));
        prop_assert!(values.contains(&host.callback(path::STREAM_STATUS)));
    }

    #[test]
    fn every_recording_document_fits_a_rest_update(
        text in prop_oneof!["[&\"'<>]{450,500}", ".{0,500}", "[א-ת]{440,460}"],
    ) {
        let name = format!("{}.{}.{}.{}:65535", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        let xml = Document::Record(Announcement::Say(&text, voice())).to_xml(&name.parse().expect("a host"));
        prop_assert!(xml.chars().count() < limits::REST_TWIML_CHARS_MAX, "{}", xml.chars().count());
    }
}

#[test]
fn the_worst_text_nearly_fills_a_rest_update_and_is_cut_at_its_limit() {
    let name = format!("{}.{}.{}.{}:65535", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
    let text = "\"".repeat(limits::PROMPT_TEXT_CHARS_MAX + 1);
    let xml = Document::Record(Announcement::Say(&text, voice())).to_xml(&name.parse().expect("a host"));
    assert_eq!(xml.matches("&quot;").count(), limits::PROMPT_TEXT_CHARS_MAX);
    let length = xml.chars().count();
    assert!((3_500..limits::REST_TWIML_CHARS_MAX).contains(&length), "{length}");
}
