//! Processes come and go: started, told to stop, killed, and followed by the next one in the same place.

use super::node::{Node, Peer, Process, Service};
use super::{Asker, InTransit, LATENCY, SimulatedDisk, World, google};
use callwarden_core::switchboard::{Input, Settings, Switchboard};
use std::collections::BTreeMap;

impl World {
    /// Starts a process in a new place.
    pub(super) fn add_node(&mut self, settings: Settings) {
        let mut out = Vec::new();
        let (mut begun, disk) = (settings.clone(), SimulatedDisk::default());
        let studio = google::studio(self.now, &mut begun, &disk.kept);
        let switchboard = Switchboard::new(self.now, begun, &mut out);
        self.nodes.push(Node {
            switchboard,
            disk,
            studio,
            clock_off: 0,
            service: Service::Up,
            boot: 0,
            since: self.now.mono,
            settings,
            sockets: BTreeMap::new(),
            of_request: BTreeMap::new(),
        });
        self.born(self.nodes.len() - 1);
        self.perform(self.nodes.len() - 1, out);
    }

    /// The process that runs in a place, or ran there last.
    pub(super) fn process(&self, place: usize) -> Process {
        Process { place, boot: self.nodes[place].boot }
    }

    /// The place of a process that still runs.
    pub(super) fn place_of(&self, process: Process) -> Option<usize> {
        let node = &self.nodes[process.place];
        (node.is_running() && node.boot == process.boot).then_some(process.place)
    }

    /// Where the balancer sends a request: to any process that is up, else to one that stops.
    pub(super) fn balanced(&mut self) -> Option<usize> {
        for service in [Service::Up, Service::Draining] {
            let fit = |node: &&Node| node.service == service;
            let count = self.nodes.iter().filter(fit).count();
            if count > 0 {
                let chosen = usize::try_from(self.chance.below(count as u64)).expect("few nodes");
                return (0..self.nodes.len()).filter(|place| fit(&&self.nodes[*place])).nth(chosen);
            }
        }
        None
    }

    /// Kills a process: its sockets are lost, and so is the answer to whatever it was asked. Its disk stays.
    pub fn kill(&mut self, place: usize) {
        let process = self.process(place);
        // The model does not know what one process leaves to the next.
        self.history = None;
        let node = &mut self.nodes[place];
        if !node.is_running() {
            return;
        }
        node.service = Service::Down;
        node.disk.orphan(&node.settings.node);
        for (_, socket) in std::mem::take(&mut node.sockets) {
            if let Peer::Call(call, id) = socket.peer {
                self.far_sockets[call] = None;
                self.send(LATENCY, InTransit::ClosedByServer(call, id, 1006));
            }
        }
        for (_, asker) in std::mem::take(&mut self.nodes[place].of_request) {
            self.send(LATENCY, InTransit::Reset(asker));
        }
        self.killed(process);
    }

    /// Starts the next process in a place where none runs; `moved` to a machine with an empty disk.
    pub fn start_again(&mut self, place: usize, moved: bool) {
        if self.nodes[place].is_running() {
            return;
        }
        if moved {
            self.disk_lost(place);
        }
        let (now, node) = (self.now_at(place), &mut self.nodes[place]);
        if moved {
            node.disk = SimulatedDisk::default();
        }
        node.service = Service::Up;
        node.boot += 1;
        node.since = now.mono;
        node.settings.node.push('+');
        let mut out = Vec::new();
        let mut begun = node.settings.clone();
        node.studio = google::studio(now, &mut begun, &node.disk.kept);
        node.switchboard = Switchboard::new(now, begun, &mut out);
        self.born(place);
        self.perform(place, out);
    }

    /// Kills the only process and starts another one on the same disk and database.
    pub fn kill_and_restart(&mut self) {
        self.kill(0);
        self.start_again(0, false);
    }

    /// Tells the only process to stop.
    pub fn drain(&mut self) {
        self.drain_node(0);
    }

    /// Tells a process to stop.
    pub fn drain_node(&mut self, place: usize) {
        if self.nodes[place].service == Service::Up {
            self.nodes[place].service = Service::Draining;
            self.input(place, Input::Drain);
        }
    }

    /// Whoever asked a process that is gone, or asked none, is told so.
    pub(super) fn refused(&mut self, asker: Asker, reset: bool) {
        let event = if reset { InTransit::Reset(asker) } else { InTransit::Unreachable(asker) };
        self.send(LATENCY, event);
    }
}
