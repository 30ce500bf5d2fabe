//! What the far ends say, and what they hear: webhooks, sockets, and Twilio's REST interface.

use super::agenda::Wake;
use super::invariants::{Told, Trouble};
use super::network::{self, Hook, HookFault};
use super::node::Process;
use super::{Asker, InTransit, LATENCY, RestFault, World};
use callwarden_core::far_end::{FarInput, FarOutput, SocketId};
use callwarden_core::fetch::{FetchError, FetchRequest};
use callwarden_core::http::Request;
use callwarden_core::id::{FetchId, StreamId};
use callwarden_core::sid::CallSid;
use callwarden_core::stream::Ended;
use std::time::Duration;

impl World {
    pub(super) fn far_input(&mut self, call: usize, input: FarInput<'_>) {
        let mut out = std::mem::take(&mut self.far_outputs);
        self.calls[call].handle(self.now, input, &mut out);
        self.perform_far(call, out);
    }

    /// The caller hangs up, whatever the plan says.
    pub fn hang_up(&mut self, call: usize) {
        self.far_input(call, FarInput::HangUp);
    }

    /// Does what a far end says, and keeps the room it was said in.
    pub(super) fn perform_far(&mut self, call: usize, mut out: Vec<FarOutput>) {
        for output in out.drain(..) {
            match output {
                FarOutput::Request { id, request } => {
                    let request = network::arriving(request);
                    self.webhook_sent(call, request, |told| Asker::Call(call, id, told));
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
                    if let Some((process, stream)) = self.stream_of(call, id) {
                        self.send(LATENCY, InTransit::ToStream(process, stream, text));
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
        self.far_outputs = out;
        self.arm(Wake::Far(call));
    }

    /// A webhook is on its way, and whatever befalls it.
    fn webhook_sent(&mut self, call: usize, request: Request, asker: impl Fn(Told) -> Asker) {
        let told = Told::by(&request);
        let fault = told.hook.and_then(|hook| self.hooks.get_mut(&hook)?.pop_front());
        if let (Some(hook), Some(fault)) = (told.hook, fault) {
            self.witness.trouble(call, self.now.mono, Trouble::Hook(hook, fault));
        }
        if self.lost_paths.contains(request.target.as_str()) || fault == Some(HookFault::Lost) {
            return self.refused(asker(told), false);
        }
        let mut delay = self.chance.latency();
        let mut twice = self.twice;
        match fault {
            Some(HookFault::Late(by)) => delay += Duration::from_millis(by.into()),
            Some(HookFault::Twice(later)) => twice = Some(Duration::from_millis(later.into())),
            Some(HookFault::Lost | HookFault::Unanswered) | None => {}
        }
        if let Some(later) = twice {
            self.answers.push(None);
            let copy = InTransit::ToServer(Asker::Script(self.answers.len() - 1), Box::new(request.clone()));
            self.send(delay + later, copy);
        }
        let told = Told { unanswered: fault == Some(HookFault::Unanswered), ..told };
        self.send(delay, InTransit::ToServer(asker(told), Box::new(request)));
    }

    fn end_socket(&mut self, call: usize, socket: SocketId, how: Ended) {
        if let Some((process, stream)) = self.stream_of(call, socket) {
            self.send(LATENCY, InTransit::StreamEnded(process, stream, how));
        }
    }

    fn stream_of(&self, call: usize, socket: SocketId) -> Option<(Process, StreamId)> {
        let (id, process, stream) = self.far_sockets[call]?;
        (id == socket).then_some((process, stream))
    }

    /// Ends the task of a call's open socket as a panic in it would.
    pub fn break_socket_of(&mut self, call: usize) {
        if let Some((_, process, id)) = self.far_sockets[call] {
            self.witness.trouble(call, self.now.mono, Trouble::Broken);
            self.send(Duration::ZERO, InTransit::StreamEnded(process, id, Ended::Lost("panic".into())));
        }
    }

    /// The task of a call's open socket hears and does nothing from now on, until the socket is ended. Says whether
    /// there is one.
    pub fn freeze_socket_of(&mut self, call: usize) -> bool {
        let Some((_, process, id)) = self.far_sockets[call] else { return false };
        let Some(socket) = self.socket_mut(process, id) else { return false };
        socket.frozen = true;
        self.witness.trouble(call, self.now.mono, Trouble::Frozen);
        true
    }

    /// Twilio takes nothing more from a call's open socket: what we say on it piles up unread.
    pub fn deafen_socket_of(&mut self, call: usize) {
        let Some((_, process, id)) = self.far_sockets[call] else { return };
        if let Some(socket) = self.socket_mut(process, id) {
            socket.unread = true;
            self.witness.trouble(call, self.now.mono, Trouble::Unread);
        }
    }

    /// The place of a call among [`World::calls`].
    #[must_use]
    pub fn call_of(&self, sid: CallSid) -> Option<usize> {
        let number = usize::from_str_radix(&sid.as_str()[2..], 16).ok()?;
        number.checked_sub(self.first_call).filter(|call| *call < self.calls.len())
    }

    pub(super) fn twilio_is_asked(&mut self, process: Process, id: FetchId, request: &FetchRequest, fault: RestFault) {
        let named = callwarden_core::far_end::rest_call(&request.url);
        let of_recording = || self.calls.iter().position(|far| far.answers(&request.url));
        let call = named.map_or_else(of_recording, |(_, sid)| self.call_of(sid));
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
        self.send(delay, InTransit::Fetched(process, id, result));
    }

    /// A request of a far end was not answered: what the far end sees of that.
    pub(super) fn not_answered(&mut self, asker: Asker, error: FetchError) {
        match asker {
            Asker::Call(call, id, _) => self.far_input(call, FarInput::Answered { id, result: Err(error) }),
            Asker::Media(call, id) => {
                self.far_input(call, FarInput::MediaFetched { id, result: Err(error.to_string()) });
            }
            Asker::Socket(call, id) => self.far_input(call, FarInput::SocketFailed { id, status: None }),
            Asker::Script(_) => {}
        }
    }
}

impl Told {
    fn by(request: &Request) -> Self {
        let hook = Hook::of(request);
        let value = |name: &str| {
            let at = memchr::memmem::find(&request.body, name.as_bytes())?;
            request.body[at + name.len()..].split(|byte| *byte == b'&').next()
        };
        let over = |status: &[u8]| !matches!(status, b"ringing" | b"in-progress");
        Self {
            hook,
            over: value("&CallStatus=").is_some_and(over)
                || hook == Some(Hook::HandleRecording) && value("&Digits=") == Some(b"hangup"),
            recording_completed: hook == Some(Hook::RecordingStatus)
                && value("&RecordingStatus=") == Some(b"completed"),
            unanswered: false,
        }
    }
}
