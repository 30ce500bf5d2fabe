//! All calls of a process. (interface first; body follows)

use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::http::{Request, Response};
use crate::key::Key;
use crate::log::LogLine;
use crate::store::{StoreAnswer, StoreCommand, StoreError};
use crate::stream::{MediaStream, StreamCommand, StreamReport};
use crate::time::{Instant, Now};
use core::time::Duration;

/// Marker of [`RequestId`].
#[derive(Debug)]
pub struct RequestKind;
/// Marker of [`FetchId`].
#[derive(Debug)]
pub struct FetchKind;
/// Marker of [`StoreId`].
#[derive(Debug)]
pub struct StoreKind;
/// Marker of [`StreamId`].
#[derive(Debug)]
pub struct StreamKind;

/// A request that waits for its answer.
pub type RequestId = Key<RequestKind>;
/// An HTTP request of ours under way.
pub type FetchId = Key<FetchKind>;
/// A database command under way.
pub type StoreId = Key<StoreKind>;
/// An open WebSocket.
pub type StreamId = Key<StreamKind>;

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// A request arrived, whole. Its id comes from [`Switchboard::admit`].
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

/// Too much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// The machine of a process.
#[derive(Debug)]
pub struct Switchboard {}

impl Switchboard {
    /// An id for a request that is about to be handled.
    ///
    /// # Errors
    /// [`Overloaded`] when [`crate::limits::REQUESTS_MAX`] requests wait; answer 503.
    pub fn admit(&mut self) -> Result<RequestId, Overloaded> {
        Err(Overloaded)
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let _ = (now, input, out);
    }

    /// Works off what is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        let _ = (now, out);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Whether a drain has nothing left to do: the process may exit.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        true
    }
}
