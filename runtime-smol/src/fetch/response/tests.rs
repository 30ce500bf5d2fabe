//! Framing against a table of messages, and by property.

use super::*;
use proptest::prelude::*;

/// Everything one can tell about a framer that was fed these pieces.
fn frame<'a>(
    head_asked: bool,
    body_bytes_max: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, BadResponse> {
    let mut framer = Framer::new(head_asked, body_bytes_max);
    for piece in pieces {
        framer.push(piece)?;
    }
    framer.take_answer().ok_or(framer.closed())
}

fn whole(text: &str) -> Result<Answer, BadResponse> {
    frame(false, 100, [text.as_bytes()])
}

fn body_of(text: &str) -> Result<String, BadResponse> {
    whole(text).map(|answer| String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_body_with_a_length_and_a_chunked_one_are_read() {
    let answer = whole("HTTP/1.1 201 Created\r\nX-A: 1\r\ncontent-LENGTH: 8\r\nx-a: שלום\r\n\r\nתשוב").unwrap();
    assert_eq!((answer.status, answer.reusable), (201, true));
    assert_eq!(answer.headers.all("x-a").collect::<Vec<_>>(), ["1", "שלום"]);
    assert_eq!(answer.body, "תשוב".as_bytes());
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nt: 1\r\n\r\n";
    assert_eq!(body_of(chunked).as_deref(), Ok("abcde"));
}

#[test]
fn interim_answers_are_skipped_up_to_a_bound_and_a_switch_is_refused() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let early = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    let text = |interims: usize| format!("{}{answer}", early.repeat(interims));
    assert_eq!(body_of(&text(INTERIM_RESPONSES_MAX)).as_deref(), Ok("ok"));
    assert_eq!(body_of(&text(INTERIM_RESPONSES_MAX + 1)), Err(BadResponse::Interim));
    assert_eq!(body_of("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Err(BadResponse::Interim));
}

#[test]
fn contradictory_and_unreadable_lengths_are_refused() {
    for lines in [
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2, 2",
        "content-length: +2",
        "content-length: -2",
        "content-length: 0x2",
        "content-length:",
        "content-length: ٢",
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ] {
        assert_eq!(body_of(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok")), Err(BadResponse::Framing), "{lines}");
    }
    assert_eq!(body_of("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Err(BadResponse::Framing));
}

#[test]
fn an_answer_that_only_the_end_of_the_connection_would_end_is_refused() {
    assert_eq!(body_of("HTTP/1.1 200 OK\r\n\r\n"), Err(BadResponse::NoLength));
    assert_eq!(body_of("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"), Err(BadResponse::NoLength));
}

#[test]
fn answers_without_a_body_end_with_their_head_whatever_they_declare() {
    for status in [204, 304] {
        let answer = whole(&format!("HTTP/1.1 {status} x\r\ncontent-length: 5\r\n\r\n")).unwrap();
        assert_eq!((answer.status, answer.body.len(), answer.reusable), (status, 0, true));
    }
    let to_head = frame(true, 0, [&b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"[..]]).unwrap();
    assert_eq!((to_head.status, to_head.body.len(), to_head.reusable), (200, 0, true));
}

#[test]
fn a_connection_is_not_used_again_after_close_an_old_version_or_bytes_out_of_turn() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokH",
        "HTTP/1.1 204 x\r\ncontent-length: 2\r\n\r\nok",
    ] {
        assert!(!whole(text).unwrap().reusable, "{text}");
    }
}

#[test]
fn a_body_may_be_as_long_as_allowed_and_no_longer() {
    let text = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
    assert_eq!(body_of(&text(100)).map(|body| body.len()), Ok(100));
    assert_eq!(body_of(&text(101)), Err(BadResponse::TooLong));
    let beyond_any = format!("HTTP/1.1 200 OK\r\ncontent-length: 1{}\r\n\r\n", "0".repeat(40));
    assert_eq!(body_of(&beyond_any), Err(BadResponse::TooLong));
}

#[test]
fn heads_are_bounded_in_bytes_and_lines() {
    let start = "HTTP/1.1 204 x\r\na: ";
    let head = |bytes: usize| format!("{start}{}\r\n\r\n", "b".repeat(bytes - start.len() - 4));
    assert!(whole(&head(RESPONSE_HEAD_BYTES_MAX)).is_ok());
    assert_eq!(whole(&head(RESPONSE_HEAD_BYTES_MAX + 1)), Err(BadResponse::HeadTooLong));
    let lines = |count: usize| format!("HTTP/1.1 204 x\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(whole(&lines(RESPONSE_HEADERS_MAX)).is_ok());
    assert_eq!(whole(&lines(RESPONSE_HEADERS_MAX + 1)), Err(BadResponse::HeadTooLong));
}

#[test]
fn what_is_not_http_is_refused() {
    for text in [
        "\r\n\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 099 x\r\n\r\n",
        "HTTP/1.1 600 x\r\n\r\n",
        "HTTP/1.1 200 OK\r\na\r\n\r\n",
        "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
    ] {
        assert_eq!(whole(text), Err(BadResponse::Head), "{text:?}");
    }
}

#[test]
fn a_close_says_where_it_cut() {
    assert_eq!(whole(""), Err(BadResponse::NoAnswer));
    assert_eq!(whole("HTTP/1.1 103 x\r\n\r\n"), Err(BadResponse::HeadCut));
    assert_eq!(whole("HTTP/1.1 200 OK\r\n"), Err(BadResponse::HeadCut));
    assert_eq!(whole("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"), Err(BadResponse::BodyCut));
    assert_eq!(whole("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc"), Err(BadResponse::BodyCut));
}

/// Messages that reach every state, valid or nearly so.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("content-length: 5".to_owned()),
        Just("transfer-encoding: chunked".to_owned()),
        Just("connection: close".to_owned()),
        "[a-z]{1,4}: [a-zא-ת ]{0,8}",
    ];
    let body = prop_oneof![
        Just("hello".to_owned()),
        Just("3\r\nabc\r\n2;e=1\r\nde\r\n0\r\nt: 1\r\n\r\n".to_owned()),
        "[0-9a-f;\r\nt: ]{0,24}",
    ];
    let status = prop_oneof![Just("103"), Just("200"), Just("204"), Just("503"), Just("999")];
    let one = (status, prop::collection::vec(line, 0..4), body)
        .prop_map(|(status, lines, body)| format!("HTTP/1.1 {status} x\r\n{}\r\n\r\n{body}", lines.join("\r\n")));
    prop::collection::vec(one, 1..3).prop_map(|messages| messages.concat().into_bytes())
}

proptest! {
    #[test]
    fn every_split_in_two_and_single_bytes_give_what_the_whole_gives(bytes in message(), head_asked: bool) {
        let expected = frame(head_asked, 8, [bytes.as_slice()]);
        for at in 0..=bytes.len() {
            let (first, second) = bytes.split_at(at);
            prop_assert_eq!(&frame(head_asked, 8, [first, second]), &expected, "split at {}", at);
        }
        prop_assert_eq!(&frame(head_asked, 8, bytes.chunks(1)), &expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic_nor_pass_the_limit(
        start in prop_oneof![Just(&b""[..]), Just(&b"HTTP/1.1 200 OK\r\n"[..]),
            Just(&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..])],
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(answer) = frame(false, 10, [start, bytes.as_slice()]) {
            prop_assert!(answer.body.len() <= 10);
        }
    }
}
