//! The simulation in the ordinary tests: scripts that once found a bug, a slice of new ones with a new seed each time, and
//! shrinking by proptest. `tests/README.md` says how to replay, and how to run a million calls.

use callwarden_tests::script::Script;
use callwarden_tests::{generate, simulation};
use proptest::prelude::*;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the slice of new scripts runs.
const SLICE: Duration = Duration::from_secs(15);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The files of a folder whose names end so, in order.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    files
}

#[test]
fn scripts_that_found_a_bug_find_none_any_more() {
    let scripts = files(&folder("scripts"), ".json");
    assert!(!scripts.is_empty());
    for file in scripts {
        let script: Script = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("a script");
        if let Err(failure) = simulation::run(&script) {
            panic!("{}: {failure}", file.display());
        }
    }
}

#[test]
fn new_scripts_break_no_invariant() {
    let given = std::env::var("SIMULATION_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    println!("SIMULATION_SEED={seed}");
    let begun = Instant::now();
    let mut calls = 0;
    for number in (seed..).take_while(|_| begun.elapsed() < SLICE) {
        match simulation::run(&generate::script_of(number)) {
            Ok(stats) => calls += stats.calls,
            Err(failure) => panic!("SIMULATION_SEED={number}\n{}", simulation::shrink::shrink(failure)),
        }
    }
    println!("{calls} calls");
    assert!(calls > 0);
}

#[test]
fn a_script_is_the_same_after_it_was_kept() {
    for seed in 0..200 {
        let script = generate::script_of(seed);
        assert_eq!(serde_json::from_value::<Script>(script.brief()).expect("a script"), script);
    }
}

#[test]
fn the_same_script_gives_the_same_log() {
    for seed in 0..20 {
        let script = generate::script_of(seed);
        assert!(simulation::tell(&script) == simulation::tell(&script), "I10: seed {seed}");
    }
}

/// The patches of `planted/run.sh`, each of which the simulation has to find.
#[test]
fn planted_bugs_still_apply() {
    let root = folder("..");
    let patches = files(&folder("planted"), ".patch");
    assert_eq!(patches.len(), 10);
    for patch in patches {
        let tried =
            Command::new("patch").args(["--dry-run", "--force", "-p1", "-i"]).arg(&patch).current_dir(&root).output();
        let Ok(tried) = tried else { return println!("there is no `patch` here: not tried") };
        let said = String::from_utf8_lossy(&tried.stdout);
        assert!(tried.status.success() && !said.contains("fuzz"), "{} does not apply: {said}", patch.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_script_that_breaks_no_invariant(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let result = simulation::run(&generate::script(&bytes));
        prop_assert!(result.is_ok(), "{}", result.expect_err("it failed"));
    }
}
