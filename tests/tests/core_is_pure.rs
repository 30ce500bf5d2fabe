//! The core does no input or output. Its clippy configuration bans the calls; this holds its dependencies, and its
//! text without clippy.

use std::fs;
use std::path::{Path, PathBuf};

/// What the core may depend on: encodings, digests, comparison, and a detector of speech that computes and nothing else.
const DEPENDENCIES: [&str; 10] =
    ["base64", "bytes", "earshot", "hmac", "quick-xml", "serde", "serde_json", "sha1", "sha2", "subtle"];

/// What no line of the core says, tests included. `std::{` would hide the rest.
const BANNED: [&str; 21] = [
    "std::env",
    "std::fs",
    "std::io::std",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::mpsc",
    "std::thread",
    "std::time::",
    "std::{",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "async ",
    "thread_local!",
    "unsafe ",
    "dbg!",
    "print!(",
    "println!(",
];

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry of the repository").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_core_depends_on_nothing_that_does_input_or_output() {
    let manifest = fs::read_to_string(core().join("Cargo.toml")).expect("the core's manifest");
    let mut section = "";
    let mut dependencies = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
            assert!(
                !line.contains("dependencies.") && !line.contains("target."),
                "{line}: list it under [dependencies]"
            );
        } else if section == "[dependencies]"
            && let Some((name, _)) = line.split_once(['.', ' ', '='])
        {
            dependencies.push(name);
        }
    }
    assert_eq!(dependencies, DEPENDENCIES);
}

#[test]
fn no_line_of_the_core_names_a_clock_a_file_a_socket_a_thread_or_an_output() {
    let mut files = Vec::new();
    rust_files(&core().join("src"), &mut files);
    assert!(files.len() > 30, "{} files", files.len());
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a file of the core");
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//")) {
            if let Some(banned) = BANNED.iter().find(|banned| line.contains(**banned)) {
                found.push(format!("{}:{number}: {banned}", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
