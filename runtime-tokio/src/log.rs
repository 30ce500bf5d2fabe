//! Prints log lines. What is worth a line is the core's business; this module only knows how it looks.
//!
//! A line goes to standard error through a bounded queue and a thread of its own: a stuck reader of the log costs
//! lines, which are counted, and never holds up a call.

use crate::log_writer::{LineSender, LogWriter};
use callwarden_core::config::LogFormat;
use callwarden_core::log::{Level, LogLine};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing::field::display;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The target of every line of ours: `RUST_LOG=warn,callwarden=debug`.
const TARGET: &str = "callwarden";

/// Sets the process's log up. The returned writer prints what is left when it is dropped.
///
/// # Errors
/// [`FilterError`] when `filter` is no filter.
pub fn init(format: Option<LogFormat>, filter: &str) -> Result<LogWriter, FilterError> {
    let terminal = std::io::stderr().is_terminal();
    let filter = parse_filter(filter)?;
    let (writer, lines) = LogWriter::start(std::io::stderr());
    match format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => install(text(filter, terminal, lines)),
        LogFormat::Json => install(json(filter, lines)),
    }
    Ok(writer)
}

/// A second server in one process (tests, `demo`) keeps the first one's log.
fn install(subscriber: impl Subscriber + Send + Sync) {
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!(target: TARGET, "the log is already set up");
    }
}

/// Why `RUST_LOG` cannot be used: what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError(String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RUST_LOG: {}; write a level such as info or debug, or directives such as warn,{TARGET}=debug",
            self.0
        )
    }
}

impl std::error::Error for FilterError {}

/// A lone level is meant for our own lines, and libraries stay at `warn`. A lone word that is no level would silence
/// everything but a library of that name, which nobody means. Anything else is taken as it stands.
fn parse_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    let filter = match filter.trim() {
        "" => format!("warn,{TARGET}=info"),
        level if level.parse::<LevelFilter>().is_ok() => format!("warn,{TARGET}={level}"),
        word if !word.contains(['=', ',']) => return Err(FilterError(format!("{word:?} is no level"))),
        directives => directives.to_owned(),
    };
    EnvFilter::builder().parse(filter).map_err(|error| FilterError(error.to_string()))
}

fn text<W>(filter: EnvFilter, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(colours).with_writer(writer).finish()
}

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .finish()
}

/// Whether TRACE lines are printed: a line per frame is not even made otherwise.
#[must_use]
pub fn is_traced() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::TRACE)
}

macro_rules! print_at {
    ($level:expr, $line:expr) => {
        tracing::event!(
            target: TARGET,
            $level,
            call_sid = $line.call_sid.map(display),
            stream_sid = $line.stream_sid.map(display),
            connection = $line.connection.as_deref(),
            method = $line.method.as_deref(),
            path = $line.path.as_deref(),
            status = $line.status,
            ms = $line.ms,
            len = $line.len,
            frames = $line.frames,
            bytes = $line.bytes,
            count = $line.count,
            chars = $line.chars,
            reason = $line.reason.as_deref(),
            cause = $line.cause.as_deref(),
            detail = $line.detail.as_deref(),
            "{}",
            $line.event.as_str()
        )
    };
}

/// Prints a line. Absent fields leave no trace.
pub fn print(line: &LogLine) {
    match line.level {
        Level::Trace => print_at!(tracing::Level::TRACE, line),
        Level::Debug => print_at!(tracing::Level::DEBUG, line),
        Level::Info => print_at!(tracing::Level::INFO, line),
        Level::Warn => print_at!(tracing::Level::WARN, line),
        Level::Error => print_at!(tracing::Level::ERROR, line),
    }
}

/// Makes a panic one line of the log, with a backtrace where `RUST_BACKTRACE` asks for one.
pub fn print_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(backtrace));
        tracing::error!(target: TARGET, cause = %panic, backtrace, "internal error, please report it");
    }));
}

impl<'a> MakeWriter<'a> for LineSender {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callwarden_core::log::Event;
    use callwarden_core::sid::{CallSid, StreamSid};
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("UTF-8")
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Memory {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn full_line() -> LogLine {
        LogLine {
            level: Level::Info,
            event: Event::WsStop,
            call_sid: Some(CallSid::from_number(1)),
            stream_sid: Some(StreamSid::from_number(2)),
            connection: Some("7.0".to_owned()),
            method: Some("POST".to_owned()),
            path: Some("/webhook/שלום".to_owned()),
            status: Some(204),
            ms: Some(12),
            len: Some(160),
            frames: Some(3_000),
            bytes: Some(640_000),
            count: Some(5),
            chars: Some(123),
            reason: Some("no_start".to_owned()),
            cause: Some("first line\nsecond line".to_owned()),
            detail: Some("\"quoted\"".to_owned()),
        }
    }

    fn as_text(filter: &str, print_all: impl FnOnce()) -> String {
        let memory = Memory::default();
        tracing::subscriber::with_default(
            text(parse_filter(filter).expect("a filter"), false, memory.clone()),
            print_all,
        );
        memory.text()
    }

    fn as_json(print_all: impl FnOnce()) -> serde_json::Value {
        let memory = Memory::default();
        tracing::subscriber::with_default(json(parse_filter("trace").expect("a filter"), memory.clone()), print_all);
        serde_json::from_str(&memory.text()).expect("one JSON line")
    }

    #[test]
    fn every_field_is_printed_as_text_and_the_event_stands_before_the_call() {
        let printed = as_text("", || print(&full_line()));
        let (_, printed) = printed.split_once("INFO ").expect("a level");
        assert_eq!(
            printed,
            "WS_STOP call_sid=CA00000000000000000000000000000001 stream_sid=MZ00000000000000000000000000000002 \
             connection=\"7.0\" method=\"POST\" path=\"/webhook/שלום\" status=204 ms=12 len=160 frames=3000 \
             bytes=640000 count=5 chars=123 reason=\"no_start\" cause=\"first line\\nsecond line\" detail=\"\\\"quoted\\\"\"\n"
        );
    }

    #[test]
    fn every_field_is_a_member_of_the_json_line() {
        let printed = as_json(|| print(&full_line()));
        let expected = serde_json::json!({
            "timestamp": printed["timestamp"], "level": "INFO", "target": "callwarden", "message": "WS_STOP",
            "call_sid": "CA00000000000000000000000000000001", "stream_sid": "MZ00000000000000000000000000000002",
            "connection": "7.0", "method": "POST", "path": "/webhook/שלום", "status": 204, "ms": 12, "len": 160,
            "frames": 3000, "bytes": 640_000, "count": 5, "chars": 123, "reason": "no_start",
            "cause": "first line\nsecond line", "detail": "\"quoted\"",
        });
        assert_eq!(printed, expected);
    }

    #[test]
    fn absent_fields_are_not_printed_in_either_format() {
        for level in [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error] {
            let line = LogLine::new(level, Event::AppStart);
            let printed = as_text("trace", || print(&line));
            let name = format!("{level:?}").to_uppercase();
            assert!(printed.ends_with(&format!("{name} APP_START\n")), "{printed}");
            let members = as_json(|| print(&line));
            assert_eq!(members.as_object().expect("an object").len(), 4, "{members}");
            assert_eq!(members["level"], name);
        }
    }

    #[test]
    fn a_lone_level_is_for_our_lines_and_libraries_stay_at_warn() {
        let lines = || {
            tracing::debug!(target: "sqlx::query", "a statement");
            tracing::warn!(target: "rustls", "a warning");
            print(&LogLine::new(Level::Debug, Event::Req));
        };
        let debug = as_text("debug", lines);
        assert!(debug.contains("REQ") && debug.contains("a warning") && !debug.contains("a statement"), "{debug}");
        let default = as_text("", lines);
        assert!(!default.contains("REQ") && default.contains("a warning"), "{default}");
        let named = as_text("sqlx=debug", lines);
        assert!(named.contains("a statement") && !named.contains("REQ"), "{named}");
        for wrong in ["callwarden=loud", "loud", "רועש"] {
            let problem = parse_filter(wrong).expect_err("refused").to_string();
            assert!(problem.starts_with("RUST_LOG: ") && problem.lines().count() == 1, "{problem}");
        }
    }
}
