//! W2 and W3 said again, as dumbly as can be: at every tick the whole history is read anew, nothing is remembered.

use super::*;
use proptest::prelude::*;

/// Milliseconds between two looks of the model, and the grain of all its times.
const TICK: u64 = 10;
const LAST_LOOK: u64 = limits::LAST_LOOK.as_millis() as u64;
const ECHO_TIME: u64 = limits::ECHO_TIME.as_millis() as u64;
const QUIET_TIME: u64 = limits::QUIET_TIME.as_millis() as u64;
const END: u64 = 100_000;

/// What arrived on a stream that was accepted at 0 ms.
#[derive(Debug, Default)]
struct Arrivals {
    frames: Vec<u64>,
    /// When, and the number of which mark.
    echoes: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Heard,
    Mark(u32),
    Mute,
    Stalled,
    Quiet,
}

/// All that a stream must say, and when.
fn expected(timeout: u64, arrivals: &Arrivals) -> Vec<(u64, Said)> {
    let mut said = Vec::new();
    for now in (0..=END).step_by(TICK as usize) {
        if arrivals.frames.contains(&now) {
            let first = arrivals.frames.iter().all(|frame| *frame >= now);
            if first || in_trouble(&said) {
                said.push((now, Said::Heard));
            }
            if first {
                said.push((now, Said::Mark(1)));
            }
        }
        let news = if in_trouble(&said) { None } else { due(now, timeout, arrivals, &said) };
        said.extend(news.map(|news| (now, news)));
    }
    said
}

fn in_trouble(said: &[(u64, Said)]) -> bool {
    let news = said.iter().rev().find(|(_, said)| !matches!(said, Said::Mark(_)));
    matches!(news, Some((_, Said::Mute | Said::Stalled | Said::Quiet)))
}

fn due(now: u64, timeout: u64, arrivals: &Arrivals, said: &[(u64, Said)]) -> Option<Said> {
    let passed = |deadline: u64| now >= deadline + LAST_LOOK;
    let Some(last) = arrivals.frames.iter().copied().filter(|frame| *frame <= now).max() else {
        return passed(timeout).then_some(Said::Mute);
    };
    if passed(last + timeout.max(QUIET_TIME)) {
        return Some(Said::Quiet);
    }
    let marks: Vec<_> = said.iter().filter_map(|(at, said)| mark_of(*said).map(|number| (*at, number))).collect();
    let (newest_at, newest) = *marks.last()?;
    let next = Said::Mark(newest + 1);
    if newest_at <= last {
        return passed(last + timeout).then_some(next);
    }
    let echo_of = |number: u32| {
        let sent = marks.iter().find(|(_, mark)| *mark == number).map(|(at, _)| *at);
        arrivals.echoes.iter().find(|(at, mark)| *mark == number && sent.is_some_and(|sent| *at > sent && *at <= now))
    };
    let echoed_before = marks.iter().any(|(_, mark)| echo_of(*mark).is_some_and(|(at, _)| *at <= newest_at));
    match echo_of(newest) {
        _ if !echoed_before => passed(newest_at + timeout).then_some(next),
        // A timeout shorter than the wait for an echo is over when the echo comes.
        Some((echoed, _)) => passed((newest_at + timeout).max(*echoed)).then_some(next),
        None => passed(newest_at + ECHO_TIME).then_some(Said::Stalled),
    }
}

fn mark_of(said: Said) -> Option<u32> {
    match said {
        Said::Mark(number) => Some(number),
        Said::Heard | Said::Mute | Said::Stalled | Said::Quiet => None,
    }
}

/// Runs a stream that gets these frames, and of its marks these echoes: the nth after so many milliseconds, if any.
fn run(timeout: u64, frames: &[u64], delays: &[Option<u64>], strays: &[(u64, u32)]) -> (Vec<(u64, Said)>, Arrivals) {
    let mut run = Run::live(StreamSettings { media_timeout: Duration::from_millis(timeout), ..settings() });
    let mut arrivals = Arrivals { frames: frames.to_vec(), echoes: strays.to_vec() };
    let (mut said, mut read) = (Vec::new(), 0);
    for now in (0..=END).step_by(TICK as usize) {
        if frames.contains(&now) {
            run.frame(now);
        }
        for (_, number) in arrivals.echoes.iter().filter(|(at, _)| *at == now) {
            run.echo(now, *number);
        }
        run.until(now);
        for (at, output) in &run.seen[read..] {
            let news = match word(output).as_str() {
                "heard" => Said::Heard,
                "mute" => Said::Mute,
                "stalled" => Said::Stalled,
                "quiet" => Said::Quiet,
                "WS_FRAME" => continue,
                mark => Said::Mark(mark.strip_prefix("mark ").and_then(|number| number.parse().ok()).expect(mark)),
            };
            said.push((*at, news));
            if let Some(number) = mark_of(news)
                && let Some(Some(delay)) = delays.get(number as usize - 1)
            {
                arrivals.echoes.push((at + delay, number));
            }
        }
        read = run.seen.len();
    }
    arrivals.echoes.sort_unstable();
    (said, arrivals)
}

fn ticks(range: core::ops::Range<u64>) -> impl Strategy<Value = u64> {
    (range.start / TICK..range.end / TICK).prop_map(|ticks| ticks * TICK)
}

/// Bursts of frames with pauses between them that are short, near a deadline, or long.
fn frame_times() -> impl Strategy<Value = Vec<u64>> {
    let pause = prop_oneof![ticks(20..4_000), ticks(5_900..8_200), ticks(4_000..40_000)];
    prop::collection::vec((pause, 1..6_u64), 0..8).prop_map(|bursts| {
        let mut now = 0;
        let mut frames = Vec::new();
        for (pause, count) in bursts {
            now += pause;
            frames.extend((0..count).map(|frame| now + frame * 20));
            now += count * 20;
        }
        frames
    })
}

fn delay() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 4 => ticks(10..2_000).prop_map(Some), 1 => ticks(1_900..2_100).prop_map(Some), 1 => ticks(2_000..15_000).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_watch_says_what_the_whole_history_says(
        timeout in prop::sample::select(vec![500_u64, 1_500, 2_500, 6_000, 10_000, 40_000]),
        frames in frame_times(),
        delays in prop::collection::vec(delay(), 0..12),
        strays in prop::collection::vec((ticks(10..END), 0..6_u32), 0..4),
    ) {
        let (said, arrivals) = run(timeout, &frames, &delays, &strays);
        prop_assert_eq!(said, expected(timeout, &arrivals), "{:?}", arrivals);
    }
}
