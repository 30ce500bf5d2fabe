//! What a simulated caller and the network between us do. Nothing in a plan is left to chance: the same plan and the
//! same answers give the same call.

use crate::secret::Secret;
use crate::sid::{AccountSid, CallSid};
use bytes::Bytes;
use core::time::Duration;

/// Who calls whom, and what Twilio has been told to ask for the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The account the number belongs to.
    pub account: AccountSid,
    /// The call.
    pub call: CallSid,
    /// The caller's number as Twilio shows it.
    pub from: String,
    /// The number called.
    pub to: String,
    /// The caller's name, when Twilio looks it up.
    pub caller_name: Option<String>,
    /// What is asked when a call comes in.
    pub voice_url: String,
    /// Whether it is asked with GET.
    pub voice_by_get: bool,
    /// What is asked when `voice_url` or what it answers fails.
    pub fallback_url: Option<String>,
    /// What is told that the call ended.
    pub status_callback: Option<String>,
    /// Signs every request, when given.
    pub auth_token: Option<Secret>,
}

impl Line {
    /// A call of a business in Tel Aviv by a caller with a Hebrew name, to a server at `base` (`https://host`).
    #[must_use]
    pub fn to_server(base: &str, account: AccountSid, call: CallSid, auth_token: Option<Secret>) -> Self {
        Self {
            account,
            call,
            from: "+972501234567".to_owned(),
            to: "+97233760000".to_owned(),
            caller_name: Some("ישראל ישראלי".to_owned()),
            voice_url: format!("{base}/webhook/incoming_call"),
            voice_by_get: false,
            fallback_url: None,
            status_callback: Some(format!("{base}/webhook/call_status")),
            auth_token,
        }
    }
}

/// What goes wrong with one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamFault {
    /// Nothing.
    #[default]
    None,
    /// Twilio never connects, and the call waits in `<Connect>`.
    NeverStarts,
    /// The upgrade is answered with this status on its way, and never reaches the server.
    HandshakeFails(u16),
    /// `connected` is sent, `start` is not.
    ConnectsButNoStart,
    /// `start` is sent; not one frame follows, or the first follows so much later.
    Mute(Option<Duration>),
    /// Frames stop so long after the first one and marks come back no longer, for ever or for the second time.
    StallAfter(Duration, Option<Duration>),
    /// Frames stop so long after the first one; marks still come back. For ever or for the second time.
    QuietAfter(Duration, Option<Duration>),
    /// The socket breaks so long after the first frame, without `stop`.
    DropAfter(Duration),
    /// Twilio ends the stream with `stop` so long after the first frame, while the call goes on.
    StopAfter(Duration),
}

/// What Twilio does with `<Connect>` when its stream failed. The documentation does not say; a server has to live
/// with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterFailure {
    /// It requests the `action`.
    #[default]
    Action,
    /// It goes on to the next verb.
    NextVerb,
    /// The call stays where it is, in silence.
    Nothing,
}

/// When the caller hangs up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HangUp {
    /// Not before the call ends by itself.
    #[default]
    Never,
    /// While it rings, so long after the first webhook was sent.
    Ringing(Duration),
    /// So long after the answer.
    Answered(Duration),
    /// So long after the first frame of the first stream.
    Streaming(Duration),
    /// So long after the first beep.
    Recording(Duration),
}

/// What becomes of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordingFate {
    /// It is kept: `completed`; `absent` when nothing of it is left after trimming.
    #[default]
    Kept,
    /// It is not kept: `absent`.
    Absent,
    /// Nobody is told anything about it.
    Unreported,
}

/// What a caller and the network do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long the caller speaks once a stream listens; silent afterwards.
    pub speaks: Duration,
    /// How long the caller speaks after each beep.
    pub message: Duration,
    /// When the caller hangs up.
    pub hangs_up: HangUp,
    /// What goes wrong with the first, the second, … stream; nothing with those after the last.
    pub faults: Vec<StreamFault>,
    /// What follows a stream that failed.
    pub after_failure: AfterFailure,
    /// How long Twilio takes to see that a stream failed.
    pub failure_notice: Duration,
    /// Between the verb `<Connect>` and the socket.
    pub connect_delay: Duration,
    /// Between the open socket and `start`.
    pub start_delay: Duration,
    /// The caller's voice, as mu-law at 8,000 samples a second; it begins anew at its end. Empty: silence.
    pub voice: Bytes,
    /// Between two frames. Twilio's is 20 ms; a longer one makes a simulated call cheaper.
    pub frame_interval: Duration,
    /// Every so manieth frame is sent twice.
    pub duplicate_every: Option<u32>,
    /// After every so manieth frame comes a message the server has to survive: no JSON, an unknown event, a frame of
    /// another stream, the same `start` again, in turns.
    pub garbage_every: Option<u32>,
    /// Whether recordings hear the caller; where not even silence arrives Twilio detects none and records on.
    pub recording_hears: bool,
    /// What becomes of recordings.
    pub recording: RecordingFate,
    /// Between the end of a recording and the callback that says it is ready.
    pub recording_delay: Duration,
    /// Whether a running stream says `stop` before a REST update closes its socket.
    pub stop_on_update: bool,
    /// Whether an ended call is unknown to REST (404) rather than not in progress (400).
    pub forgotten_when_over: bool,
    /// Whether `<Connect action>` is requested when the caller hangs up during a stream.
    pub action_after_hang_up: bool,
}

impl Default for Plan {
    /// A caller who speaks for five seconds over a network where everything works, and waits.
    fn default() -> Self {
        Self {
            speaks: Duration::from_secs(5),
            message: Duration::from_secs(4),
            hangs_up: HangUp::Never,
            faults: Vec::new(),
            after_failure: AfterFailure::Action,
            failure_notice: Duration::from_millis(200),
            connect_delay: Duration::from_millis(50),
            start_delay: Duration::ZERO,
            voice: Bytes::new(),
            frame_interval: Duration::from_millis(20),
            duplicate_every: None,
            garbage_every: None,
            recording_hears: true,
            recording: RecordingFate::Kept,
            recording_delay: Duration::from_millis(500),
            stop_on_update: true,
            forgotten_when_over: false,
            action_after_hang_up: true,
        }
    }
}

impl Plan {
    /// The same caller, with this fault on every stream a call can have.
    #[must_use]
    pub fn with_fault(fault: StreamFault) -> Self {
        Self { faults: vec![fault; 8], ..Self::default() }
    }

    /// What goes wrong with the stream of this ordinal, from 0.
    #[must_use]
    pub(super) fn fault(&self, ordinal: u32) -> StreamFault {
        usize::try_from(ordinal).ok().and_then(|at| self.faults.get(at)).copied().unwrap_or_default()
    }
}
