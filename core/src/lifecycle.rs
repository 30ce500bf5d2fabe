//! What a server process says when it starts, why it cannot, and how it ends. Both servers say it in these words.

use crate::arguments::Exit;
use crate::config::Config;
use crate::google::CredentialsProblem;
use crate::log::{Event, Level, LogLine};
use crate::prompts::PromptProblem;
use crate::store::StoreError;
use core::fmt;
use core::net::SocketAddr;
use std::io;
use std::path::PathBuf;

/// Why a server cannot start. Each is one line: what, why, and what to do.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// `DATA_DIR` cannot be written.
    DataDir(PathBuf, io::Error),
    /// The prompts cannot be played.
    Prompts(PromptsError),
    /// `GOOGLE_APPLICATION_CREDENTIALS` cannot be used.
    Credentials(CredentialsProblem),
    /// `DATABASE_URL` cannot be read. A database that is merely away is no reason not to start.
    Database(StoreError),
    /// The system refused something every process is given.
    System(io::Error),
}

impl StartError {
    /// How the process ends that cannot start.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Database(_) | Self::Prompts(_) | Self::Credentials(_) => Exit::WrongUsage,
            Self::Listen(..) | Self::DataDir(..) | Self::System(_) => Exit::Failed,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: another process does; stop it, or set PORT to a free port")
            }
            Self::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}; set BIND and PORT to an address of this machine")
            }
            Self::DataDir(path, error) => {
                write!(f, "cannot write in {}: {error}; set DATA_DIR to a directory of this user", path.display())
            }
            Self::Prompts(error) => error.fmt(f),
            Self::Credentials(problem) => problem.fmt(f),
            Self::Database(error) => write!(f, "DATABASE_URL cannot be used: {error}"),
            Self::System(error) => write!(f, "the system refused to start the server: {error}; see its limits"),
        }
    }
}

impl core::error::Error for StartError {}

/// Why the prompts cannot be had. One line each.
#[derive(Debug)]
pub enum PromptsError {
    /// `PROMPTS_DIR` or a file in it cannot be read.
    Unreadable(PathBuf, io::Error),
    /// Files that Twilio could not play.
    Unusable(Vec<PromptProblem>),
}

impl fmt::Display for PromptsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(
                    f,
                    "PROMPTS_DIR: cannot read {}: {error}; name a directory of prompts, or unset it",
                    path.display()
                )
            }
            Self::Unusable(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl core::error::Error for PromptsError {}

/// The lines of a server that serves at `address`: that it does, and each setting that is not for a deployment.
pub fn started(config: &Config, address: SocketAddr) -> impl Iterator<Item = LogLine> {
    let mode = if config.twilio.is_some() { "twilio" } else { "development" };
    let detail = format!("http://{address} store={} mode={mode}", config.database.name());
    let warnings = config.warnings().into_iter();
    core::iter::once(LogLine::new(Level::Info, Event::AppStart).detail(detail))
        .chain(warnings.map(|warning| LogLine::new(Level::Warn, Event::AppStart).detail(warning)))
}

/// Why the switchboard's part is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was asked to stop, and every call is looked after.
    Drained,
    /// It panicked, saying this. Nobody watches the calls any more: the process must end.
    Panicked(String),
}

/// The line of a process that was asked to stop by `signal`.
#[must_use]
pub fn stopping(signal: &str) -> LogLine {
    LogLine::new(Level::Info, Event::AppStop).reason(signal)
}

/// The last line of a process; `None` is a drain that took all its time.
///
/// # Errors
/// What to say of a panic, in one line of standard error.
pub fn stopped(finish: Option<Finish>) -> Result<LogLine, String> {
    let line = |level, detail| LogLine::new(level, Event::AppStop).detail(detail);
    match finish {
        Some(Finish::Panicked(cause)) => Err(format!(
            "internal error: the switchboard panicked: {cause}; nobody watches the calls any more, so the process ends \
             and must be started again"
        )),
        Some(Finish::Drained) => Ok(line(Level::Info, "drained")),
        None => Ok(line(
            Level::Warn,
            "DRAIN_SECONDS are over: open streams are cut, and rows that the database has not taken are lost",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::NotAPrompt;

    #[test]
    fn a_server_that_cannot_start_says_why_and_what_to_do() {
        let address = SocketAddr::from(([0, 0, 0, 0], 8080));
        let file = |file| PromptProblem { file, wrong: NotAPrompt::TooLong };
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (error, words) in [
            (
                StartError::Listen(address, io::ErrorKind::AddrInUse.into()),
                &["cannot listen on 0.0.0.0:8080", "another process does", "set PORT to a free port"][..],
            ),
            (
                StartError::Listen(address, denied()),
                &["cannot listen on 0.0.0.0:8080", "permission denied", "set BIND and PORT"],
            ),
            (
                StartError::DataDir("/data".into(), denied()),
                &["cannot write in /data", "permission denied", "set DATA_DIR"],
            ),
            (
                StartError::Prompts(PromptsError::Unreadable("/prompts".into(), denied())),
                &["PROMPTS_DIR: cannot read /prompts", "permission denied", "name a directory of prompts, or unset it"],
            ),
            (
                StartError::Prompts(PromptsError::Unusable(vec![file("greeting_he.mp3"), file("goodbye_he.wav")])),
                &["PROMPTS_DIR: greeting_he.mp3 is ", "\nPROMPTS_DIR: goodbye_he.wav is "],
            ),
            (
                StartError::Credentials(CredentialsProblem::CutShort),
                &["GOOGLE_APPLICATION_CREDENTIALS: its JSON ends in the middle"],
            ),
            (
                StartError::Database(StoreError::Unavailable("no such host".to_owned())),
                &["DATABASE_URL cannot be used", "the database is unavailable: no such host"],
            ),
            (
                StartError::System(denied()),
                &["the system refused to start the server", "permission denied", "see its limits"],
            ),
        ] {
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text:?}");
        }
    }

    #[test]
    fn a_server_that_serves_says_where_and_in_which_mode_and_then_what_is_not_for_a_deployment() {
        let config = Config::from_pairs([]).expect("the defaults are valid");
        let lines: Vec<LogLine> = started(&config, SocketAddr::from(([127, 0, 0, 1], 8080))).collect();
        let said = |line: &LogLine| (line.level, line.event, line.detail.as_deref().map(str::to_owned));
        let serves = "http://127.0.0.1:8080 store=embedded mode=development".to_owned();
        assert_eq!(said(&lines[0]), (Level::Info, Event::AppStart, Some(serves)));
        let warnings = config.warnings().into_iter().map(|warning| (Level::Warn, Event::AppStart, Some(warning)));
        assert_eq!(lines[1..].iter().map(said).collect::<Vec<_>>(), warnings.collect::<Vec<_>>());
    }
}
