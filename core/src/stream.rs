//! One WebSocket's half of a call. (interface first; body follows)

use crate::limits;
use crate::log::LogLine;
use crate::sid::{AccountSid, CallSid, StreamSid};
use crate::time::Instant;
use core::time::Duration;

/// What the runtime does for a stream, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum StreamOutput {
    /// Tell the switchboard. May wait for room.
    Report(StreamReport),
    /// Send this text message.
    Send(String),
    /// Send a close frame with this code, then wait for the peer's, [`limits::CLOSE_TIME`] at most.
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
    /// 1008: no valid `start` (S7), or a refused one.
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
    /// The connection broke, or the task that owned it panicked.
    Lost(String),
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
    /// Answer to [`StreamCommand::Challenge`]: whether a frame came within [`limits::STREAM_FRESH`] (S8).
    Challenged {
        /// True: the newcomer is to be refused.
        fresh: bool,
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
    /// Frames stopped for [`limits::QUIET_TIME`] (W3).
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
    /// Messages dropped: before `start`, foreign stream SID, after `stop` (S4, S5).
    pub dropped: u64,
    /// Messages that could not be read, unknown events and binary frames (S6).
    pub unreadable: u64,
    /// Frames whose number did not follow the last one's (S6).
    pub out_of_order: u64,
    /// Time from `start` to the last frame.
    pub heard_until: Duration,
}

/// What the switchboard tells a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCommand {
    /// The `start` is good.
    Accept,
    /// The `start` is refused: close 1008.
    Refuse,
    /// Another socket claims the call: say whether you are heard; if not, close (S8).
    Challenge,
    /// The call has moved on (recording, finished): stop watching; the peer should close, or we do.
    Release,
    /// Close normally now.
    Close,
}

/// Settings of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// `MEDIA_TIMEOUT`.
    pub media_timeout: Duration,
    /// `END_SILENCE`.
    pub end_silence: Option<Duration>,
}

/// The machine of one WebSocket, owned by exactly one task.
#[derive(Debug)]
pub struct MediaStream {
    settings: StreamSettings,
    opened: Instant,
}

impl MediaStream {
    /// A socket that was just upgraded; `connection` is the id that `WS_CONNECTED` carries.
    #[must_use]
    pub fn new(now: Instant, connection: &str, settings: StreamSettings) -> Self {
        let _ = connection;
        Self { settings, opened: now }
    }

    /// A text message arrived.
    pub fn text(&mut self, now: Instant, text: &str, out: &mut Vec<StreamOutput>) {
        let _ = (now, text, out);
    }

    /// A binary message arrived.
    pub fn binary(&mut self, now: Instant, out: &mut Vec<StreamOutput>) {
        let _ = (now, out);
    }

    /// The switchboard says something.
    pub fn command(&mut self, now: Instant, command: StreamCommand, out: &mut Vec<StreamOutput>) {
        let _ = (now, command, out);
    }

    /// The socket is gone. Call once, last.
    pub fn ended(&mut self, now: Instant, how: Ended, out: &mut Vec<StreamOutput>) {
        let _ = (now, how, out);
    }

    /// Work off what is due. Early and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<StreamOutput>) {
        let _ = (now, out);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        Some(self.opened + limits::START_TIME + self.settings.media_timeout)
    }
}
