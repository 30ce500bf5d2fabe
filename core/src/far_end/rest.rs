//! The REST interface: `…/Accounts/{AccountSid}/Calls/{CallSid}.json`, the call's recordings, and what changes a call.

use super::{EndedBy, FarEnd, FarOutput, Status, wire};
use crate::fetch::{FetchRequest, FetchResponse};
use crate::http::Method;
use crate::limits;
use crate::sid::{AccountSid, CallSid, RecordingSid};
use crate::time::Now;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// What a REST URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    /// `Calls/{CallSid}.json`.
    Call(CallSid),
    /// `Calls/{CallSid}/Recordings.json`.
    Recordings(CallSid),
    /// `Recordings/{RecordingSid}` with this extension, or none.
    Recording(RecordingSid, &'a str),
}

/// Paths are case sensitive; a query may follow where Twilio documents one.
fn target(url: &str) -> Option<(AccountSid, Target<'_>)> {
    let (_, rest) = url.split_once("/2010-04-01/Accounts/")?;
    let (account, rest) = rest.split_once('/')?;
    let account = account.parse().ok()?;
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    if let Some(call) = path.strip_prefix("Calls/") {
        if let Some(call) = call.strip_suffix("/Recordings.json") {
            return Some((account, Target::Recordings(call.parse().ok()?)));
        }
        let call = call.strip_suffix(".json").filter(|_| path.len() == rest.len())?;
        return Some((account, Target::Call(call.parse().ok()?)));
    }
    let (sid, extension) = match path.strip_prefix("Recordings/")? {
        name if name.contains('.') => name.split_once('.')?,
        name => (name, ""),
    };
    Some((account, Target::Recording(sid.parse().ok()?, extension)))
}

/// The call a REST URL or path is about, if it says so: that of the call itself, or of its list of recordings. A URL
/// of one recording does not name the call; ask [`FarEnd::answers`].
#[must_use]
pub fn rest_call(url: &str) -> Option<(AccountSid, CallSid)> {
    match target(url)? {
        (account, Target::Call(call) | Target::Recordings(call)) => Some((account, call)),
        (_, Target::Recording(..)) => None,
    }
}

/// A refusal as Twilio words it: 401 with 20003, 404 with 20404, 429 with 20429, 503 with 20503 and the like.
#[must_use]
pub fn rest_refusal(status: u16, code: u32, message: &str) -> FetchResponse {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    answer(status, &json!({ "code": code, "message": message, "more_info": more, "status": status }))
}

pub(super) fn answer(status: u16, body: &Value) -> FetchResponse {
    let headers = [("content-type", "application/json"), ("twilio-request-id", "RQ00000000000000000000000000000000")];
    FetchResponse { status, headers: headers.into_iter().collect(), body: body.to_string().into() }
}

impl FarEnd {
    /// Whether a REST URL or path is about this call or one of its recordings.
    #[must_use]
    pub fn answers(&self, url: &str) -> bool {
        match target(url) {
            Some((account, _)) if account != self.line.account => false,
            Some((_, Target::Call(call) | Target::Recordings(call))) => call == self.line.call,
            Some((_, Target::Recording(recording, _))) => self.recorded(recording).is_some(),
            None => false,
        }
    }

    /// Answers a REST request of the server's, whatever its method and path; credentials are checked when the line has
    /// an auth token.
    pub fn rest(&mut self, now: Now, request: &FetchRequest, out: &mut Vec<FarOutput>) -> FetchResponse {
        if !self.admits(request) {
            return rest_refusal(401, 20003, "Authenticate");
        }
        self.work_off(now, out);
        let answer = self.admitted(request, out);
        self.settle(out);
        answer
    }

    fn admitted(&mut self, request: &FetchRequest, out: &mut Vec<FarOutput>) -> FetchResponse {
        let target = target(&request.url).filter(|_| self.answers(&request.url));
        match (target.map(|(_, target)| target), request.method) {
            (None, _) => unknown(&request.url),
            (Some(Target::Call(_)), Method::Get) => self.rest_look_up(),
            (Some(Target::Call(_)), Method::Post) => {
                self.update(core::str::from_utf8(&request.body).unwrap_or("%"), out)
            }
            (Some(Target::Recordings(_)), Method::Get) => self.rest_recordings(),
            (Some(Target::Recording(recording, extension)), Method::Get) => self.rest_recording(recording, extension),
            (Some(_), _) => rest_refusal(405, 20004, "Method not allowed"),
        }
    }

    fn admits(&self, request: &FetchRequest) -> bool {
        let Some(token) = &self.line.auth_token else { return true };
        let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.line.account, token.expose())));
        request.authorization.as_ref().is_some_and(|given| given.expose() == expected)
    }

    /// The call as Twilio describes it.
    #[must_use]
    pub fn rest_look_up(&self) -> FetchResponse {
        if self.plan.forgotten_when_over && self.is_over() {
            return unknown(&self.path());
        }
        answer(200, &self.description())
    }

    /// Changes the call. What follows from it is in `out` when the answer is returned.
    pub fn rest_update(&mut self, now: Now, form: &str, out: &mut Vec<FarOutput>) -> FetchResponse {
        self.work_off(now, out);
        let answer = self.update(form, out);
        self.settle(out);
        answer
    }

    fn update(&mut self, form: &str, out: &mut Vec<FarOutput>) -> FetchResponse {
        match self.status {
            Status::InProgress => {}
            Status::Over(_) | Status::Settled(_) if self.plan.forgotten_when_over => return unknown(&self.path()),
            Status::Idle | Status::Ringing | Status::Over(_) | Status::Settled(_) => {
                return rest_refusal(400, 21220, "Call is not in-progress. Cannot redirect.");
            }
        }
        let change = match change(form) {
            Ok(change) => change,
            Err(refusal) => return refusal,
        };
        self.ledger.updates.push(self.now.mono);
        match change {
            Change::Twiml(text) => {
                self.interrupt(out);
                self.run_document(&text, None, false, out);
            }
            Change::Url(url, get) => {
                self.interrupt(out);
                self.ask_document(&url, get, Vec::new(), out);
            }
            Change::End => self.end(EndedBy::Rest, out),
        }
        answer(200, &self.description())
    }

    fn path(&self) -> String {
        format!("/2010-04-01/Accounts/{}/Calls/{}.json", self.line.account, self.line.call)
    }

    fn description(&self) -> Value {
        let status = match self.status {
            Status::Idle => "queued",
            Status::Ringing => "ringing",
            Status::InProgress => "in-progress",
            Status::Over(status) | Status::Settled(status) => status,
        };
        let span = self.ledger.answered.zip(self.ledger.ended);
        let duration = span.map(|(from, (to, _))| to.since(from).as_millis().div_ceil(1_000).to_string());
        json!({
            "sid": self.line.call.as_str(),
            "account_sid": self.line.account.as_str(),
            "parent_call_sid": null,
            "to": self.line.to,
            "to_formatted": self.line.to,
            "from": self.line.from,
            "from_formatted": self.line.from,
            "phone_number_sid": null,
            "status": status,
            "start_time": null,
            "end_time": span.map(|_| wire::rfc2822(self.now.unix)),
            "duration": duration,
            "price": null,
            "price_unit": "USD",
            "direction": "inbound",
            "answered_by": null,
            "api_version": "2010-04-01",
            "forwarded_from": null,
            "group_sid": null,
            "caller_name": self.line.caller_name,
            "queue_time": "0",
            "trunk_sid": null,
            "uri": self.path(),
            "subresource_uris": {},
            "date_created": null,
            "date_updated": wire::rfc2822(self.now.unix),
        })
    }
}

pub(super) fn unknown(path: &str) -> FetchResponse {
    rest_refusal(404, 20404, &format!("The requested resource {path} was not found"))
}

enum Change {
    Twiml(String),
    Url(String, bool),
    End,
}

/// Reads an update; a parameter Twilio does not document for it is refused (20001).
fn change(form: &str) -> Result<Change, FetchResponse> {
    let refused = |code, message: &str| Err(rest_refusal(400, code, message));
    let Some(pairs) = wire::read_form(form) else { return refused(20001, "The body is not a form") };
    let known = ["Twiml", "Url", "Method", "Status", "FallbackUrl", "FallbackMethod", "StatusCallback"];
    let more = ["StatusCallbackMethod", "TimeLimit"];
    if let Some((name, _)) =
        pairs.iter().find(|(name, _)| !known.contains(&name.as_str()) && !more.contains(&name.as_str()))
    {
        return refused(20001, &format!("Unknown parameter {name}"));
    }
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match (value("Twiml"), value("Url"), value("Status").as_deref()) {
        (Some(text), None, None) if text.chars().count() > limits::REST_TWIML_CHARS_MAX => {
            refused(20422, "Twiml is longer than 4000 characters")
        }
        (Some(text), None, None) => Ok(Change::Twiml(text)),
        (None, Some(url), None) => match wire::resolve(None, &url) {
            Some(url) => Ok(Change::Url(url, value("Method").as_deref() == Some("GET"))),
            None => refused(21205, "Url is not a valid URL"),
        },
        (None, None, Some("completed" | "canceled")) => Ok(Change::End),
        _ => refused(20422, "Give one of Twiml, Url and Status=completed"),
    }
}
