//! The two proofs of the outside, checked anew: the signature of a webhook and the token of a stream.

use super::deployment::Deployment;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use callwarden_core::http::{Method, Request};
use callwarden_core::time::UnixMillis;
use ring::{digest, hmac};
use std::time::Duration;

/// How long a token admits its stream.
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);
/// How much clocks may differ.
const TOKEN_SKEW: Duration = Duration::from_secs(60);
/// Reported to be added to a form after it was signed.
const ADDED_LATER: [&str; 2] = ["CallToken", "StirVerstat"];

/// Names and values of a form or a query, in order; what cannot be read is replaced.
#[must_use]
pub fn pairs(text: &[u8]) -> Vec<(String, String)> {
    let segments = text.split(|byte| *byte == b'&').filter(|segment| !segment.is_empty());
    segments
        .map(|segment| {
            let mut halves = segment.splitn(2, |byte| *byte == b'=');
            let mut next = || plain(halves.next().unwrap_or_default());
            (next(), next())
        })
        .collect()
}

fn plain(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = hex.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (text[at], decoded) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                at += 2;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the request is signed by one who knows an auth token, for this host.
#[must_use]
pub fn is_signed(request: &Request, host: &str, deployment: &Deployment) -> bool {
    let given = request.headers.get("x-twilio-signature").unwrap_or_default();
    let by_get = matches!(request.method, Method::Get | Method::Head);
    let content_type = request.headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let is_form = content_type.starts_with("application/x-www-form-urlencoded") || request.body.is_empty();
    if !by_get && !is_form && !has_hash_of_body(request) {
        return false;
    }
    let form = if by_get || !is_form { Vec::new() } else { pairs(&request.body) };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let hosts = [host.to_owned(), name.to_owned(), format!("{name}:443")];
    let kept = form.iter().filter(|(name, _)| !ADDED_LATER.contains(&name.as_str())).cloned().collect();
    let forms: [Vec<(String, String)>; 2] = [form, kept];
    hosts.iter().any(|host| {
        let url = format!("https://{host}{}", request.target);
        forms.iter().any(|form| deployment.auth_tokens.iter().any(|token| sign(token, &url, form) == given))
    })
}

fn sign(token: &str, url: &str, form: &[(String, String)]) -> String {
    let mut sorted = form.to_vec();
    sorted.sort();
    sorted.dedup();
    let text = sorted.iter().fold(url.to_owned(), |text, (name, value)| text + name + value);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

fn has_hash_of_body(request: &Request) -> bool {
    let hash = digest::digest(&digest::SHA256, &request.body);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    request.query().is_some_and(|query| query.contains(&format!("bodySHA256={hex}")))
}

/// Whether a token admits a stream of this call now.
#[must_use]
pub fn admits(token: &str, call: &str, now: UnixMillis, deployment: &Deployment) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let ["1", ordinal, expiry, mac] = parts[..] else { return false };
    let Ok(expiry) = expiry.parse::<i64>() else { return false };
    let signed = format!("callwarden stream token{call}1.{ordinal}.{expiry}");
    let known = |key: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())) == mac
    };
    let derive = |auth_token: &String| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, auth_token.as_bytes());
        hmac::sign(&key, b"callwarden stream token key").as_ref().to_vec()
    };
    let keys: Vec<Vec<u8>> = match deployment.is_development() {
        true => vec![deployment.development_key.to_vec()],
        false => deployment.auth_tokens.iter().map(derive).collect(),
    };
    let in_time = now <= UnixMillis(expiry) + TOKEN_SKEW && UnixMillis(expiry) <= now + TOKEN_LIFE + TOKEN_SKEW;
    ordinal.parse::<u32>().is_ok() && in_time && keys.iter().any(|key| known(key))
}
