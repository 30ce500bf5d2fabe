//! Twilio's side of a call with one server: signed webhooks, the texts of a media stream, and a healthy stream that goes
//! on whatever else happens to the server.

use crate::http::{RawAnswer, soon};
use crate::process::{ACCOUNT, AUTH_TOKEN, FROM, HOST, Server};
use crate::websocket::{Opcode, Socket, message};
use callwarden_core::form::{Form, encode};
use callwarden_core::path;
use callwarden_core::secret::Secret;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_core::signature::sign;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::FutureExt as _;
use std::collections::BTreeSet;
use std::time::Duration;

/// A frame of a call is this much sound.
const FRAME: Duration = Duration::from_millis(20);

/// The signature of Twilio under a POST of `body` to `target`.
#[must_use]
pub fn signature(target: &str, body: &[u8]) -> String {
    sign(&Secret::new(AUTH_TOKEN), &format!("https://{HOST}{target}"), Form::parse(body).iter())
}

/// A POST of a form, with further header lines, each ended by CR LF.
#[must_use]
pub fn post(target: &str, body: &[u8], lines: &str) -> Vec<u8> {
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         User-Agent: TwilioProxy/1.1\r\nContent-Length: {}\r\n{lines}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

/// A webhook as Twilio sends it.
#[must_use]
pub fn webhook(target: &str, body: &[u8]) -> Vec<u8> {
    post(target, body, &format!("X-Twilio-Signature: {}\r\n", signature(target, body)))
}

/// The form of a webhook about a call, with further pairs.
#[must_use]
pub fn form(call: CallSid, more: &[(&str, &str)]) -> String {
    let call = call.to_string();
    let always = [("CallSid", call.as_str()), ("AccountSid", ACCOUNT), ("From", FROM), ("CallerName", "ישראל ישראלי")];
    encode(always.into_iter().chain(more.iter().copied()))
}

/// Sends a webhook on a connection of its own.
///
/// # Panics
/// When it is not answered.
pub async fn tell(server: &Server, target: &str, body: &str) -> RawAnswer {
    let mut client = server.connect().await;
    client.send(&webhook(target, body.as_bytes())).await.expect("open");
    client.answer().await.expect("an answer")
}

/// Announces a call; the stream token of the answer, which from now on may not stand in the log.
///
/// # Panics
/// When the answer is no stream.
pub async fn announce(server: &Server, call: CallSid) -> String {
    let answer = tell(server, path::INCOMING_CALL, &form(call, &[("CallStatus", "ringing")])).await;
    let twiml = String::from_utf8(answer.body).expect("UTF-8");
    let (_, token) = twiml.split_once("name=\"token\" value=\"").unwrap_or_else(|| panic!("no stream: {twiml}"));
    let token = token.split('"').next().expect("a quote").to_owned();
    server.keep_secret(&token);
    token
}

/// Ends every call that the server's log names, and the tests' first ones, which may have told of themselves without a
/// line; then the server with SIGTERM, which it must obey having nothing left. Gives its log.
///
/// # Panics
/// When it is not done, and as [`Server::ended`].
pub async fn stop_server(server: Server) -> Vec<serde_json::Value> {
    server.settle().await;
    let mut client = server.connect().await;
    let calls: BTreeSet<_> = server.calls().into_iter().chain((1..=10).map(CallSid::from_number)).collect();
    for call in calls {
        let body = form(call, &[("CallStatus", "completed")]);
        client.send(&webhook(path::CALL_STATUS, body.as_bytes())).await.expect("open");
        assert_eq!(client.answer().await.expect("an answer").status, 204);
    }
    server.signal("TERM");
    let (code, lines) = server.ended();
    let last = lines.last().expect("a line");
    assert_eq!((code, &last["message"], &last["detail"]), (Some(0), &"APP_STOP".into(), &"drained".into()));
    lines
}

/// The `start` of a stream that claims a call.
#[must_use]
pub fn start(call: CallSid, stream: StreamSid, token: &str) -> String {
    format!(
        r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"{ACCOUNT}","streamSid":"{stream}","callSid":"{call}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"call_sid":"{call}","token":"{token}"}}}},"streamSid":"{stream}"}}"#
    )
}

/// The `chunk`th frame of a stream: 20 ms of silence.
#[must_use]
pub fn media(stream: StreamSid, chunk: u64) -> String {
    let (sequence, payload) = (chunk + 1, "/".repeat(212));
    format!(
        r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{}","payload":"{payload}/w=="}},"streamSid":"{stream}"}}"#,
        chunk * 20
    )
}

/// The end of a stream.
#[must_use]
pub fn stop(call: CallSid, stream: StreamSid) -> String {
    format!(
        r#"{{"event":"stop","sequenceNumber":"9","stop":{{"accountSid":"{ACCOUNT}","callSid":"{call}"}},"streamSid":"{stream}"}}"#
    )
}

/// Announces a call, opens its stream and waits until it is accepted.
///
/// # Panics
/// When it is not.
pub async fn stream(server: &Server, call: CallSid, stream: StreamSid) -> Socket {
    let token = announce(server, call).await;
    let mut socket = Socket::open(server.connect().await, path::MEDIA).await;
    socket.text(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#).await.expect("open");
    socket.text(&start(call, stream, &token)).await.expect("open");
    server.wait_for_line("WS_START", |line| line["stream_sid"] == stream.as_str());
    socket
}

/// A call that streams in the background: a frame each 20 ms, and its marks come back.
#[derive(Debug)]
pub struct Healthy {
    beats: Sender<Sender<()>>,
    streaming: smol::Task<u64>,
    connection: serde_json::Value,
}

impl Healthy {
    /// Starts one; it is heard when this returns.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn start(server: &Server) -> Self {
        let (call, sid) = (CallSid::from_number(0xa11), StreamSid::from_number(0xa11));
        let socket = stream(server, call, sid).await;
        let (beats, asked) = bounded(1);
        let streaming = smol::spawn(run(socket, call, sid, asked));
        let heard = server.wait_for_line("WS_FRAME", |line| line["stream_sid"] == sid.as_str());
        Self { beats, streaming, connection: heard["connection"].clone() }
    }

    /// Waits until the server has taken in all frames sent so far.
    ///
    /// # Panics
    /// When it does not, or has closed the stream.
    pub async fn beat(&self) {
        let (heard, answer) = bounded(1);
        self.beats.send(heard).await.expect("the stream goes on");
        soon("the healthy stream", answer.recv()).await.expect("the stream goes on");
    }

    /// Ends it well, and finds every frame counted and nothing else.
    ///
    /// # Panics
    /// When the server counted differently.
    pub async fn finish(self, server: &Server) {
        self.beat().await;
        drop(self.beats);
        let sent = self.streaming.await;
        let end = server.wait_for_line("WS_STOP", |line| line["connection"] == self.connection);
        assert_eq!((&end["frames"], &end["reason"]), (&sent.into(), &"closed with 1000".into()), "{end}");
        assert_eq!(end["detail"], "dropped=0 unreadable=0 out_of_order=0");
        let refused = server.settled_lines("WATCHDOG_REDIRECT", |line| line["call_sid"] == end["call_sid"]).await;
        assert!(refused.is_empty(), "{refused:?}");
    }
}

/// Streams until nobody asks any more; the number of frames sent.
async fn run(mut socket: Socket, call: CallSid, sid: StreamSid, asked: Receiver<Sender<()>>) -> u64 {
    enum Turn {
        Frame,
        Arrived(Option<crate::websocket::Frame>),
        Asked(Option<Sender<()>>),
    }
    let (mut chunk, mut waiting) = (0, None);
    loop {
        let tick = async {
            smol::Timer::after(FRAME).await;
            Turn::Frame
        };
        let arrived = async { Turn::Arrived(socket.next().await) };
        let question = async { Turn::Asked(asked.recv().await.ok()) };
        match tick.or(arrived).or(question).await {
            Turn::Frame => {
                chunk += 1;
                socket.text(&media(sid, chunk)).await.expect("the healthy stream is open");
            }
            Turn::Arrived(Some(frame)) if frame.is(Opcode::Text) => {
                let mark = String::from_utf8(frame.payload).expect("UTF-8");
                assert!(mark.contains(r#""event":"mark""#), "{mark}");
                socket.text(&mark).await.expect("the healthy stream is open");
            }
            Turn::Arrived(Some(frame)) if frame.is(Opcode::Pong) => {
                let heard: Sender<()> = waiting.take().expect("a pong answers a ping");
                heard.try_send(()).expect("room for one");
            }
            Turn::Arrived(other) => panic!("the healthy stream got {other:?}"),
            Turn::Asked(Some(heard)) => {
                socket.raw.send(&message(Opcode::Ping, "חי".as_bytes())).await.expect("the healthy stream is open");
                waiting = Some(heard);
            }
            Turn::Asked(None) => break,
        }
    }
    socket.text(&stop(call, sid)).await.expect("the healthy stream is open");
    socket.close().await;
    chunk
}
