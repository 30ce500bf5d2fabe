//! What a script does itself beside the simulated calls: webhooks it signs, sockets it opens and speaks on. Tests that
//! need an exact order of messages play Twilio's part with these.

use super::{AUTH_TOKEN, Asker, HOST, InTransit, LATENCY, World, network};
use bytes::Bytes;
use callwarden_core::form;
use callwarden_core::http::{Method, Request, Response};
use callwarden_core::log::{Event, LogLine};
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid, StreamSid};
use callwarden_core::stream::Ended;
use callwarden_core::switchboard::Gauges;
use callwarden_core::time::Instant;
use callwarden_core::{limits, path, signature};
use std::time::Duration;

/// What opens `/metrics` to [`metrics`].
pub const METRICS_TOKEN: &str = "see-me";
/// One frame every so often is enough for a stream to be fresh.
const FRAME_STEP: Duration = Duration::from_millis(100);

/// A socket of the script's own, named by the place of its upgrade request among [`World::answers`].
#[derive(Debug, Default)]
pub struct ScriptSocket {
    /// What the server said on it.
    pub said: Vec<String>,
    /// The code the server closed it with.
    pub closed: Option<u16>,
}

/// A call whose far end is the script.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The call.
    pub call: CallSid,
    /// The account it belongs to.
    pub account: AccountSid,
}

impl Caller {
    /// A call of the configured account.
    #[must_use]
    pub fn new(number: u128) -> Self {
        Self { call: CallSid::from_number(number), account: AccountSid::from_number(1) }
    }

    /// The form of a webhook about it: the call, its account, and these.
    #[must_use]
    pub fn form(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = [("CallSid", self.call.to_string()), ("AccountSid", self.account.to_string())];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
    }

    /// Its stream of this ordinal.
    #[must_use]
    pub fn stream(&self, ordinal: u128) -> StreamSid {
        let number = u128::from_str_radix(&self.call.as_str()[2..], 16).expect("hexadecimal");
        StreamSid::from_number(number * 0x100 + ordinal)
    }

    /// The `start` message of a stream.
    #[must_use]
    pub fn start(&self, stream: StreamSid, token: &str) -> String {
        let Self { call, account } = self;
        format!(
            r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"{account}","streamSid":"{stream}","callSid":"{call}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"call_sid":"{call}","token":"{token}"}}}},"streamSid":"{stream}"}}"#
        )
    }
}

/// A frame of silence.
#[must_use]
pub fn frame(stream: StreamSid, chunk: u64) -> String {
    format!(
        r#"{{"event":"media","sequenceNumber":"{chunk}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{chunk}","payload":"//8="}},"streamSid":"{stream}"}}"#
    )
}

/// The end of a stream.
#[must_use]
pub fn stop(stream: StreamSid) -> String {
    format!(r#"{{"event":"stop","sequenceNumber":"9","stop":{{}},"streamSid":"{stream}"}}"#)
}

/// The stream token in a document.
#[must_use]
pub fn token_in(twiml: &str) -> String {
    let (_, rest) = twiml.split_once(r#"name="token" value=""#).expect("a token parameter");
    rest.split('"').next().expect("a value").to_owned()
}

/// A webhook without a signature.
#[must_use]
pub fn unsigned(path: &str, pairs: &[(String, String)]) -> Request {
    let mut request = network::get(&format!("https://{HOST}{path}"));
    request.method = Method::Post;
    request.headers.push("content-type", "application/x-www-form-urlencoded");
    request.body = Bytes::from(form::encode(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    request
}

/// A webhook as Twilio signs it, with this auth token.
#[must_use]
pub fn signed_with(token: &str, path: &str, pairs: &[(String, String)]) -> Request {
    let mut request = unsigned(path, pairs);
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signature = signature::sign(&Secret::new(token), &format!("https://{HOST}{path}"), pairs);
    request.headers.push("x-twilio-signature", signature);
    request
}

/// A webhook as Twilio signs it.
#[must_use]
pub fn signed(path: &str, pairs: &[(String, String)]) -> Request {
    signed_with(AUTH_TOKEN, path, pairs)
}

/// A GET without a signature.
#[must_use]
pub fn get(path: &str) -> Request {
    network::get(&format!("https://{HOST}{path}"))
}

/// A request for `/metrics`, of a process whose `METRICS_TOKEN` is [`METRICS_TOKEN`].
#[must_use]
pub fn metrics() -> Request {
    let mut request = get(path::METRICS);
    request.headers.push("authorization", format!("Bearer {METRICS_TOKEN}"));
    request
}

/// A number of that page, by its name without what all of them begin with.
#[must_use]
pub fn metric(page: &Response, name: &str) -> u64 {
    let line =
        text(page).lines().find_map(|line| line.strip_prefix("callwarden_")?.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not in\n{}", text(page)))
}

/// A request for a WebSocket.
#[must_use]
pub fn upgrade() -> Request {
    let headers = vec![("user-agent", "Twilio.TmeWs/1.0".to_owned())];
    network::upgrade(&format!("wss://{HOST}{}", path::MEDIA), headers)
}

/// The body of an answer as text.
#[must_use]
pub fn text(response: &Response) -> &str {
    core::str::from_utf8(&response.body).expect("UTF-8")
}

impl World {
    /// Waits for the answer to a request of [`World::request`].
    pub fn answer(&mut self, place: usize) -> Response {
        self.run_until(Duration::from_secs(30), |world| world.answers[place].is_some());
        self.answers[place].clone().expect("it was waited for")
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: Request) -> Response {
        let place = self.request(request);
        self.answer(place)
    }

    /// Sends a signed webhook about a call and waits for the answer's text.
    pub fn webhook(&mut self, path: &str, caller: Caller, more: &[(&str, &str)]) -> String {
        let response = self.ask(signed(path, &caller.form(more)));
        text(&response).to_owned()
    }

    /// Announces a call and returns the token of its document.
    pub fn announce(&mut self, caller: Caller) -> String {
        token_in(&self.webhook(path::INCOMING_CALL, caller, &[("CallStatus", "ringing")]))
    }

    /// Opens a socket; it is open when this returns.
    pub fn open_socket(&mut self) -> usize {
        let response = self.request(upgrade());
        assert_eq!(self.answer(response).status, 101);
        response
    }

    /// Opens a socket and presents a stream of the call on it.
    pub fn open_stream(&mut self, caller: Caller, stream: StreamSid, token: &str) -> usize {
        let socket = self.open_socket();
        self.say(socket, &caller.start(stream, token));
        self.run_for(LATENCY * 2);
        socket
    }

    /// Says something on a socket of the script's own.
    pub fn say(&mut self, socket: usize, text: &str) {
        let (process, stream) = self.script_streams[&socket];
        self.send(LATENCY, InTransit::ToStream(process, stream, text.to_owned()));
    }

    /// Sends frames for so long.
    pub fn frames(&mut self, socket: usize, stream: StreamSid, time: Duration) {
        let end = self.now.mono + time;
        let mut chunk = 0;
        while self.now.mono < end {
            chunk += 1;
            self.say(socket, &frame(stream, chunk));
            self.run_for(FRAME_STEP);
        }
    }

    /// A socket of the script's own.
    #[must_use]
    pub fn socket(&self, socket: usize) -> &ScriptSocket {
        &self.script_sockets[&socket]
    }

    /// A socket of the script's own, if it was opened.
    #[must_use]
    pub fn opened(&self, socket: usize) -> Option<&ScriptSocket> {
        self.script_sockets.get(&socket)
    }

    /// Closes a socket of the script's own then.
    pub fn end_script_socket_at(&mut self, socket: usize, at: Instant, how: Ended) {
        let (process, stream) = self.script_streams[&socket];
        self.send(at.since(self.now.mono), InTransit::StreamEnded(process, stream, how));
    }

    /// Closes a socket of the script's own, or cuts it with a cause.
    pub fn end_script_socket(&mut self, socket: usize, how: Ended) {
        let (process, stream) = self.script_streams[&socket];
        self.send(LATENCY, InTransit::StreamEnded(process, stream, how));
    }

    /// The task of a socket of the script's own hears and does nothing from now on, until the socket is ended.
    pub fn freeze(&mut self, socket: usize) {
        let (process, stream) = self.script_streams[&socket];
        if let Some(open) = self.socket_mut(process, stream) {
            open.frozen = true;
        }
    }

    /// The log lines with this event about a caller.
    #[must_use]
    pub fn lines_of(&self, caller: Caller, event: Event) -> Vec<&LogLine> {
        let lines = self.log.iter().map(|(_, line)| line);
        lines.filter(|line| line.event == event && line.call_sid == Some(caller.call)).collect()
    }

    /// The log lines with this event, whatever they are about.
    #[must_use]
    pub fn logged(&self, event: Event) -> Vec<&LogLine> {
        self.log.iter().map(|(_, line)| line).filter(|line| line.event == event).collect()
    }

    /// When the server first answered a request for this path.
    #[must_use]
    pub fn answered_at(&self, path: &str) -> Instant {
        let found = self.log.iter().find(|(_, line)| line.event == Event::Res && line.path.as_deref() == Some(path));
        found.map(|(at, _)| *at).expect("it was answered")
    }

    /// When a REST request of this method was first made.
    #[must_use]
    pub fn rest_at(&self, method: Method) -> Option<Instant> {
        self.rest_log.iter().find(|(_, of, _)| *of == method).map(|(at, ..)| *at)
    }

    /// How many REST requests of this method were made.
    #[must_use]
    pub fn rest_count(&self, method: Method) -> usize {
        self.rest_log.iter().filter(|(_, of, _)| *of == method).count()
    }

    /// Runs until everything about every call is forgotten, and checks that nothing is left of it (I5).
    pub fn settle(&mut self) {
        self.run_for(limits::SILENT_ENTRY + limits::ENDED_KEPT);
        // Files of processes that are gone are looked for once a minute.
        let gauges = |world: &Self| -> Vec<Gauges> {
            let running = world.nodes.iter().filter(|node| node.is_running());
            running.map(|node| node.switchboard.gauges()).collect()
        };
        self.run_until(Duration::from_secs(1), |world| gauges(world).iter().all(|gauges| gauges.file_commands == 0));
        for gauges in gauges(self) {
            assert_eq!(gauges, Gauges::default(), "I5: everything is forgotten in the end");
        }
    }

    pub(super) fn script_asked(&mut self, place: usize, request: Request) {
        self.send(Duration::ZERO, InTransit::ToServer(Asker::Script(place), Box::new(request)));
    }
}
