use super::*;
use crate::sid::{AccountSid, CallSid, RecordingSid, StreamSid};
use crate::store::{
    CallFact, CallStatus, EventFact, FallbackReason, Job, JobState, Origin, RecordingFact, RecordingState, SegmentFact,
    SegmentKey, Source, TranscriptStart,
};
use crate::time::UnixMillis;
use core::time::Duration;

fn facts() -> Vec<Fact> {
    let (call, stream) = (CallSid::from_number(1), StreamSid::from_number(2));
    let recording = RecordingSid::from_number(3);
    let (at, node) = (UnixMillis(1_795_000_000_000), "node-1");
    let call_fact = CallFact {
        account: Some(AccountSid::from_number(4)),
        from: Some("+972501234567".to_owned()),
        to: Some("+97233760000".to_owned()),
        direction: Some("inbound".to_owned()),
        public_host: Some("calls.example.com".to_owned()),
        status: Some(CallStatus::InProgress),
        source: Some(Source::Stream),
        stream: Some((1, stream)),
        stream_started_at: Some(at),
        first_media_at: Some(at),
        frames: Some(5),
        fallback: Some((at, FallbackReason::MediaStalled)),
        how_far: Some("frames until second 5".to_owned()),
        finished_at: Some(at),
        ended_at: Some(at),
        duration_seconds: Some(61),
        transcript: Some(TranscriptStart::Pending),
        recording_missing: Some("no recording".to_owned()),
        ..CallFact::new(call, at, node)
    };
    let job = Job { state: JobState::Failed, attempts: 2, error: Some("429".to_owned()), next_at: Some(at) };
    vec![
        Fact::Call(Box::new(call_fact)),
        Fact::Call(Box::new(CallFact::new(call, at, node))),
        Fact::Event(EventFact { call, at, event: "start".into(), detail: "שורה\nושורה".to_owned() }),
        Fact::Recording(RecordingFact {
            recording,
            call,
            at,
            state: RecordingState::Completed,
            duration_seconds: Some(7),
            node: node.to_owned(),
            job: Some(job.clone()),
        }),
        Fact::Segment(Box::new(SegmentFact {
            key: SegmentKey { call, origin: Origin::Stream(stream), sequence: 1 },
            at,
            node: node.to_owned(),
            started_at: at,
            from: Duration::from_millis(20),
            to: Duration::from_millis(900),
            job,
            text: "שלום, \"כן\"".to_owned(),
        })),
    ]
}

#[test]
fn facts_are_read_as_they_were_written() {
    let facts = facts();
    assert_eq!(read(&write(&facts)), (facts, 0));
    assert_eq!(read(&write([])), (Vec::new(), 0));
}

/// The file was written by the first version that did so, and is read by every later one.
#[test]
fn a_file_of_the_first_version_is_read() {
    let file = include_bytes!("first_version.facts");
    assert_eq!(read(file), (facts(), 0));
}

#[test]
fn what_is_damaged_costs_its_line_and_what_is_of_another_kind_is_left_alone() {
    let whole = write(&facts());
    let text = String::from_utf8(whole.to_vec()).expect("JSON");
    let damaged = text.replacen("in-progress", "in-regress", 1).replacen("InProgress", "InRegress", 1);
    let (left, unreadable) = read(damaged.as_bytes());
    assert_eq!((left.as_slice(), unreadable), (&facts()[1..], 1));
    let cut = &whole[..whole.len() - 9];
    assert_eq!(read(cut), (facts()[..4].to_vec(), 1));
    let newer = text.replacen("\"callwarden_facts\":1", "\"callwarden_facts\":2", 1);
    assert_eq!(read(newer.as_bytes()), (Vec::new(), 6));
    assert_eq!(read("שלום".as_bytes()), (Vec::new(), 1));
    assert_eq!(read(b""), (Vec::new(), 1));
}

#[test]
fn a_file_of_facts_is_known_by_its_name_which_no_other_has() {
    let names = [name("host-1.a", 1), name("host-1.a", 2), name("host-1", 1)];
    assert!(names.iter().all(|name| is_one(name)));
    assert!(names[0] != names[1] && names[0] != names[2]);
    assert!(!is_one("CA00000000000000000000000000000001.MZ00000000000000000000000000000002.1.0.0.900.loud.txt"));
}
