//! Whole calls in virtual time, against scripted answers.

use super::*;
use crate::sid::{AccountSid, CallSid};
use crate::time::UnixMillis;

mod calls;
mod documents;
mod requests;
mod streams;
mod updates;

const GREET_AND_STREAM: &str = "<Play>https://h/greeting.wav</Play><Connect action=\"https://h/stream_ended#rc=3&amp;rp=ct,rt,5xx&amp;rt=4000\">\
    <Stream url=\"wss://h/ws\" statusCallback=\"https://h/stream_status\"><Parameter name=\"call_sid\" value=\"x\"/></Stream></Connect>\
    <Redirect>https://h/stream_ended</Redirect>";
const RECORD: &str = "<Play>https://h/fallback.wav</Play><Record action=\"https://h/handle_recording\" timeout=\"10\" maxLength=\"120\" \
    recordingStatusCallback=\"https://h/recording_status\" recordingStatusCallbackEvent=\"in-progress completed absent\" trim=\"do-not-trim\"/>";
const GOODBYE: &str = "<Say language=\"he-IL\" voice=\"Google.he-IL-Wavenet-A\">תודה שהתקשרתם, להתראות</Say><Hangup/>";

type Answer = Result<FetchResponse, FetchError>;
type Application = Box<dyn FnMut(&str, &FetchRequest) -> Option<Answer>>;

fn xml(verbs: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{verbs}</Response>")
}

fn twiml(verbs: &str) -> Option<Answer> {
    let headers = [("Content-Type", "text/xml; charset=utf-8")].into_iter().collect();
    Some(Ok(FetchResponse { status: 200, headers, body: xml(verbs).into() }))
}

fn status(status: u16) -> Option<Answer> {
    Some(Ok(FetchResponse { status, headers: Default::default(), body: Default::default() }))
}

/// What a sound application answers.
fn application(path: &str, _: &FetchRequest) -> Option<Answer> {
    match path {
        "/incoming_call" => twiml(GREET_AND_STREAM),
        "/stream_ended" | "/handle_recording" => twiml(GOODBYE),
        _ => status(204),
    }
}

/// Drives one call: answers requests at once, plays three-second prompts, opens sockets after 100 ms.
struct Desk {
    far: FarEnd,
    now: Now,
    application: Application,
    requests: Vec<FetchRequest>,
    unanswered: Vec<AskId>,
    sent: Vec<String>,
    socket: Option<SocketId>,
    opening: Option<(Instant, SocketId)>,
    media_fails: bool,
    closed: Vec<&'static str>,
    ended: Vec<Ledger>,
}

impl Desk {
    fn new(plan: Plan, application: impl FnMut(&str, &FetchRequest) -> Option<Answer> + 'static) -> Self {
        let (account, call) = (AccountSid::from_number(0xA), CallSid::from_number(0xC));
        let mut line = Line::to_server("https://h", account, call, Some(crate::secret::Secret::new("12345")));
        line.voice_url = "https://h/incoming_call".to_owned();
        line.status_callback = Some("https://h/call_status".to_owned());
        let now = Now { mono: Instant::from_millis(500), unix: UnixMillis(1_650_498_325_000) };
        let (requests, sent, closed, ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (far, application) = (FarEnd::new(line, plan), Box::new(application));
        let (socket, opening, media_fails, unanswered) = (None, None, false, Vec::new());
        Self { far, now, application, requests, unanswered, sent, socket, opening, media_fails, closed, ended }
    }

    fn dial(mut self) -> Self {
        let mut out = Vec::new();
        self.far.start(self.now, &mut out);
        self.perform(out);
        self
    }

    fn put(&mut self, input: FarInput<'_>) {
        let mut out = Vec::new();
        self.far.handle(self.now, input, &mut out);
        self.perform(out);
    }

    fn server_sends(&mut self, text: &str) {
        let id = self.socket.expect("an open socket");
        let stream = self.far.ledger().streams.last().expect("a stream").stream;
        self.put(FarInput::SocketText { id, text: &text.replace("STR", stream.as_str()) });
    }

    fn update(&mut self, verbs: &str) -> u16 {
        let mut form = String::from("Twiml=");
        for byte in xml(verbs).bytes() {
            form.push_str(&format!("%{byte:02X}"));
        }
        let mut out = Vec::new();
        let answer = self.far.rest_update(self.now, &form, &mut out);
        self.perform(out);
        answer.status
    }

    fn perform(&mut self, out: Vec<FarOutput>) {
        for output in out {
            assert!(self.ended.is_empty(), "nothing follows the end: {output:?}");
            match output {
                FarOutput::Request { id, request } => {
                    let path = request.url.strip_prefix("https://h").expect("our host").to_owned();
                    let path = path.split_once('?').map_or(path.as_str(), |(path, _)| path);
                    let answer = (self.application)(path, &request);
                    self.requests.push(request);
                    match answer {
                        Some(result) => self.put(FarInput::Answered { id, result }),
                        None => self.unanswered.push(id),
                    }
                }
                FarOutput::FetchMedia { id, .. } => {
                    let result = if self.media_fails { Err("404".to_owned()) } else { Ok(Duration::from_secs(3)) };
                    self.put(FarInput::MediaFetched { id, result });
                }
                FarOutput::OpenSocket { id, url, headers } => {
                    assert_eq!(url, "wss://h/ws");
                    assert!(headers.iter().any(|(name, _)| *name == "x-twilio-signature"));
                    self.opening = Some((self.now.mono + Duration::from_millis(100), id));
                }
                FarOutput::SendText { id, text } => {
                    assert_eq!(Some(id), self.socket);
                    self.sent.push(text);
                }
                FarOutput::CloseSocket { .. } => self.close("closed"),
                FarOutput::DropSocket { .. } => self.close("dropped"),
                FarOutput::Ended(ledger) => self.ended.push(*ledger),
            }
        }
    }

    fn close(&mut self, how: &'static str) {
        self.closed.push(how);
        (self.socket, self.opening) = (None, None);
    }

    fn at(&mut self, at: Instant) {
        let passed = at.since(self.now.mono);
        self.now = Now { mono: self.now.mono.max(at), unix: self.now.unix + passed };
    }

    /// Lets this much time pass.
    fn wait(&mut self, time: Duration) {
        let until = self.now.mono + time;
        loop {
            let opening = self.opening.map(|(at, _)| at);
            let next = opening.into_iter().chain(self.far.next_timeout()).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.at(next);
            if let Some((_, id)) = self.opening.take_if(|(at, _)| *at <= next) {
                self.socket = Some(id);
                self.put(FarInput::SocketOpened { id });
            }
            let mut out = Vec::new();
            self.far.handle_timeout(self.now, &mut out);
            self.perform(out);
            assert!(self.far.next_timeout().is_none_or(|next| next > self.now.mono), "nothing stays due");
        }
        self.at(until);
    }

    fn wait_seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// The account after everything that can happen has happened.
    fn end(mut self) -> (Ledger, Vec<FetchRequest>) {
        self.wait(limits::FAR_END_CALL_TIME + limits::FAR_END_REQUEST_TIME);
        assert_eq!(self.far.next_timeout(), None);
        assert_eq!(self.ended.len(), 1);
        (self.ended.remove(0), self.requests)
    }

    fn bodies(&self, path: &str) -> Vec<String> {
        bodies(&self.requests, path)
    }
}

fn bodies(requests: &[FetchRequest], path: &str) -> Vec<String> {
    let hits = requests.iter().filter(|request| request.url.ends_with(path));
    hits.map(|request| String::from_utf8(request.body.to_vec()).expect("text")).collect()
}

fn codes(ledger: &Ledger) -> Vec<u32> {
    ledger.problems.iter().map(|problem| problem.code).collect()
}
