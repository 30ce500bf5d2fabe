//! Every call ends with a transcript or with a written reason why not, and `pending` is never final (T7).

use super::known::*;
use super::{AT, call, fact, failed, of_call, on_both, put, segment, stream};
use callwarden_tests::database::Row;
use std::collections::BTreeMap;

/// What is added to a call's number for the call of which the same became known backwards.
const BACKWARDS: u128 = 1_000;

/// What is known of a call, in the order it became known, and how its transcript stands then.
const CASES: [(&[Known], &str); 58] = [
    // A call that goes on.
    (&[BEGUN], "pending"),
    (&[BEGUN, SAID], "pending"),
    (&[BEGUN, SAID, SECOND_FAILED], "pending"),
    (&[BEGUN, FELL_BACK], "pending"),
    (&[BEGUN, FELL_BACK, COMPLETED, RECORDING_SAID, RECORDING_DONE], "pending"),
    (&[BEGUN, TO_BE_RECORDED, ABSENT], "pending"),
    (&[BEGUN, TO_BE_RECORDED, MISSING], "pending"),
    // A stream.
    (&[BEGUN, ENDED], "empty"),
    (&[ENDED], "empty"),
    (&[BEGUN, SAID, ENDED], "done"),
    (&[BEGUN, NOTHING_SAID, ENDED], "empty"),
    (&[BEGUN, NOTHING_SAID, SECOND_DONE, ENDED], "done"),
    (&[BEGUN, SECOND_WAITS, ENDED], "pending"),
    (&[BEGUN, SAID, ENDED, SECOND_WAITS], "pending"),
    (&[BEGUN, SAID, ENDED, SECOND_WAITS, SECOND_DONE], "done"),
    (&[BEGUN, ENDED, SECOND_FAILED], "failed: the audio is lost"),
    (&[BEGUN, SAID, ENDED, SECOND_FAILED], "failed: the audio is lost"),
    (&[BEGUN, SAID, ENDED, SECOND_FAILED, THIRD_FAILED], "failed: a bad answer"),
    (&[BEGUN, SAID, ENDED, SECOND_FAILED, SECOND_DONE], "done"),
    (&[BEGUN, SAID, ENDED, SECOND_DONE, SECOND_FAILED], "done"),
    (&[BEGUN, SAID, ENDED, SECOND_WAITS, THIRD_FAILED], "pending"),
    // A recording that should be there.
    (&[BEGUN, TO_BE_RECORDED, ENDED], "pending"),
    (&[BEGUN, FELL_BACK, ENDED], "pending"),
    (&[BEGUN, SAID, FELL_BACK, ENDED], "pending"),
    (&[BEGUN, SAID, FELL_BACK, ENDED, SECOND_FAILED], "pending"),
    (&[BEGUN, FELL_BACK, RUNNING, ENDED], "pending"),
    (&[BEGUN, RUNNING, ENDED], "pending"),
    // A recording that waits.
    (&[BEGUN, FELL_BACK, RUNNING, RECORDED, ENDED], "pending"),
    (&[BEGUN, FELL_BACK, RUNNING, COMPLETED, ENDED], "pending"),
    (&[BEGUN, FELL_BACK, COMPLETED, ENDED, RECORDING_LATER], "pending"),
    (&[BEGUN, FELL_BACK, COMPLETED, ENDED, RECORDING_SAID], "pending"),
    (&[BEGUN, SAID, FELL_BACK, COMPLETED, ENDED, SECOND_FAILED], "pending"),
    (&[BEGUN, FELL_BACK, COMPLETED, RECORDING_SAID, RECORDING_DONE, OTHER_COMPLETED, ENDED], "pending"),
    // A recording that is transcribed.
    (&[BEGUN, TO_BE_RECORDED, COMPLETED, RECORDING_SAID, RECORDING_DONE, ENDED], "done"),
    (&[BEGUN, FELL_BACK, RUNNING, ENDED, RECORDED, COMPLETED, RECORDING_SAID, RECORDING_DONE], "done"),
    (&[BEGUN, FELL_BACK, COMPLETED, RECORDING_DONE, ENDED], "empty"),
    (&[BEGUN, SAID, FELL_BACK, COMPLETED, RECORDING_DONE, ENDED], "done"),
    // A recording that failed.
    (&[BEGUN, FELL_BACK, COMPLETED, RECORDING_FAILED, ENDED], "failed: not a WAV"),
    (&[BEGUN, SAID, FELL_BACK, COMPLETED, RECORDING_FAILED, ENDED], "failed: not a WAV"),
    (&[BEGUN, FELL_BACK, COMPLETED, BLOCKED, ENDED], "failed: the key is wrong"),
    (&[BEGUN, FELL_BACK, COMPLETED, BLOCKED, RECORDING_LATER, ENDED], "failed: the key is wrong"),
    (&[BEGUN, FELL_BACK, COMPLETED, BLOCKED, RECORDING_SAID, RECORDING_DONE, ENDED], "done"),
    (&[BEGUN, FELL_BACK, COMPLETED, RECORDING_FAILED, OTHER_FAILED, ENDED], "failed: gone"),
    (&[BEGUN, FELL_BACK, COMPLETED, RECORDING_FAILED, ENDED, SECOND_FAILED], "failed: the audio is lost"),
    // Nothing was recorded.
    (&[BEGUN, FELL_BACK, ABSENT, ENDED], "failed: Twilio kept no recording"),
    (&[BEGUN, FELL_BACK, RUNNING, ENDED, ABSENT], "failed: Twilio kept no recording"),
    (&[BEGUN, SAID, FELL_BACK, ABSENT, ENDED], "done"),
    (&[BEGUN, FELL_BACK, ABSENT, OTHER_COMPLETED, OTHER_DONE, ENDED], "empty"),
    // Twilio told of no recording.
    (&[BEGUN, FELL_BACK, ENDED, MISSING], "failed: no recording"),
    (&[BEGUN, SAID, FELL_BACK, ENDED, MISSING], "failed: no recording"),
    (&[BEGUN, FELL_BACK, RUNNING, ENDED, MISSING], "failed: no recording"),
    (&[BEGUN, FELL_BACK, ENDED, MISSING, COMPLETED], "pending"),
    (&[BEGUN, FELL_BACK, ENDED, MISSING, COMPLETED, RECORDING_SAID, RECORDING_DONE], "done"),
    (&[BEGUN, FELL_BACK, ENDED, MISSING, ABSENT], "failed: Twilio kept no recording"),
    (&[BEGUN, SAID, FELL_BACK, ENDED, MISSING, ABSENT], "done"),
    // Nothing is transcribed.
    (&[DISABLED], "disabled"),
    (&[DISABLED, FELL_BACK, COMPLETED, SECOND_WAITS, ENDED], "disabled"),
    (&[BEGUN, SAID, ENDED, DISABLED], "disabled"),
];

#[test]
fn the_status_follows_from_what_is_known_in_whatever_order_it_became_known() {
    on_both(async |database, store| {
        for (number, (known, _)) in (1_u128..).zip(CASES) {
            for fact in known {
                put(&store, vec![fact(number)]).await;
            }
            for fact in known.iter().rev() {
                put(&store, vec![fact(number + BACKWARDS)]).await;
            }
        }
        let rows = database.rows("call_log").await;
        let rows: BTreeMap<&str, &Row> = rows.iter().map(|row| (row["call_sid"].as_str(), row)).collect();
        for (number, (_, status)) in (1..).zip(CASES) {
            for (number, order) in [(number, "as it came"), (number + BACKWARDS, "backwards")] {
                let told = &rows[call(number).as_str()]["transcript_status"];
                assert_eq!(told, status, "case {number}, {order}, in {:?}", database.database());
            }
        }
    });
}

#[test]
fn a_call_moved_to_a_recording_is_pending_until_all_of_it_is_transcribed() {
    let steps: [(Known, &str, &str); 9] = [
        (BEGUN, "pending", ""),
        (SAID, "pending", "שלום"),
        (FELL_BACK, "pending", "שלום"),
        (RUNNING, "pending", "שלום"),
        (ENDED, "pending", "שלום"),
        (COMPLETED, "pending", "שלום"),
        (RECORDING_SAID, "pending", "שלום\nהקלטה"),
        (BLOCKED, "failed: the key is wrong", "שלום\nהקלטה"),
        (RECORDING_DONE, "done", "שלום\nהקלטה"),
    ];
    on_both(async |database, store| {
        for (fact, status, transcript) in steps {
            put(&store, vec![fact(1)]).await;
            assert_eq!(of_call(database, 1, "transcript_status").await, status);
            assert_eq!(of_call(database, 1, "transcript").await, transcript);
        }
    });
}

#[test]
fn a_reason_is_kept_as_it_was_told() {
    let why = "השירות ענה \"לא\" \u{200f}(HTTP 400)\u{200e} – 'model_not_found'";
    on_both(async |database, store| {
        let lost = segment(1, stream(1), 1, |fact| fact.job = failed(1, why));
        put(&store, vec![lost, fact(1, |fact| fact.ended_at = Some(AT))]).await;
        assert_eq!(of_call(database, 1, "transcript_status").await, format!("failed: {why}"));
    });
}
