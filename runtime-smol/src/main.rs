//! The command line of callwarden.

use callwarden::demo::{self, DemoError};
use callwarden::log;
use callwarden::prompts;
use callwarden::serve::{Running, listen, serve};
use callwarden::signals::Signals;
use callwarden_core::arguments::{Command, CommandLine, Exit, settings_in_force};
use callwarden_core::config::Config;
use callwarden_core::lifecycle::{self, StartError};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// The command that only this server has.
#[derive(Clone, Copy, Debug)]
struct Demo;

const COMMAND_LINE: CommandLine<Demo> = CommandLine {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    own: &[("demo", "Play five simulated calls against a real server, and say what became of them", Demo)],
};

fn main() -> ExitCode {
    match COMMAND_LINE.parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve) => run_server(),
        Ok(Command::Config) => print_config(),
        Ok(Command::Prompts) => list_prompts(),
        Ok(Command::Own(Demo)) => play_demo(),
        Ok(Command::Version) => print(&COMMAND_LINE.version()),
        Ok(Command::Help) => print(&COMMAND_LINE.help()),
        Err(problem) => fail(Exit::WrongUsage, &problem),
    }
}

/// Every setting in force, its meaning above it.
fn print_config() -> ExitCode {
    match read_config() {
        Ok(config) => print(&settings_in_force(&config)),
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
            if list.problems.is_empty() { printed } else { fail(Exit::Failed, &list.problems.join("\n")) }
        }
        Err(error) => fail(error.exit(), &error),
    }
}

fn play_demo() -> ExitCode {
    let mut out = std::io::stdout();
    let terminal = out.is_terminal();
    match demo::run(&mut out, terminal, &environment()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(Exit::Failed.code()),
        Err(error @ DemoError::Config(_)) => fail(Exit::WrongUsage, &error),
        Err(error) => fail(Exit::Failed, &error),
    }
}

fn run_server() -> ExitCode {
    let config = match read_config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let _writer = match log::init(config.log_format, &config.log_filter) {
        Ok(writer) => writer,
        Err(error) => return fail(Exit::WrongUsage, &error),
    };
    log::print_panics();
    match start(&config) {
        Ok((running, signals)) => smol::block_on(attend(running, signals)),
        Err(error) => fail(error.exit(), &error),
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
            log::print(&lifecycle::stopping(signal));
            running.drain().await
        }
        Err(finish) => Some(finish),
    };
    match lifecycle::stopped(finish) {
        Ok(line) => {
            log::print(&line);
            ExitCode::SUCCESS
        }
        Err(panic) => fail(Exit::InternalError, &panic),
    }
}

/// Reads the environment, once. Each problem is a line of its own.
fn read_config() -> Result<Config, ExitCode> {
    Config::from_pairs(environment()).map_err(|problems| fail(Exit::WrongUsage, &problems))
}

fn environment() -> Vec<(String, String)> {
    let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Says what is wrong on standard error, one line each. Where that is closed, the exit code has to do.
fn fail(exit: Exit, problem: &dyn Display) -> ExitCode {
    for line in problem.to_string().lines() {
        writeln!(std::io::stderr(), "callwarden: {line}").ok();
    }
    ExitCode::from(exit.code())
}

/// Prints to standard output; a reader that closes it early has read enough.
fn print(text: &str) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}
