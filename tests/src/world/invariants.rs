//! What no process may do, checked at every step where it could: each check is named after the invariant or rule it
//! holds, and panics with that name. What a call went through as a whole is judged at its end, by `simulation`.

use super::network::{Hook, HookFault};
use super::node::Process;
use super::{RestFault, World};
use callwarden_core::far_end::{Heard, rest_call};
use callwarden_core::fetch::{FetchError, FetchRequest, FetchResponse};
use callwarden_core::http::{Method, Response};
use callwarden_core::id::{FetchId, StreamId};
use callwarden_core::limits;
use callwarden_core::sid::{CallSid, RecordingSid};
use callwarden_core::store::{CallStatus, RecordingState};
use callwarden_core::time::Instant;
use std::time::Duration;

/// Frames in a row after which a stream flows.
const FLOWING: u32 = 3;
/// A stream whose last frame is older than this may be stopping.
const FLOWING_TIME: Duration = Duration::from_millis(400);
/// A recording that began less than this ago may have been none when Twilio was asked, and the claim since.
const ASKING_TIME: Duration = Duration::from_millis(1_500);
/// A process knows that the database is well again after this: the wait before it tries, and a try that hangs.
const WELL_AGAIN: Duration = Duration::from_secs(limits::STORE_RETRY_MAX.as_secs() + limits::STORE_TIME.as_secs() + 1);

/// What befell one call, beside its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A webhook was lost, late or repeated.
    Hook(Hook, HookFault),
    /// A REST request about it failed.
    Rest(RestFault),
    /// The process that had its socket, or was to answer it, was killed.
    Killed,
    /// The task of its socket hung.
    Frozen,
    /// The task of its socket ended.
    Broken,
    /// Nothing we said on its socket was read.
    Unread,
    /// Somebody who is not Twilio presented one of its tokens.
    Hostile,
}

/// When something befell a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Troubled {
    /// When.
    pub at: Instant,
    /// What.
    pub what: Trouble,
}

/// What a webhook tells, and whether its answer gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) hook: Option<Hook>,
    pub(super) over: bool,
    pub(super) recording_completed: bool,
    pub(super) unanswered: bool,
}

/// What must be in the store because a webhook that told it was acknowledged (I13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Row,
    Over,
    Recording(Option<RecordingState>),
}

/// What was seen of every call.
#[derive(Debug, Default)]
pub struct Witness {
    calls: Vec<Seen>,
    updates: Vec<Update>,
}

/// An update under way.
#[derive(Clone, Copy, Debug)]
struct Update {
    process: Process,
    id: FetchId,
    call: usize,
    at: Instant,
}

#[derive(Debug, Default)]
struct Seen {
    troubles: Vec<Troubled>,
    /// Processes that were told that it is over, and when.
    over: Vec<(Process, Instant)>,
    /// Processes that were told of a recording.
    recording: Vec<Process>,
    /// Those that gave its recording document to whoever asked, and when.
    given: Vec<(Process, Instant)>,
    /// Processes whose update was accepted.
    moved: Vec<Process>,
    /// The stream that carries frames, the last one, and how many came in a row.
    frames: Option<(Process, StreamId, Instant, u32)>,
    owed: Vec<(Process, Instant, Owed)>,
}

impl Witness {
    pub(super) fn add_call(&mut self) {
        self.calls.push(Seen::default());
    }

    /// What befell a call.
    #[must_use]
    pub fn troubles(&self, call: usize) -> &[Troubled] {
        &self.calls[call].troubles
    }

    /// Whether a process acknowledged the webhook that says how the call ended.
    #[must_use]
    pub fn was_told_the_end(&self, call: usize) -> bool {
        self.calls[call].owed.iter().any(|(.., owed)| *owed == Owed::Over)
    }

    /// Something befell a call.
    pub fn trouble(&mut self, call: usize, at: Instant, what: Trouble) {
        self.calls[call].troubles.push(Troubled { at, what });
    }
}

impl World {
    /// A message arrives on a stream: does it carry frames?
    pub(super) fn frame_arrives(&mut self, process: Process, id: StreamId, text: &str) {
        if !text.starts_with(r#"{"event":"media","#) {
            return;
        }
        let now = self.now.mono;
        let Some(super::node::Peer::Call(call, _)) = self.socket_mut(process, id).map(|socket| socket.peer) else {
            return;
        };
        let seen = &mut self.witness.calls[call];
        let before =
            seen.frames.filter(|(of, stream, at, _)| (*of, *stream) == (process, id) && now.since(*at) < FLOWING_TIME);
        seen.frames = Some((process, id, now, before.map_or(1, |(.., count)| count + 1)));
    }

    /// A process asks Twilio for something. An update must not come after what makes it wrong.
    pub(super) fn rest_sent(&mut self, process: Process, id: FetchId, request: &FetchRequest, fault: RestFault) {
        let Some(call) = rest_call(&request.url).and_then(|(_, sid)| self.call_of(sid)) else { return };
        let now = self.now.mono;
        if fault != RestFault::None {
            self.witness.trouble(call, now, Trouble::Rest(fault));
        }
        if request.method != Method::Post {
            return;
        }
        let seen = &self.witness.calls[call];
        // A call that ended leaves memory (W10).
        let knows = |(of, at): &(Process, Instant)| *of == process && now.since(*at) < limits::ENDED_KEPT;
        assert!(!seen.over.iter().any(knows), "W6: call {call} is updated by a process that knows that it is over");
        assert!(!seen.recording.contains(&process), "W7: call {call} is updated though it is being recorded");
        let given = seen.given.iter().filter(|(of, _)| *of == process).map(|(_, at)| *at).max();
        let recorded = self.calls[call].ledger().recordings.last().filter(|last| last.to.is_none());
        assert!(
            given.is_none_or(|at| now.since(at) >= limits::RECORDING_STARTS)
                && (given.is_none() || recorded.is_none_or(|last| now.since(last.from) < ASKING_TIME)),
            "W5: call {call} is updated though it was given the recording document"
        );
        assert!(!seen.moved.contains(&process), "W5: call {call} is updated though an update was accepted");
        let twin = self.witness.updates.iter().find(|update| (update.process, update.call) == (process, call));
        assert!(
            twin.is_none_or(|update| now.since(update.at) >= limits::REST_TIME),
            "W5: two updates of call {call} at once"
        );
        let node = &self.nodes[process.place];
        let flows = seen.frames.is_some_and(|(of, id, at, count)| {
            let open = node.sockets.get(&id).is_some_and(|socket| !socket.frozen && !socket.refused);
            of == process && open && count >= FLOWING && now.since(at) < FLOWING_TIME
        });
        assert!(!flows || node.is_draining(), "W6: call {call} is updated while its frames flow");
        let far = &self.calls[call];
        let greeted = far.ledger().heard() == Some(Heard::Greeting) && !far.is_over();
        assert!(
            !greeted || node.is_draining() || !seen.troubles.is_empty(),
            "W1: call {call} is updated while its greeting plays"
        );
        self.witness.updates.push(Update { process, id, call, at: now });
    }

    /// An update was answered, or will not be.
    pub(super) fn update_answered(
        &mut self,
        process: Process,
        id: FetchId,
        result: &Result<FetchResponse, FetchError>,
    ) {
        let place = self.witness.updates.iter().position(|update| (update.process, update.id) == (process, id));
        let Some(update) = place.map(|place| self.witness.updates.swap_remove(place)) else { return };
        if result.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status)) {
            self.witness.calls[update.call].moved.push(process);
        }
    }

    /// A webhook of a call is answered: what it told is known to this process, and owed to the store.
    pub(super) fn webhook_answered(&mut self, place: usize, call: usize, told: Told, response: &Response) {
        let (process, now) = (self.process(place), self.now.mono);
        assert!(response.status < 500, "a webhook is answered with {}", response.status);
        let Some(hook) = told.hook.filter(|_| response.status < 300) else { return };
        let seen = &mut self.witness.calls[call];
        if told.over {
            seen.over.push((process, now));
        }
        let of_recording = matches!(hook, Hook::HandleRecording | Hook::RecordingStatus);
        let is_document = hook.asks_for_a_document();
        if of_recording {
            seen.recording.push(process);
        } else if is_document && memchr::memmem::find(&response.body, b"<Record").is_some() {
            seen.given.push((process, now));
        }
        let owed = match hook {
            Hook::IncomingCall => Some(Owed::Row),
            Hook::CallStatus => Some(Owed::Over),
            Hook::RecordingStatus | Hook::HandleRecording => {
                Some(Owed::Recording(told.recording_completed.then_some(RecordingState::Completed)))
            }
            Hook::StreamStatus | Hook::StreamEnded => None,
        };
        if let Some(owed) = owed {
            seen.owed.push((process, now, owed));
        }
        let opened = self.nodes[place].since + limits::STORE_TIME < now;
        if hook == Hook::IncomingCall && opened && self.database.has_been_quick_for(now, WELL_AGAIN) {
            assert!(self.is_stored(call, Owed::Row), "D1: the row of call {call} is not there when its answer leaves");
        }
    }

    fn is_stored(&self, call: usize, owed: Owed) -> bool {
        let sid = self.sid(call);
        match owed {
            Owed::Row => self.database.status(sid).is_some(),
            Owed::Over => self.database.status(sid).is_some_and(CallStatus::is_terminal),
            Owed::Recording(state) => self.database.rows.recording_state(sid).is_some_and(|known| Some(known) >= state),
        }
    }

    /// The disk of a place is lost, and what was acknowledged there and stands nowhere else.
    pub(super) fn disk_lost(&mut self, place: usize) {
        for call in 0..self.calls.len() {
            let mut owed = std::mem::take(&mut self.witness.calls[call].owed);
            owed.retain(|(of, _, what)| of.place != place || self.is_stored(call, *what));
            self.witness.calls[call].owed = owed;
        }
    }

    /// A process was killed. The calls it had a socket or an open request of are marked. What it had acknowledged must be
    /// in the database in the end, but for what may have been on its way there a moment ago, when nobody had noticed yet
    /// that the database is away: **not yet** (D3).
    pub(super) fn killed(&mut self, process: Process) {
        let now = self.now.mono;
        let unwritten = self.nodes[process.place].switchboard.gauges().unwritten_facts > 0;
        for call in 0..self.calls.len() {
            if unwritten || !self.ended.contains_key(&call) {
                self.witness.trouble(call, now, Trouble::Killed);
            }
            let mut owed = std::mem::take(&mut self.witness.calls[call].owed);
            owed.retain(|(of, since, what)| {
                let opened = self.nodes[process.place].since + limits::STORE_TIME < *since;
                let written = opened && self.database.has_been_quick_for(now, now.since(*since) + WELL_AGAIN);
                let disk = &self.nodes[process.place].disk;
                let works = disk.refused_at.is_none_or(|at| at + limits::SPOOL_RETRY * 2 < now);
                let spooled = works && *since + limits::STORE_TIME + limits::SPOOL_RETRY < now;
                *of != process || written || spooled || self.is_stored(call, *what)
            });
            self.witness.calls[call].owed = owed;
        }
    }

    /// Everything that was acknowledged is in the store (I13).
    pub fn check_acknowledged(&self) {
        for (call, seen) in self.witness.calls.iter().enumerate() {
            for (process, at, owed) in &seen.owed {
                assert!(
                    self.is_stored(call, *owed),
                    "I13: {owed:?} of call {call} is not in the store, though {process:?} acknowledged it at {at:?}"
                );
            }
        }
    }

    /// Where no speech waits, none is counted in memory or in files either: what was counted once too often would be room
    /// that nobody gets back (I5).
    pub(super) fn check_speech_is_counted(&self) {
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let gauges = node.switchboard.gauges();
            let counted = (gauges.speech_in_memory, gauges.speech_on_disk);
            assert!(gauges.speech_waiting > 0 || counted == (0, 0), "I5: {gauges:?}");
        }
    }

    /// The identifiers of a call's recordings, as its far end knows them.
    #[must_use]
    pub fn recordings_of(&self, call: usize) -> Vec<RecordingSid> {
        self.ledger(call).recordings.iter().map(|recorded| recorded.recording).collect()
    }

    /// The status of a call's row.
    #[must_use]
    pub fn status_of(&self, sid: CallSid) -> Option<CallStatus> {
        self.database.status(sid)
    }
}
