//! The name of one of Google's voices.

use crate::limits;
use core::fmt;
use core::str::FromStr;

/// A voice, such as `he-IL-Wavenet-A` or `he-IL-Chirp3-HD-Kore`. Whether Google has it, only Google knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice(String);

/// A text that cannot be a voice's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVoice;

impl fmt::Display for NotAVoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a voice, which is a language, a region and more, such as he-IL-Wavenet-A")
    }
}

impl core::error::Error for NotAVoice {}

impl Default for Voice {
    /// Hebrew, and one that Twilio's `<Say>` has too.
    fn default() -> Self {
        Self("he-IL-Wavenet-A".to_owned())
    }
}

impl FromStr for Voice {
    type Err = NotAVoice;

    fn from_str(text: &str) -> Result<Self, NotAVoice> {
        let mut parts = text.split('-');
        let (language, region) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let rest: Vec<_> = parts.collect();
        let fits = text.len() <= limits::VOICE_CHARS_MAX
            && (2..=3).contains(&language.len())
            && letters(language)
            && (region.len() == 2 && letters(region) || region.len() == 3 && digits(region))
            && !rest.is_empty()
            && rest.into_iter().all(word);
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAVoice) }
    }
}

impl fmt::Display for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Voice {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The language it speaks: the first two parts of its name, which Google wants beside the name.
    #[must_use]
    pub fn language_code(&self) -> &str {
        let end = self.0.match_indices('-').nth(1).map_or(self.0.len(), |(at, _)| at);
        &self.0[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_voice_is_shown_how_one_is_written() {
        let said = "Kore".parse::<Voice>().expect_err("no voice").to_string();
        assert!(said.contains("a language, a region") && said.contains("he-IL-Wavenet-A"), "{said}");
    }
}
