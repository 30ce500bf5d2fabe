use super::*;
use crate::sid::{AccountSid, StreamSid};
use crate::sid::{CallSid, RecordingSid};
use crate::store::{
    CallStatus, FallbackReason, JobState, KnownCall, Origin, OverdueCall, RecordingState, SegmentKey, Source,
    TakenRecording, WaitingSegment,
};

const DIALECTS: [Dialect; 2] = [Dialect::Postgres, Dialect::Sqlite];
const VERBS: [Verb; 21] = [
    Verb::RenewNode,
    Verb::DeclareGone,
    Verb::MergeCall,
    Verb::Claim,
    Verb::ClaimRefusal,
    Verb::Release,
    Verb::FindCall,
    Verb::TakeOverdue,
    Verb::TakeOver,
    Verb::AddEvent,
    Verb::MergeRecording,
    Verb::PassOver,
    Verb::TakeRecordings,
    Verb::ReturnRecordings,
    Verb::ReturnOfTheGone,
    Verb::MergeSegment,
    Verb::DoneSegment,
    Verb::SegmentsOf,
    Verb::StaleSegments,
    Verb::JoinTranscript,
    Verb::ForgetNodes,
];

fn call_fact(call: u128, at: i64) -> Fact {
    Fact::Call(Box::new(CallFact::new(CallSid::from_number(call), UnixMillis(at), "node")))
}

fn event(call: u128, detail: &str) -> Fact {
    let call = CallSid::from_number(call);
    Fact::Event(EventFact { call, at: UnixMillis(1), event: "note".into(), detail: detail.to_owned() })
}

fn recording(number: u128) -> Fact {
    Fact::Recording(RecordingFact {
        recording: RecordingSid::from_number(number),
        call: CallSid::from_number(1),
        at: UnixMillis(1),
        state: RecordingState::InProgress,
        duration_seconds: None,
        node: "node".to_owned(),
        job: None,
    })
}

fn segment(sequence: u32) -> Fact {
    let stream = StreamSid::from_number(1);
    Fact::Segment(Box::new(SegmentFact {
        key: SegmentKey { call: CallSid::from_number(1), origin: Origin::Stream(stream), sequence },
        at: UnixMillis(1),
        node: "node".to_owned(),
        started_at: UnixMillis(1),
        from: Duration::ZERO,
        to: Duration::from_secs(1),
        job: Job::waiting(),
        text: "שלום".to_owned(),
    }))
}

fn kind(value: &Parameter) -> Column {
    match value {
        Parameter::Text(_) => Column::Text,
        Parameter::Integer(_) => Column::Integer,
    }
}

/// The highest placeholder of a text.
fn placeholders(sql: &str) -> usize {
    sql.split('$')
        .skip(1)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number"))
        .max()
        .unwrap_or(0)
}

#[test]
fn each_placeholder_has_its_parameter() {
    let call = CallSid::from_number(1);
    let commands = [
        StoreCommand::Facts(vec![call_fact(1, 1), event(1, "said שלום"), recording(1), segment(1)]),
        StoreCommand::TakeRecordings { node: "node".to_owned(), limit: 1 },
        StoreCommand::TakeOverdue,
        StoreCommand::FindDone {
            segments: vec![SegmentKey { call, origin: Origin::Stream(StreamSid::from_number(1)), sequence: 1 }],
        },
        StoreCommand::Inherit { node: "node".to_owned() },
        StoreCommand::FindStale,
        StoreCommand::Claim(Claim {
            call,
            node: "node".to_owned(),
            at: UnixMillis(1),
            known_streams: 0,
            knows_finished: false,
        }),
        StoreCommand::Release { call, node: "node".to_owned() },
        StoreCommand::Renew { node: "node".to_owned(), gone: vec!["gone".to_owned()] },
        StoreCommand::FindCall { call },
        StoreCommand::Retire { node: "node".to_owned() },
    ];
    for dialect in DIALECTS {
        for statement in commands.iter().flat_map(|command| statements(command, dialect)) {
            assert_eq!(placeholders(statement.sql), statement.parameters.len(), "{}", statement.sql);
        }
    }
    assert!(statements(&StoreCommand::Open, Dialect::Postgres).is_empty());
}

#[test]
fn the_lists_in_the_texts_are_in_the_order_of_the_types() {
    let statuses = CallStatus::ALL.map(CallStatus::as_str);
    let reasons = FallbackReason::ALL.map(FallbackReason::as_str);
    let states =
        [RecordingState::InProgress, RecordingState::Absent, RecordingState::Completed].map(RecordingState::as_str);
    let terminal: Vec<_> = CallStatus::ALL
        .iter()
        .filter(|status| status.is_terminal())
        .map(|status| format!("'{}'", status.as_str()))
        .collect();
    for dialect in DIALECTS {
        assert!(Verb::MergeCall.sql(dialect).contains(&format!("('{}',", statuses.join(" "))));
        assert!(Verb::MergeCall.sql(dialect).contains(&format!("('{}',", reasons.join(" "))));
        assert!(Verb::MergeRecording.sql(dialect).contains(&format!("('{}',", states.join(" "))));
        for verb in [Verb::Claim, Verb::TakeOver] {
            assert!(verb.sql(dialect).contains(&format!("NOT IN ({})", terminal.join(", "))));
        }
        assert!(Verb::ClaimRefusal.sql(dialect).contains(&format!("IN ({})", terminal.join(", "))));
    }
    for list in [&statuses[..], &reasons, &states] {
        for (place, name) in list.iter().enumerate() {
            let first = list.iter().position(|other| other.contains(name));
            assert_eq!(first, Some(place), "{name} would be found inside another word of its list");
        }
    }
}

#[test]
fn a_transaction_locks_its_rows_in_one_order_and_says_nothing_twice() {
    let facts = vec![
        recording(2),
        event(2, "b"),
        call_fact(2, 1),
        event(1, "c"),
        call_fact(1, 2),
        event(2, "a"),
        call_fact(1, 2),
        recording(1),
    ];
    let mut backwards = facts.clone();
    backwards.reverse();
    for dialect in DIALECTS {
        let forwards = statements(&StoreCommand::Facts(facts.clone()), dialect);
        assert_eq!(forwards, statements(&StoreCommand::Facts(backwards.clone()), dialect));
        let keys: Vec<_> = forwards
            .iter()
            .map(|statement| {
                let verb = VERBS.into_iter().find(|verb| verb.sql(dialect) == statement.sql).expect("a verb");
                (verb, statement.parameters[0].clone())
            })
            .collect();
        assert!(keys.is_sorted());
        assert_eq!(keys.len(), 9);
    }
}

#[test]
fn texts_are_cut_at_the_limit_and_never_hold_nul() {
    let long = "שלום\0".repeat(200_000);
    let Parameter::Text(Some(stored)) = text(&long) else { panic!("a text") };
    assert_eq!(stored.chars().count(), TEXT_CHARS_MAX);
    assert!(stored.starts_with("שלום\u{fffd}שלום"));
    assert_eq!(storable("עד כאן", TEXT_CHARS_MAX), "עד כאן");
}

#[test]
fn times_and_counts_stay_within_what_both_databases_keep() {
    assert_eq!(time(Some(UnixMillis(-1))), Parameter::Integer(Some(0)));
    assert_eq!(time(Some(UnixMillis(i64::MAX))), time(Some(STORED_TIME_MAX)));
    assert_eq!(count(Some(u64::MAX)), Parameter::Integer(Some(i64::MAX)));
    assert_eq!((time(None), count(None)), (Parameter::Integer(None), Parameter::Integer(None)));
}

#[test]
fn only_a_claim_is_answered_by_the_number_of_rows() {
    let call = CallSid::from_number(1);
    let claim = StoreCommand::Claim(Claim {
        call,
        node: String::new(),
        at: UnixMillis(0),
        known_streams: 0,
        knows_finished: false,
    });
    let (none, one) = (Outcome::default(), Outcome { rows_affected: 1, rows: Vec::new() });
    assert_eq!(
        (answer(&claim, &none), answer(&claim, &one)),
        (StoreAnswer::Claimed(Err(Refusal::Held)), StoreAnswer::Claimed(Ok(())))
    );
    for reason in Refusal::ALL {
        let refused = Outcome { rows_affected: 0, rows: vec![vec![text(reason.as_str())]] };
        assert_eq!(answer(&claim, &refused), StoreAnswer::Claimed(Err(reason)));
        let sql = Verb::ClaimRefusal.sql(Dialect::Postgres);
        assert!(sql.contains(&format!("'{}'", reason.as_str())), "{sql}");
    }
    assert_eq!(answer(&StoreCommand::Open, &none), StoreAnswer::Done);
    assert_eq!(answer(&StoreCommand::Facts(Vec::new()), &none), StoreAnswer::Done);
    assert_eq!(answer(&StoreCommand::Release { call, node: String::new() }, &none), StoreAnswer::Done);
}

#[test]
fn rows_are_read_as_what_they_stand_for_and_others_are_passed_over() {
    let (call, account) = (CallSid::from_number(1), AccountSid::from_number(2));
    let (recording, stream) = (RecordingSid::from_number(3), StreamSid::from_number(4));
    let integer = |number| Parameter::Integer(Some(number));
    let nothing = || Parameter::Text(None);
    let of = |command: &StoreCommand, row: Vec<Parameter>| {
        let kinds: Vec<Column> = row.iter().map(kind).collect();
        for dialect in DIALECTS {
            let returned = statements(command, dialect).into_iter().map(|statement| statement.columns);
            assert!(returned.into_iter().any(|columns| columns == kinds), "{command:?} is read as {kinds:?}");
        }
        let rows = vec![row, vec![text("an edited row")], Vec::new()];
        answer(command, &Outcome { rows_affected: 0, rows })
    };
    let taken = of(
        &StoreCommand::TakeRecordings { node: String::new(), limit: 1 },
        vec![text(recording.as_str()), text(call.as_str()), nothing(), integer(5), integer(6), integer(1), text("1 3")],
    );
    let expected = TakenRecording {
        recording,
        call,
        account: None,
        created_at: UnixMillis(5),
        attempt: 6,
        failed: true,
        done: vec![1, 3],
    };
    assert_eq!(taken, StoreAnswer::Recordings(vec![expected]));
    let row = vec![text(call.as_str()), text(account.as_str()), integer(2), integer(0)];
    let expected = OverdueCall { call, account: Some(account), look_ups: 2, ended: false };
    assert_eq!(of(&StoreCommand::TakeOverdue, row), StoreAnswer::Overdue(vec![expected]));
    let place = [text(call.as_str()), text(stream.as_str()), integer(7), text("node"), integer(8), integer(9)];
    let row = place.into_iter().chain([integer(10)]).collect();
    let expected = WaitingSegment {
        key: SegmentKey { call, origin: Origin::Stream(stream), sequence: 7 },
        node: "node".to_owned(),
        started_at: UnixMillis(8),
        from: Duration::from_millis(9),
        to: Duration::from_millis(10),
    };
    let (key, found) = (expected.key, StoreAnswer::Segments(vec![expected]));
    assert_eq!(of(&StoreCommand::FindStale, row), found);
    let known = |flags: [i64; 3]| {
        let [heard, finished, recorded] = flags.map(integer);
        let start = [text(call.as_str()), text(account.as_str()), text("host"), text("stream"), integer(2)];
        start.into_iter().chain([text(stream.as_str()), heard, finished, integer(9), recorded]).collect()
    };
    for flags in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
        let [heard, finished, recorded] = flags.map(|flag| flag != 0);
        let expected = KnownCall {
            call,
            account: Some(account),
            host: Some("host".to_owned()),
            source: Some(Source::Stream),
            streams: 2,
            stream: Some(stream),
            heard,
            finished,
            age: Duration::from_millis(9),
            recorded,
        };
        assert_eq!(
            of(&StoreCommand::FindCall { call }, known(flags)),
            StoreAnswer::Found(Some(Box::new(expected.clone())))
        );
        let renew = StoreCommand::Renew { node: String::new(), gone: Vec::new() };
        assert_eq!(of(&renew, known(flags)), StoreAnswer::TakenOver(vec![expected]));
    }
    let row = vec![text(call.as_str()), text(stream.as_str()), integer(7)];
    assert_eq!(of(&StoreCommand::FindDone { segments: vec![key] }, row), StoreAnswer::Known(vec![key]));
}

#[test]
fn whatever_a_transcript_follows_from_joins_it_anew_under_the_lock_of_its_call() {
    let ended = Fact::Call(Box::new(CallFact {
        ended_at: Some(UnixMillis(1)),
        ..CallFact::new(CallSid::from_number(1), UnixMillis(1), "node")
    }));
    for dialect in DIALECTS {
        for fact in [segment(1), recording(1), ended.clone()] {
            let statements = statements(&StoreCommand::Facts(vec![fact]), dialect);
            assert_eq!(statements.first().map(|first| first.sql), Some(Verb::MergeCall.sql(dialect)));
            assert_eq!(statements.last().map(|last| last.sql), Some(Verb::JoinTranscript.sql(dialect)));
        }
        assert_eq!(statements(&StoreCommand::Facts(vec![call_fact(1, 1)]), dialect).len(), 1);
    }
}

#[test]
fn the_ranks_of_a_job_in_the_texts_are_in_the_order_of_the_type() {
    let states = [JobState::Waiting, JobState::Failed, JobState::Done];
    assert!(states.is_sorted());
    let names = states.map(|state| state.as_str().unwrap_or("waiting")).join(" ");
    for (dialect, verb) in
        DIALECTS.into_iter().flat_map(|dialect| [Verb::MergeRecording, Verb::MergeSegment].map(|verb| (dialect, verb)))
    {
        assert!(verb.sql(dialect).contains(&format!("('{names}',")));
    }
}

#[test]
fn bad_data_is_refused_and_everything_else_may_pass() {
    for code in ["22021", "22P05", "23505", "23514", "54000"] {
        assert!(Dialect::Postgres.refuses(code), "{code}");
    }
    for code in
        ["08006", "25006", "28P01", "3D000", "40001", "40P01", "42P01", "53100", "53300", "55P03", "57014", "57P01"]
    {
        assert!(!Dialect::Postgres.refuses(code), "{code}");
    }
    for code in ["18", "19", "20", "1299", "2067", "3091"] {
        assert!(Dialect::Sqlite.refuses(code), "{code}");
    }
    for code in ["5", "6", "8", "10", "11", "13", "14", "26", "261", "517", ""] {
        assert!(!Dialect::Sqlite.refuses(code), "{code}");
    }
}
