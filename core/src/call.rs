//! One call: where it stands, what watches it, and how far its fallback has come.

pub mod fallback;
pub mod phase;

use crate::id::{FetchId, RequestId, StreamId};
use crate::key::Key;
use crate::sid::{AccountSid, CallSid, RecordingSid, StreamSid};
use crate::store::Source;
use crate::stream::Start;
use crate::time::Instant;
use crate::twiml::PublicHost;
use crate::{limits, stream::Counts};
use core::time::Duration;
use fallback::Fallback;
use phase::{Cause, Phase};
use std::collections::BTreeSet;

/// Names a call inside one switchboard.
pub type CallKey = Key<Call>;

/// What one process knows of one call.
#[derive(Debug)]
pub struct Call {
    /// Twilio's name for it.
    pub(crate) sid: CallSid,
    /// The account of the signed webhook: updates go there (W7).
    pub(crate) account: Option<AccountSid>,
    /// The host the call came in on; URLs in later documents name it.
    pub(crate) host: PublicHost,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// What the first TwiML asked for; `None` while only a stream or a status told of the call.
    pub(crate) source: Option<Source>,
    /// When Twilio last said anything about it (W10).
    pub(crate) heard_of: Instant,
    /// The deadline nobody but the switchboard keeps.
    pub(crate) watch: Option<Watch>,
    /// The one fallback (W5).
    pub(crate) fallback: Option<Fallback>,
    /// When its claim was first refused since a frame was last heard, if every look-up since then found it alive.
    pub(crate) claim_refused: Option<Instant>,
    /// The open socket.
    pub(crate) link: Option<Link>,
    /// We closed the socket of the last stream: its end says nothing about an update or about the call (W7).
    pub(crate) closed_by_us: bool,
    /// A second socket that waits for the first one's answer (S8).
    pub(crate) challenger: Option<Challenger>,
    /// Streams that were accepted.
    pub(crate) streams: BTreeSet<StreamSid>,
    /// How many more started under a process that is gone, beside those.
    pub(crate) earlier_streams: u32,
    /// Which of the call's streams the newest is that this process had; 0 when it had none.
    pub(crate) own_stream: u32,
    /// How many further streams were asked for since the last one started.
    pub(crate) reconnects: u32,
    /// When the last of them was, repeats apart.
    pub(crate) reconnected: Option<Instant>,
    /// The newest stream that was accepted, until a document that follows it was given.
    pub(crate) last_stream: Option<StreamSid>,
    /// Streams Twilio said have stopped; another process may have had them.
    pub(crate) streams_told: BTreeSet<StreamSid>,
    /// Whether any frame was ever heard.
    pub(crate) heard_ever: bool,
    /// Frames of the streams that ended.
    pub(crate) frames: u64,
    /// The stream was closed because the caller had finished (W12).
    pub(crate) finished: bool,
    /// What is known of recordings.
    pub(crate) recording: Recording,
    /// When Twilio said that the last stream stopped: for a while a sign that a missing call is over (W7).
    pub(crate) stopped: Option<Instant>,
    /// The last thing that went wrong, for `how_far` (W9).
    pub(crate) trouble: Option<String>,
    /// Webhooks that wait for the row or the claim.
    pub(crate) waiting: Vec<Waiting>,
    /// Until when they wait.
    pub(crate) waiting_until: Option<Instant>,
    /// Whether what its row says is awaited, because Twilio asked what follows a stream.
    pub(crate) row_awaited: bool,
    /// A look-up under way (W11).
    pub(crate) look_up: Option<FetchId>,
    /// Where it stands in the index of deadlines.
    pub(crate) indexed: Option<Instant>,
}

/// A deadline of the call itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// When.
    pub(crate) at: Instant,
    /// What for.
    pub(crate) kind: WatchKind,
}

/// What a call's own deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// The stream has not started (W1).
    Start,
    /// Twilio reported a stream error and should ask `stream_ended` (W4).
    StreamError,
    /// Something must follow the end of a stream (W11).
    Bridge,
    /// The process stops: the call is moved to recording (section "SIGTERM").
    Drain,
}

/// The live socket of a call.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its task.
    pub(crate) id: StreamId,
    /// Its stream.
    pub(crate) stream: StreamSid,
    /// Whether frames came, and are not reported missing.
    pub(crate) heard: bool,
}

/// A second socket of a call (S8).
#[derive(Debug)]
pub struct Challenger {
    /// Its task.
    pub(crate) id: StreamId,
    /// Its `start`.
    pub(crate) start: Box<Start>,
    /// Which of the call's streams it is, from 1, as its token says.
    pub(crate) ordinal: u32,
    /// An older stream that does not answer by then is displaced.
    pub(crate) until: Instant,
}

/// What is known of a call's recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// A recording called back.
    pub(crate) seen: bool,
    /// One has ended.
    pub(crate) ended: bool,
    /// Recordings that went on after their longest time, each counted once.
    pub(crate) continued: BTreeSet<RecordingSid>,
}

/// A webhook that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub(crate) id: RequestId,
    /// What it asked.
    pub(crate) question: Question,
}

/// What a TwiML fetch asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `incoming_call`: what now?
    Incoming,
    /// `incoming_call` with `ErrorCode`: our document could not be run, what now?
    AfterError,
    /// `stream_ended`: what now?
    StreamEnded,
}

impl Call {
    /// A call that was just heard of.
    pub(crate) fn new(sid: CallSid, host: PublicHost, now: Instant) -> Self {
        Self {
            sid,
            account: None,
            host,
            phase: Phase::Announced,
            source: None,
            heard_of: now,
            watch: None,
            fallback: None,
            claim_refused: None,
            link: None,
            closed_by_us: false,
            challenger: None,
            streams: BTreeSet::new(),
            earlier_streams: 0,
            own_stream: 0,
            reconnects: 0,
            reconnected: None,
            last_stream: None,
            streams_told: BTreeSet::new(),
            heard_ever: false,
            frames: 0,
            finished: false,
            recording: Recording::default(),
            stopped: None,
            trouble: None,
            waiting: Vec::new(),
            waiting_until: None,
            row_awaited: false,
            look_up: None,
            indexed: None,
        }
    }

    /// Moves on; `false` where the table has no such way and nothing happens.
    pub(crate) fn step(&mut self, cause: Cause) -> bool {
        let next = self.phase.after(cause);
        self.phase = next.unwrap_or(self.phase);
        next.is_some()
    }

    /// Whether the live stream carries frames: then nothing falls back (W6).
    pub(crate) fn is_heard(&self) -> bool {
        self.link.is_some_and(|link| link.heard)
    }

    /// Whether a further stream was asked for a moment ago: whoever asks again now is a repeat (D5).
    pub(crate) fn has_just_reconnected(&self, now: Instant) -> bool {
        self.reconnected.is_some_and(|at| now.since(at) <= limits::REPEAT_TIME)
    }

    /// Whether it is known to be over (W6).
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether its fallback was confirmed, or a recording proves it (W5).
    pub(crate) fn is_recording(&self) -> bool {
        self.phase == Phase::Recording || self.recording.seen
    }

    /// Whether Twilio means the stream that matters now: the live one, the last one, or one that never got here.
    pub(crate) fn is_current(&self, stream: Option<StreamSid>) -> bool {
        stream.is_none_or(|stream| match self.link {
            Some(link) => link.stream == stream,
            None => self.last_stream == Some(stream) || !self.streams.contains(&stream),
        })
    }

    /// Counts a stream that was accepted; the ones before it started elsewhere if they are not known here.
    pub(crate) fn count_stream(&mut self, stream: StreamSid, ordinal: u32) {
        self.streams.insert(stream);
        self.earlier_streams += ordinal.saturating_sub(self.streams_started());
    }

    /// Streams that were accepted, here or by the process before.
    pub(crate) fn streams_started(&self) -> u32 {
        u32::try_from(self.streams.len()).unwrap_or(u32::MAX).saturating_add(self.earlier_streams)
    }

    /// Streams that started, here or elsewhere: those accepted, and those Twilio said have ended.
    pub(crate) fn streams_known(&self) -> u32 {
        let told = self.streams_told.difference(&self.streams).count();
        self.streams_started().max(u32::try_from(self.streams.len() + told).unwrap_or(u32::MAX))
    }

    /// Whether this process had the newest of so many streams, and so knows whether the caller has finished (W12): what
    /// another process says of that is about an earlier stream.
    pub(crate) fn had_the_newest(&self, streams: u32) -> bool {
        self.own_stream > 0 && self.own_stream >= streams
    }

    /// Notes that a stream is over, in Twilio's own words: it stands in no claim's way.
    pub(crate) fn told_of(&mut self, stream: Option<StreamSid>) {
        if self.streams_told.len() < limits::STREAMS_SEEN_MAX {
            self.streams_told.extend(stream);
        }
    }

    /// Whether somebody may be in silence, and it is ours to see to: not over, not recording, and not merely heard of.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Announced | Phase::Streaming | Phase::Between) && !self.is_unknown()
    }

    /// Whether this process has neither announced the call nor seen a stream of it.
    pub(crate) fn is_unknown(&self) -> bool {
        self.source.is_none() && self.streams.is_empty()
    }

    /// Whether a fallback that stands in the row cannot have come about: long after the first refusal Twilio still says
    /// that the call lives, and no recording has called back since. Where a socket of the call is still open, it need not be
    /// waited for `prompt`, which is heard before a recording begins.
    pub(crate) fn outlived_refusal(&self, now: Instant, prompt: Duration) -> bool {
        let prompt = if self.link.is_some() { Duration::ZERO } else { prompt };
        self.claim_refused.is_some_and(|since| since + limits::CLAIM_LEASE + prompt < now)
    }

    /// Whether Twilio said a moment ago that the stream stopped, which agrees with its not knowing the call (W7). After
    /// longer than that another stream may have been asked for, of another process.
    pub(crate) fn stopped_lately(&self, now: Instant) -> bool {
        self.stopped.is_some_and(|at| now.since(at) <= limits::OVER_AGREEMENT)
    }

    /// Whether a fallback was claimed.
    pub(crate) fn is_claimed(&self) -> bool {
        self.fallback.is_some()
    }

    /// Whether nothing of it is under way any more and nothing can come of it.
    pub(crate) fn is_done(&self) -> bool {
        self.is_over() && self.link.is_none() && self.waiting.is_empty()
    }

    /// How long after the last word about it its entry stays (W10).
    pub(crate) fn kept(&self) -> Duration {
        if self.is_done() { limits::ENDED_KEPT } else { limits::SILENT_ENTRY }
    }

    /// When the call wants [`crate::switchboard::Switchboard`] to look at it next.
    pub(crate) fn next_deadline(&self) -> Instant {
        let watch = self.watch.map(|watch| watch.at);
        let fallback = self.fallback.as_ref().and_then(Fallback::deadline);
        let challenger = self.challenger.as_ref().map(|challenger| challenger.until);
        let retention = self.heard_of + self.kept();
        [watch, fallback, challenger, self.waiting_until].into_iter().flatten().fold(retention, Instant::min)
    }

    /// How far the call got, in words (W9).
    pub(crate) fn how_far(&self, counts: Option<Counts>) -> String {
        let reached = match (counts, self.streams.is_empty()) {
            (Some(counts), _) => counts.how_far(),
            (None, true) => "no start seen".to_owned(),
            (None, false) if self.is_heard() => "frames heard".to_owned(),
            (None, false) if self.heard_ever => "frames heard, then the stream was lost".to_owned(),
            (None, false) => "start but no frame".to_owned(),
        };
        match &self.trouble {
            Some(trouble) => format!("{reached}; {trouble}"),
            None => reached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_had_no_stream_or_an_earlier_one_had_not_the_newest() {
        let now = Instant::from_millis(1_000);
        let mut call = Call::new(CallSid::from_number(1), "calls.example.com".parse().expect("a host"), now);
        for (own, streams, newest) in [(0, 0, false), (0, 1, false), (1, 1, true), (1, 2, false), (2, 1, true)] {
            call.own_stream = own;
            assert_eq!(call.had_the_newest(streams), newest, "stream {own} of {streams}");
        }
    }

    #[test]
    fn a_refusal_is_outlived_once_the_lease_is_over_and_the_prompt_where_it_may_still_be_heard() {
        let since = Instant::from_millis(1_000);
        let (lease, prompt) = (limits::CLAIM_LEASE, Duration::from_secs(5));
        let mut call = Call::new(CallSid::from_number(1), "calls.example.com".parse().expect("a host"), since);
        assert!(!call.outlived_refusal(since + lease * 9, prompt), "none was refused");
        call.claim_refused = Some(since);
        let moment = Duration::from_millis(1);
        assert!(!call.outlived_refusal(since + lease + prompt, prompt));
        assert!(call.outlived_refusal(since + lease + prompt + moment, prompt));
        let id = crate::key::Slab::new(1).insert(()).expect("room");
        call.link = Some(Link { id, stream: StreamSid::from_number(1), heard: false });
        assert!(!call.outlived_refusal(since + lease, prompt));
        assert!(call.outlived_refusal(since + lease + moment, prompt));
    }

    #[test]
    fn of_streams_that_twilio_says_have_stopped_no_more_than_a_call_can_have_are_kept() {
        let host = "calls.example.com".parse().expect("a host");
        let mut call = Call::new(CallSid::from_number(1), host, Instant::from_millis(0));
        for number in 0..100 {
            call.told_of(Some(StreamSid::from_number(number)));
        }
        assert_eq!(usize::try_from(call.streams_known()), Ok(limits::STREAMS_SEEN_MAX));
    }
}
