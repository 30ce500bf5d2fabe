//! The rules of a stream as examples and as properties, in virtual time.

mod commands;
mod messages;
mod model;
mod properties;
mod silence;
mod watch;

use super::*;
use core::time::Duration;

/// The stream under test.
fn sid() -> StreamSid {
    StreamSid::from_number(1)
}

fn other_sid() -> StreamSid {
    StreamSid::from_number(2)
}

fn settings() -> StreamSettings {
    StreamSettings { media_timeout: Duration::from_secs(6), end_silence: None, listen: false, trace_frames: false }
}

fn start_text(stream: StreamSid) -> String {
    let call = CallSid::from_number(7);
    format!(
        r#"{{"event":"start","start":{{"streamSid":"{stream}","callSid":"{call}","customParameters":{{"token":"t"}}}},"streamSid":"{stream}"}}"#
    )
}

fn media_text(stream: StreamSid, chunk: u64, payload: &str) -> String {
    format!(r#"{{"event":"media","media":{{"chunk":"{chunk}","payload":"{payload}"}},"streamSid":"{stream}"}}"#)
}

fn mark_text(stream: StreamSid, name: &str) -> String {
    format!(r#"{{"event":"mark","mark":{{"name":"{name}"}},"streamSid":"{stream}"}}"#)
}

fn stop_text(stream: StreamSid) -> String {
    format!(r#"{{"event":"stop","streamSid":"{stream}"}}"#)
}

/// An output in a word or two.
fn word(output: &StreamOutput) -> String {
    match output {
        StreamOutput::Report(report) => match report {
            StreamReport::Started(_) => "started".into(),
            StreamReport::Heard(_) => "heard".into(),
            StreamReport::Trouble(Trouble::Mute, _) => "mute".into(),
            StreamReport::Trouble(Trouble::Stalled, _) => "stalled".into(),
            StreamReport::Trouble(Trouble::Quiet, _) => "quiet".into(),
            StreamReport::CallerSilent(_) => "silent".into(),
            StreamReport::Challenged { fresh } => if *fresh { "fresh" } else { "stale" }.into(),
            StreamReport::Spoken { sequence, .. } => format!("spoken {sequence}"),
            StreamReport::Stopped(_) => "stopped".into(),
            StreamReport::Ended { .. } => "ended".into(),
        },
        StreamOutput::Send(text) => match wire::parse(text) {
            Ok(Message::Mark { stream, name }) if stream == Some(sid()) => match wire::mark_number(&name) {
                Some(number) => format!("mark {number}"),
                None => text.clone(),
            },
            _ => text.clone(),
        },
        StreamOutput::Close(code) => format!("close {}", code.code()),
        StreamOutput::Log(line) => match &line.reason {
            Some(reason) => format!("{} {reason}", line.event.as_str()),
            None => line.event.as_str().into(),
        },
    }
}

/// A stream and a runtime that reads its socket first and calls the machine exactly when it asks to be.
struct Run {
    machine: MediaStream,
    now: u64,
    chunk: u64,
    seen: Vec<(u64, StreamOutput)>,
}

impl Run {
    /// A socket opened at 0 ms.
    fn opened(settings: StreamSettings) -> Self {
        let machine = MediaStream::new(Instant::from_millis(0), "c1", settings);
        Self { machine, now: 0, chunk: 0, seen: Vec::new() }
    }

    /// A stream that started at 0 ms and waits to be accepted.
    fn presented(settings: StreamSettings) -> Self {
        let mut run = Self::opened(settings);
        run.text(0, &start_text(sid()));
        assert_eq!(run.news(), ["0 started"]);
        run
    }

    /// A stream that started and was accepted at 0 ms.
    fn live(settings: StreamSettings) -> Self {
        let mut run = Self::presented(settings);
        run.command(0, StreamCommand::Accept);
        run
    }

    /// A live stream that had its first frame at 0 ms.
    fn heard(settings: StreamSettings) -> Self {
        let mut run = Self::live(settings);
        run.frame(0);
        assert_eq!(run.news(), ["0 WS_FRAME", "0 heard", "0 mark 1"]);
        run
    }

    /// Something happens at `at`, after every timer that is due before.
    fn at(&mut self, at: u64, act: impl FnOnce(&mut MediaStream, Instant, &mut Vec<StreamOutput>)) {
        if let Some(before) = at.checked_sub(1) {
            self.until(before);
        }
        let mut out = Vec::new();
        act(&mut self.machine, Instant::from_millis(at), &mut out);
        self.now = self.now.max(at);
        let now = self.now;
        self.seen.extend(out.into_iter().map(|output| (now, output)));
    }

    /// Nothing arrives until `end`; timers due then are worked off.
    fn until(&mut self, end: u64) {
        while let Some(due) = self.machine.next_timeout().filter(|due| *due <= Instant::from_millis(end)) {
            let due = due.max(Instant::from_millis(self.now));
            let mut out = Vec::new();
            self.machine.handle_timeout(due, &mut out);
            assert!(self.machine.next_timeout().is_none_or(|next| next > due), "I3: {out:?}");
            self.now = due.as_micros() / 1_000;
            let now = self.now;
            self.seen.extend(out.into_iter().map(|output| (now, output)));
        }
        self.now = self.now.max(end);
    }

    fn text(&mut self, at: u64, text: &str) {
        self.at(at, |machine, now, out| machine.text(now, text, out));
    }

    fn command(&mut self, at: u64, command: StreamCommand) {
        self.at(at, |machine, now, out| machine.command(now, command, out));
    }

    /// The next frame, of silence.
    fn frame(&mut self, at: u64) {
        self.chunk += 1;
        self.text(at, &media_text(sid(), self.chunk, "//8="));
    }

    /// A frame every 20 ms, the first 20 ms after `from` and the last at `end`.
    fn frames(&mut self, from: u64, end: u64) {
        for at in (from + 20..=end).step_by(20) {
            self.frame(at);
        }
    }

    fn echo(&mut self, at: u64, number: u32) {
        self.text(at, &mark_text(sid(), &format!("callwarden-{number}")));
    }

    fn ended(&mut self, at: u64) {
        self.at(at, |machine, now, out| machine.ended(now, &Ended::Closed(Some(1000)), out));
    }

    /// What came out since the last look, in words with its milliseconds.
    fn news(&mut self) -> Vec<String> {
        self.seen.drain(..).map(|(at, output)| format!("{at} {}", word(&output))).collect()
    }

    fn counts(&self) -> Counts {
        self.machine.counts
    }
}
