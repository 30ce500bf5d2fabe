//! What is refused and what is not, line by line. The wire's side of it is tested with the gate.

use super::*;

type Line = (&'static str, &'static str);

const HOST: Line = ("Host", "x.test");

fn judge(method: &str, target: &str, version: Version, lines: &[Line]) -> Result<Head, Refusal> {
    let lines = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    check(method.as_bytes(), target.as_bytes(), version, lines)
}

fn post(lines: &[Line]) -> Result<Head, Refusal> {
    judge("POST", "/", Version::Http11, &[&[HOST], lines].concat())
}

#[test]
fn a_plain_request_keeps_its_target_and_lines_as_they_are() {
    let target = "/a%20b/%2e%2e/../c?x=%E2%82%AC+1&y='q'|\"<>";
    let head = judge("GET", target, Version::Http11, &[HOST, ("X-A", "1\t2"), ("x-a", "")]).unwrap();
    assert_eq!((head.method, head.target.as_str(), head.body), (Method::Get, target, BodyLength::None));
    assert_eq!(head.headers.iter().collect::<Vec<_>>(), [("Host", "x.test"), ("X-A", "1\t2"), ("x-a", "")]);
    assert!(head.keep_alive && !head.expects_continue && head.upgrade.is_none());
}

#[test]
fn methods_are_known_unknown_or_no_tokens() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert!(judge(method, "/", Version::Http11, &[HOST]).is_ok(), "{method}");
    }
    for method in ["FOO", "get", "CONNECT", "TRACE", "M-SEARCH"] {
        assert_eq!(judge(method, "/", Version::Http11, &[HOST]), Err(Refusal::Method), "{method}");
    }
    for method in ["", "G@T", "GET\t", "G\u{e9}T", "(GET)"] {
        assert_eq!(judge(method, "/", Version::Http11, &[HOST]), Err(Refusal::Malformed), "{method}");
    }
}

#[test]
fn only_a_path_of_visible_ascii_is_a_target() {
    for target in ["", "*", "http://x.test/", "x", "/a b", "/\u{e9}", "/שלום", "/\u{7f}", "/\0", "/\r\nX: y"] {
        assert_eq!(judge("GET", target, Version::Http11, &[HOST]), Err(Refusal::Target), "{target:?}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_with_an_optional_port() {
    for host in ["x.test", "X-1.test:8080", "10.0.0.1:1", "[::1]", "[2001:db8::1]:443", "voice_server:80"] {
        assert!(judge("GET", "/", Version::Http11, &[("host", host)]).is_ok(), "{host}");
    }
    for host in [
        "",
        ":80",
        "x.test/admin?z=",
        "a@evil.test",
        "x test",
        "x.test:",
        "x.test:65536",
        "x.test:+1",
        "x.test:1:2",
        "[]",
        "[::1",
        "[x]",
        "[::1]x",
        "x,y",
        "x.test#",
        "x%2ftest",
        "::1",
        "http://x",
    ] {
        assert_eq!(judge("GET", "/", Version::Http11, &[("host", host)]), Err(Refusal::Host), "{host}");
    }
}

#[test]
fn there_is_exactly_one_host_and_only_http_1_0_may_leave_it_out() {
    assert_eq!(judge("GET", "/", Version::Http11, &[]), Err(Refusal::Host));
    assert_eq!(judge("GET", "/", Version::Http11, &[HOST, HOST]), Err(Refusal::Host));
    assert_eq!(judge("GET", "/", Version::Http10, &[HOST, HOST]), Err(Refusal::Host));
    assert!(judge("GET", "/", Version::Http10, &[]).is_ok());
}

#[test]
fn a_body_has_one_length_or_is_chunked() {
    assert_eq!(post(&[("Content-Length", "3")]).unwrap().body, BodyLength::Length(3));
    assert_eq!(post(&[("Content-Length", "0")]).unwrap().body, BodyLength::None);
    assert_eq!(post(&[("Transfer-Encoding", "Chunked")]).unwrap().body, BodyLength::Chunked);
    for length in ["", "+3", "-3", "3, 3", "3 3", "0x3", "3;", "\u{663}"] {
        assert!(matches!(post(&[("Content-Length", length)]), Err(Refusal::Length | Refusal::Malformed)), "{length}");
    }
    for second in ["3", "4"] {
        assert_eq!(post(&[("Content-Length", "3"), ("content-length", second)]), Err(Refusal::Length));
    }
    assert_eq!(post(&[("Content-Length", "3"), ("Transfer-Encoding", "chunked")]), Err(Refusal::Length));
    for coding in ["", "gzip", "gzip, chunked", "identity, chunked", "chunked, chunked", "chunked;q=1", "xchunked"] {
        assert_eq!(post(&[("Transfer-Encoding", coding)]), Err(Refusal::Coding), "{coding}");
    }
    for second in ["chunked", "identity"] {
        let lines = [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", second)];
        assert_eq!(post(&lines), Err(Refusal::Coding), "{second}");
    }
    let old = judge("POST", "/", Version::Http10, &[HOST, ("Transfer-Encoding", "chunked")]);
    assert_eq!(old, Err(Refusal::Length));
}

#[test]
fn a_body_may_have_64_kib_and_not_a_byte_more() {
    assert_eq!(post(&[("Content-Length", "65536")]).unwrap().body, BodyLength::Length(BODY_BYTES_MAX));
    for length in ["65537", "99999999999999999999999999"] {
        assert_eq!(post(&[("Content-Length", length)]), Err(Refusal::BodyTooLong));
    }
}

#[test]
fn a_hundred_lines_are_served_and_one_more_is_not() {
    let line = (&b"a"[..], &b"1"[..]);
    let with = |lines| {
        let host = (&b"host"[..], &b"x"[..]);
        check(b"GET", b"/", Version::Http11, core::iter::once(host).chain(core::iter::repeat_n(line, lines)))
    };
    assert!(with(HEADERS_MAX - 1).is_ok());
    assert_eq!(with(HEADERS_MAX), Err(Refusal::HeadTooLong));
}

#[test]
fn names_are_tokens_and_values_are_ascii() {
    for name in ["", "a b", "a ", " a", "a:", "שם", "a\0"] {
        assert_eq!(post(&[(name, "1")]), Err(Refusal::Malformed), "{name:?}");
    }
    for value in ["Jörg", "שלום", "a\rb", "a\nb", "\0", "\u{7f}"] {
        assert_eq!(post(&[("X-Name", value)]), Err(Refusal::Malformed), "{value:?}");
    }
    assert_eq!(check(b"GET", b"/", Version::Http11, [(&b"a"[..], &b"\xf6"[..])]), Err(Refusal::Malformed));
}

#[test]
fn a_connection_stays_open_unless_either_side_is_of_the_closing_kind() {
    assert!(post(&[("Connection", "keep-alive")]).unwrap().keep_alive);
    assert!(!post(&[("Connection", "x, Close")]).unwrap().keep_alive);
    assert!(!post(&[("Connection", "x"), ("connection", "close")]).unwrap().keep_alive);
    assert!(!judge("GET", "/", Version::Http10, &[("Connection", "keep-alive")]).unwrap().keep_alive);
}

#[test]
fn the_one_known_expectation_is_read_in_any_case_and_ignored_in_http_1_0() {
    assert!(post(&[("Expect", "100-Continue")]).unwrap().expects_continue);
    assert_eq!(post(&[("Expect", "a-miracle")]), Err(Refusal::Expectation));
    assert!(!judge("POST", "/", Version::Http10, &[("Expect", "100-continue")]).unwrap().expects_continue);
}

const KEY: Line = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION_13: Line = ("Sec-WebSocket-Version", "13");

fn upgrade(lines: &[Line]) -> Result<Option<Upgrade>, Refusal> {
    judge("GET", "/ws", Version::Http11, &[&[HOST], lines].concat()).map(|head| head.upgrade)
}

#[test]
fn a_handshake_is_answered_with_the_key_of_rfc_6455() {
    let asked = [
        &[("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket")][..],
        &[("connection", "UPGRADE"), ("UPGRADE", "WebSocket")],
        &[("Connection", "keep-alive"), ("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &[("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "websocket")],
    ];
    for lines in asked {
        let upgrade = upgrade(&[lines, &[KEY, VERSION_13]].concat()).unwrap().expect("a handshake");
        assert_eq!(
            upgrade.switching_protocols(),
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }
}

#[test]
fn a_handshake_with_a_wrong_key_version_or_a_body_is_refused_and_told_the_version() {
    const ASKED: [Line; 2] = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    for lines in [
        &[VERSION_13][..],
        &[KEY],
        &[KEY, KEY, VERSION_13],
        &[KEY, ("Sec-WebSocket-Version", "8")],
        &[KEY, VERSION_13, VERSION_13],
        &[("Sec-WebSocket-Key", "abc"), VERSION_13],
        &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"), VERSION_13],
        &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"), VERSION_13],
        &[KEY, VERSION_13, ("Content-Length", "1")],
        &[KEY, VERSION_13, ("Transfer-Encoding", "chunked")],
    ] {
        assert_eq!(upgrade(&[&ASKED, lines].concat()), Err(Refusal::Handshake), "{lines:?}");
    }
    let response = Refusal::Handshake.response();
    assert_eq!((response.status, response.header("sec-websocket-version")), (400, Some("13")));
}

#[test]
fn what_does_not_wholly_ask_for_a_websocket_is_a_plain_request() {
    for lines in [
        &[("Upgrade", "websocket")][..],
        &[("Connection", "Upgrade")],
        &[("Connection", "Upgrade"), ("Upgrade", "h2c")],
    ] {
        assert_eq!(upgrade(&[lines, &[KEY, VERSION_13]].concat()), Ok(None), "{lines:?}");
    }
    let asked = [HOST, ("Connection", "Upgrade"), ("Upgrade", "websocket"), KEY, VERSION_13];
    assert_eq!(judge("GET", "/", Version::Http10, &asked).unwrap().upgrade, None);
    assert_eq!(judge("POST", "/", Version::Http11, &asked).unwrap().upgrade, None);
}

#[test]
fn every_refusal_says_what_to_do_next() {
    for (refusal, status) in [
        (Refusal::Malformed, 400),
        (Refusal::HeadLate, 408),
        (Refusal::BodyTooLong, 413),
        (Refusal::Expectation, 417),
        (Refusal::HeadTooLong, 431),
        (Refusal::Method, 501),
        (Refusal::Version, 505),
    ] {
        let response = refusal.response();
        assert_eq!(response.status, status);
        assert!(String::from_utf8_lossy(&response.body).contains(": send "), "{refusal}");
    }
}
