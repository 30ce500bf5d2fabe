//! Whole servers in this process, met over real sockets.

use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server and the directory it writes in, which goes with it.
struct Served {
    running: Option<Running>,
    directory: PathBuf,
}

impl Served {
    fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let directory = std::env::temp_dir().join(format!("callwarden-שרת-{name}-{}", std::process::id()));
        let data_dir = directory.to_str().expect("UTF-8");
        let own = [("PORT", "0"), ("DATA_DIR", data_dir), ("WORKER_THREADS", "2"), ("DRAIN_SECONDS", "20")];
        let pairs = own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::from_pairs(pairs).expect("a configuration");
        let running = listen(&config).and_then(|listener| serve(&config, listener)).expect("it starts");
        Self { running: Some(running), directory }
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("running")
    }

    fn connect(&mut self) -> TcpStream {
        let stream = TcpStream::connect(self.running().address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The answer's head and body.
    fn ask(&mut self, head: &str, body: &str) -> String {
        let mut stream = self.connect();
        let length = body.len();
        write!(stream, "{head}\r\nHost: a.example\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// A socket after its handshake.
    fn upgrade(&mut self) -> TcpStream {
        let mut stream = self.connect();
        let head = "GET /ws/twilio-media HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.running = None;
        fs::remove_dir_all(&self.directory).ok();
    }
}

const CALL: &str = "CallSid=CA00000000000000000000000000000001&AccountSid=AC00000000000000000000000000000001\
                    &CallStatus=ringing&Direction=inbound&CallerName=%D7%9E%D7%A9%D7%94";

#[test]
fn a_call_is_answered_with_twiml_after_its_row() {
    let mut served = Served::start("call", &[]);
    let begun = std::time::Instant::now();
    while !served.ask("GET /readyz HTTP/1.1", "").contains("\"db\":\"ok\"") {
        assert!(begun.elapsed() < PATIENCE, "the database does not open");
    }
    let answer = served.ask("POST /webhook/incoming_call HTTP/1.1", CALL);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("<Stream url=\"wss://a.example/"), "{answer}");
    let ready = served.ask("GET /readyz HTTP/1.1", "");
    assert!(ready.contains("\"unwritten_facts\":0"), "{ready}");
}

#[test]
fn a_drain_without_calls_is_done_at_once_and_nothing_is_accepted_after_it() {
    let mut served = Served::start("drain", &[]);
    assert!(served.ask("GET /healthz HTTP/1.1", "").starts_with("HTTP/1.1 200 "));
    assert_eq!(block_on(served.running().drain()), Some(Finish::Drained));
    assert!(TcpStream::connect(served.running().address()).is_err());
}

#[test]
fn a_drain_with_an_open_stream_ends_with_its_time() {
    let mut served = Served::start("limit", &[]);
    let _open = served.upgrade();
    assert_eq!(block_on(served.running().drain_within(Duration::from_millis(200))), None);
}

#[test]
fn dropping_a_server_closes_every_socket_and_frees_its_port() {
    let mut served = Served::start("drop", &[]);
    let (mut stream, mut idle) = (served.upgrade(), served.connect());
    let address = served.running().address();
    drop(served);
    for socket in [&mut stream, &mut idle] {
        match socket.read(&mut [0; 64]) {
            Ok(0) => {}
            Ok(bytes) => panic!("{bytes} bytes"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
    drop(TcpListener::bind(address).expect("the port is free"));
}

#[test]
fn two_servers_share_a_process() {
    let (mut one, mut other) = (Served::start("one", &[]), Served::start("other", &[]));
    assert_ne!(one.running().address(), other.running().address());
    for served in [&mut one, &mut other] {
        assert!(served.ask("GET /healthz HTTP/1.1", "").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_port_in_use_is_told_from_an_address_of_another_machine() {
    let mut served = Served::start("port", &[]);
    let address = served.running().address();
    let pairs = |bind: &str, port: u16| {
        [("BIND", bind.to_owned()), ("PORT", port.to_string())].map(|(name, value)| (name.to_owned(), value))
    };
    let busy = Config::from_pairs(pairs("127.0.0.1", address.port())).expect("a configuration");
    assert!(listen(&busy).expect_err("busy").to_string().contains("another process"));
    let elsewhere = Config::from_pairs(pairs("192.0.2.1", 0)).expect("a configuration");
    assert!(listen(&elsewhere).expect_err("not ours").to_string().contains("set BIND"));
}

#[test]
fn a_stream_with_the_token_of_its_twiml_is_accepted_and_counted_until_its_socket_closes() {
    use async_tungstenite::tungstenite::Message;
    use futures_util::StreamExt;

    let mut served = Served::start("stream", &[]);
    let twiml = served.ask("POST /webhook/incoming_call HTTP/1.1", CALL);
    let token =
        twiml.split_once("name=\"token\" value=\"").and_then(|(_, rest)| rest.split_once('"')).expect("a token").0;
    let (call, stream) = ("CA00000000000000000000000000000001", "MZ00000000000000000000000000000002");
    let start = format!(
        r#"{{"event":"start","streamSid":"{stream}","start":{{"streamSid":"{stream}","callSid":"{call}","customParameters":{{"call_sid":"{call}","token":"{token}"}}}}}}"#
    );
    let media = format!(r#"{{"event":"media","streamSid":"{stream}","media":{{"chunk":"1","payload":"/////w=="}}}}"#);
    let address = served.running().address();
    let mut socket = block_on(async {
        let connection = smol::net::TcpStream::connect(address).await.expect("it listens");
        let handshake = async_tungstenite::client_async("ws://a.example/ws/twilio-media/", connection).await;
        let (mut socket, _) = handshake.expect("101");
        for message in [start, media] {
            socket.send(Message::text(message)).await.expect("sent");
        }
        // The mark that follows the first frame of an accepted stream.
        let mark = within(PATIENCE, socket.next()).await.flatten().expect("open").expect("a message");
        assert!(mark.to_text().is_ok_and(|text| text.contains("\"mark\"") && text.contains(stream)), "{mark}");
        socket
    });
    assert!(served.ask("GET /metrics HTTP/1.1", "").contains("callwarden_streams_open 1\n"));
    block_on(socket.close(None)).expect("sent");
    let begun = std::time::Instant::now();
    while !served.ask("GET /metrics HTTP/1.1", "").contains("callwarden_streams_open 0\n") {
        assert!(begun.elapsed() < PATIENCE, "the stream's end is not reported");
    }
}
