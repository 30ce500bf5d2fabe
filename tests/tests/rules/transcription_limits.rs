//! What happens at each bound of transcription (T1, T2, T5, T8). Where a bound is too large for the world, a switchboard
//! alone is driven. Virtual time.

use bytes::Bytes;
use callwarden_core::disk::{Content, DiskAnswer, DiskCommand, Orphan, UtteranceFile};
use callwarden_core::far_end::Plan;
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::fetch::{FetchError, FetchResponse};
use callwarden_core::http::{Headers, Method};
use callwarden_core::limits;
use callwarden_core::store::{JobState, Origin, SegmentKey, WaitingSegment};
use callwarden_core::time::UnixMillis;
use callwarden_tests::world::alone::Alone;
use callwarden_tests::world::script::{Caller, METRICS_TOKEN, metric, metrics};
use callwarden_tests::world::speech::{self, caller, recorded_caller};
use callwarden_tests::world::{RestFault, World};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn alone() -> Alone {
    Alone::new(speech::settings(&[]))
}

fn unreachable() -> Result<FetchResponse, FetchError> {
    Err(FetchError::NotSent("connection refused".to_owned()))
}

fn heard(text: &str) -> Result<FetchResponse, FetchError> {
    let body = format!(r#"{{"text":"{text}"}}"#).into();
    Ok(FetchResponse { status: 200, headers: Headers::default(), body })
}

/// The longest utterance.
fn long() -> Bytes {
    vec![0x55; usize::try_from(limits::UTTERANCE_TIME_MAX.as_millis()).expect("small") * 8].into()
}

/// A short one.
fn short() -> Bytes {
    vec![0x55; 80].into()
}

/// A caller who says one short sentence.
fn one_sentence() -> Plan {
    caller(speech::once(SECOND).slice(0..speech::sentence(0).end * 8))
}

#[test]
fn more_utterances_than_may_be_at_the_service_wait_for_the_next_free_place() {
    let mut world = World::transcribing();
    world.openai.set_delay(SECOND * 5);
    let calls: Vec<usize> = (0..limits::TRANSCRIPTIONS_MAX + 8).map(|_| world.call(one_sentence())).collect();
    world.run_for(SECOND * 5);
    assert_eq!(world.asked(), limits::TRANSCRIPTIONS_MAX);
    world.run_for(SECOND * 3);
    assert_eq!(world.asked(), calls.len());
    world.run_for(SECOND * 10);
    for call in calls {
        assert_eq!(world.transcript_status(call), "done");
    }
    world.settle();
}

#[test]
fn more_texts_than_the_database_takes_at_once_wait_for_their_turn() {
    let mut world = World::transcribing();
    let calls: Vec<usize> = (0..3 * limits::TEXTS_STORED_AT_ONCE_MAX).map(|_| world.call(one_sentence())).collect();
    world.run_for(SECOND);
    world.database.latency = SECOND / 2;
    world.run_until(SECOND * 10, |world| world.asked() == calls.len());
    let stored = |world: &World| calls.iter().filter(|call| !world.transcript(**call).is_empty()).count();
    for turn in 1..=3 {
        world.run_for(SECOND / 4);
        assert_eq!(stored(&world), turn * limits::TEXTS_STORED_AT_ONCE_MAX);
        world.run_for(SECOND / 4);
    }
    world.run_for(SECOND * 10);
    assert!(calls.iter().all(|call| world.transcript_status(*call) == "done"));
}

#[test]
fn more_recordings_than_are_worked_on_at_once_wait_in_the_database() {
    let mut world = World::transcribing();
    let most = usize::try_from(limits::RECORDINGS_TAKEN_MAX).expect("few");
    let calls: Vec<usize> = (0..most + 2).map(|_| world.call(recorded_caller())).collect();
    world.run_until(SECOND * 60, |world| calls.iter().all(|call| !world.ledger(*call).recordings.is_empty()));
    world.run_for(SECOND);
    world.rest_always = RestFault::Slow(SECOND * 60);
    world.run_for(SECOND * 50);
    let fetched = |world: &World| world.rest_log.iter().filter(|(_, _, url)| url.ends_with(".wav")).count();
    assert_eq!((fetched(&world), world.nodes[0].switchboard.gauges().recordings), (most, most));
    world.run_for(SECOND * 200);
    assert!(calls.iter().all(|call| world.transcript_status(*call) == "done"));
    world.settle();
}

#[test]
fn more_overdue_calls_than_are_asked_about_at_once_are_asked_about_in_the_next_rounds() {
    let mut world = World::transcribing();
    let most = usize::try_from(limits::OVERDUE_TAKEN_MAX).expect("few");
    for number in 0..2 * most {
        world.announce(Caller::new(0x9000 + number as u128));
    }
    world.rest_always = RestFault::Found("in-progress");
    world.run_for(SECOND * 20);
    let before = world.rest_count(Method::Get);
    let asked = |world: &World| world.rest_count(Method::Get) - before;
    world.run_until(limits::LOOK_UP_TIMES[0] * 2, |world| asked(world) > 0);
    world.run_for(SECOND);
    assert_eq!(asked(&world), most);
    world.run_for(limits::OVERDUE_ROUND);
    assert_eq!(asked(&world), 2 * most);
}

#[test]
fn a_service_that_needs_a_person_is_tried_every_ten_minutes() {
    let mut world = World::transcribing();
    world.openai.set_fault(Some(Fault::Refuse(Refusal::quota_spent())));
    world.call(one_sentence());
    world.run_for(HOUR);
    let times: Vec<_> = world.openai.ledger().requests.iter().map(|request| request.at.mono).collect();
    assert_eq!(times.len(), 6);
    for pair in times.windows(2) {
        let apart = pair[1].since(pair[0]);
        assert!(apart >= limits::BLOCKED_RETRY && apart < limits::BLOCKED_RETRY + SECOND, "{apart:?}");
    }
}

#[test]
fn a_service_that_asks_to_be_left_alone_for_too_long_is_asked_as_usual() {
    let mut world = World::transcribing();
    let seconds = (limits::RETRY_AFTER_MAX + SECOND).as_secs().to_string();
    world.openai.script([Some(Fault::Refuse(Refusal::rate_limit().with("retry-after", &seconds)))]);
    let call = world.call(one_sentence());
    world.run_for(SECOND * 10);
    assert_eq!(world.transcript_status(call), "done");
}

#[test]
fn speech_the_disk_does_not_take_fills_its_memory_and_what_comes_then_is_said_to_be_lost() {
    let mut alone = alone();
    let id = alone.stream(Caller::new(1));
    let room = limits::SPEECH_MEMORY_MAX / long().len();
    (0..=room).for_each(|_| alone.says(id, &long()));
    let cause = "the disk does not take speech and the memory for it is full";
    assert_eq!(alone.failures(), [("no_room", cause)]);
    let lost = alone.segments.last().expect("its row");
    assert_eq!((lost.job.state, lost.job.error.as_deref()), (JobState::Failed, Some(cause)));
    assert_eq!(alone.switchboard.gauges().speech_waiting, room);
    // Those that are sent stay in memory, the others are in their files alone.
    (0..=limits::TRANSCRIPTIONS_MAX + 1).for_each(|_| alone.filed(Ok(DiskAnswer::Done)));
    alone.says(id, &long());
    assert_eq!((alone.failures().len(), alone.switchboard.gauges().speech_waiting), (1, room + 1));
}

#[test]
fn speech_fills_its_memory_to_the_last_byte_and_each_utterance_that_comes_then_is_counted() {
    let mut alone = Alone::new(speech::settings(&[("METRICS_TOKEN", METRICS_TOKEN)]));
    let id = alone.stream(Caller::new(1));
    alone.says(id, &vec![0x55; limits::SPEECH_MEMORY_MAX].into());
    assert_eq!(alone.failures(), []);
    (0..2).for_each(|_| alone.says(id, &short()));
    assert_eq!(alone.failures().len(), 2);
    assert_eq!(metric(&alone.reply(metrics()), "transcriptions_failed_total"), 2);
}

#[test]
fn more_utterances_than_may_wait_are_said_to_be_lost() {
    let mut alone = alone();
    let id = alone.stream(Caller::new(1));
    (0..=limits::SPEECH_JOBS_MAX).for_each(|_| alone.says(id, &short()));
    let cause = "too much speech waits to be transcribed";
    assert_eq!(alone.failures(), [("no_room", cause)]);
    assert_eq!(alone.segments.last().and_then(|lost| lost.job.error.as_deref()), Some(cause));
    let gauges = alone.switchboard.gauges();
    assert_eq!(gauges.speech_waiting, limits::SPEECH_JOBS_MAX);
    assert_eq!(gauges.speech_in_memory, limits::SPEECH_JOBS_MAX * short().len(), "the one that is lost takes no room");
}

/// Files of a process that is gone, by their numbers and lengths.
fn orphans(files: impl IntoIterator<Item = (u32, Content, u64)>) -> Orphan {
    let caller = Caller::new(1);
    let file = |sequence| UtteranceFile {
        call: caller.call,
        stream: caller.stream(1),
        sequence,
        started_at: UnixMillis(1_795_000_000_000),
        from: SECOND * sequence,
        to: SECOND * (sequence + 1),
        near_silent: false,
    };
    let files = files.into_iter().map(|(sequence, content, bytes)| (file(sequence).name(content), bytes)).collect();
    Orphan { node: "gone".to_owned(), files }
}

/// The rows that such a process left waiting.
fn rows(sequences: impl IntoIterator<Item = u32>) -> Vec<WaitingSegment> {
    let caller = Caller::new(1);
    let row = |sequence| WaitingSegment {
        key: SegmentKey { call: caller.call, origin: Origin::Stream(caller.stream(1)), sequence },
        node: "gone".to_owned(),
        started_at: UnixMillis(1_794_000_000_000),
        from: Duration::ZERO,
        to: SECOND,
    };
    sequences.into_iter().map(row).collect()
}

#[test]
fn the_disk_may_be_filled_to_the_last_byte_and_not_beyond() {
    let mut alone = alone();
    let full = [(1, Content::Audio, limits::SPEECH_ON_DISK_MAX - 1), (2, Content::Audio, 1)];
    alone.filed(Ok(DiskAnswer::Adopted(vec![orphans(full)])));
    alone.run_for(SECOND);
    assert_eq!((alone.failures().len(), alone.switchboard.gauges().speech_waiting), (0, 2));
    alone.run_for(limits::ADOPT_TIME);
    let adopt = alone.disk.iter().position(|(_, command)| *command == DiskCommand::Adopt).expect("asked again");
    alone.disk.swap(0, adopt);
    alone.filed(Ok(DiskAnswer::Adopted(vec![orphans([(3, Content::Audio, 1)])])));
    alone.run_for(SECOND);
    assert_eq!(alone.failures(), [("given_up", "newer speech took its place: too much of it is kept in DATA_DIR")]);
}

#[test]
fn a_file_for_which_the_queue_has_no_room_is_left_where_it_is() {
    let mut alone = alone();
    let adopt = alone.disk.pop_front().expect("files are looked for");
    let id = alone.stream(Caller::new(2));
    (0..limits::SPEECH_JOBS_MAX).for_each(|_| alone.says(id, &short()));
    alone.disk.push_front(adopt);
    alone.filed(Ok(DiskAnswer::Adopted(vec![orphans([(1, Content::Text, 9)])])));
    alone.run_for(SECOND);
    let removes = alone.disk.iter().filter(|(_, command)| matches!(command, DiskCommand::Remove { .. }));
    assert_eq!((removes.count(), alone.failures().len()), (0, 0), "the next process takes it");
}

#[test]
fn rows_of_a_process_that_is_gone_are_looked_through_once_all_of_its_files_are_known() {
    let mut alone = alone();
    let files = 3 * u32::try_from(limits::FILES_PER_TURN_MAX).expect("few");
    alone.inherited.push_back(rows(files - 8..=files));
    let texts = orphans((1..=files).map(|sequence| (sequence, Content::Text, 9)));
    alone.filed(Ok(DiskAnswer::Adopted(vec![texts])));
    alone.run_for(SECOND);
    assert!(alone.inherited.is_empty(), "they were looked through");
    assert_eq!(alone.failures(), [], "none of them is lost");
}

#[test]
fn utterances_that_failed_together_are_not_tried_again_together() {
    const UTTERANCES: usize = 16;
    let mut alone = alone();
    let id = alone.stream(Caller::new(1));
    alone.disk.clear();
    (0..UTTERANCES).for_each(|_| alone.says(id, &short()));
    (0..UTTERANCES).for_each(|_| alone.filed(Ok(DiskAnswer::Done)));
    assert_eq!(alone.fetches.len(), UTTERANCES);
    (0..UTTERANCES).for_each(|_| alone.fetched(unreachable()));
    let mut moments = 0;
    for _ in 0..150 {
        alone.run_for(SECOND / 100);
        moments += usize::from(!alone.disk.is_empty());
        while !alone.disk.is_empty() {
            alone.filed(Ok(DiskAnswer::Bytes(short())));
        }
        while !alone.fetches.is_empty() {
            alone.fetched(heard(""));
        }
    }
    assert!(moments > UTTERANCES / 2, "{UTTERANCES} of them were read at {moments} moments");
    assert_eq!(alone.switchboard.gauges().speech_waiting, 0);
}

/// Utterances that are in their files while the service cannot be reached.
fn kept(alone: &mut Alone, caller: Caller, audio: &Bytes, count: usize) {
    let id = alone.stream(caller);
    for _ in 0..count {
        alone.says(id, audio);
        while !alone.disk.is_empty() {
            let answer = match alone.disk[0].1 {
                DiskCommand::Adopt => DiskAnswer::Adopted(Vec::new()),
                DiskCommand::Write { .. }
                | DiskCommand::Read { .. }
                | DiskCommand::Remove { .. }
                | DiskCommand::Bury { .. } => DiskAnswer::Done,
            };
            alone.filed(Ok(answer));
        }
        while !alone.fetches.is_empty() {
            alone.fetched(unreachable());
        }
    }
}

#[test]
fn the_oldest_speech_gives_way_when_too_much_of_it_is_kept() {
    let mut alone = alone();
    let room = usize::try_from(limits::SPEECH_ON_DISK_MAX).expect("fits") / long().len();
    let caller = Caller::new(1);
    kept(&mut alone, caller, &long(), room);
    assert!(alone.failures().is_empty());
    alone.run_for(SECOND / 10);
    kept(&mut alone, Caller::new(2), &long(), 1);
    let failures = alone.failures();
    assert_eq!(failures, [("given_up", "newer speech took its place: too much of it is kept in DATA_DIR")]);
    let lost: Vec<_> = alone.segments.iter().filter(|segment| segment.job.state == JobState::Failed).collect();
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].key.call, lost[0].key.sequence), (caller.call, 1), "it was said first");
}

#[test]
fn what_waits_for_a_person_says_so_once() {
    let mut alone = alone();
    kept(&mut alone, Caller::new(1), &short(), 3);
    assert!(alone.segments.iter().all(|segment| segment.job.state != JobState::Failed), "an outage ends by itself");
    alone.run_for(limits::TRANSCRIPTION_RETRY_MAX);
    let read = alone.disk.iter().position(|(_, command)| matches!(command, DiskCommand::Read { .. })).expect("a read");
    alone.disk.swap(0, read);
    alone.filed(Ok(DiskAnswer::Bytes(short())));
    alone.fetched(Ok(FetchResponse { status: 401, headers: Headers::default(), body: Bytes::new() }));
    let failed = alone.segments.iter().filter(|segment| segment.job.state == JobState::Failed);
    let mut said: Vec<u32> = failed.map(|segment| segment.key.sequence).collect();
    said.sort_unstable();
    assert_eq!(said, [1, 2, 3]);
}

#[test]
fn more_file_commands_than_may_be_under_way_leave_speech_in_memory() {
    let mut alone = alone();
    kept(&mut alone, Caller::new(1), &short(), limits::SPEECH_JOBS_MAX);
    let spoken = SECOND * u32::try_from(limits::SPEECH_JOBS_MAX).expect("few");
    alone.run_for(limits::AUDIO_AGE_MAX + spoken + limits::STALE_ROUND);
    assert_eq!(
        alone.failures().len(),
        limits::SPEECH_JOBS_MAX - 1,
        "all but the one that is being read became too old"
    );
    let read = alone.disk.iter().position(|(_, command)| matches!(command, DiskCommand::Read { .. })).expect("a read");
    alone.disk.swap(0, read);
    alone.filed(Ok(DiskAnswer::Bytes(short())));
    alone.fetched(heard(""));
    let gauges = alone.switchboard.gauges();
    assert!(gauges.file_commands > limits::SPEECH_JOBS_MAX, "the disk does not answer");
    assert_eq!(gauges.speech_waiting, 1, "that one waits for its file to be removed");
    let id = alone.stream(Caller::new(2));
    let room = limits::FILE_COMMANDS_MAX - gauges.file_commands;
    (0..room).for_each(|_| alone.says(id, &short()));
    assert_eq!(alone.switchboard.gauges().file_commands, limits::FILE_COMMANDS_MAX);
    assert!(alone.fetches.is_empty(), "each waits for its file");
    alone.says(id, &short());
    assert_eq!(alone.switchboard.gauges().file_commands, limits::FILE_COMMANDS_MAX);
    assert_eq!(alone.fetches.len(), 1, "one without a file is sent at once");
    alone.fetched(heard("שלום"));
    assert_eq!(alone.segments.last().map(|segment| segment.text.as_str()), Some("שלום"));
    assert_eq!(alone.switchboard.gauges().speech_waiting, room + 1);
}

#[test]
fn an_utterance_that_finds_too_many_requests_under_way_is_sent_when_there_is_room() {
    let mut alone = alone();
    let id = alone.stream(Caller::new(1));
    for number in 0..limits::FETCHES_MAX {
        alone.announce(Caller::new(0x100 + number as u128));
    }
    alone.run_for(SECOND * 8);
    assert_eq!(alone.switchboard.gauges().fetches, limits::FETCHES_MAX, "every call is being moved to a recording");
    alone.says(id, &short());
    (0..alone.disk.len()).for_each(|_| alone.filed(Ok(DiskAnswer::Done)));
    assert!(alone.fetches.iter().all(|(_, request)| !request.url.ends_with("/audio/transcriptions")));
    alone.fetched(unreachable());
    alone.run_for(limits::NO_ROOM_WAIT);
    alone.filed(Ok(DiskAnswer::Bytes(short())));
    let sent = alone.fetches.iter().filter(|(_, request)| request.url.ends_with("/audio/transcriptions")).count();
    assert_eq!(sent, 1);
}

#[test]
fn a_process_that_is_gone_and_left_more_rows_than_are_read_at_a_time_is_looked_through_to_the_end() {
    let mut alone = alone();
    let most = u32::try_from(limits::SEGMENTS_FOUND_MAX).expect("few");
    alone.inherited.extend([rows(1..=most), rows(most + 1..most + 3)]);
    let mut left = orphans([(2, Content::Audio, 8_000)]);
    left.files.push(("somebody's notes.txt".to_owned(), 12));
    alone.filed(Ok(DiskAnswer::Adopted(vec![left])));
    alone.run_for(limits::INHERIT_WAIT * 2);
    let lost = alone.failures().iter().filter(|(reason, _)| *reason == "lost").count();
    assert_eq!(lost, usize::try_from(most).expect("few") + 2 - 1, "all but the one whose file is there");
    let reads = alone.disk.iter().filter(|(_, command)| matches!(command, DiskCommand::Read { .. })).count();
    assert_eq!(reads, 1);
    let bury = DiskCommand::Bury { node: "gone".to_owned() };
    assert!(alone.disk.iter().any(|(_, command)| *command == bury), "nothing of it is left");
}
