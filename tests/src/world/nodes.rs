//! Which processes of the simulated database live, whose call is whose, and what is taken over: a plain second telling of
//! the SQL, which is tested against real databases.

use super::SimulatedDatabase;
use callwarden_core::limits;
use callwarden_core::sid::CallSid;
use callwarden_core::store::{CallFact, CallStatus, KnownCall, Source};
use callwarden_core::time::{Instant, Now, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the database knows of processes.
#[derive(Debug, Default)]
pub struct Nodes {
    words: BTreeMap<String, Word>,
    owners: BTreeMap<CallSid, Owner>,
}

/// Whose a call is.
#[derive(Debug)]
struct Owner {
    since: UnixMillis,
    node: String,
    /// The call has ended: nobody takes it over any more.
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    steady_since: Instant,
    /// `None` for a process that was declared gone.
    alive_until: Option<Instant>,
}

impl Nodes {
    pub(super) fn told(&mut self, fact: &CallFact) {
        let since = if fact.owns() { fact.at } else { UnixMillis(0) };
        let first = || Owner { since, node: fact.node.clone(), over: false };
        let owner = self.owners.entry(fact.call).or_insert_with(first);
        owner.over |= fact.ended_at.is_some() || fact.status.is_some_and(CallStatus::is_terminal);
        if (since, &fact.node) > (owner.since, &owner.node) {
            owner.since = since;
            owner.node.clone_from(&fact.node);
        }
    }

    pub(super) fn renew(&mut self, node: &str, now: Instant) {
        let until = Some(now + limits::NODE_LEASE);
        let Some(word) = self.words.get_mut(node) else {
            self.words.insert(node.to_owned(), Word { steady_since: now, alive_until: until });
            return;
        };
        if word.alive_until.is_none_or(|until| until <= now) {
            word.steady_since = now;
        }
        word.alive_until = until;
    }

    pub(super) fn declare_gone(&mut self, node: &str, now: Instant) {
        self.words.insert(node.to_owned(), Word { steady_since: now, alive_until: None });
    }

    /// How many processes live, as far as their word goes.
    #[must_use]
    pub fn living(&self, now: Instant) -> usize {
        self.words.values().filter(|word| word.alive_until.is_some_and(|until| until > now)).count()
    }

    fn is_gone(&self, node: &str, by: &str, now: Instant) -> bool {
        if node == by {
            return false;
        }
        let steady = || self.words.get(by).is_some_and(|this| this.steady_since + limits::NODE_LEASE <= now);
        let word = self.words.get(node);
        word.is_some_and(|word| word.alive_until.is_none_or(|until| until <= now && steady()))
    }
}

impl SimulatedDatabase {
    pub(super) fn take_over(&mut self, node: &str, now: Now) -> Vec<KnownCall> {
        let most = usize::try_from(limits::CALLS_TAKEN_MAX).expect("a count");
        let gone = |(_, owner): &(&CallSid, &Owner)| !owner.over && self.nodes.is_gone(&owner.node, node, now.mono);
        let open = self.nodes.owners.iter().filter(gone).filter_map(|(call, _)| self.find_call(*call, now));
        let silent = |known: &KnownCall| {
            !known.recorded && known.source != Some(Source::Recording) && known.age < limits::SILENT_ENTRY
        };
        let taken: Vec<KnownCall> = open.filter(silent).take(most).collect();
        for call in &taken {
            if let Some(owner) = self.nodes.owners.get_mut(&call.call) {
                owner.since = now.unix;
                self.claims.retain(|claimed, (holder, _)| *claimed != call.call || *holder != owner.node);
                node.clone_into(&mut owner.node);
            }
        }
        taken
    }

    /// The row of a call that is not over.
    pub(super) fn find_call(&self, call: CallSid, now: Now) -> Option<KnownCall> {
        let facts = || self.of(call);
        let over = facts().any(|fact| fact.ended_at.is_some());
        if over || self.status(call).is_some_and(CallStatus::is_terminal) {
            return None;
        }
        let source = facts().filter_map(|fact| fact.source).min();
        let created = facts().map(|fact| fact.at).min()?;
        let age = Duration::from_millis(u64::try_from(now.unix.0 - created.0).unwrap_or(0));
        let (streams, stream) = facts().filter_map(|fact| fact.stream).max().unzip();
        Some(KnownCall {
            call,
            account: facts().find_map(|fact| fact.account),
            host: facts().find_map(|fact| fact.public_host.clone()),
            source,
            streams: streams.unwrap_or(0),
            stream,
            heard: facts().any(|fact| fact.first_media_at.is_some()),
            finished: facts().any(|fact| fact.finished_at.is_some()),
            age,
            recorded: self.is_recorded(call),
        })
    }

    /// Whether a recording of it called back.
    pub(super) fn has_recording(&self, call: CallSid) -> bool {
        self.recordings.iter().any(|fact| fact.call == call)
    }

    /// Whether its row says that it fell back, or a recording of it called back.
    pub(super) fn is_recorded(&self, call: CallSid) -> bool {
        self.fallback(call).is_some() || self.has_recording(call)
    }
}
