//! The one generator of scripts: from bytes, which may come from a seeded generator of numbers, from proptest or from a
//! fuzzer. Any bytes give a script that is valid and ends; bytes that are missing count as zeros, which stand for what
//! is ordinary. Each decision takes bytes of its own, so a change of one byte changes one thing.

use crate::script::{
    AfterFailure, Call, Database, Google, HangUp, Happening, Hostile, OpenAi, Recording, Rest, Script, Settings, Step,
    Stream,
};
use crate::world::{Hook, HookFault};

/// Bytes that give a script of the largest size.
pub const BYTES: usize = 1_024;
/// Calls of a script.
const CALLS_MAX: u32 = 24;
/// Other things that happen in it.
const STEPS_MAX: u32 = 6;
/// Media messages of one stream, when nothing repeats them.
const FRAMES_MAX: u32 = 24;

/// Takes decisions out of bytes.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u32 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u32::from(*first)
    }

    fn word(&mut self) -> u32 {
        self.byte() << 8 | self.byte()
    }

    /// A number below `bound`, which is at most 256.
    fn below(&mut self, bound: u32) -> u32 {
        self.byte() % bound
    }

    /// Happens `times` in 256.
    fn rarely(&mut self, times: u32) -> bool {
        self.byte() > 255 - times
    }

    /// Up to so many milliseconds.
    fn time(&mut self, most: u32) -> u32 {
        let share = u64::from(self.word()) * u64::from(most) / u64::from(u16::MAX);
        u32::try_from(share).unwrap_or(most)
    }

    /// One of these; the first for a zero.
    fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.byte() as usize % N]
    }
}

/// The bytes of a seed: those of SplitMix64.
#[must_use]
pub fn bytes_of(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(BYTES);
    while bytes.len() < BYTES {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}

/// The script of a seed.
#[must_use]
pub fn script_of(seed: u64) -> Script {
    script(&bytes_of(seed))
}

/// The script that these bytes stand for.
#[must_use]
pub fn script(bytes: &[u8]) -> Script {
    let mut source = Source(bytes);
    let source = &mut source;
    let calls = 1 + source.below(CALLS_MAX);
    let steps = source.below(STEPS_MAX + 1);
    let seed = u64::from(source.word());
    let nodes = source.one_of([1, 1, 1, 2, 3]);
    let nuisance = source.rarely(4);
    let to_the_last = source.rarely(2);
    let settings = settings(source);
    let span = source.one_of([20_000, 5_000, 60_000]);
    let mut script = Script { seed, nodes, nuisance, to_the_last, settings, ..Script::default() };
    script.steps = (0..steps).map(|_| step(source, span + 30_000)).collect();
    script.calls = (0..calls).map(|_| call(source, &script.settings, span)).collect();
    if script.settings.voice {
        // What one process has rendered another may not have: see the operators' page.
        script.nodes = 1;
        script.steps.iter_mut().for_each(|step| step.what = of_google(&step.what));
    }
    if script.nuisance {
        // Each event wakes everything: a few calls show as much as many.
        script.calls.truncate(3);
    }
    if script.settings.transcription {
        // So does speech, which is listened to by a neural network.
        script.calls.truncate(3);
        for call in &mut script.calls {
            call.speaks = call.speaks.min(4_000);
        }
    }
    script
}

fn settings(source: &mut Source<'_>) -> Settings {
    let settings = Settings {
        streaming: !source.rarely(8),
        start_timeout: source.one_of([8_000, 8_000, 4_000, 12_000]),
        media_timeout: source.one_of([6_000, 6_000, 3_000, 9_000]),
        end_silence: source.one_of([20_000, 8_000, 5_000, 0]),
        drain: source.one_of([30_000, 10_000, 0]),
        transcription: source.rarely(4),
        greeting: source.one_of([0, 0, 2, 5, 13]),
        greeting_is_a_file: false,
        voice: false,
    };
    let sound = source.byte();
    Settings { greeting_is_a_file: sound > 127, voice: (112..128).contains(&sound), ..settings }
}

/// Where Google speaks, it fails in the place of the transcription service.
fn of_google(what: &Happening) -> Happening {
    let Happening::OpenAi(fault, time) = what else { return what.clone() };
    let google = match fault {
        OpenAi::Down => Google::Away,
        OpenAi::Stumbles => Google::NoSpeech(503),
        OpenAi::Busy => Google::Silent,
        OpenAi::WrongKey => Google::NoToken(400),
        OpenAi::Wordless => Google::Garbage,
        OpenAi::Cut => Google::NoSpeech(401),
    };
    Happening::Google(google, *time)
}

fn stream(source: &mut Source<'_>) -> Stream {
    let resume = |source: &mut Source<'_>| source.rarely(128).then(|| source.time(9_000));
    match source.below(20) {
        12 => Stream::NeverStarts,
        13 => Stream::HandshakeFails(source.one_of([502, 404, 301])),
        14 => Stream::ConnectsButNoStart,
        15 => Stream::Mute(resume(source)),
        16 => Stream::StallAfter(source.time(6_000), resume(source)),
        17 => Stream::QuietAfter(source.time(6_000), resume(source)),
        18 => Stream::DropAfter(source.time(6_000)),
        19 => Stream::StopAfter(source.time(6_000)),
        _ => Stream::Works,
    }
}

fn call(source: &mut Source<'_>, settings: &Settings, span: u32) -> Call {
    let speaks = source.time(20_000);
    let hangs_up = match source.below(12) {
        6 => HangUp::Ringing(source.time(80)),
        7 | 8 => HangUp::Answered(source.time(40_000)),
        9 | 10 => HangUp::Streaming(source.time(20_000)),
        // A caller whom nothing dismisses hangs up, recorded or not.
        _ if settings.end_silence == 0 => HangUp::Answered(10_000 + source.time(20_000)),
        11 => HangUp::Recording(source.time(8_000)),
        _ => HangUp::Never,
    };
    let streams = if source.rarely(150) { (0..=source.below(3)).map(|_| stream(source)).collect() } else { Vec::new() };
    let silence = if settings.end_silence == 0 { 20_000 } else { settings.end_silence };
    let listened = match hangs_up {
        HangUp::Answered(after) | HangUp::Streaming(after) => after.min(speaks + silence),
        HangUp::Never | HangUp::Ringing(_) | HangUp::Recording(_) => speaks + silence,
    };
    let every = |source: &mut Source<'_>| source.rarely(24).then(|| 2 + source.below(6));
    Call {
        at: source.time(span),
        speaks,
        message: source.time(6_000),
        hangs_up,
        streams,
        after_failure: source.one_of([AfterFailure::Action, AfterFailure::NextVerb, AfterFailure::Nothing]),
        failure_notice: 50 + source.time(400),
        connect_delay: 10 + source.time(300),
        start_delay: if source.rarely(16) { source.time(3_000) } else { 0 },
        frame_interval: if settings.transcription { 20 } else { (listened / FRAMES_MAX).clamp(100, 1_000) },
        duplicate_every: every(source),
        garbage_every: every(source),
        recording_hears: !source.rarely(16),
        recording: match source.below(16) {
            14 => Recording::Absent,
            15 => Recording::Unreported,
            _ => Recording::Kept,
        },
        recording_delay: source.time(3_000),
        stop_on_update: !source.rarely(64),
        forgotten_when_over: source.rarely(64),
        action_after_hang_up: !source.rarely(64),
    }
}

fn rest(source: &mut Source<'_>) -> Rest {
    match source.below(12) {
        1 => Rest::NotSent,
        2 => Rest::Refused(401, 20_003),
        3 => Rest::Refused(403, 20_003),
        4 => Rest::Refused(404, 20_404),
        5 => Rest::Refused(400, 21_220),
        6 => Rest::Refused(429, 20_429),
        7 => Rest::Refused(503, 20_503),
        8 => Rest::AnswerLost,
        9 => Rest::Lost,
        10 | 11 => Rest::Slow(source.time(3_500)),
        _ => Rest::Works,
    }
}

fn hook_fault(source: &mut Source<'_>) -> HookFault {
    match source.below(6) {
        1 => HookFault::Lost,
        2 => HookFault::Late(source.time(3_000)),
        3 => HookFault::Unanswered,
        4 => HookFault::Twice(source.time(9_000)),
        _ => HookFault::Twice(source.time(1_000)),
    }
}

fn some<T>(source: &mut Source<'_>, most: u32, make: impl Fn(&mut Source<'_>) -> T) -> Vec<T> {
    (0..=source.below(most)).map(|_| make(source)).collect()
}

fn step(source: &mut Source<'_>, span: u32) -> Step {
    let at = source.time(span);
    let node = |source: &mut Source<'_>| u8::try_from(source.below(3)).unwrap_or_default();
    let call = |source: &mut Source<'_>| u8::try_from(source.below(CALLS_MAX)).unwrap_or_default();
    let what = match source.below(24) {
        0..=2 => Happening::Hooks(source.one_of(Hook::ALL), some(source, 6, hook_fault)),
        3..=5 => Happening::Rest(some(source, 6, rest)),
        6 | 7 => Happening::RestOutage(rest(source), source.time(40_000)),
        8..=10 => {
            let fault = match source.below(5) {
                0 => Database::Refuses,
                1 => Database::Hangs,
                2 => Database::LosesAnswers,
                3 => Database::Conflicts,
                _ => Database::Slow(source.time(2_000)),
            };
            Happening::Database(fault, source.time(30_000))
        }
        11 => Happening::Clock(node(source), source.one_of([5_000, -5_000, 60_000, -60_000, 3_600_000])),
        12 | 13 => Happening::Kill { node: node(source), down: source.time(5_000), moved: source.rarely(64) },
        14 => Happening::Drain(node(source)),
        15 => Happening::Disk(node(source), source.time(20_000)),
        16 => Happening::Freeze(call(source), source.time(8_000)),
        17 => Happening::Break(call(source)),
        18 => Happening::Unread(call(source)),
        19 => Happening::HangUp(call(source)),
        20 => {
            let faults =
                [OpenAi::Down, OpenAi::Stumbles, OpenAi::Busy, OpenAi::Wordless, OpenAi::Cut, OpenAi::WrongKey];
            Happening::OpenAi(source.one_of(faults), source.time(60_000))
        }
        _ => {
            let deeds = [
                Hostile::Garbage,
                Hostile::ForgedToken,
                Hostile::TokenOfAnotherCall,
                Hostile::ReplayedToken,
                Hostile::SecondStart,
            ];
            let what = match source.below(7) {
                0 => Hostile::Unsigned(source.one_of(Hook::ALL)),
                1 => Hostile::WrongSignature(source.one_of(Hook::ALL)),
                _ => source.one_of(deeds),
            };
            Happening::Hostile(call(source), what)
        }
    };
    Step { at, what }
}
