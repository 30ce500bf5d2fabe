//! What a switchboard asks of its database, command by command, where the answers and their order matter: opening,
//! trying again, taking a refused batch apart, and the last word of a process that stops (D4).

use callwarden_core::http::Request;
use callwarden_core::id::{RequestId, StoreId};
use callwarden_core::log::{Event, LogLine};
use callwarden_core::store::{
    KnownCall, Origin, OverdueCall, SegmentKey, StoreAnswer, StoreCommand, StoreError, WaitingSegment,
};
use callwarden_core::switchboard::{Input, Output, Switchboard};
use callwarden_core::time::{Instant, Now, UnixMillis};
use callwarden_core::{limits, path};
use callwarden_tests::world::script::{Caller, get, signed};
use callwarden_tests::world::settings;
use std::time::Duration;

/// A switchboard whose database is the test.
struct Asked {
    switchboard: Switchboard,
    now: Instant,
    /// Commands without an answer, in order.
    commands: Vec<(StoreId, StoreCommand)>,
    log: Vec<LogLine>,
}

impl Asked {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[(&str, &str)]) -> Self {
        let mut out = Vec::new();
        let now = Instant::from_millis(1_000);
        let switchboard = Switchboard::new(at(now), settings(more), &mut out);
        let mut asked = Self { switchboard, now, commands: Vec::new(), log: Vec::new() };
        asked.heard(out);
        asked
    }

    /// One whose database is open, and whose first questions are answered.
    fn open() -> Self {
        let mut asked = Self::new();
        asked.answer_all();
        asked
    }

    fn heard(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Store { id, command, .. } => self.commands.push((id, command)),
                Output::Log(line) => self.log.push(*line),
                Output::Reply { .. }
                | Output::Upgrade { .. }
                | Output::Fetch { .. }
                | Output::Disk { .. }
                | Output::Command { .. } => {}
            }
        }
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.switchboard.handle(at(self.now), input, &mut out);
        self.heard(out);
    }

    /// Time goes on, and whatever is due is done.
    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let mut out = Vec::new();
        self.switchboard.handle_timeout(at(self.now), &mut out);
        self.heard(out);
    }

    fn admit(&mut self, request: &Request) -> RequestId {
        self.switchboard.admit(request).expect("room for a request")
    }

    fn webhook(&mut self, path: &str, caller: u128, status: &str) {
        let request = signed(path, &Caller::new(caller).form(&[("CallStatus", status)]));
        let id = self.admit(&request);
        self.input(Input::Request { id, request });
    }

    /// The oldest command is answered.
    fn answer(&mut self, result: Result<StoreAnswer, StoreError>) {
        let (id, _) = self.commands.remove(0);
        self.input(Input::Stored { id, result });
    }

    fn answer_all(&mut self) {
        while !self.commands.is_empty() {
            self.answer(Ok(StoreAnswer::Done));
        }
    }

    /// The database goes away while it is asked whether this process lives.
    fn goes_away(&mut self) {
        self.pass(limits::NODE_RENEWAL);
        while !self.commands.is_empty() {
            self.answer(away());
        }
    }

    /// What is asked now, in words.
    fn words(&self) -> Vec<String> {
        let word = |command: &StoreCommand| {
            if let StoreCommand::Facts(facts) = command {
                return format!("{} facts", facts.len());
            }
            format!("{command:?}").split(' ').next().unwrap_or_default().to_owned()
        };
        self.commands.iter().map(|(_, command)| word(command)).collect()
    }

    fn spooled(&self) -> usize {
        self.log.iter().filter(|line| line.event == Event::DbSpooled).count()
    }

    fn unwritten(&self) -> usize {
        self.switchboard.gauges().unwritten_facts
    }
}

fn at(mono: Instant) -> Now {
    Now { mono, unix: UnixMillis(1_795_000_000_000) }
}

fn away() -> Result<StoreAnswer, StoreError> {
    Err(StoreError::Unavailable("connection refused".to_owned()))
}

fn refused() -> Result<StoreAnswer, StoreError> {
    Err(StoreError::Refused("a constraint".to_owned()))
}

#[test]
fn a_database_that_was_never_open_is_asked_for_nothing_but_to_open() {
    let mut asked = Asked::new();
    assert_eq!(asked.words(), ["Open"]);
    asked.answer(away());
    assert_eq!(asked.spooled(), 0, "nothing waits");
    asked.webhook(path::CALL_STATUS, 1, "in-progress");
    assert_eq!(asked.spooled(), 1);
    for _ in 0..3 {
        asked.pass(limits::STORE_RETRY_MAX);
        assert_eq!(asked.words(), ["Open"], "facts would find no tables");
        asked.answer(away());
    }
    asked.pass(limits::STORE_RETRY_MAX);
    asked.answer(Ok(StoreAnswer::Done));
    assert!(asked.words().contains(&"2 facts".to_owned()), "{:?}", asked.words());
}

#[test]
fn a_database_that_was_open_is_tried_with_what_waits_and_opened_where_nothing_does() {
    let mut asked = Asked::open();
    asked.goes_away();
    asked.pass(limits::STORE_RETRY_MAX);
    assert_eq!(asked.words(), ["Open"]);
    asked.answer(away());
    asked.webhook(path::CALL_STATUS, 1, "in-progress");
    let waiting = asked.unwritten();
    asked.pass(limits::STORE_RETRY_MAX);
    assert_eq!(asked.words(), [format!("{waiting} facts")]);
}

#[test]
fn while_the_database_is_away_one_batch_is_under_way_however_often_it_is_time_to_try() {
    let mut asked = Asked::open();
    asked.webhook(path::CALL_STATUS, 1, "in-progress");
    asked.webhook(path::CALL_STATUS, 2, "in-progress");
    assert_eq!(asked.commands.len(), 2);
    asked.answer(away());
    for caller in 3..6 {
        asked.pass(limits::STORE_RETRY_MAX);
        asked.webhook(path::CALL_STATUS, caller, "in-progress");
        assert_eq!(asked.commands.len(), 1, "the other one has not been answered: {:?}", asked.words());
    }
    asked.answer(away());
    asked.pass(limits::STORE_RETRY_MAX);
    assert_eq!(asked.words(), [format!("{} facts", asked.unwritten())]);
}

#[test]
fn so_many_batches_of_facts_are_under_way_at_once_and_no_more() {
    let mut asked = Asked::open();
    for caller in 0..limits::FACT_COMMANDS_MAX as u128 + 3 {
        asked.webhook(path::CALL_STATUS, caller, "in-progress");
    }
    let batches = asked.words().into_iter().filter(|word| word.ends_with(" facts")).count();
    assert_eq!(batches, limits::FACT_COMMANDS_MAX);
}

#[test]
fn an_outage_is_over_once_nothing_waits_any_more() {
    let mut asked = Asked::open();
    asked.goes_away();
    let batches = limits::FACT_COMMANDS_MAX + 3;
    for caller in 0.. {
        if asked.unwritten() > batches * limits::FACTS_PER_COMMAND_MAX {
            break;
        }
        asked.webhook(path::CALL_STATUS, caller, "in-progress");
    }
    asked.pass(limits::STORE_RETRY_MAX);
    let replayed = |asked: &Asked| asked.log.iter().filter(|line| line.event == Event::DbReplayed).count();
    asked.answer(Ok(StoreAnswer::Done));
    assert_eq!((asked.words().len() >= limits::FACT_COMMANDS_MAX, replayed(&asked)), (true, 0), "{:?}", asked.words());
    asked.answer_all();
    assert_eq!((asked.unwritten(), replayed(&asked)), (0, 1));
}

#[test]
fn recordings_are_asked_for_anew_after_facts_of_one_and_not_after_others() {
    let mut asked = Asked::with(&[("OPENAI_API_KEY", "sk-test")]);
    asked.answer_all();
    let recording = [("RecordingSid", "RE00000000000000000000000000000001"), ("RecordingStatus", "completed")];
    for (path, more, expected) in [
        (path::CALL_STATUS, &[("CallStatus", "in-progress")][..], &[][..]),
        (path::RECORDING_STATUS, &recording, &["TakeRecordings"]),
    ] {
        let request = signed(path, &Caller::new(1).form(more));
        let id = asked.admit(&request);
        asked.input(Input::Request { id, request });
        while asked.words().first().is_some_and(|word| word.ends_with(" facts")) {
            asked.answer(Ok(StoreAnswer::Done));
        }
        assert_eq!(asked.words(), expected, "{path}");
    }
}

#[test]
fn a_process_that_was_given_as_many_calls_as_it_asks_for_asks_for_more_at_once() {
    for (calls, asks) in [(limits::CALLS_TAKEN_MAX - 1, false), (limits::CALLS_TAKEN_MAX, true)] {
        let mut asked = Asked::open();
        asked.pass(limits::NODE_RENEWAL);
        let place = asked.words().iter().position(|word| word == "Renew").expect("its word");
        let (id, _) = asked.commands.remove(place);
        let calls = (1..=calls).map(|number| known(Caller::new(number.into()))).collect();
        asked.input(Input::Stored { id, result: Ok(StoreAnswer::TakenOver(calls)) });
        assert_eq!(asked.words().iter().any(|word| word == "Renew"), asks, "{:?}", asked.words());
    }
}

#[test]
fn an_overdue_call_that_there_is_no_room_to_ask_about_stays_as_it_is() {
    for ended in [false, true] {
        let mut asked = Asked::open();
        asked.pass(limits::OVERDUE_ROUND);
        let place = asked.words().iter().position(|word| word == "TakeOverdue").expect("its round");
        let (id, _) = asked.commands.remove(place);
        let overdue = |number| OverdueCall {
            call: Caller::new(number).call,
            account: None,
            ended,
            look_ups: limits::LOOK_UPS_MIN,
        };
        let calls = (0..=limits::FETCHES_MAX as u128).map(overdue).collect();
        asked.input(Input::Stored { id, result: Ok(StoreAnswer::Overdue(calls)) });
        assert_eq!((asked.switchboard.gauges().fetches, asked.unwritten()), (limits::FETCHES_MAX, 0), "ended: {ended}");
    }
}

#[test]
fn a_segment_whose_process_never_came_back_has_failed() {
    let mut asked = Asked::with(&[("OPENAI_API_KEY", "sk-test")]);
    while asked.words()[0] != "FindStale" {
        asked.answer(Ok(StoreAnswer::Done));
    }
    let origin = Origin::Stream(Caller::new(1).stream(1));
    let segment = WaitingSegment {
        key: SegmentKey { call: Caller::new(1).call, origin, sequence: 1 },
        node: "node-9".to_owned(),
        started_at: UnixMillis(1_794_000_000_000),
        from: Duration::ZERO,
        to: Duration::from_secs(1),
    };
    asked.answer(Ok(StoreAnswer::Segments(vec![segment])));
    let lost = asked.log.iter().find(|line| line.reason.as_deref() == Some("lost")).expect("it is said");
    assert_eq!(lost.cause.as_deref(), Some("audio on node node-9, which did not come back"));
    assert!(asked.words().contains(&"1 facts".to_owned()), "{:?}", asked.words());
}

/// A call of a process that is gone.
fn known(caller: Caller) -> KnownCall {
    KnownCall {
        call: caller.call,
        account: Some(caller.account),
        host: None,
        source: None,
        streams: 0,
        stream: None,
        heard: false,
        finished: false,
        age: Duration::ZERO,
        recorded: false,
    }
}

#[test]
fn facts_of_a_refused_batch_are_unwritten_until_each_was_tried_by_itself() {
    let mut asked = Asked::open();
    asked.goes_away();
    for caller in 1..=limits::FACT_COMMANDS_MAX as u128 {
        asked.webhook(path::CALL_STATUS, caller, "in-progress");
    }
    let waiting = asked.unwritten();
    asked.pass(limits::STORE_RETRY_MAX);
    assert_eq!(asked.words(), [format!("{waiting} facts")]);
    asked.answer(refused());
    assert_eq!(asked.unwritten(), waiting);
    for left in (1..=waiting).rev() {
        assert_eq!(asked.unwritten(), left);
        let place = asked.words().iter().position(|word| word == "1 facts").expect("one by one");
        asked.commands.swap(0, place);
        asked.answer(refused());
    }
    assert_eq!(asked.unwritten(), 0);
}

#[test]
fn a_process_that_stops_has_drained_once_its_last_word_was_taken() {
    let mut asked = Asked::open();
    asked.input(Input::Drain);
    assert_eq!(asked.words(), ["Retire"]);
    assert!(!asked.switchboard.is_drained(), "others would wait for its lease");
    asked.answer(Ok(StoreAnswer::Done));
    assert!(asked.switchboard.is_drained());

    let mut asked = Asked::open();
    asked.goes_away();
    asked.input(Input::Drain);
    assert_eq!(asked.words(), [""; 0]);
    assert!(asked.switchboard.is_drained(), "there is nobody to take it");
}

#[test]
fn a_process_that_stops_waits_for_a_request_and_for_a_call_without_a_stream() {
    let mut asked = Asked::open();
    let request = asked.admit(&get(path::HEALTHZ));
    asked.input(Input::Drain);
    assert!(asked.words().is_empty() && !asked.switchboard.is_drained());
    asked.input(Input::Request { id: request, request: get(path::HEALTHZ) });
    assert_eq!(asked.words(), ["Retire"]);

    let mut asked = Asked::open();
    asked.webhook(path::INCOMING_CALL, 1, "ringing");
    asked.answer_all();
    asked.input(Input::Drain);
    assert_eq!((asked.words().len(), asked.unwritten()), (0, 0));
    assert!(!asked.switchboard.is_drained());
    asked.webhook(path::CALL_STATUS, 1, "completed");
    asked.answer_all();
    assert!(asked.switchboard.is_drained());
}
