//! The documents Twilio is answered with: a closed set, written by an XML writer.
//!
//! All URLs are absolute and https (the stream's is wss), and carry no query, because Twilio reorders queries after
//! signing them. Those Twilio calls back end in a fragment that makes it repeat a request that failed; it is never
//! sent and never signed.

use crate::google::Voice;
use crate::http::{Headers, Response};
use crate::sid::CallSid;
use crate::{limits, path};
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// Three retries, also after a read timeout of 4 s or a 5xx: by default Twilio repeats neither.
const RETRIES: &str = "#rc=3&rp=ct,rt,5xx&rt=4000";
/// Twilio speaks Hebrew only with a Google voice that is named together with the language.
const LANGUAGE: &str = "he-IL";
/// The voices of that language that `<Say>` has: the whole list (docs/twilio.md). Google has more of them.
const VOICES: [&str; 8] = [
    "Google.he-IL-Wavenet-A",
    "Google.he-IL-Wavenet-B",
    "Google.he-IL-Wavenet-C",
    "Google.he-IL-Wavenet-D",
    "Google.he-IL-Standard-A",
    "Google.he-IL-Standard-B",
    "Google.he-IL-Standard-C",
    "Google.he-IL-Standard-D",
];
/// Bytes of an ordinary document: one with a stream has some nine hundred.
const USUAL_BYTES: usize = 1_024;
/// What a document names instead of a call where there is none (a preview without `CallSid`).
const NO_CALL: &str = "preview";

/// The host under which Twilio reaches this service: a DNS name or an address, with an optional port, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicHost(String);

/// A text that is not a host name with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError;

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host name with an optional port, such as calls.example.com")
    }
}

impl core::error::Error for HostError {}

impl FromStr for PublicHost {
    type Err = HostError;

    /// Accepts `name[:port]` in ASCII (a Hebrew domain in its `xn--` form), `1.2.3.4[:port]` and `[::1][:port]`.
    fn from_str(text: &str) -> Result<Self, HostError> {
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => {
                address.parse::<Ipv6Addr>().map_err(|_| HostError)?;
                (None, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(HostError)?) })
            }
            None => match text.split_once(':') {
                Some((name, port)) => (Some(name), Some(port)),
                None => (Some(text), None),
            },
        };
        let port_fits = port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|number: u16| number > 0)
        });
        let fits = text.len() <= limits::PUBLIC_HOST_CHARS_MAX && port_fits && name.is_none_or(is_dns_name);
        if fits { Ok(Self(text.to_owned())) } else { Err(HostError) }
    }
}

/// Labels of letters, digits and inner hyphens. No underscore: Twilio refuses one in callback hosts.
fn is_dns_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

impl fmt::Display for PublicHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PublicHost {
    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads what people paste as `PUBLIC_HOST`: surrounding spaces, a scheme and slashes at the end are stripped.
    ///
    /// # Errors
    /// When the rest is no host name, for example because a path follows it.
    pub fn from_setting(text: &str) -> Result<Self, HostError> {
        let text = text.trim();
        let bare = ["https://", "http://", "wss://", "ws://"]
            .iter()
            .find_map(|scheme| {
                text.get(..scheme.len())
                    .filter(|start| start.eq_ignore_ascii_case(scheme))
                    .map(|_| &text[scheme.len()..])
            })
            .unwrap_or(text);
        bare.trim_matches(|sign: char| sign == '/' || sign.is_whitespace()).parse()
    }

    /// The host a request names: the first of `X-Forwarded-Host`, else `Host`; one that is no host name does not count.
    #[must_use]
    pub fn from_headers(headers: &Headers) -> Option<Self> {
        ["x-forwarded-host", "host"]
            .into_iter()
            .find_map(|name| headers.get(name)?.split(',').next()?.trim().parse().ok())
    }

    /// The `https` URL of a path.
    #[must_use]
    pub fn https(&self, path: &str) -> String {
        format!("https://{self}{path}")
    }

    /// The `wss` URL of a path.
    #[must_use]
    pub fn wss(&self, path: &str) -> String {
        format!("wss://{self}{path}")
    }

    /// The `https` URL of a path that Twilio calls back, with retries asked for.
    #[must_use]
    pub fn callback(&self, path: &str) -> String {
        format!("https://{self}{path}{RETRIES}")
    }
}

/// A voice that `<Say>` has. With one it does not have, Twilio may say nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SayVoice(&'static str);

impl SayVoice {
    /// Google's voice of this name, where `<Say>` has it, else the first of the list.
    #[must_use]
    pub fn nearest(voice: &Voice) -> Self {
        let same = |name: &&str| name.strip_prefix("Google.") == Some(voice.as_str());
        Self(VOICES.into_iter().find(same).unwrap_or(VOICES[0]))
    }

    /// Its name at Twilio.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// What a caller hears at a place where a prompt may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement<'a> {
    /// An audio file of ours, by its path.
    Play(&'a str),
    /// A text Twilio speaks. Control characters are left out; at most [`limits::PROMPT_TEXT_CHARS_MAX`] characters.
    Say(&'a str, SayVoice),
    /// Nothing.
    Silent,
}

/// Every answer to a request of Twilio's for TwiML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document<'a> {
    /// Greet, then open the media stream; what follows it is asked for.
    Stream {
        /// Said first; silent after a repeated `<Connect>`.
        greeting: Announcement<'a>,
        /// The call; `None` in a preview without one.
        call: Option<CallSid>,
        /// What admits the stream, see [`crate::token`].
        token: &'a str,
    },
    /// The recording document: announce, beep, record. It also travels in a REST update, so it is short.
    Record(Announcement<'a>),
    /// The recording goes on after its longest time: a beep only.
    RecordAgain,
    /// Say goodbye and hang up.
    Goodbye(Announcement<'a>),
    /// Hang up.
    Hangup,
    /// `<Response/>`, for a call that is over.
    Empty,
}

impl Document<'_> {
    /// The document as XML, from its declaration on.
    #[must_use]
    pub fn to_xml(&self, host: &PublicHost) -> String {
        let mut xml = Xml(Writer::new(Vec::with_capacity(USUAL_BYTES)));
        self.write(&mut xml, host);
        String::from_utf8(xml.0.into_inner()).expect("written from texts")
    }

    fn write(&self, xml: &mut Xml, host: &PublicHost) {
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        if *self == Self::Empty {
            return xml.empty("Response", &[]);
        }
        xml.open("Response", &[]);
        match *self {
            Self::Stream { greeting, call, token } => {
                xml.announce(greeting, host);
                xml.connect(host, call.as_ref().map_or(NO_CALL, CallSid::as_str), token);
            }
            Self::Record(prompt) => {
                xml.announce(prompt, host);
                xml.record(host);
            }
            Self::RecordAgain => xml.record(host),
            Self::Goodbye(prompt) => {
                xml.announce(prompt, host);
                xml.empty("Hangup", &[]);
            }
            Self::Hangup => xml.empty("Hangup", &[]),
            Self::Empty => {}
        }
        xml.close("Response");
    }
}

/// The answer that carries a document.
#[must_use]
pub fn response(document: &Document<'_>, host: &PublicHost) -> Response {
    Response::empty(200)
        .with("content-type", "text/xml; charset=utf-8")
        .with("cache-control", "no-store")
        .body(document.to_xml(host))
}

/// The writer with the few shapes that are used; it escapes every text and attribute.
struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn event(&mut self, event: Event<'_>) {
        self.0.write_event(event).expect("a Vec takes every write");
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.event(Event::Start(start(name, attributes)));
    }

    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.event(Event::Empty(start(name, attributes)));
    }

    fn close(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn text(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.open(name, attributes);
        self.event(Event::Text(BytesText::new(text)));
        self.close(name);
    }

    fn announce(&mut self, announcement: Announcement<'_>, host: &PublicHost) {
        match announcement {
            Announcement::Play(path) => self.text("Play", &[], &host.https(path)),
            Announcement::Say(text, voice) => match spoken(text) {
                text if text.is_empty() => {}
                text => self.text("Say", &[("language", LANGUAGE), ("voice", voice.as_str())], &text),
            },
            Announcement::Silent => {}
        }
    }

    fn connect(&mut self, host: &PublicHost, call: &str, token: &str) {
        let ended = host.callback(path::STREAM_ENDED);
        self.open("Connect", &[("action", &ended), ("method", "POST")]);
        let (url, status) = (host.wss(path::MEDIA), host.callback(path::STREAM_STATUS));
        self.open("Stream", &[("url", &url), ("statusCallback", &status)]);
        self.empty("Parameter", &[("name", "call_sid"), ("value", call)]);
        self.empty("Parameter", &[("name", "token"), ("value", token)]);
        self.close("Stream");
        self.close("Connect");
        self.text("Redirect", &[("method", "POST")], &ended);
    }

    /// `in-progress` is asked for because it is the only proof that a recording runs.
    fn record(&mut self, host: &PublicHost) {
        self.empty(
            "Record",
            &[
                ("action", &host.callback(path::HANDLE_RECORDING)),
                ("method", "POST"),
                ("recordingStatusCallback", &host.callback(path::RECORDING_STATUS)),
                ("recordingStatusCallbackEvent", "in-progress completed absent"),
                ("playBeep", "true"),
                ("timeout", &limits::RECORD_SILENCE_SECONDS.to_string()),
                ("maxLength", &limits::RECORD_LENGTH_SECONDS.to_string()),
                ("trim", "do-not-trim"),
            ],
        );
    }
}

/// A tag, written into room for all of it unless more than two signs of an attribute have to be escaped.
fn start(name: &str, attributes: &[(&str, &str)]) -> BytesStart<'static> {
    let around = r#" ="""#.len() + 2 * "amp;".len();
    let length: usize = attributes.iter().map(|(name, value)| name.len() + value.len() + around).sum();
    let mut content = String::with_capacity(name.len() + length);
    content.push_str(name);
    BytesStart::from_content(content, name.len()).with_attributes(attributes.iter().copied())
}

/// The text as XML can carry it and a voice can speak it: white space is a space, and control characters and the two
/// code points that XML forbids are left out.
fn spoken(text: &str) -> String {
    let kept = text.chars().filter_map(|sign| match sign {
        white if white.is_whitespace() => Some(' '),
        '\u{fffe}' | '\u{ffff}' => None,
        other => (!other.is_control()).then_some(other),
    });
    kept.take(limits::PROMPT_TEXT_CHARS_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests;
