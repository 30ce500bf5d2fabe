//! Twilio's identifiers: two letters and 32 hexadecimal digits. Parsed once at the edge; inside the core a call is never
//! an unchecked string.

use core::fmt;
use core::str::FromStr;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the identifier it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidError {
    /// The two letters it should begin with.
    pub prefix: &'static str,
}

impl fmt::Display for SidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a Twilio identifier: expected {} and 32 hexadecimal digits", self.prefix)
    }
}

impl core::error::Error for SidError {}

macro_rules! sid {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 34]);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                core::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// An identifier made of a number, for tests and simulated calls.
            #[must_use]
            pub fn from_number(number: u128) -> Self {
                let mut bytes = [0_u8; 34];
                bytes[..2].copy_from_slice($prefix.as_bytes());
                for (place, byte) in bytes[2..].iter_mut().rev().enumerate() {
                    *byte = b"0123456789abcdef"[(number >> (4 * place)) as usize & 15];
                }
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = SidError;

            fn from_str(text: &str) -> Result<Self, SidError> {
                let wrong = SidError { prefix: $prefix };
                let bytes: [u8; 34] = text.as_bytes().try_into().map_err(|_| wrong)?;
                let digits = bytes[2..].iter().all(u8::is_ascii_hexdigit);
                if digits && &bytes[..2] == $prefix.as_bytes() { Ok(Self(bytes)) } else { Err(wrong) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

sid!(
    /// A call leg; the same in every webhook, message and REST path of the call.
    CallSid, "CA"
);
sid!(
    /// A media stream of a call; known from its `start` message only (S1).
    StreamSid, "MZ"
);
sid!(
    /// A Twilio account or sub-account.
    AccountSid, "AC"
);
sid!(
    /// A recording.
    RecordingSid, "RE"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_is_its_prefix_and_32_hexadecimal_digits_and_nothing_else() {
        let text = "CA0123456789abcdef0123456789ABCDEF";
        assert_eq!(text.parse::<CallSid>().expect("valid").as_str(), text);
        for wrong in ["", "CA", "MZ0123456789abcdef0123456789abcdef", "CA0123456789abcdef0123456789abcdeg", "unknown"] {
            assert_eq!(wrong.parse::<CallSid>(), Err(SidError { prefix: "CA" }), "{wrong}");
        }
        assert!(format!("{text}0").parse::<CallSid>().is_err());
        let said = "x".parse::<RecordingSid>().expect_err("no SID").to_string();
        assert!(said.contains("expected RE and 32 hexadecimal digits"), "{said}");
    }

    #[test]
    fn a_sid_made_of_a_number_parses() {
        let sid = StreamSid::from_number(0xBEEF);
        assert_eq!(sid.as_str(), "MZ0000000000000000000000000000beef");
        assert_eq!(sid.as_str().parse::<StreamSid>(), Ok(sid));
    }
}
