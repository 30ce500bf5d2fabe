//! Somebody who is not Twilio: webhooks without a good signature, sockets without a good token, and tokens that were
//! overheard.

use crate::script::Hostile;
use crate::world::script::{Caller, frame, signed_with, token_in, unsigned, upgrade};
use crate::world::{Hook, Trouble, World};
use callwarden_core::sid::StreamSid;
use callwarden_core::stream::Ended;
use std::time::Duration;

/// A stream that Twilio never opened.
const FOREIGN: u128 = 0xBAD << 64;
/// A socket that the server has not closed by itself is left then: later than S7 demands.
const LEFT_AFTER: Duration = Duration::from_secs(12);

/// One deed of somebody's.
#[derive(Debug)]
pub(super) struct Intruder {
    what: Hostile,
    call: usize,
    /// The place of its request among the world's answers.
    place: usize,
}

impl Intruder {
    /// Begins; `None` where there is nothing to do it with.
    pub(super) fn begin(world: &mut World, call: usize, what: Hostile) -> Option<Self> {
        let request = match what {
            Hostile::Unsigned(hook) => unsigned(hook.path(), &lies(world, call, hook)),
            Hostile::WrongSignature(hook) => signed_with("another-token", hook.path(), &lies(world, call, hook)),
            Hostile::ReplayedToken | Hostile::SecondStart if token_of(world, call).is_none() => return None,
            Hostile::Garbage
            | Hostile::ForgedToken
            | Hostile::TokenOfAnotherCall
            | Hostile::ReplayedToken
            | Hostile::SecondStart => upgrade(),
        };
        let place = world.request(request);
        Some(Self { what, call, place })
    }

    /// Goes on, now that an answer should be there.
    pub(super) fn intrude(&self, world: &mut World) {
        let opened = world.answers[self.place].as_ref().is_some_and(|answer| answer.status == 101);
        if !opened || matches!(self.what, Hostile::Unsigned(_) | Hostile::WrongSignature(_)) {
            return;
        }
        let caller = Caller { call: world.sid(self.call), account: world.calls[self.call].line().account };
        let stream = StreamSid::from_number(FOREIGN + self.place as u128);
        match self.what {
            Hostile::Unsigned(_) | Hostile::WrongSignature(_) => {}
            Hostile::Garbage => {
                for text in ["", "{", "[1,2]", r#"{"event":"start"}"#, r#"{"event":"stop","streamSid":"MZ1"}"#] {
                    world.say(self.place, text);
                }
                world.say(self.place, &frame(stream, 1));
            }
            Hostile::ForgedToken => world.say(self.place, &caller.start(stream, "1.2.abcdef")),
            Hostile::TokenOfAnotherCall => {
                let other = (0..world.calls.len()).find(|other| *other != self.call);
                let token = other.and_then(|other| token_of(world, other)).unwrap_or_default();
                world.say(self.place, &caller.start(stream, &token));
            }
            Hostile::ReplayedToken | Hostile::SecondStart => {
                let token = token_of(world, self.call).unwrap_or_default();
                world.witness.trouble(self.call, world.now.mono, Trouble::Hostile);
                world.say(self.place, &caller.start(stream, &token));
                if self.what == Hostile::SecondStart {
                    let second = StreamSid::from_number(FOREIGN + (1 << 60) + self.place as u128);
                    world.say(self.place, &caller.start(second, &token));
                }
            }
        }
        let left = world.now.mono + LEFT_AFTER;
        world.end_script_socket_at(self.place, left, Ended::Closed(Some(1000)));
    }

    /// What it must not have achieved.
    pub(super) fn judge(&self, world: &World) {
        match (self.what, &world.answers[self.place]) {
            (Hostile::Unsigned(Hook::IncomingCall), Some(answer)) => {
                let preview = answer.header("x-callwarden-preview").is_some();
                assert!(preview, "section 4: an unsigned call is answered with {} and no preview", answer.status);
            }
            (Hostile::Unsigned(_) | Hostile::WrongSignature(_), Some(answer)) => {
                assert_eq!(answer.status, 403, "section 4: a webhook of somebody's is taken");
            }
            (Hostile::Garbage | Hostile::ForgedToken | Hostile::TokenOfAnotherCall, Some(answer)) => {
                let said = world.opened(self.place).is_some_and(|socket| !socket.said.is_empty());
                assert!(!said, "S2: something is said on a socket that was not let in ({})", answer.status);
            }
            (Hostile::ReplayedToken | Hostile::SecondStart, Some(_)) | (_, None) => {}
        }
    }
}

/// A form that says that the call is over.
fn lies(world: &World, call: usize, hook: Hook) -> Vec<(String, String)> {
    let caller = Caller { call: world.sid(call), account: world.calls[call].line().account };
    let more: &[(&str, &str)] = match hook {
        Hook::HandleRecording | Hook::RecordingStatus => {
            &[("RecordingSid", "RE00000000000000000000000000000bad"), ("RecordingStatus", "in-progress")]
        }
        Hook::StreamStatus => &[("StreamEvent", "stream-error"), ("StreamError", "made up")],
        Hook::IncomingCall | Hook::CallStatus | Hook::StreamEnded => &[("CallStatus", "completed")],
    };
    caller.form(more)
}

/// The token of the last document of a call that asks for a stream.
fn token_of(world: &World, call: usize) -> Option<String> {
    let documents = world.ledger(call).documents.iter().rev();
    documents.map(|document| &document.twiml).find(|twiml| twiml.contains("<Stream")).map(|twiml| token_in(twiml))
}
