//! W12: the caller says nothing.

use super::*;

/// Two full-scale samples; what [`Run::frame`] sends is silence.
const LOUD: &str = "AAA=";

fn listening() -> StreamSettings {
    StreamSettings { end_silence: Some(Duration::from_secs(20)), ..settings() }
}

impl Run {
    /// So many loud frames, 20 ms apart, the first at `from`.
    fn loud_frames(&mut self, from: u64, number: u32) {
        for at in (from..).step_by(20).take(number as usize) {
            self.chunk += 1;
            self.text(at, &media_text(sid(), self.chunk, LOUD));
        }
    }
}

#[test]
fn a_caller_who_says_nothing_is_reported_once_in_every_end_silence() {
    let mut run = Run::heard(listening());
    run.frames(0, 60_000);
    assert_eq!(run.news(), ["20010 silent", "40020 silent"]);
}

#[test]
fn silence_is_measured_from_the_first_frame() {
    let mut run = Run::live(listening());
    run.frames(4_000, 24_020);
    assert_eq!(run.news(), ["4020 WS_FRAME", "4020 heard", "4020 mark 1"]);
    run.frames(24_020, 60_000);
    assert_eq!(run.news(), ["24030 silent", "44040 silent"]);
}

#[test]
fn speech_starts_the_measure_anew() {
    let mut run = Run::heard(listening());
    run.frames(0, 15_000);
    run.loud_frames(15_020, limits::SPEECH_FRAMES_MIN);
    run.frames(15_100, 35_100);
    assert_eq!(run.news(), [""; 0]);
    run.frames(35_100, 60_000);
    assert_eq!(run.news(), ["35110 silent", "55120 silent"]);
}

#[test]
fn a_click_is_no_speech() {
    let mut run = Run::heard(listening());
    run.frames(0, 15_000);
    run.loud_frames(15_020, limits::SPEECH_FRAMES_MIN - 1);
    run.frames(15_080, 60_000);
    assert_eq!(run.news(), ["20010 silent", "40020 silent"]);
}

#[test]
fn frames_that_come_late_are_not_heard_and_those_of_a_count_that_begins_anew_are() {
    for (behind, silent) in [(limits::FRAMES_LATE_MAX - 1, 20_010), (limits::FRAMES_LATE_MAX, 30_110)] {
        let mut run = Run::heard(listening());
        run.chunk = 1_000;
        run.frames(0, 10_000);
        run.chunk -= behind + 1;
        run.loud_frames(10_020, limits::SPEECH_FRAMES_MIN);
        run.frames(10_100, 35_000);
        assert_eq!(run.news(), [format!("{silent} silent")], "{behind} frames behind");
    }
}

#[test]
fn a_caller_who_speaks_on_is_never_reported() {
    let mut run = Run::heard(listening());
    run.loud_frames(20, 3_000);
    assert_eq!(run.news(), [""; 0]);
}

#[test]
fn a_payload_that_is_no_base64_is_a_frame_without_speech() {
    let mut run = Run::heard(listening());
    for at in (20..=30_000).step_by(20) {
        run.text(at, &media_text(sid(), at / 20 + 1, "שלום"));
    }
    assert_eq!((run.news(), run.counts().frames), (vec!["20010 silent".into()], 1_501));
}

#[test]
fn a_pause_that_the_frame_watch_asks_about_starts_the_measure_anew() {
    let mut run = Run::heard(listening());
    run.frames(0, 17_000);
    run.until(40_000);
    assert_eq!(run.news(), ["23010 mark 2", "29020 mark 3", "35030 mark 4"]);
    run.frames(40_000, 60_020);
    assert_eq!(run.news(), [""; 0]);
    run.frames(60_020, 61_000);
    assert_eq!(run.news(), ["60030 silent"]);
}

#[test]
fn nobody_is_said_goodbye_to_in_a_pause_between_frames() {
    let mut run = Run::heard(listening());
    run.frames(0, 17_000);
    run.until(22_000);
    assert_eq!(run.news(), [""; 0]);
    run.frames(22_000, 23_020);
    assert_eq!(run.news(), [""; 0], "the caller has a second to be heard");
    run.frames(23_020, 30_000);
    assert_eq!(run.news(), ["23030 silent"]);
}

#[test]
fn a_stall_in_mid_word_is_no_silence_however_short_end_silence_is() {
    let second = Duration::from_secs(1);
    let mut run = Run::heard(StreamSettings { media_timeout: second, end_silence: Some(second), ..settings() });
    run.loud_frames(20, 50);
    run.echo(1_005, 1);
    run.until(5_000);
    assert_eq!(run.news(), ["2010 mark 2", "4020 stalled"]);
}

#[test]
fn a_caller_heard_right_after_a_pause_goes_on() {
    let mut run = Run::heard(listening());
    run.frames(0, 17_000);
    run.until(22_000);
    run.loud_frames(22_000, limits::SPEECH_FRAMES_MIN);
    run.frames(22_100, 42_060);
    assert_eq!(run.news(), [""; 0]);
}

#[test]
fn a_silent_caller_whose_frames_come_seconds_apart_is_reported_too() {
    let mut run = Run::heard(listening());
    for at in (3_000..=60_000).step_by(3_000) {
        run.frame(at);
    }
    assert_eq!(run.news(), ["22010 silent", "42020 silent"]);
}

#[test]
fn nobody_listens_when_end_silence_is_off() {
    let mut run = Run::heard(settings());
    run.frames(0, 120_000);
    assert_eq!(run.news(), [""; 0]);
}

#[test]
fn a_stream_that_is_no_longer_live_is_not_listened_to() {
    let mut run = Run::heard(listening());
    run.frames(0, 19_000);
    run.text(19_001, &stop_text(sid()));
    run.until(60_000);
    assert_eq!(run.news(), ["19001 stopped", "24011 close 1000"]);
}

#[test]
fn silent_frames_do_not_put_off_the_last_look() {
    let mut run = Run::heard(listening());
    run.frames(0, 19_980);
    for at in 20_000..20_020 {
        run.frame(at);
    }
    assert_eq!(run.news(), ["20010 silent"]);
}

#[test]
fn two_deadlines_of_one_instant_are_looked_at_one_after_the_other() {
    let mut run = Run::heard(StreamSettings { end_silence: Some(Duration::from_secs(6)), ..settings() });
    run.until(6_010);
    assert_eq!(run.news(), ["6010 mark 2"]);
    assert_eq!(run.machine.next_timeout(), Some(Instant::from_millis(6_020)));
}
