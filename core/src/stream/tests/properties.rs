//! What holds for every sequence of inputs.

use super::*;
use crate::time::Alarm;
use crate::wire::Outbound;
use proptest::prelude::*;

/// The most one input causes: the first frame's line, report and mark, or the end's report and lines.
const OUTPUTS_PER_INPUT: usize = 3;

#[derive(Clone, Debug)]
enum Input {
    Text(String),
    Binary,
    Command(StreamCommand),
    Timeout,
    Ended(Ended),
}

fn give(machine: &mut MediaStream, now: u64, input: &Input, out: &mut Vec<StreamOutput>) {
    let now = Instant::from_millis(now);
    match input {
        Input::Text(text) => machine.text(now, text, out),
        Input::Binary => machine.binary(now, out),
        Input::Command(command) => machine.command(now, *command, out),
        Input::Timeout => machine.handle_timeout(now, out),
        Input::Ended(how) => machine.ended(now, how, out),
    }
}

fn stream() -> impl Strategy<Value = StreamSid> {
    prop_oneof![9 => Just(sid()), 1 => Just(other_sid())]
}

fn text() -> impl Strategy<Value = String> {
    let payload = prop_oneof![Just("//8="), Just("AAA="), Just("שלום")];
    let garbage = prop_oneof!["\\PC{0,20}", r#"\{"event":"[a-z]{0,6}"(,"media":(null|7|\{\}))?\}?"#];
    prop_oneof![
        8 => (stream(), 0..20_u64, payload).prop_map(|(stream, chunk, payload)| media_text(stream, chunk, payload)),
        3 => (stream(), 0..6_u32).prop_map(|(stream, number)| mark_text(stream, &format!("callwarden-{number}"))),
        3 => stream().prop_map(start_text),
        1 => stream().prop_map(stop_text),
        1 => Just(r#"{"event":"start","start":{"streamSid":"MZ1"}}"#.to_owned()),
        1 => Just(r#"{"event":"connected"}"#.to_owned()),
        2 => garbage,
    ]
}

fn command() -> impl Strategy<Value = StreamCommand> {
    prop_oneof![
        12 => Just(StreamCommand::Accept),
        1 => Just(StreamCommand::Refuse),
        1 => Just(StreamCommand::Challenge),
        1 => Just(StreamCommand::Release),
        1 => Just(StreamCommand::Close),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let ended = prop_oneof![Just(Ended::Closed(None)), Just(Ended::Lost("reset".into()))];
    prop_oneof![
        24 => text().prop_map(Input::Text),
        1 => Just(Input::Binary),
        6 => command().prop_map(Input::Command),
        12 => Just(Input::Timeout),
        1 => ended.prop_map(Input::Ended),
    ]
}

/// When the next input comes.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So many milliseconds after the last one.
    After(u64),
    /// So many milliseconds before it: the clock went backwards.
    Before(u64),
    /// When the machine wants to be called, or so much earlier or later.
    Due(i64),
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        4 => (0..50_u64).prop_map(Moment::After),
        1 => (0..40_000_u64).prop_map(Moment::After),
        1 => (0..20_000_u64).prop_map(Moment::Before),
        3 => (-5..15_i64).prop_map(Moment::Due),
        3 => Just(Moment::Due(0)),
    ]
}

impl Moment {
    fn resolve(self, now: u64, machine: &MediaStream) -> u64 {
        match self {
            Self::After(millis) => now + millis,
            Self::Before(millis) => now.saturating_sub(millis),
            Self::Due(off) => next(machine).unwrap_or(now).saturating_add_signed(off),
        }
    }
}

fn all_settings() -> impl Strategy<Value = StreamSettings> {
    (
        prop::sample::select(vec![100_u64, 4_000, 6_000, 60_000]),
        prop::option::of(Just(Duration::from_secs(4))),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(timeout, end_silence, listen, trace_frames)| StreamSettings {
            media_timeout: Duration::from_millis(timeout),
            end_silence,
            listen,
            trace_frames,
        })
}

/// A start that is accepted, in front of most scripts: without one little happens.
fn script<M: core::fmt::Debug>(
    moment: impl Strategy<Value = M>,
    zero: fn() -> M,
) -> impl Strategy<Value = Vec<(M, Input)>> {
    let steps = prop::collection::vec((moment, input()), 1..60);
    (prop::bool::weighted(0.8), steps).prop_map(move |(accepted, steps)| {
        let begin = accepted.then(|| [Input::Text(start_text(sid())), Input::Command(StreamCommand::Accept)]);
        begin.into_iter().flatten().map(|input| (zero(), input)).chain(steps).collect()
    })
}

/// What a stream said so far, checked word by word.
#[derive(Debug, Default)]
struct Conversation {
    stream: Option<StreamSid>,
    accepted: bool,
    marks: u32,
    spoken: u32,
    stopped: bool,
    closed: bool,
    ended: bool,
}

impl Conversation {
    fn told(&mut self, input: &Input) {
        if matches!(input, Input::Command(StreamCommand::Accept)) {
            self.accepted |= self.stream.is_some();
        }
    }

    fn check(&mut self, output: &StreamOutput) -> Result<(), TestCaseError> {
        let log_of_end =
            matches!(output, StreamOutput::Log(line) if matches!(line.event, Event::WsStop | Event::WsHandlerError));
        prop_assert!(!self.ended || log_of_end, "after the end");
        match output {
            StreamOutput::Report(StreamReport::Ended { .. }) => self.ended = true,
            StreamOutput::Log(_) => prop_assert!(!self.closed || self.ended, "a line while closing"),
            StreamOutput::Report(_) | StreamOutput::Send(_) | StreamOutput::Close(_) => {
                prop_assert!(!self.closed, "something while closing");
            }
        }
        match output {
            StreamOutput::Report(StreamReport::Started(start)) => {
                prop_assert!(self.stream.is_none(), "a second start");
                self.stream = Some(start.stream);
            }
            StreamOutput::Report(StreamReport::Stopped(_)) => {
                prop_assert!(!self.stopped && self.stream.is_some(), "a second stop");
                self.stopped = true;
            }
            StreamOutput::Report(StreamReport::Spoken { sequence, utterance }) => {
                prop_assert!(self.accepted && !self.stopped, "speech of a stream that is not live");
                self.spoken += 1;
                prop_assert_eq!(*sequence, self.spoken);
                prop_assert!(utterance.from < utterance.to && !utterance.audio.is_empty());
            }
            StreamOutput::Report(
                StreamReport::Heard(_) | StreamReport::Trouble(..) | StreamReport::CallerSilent(_),
            ) => {
                prop_assert!(self.accepted && !self.stopped, "a report of a stream that is not live");
            }
            StreamOutput::Send(text) => {
                prop_assert!(self.accepted && !self.stopped, "S2");
                self.marks += 1;
                let mark = self.stream.map(|stream| Outbound::Mark { stream, number: self.marks }.to_text());
                prop_assert_eq!(Some(text), mark.as_ref(), "S3");
            }
            StreamOutput::Close(_) => self.closed = true,
            StreamOutput::Report(StreamReport::Challenged { .. } | StreamReport::Ended { .. })
            | StreamOutput::Log(_) => {}
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_arrives_a_stream_keeps_its_rules(
        settings in all_settings(),
        script in script(moment(), || Moment::After(0)),
    ) {
        let mut machine = MediaStream::new(Instant::from_millis(0), "c1", settings);
        let (mut conversation, mut now, mut latest, mut out) = (Conversation::default(), 0, 0, Vec::new());
        for (moment, input) in &script {
            now = moment.resolve(now, &machine);
            latest = latest.max(now);
            conversation.told(input);
            give(&mut machine, now, input, &mut out);
            prop_assert!(out.len() <= OUTPUTS_PER_INPUT, "{out:?}");
            for output in out.drain(..) {
                conversation.check(&output)?;
            }
            if matches!(input, Input::Timeout) {
                prop_assert!(machine.next_timeout().is_none_or(|next| next > Instant::from_millis(latest)), "I3");
            }
            prop_assert!(!(conversation.closed || conversation.ended) || machine.next_timeout().is_none(), "rests");
        }
    }

    #[test]
    fn time_that_goes_backwards_stands_still(
        settings in all_settings(),
        script in script(moment(), || Moment::After(0)),
    ) {
        let [mut raw, mut clamped] = [0; 2].map(|_| MediaStream::new(Instant::from_millis(0), "c1", settings));
        let (mut now, mut latest) = (0, 0);
        for (moment, input) in &script {
            now = moment.resolve(now, &raw);
            latest = latest.max(now);
            let (mut said, mut expected) = (Vec::new(), Vec::new());
            give(&mut raw, now, input, &mut said);
            give(&mut clamped, latest, input, &mut expected);
            prop_assert_eq!(said, expected, "I4");
            prop_assert_eq!(raw.next_timeout(), clamped.next_timeout(), "I4");
        }
    }

    #[test]
    fn every_driver_hears_the_same_at_the_same_time(
        settings in all_settings(),
        script in script(prop_oneof![4 => 1..50_u64, 1 => 1..9_000_u64], || 1),
    ) {
        let exact = transcript(settings, &script, exact);
        prop_assert_eq!(&transcript(settings, &script, eager), &exact, "I8");
        prop_assert_eq!(&transcript(settings, &script, lazy), &exact, "I8");
    }
}

/// A runtime's one timer, in milliseconds.
#[derive(Default)]
struct Timer {
    alarm: Alarm,
    armed: Option<u64>,
}

/// Looks after a stream's deadlines from the first moment to the second.
type Driver = fn(&mut MediaStream, &mut Timer, u64, u64) -> Vec<(u64, StreamOutput)>;

/// Calls the machine when it asks to be.
fn exact(machine: &mut MediaStream, _: &mut Timer, from: u64, to: u64) -> Vec<(u64, StreamOutput)> {
    let mut said = Vec::new();
    while let Some(due) = next(machine).filter(|due| *due <= to) {
        said.extend(wake(machine, due.max(from)));
    }
    said
}

/// Calls the machine twice each millisecond.
fn eager(machine: &mut MediaStream, _: &mut Timer, from: u64, to: u64) -> Vec<(u64, StreamOutput)> {
    (from..=to).flat_map(|now| [now, now]).flat_map(|now| wake(machine, now)).collect()
}

/// Lets a timer that is set fire, even when the deadline has moved away since.
fn lazy(machine: &mut MediaStream, timer: &mut Timer, from: u64, to: u64) -> Vec<(u64, StreamOutput)> {
    let mut said = Vec::new();
    loop {
        if let Some(at) = timer.alarm.rearm(machine.next_timeout()) {
            timer.armed = Some(at.as_micros() / 1_000);
        }
        let Some(at) = timer.armed.take_if(|at| *at <= to) else { return said };
        timer.alarm.fired();
        said.extend(wake(machine, at.max(from)));
    }
}

fn next(machine: &MediaStream) -> Option<u64> {
    machine.next_timeout().map(|due| due.as_micros() / 1_000)
}

fn wake(machine: &mut MediaStream, now: u64) -> Vec<(u64, StreamOutput)> {
    let mut out = Vec::new();
    give(machine, now, &Input::Timeout, &mut out);
    assert!(next(machine).is_none_or(|next| next > now), "I3: {out:?}");
    out.into_iter().map(|output| (now, output)).collect()
}

/// What a script causes under a driver, and a minute of nothing after it.
fn transcript(settings: StreamSettings, script: &[(u64, Input)], driver: Driver) -> Vec<(u64, StreamOutput)> {
    let mut machine = MediaStream::new(Instant::from_millis(0), "c1", settings);
    let (mut timer, mut now, mut said) = (Timer::default(), 0, Vec::new());
    for (pause, input) in script.iter().chain([&(60_000, Input::Binary)]) {
        said.extend(driver(&mut machine, &mut timer, now, now + pause - 1));
        now += pause;
        let mut out = Vec::new();
        give(&mut machine, now, input, &mut out);
        said.extend(out.into_iter().map(|output| (now, output)));
    }
    said
}
