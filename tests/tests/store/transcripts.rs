//! How a call's transcript is joined from its segments (T1).

use super::{AT, call, failed, of_call, on_both, put, recorded, said, segment, stream};
use callwarden_core::limits::SEGMENT_CHARS_MAX;
use callwarden_core::store::{Fact, Job, SegmentFact};
use core::time::Duration;

/// Texts that a step which folds, trims, escapes, cuts or reorders would change.
const TEXTS: [&str; 10] = [
    "שלום, רציתי לשאול מתי אתם פתוחים.",
    "שָׁלוֹם עֲלֵיכֶם מַלְאֲכֵי הַשָּׁרֵת",
    "בשעה 14:30, טלפון 050-123-4567, ₪1,234.50 שהם 3.5%",
    "\u{200f}שלום\u{200e} (abc) \u{202b}עברית\u{202c} \u{2067}ועוד\u{2069}",
    "צה״ל, ג׳ירפה, \"מירכאות\", 'גרש', “שמאל” ו„ימין”, ''; DROP TABLE call_log; --",
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1ee}\u{1f1f1} \u{1f44d}\u{1f3fd}",
    "שׁ \u{fb2a} ש\u{5c1} é e\u{301}",
    "  רווחים  בקצוות\u{a0} ",
    "לוכסן \\ הפוך, אחוז % וקו_תחתון, \\n \\u05d0 $1 {}",
    "שורה\nחדשה\r\nוטאב\t, \u{feff}\u{fffd}\u{10ffff}",
];

#[test]
fn segments_in_any_order_give_a_line_for_each_origin_in_the_order_they_began() {
    let at = |seconds| AT + Duration::from_secs(seconds);
    let heard = |number, origin, sequence, seconds, text: &str| {
        segment(number, origin, sequence, |fact| {
            fact.started_at = at(seconds);
            text.clone_into(&mut fact.text);
        })
    };
    // The first stream has the greater name, and a recording comes last.
    let facts = |number| {
        vec![
            heard(number, stream(9), 0, 1, ""),
            heard(number, stream(9), 1, 1, "שלום,"),
            heard(number, stream(9), 2, 3, "מדבר"),
            heard(number, stream(9), 10, 7, "דני."),
            heard(number, stream(2), 1, 20, "שומעים אותי?"),
            heard(number, recorded(1), 1, 40, "אז אני"),
            heard(number, recorded(1), 2, 45, "משאיר הודעה."),
        ]
    };
    let joined = "שלום, מדבר דני.\nשומעים אותי?\nאז אני משאיר הודעה.";
    on_both(async |database, store| {
        let turns = facts(0).len();
        for turn in 0..turns {
            let number = turn as u128;
            let (mut forwards, mut backwards) = (facts(number), facts(number + 100));
            forwards.rotate_left(turn);
            backwards.rotate_left(turn);
            backwards.reverse();
            for fact in forwards {
                put(&store, vec![fact]).await;
            }
            put(&store, backwards).await;
        }
        let rows = database.rows("call_log").await;
        assert_eq!(rows.len(), 2 * turns);
        for row in rows {
            assert_eq!(row["transcript"], joined, "{}", row["call_sid"]);
        }
    });
}

#[test]
fn origins_that_begin_at_once_are_in_the_order_of_their_names() {
    on_both(async |database, store| {
        for origin in [stream(2), recorded(3), stream(1)] {
            let text = origin.as_str().to_owned();
            put(&store, vec![segment(1, origin, 1, |fact| fact.text = text)]).await;
        }
        let names = [stream(1), stream(2), recorded(3)].map(|origin| origin.as_str().to_owned());
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(of_call(database, 1, "transcript").await, sorted.join("\n"));
    });
}

#[test]
fn calls_do_not_mix() {
    on_both(async |database, store| {
        put(&store, vec![said(1, 1, "אחת"), said(2, 1, "שתיים")]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "אחת");
        assert_eq!(of_call(database, 2, "transcript").await, "שתיים");
    });
}

#[test]
fn a_mark_stands_where_a_segment_failed_until_it_is_done_after_all() {
    let missed = |job: Job, text: &str| {
        segment(1, stream(1), 2, |fact| {
            fact.job = job;
            text.clone_into(&mut fact.text);
        })
    };
    on_both(async |database, store| {
        put(&store, vec![said(1, 1, "אני"), said(1, 3, "מחר")]).await;
        for (job, text, joined) in [
            (Job::waiting(), "", "אני מחר"),
            (failed(3, "tried for too long"), "", "אני […] מחר"),
            (Job::done(4), "אגיע", "אני אגיע מחר"),
            (failed(5, "a late failure"), "", "אני אגיע מחר"),
        ] {
            put(&store, vec![missed(job, text)]).await;
            assert_eq!(of_call(database, 1, "transcript").await, joined);
        }
    });
}

#[test]
fn a_call_of_which_nothing_could_be_transcribed_is_a_mark() {
    on_both(async |database, store| {
        put(&store, vec![segment(1, stream(1), 1, |fact| fact.job = failed(1, "why"))]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "[…]");
    });
}

#[test]
fn the_listening_comes_last_of_its_origin_and_is_a_mark_when_it_was_cut_off() {
    let listening = |job| segment(1, stream(1), 0, |fact| fact.job = job);
    let next = |fact: &mut SegmentFact| {
        fact.started_at = AT + Duration::from_secs(60);
        "אני שוב כאן".clone_into(&mut fact.text);
    };
    on_both(async |database, store| {
        put(&store, vec![listening(Job::waiting()), said(1, 1, "התחלתי"), said(1, 2, "ואז")]).await;
        put(&store, vec![segment(1, stream(2), 1, next)]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "התחלתי ואז\nאני שוב כאן");
        put(&store, vec![listening(failed(0, "the process died"))]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "התחלתי ואז […]\nאני שוב כאן");
        put(&store, vec![listening(Job::done(0))]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "התחלתי ואז\nאני שוב כאן");
    });
}

#[test]
fn a_text_survives_byte_for_byte() {
    on_both(async |database, store| {
        let facts: Vec<Fact> = (1..).zip(TEXTS).map(|(sequence, text)| said(1, sequence, text)).collect();
        put(&store, facts).await;
        let mut stored: Vec<(u32, String)> = database
            .rows("transcript_segments")
            .await
            .into_iter()
            .map(|mut row| (row["sequence"].parse().expect("a number"), row.remove("text").expect("a text")))
            .collect();
        stored.sort_unstable();
        let expected: Vec<(u32, String)> = (1..).zip(TEXTS.map(str::to_owned)).collect();
        assert_eq!(stored, expected);
        assert_eq!(of_call(database, 1, "transcript").await, TEXTS.join(" "));
    });
}

#[test]
fn an_empty_result_never_overwrites_a_text() {
    let again = |attempts, text: &str| {
        segment(1, stream(1), 1, |fact| {
            fact.at = AT + Duration::from_secs(60);
            fact.job = Job::done(attempts);
            text.clone_into(&mut fact.text);
        })
    };
    on_both(async |database, store| {
        put(&store, vec![said(1, 1, "הודעה")]).await;
        put(&store, vec![again(2, "")]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "הודעה");
        put(&store, vec![again(0, "")]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "הודעה");
    });
}

#[test]
fn an_empty_segment_leaves_no_gap() {
    on_both(async |database, store| {
        put(&store, vec![said(1, 1, ""), said(1, 2, "כן"), said(1, 3, ""), said(1, 4, "לא"), said(1, 5, "")]).await;
        put(&store, vec![segment(1, stream(2), 1, |_| {}), segment(1, recorded(1), 1, |_| {})]).await;
        assert_eq!(of_call(database, 1, "transcript").await, "כן לא");
    });
}

#[test]
fn nul_is_replaced_and_nothing_else() {
    on_both(async |database, store| {
        put(&store, vec![said(1, 1, "\0שלום\0\u{1}עולם\0")]).await;
        let replaced = "\u{fffd}שלום\u{fffd}\u{1}עולם\u{fffd}";
        assert_eq!(database.rows("transcript_segments").await[0]["text"], replaced);
        assert_eq!(of_call(database, 1, "transcript").await, replaced);
    });
}

#[test]
fn a_text_of_the_greatest_length_is_kept_and_a_longer_one_is_cut() {
    let longest: String = "שָׁלוֹם \u{1f4de} ".chars().cycle().take(SEGMENT_CHARS_MAX).collect();
    let longer = format!("{longest}ועוד");
    on_both(async |database, store| {
        put(&store, vec![said(1, 1, &longest), said(2, 1, &longer), said(2, 2, &longer)]).await;
        let twice = format!("{longest} {longest}");
        assert!(of_call(database, 1, "transcript").await == longest, "not the longest text");
        assert!(of_call(database, 2, "transcript").await == twice, "not the longest text, twice");
        assert!(database.rows("transcript_segments").await.iter().all(|row| row["text"] == longest));
    });
}

#[test]
fn a_segment_makes_the_row_of_its_call() {
    on_both(async |database, store| {
        put(&store, vec![said(1, 1, "הקדים את השיחה")]).await;
        let rows = database.rows("call_log").await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["call_sid"], call(1).as_str());
        assert_eq!(rows[0]["transcript"], "הקדים את השיחה");
    });
}
