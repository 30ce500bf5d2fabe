//! `X-Twilio-Signature`: whether a request was made by someone who knows the account's auth token.
//!
//! The signature is HMAC-SHA-1 over the URL Twilio asked for, followed by the form's names and values sorted by name
//! (a repeated name: its distinct values, sorted). Which spelling of the URL was signed is not always the one that
//! arrives, so Twilio's own libraries try several, and so does [`verify`]:
//!
//! - **Credentials**: `user:password@` as configured, and left out, as Twilio documents for voice.
//! - **Port**: left out, and written out (the explicit one, else 443 or 80).
//! - **Query**: as received; as a browser's URL class escapes it (`'` becomes `%27`); and decoded and written anew the
//!   way Node's `querystring` does, which Twilio's older systems signed.
//! - **Form**: all pairs; and all but `CallToken` and `StirVerstat`, which are reported to be added after signing.
//!
//! That is at most 2 × 2 × 3 × 2 = 24 texts for each auth token. Each is compared in constant time, and none helps a
//! forger, who has no key for any of them.

use crate::form::{Form, push_percent};
use crate::http::{Method, Request};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::cell::LazyCell;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes of an HMAC-SHA-1.
const MAC_BYTES: usize = 20;
/// Parameters that may have been added after signing.
const ADDED_LATER: [&str; 2] = ["CallToken", "StirVerstat"];
/// The query parameter that carries the hash of a body that is no form.
const BODY_HASH: &str = "bodySHA256";

/// What of a request was signed beside its URL.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Nothing: a GET, whose parameters are in the URL.
    Nothing,
    /// A form: its pairs are part of the signed text.
    Form(&'a Form),
    /// Any other body: the URL must carry its SHA-256 as `bodySHA256`.
    Body(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// What a request carries. `form` is its body read as a form; it counts when the content type says so, or when
    /// there is no body.
    #[must_use]
    pub fn of(request: &'a Request, form: &'a Form) -> Self {
        match request.method {
            Method::Get | Method::Head => Self::Nothing,
            Method::Post | Method::Put | Method::Delete | Method::Options | Method::Patch => {
                let content_type = request.headers.get("content-type").unwrap_or_default();
                let essence = content_type.split(';').next().unwrap_or_default().trim();
                let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
                if is_form || request.body.is_empty() { Self::Form(form) } else { Self::Body(&request.body) }
            }
        }
    }
}

/// Whether `signature` (the header's value) was made with one of `tokens` for this URL and payload.
///
/// `url` is the absolute URL as Twilio asked for it: the scheme and host it knows us by, and the request target
/// exactly as received. See the module for the spellings that are tried.
#[must_use]
pub fn verify(tokens: &[Secret], url: &str, payload: Payload<'_>, signature: &str) -> bool {
    let mut mac = [0_u8; MAC_BYTES];
    if STANDARD.decode_slice(signature, &mut mac) != Ok(MAC_BYTES) {
        return false;
    }
    let received = url.split('#').next().unwrap_or_default();
    let fits = |keyed: &Hmac<Sha1>, url: &str, form: &str| {
        let mut candidate = keyed.clone();
        candidate.update(url.as_bytes());
        candidate.update(form.as_bytes());
        candidate.verify_slice(&mac).is_ok()
    };
    // Hardly ever is it another one than what arrived, so the others are not even written before that was tried.
    let others = LazyCell::new(|| url_spellings(url));
    let signed = |form: &str| {
        tokens
            .iter()
            .map(keyed)
            .any(|keyed| fits(&keyed, received, form) || others.iter().any(|url| fits(&keyed, url, form)))
    };
    match payload {
        Payload::Nothing => signed(""),
        Payload::Form(form) => {
            signed(&sorted(form.iter())) || signed_before_more(form).is_some_and(|text| signed(&text))
        }
        Payload::Body(body) => body_matches(url, body) && signed(""),
    }
}

/// Signs a URL and a form's pairs as Twilio does: the far end of [`verify`].
#[must_use]
pub fn sign<'a>(token: &Secret, url: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut mac = keyed(token);
    mac.update(url.split('#').next().unwrap_or_default().as_bytes());
    mac.update(sorted(pairs).as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn keyed(token: &Secret) -> Hmac<Sha1> {
    Hmac::new_from_slice(token.expose().as_bytes()).expect("HMAC takes keys of any length")
}

/// Names and values without separators, sorted by name, then by value, each pair once.
fn sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut text = String::with_capacity(pairs.iter().map(|(name, value)| name.len() + value.len()).sum());
    for (name, value) in pairs {
        text.push_str(name);
        text.push_str(value);
    }
    text
}

/// The text of a form without what may have been added after signing, if there is something of that.
fn signed_before_more(form: &Form) -> Option<String> {
    let more = ADDED_LATER.iter().any(|name| form.get(name).is_some());
    more.then(|| sorted(form.iter().filter(|(name, _)| !ADDED_LATER.contains(name))))
}

fn body_matches(url: &str, body: &[u8]) -> bool {
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    Form::parse(query.as_bytes()).get(BODY_HASH).is_some_and(|sent| sent.as_bytes().ct_eq(hash.as_bytes()).into())
}

/// Every spelling of the URL that may have been signed, each once; at most twelve.
fn url_spellings(url: &str) -> Vec<String> {
    let url = url.split('#').next().unwrap_or_default();
    let mut spellings = Vec::with_capacity(12);
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = tail.split_once('?').map_or((tail, None), |(path, query)| (path, Some(query)));
    for authority in authorities(scheme, authority) {
        let base = format!("{scheme}://{authority}{path}");
        match query {
            None => push_new(&mut spellings, base),
            Some(query) => {
                for query in [query, &escaped(query), &legacy(query)] {
                    push_new(&mut spellings, format!("{base}?{query}"));
                }
            }
        }
    }
    spellings
}

fn push_new(texts: &mut Vec<String>, text: String) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}

/// With and without credentials, without and with the port.
fn authorities(scheme: &str, authority: &str) -> Vec<String> {
    let (credentials, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, if scheme == "https" { "443" } else { "80" }),
    };
    let hosts = [name.to_owned(), format!("{name}:{port}")];
    let mut all = Vec::with_capacity(4);
    for host in &hosts {
        if !credentials.is_empty() {
            all.push(format!("{credentials}@{host}"));
        }
        all.push(host.clone());
    }
    all
}

/// The query as a browser's URL class writes it: control characters, blanks, quotes, angle brackets and everything
/// beyond ASCII are escaped, and what is escaped already stays.
fn escaped(query: &str) -> String {
    let mut text = String::with_capacity(query.len());
    for byte in query.bytes() {
        match byte {
            0..=b' ' | b'"' | b'\'' | b'<' | b'>' | 0x7f.. => push_percent(&mut text, byte),
            plain => text.push(char::from(plain)),
        }
    }
    text
}

/// The query decoded and written anew as Node's `querystring` does it: values of one name stand together at its first
/// place, and letters, digits and `!'()*-._~` stand for themselves.
fn legacy(query: &str) -> String {
    let form = Form::parse(query.as_bytes());
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in form.iter() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut text = String::with_capacity(query.len());
    for name in names {
        for value in form.all(name) {
            if !text.is_empty() {
                text.push('&');
            }
            push_component(&mut text, name);
            text.push('=');
            push_component(&mut text, value);
        }
    }
    text
}

fn push_component(text: &mut String, component: &str) {
    for byte in component.bytes() {
        if byte.is_ascii_alphanumeric() || b"!'()*-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            push_percent(text, byte);
        }
    }
}

#[cfg(test)]
mod tests;
