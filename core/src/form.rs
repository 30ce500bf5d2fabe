//! `application/x-www-form-urlencoded`: the bodies of Twilio's webhooks and of REST requests.
//!
//! [`Form::parse`] never fails, because a webhook is answered whatever its body holds. What could not be read is
//! replaced, and the form says so with [`Form::is_damaged`].

use crate::limits;

/// Names and values in order of arrival, decoded once. (A `CallToken` is percent-encoded text inside the form's own
/// encoding: decoding it twice would break the signature.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Every name and value, one after the other: a webhook has some twenty pairs, and is read before it is believed.
    text: String,
    pairs: Vec<Pair>,
    damaged: bool,
}

/// Where a pair stands in [`Form::text`]: its name ends where its value begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    name: usize,
    value: usize,
    end: usize,
}

impl Form {
    /// Decodes a body or a query string. Empty segments are skipped, a name without `=` has an empty value, and a `%`
    /// without two hexadecimal digits stands for itself.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        // Room for all of it at once.
        let most = 1 + text.iter().filter(|byte| **byte == b'&').count();
        let mut pairs = Vec::with_capacity(most.min(limits::FORM_PAIRS_MAX));
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, after)) = rest.split_first() {
            if *first == b'&' {
                rest = after;
            } else if pairs.len() == limits::FORM_PAIRS_MAX {
                return Self { damaged: true, ..Self::of_bytes(bytes, pairs) };
            } else {
                let (pair, after) = decode(rest, &mut bytes);
                pairs.push(pair);
                rest = after;
            }
        }
        Self::of_bytes(bytes, pairs)
    }

    /// A form of names and values that may be no UTF-8: they are looked at all at once, and only where that fails one
    /// by one.
    fn of_bytes(bytes: Vec<u8>, pairs: Vec<Pair>) -> Self {
        let whole =
            |text: &str| pairs.iter().all(|pair| text.is_char_boundary(pair.name) && text.is_char_boundary(pair.value));
        match String::from_utf8(bytes) {
            Ok(text) if whole(&text) => Self { text, pairs, damaged: false },
            Ok(text) => Self::repaired(text.as_bytes(), &pairs),
            Err(error) => Self::repaired(error.as_bytes(), &pairs),
        }
    }

    /// The same with each name and value read by itself, and its bytes that are no UTF-8 replaced.
    fn repaired(bytes: &[u8], pairs: &[Pair]) -> Self {
        let mut form = Self { damaged: true, ..Self::default() };
        for pair in pairs {
            let name = form.text.len();
            form.text.push_str(&String::from_utf8_lossy(&bytes[pair.name..pair.value]));
            let value = form.text.len();
            form.text.push_str(&String::from_utf8_lossy(&bytes[pair.value..pair.end]));
            form.pairs.push(Pair { name, value, end: form.text.len() });
        }
        form
    }

    /// Whether something was lost: bytes that are no UTF-8 (now U+FFFD), or pairs beyond
    /// [`limits::FORM_PAIRS_MAX`].
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The first value with this name; names compare byte for byte.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Every value with this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Every pair, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|pair| (&self.text[pair.name..pair.value], &self.text[pair.value..pair.end]))
    }
}

/// Appends the name and the value that the text up to the next `&` stands for; says where they are, and what follows.
fn decode<'a>(text: &'a [u8], bytes: &mut Vec<u8>) -> (Pair, &'a [u8]) {
    let (name, mut value) = (bytes.len(), None);
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'&', _) => break,
            (b'=', _) if value.is_none() => value = Some(bytes.len()),
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_value(*high) << 4 | hex_value(*low));
                rest = tail;
            }
            (plain, _) => bytes.push(plain),
        }
    }
    let end = bytes.len();
    (Pair { name, value: value.unwrap_or(end), end }, rest)
}

/// The value of a hexadecimal digit that was checked to be one.
const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Encodes pairs as a body: letters, digits and `*-._` stand for themselves, a space becomes `+`, every other byte
/// `%XX`.
#[must_use]
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut body = String::new();
    for (name, value) in pairs {
        if !body.is_empty() {
            body.push('&');
        }
        encode_into(&mut body, name);
        body.push('=');
        encode_into(&mut body, value);
    }
    body
}

fn encode_into(body: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => body.push(char::from(byte)),
            b' ' => body.push('+'),
            other => push_percent(body, other),
        }
    }
}

/// Appends `%XX`.
pub(crate) fn push_percent(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_webhook_body_is_decoded_once_and_in_order() {
        let form = Form::parse(
            b"CallSid=CA1&CallerName=%D7%99%D7%A9%D7%A8%D7%90%D7%9C+%d7%99&From=%2B97250&FromCity=&CallToken=%257B%22&Digits=1&Digits=2&flag",
        );
        assert_eq!(form.get("CallerName"), Some("ישראל י"));
        assert_eq!(form.get("From"), Some("+97250"));
        assert_eq!(form.get("FromCity"), Some(""));
        assert_eq!(form.get("CallToken"), Some("%7B\""));
        assert_eq!(form.get("Digits"), Some("1"));
        assert_eq!(form.all("Digits").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((form.get("flag"), form.get("callsid")), (Some(""), None));
        assert_eq!(form.iter().next(), Some(("CallSid", "CA1")));
        assert!(!form.is_damaged());
    }

    #[test]
    fn broken_escapes_stand_for_themselves_and_empty_segments_are_skipped() {
        let form = Form::parse(b"&&a=%&b=%4&c=%zz&=x&");
        assert_eq!(form.iter().collect::<Vec<_>>(), [("a", "%"), ("b", "%4"), ("c", "%zz"), ("", "x")]);
        assert!(!form.is_damaged());
    }

    #[test]
    fn one_hexadecimal_digit_of_the_two_is_not_enough() {
        let form = Form::parse(b"a=%z4&b=%4z&c=%g0&d=%0G&e=%4A");
        assert_eq!(
            form.iter().collect::<Vec<_>>(),
            [("a", "%z4"), ("b", "%4z"), ("c", "%g0"), ("d", "%0G"), ("e", "J")]
        );
        assert!(!form.is_damaged());
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced_and_flagged() {
        let form = Form::parse(b"From=%FF%D7&To=x");
        assert_eq!((form.get("From"), form.get("To")), (Some("\u{fffd}\u{fffd}"), Some("x")));
        assert!(form.is_damaged());
    }

    #[test]
    fn a_letter_whose_bytes_stand_on_both_sides_of_a_border_is_none() {
        let form = Form::parse(b"a%D7=%90&b=%D7&%90=c&From=%D7%90");
        let halves = [("a\u{fffd}", "\u{fffd}"), ("b", "\u{fffd}"), ("\u{fffd}", "c"), ("From", "א")];
        assert_eq!(form.iter().collect::<Vec<_>>(), halves);
        assert!(form.is_damaged());
    }

    #[test]
    fn pairs_beyond_the_limit_are_dropped_and_flagged() {
        let body = |pairs: usize| "a=1&".repeat(pairs);
        let (full, over) = (body(limits::FORM_PAIRS_MAX), body(limits::FORM_PAIRS_MAX + 1));
        assert!(!Form::parse(full.as_bytes()).is_damaged());
        let form = Form::parse(over.as_bytes());
        assert!(form.is_damaged());
        assert_eq!(form.iter().count(), limits::FORM_PAIRS_MAX);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same_pairs(
            pairs in proptest::collection::vec((".{0,12}", "[א-ת &=%+\u{0}-\u{7f}]{0,20}|.{0,20}"), 0..20),
        ) {
            let body = encode(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            prop_assert!(body.is_ascii());
            let form = Form::parse(body.as_bytes());
            prop_assert!(!form.is_damaged());
            let read: Vec<_> = form.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let form = Form::parse(&bytes);
            prop_assert!(form.iter().count() <= limits::FORM_PAIRS_MAX);
        }
    }
}
