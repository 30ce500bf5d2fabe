//! `callwarden demo`: the real server and a simulated Twilio in one process, five callers side by side, and an account
//! of what each of them experienced and of what was understood.

mod directory;
mod rows;
mod scenes;
mod table;
mod text;
mod transcriber;
mod verdict;

use crate::far_end::{FarEndService, PlacedCall, Server};
use crate::serve;
use callwarden_core::config::{Config, Problems};
use callwarden_core::far_end::{Ledger, Line};
use callwarden_core::lifecycle::StartError;
use callwarden_core::secret::Secret;
use callwarden_core::sid::{AccountSid, CallSid};
use directory::Directory;
use ring::rand::SystemRandom;
use rows::Row;
use smol::Timer;
use smol::future::or;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use transcriber::Transcriber;
use verdict::Played;

/// The demo waits no longer for calls and their transcripts; its longest call takes some 35 seconds.
const LONGEST: Duration = Duration::from_secs(48);
/// Between two looks at the calls, or at their rows.
const LOOK: Duration = Duration::from_millis(200);

/// Why the demo could not be played.
#[derive(Debug)]
pub enum DemoError {
    /// Its files cannot be written.
    Directory(PathBuf, io::Error),
    /// The system refused a socket or random bytes.
    System(io::Error),
    /// The environment names a transcription service in a way that the server does not take.
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
            Self::Config(problems) => problems.fmt(f),
            Self::Start(error) => write!(f, "the server does not start: {error}"),
            Self::Rows(path, error) => write!(f, "cannot read the rows in {}: {error}", path.display()),
            Self::Print(error) => write!(f, "cannot print: {error}"),
        }
    }
}

impl std::error::Error for DemoError {}

/// Plays the demo, within a minute, and prints its account. True when every call came out right.
///
/// `environment` may name a transcription service, as a server's does; nothing else in it counts. `terminal` says that
/// `out` is one, where a line can be written over.
///
/// # Errors
/// [`DemoError`] when it could not be played at all.
pub fn run(out: &mut dyn Write, terminal: bool, environment: &[(String, String)]) -> Result<bool, DemoError> {
    smol::block_on(play(&mut Screen { out, terminal, started: Instant::now() }, environment))
}

async fn play(screen: &mut Screen<'_>, environment: &[(String, String)]) -> Result<bool, DemoError> {
    let transcriber = Transcriber::start(environment, random()?).await?;
    let directory = Directory::create()?;
    let twilio = FarEndService::listen().await.map_err(DemoError::System)?;
    let account = AccountSid::from_number(0xCA11);
    let token = random()?;
    let config = config(&directory, &twilio, account, &token, transcriber.settings())?;
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
    screen.print(&table::opening(running.address(), &scenes, &transcriber.story(&config)))?;
    let ledgers = attend(calls, screen).await?;
    transcribed(directory.database(), scenes.len(), screen).await?;

    // What the server still has to write down is written before it is read.
    running.drain().await;
    drop(running);
    let rows = read(directory.database()).await?;
    let played: Vec<Played> = (1_u128..)
        .zip(scenes)
        .zip(ledgers)
        .map(|((number, scene), ledger)| {
            Played::new(scene, ledger, row_of(number, &rows).cloned(), transcriber.passage())
        })
        .collect();
    screen.print(&table::account(&played, directory.database()))?;
    Ok(played.iter().all(Played::is_right))
}

/// Where the demo is watched.
struct Screen<'a> {
    out: &'a mut dyn Write,
    terminal: bool,
    started: Instant,
}

impl Screen<'_> {
    fn print(&mut self, text: &str) -> Result<(), DemoError> {
        write!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(DemoError::Print)
    }

    /// Writes over the last line, where that is possible.
    fn show(&mut self, line: impl FnOnce(Duration) -> String) -> Result<(), DemoError> {
        let line = if self.terminal { format!("\r{}", line(self.started.elapsed())) } else { return Ok(()) };
        self.print(&line)
    }

    /// Begins a line of its own for [`Self::show`], or ends it.
    fn next_line(&mut self) -> Result<(), DemoError> {
        if self.terminal { self.print("\n") } else { Ok(()) }
    }

    fn is_too_late(&self) -> bool {
        self.started.elapsed() > LONGEST
    }
}

/// Waits for every call to end, showing how they stand; a call that does not end in time is hung up.
async fn attend(calls: Vec<PlacedCall>, screen: &mut Screen<'_>) -> Result<Vec<Ledger>, DemoError> {
    screen.next_line()?;
    loop {
        let ledgers: Vec<Ledger> = calls.iter().map(PlacedCall::so_far).collect();
        screen.show(|elapsed| table::progress(elapsed, &ledgers))?;
        if ledgers.iter().all(|ledger| ledger.ended.is_some()) || screen.is_too_late() {
            break;
        }
        Timer::after(LOOK).await;
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

/// Waits until nothing more comes of what was said in so many calls, showing how their transcripts stand; not for ever.
async fn transcribed(database: &Path, calls: usize, screen: &mut Screen<'_>) -> Result<(), DemoError> {
    loop {
        let rows = read(database).await?;
        let rows: Vec<Option<&Row>> = (1..).take(calls).map(|number| row_of(number, &rows)).collect();
        screen.show(|elapsed| table::transcripts(elapsed, &rows))?;
        if screen.is_too_late() || rows.iter().all(|row| row.is_some_and(|row| !row.is_pending())) {
            return screen.next_line();
        }
        Timer::after(LOOK).await;
    }
}

async fn read(database: &Path) -> Result<Vec<Row>, DemoError> {
    rows::read(database).await.map_err(|error| DemoError::Rows(database.to_owned(), error))
}

fn row_of(number: u128, rows: &[Row]) -> Option<&Row> {
    let call = CallSid::from_number(number);
    rows.iter().find(|row| row.call == call.as_str())
}

/// The settings of a deployed server, where they are not about this machine.
fn config(
    directory: &Directory,
    twilio: &FarEndService,
    account: AccountSid,
    token: &Secret,
    transcription: Vec<(String, String)>,
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
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
    Config::from_pairs(pairs.into_iter().chain(transcription)).map_err(DemoError::Config)
}

/// Nobody else on this machine shall call the demo's server, or ask its stand-in.
fn random() -> Result<Secret, DemoError> {
    let random = ring::rand::generate::<[u8; 16]>(&SystemRandom::new());
    let bytes = random.map_err(|_| DemoError::System(io::Error::other("it has no random bytes")))?.expose();
    Ok(Secret::new(bytes.map(|byte| format!("{byte:02x}")).concat()))
}
