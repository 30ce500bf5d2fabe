//! Log lines as data. The core decides what is worth a line, its level, its name and its fields; a runtime only
//! prints. Names are fixed: operators search for them. Phone numbers, transcripts and secrets have no field.

use crate::sid::{CallSid, StreamSid};

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every frame and the like.
    Trace,
    /// For a person looking for a fault.
    Debug,
    /// The ordinary course of a call.
    Info,
    /// Something an operator should look at.
    Warn,
    /// Something is broken.
    Error,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The name of a log line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Event { $($(#[$doc])* $name,)* }

        impl Event {
            /// Every name, for the documentation's table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as it stands in the log.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

events! {
    /// The process serves: address, store, mode. Then once for each setting that is not for a deployment.
    AppStart = "APP_START",
    /// The process stops: signal, what is left, how it ended.
    AppStop = "APP_STOP",
    /// A request: method and path without its query.
    Req = "REQ",
    /// Its answer: path, status, milliseconds.
    Res = "RES",
    /// A request that was refused before it was routed, or a connection that could not be served.
    BadRequest = "BAD_REQUEST",
    /// A call was announced and its row is on its way.
    IncomingCall = "INCOMING_CALL",
    /// A WebSocket was accepted; carries the connection id.
    WsConnected = "WS_CONNECTED",
    /// A stream started; repeats the connection id.
    WsStart = "WS_START",
    /// A frame: INFO for a stream's first, TRACE for the rest.
    WsFrame = "WS_FRAME",
    /// A stream ended: frames, bytes, reason, and what was dropped.
    WsStop = "WS_STOP",
    /// Text that is no message; once per stream.
    WsBadJson = "WS_BAD_JSON",
    /// A stream was refused: no or wrong token, foreign call, second socket.
    WsRejected = "WS_REJECTED",
    /// A socket error or the caught panic of a call's task.
    WsHandlerError = "WS_HANDLER_ERROR",
    /// The watch moves a call to recording; carries the reason.
    WatchdogRedirect = "WATCHDOG_REDIRECT",
    /// The move is confirmed.
    WatchdogRedirectOk = "WATCHDOG_REDIRECT_OK",
    /// The move failed for good; carries the cause.
    WatchdogRedirectFail = "WATCHDOG_REDIRECT_FAIL",
    /// The move was called off: the caller is heard again.
    WatchdogCancelled = "WATCHDOG_CANCELLED",
    /// The store did not answer a claim in time; the watch acts on what this process knows.
    WatchdogBlind = "WATCHDOG_BLIND",
    /// A call was taken over from a process that is gone; this one watches it now.
    CallTakenOver = "CALL_TAKEN_OVER",
    /// A webhook's signature is wrong; carries both hosts.
    SignatureRejected = "SIGNATURE_REJECTED",
    /// A request that looks like Twilio's has no signature: a proxy may strip the header.
    SignatureMissing = "SIGNATURE_MISSING",
    /// A webhook's body is not what Twilio sends; it was answered all the same.
    BadWebhook = "BAD_WEBHOOK",
    /// Google rendered a prompt; it is played from now on.
    PromptRendered = "PROMPT_RENDERED",
    /// A prompt could not be rendered; it is tried again. Twilio speaks its text meanwhile.
    PromptFailed = "PROMPT_FAILED",
    /// A rendered prompt could not be written to `DATA_DIR`; the next start renders it again.
    PromptNotKept = "PROMPT_NOT_KEPT",
    /// Facts wait because the database does not take them.
    DbSpooled = "DB_SPOOLED",
    /// Waiting facts are in the database.
    DbReplayed = "DB_REPLAYED",
    /// The database failed or refused something.
    DbError = "DB_ERROR",
    /// An utterance's text is stored; carries the number of its characters.
    UtteranceTranscribed = "utterance_transcribed",
    /// A recording's text is stored; carries the number of its characters.
    RecordingTranscribed = "recording_transcribed",
    /// Speech could not be transcribed, for now (WARN) or for good (ERROR); carries the whole cause.
    TranscriptionFailed = "transcription_failed",
}

/// One log line. Absent fields are not printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "field names are what is printed")]
pub struct LogLine {
    pub level: Level,
    pub event: Event,
    pub call_sid: Option<CallSid>,
    pub stream_sid: Option<StreamSid>,
    /// Which connection: joins `WS_CONNECTED` to `WS_START`.
    pub connection: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub status: Option<u64>,
    pub ms: Option<u64>,
    /// Bytes of one frame.
    pub len: Option<u64>,
    pub frames: Option<u64>,
    pub bytes: Option<u64>,
    pub count: Option<u64>,
    /// Characters of a text that is not shown.
    pub chars: Option<u64>,
    pub reason: Option<String>,
    pub cause: Option<String>,
    pub detail: Option<String>,
}

impl LogLine {
    /// A line without fields.
    #[must_use]
    pub fn new(level: Level, event: Event) -> Self {
        Self {
            level,
            event,
            call_sid: None,
            stream_sid: None,
            connection: None,
            method: None,
            path: None,
            status: None,
            ms: None,
            len: None,
            frames: None,
            bytes: None,
            count: None,
            chars: None,
            reason: None,
            cause: None,
            detail: None,
        }
    }

    /// Names the call.
    #[must_use]
    pub fn call(mut self, call: CallSid) -> Self {
        self.call_sid = Some(call);
        self
    }

    /// Names the stream.
    #[must_use]
    pub fn stream(mut self, stream: StreamSid) -> Self {
        self.stream_sid = Some(stream);
        self
    }

    /// Names the connection.
    #[must_use]
    pub fn connection(mut self, connection: impl ToString) -> Self {
        self.connection = Some(connection.to_string());
        self
    }

    /// Why it happened, from a closed set.
    #[must_use]
    pub fn reason(mut self, reason: impl ToString) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// What failed, with its whole chain of causes.
    #[must_use]
    pub fn cause(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Anything else worth reading.
    #[must_use]
    pub fn detail(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// A number of things.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }
}
