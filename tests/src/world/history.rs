//! Everything a switchboard heard and said, in order, in plain form: what the [model](crate::model) judges it by.
//!
//! It is written down at the boundary of the machine and nothing is thought about it here. Speech and the files of
//! utterances are left out: the rules of a call do not look at them.

use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::{Request, Response};
use callwarden_core::id::{FetchId, RequestId, StoreId, StreamId};
use callwarden_core::log::LogLine;
use callwarden_core::sid::CallSid;
use callwarden_core::store::{CallFact, Claim, Fact, StoreAnswer, StoreCommand, StoreError};
use callwarden_core::stream::{StreamCommand, StreamReport};
use callwarden_core::switchboard::{Input, Output};
use callwarden_core::time::Now;

/// One thing that happened at the boundary of a process.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Which process of the deployment.
    pub node: usize,
    /// When, by both clocks.
    pub at: Now,
    /// What.
    pub what: What,
}

/// What crossed the boundary. The first half came in, the second went out.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is an input or an output of the switchboard, and named like it")]
pub enum What {
    Born,
    Drain,
    Asked { id: RequestId, request: Request },
    Reported { id: StreamId, report: StreamReport },
    Stored { id: StoreId, result: Result<StoreAnswer, StoreError> },
    Fetched { id: FetchId, result: Result<FetchResponse, FetchError> },
    Replied { id: RequestId, response: Response },
    Upgraded { id: RequestId, stream: StreamId },
    Commanded { id: StreamId, command: StreamCommand },
    Fetching { id: FetchId, request: FetchRequest },
    Storing { id: StoreId, facts: Vec<CallFact> },
    Claiming { id: StoreId, claim: Claim },
    Releasing { call: CallSid },
    Seeking { id: StoreId, call: CallSid },
    TakingOverdue { id: StoreId },
    Logged(Box<LogLine>),
}

/// The history of a deployment.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In order.
    pub moments: Vec<Moment>,
}

impl History {
    /// A process starts, for the first time or anew.
    pub fn born(&mut self, node: usize, at: Now) {
        self.push(node, at, What::Born);
    }

    /// A switchboard is told something.
    pub fn heard(&mut self, node: usize, at: Now, input: &Input) {
        let what = match input {
            Input::Request { id, request } => What::Asked { id: *id, request: request.clone() },
            Input::Fetched { id, result } => What::Fetched { id: *id, result: result.clone() },
            Input::Stored { id, result } => What::Stored { id: *id, result: result.clone() },
            Input::Stream { report: StreamReport::Spoken { .. }, .. } | Input::Prompt(_) | Input::Disk { .. } => return,
            Input::Stream { id, report } => What::Reported { id: *id, report: report.clone() },
            Input::Drain => What::Drain,
        };
        self.push(node, at, what);
    }

    /// A switchboard says something.
    pub fn said(&mut self, node: usize, at: Now, output: &Output) {
        let what = match output {
            Output::Reply { id, response } => What::Replied { id: *id, response: response.clone() },
            Output::Upgrade { id, stream, .. } => What::Upgraded { id: *id, stream: *stream },
            Output::Command { id, command } => What::Commanded { id: *id, command: *command },
            Output::Fetch { id, request } => What::Fetching { id: *id, request: request.clone() },
            Output::Log(line) => What::Logged(line.clone()),
            Output::Store { id, command: StoreCommand::Facts(facts), .. } => {
                What::Storing { id: *id, facts: of_calls(facts) }
            }
            Output::Store { id, command: StoreCommand::Claim(claim), .. } => {
                What::Claiming { id: *id, claim: claim.clone() }
            }
            Output::Store { command: StoreCommand::Release { call, .. }, .. } => What::Releasing { call: *call },
            Output::Store { id, command: StoreCommand::FindCall { call }, .. } => {
                What::Seeking { id: *id, call: *call }
            }
            Output::Store { id, command: StoreCommand::TakeOverdue, .. } => What::TakingOverdue { id: *id },
            Output::Store { .. } | Output::Disk { .. } => return,
        };
        self.push(node, at, what);
    }

    fn push(&mut self, node: usize, at: Now, what: What) {
        self.moments.push(Moment { node, at, what });
    }
}

fn of_calls(facts: &[Fact]) -> Vec<CallFact> {
    let calls = facts.iter().filter_map(|fact| match fact {
        Fact::Call(fact) => Some((**fact).clone()),
        Fact::Event(_) | Fact::Recording(_) | Fact::Segment(_) => None,
    });
    calls.collect()
}
