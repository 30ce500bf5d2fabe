//! The words of `call_log` and `recordings`: each a closed set, those that are merged in the order that decides.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A call's status, in the total order that decides which of two wins (D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the values of Twilio's CallStatus, and our own stream_closed")]
pub enum CallStatus {
    Queued,
    Initiated,
    Ringing,
    InProgress,
    StreamClosed,
    Canceled,
    NoAnswer,
    Busy,
    Failed,
    Completed,
}

impl CallStatus {
    /// Every status, lowest first.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Initiated,
        Self::Ringing,
        Self::InProgress,
        Self::StreamClosed,
        Self::Canceled,
        Self::NoAnswer,
        Self::Busy,
        Self::Failed,
        Self::Completed,
    ];

    /// As it stands in webhooks and in `call_log.status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::StreamClosed => "stream_closed",
            Self::Canceled => "canceled",
            Self::NoAnswer => "no-answer",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }

    /// Reads a webhook's `CallStatus`; `None` for a value Twilio does not document, and for our own `stream_closed`.
    #[must_use]
    pub fn from_twilio(text: &str) -> Option<Self> {
        Self::ALL.into_iter().filter(|status| *status != Self::StreamClosed).find(|status| status.as_str() == text)
    }

    /// Whether the call is over: one of Twilio's terminal statuses.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self > Self::StreamClosed
    }
}

/// What the first TwiML asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// `<Record>`, because streaming is off or the process drains.
    Recording,
    /// `<Connect><Stream>`.
    Stream,
}

impl Source {
    /// As it stands in `call_log.source`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Stream => "stream",
        }
    }

    /// Reads what stands there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Recording, Self::Stream].into_iter().find(|source| source.as_str() == text)
    }
}

/// Why a call was moved to recording (W1-W4, W11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FallbackReason {
    /// No `start` in time (W1).
    NoStart,
    /// `start`, then not one frame (W2).
    NoMedia,
    /// Frames stopped, and a mark was not echoed (W3).
    MediaStalled,
    /// Frames stopped for 30 s though marks are echoed, or none ever was (W3).
    MediaQuiet,
    /// Twilio reported a stream error, or ended the stream, before any frame (W4).
    StreamError,
    /// The stream went away and nothing came after it (W11).
    StreamLost,
}

impl FallbackReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::NoStart, Self::NoMedia, Self::MediaStalled, Self::MediaQuiet, Self::StreamError, Self::StreamLost];

    /// As it stands in `call_log.fallback_reason` and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoStart => "no_start",
            Self::NoMedia => "no_media",
            Self::MediaStalled => "media_stalled",
            Self::MediaQuiet => "media_quiet",
            Self::StreamError => "stream_error",
            Self::StreamLost => "stream_lost",
        }
    }
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What `call_log.transcript_status` begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TranscriptStart {
    /// The call will be transcribed.
    Pending,
    /// There is no `OPENAI_API_KEY`: nothing of the call is sent anywhere, for good.
    Disabled,
}

impl TranscriptStart {
    /// As it stands in `call_log.transcript_status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Disabled => "disabled",
        }
    }
}

/// A recording's state, in the total order that decides which of two wins (D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the values of Twilio's RecordingStatus")]
pub enum RecordingState {
    InProgress,
    Absent,
    Completed,
}

impl RecordingState {
    /// As it stands in webhooks and in `recordings.state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in-progress",
            Self::Absent => "absent",
            Self::Completed => "completed",
        }
    }

    /// Reads a webhook's `RecordingStatus`; Twilio's `failed` leaves nothing to fetch, like `absent`.
    #[must_use]
    pub fn from_twilio(text: &str) -> Option<Self> {
        match text {
            "in-progress" => Some(Self::InProgress),
            "absent" | "failed" => Some(Self::Absent),
            "completed" => Some(Self::Completed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statuses_are_in_the_documented_order() {
        let names: Vec<_> = CallStatus::ALL.iter().map(|status| status.as_str()).collect();
        assert_eq!(
            names.join(" < "),
            "queued < initiated < ringing < in-progress < stream_closed < canceled < no-answer < busy < failed < completed"
        );
        assert!(CallStatus::ALL.is_sorted());
        assert!(CallStatus::ALL.iter().filter(|status| status.is_terminal()).count() == 5);
    }

    #[test]
    fn a_transcript_begins_as_pending_or_disabled() {
        assert_eq!(
            [TranscriptStart::Pending, TranscriptStart::Disabled].map(TranscriptStart::as_str),
            ["pending", "disabled"]
        );
    }

    #[test]
    fn twilio_cannot_say_stream_closed() {
        assert_eq!(CallStatus::from_twilio("stream_closed"), None);
        assert_eq!(CallStatus::from_twilio("on-hold"), None);
        assert_eq!(CallStatus::from_twilio("no-answer"), Some(CallStatus::NoAnswer));
    }
}
