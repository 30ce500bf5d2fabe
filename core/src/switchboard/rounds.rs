//! What is asked of the database from time to time, so that nothing waits for ever: recordings to be transcribed, calls
//! that lack something (T8), segments that everybody forgot, rows of processes that are gone.

use super::database::Round;
use super::speech::FileWork;
use super::{Output, Switchboard};
use crate::disk::{DiskCommand, UtteranceFile};
use crate::limits;
use crate::store::{StoreAnswer, StoreCommand};
use crate::time::Instant;

/// When each round is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    pub(super) recordings: Instant,
    overdue: Instant,
    stale: Instant,
    pub(super) inherit: Instant,
    adopt: Instant,
    /// One round at a time.
    pub(super) under_way: bool,
}

impl Rounds {
    pub(super) const fn new(now: Instant) -> Self {
        Self { recordings: now, overdue: now, stale: now, inherit: now, adopt: now, under_way: false }
    }
}

impl Switchboard {
    /// Begins the round that is due, if one is.
    pub(super) fn flush_rounds(&mut self, out: &mut Vec<Output>) {
        let now = self.now.mono;
        if self.rounds.adopt <= now {
            self.rounds.adopt = now + limits::ADOPT_TIME;
            self.file(FileWork::Adopt, DiskCommand::Adopt, out);
        }
        if self.rounds.under_way || self.draining.is_some() || !self.database.takes_more() {
            return;
        }
        if let Some((round, command)) = self.round_due() {
            self.rounds.under_way = true;
            self.database.ask(round, command, out);
        }
    }

    fn round_due(&mut self) -> Option<(Round, StoreCommand)> {
        let now = self.now.mono;
        if self.rounds.inherit <= now && !self.unproven.is_empty() {
            self.rounds.inherit = now + limits::INHERIT_WAIT;
            let most = self.unproven.len().min(limits::FILES_PER_TURN_MAX);
            let files: Vec<_> = self.unproven.drain(..most).collect();
            let parsed = files.iter().filter_map(|(name, _)| UtteranceFile::parse(name));
            let segments = parsed.map(|(file, _)| file.key()).collect();
            return Some((Round::Adopt(files), StoreCommand::FindDone { segments }));
        }
        // Whose rows they are is known once all files have their jobs.
        let waits = self.rounds.inherit > now || self.has_files() || self.database.has_unread_files();
        if let Some(node) = self.inherit.front().filter(|_| !waits).cloned() {
            self.rounds.inherit = now + limits::INHERIT_WAIT;
            return Some((Round::Inherit(node.clone()), StoreCommand::Inherit { node }));
        }
        if self.rounds.recordings <= now {
            let round = now + limits::RECORDINGS_ROUND;
            self.rounds.recordings = self.recordings.next_retry(now).map_or(round, |retry| retry.min(round));
            if let Some(command) = self.take_recordings() {
                return Some((Round::Recordings, command));
            }
        }
        if self.rounds.overdue <= now {
            self.rounds.overdue = now + limits::OVERDUE_ROUND;
            return Some((Round::Overdue, StoreCommand::TakeOverdue));
        }
        if self.rounds.stale <= now {
            self.rounds.stale = now + limits::STALE_ROUND;
            return Some((Round::Stale, StoreCommand::FindStale));
        }
        None
    }

    /// When the next round wants to begin.
    pub(super) fn next_round(&self) -> Instant {
        let Rounds { recordings, overdue, stale, inherit, adopt, under_way } = self.rounds;
        if under_way || self.draining.is_some() || !self.database.takes_more() {
            return adopt;
        }
        let inherits = !self.inherit.is_empty() && !self.database.has_unread_files();
        let inherit = if inherits || !self.unproven.is_empty() { inherit } else { adopt };
        [recordings, overdue, stale, inherit].into_iter().fold(adopt, Instant::min)
    }

    /// A round is over. One that was not answered comes again in its time.
    pub(super) fn round_over(&mut self, round: Round, answer: Option<StoreAnswer>, out: &mut Vec<Output>) {
        match &round {
            Round::Renew(gone) => return self.renewed(gone, answer, out),
            Round::Retire => return self.has_retired(),
            Round::Recordings | Round::Overdue | Round::Stale | Round::Adopt(_) | Round::Inherit(_) => {
                self.rounds.under_way = false;
            }
        }
        match (round, answer) {
            (Round::Adopt(files), Some(StoreAnswer::Known(done))) => {
                self.rounds.inherit = self.now.mono;
                self.proven(files, &done, out);
            }
            (Round::Adopt(files), _) => self.unproven.extend(files),
            (Round::Recordings, Some(StoreAnswer::Recordings(taken))) => {
                if !taken.is_empty() {
                    // There may be more.
                    self.rounds.recordings = self.now.mono;
                }
                self.took_recordings(taken, out);
            }
            (Round::Overdue, Some(StoreAnswer::Overdue(calls))) => self.took_overdue(calls, out),
            (Round::Stale, Some(StoreAnswer::Segments(segments))) => {
                let more = segments.len() as u64 >= limits::SEGMENTS_FOUND_MAX;
                self.stale(segments, out);
                if self.drop_what_is_too_old(out) || more {
                    self.rounds.stale = self.now.mono + limits::INHERIT_WAIT;
                }
            }
            (Round::Inherit(node), Some(StoreAnswer::Segments(segments))) => {
                self.inherit.pop_front();
                self.rounds.inherit = self.now.mono;
                self.inherited(&node, segments, out);
            }
            (
                Round::Recordings | Round::Overdue | Round::Stale | Round::Inherit(_) | Round::Renew(_) | Round::Retire,
                _,
            ) => {}
        }
    }
}
