//! What the switchboard says in each phase, and the end.

use super::*;

const COMMANDS: [StreamCommand; 5] = [
    StreamCommand::Accept,
    StreamCommand::Refuse,
    StreamCommand::Challenge,
    StreamCommand::Release,
    StreamCommand::Close,
];

#[test]
fn a_refused_start_is_closed_as_a_breach_of_policy() {
    let mut run = Run::presented(settings());
    run.command(10, StreamCommand::Refuse);
    run.frame(20);
    run.until(60_000);
    assert_eq!(run.news(), ["10 close 1008"]);
}

#[test]
fn a_socket_that_is_told_to_close_closes_normally_in_every_phase() {
    let mut stopped = Run::live(settings());
    stopped.text(0, &stop_text(sid()));
    let mut released = Run::live(settings());
    released.command(0, StreamCommand::Release);
    for mut run in [Run::opened(settings()), Run::presented(settings()), Run::live(settings()), stopped, released] {
        run.news();
        run.command(10, StreamCommand::Close);
        run.until(60_000);
        assert_eq!(run.news(), ["10 close 1000"]);
    }
}

#[test]
fn a_released_stream_is_no_longer_watched_and_closed_when_the_peer_does_not() {
    let mut run = Run::heard(settings());
    run.command(3_000, StreamCommand::Release);
    run.until(8_009);
    assert_eq!(run.news(), [""; 0]);
    run.until(60_000);
    assert_eq!(run.news(), ["8010 close 1000"]);
}

#[test]
fn frames_of_a_released_stream_are_counted_and_prolong_nothing() {
    let mut run = Run::presented(settings());
    run.command(0, StreamCommand::Release);
    run.frames(0, 6_000);
    assert_eq!(run.news(), ["20 WS_FRAME", "5010 close 1000"]);
    assert_eq!(run.counts().frames, 250);
}

#[test]
fn a_released_stream_may_still_stop() {
    let mut run = Run::heard(settings());
    run.command(1_000, StreamCommand::Release);
    run.text(2_000, &stop_text(sid()));
    run.ended(2_010);
    run.until(60_000);
    assert_eq!(run.news(), ["2000 stopped", "2010 ended", "2010 WS_STOP closed with 1000"]);
}

#[test]
fn a_challenged_stream_that_was_just_heard_stays() {
    let mut run = Run::heard(settings());
    run.command(2_000, StreamCommand::Challenge);
    run.frame(2_020);
    assert_eq!((run.news(), run.counts().frames), (vec!["2000 fresh".into()], 2));
}

#[test]
fn a_challenged_stream_that_was_not_heard_for_two_seconds_gives_way() {
    let mut run = Run::heard(settings());
    run.command(2_001, StreamCommand::Challenge);
    assert_eq!(run.news(), ["2001 stale", "2001 close 1000"]);
}

#[test]
fn a_challenged_stream_that_is_not_live_gives_way() {
    let mut stopped = Run::heard(settings());
    stopped.text(1, &stop_text(sid()));
    for mut run in [Run::opened(settings()), Run::presented(settings()), Run::live(settings()), stopped] {
        run.news();
        run.command(10, StreamCommand::Challenge);
        assert_eq!(run.news(), ["10 stale", "10 close 1000"]);
    }
}

#[test]
fn a_command_that_comes_too_late_changes_nothing() {
    for command in COMMANDS {
        let mut closing = Run::live(settings());
        closing.command(5, StreamCommand::Close);
        let mut ended = Run::live(settings());
        ended.ended(5);
        for mut run in [closing, ended] {
            run.news();
            run.command(10, command);
            assert_eq!((run.news(), run.machine.next_timeout()), (vec![], None), "{command:?}");
        }
    }
    for command in [StreamCommand::Accept, StreamCommand::Release] {
        let mut run = Run::heard(settings());
        run.text(10, &stop_text(sid()));
        run.command(1_000, command);
        run.until(60_000);
        assert_eq!(run.news(), ["10 stopped", "5020 close 1000"], "{command:?}");
    }
}

#[test]
fn a_command_that_comes_too_early_changes_nothing() {
    for command in [StreamCommand::Accept, StreamCommand::Release] {
        let mut run = Run::opened(settings());
        run.command(10, command);
        run.text(20, &start_text(sid()));
        run.frame(30);
        assert_eq!(run.news(), ["20 started", "30 WS_FRAME"], "{command:?}");
    }
    let mut run = Run::heard(settings());
    run.command(10, StreamCommand::Accept);
    assert_eq!(run.news(), [""; 0]);
}

#[test]
fn what_arrives_on_a_closing_socket_is_not_read() {
    let mut run = Run::heard(settings());
    run.command(10, StreamCommand::Close);
    run.news();
    let before = run.counts();
    run.frame(20);
    run.text(21, "שלום");
    run.text(22, &start_text(other_sid()));
    run.at(23, |machine, now, out| machine.binary(now, out));
    assert_eq!((run.news(), run.counts()), (vec![], before));
}

#[test]
fn the_end_is_reported_once_with_all_that_was_counted() {
    let mut run = Run::heard(settings());
    run.frames(0, 1_000);
    run.text(1_001, "שלום");
    run.text(1_002, &stop_text(other_sid()));
    run.text(1_003, &media_text(sid(), 1, "//8="));
    run.news();
    run.ended(1_010);
    let [(_, StreamOutput::Report(report)), (_, StreamOutput::Log(line))] = &run.seen[..] else {
        panic!("{:?}", run.seen)
    };
    let counts = run.counts();
    assert_eq!(report, &StreamReport::Ended { how: "closed with 1000".into(), counts });
    assert_eq!((line.event, line.level, line.frames, line.bytes), (Event::WsStop, Level::Info, Some(52), Some(208)));
    assert_eq!(line.detail.as_deref(), Some("dropped=1 unreadable=1 out_of_order=1"));
    assert_eq!((line.connection.as_deref(), line.stream_sid), (Some("c1"), Some(sid())));
    run.news();
    run.ended(1_020);
    run.frame(1_030);
    run.until(60_000);
    assert_eq!(run.news(), [""; 0]);
}

#[test]
fn a_lost_socket_says_what_broke_it() {
    let mut run = Run::opened(settings());
    run.at(5, |machine, now, out| machine.ended(now, &Ended::Lost("reset by peer".into()), out));
    assert_eq!(run.news(), ["5 ended", "5 WS_STOP lost: reset by peer", "5 WS_HANDLER_ERROR"]);
    assert_eq!(Ended::Closed(None).to_string(), "closed without a code");
}

#[test]
fn time_backwards_is_time_standing_still() {
    let mut run = Run::heard(settings());
    run.frame(3_000);
    run.machine.text(Instant::from_millis(1_000), &media_text(sid(), 3, "//8="), &mut Vec::new());
    assert_eq!(run.machine.next_timeout(), Some(Instant::from_millis(9_000)));
    assert_eq!(run.counts().heard_until, Duration::from_secs(3));
}
