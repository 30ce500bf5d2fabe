//! Twilio's requests as they stand on the wire: form encoding, connection overrides, signature, dates.

use super::plan::Line;
use crate::fetch::FetchRequest;
use crate::http::Method;
use crate::limits;
use crate::time::UnixMillis;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use core::fmt::Write as _;
use core::time::Duration;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::borrow::Cow;

/// Names and values of a request, in the order they are sent.
pub(super) type Parameters = Vec<(&'static str, Cow<'static, str>)>;

/// The URL without its fragment, which is neither sent nor signed.
pub(super) fn without_fragment(url: &str) -> &str {
    url.split_once('#').map_or(url, |(url, _)| url)
}

/// `reference` as seen from the document at `base`; `None` when it is relative and there is no base, or no URL.
pub(super) fn resolve(base: Option<&str>, reference: &str) -> Option<String> {
    let authority_at = |url: &str| url.find("://").map(|at| at + 3);
    if reference.is_empty() || reference.contains(char::is_whitespace) {
        return None;
    }
    if let Some(at) = authority_at(reference) {
        return (reference.len() > at).then(|| reference.to_owned());
    }
    let base = without_fragment(base?);
    let path_at = authority_at(base).and_then(|at| base[at..].find('/').map(|slash| at + slash)).unwrap_or(base.len());
    let (origin, path) = base.split_at(path_at);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if reference.starts_with('/') {
        return Some(format!("{origin}{reference}"));
    }
    let directory = path.rfind('/').map_or("", |slash| &path[..slash]);
    Some(format!("{origin}{directory}/{reference}"))
}

/// What the fragment of a URL says about time and repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrides {
    /// One answer is waited for so long.
    pub(super) read: Duration,
    /// All of it takes at most so long.
    pub(super) total: Duration,
    /// So many repeats.
    pub(super) repeats: u32,
    /// What is repeated.
    pub(super) on_4xx: bool,
    /// What is repeated.
    pub(super) on_5xx: bool,
    /// What is repeated.
    pub(super) on_connect: bool,
    /// What is repeated.
    pub(super) on_read: bool,
}

impl Default for Overrides {
    fn default() -> Self {
        let ceiling = limits::FAR_END_REQUEST_TIME;
        let (on_4xx, on_5xx, on_connect, on_read) = (false, false, true, false);
        Self { read: ceiling, total: ceiling, repeats: 1, on_4xx, on_5xx, on_connect, on_read }
    }
}

impl Overrides {
    /// Reads them off a URL. A value out of range is an error (11242), as at Twilio.
    pub(super) fn of(url: &str) -> Result<Self, String> {
        let mut overrides = Self::default();
        let Some((_, fragment)) = url.split_once('#') else { return Ok(overrides) };
        for pair in fragment.split('&') {
            let wrong = || format!("the connection override {pair:?} is not valid");
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            let number = |range: core::ops::RangeInclusive<u64>| {
                value.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
            };
            match key {
                "ct" => drop(number(100..=10_000)?),
                "rt" => overrides.read = Duration::from_millis(number(100..=15_000)?),
                "tt" => overrides.total = Duration::from_millis(number(100..=15_000)?),
                "rc" => overrides.repeats = u32::try_from(number(0..=5)?).map_err(|_| wrong())?,
                "rp" => overrides.policies(value).ok_or_else(wrong)?,
                "sni" | "e" => {}
                _ => return Err(wrong()),
            }
        }
        Ok(overrides)
    }

    fn policies(&mut self, value: &str) -> Option<()> {
        (self.on_4xx, self.on_5xx, self.on_connect, self.on_read) = (false, false, false, false);
        for policy in value.split(',') {
            match policy {
                "4xx" => self.on_4xx = true,
                "5xx" => self.on_5xx = true,
                "ct" => self.on_connect = true,
                "rt" => self.on_read = true,
                "all" => (self.on_4xx, self.on_5xx, self.on_connect, self.on_read) = (true, true, true, true),
                _ => return None,
            }
        }
        Some(())
    }
}

/// `name=value&…`, spaces as `+`, everything but letters, digits and `-_.*` percent-encoded.
pub(super) fn form(parameters: &Parameters) -> String {
    let plain: usize = parameters.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut text = String::with_capacity(plain * 2);
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

/// Which bytes stand for themselves in a form.
const STAYS: [bool; 256] = {
    let mut stays = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        stays[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
        byte += 1;
    }
    stays
};

fn encode(value: &str, text: &mut String) {
    let stays = |byte: &u8| STAYS[usize::from(*byte)];
    if value.as_bytes().iter().all(stays) {
        return text.push_str(value);
    }
    for &byte in value.as_bytes() {
        match byte {
            b' ' => text.push('+'),
            byte if stays(&byte) => text.push(char::from(byte)),
            byte => {
                let digit = |digit: u8| char::from(b"0123456789ABCDEF"[usize::from(digit)]);
                text.push('%');
                text.push(digit(byte >> 4));
                text.push(digit(byte & 15));
            }
        }
    }
}

/// The pairs of a form, decoded once; `None` when it is not one.
pub(super) fn read_form(body: &str) -> Option<Vec<(String, String)>> {
    let pairs = body.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = after;
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Twilio's signature over a URL and the parameters of a POST. The port of an `https` URL and credentials are dropped
/// before signing, as Twilio documents for voice.
pub(super) fn signature(token: &str, url: &str, parameters: &Parameters) -> String {
    let mut sorted: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let length: usize = sorted.iter().map(|(name, value)| name.len() + value.len()).sum();
    let mut input = String::with_capacity(url.len() + length);
    input.extend(signed_url(url));
    for (name, value) in sorted {
        input.push_str(name);
        input.push_str(value);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(input.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// The parts of the URL that are signed.
fn signed_url(url: &str) -> [&str; 4] {
    let url = without_fragment(url);
    let Some((scheme, rest)) = url.split_once("://") else { return [url, "", "", ""] };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if scheme == "https" && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    [scheme, "://", host, path]
}

/// A request of Twilio's: parameters in the query of a GET, in the form of a POST.
pub(super) fn request(
    line: &Line,
    url: &str,
    get: bool,
    parameters: &Parameters,
    token: Option<String>,
) -> FetchRequest {
    let mut url = without_fragment(url).to_owned();
    let mut headers = vec![
        ("user-agent", "TwilioProxy/1.1".to_owned()),
        ("accept", "*/*".to_owned()),
        ("x-home-region", "us1".to_owned()),
    ];
    let mut body = Bytes::new();
    let signed = if get {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&form(parameters));
        &Parameters::new()
    } else {
        headers.push(("content-type", "application/x-www-form-urlencoded; charset=UTF-8".to_owned()));
        body = form(parameters).into();
        parameters
    };
    if let Some(key) = &line.auth_token {
        headers.push(("x-twilio-signature", signature(key.expose(), &url, signed)));
    }
    headers.extend(token.map(|token| ("i-twilio-idempotency-token", token)));
    FetchRequest {
        method: if get { Method::Get } else { Method::Post },
        url,
        headers,
        authorization: None,
        body,
        timeout: limits::FAR_END_REQUEST_TIME,
        response_bytes_max: limits::FAR_END_TWIML_BYTES_MAX + 1,
        public_only: false,
    }
}

/// Year, month (from 1), day of the month and day of the week (0 is Sunday) of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day, (days + 4).rem_euclid(7))
}

fn clock(at: UnixMillis) -> (i64, String) {
    let seconds = at.0.div_euclid(1_000);
    let of_day = seconds.rem_euclid(86_400);
    let text = format!("{:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60);
    (seconds.div_euclid(86_400), text)
}

/// As in `Wed, 20 Apr 2022 23:45:25 +0000`.
pub(super) fn rfc2822(at: UnixMillis) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, clock) = clock(at);
    let (year, month, day, weekday) = civil(days);
    let name = |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at).copied());
    let (weekday, month) = (name(&DAYS, weekday).unwrap_or_default(), name(&MONTHS, month - 1).unwrap_or_default());
    format!("{weekday}, {day:02} {month} {year} {clock} +0000")
}

/// As in `2022-04-20T23:45:25.250Z`.
pub(super) fn iso8601(at: UnixMillis) -> String {
    let (days, clock) = clock(at);
    let (year, month, day, _) = civil(days);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{clock}");
    write!(text, ".{:03}Z", at.0.rem_euclid(1_000)).expect("writing to a string does not fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_twilios_own_libraries() {
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let call: Parameters = vec![
            ("CallSid", "CA1234567890ABCDE".into()),
            ("Digits", "1234".into()),
            ("From", "+14158675309".into()),
            ("To", "+18005551212".into()),
            ("Caller", "+14158675309".into()),
        ];
        assert_eq!(signature("12345", url, &call), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        let ported = "https://user:secret@mycompany.com:443/myapp.php?foo=1&bar=2#rc=3";
        assert_eq!(signature("12345", ported, &call), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        let http = "http://mycompany.com:1234/myapp.php?foo=1&bar=2";
        assert_eq!(signature("12345", http, &call), "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=");
        let digits = ["5678", "1234", "1234"].map(|digits| ("Digits", digits.into()));
        let repeated = [("Sid", "CA123".into()), ("SidAccount", "AC123".into())].into_iter().chain(digits).collect();
        assert_eq!(signature("12345", url, &repeated), "IK+Dwps556ElfBT0I3Rgjkr1wJU=");
        let hebrew = vec![
            ("CallSid", "CA00000000000000000000000000000001".into()),
            ("CallerName", "ישראל ישראלי".into()),
            ("From", "+972501234567".into()),
            ("To", "+972331234567".into()),
            ("FromCity", "".into()),
        ];
        assert_eq!(signature("12345", "https://example.com/voice", &hebrew), "QWF1XHCGrd1iRE/dSWVEpiCejqQ=");
        assert_eq!(signature("12345", "wss://example.com/stream", &Parameters::new()), "KG4JbhDlv15BMlxSTOWKt9btbgg=");
    }

    #[test]
    fn a_form_survives_its_own_encoding() {
        let parameters: Parameters =
            vec![("From", "+972 50".into()), ("CallerName", "ישראל & בניו".into()), ("Empty", "".into())];
        let text = form(&parameters);
        assert!(text.starts_with("From=%2B972+50&CallerName=%D7%99"), "{text}");
        let read = read_form(&text).expect("a form");
        let read: Vec<(&str, Cow<'_, str>)> = read.iter().map(|(name, value)| (&**name, value.into())).collect();
        assert_eq!(read, parameters);
        assert_eq!(read_form("a=%4"), None);
        assert_eq!(read_form("a=%FF"), None);
    }

    #[test]
    fn overrides_are_read_off_the_fragment_and_checked() {
        let read = Overrides::of("https://h/p#rc=3&rp=ct,rt,5xx&rt=4000").expect("valid");
        let expected =
            Overrides { read: Duration::from_secs(4), repeats: 3, on_5xx: true, on_read: true, ..Overrides::default() };
        assert_eq!(read, expected);
        assert_eq!(Overrides::of("https://h/p"), Ok(Overrides::default()));
        for wrong in ["rc=6", "rt=99", "rp=6xx", "xx=1", "rc"] {
            assert!(Overrides::of(&format!("https://h/p#{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn references_are_resolved_against_the_document() {
        let base = Some("https://h:1/webhook/incoming?x=1#rc=1");
        assert_eq!(resolve(base, "/a#rc=2").as_deref(), Some("https://h:1/a#rc=2"));
        assert_eq!(resolve(base, "a").as_deref(), Some("https://h:1/webhook/a"));
        assert_eq!(resolve(Some("https://h"), "a").as_deref(), Some("https://h/a"));
        assert_eq!(resolve(None, "https://o/b").as_deref(), Some("https://o/b"));
        assert_eq!((resolve(None, "/a"), resolve(base, ""), resolve(base, "https://")), (None, None, None));
    }

    #[test]
    fn dates_are_those_of_the_captured_callbacks() {
        let at = UnixMillis(1_650_498_325_250);
        assert_eq!(rfc2822(at), "Wed, 20 Apr 2022 23:45:25 +0000");
        assert_eq!(iso8601(at), "2022-04-20T23:45:25.250Z");
        assert_eq!(rfc2822(UnixMillis(0)), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(iso8601(UnixMillis(1_709_164_800_000)), "2024-02-29T00:00:00.000Z");
    }
}
