//! The WebSocket messages of a Media Stream: Twilio's own, byte for byte, and the check of the server's.

use crate::sid::{AccountSid, CallSid, StreamSid};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use core::fmt::Write as _;
use serde_json::{Map, Value};

/// The first message of a socket.
pub(super) const CONNECTED: &str = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;

pub(super) fn start(account: AccountSid, call: CallSid, stream: StreamSid, parameters: &[(String, String)]) -> String {
    let custom: Map<String, Value> =
        parameters.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    let custom = Value::Object(custom);
    format!(
        r#"{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"{account}","streamSid":"{stream}","callSid":"{call}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{custom}}},"streamSid":"{stream}"}}"#
    )
}

/// `payload` is base64.
pub(super) fn media(stream: StreamSid, sequence: u64, chunk: u64, timestamp: u128, payload: &str) -> String {
    let mut text = String::with_capacity(256 + payload.len());
    // A string takes every write.
    let _written = write!(
        text,
        r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{chunk}","timestamp":"{timestamp}","payload":""#
    );
    text.push_str(payload);
    text.push_str(r#""},"streamSid":""#);
    text.push_str(stream.as_str());
    text.push_str(r#""}"#);
    text
}

pub(super) fn mark(stream: StreamSid, sequence: u64, name: &str) -> String {
    let name = Value::String(name.to_owned());
    format!(r#"{{"event":"mark","sequenceNumber":"{sequence}","streamSid":"{stream}","mark":{{"name":{name}}}}}"#)
}

pub(super) fn stop(account: AccountSid, call: CallSid, stream: StreamSid, sequence: u64) -> String {
    format!(
        r#"{{"event":"stop","sequenceNumber":"{sequence}","stop":{{"accountSid":"{account}","callSid":"{call}"}},"streamSid":"{stream}"}}"#
    )
}

/// A message the server may send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FromServer {
    /// Audio; it would be played.
    Media,
    /// To be sent back once the audio before it was played.
    Mark(String),
    /// Drop the audio that waits.
    Clear,
}

/// Reads a message of the server's as Twilio does: anything missing, anything extra and any other stream is a message
/// that does not conform (31951).
pub(super) fn read(text: &str, stream: Option<StreamSid>) -> Result<FromServer, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(message) = value else { return Err("not a JSON object".to_owned()) };
    let event = string(&message, "event")?;
    let sid = string(&message, "streamSid")?;
    if stream.is_none_or(|stream| stream.as_str() != sid) {
        return Err(format!("streamSid {sid} is not that of this stream"));
    }
    match event {
        "clear" => only(&message, &["event", "streamSid"]).map(|()| FromServer::Clear),
        "mark" => {
            only(&message, &["event", "streamSid", "mark"])?;
            Ok(FromServer::Mark(inner(&message, "mark", "name")?.to_owned()))
        }
        "media" => {
            only(&message, &["event", "streamSid", "media"])?;
            let payload = inner(&message, "media", "payload")?;
            BASE64_STANDARD.decode(payload).map_err(|error| format!("media.payload is not base64: {error}"))?;
            Ok(FromServer::Media)
        }
        other => Err(format!("the server may not send the event {other:?}")),
    }
}

fn string<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    object.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is missing or no string"))
}

fn only(object: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    match object.keys().find(|name| !names.contains(&name.as_str())) {
        Some(extra) => Err(format!("the field {extra} does not belong there")),
        None => Ok(()),
    }
}

fn inner<'a>(message: &'a Map<String, Value>, outer: &str, name: &str) -> Result<&'a str, String> {
    let object = message.get(outer).and_then(Value::as_object).ok_or_else(|| format!("{outer} is missing"))?;
    only(object, &[name])?;
    string(object, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "AC0000000000000000000000000000000a";
    const CALL: &str = "CA0000000000000000000000000000000c";
    const STREAM: &str = "MZ0000000000000000000000000000000e";

    fn sids() -> (AccountSid, CallSid, StreamSid) {
        (AccountSid::from_number(10), CallSid::from_number(12), StreamSid::from_number(14))
    }

    #[test]
    fn our_messages_are_the_documented_ones_byte_for_byte() {
        let (account, call, stream) = sids();
        let parameters = [("call_sid".to_owned(), CALL.to_owned()), ("שם".to_owned(), "\"א\"".to_owned())];
        let expected = [
            r#"{"event":"start","sequenceNumber":"1","start":{"accountSid":"ACC","streamSid":"STR","callSid":"CAL","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{"call_sid":"CAL","שם":"\"א\""}},"streamSid":"STR"}"#,
            r#"{"event":"media","sequenceNumber":"2","media":{"track":"inbound","chunk":"1","timestamp":"57","payload":"//9/"},"streamSid":"STR"}"#,
            r#"{"event":"mark","sequenceNumber":"4","streamSid":"STR","mark":{"name":"label"}}"#,
            r#"{"event":"stop","sequenceNumber":"50","stop":{"accountSid":"ACC","callSid":"CAL"},"streamSid":"STR"}"#,
        ];
        let expected = expected.map(|text| text.replace("ACC", ACCOUNT).replace("CAL", CALL).replace("STR", STREAM));
        let ours = [
            start(account, call, stream, &parameters),
            media(stream, 2, 1, 57, "//9/"),
            mark(stream, 4, "label"),
            stop(account, call, stream, 50),
        ];
        assert_eq!(ours, expected);
    }

    #[test]
    fn only_three_messages_conform_and_only_exactly_so() {
        let stream = Some(sids().2);
        let read = |text: &str| read(&text.replace("STR", STREAM), stream);
        assert_eq!(read(r#"{"event":"clear","streamSid":"STR"}"#), Ok(FromServer::Clear));
        assert_eq!(read(r#"{"event":"mark","streamSid":"STR","mark":{"name":"א"}}"#), Ok(FromServer::Mark("א".into())));
        assert_eq!(read(r#"{"event":"media","streamSid":"STR","media":{"payload":"//8="}}"#), Ok(FromServer::Media));
        for wrong in [
            "",
            "[]",
            r#"{"event":"connected"}"#,
            r#"{"event":"stop","streamSid":"STR"}"#,
            r#"{"event":"clear"}"#,
            r#"{"event":"clear","streamSid":"STR","sequenceNumber":"1"}"#,
            r#"{"event":"clear","streamSid":"MZ00000000000000000000000000000000"}"#,
            r#"{"event":"mark","streamSid":"STR","mark":{}}"#,
            r#"{"event":"mark","streamSid":"STR","mark":{"name":1}}"#,
            r#"{"event":"mark","streamSid":"STR","mark":{"name":"a","more":1}}"#,
            r#"{"event":"media","streamSid":"STR","media":{"payload":"?"}}"#,
            r#"{"event":"media","streamSid":"STR","media":{"payload":"","track":"outbound"}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(super::read(&format!(r#"{{"event":"clear","streamSid":"{STREAM}"}}"#), None).is_err());
    }
}
