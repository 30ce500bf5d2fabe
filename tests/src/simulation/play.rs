//! Plays a script: what happens when, and the liveness phase at the end.

use super::hostile::Intruder;
use super::{Stats, judge, settings};
use crate::google::Mood;
use crate::script::{self, Database, Happening, OpenAi, Script};
use crate::world::{HookFault, Node, RestFault, Trouble, World};
use callwarden_core::far_end::Heard;
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::limits;
use callwarden_core::switchboard::Gauges;
use callwarden_core::time::Instant;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A caller who has been in silence for so long hangs up. No bound of I11 is as long, so it only ends what has failed
/// already, or is excused.
const PATIENCE: Duration = Duration::from_secs(600);
/// Everything is finished so long after the last call ended: look-ups after one hour are the slowest (T8).
const FINISHED: Duration = Duration::from_secs(8 * 3_600);
/// Segments whose audio is on a lost disk are given up so long after they were heard (T5).
const GIVEN_UP: Duration =
    Duration::from_secs(limits::AUDIO_AGE_MAX.as_secs() + limits::STALE_AFTER.as_secs() + 2 * 3_600);
/// How often a run is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How often a process that stops is asked whether it has.
const DRAIN_LOOK: Duration = Duration::from_millis(500);

/// Something to be done at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Call(usize),
    Step(usize),
    DatabaseWell,
    RestWell,
    OpenAiWell,
    GoogleWell,
    DiskWell(usize),
    StartAgain(usize, bool),
    Thaw(usize),
    Drained(usize, Instant),
    Intrude(usize),
}

/// When something was ill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ill {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// A run under way.
pub(super) struct Play<'a> {
    script: &'a Script,
    pub(super) world: World,
    begun: Instant,
    due: BinaryHeap<Reverse<(Instant, usize, Due)>>,
    serial: usize,
    intruders: Vec<Intruder>,
    /// The place in the script of each call of the world.
    order: Vec<usize>,
    pub(super) database: Vec<Ill>,
    pub(super) rest: Vec<Ill>,
    /// Until when each node's disk, and each service, is ill: of overlapping faults the last one ends it.
    until: BTreeMap<Due, Instant>,
    pub(super) stats: Stats,
}

impl<'a> Play<'a> {
    pub(super) fn new(script: &'a Script, keeps_log: bool) -> Self {
        let nodes = usize::from(script.nodes.clamp(1, 8));
        let mut world = World::of_nodes(&settings::settings(&script.settings), nodes, script.seed);
        world.keeps_log = keeps_log;
        world.nuisance = script.nuisance;
        world.calls.reserve(script.calls.len());
        let begun = world.now.mono;
        let mut play = Self {
            script,
            world,
            begun,
            due: BinaryHeap::new(),
            serial: 0,
            intruders: Vec::new(),
            order: Vec::new(),
            database: Vec::new(),
            rest: Vec::new(),
            until: BTreeMap::new(),
            stats: Stats::default(),
        };
        for (call, planned) in script.calls.iter().enumerate() {
            play.at(play.begun + milliseconds(planned.at), Due::Call(call));
        }
        for (place, step) in script.steps.iter().enumerate() {
            play.at(play.begun + milliseconds(step.at), Due::Step(place));
        }
        play
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    pub(super) fn script(&self) -> &Script {
        self.script
    }

    /// What the script says of a call of the world.
    pub(super) fn call(&self, call: usize) -> &script::Call {
        &self.script.calls[self.order[call]]
    }

    fn at(&mut self, at: Instant, due: Due) {
        self.serial += 1;
        self.due.push(Reverse((at, self.serial, due)));
    }

    fn after(&mut self, time: u32, due: Due) {
        self.at(self.world.now.mono + milliseconds(time), due);
    }

    /// Plays everything; judges every call; and says what it came to.
    pub(super) fn run(&mut self) -> Result<Stats, String> {
        while let Some(Reverse((at, _, due))) = self.due.pop() {
            self.world.run_for(at.since(self.world.now.mono));
            self.perform(due);
        }
        self.finish();
        let mut stats = std::mem::take(&mut self.stats);
        for call in 0..self.world.calls.len() {
            judge::judge(self, call, &mut stats)?;
        }
        judge::texts(self)?;
        judge::prompts(self)?;
        for intruder in &self.intruders {
            intruder.judge(&self.world);
        }
        stats.calls = self.world.calls.len() as u64;
        stats.inputs = self.world.inputs();
        Ok(stats)
    }

    fn count(&mut self, fault: &str) {
        match self.stats.faults.get_mut(fault) {
            Some(count) => *count += 1,
            None => drop(self.stats.faults.insert(fault.to_owned(), 1)),
        }
    }

    fn perform(&mut self, due: Due) {
        match due {
            Due::Call(place) => {
                self.order.push(place);
                let call = &self.script.calls[place];
                for stream in &call.streams {
                    let name = format!("{stream:?}");
                    self.count(name.split('(').next().unwrap_or_default());
                }
                self.world.call(call.plan(self.script.settings.transcription));
            }
            Due::Step(step) => self.happens(&self.script.steps[step].what),
            Due::DatabaseWell => {
                if self.is_over(due) {
                    self.world.database_is(Database::Slow(2));
                }
            }
            Due::RestWell => {
                if self.is_over(due) {
                    self.world.rest_always = RestFault::None;
                }
            }
            Due::OpenAiWell => {
                if self.is_over(due) {
                    self.world.openai_down = false;
                    self.world.openai.set_fault(None);
                }
            }
            Due::GoogleWell => {
                if self.is_over(due) {
                    self.world.google.mood = Mood::Fine;
                }
            }
            Due::DiskWell(node) => {
                if self.is_over(due) {
                    self.world.nodes[node].disk.fails = false;
                }
            }
            Due::StartAgain(node, moved) => self.world.start_again(node, moved),
            Due::Thaw(call) => self.world.break_socket_of(call),
            Due::Drained(node, by) => self.drained(node, by),
            Due::Intrude(place) => self.intruders[place].intrude(&mut self.world),
        }
    }

    /// Whether nothing later goes on with the same illness.
    fn is_over(&self, due: Due) -> bool {
        self.until.get(&due).is_none_or(|until| *until <= self.world.now.mono)
    }

    /// An illness that goes on for so long.
    fn ill(&mut self, time: u32, end: Due) -> Ill {
        let ill = Ill { from: self.world.now.mono, to: self.world.now.mono + milliseconds(time) };
        let until = self.until.entry(end).or_default();
        *until = ill.to.max(*until);
        self.at(ill.to, end);
        ill
    }

    fn happens(&mut self, what: &Happening) {
        let nodes = self.world.nodes.len();
        let node = |node: u8| usize::from(node) % nodes;
        let calls = self.world.calls.len();
        let call = |call: u8| (calls > 0).then(|| usize::from(call) % calls);
        let name = format!("{what:?}");
        self.count(name.split(['(', ' ', ',']).next().unwrap_or_default());
        match what {
            Happening::Database(fault, time) => {
                let ill = self.ill(*time, Due::DatabaseWell);
                self.database.push(ill);
                self.world.database_is(*fault);
            }
            Happening::RestOutage(fault, time) => {
                let ill = self.ill(*time, Due::RestWell);
                self.rest.push(ill);
                self.world.rest_always = fault.fault();
            }
            Happening::Rest(faults) => {
                self.world.rest_next.extend(faults.iter().map(|fault| fault.fault()));
            }
            Happening::OpenAi(fault, time) => {
                self.ill(*time, Due::OpenAiWell);
                self.openai(*fault);
            }
            Happening::Google(fault, time) => {
                self.ill(*time, Due::GoogleWell);
                self.world.google.mood = fault.mood();
            }
            Happening::Hooks(hook, faults) => {
                self.world.hooks.entry(*hook).or_default().extend(faults.iter().copied());
            }
            Happening::Clock(place, by) => self.world.nodes[node(*place)].clock_off += i64::from(*by),
            Happening::Kill { node: place, down, moved } => {
                self.world.kill(node(*place));
                self.after(*down, Due::StartAgain(node(*place), *moved));
            }
            Happening::Drain(place) => self.drain(node(*place)),
            Happening::Disk(place, time) => {
                self.ill(*time, Due::DiskWell(node(*place)));
                self.world.nodes[node(*place)].disk.fails = true;
            }
            Happening::Freeze(of, time) => {
                if let Some(call) = call(*of).filter(|call| self.world.freeze_socket_of(*call)) {
                    self.after(*time, Due::Thaw(call));
                }
            }
            Happening::Break(of) => drop(call(*of).map(|call| self.world.break_socket_of(call))),
            Happening::Unread(of) => drop(call(*of).map(|call| self.world.deafen_socket_of(call))),
            Happening::HangUp(of) => drop(call(*of).map(|call| self.world.hang_up(call))),
            Happening::Hostile(of, what) => {
                let Some(call) = call(*of) else { return };
                let Some(intruder) = Intruder::begin(&mut self.world, call, *what) else { return };
                self.intruders.push(intruder);
                self.after(200, Due::Intrude(self.intruders.len() - 1));
            }
        }
    }

    fn openai(&mut self, fault: OpenAi) {
        self.world.openai_down = fault == OpenAi::Down;
        self.world.openai.set_fault(match fault {
            OpenAi::Down => None,
            OpenAi::Stumbles => Some(Fault::Refuse(Refusal::server_error())),
            OpenAi::Busy => Some(Fault::Refuse(Refusal::rate_limit())),
            OpenAi::WrongKey => Some(Fault::Refuse(Refusal::wrong_key())),
            OpenAi::Wordless => Some(Fault::Wordless),
            OpenAi::Cut => Some(Fault::Cut),
        });
    }

    fn drain(&mut self, node: usize) {
        if !self.world.nodes[node].is_running() || self.world.nodes[node].is_draining() {
            return;
        }
        self.world.drain_node(node);
        let time = milliseconds(self.script.settings.drain) + limits::DRAIN_MOVES_TIME;
        self.at(self.world.now.mono + DRAIN_LOOK, Due::Drained(node, self.world.now.mono + time));
    }

    /// A process that stops has nothing left to do, or no time: it ends, and the next one starts.
    fn drained(&mut self, node: usize, by: Instant) {
        let now = self.world.now.mono;
        if !self.world.nodes[node].is_draining() {
            return;
        }
        if self.world.nodes[node].switchboard.is_drained() || now >= by {
            self.world.kill(node);
            self.after(100, Due::StartAgain(node, false));
        } else {
            self.at(now + DRAIN_LOOK, Due::Drained(node, by));
        }
    }

    /// Liveness: with all faults over, every call ends, everything about it is settled, and nothing is left of it.
    fn finish(&mut self) {
        self.world.rest_next.clear();
        self.world.hooks.clear();
        while !self.world.is_over() {
            self.world.run_for(LOOK);
            self.lose_patience();
        }
        let end = self.world.now.mono + if self.loses_a_disk() { GIVEN_UP } else { FINISHED };
        while !self.world.is_at_rest() {
            assert!(self.world.now.mono < end, "liveness: not everything comes to an end: {}", self.world.unrest());
            self.world.run_for(LOOK);
        }
        if self.script.to_the_last {
            self.world.settle();
        }
        for call in 0..self.world.calls.len() {
            let sid = self.world.sid(call);
            if self.world.database.status(sid).is_some() {
                let status = self.world.transcript_status(call);
                let is_final = !matches!(status.as_str(), "" | "pending");
                assert!(is_final, "I12: call {call} ends with the transcript status {status:?}");
            }
        }
        self.world.check_acknowledged();
    }

    /// Whether speech may be lost with a process: its disk is, or takes nothing for a while.
    pub(super) fn loses_a_disk(&self) -> bool {
        let any = |which: fn(&Happening) -> bool| self.script.steps.iter().any(|step| which(&step.what));
        let ends = any(|what| matches!(what, Happening::Kill { .. } | Happening::Drain(_)));
        any(|what| matches!(what, Happening::Kill { moved: true, .. }))
            || ends && any(|what| matches!(what, Happening::Disk(..)))
    }

    fn lose_patience(&mut self) {
        for call in 0..self.world.calls.len() {
            let ledger = self.world.ledger(call);
            let since = ledger.spans.last().filter(|span| span.heard.is_silence()).map(|span| span.from);
            let ringing = ledger.spans.last().filter(|span| span.heard == Heard::Ringing).map(|span| span.from);
            let tired = |since: Instant| self.world.now.mono.since(since) > PATIENCE;
            if since.or(ringing).is_some_and(tired) && !self.world.calls[call].is_over() {
                self.world.hang_up(call);
            }
        }
    }
}

impl World {
    fn database_is(&mut self, fault: Database) {
        self.database.fault = fault.fault();
        self.database.latency = match fault {
            Database::Slow(time) => milliseconds(time),
            Database::Refuses | Database::Hangs | Database::LosesAnswers | Database::Conflicts => {
                Duration::from_millis(2)
            }
        };
    }

    /// Whether nothing is under way or waits, and every row is final. Entries of calls may remain, for a while (W10).
    fn is_at_rest(&self) -> bool {
        if !self.is_over() {
            return false;
        }
        let idle = |gauges: Gauges| Gauges { calls: 0, live_calls: 0, ..gauges } == Gauges::default();
        let mut running = self.nodes.iter().filter(|node| node.is_running());
        running.all(|node| idle(node.switchboard.gauges()) && node.has_rendered() && node.has_adopted())
            && (0..self.calls.len()).all(|call| self.transcript_status(call) != "pending")
    }

    fn unrest(&self) -> String {
        let running = self.nodes.iter().filter(|node| node.is_running());
        let gauges: Vec<Gauges> = running.map(|node| node.switchboard.gauges()).collect();
        let rows: Vec<String> = (0..self.calls.len()).map(|call| self.transcript_status(call)).collect();
        let rendered: Vec<bool> = self.nodes.iter().map(Node::has_rendered).collect();
        format!("{gauges:?} {rows:?}, prompts rendered: {rendered:?}")
    }
}

/// The name under which a trouble is counted.
pub(super) fn name(trouble: Trouble) -> String {
    match trouble {
        Trouble::Hook(hook, fault) => {
            let fault = match fault {
                HookFault::Lost => "lost",
                HookFault::Late(_) => "late",
                HookFault::Twice(_) => "twice",
                HookFault::Unanswered => "unanswered",
            };
            format!("{hook:?} {fault}")
        }
        Trouble::Rest(fault) => {
            let text = format!("{fault:?}");
            format!("REST {}", text.split('(').next().unwrap_or_default())
        }
        Trouble::Killed | Trouble::Frozen | Trouble::Broken | Trouble::Unread | Trouble::Hostile => {
            format!("call {trouble:?}")
        }
    }
}

pub(super) const fn milliseconds(time: u32) -> Duration {
    Duration::from_millis(time as u64)
}
