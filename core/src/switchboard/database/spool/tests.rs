use super::*;
use crate::sid::CallSid;
use crate::store::{CallFact, Fact, StoreAnswer, StoreError};
use crate::time::UnixMillis;

const NOW: Instant = Instant::from_millis(5_000);

fn facts(count: u128) -> Vec<Waiting> {
    let fact = |number| CallFact::new(CallSid::from_number(number), UnixMillis(1), "node");
    (1..=count).map(|number| Waiting::from(Fact::Call(Box::new(fact(number))))).collect()
}

/// A spool with one file of these facts, which is written.
fn with_a_file(facts: &mut [Waiting]) -> (Spool, FileKey, String, Bytes) {
    let mut spool = Spool::default();
    let (key, name, content) = spool.write("node", facts.iter_mut().collect(), NOW);
    spool.written(key);
    (spool, key, name, content)
}

#[test]
fn one_file_is_written_at_a_time_and_promises_nothing_before_it_is() {
    let (mut spool, mut facts) = (Spool::default(), facts(2));
    let (key, name, content) = spool.write("node", facts.iter_mut().collect(), NOW);
    assert!(!spool.can_write(NOW) && !spool.is_safe(facts[0].file));
    assert_eq!((facts[0].file, facts[1].file, spool.left(), spool.files()), (Some(key), Some(key), 2, 1));
    assert_eq!(spooled::read(&content).0.len(), 2);
    spool.taken(facts[0].file);
    spool.taken(facts[1].file);
    assert_eq!(spool.next_useless(), None, "it may come into being yet");
    spool.written(key);
    assert!(spool.can_write(NOW));
    assert_eq!((spool.next_useless(), spool.left(), spool.files()), (Some(name), 0, 0));
}

#[test]
fn no_more_is_written_than_there_is_room_for() {
    let mut facts = facts(1);
    let (mut spool, ..) = with_a_file(&mut facts);
    spool.bytes = limits::SPOOL_BYTES_MAX - 1;
    assert!(spool.can_write(NOW));
    spool.bytes = limits::SPOOL_BYTES_MAX;
    assert!(!spool.can_write(NOW));
    spool.failing = Some((NOW, NOW));
    assert_eq!(spool.next_timeout(true), None, "time alone makes no room");
}

#[test]
fn what_a_file_takes_is_given_back_when_it_goes() {
    let mut facts = facts(3);
    let (mut spool, _, name, content) = with_a_file(&mut facts);
    assert_eq!(spool.bytes, content.len());
    let (mut read, unreadable) = spool.read("of-another.1.facts".to_owned(), &content, NOW);
    assert_eq!((spool.bytes, read.len(), unreadable, spool.left()), (2 * content.len(), 3, 0, 6));
    read.drain(..).for_each(|waiting| spool.taken(waiting.file));
    assert_eq!((spool.next_useless().as_deref(), spool.bytes), (Some("of-another.1.facts"), content.len()));
    facts.drain(..).for_each(|waiting| spool.taken(waiting.file));
    assert_eq!((spool.next_useless(), spool.bytes, spool.left()), (Some(name), 0, 0));
    let key = spool.write("node", Vec::new(), NOW).0;
    assert!(spool.not_written(key, NOW), "the first failure is news");
    assert_eq!((spool.bytes, spool.files()), (0, 0));
}

#[test]
fn a_disk_that_failed_is_tried_again_after_a_second_and_is_news_once() {
    let (mut spool, mut facts) = (Spool::default(), facts(1));
    let again = NOW + limits::SPOOL_RETRY;
    let (key, ..) = spool.write("node", facts.iter_mut().collect(), NOW);
    assert!(spool.not_written(key, NOW));
    assert_eq!((spool.left(), spool.failing_since()), (0, Some(NOW)));
    assert!(!spool.can_write(NOW) && spool.can_write(again));
    assert_eq!((spool.next_timeout(true), spool.next_timeout(false)), (Some(again), None));
    let (key, ..) = spool.write("node", facts.iter_mut().collect(), again);
    assert_eq!(spool.next_timeout(true), None, "its answer is waited for");
    assert!(!spool.not_written(key, again));
    assert_eq!(spool.failing_since(), Some(NOW), "since the first failure");
    let (key, ..) = spool.write("node", facts.iter_mut().collect(), again + limits::SPOOL_RETRY);
    spool.written(key);
    assert_eq!((spool.failing_since(), spool.next_timeout(true)), (None, None));
}

#[test]
fn files_of_others_are_read_one_by_one_and_one_that_cannot_be_does_not_hold_up_the_others() {
    let mut spool = Spool::default();
    assert!(!spool.has_unread());
    spool.found("a.1.facts".to_owned());
    spool.found("b.1.facts".to_owned());
    assert_eq!((spool.files(), spool.has_unread()), (2, true));
    let first = spool.begin_to_read(NOW).expect("a file");
    assert_eq!((first.as_str(), spool.begin_to_read(NOW), spool.files()), ("a.1.facts", None, 2));
    assert!(spool.not_read(first, NOW));
    let again = NOW + limits::SPOOL_RETRY;
    assert_eq!((spool.begin_to_read(NOW), spool.next_timeout(false)), (None, Some(again)));
    let second = spool.begin_to_read(again).expect("the other one");
    let (read, unreadable) = spool.read(second, &spooled::write([]), again);
    assert_eq!((read.len(), unreadable, spool.next_useless().as_deref()), (0, 0, Some("b.1.facts")));
    let first = spool.begin_to_read(again).expect("the first one again");
    assert_eq!(first, "a.1.facts");
    let (mut read, _) = spool.read(first, &spooled::write([&facts(1)[0].fact]), again);
    assert!(spool.has_unread(), "what was in it is not in the database yet");
    spool.taken(read.remove(0).file);
    assert!(!spool.has_unread());
}

#[test]
fn a_file_that_holds_more_than_memory_does_is_read_again_before_it_goes() {
    let mut facts = facts(2);
    let (mut spool, key, name, _) = with_a_file(&mut facts);
    spool.set_aside(key);
    assert_eq!((spool.left(), spool.begin_to_read(NOW)), (1, None));
    spool.taken(facts[0].file);
    assert_eq!((spool.next_useless(), spool.begin_to_read(NOW), spool.bytes), (None, Some(name), 0));
}

#[test]
fn the_oldest_file_says_how_long_the_spool_has_waited() {
    let mut facts = facts(2);
    let (mut spool, _, _, content) = with_a_file(&mut facts);
    let later = NOW + Duration::from_secs(60);
    spool.read("of-another.1.facts".to_owned(), &content, later);
    assert_eq!(spool.age(later), Some(Duration::from_secs(60)));
    assert_eq!(Spool::default().age(later), None);
    // A damaged file stays, and waits for nothing.
    let mut spool = Spool::default();
    spool.read("damaged.1.facts".to_owned(), "שלום".as_bytes(), NOW);
    assert_eq!((spool.age(later), spool.files(), spool.next_useless()), (None, 1, None));
}

/// The command that left last.
fn last_command(out: &[Output]) -> crate::id::StoreId {
    let sent = out.iter().rev().find_map(|output| if let Output::Store { id, .. } = output { Some(*id) } else { None });
    sent.expect("a command")
}

#[test]
fn facts_that_come_back_to_a_full_memory_and_are_in_a_file_stay_there() {
    let (mut out, gone) = (Vec::new(), || Err(StoreError::Unavailable("gone".to_owned())));
    let mut database = Database::open(NOW, &mut out);
    database.stored(NOW, last_command(&out), Ok(StoreAnswer::Done), &mut out);
    database.was_too_slow(NOW, &mut out);
    facts(2).into_iter().for_each(|waiting| database.add(waiting.fact, &mut out));
    let (file, name, _) = database.next_to_spool("node", NOW).expect("they are written");
    database.spooled(file, None, NOW, &mut out);
    let again = NOW + limits::STORE_RETRY_MIN;
    database.flush(again, &mut out);
    // The disk does not come round to what arrives meanwhile.
    for waiting in facts(limits::FACTS_WAITING_MAX as u128) {
        database.add(waiting.fact, &mut out);
    }
    database.stored(again, last_command(&out), gone(), &mut out);
    assert_eq!((database.dropped(), database.next_useless()), (0, None));
    assert_eq!(database.spool.begin_to_read(again), Some(name), "they are read again when there is room");
}
