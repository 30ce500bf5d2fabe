//! Who is connected to whom: carries each thing that arrives to its machine, and does what each process says.

use super::agenda::Wake;
use super::node::{Peer, Process, Socket};
use super::script::ScriptSocket;
use super::{Asker, InTransit, LATENCY, World, network};
use callwarden_core::far_end::FarInput;
use callwarden_core::fetch::FetchError;
use callwarden_core::http::Response;
use callwarden_core::id::{RequestId, StreamId};
use callwarden_core::limits;
use callwarden_core::stream::{Ended, MediaStream, StreamCommand, StreamOutput};
use callwarden_core::switchboard::{Input, Output};
use callwarden_core::time::Instant;
use std::fmt;
use std::time::Duration;

impl World {
    pub(super) fn arrive(&mut self, event: InTransit) {
        match event {
            InTransit::ToServer(asker, request) => match self.balanced() {
                Some(place) => {
                    let node = &mut self.nodes[place];
                    let id = node.switchboard.admit(&request).expect("room for a request");
                    node.of_request.insert(id, asker);
                    self.input(place, Input::Request { id, request: *request });
                }
                None => self.refused(asker, false),
            },
            InTransit::Stored(process, id, result) => {
                self.completed(process, result, |result| Input::Stored { id, result });
            }
            InTransit::Fetched(process, id, result) => {
                self.update_answered(process, id, &result);
                self.completed(process, result, |result| Input::Fetched { id, result });
            }
            InTransit::Filed(process, id, result) => {
                self.completed(process, result, |result| Input::Disk { id, result });
            }
            InTransit::ToGoogle(process, step, request) => self.google_is_asked(process, step, *request),
            InTransit::Rendered(process, input) => self.rendering_answered(process, input),
            InTransit::Transcribe(process, id, request) => self.openai_is_asked(process, id, &request),
            InTransit::Update(process, id, request, fault) => self.twilio_is_asked(process, id, &request, fault),
            InTransit::ToStream(process, id, text) => {
                self.inputs += 1;
                self.frame_arrives(process, id, &text);
                self.with_socket(process, id, |machine, now, out| machine.text(now, &text, out));
            }
            InTransit::StreamEnded(process, id, how) => {
                if let Some(socket) = self.socket_mut(process, id) {
                    socket.frozen = false;
                }
                self.with_socket(process, id, |machine, now, out| machine.ended(now, &how, out));
                self.drop_socket(process, id);
            }
            InTransit::Answered(call, id, response) => {
                let result = Ok(network::fetched(*response));
                self.far_input(call, FarInput::Answered { id, result });
            }
            InTransit::Unreachable(asker) => {
                self.not_answered(asker, FetchError::NotSent("connection refused".to_owned()));
            }
            InTransit::Reset(asker) => {
                self.not_answered(asker, FetchError::Ambiguous("connection reset".to_owned()));
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

    /// An effect is over; where nuisance is wanted its answer comes twice (I2).
    fn completed<R: Clone>(&mut self, process: Process, result: R, answer: impl Fn(R) -> Input) {
        let Some(place) = self.place_of(process) else { return };
        let again = self.nuisance.then(|| result.clone());
        self.input(place, answer(result));
        if let Some(result) = again {
            self.input(place, answer(result));
        }
    }

    pub(super) fn socket_mut(&mut self, process: Process, id: StreamId) -> Option<&mut Socket> {
        let place = self.place_of(process)?;
        self.nodes[place].sockets.get_mut(&id)
    }

    pub(super) fn with_socket(
        &mut self,
        process: Process,
        id: StreamId,
        act: impl FnOnce(&mut MediaStream, Instant, &mut Vec<StreamOutput>),
    ) {
        let now = self.now.mono;
        let Some(socket) = self.socket_mut(process, id).filter(|socket| !socket.frozen) else { return };
        let mut out = Vec::new();
        act(&mut socket.machine, now, &mut out);
        let (peer, unread) = (socket.peer, socket.unread);
        let earlier = |at: &Instant| socket.armed.is_none_or(|armed| *at < armed);
        if let Some(at) = socket.machine.next_timeout().filter(earlier) {
            socket.armed = Some(at);
            self.agenda.wake_at(at, Wake::Stream(process, id));
        }
        let mut reports = Vec::new();
        for output in out {
            match (output, peer) {
                (StreamOutput::Report(report), _) => reports.push(report),
                (StreamOutput::Log(line), _) => self.log(*line),
                (StreamOutput::Send(_), Peer::Call(..)) if unread => {}
                (StreamOutput::Send(text), Peer::Call(call, far)) => {
                    self.send(LATENCY, InTransit::ToFarEnd(call, far, text));
                }
                (StreamOutput::Send(text), Peer::Script(place)) => {
                    self.script_sockets.entry(place).or_default().said.push(text);
                }
                (StreamOutput::Close(code), peer) => self.closed_by_server(process, id, peer, code.code(), unread),
            }
        }
        for report in reports {
            self.input(process.place, Input::Stream { id, report });
        }
    }

    /// A close frame of the server's is on its way; the peer answers it as the protocol asks. One who reads nothing
    /// sees no more than that the connection is gone, when we have waited long enough for its answer.
    fn closed_by_server(&mut self, process: Process, id: StreamId, peer: Peer, code: u16, unread: bool) {
        let (code, wait) = if unread { (1006, limits::CLOSE_TIME) } else { (code, Duration::ZERO) };
        match peer {
            Peer::Call(call, far) => self.send(wait + LATENCY, InTransit::ClosedByServer(call, far, code)),
            Peer::Script(place) => self.script_sockets.entry(place).or_default().closed = Some(code),
        }
        self.send(wait + LATENCY * 2, InTransit::StreamEnded(process, id, Ended::Closed(Some(code))));
    }

    fn drop_socket(&mut self, process: Process, id: StreamId) {
        let Some(place) = self.place_of(process) else { return };
        let Some(socket) = self.nodes[place].sockets.remove(&id) else { return };
        if let Peer::Call(call, _) = socket.peer {
            self.far_sockets[call].take_if(|(_, of, stream)| (*of, *stream) == (process, id));
        }
    }

    /// Puts one input to a switchboard, whose outputs are bounded (I5), and does what it says.
    pub(super) fn input(&mut self, place: usize, input: Input) {
        self.inputs += 1;
        let mut out = std::mem::take(&mut self.outputs);
        let now = self.now_at(place);
        let big = matches!(input, Input::Request { .. });
        if let Some(history) = &mut self.history {
            history.heard(place, now, &input);
        }
        self.nodes[place].switchboard.handle(now, input, &mut out);
        assert!(out.len() <= limits::OUTPUTS_PER_INPUT_MAX, "I5: {} outputs (request: {big})", out.len());
        self.perform(place, out);
    }

    /// Does what a switchboard says, and keeps the room it was said in.
    pub(super) fn perform(&mut self, place: usize, mut out: Vec<Output>) {
        assert!(out.len() <= limits::OUTPUTS_PER_INPUT_MAX * limits::EXPIRIES_PER_TURN_MAX, "I5: {}", out.len());
        let process = self.process(place);
        let now = self.now_at(place);
        for output in out.drain(..) {
            if let Some(history) = &mut self.history {
                history.said(place, now, &output);
            }
            match output {
                Output::Log(line) => self.log(*line),
                Output::Reply { id, response } => self.reply(place, id, response),
                Output::Upgrade { id, stream, machine } => self.upgraded(place, id, stream, *machine),
                Output::Command { id, command } => self.command(process, id, command),
                Output::Store { id, command, timeout } => {
                    let (delay, result) = self.database.run(self.now, command, timeout);
                    self.send(delay, InTransit::Stored(process, id, result));
                }
                Output::Disk { id, command } => {
                    let result = self.nodes[place].disk.run(self.now.mono, command);
                    self.send(Duration::from_millis(1), InTransit::Filed(process, id, result));
                }
                Output::Fetch { id, request } if request.url.ends_with("/audio/transcriptions") => {
                    self.send(LATENCY, InTransit::Transcribe(process, id, Box::new(request)));
                }
                Output::Fetch { id, request } => {
                    let fault = self.rest_next.pop_front().unwrap_or(self.rest_always);
                    self.rest_sent(process, id, &request, fault);
                    if self.keeps_log {
                        self.rest_log.push((self.now.mono, request.method, request.url.clone()));
                    }
                    self.send(LATENCY, InTransit::Update(process, id, Box::new(request), fault));
                }
            }
        }
        self.outputs = out;
    }

    pub(super) fn reply(&mut self, place: usize, id: RequestId, response: Response) {
        let asker = self.nodes[place].of_request.remove(&id).expect("I1: one answer per request");
        match asker {
            Asker::Call(call, ask, told) => {
                self.webhook_answered(place, call, told, &response);
                if !told.unanswered {
                    let delay = self.chance.latency();
                    self.send(delay, InTransit::Answered(call, ask, Box::new(response)));
                }
            }
            Asker::Media(call, media) => self.send(LATENCY, InTransit::MediaAnswered(call, media, Box::new(response))),
            Asker::Socket(call, socket) => {
                self.send(LATENCY, InTransit::SocketRefused(call, socket, response.status));
            }
            Asker::Script(place) => self.answers[place] = Some(response),
        }
    }

    fn upgraded(&mut self, place: usize, id: RequestId, stream: StreamId, machine: MediaStream) {
        let process = self.process(place);
        let peer = match self.nodes[place].of_request.remove(&id).expect("I1: one answer per request") {
            Asker::Socket(call, socket) => {
                self.send(LATENCY, InTransit::SocketOpened(call, socket));
                self.far_sockets[call] = Some((socket, process, stream));
                Peer::Call(call, socket)
            }
            Asker::Script(place) => {
                self.answers[place] = Some(Response::empty(101));
                self.script_streams.insert(place, (process, stream));
                self.script_sockets.insert(place, ScriptSocket::default());
                Peer::Script(place)
            }
            other @ (Asker::Call(..) | Asker::Media(..)) => panic!("{other:?} asked for no socket"),
        };
        let socket = Socket { machine, peer, frozen: false, unread: false, refused: false, armed: None };
        self.nodes[place].sockets.insert(stream, socket);
        self.arm(Wake::Stream(process, stream));
    }

    fn command(&mut self, process: Process, id: StreamId, command: StreamCommand) {
        if let (StreamCommand::Refuse, Some(socket)) = (command, self.socket_mut(process, id)) {
            socket.refused = true;
        }
        self.with_socket(process, id, |machine, now, out| machine.command(now, command, out));
    }

    /// When a machine wants to be woken, and for when it stands on the agenda.
    pub(super) fn deadline(&self, wake: Wake) -> (Option<Instant>, Option<Instant>) {
        match wake {
            Wake::Far(call) => (self.calls[call].next_timeout(), self.far_armed[call]),
            Wake::Stream(process, id) => {
                let socket = self.place_of(process).and_then(|place| self.nodes[place].sockets.get(&id));
                let awake = socket.filter(|socket| !socket.frozen);
                (awake.and_then(|socket| socket.machine.next_timeout()), socket.and_then(|socket| socket.armed))
            }
        }
    }

    pub(super) fn set_armed(&mut self, wake: Wake, at: Option<Instant>) {
        match wake {
            Wake::Far(call) => self.far_armed[call] = at,
            Wake::Stream(process, id) => {
                if let Some(socket) = self.socket_mut(process, id) {
                    socket.armed = at;
                }
            }
        }
    }

    /// Puts a machine on the agenda, unless it stands there already for a time as early.
    pub(super) fn arm(&mut self, wake: Wake) {
        let (wanted, armed) = self.deadline(wake);
        if let Some(at) = wanted.filter(|at| armed.is_none_or(|armed| *at < armed)) {
            self.set_armed(wake, Some(at));
            self.agenda.wake_at(at, wake);
        }
    }

    /// Wakes the machine that is next on the agenda.
    pub(super) fn wake(&mut self, wake: Wake) {
        self.agenda.put_off(None);
        self.set_armed(wake, None);
        match wake {
            Wake::Far(call) => {
                let mut out = std::mem::take(&mut self.far_outputs);
                self.calls[call].handle_timeout(self.now, &mut out);
                self.perform_far(call, out);
            }
            Wake::Stream(process, id) => {
                self.with_socket(process, id, |machine, now, out| machine.handle_timeout(now, out));
            }
        }
    }

    pub(super) fn wake_switchboard(&mut self, place: usize) {
        let now = self.now.mono;
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut out = std::mem::take(&mut self.outputs);
        let at = self.now_at(place);
        self.nodes[place].switchboard.handle_timeout(at, &mut out);
        let moved = !due(self.nodes[place].next_timeout()) || !out.is_empty();
        self.stuck = if moved { 0 } else { self.stuck + 1 };
        assert!(self.stuck < limits::EXPIRIES_PER_TURN_MAX, "I3: a deadline that is due stays as it is");
        self.perform(place, out);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}
