//! Stream tokens: what admits a media stream, since the WebSocket handshake itself is open to anyone.
//!
//! TwiML carries the token as a `<Parameter>`, Twilio repeats it in the `start` message. It is
//! `version.ordinal.expiry.mac`, where the MAC is HMAC-SHA-256 over a label, the call and the text before it. So it
//! is good for one call and one stream of it, for [`limits::TOKEN_LIFE`], on every node that knows the auth token.

use crate::config::TwilioAccount;
use crate::limits;
use crate::sid::CallSid;
use crate::time::UnixMillis;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::fmt;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The token of a preview: well-formed TwiML, but it admits nobody.
pub const PREVIEW_TOKEN: &str = "preview";

const VERSION: &str = "1";
const KEY_LABEL: &[u8] = b"callwarden stream token key";
const TOKEN_LABEL: &[u8] = b"callwarden stream token";
const MAC_BYTES: usize = 32;

/// Why a token does not admit its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It does not have the shape of a token, a preview's among them.
    Malformed,
    /// It was made with another key, for another call, or was altered.
    WrongKeyOrCall,
    /// Its life and the allowed skew are over.
    Expired,
    /// It was issued further in the future than clocks may differ: this node's clock is wrong, or the issuer's.
    NotYetValid,
}

impl TokenError {
    /// The reason in the log and in `how_far`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_token",
            Self::WrongKeyOrCall => "wrong_token",
            Self::Expired => "expired_token",
            Self::NotYetValid => "token_from_the_future",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a stream token",
            Self::WrongKeyOrCall => "the stream token is for another call or was made with another key",
            Self::Expired => "the stream token has expired",
            Self::NotYetValid => "the stream token comes from the future: the clocks of the nodes differ too much",
        })
    }
}

impl core::error::Error for TokenError {}

/// A key that makes and checks tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey([u8; 32]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(***)")
    }
}

impl TokenKey {
    /// The key that belongs to an auth token: the same on every node, and it does not reveal the auth token.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let mut mac = hmac(secret);
        mac.update(KEY_LABEL);
        Self(mac.finalize().into_bytes().into())
    }

    /// A key of random bytes, for development mode where there is no auth token.
    #[must_use]
    pub const fn random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A token for the `ordinal`th stream of a call, good until [`limits::TOKEN_LIFE`] after `now`.
    #[must_use]
    pub fn issue(&self, call: CallSid, ordinal: u32, now: UnixMillis) -> String {
        let expiry = now + limits::TOKEN_LIFE;
        let mut token = format!("{VERSION}.{ordinal}.{expiry}");
        let mac = self.mac(call, &token).finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(mac, &mut token);
        token
    }

    /// Checks a token, in constant time as to the MAC, and gives back the stream's ordinal.
    ///
    /// # Errors
    /// See [`TokenError`]; the times are looked at only once the MAC is right.
    pub fn verify(&self, token: &str, call: CallSid, now: UnixMillis) -> Result<u32, TokenError> {
        let (signed, mac) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (ordinal, expiry) = signed
            .strip_prefix(VERSION)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.split_once('.'))
            .ok_or(TokenError::Malformed)?;
        let ordinal = ordinal.parse().map_err(|_| TokenError::Malformed)?;
        let expiry = UnixMillis(expiry.parse().map_err(|_| TokenError::Malformed)?);
        let mut bytes = [0_u8; MAC_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(mac, &mut bytes) != Ok(MAC_BYTES) {
            return Err(TokenError::Malformed);
        }
        self.mac(call, signed).verify_slice(&bytes).map_err(|_| TokenError::WrongKeyOrCall)?;
        if now > expiry + limits::TOKEN_SKEW {
            Err(TokenError::Expired)
        } else if expiry > now + limits::TOKEN_LIFE + limits::TOKEN_SKEW {
            Err(TokenError::NotYetValid)
        } else {
            Ok(ordinal)
        }
    }

    fn mac(&self, call: CallSid, signed: &str) -> Hmac<Sha256> {
        let mut mac = hmac(&self.0);
        mac.update(TOKEN_LABEL);
        mac.update(call.as_str().as_bytes());
        mac.update(signed.as_bytes());
        mac
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The keys of a process: one issues, all are accepted, so that an auth token can be rotated while calls run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeys {
    signing: TokenKey,
    also_accepted: Vec<TokenKey>,
}

impl TokenKeys {
    /// One key per auth token of the account; the first issues.
    #[must_use]
    pub fn of_account(account: &TwilioAccount) -> Option<Self> {
        let mut keys = account.auth_tokens.iter().map(|token| TokenKey::derive(token.expose().as_bytes()));
        Some(Self { signing: keys.next()?, also_accepted: keys.collect() })
    }

    /// A single key, for development mode.
    #[must_use]
    pub const fn single(key: TokenKey) -> Self {
        Self { signing: key, also_accepted: Vec::new() }
    }

    /// [`TokenKey::issue`] with the issuing key.
    #[must_use]
    pub fn issue(&self, call: CallSid, ordinal: u32, now: UnixMillis) -> String {
        self.signing.issue(call, ordinal, now)
    }

    /// [`TokenKey::verify`] with every key.
    ///
    /// # Errors
    /// What the key that made the token says of it; [`TokenError::WrongKeyOrCall`] when none did.
    pub fn verify(&self, token: &str, call: CallSid, now: UnixMillis) -> Result<u32, TokenError> {
        core::iter::once(&self.signing)
            .chain(&self.also_accepted)
            .map(|key| key.verify(token, call, now))
            .find(|result| *result != Err(TokenError::WrongKeyOrCall))
            .unwrap_or(Err(TokenError::WrongKeyOrCall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::sid::AccountSid;
    use core::time::Duration;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

    fn call() -> CallSid {
        CallSid::from_number(1)
    }

    #[test]
    fn a_token_admits_its_call_and_no_other() {
        let key = TokenKey::derive(b"12345");
        let token = key.issue(call(), 2, NOW);
        assert_eq!(key.verify(&token, call(), NOW), Ok(2));
        assert_eq!(key.verify(&token, CallSid::from_number(2), NOW), Err(TokenError::WrongKeyOrCall));
        assert_eq!(TokenKey::derive(b"12346").verify(&token, call(), NOW), Err(TokenError::WrongKeyOrCall));
    }

    #[test]
    fn a_token_lives_for_its_life_and_the_skew_on_both_sides() {
        let key = TokenKey::random([7; 32]);
        let token = key.issue(call(), 0, NOW);
        let end = NOW + limits::TOKEN_LIFE + limits::TOKEN_SKEW;
        assert_eq!(key.verify(&token, call(), end), Ok(0));
        assert_eq!(key.verify(&token, call(), end + Duration::from_millis(1)), Err(TokenError::Expired));
        let skew = i64::try_from(limits::TOKEN_SKEW.as_millis()).expect("a minute");
        assert_eq!(key.verify(&token, call(), UnixMillis(NOW.0 - skew)), Ok(0));
        assert_eq!(key.verify(&token, call(), UnixMillis(NOW.0 - skew - 1)), Err(TokenError::NotYetValid));
    }

    #[test]
    fn texts_that_are_no_token_are_malformed() {
        let key = TokenKey::random([7; 32]);
        let token = key.issue(call(), 1, NOW);
        let longer = format!("{token}AA");
        let other_version = format!("2{}", &token[1..]);
        for text in ["", ".", "...", PREVIEW_TOKEN, "1.1.1.", "1.x.1.AAAA", "1.1.AAAA", &longer, &other_version, "א"] {
            assert_eq!(key.verify(text, call(), NOW), Err(TokenError::Malformed), "{text}");
        }
    }

    #[test]
    fn each_refusal_of_a_token_says_what_is_wrong_with_it() {
        for (error, words) in [
            (TokenError::Malformed, "not a stream token"),
            (TokenError::WrongKeyOrCall, "another call or was made with another key"),
            (TokenError::Expired, "has expired"),
            (TokenError::NotYetValid, "clocks of the nodes differ"),
        ] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn another_spelling_of_the_same_numbers_is_refused() {
        let key = TokenKey::random([7; 32]);
        let token = key.issue(call(), 1, NOW);
        for respelt in [token.replacen("1.1.", "1.+1.", 1), token.replacen("1.1.", "1.01.", 1)] {
            assert_eq!(key.verify(&respelt, call(), NOW), Err(TokenError::WrongKeyOrCall), "{respelt}");
        }
    }

    #[test]
    fn during_a_rotation_both_tokens_are_accepted_and_the_first_issues() {
        let account = |tokens: &[&str]| TwilioAccount {
            sid: AccountSid::from_number(1),
            auth_tokens: tokens.iter().map(|token| Secret::new(*token)).collect(),
        };
        let old = TokenKeys::of_account(&account(&["old"])).expect("a key");
        let both = TokenKeys::of_account(&account(&["new", "old"])).expect("a key");
        assert_eq!(both.verify(&old.issue(call(), 0, NOW), call(), NOW), Ok(0));
        assert_eq!(old.verify(&both.issue(call(), 0, NOW), call(), NOW), Err(TokenError::WrongKeyOrCall));
        let late = NOW + Duration::from_secs(3_600);
        assert_eq!(both.verify(&old.issue(call(), 0, NOW), call(), late), Err(TokenError::Expired));
        assert_eq!(TokenKeys::of_account(&account(&[])), None);
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", TokenKeys::single(TokenKey::random([0x41; 32]))).matches("***").count(), 1);
        assert!(!format!("{:?}", TokenKey::random([65; 32])).contains("65"));
    }

    proptest! {
        #[test]
        fn every_issued_token_is_short_url_safe_and_verifies(
            key: [u8; 32], sid: u128, ordinal: u32, now in 0_i64..=i64::MAX / 2,
        ) {
            let (key, call, now) = (TokenKey::random(key), CallSid::from_number(sid), UnixMillis(now));
            let token = key.issue(call, ordinal, now);
            prop_assert!(token.len() < 200);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
            prop_assert_eq!(key.verify(&token, call, now), Ok(ordinal));
        }

        #[test]
        fn no_altered_token_verifies(at in 0_usize..200, byte in 0x20_u8..0x7f) {
            let key = TokenKey::random([7; 32]);
            let token = key.issue(call(), 1, NOW);
            let mut altered = token.clone().into_bytes();
            let at = at % altered.len();
            altered[at] = byte;
            let altered = String::from_utf8(altered).expect("ASCII");
            prop_assume!(altered != token);
            prop_assert!(key.verify(&altered, call(), NOW).is_err());
        }
    }
}
