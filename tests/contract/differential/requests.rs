//! Single requests and the messages of a socket: the same bytes in virtual time and over real sockets, whole, byte by
//! byte, and read slowly.

use super::account::{of_facts, of_rows, without_token};
use super::{super::BINARY, DEPLOYMENT};
use bytes::Bytes;
use callwarden_core::http::{Method, Request, Response};
use callwarden_core::prompts::Prompts;
use callwarden_core::sid::{CallSid, RecordingSid, StreamSid};
use callwarden_core::stream::Ended;
use callwarden_core::{limits, path};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::deployment::Deployment;
use callwarden_tests::http::{PATIENCE, RawClient, soon};
use callwarden_tests::process::Server;
use callwarden_tests::websocket::{Opcode, Socket, message};
use callwarden_tests::world::script::{Caller, frame, get, signed, signed_with, stop, token_in, unsigned};
use callwarden_tests::world::{World, settings};
use smol::Timer;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No call of a script falls back before the script is over, and what is said on sockets is all that is said.
const SETTINGS: [(&str, &str); 3] = [("STREAM_START_TIMEOUT", "60s"), ("MEDIA_TIMEOUT", "60s"), ("END_SILENCE", "0")];
/// A prompt that is served from memory.
const GREETING: &[u8] = include_bytes!("../../../runtime-smol/assets/greeting_he.wav");
/// Between two things that are said in virtual time: whatever the first one causes comes before the second.
const STEP: Duration = Duration::from_millis(50);
/// Until everything that was told is written.
const SETTLED: Duration = Duration::from_secs(1);
/// Between two looks at what nothing announces.
const LOOK: Duration = Duration::from_millis(20);

/// How bytes go and come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Whole,
    ByteByByte,
    ReadSlowly,
}

/// A request with this method in the place of its own.
fn with_method(method: Method, request: Request) -> Request {
    Request { method, ..request }
}

fn with_line(name: &str, value: &str, mut request: Request) -> Request {
    request.headers.push(name, value);
    request
}

fn with_body(body: &str, request: Request) -> Request {
    Request { body: Bytes::from(body.to_owned()), ..request }
}

/// Requests in order, about calls of this number and the next ones.
fn script(number: u128) -> Vec<Request> {
    let caller = |offset: u128| Caller::new(number + offset);
    let about = |offset: u128, path: &str, more: &[(&str, &str)]| signed(path, &caller(offset).form(more));
    let sid = RecordingSid::from_number(number).to_string();
    let recording = [("RecordingSid", sid.as_str()), ("RecordingDuration", "3")];
    let recorded = |status| [&recording[..], &[("RecordingStatus", status)]].concat();
    vec![
        // Announced twice, then over: late words change nothing.
        about(0, path::INCOMING_CALL, &[("CallStatus", "ringing"), ("From", "+972501234567"), ("CallerName", "משה")]),
        about(0, path::INCOMING_CALL, &[("CallStatus", "ringing"), ("From", "+972501234567"), ("CallerName", "משה")]),
        about(0, path::CALL_STATUS, &[("CallStatus", "completed"), ("CallDuration", "7")]),
        about(0, path::CALL_STATUS, &[("CallStatus", "in-progress")]),
        about(0, path::CALL_STATUS, &[("CallStatus", "שלום")]),
        about(0, path::STREAM_ENDED, &[]),
        // Its stream failed before a frame came, twice told; then it is recorded.
        about(1, path::INCOMING_CALL, &[("CallStatus", "ringing")]),
        about(1, path::STREAM_ENDED, &[]),
        about(1, path::STREAM_ENDED, &[]),
        about(1, path::INCOMING_CALL, &[("CallStatus", "in-progress")]),
        about(1, path::RECORDING_STATUS, &recorded("in-progress")),
        about(1, path::RECORDING_STATUS, &recorded("completed")),
        about(1, path::RECORDING_STATUS, &recorded("in-progress")),
        about(1, path::HANDLE_RECORDING, &[&recording[..], &[("Digits", "hangup")]].concat()),
        about(1, path::CALL_STATUS, &[("CallStatus", "completed"), ("CallDuration", "9")]),
        // Asked for because something failed, and never announced.
        about(2, path::INCOMING_CALL, &[("ErrorCode", "11200"), ("CallStatus", "ringing")]),
        about(3, path::STREAM_ENDED, &[]),
        about(4, path::HANDLE_RECORDING, &recording),
        // Not Twilio's.
        signed_with("wrong", path::INCOMING_CALL, &caller(5).form(&[])),
        unsigned(path::INCOMING_CALL, &caller(5).form(&[])),
        unsigned(path::CALL_STATUS, &caller(5).form(&[("CallStatus", "completed")])),
        get(path::INCOMING_CALL),
        with_body("שלום=%%%&&&=", signed(path::CALL_STATUS, &[])),
        signed(path::CALL_STATUS, &[]),
        // What is no webhook.
        get("/nowhere?x=1"),
        with_method(Method::Delete, get(path::INCOMING_CALL)),
        with_method(Method::Head, get(path::HEALTHZ)),
        get(path::HEALTHZ),
        get(path::METRICS),
        get(path::MEDIA),
        get(path::GREETING_AUDIO),
        with_line("range", "bytes=100-199", get(path::GREETING_AUDIO)),
        with_method(Method::Head, get(path::GREETING_AUDIO)),
        get(path::GOODBYE_AUDIO),
        over(caller(2)),
        over(caller(3)),
        over(caller(4)),
    ]
}

/// The last that is told of a call.
fn over(caller: Caller) -> Request {
    signed(path::CALL_STATUS, &caller.form(&[("CallStatus", "completed"), ("CallDuration", "1")]))
}

/// Calls of a script.
const CALLS: u128 = 6;

/// An answer without what the moment makes of it.
fn of_answer(status: u16, headers: impl Iterator<Item = (String, String)>, body: &[u8]) -> String {
    let own = ["connection", "content-length", "date"];
    let mut lines: Vec<_> = headers.filter(|(name, _)| !own.contains(&name.as_str())).collect();
    lines.sort_unstable();
    let body = match std::str::from_utf8(body) {
        Ok(text) => without_token(text),
        Err(_) => format!("{body:02x?}"),
    };
    format!("{status} {lines:?} {body}")
}

fn of_response(request: &Request, response: &Response) -> String {
    let headers = response.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let body = if request.method == Method::Head { &[][..] } else { &response.body };
    of_answer(response.status, headers, body)
}

/// A request as it stands on the wire.
fn bytes_of(request: &Request) -> Vec<u8> {
    let method = format!("{:?}", request.method).to_uppercase();
    let mut head = format!("{method} {} HTTP/1.1\r\n", request.target);
    for (name, value) in request.headers.iter() {
        head.extend([name, ": ", value, "\r\n"]);
    }
    if !request.body.is_empty() {
        head += &format!("content-length: {}\r\n", request.body.len());
    }
    [head.as_bytes(), b"\r\n", &request.body].concat()
}

fn world() -> World {
    let mut settings = settings(&SETTINGS);
    settings.prompts =
        Prompts::new(&settings.config, |name| (name == "greeting_he.wav").then_some(Bytes::from_static(GREETING)))
            .expect("a prompt");
    World::with(settings)
}

/// A directory with the prompt, which goes with it.
struct PromptFiles(PathBuf);

impl PromptFiles {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("callwarden-הודעות-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        std::fs::write(path.join("greeting_he.wav"), GREETING).expect("written");
        Self(path)
    }
}

impl Drop for PromptFiles {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A server with the world's settings and its prompt, which it reads when it starts.
async fn site() -> (Deployment, Server) {
    let prompts = PromptFiles::new();
    let own = [("PROMPTS_DIR", prompts.0.to_str().expect("UTF-8"))];
    let settings = [&SETTINGS[..], &DEPLOYMENT, &own].concat();
    let deployment = Deployment::new(BINARY, TestDatabase::sqlite(), &settings).await;
    let server = deployment.server("node").await;
    (deployment, server)
}

/// Sends a request on a connection that stays, and reads its answer.
async fn exchange(client: &mut RawClient, request: &Request, pace: Pace) -> String {
    let bytes = bytes_of(request);
    if pace == Pace::ByteByByte {
        for part in bytes.chunks(1) {
            client.send_part(part).await.expect("open");
        }
        client.expect_answer_to(&bytes);
    } else {
        client.send(&bytes).await.expect("open");
    }
    if pace == Pace::ReadSlowly {
        client.read_slowly();
    }
    let answer = client.answer().await.expect("an answer");
    of_answer(answer.status, answer.headers.into_iter(), &answer.body)
}

#[test]
fn every_request_has_the_same_answer_and_rows_as_in_the_simulator_however_its_bytes_come() {
    smol::block_on(async {
        let (deployment, server) = site().await;
        for (number, pace) in [(0x1000, Pace::Whole), (0x2000, Pace::ByteByByte), (0x3000, Pace::ReadSlowly)] {
            let mut world = world();
            let mut client = server.connect().await;
            for request in script(number) {
                let expected = of_response(&request, &world.ask(request.clone()));
                world.run_for(STEP);
                let found = exchange(&mut client, &request, pace).await;
                assert_eq!(found, expected, "{pace:?}: {} {}", request.target, String::from_utf8_lossy(&request.body));
            }
            world.run_for(SETTLED);
            for call in (number..number + CALLS).map(CallSid::from_number) {
                same_rows(&deployment, &world, call).await;
            }
        }
        server.signal("TERM");
        assert_eq!(server.ended().0, Some(0));
    });
}

async fn same_rows(deployment: &Deployment, world: &World, call: CallSid) {
    let expected = of_facts(world, call).await;
    let until = Instant::now() + PATIENCE;
    loop {
        let found = of_rows(&deployment.database, call).await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < until, "{call}: {found:#?} instead of {expected:#?}");
        Timer::after(LOOK).await;
    }
}

/// What is said on a socket; `{token}` stands for the call's.
fn sayings(caller: Caller, stream: StreamSid) -> Vec<(&'static str, Vec<String>)> {
    let start = caller.start(stream, "{token}");
    let frames = |count: u64| (1..=count).map(move |chunk| frame(stream, chunk));
    let connected = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#.to_owned();
    let mark = r#"{"event":"mark","streamSid":"NAME","mark":{"name":"NAME"}}"#;
    let foreign = StreamSid::from_number(0xf0);
    let unreadable = limits::BAD_MESSAGES_IN_A_ROW_MAX as usize;
    vec![
        (
            "a healthy stream",
            [vec![connected.clone(), start.clone()], frames(9).collect(), vec![stop(stream)]].concat(),
        ),
        ("a wrong token", vec![connected.clone(), caller.start(stream, "wrong")]),
        ("another call's token", vec![Caller::new(0xbad).start(stream, "{token}")]),
        ("start twice", vec![start.clone(), start.clone(), frame(stream, 1)]),
        ("another start", vec![start.clone(), frame(stream, 1), caller.start(foreign, "{token}")]),
        ("frames before start", [frames(3).collect(), vec![start.clone(), frame(stream, 4)]].concat()),
        ("a foreign stream", vec![start.clone(), frame(foreign, 1), frame(stream, 1), stop(foreign)]),
        (
            "garbage",
            vec![
                start.clone(),
                "שלום".to_owned(),
                "{}".to_owned(),
                r#"{"event":"dtmf"}"#.to_owned(),
                mark.replace("NAME", stream.as_str()),
                frame(stream, 1),
            ],
        ),
        ("nothing but garbage", [vec![start], vec!["]".to_owned(); unreadable]].concat()),
    ]
}

/// What a server says on a socket.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    texts: Vec<String>,
    closed: Option<u16>,
}

fn simulated(world: &mut World, caller: Caller, texts: &[String]) -> Said {
    let token = world.announce(caller);
    let socket = world.open_socket();
    for text in texts {
        world.say(socket, &text.replace("{token}", &token));
        world.run_for(STEP);
    }
    let said = world.socket(socket);
    let said = Said { texts: said.said.clone(), closed: said.closed };
    if said.closed.is_none() {
        world.end_script_socket(socket, Ended::Closed(Some(1000)));
    }
    world.run_for(STEP);
    world.ask(over(caller));
    world.run_for(SETTLED);
    said
}

/// A socket that takes what the server says for as long as it is open.
struct Listening<'a> {
    server: &'a Server,
    socket: Socket,
    pace: Pace,
    said: Said,
    open: bool,
}

impl Listening<'_> {
    /// Sends a frame, if the server has not closed.
    async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let bytes = message(opcode, payload);
        let step = if self.pace == Pace::ByteByByte { 1 } else { bytes.len() };
        for part in bytes.chunks(step) {
            self.open &= self.socket.raw.send_part(part).await.is_ok();
        }
    }

    /// Takes in what comes up to a frame of this kind.
    async fn take_until(&mut self, last: Opcode) {
        while self.open {
            match soon("a frame", self.socket.next()).await {
                Some(frame) if frame.is(Opcode::Text) => {
                    self.said.texts.push(String::from_utf8(frame.payload).expect("UTF-8"));
                }
                Some(frame) if frame.is(Opcode::Close) => {
                    self.said.closed = frame.close_code();
                    self.send(Opcode::Close, &frame.payload).await;
                    self.open = false;
                }
                Some(frame) if frame.is(last) => return,
                Some(frame) => panic!("nobody asked for {frame:?}"),
                None => self.open = false,
            }
        }
    }

    /// Waits until the stream has taken in what was sent, the switchboard what the stream reports, and the stream what
    /// the switchboard says to that.
    async fn sync(&mut self) {
        for _ in 0..2 {
            self.send(Opcode::Ping, b"").await;
            self.take_until(Opcode::Pong).await;
            self.server.settle().await;
        }
    }
}

/// The same on a real socket.
async fn real(server: &Server, caller: Caller, texts: &[String], pace: Pace) -> Said {
    let mut client = server.connect().await;
    let request = signed(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")]));
    client.send(&bytes_of(&request)).await.expect("open");
    let answer = client.answer().await.expect("an answer");
    let token = token_in(std::str::from_utf8(&answer.body).expect("UTF-8"));
    let socket = Socket::open(server.connect().await, path::MEDIA).await;
    let mut listening = Listening { server, socket, pace, said: Said::default(), open: true };
    let mut before = "";
    for text in texts {
        listening.send(Opcode::Text, text.replace("{token}", &token).as_bytes()).await;
        if text != before {
            listening.sync().await;
        }
        before = text;
    }
    listening.sync().await;
    let said = std::mem::take(&mut listening.said);
    if listening.open {
        listening.send(Opcode::Close, &1000_u16.to_be_bytes()).await;
        listening.take_until(Opcode::Close).await;
        assert_eq!(listening.said.texts, Vec::<String>::new(), "said last");
    }
    // A stream reports its end before its socket closes, so this comes after it, as in the simulator.
    soon("the end of the socket", async { while listening.socket.next().await.is_some() {} }).await;
    client.send(&bytes_of(&over(caller))).await.expect("open");
    assert_eq!(client.answer().await.expect("an answer").status, 204);
    said
}

#[test]
fn every_message_on_a_socket_has_the_same_answer_and_rows_as_in_the_simulator_however_its_bytes_come() {
    smol::block_on(async {
        let (deployment, server) = site().await;
        let mut number = 0x100;
        for pace in [Pace::Whole, Pace::ByteByByte] {
            for place in 0..sayings(Caller::new(1), StreamSid::from_number(1)).len() {
                number += 1;
                let caller = Caller::new(number);
                let (name, texts) = sayings(caller, caller.stream(1)).swap_remove(place);
                let mut world = world();
                let expected = simulated(&mut world, caller, &texts);
                let found = real(&server, caller, &texts, pace).await;
                assert_eq!(found, expected, "{name}, {pace:?}");
                same_rows(&deployment, &world, caller.call).await;
            }
        }
        server.signal("TERM");
        assert_eq!(server.ended().0, Some(0));
    });
}
