//! What becomes of a media frame: it is counted, its time noted, and it is heard.

use super::{MediaStream, Phase, StreamOutput, StreamReport};
use crate::limits;
use crate::log::{Event, Level};
use crate::sid::StreamSid;
use crate::speech::Utterance;
use core::time::Duration;

impl MediaStream {
    pub(super) fn media(
        &mut self,
        stream: Option<StreamSid>,
        chunk: Option<u64>,
        at: Option<Duration>,
        payload: &str,
        out: &mut Vec<StreamOutput>,
    ) {
        if !self.is_ours(stream) {
            return;
        }
        let now = self.now;
        self.counts.frames += 1;
        self.counts.bytes += payload.len() as u64;
        // Heard already, or too late to be put in its place. A number that is much lower begins a new count.
        let late = self.heard_chunk.zip(chunk).is_some_and(|(heard, chunk)| {
            heard.checked_sub(chunk).is_some_and(|behind| behind < limits::FRAMES_LATE_MAX)
        });
        self.heard_chunk = if late { self.heard_chunk } else { chunk.or(self.heard_chunk) };
        if let (Some(last), Some(chunk)) = (self.last_chunk, chunk)
            && last.checked_add(1) != Some(chunk)
        {
            self.counts.out_of_order += 1;
        }
        self.last_chunk = chunk.or(self.last_chunk);
        if let Some(identity) = self.identity {
            self.counts.heard_until = now.since(identity.started);
        }
        let speaks = !late && self.hear(payload, at, out);
        if let Some(limit) = self.settings.end_silence {
            let paused = !self.watch.is_heard_within(self.settings.media_timeout, now);
            self.silence.frame(speaks, paused, limit, now);
        }
        self.watch.frame(now);
        if self.settings.trace_frames || self.counts.frames == 1 {
            self.log_frame(payload.len(), out);
        }
        if self.phase == Phase::Live {
            self.heard(out);
        }
    }

    /// Listens to a frame; whether the caller speaks.
    fn hear(&mut self, payload: &str, at: Option<Duration>, out: &mut Vec<StreamOutput>) -> bool {
        let limit = self.counts.heard_until + limits::TIMESTAMP_AHEAD_MAX;
        let mut spoken = Vec::new();
        let speaks = self.ear.hear(payload, at, limit, &mut spoken);
        for utterance in spoken {
            self.said(utterance, out);
        }
        speaks
    }

    /// The caller said something.
    fn said(&mut self, utterance: Utterance, out: &mut Vec<StreamOutput>) {
        self.spoken = self.spoken.saturating_add(1);
        let report = StreamReport::Spoken { sequence: self.spoken, utterance: Box::new(utterance) };
        if self.phase == Phase::Presented {
            self.unaccepted.push(report);
        } else {
            out.push(StreamOutput::Report(report));
        }
    }

    /// Nothing more is heard of the stream: the last word is an utterance too, even where it was cut off.
    pub(super) fn heard_out(&mut self, out: &mut Vec<StreamOutput>) {
        if matches!(self.phase, Phase::Live | Phase::Released { .. })
            && let Some(utterance) = self.ear.flush()
        {
            self.said(utterance, out);
        }
    }

    fn log_frame(&self, len: usize, out: &mut Vec<StreamOutput>) {
        let level = if self.counts.frames == 1 { Level::Info } else { Level::Trace };
        let mut line = self.line(level, Event::WsFrame);
        line.len = Some(len as u64);
        out.push(StreamOutput::Log(Box::new(line)));
    }
}
