//! What a media frame may cost: no allocation and no touch of a timer. A minute of a call is run and counted.

use allocation_counter::measure;
use callwarden_core::sid::{CallSid, StreamSid};
use callwarden_core::speech::Listener;
use callwarden_core::stream::{MediaStream, StreamCommand, StreamOutput, StreamReport, StreamSettings};
use callwarden_core::time::{Alarm, Instant};
use callwarden_core::wire;
use callwarden_tests::world::speech;
use std::time::Duration;

/// A minute of frames of 20 ms.
const FRAMES: u64 = 3_000;
const FRAME_TIME: u64 = 20;

fn settings(end_silence: Option<Duration>) -> StreamSettings {
    StreamSettings { media_timeout: Duration::from_secs(6), end_silence, listen: false, trace_frames: false }
}

/// A frame as Twilio sends it: 160 bytes of mu-law, which are 216 characters of base64. Every second one is loud.
fn frame(number: u64) -> String {
    message(number, number.is_multiple_of(2))
}

fn message(number: u64, loud: bool) -> String {
    let stream = StreamSid::from_number(1);
    let payload = if loud { "A".repeat(213) } else { "/".repeat(213) };
    format!(
        r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{number}","timestamp":"{time}","payload":"{payload}A=="}},"streamSid":"{stream}"}}"#,
        sequence = number + 1,
        time = number * FRAME_TIME,
    )
}

fn frames() -> Vec<(Instant, String)> {
    (1..=FRAMES).map(|number| (Instant::from_millis(number * FRAME_TIME), frame(number))).collect()
}

/// An accepted stream that had its first frame, which is news and may allocate.
fn live(settings: StreamSettings, out: &mut Vec<StreamOutput>) -> MediaStream {
    let (stream, call) = (StreamSid::from_number(1), CallSid::from_number(1));
    let mut machine = MediaStream::new(Instant::default(), "c1", settings);
    let start = format!(r#"{{"event":"start","start":{{"streamSid":"{stream}","callSid":"{call}"}}}}"#);
    machine.text(Instant::default(), &start, out);
    machine.command(Instant::default(), StreamCommand::Accept, out);
    machine.text(Instant::default(), &frame(0), out);
    assert_eq!(out.len(), 4, "started, first frame logged, heard, mark: {out:?}");
    out.clear();
    machine
}

#[test]
fn the_counter_counts() {
    let info = measure(|| drop(std::hint::black_box(String::from("שלום"))));
    assert_eq!(info.count_total, 1);
}

#[test]
fn reading_a_frame_allocates_nothing() {
    let frames = frames();
    let info = measure(|| {
        for (_, text) in &frames {
            assert!(matches!(wire::parse(text), Ok(wire::Message::Media { chunk: Some(_), .. })));
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_minute_of_frames_allocates_nothing() {
    for end_silence in [None, Some(Duration::from_secs(3_600))] {
        let (frames, mut out) = (frames(), Vec::new());
        let mut machine = live(settings(end_silence), &mut out);
        let info = measure(|| {
            for (now, text) in &frames {
                machine.text(*now, text, &mut out);
                machine.handle_timeout(*now, &mut out);
            }
        });
        assert_eq!((info.count_total, out.as_slice()), (0, &[][..]), "{end_silence:?}");
        machine.command(Instant::from_millis(FRAMES * FRAME_TIME), StreamCommand::Challenge, &mut out);
        assert_eq!(out, [StreamOutput::Report(StreamReport::Challenged { fresh: true })], "the frames were heard");
    }
}

#[test]
fn a_minute_of_quiet_frames_allocates_nothing_while_they_are_listened_to() {
    let mut out = Vec::new();
    let settings = StreamSettings { listen: true, ..settings(Some(Duration::from_secs(3_600))) };
    let mut machine = live(settings, &mut out);
    let at = |number| Instant::from_millis(number * FRAME_TIME);
    let frames: Vec<_> = (1..=FRAMES).map(|number| (at(number), message(number, false))).collect();
    let info = measure(|| {
        for (now, text) in &frames {
            machine.text(*now, text, &mut out);
            machine.handle_timeout(*now, &mut out);
        }
    });
    assert_eq!((info.count_total, out.as_slice()), (0, &[][..]));
}

#[test]
fn a_minute_of_frames_touches_the_timer_about_once_per_media_timeout() {
    let mut out = Vec::new();
    let mut machine = live(settings(Some(Duration::from_secs(20))), &mut out);
    let (mut alarm, mut armed, mut touches, mut wakes) = (Alarm::default(), None::<Instant>, 0, 0);
    for (now, text) in &frames() {
        machine.text(*now, text, &mut out);
        if armed.is_some_and(|at| at <= *now) {
            armed = None;
            wakes += 1;
            alarm.fired();
            machine.handle_timeout(*now, &mut out);
        }
        if let Some(at) = alarm.rearm(machine.next_timeout()) {
            armed = Some(at);
            touches += 1;
        }
    }
    assert!((10..=14).contains(&touches), "{touches} touches");
    assert!(wakes <= touches, "{wakes} wakes");
    let silent = |output: &StreamOutput| matches!(output, StreamOutput::Report(StreamReport::CallerSilent(_)));
    assert!(out.len() == 2 && out.iter().all(silent), "{out:?}");
}

#[test]
fn listening_allocates_nothing_while_it_is_quiet() {
    let (mut listener, mut spoken) = (Listener::new(), Vec::new());
    // A line noise of a few steps around zero.
    let frames: Vec<[u8; 160]> = (0..FRAMES)
        .map(|number| std::array::from_fn(|sample| 0xf8 | ((sample as u64 * 7 + number) % 8) as u8))
        .collect();
    listener.hear(&frames[0], Duration::ZERO, &mut spoken);
    let info = measure(|| {
        for (frame, number) in frames.iter().zip(0..) {
            assert!(!listener.hear(frame, Duration::from_millis(number * FRAME_TIME), &mut spoken));
        }
    });
    assert_eq!((info.count_total, spoken.len()), (0, 0));
}

#[test]
fn listening_to_speech_allocates_one_step_a_second() {
    // Three seconds without a pause in which the detector would rest.
    let speech = speech::sample().slice(17_000..41_000);
    let (mut listener, mut spoken, mut speaks) = (Listener::new(), Vec::new(), 0);
    let seconds: Vec<u64> = speech
        .repeat(4)
        .chunks(8_000)
        .map(|second| {
            let hear = |frame: &[u8]| listener.hear(frame, Duration::ZERO, &mut spoken);
            measure(|| speaks += second.chunks(160).map(hear).filter(|speaks| *speaks).count()).count_total
        })
        .collect();
    assert!(speaks > 500 && spoken.is_empty(), "{speaks} frames of speech, {} utterances", spoken.len());
    // The first one wakes the detector.
    assert!(seconds[0] <= 3 && seconds[1..].iter().all(|count| *count <= 1), "{seconds:?}");
}
