//! What a stream says to its runtime and to the switchboard, and what it is told.

use crate::log::LogLine;
use crate::sid::{AccountSid, CallSid, StreamSid};
use crate::speech::Utterance;
use core::fmt;
use core::time::Duration;

/// What the runtime does for a stream, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum StreamOutput {
    /// Tell the switchboard. May wait for room.
    Report(StreamReport),
    /// Send this text message.
    Send(String),
    /// Send a close frame with this code, then wait for the peer's, [`crate::limits::CLOSE_TIME`] at most.
    Close(CloseCode),
    /// Print a log line.
    Log(Box<LogLine>),
}

/// The close codes we send (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: done.
    Normal,
    /// 1002: a second, different `start` (S5).
    Protocol,
    /// 1007: text that is no JSON, a hundred times in a row (S6).
    BadData,
    /// 1008: no valid `start` in time (S7), or a refused one.
    Policy,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::BadData => 1007,
            Self::Policy => 1008,
        }
    }
}

/// How a socket ended, as the runtime saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A close frame came, with this code if it had one.
    Closed(Option<u16>),
    /// The connection broke, sent what is no WebSocket, or the task that owned it panicked.
    Lost(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(Some(code)) => write!(f, "closed with {code}"),
            Self::Closed(None) => f.write_str("closed without a code"),
            Self::Lost(cause) => write!(f, "lost: {cause}"),
        }
    }
}

/// What a stream tells the switchboard; none of them is per frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamReport {
    /// A `start` arrived. The switchboard answers with [`StreamCommand::Accept`] or [`StreamCommand::Refuse`].
    Started(Box<Start>),
    /// The first frame of an accepted stream, or the first after trouble was reported.
    Heard(Counts),
    /// The watch on frames expired (W2, W3).
    Trouble(Trouble, Counts),
    /// The caller has said nothing for `END_SILENCE` while frames flowed (W12).
    CallerSilent(Counts),
    /// Answer to [`StreamCommand::Challenge`]: whether a frame came within [`crate::limits::STREAM_FRESH`] (S8).
    Challenged {
        /// True: the newcomer is to be refused. False: this stream is closing.
        fresh: bool,
    },
    /// The caller said something (T1). Only of an accepted stream, and before its end.
    Spoken {
        /// Its place among the stream's utterances, from 1.
        sequence: u32,
        /// What was said.
        utterance: Box<Utterance>,
    },
    /// A `stop` message. The socket's end follows.
    Stopped(Counts),
    /// The socket is gone; nothing follows. Exactly once per stream.
    Ended {
        /// In words, for `how_far` and the log.
        how: String,
        /// All that was counted.
        counts: Counts,
    },
}

/// Which watch expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// `start`, but not one frame (W2).
    Mute,
    /// Frames stopped and a mark was not echoed (W3).
    Stalled,
    /// Frames stopped for [`crate::limits::QUIET_TIME`] (W3).
    Quiet,
}

/// A `start` message: what the switchboard needs to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The stream (S1).
    pub stream: StreamSid,
    /// `start.callSid`.
    pub call: CallSid,
    /// `start.accountSid`.
    pub account: Option<AccountSid>,
    /// The `call_sid` parameter of our TwiML.
    pub call_parameter: Option<String>,
    /// The `token` parameter of our TwiML.
    pub token: Option<String>,
}

/// What a stream has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Media frames of the stream.
    pub frames: u64,
    /// Bytes of their base64 text.
    pub bytes: u64,
    /// Messages dropped: before `start`, of a foreign stream, after `stop` (S4, S5).
    pub dropped: u64,
    /// Messages that could not be read, unknown events and binary frames (S6).
    pub unreadable: u64,
    /// Frames whose number did not follow the last one's (S6).
    pub out_of_order: u64,
    /// Time from `start` to the last frame.
    pub heard_until: Duration,
}

impl Counts {
    /// How far the stream got, in the words of `how_far` (W9).
    #[must_use]
    pub fn how_far(&self) -> String {
        match self.frames {
            0 => "start but no frame".into(),
            _ => format!("frames until second {}", self.heard_until.as_secs()),
        }
    }
}

/// What the switchboard tells a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCommand {
    /// The `start` is good.
    Accept,
    /// The `start` is refused: close 1008.
    Refuse,
    /// Another socket claims the call, or the stream was reported broken: say whether you are heard; if not, close (S8,
    /// W11).
    Challenge,
    /// The call has moved on: stop watching; if the peer does not close in time, we do.
    Release,
    /// Close normally now.
    Close,
}

/// Settings of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// `MEDIA_TIMEOUT` (W2, W3).
    pub media_timeout: Duration,
    /// `END_SILENCE` (W12); `None` never ends a call for silence.
    pub end_silence: Option<Duration>,
    /// Whether speech is cut into utterances to be transcribed (T1).
    pub listen: bool,
    /// Whether each frame makes a log line at TRACE. It allocates, so only when someone reads it.
    pub trace_frames: bool,
}
