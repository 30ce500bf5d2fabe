//! `<Record>`: the beep, the recording, what is told about it, and what REST gives of it.

use super::asking::Purpose;
use super::rest::{answer, unknown};
use super::twiml::RecordVerb;
use super::wire::{self, Parameters};
use super::{Activity, Event, FarEnd, FarOutput, HangUp, Heard, Recorded, RecordingFate, Told};
use crate::fetch::FetchResponse;
use crate::sid::RecordingSid;
use bytes::Bytes;
use core::time::Duration;
use serde_json::{Value, json};

/// How long the beep of a recording sounds.
const BEEP: Duration = Duration::from_millis(500);
/// Samples of a millisecond.
const SAMPLES_PER_MILLISECOND: usize = 8;

/// A running `<Record>`.
#[derive(Debug)]
pub(super) struct Recording {
    verb: RecordVerb,
    action: String,
    /// Its place in the ledger, once the beep is over.
    running: Option<usize>,
}

impl Recording {
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

/// Seconds as Twilio counts them: a begun one is whole.
fn whole_seconds(length: Duration) -> String {
    length.as_millis().div_ceil(1_000).to_string()
}

impl FarEnd {
    pub(super) fn record(&mut self, verb: RecordVerb, out: &mut Vec<FarOutput>) {
        let reference = verb.action.clone().or_else(|| self.base.clone()).unwrap_or_default();
        let Some(action) = self.resolve(&reference) else {
            let text = "<Record> reached by modifying a live call needs an absolute action";
            return self.application_failed(11100, text, &reference, false, out);
        };
        let beep = verb.beep;
        self.begin(Activity::Recording(Box::new(Recording { verb, action, running: None })), Heard::Silence);
        if beep {
            self.ledger.change(self.now.mono, Heard::Beep);
            self.schedule(BEEP, Event::VerbDone(self.verb));
        } else {
            self.recording_starts(out);
        }
    }

    pub(super) fn recording_starts(&mut self, out: &mut Vec<FarOutput>) {
        let place = self.ledger.recordings.len();
        let Activity::Recording(recording) = &mut self.activity else { return };
        recording.running = Some(place);
        let longest = Duration::from_secs(recording.verb.max_length.into());
        let quiet = Duration::from_secs(recording.verb.timeout.into());
        let ends_by_silence = self.plan.recording_hears && !quiet.is_zero();
        let length = if ends_by_silence { longest.min(self.plan.message + quiet) } else { longest };
        let number = u128::from_str_radix(&self.line.call.as_str()[2..], 16).unwrap_or_default();
        self.ledger.recordings.push(Recorded {
            recording: RecordingSid::from_number(number.rotate_left(64).wrapping_add(place as u128)),
            from: self.now.mono,
            dated: self.now.unix,
            to: None,
            speech: Duration::ZERO,
            kept: Duration::ZERO,
        });
        self.ledger.change(self.now.mono, Heard::Recording);
        self.schedule(length, Event::VerbDone(self.verb));
        if let (HangUp::Recording(after), false) = (self.plan.hangs_up, self.hang_up_planned) {
            self.hang_up_planned = true;
            self.schedule(after, Event::HangUp);
        }
        self.tell_recording("in-progress", out);
    }

    /// Ends a running recording and tells what became of it. Returns what its action is asked with.
    pub(super) fn recording_ends(&mut self, out: &mut Vec<FarOutput>) -> Option<(String, bool, Parameters)> {
        let Activity::Recording(recording) = &self.activity else { return None };
        let (trim, action, get) = (recording.verb.trim, recording.action.clone(), recording.verb.method == "GET");
        let recorded = self.ledger.recordings.get_mut(recording.running?)?;
        let length = self.now.mono.since(recorded.from);
        recorded.to = Some(self.now.mono);
        recorded.speech = if self.plan.recording_hears { length.min(self.plan.message) } else { Duration::ZERO };
        recorded.kept = match self.plan.recording {
            RecordingFate::Absent => Duration::ZERO,
            RecordingFate::Kept | RecordingFate::Unreported if trim => recorded.speech,
            RecordingFate::Kept | RecordingFate::Unreported => length,
        };
        let (sid, status) = (recorded.recording, if recorded.kept.is_zero() { "absent" } else { "completed" });
        let parameters = vec![
            ("RecordingUrl", self.recording_url(sid).into()),
            ("RecordingSid", sid.to_string().into()),
            ("RecordingDuration", whole_seconds(length).into()),
        ];
        if self.plan.recording != RecordingFate::Unreported {
            self.tell_recording(status, out);
        }
        Some((action, get, parameters))
    }

    /// The recording callback, if the document asked for this event.
    fn tell_recording(&mut self, status: &'static str, out: &mut Vec<FarOutput>) {
        let Activity::Recording(recording) = &self.activity else { return };
        let verb = &recording.verb;
        let (Some(url), true) = (&verb.callback, verb.events.iter().any(|event| event == status)) else { return };
        let Some(recorded) = recording.running.and_then(|place| self.ledger.recordings.get(place)) else { return };
        let Some(url) = self.resolve(url) else {
            return self.warn(11100, "recordingStatusCallback is no absolute URL");
        };
        let mut parameters = vec![
            ("RecordingSource", "RecordVerb".into()),
            ("RecordingTrack", "inbound".into()),
            ("RecordingSid", recorded.recording.to_string().into()),
            ("RecordingUrl", self.recording_url(recorded.recording).into()),
            ("RecordingStatus", status.into()),
            ("RecordingChannels", "1".into()),
            ("ErrorCode", "0".into()),
            ("CallSid", self.line.call.to_string().into()),
            ("RecordingStartTime", wire::rfc2822(recorded.dated).into()),
            ("AccountSid", self.line.account.to_string().into()),
        ];
        let mut delay = Duration::ZERO;
        if recorded.to.is_some() {
            delay = self.plan.recording_delay;
            parameters.push(("RecordingDuration", whole_seconds(recorded.kept).into()));
        }
        let get = verb.callback_method == "GET";
        if delay.is_zero() {
            self.ask(Purpose::Notice, &url, get, parameters, out);
        } else {
            self.schedule(delay, Event::Tell(Box::new(Told { url, get, parameters })));
        }
    }

    fn recording_url(&self, recording: RecordingSid) -> String {
        format!("https://api.twilio.com/2010-04-01/Accounts/{}/Recordings/{recording}", self.line.account)
    }

    pub(super) fn recorded(&self, recording: RecordingSid) -> Option<&Recorded> {
        self.ledger.recordings.iter().find(|recorded| recorded.recording == recording)
    }

    /// The list of the call's recordings.
    pub(super) fn rest_recordings(&self) -> FetchResponse {
        let recordings: Vec<Value> = self.ledger.recordings.iter().map(|recorded| self.describe(recorded)).collect();
        let end = recordings.len().saturating_sub(1);
        answer(
            200,
            &json!({ "recordings": recordings, "page": 0, "page_size": 50, "start": 0, "end": end, "next_page_uri": null }),
        )
    }

    /// A recording: its description for `json`, its audio for `wav` or nothing; no MP3 is made here.
    pub(super) fn rest_recording(&self, recording: RecordingSid, extension: &str) -> FetchResponse {
        let path = self.recording_url(recording);
        match (self.recorded(recording), extension) {
            (Some(recorded), "json") => answer(200, &self.describe(recorded)),
            (Some(recorded), "" | "wav") if self.rest_status(recorded) == "completed" => FetchResponse {
                status: 200,
                headers: [("content-type", "audio/x-wav")].into_iter().collect(),
                body: self.audio_file(recorded),
            },
            (Some(_) | None, _) => unknown(&path),
        }
    }

    fn rest_status(&self, recorded: &Recorded) -> &'static str {
        match recorded.to {
            None => "in-progress",
            Some(to) if self.now.mono < to + self.plan.recording_delay => "processing",
            Some(_) if recorded.kept.is_zero() => "absent",
            Some(_) => "completed",
        }
    }

    fn describe(&self, recorded: &Recorded) -> Value {
        let status = self.rest_status(recorded);
        let duration = (status == "completed").then(|| whole_seconds(recorded.kept));
        json!({
            "sid": recorded.recording.as_str(),
            "account_sid": self.line.account.as_str(),
            "call_sid": self.line.call.as_str(),
            "status": status,
            "duration": duration,
            "channels": 1,
            "source": "RecordVerb",
            "error_code": null,
            "start_time": wire::rfc2822(recorded.dated),
            "media_url": self.recording_url(recorded.recording),
        })
    }

    /// The caller's voice and then silence, as WAV of 16 bits.
    fn audio_file(&self, recorded: &Recorded) -> Bytes {
        let samples = |length: Duration| usize::try_from(length.as_millis()).unwrap_or(0) * SAMPLES_PER_MILLISECOND;
        let data = u32::try_from(2 * samples(recorded.kept)).unwrap_or(u32::MAX);
        let mut file = Vec::new();
        file.extend(b"RIFF");
        file.extend((36 + data).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
        file.extend(data.to_le_bytes());
        let voice = self.plan.voice.iter().copied().cycle().take(samples(recorded.speech.min(recorded.kept)));
        let silence = core::iter::repeat(0xFF);
        file.extend(voice.chain(silence).take(samples(recorded.kept)).flat_map(|sample| linear(sample).to_le_bytes()));
        file.into()
    }
}

/// A mu-law sample as a linear one (G.711).
fn linear(sample: u8) -> i16 {
    let bits = !sample;
    let magnitude = ((i16::from(bits & 15) << 3) + 132) << (bits >> 4 & 7);
    if bits & 128 == 0 { magnitude - 132 } else { 132 - magnitude }
}

#[cfg(test)]
mod tests {
    use super::linear;

    #[test]
    fn mu_law_is_expanded_by_the_standard() {
        for (sample, expected) in [(0xFF, 0), (0x7F, 0), (0x80, 32_124), (0x00, -32_124), (0xFE, 8), (0x7E, -8)] {
            assert_eq!(linear(sample), expected, "{sample:#x}");
        }
    }
}
