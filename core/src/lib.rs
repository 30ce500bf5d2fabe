//! Every decision of callwarden as pure state machines: what a caller hears, when a silent call is moved to recording,
//! what is retried, what is written, who is let in.
//!
//! The crate does no I/O, has no clock, draws no random number, reads no environment, starts no task and prints
//! nothing; `clippy.toml` makes the compiler hold it to that. Two servers, a simulator in virtual time and a fuzzer
//! drive the same code, so a rule that stands in a runtime is in the wrong crate.
//!
//! # The machines
//!
//! | machine | one per | hears | says |
//! |---|---|---|---|
//! | [`stream::MediaStream`] | WebSocket | messages, commands, time | marks and closes for its socket, rare reports |
//! | [`switchboard::Switchboard`] | process | requests, reports, finished fetches and database commands, time | answers, fetches, database commands, stream commands, log lines |
//! | [`prompts::Renderer`] | process | finished fetches, signatures, time | fetches, what to sign, files to keep, reports |
//! | [`far_end::FarEnd`] | simulated call | answers, messages, time | Twilio's side of everything |
//!
//! Every method that may depend on time takes it as an argument and appends what is to be done to a `Vec` of the
//! caller's. There is no queue inside to be drained: an output belongs to the call that caused it. A media frame stays
//! inside its `MediaStream`: fifty a second from each of ten thousand calls reach no lock, no channel, no allocation
//! and no timer.
//!
//! # What a runtime must do
//!
//! 1. Read both clocks after every wait ([`time::Now`]); never pass a deadline off as the present.
//! 2. Own each `MediaStream` in one task, and the `Switchboard` in one; feed one input at a time and perform all
//!    outputs, in order, before the next wait.
//! 3. Wake at `next_timeout()`: early is harmless, late is the caller's silence. Touch the timer only when
//!    [`time::Alarm`] says so, and decide by the clock whether a deadline has come.
//! 4. **Read the socket before looking at the timer.** A frame deadline that passed leaves
//!    [`limits::LAST_LOOK`] for frames that the socket holds already (W3).
//! 5. Answer each [`switchboard::Output::Fetch`], [`switchboard::Output::Store`] and [`switchboard::Output::Disk`]
//!    exactly once, also after a panic, a cancellation or a shutdown; say what is certain about a failed fetch ([`fetch::FetchError`]).
//! 6. Deliver [`stream::StreamReport::Ended`] exactly once per [`switchboard::Output::Upgrade`], last, whatever becomes
//!    of the client, the socket or the task.
//! 7. Bound every queue. A stream may wait for the switchboard; the switchboard never waits for a stream (a full queue
//!    means a dead task: end that stream). One direction that cannot block cannot deadlock.
//! 8. Act first, log afterwards; a log line that cannot be written is lost, never waited for.
//! 9. Keep a request's answer coming when its client hangs up: what it started is not undone.
//! 10. On a signal feed [`switchboard::Input::Drain`] and serve on until `is_drained()`, for `DRAIN_SECONDS` and
//!     [`limits::DRAIN_MOVES_TIME`] at most: when the seconds are over, what is still live is moved to recording.
//!
//! # A call's phases
//!
//! They are drawn, and tested against the table, in [`call::phase`]; the way of a fallback in [`call::fallback`]. The
//! rules are named (S1, W5, D2, …) and written out in `docs/architecture.md`.
//!
//! # Example
//!
//! A socket that shows no `start` is told to close after ten seconds (S7):
//!
//! ```
//! use callwarden_core::stream::{CloseCode, MediaStream, StreamOutput, StreamSettings};
//! use callwarden_core::time::Instant;
//! use std::time::Duration;
//!
//! let settings =
//!     StreamSettings { media_timeout: Duration::from_secs(6), end_silence: None, listen: false, trace_frames: false };
//! let mut stream = MediaStream::new(Instant::from_millis(0), "socket-1", settings);
//! let mut out = Vec::new();
//! while let Some(at) = stream.next_timeout() {
//!     stream.handle_timeout(at, &mut out);
//! }
//! assert_eq!(out.last(), Some(&StreamOutput::Close(CloseCode::Policy)));
//! ```

pub mod arguments;
pub mod audio;
pub mod call;
pub mod config;
pub mod disk;
pub mod far_end;
pub mod fetch;
pub mod form;
pub mod google;
pub mod http;
pub mod id;
pub mod key;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod path;
pub mod prompts;
pub mod rest;
pub mod secret;
pub mod sid;
pub mod signature;
pub mod speech;
pub mod store;
pub mod stream;
pub mod switchboard;
pub mod time;
pub mod token;
pub mod transcription;
pub mod twiml;
pub mod wire;
