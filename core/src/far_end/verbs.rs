//! Executes documents: prompts, pauses, recordings, redirects, and the end of the call.

use super::asking::Purpose;
use super::twiml::{self, Verb};
use super::wire::{self, Parameters};
use super::{Activity, EndedBy, Event, Executed, FarEnd, FarOutput, HangUp, Heard, MediaId, MediaKind, Status};
use crate::limits;
use core::time::Duration;

/// How long Twilio's announcement of an application error sounds.
const FAILURE: Duration = Duration::from_secs(4);

impl FarEnd {
    /// A document came: from a URL, or from a REST update.
    pub(super) fn run_document(&mut self, text: &str, from: Option<String>, fallback: bool, out: &mut Vec<FarOutput>) {
        let at = self.now.mono;
        self.ledger.documents.push(Executed { at, from: from.clone(), twiml: text.to_owned() });
        self.base = from;
        let document = match twiml::read(text) {
            Ok(document) => document,
            Err(fault) => {
                let url = self.base.clone().unwrap_or_default();
                return self.application_failed(fault.code, &fault.text, &url, fallback, out);
            }
        };
        for fault in document.warnings {
            self.warn(fault.code, fault.text);
        }
        self.program = document.verbs.into();
        if self.status == Status::Ringing && self.program.front() != Some(&Verb::Reject) {
            self.answer();
        }
        self.next_verb(out);
    }

    /// The call is picked up.
    fn answer(&mut self) {
        self.status = Status::InProgress;
        self.ledger.answered = Some(self.now.mono);
        self.ledger.change(self.now.mono, Heard::Silence);
        self.schedule(limits::FAR_END_CALL_TIME, Event::TimeLimit);
        if let HangUp::Answered(after) = self.plan.hangs_up {
            self.schedule(after, Event::HangUp);
        }
    }

    /// No document could be had or executed: the fallback URL has its turn, then Twilio's announcement.
    pub(super) fn application_failed(
        &mut self,
        code: u32,
        text: &str,
        url: &str,
        fallback: bool,
        out: &mut Vec<FarOutput>,
    ) {
        self.warn(code, text);
        self.program.clear();
        self.begin(Activity::Waiting, Heard::Silence);
        if let (Some(next), false) = (self.line.fallback_url.clone(), fallback) {
            let mut parameters = self.standard();
            parameters.push(("ErrorCode", code.to_string().into()));
            parameters.push(("ErrorUrl", wire::without_fragment(url).to_owned().into()));
            let purpose = Purpose::Document { verb: self.verb, fallback: true };
            return self.ask(purpose, &next, false, parameters, out);
        }
        if self.status == Status::Ringing {
            self.answer();
        }
        self.sound(Heard::Failure, FAILURE);
    }

    /// Another activity begins; events of the one before come too late from now on.
    pub(super) fn begin(&mut self, activity: Activity, heard: Heard) {
        self.verb += 1;
        self.activity = activity;
        if self.status == Status::InProgress {
            self.ledger.change(self.now.mono, heard);
        }
    }

    fn sound(&mut self, heard: Heard, length: Duration) {
        self.begin(Activity::Sounding, heard);
        self.schedule(length, Event::VerbDone(self.verb));
    }

    /// Goes on with the next verb that takes time, or ends the call.
    pub(super) fn next_verb(&mut self, out: &mut Vec<FarOutput>) {
        while let Some(verb) = self.program.pop_front() {
            match verb {
                Verb::Play { url, times } => match self.resolve(&url) {
                    Some(url) => return self.load(url, times, out),
                    None => self.warn(11100, format!("<Play> of the invalid URL {url:?}")),
                },
                Verb::Say { text, voice, language, times } => {
                    match unheard(&text, voice.as_deref(), language.as_deref()) {
                        Some((code, cause)) => self.warn(code, cause),
                        None => {
                            let tenths = u64::try_from(text.chars().count().div_ceil(10)).unwrap_or(u64::MAX);
                            let length = Duration::from_secs(tenths.saturating_mul(u64::from(times)));
                            return self.sound(self.prompt(), length);
                        }
                    }
                }
                Verb::Pause { length } => return self.sound(Heard::Silence, Duration::from_secs(length.into())),
                Verb::Connect { action, method, stream } => return self.connect(action, &method, *stream, out),
                Verb::Record(verb) => return self.record(*verb, out),
                Verb::Redirect { url, method } => return self.redirect(&url, method == "GET", out),
                Verb::Hangup => return self.end(EndedBy::Document, out),
                Verb::Reject if self.status == Status::Ringing => return self.finish("busy", EndedBy::Document, out),
                Verb::Reject => return self.end(EndedBy::Document, out),
            }
        }
        self.end(EndedBy::Document, out);
    }

    /// What a prompt is, told by what follows it.
    fn prompt(&self) -> Heard {
        let follows = self.program.iter().find_map(|verb| match verb {
            Verb::Connect { .. } => Some(Heard::Greeting),
            Verb::Record(_) => Some(Heard::Prompt),
            Verb::Hangup | Verb::Reject => Some(Heard::Goodbye),
            Verb::Play { .. } | Verb::Say { .. } | Verb::Pause { .. } | Verb::Redirect { .. } => None,
        });
        follows.unwrap_or(Heard::Goodbye)
    }

    pub(super) fn resolve(&self, url: &str) -> Option<String> {
        wire::resolve(self.base.as_deref(), url)
    }

    fn load(&mut self, url: String, times: u32, out: &mut Vec<FarOutput>) {
        let heard = self.prompt();
        let Ok(media) = self.media.insert(MediaKind) else { return };
        self.begin(Activity::Loading { media, heard, times }, Heard::Silence);
        self.schedule(limits::FAR_END_REQUEST_TIME, Event::MediaOver(media));
        out.push(FarOutput::FetchMedia { id: media, url });
    }

    pub(super) fn media_fetched(&mut self, id: MediaId, result: Result<Duration, String>, out: &mut Vec<FarOutput>) {
        if self.media.remove(id).is_none() {
            return;
        }
        let Activity::Loading { heard, times, .. } = self.activity else { return };
        match result {
            Ok(length) => self.sound(heard, length.saturating_mul(times)),
            Err(cause) => {
                self.warn(11200, format!("<Play> is skipped: {cause}"));
                self.next_verb(out);
            }
        }
    }

    fn redirect(&mut self, url: &str, get: bool, out: &mut Vec<FarOutput>) {
        match self.resolve(url) {
            Some(url) => self.ask_document(&url, get, Vec::new(), out),
            None => self.application_failed(11100, "<Redirect> to an invalid URL", url, false, out),
        }
    }

    /// Requests the next document with the standard parameters and `more`; what is left of this one is dropped.
    pub(super) fn ask_document(&mut self, url: &str, get: bool, more: Parameters, out: &mut Vec<FarOutput>) {
        self.program.clear();
        self.begin(Activity::Waiting, Heard::Silence);
        let mut parameters = self.standard();
        parameters.extend(more);
        self.ask(Purpose::Document { verb: self.verb, fallback: false }, url, get, parameters, out);
    }

    /// A prompt, a pause, a beep or a recording is over.
    pub(super) fn verb_done(&mut self, out: &mut Vec<FarOutput>) {
        if self.ledger.heard() == Some(Heard::Failure) {
            return self.end(EndedBy::Failure, out);
        }
        let Activity::Recording(recording) = &self.activity else { return self.next_verb(out) };
        if !recording.is_running() {
            return self.recording_starts(out);
        }
        let Some((url, get, parameters)) = self.recording_ends(out) else { return };
        self.ask_document(&url, get, parameters, out);
    }

    /// Stops whatever runs because of a REST update.
    pub(super) fn interrupt(&mut self, out: &mut Vec<FarOutput>) {
        if let Activity::Loading { media, .. } = self.activity {
            self.media.remove(media);
        }
        self.recording_ends(out);
        self.stream_ends(self.plan.stop_on_update, out);
        self.program.clear();
        self.begin(Activity::Waiting, Heard::Silence);
    }

    /// The caller hangs up.
    pub(super) fn hang_up(&mut self, out: &mut Vec<FarOutput>) {
        match self.status {
            Status::Ringing => self.finish("no-answer", EndedBy::Caller, out),
            Status::InProgress => self.end(EndedBy::Caller, out),
            Status::Idle | Status::Over(_) | Status::Settled(_) => {}
        }
    }

    /// An answered call ends.
    pub(super) fn end(&mut self, by: EndedBy, out: &mut Vec<FarOutput>) {
        self.finish("completed", by, out);
    }

    fn finish(&mut self, status: &'static str, by: EndedBy, out: &mut Vec<FarOutput>) {
        if self.is_over() {
            return;
        }
        let recorded = self.recording_ends(out);
        let streamed = if self.plan.action_after_hang_up { self.connect_action() } else { None };
        self.stream_ends(true, out);
        self.ledger.close(self.now.mono);
        self.ledger.ended = Some((self.now.mono, by));
        self.status = Status::Over(status);
        self.program.clear();
        self.begin(Activity::Waiting, Heard::Silence);
        if by == EndedBy::Caller {
            let recorded = recorded.map(|(url, get, mut parameters)| {
                parameters.push(("Digits", "hangup".into()));
                (url, get, parameters)
            });
            if let Some((url, get, more)) = recorded.or_else(|| streamed.map(|(url, get)| (url, get, Vec::new()))) {
                let mut parameters = self.standard();
                parameters.extend(more);
                self.ask(Purpose::Moot, &url, get, parameters, out);
            }
        }
        self.tell_status(out);
    }

    fn tell_status(&mut self, out: &mut Vec<FarOutput>) {
        let Some(url) = self.line.status_callback.clone() else { return };
        let seconds = self.ledger.answered.map_or(0, |at| self.now.mono.since(at).as_millis().div_ceil(1_000));
        let mut parameters = self.standard();
        parameters.extend([
            ("CallDuration", seconds.to_string().into()),
            ("Duration", seconds.div_ceil(60).to_string().into()),
            ("Timestamp", wire::rfc2822(self.now.unix).into()),
            ("CallbackSource", "call-progress-events".into()),
            ("SequenceNumber", "0".into()),
        ]);
        self.ask(Purpose::Notice, &url, false, parameters, out);
    }
}

/// Why a `<Say>` is not heard, if so. Hebrew is spoken by eight voices of Google's only.
fn unheard(text: &str, voice: Option<&str>, language: Option<&str>) -> Option<(u32, String)> {
    if text.is_empty() {
        return Some((13520, "<Say> without a text".to_owned()));
    }
    let hebrew = language == Some("he-IL") || text.chars().any(|letter| ('\u{590}'..='\u{5ff}').contains(&letter));
    let speaks = ["Google.he-IL-Standard-", "Google.he-IL-Wavenet-"]
        .iter()
        .filter_map(|prefix| voice?.strip_prefix(prefix))
        .any(|letter| matches!(letter, "A" | "B" | "C" | "D"));
    match hebrew {
        true if !speaks => Some((13511, format!("the voice {voice:?} does not speak Hebrew"))),
        true if language != Some("he-IL") => {
            Some((13512, format!("the language {language:?} is not that of the voice")))
        }
        true | false => None,
    }
}
