//! Whether a call came out right, judged by what the caller experienced and by what was written down about it.

use super::rows::Row;
use super::scenes::Scene;
use callwarden_core::far_end::openai::Passage;
use callwarden_core::far_end::{EndedBy, Heard, Ledger};
use std::time::Duration;

/// What a REST round trip and a loaded machine may add to a silence.
const ALLOWANCE: Duration = Duration::from_secs(1);
/// A word that ends so shortly before the caller stops may not have reached us.
const MARGIN_MILLIS: u64 = 400;
/// Samples of a millisecond.
const SAMPLES_PER_MILLISECOND: u64 = 8;

/// A scene as it was played.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) scene: Scene,
    pub(super) ledger: Ledger,
    pub(super) row: Option<Row>,
    /// Everything that did not come out right.
    pub(super) wrong: Vec<String>,
}

impl Played {
    /// `passage` is what the caller says, where whoever transcribes it makes no mistakes.
    pub(super) fn new(scene: Scene, ledger: Ledger, row: Option<Row>, passage: Option<&Passage>) -> Self {
        let mut wrong = experienced(&scene, &ledger);
        match &row {
            Some(row) => {
                wrong.extend(written(&scene, &ledger, row));
                wrong.extend(transcribed(&scene, row, passage));
            }
            None => wrong.push("the call is not in the database".to_owned()),
        }
        Self { scene, ledger, row, wrong }
    }

    pub(super) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }
}

fn experienced(scene: &Scene, ledger: &Ledger) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut heard = ledger.spans.iter().map(|span| span.heard);
    if let Some(missing) = scene.hears.iter().find(|expected| !heard.any(|heard| heard == **expected)) {
        wrong.push(format!("the caller did not get to {missing:?}"));
    }
    let silence = ledger.longest_silence();
    if silence > scene.silence_max + ALLOWANCE {
        let (silence, allowed) = (silence.as_secs_f64(), scene.silence_max.as_secs());
        wrong.push(format!("{silence:.1} s of silence where {allowed} s are allowed"));
    }
    match ledger.ended {
        Some((_, by)) if by == scene.ended_by => {}
        Some((_, by)) => wrong.push(format!("the call was ended by {}, not by {}", who(by), who(scene.ended_by))),
        None => wrong.push("the call did not end".to_owned()),
    }
    let updates = usize::from(scene.fallback.is_some());
    if ledger.updates.len() != updates {
        wrong.push(format!("{} REST updates where {updates} is right", ledger.updates.len()));
    }
    wrong.extend(ledger.problems.iter().map(|problem| format!("Twilio reports {}: {}", problem.code, problem.text)));
    wrong
}

fn written(scene: &Scene, ledger: &Ledger, row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, found: Option<&str>, expected: Option<&str>| {
        if found != expected {
            let [found, expected] = [found, expected].map(|text| text.unwrap_or("nothing"));
            wrong.push(format!("the database says {what} {found}, not {expected}"));
        }
    };
    expect("status", row.status.as_deref(), Some("completed"));
    expect("fallback_reason", row.fallback_reason.as_deref(), scene.fallback);
    let recordings = (row.recordings.to_string(), ledger.recordings.len().to_string());
    expect("recordings", Some(&recordings.0), Some(&recordings.1));
    wrong
}

/// A transcript has to be there. Where the words are known it has a line for each stream and recording: the beginning of
/// what the caller says, up to the last word at least that was finished.
fn transcribed(scene: &Scene, row: &Row, passage: Option<&Passage>) -> Option<String> {
    let status = row.transcript_status.as_deref().unwrap_or("nothing");
    if status != "done" {
        // What hinders it stands beside the transcript.
        let status = status.split(':').next().unwrap_or_default();
        return Some(format!("the database says transcript_status {status}, not done"));
    }
    let transcript = row.transcript.as_deref().unwrap_or_default();
    let Some(passage) = passage else {
        return transcript.trim().is_empty().then(|| "its transcript is empty".to_owned());
    };
    let lines: Vec<&str> = transcript.lines().collect();
    if lines.len() != scene.says.len() {
        let (found, expected) = (lines.len(), scene.says.len());
        return Some(format!("the parts of the transcript are {found}, not {expected}"));
    }
    let wrong = |(line, seconds): (&&str, &u64)| {
        !passage.text().starts_with(line) || !line.starts_with(&finished(passage, *seconds))
    };
    let part = lines.iter().zip(scene.says).position(wrong)? + 1;
    Some(format!("part {part} of the transcript is not what the caller said"))
}

/// What a caller has said of a passage after so many seconds, for sure.
fn finished(passage: &Passage, seconds: u64) -> String {
    let end = (seconds * 1_000).saturating_sub(MARGIN_MILLIS) * SAMPLES_PER_MILLISECOND;
    let words = passage.words().iter().take_while(|word| word.to as u64 <= end);
    words.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

pub(super) fn who(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Caller => "the caller",
        EndedBy::Document => "us",
        EndedBy::Failure => "a failure",
        EndedBy::Rest => "a REST request",
        EndedBy::TimeLimit => "Twilio's time limit",
    }
}

/// When the watchdog acted, since the answer.
pub(super) fn acted_after(ledger: &Ledger) -> Option<Duration> {
    Some(ledger.updates.first()?.since(ledger.answered?))
}

/// In words, for the line of progress.
pub(super) fn state(ledger: &Ledger) -> &'static str {
    if ledger.ended.is_some() {
        return "over";
    }
    match ledger.heard() {
        None | Some(Heard::Ringing) => "rings",
        Some(Heard::Greeting | Heard::Prompt) => "prompt",
        Some(Heard::Goodbye) => "goodbye",
        Some(Heard::Beep | Heard::Recording) => "recording",
        Some(Heard::Streaming) => "speaks",
        Some(Heard::StreamingSilent) => "listens",
        Some(Heard::Silence) => "silence",
        Some(Heard::Failure) => "failure",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::scenes;
    use super::*;
    use callwarden_core::far_end::sample;
    use callwarden_core::far_end::{Recorded, Span};
    use callwarden_core::sid::RecordingSid;
    use callwarden_core::time::{Instant, UnixMillis};

    pub(in super::super) fn played(scene: usize, spans: &[(u64, Heard)], end: u64, by: EndedBy) -> Played {
        let scene = scenes::all()[scene].clone();
        let at = Instant::from_millis;
        let ends = spans.iter().skip(1).map(|(from, _)| *from).chain([end]);
        let spans: Vec<Span> =
            spans.iter().zip(ends).map(|(&(from, heard), to)| Span { from: at(from), to: at(to), heard }).collect();
        let recorded = spans.iter().find(|span| span.heard == Heard::Recording);
        let recorded = recorded.map(|span| Recorded {
            recording: RecordingSid::from_number(1),
            from: span.from,
            dated: UnixMillis::default(),
            to: Some(span.to),
            speech: Duration::from_secs(4),
            kept: span.length(),
        });
        let ledger = Ledger {
            updates: scene.fallback.iter().map(|_| at(11_400)).collect(),
            recordings: recorded.into_iter().collect(),
            answered: Some(at(0)),
            ended: Some((at(end), by)),
            spans,
            ..Ledger::default()
        };
        let row = Row {
            call: "CA00000000000000000000000000000001".to_owned(),
            status: Some("completed".to_owned()),
            frames: Some(512),
            fallback_reason: scene.fallback.map(str::to_owned),
            how_far: scene.fallback.map(|_| "no start seen".to_owned()),
            recordings: i64::try_from(ledger.recordings.len()).expect("few"),
            transcript: Some(said(scene.says)),
            transcript_status: Some("done".to_owned()),
            utterances_transcribed: 1,
            recordings_transcribed: i64::try_from(ledger.recordings.len()).expect("few"),
            trouble: None,
        };
        Played::new(scene, ledger, Some(row), Some(&passage()))
    }

    fn passage() -> Passage {
        sample::passage().expect("a table")
    }

    fn said(seconds: &[u64]) -> String {
        let passage = passage();
        seconds.iter().map(|seconds| finished(&passage, *seconds)).collect::<Vec<_>>().join("\n")
    }

    /// What is wrong with a rescued call whose row was changed so, with the words known or not.
    fn wrong(change: impl Fn(&mut Row), known: bool) -> Vec<String> {
        let Played { scene, ledger, row, .. } = rescued();
        let mut row = row.expect("a row");
        change(&mut row);
        Played::new(scene, ledger, Some(row), known.then(passage).as_ref()).wrong
    }

    pub(in super::super) fn rescued() -> Played {
        use Heard::{Beep, Goodbye, Greeting, Prompt, Recording, Silence};
        let spans =
            [(0, Greeting), (3_300, Silence), (11_400, Prompt), (14_500, Beep), (15_000, Recording), (29_000, Goodbye)];
        played(2, &spans, 31_000, EndedBy::Document)
    }

    #[test]
    fn a_rescued_caller_came_out_right() {
        let played = rescued();
        assert!(played.is_right(), "{:?}", played.wrong);
        assert_eq!(acted_after(&played.ledger), Some(Duration::from_millis(11_400)));
    }

    #[test]
    fn a_caller_left_in_silence_did_not() {
        let spans = [(0, Heard::Greeting), (3_300, Heard::Silence)];
        let played = played(2, &spans, 20_000, EndedBy::Caller);
        let wrong = played.wrong.join("\n");
        for expected in ["did not get to Prompt", "16.7 s of silence where 8 s are allowed", "ended by the caller"] {
            assert!(wrong.contains(expected), "{wrong}");
        }
    }

    #[test]
    fn the_database_has_to_agree() {
        let Played { scene, ledger, .. } = rescued();
        assert_eq!(Played::new(scene, ledger, None, None).wrong, ["the call is not in the database"]);
        let found = wrong(|row| row.fallback_reason = None, true);
        assert_eq!(found, ["the database says fallback_reason nothing, not no_start"]);
        let other = |row: &mut Row| (row.status, row.recordings) = (Some("ringing".to_owned()), 0);
        let expected = ["the database says status ringing, not completed", "the database says recordings 0, not 1"];
        assert_eq!(wrong(other, true), expected);
    }

    #[test]
    fn a_transcript_holds_what_was_finished_and_nothing_that_was_not_said() {
        let part = ["part 1 of the transcript is not what the caller said"];
        for (transcript, expected) in [
            ("שלום, מדבר יוסי. הרכב שלי עושה", &[][..]),
            ("שלום, מדבר יוסי. הרכב שלי עושה רעש", &[]),
            ("שלום, מדבר יוסי. הרכב שלי", &part),
            ("שלום, מדבר יוסי. הרכב שלי עושה שקט", &part),
            ("מדבר יוסי. הרכב שלי עושה רעש", &part),
            ("שלום, מדבר יוסי. הרכב שלי עושה\nשלום,", &["the parts of the transcript are 2, not 1"]),
            ("", &["the parts of the transcript are 0, not 1"]),
        ] {
            assert_eq!(wrong(|row| row.transcript = Some(transcript.to_owned()), true), expected, "{transcript}");
        }
        let two = finished(&passage(), 5);
        assert_eq!(two, "שלום, מדבר יוסי. הרכב שלי עושה רעש בבלמים,");
    }

    #[test]
    fn of_a_real_service_any_words_will_do_but_there_have_to_be_some() {
        assert_eq!(wrong(|row| row.transcript = Some("שלם מדבר יוסף".to_owned()), false), [""; 0]);
        for nothing in [None, Some(" ".to_owned())] {
            assert_eq!(wrong(|row| row.transcript.clone_from(&nothing), false), ["its transcript is empty"]);
        }
    }

    #[test]
    fn a_transcript_that_is_not_done_is_wrong_with_whatever_service() {
        for (status, word) in [
            (None, "nothing"),
            (Some("empty"), "empty"),
            (Some("pending"), "pending"),
            (Some("failed: it answered 401"), "failed"),
        ] {
            let stands = |row: &mut Row| row.transcript_status = status.map(str::to_owned);
            let expected = [format!("the database says transcript_status {word}, not done")];
            assert_eq!([wrong(stands, true), wrong(stands, false)], [&expected[..], &expected]);
        }
    }

    #[test]
    fn a_warning_of_twilios_or_an_update_too_many_is_wrong() {
        let Played { scene, mut ledger, row, .. } = rescued();
        ledger.updates.push(Instant::from_millis(12_000));
        assert_eq!(Played::new(scene, ledger, row, None).wrong, ["2 REST updates where 1 is right"]);
    }
}
