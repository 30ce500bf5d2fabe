//! What is to come: messages on their way, and the deadlines of far ends and streams.

use super::InTransit;
use super::node::Process;
use callwarden_core::id::StreamId;
use callwarden_core::time::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A machine that is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    Far(usize),
    Stream(Process, StreamId),
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    Arrival,
    Machine(Wake),
    Renderer(usize),
    Switchboard(usize),
}

/// The earlier one; `one` where both are at the same time, or due at `now`.
pub(super) fn first(
    now: Instant,
    one: Option<(Instant, Next)>,
    other: Option<(Instant, Next)>,
) -> Option<(Instant, Next)> {
    match (one, other) {
        (Some((at, _)), Some((other_at, _))) if other_at.max(now) < at.max(now) => other,
        (one, other) => one.or(other),
    }
}

/// Two queues by time. A deadline that moves later leaves its entry where it is; whoever takes it out looks at the
/// machine and files it anew.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    arrivals: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    events: Vec<Option<InTransit>>,
    free: Vec<usize>,
    serial: u64,
    deadlines: BinaryHeap<Reverse<(Instant, Wake)>>,
}

impl Agenda {
    pub(super) fn send(&mut self, at: Instant, event: InTransit) {
        self.serial += 1;
        let place = self.free.pop().unwrap_or(self.events.len());
        if place == self.events.len() {
            self.events.push(None);
        }
        self.events[place] = Some(event);
        self.arrivals.push(Reverse((at, self.serial, place)));
    }

    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.peek().map(|Reverse((at, ..))| *at)
    }

    /// What has arrived by `now`, if anything; the first first.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<InTransit> {
        self.next_arrival().filter(|at| *at <= now)?;
        let Reverse((_, _, place)) = self.arrivals.pop()?;
        self.free.push(place);
        self.events[place].take()
    }

    /// A machine wants to be woken then.
    pub(super) fn wake_at(&mut self, at: Instant, wake: Wake) {
        self.deadlines.push(Reverse((at, wake)));
    }

    pub(super) fn next_wake(&self) -> Option<(Instant, Wake)> {
        self.deadlines.peek().map(|Reverse(next)| *next)
    }

    /// The next machine wants to be woken later, or not at all.
    pub(super) fn put_off(&mut self, wanted: Option<Instant>) {
        let Some(mut next) = self.deadlines.peek_mut() else { return };
        match wanted {
            Some(at) => next.0.0 = at,
            None => drop(std::collections::binary_heap::PeekMut::pop(next)),
        }
    }
}
