//! A place where processes run one after the other: the machine under test, its sockets, its disk and its clock.

use super::google::Studio;
use super::{Asker, SimulatedDisk};
use callwarden_core::far_end::SocketId;
use callwarden_core::id::{RequestId, StreamId};
use callwarden_core::stream::{MediaStream, StreamOutput};
use callwarden_core::switchboard::{Output, Settings, Switchboard};
use callwarden_core::time::{Instant, Now};
use std::collections::BTreeMap;

/// One process: its place, and which of the processes that ran there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) place: usize,
    pub(super) boot: u32,
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Call(usize, SocketId),
    Script(usize),
}

pub(super) struct Socket {
    pub(super) machine: MediaStream,
    pub(super) peer: Peer,
    /// Its task hangs: it takes and does nothing.
    pub(super) frozen: bool,
    /// Its peer reads nothing any more.
    pub(super) unread: bool,
    /// It may not speak for its call (S8): what frames it carries says nothing.
    pub(super) refused: bool,
    /// The earliest deadline of its machine on the agenda.
    pub(super) armed: Option<Instant>,
}

/// Whether a node takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// The balancer sends it requests.
    Up,
    /// It was told to stop; the balancer sends it requests while there is no other.
    Draining,
    /// No process runs.
    Down,
}

/// A process and what is its own.
pub struct Node {
    /// The machine under test.
    pub switchboard: Switchboard,
    /// Its disk, which outlives it.
    pub disk: SimulatedDisk,
    /// By how many milliseconds its wall clock differs from the world's.
    pub clock_off: i64,
    /// What renders its prompts, where Google is to.
    pub(super) studio: Option<Studio>,
    pub(super) service: Service,
    pub(super) boot: u32,
    /// When its process was started.
    pub(super) since: Instant,
    pub(super) settings: Settings,
    pub(super) sockets: BTreeMap<StreamId, Socket>,
    pub(super) of_request: BTreeMap<RequestId, Asker>,
}

impl Node {
    /// Whether a process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.service != Service::Down
    }

    /// Whether its process has all that those before it left on its disk.
    #[must_use]
    pub fn has_adopted(&self) -> bool {
        !self.disk.has_orphans()
    }

    /// Whether its process was told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.service == Service::Draining
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.is_running() { self.switchboard.next_timeout() } else { None }
    }

    /// Wakes all its machines though none asked for it.
    pub(super) fn wake(&mut self, now: Now, out: &mut Vec<Output>, heard: &mut Vec<StreamOutput>) {
        if !self.is_running() {
            return;
        }
        self.switchboard.handle_timeout(now, out);
        for socket in self.sockets.values_mut().filter(|socket| !socket.frozen) {
            socket.machine.handle_timeout(now.mono, heard);
        }
    }
}
