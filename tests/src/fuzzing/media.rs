//! One WebSocket: messages that are well formed, nearly so, or anything at all, commands and the time, in any order.

use super::source::{Source, text};
use callwarden_core::limits::FRAMES_LATE_MAX;
use callwarden_core::sid::{AccountSid, CallSid, StreamSid};
use callwarden_core::stream::{Ended, MediaStream, StreamCommand, StreamOutput, StreamReport, StreamSettings, Trouble};
use callwarden_core::time::Instant;
use callwarden_core::wire::{self, Message};
use serde_json::Value;
use std::time::Duration;

/// The most one input causes: the first frame's line, report and mark, or the end's report and lines.
const OUTPUTS_MAX: usize = 4;
const INPUTS_MAX: usize = 512;

/// What may be said on the wire, told by what was.
#[derive(Debug, Default)]
struct Wire {
    asked: Option<StreamSid>,
    accepted: bool,
    closed: bool,
    stopped: bool,
    ended: bool,
    marks: u32,
}

/// S1-S8 on the wire, I3, I4, I5, I8; and the frame parser against a plain reading of the same text.
pub fn media(data: &[u8]) {
    let mut source = Source::new(data);
    let settings = StreamSettings {
        media_timeout: Duration::from_millis(source.one_of(&[6_000, 100, 4_000, 60_000])),
        end_silence: source.one_of(&[None, Some(Duration::from_secs(4)), Some(Duration::from_secs(20))]),
        listen: source.byte().is_multiple_of(4),
        trace_frames: source.byte().is_multiple_of(8),
    };
    let mut now = Instant::from_millis(1_000_000);
    let mut machine = MediaStream::new(now, "fuzz", settings);
    let mut wire = Wire::default();
    for _ in 0..INPUTS_MAX {
        if source.is_empty() || wire.ended {
            break;
        }
        let mut out = Vec::new();
        now = moment(&mut source, now, &machine);
        input(&mut source, now, &mut machine, &mut wire, &mut out);
        wire.judge(&out);
        settle(&mut machine, now, &mut wire);
    }
}

/// When the next input comes; the clock may go back.
fn moment(source: &mut Source<'_>, now: Instant, machine: &MediaStream) -> Instant {
    let due = machine.next_timeout().unwrap_or(now);
    match source.byte() % 8 {
        0 => due,
        1 => due + Duration::from_millis(source.byte().into()),
        2 => now + Duration::from_millis(source.word().into()),
        3 => Instant::from_millis(u64::from(source.word())),
        _ => now + Duration::from_millis(20),
    }
    .max(if source.byte() == 255 { Instant::default() } else { now })
}

fn input(
    source: &mut Source<'_>,
    now: Instant,
    machine: &mut MediaStream,
    wire: &mut Wire,
    out: &mut Vec<StreamOutput>,
) {
    match source.byte() % 16 {
        0..=8 => {
            let message = message(source);
            read_twice(&message);
            machine.text(now, &message, out);
        }
        9 => {
            let any = text(source.some());
            read_twice(&any);
            machine.text(now, &any, out);
        }
        10 => machine.binary(now, out),
        11..=13 => {
            let commands = [
                StreamCommand::Accept,
                StreamCommand::Challenge,
                StreamCommand::Release,
                StreamCommand::Close,
                StreamCommand::Refuse,
            ];
            let command = source.one_of(&commands);
            // The switchboard accepts only what has asked to start.
            if command != StreamCommand::Accept || wire.asked.is_some() {
                wire.accepted |= command == StreamCommand::Accept && !wire.closed;
                machine.command(now, command, out);
            }
        }
        14 => machine.handle_timeout(now, out),
        _ => {
            let how =
                if source.byte().is_multiple_of(2) { Ended::Closed(Some(1000)) } else { Ended::Lost("reset".into()) };
            machine.ended(now, &how, out);
            wire.ended = true;
            let ends = out.iter().filter(|output| matches!(output, StreamOutput::Report(StreamReport::Ended { .. })));
            assert_eq!(ends.count(), 1, "the end is reported once: {out:?}");
        }
    }
}

/// After every input: what is due is done in a few steps (I3), and a needless wake-up does nothing (I8).
fn settle(machine: &mut MediaStream, now: Instant, wire: &mut Wire) {
    if wire.ended {
        return;
    }
    for turn in 0.. {
        assert!(turn < 8, "I3: the deadline does not move");
        if machine.next_timeout().is_none_or(|due| due > now) {
            break;
        }
        let mut out = Vec::new();
        machine.handle_timeout(now, &mut out);
        wire.judge(&out);
    }
    let mut out = Vec::new();
    machine.handle_timeout(now, &mut out);
    assert!(out.is_empty(), "I8: {out:?}");
}

impl Wire {
    fn judge(&mut self, out: &[StreamOutput]) {
        assert!(out.len() <= OUTPUTS_MAX, "I5: {out:?}");
        for output in out {
            match output {
                StreamOutput::Send(text) => self.sent(text),
                StreamOutput::Close(_) => {
                    assert!(!self.closed, "closed twice");
                    self.closed = true;
                }
                StreamOutput::Report(report) => self.reported(report),
                StreamOutput::Log(line) => assert!(line.connection.is_some(), "{line:?}"),
            }
        }
    }

    fn sent(&mut self, text: &str) {
        let stream = self.asked.filter(|_| self.accepted && !self.stopped && !self.closed);
        let stream = stream.expect("S2: nothing before start, nothing after stop");
        self.marks += 1;
        let Ok(Message::Mark { stream: named, name }) = wire::parse(text) else { panic!("S3: {text}") };
        assert_eq!((named, wire::mark_number(&name)), (Some(stream), Some(self.marks)), "S3: {text}");
    }

    fn reported(&mut self, report: &StreamReport) {
        match report {
            StreamReport::Started(start) => {
                assert_eq!(self.asked, None, "S5: one start");
                self.asked = Some(start.stream);
            }
            StreamReport::Stopped(_) => {
                assert!(self.asked.is_some() && !self.stopped, "{report:?}");
                self.stopped = true;
            }
            StreamReport::Heard(counts) => assert!(self.accepted && counts.frames > 0, "{report:?}"),
            StreamReport::Trouble(trouble, counts) => {
                assert!(self.accepted && !self.stopped, "{report:?}");
                assert_eq!(*trouble == Trouble::Mute, counts.frames == 0, "{report:?}");
            }
            StreamReport::Spoken { utterance, .. } => {
                assert!(self.accepted && utterance.from < utterance.to && !utterance.audio.is_empty(), "{report:?}");
            }
            StreamReport::CallerSilent(_) => assert!(self.accepted && !self.stopped, "{report:?}"),
            StreamReport::Challenged { .. } | StreamReport::Ended { .. } => {}
        }
    }
}

/// A message of a kind that Twilio sends, of one of two streams.
fn message(source: &mut Source<'_>) -> String {
    let stream = StreamSid::from_number(source.one_of(&[1, 1, 1, 2]));
    let (call, account) = (CallSid::from_number(1), AccountSid::from_number(1));
    match source.byte() % 8 {
        0..=3 => {
            let (chunk, payload) = (u64::from(source.byte()), source.one_of(&["//8=", "AAA=", "gIAA", "", "?"]));
            let late = if source.byte() == 255 { FRAMES_LATE_MAX } else { 0 };
            let timestamp = (chunk + late) * 20;
            format!(
                r#"{{"event":"media","sequenceNumber":"{chunk}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{timestamp}","payload":"{payload}"}},"streamSid":"{stream}"}}"#
            )
        }
        4 => format!(
            r#"{{"event":"start","start":{{"streamSid":"{stream}","accountSid":"{account}","callSid":"{call}","customParameters":{{"call_sid":"{call}","token":"t"}}}},"streamSid":"{stream}"}}"#
        ),
        5 => {
            let number = source.byte() % 8;
            format!(r#"{{"event":"mark","streamSid":"{stream}","mark":{{"name":"callwarden-{number}"}}}}"#)
        }
        6 => format!(r#"{{"event":"stop","streamSid":"{stream}","stop":{{}}}}"#),
        _ => source.one_of(&[r#"{"event":"connected"}"#, r#"{"event":"dtmf"}"#, "{", "null", r#"{"event":7}"#]).into(),
    }
}

/// What the borrowing parser reads, a plain reading finds as well.
fn read_twice(text: &str) {
    let Ok(message) = wire::parse(text) else { return };
    let plain: Value = serde_json::from_str(text).expect("what is a message is JSON");
    let event = plain["event"].as_str();
    match message {
        Message::Media { payload, stream, .. } => {
            assert_eq!((event, plain["media"]["payload"].as_str()), (Some("media"), Some(&*payload)), "{text}");
            assert_eq!(plain["streamSid"].as_str().and_then(|sid| sid.parse().ok()), stream, "{text}");
        }
        Message::Mark { name, .. } => {
            assert_eq!((event, plain["mark"]["name"].as_str()), (Some("mark"), Some(&*name)), "{text}");
        }
        Message::Start(start) => {
            assert_eq!(event, Some("start"), "{text}");
            assert_eq!(start.stream.as_deref(), plain["start"]["streamSid"].as_str(), "{text}");
        }
        Message::Connected => assert_eq!(event, Some("connected"), "{text}"),
        Message::Dtmf { .. } => assert_eq!(event, Some("dtmf"), "{text}"),
        Message::Stop { .. } => assert_eq!(event, Some("stop"), "{text}"),
        Message::Unknown => {}
    }
}
