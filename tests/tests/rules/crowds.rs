//! Many calls at once, and what happens at each limit of the switchboard. Virtual time.

use bytes::Bytes;
use callwarden_core::far_end::{Heard, Plan, StreamFault};
use callwarden_core::fetch::FetchResponse;
use callwarden_core::http::{Headers, Request};
use callwarden_core::id::FetchId;
use callwarden_core::limits;
use callwarden_core::log::Event;
use callwarden_core::path;
use callwarden_core::store::KnownCall;
use callwarden_core::switchboard::{Input, Output, Switchboard};
use callwarden_core::time::{Instant, Now, UnixMillis};
use callwarden_tests::world::alone::Alone;
use callwarden_tests::world::script::{Caller, METRICS_TOKEN, get, metric, metrics, signed, text};
use callwarden_tests::world::{RestFault, World, settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Now {
    Now { mono: Instant::from_millis(millis), unix: UnixMillis(1_795_000_000_000) }
}

/// A switchboard on its own whose database never answers, for crowds too large for the world.
fn alone() -> Switchboard {
    Switchboard::new(at(0), settings(&[]), &mut Vec::new())
}

/// Puts a request to it and gives back its outputs.
fn ask(switchboard: &mut Switchboard, now: Now, request: Request) -> Vec<Output> {
    let id = switchboard.admit(&request).expect("room for a request");
    let mut out = Vec::new();
    switchboard.handle(now, Input::Request { id, request }, &mut out);
    assert!(out.len() <= limits::OUTPUTS_PER_INPUT_MAX);
    out
}

fn answer(out: &[Output]) -> String {
    let replies = out.iter().filter_map(|output| match output {
        Output::Reply { response, .. } => Some(text(response).to_owned()),
        Output::Upgrade { .. }
        | Output::Fetch { .. }
        | Output::Store { .. }
        | Output::Disk { .. }
        | Output::Command { .. }
        | Output::Log(_) => None,
    });
    let replies: Vec<String> = replies.collect();
    assert_eq!(replies.len(), 1, "one answer for one request");
    replies.into_iter().next().unwrap_or_default()
}

fn announced(caller: Caller) -> Request {
    signed(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")]))
}

#[test]
fn three_hundred_calls_that_fall_back_at_once_are_all_fetched_within_their_time() {
    let mut world = World::new();
    let calls: Vec<usize> = (0..300).map(|_| world.call(Plan::with_fault(StreamFault::NeverStarts))).collect();
    for call in calls {
        let ledger = world.run_to_the_end_of(call);
        assert!(ledger.total(Heard::Recording) > Duration::ZERO);
        assert!(ledger.longest_silence() < SECOND * 8 + SECOND / 10, "{ledger}");
    }
    world.settle();
}

#[test]
fn deadlines_are_worked_off_in_bounded_turns_and_the_rest_stays_due() {
    let mut switchboard = alone();
    let calls = 3 * limits::EXPIRIES_PER_TURN_MAX;
    for number in 0..calls {
        ask(&mut switchboard, at(1_000), announced(Caller::new(number as u128 + 1)));
    }
    let mut redirected = Vec::new();
    while switchboard.next_timeout().is_some_and(|due| due <= at(9_000).mono) {
        let mut out = Vec::new();
        switchboard.handle_timeout(at(9_000), &mut out);
        redirected.push(out.iter().filter(|output| matches!(output, Output::Fetch { .. })).count());
    }
    assert_eq!(redirected, [limits::EXPIRIES_PER_TURN_MAX; 3]);
}

/// Works off everything due at this moment and gives back the fetches it led to.
fn fetches(switchboard: &mut Switchboard, now: Now) -> Vec<FetchId> {
    let mut out = Vec::new();
    while switchboard.next_timeout().is_some_and(|due| due <= now.mono) {
        switchboard.handle_timeout(now, &mut out);
    }
    let ids = out.iter().filter_map(|output| match output {
        Output::Fetch { id, .. } => Some(*id),
        Output::Reply { .. }
        | Output::Upgrade { .. }
        | Output::Store { .. }
        | Output::Disk { .. }
        | Output::Command { .. }
        | Output::Log(_) => None,
    });
    ids.collect()
}

#[test]
fn more_fallbacks_than_requests_may_be_under_way_wait_for_the_next_free_one() {
    let mut switchboard = alone();
    for number in 1..=limits::FETCHES_MAX + 100 {
        ask(&mut switchboard, at(1_000), announced(Caller::new(number as u128)));
    }
    let first = fetches(&mut switchboard, at(9_000));
    assert_eq!(first.len(), limits::FETCHES_MAX);
    for id in first.into_iter().take(100) {
        let result = Ok(FetchResponse { status: 200, headers: Headers::default(), body: Bytes::new() });
        switchboard.handle(at(9_001), Input::Fetched { id, result }, &mut Vec::new());
    }
    let wait = u64::try_from(limits::NO_ROOM_WAIT.as_millis()).expect("milliseconds");
    assert_eq!(fetches(&mut switchboard, at(9_000 + wait)).len(), 100);
}

#[test]
fn a_process_that_wakes_late_works_off_what_was_due_before() {
    let mut switchboard = alone();
    ask(&mut switchboard, at(1_000), announced(Caller::new(1)));
    let mut out = Vec::new();
    switchboard.handle_timeout(at(60_000), &mut out);
    let said = |wanted: Event| out.iter().any(|output| matches!(output, Output::Log(line) if line.event == wanted));
    assert!(said(Event::WatchdogBlind), "the stream that did not start by eight seconds: {out:?}");
}

#[test]
fn a_memory_full_of_live_calls_answers_with_the_recording_and_one_that_ended_makes_room() {
    let mut switchboard = alone();
    for number in 1..=limits::CALLS_MAX {
        ask(&mut switchboard, at(1_000), announced(Caller::new(number as u128)));
    }
    assert_eq!(switchboard.gauges().calls, limits::CALLS_MAX);
    let late = Caller::new(u128::MAX);
    let document = answer(&ask(&mut switchboard, at(1_001), announced(late)));
    assert!(document.contains("<Record") && !document.contains("<Connect"), "{document}");
    assert_eq!(switchboard.gauges().calls, limits::CALLS_MAX, "it is not watched");

    let over = signed(path::CALL_STATUS, &Caller::new(7).form(&[("CallStatus", "completed")]));
    ask(&mut switchboard, at(1_002), over);
    let document = answer(&ask(&mut switchboard, at(1_003), announced(late)));
    assert!(document.contains("<Connect"), "{document}");
    assert_eq!(switchboard.gauges().calls, limits::CALLS_MAX);
}

#[test]
fn a_call_there_is_no_memory_for_is_counted_however_it_is_heard_of() {
    let settings = settings(&[("METRICS_TOKEN", METRICS_TOKEN)]);
    let (mut full, late) = (Alone::new(settings.clone()), Caller::new(limits::CALLS_MAX as u128 + 1));
    let token = Alone::new(settings).announce(late);
    for number in 1..=limits::CALLS_MAX {
        full.announce(Caller::new(number as u128));
    }
    let unwatched = |full: &mut Alone| metric(&full.reply(metrics()), "calls_unwatched_total");
    assert_eq!(unwatched(&mut full), 0);
    for counted in [1, 2] {
        let told = full.reply(signed(path::CALL_STATUS, &late.form(&[("CallStatus", "ringing")])));
        assert_eq!(told.status, 204);
        assert_eq!(unwatched(&mut full), counted);
    }
    full.present(late, token);
    assert_eq!(unwatched(&mut full), 3);
    full.taken_over.push(KnownCall {
        call: late.call,
        account: Some(late.account),
        host: None,
        source: None,
        streams: 0,
        stream: None,
        heard: false,
        finished: false,
        age: SECOND,
        recorded: false,
    });
    full.run_for(limits::NODE_RENEWAL);
    assert_eq!(unwatched(&mut full), 4);
}

#[test]
fn more_repeats_of_a_webhook_than_may_wait_are_answered_at_once() {
    let mut world = World::new();
    world.database.latency = SECOND / 2;
    let request = announced(Caller::new(1));
    let places: Vec<usize> = (0..=limits::WAITERS_PER_CALL_MAX).map(|_| world.request(request.clone())).collect();
    world.run_for(Duration::ZERO);
    let answered = places.iter().filter(|place| world.answers[**place].is_some()).count();
    assert_eq!(answered, 1);
    for place in places {
        assert!(text(&world.answer(place)).contains("<Connect"));
    }
    assert_eq!(world.logged(Event::IncomingCall).len(), 1);
}

#[test]
fn one_request_too_many_gets_503_but_a_webhook_its_recording() {
    let mut switchboard = alone();
    let page = get(path::HEALTHZ);
    let admitted: Vec<_> = (0..limits::REQUESTS_MAX).map(|_| switchboard.admit(&page).expect("room")).collect();
    assert_eq!(switchboard.admit(&page).expect_err("no room").status, 503);
    let webhook = signed(path::INCOMING_CALL, &Caller::new(1).form(&[]));
    let refused = switchboard.admit(&webhook).expect_err("no room");
    assert!(refused.status == 200 && text(&refused).contains("<Record "), "{refused:?}");
    let mut out = Vec::new();
    switchboard.handle(at(0), Input::Request { id: admitted[0], request: page.clone() }, &mut out);
    assert!(switchboard.admit(&page).is_ok(), "an answer makes room");
}

#[test]
fn more_sockets_than_may_be_open_are_refused() {
    let mut switchboard = alone();
    let mut request = get(path::MEDIA);
    request.headers.push("connection", "Upgrade");
    request.headers.push("upgrade", "websocket");
    for _ in 0..limits::STREAMS_MAX {
        let out = ask(&mut switchboard, at(0), request.clone());
        assert!(out.iter().any(|output| matches!(output, Output::Upgrade { .. })));
    }
    assert_eq!(answer(&ask(&mut switchboard, at(0), request)), "too many open streams\n");
}

#[test]
fn more_rows_than_may_be_at_the_database_wait_for_their_turn_and_nobody_waits_for_them() {
    let mut world = World::new();
    world.database.latency = SECOND * 3 / 4;
    let calls = limits::STORE_COMMANDS_MAX as u128 + 50;
    for number in 1..=calls {
        world.request(announced(Caller::new(number)));
    }
    world.run_for(Duration::ZERO);
    let answered = world.answers.iter().flatten().count();
    assert!((50..60).contains(&answered), "{answered} are answered without waiting");
    world.run_for(SECOND * 5);
    assert_eq!(world.answers.iter().flatten().count() as u128, calls);
    assert!((1..=calls).all(|number| world.database.status(Caller::new(number).call).is_some()));
}

#[test]
fn rows_under_way_leave_room_for_the_queue_of_facts_and_an_opening() {
    let mut alone = Alone::new(settings(&[]));
    alone.database_is_lost = true;
    let calls = limits::STORE_COMMANDS_MAX;
    for number in 1..=calls {
        alone.ask(announced(Caller::new(number as u128)));
    }
    let kept = limits::FACT_COMMANDS_MAX + 1;
    assert_eq!(calls - alone.answered(), limits::STORE_COMMANDS_MAX - kept);
}

#[test]
fn a_runtime_that_owes_an_answer_for_ever_costs_an_update_and_no_caller() {
    let mut world = World::new();
    world.rest_always = RestFault::Slow(SECOND * 3_600);
    world.announce(Caller::new(1));
    world.run_for(SECOND * 30);
    let updates: Vec<_> = world.rest_log.iter().map(|(at, ..)| *at).collect();
    let wait = limits::REST_TIME + limits::REST_GRACE + limits::AMBIGUOUS_WAIT;
    assert_eq!(updates[1].since(updates[0]), wait, "an update without an answer counts as ambiguous (W7)");
    assert_eq!(updates[2].since(updates[1]), wait);
}

#[test]
fn codes_statuses_and_paths_are_cut_to_what_is_worth_keeping() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let long = "ש".repeat(200);
    world.webhook(path::CALL_STATUS, caller, &[("CallStatus", &long)]);
    world.webhook(path::INCOMING_CALL, caller, &[("ErrorCode", &long)]);
    world.ask(get(&format!("/{long}?{long}")));
    world.run_for(SECOND);
    let kept = "ש".repeat(limits::ERROR_CODE_CHARS_MAX);
    let status = world.database.events.iter().find(|event| event.event == "call_status").expect("noted");
    assert_eq!(status.detail, kept);
    let how_far = world.database.how_far(caller.call).expect("it fell back");
    assert!(how_far.ends_with(&format!("error {kept}")), "{how_far}");
    let paths = world.logged(Event::Req).into_iter().filter_map(|line| line.path.as_ref());
    assert_eq!(paths.map(|path| path.chars().count()).max(), Some(limits::LOGGED_PATH_CHARS_MAX));
}
