//! Media Streams messages: what Twilio says, parsed without copying, and the one message we may say.
//!
//! Numbers come as strings or as numbers; `customParameters` may be absent, an object or a JSON text (S6). Unknown
//! members are ignored. [`Outbound`] can only be a `mark`: `media`, `start` and `stop` have no representation (S3).

use crate::limits;
use crate::sid::StreamSid;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// One message from Twilio. Borrows from the text; a media frame allocates nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'t> {
    /// The socket is up; says nothing about a stream.
    Connected,
    /// A stream begins.
    Start(Box<StartMessage>),
    /// 20 ms of sound.
    Media {
        /// The stream it names.
        stream: Option<StreamSid>,
        /// Its place in the order of frames.
        chunk: Option<u64>,
        /// Milliseconds from the stream's start to the frame's.
        timestamp: Option<u64>,
        /// Base64 of mu-law, undecoded.
        payload: Cow<'t, str>,
    },
    /// A mark of ours came back.
    Mark {
        /// The stream it names.
        stream: Option<StreamSid>,
        /// The mark's name.
        name: Cow<'t, str>,
    },
    /// A key was pressed.
    Dtmf {
        /// The stream it names.
        stream: Option<StreamSid>,
    },
    /// The stream is over.
    Stop {
        /// The stream it names.
        stream: Option<StreamSid>,
    },
    /// An event this version does not know.
    Unknown,
}

/// The particulars of a `start`, as texts; [`crate::stream`] judges them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StartMessage {
    /// The top-level `streamSid`.
    pub envelope_stream: Option<String>,
    /// `start.streamSid`.
    pub stream: Option<String>,
    /// `start.callSid`.
    pub call: Option<String>,
    /// `start.accountSid`.
    pub account: Option<String>,
    /// Our `<Parameter>`s; at most [`limits::CUSTOM_PARAMETERS_MAX`], values cut to [`limits::TEXT_CHARS_MAX`].
    pub parameters: BTreeMap<String, String>,
}

/// Why a text is no message.
#[derive(Debug)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Reads one text message.
///
/// # Errors
/// [`Unreadable`] when the text is no JSON object with an `event`, or the event lacks what makes it one.
pub fn parse(text: &str) -> Result<Message<'_>, Unreadable> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| Unreadable(place(&error)))?;
    let stream = envelope.stream_sid.as_ref().and_then(|Text(sid)| sid.parse().ok());
    match envelope.event.0.as_ref() {
        "media" => {
            let media = envelope.media.ok_or_else(|| Unreadable("media without its body".into()))?;
            let count = |count: Option<Count>| count.and_then(|Count(count)| count);
            let (chunk, timestamp) = (count(media.chunk), count(media.timestamp));
            Ok(Message::Media { stream, chunk, timestamp, payload: media.payload.0 })
        }
        "mark" => {
            let mark = envelope.mark.ok_or_else(|| Unreadable("mark without its body".into()))?;
            Ok(Message::Mark { stream, name: mark.name.0 })
        }
        "start" => start(text, envelope.stream_sid).map(|start| Message::Start(Box::new(start))),
        "stop" => Ok(Message::Stop { stream }),
        "dtmf" => Ok(Message::Dtmf { stream }),
        "connected" => Ok(Message::Connected),
        _ => Ok(Message::Unknown),
    }
}

/// Where the text stops being JSON, without quoting it: it may be speech or a number.
fn place(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Syntax => "no JSON",
        serde_json::error::Category::Eof => "JSON cut short",
        serde_json::error::Category::Data => "not the shape of a message",
        serde_json::error::Category::Io => "unreadable",
    };
    format!("{kind} at column {}", error.column())
}

fn start(text: &str, envelope_stream: Option<Text<'_>>) -> Result<StartMessage, Unreadable> {
    let StartEnvelope { start } = serde_json::from_str(text).map_err(|error| Unreadable(place(&error)))?;
    Ok(StartMessage {
        envelope_stream: envelope_stream.map(|Text(sid)| sid.into_owned()),
        stream: start.stream_sid,
        call: start.call_sid,
        account: start.account_sid,
        parameters: parameters(start.custom_parameters),
    })
}

/// Reads `customParameters` in any of its shapes; whatever else stands there counts as none.
fn parameters(value: serde_json::Value) -> BTreeMap<String, String> {
    let object = match value {
        serde_json::Value::Object(object) => object,
        serde_json::Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_) => serde_json::Map::new(),
    };
    let texts = object.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::String(text) => Some((name, text.chars().take(limits::TEXT_CHARS_MAX).collect())),
        serde_json::Value::Number(number) => Some((name, number.to_string())),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => None,
    });
    texts.take(limits::CUSTOM_PARAMETERS_MAX).collect()
}

/// A message of ours. Twilio rejects unknown members, so there is not one more than it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Comes back at once when nothing is buffered: proof that the stream lives (W3).
    Mark {
        /// The stream, as its `start` named it.
        stream: StreamSid,
        /// Counts the marks of a stream; part of the mark's name.
        number: u32,
    },
}

/// What the names of our marks begin with.
const MARK_PREFIX: &str = "callwarden-";

impl Outbound {
    /// The message as it goes over the wire.
    #[must_use]
    pub fn to_text(self) -> String {
        let Self::Mark { stream, number } = self;
        let name = format!("{MARK_PREFIX}{number}");
        let message = OutboundMark { event: "mark", stream_sid: stream.as_str(), mark: OutboundName { name: &name } };
        serde_json::to_string(&message).expect("a struct of texts serialises")
    }
}

/// The number in the name of one of our marks.
#[must_use]
pub fn mark_number(name: &str) -> Option<u32> {
    name.strip_prefix(MARK_PREFIX)?.parse().ok()
}

#[derive(Serialize)]
struct OutboundMark<'a> {
    event: &'a str,
    #[serde(rename = "streamSid")]
    stream_sid: &'a str,
    mark: OutboundName<'a>,
}

#[derive(Serialize)]
struct OutboundName<'a> {
    name: &'a str,
}

/// The flat shape of every message. A tagged enum would copy each message into a buffer first.
#[derive(Deserialize)]
struct Envelope<'t> {
    #[serde(borrow)]
    event: Text<'t>,
    #[serde(borrow, rename = "streamSid")]
    stream_sid: Option<Text<'t>>,
    #[serde(borrow)]
    media: Option<Media<'t>>,
    #[serde(borrow)]
    mark: Option<Mark<'t>>,
}

#[derive(Deserialize)]
struct Media<'t> {
    chunk: Option<Count>,
    timestamp: Option<Count>,
    #[serde(borrow)]
    payload: Text<'t>,
}

#[derive(Deserialize)]
struct Mark<'t> {
    #[serde(borrow)]
    name: Text<'t>,
}

#[derive(Deserialize)]
struct StartEnvelope {
    start: StartBody,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartBody {
    stream_sid: Option<String>,
    call_sid: Option<String>,
    account_sid: Option<String>,
    #[serde(default)]
    custom_parameters: serde_json::Value,
}

/// A text that borrows where JSON allows it (no escapes). `Option<Cow<str>>` always copies, hence a type of its own.
#[derive(Debug)]
struct Text<'t>(Cow<'t, str>);

impl<'de: 't, 't> Deserialize<'de> for Text<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// A count that may come as a number or as a text of digits; anything else counts as absent.
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text of digits")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Count, E> {
                Ok(Count(Some(number)))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Count, A::Error> {
                de::IgnoredAny.visit_seq(items).map(|_| Count(None))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<Count, A::Error> {
                de::IgnoredAny.visit_map(members).map(|_| Count(None))
            }

            fn visit_str<E>(self, text: &str) -> Result<Count, E> {
                Ok(Count(text.parse().ok()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SID: &str = "MZ00000000000000000000000000000001";

    fn sid() -> Option<StreamSid> {
        Some(SID.parse().expect("valid"))
    }

    #[test]
    fn the_documented_messages_are_read() {
        let start = format!(
            r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"AC1","streamSid":"{SID}","callSid":"CA1","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"token":"t","שם":"ישראל"}}}},"streamSid":"{SID}"}}"#
        );
        let Ok(Message::Start(start)) = parse(&start) else { panic!("no start") };
        assert_eq!((start.stream.as_deref(), start.call.as_deref()), (Some(SID), Some("CA1")));
        assert_eq!(start.parameters["token"], "t");
        assert_eq!(start.parameters["שם"], "ישראל");
        assert_eq!(
            parse(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#).ok(),
            Some(Message::Connected)
        );
        let media = format!(
            r#"{{"event":"media","sequenceNumber":"2","media":{{"track":"inbound","chunk":"7","timestamp":"57","payload":"f/8="}},"streamSid":"{SID}"}}"#
        );
        let Ok(Message::Media { stream, chunk, timestamp, payload }) = parse(&media) else { panic!("no media") };
        assert_eq!((stream, chunk, timestamp, &payload), (sid(), Some(7), Some(57), &Cow::Borrowed("f/8=")));
        assert!(matches!(payload, Cow::Borrowed(_)));
        let stop = format!(r#"{{"event":"stop","stop":{{"callSid":"CA1"}},"streamSid":"{SID}"}}"#);
        assert_eq!(parse(&stop).ok(), Some(Message::Stop { stream: sid() }));
        assert_eq!(parse(r#"{"event":"dtmf","dtmf":{"digit":"1"}}"#).ok(), Some(Message::Dtmf { stream: None }));
        assert_eq!(parse(r#"{"event":"close"}"#).ok(), Some(Message::Unknown));
    }

    #[test]
    fn numbers_come_as_texts_or_numbers_and_bad_ones_count_as_absent() {
        let odd = ["-1", "1.5", "1e99", "99999999999999999999", "\"x\"", "null", "true", "[1, [2]]", "{\"a\":{}}"];
        for (chunk, expected) in [("7", Some(7)), ("\"7\"", Some(7))].into_iter().chain(odd.map(|odd| (odd, None))) {
            let text = format!(r#"{{"event":"media","media":{{"chunk":{chunk},"payload":""}}}}"#);
            let Ok(Message::Media { chunk: read, .. }) = parse(&text) else { panic!("{chunk}: no media") };
            assert_eq!(read, expected, "{chunk}");
        }
    }

    #[test]
    fn an_escaped_payload_is_read_too() {
        let Ok(Message::Media { payload, .. }) = parse(r#"{"event":"media","media":{"payload":"f\/8="}}"#) else {
            panic!("no media")
        };
        assert_eq!(payload, "f/8=");
    }

    #[test]
    fn custom_parameters_may_be_absent_an_object_or_a_json_text() {
        let read = |parameters: &str| {
            let text = format!(r#"{{"event":"start","start":{{"callSid":"CA1"{parameters}}}}}"#);
            match parse(&text) {
                Ok(Message::Start(start)) => start.parameters.get("token").cloned(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read(""), None);
        assert_eq!(read(r#","customParameters":{"token":"t"}"#).as_deref(), Some("t"));
        assert_eq!(read(r#","customParameters":"{\"token\":\"t\"}""#).as_deref(), Some("t"));
        assert_eq!(read(r#","customParameters":{"token":5}"#).as_deref(), Some("5"));
        for odd in ["null", "[1]", "7", r#""no json""#, r#"{"token":null}"#] {
            assert_eq!(read(&format!(r#","customParameters":{odd}"#)), None, "{odd}");
        }
    }

    #[test]
    fn custom_parameters_are_bounded_in_number_and_length() {
        let many: Vec<_> = (0..limits::CUSTOM_PARAMETERS_MAX + 9).map(|n| format!(r#""p{n:03}":"x""#)).collect();
        let long = format!(r#"{{"a":"{}",{}}}"#, "ש".repeat(limits::TEXT_CHARS_MAX + 5), many.join(","));
        let text = format!(r#"{{"event":"start","start":{{"customParameters":{long}}}}}"#);
        let Ok(Message::Start(start)) = parse(&text) else { panic!("no start") };
        assert_eq!(start.parameters.len(), limits::CUSTOM_PARAMETERS_MAX);
        assert_eq!(start.parameters["a"].chars().count(), limits::TEXT_CHARS_MAX);
    }

    #[test]
    fn what_is_no_message_is_unreadable_and_never_quoted() {
        for text in ["", "null", "[]", "{}", r#"{"event":5}"#, r#"{"event":"media"}"#, r#"{"event":"start"}"#, "סוד"]
        {
            let error = parse(text).expect_err(text).to_string();
            assert!(!error.contains("סוד"), "{error}");
        }
    }

    #[test]
    fn what_is_no_message_says_why_and_where() {
        for (text, said) in [
            ("hello", "no JSON at column 1"),
            (r#"{"event":"media","#, "JSON cut short at column 17"),
            (r#"{"event":5}"#, "not the shape of a message at column 10"),
            (r#"{"event":"start","start":7}"#, "not the shape of a message at column 26"),
            (r#"{"event":"media"}"#, "media without its body"),
            (r#"{"event":"mark"}"#, "mark without its body"),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), said, "{text}");
        }
    }

    #[test]
    fn a_mark_has_the_documented_members_and_no_other() {
        let text = Outbound::Mark { stream: SID.parse().expect("valid"), number: 3 }.to_text();
        assert_eq!(text, format!(r#"{{"event":"mark","streamSid":"{SID}","mark":{{"name":"callwarden-3"}}}}"#));
        assert_eq!(mark_number("callwarden-3"), Some(3));
        assert_eq!((mark_number("other-3"), mark_number("callwarden-x")), (None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _read = parse(&text).is_ok();
        }
    }
}
