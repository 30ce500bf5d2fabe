//! Whole conversations, each also cut at every byte.

use super::*;
use crate::http::Method;
use crate::limits::CHUNK_LINE_BYTES_MAX;

/// What a connection came to, flattened so that two runs compare.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Continue,
    Request(Method, String, Bytes),
    Refused(Refusal),
}

/// Feeds the pieces in and notes everything up to the last byte.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let (mut gate, mut seen) = (Gate::default(), Vec::new());
    for piece in pieces {
        gate.receive(piece);
        loop {
            match gate.advance() {
                Ok(Step::Request(head, body)) => seen.push(Seen::Request(head.method, head.target, body)),
                Ok(Step::Body { ask: true }) => seen.push(Seen::Continue),
                Ok(Step::Idle | Step::Head | Step::Body { ask: false }) => break,
                Err(refusal) => {
                    seen.push(Seen::Refused(refusal));
                    return seen;
                }
            }
        }
    }
    seen
}

/// The conversation, which must not depend on how it was cut.
fn converse(bytes: &[u8]) -> Vec<Seen> {
    let whole = run([bytes]);
    if bytes.len() < 2_000 {
        for cut in 1..bytes.len() {
            let (left, right) = bytes.split_at(cut);
            let mut cut_in_two = run([left, right]);
            // A client that sent its body at once is not asked for it.
            cut_in_two.retain(|seen| *seen != Seen::Continue || whole.contains(seen));
            assert_eq!(cut_in_two, whole, "cut at {cut}");
        }
    }
    whole
}

fn get(target: &str) -> Seen {
    Seen::Request(Method::Get, target.to_owned(), Bytes::new())
}

fn post(body: &'static str) -> Seen {
    Seen::Request(Method::Post, "/1".to_owned(), Bytes::from(body))
}

fn chunked(body: &str) -> Vec<u8> {
    format!("POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

#[test]
fn pipelined_requests_come_one_by_one() {
    let bytes = b"\r\n\r\nGET /1 HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
        POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
        GET /2 HTTP/1.1\r\nHost:x \r\n\r\n";
    assert_eq!(converse(bytes), [get("/1"), post("abc"), post("de"), get("/2")]);
}

#[test]
fn a_request_of_http_1_0_needs_no_host_and_is_the_last() {
    let mut gate = Gate::default();
    gate.receive(b"GET /1 HTTP/1.0\r\n\r\n");
    let Ok(Step::Request(head, _)) = gate.advance() else { panic!("no request") };
    assert_eq!((head.target.as_str(), head.keep_alive), ("/1", false));
    assert_eq!(converse(b"GET /1 HTTP/1.0\r\nHost: x\r\n\r\n"), [get("/1")]);
}

#[test]
fn what_is_no_head_is_refused_at_its_first_wrong_byte() {
    for head in [
        "GET /1 HTTP/1.1\n",
        "GET /1 HTTP/1.1\rX",
        "GET /1 HTTP/1.1\r\nHost: x\n",
        "\u{16}",
        "GET /1 HTTP/1.1\r\nX-Name: \u{f6}",
        "GET /1 HTTP/1.1\r\nX: \0",
        "\n",
        "\r\r",
    ] {
        assert_eq!(converse(head.as_bytes()), [Seen::Refused(Refusal::Malformed)], "{head:?}");
    }
}

#[test]
fn a_whole_head_is_refused_for_what_is_wrong_with_it() {
    for (head, refusal) in [
        ("GET /1 HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", Refusal::Malformed),
        ("GET /1 HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\n", Refusal::Malformed),
        ("GET /1 HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", Refusal::Malformed),
        ("GET  /1 HTTP/1.1\r\nHost: x\r\n\r\n", Refusal::Malformed),
        ("GET /1\r\n\r\n", Refusal::Malformed),
        ("GET /1 HTTP/1.1 \r\nHost: x\r\n\r\n", Refusal::Malformed),
        ("GET /1 HTTP/1.x\r\nHost: x\r\n\r\n", Refusal::Malformed),
        ("GET /1 http/1.1\r\nHost: x\r\n\r\n", Refusal::Malformed),
        ("GET /1 HTTP/2.0\r\nHost: x\r\n\r\n", Refusal::Version),
        ("GET /1 HTTP/0.9\r\nHost: x\r\n\r\n", Refusal::Version),
        ("FOO /1 HTTP/1.1\r\nHost: x\r\n\r\n", Refusal::Method),
        ("GET /1 HTTP/1.1\r\n\r\n", Refusal::Host),
    ] {
        assert_eq!(converse(head.as_bytes()), [Seen::Refused(refusal)], "{head:?}");
    }
}

#[test]
fn a_head_may_have_8_kib_and_not_a_byte_more() {
    let head = |bytes: usize| {
        let frame = "GET /1 HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n";
        frame.replace("X: ", &format!("X: {}", "a".repeat(bytes - frame.len()))).into_bytes()
    };
    assert_eq!(run([&head(HEAD_BYTES_MAX)[..]]), [get("/1")]);
    assert_eq!(run([&head(HEAD_BYTES_MAX + 1)[..]]), [Seen::Refused(Refusal::HeadTooLong)]);
    let endless = vec![b'a'; HEAD_BYTES_MAX + 1];
    assert_eq!(run([&endless[..HEAD_BYTES_MAX]]), []);
    assert_eq!(run(endless.chunks(1)), [Seen::Refused(Refusal::HeadTooLong)]);
}

#[test]
fn empty_lines_before_a_request_are_bounded() {
    let lines = |count: usize| "\r\n".repeat(count) + "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n";
    for pieces in [1, 7, HEAD_BYTES_MAX] {
        let most = HEAD_BYTES_MAX / 2;
        assert_eq!(run(lines(most).as_bytes().chunks(pieces)), [get("/1")]);
        assert_eq!(run(lines(most + 1).as_bytes().chunks(pieces)), [Seen::Refused(Refusal::HeadTooLong)]);
    }
}

#[test]
fn a_client_that_waits_is_asked_for_its_body_once() {
    let head = b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n";
    assert_eq!(run([&head[..], b"a", b"b", b"c"]), [Seen::Continue, post("abc")]);
    assert_eq!(converse(&[&head[..], b"abc"].concat()), [post("abc")]);
}

#[test]
fn chunks_with_extensions_and_trailers_make_one_body() {
    let body = "5;a=b\r\nhello\r\n00000001 ;x\r\n!\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n";
    assert_eq!(converse(&chunked(body)), [post("hello!0123456789")]);
}

#[test]
fn chunks_that_are_not_framed_as_they_must_be_are_refused() {
    for body in [
        "ZZ\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "+5\r\n",
        "0x5\r\n",
        "5\nhello",
        "5\rhello",
        "5\r\nhelloX\r\n",
        "5\r\nhello\n",
        "5;\u{f6}\r\n",
        "0\r\n\n",
    ] {
        assert_eq!(converse(&chunked(body)), [Seen::Refused(Refusal::Chunk)], "{body:?}");
    }
}

#[test]
fn a_body_in_chunks_is_held_to_the_length_limit_before_it_is_stored() {
    let almost = format!("{BODY_BYTES_MAX:x}\r\n{}\r\n", "z".repeat(BODY_BYTES_MAX));
    assert_eq!(run([&chunked(&format!("{almost}1\r\n"))[..]]), [Seen::Refused(Refusal::BodyTooLong)]);
    assert!(matches!(&run([&chunked(&format!("{almost}0\r\n\r\n"))[..]])[..], [Seen::Request(..)]));
    assert_eq!(converse(&chunked("ffffffffffffffff\r\n")), [Seen::Refused(Refusal::BodyTooLong)]);
}

#[test]
fn lines_between_chunks_and_after_them_are_bounded() {
    let extension = |bytes: usize| format!("0;{}\r\n\r\n", "x".repeat(bytes - "0;\r\n".len()));
    assert_eq!(converse(&chunked(&extension(CHUNK_LINE_BYTES_MAX))), [post("")]);
    assert_eq!(converse(&chunked(&extension(CHUNK_LINE_BYTES_MAX + 1))), [Seen::Refused(Refusal::Chunk)]);
    let trailers = |bytes: usize| format!("0\r\n{}\r\n\r\n", "x".repeat(bytes - "\r\n\r\n".len()));
    assert_eq!(run([&chunked(&trailers(HEAD_BYTES_MAX))[..]]), [post("")]);
    assert_eq!(run(chunked(&trailers(HEAD_BYTES_MAX + 1)).chunks(1)), [Seen::Refused(Refusal::HeadTooLong)]);
}

#[test]
fn a_refusal_is_repeated_and_nothing_is_read_after_it() {
    let mut gate = Gate::default();
    gate.receive(b"\n");
    for _ in 0..2 {
        assert!(matches!(gate.advance(), Err(Refusal::Malformed)));
        gate.receive(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
}

#[test]
fn bytes_after_a_request_are_kept() {
    let mut gate = Gate::default();
    gate.receive(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n\x81\x82\0\0\0\0hi");
    assert!(matches!(gate.advance(), Ok(Step::Request(..))));
    assert_eq!(gate.into_rest(), b"\x81\x82\0\0\0\0hi");
}
