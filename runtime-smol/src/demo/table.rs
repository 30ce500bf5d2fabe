//! The demo's words: pure text, at most [`WIDTH`] columns wide.

use super::rows::Row;
use super::scenes::Scene;
use super::text::{isolated, wrapped};
use super::verdict::{Played, acted_after, state, who};
use callwarden_core::far_end::{Heard, Ledger};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Columns of a terminal that is used for reading.
const WIDTH: usize = 100;
/// Columns before a transcript.
const TRANSCRIPT_AT: usize = 15;

/// Said before the calls; `transcribing` says who does that.
pub(super) fn opening(server: SocketAddr, scenes: &[Scene], transcribing: &str) -> String {
    let mut text = format!("A real server on {server}, a simulated Twilio, {} callers at once:\n\n", scenes.len());
    for (number, scene) in (1..).zip(scenes) {
        lines(&mut text, format_args!("  {number}  {}", scene.name));
    }
    lines(&mut text, format_args!("\n{transcribing}"));
    text
}

/// How the calls stand: one line that can be written over.
pub(super) fn progress(elapsed: Duration, ledgers: &[Ledger]) -> String {
    standing(elapsed, ledgers.iter().map(state))
}

/// How the transcripts of calls that are over stand: a line of the same width.
pub(super) fn transcripts(elapsed: Duration, rows: &[Option<&Row>]) -> String {
    standing(elapsed, rows.iter().map(|row| row.map_or("pending", status)))
}

fn standing<'a>(elapsed: Duration, words: impl Iterator<Item = &'a str>) -> String {
    let mut text = format!("  {:2} s", elapsed.as_secs());
    for (number, word) in (1..).zip(words) {
        write!(text, "   {number} {word:<9}").expect("writing to a string does not fail");
    }
    text
}

/// Said after the calls.
pub(super) fn account(played: &[Played], database: &Path) -> String {
    let mut text = String::from("\nWhat each caller experienced, one letter a second from the answer:\n\n");
    for (number, played) in (1..).zip(played) {
        let name = played.scene.name;
        let silence = played.ledger.longest_silence().as_secs_f64();
        lines(
            &mut text,
            format_args!("  {number}  {name:<25} {:<42} longest silence {silence:4.1} s", seconds(&played.ledger)),
        );
    }
    text.push_str("\n     ");
    for (heard, word) in LEGEND {
        write!(text, "{} {word}  ", heard.letter()).expect("writing to a string does not fail");
    }
    text.truncate(text.trim_end().len());
    text.push_str("\n\nWhat the watchdog did, and how the call ended:\n\n");
    for (number, played) in (1..).zip(played) {
        lines(&mut text, format_args!("  {number}  {}", watchdog(played)));
    }
    text.push_str("\nWhat is in the database:\n\n");
    lines(
        &mut text,
        format_args!("     {:<11} {:>6}  {:<15} {:<10} how_far", "status", "frames", "fallback_reason", "recordings"),
    );
    for (number, played) in (1..).zip(played) {
        lines(&mut text, format_args!("  {number}  {}", row(played)));
    }
    said(&mut text, played);
    lines(&mut text, format_args!("\n     sqlite3 {} 'SELECT * FROM call_log'\n", database.display()));
    verdict(&mut text, played);
    text
}

const LEGEND: [(Heard, &str); 8] = [
    (Heard::Greeting, "greeting"),
    (Heard::Streaming, "speaks"),
    (Heard::StreamingSilent, "says nothing"),
    (Heard::Silence, "silence"),
    (Heard::Prompt, "prompt"),
    (Heard::Beep, "beep"),
    (Heard::Recording, "recorded"),
    (Heard::Goodbye, "goodbye"),
];

fn lines(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}

/// At most 42 letters; a call that took longer ends in `>`.
fn seconds(ledger: &Ledger) -> String {
    let letters = ledger.by_second();
    match letters.char_indices().nth(42) {
        Some(_) => letters.chars().take(41).chain(['>']).collect(),
        None => letters,
    }
}

fn watchdog(played: &Played) -> String {
    let ended = played.ledger.ended.map_or("nobody", |(_, by)| who(by));
    match (acted_after(&played.ledger), &played.row) {
        (Some(after), Some(row)) => {
            let reason = row.fallback_reason.as_deref().unwrap_or("no reason given");
            let after = after.as_secs_f64();
            format!("moved the call to a recording {after:.1} s after the answer ({reason}); ended by {ended}")
        }
        (Some(after), None) => {
            format!("moved the call to a recording after {:.1} s; ended by {ended}", after.as_secs_f64())
        }
        (None, _) => format!("left the call alone; ended by {ended}"),
    }
}

fn row(played: &Played) -> String {
    let Some(row) = &played.row else { return "no row".to_owned() };
    let text = |column: &Option<String>| column.clone().unwrap_or_else(|| "-".to_owned());
    let frames = row.frames.map_or_else(|| "-".to_owned(), |frames| frames.to_string());
    let how_far: String = text(&row.how_far).chars().take(40).collect();
    let (status, reason) = (text(&row.status), text(&row.fallback_reason));
    format!("{status:<11} {frames:>6}  {reason:<15} {:>10} {how_far}", row.recordings)
}

/// The word that `transcript_status` begins with.
fn status(row: &Row) -> &str {
    row.transcript_status.as_deref().and_then(|status| status.split(':').next()).unwrap_or("-")
}

/// A call's transcript, after what hinders it, in lines; there is at least one.
fn spoken(row: &Row) -> Vec<String> {
    let fits = |text: Option<&str>| wrapped(text.unwrap_or_default(), WIDTH - TRANSCRIPT_AT);
    let failure = row.transcript_status.as_deref().and_then(|status| status.strip_prefix("failed: "));
    let mut spoken = fits(failure.or(row.trouble.as_deref()));
    spoken.extend(fits(row.transcript.as_deref()).iter().map(|line| isolated(line)));
    if spoken.is_empty() {
        spoken.push("-".to_owned());
    }
    spoken
}

fn said(text: &mut String, played: &[Played]) {
    text.push_str("\nWhat was said, with its transcript_status:\n\n");
    for (number, played) in (1..).zip(played) {
        let Some(row) = &played.row else {
            lines(text, format_args!("  {number}  no row"));
            continue;
        };
        let mut start = format!("  {number}  {}", status(row));
        for line in spoken(row) {
            lines(text, format_args!("{start:<TRANSCRIPT_AT$}{line}"));
            start.clear();
        }
    }
    let sum = |count: fn(&Row) -> i64| played.iter().filter_map(|played| played.row.as_ref()).map(count).sum::<i64>();
    let (utterances, recordings) = (sum(|row| row.utterances_transcribed), sum(|row| row.recordings_transcribed));
    lines(text, format_args!("\n     transcribed: {utterances} utterances, {recordings} recordings"));
}

fn verdict(text: &mut String, played: &[Played]) {
    let wrong: Vec<_> = (1..).zip(played).filter(|(_, played)| !played.is_right()).collect();
    if wrong.is_empty() {
        lines(text, format_args!("All {} came out right.", played.len()));
        return;
    }
    lines(text, format_args!("{} of {} did NOT come out right:\n", wrong.len(), played.len()));
    for (number, played) in wrong {
        for cause in &played.wrong {
            lines(text, format_args!("  {number}  {cause}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::{played, rescued};
    use super::*;
    use callwarden_core::far_end::EndedBy;

    #[test]
    fn the_account_says_what_happened_in_100_columns() {
        let spans = [(0, Heard::Greeting), (3_300, Heard::Silence), (3_500, Heard::Streaming)];
        let hung_up = played(1, &spans, 8_500, EndedBy::Caller);
        let text = account(&[hung_up, rescued()], Path::new("/tmp/callwarden-demo-1/callwarden.db"));
        for expected in [
            "  1  hangs up in mid-word      GGGSSSSSS                                  longest silence  0.2 s\n",
            "  2  the stream never starts   GGG........PPP*RRRRRRRRRRRRRREE            longest silence  8.1 s\n",
            "  1  left the call alone; ended by the caller\n",
            "  2  moved the call to a recording 11.4 s after the answer (no_start); ended by us\n",
            "  2  completed      512  no_start                 1 no start seen\n",
            "  1  done      \u{2068}שלום, מדבר יוסי. הרכב שלי עושה רעש בבלמים,\u{2069}\n",
            "  2  done      \u{2068}שלום, מדבר יוסי. הרכב שלי עושה\u{2069}\n",
            "\n     transcribed: 2 utterances, 1 recordings\n",
            "     sqlite3 /tmp/callwarden-demo-1/callwarden.db 'SELECT * FROM call_log'\n",
            "\nAll 2 came out right.\n",
        ] {
            assert!(text.contains(expected), "{expected}in\n{text}");
        }
        assert!(text.lines().all(|line| columns(line) <= WIDTH), "{text}");
    }

    #[test]
    fn what_came_out_wrong_is_listed_by_call() {
        let left = played(2, &[(0, Heard::Greeting), (3_300, Heard::Silence)], 60_000, EndedBy::Caller);
        let text = account(&[rescued(), left], Path::new("db"));
        assert!(text.contains("1 of 2 did NOT come out right:\n\n  2  the caller did not get to Prompt\n"), "{text}");
        assert!(text.lines().all(|line| columns(line) <= WIDTH), "{text}");
    }

    #[test]
    fn a_transcript_that_failed_says_why_and_what_there_is_of_it() {
        let mut failed = rescued();
        let row = failed.row.as_mut().expect("a row");
        let cause =
            "the transcription service answered 401, invalid_request_error, invalid_api_key; check OPENAI_API_KEY";
        row.transcript_status = Some(format!("failed: {cause}"));
        row.transcript = Some("[…]\nשלום, מדבר יוסי.".to_owned());
        let mut empty = rescued();
        let row = empty.row.as_mut().expect("a row");
        (row.transcript_status, row.transcript) = (Some("empty".to_owned()), None);
        let text = account(&[failed, empty], Path::new("db"));
        let expected = "
  1  failed    the transcription service answered 401, invalid_request_error, invalid_api_key; check
               OPENAI_API_KEY
               \u{2068}[…]\u{2069}
               \u{2068}שלום, מדבר יוסי.\u{2069}
  2  empty     -
";
        assert!(text.contains(expected), "{text}");
        assert!(text.lines().all(|line| columns(line) <= WIDTH), "{text}");
    }

    #[test]
    fn what_is_said_before_the_calls_names_who_transcribes() {
        let text = opening(SocketAddr::from(([127, 0, 0, 1], 80)), &crate::demo::scenes::all(), "Somebody does.");
        assert!(
            text.starts_with("A real server on 127.0.0.1:80, a simulated Twilio, 5 callers at once:\n\n  1  speaks")
        );
        assert!(text.ends_with("  5  the stream stalls\n\nSomebody does.\n"), "{text}");
    }

    /// Isolates have no width.
    fn columns(line: &str) -> usize {
        line.chars().filter(|sign| !matches!(sign, '\u{2068}' | '\u{2069}')).count()
    }

    #[test]
    fn the_line_of_progress_keeps_its_width() {
        let ledgers: Vec<Ledger> = (0..5).map(|_| rescued().ledger).collect();
        let line = progress(Duration::from_secs(7), &ledgers);
        assert!(line.starts_with("   7 s   1 over        2 over     "), "{line}");
        assert_eq!(line.len(), progress(Duration::from_secs(59), &vec![Ledger::default(); 5]).len());
        assert!(line.len() <= WIDTH);
        let row = rescued().row.expect("a row");
        let after = transcripts(Duration::from_secs(40), &[Some(&row), None, None, None, None]);
        assert!(after.starts_with("  40 s   1 done        2 pending  "), "{after}");
        assert_eq!(after.len(), line.len());
    }
}
