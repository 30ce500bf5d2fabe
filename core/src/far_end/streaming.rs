//! `<Connect><Stream>`: the socket, its messages, and what goes wrong with it.

use super::asking::Purpose;
use super::messages::{self, FromServer};
use super::twiml::StreamNoun;
use super::wire;
use super::{Activity, AfterFailure, Event, FarEnd, FarOutput, Heard, SocketId, SocketKind, StreamFault, Streamed};
use crate::sid::StreamSid;
use crate::time::Instant;

/// A running `<Connect>`.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) sid: StreamSid,
    noun: StreamNoun,
    /// What is asked when the verb ends, and whether with GET.
    action: Option<(String, bool)>,
    pub(super) fault: StreamFault,
    pub(super) socket: Option<SocketId>,
    /// Its place in the ledger.
    pub(super) place: usize,
    pub(super) started: Option<Instant>,
    pub(super) first_frame: Option<Instant>,
    pub(super) next_frame: Option<Instant>,
    /// Frames have stopped and may come back.
    pub(super) stopped: bool,
    /// The latest sequence number used.
    pub(super) sequence: u64,
    pub(super) chunk: u64,
    /// Marks are sent back.
    pub(super) echoes: bool,
    /// A warning about messages of the server was raised; Twilio raises one of a kind per stream.
    warned: Vec<u32>,
}

impl FarEnd {
    pub(super) fn connect(&mut self, action: Option<String>, method: &str, noun: StreamNoun, out: &mut Vec<FarOutput>) {
        let action = match action.map(|action| (self.resolve(&action), action)) {
            None => None,
            Some((Some(url), _)) => Some((url, method == "GET")),
            Some((None, text)) => {
                return self.application_failed(11100, "<Connect> with an invalid action", &text, false, out);
            }
        };
        let number = u128::from_str_radix(&self.line.call.as_str()[2..], 16).unwrap_or_default();
        let sid = StreamSid::from_number(number.wrapping_add(u128::from(self.streams) << 96));
        let fault = self.plan.fault(self.streams);
        self.streams += 1;
        let url = self.resolve(&noun.url);
        let place = self.ledger.streams.len();
        self.ledger.streams.push(Streamed { stream: sid, started: None, frames: 0, marks: 0, closed: None });
        let stream = Stream {
            sid,
            noun,
            action,
            fault,
            socket: None,
            place,
            started: None,
            first_frame: None,
            next_frame: None,
            stopped: false,
            sequence: 0,
            chunk: 0,
            echoes: true,
            warned: Vec::new(),
        };
        let wrong = unusable(&stream.noun, url.as_deref());
        self.begin(Activity::Connected(Box::new(stream)), Heard::Silence);
        match (wrong, fault) {
            (Some((code, text)), _) => self.fail_soon(code, text),
            (None, StreamFault::HandshakeFails(status)) => {
                self.fail_soon(31920, format!("Stream - Websocket - Handshake Error ({status})"));
            }
            (None, StreamFault::NeverStarts) => {}
            (None, _) => {
                self.schedule(self.plan.connect_delay, Event::OpenSocket(self.verb));
            }
        }
    }

    pub(super) fn next_frame(&self) -> Option<Instant> {
        match &self.activity {
            Activity::Connected(stream) => stream.next_frame,
            Activity::Waiting | Activity::Loading { .. } | Activity::Sounding | Activity::Recording(_) => None,
        }
    }

    /// The running stream, if its socket is this one.
    fn stream_of(&mut self, id: SocketId) -> Option<&mut Stream> {
        match &mut self.activity {
            Activity::Connected(stream) if stream.socket == Some(id) => Some(stream),
            Activity::Connected(_)
            | Activity::Waiting
            | Activity::Loading { .. }
            | Activity::Sounding
            | Activity::Recording(_) => None,
        }
    }

    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.activity {
            Activity::Connected(stream) => Some(stream),
            Activity::Waiting | Activity::Loading { .. } | Activity::Sounding | Activity::Recording(_) => None,
        }
    }

    pub(super) fn open_socket(&mut self, out: &mut Vec<FarOutput>) {
        let Some(url) = self.stream().map(|stream| stream.noun.url.clone()) else { return };
        let (Some(url), Ok(id)) = (self.resolve(&url), self.sockets.insert(SocketKind)) else { return };
        let mut headers = vec![("user-agent", "Twilio.TmeWs/1.0".to_owned()), ("accept-encoding", "gzip".to_owned())];
        if let Some(key) = &self.line.auth_token {
            headers.push(("x-twilio-signature", wire::signature(key.expose(), &url, &Vec::new())));
        }
        if let Some(stream) = self.stream() {
            stream.socket = Some(id);
        }
        out.push(FarOutput::OpenSocket { id, url, headers });
    }

    pub(super) fn socket_opened(&mut self, id: SocketId, out: &mut Vec<FarOutput>) {
        let Some(stream) = self.stream_of(id) else { return };
        if stream.sequence > 0 {
            return;
        }
        let fault = stream.fault;
        out.push(FarOutput::SendText { id, text: messages::CONNECTED.to_owned() });
        if fault == StreamFault::ConnectsButNoStart {
            return;
        }
        if self.plan.start_delay.is_zero() {
            self.send_start(out);
        } else {
            self.schedule(self.plan.start_delay, Event::SendStart(self.verb));
        }
    }

    pub(super) fn send_start(&mut self, out: &mut Vec<FarOutput>) {
        let (now, interval) = (self.now.mono, self.plan.frame_interval);
        let (account, call) = (self.line.account, self.line.call);
        let Some(stream) = self.stream() else { return };
        let (Some(id), None) = (stream.socket, stream.started) else { return };
        let text = messages::start(account, call, stream.sid, &stream.noun.parameters);
        stream.started = Some(now);
        stream.sequence = 1;
        stream.next_frame = match stream.fault {
            StreamFault::Mute(resume) => resume.map(|resume| now + resume),
            StreamFault::None
            | StreamFault::NeverStarts
            | StreamFault::HandshakeFails(_)
            | StreamFault::ConnectsButNoStart
            | StreamFault::StallAfter(..)
            | StreamFault::QuietAfter(..)
            | StreamFault::DropAfter(_)
            | StreamFault::StopAfter(_) => Some(now + interval),
        };
        let place = stream.place;
        if let Some(streamed) = self.ledger.streams.get_mut(place) {
            streamed.started = Some(now);
        }
        out.push(FarOutput::SendText { id, text });
        self.tell_stream("stream-started", None, out);
    }

    /// The connection is cut without a word, and Twilio sees it a little later.
    pub(super) fn socket_breaks(&mut self, out: &mut Vec<FarOutput>) {
        let Some(stream) = self.stream() else { return };
        stream.next_frame = None;
        let Some(id) = stream.socket.take() else { return };
        self.sockets.remove(id);
        self.ledger.change(self.now.mono, Heard::Silence);
        out.push(FarOutput::DropSocket { id });
        self.fail_soon(31903, "Stream - Websocket - Broken Pipe".to_owned());
    }

    /// Twilio ends the stream and goes on with the call.
    pub(super) fn stream_stops(&mut self, out: &mut Vec<FarOutput>) {
        self.stream_ends(true, out);
        self.connect_ends(out);
    }

    fn fail_soon(&mut self, code: u32, text: String) {
        self.schedule(self.plan.failure_notice, Event::StreamFailed(self.verb, code, text));
    }

    pub(super) fn stream_failed(&mut self, code: u32, text: &str, out: &mut Vec<FarOutput>) {
        self.warn(code, text);
        self.tell_stream("stream-error", Some(text), out);
        match self.plan.after_failure {
            AfterFailure::Action => self.connect_ends(out),
            AfterFailure::NextVerb => self.next_verb(out),
            AfterFailure::Nothing => {}
        }
    }

    /// `<Connect>` is over: its action is asked, or the next verb runs.
    fn connect_ends(&mut self, out: &mut Vec<FarOutput>) {
        match self.connect_action() {
            Some((url, get)) => self.ask_document(&url, get, Vec::new(), out),
            None => self.next_verb(out),
        }
    }

    pub(super) fn connect_action(&mut self) -> Option<(String, bool)> {
        self.stream().and_then(|stream| stream.action.clone())
    }

    pub(super) fn socket_failed(&mut self, id: SocketId, status: Option<u16>) {
        let Some(stream) = self.stream_of(id) else { return };
        stream.socket = None;
        self.sockets.remove(id);
        match status {
            Some(status) => self.fail_soon(31920, format!("Stream - Websocket - Handshake Error ({status})")),
            None => self.fail_soon(31901, "Stream - Websocket - Connection Timeout".to_owned()),
        }
    }

    pub(super) fn socket_text(&mut self, id: SocketId, text: &str, out: &mut Vec<FarOutput>) {
        let Some(stream) = self.stream_of(id) else { return };
        match messages::read(text, stream.started.map(|_| stream.sid)) {
            Ok(FromServer::Mark(name)) if stream.echoes => {
                stream.sequence += 1;
                let text = messages::mark(stream.sid, stream.sequence, &name);
                let place = stream.place;
                if let Some(streamed) = self.ledger.streams.get_mut(place) {
                    streamed.marks += 1;
                }
                out.push(FarOutput::SendText { id, text });
            }
            Ok(FromServer::Mark(_) | FromServer::Media | FromServer::Clear) => {}
            Err(cause) => self.warn_stream(id, 31951, cause),
        }
    }

    pub(super) fn socket_binary(&mut self, id: SocketId) {
        self.warn_stream(id, 31950, "a binary message".to_owned());
    }

    fn warn_stream(&mut self, id: SocketId, code: u32, text: String) {
        let Some(stream) = self.stream_of(id) else { return };
        if !stream.warned.contains(&code) {
            stream.warned.push(code);
            self.warn(code, text);
        }
    }

    pub(super) fn socket_closed(&mut self, id: SocketId, code: Option<u16>, out: &mut Vec<FarOutput>) {
        let Some(stream) = self.stream_of(id) else { return };
        (stream.socket, stream.next_frame) = (None, None);
        let place = stream.place;
        self.sockets.remove(id);
        self.ledger.change(self.now.mono, Heard::Silence);
        if let Some(streamed) = self.ledger.streams.get_mut(place) {
            streamed.closed = code;
        }
        match code {
            None => self.fail_soon(31903, "Stream - Websocket - Broken Pipe".to_owned()),
            Some(code) => {
                if code != 1000 {
                    self.warn(31921, format!("the server closed the stream with {code}"));
                }
                self.tell_stream("stream-stopped", None, out);
                self.connect_ends(out);
            }
        }
    }

    /// Twilio ends a running stream: `stop` if it may say so, and the socket is closed.
    pub(super) fn stream_ends(&mut self, says_stop: bool, out: &mut Vec<FarOutput>) {
        let (account, call) = (self.line.account, self.line.call);
        let Some(stream) = self.stream() else { return };
        stream.next_frame = None;
        let started = stream.started.is_some();
        let Some(id) = stream.socket.take() else { return };
        if started && says_stop {
            stream.sequence += 1;
            let text = messages::stop(account, call, stream.sid, stream.sequence);
            out.push(FarOutput::SendText { id, text });
        }
        self.sockets.remove(id);
        out.push(FarOutput::CloseSocket { id });
        if started {
            self.tell_stream("stream-stopped", None, out);
        }
    }

    /// The stream's status callback, if it has one.
    fn tell_stream(&mut self, event: &'static str, error: Option<&str>, out: &mut Vec<FarOutput>) {
        let (account, call, now) = (self.line.account, self.line.call, self.now.unix);
        let Some(stream) = self.stream() else { return };
        let Some(url) = stream.noun.status_callback.clone() else { return };
        let get = stream.noun.status_callback_method.as_deref() == Some("GET");
        let sid = stream.sid.to_string();
        let mut parameters = vec![
            ("AccountSid", account.to_string().into()),
            ("CallSid", call.to_string().into()),
            ("StreamName", stream.noun.name.clone().unwrap_or_else(|| sid.clone()).into()),
            ("StreamSid", sid.into()),
            ("StreamEvent", event.into()),
            ("Timestamp", wire::iso8601(now).into()),
        ];
        parameters.extend(error.map(|text| ("StreamError", text.to_owned().into())));
        match wire::resolve(None, &url) {
            Some(url) => self.ask(Purpose::Notice, &url, get, parameters, out),
            None => self.warn(11100, "the stream's statusCallback is no absolute URL"),
        }
    }
}

/// Why a stream cannot even be tried, as Twilio's code and text.
fn unusable(noun: &StreamNoun, url: Option<&str>) -> Option<(u32, String)> {
    let Some(url) = url else { return Some((31923, format!("the stream URL {:?} is malformed", noun.url))) };
    if !url.starts_with("wss://") {
        return Some((31922, format!("the stream URL {url} is not wss")));
    }
    if url.contains(['?', '#']) {
        return Some((31920, format!("the stream URL {url} has a query or a fragment")));
    }
    if noun.track.as_deref().is_some_and(|track| track != "inbound_track") {
        return Some((31941, "<Connect> takes the track inbound_track only".to_owned()));
    }
    None
}
