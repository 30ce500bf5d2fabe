//! Properties of the gate: how bytes are cut changes nothing, and no bytes at all make it panic or hoard.

use callwarden_core::http::gate::{Gate, Step};
use callwarden_core::http::head::{Head, Refusal, Version, check};
use callwarden_core::limits::{BODY_BYTES_MAX, HEADERS_MAX};
use proptest::collection::vec;
use proptest::prelude::*;

/// Everything a connection came to, up to the last byte, and what the gate waits for then.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<(Head, Vec<u8>)>,
    end: Result<&'static str, Refusal>,
}

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut gate, mut requests, mut end) = (Gate::default(), Vec::new(), Ok("idle"));
    for piece in pieces {
        gate.receive(piece);
        end = loop {
            match gate.advance() {
                Ok(Step::Request(head, body)) => requests.push((head, body.to_vec())),
                Ok(Step::Body { ask: true }) => {}
                Ok(Step::Idle) => break Ok("idle"),
                Ok(Step::Head) => break Ok("head"),
                Ok(Step::Body { ask: false }) => break Ok("body"),
                Err(refusal) => break Err(refusal),
            }
        };
    }
    Outcome { requests, end }
}

/// The bytes cut after each of the given lengths, over and over.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Fragments of requests, so that random conversations get past the request line.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        "POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET ",
        "Host: x\r\n",
        "Content-Length: 3\r\n",
        "\r\n",
        "\n",
        "\r",
        "0\r\n",
        "ffff\r\n",
        "שלום",
    ];
    prop_oneof![
        4 => proptest::sample::select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ]
}

fn conversation() -> impl Strategy<Value = Vec<u8>> {
    vec(fragment(), 0..8).prop_map(|fragments| fragments.concat())
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_changes_nothing(bytes in conversation(), lengths in vec(1_usize..40, 1..6)) {
        let whole = run([&bytes[..]]);
        prop_assert_eq!(&run(cut(&bytes, &lengths)), &whole);
        prop_assert_eq!(&run(cut(&bytes, &[1])), &whole);
    }

    #[test]
    fn a_changed_byte_never_breaks_the_gate(
        bytes in conversation(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(run(cut(&bytes, &[1])), run([&bytes[..]]));
    }

    #[test]
    fn what_passes_is_what_the_service_relies_on(bytes in conversation()) {
        for (head, body) in run([&bytes[..]]).requests {
            prop_assert!(head.target.starts_with('/') && head.target.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(head.headers.iter().count() <= HEADERS_MAX && body.len() <= BODY_BYTES_MAX);
            prop_assert!(head.headers.iter().all(|(_, value)| value.is_ascii() && !value.contains(['\r', '\n', '\0'])));
        }
    }

    #[test]
    fn any_chunking_of_a_body_gives_the_body(body in vec(any::<u8>(), 0..600), lengths in vec(1_usize..80, 1..6)) {
        let mut bytes = b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in cut(&body, &lengths) {
            bytes.extend(format!("{:X}\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"));
        }
        bytes.extend(b"0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
        let outcome = run(cut(&bytes, &[7]));
        prop_assert_eq!(outcome.end, Ok("idle"));
        prop_assert_eq!(outcome.requests.len(), 2);
        prop_assert_eq!(&outcome.requests[0].1, &body);
    }

    #[test]
    fn any_parts_are_judged_without_a_panic(
        method in vec(any::<u8>(), 0..8),
        target in vec(any::<u8>(), 0..20),
        lines in vec((vec(any::<u8>(), 0..12), vec(any::<u8>(), 0..12)), 0..6),
    ) {
        let lines = lines.iter().map(|(name, value)| (&name[..], &value[..]));
        // Random bytes name no host.
        prop_assert!(check(&method, &target, Version::Http11, lines).is_err());
    }
}
