//! Calls that lack their end, or a recording that should be there: Twilio is asked (T8).
//!
//! The database says which, 2, 10 and 60 minutes after the last sign and every hour from then on. What Twilio knows
//! becomes facts as if it had called back; when it knows nothing after an hour, the row says so for good.

use super::{Fetch, Output, Switchboard, log};
use crate::call::Call;
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::rest::{self, LookUpOutcome, RecordingsOutcome};
use crate::secret::Secret;
use crate::sid::{AccountSid, CallSid};
use crate::store::{CallStatus, Fact, OverdueCall, RecordingFact, RecordingState};
use core::time::Duration;

impl Switchboard {
    /// Calls that were not heard of for long.
    pub(super) fn took_overdue(&mut self, calls: Vec<OverdueCall>, out: &mut Vec<Output>) {
        for call in calls {
            let here = self.by_sid.get(&call.call).and_then(|key| self.calls.get(*key));
            if here.is_some_and(Call::is_heard) {
                // Its frames are the sign that the database did not see.
                let fact = self.fact(call.call);
                self.write(fact, out);
            } else if call.ended {
                self.ask_for_recordings(call, out);
            } else {
                self.ask_for_end(call, out);
            }
        }
    }

    fn ask_for_end(&mut self, call: OverdueCall, out: &mut Vec<Output>) {
        let asked = self.ask_about_end(&call, 0, out);
        if !asked && self.settings.config.twilio.is_none() && call.look_ups >= limits::LOOK_UPS_MIN {
            self.end_found(call.call, None, None, out);
            self.recording_missing(&call, "no recording", out);
        }
    }

    fn ask_for_recordings(&mut self, call: OverdueCall, out: &mut Vec<Output>) {
        let asked = self.ask_about_recordings(&call, 0, out);
        if !asked && self.settings.config.twilio.is_none() && call.look_ups >= limits::LOOK_UPS_MIN {
            self.recording_missing(&call, "no recording", out);
        }
    }

    fn ask_about_end(&mut self, call: &OverdueCall, token: usize, out: &mut Vec<Output>) -> bool {
        self.ask_about(call, token, Fetch::OverdueEnd(call.clone(), token), rest::look_up_call, out)
    }

    fn ask_about_recordings(&mut self, call: &OverdueCall, token: usize, out: &mut Vec<Output>) -> bool {
        self.ask_about(call, token, Fetch::OverdueRecordings(call.clone(), token), rest::recordings_of_call, out)
    }

    /// Asks Twilio; not without an account and such a token to ask as, nor without room for the request.
    fn ask_about(
        &mut self,
        call: &OverdueCall,
        token: usize,
        fetch: Fetch,
        request: impl FnOnce(&str, AccountSid, CallSid, Secret) -> FetchRequest,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(twilio) = &self.settings.config.twilio else { return false };
        let Some(authorization) = rest::authorization(twilio, token) else { return false };
        let Ok(id) = self.fetches.insert(fetch) else { return false };
        let account = call.account.unwrap_or(twilio.sid);
        let request = request(&self.settings.config.twilio_api_base, account, call.call, authorization);
        out.push(Output::Fetch { id, request });
        true
    }

    /// Twilio's word on a call without an end.
    pub(super) fn overdue_end(
        &mut self,
        call: OverdueCall,
        token: usize,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let rest::Answer { outcome, detail } = rest::look_up_outcome(result);
        if outcome == LookUpOutcome::Unauthorized && self.ask_about_end(&call, token + 1, out) {
            return;
        }
        self.use_of_twilio(!matches!(outcome, LookUpOutcome::Failed { .. } | LookUpOutcome::Unauthorized));
        self.note(call.call, "looked_up", &detail, out);
        match outcome {
            LookUpOutcome::Over { status, duration } => self.end_found(call.call, Some(status), duration, out),
            // One who is not known after ten minutes without news is not on the line.
            LookUpOutcome::NotFound if call.look_ups > 1 => self.end_found(call.call, None, None, out),
            LookUpOutcome::Alive | LookUpOutcome::NotFound => return,
            LookUpOutcome::Unauthorized | LookUpOutcome::Failed { .. } => {
                if call.look_ups >= limits::LOOK_UPS_MAX {
                    self.end_found(call.call, None, None, out);
                    self.recording_missing(&call, &format!("no recording: {detail}"), out);
                }
                return;
            }
        }
        self.ask_for_recordings(call, out);
    }

    fn end_found(
        &mut self,
        call: CallSid,
        status: Option<CallStatus>,
        duration: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
        if let Some(key) = self.by_sid.get(&call).copied() {
            self.end_call(key, status, duration, out);
            return self.index(key);
        }
        let mut fact = self.fact(call);
        fact.status = status;
        fact.ended_at = Some(self.now.unix);
        fact.duration_seconds = duration.map(|duration| duration.as_secs());
        self.write(fact, out);
        self.note(call, "over", status.map_or("unknown", CallStatus::as_str), out);
    }

    /// Twilio's list of a call's recordings.
    pub(super) fn overdue_recordings(
        &mut self,
        call: &OverdueCall,
        token: usize,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let rest::Answer { outcome, detail } = rest::recordings_outcome(result);
        if outcome == RecordingsOutcome::Unauthorized && self.ask_about_recordings(call, token + 1, out) {
            return;
        }
        self.use_of_twilio(!matches!(outcome, RecordingsOutcome::Failed { .. } | RecordingsOutcome::Unauthorized));
        match outcome {
            RecordingsOutcome::Found(found) => {
                let mut settled = false;
                for found in found.into_iter().filter(|found| found.state != RecordingState::InProgress) {
                    settled = true;
                    let (at, node) = (self.now.unix, self.settings.node.clone());
                    let fact = RecordingFact {
                        recording: found.recording,
                        call: call.call,
                        at,
                        state: found.state,
                        duration_seconds: found.duration_seconds,
                        node,
                        job: self.nobody_will_listen(),
                    };
                    self.note(call.call, "recording_found", found.recording, out);
                    self.database.add(Fact::Recording(fact), out);
                }
                if !settled && call.look_ups >= limits::LOOK_UPS_MIN {
                    self.recording_missing(call, "no recording", out);
                }
            }
            RecordingsOutcome::NotFound if call.look_ups >= limits::LOOK_UPS_MIN => {
                self.recording_missing(call, "no recording", out);
            }
            RecordingsOutcome::NotFound => {}
            RecordingsOutcome::Unauthorized | RecordingsOutcome::Failed { .. } => {
                if call.look_ups >= limits::LOOK_UPS_MAX {
                    self.recording_missing(call, &format!("no recording: {detail}"), out);
                }
            }
        }
    }

    /// Nobody will tell of a recording any more.
    fn recording_missing(&mut self, call: &OverdueCall, cause: &str, out: &mut Vec<Output>) {
        let line = LogLine::new(Level::Error, Event::TranscriptionFailed).call(call.call).reason("no_recording");
        log(line.cause(cause), out);
        let mut fact = self.fact(call.call);
        fact.recording_missing = Some(cause.to_owned());
        self.write(fact, out);
    }
}
