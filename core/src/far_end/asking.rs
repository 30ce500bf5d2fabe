//! Twilio's requests: what every one carries, how long it waits, what it repeats.

use super::wire::{self, Overrides, Parameters};
use super::{AskId, Due, Event, FarEnd, FarOutput, Status};
use crate::fetch::{FetchError, FetchResponse};
use crate::http::Headers;
use crate::limits;
use crate::time::Instant;

/// Room for what a request says beside the parameters of every one.
const MORE: usize = 8;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The next document of the call, unless another verb runs when it comes.
    Document {
        /// The verb that asked.
        verb: u64,
        /// Whether this is the fallback URL's turn.
        fallback: bool,
    },
    /// A document of a call that is over: read, not executed.
    Moot,
    /// A callback, whose answer changes nothing.
    Notice,
}

/// A request under way.
#[derive(Debug)]
pub struct Asked {
    purpose: Purpose,
    url: String,
    get: bool,
    parameters: Parameters,
    /// Tells repeats of a callback apart from a second one.
    token: Option<String>,
    overrides: Overrides,
    repeats_left: u32,
    ceiling: Instant,
    attempt_over: Option<Due>,
}

impl FarEnd {
    /// The parameters of every request for a document and of the call's status callback.
    pub(super) fn standard(&self) -> Parameters {
        let line = &self.line;
        let status = match self.status {
            Status::Idle | Status::Ringing => "ringing",
            Status::InProgress => "in-progress",
            Status::Over(status) | Status::Settled(status) => status,
        };
        let fixed = [
            ("ApiVersion", "2010-04-01"),
            ("Direction", "inbound"),
            ("FromCity", ""),
            ("FromState", ""),
            ("FromZip", ""),
            ("FromCountry", "IL"),
            ("ToCity", "Tel Aviv"),
            ("ToState", ""),
            ("ToZip", ""),
            ("ToCountry", "IL"),
            ("CallToken", "%7B%22parentCallInfoToken%22%3A%22e30%3D%22%7D"),
        ];
        let own = [
            ("CallSid", line.call.to_string().into()),
            ("AccountSid", line.account.to_string().into()),
            ("From", line.from.clone().into()),
            ("To", line.to.clone().into()),
            ("Caller", line.from.clone().into()),
            ("Called", line.to.clone().into()),
            ("CallStatus", status.into()),
        ];
        let name = line.caller_name.clone().map(|name| ("CallerName", name.into()));
        let mut all = Parameters::with_capacity(own.len() + fixed.len() + MORE);
        all.extend(own.into_iter().chain(fixed.map(|(name, value)| (name, value.into()))).chain(name));
        all
    }

    /// Requests something.
    pub(super) fn ask(
        &mut self,
        purpose: Purpose,
        url: &str,
        get: bool,
        parameters: Parameters,
        out: &mut Vec<FarOutput>,
    ) {
        let overrides = match Overrides::of(url) {
            Ok(overrides) => overrides,
            Err(text) => return self.not_answered(purpose, url, 11242, &text, out),
        };
        let token = (purpose == Purpose::Notice).then(|| {
            self.told += 1;
            format!("00000000-0000-4000-8000-{:012x}", self.told)
        });
        let asked = Asked {
            purpose,
            url: url.to_owned(),
            get,
            parameters,
            token,
            overrides,
            repeats_left: overrides.repeats,
            ceiling: self.now.mono + overrides.total,
            attempt_over: None,
        };
        self.attempt(asked, out);
    }

    fn attempt(&mut self, asked: Asked, out: &mut Vec<FarOutput>) {
        let mut request = wire::request(&self.line, &asked.url, asked.get, &asked.parameters, asked.token.clone());
        request.timeout = asked.overrides.read.min(asked.ceiling.since(self.now.mono));
        let timeout = request.timeout;
        match self.asked.insert(asked) {
            Ok(id) => {
                let due = self.schedule(timeout, Event::AttemptOver(id));
                if let Some(asked) = self.asked.get_mut(id) {
                    asked.attempt_over = Some(due);
                }
                out.push(FarOutput::Request { id, request });
            }
            Err(asked) => self.not_answered(asked.purpose, &asked.url, 15002, "too many requests wait", out),
        }
    }

    /// An attempt is over: with an answer, without one, or (`None`) because its time is up.
    pub(super) fn answered(
        &mut self,
        id: AskId,
        result: Option<Result<FetchResponse, FetchError>>,
        out: &mut Vec<FarOutput>,
    ) {
        let Some(mut asked) = self.asked.remove(id) else { return };
        if let Some(due) = asked.attempt_over.take() {
            self.agenda.remove(&due);
        }
        let overrides = asked.overrides;
        let (repeat, code, text) = match result {
            Some(Ok(answer)) if (200..300).contains(&answer.status) => return self.got(asked, &answer, out),
            Some(Ok(FetchResponse { status, .. })) => {
                let repeat = match status {
                    400..500 => overrides.on_4xx,
                    500..600 => overrides.on_5xx,
                    _ => false,
                };
                (repeat, 11200, format!("the answer was {status}"))
            }
            Some(Err(error @ (FetchError::NotSent(_) | FetchError::NotAllowed(_)))) => {
                (overrides.on_connect, 11205, error.to_string())
            }
            Some(Err(error @ FetchError::Ambiguous(_))) => (overrides.on_read, 11205, error.to_string()),
            None => (overrides.on_read, 11205, "no answer in time".to_owned()),
        };
        if repeat && asked.repeats_left > 0 && self.now.mono < asked.ceiling {
            asked.repeats_left -= 1;
            return self.attempt(asked, out);
        }
        self.not_answered(asked.purpose, &asked.url, code, &text, out);
    }

    fn not_answered(&mut self, purpose: Purpose, url: &str, code: u32, text: &str, out: &mut Vec<FarOutput>) {
        let text = format!("{text}: {url}");
        match purpose {
            Purpose::Document { verb, fallback } if verb == self.verb && !self.is_over() => {
                self.application_failed(code, &text, url, fallback, out);
            }
            Purpose::Document { .. } | Purpose::Moot | Purpose::Notice => self.warn(code, text),
        }
    }

    fn got(&mut self, asked: Asked, answer: &FetchResponse, out: &mut Vec<FarOutput>) {
        match asked.purpose {
            Purpose::Notice => {}
            Purpose::Document { verb, fallback } if verb == self.verb && !self.is_over() => match document(answer) {
                Ok(twiml) => self.run_document(twiml, Some(asked.url), fallback, out),
                Err((code, text)) => self.application_failed(code, &text, &asked.url, fallback, out),
            },
            Purpose::Document { .. } | Purpose::Moot => {
                let read = document(answer)
                    .and_then(|twiml| super::twiml::read(twiml).map(drop).map_err(|fault| (fault.code, fault.text)));
                if let Err((code, text)) = read {
                    self.warn(code, format!("{text}: {}", asked.url));
                }
            }
        }
    }
}

/// The TwiML of an answer, if Twilio would read it as such.
fn document(answer: &FetchResponse) -> Result<&str, (u32, String)> {
    let kind = media_type(&answer.headers);
    if !matches!(kind.as_str(), "text/xml" | "application/xml" | "text/html") {
        return Err((12300, format!("the content type {kind:?} is not that of TwiML")));
    }
    if answer.body.is_empty() {
        return Err((11770, "the body is empty".to_owned()));
    }
    if answer.body.len() > limits::FAR_END_TWIML_BYTES_MAX {
        return Err((11750, "the body is longer than 64 kB".to_owned()));
    }
    core::str::from_utf8(&answer.body).map_err(|error| (12100, format!("the body is not UTF-8: {error}")))
}

fn media_type(headers: &Headers) -> String {
    let value = headers.get("content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
