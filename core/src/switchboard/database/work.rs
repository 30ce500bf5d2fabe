//! What is asked of the database, and what its answers mean for those who wait.

use super::spool::FileKey;
use crate::call::CallKey;
use crate::store::{Fact, KnownCall, Refusal, StoreAnswer};
use crate::switchboard::speech::JobKey;

/// What a finished command means for a call that waits for it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum Finished {
    /// Nobody waits.
    Nothing,
    /// The row of a new call is committed, or will be later: its webhook can be answered.
    Row(CallKey),
    /// A claim was decided; `None` when the database did not say.
    Claim(CallKey, Option<Result<(), Refusal>>),
    /// What a call's row says; `None` when there is none, or no word.
    Found(CallKey, Option<Box<KnownCall>>),
    /// Rows of recordings are committed: one of them may be ready to be transcribed.
    Recordings,
    /// A text was taken, or not.
    Text(JobKey, Taken),
    /// A round is over; `None` when the database did not answer.
    Round(Round, Option<StoreAnswer>),
}

/// What is asked of the database from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum Round {
    Recordings,
    Overdue,
    Stale,
    /// With the files of audio in question, and their lengths.
    Adopt(Vec<(String, u64)>),
    Inherit(String),
    /// With the processes declared gone.
    Renew(Vec<String>),
    Retire,
}

/// Whether the database took something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::switchboard) enum Taken {
    /// It is committed.
    Yes,
    /// It did not answer: the same may be sent again.
    NotNow,
    /// It will never take it.
    Never,
}

/// A fact that is not in the database yet.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) fact: Fact,
    /// The file it stands in, or is being written to.
    pub(super) file: Option<FileKey>,
}

impl From<Fact> for Waiting {
    fn from(fact: Fact) -> Self {
        Self { fact, file: None }
    }
}

#[derive(Debug)]
pub(super) enum UnderWay {
    Open,
    Facts(Vec<Waiting>),
    Row(CallKey, Vec<Waiting>),
    Claim(CallKey),
    Find(CallKey),
    Release,
    Text(JobKey),
    Round(Round),
}

impl UnderWay {
    /// The facts that are in the database when it has been done.
    pub(super) fn facts(&self) -> &[Waiting] {
        match self {
            Self::Facts(facts) | Self::Row(_, facts) => facts,
            Self::Open | Self::Claim(_) | Self::Find(_) | Self::Release | Self::Text(_) | Self::Round(_) => &[],
        }
    }

    pub(super) fn facts_mut(&mut self) -> &mut [Waiting] {
        match self {
            Self::Facts(facts) | Self::Row(_, facts) => facts,
            Self::Open | Self::Claim(_) | Self::Find(_) | Self::Release | Self::Text(_) | Self::Round(_) => &mut [],
        }
    }
}
