//! The one fallback of a call: from its claim to its confirmation (W5, W7).
//!
//! ```text
//!   Claiming ──granted, or no answer in 500 ms──▶ Due ──room──▶ Sent ──2xx──▶ Confirmed
//!                                                  ▲             │
//!                     wait 0.5 s .. 4 s ◀──────────┼─ not delivered
//!                     signs for 1.5 s   ◀──────────┼─ ambiguous, twice at most
//!                     agreement for 5 s ◀──────────┼─ "no such call", once more
//!                                                  │
//!                               Failed ◀───────────┴─ refused for good: the socket is closed instead
//!                                │  ▲
//!                after 10 s, 20 s …  │ Twilio cannot be reached: again in 4 s
//!                                ▼  │
//!                              Probing ──reached, the call lives──▶ Claiming
//!
//!   any ──signs, or the document given to a fetch──▶ Answered ──a recording calls back──▶ Confirmed
//!                                                     │                                    ▲
//!                     none for 10 s after the prompt  ▼                                    │
//!                                                  Probing ──one is listed, or Twilio does not say
//!                                                     └──the call lives, and has none──▶ Claiming
//! ```
//!
//! A TwiML fetch confirms it from any state: its answer is the recording document. Where no recording calls back after
//! that ([`limits::RECORDING_STARTS`]), the answer went nowhere, as that to a repeated webhook does, and the fallback
//! has failed after all. So it is with signs: a stranger who has the caller's token may have made them. One that failed
//! begins anew after [`limits::CLAIM_OVERDUE`]. Before it does, Twilio is asked about the call: a question can be repeated
//! without harm until an outage is over, an update cannot, for each one restarts a recording that runs.

use crate::id::FetchId;
use crate::limits;
use crate::store::FallbackReason;
use crate::time::{Instant, UnixMillis};
use core::time::Duration;

/// A fallback under way or done.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// Why (W1-W4, W11).
    pub(crate) reason: FallbackReason,
    /// When it was decided, for the row.
    pub(crate) at: UnixMillis,
    /// How far the call had got (W9).
    pub(crate) how_far: String,
    /// What it waits for.
    pub(crate) step: Step,
    /// Unconfirmed, the socket is closed then, so that Twilio asks `stream_ended`.
    pub(crate) close_socket: Option<Instant>,
    /// How often it began.
    pub(crate) rounds: u32,
    /// Which auth token is used; a 401 moves on to the next one.
    pub(crate) token: usize,
    /// A sign of the present update was seen while its answer was awaited.
    pub(crate) signs_seen: bool,
    /// An answer or signs had confirmed it, and no recording began: what its row says of it is our own, and wrong.
    pub(crate) went_nowhere: bool,
    wait: Duration,
    ambiguous: u32,
    gone: u32,
}

/// What a fallback waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The store's word on the claim.
    Claiming {
        /// After this the watch acts on what it knows.
        until: Instant,
        /// Whether an update follows; otherwise only a waiting webhook is answered.
        update: bool,
    },
    /// Its next update.
    Due {
        /// When.
        at: Instant,
    },
    /// The answer to an update.
    Sent {
        /// Which.
        id: FetchId,
        /// Without an answer by then it counts as ambiguous.
        until: Instant,
    },
    /// Signs that an ambiguous update was applied.
    Signs {
        /// Until when.
        until: Instant,
    },
    /// A terminal status or a `stop` that agrees with "no such call".
    Agreement {
        /// Until when.
        until: Instant,
    },
    /// Nothing more to send for a while; a TwiML fetch may still come.
    Failed {
        /// It begins anew then.
        again: Instant,
    },
    /// Whether Twilio can be reached again, and the call lives.
    Probing {
        /// The question.
        id: FetchId,
        /// Without an answer by then it is asked again.
        until: Instant,
    },
    /// The recording document was given to whoever asked, or an update left signs, which counts as confirmed until a
    /// recording should have begun.
    Answered {
        /// When that is.
        until: Instant,
    },
    /// The caller is being recorded.
    Confirmed,
}

/// What tells that a fallback reached its call (W5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The recording document was the answer to a TwiML fetch.
    Answer,
    /// An update was accepted.
    Update,
    /// An update that may have been applied left signs (W7).
    Signs,
    /// A recording called back.
    Recording,
    /// A recording called back at another process.
    Recorded,
}

impl Route {
    /// The word of the log and the timeline.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Route::Answer => "answer",
            Route::Update => "update",
            Route::Signs => "signs",
            Route::Recording => "recording",
            Route::Recorded => "recorded",
        }
    }
}

/// What follows an unhappy answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on by itself.
    Continues,
    /// No update will help.
    Hopeless,
}

impl Fallback {
    /// A fallback that was just decided; `update` when a REST update shall deliver it.
    pub(crate) fn new(reason: FallbackReason, how_far: String, now: Instant, at: UnixMillis, update: bool) -> Self {
        Self {
            reason,
            at,
            how_far,
            step: Step::Claiming { until: now + limits::CLAIM_TIME, update },
            close_socket: None,
            rounds: 1,
            token: 0,
            signs_seen: false,
            went_nowhere: false,
            wait: limits::REST_RETRY_MIN,
            ambiguous: 0,
            gone: 0,
        }
    }

    /// Begins anew: the claim ran out unconfirmed (W5).
    pub(crate) fn begin_again(&mut self, now: Instant) {
        self.rounds = self.rounds.saturating_add(1);
        self.step = Step::Claiming { until: now + limits::CLAIM_TIME, update: true };
        (self.wait, self.ambiguous, self.gone, self.token) = (limits::REST_RETRY_MIN, 0, 0, 0);
    }

    /// Whether it reached its call, as far as can be told (W5).
    pub(crate) fn is_confirmed(&self) -> bool {
        matches!(self.step, Step::Answered { .. } | Step::Confirmed)
    }

    /// The recording document was given (again), or signs were seen: a recording begins before `until`.
    pub(crate) fn answered(&mut self, until: Instant) {
        if self.step != Step::Confirmed {
            self.step = Step::Answered { until };
        }
    }

    /// Whether an update may be on its way or have arrived: signs of it count (W7).
    pub(crate) fn may_be_applied(&self) -> bool {
        matches!(self.step, Step::Sent { .. } | Step::Signs { .. })
    }

    /// Whether nothing was sent that cannot be called back (W6).
    pub(crate) fn can_be_cancelled(&self) -> bool {
        !self.is_confirmed() && !self.may_be_applied()
    }

    /// The claim is settled: the first update is due.
    pub(crate) fn claimed(&mut self, now: Instant) {
        self.step = Step::Due { at: now };
    }

    /// An update left.
    pub(crate) fn sent(&mut self, id: FetchId, now: Instant) {
        self.step = Step::Sent { id, until: now + limits::REST_TIME + limits::REST_GRACE };
        self.signs_seen = false;
        if self.close_socket.is_none() && self.rounds == 1 {
            self.close_socket = Some(now + limits::UNCONFIRMED_CLOSE);
        }
    }

    /// There was no room for an update; soon again.
    pub(crate) fn no_room(&mut self, now: Instant) {
        self.step = Step::Due { at: now + limits::NO_ROOM_WAIT };
    }

    /// The update was not delivered for sure: again, each time twice as late (W7).
    pub(crate) fn not_delivered(&mut self, now: Instant) {
        self.step = Step::Due { at: now + self.wait };
        self.wait = (self.wait * 2).min(limits::REST_RETRY_MAX);
    }

    /// The update may have been applied: wait for signs (W7).
    pub(crate) fn ambiguous(&mut self, now: Instant) {
        self.step = Step::Signs { until: now + limits::AMBIGUOUS_WAIT };
    }

    /// No sign came: again, twice at most (W7).
    pub(crate) fn no_signs(&mut self, now: Instant) -> Verdict {
        if self.ambiguous >= limits::AMBIGUOUS_REPEATS_MAX {
            return self.hopeless(now);
        }
        self.ambiguous += 1;
        self.step = Step::Due { at: now };
        Verdict::Continues
    }

    /// "No such call": wait for something that agrees (W7).
    pub(crate) fn gone(&mut self, now: Instant) {
        self.step = Step::Agreement { until: now + limits::OVER_AGREEMENT };
    }

    /// Nothing agreed: one more try (W7).
    pub(crate) fn no_agreement(&mut self, now: Instant) -> Verdict {
        if self.gone > 0 {
            return self.hopeless(now);
        }
        self.gone += 1;
        self.step = Step::Due { at: now };
        Verdict::Continues
    }

    /// The token was refused: the next one of `tokens`, at once (W7).
    pub(crate) fn unauthorized(&mut self, tokens: usize, now: Instant) -> Verdict {
        self.token += 1;
        if self.token >= tokens {
            return self.hopeless(now);
        }
        self.step = Step::Due { at: now };
        Verdict::Continues
    }

    /// No update helps for now (W7). Each round waits longer, so that a call nothing can reach costs a request a
    /// minute, not one every ten seconds.
    pub(crate) fn hopeless(&mut self, now: Instant) -> Verdict {
        let wait = limits::CLAIM_OVERDUE * self.rounds.min(limits::OVERDUE_FACTOR_MAX);
        self.step = Step::Failed { again: now + wait };
        Verdict::Hopeless
    }

    /// Twilio is asked about the call.
    pub(crate) fn probing(&mut self, id: FetchId, now: Instant) {
        self.step = Step::Probing { id, until: now + limits::REST_TIME + limits::REST_GRACE };
    }

    /// Twilio could not be asked, or not be reached: soon again.
    pub(crate) fn not_reached(&mut self, wait: Duration, now: Instant) {
        self.step = Step::Failed { again: now + wait };
    }

    /// The next moment something must happen.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let step = match self.step {
            Step::Claiming { until, .. }
            | Step::Sent { until, .. }
            | Step::Signs { until }
            | Step::Agreement { until }
            | Step::Probing { until, .. } => Some(until),
            Step::Answered { until } => return Some(until),
            Step::Due { at } | Step::Failed { again: at } => Some(at),
            Step::Confirmed => return None,
        };
        step.into_iter().chain(self.close_socket).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Slab;

    #[test]
    fn the_socket_is_closed_some_time_after_the_first_update_and_not_for_a_later_one() {
        let id = Slab::new(1).insert(()).expect("room");
        let at = |seconds| Instant::from_millis(1_000) + Duration::from_secs(seconds);
        let mut fallback = Fallback::new(FallbackReason::NoStart, String::new(), at(0), UnixMillis(0), true);
        fallback.sent(id, at(0));
        fallback.sent(id, at(1));
        assert_eq!(fallback.close_socket, Some(at(0) + limits::UNCONFIRMED_CLOSE));
        fallback.close_socket = None;
        fallback.begin_again(at(20));
        fallback.sent(id, at(21));
        assert_eq!(fallback.close_socket, None, "it was closed in the first round");
    }
}
