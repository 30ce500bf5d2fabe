//! What Twilio is asked about a call: whether it still lives, when nothing followed the end of a stream (W11) or a
//! fallback failed, and whether a recording of it began, when one was confirmed that nothing came of (W5). A question can
//! be repeated without harm, an update cannot.

use super::{Fetch, Output, Switchboard, log};
use crate::call::fallback::{Route, Step};
use crate::call::{CallKey, Watch, WatchKind};
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::id::FetchId;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::rest::{self, LookUpOutcome, RecordingsOutcome};
use crate::secret::Secret;
use crate::sid::{AccountSid, CallSid};
use crate::store::FallbackReason;

/// A request about a call: the base of Twilio's URLs, the account, the call, and whom it is asked as.
type Question = fn(&str, AccountSid, CallSid, Secret) -> FetchRequest;

impl Switchboard {
    /// W11: nothing followed the end of a stream; Twilio is asked whether the call still lives. A new stream or document
    /// that comes meanwhile has a watch of its own, and the question is forgotten.
    pub(super) fn look_up(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.is_over() || call.is_recording() || call.is_claimed() || call.look_up.is_some() {
            return;
        }
        if self.settings.config.twilio.is_none() {
            let line = LogLine::new(Level::Warn, Event::WatchdogRedirectFail).call(call.sid).cause("no_credentials");
            return log(line.detail("development mode: Twilio cannot be asked whether the call still lives"), out);
        }
        let asked = self.ask_twilio(key, Fetch::LookUp(key), rest::look_up_call, out);
        let Some(call) = self.calls.get_mut(key) else { return };
        call.look_up = asked;
        if asked.is_none() {
            call.watch = Some(Watch { at: self.now.mono + limits::NO_ROOM_WAIT, kind: WatchKind::Bridge });
        }
    }

    /// Asks Twilio about a call; `None` when there is no room for the request, or no account to ask as.
    fn ask_twilio(&mut self, key: CallKey, fetch: Fetch, question: Question, out: &mut Vec<Output>) -> Option<FetchId> {
        let call = self.calls.get(key)?;
        let twilio = self.settings.config.twilio.as_ref()?;
        let authorization = rest::authorization(twilio, 0)?;
        let id = self.fetches.insert(fetch).ok()?;
        let account = call.account.unwrap_or(twilio.sid);
        let request = question(&self.settings.config.twilio_api_base, account, call.sid, authorization);
        out.push(Output::Fetch { id, request });
        Some(id)
    }

    /// The answer to a look-up. Where Twilio could not be asked, the call counts as alive: silence is worse than an
    /// update that finds nobody.
    pub(super) fn looked_up(
        &mut self,
        id: FetchId,
        key: CallKey,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let rest::Answer { outcome, detail } = rest::look_up_outcome(result);
        self.use_of_twilio(!matches!(outcome, LookUpOutcome::Failed { .. } | LookUpOutcome::Unauthorized));
        let Some(call) = self.calls.get_mut(key).filter(|call| call.look_up == Some(id)) else { return };
        call.look_up = None;
        // Only a call that lives for sure is moved against a refusal.
        call.claim_refused.take_if(|_| outcome != LookUpOutcome::Alive);
        let sid = call.sid;
        self.note(sid, "looked_up", &detail, out);
        match outcome {
            LookUpOutcome::Over { status, duration } => self.end_call(key, Some(status), duration, out),
            LookUpOutcome::Alive
            | LookUpOutcome::NotFound
            | LookUpOutcome::Unauthorized
            | LookUpOutcome::Failed { .. } => {
                self.fall_back(key, FallbackReason::StreamLost, None, true, out);
            }
        }
    }

    /// A fallback that failed is due again: is Twilio within reach, and the call alive?
    pub(super) fn probe(&mut self, key: CallKey, out: &mut Vec<Output>) {
        if self.settings.config.twilio.is_none() {
            return self.begin_again(key, out);
        }
        self.probe_with(key, Fetch::Probe(key), rest::look_up_call, out);
    }

    fn probe_with(&mut self, key: CallKey, fetch: Fetch, question: Question, out: &mut Vec<Output>) {
        let (now, asked) = (self.now.mono, self.ask_twilio(key, fetch, question, out));
        let Some(fallback) = self.calls.get_mut(key).and_then(|call| call.fallback.as_mut()) else { return };
        match asked {
            Some(id) => fallback.probing(id, now),
            None => fallback.not_reached(limits::NO_ROOM_WAIT, now),
        }
    }

    /// The answer to a probe. Only silence and faults of Twilio's are waited out; what it refuses, an update may get.
    pub(super) fn probed(
        &mut self,
        id: FetchId,
        key: CallKey,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let now = self.now.mono;
        let outcome = rest::look_up_outcome(result).outcome;
        self.use_of_twilio(!matches!(outcome, LookUpOutcome::Failed { .. } | LookUpOutcome::Unauthorized));
        let Some(fallback) = self.calls.get_mut(key).and_then(|call| call.fallback.as_mut()) else { return };
        if !matches!(fallback.step, Step::Probing { id: asked, .. } if asked == id) {
            return;
        }
        match outcome {
            LookUpOutcome::Over { status, duration } => self.end_call(key, Some(status), duration, out),
            LookUpOutcome::Failed { retry: true } => fallback.not_reached(limits::REST_RETRY_MAX, now),
            // An update would restart a recording that runs, and whose callbacks are what went nowhere.
            LookUpOutcome::Alive if fallback.went_nowhere => {
                self.probe_with(key, Fetch::Search(key), rest::recordings_of_call, out);
            }
            LookUpOutcome::NotFound | LookUpOutcome::Unauthorized | LookUpOutcome::Failed { retry: false }
                if fallback.went_nowhere =>
            {
                fallback.step = Step::Confirmed;
            }
            LookUpOutcome::Alive
            | LookUpOutcome::NotFound
            | LookUpOutcome::Unauthorized
            | LookUpOutcome::Failed { retry: false } => self.begin_again(key, out),
        }
    }

    /// Twilio's list of the recordings of a call that was given a recording document. Where it does not say, the document
    /// counts as taken.
    pub(super) fn searched(
        &mut self,
        id: FetchId,
        key: CallKey,
        result: &Result<FetchResponse, FetchError>,
        out: &mut Vec<Output>,
    ) {
        let now = self.now.mono;
        let outcome = rest::recordings_outcome(result).outcome;
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(fallback) = &mut call.fallback else { return };
        if !matches!(fallback.step, Step::Probing { id: asked, .. } if asked == id) {
            return;
        }
        match outcome {
            RecordingsOutcome::Found(found) if !found.is_empty() => {
                call.recording.seen = true;
                self.confirm(key, Route::Recorded, out);
            }
            RecordingsOutcome::Failed { retry: true } => fallback.not_reached(limits::REST_RETRY_MAX, now),
            RecordingsOutcome::Found(_) => self.begin_again(key, out),
            RecordingsOutcome::NotFound
            | RecordingsOutcome::Unauthorized
            | RecordingsOutcome::Failed { retry: false } => fallback.step = Step::Confirmed,
        }
    }

    fn begin_again(&mut self, key: CallKey, out: &mut Vec<Output>) {
        if let Some(fallback) = self.calls.get_mut(key).and_then(|call| call.fallback.as_mut()) {
            fallback.begin_again(self.now.mono);
            self.claim(key, out);
        }
    }

    /// No recording called back after the recording document was given: unless the call is over, whoever asked for it
    /// was not the call, and its caller may be in silence. Who is asked about that is Twilio.
    pub(super) fn nothing_began(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let can_ask = self.settings.config.twilio.is_some();
        let Some(call) = self.calls.get_mut(key) else { return };
        let over = call.is_over();
        let Some(fallback) = &mut call.fallback else { return };
        if over || !can_ask {
            fallback.step = Step::Confirmed;
            return;
        }
        fallback.went_nowhere = true;
        self.probe(key, out);
    }
}
