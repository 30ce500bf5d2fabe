//! The simulation: plays a script in a world of its own and holds the invariants.
//!
//! What a process may not do is checked where it would be done (`world::invariants`). What a caller went through is
//! judged at the end of the call, from the far end's ledger (`judge`). Every run ends with a *liveness phase*: faults
//! off, time on, everything finishes.

mod hostile;
mod judge;
mod play;
mod settings;
pub mod shrink;

use crate::script::{self, Script};
use crate::world::World;
use callwarden_core::log::LogLine;
use play::Play;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

/// What a run, or many, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls that were made.
    pub calls: u64,
    /// What came in at the machines under test: webhooks, stream messages, completions, media fetches.
    pub inputs: u64,
    /// Media messages among them.
    pub media: u64,
    /// How often each fault befell something.
    pub faults: BTreeMap<String, u64>,
    /// How calls went.
    pub outcomes: BTreeMap<String, u64>,
}

impl Stats {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.inputs += other.inputs;
        self.media += other.media;
        for (name, count) in other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in other.outcomes {
            *self.outcomes.entry(name).or_default() += count;
        }
    }
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The invariant or rule that broke: the beginning of the message.
    pub invariant: String,
    /// What happened.
    pub message: String,
    /// The script.
    pub script: Script,
}

impl Failure {
    fn new(message: String, script: &Script) -> Self {
        let invariant = message.split_once(':').map_or("panic", |(name, _)| name).to_owned();
        Self { invariant, message, script: script.clone() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.message, tell(&self.script))?;
        writeln!(f, "script: {}", self.script.brief())
    }
}

/// The settings of a script as the processes read them.
#[must_use]
pub fn settings_of(script: &script::Settings) -> callwarden_core::switchboard::Settings {
    settings::settings(script)
}

/// Plays a script and holds every invariant.
///
/// # Errors
/// The first one that broke.
pub fn run(script: &Script) -> Result<Stats, Box<Failure>> {
    attempt(script, false).0.map_err(|message| Box::new(Failure::new(message, script)))
}

/// The log of a run, and the ledgers of its calls: what a failure is told with.
#[must_use]
pub fn tell(script: &Script) -> String {
    let (_, told) = attempt(script, true);
    told
}

thread_local! {
    /// Where the last panic of this thread came from, while a simulation runs.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread runs a simulation.
    static QUIET: RefCell<bool> = const { RefCell::new(false) };
}

/// Lets panics of simulations be told by the simulation instead of at once; others are told as ever.
fn hold_panics_back() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.with_borrow(|quiet| *quiet) {
                PANICKED.set(info.location().map(|at| format!("{}:{}", at.file(), at.line())));
            } else {
                usual(info);
            }
        }));
    });
}

fn attempt(script: &Script, keeps_log: bool) -> (Result<Stats, String>, String) {
    hold_panics_back();
    let before = QUIET.replace(true);
    let mut play = Play::new(script, keeps_log);
    let result = panic::catch_unwind(AssertUnwindSafe(|| play.run()));
    QUIET.set(before);
    let result = match result {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let place = PANICKED.take().unwrap_or_default();
            Err(format!("{text} (at {place})"))
        }
    };
    let told = if keeps_log { tale(play.world()) } else { String::new() };
    (result, told)
}

/// Ledgers and log lines, by time.
fn tale(world: &World) -> String {
    let mut text = String::new();
    let start = world.log.first().map(|(at, _)| *at).unwrap_or_default();
    for (call, far) in world.calls.iter().enumerate() {
        let ledger = far.ledger_at(world.now);
        let begun = ledger.spans.first().map(|span| span.from.since(start)).unwrap_or_default();
        text += &format!("call {call} {}, from {:.3} s:\n{ledger}", far.line().call, begun.as_secs_f64());
        for troubled in world.witness.troubles(call) {
            text += &format!("    {:.3} {:?}\n", troubled.at.since(start).as_secs_f64(), troubled.what);
        }
        for problem in &ledger.problems {
            text += &format!("    {:.3} {} {}\n", problem.at.since(start).as_secs_f64(), problem.code, problem.text);
        }
    }
    for (at, line) in &world.log {
        text += &format!("{:9.3} {}\n", at.since(start).as_secs_f64(), brief(line));
    }
    text
}

/// The fields of a line that say something.
fn brief(line: &LogLine) -> String {
    let text = format!("{line:?}");
    text.split(", ").filter(|field| !field.ends_with(": None")).collect::<Vec<_>>().join(", ")
}
