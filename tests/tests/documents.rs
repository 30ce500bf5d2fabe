//! Tables of the documentation that repeat code say what the code says.

use callwarden_core::config::{Config, SETTINGS};
use callwarden_core::limits::{
    AUDIO_AGE_MAX, BAD_MESSAGES_IN_A_ROW_MAX, BODY_BYTES_MAX, BODY_TIME, CALLS_MAX, CONNECTIONS_MAX, FACTS_WAITING_MAX,
    HEAD_BYTES_MAX, HEAD_TIME, HEADERS_MAX, MESSAGE_BYTES_MAX, PROMPT_BYTES_MAX, PROMPT_TEXT_CHARS_MAX,
    RECORDING_BYTES_MAX, RECORDING_TIME, REST_TWIML_CHARS_MAX, ROW_TIME, SPEECH_MEMORY_MAX, SPEECH_ON_DISK_MAX,
    SPOOL_BYTES_MAX, START_TIME, STREAMS_MAX, STREAMS_PER_CALL_MAX, TRANSCRIPTIONS_MAX, UTTERANCE_TIME_MAX,
};
use callwarden_core::log::Event;
use std::time::Duration;

const README: &str = include_str!("../../README.md");
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// The first two cells of each row of the table with this header.
fn table<'a>(document: &'a str, header: &str) -> Vec<(&'a str, &'a str)> {
    let rows = document.lines().skip_while(|line| *line != header).skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(str::trim);
        (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
    });
    cells.collect()
}

/// A number as the documents write it.
fn number(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn hours(time: Duration) -> String {
    format!("{} h", time.as_secs_f64() / 3_600.0)
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

#[test]
fn the_readme_lists_every_setting_in_order_with_its_default() {
    let rows = table(README, "| name | default | effect |");
    let names: Vec<_> = rows.iter().map(|(name, _)| name.trim_matches('`')).collect();
    assert_eq!(names, SETTINGS.map(|setting| setting.name));
    let in_force = Config::from_pairs([]).expect("development mode").describe();
    for ((setting, (name, shown)), (_, value)) in SETTINGS.iter().zip(rows).zip(in_force) {
        match setting.default {
            Some(default) => assert_eq!(shown, default, "{name}"),
            None => assert!(!shown.is_empty() && shown.contains(&value), "{name}: {shown:?} does not say {value:?}"),
        }
    }
}

#[test]
fn the_readme_shows_the_limits_that_hold() {
    let bytes = |bytes: usize, unit: usize, name: &str| {
        assert_eq!(bytes % unit, 0, "{bytes} bytes are no whole {name}");
        format!("{} {name}", number(bytes / unit))
    };
    let kib = |count: usize| bytes(count, 1024, "KiB");
    let mib = |count: usize| bytes(count, 1024 * 1024, "MiB");
    let gib = bytes(usize::try_from(SPEECH_ON_DISK_MAX).expect("64 bits"), 1024 * 1024 * 1024, "GiB");
    let spool = bytes(SPOOL_BYTES_MAX, 1024 * 1024 * 1024, "GiB");
    let expected = [
        ("request head", format!("{}, {HEADERS_MAX} lines, {}", kib(HEAD_BYTES_MAX), seconds(HEAD_TIME))),
        ("request body", format!("{}, {}", kib(BODY_BYTES_MAX), seconds(BODY_TIME))),
        ("connections", number(CONNECTIONS_MAX)),
        ("open WebSockets", number(STREAMS_MAX)),
        ("calls in memory", number(CALLS_MAX)),
        ("one WebSocket message", kib(MESSAGE_BYTES_MAX)),
        ("messages that cannot be read, in a row", BAD_MESSAGES_IN_A_ROW_MAX.to_string()),
        ("time from upgrade to a valid `start`", seconds(START_TIME)),
        ("streams of one call", STREAMS_PER_CALL_MAX.to_string()),
        ("facts that wait for the database", format!("{} in memory, {spool} in `DATA_DIR`", number(FACTS_WAITING_MAX))),
        ("a webhook's wait for its row", seconds(ROW_TIME)),
        ("TwiML in a REST update", format!("{} characters", number(REST_TWIML_CHARS_MAX))),
        ("a prompt", format!("{}, or {PROMPT_TEXT_CHARS_MAX} characters of text", mib(PROMPT_BYTES_MAX))),
        ("an utterance", seconds(UTTERANCE_TIME_MAX)),
        (
            "speech that waits to be transcribed",
            format!("{}, {} in `DATA_DIR`, {} in memory", hours(AUDIO_AGE_MAX), gib, mib(SPEECH_MEMORY_MAX)),
        ),
        ("transcription requests at once", format!("{TRANSCRIPTIONS_MAX}; one while the service fails")),
        (
            "a recording",
            format!(
                "{}, {} of download, {} of trying",
                mib(RECORDING_BYTES_MAX),
                seconds(RECORDING_TIME),
                hours(AUDIO_AGE_MAX)
            ),
        ),
    ];
    assert_eq!(
        table(README, "| what | bound | what happens there |"),
        expected.each_ref().map(|(what, bound)| (*what, bound.as_str()))
    );
}

#[test]
fn the_operators_page_explains_every_log_event_in_order() {
    let rows = table(OPERATIONS, "| event | level | meaning | fields beside `call_sid` |");
    let names: Vec<_> =
        rows.iter().flat_map(|(names, _)| names.split(", ")).map(|name| name.trim_matches('`')).collect();
    let expected: Vec<_> = Event::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(names, expected);
}
