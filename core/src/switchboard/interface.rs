//! What goes into a switchboard and what comes out.

use crate::config::Config;
use crate::disk::{DiskAnswer, DiskCommand, DiskError};
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::http::{Request, Response};
use crate::id::{DiskId, FetchId, RequestId, StoreId, StreamId};
use crate::log::LogLine;
use crate::prompts::{Prompts, RenderReport};
use crate::store::{StoreAnswer, StoreCommand, StoreError};
use crate::stream::{MediaStream, StreamCommand, StreamReport};
use core::time::Duration;

/// What a switchboard is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// What callers are told.
    pub prompts: Prompts,
    /// This process, in rows and claims: unique among all that share a database.
    pub node: String,
    /// Random bytes: the stream-token key of development mode, where there is no auth token to derive one from.
    pub development_key: [u8; 32],
    /// `smol` or `tokio`, for `/version`.
    pub runtime: &'static str,
    /// Whether TRACE lines are printed.
    pub trace: bool,
}

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// A request arrived, whole. Its id comes from [`super::Switchboard::admit`].
    Request {
        /// The id.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// A fetch is over; exactly once per [`Output::Fetch`].
    Fetched {
        /// The id.
        id: FetchId,
        /// What came of it.
        result: Result<FetchResponse, FetchError>,
    },
    /// A database command is over; exactly once per [`Output::Store`].
    Stored {
        /// The id.
        id: StoreId,
        /// What came of it.
        result: Result<StoreAnswer, StoreError>,
    },
    /// A stream reports. `StreamReport::Ended` comes exactly once per [`Output::Upgrade`], whatever becomes of the
    /// socket or its task, and last.
    Stream {
        /// The id.
        id: StreamId,
        /// The report.
        report: StreamReport,
    },
    /// A prompt was rendered, or could not be.
    Prompt(RenderReport),
    /// A file command is over; exactly once per [`Output::Disk`].
    Disk {
        /// The id.
        id: DiskId,
        /// What came of it.
        result: Result<DiskAnswer, DiskError>,
    },
    /// The process was asked to stop.
    Drain,
}

/// What the runtime does.
#[derive(Debug)]
#[must_use]
pub enum Output {
    /// Answer a request. Exactly one of this and [`Output::Upgrade`] comes per request.
    Reply {
        /// Which.
        id: RequestId,
        /// The answer.
        response: Response,
    },
    /// Answer a request with 101 and run this machine on its socket.
    Upgrade {
        /// Which request.
        id: RequestId,
        /// The stream's id from now on.
        stream: StreamId,
        /// Its machine.
        machine: Box<MediaStream>,
    },
    /// Perform an HTTP request.
    Fetch {
        /// For the answer.
        id: FetchId,
        /// What to ask.
        request: FetchRequest,
    },
    /// Perform a database command; an answer later than `timeout` comes too late.
    Store {
        /// For the answer.
        id: StoreId,
        /// What to do.
        command: StoreCommand,
        /// How long it may take, waiting for a connection included.
        timeout: Duration,
    },
    /// Do something with the files of this process.
    Disk {
        /// For the answer.
        id: DiskId,
        /// What to do.
        command: DiskCommand,
    },
    /// Hand a command to a stream's task, without waiting.
    Command {
        /// Which stream.
        id: StreamId,
        /// The command.
        command: StreamCommand,
    },
    /// Print a log line.
    Log(Box<LogLine>),
}

/// How much of everything a switchboard holds: for `/metrics`, and for tests that look for leaks (I5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Gauges {
    pub calls: usize,
    pub live_calls: usize,
    pub streams: usize,
    pub requests: usize,
    pub fetches: usize,
    pub unwritten_facts: usize,
    pub fallbacks_under_way: usize,
    pub speech_waiting: usize,
    pub speech_in_memory: usize,
    pub speech_on_disk: u64,
    pub recordings: usize,
    pub spool_files: usize,
    /// File commands under way.
    pub file_commands: usize,
}
