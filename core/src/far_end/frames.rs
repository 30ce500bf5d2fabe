//! The frames of a stream: when each is due, what it carries, and when they stop.

use super::messages;
use super::{Event, FarEnd, FarOutput, HangUp, Heard, StreamFault};
use crate::sid::StreamSid;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use core::time::Duration;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Samples of a frame of 20 ms.
const FRAME: usize = 160;
/// Samples of a millisecond.
const SAMPLES_PER_MILLISECOND: usize = 8;
/// Silence in mu-law.
const QUIET: u8 = 0xFF;
/// A frame of it as it is sent: nearly all frames of a simulated call are.
static QUIET_PAYLOAD: LazyLock<String> = LazyLock::new(|| BASE64_STANDARD.encode([QUIET; FRAME]));

impl FarEnd {
    pub(super) fn send_frame(&mut self, out: &mut Vec<FarOutput>) {
        let now = self.now.mono;
        let (interval, duplicate, garbage) =
            (self.plan.frame_interval, self.plan.duplicate_every, self.plan.garbage_every);
        let Some(stream) = self.stream() else { return };
        let (Some(id), Some(at), Some(started)) = (stream.socket, stream.next_frame, stream.started) else { return };
        let first = stream.first_frame.is_none();
        let origin = *stream.first_frame.get_or_insert(at);
        stream.next_frame = Some(at + interval);
        let resumed = core::mem::take(&mut stream.stopped);
        stream.echoes |= resumed;
        stream.sequence += 1;
        stream.chunk += 1;
        let (sid, sequence, chunk, place) = (stream.sid, stream.sequence, stream.chunk, stream.place);
        if first {
            self.first_frame();
        }
        let speaks = self.speaks_until.is_some_and(|until| now < until);
        if first || resumed {
            self.ledger.change(now, if speaks { Heard::Streaming } else { Heard::StreamingSilent });
        }
        if let Some(streamed) = self.ledger.streams.get_mut(place) {
            streamed.frames += 1;
        }
        let payload = self.payload(speaks, at.since(origin));
        let text = messages::media(sid, sequence, chunk, at.since(started).as_millis(), &payload);
        let every =
            |number: Option<u32>| number.is_some_and(|number| number > 0 && chunk.is_multiple_of(number.into()));
        if every(duplicate) {
            out.push(FarOutput::SendText { id, text: text.clone() });
        }
        out.push(FarOutput::SendText { id, text });
        if every(garbage) {
            let text = self.garbage(chunk / u64::from(garbage.unwrap_or(1)), sid);
            out.push(FarOutput::SendText { id, text });
        }
    }

    /// What the plan ties to the first frame.
    fn first_frame(&mut self) {
        let verb = self.verb;
        let fault = self.stream().map(|stream| stream.fault).unwrap_or_default();
        match fault {
            StreamFault::StallAfter(after, _) | StreamFault::QuietAfter(after, _) => {
                self.schedule(after, Event::FramesStop(verb));
            }
            StreamFault::DropAfter(after) => {
                self.schedule(after, Event::SocketBreaks(verb));
            }
            StreamFault::StopAfter(after) => {
                self.schedule(after, Event::StreamStops(verb));
            }
            StreamFault::None
            | StreamFault::NeverStarts
            | StreamFault::HandshakeFails(_)
            | StreamFault::ConnectsButNoStart
            | StreamFault::Mute(_) => {}
        }
        if self.speaks_until.is_none() {
            self.speaks_until = Some(self.now.mono + self.plan.speaks);
            self.schedule(self.plan.speaks, Event::SpeechOver);
        }
        if let (HangUp::Streaming(after), false) = (self.plan.hangs_up, self.hang_up_planned) {
            self.hang_up_planned = true;
            self.schedule(after, Event::HangUp);
        }
    }

    pub(super) fn speech_over(&mut self) {
        if self.ledger.heard() == Some(Heard::Streaming) && !self.is_over() {
            self.ledger.change(self.now.mono, Heard::StreamingSilent);
        }
    }

    fn payload(&self, speaks: bool, since_first: Duration) -> Cow<'static, str> {
        let voice = &self.plan.voice;
        if !speaks || voice.is_empty() {
            return Cow::Borrowed(&QUIET_PAYLOAD);
        }
        let from = usize::try_from(since_first.as_millis()).unwrap_or_default() * SAMPLES_PER_MILLISECOND;
        let mut frame = [QUIET; FRAME];
        for (place, sample) in frame.iter_mut().enumerate() {
            *sample = voice[(from + place) % voice.len()];
        }
        Cow::Owned(BASE64_STANDARD.encode(frame))
    }

    fn garbage(&self, turn: u64, stream: StreamSid) -> String {
        match turn % 4 {
            1 => "{\"event\":\"media\",".to_owned(),
            2 => format!("{{\"event\":\"שלום\",\"streamSid\":\"{stream}\"}}"),
            3 => messages::media(StreamSid::from_number(u128::MAX), 2, 1, 57, &QUIET_PAYLOAD),
            _ => messages::start(self.line.account, self.line.call, stream, &[]),
        }
    }

    pub(super) fn frames_stop(&mut self) {
        let now = self.now.mono;
        let Some(stream) = self.stream() else { return };
        let (resume, echoes) = match stream.fault {
            StreamFault::StallAfter(_, resume) => (resume, false),
            StreamFault::QuietAfter(_, resume) => (resume, true),
            StreamFault::None
            | StreamFault::NeverStarts
            | StreamFault::HandshakeFails(_)
            | StreamFault::ConnectsButNoStart
            | StreamFault::Mute(_)
            | StreamFault::DropAfter(_)
            | StreamFault::StopAfter(_) => return,
        };
        stream.next_frame = resume.map(|resume| now + resume);
        (stream.echoes, stream.stopped) = (echoes, true);
        self.ledger.change(now, Heard::Silence);
    }
}

#[cfg(test)]
mod tests {
    use super::QUIET_PAYLOAD;

    #[test]
    fn a_frame_of_twenty_milliseconds_has_216_characters_of_payload() {
        assert_eq!(QUIET_PAYLOAD.len(), 216);
    }
}
