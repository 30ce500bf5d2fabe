//! Who is connected to whom: carries each thing that arrives to its machine, and does what each machine says.

use super::script::ScriptSocket;
use super::{Asker, InTransit, LATENCY, Peer, RestFault, Socket, World, network};
use callwarden_core::far_end::{FarInput, FarOutput, SocketId};
use callwarden_core::fetch::{FetchError, FetchRequest};
use callwarden_core::http::Response;
use callwarden_core::id::{FetchId, RequestId, StreamId};
use callwarden_core::limits;
use callwarden_core::stream::{Ended, MediaStream, StreamCommand, StreamOutput};
use callwarden_core::switchboard::{Input, Output};
use callwarden_core::time::Instant;
use std::fmt;
use std::time::Duration;

impl World {
    pub(super) fn arrive(&mut self, event: InTransit) {
        match event {
            InTransit::ToServer(asker, request) => {
                let id = self.switchboard.admit(&request).expect("room for a request");
                self.of_request.insert(id, asker);
                self.input(Input::Request { id, request: *request });
            }
            InTransit::Stored(id, result) => {
                self.input(Input::Stored { id, result: result.clone() });
                if self.nuisance {
                    self.input(Input::Stored { id, result });
                }
            }
            InTransit::Fetched(id, result) => {
                self.input(Input::Fetched { id, result: result.clone() });
                if self.nuisance {
                    self.input(Input::Fetched { id, result });
                }
            }
            InTransit::Transcribe(id, request) => self.openai_is_asked(id, &request),
            InTransit::Filed(id, result) => {
                self.input(Input::Disk { id, result: result.clone() });
                if self.nuisance {
                    self.input(Input::Disk { id, result });
                }
            }
            InTransit::Update(id, request, fault) => self.twilio_is_asked(id, &request, fault),
            InTransit::ToStream(id, text) => {
                self.with_socket(id, |machine, now, out| machine.text(now, &text, out));
            }
            InTransit::StreamEnded(id, how) => {
                if let Some(socket) = self.sockets.get_mut(&id) {
                    socket.frozen = false;
                }
                self.with_socket(id, |machine, now, out| machine.ended(now, &how, out));
                self.sockets.remove(&id);
            }
            InTransit::Answered(call, id, response) => {
                let result = Ok(network::fetched(&response));
                self.far_input(call, FarInput::Answered { id, result });
            }
            InTransit::Unreachable(call, id) => {
                let result = Err(FetchError::NotSent("connection refused".to_owned()));
                self.far_input(call, FarInput::Answered { id, result });
            }
            InTransit::MediaAnswered(call, id, response) => {
                let length = callwarden_core::audio::duration(&response.body);
                let result = length.ok_or_else(|| format!("status {}", response.status));
                self.far_input(call, FarInput::MediaFetched { id, result });
            }
            InTransit::SocketOpened(call, id) => self.far_input(call, FarInput::SocketOpened { id }),
            InTransit::SocketRefused(call, id, status) => {
                self.far_input(call, FarInput::SocketFailed { id, status: Some(status) });
            }
            InTransit::ToFarEnd(call, id, text) => {
                self.far_input(call, FarInput::SocketText { id, text: &text });
            }
            InTransit::ClosedByServer(call, id, code) => {
                self.far_input(call, FarInput::SocketClosed { id, code: Some(code) });
            }
        }
    }

    pub(super) fn far_input(&mut self, call: usize, input: FarInput<'_>) {
        let mut out = Vec::new();
        self.calls[call].handle(self.now, input, &mut out);
        self.perform_far(call, out);
    }

    pub(super) fn with_socket(
        &mut self,
        id: StreamId,
        act: impl FnOnce(&mut MediaStream, Instant, &mut Vec<StreamOutput>),
    ) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| !socket.frozen) else { return };
        let mut out = Vec::new();
        act(&mut socket.machine, self.now.mono, &mut out);
        let peer = socket.peer;
        let mut reports = Vec::new();
        for output in out {
            match (output, peer) {
                (StreamOutput::Report(report), _) => reports.push(report),
                (StreamOutput::Log(line), _) => self.log.push((self.now.mono, *line)),
                (StreamOutput::Send(text), Peer::Call(call, far)) => {
                    self.send(LATENCY, InTransit::ToFarEnd(call, far, text));
                }
                (StreamOutput::Send(text), Peer::Script(place)) => {
                    self.script_sockets.entry(place).or_default().said.push(text);
                }
                (StreamOutput::Close(code), peer) => self.closed_by_server(id, peer, code.code()),
            }
        }
        for report in reports {
            self.input(Input::Stream { id, report });
        }
    }

    /// A close frame of the server's is on its way; the peer answers it as the protocol asks.
    fn closed_by_server(&mut self, id: StreamId, peer: Peer, code: u16) {
        match peer {
            Peer::Call(call, far) => self.send(LATENCY, InTransit::ClosedByServer(call, far, code)),
            Peer::Script(place) => self.script_sockets.entry(place).or_default().closed = Some(code),
        }
        self.send(LATENCY * 2, InTransit::StreamEnded(id, Ended::Closed(Some(code))));
    }

    /// Puts one input to the switchboard, whose outputs are bounded (I5), and does what it says.
    pub(super) fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        let name = beginning(&input);
        self.switchboard.handle(self.now, input, &mut out);
        assert!(out.len() <= limits::OUTPUTS_PER_INPUT_MAX, "I5: {} outputs for {name}", out.len());
        self.perform(out);
    }

    /// Does what the switchboard says.
    pub(super) fn perform(&mut self, out: Vec<Output>) {
        assert!(out.len() <= limits::OUTPUTS_PER_INPUT_MAX * limits::EXPIRIES_PER_TURN_MAX, "I5: {}", out.len());
        for output in out {
            match output {
                Output::Log(line) => self.log.push((self.now.mono, *line)),
                Output::Reply { id, response } => self.reply(id, response),
                Output::Upgrade { id, stream, machine } => self.upgraded(id, stream, *machine),
                Output::Command { id, command } => self.command(id, command),
                Output::Store { id, command, timeout } => {
                    if let Some((delay, result)) = self.database.run(self.now, &command, timeout) {
                        self.send(delay, InTransit::Stored(id, result));
                    }
                }
                Output::Disk { id, command } => {
                    let result = self.disk.run(command);
                    self.send(Duration::from_millis(1), InTransit::Filed(id, result));
                }
                Output::Fetch { id, request } if request.url.ends_with("/audio/transcriptions") => {
                    self.send(LATENCY, InTransit::Transcribe(id, Box::new(request)));
                }
                Output::Fetch { id, request } => {
                    self.rest_log.push((self.now.mono, request.method, request.url.clone()));
                    let fault = self.rest_next.pop_front().unwrap_or(self.rest_always);
                    self.send(LATENCY, InTransit::Update(id, Box::new(request), fault));
                }
            }
        }
    }

    pub(super) fn reply(&mut self, id: RequestId, response: Response) {
        match self.of_request.remove(&id).expect("I1: one answer per request") {
            Asker::Call(call, ask) => self.send(LATENCY, InTransit::Answered(call, ask, Box::new(response))),
            Asker::Media(call, media) => self.send(LATENCY, InTransit::MediaAnswered(call, media, Box::new(response))),
            Asker::Socket(call, socket) => {
                self.send(LATENCY, InTransit::SocketRefused(call, socket, response.status));
            }
            Asker::Script(place) => self.answers[place] = Some(response),
        }
    }

    fn upgraded(&mut self, id: RequestId, stream: StreamId, machine: MediaStream) {
        let peer = match self.of_request.remove(&id).expect("I1: one answer per request") {
            Asker::Socket(call, socket) => {
                self.send(LATENCY, InTransit::SocketOpened(call, socket));
                Peer::Call(call, socket)
            }
            Asker::Script(place) => {
                self.answers[place] = Some(Response::empty(101));
                self.script_streams.insert(place, stream);
                self.script_sockets.insert(place, ScriptSocket::default());
                Peer::Script(place)
            }
            other @ (Asker::Call(..) | Asker::Media(..)) => panic!("{other:?} asked for no socket"),
        };
        self.sockets.insert(stream, Socket { machine, peer, frozen: false });
    }

    fn command(&mut self, id: StreamId, command: StreamCommand) {
        self.with_socket(id, |machine, now, out| machine.command(now, command, out));
    }

    /// Does what a far end says.
    pub(super) fn perform_far(&mut self, call: usize, out: Vec<FarOutput>) {
        for output in out {
            match output {
                FarOutput::Request { id, request } => {
                    let request = network::arriving(&request);
                    if self.lost_paths.contains(request.target.as_str()) {
                        self.send(LATENCY, InTransit::Unreachable(call, id));
                        continue;
                    }
                    if let Some(later) = self.twice {
                        self.answers.push(None);
                        let copy =
                            InTransit::ToServer(Asker::Script(self.answers.len() - 1), Box::new(request.clone()));
                        self.send(LATENCY + later, copy);
                    }
                    self.send(LATENCY, InTransit::ToServer(Asker::Call(call, id), Box::new(request)));
                }
                FarOutput::FetchMedia { id, url } => {
                    let request = network::get(&url);
                    self.send(LATENCY, InTransit::ToServer(Asker::Media(call, id), Box::new(request)));
                }
                FarOutput::OpenSocket { id, url, headers } => {
                    let request = network::upgrade(&url, headers);
                    self.send(LATENCY, InTransit::ToServer(Asker::Socket(call, id), Box::new(request)));
                }
                FarOutput::SendText { id, text } => {
                    if let Some(stream) = self.stream_of(call, id) {
                        self.send(LATENCY, InTransit::ToStream(stream, text));
                    }
                }
                FarOutput::CloseSocket { id } => {
                    self.end_socket(call, id, Ended::Closed(Some(1000)));
                }
                FarOutput::DropSocket { id } => {
                    self.end_socket(call, id, Ended::Lost("connection reset".into()));
                }
                FarOutput::Ended(ledger) => {
                    self.ended.insert(call, *ledger);
                }
            }
        }
    }

    fn end_socket(&mut self, call: usize, socket: SocketId, how: Ended) {
        if let Some(stream) = self.stream_of(call, socket) {
            self.send(LATENCY, InTransit::StreamEnded(stream, how));
        }
    }

    fn stream_of(&self, call: usize, socket: SocketId) -> Option<StreamId> {
        self.sockets.iter().find(|(_, open)| open.peer == Peer::Call(call, socket)).map(|(id, _)| *id)
    }

    /// Ends the task of a call's open socket as a panic in it would.
    pub fn break_socket_of(&mut self, call: usize) {
        let found = self.sockets.iter().find(|(_, open)| matches!(open.peer, Peer::Call(of, _) if of == call));
        if let Some(id) = found.map(|(id, _)| *id) {
            self.send(Duration::ZERO, InTransit::StreamEnded(id, Ended::Lost("panic".into())));
        }
    }

    /// Tells the process to stop.
    pub fn drain(&mut self) {
        self.input(Input::Drain);
    }

    fn twilio_is_asked(&mut self, id: FetchId, request: &FetchRequest, fault: RestFault) {
        let named = callwarden_core::far_end::rest_call(&request.url);
        let of_recording = || self.calls.iter().position(|far| far.answers(&request.url));
        let call = named.map_or_else(of_recording, |(_, sid)| self.calls.iter().position(|far| far.line().call == sid));
        let mut out = Vec::new();
        let substitute = self.recording_bodies.iter().find(|(sid, _)| request.url.ends_with(&format!("/{sid}.wav")));
        let answer = match (substitute, call) {
            (Some((_, body)), _) if fault.is_applied() => Some(body.clone()),
            (None, Some(call)) if fault.is_applied() => Some(self.calls[call].rest(self.now, request, &mut out)),
            _ => None,
        };
        if let Some(call) = call {
            self.perform_far(call, out);
        }
        let (delay, result) = network::rest_result(fault, answer, request);
        self.send(delay, InTransit::Fetched(id, result));
    }
}

/// How an input begins when it is printed: some hold minutes of sound.
fn beginning(input: &Input) -> String {
    struct Short(String);
    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(text);
            if self.0.len() < 400 { Ok(()) } else { Err(fmt::Error) }
        }
    }
    let mut short = Short(String::new());
    // It ends with an error where it is long enough.
    let _long = fmt::write(&mut short, format_args!("{input:?}"));
    short.0
}
