//! Who is believed, and what those get who are not: sections 3 and 4.

use super::answers::{Document, document};
use super::deployment::Deployment;
use super::{Disagreement, Life, What, keys};
use callwarden_core::http::{Method, Request, Response};
use callwarden_core::sid::CallSid;
use callwarden_core::time::Now;
use std::time::Duration;

/// A webhook's answer is due after this: a second for the row (D1), half of one for a claim (W5).
const ANSWER_TIME: Duration = Duration::from_millis(1_500);

const FETCHES: [&str; 3] = ["/webhook/incoming_call", "/webhook/stream_ended", "/webhook/handle_recording"];
const NEWS: [&str; 3] = ["/webhook/call_status", "/webhook/stream_status", "/webhook/recording_status"];

/// What a request for a webhook is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Twilio, or anybody in development mode.
    Believed,
    /// An `incoming_call` that nobody signed: shows what a call would get.
    Preview,
    /// No or a wrong signature.
    Forger,
    /// No host it could be called back at.
    Nowhere,
    /// A method that the path does not have.
    WrongMethod,
}

/// A request for a webhook.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its place among the moments of the process.
    pub place: usize,
    /// When.
    pub at: Now,
    /// Which webhook.
    pub path: String,
    /// Its names and values.
    pub form: Vec<(String, String)>,
    /// Who sent it.
    pub sender: Sender,
    /// Whom it is about.
    pub call: Option<CallSid>,
}

/// The first value with this name.
#[must_use]
pub fn value<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
}

/// The visit that a moment is, if it is a request for a webhook.
#[must_use]
pub fn visit(life: &Life, place: usize, deployment: &Deployment) -> Option<Visit> {
    let moment = &life.moments[place];
    let What::Asked { request, .. } = &moment.what else { return None };
    let path = request.path().to_owned();
    if !FETCHES.contains(&path.as_str()) && !NEWS.contains(&path.as_str()) {
        return None;
    }
    let by_get = matches!(request.method, Method::Get | Method::Head);
    let form = keys::pairs(if by_get { request.query().unwrap_or_default().as_bytes() } else { &request.body });
    let call = value(&form, "CallSid").parse().ok();
    let names_one = form.iter().any(|(name, _)| name == "CallSid");
    let sender = sender(request, &path, names_one, deployment);
    Some(Visit { place, at: moment.at, path, form, sender, call })
}

fn sender(request: &Request, path: &str, names_call: bool, deployment: &Deployment) -> Sender {
    let is_announcement = path == FETCHES[0];
    let may = match request.method {
        Method::Post => true,
        Method::Get | Method::Head => is_announcement,
        Method::Put | Method::Delete | Method::Options | Method::Patch => false,
    };
    if !may {
        return Sender::WrongMethod;
    }
    let Some(host) = host(request, deployment) else { return Sender::Nowhere };
    let signed = request.headers.get("x-twilio-signature").is_some();
    match (deployment.is_development(), signed) {
        (true, _) if is_announcement && !names_call => Sender::Preview,
        (true, _) => Sender::Believed,
        (false, false) if is_announcement => Sender::Preview,
        (false, _) if keys::is_signed(request, &host, deployment) => Sender::Believed,
        (false, _) => Sender::Forger,
    }
}

fn host(request: &Request, deployment: &Deployment) -> Option<String> {
    let told = ["x-forwarded-host", "host"].iter().find_map(|name| {
        let first = request.headers.get(name)?.split(',').next()?.trim();
        let fits = |sign: char| sign.is_ascii_alphanumeric() || "-.:[]".contains(sign);
        (!first.is_empty() && first.chars().all(fits)).then(|| first.to_owned())
    });
    deployment.public_host.clone().or(told)
}

/// The answer to the request at this place.
#[must_use]
pub fn reply(life: &Life, place: usize) -> Option<(Now, &Response)> {
    let What::Asked { id: asked, .. } = &life.moments[place].what else { return None };
    life.moments[place..].iter().find_map(|moment| match &moment.what {
        What::Replied { id, response } if id == asked => Some((moment.at, response)),
        _ => None,
    })
}

/// Checks that every webhook is answered in time, and everything that does not depend on what is known of a call.
pub fn check(life: &Life, deployment: &Deployment, found: &mut Vec<Disagreement>) {
    for place in 0..life.moments.len() {
        let Some(visit) = visit(life, place, deployment) else { continue };
        let Some((at, response)) = reply(life, place) else {
            if life.end.mono > visit.at.mono + ANSWER_TIME {
                found.push(Disagreement::new("I1", visit.at, "every webhook is answered", visit.path));
            }
            continue;
        };
        if at.mono > visit.at.mono + ANSWER_TIME {
            found.push(Disagreement::new("D1", at, "an answer within a second", visit.path.clone()));
        }
        if let Some((rule, expected)) = objection(&visit, response) {
            let given = format!("{}: {} {:?}", visit.path, response.status, document(response));
            found.push(Disagreement::new(rule, at, expected, given));
        }
    }
}

fn objection(visit: &Visit, response: &Response) -> Option<(&'static str, String)> {
    let wants =
        |status: u16| (response.status != status).then(|| ("section 4", format!("{:?}: {status}", visit.sender)));
    let is_preview = response.header("x-callwarden-preview").is_some();
    if is_preview != (visit.sender == Sender::Preview) {
        return Some(("section 3", format!("{:?}, which is marked as a preview or is none", visit.sender)));
    }
    match visit.sender {
        Sender::Forger => wants(403),
        Sender::WrongMethod => wants(405),
        Sender::Nowhere => wants(400),
        Sender::Preview | Sender::Believed if FETCHES.contains(&visit.path.as_str()) => {
            wants(200).or_else(|| malformed(response)).or_else(|| of_no_call(visit, response))
        }
        Sender::Preview | Sender::Believed => wants(204),
    }
}

fn malformed(response: &Response) -> Option<(&'static str, String)> {
    let body = String::from_utf8_lossy(&response.body);
    let headers = response.header("content-type") == Some("text/xml; charset=utf-8")
        && response.header("cache-control") == Some("no-store");
    let fits = headers && (body.is_empty() || body.starts_with("<?xml")) && body.len() < 4_000;
    (!fits).then(|| ("section 3", "TwiML with its headers, below 4,000 characters".to_owned()))
}

/// A webhook that names no call, and a preview, know nothing: the same request gets the same answer.
fn of_no_call(visit: &Visit, response: &Response) -> Option<(&'static str, String)> {
    let given = document(response);
    let fits = match (visit.sender, visit.path.as_str()) {
        (Sender::Preview, _) => matches!(given, Document::Connect { .. } | Document::Record { .. }),
        (_, _) if visit.call.is_some() => true,
        (_, "/webhook/handle_recording") => matches!(given, Document::Goodbye | Document::HangUp),
        _ => matches!(given, Document::Record { .. }),
    };
    (!fits).then(|| ("section 3", format!("what {:?} of no call gets", visit.sender)))
}
