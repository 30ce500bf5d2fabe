use super::*;
use crate::call::Link;
use crate::call::phase::Phase;
use crate::id::StreamKind;
use crate::key::Slab;
use crate::sid::{CallSid, StreamSid};
use crate::store::Source;

fn call() -> Call {
    let host = "calls.example.com".parse().expect("a host");
    Call::new(CallSid::from_number(1), host, Instant::from_millis(0))
}

/// The row of a call of which so many streams started.
fn row(streams: u32) -> KnownCall {
    KnownCall {
        call: CallSid::from_number(1),
        account: None,
        host: None,
        source: Some(Source::Stream),
        streams,
        stream: (streams > 0).then(|| StreamSid::from_number(streams.into())),
        heard: false,
        finished: false,
        age: Duration::ZERO,
        recorded: false,
    }
}

#[test]
fn a_stream_that_the_row_knows_of_and_that_is_not_here_is_lost() {
    for (streams, phase) in [(0, Phase::Announced), (1, Phase::Between)] {
        let mut call = call();
        learn(&mut call, &row(streams));
        assert_eq!((call.phase, call.streams_started()), (phase, streams));
    }
}

#[test]
fn a_stream_that_is_here_is_not_lost_whatever_the_row_knows() {
    let mut streams = Slab::<(), StreamKind>::new(1);
    let id = streams.insert(()).expect("room");
    for known in [0, 1] {
        let mut call = call();
        call.step(Cause::Start);
        call.link = Some(Link { id, stream: StreamSid::from_number(1), heard: true });
        learn(&mut call, &row(known));
        assert_eq!(call.phase, Phase::Streaming, "{known} known");
    }
}

#[test]
fn a_row_that_knows_of_no_more_streams_does_not_bring_back_one_that_is_done_with() {
    let mut call = call();
    learn(&mut call, &row(1));
    assert_eq!(call.last_stream, Some(StreamSid::from_number(1)));
    // A document that follows it was given.
    call.last_stream = None;
    learn(&mut call, &row(1));
    assert_eq!((call.last_stream, call.streams_started()), (None, 1));
}

#[test]
fn a_recording_that_either_knows_of_counts() {
    for (here, there) in [(true, false), (false, true)] {
        let mut call = call();
        call.recording.seen = here;
        learn(&mut call, &KnownCall { recorded: there, ..row(0) });
        assert!(call.recording.seen, "here: {here}");
    }
}

#[test]
fn each_process_that_is_gone_is_told_of_once_and_at_once() {
    let at = Instant::from_millis;
    let mut renewals = Renewals::new(at(5_000));
    for (node, now, gone, next) in [
        ("a", at(1_000), &["a"][..], at(1_000)),
        ("b", at(2_000), &["a", "b"], at(2_000)),
        ("a", at(3_000), &["a", "b"], at(2_000)),
    ] {
        renewals.is_gone(node, now);
        assert_eq!((renewals.gone.iter().map(String::as_str).collect::<Vec<_>>(), renewals.at), (gone.to_vec(), next));
    }
}
