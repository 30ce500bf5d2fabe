//! Simulated calls over real sockets, to a scripted server.

use super::http::{read_body, read_head};
use super::*;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use callwarden_core::far_end::{EndedBy, Heard, StreamFault};
use callwarden_core::fetch::{FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::limits;
use callwarden_core::secret::Secret;
use callwarden_core::sid::AccountSid;
use futures_util::StreamExt as _;
use smol::block_on;
use smol::io::AsyncWriteExt as _;
use smol::net::TcpStream;
use std::time::Duration;

const STREAM: &str = "<Play>https://name/greeting.wav</Play>\
    <Connect action=\"https://name/stream_ended\"><Stream url=\"wss://name/ws\"/></Connect>";

/// Answers `/incoming_call` with `first`, serves a prompt of 100 ms, takes ten frames of a stream and closes it.
async fn scripted(first: &'static str) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let server = Server::from(listener.local_addr().expect("an address"));
    smol::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            smol::spawn(attend(stream, first)).detach();
        }
    })
    .detach();
    server
}

async fn attend(mut stream: TcpStream, first: &str) {
    let Ok(Some((head, early))) = read_head(&mut stream).await else { return };
    let head = String::from_utf8(head).expect("text");
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length = value("content-length:").map_or(0, |length| length.parse().expect("a number"));
    read_body(&mut stream, early, Some(length), limits::BODY_BYTES_MAX).await.expect("a body");
    assert!(head.to_ascii_lowercase().contains("\r\nhost: name\r\n"), "{head}");
    let path = head.split(' ').nth(1).expect("a target").to_owned();
    let answer = match path.as_str() {
        "/ws" => return stream_of(stream, &head).await,
        "/incoming_call" => twiml(first),
        "/greeting.wav" => {
            let mut wav =
                b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x20\x03\0\0"
                    .to_vec();
            wav.resize(wav.len() + 800, 0xFF);
            answer("200 OK\r\ncontent-type: audio/wav", &wav)
        }
        "/call_status" => answer("204 No Content", b""),
        _ => twiml("<Hangup/>"),
    };
    stream.write_all(&answer).await.ok();
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn twiml(verbs: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{verbs}</Response>");
    answer("200 OK\r\ncontent-type: text/xml; charset=utf-8", body.as_bytes())
}

async fn stream_of(mut stream: TcpStream, head: &str) {
    assert!(head.contains("user-agent: Twilio.TmeWs/1.0"), "{head}");
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("an open socket");
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let mut texts = Vec::new();
    while texts.len() < 12 {
        if let Some(Ok(Message::Text(text))) = socket.next().await {
            texts.push(text.as_str().to_owned());
        }
    }
    assert!(texts[0].contains("connected") && texts[1].contains("start") && texts[11].contains("\"chunk\":\"10\""));
    let frame = CloseFrame { code: 1000.into(), reason: "".into() };
    socket.close(Some(frame)).await.expect("an open socket");
    while let Some(Ok(_)) = socket.next().await {}
}

fn line() -> Line {
    let (account, call) = (AccountSid::from_number(1), CallSid::from_number(2));
    let mut line = Line::to_server("https://name", account, call, Some(Secret::new("12345")));
    line.voice_url = "https://name/incoming_call".to_owned();
    line.status_callback = Some("https://name/call_status".to_owned());
    line
}

/// Asks the REST interface as a server of ours would.
async fn rest(service: &FarEndService, method: Method, call: CallSid, body: &str) -> FetchResponse {
    let account = AccountSid::from_number(1);
    // The base64 of the account's identifier and the token 12345.
    let credentials = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMToxMjM0NQ==";
    let request = FetchRequest {
        method,
        url: format!("{}/2010-04-01/Accounts/{account}/Calls/{call}.json", service.api_base()),
        headers: vec![("authorization", credentials.to_owned())],
        authorization: None,
        body: body.to_owned().into(),
        timeout: Duration::from_secs(5),
        response_bytes_max: limits::REST_BYTES_MAX,
        public_only: false,
    };
    super::http::exchange(&service.api.to_string(), request).await.expect("an answer")
}

async fn until(call: &PlacedCall, heard: Heard) {
    while call.so_far().heard() != Some(heard) {
        smol::Timer::after(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_call_is_greeted_streamed_and_hung_up_over_real_sockets() {
    block_on(async {
        let service = FarEndService::listen().await.expect("a port");
        let server = scripted(STREAM).await;
        let ledger = service.call(&server, line(), Plan::default()).ended().await;
        assert_eq!(ledger.ended.map(|(_, by)| by), Some(EndedBy::Document));
        assert!(ledger.problems.is_empty(), "{:?}", ledger.problems);
        assert!(ledger.streams[0].frames >= 10 && ledger.streams[0].closed == Some(1000), "{ledger}");
        assert!(ledger.total(Heard::Greeting) >= Duration::from_millis(100));
    });
}

#[test]
fn a_live_call_is_changed_over_rest_and_a_refusal_changes_nothing() {
    block_on(async {
        let service = FarEndService::listen().await.expect("a port");
        let server = scripted(STREAM).await;
        let placed = service.call(&server, line(), Plan::with_fault(StreamFault::NeverStarts));
        until(&placed, Heard::Silence).await;
        service.refuse_rest(Some(401));
        let answer = rest(&service, Method::Post, CallSid::from_number(2), "Status=completed").await;
        assert_eq!((answer.status, placed.so_far().ended), (401, None));
        service.refuse_rest(None);
        assert_eq!(rest(&service, Method::Get, CallSid::from_number(3), "").await.status, 404);
        let say = "Twiml=%3C%3Fxml%20version%3D%221.0%22%3F%3E%3CResponse%3E%3CPause%20length%3D%2260%22%2F%3E%3C%2FResponse%3E";
        assert_eq!(rest(&service, Method::Post, CallSid::from_number(2), say).await.status, 200);
        assert_eq!(rest(&service, Method::Post, CallSid::from_number(2), "Status=completed").await.status, 200);
        let ledger = placed.ended().await;
        assert_eq!((ledger.updates.len(), ledger.ended.map(|(_, by)| by)), (2, Some(EndedBy::Rest)));
        let answer = rest(&service, Method::Get, CallSid::from_number(2), "").await;
        assert!(answer.body.windows(20).any(|window| window == b"\"status\":\"completed\""), "{answer:?}");
    });
}

#[test]
fn a_caller_can_hang_up_and_a_server_that_is_not_there_is_a_failure() {
    block_on(async {
        let service = FarEndService::listen().await.expect("a port");
        let server = scripted("<Pause length=\"60\"/>").await;
        let placed = service.call(&server, line(), Plan::default());
        until(&placed, Heard::Silence).await;
        placed.hang_up();
        assert_eq!(placed.ended().await.ended.map(|(_, by)| by), Some(EndedBy::Caller));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let gone = Server::from(listener.local_addr().expect("an address"));
        drop(listener);
        let placed = service.call(&gone, line(), Plan::default());
        until(&placed, Heard::Failure).await;
        assert_eq!(placed.so_far().problems[0].code, 11205);
    });
}

#[test]
fn a_stream_the_server_refuses_is_reported_with_its_status() {
    block_on(async {
        let service = FarEndService::listen().await.expect("a port");
        let refused = "<Connect><Stream url=\"wss://name/elsewhere\"/></Connect>";
        let server = scripted(refused).await;
        let ledger = service.call(&server, line(), Plan::default()).ended().await;
        assert_eq!(ledger.problems.len(), 1);
        assert!(ledger.problems[0].code == 31920 && ledger.problems[0].text.contains("200"), "{:?}", ledger.problems);
    });
}

#[test]
fn a_server_is_an_http_address() {
    assert_eq!("http://localhost".parse::<Server>().map(|server| server.address), Ok("localhost:80".to_owned()));
    let server: Server = "http://127.0.0.1:8080/".parse().expect("an address");
    assert_eq!(server.public_base(), "https://127.0.0.1:8080");
    for wrong in ["https://host", "host:80", "http://", "http://host/path", "http://a@b"] {
        assert_eq!(wrong.parse::<Server>(), Err(NotAServer), "{wrong}");
    }
}
