//! Files that a process keeps in `DATA_DIR`: what was spoken and is not transcribed and stored yet (T5), and facts that the
//! database has not taken (D3, [`crate::store::spooled`]).
//!
//! Each process has a directory of its own, named by its node and locked while it lives. What a process that is gone left
//! behind is adopted by the next one that can lock it. What was acknowledged is *synced*, and survives a loss of power;
//! speech is not: a killed process leaves the kernel's pages behind, which is all that is promised of it.

use crate::sid::{CallSid, StreamSid};
use crate::store::{Origin, SegmentKey};
use crate::time::UnixMillis;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

/// Something to do with the files of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskCommand {
    /// Move the files of every process that is gone into the directory of this one; answered by
    /// [`DiskAnswer::Adopted`].
    Adopt,
    /// Write a file, whole or not at all; then remove the one whose place it takes.
    Write {
        /// The new file.
        name: String,
        /// What is in it.
        bytes: Bytes,
        /// The file that is of no more use then.
        instead_of: Option<String>,
        /// Whether it is done only when the file, and its name, would survive a loss of power.
        synced: bool,
    },
    /// Read a file; answered by [`DiskAnswer::Bytes`].
    Read {
        /// Which.
        name: String,
    },
    /// Remove a file; one that is not there is removed.
    Remove {
        /// Which.
        name: String,
    },
    /// Remove the empty directory of a process that is gone: everything it left is looked after.
    Bury {
        /// The process.
        node: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskAnswer {
    /// It is done.
    Done,
    /// The content of a file.
    Bytes(Bytes),
    /// The processes that are gone.
    Adopted(Vec<Orphan>),
}

/// A process that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its name.
    pub node: String,
    /// The files it left, now in the directory of this process, and their lengths in bytes.
    pub files: Vec<(String, u64)>,
}

/// Why the disk did not do it, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError(pub String);

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for DiskError {}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What was spoken, as mu-law.
    Audio,
    /// The text of it, which the database has not taken yet.
    Text,
}

impl Content {
    const fn extension(self) -> &'static str {
        match self {
            Self::Audio => "ulaw",
            Self::Text => "txt",
        }
    }
}

/// An utterance in a file. All that is known of it stands in the file's name, so that a directory tells everything:
/// `CALL.STREAM.SEQUENCE.STARTED.FROM.TO.LOUDNESS.ulaw`, times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtteranceFile {
    /// Its call.
    pub call: CallSid,
    /// Its stream.
    pub stream: StreamSid,
    /// Its place in the stream, from 1.
    pub sequence: u32,
    /// When it was begun to be spoken.
    pub started_at: UnixMillis,
    /// Where it begins in the stream.
    pub from: Duration,
    /// Where it ends.
    pub to: Duration,
    /// Whether it is so quiet that a stock phrase in its text is not to be believed (T6).
    pub near_silent: bool,
}

impl UtteranceFile {
    /// The key of its row.
    #[must_use]
    pub const fn key(&self) -> SegmentKey {
        SegmentKey { call: self.call, origin: Origin::Stream(self.stream), sequence: self.sequence }
    }

    /// The name of the file with this content.
    #[must_use]
    pub fn name(&self, content: Content) -> String {
        let Self { call, stream, sequence, started_at, from, to, near_silent } = self;
        let loudness = if *near_silent { QUIET } else { LOUD };
        let (from, to, extension) = (from.as_millis(), to.as_millis(), content.extension());
        format!("{call}.{stream}.{sequence}.{started_at}.{from}.{to}.{loudness}.{extension}")
    }

    /// Reads a name; `None` for a file that is none of these.
    #[must_use]
    pub fn parse(name: &str) -> Option<(Self, Content)> {
        let parts: Vec<&str> = name.split('.').collect();
        let [call, stream, sequence, started_at, from, to, loudness, extension] = *parts.as_slice() else {
            return None;
        };
        let content = [Content::Audio, Content::Text].into_iter().find(|content| content.extension() == extension)?;
        let file = Self {
            call: call.parse().ok()?,
            stream: stream.parse().ok()?,
            sequence: sequence.parse().ok().filter(|sequence| *sequence > 0)?,
            started_at: UnixMillis(started_at.parse().ok()?),
            from: Duration::from_millis(from.parse().ok()?),
            to: Duration::from_millis(to.parse().ok()?),
            near_silent: match loudness {
                QUIET => true,
                LOUD => false,
                _ => return None,
            },
        };
        Some((file, content))
    }
}

const QUIET: &str = "quiet";
const LOUD: &str = "loud";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_tells_all_that_is_known_of_an_utterance(
            numbers in any::<(u128, u128)>(), sequence in 1_u32.., started_at in any::<i64>(),
            span in any::<(u64, u64)>(), near_silent in any::<bool>(), text in any::<bool>(),
        ) {
            let file = UtteranceFile {
                call: CallSid::from_number(numbers.0),
                stream: StreamSid::from_number(numbers.1),
                sequence,
                started_at: UnixMillis(started_at),
                from: Duration::from_millis(span.0),
                to: Duration::from_millis(span.1),
                near_silent,
            };
            let content = if text { Content::Text } else { Content::Audio };
            prop_assert_eq!(UtteranceFile::parse(&file.name(content)), Some((file, content)));
        }

        #[test]
        fn any_other_name_is_none_of_ours(name in ".{0,80}") {
            prop_assert_eq!(UtteranceFile::parse(&name), None);
        }
    }

    #[test]
    fn a_name_with_a_wrong_part_is_none_of_ours() {
        let (call, stream) = (CallSid::from_number(1), StreamSid::from_number(2));
        let good = format!("{call}.{stream}.1.1795000000000.0.900.loud.ulaw");
        assert!(UtteranceFile::parse(&good).is_some());
        for (part, wrong) in [(".1.", ".0."), (".0.", ".-1."), ("loud", "Loud"), ("ulaw", "ulaw.part"), ("CA", "XX")] {
            let bad = good.replacen(part, wrong, 1);
            assert_eq!(UtteranceFile::parse(&bad), None, "{bad}");
        }
    }
}
