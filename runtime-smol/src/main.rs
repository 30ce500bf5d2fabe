//! The command line of callwarden.

use callwarden::arguments::{self, Command, HELP};
use callwarden::demo::{self, DemoError};
use callwarden::log;
use callwarden::prompts;
use callwarden::serve::{Running, StartError, listen, serve};
use callwarden::signals::Signals;
use callwarden::switch::Finish;
use callwarden_core::config::{Config, SETTINGS};
use callwarden_core::log::{Event, Level, LogLine};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Something outside is in the way: the port, a directory, the system.
const CANNOT_START: u8 = 1;
/// A prompt could not be rendered, or not be kept.
const NOT_RENDERED: u8 = 1;
/// A call of the demo came out wrong.
const CAME_OUT_WRONG: u8 = 1;
/// The command line or a variable is wrong.
const WRONG_USAGE: u8 = 2;
/// A bug of ours (`EX_SOFTWARE`).
const INTERNAL_ERROR: u8 = 70;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve) => run_server(),
        Ok(Command::Config) => print_config(),
        Ok(Command::Prompts) => list_prompts(),
        Ok(Command::Demo) => play_demo(),
        Ok(Command::Version) => print(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Help) => print(HELP),
        Err(problem) => fail(WRONG_USAGE, &problem),
    }
}

/// Every setting in force, its meaning above it.
fn print_config() -> ExitCode {
    match read_config() {
        Ok(config) => {
            let settings = SETTINGS.iter().zip(config.describe());
            let lines = settings.map(|(setting, (name, value))| format!("# {}\n{name}={value}\n", setting.meaning));
            print(&lines.collect::<String>())
        }
        Err(code) => code,
    }
}

/// Renders what is missing, and says what callers hear.
fn list_prompts() -> ExitCode {
    let config = match read_config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match prompts::list(&config) {
        Ok(list) => {
            let printed = print(&list.table);
            if list.problems.is_empty() { printed } else { fail(NOT_RENDERED, &list.problems.join("\n")) }
        }
        Err(error) => fail(WRONG_USAGE, &error),
    }
}

fn play_demo() -> ExitCode {
    let mut out = std::io::stdout();
    let terminal = out.is_terminal();
    match demo::run(&mut out, terminal, &environment()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(CAME_OUT_WRONG),
        Err(error @ DemoError::Config(_)) => fail(WRONG_USAGE, &error),
        Err(error) => fail(CANNOT_START, &error),
    }
}

fn run_server() -> ExitCode {
    let config = match read_config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let _writer = match log::init(config.log_format, &config.log_filter) {
        Ok(writer) => writer,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    log::print_panics();
    match start(&config) {
        Ok((running, signals)) => smol::block_on(attend(running, signals)),
        Err(error @ (StartError::Database(_) | StartError::Prompts(_) | StartError::Credentials(_))) => {
            fail(WRONG_USAGE, &error)
        }
        Err(error) => fail(CANNOT_START, &error),
    }
}

/// From here on a signal is a wish to stop well.
fn start(config: &Config) -> Result<(Running, Signals), StartError> {
    let listener = listen(config)?;
    let signals = Signals::catch().map_err(StartError::System)?;
    Ok((serve(config, listener)?, signals))
}

/// Serves until a signal, then drains.
async fn attend(mut running: Running, mut signals: Signals) -> ExitCode {
    let signal = async { Ok(signals.first().await) };
    let finish = match smol::future::or(signal, async { Err(running.finished().await) }).await {
        Ok(signal) => {
            log::print(&LogLine::new(Level::Info, Event::AppStop).reason(signal));
            running.drain().await
        }
        Err(finish) => Some(finish),
    };
    match finish {
        Some(Finish::Panicked(cause)) => {
            let advice = "nobody watches the calls any more, so the process ends and must be started again";
            fail(INTERNAL_ERROR, &format!("internal error: the switchboard panicked: {cause}; {advice}"))
        }
        Some(Finish::Drained) => stopped(Level::Info, "drained"),
        None => stopped(
            Level::Warn,
            "DRAIN_SECONDS are over: open streams are cut, and rows that the database has not taken are lost",
        ),
    }
}

fn stopped(level: Level, detail: &str) -> ExitCode {
    log::print(&LogLine::new(level, Event::AppStop).detail(detail));
    ExitCode::SUCCESS
}

/// Reads the environment, once. Each problem is a line of its own.
fn read_config() -> Result<Config, ExitCode> {
    Config::from_pairs(environment()).map_err(|problems| fail(WRONG_USAGE, &problems))
}

fn environment() -> Vec<(String, String)> {
    let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Says what is wrong on standard error, one line each. Where that is closed, the exit code has to do.
fn fail(code: u8, problem: &dyn Display) -> ExitCode {
    for line in problem.to_string().lines() {
        writeln!(std::io::stderr(), "callwarden: {line}").ok();
    }
    ExitCode::from(code)
}

/// Prints to standard output; a reader that closes it early has read enough.
fn print(text: &str) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}
