//! W2, W3 and the last look.

use super::*;

/// A live stream that had a frame at 0 ms and echoed its first mark at once.
fn echoing() -> Run {
    let mut run = Run::heard(settings());
    run.echo(0, 1);
    run
}

#[test]
fn a_start_without_a_frame_is_mute() {
    let mut run = Run::live(settings());
    run.until(6_009);
    assert_eq!(run.news(), [""; 0]);
    run.until(60_000);
    assert_eq!(run.news(), ["6010 mute"]);
}

#[test]
fn muteness_is_measured_from_start_and_not_from_its_acceptance() {
    let mut run = Run::presented(settings());
    run.command(5_000, StreamCommand::Accept);
    run.until(60_000);
    assert_eq!(run.news(), ["6010 mute"]);
}

#[test]
fn a_first_frame_in_the_last_look_prevents_mute() {
    let mut run = Run::live(settings());
    run.until(6_000);
    run.frame(6_009);
    run.until(12_000);
    assert_eq!(run.news(), ["6009 WS_FRAME", "6009 heard", "6009 mark 1"]);
}

#[test]
fn a_runtime_that_wakes_late_still_gets_its_last_look() {
    let mut run = Run::live(settings());
    let mut out = Vec::new();
    // The process slept; frames of the last two seconds wait in the socket.
    run.machine.handle_timeout(Instant::from_millis(8_000), &mut out);
    assert_eq!(run.machine.next_timeout(), Some(Instant::from_millis(8_010)));
    run.machine.text(Instant::from_millis(8_001), &media_text(sid(), 1, "//8="), &mut out);
    let words: Vec<_> = out.iter().map(word).collect();
    assert_eq!(words, ["WS_FRAME", "heard", "mark 1"]);
}

#[test]
fn a_runtime_that_wakes_after_several_deadlines_is_never_called_back_at_once() {
    let mut run = Run::heard(settings());
    let mut out = Vec::new();
    for (now, next, expected) in [(40_000, Some(40_010), vec![]), (40_010, Some(40_020), vec!["mark 2"])] {
        run.machine.handle_timeout(Instant::from_millis(now), &mut out);
        assert_eq!(run.machine.next_timeout(), next.map(Instant::from_millis));
        assert_eq!(out.drain(..).map(|output| word(&output)).collect::<Vec<_>>(), expected);
    }
    run.until(60_000);
    assert_eq!(run.news(), ["40020 quiet"]);
}

#[test]
fn a_frame_after_muteness_is_heard() {
    let mut run = Run::live(settings());
    run.until(7_000);
    run.frame(7_000);
    run.frame(7_020);
    assert_eq!(run.news(), ["6010 mute", "7000 WS_FRAME", "7000 heard", "7000 mark 1"]);
}

#[test]
fn frames_that_flow_are_neither_asked_nor_reported() {
    let mut run = Run::heard(settings());
    run.frames(0, 60_000);
    assert_eq!((run.news(), run.counts().frames), (vec![], 3_001));
    assert_eq!(run.counts().heard_until, Duration::from_secs(60));
}

#[test]
fn frames_that_came_before_the_acceptance_are_heard_with_it() {
    let mut run = Run::presented(settings());
    run.frame(100);
    run.frame(120);
    run.command(200, StreamCommand::Accept);
    assert_eq!(run.news(), ["100 WS_FRAME", "200 heard", "200 mark 1"]);
    run.until(6_130);
    assert_eq!(run.news(), ["6130 mark 2"]);
}

#[test]
fn a_stream_that_echoed_and_does_not_answer_has_stalled() {
    let mut run = echoing();
    run.until(6_009);
    assert_eq!(run.news(), [""; 0]);
    run.until(6_010);
    assert_eq!(run.news(), ["6010 mark 2"]);
    run.until(60_000);
    assert_eq!(run.news(), ["8020 stalled"]);
}

#[test]
fn an_echo_in_the_last_look_is_an_answer() {
    let mut run = echoing();
    run.until(8_010);
    run.echo(8_019, 2);
    run.until(12_019);
    assert_eq!(run.news(), ["6010 mark 2"]);
    run.until(12_020);
    assert_eq!(run.news(), ["12020 mark 3"]);
}

#[test]
fn a_stream_that_answers_is_asked_again_and_quiet_in_the_end() {
    let mut run = echoing();
    for (asked, number) in [(6_010, 2), (12_020, 3), (18_030, 4), (24_040, 5)] {
        run.until(asked);
        assert_eq!(run.news(), [format!("{asked} mark {number}")]);
        run.echo(asked + 50, number);
    }
    run.until(90_000);
    assert_eq!(run.news(), ["30010 quiet"]);
}

#[test]
fn a_stream_that_never_echoed_is_asked_and_quiet_in_the_end() {
    let mut run = Run::heard(settings());
    run.until(90_000);
    assert_eq!(run.news(), ["6010 mark 2", "12020 mark 3", "18030 mark 4", "24040 mark 5", "30010 quiet"]);
}

#[test]
fn a_stream_that_answers_once_and_then_not_has_stalled() {
    let mut run = echoing();
    run.echo(6_500, 2);
    run.until(60_000);
    assert_eq!(run.news(), ["6010 mark 2", "12020 mark 3", "14030 stalled"]);
}

#[test]
fn the_echo_of_an_older_mark_is_no_answer_to_the_newest() {
    let mut run = echoing();
    run.echo(6_500, 2);
    run.until(12_020);
    run.echo(12_100, 1);
    run.echo(12_200, 2);
    run.until(60_000);
    assert_eq!(run.news(), ["6010 mark 2", "12020 mark 3", "14030 stalled"]);
}

#[test]
fn a_first_echo_that_comes_late_makes_no_stall_of_the_question_before_it() {
    let mut run = Run::heard(settings());
    run.echo(9_000, 1);
    run.until(60_000);
    assert_eq!(run.news(), ["6010 mark 2", "12020 mark 3", "14030 stalled"]);
}

#[test]
fn a_mark_that_was_never_sent_is_no_echo() {
    let mut run = Run::heard(settings());
    for name in ["callwarden-0", "callwarden-2", "callwarden-", "callwarden-x", "callwarden--1", "other-1", "שלום", ""]
    {
        run.text(100, &mark_text(sid(), name));
    }
    run.until(12_000);
    assert_eq!((run.news(), run.counts().unreadable), (vec!["6010 mark 2".into()], 0));
}

#[test]
fn a_frame_ends_the_questions_and_the_wait() {
    let mut run = echoing();
    run.until(6_010);
    run.frame(7_000);
    // No echo of mark 2 is due any more; the next question waits its full six seconds.
    run.until(13_009);
    assert_eq!(run.news(), ["6010 mark 2"]);
    run.until(13_010);
    assert_eq!(run.news(), ["13010 mark 3"]);
}

#[test]
fn a_frame_in_the_last_look_prevents_the_question() {
    let mut run = echoing();
    run.until(6_000);
    run.frame(6_005);
    run.until(12_014);
    assert_eq!(run.news(), [""; 0]);
}

#[test]
fn a_frame_in_the_last_look_prevents_the_stall() {
    let mut run = echoing();
    run.until(8_010);
    run.frame(8_019);
    run.until(14_028);
    assert_eq!(run.news(), ["6010 mark 2"]);
}

#[test]
fn the_first_frame_after_trouble_is_reported_once_and_the_watch_goes_on() {
    let mut run = echoing();
    run.until(10_000);
    assert_eq!(run.news(), ["6010 mark 2", "8020 stalled"]);
    run.frames(10_000, 11_000);
    assert_eq!(run.news(), ["10020 heard"]);
    run.until(60_000);
    assert_eq!(run.news(), ["17010 mark 3", "19020 stalled"]);
}

#[test]
fn an_echo_after_trouble_is_no_frame() {
    let mut run = echoing();
    run.until(9_000);
    run.echo(9_000, 2);
    run.until(60_000);
    assert_eq!(run.news(), ["6010 mark 2", "8020 stalled"]);
}

#[test]
fn trouble_says_how_far_the_stream_got() {
    let mut run = echoing();
    run.frames(0, 3_000);
    run.until(60_000);
    let Some((_, StreamOutput::Report(StreamReport::Trouble(Trouble::Stalled, counts)))) = run.seen.last() else {
        panic!("{:?}", run.seen.last())
    };
    assert_eq!((counts.frames, counts.how_far().as_str()), (151, "frames until second 3"));
    assert_eq!(Counts::default().how_far(), "start but no frame");
}

#[test]
fn a_media_timeout_beyond_thirty_seconds_asks_nothing_and_is_quiet_then() {
    let mut run = Run::heard(StreamSettings { media_timeout: Duration::from_secs(40), ..settings() });
    run.until(90_000);
    assert_eq!(run.news(), ["40010 quiet"]);
}

#[test]
fn a_last_look_at_one_deadline_is_none_at_the_next() {
    let mut stopped = Run::heard(settings());
    stopped.until(6_000);
    stopped.text(6_005, &stop_text(sid()));
    let mut released = Run::heard(settings());
    released.until(6_000);
    released.command(6_005, StreamCommand::Release);
    for mut run in [stopped, released] {
        run.news();
        run.until(60_000);
        assert_eq!(run.news(), ["11015 close 1000"]);
    }
}
