//! Processes that share a database: who lives, and whose calls are taken over.

use super::Source;
use crate::sid::{AccountSid, CallSid, StreamSid};
use core::time::Duration;

/// Why a claim was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Another process holds it, for `limits::CLAIM_LEASE` at most.
    Held,
    /// More streams started than the claimer knows of: another process has the caller.
    Elsewhere,
    /// It fell back already, if the answer or the update that did it came to be heard.
    FellBack,
    /// A recording of it has called back.
    Recorded,
    /// The call is over.
    Over,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Held, Self::Elsewhere, Self::FellBack, Self::Recorded, Self::Over];

    /// The word for it, in `claim_refusal.sql` and in a call's timeline.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Elsewhere => "elsewhere",
            Self::FellBack => "fell_back",
            Self::Recorded => "recorded",
            Self::Over => "over",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// What the row of an open call says to a process that did not see it begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCall {
    /// Which.
    pub call: CallSid,
    /// Its account, where it is known.
    pub account: Option<AccountSid>,
    /// The host it came in on, where it is known.
    pub host: Option<String>,
    /// What its first TwiML asked for; `None` when only a stream or a status told of it.
    pub source: Option<Source>,
    /// How many streams started.
    pub streams: u32,
    /// The last of them.
    pub stream: Option<StreamSid>,
    /// Whether a frame was heard on any.
    pub heard: bool,
    /// Whether the caller had finished (W12).
    pub finished: bool,
    /// How long ago it was announced, by the database's clock against that of the process that answered it.
    pub age: Duration,
    /// Whether it fell back, or a recording called back.
    pub recorded: bool,
}
