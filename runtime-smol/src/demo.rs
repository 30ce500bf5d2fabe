//! `callwarden demo`: the real server and a simulated Twilio in one process, five callers side by side, and an account
//! of what each of them experienced.

mod directory;
mod rows;
mod scenes;
mod table;
mod verdict;

use crate::far_end::{FarEndService, PlacedCall, Server};
use crate::serve::{self, StartError};
use callwarden_core::config::{Config, Problems};
use callwarden_core::far_end::{Ledger, Line};
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid};
use directory::Directory;
use ring::rand::SystemRandom;
use smol::Timer;
use smol::future::or;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use verdict::Played;

/// The demo gives up after this; its longest call takes some 35 seconds.
const LONGEST: Duration = Duration::from_secs(55);
/// Between two looks at the calls.
const LOOK: Duration = Duration::from_millis(200);

/// Why the demo could not be played.
#[derive(Debug)]
pub enum DemoError {
    /// Its files cannot be written.
    Directory(PathBuf, io::Error),
    /// The system refused a socket or random bytes.
    System(io::Error),
    /// The server does not take the demo's settings: a bug.
    Config(Problems),
    /// The server does not start.
    Start(StartError),
    /// The rows cannot be read.
    Rows(PathBuf, sqlx::Error),
    /// The account cannot be printed.
    Print(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path, error) => {
                write!(f, "cannot write in {}: {error}; set TMPDIR to a directory of this user", path.display())
            }
            Self::System(error) => write!(f, "the system refused what the demo needs: {error}; see its limits"),
            Self::Config(problems) => write!(f, "a bug: the server does not take the demo's settings: {problems}"),
            Self::Start(error) => write!(f, "the server does not start: {error}"),
            Self::Rows(path, error) => write!(f, "cannot read the rows in {}: {error}", path.display()),
            Self::Print(error) => write!(f, "cannot print: {error}"),
        }
    }
}

impl std::error::Error for DemoError {}

/// Plays the demo, within a minute, and prints its account. True when every call came out right.
///
/// `terminal` says that `out` is one, where a line can be written over.
///
/// # Errors
/// [`DemoError`] when it could not be played at all.
pub fn run(out: &mut dyn Write, terminal: bool) -> Result<bool, DemoError> {
    smol::block_on(play(out, terminal))
}

async fn play(out: &mut dyn Write, terminal: bool) -> Result<bool, DemoError> {
    let directory = Directory::create()?;
    let twilio = FarEndService::listen().await.map_err(DemoError::System)?;
    let account = AccountSid::from_number(0xCA11);
    let token = token()?;
    let config = config(&directory, &twilio, account, &token)?;
    let listener = serve::listen(&config).map_err(DemoError::Start)?;
    let mut running = serve::serve(&config, listener).map_err(DemoError::Start)?;

    let server = Server::from(running.address());
    let scenes = scenes::all();
    let calls: Vec<PlacedCall> = (1_u128..)
        .zip(&scenes)
        .map(|(number, scene)| {
            let line =
                Line::to_server(&server.public_base(), account, CallSid::from_number(number), Some(token.clone()));
            twilio.call(&server, line, scene.plan.clone())
        })
        .collect();
    write!(out, "{}", table::opening(running.address(), &scenes)).map_err(DemoError::Print)?;
    let ledgers = attend(calls, out, terminal).await.map_err(DemoError::Print)?;

    // What the server still has to write down is written before it is read.
    running.drain().await;
    drop(running);
    let rows = rows::read(directory.database()).await;
    let rows = rows.map_err(|error| DemoError::Rows(directory.database().to_owned(), error))?;
    let played: Vec<Played> = (1_u128..)
        .zip(scenes)
        .zip(ledgers)
        .map(|((number, scene), ledger)| {
            let call = CallSid::from_number(number);
            let row = rows.iter().find(|row| row.call == call.as_str()).cloned();
            Played::new(scene, ledger, row)
        })
        .collect();
    write!(out, "{}", table::account(&played, directory.database())).map_err(DemoError::Print)?;
    Ok(played.iter().all(Played::is_right))
}

/// Waits for every call to end, showing how they stand; a call that does not end in time is hung up.
async fn attend(calls: Vec<PlacedCall>, out: &mut dyn Write, terminal: bool) -> io::Result<Vec<Ledger>> {
    let started = Instant::now();
    if terminal {
        writeln!(out)?;
    }
    loop {
        let ledgers: Vec<Ledger> = calls.iter().map(PlacedCall::so_far).collect();
        if terminal {
            write!(out, "\r{}", table::progress(started.elapsed(), &ledgers))?;
            out.flush()?;
        }
        if ledgers.iter().all(|ledger| ledger.ended.is_some()) || started.elapsed() > LONGEST {
            break;
        }
        Timer::after(LOOK).await;
    }
    if terminal {
        writeln!(out)?;
    }
    calls.iter().for_each(PlacedCall::hang_up);
    let mut ledgers = Vec::new();
    for call in calls {
        let so_far = call.so_far();
        let ended = async { Some(call.ended().await) };
        let patience = async {
            Timer::after(Duration::from_secs(2)).await;
            None
        };
        ledgers.push(or(ended, patience).await.unwrap_or(so_far));
    }
    Ok(ledgers)
}

/// The settings of a deployed server, where they are not about this machine.
fn config(
    directory: &Directory,
    twilio: &FarEndService,
    account: AccountSid,
    token: &Secret,
) -> Result<Config, DemoError> {
    let pairs = [
        ("PORT", "0".to_owned()),
        ("BIND", "127.0.0.1".to_owned()),
        ("DATA_DIR", directory.path().display().to_string()),
        ("DATABASE_URL", format!("sqlite:{}", directory.database().display())),
        ("PROMPTS_DIR", directory.prompts().display().to_string()),
        ("TWILIO_ACCOUNT_SID", account.to_string()),
        ("TWILIO_AUTH_TOKEN", token.expose().to_owned()),
        ("TWILIO_API_BASE", twilio.api_base()),
        ("END_SILENCE", format!("{}s", scenes::END_SILENCE.as_secs())),
        ("DRAIN_SECONDS", "3".to_owned()),
    ];
    Config::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).map_err(DemoError::Config)
}

/// Nobody else on this machine shall call the demo's server.
fn token() -> Result<Secret, DemoError> {
    let random = ring::rand::generate::<[u8; 16]>(&SystemRandom::new());
    let bytes = random.map_err(|_| DemoError::System(io::Error::other("it has no random bytes")))?.expose();
    Ok(Secret::new(bytes.map(|byte| format!("{byte:02x}")).concat()))
}
