//! Simulates calls by the million, with faults, and holds every invariant; `tests/README.md` says how to use it.
//!
//! ```text
//! simulate [--calls N] [--seed N] [--script FILE] [--save FOLDER] [--verbose] [--plain]
//! ```

use callwarden_tests::generate;
use callwarden_tests::script::Script;
use callwarden_tests::simulation::{Failure, Stats, run, shrink, tell};
use mimalloc::MiMalloc;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Faster by a sixth than the system's, for a program of one thread that does little else than make and drop texts.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "simulate [--calls N] [--seed N] [--script FILE] [--save FOLDER] [--verbose] [--plain]";

/// What the command line says.
struct Options {
    calls: u64,
    seed: Option<u64>,
    script: Option<PathBuf>,
    save: PathBuf,
    verbose: bool,
    /// A failure is printed as it is, neither made smaller nor saved.
    plain: bool,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        calls: 100_000,
        seed: None,
        script: None,
        save: PathBuf::from("tests/scripts"),
        verbose: false,
        plain: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--calls" => options.calls = value()?.parse()?,
            "--seed" => options.seed = Some(value()?.parse()?),
            "--script" => options.script = Some(value()?.into()),
            "--save" => options.save = value()?.into(),
            "--verbose" => options.verbose = true,
            "--plain" => options.plain = true,
            _ => return Err(format!("{name} is no option of: {USAGE}").into()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(|options| simulate(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::from(2)
        }
    }
}

fn simulate(options: &Options) -> Result<bool, Box<dyn Error>> {
    if let Some(file) = &options.script {
        let script: Script = serde_json::from_slice(&std::fs::read(file)?)?;
        if options.verbose {
            println!("{}", tell(&script));
        }
        return Ok(match run(&script) {
            Ok(stats) => {
                report(&stats, 0.0);
                true
            }
            Err(failure) => {
                println!("{failure}");
                false
            }
        });
    }
    let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    println!("seed {seed}");
    let (mut stats, begun) = (Stats::default(), Instant::now());
    let mut number = seed;
    while stats.calls < options.calls {
        match run(&generate::script_of(number)) {
            Ok(more) => stats.add(more),
            Err(failure) => {
                let (calls, seconds) = (stats.calls, begun.elapsed().as_secs_f64());
                println!("FAILED after {calls} calls, {seconds:.1} s: {}", failure.message);
                println!("replay: cargo run --release -p callwarden-tests --bin simulate -- --calls 1 --seed {number}");
                if !options.plain {
                    keep(shrink::shrink(failure), options)?;
                }
                return Ok(false);
            }
        }
        number = number.wrapping_add(1);
    }
    report(&stats, begun.elapsed().as_secs_f64());
    Ok(true)
}

/// Prints what is left of a failure and saves its script.
fn keep(failure: Box<Failure>, options: &Options) -> Result<(), Box<dyn Error>> {
    println!("made smaller: {failure}");
    let text = format!("{:#}", failure.script.brief());
    let digest = text.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let file = options.save.join(format!("{}_{digest:08x}.json", failure.invariant.replace([' ', '/'], "_")));
    std::fs::create_dir_all(&options.save)?;
    std::fs::write(&file, text + "\n")?;
    println!("saved: {}", file.display());
    Ok(())
}

fn report(stats: &Stats, seconds: f64) {
    let calls = stats.calls.max(1) as f64;
    println!("{} calls in {seconds:.1} s: {:.0} a second", stats.calls, stats.calls as f64 / seconds);
    println!("{:.1} inputs a call, {:.1} media messages", stats.inputs as f64 / calls, stats.media as f64 / calls);
    println!("faults:");
    for (name, count) in &stats.faults {
        println!("{count:12}  {name}");
    }
    println!("outcomes:");
    for (name, count) in &stats.outcomes {
        println!("{count:12}  {name}");
    }
}
