//! The REST interface of a live call: `…/Accounts/{AccountSid}/Calls/{CallSid}.json`.

use super::{EndedBy, FarEnd, FarOutput, Status, wire};
use crate::fetch::{FetchRequest, FetchResponse};
use crate::http::Method;
use crate::limits;
use crate::sid::{AccountSid, CallSid};
use crate::time::Now;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The call a REST URL or path names; it is case sensitive and takes no query.
#[must_use]
pub fn rest_call(url: &str) -> Option<(AccountSid, CallSid)> {
    let at = url.find("/2010-04-01/Accounts/")?;
    let (account, call) = url[at..].strip_prefix("/2010-04-01/Accounts/")?.split_once("/Calls/")?;
    Some((account.parse().ok()?, call.strip_suffix(".json")?.parse().ok()?))
}

/// A refusal as Twilio words it: 401 with 20003, 404 with 20404, 429 with 20429, 503 with 20503 and the like.
#[must_use]
pub fn rest_refusal(status: u16, code: u32, message: &str) -> FetchResponse {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    answer(status, &json!({ "code": code, "message": message, "more_info": more, "status": status }))
}

fn answer(status: u16, body: &Value) -> FetchResponse {
    let headers = [("content-type", "application/json"), ("twilio-request-id", "RQ00000000000000000000000000000000")];
    FetchResponse { status, headers: headers.into_iter().collect(), body: body.to_string().into() }
}

impl FarEnd {
    /// Answers a REST request of the server's, whatever its method and path; credentials are checked when the line has
    /// an auth token.
    pub fn rest(&mut self, now: Now, request: &FetchRequest, out: &mut Vec<FarOutput>) -> FetchResponse {
        if !self.admits(request) {
            return rest_refusal(401, 20003, "Authenticate");
        }
        if rest_call(&request.url) != Some((self.line.account, self.line.call)) {
            return unknown(&request.url);
        }
        match request.method {
            Method::Get => self.rest_look_up(),
            Method::Post => {
                let form = core::str::from_utf8(&request.body).unwrap_or("%");
                self.rest_update(now, form, out)
            }
            Method::Head | Method::Put | Method::Delete | Method::Options | Method::Patch => {
                rest_refusal(405, 20004, "Method not allowed")
            }
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

fn unknown(path: &str) -> FetchResponse {
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
