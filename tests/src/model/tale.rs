//! What one process heard and said of one call, in the words of the rules: the raw history, sorted by call.

use super::admission::{self, Sender, Visit};
use super::answers::{Document, document};
use super::deployment::Deployment;
use super::{Life, What, keys, knows};
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::Method;
use callwarden_core::id::{FetchId, RequestId, StoreId, StreamId};
use callwarden_core::log::Event as Line;
use callwarden_core::sid::CallSid;
use callwarden_core::store::{CallFact, Refusal, StoreAnswer, StoreError};
use callwarden_core::stream::{Counts, Start, StreamCommand, StreamReport, Trouble};
use callwarden_core::time::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What became of an update or a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The update was taken; the call is alive.
    Fine,
    /// A question found the call over.
    Over,
    /// It did not arrive, for sure.
    NotDelivered,
    /// It may have arrived.
    Ambiguous,
    /// There is no such call in progress.
    NoSuchCall,
    /// This token is wrong.
    Unauthorized,
    /// Any other refusal.
    Refused,
}

/// What Twilio lists of a call's recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// There are some.
    Some,
    /// There are none.
    None,
    /// It does not say.
    Unsaid,
    /// It could not be asked.
    NotReached,
}

/// One thing about a call.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each says what its name says, in the order of `What`")]
pub enum Event {
    Drains,
    Asks { ask: usize, path: String, form: Vec<(String, String)> },
    Presents { stream: StreamId, start: Box<Start>, admitted: bool },
    Hears { stream: StreamId, counts: Counts },
    Troubles { stream: StreamId, trouble: Trouble },
    FallsSilent { stream: StreamId },
    Challenged { stream: StreamId, fresh: bool },
    Stops { stream: StreamId, counts: Counts },
    Ends { stream: StreamId, counts: Counts },
    ClaimAnswered { granted: Option<Result<(), Refusal>> },
    RowSaysOver,
    Updated { outcome: Outcome },
    LookedUp { outcome: Outcome },
    Searched { outcome: Found },
    Overdue { look_ups: u32 },
    Inquired { outcome: Outcome, look_ups: u32 },
    RowStored { committed: bool },
    StoreIsDown,
    SeeksRow,
    RowRead,
    Answers { ask: usize, document: Document },
    Commands { stream: StreamId, command: StreamCommand },
    Stores,
    Claims,
    Releases,
    Updates { url: String, authorization: String, document: Document },
    LooksUp { url: String, authorization: String },
    Searches { url: String, authorization: String },
    Inquires,
    Logs { event: Line, reason: String, cause: String },
}

/// Of a longer tale only the beginning is judged: the work grows with the square of it.
const TOLD_MAX: usize = 1_000;
/// Without credentials nobody can be asked, and after so many times (an hour) that is like a call nobody knows (T8).
const LOOK_UPS_MIN: u32 = 3;

/// The log lines that tell of a decision.
const TELLING: [Line; 6] = [
    Line::WatchdogRedirect,
    Line::WatchdogRedirectOk,
    Line::WatchdogRedirectFail,
    Line::WatchdogCancelled,
    Line::WatchdogBlind,
    Line::WsRejected,
];

/// When what happened.
#[derive(Clone, Debug)]
pub struct Told {
    /// When.
    pub at: Now,
    /// What.
    pub event: Event,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3} s  {:?}", super::seconds(self.at), self.event)
    }
}

/// A call in the life of a process.
#[derive(Debug)]
pub struct Tale {
    /// Which call.
    pub call: CallSid,
    /// In order.
    pub told: Vec<Told>,
    /// When the life ends.
    pub end: Now,
    /// For each place, where the memory of the process begins (W10).
    remembers_from: Vec<usize>,
}

impl Tale {
    fn new(call: CallSid, mut told: Vec<Told>, mut end: Now) -> Self {
        if let Some(first_left_out) = told.get(TOLD_MAX) {
            end = first_left_out.at;
            told.truncate(TOLD_MAX);
        }
        let mut tale = Self { call, told: Vec::new(), end, remembers_from: Vec::new() };
        let mut begins = 0;
        for (at, from) in knows::memory(&told).into_iter().enumerate() {
            if from == at {
                begins = tale.told.len();
                // What is forgotten of a call does not make the process forget that it stops.
                let drains = told[..at].iter().find(|t| matches!(t.event, Event::Drains));
                tale.told.extend(drains.cloned());
            }
            tale.told.push(told[at].clone());
            tale.remembers_from.resize(tale.told.len(), begins);
        }
        tale
    }

    /// What the process remembers just before this place.
    #[must_use]
    pub fn before(&self, at: usize) -> &[Told] {
        let from = at.checked_sub(1).map_or(0, |last| self.remembers_from[last]);
        &self.told[from..at]
    }
}

/// The tale of every call that a process heard of.
#[must_use]
pub fn of_every_call(life: &Life, deployment: &Deployment) -> Vec<Tale> {
    let mut reader = Reader::of(life, deployment);
    for place in 0..life.moments.len() {
        reader.read(place);
    }
    reader.tales.into_iter().map(|(call, told)| Tale::new(call, told, life.end)).collect()
}

/// Knows which id belongs to which call.
struct Reader<'a> {
    life: &'a Life,
    deployment: &'a Deployment,
    tales: BTreeMap<CallSid, Vec<Told>>,
    calls_of_streams: BTreeMap<StreamId, CallSid>,
    /// Where what is not answered yet was asked.
    requests: BTreeMap<RequestId, usize>,
    fetches: BTreeMap<FetchId, usize>,
    commands: BTreeMap<StoreId, usize>,
    /// Calls that are to be looked up because they lack something (T8), and how often they were.
    overdue: BTreeMap<CallSid, u32>,
    inquiries: BTreeMap<FetchId, u32>,
    /// Questions for the recordings of a call that was given a recording document.
    searches: BTreeSet<FetchId>,
    drained: Option<Now>,
    store_is_down: bool,
    /// Where the store was last found down: what was sent before says nothing of how it is since.
    store_fell: usize,
}

impl<'a> Reader<'a> {
    fn of(life: &'a Life, deployment: &'a Deployment) -> Self {
        Self {
            life,
            deployment,
            tales: BTreeMap::new(),
            calls_of_streams: BTreeMap::new(),
            requests: BTreeMap::new(),
            fetches: BTreeMap::new(),
            commands: BTreeMap::new(),
            overdue: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            searches: BTreeSet::new(),
            drained: None,
            store_is_down: false,
            store_fell: 0,
        }
    }

    fn tell(&mut self, place: usize, call: CallSid, event: Event) {
        let at = self.life.moments[place].at;
        let drains = self.drained.map(|at| Told { at, event: Event::Drains });
        self.tales.entry(call).or_insert_with(|| drains.into_iter().collect()).push(Told { at, event });
    }

    fn read(&mut self, place: usize) {
        match &self.life.moments[place].what {
            What::Drain => self.tell_everybody(place),
            What::Asked { id, .. } => {
                self.requests.insert(*id, place);
                if let Some((call, visit)) = self.believed(place) {
                    self.tell(place, call, Event::Asks { ask: place, path: visit.path, form: visit.form });
                }
            }
            What::Replied { id, response } => {
                let Some(ask) = self.requests.remove(id) else { return };
                if let Some((call, _)) = self.believed(ask) {
                    self.tell(place, call, Event::Answers { ask, document: document(response) });
                }
            }
            What::Reported { id, report } => self.report(place, *id, report),
            What::Commanded { id, command } => {
                if let Some(call) = self.calls_of_streams.get(id) {
                    self.tell(place, *call, Event::Commands { stream: *id, command: *command });
                }
            }
            What::Fetching { id, request } => {
                self.fetches.insert(*id, place);
                self.fetching(place, *id, request);
            }
            What::Fetched { id, result } => self.fetched(place, *id, result),
            What::Storing { id, facts } => {
                self.commands.insert(*id, place);
                for call in announced(facts) {
                    self.tell(place, call, Event::Stores);
                }
            }
            What::Claiming { id, claim } => {
                self.commands.insert(*id, place);
                self.tell(place, claim.call, Event::Claims);
            }
            What::TakingOverdue { id } => {
                self.commands.insert(*id, place);
            }
            What::Releasing { call } => self.tell(place, *call, Event::Releases),
            What::Seeking { id, call } => {
                self.commands.insert(*id, place);
                self.tell(place, *call, Event::SeeksRow);
            }
            What::Stored { id, result } => self.stored(place, *id, result),
            What::Logged(line) => {
                let plain = |text: &Option<String>| text.clone().unwrap_or_default();
                // Also said of a store that merely let a webhook wait too long.
                if line.event == Line::DbError {
                    (self.store_is_down, self.store_fell) = (true, place);
                }
                if let Some(call) = line.call_sid.filter(|_| TELLING.contains(&line.event)) {
                    if line.event == Line::WatchdogCancelled && self.store_is_down {
                        self.tell(place, call, Event::StoreIsDown);
                    }
                    if line.event == Line::WatchdogBlind {
                        self.goes_on_blind(place, call);
                    }
                    let (reason, cause) = (plain(&line.reason), plain(&line.cause));
                    self.tell(place, call, Event::Logs { event: line.event, reason, cause });
                }
            }
            What::Born | What::Upgraded { .. } => {}
        }
    }

    /// The watch acts without a claim: where the store is known to be down it is not even asked for one (W5).
    fn goes_on_blind(&mut self, place: usize, call: CallSid) {
        let told = self.tales.get(&call).and_then(|told| told.last());
        if !told.is_some_and(|told| matches!(told.event, Event::ClaimAnswered { granted: None })) {
            self.tell(place, call, Event::Claims);
            self.tell(place, call, Event::ClaimAnswered { granted: None });
        }
    }

    /// The visit that was made there, if it is believed and names a call.
    fn believed(&self, place: usize) -> Option<(CallSid, Visit)> {
        let visit = admission::visit(self.life, place, self.deployment)?;
        (visit.sender == Sender::Believed).then_some(())?;
        Some((visit.call?, visit))
    }

    fn tell_everybody(&mut self, place: usize) {
        self.drained = Some(self.life.moments[place].at);
        let calls: Vec<CallSid> = self.tales.keys().copied().collect();
        for call in calls {
            self.tell(place, call, Event::Drains);
        }
    }

    fn report(&mut self, place: usize, id: StreamId, report: &StreamReport) {
        if let StreamReport::Started(start) = report {
            self.calls_of_streams.insert(id, start.call);
            let token = start.token.as_deref().unwrap_or_default();
            let now = self.life.moments[place].at.unix;
            let admitted = start.call_parameter.as_deref() == Some(start.call.as_str())
                && keys::admits(token, start.call.as_str(), now, self.deployment);
            return self.tell(place, start.call, Event::Presents { stream: id, start: start.clone(), admitted });
        }
        let Some(call) = self.calls_of_streams.get(&id).copied() else { return };
        let event = match report {
            StreamReport::Started(_) | StreamReport::Spoken { .. } => return,
            StreamReport::Heard(counts) => Event::Hears { stream: id, counts: *counts },
            StreamReport::Trouble(trouble, _) => Event::Troubles { stream: id, trouble: *trouble },
            StreamReport::CallerSilent(_) => Event::FallsSilent { stream: id },
            StreamReport::Challenged { fresh } => Event::Challenged { stream: id, fresh: *fresh },
            StreamReport::Stopped(counts) => Event::Stops { stream: id, counts: *counts },
            StreamReport::Ended { counts, .. } => Event::Ends { stream: id, counts: *counts },
        };
        self.tell(place, call, event);
    }

    fn fetching(&mut self, place: usize, id: FetchId, request: &FetchRequest) {
        if let Some(call) = call_whose_recordings(&request.url) {
            return self.searching(place, id, call, request);
        }
        let Some(call) = call_in(&request.url) else { return };
        if request.method != Method::Post
            && let Some(look_ups) = self.overdue.remove(&call)
        {
            self.inquiries.insert(id, look_ups);
            return self.tell(place, call, Event::Inquires);
        }
        let (url, authorization) = asked_as(request);
        let event = match request.method {
            Method::Post => {
                let form = keys::pairs(&request.body);
                let twiml = admission::value(&form, "Twiml");
                Event::Updates { url, authorization, document: Document::read(twiml) }
            }
            _ => Event::LooksUp { url, authorization },
        };
        self.tell(place, call, event);
    }

    /// Recordings are asked for at once after a question whether the call lives; later they are those of an overdue call.
    fn searching(&mut self, place: usize, id: FetchId, call: CallSid, request: &FetchRequest) {
        let last = self.tales.get(&call).and_then(|told| told.last());
        if last.is_some_and(|told| matches!(told.event, Event::LookedUp { .. })) {
            self.searches.insert(id);
            let (url, authorization) = asked_as(request);
            self.tell(place, call, Event::Searches { url, authorization });
        }
    }

    fn fetched(&mut self, place: usize, id: FetchId, result: &Result<FetchResponse, FetchError>) {
        let Some(asked) = self.fetches.remove(&id) else { return };
        let What::Fetching { request, .. } = &self.life.moments[asked].what else { return };
        if self.searches.remove(&id) {
            let Some(call) = call_whose_recordings(&request.url) else { return };
            return self.tell(place, call, Event::Searched { outcome: found(result) });
        }
        let Some(call) = call_in(&request.url) else { return };
        let outcome = outcome(result, request.method);
        if let Some(look_ups) = self.inquiries.remove(&id) {
            if outcome == Outcome::Unauthorized {
                self.overdue.insert(call, look_ups);
            }
            return self.tell(place, call, Event::Inquired { outcome, look_ups });
        }
        let event = match request.method {
            Method::Post => Event::Updated { outcome },
            _ => Event::LookedUp { outcome },
        };
        self.tell(place, call, event);
    }

    fn stored(&mut self, place: usize, id: StoreId, result: &Result<StoreAnswer, StoreError>) {
        let Some(asked) = self.commands.remove(&id) else { return };
        match result {
            Err(StoreError::Unavailable(_)) => (self.store_is_down, self.store_fell) = (true, place),
            Ok(_) if asked > self.store_fell => self.store_is_down = false,
            Ok(_) | Err(StoreError::Refused(_)) => {}
        }
        match (&self.life.moments[asked].what, result) {
            (What::Claiming { claim, .. }, result) => {
                let granted = match result {
                    Ok(StoreAnswer::Claimed(granted)) => Some(*granted),
                    _ => None,
                };
                self.tell(place, claim.call, Event::ClaimAnswered { granted });
                if matches!(result, Ok(StoreAnswer::Claimed(Err(Refusal::Over)))) {
                    self.tell(place, claim.call, Event::RowSaysOver);
                }
            }
            (What::Seeking { call, .. }, _) => self.tell(place, *call, Event::RowRead),
            (What::TakingOverdue { .. }, Ok(StoreAnswer::Overdue(calls))) => {
                for found in calls {
                    self.overdue.insert(found.call, found.look_ups);
                    self.tell(place, found.call, Event::Overdue { look_ups: found.look_ups });
                    if self.deployment.is_development() && found.look_ups >= LOOK_UPS_MIN {
                        let outcome = Outcome::NoSuchCall;
                        self.tell(place, found.call, Event::Inquired { outcome, look_ups: found.look_ups });
                    }
                }
            }
            (What::Storing { facts, .. }, result) => {
                for call in announced(facts) {
                    self.tell(place, call, Event::RowStored { committed: result.is_ok() });
                }
            }
            _ => {}
        }
    }
}

/// The calls whose announcement is among these facts.
fn announced(facts: &[CallFact]) -> BTreeSet<CallSid> {
    facts.iter().filter(|fact| fact.source.is_some()).map(|fact| fact.call).collect()
}

/// The call whose resource this is, and not one of its recordings.
fn call_in(url: &str) -> Option<CallSid> {
    let (_, rest) = url.rsplit_once("/Calls/")?;
    rest.strip_suffix(".json")?.parse().ok()
}

fn call_whose_recordings(url: &str) -> Option<CallSid> {
    let (_, rest) = url.rsplit_once("/Calls/")?;
    rest.split_once("/Recordings.json")?.0.parse().ok()
}

/// Where a request goes, and as whom.
fn asked_as(request: &FetchRequest) -> (String, String) {
    let authorization = request.authorization.as_ref().map(|secret| secret.expose().to_owned());
    (request.url.clone(), authorization.unwrap_or_default())
}

fn found(result: &Result<FetchResponse, FetchError>) -> Found {
    match (result, outcome(result, Method::Get)) {
        (_, Outcome::NotDelivered | Outcome::Ambiguous) => Found::NotReached,
        (Ok(response), _) if response.status < 300 => {
            let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
            body["recordings"]
                .as_array()
                .map_or(Found::NotReached, |recordings| if recordings.is_empty() { Found::None } else { Found::Some })
        }
        _ => Found::Unsaid,
    }
}

/// W7's table.
fn outcome(result: &Result<FetchResponse, FetchError>, method: Method) -> Outcome {
    let response = match result {
        Err(FetchError::Ambiguous(_)) => return Outcome::Ambiguous,
        Err(FetchError::NotSent(_) | FetchError::NotAllowed(_)) => return Outcome::NotDelivered,
        Ok(response) => response,
    };
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let over = ["completed", "busy", "failed", "no-answer", "canceled"];
    match response.status {
        200..=299 if method == Method::Post => Outcome::Fine,
        200..=299 if body["status"].as_str().is_some_and(|status| over.contains(&status)) => Outcome::Over,
        200..=299 if body["status"].is_string() => Outcome::Fine,
        404 | 410 => Outcome::NoSuchCall,
        400..=499 if body["code"] == 21_220 => Outcome::NoSuchCall,
        401 => Outcome::Unauthorized,
        409 | 429 => Outcome::NotDelivered,
        408 | 500.. => Outcome::Ambiguous,
        _ => Outcome::Refused,
    }
}
