//! Which request is what, and who may ask it.

use super::{Output, Stream, Switchboard, log};
use crate::form::Form;
use crate::http::{Method, Request, Response};
use crate::id::RequestId;
use crate::log::{Event, Level, LogLine};
use crate::signature::{self, Payload};
use crate::stream::{MediaStream, StreamSettings};
use crate::twiml::PublicHost;
use crate::{limits, path};

/// Twilio's webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Webhook {
    IncomingCall,
    CallStatus,
    StreamStatus,
    StreamEnded,
    HandleRecording,
    RecordingStatus,
}

impl Webhook {
    fn at(path: &str) -> Option<Self> {
        match path {
            path::INCOMING_CALL => Some(Self::IncomingCall),
            path::CALL_STATUS => Some(Self::CallStatus),
            path::STREAM_STATUS => Some(Self::StreamStatus),
            path::STREAM_ENDED => Some(Self::StreamEnded),
            path::HANDLE_RECORDING => Some(Self::HandleRecording),
            path::RECORDING_STATUS => Some(Self::RecordingStatus),
            _ => None,
        }
    }
}

/// Who sent a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// Twilio, by its signature; or anyone with a `CallSid` in development mode.
    Believed,
    /// Somebody without a signature: sees what a call would get, and changes nothing.
    Anonymous,
    /// Somebody with a wrong signature.
    Forger,
}

impl Switchboard {
    /// A request arrived.
    pub(super) fn request(&mut self, id: RequestId, request: &Request, out: &mut Vec<Output>) {
        let path = request.path();
        let webhook = Webhook::at(path);
        let is_media = path == path::MEDIA || path.strip_suffix('/') == Some(path::MEDIA);
        let level = if webhook.is_some() || is_media { Level::Info } else { Level::Debug };
        let Some(entry) = self.requests.get_mut(id) else { return };
        (entry.since, entry.level) = (self.now.mono, level);
        let logged = path.char_indices().nth(limits::LOGGED_PATH_CHARS_MAX).map_or(path, |(end, _)| &path[..end]);
        logged.clone_into(&mut entry.path);
        let mut line = LogLine::new(level, Event::Req);
        (line.method, line.path) = (Some(request.method.as_str().to_owned()), Some(entry.path.clone()));
        log(line, out);

        if let Some(webhook) = webhook {
            return match (webhook, request.method) {
                (Webhook::IncomingCall, Method::Get | Method::Head | Method::Post) | (_, Method::Post) => {
                    self.webhook(id, webhook, request, out);
                }
                (Webhook::IncomingCall, _) => self.reply(id, not_allowed("GET, HEAD, POST"), out),
                _ => self.reply(id, not_allowed("POST"), out),
            };
        }
        if is_media {
            return self.upgrade(id, request, out);
        }
        let response = self.page(path, request);
        self.reply(id, response, out);
    }

    fn page(&self, path: &str, request: &Request) -> Response {
        let reads = matches!(request.method, Method::Get | Method::Head);
        let known = matches!(path, path::HEALTHZ | path::READYZ | path::VERSION | path::METRICS);
        let prompt = self.settings.prompts.answer(request);
        match (path, prompt) {
            (_, Some(response)) => response,
            _ if known && !reads => not_allowed("GET, HEAD"),
            (path::HEALTHZ, _) => self.healthz(),
            (path::READYZ, _) => self.readyz(),
            (path::VERSION, _) => self.version(),
            (path::METRICS, _) => self.metrics(request),
            _ => not_found(),
        }
    }

    /// The answer to a request that there is no room for.
    pub(super) fn one_too_many(&self, request: &Request) -> Response {
        match (Webhook::at(request.path()), self.host_of(request)) {
            (Some(webhook), Some(host)) => self.answer_without_a_call(webhook, &host),
            _ => Response::text(503, "too many requests wait for their answer: try again in a second\n")
                .with("retry-after", "1"),
        }
    }

    /// The handshake is open to anyone: a per-call token in `start` decides.
    fn upgrade(&mut self, id: RequestId, request: &Request, out: &mut Vec<Output>) {
        let asks = request.headers.has_token("upgrade", "websocket")
            && request.headers.has_token("connection", "upgrade")
            && request.method == Method::Get;
        if !asks {
            let text = "this path speaks WebSocket only: send an upgrade request\n";
            return self.reply(id, Response::text(426, text).with("upgrade", "websocket"), out);
        }
        if self.draining.is_some() {
            return self.reply(id, Response::text(503, "this process is stopping\n"), out);
        }
        let Some(host) = self.host_of(request) else { return self.reply(id, no_host(), out) };
        let Ok(stream) = self.streams.insert(Stream { host, call: None, accepted: false, heard: None }) else {
            return self.reply(id, Response::text(503, "too many open streams\n"), out);
        };
        let settings = StreamSettings {
            media_timeout: self.settings.config.media_timeout,
            end_silence: self.settings.config.end_silence,
            listen: self.transcription.is_some(),
            trace_frames: self.settings.trace,
        };
        let machine = Box::new(MediaStream::new(self.now.mono, stream, settings));
        self.requests.remove(id);
        out.push(Output::Upgrade { id, stream, machine });
        log(LogLine::new(Level::Info, Event::WsConnected).connection(stream), out);
    }

    /// A webhook: who sent it, and what that means for it.
    fn webhook(&mut self, id: RequestId, webhook: Webhook, request: &Request, out: &mut Vec<Output>) {
        let in_body = request.method == Method::Post;
        let query = || request.query().unwrap_or_default().as_bytes();
        let form = Form::parse(if in_body { &request.body } else { query() });
        let Some(host) = self.host_of(request) else {
            return self.reply(id, no_host(), out);
        };
        match self.sender(webhook, request, &form, &host) {
            Sender::Believed => self.believed(id, webhook, &form, &host, out),
            Sender::Anonymous if webhook == Webhook::IncomingCall => {
                self.warn_of_missing_signature(request, &form, out);
                let response = self.preview(&form, &host);
                self.reply(id, response, out);
            }
            Sender::Anonymous | Sender::Forger => {
                self.counters.signatures_rejected += 1;
                let reason = if request.headers.get(SIGNATURE).is_some() { "wrong" } else { "missing" };
                let asked = request.headers.get("host").unwrap_or_default();
                let line = LogLine::new(Level::Warn, Event::SignatureRejected)
                    .reason(reason)
                    .detail(format_args!("verified for host {host}, asked of host {asked}"));
                log(line, out);
                self.reply(id, Response::text(403, "the X-Twilio-Signature header does not fit this request\n"), out);
            }
        }
    }

    /// The host Twilio knows us by: the configured one, else the one the request names.
    fn host_of(&self, request: &Request) -> Option<PublicHost> {
        self.public_host.clone().or_else(|| PublicHost::from_headers(&request.headers))
    }

    fn sender(&self, webhook: Webhook, request: &Request, form: &Form, host: &PublicHost) -> Sender {
        let Some(account) = &self.settings.config.twilio else {
            let names_a_call = form.get("CallSid").is_some() || webhook != Webhook::IncomingCall;
            return if names_a_call { Sender::Believed } else { Sender::Anonymous };
        };
        let Some(given) = request.headers.get(SIGNATURE) else { return Sender::Anonymous };
        let forwarded = request.headers.get("x-forwarded-proto").filter(|_| self.public_host.is_none());
        let scheme = if forwarded.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) { "http" } else { "https" };
        let url = format!("{scheme}://{host}{}", request.target);
        let payload = Payload::of(request, form);
        if signature::verify(&account.auth_tokens, &url, payload, given) { Sender::Believed } else { Sender::Forger }
    }

    /// A proxy that strips the header would turn every real call into a preview.
    fn warn_of_missing_signature(&mut self, request: &Request, form: &Form, out: &mut Vec<Output>) {
        let looks_real = form.get("CallSid").is_some()
            && request.headers.get("user-agent").is_some_and(|agent| agent.starts_with("TwilioProxy"));
        if looks_real && self.settings.config.twilio.is_some() {
            self.unsigned = Some(self.now.unix);
            let line = LogLine::new(Level::Error, Event::SignatureMissing)
                .detail("a request of Twilio's came without X-Twilio-Signature: does a proxy strip the header?");
            log(line, out);
        }
    }
}

const SIGNATURE: &str = "x-twilio-signature";

/// 404 in words.
pub(super) fn not_found() -> Response {
    Response::text(404, "there is nothing at this path\n")
}

fn not_allowed(methods: &'static str) -> Response {
    Response::text(405, format!("this path answers {methods}\n")).with("allow", methods)
}

fn no_host() -> Response {
    Response::text(400, "the Host header names no host that Twilio could call back\n")
}
