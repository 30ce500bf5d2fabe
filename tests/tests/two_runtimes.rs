//! The two servers stand side by side: the same files, the same things in the same order. Where one of them drifts, a
//! change was made to one and forgotten in the other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of the server on smol alone: its demo, which has a Twilio of its own, and what the other's HTTP client does by
/// itself.
const SMOL_ALONE: [&str; 5] = ["demo", "far_end", "fetch/backend.rs", "fetch/pool.rs", "fetch/response/tests.rs"];

fn sources(runtime: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(runtime).join("src")
}

/// The Rust files below a folder, by their paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a folder of the repository") {
            let path = entry.expect("an entry of the repository").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).expect("below it").to_str().expect("UTF-8");
                found.insert(name.to_owned());
            }
        }
    }
    found
}

fn is_smol_alone(name: &str) -> bool {
    let stem = name.trim_end_matches(".rs");
    SMOL_ALONE.iter().any(|alone| *alone == name || *alone == stem || name.starts_with(&format!("{alone}/")))
}

/// What a file declares for other files, in order: modules, types, traits, and functions that are not private.
fn declarations(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a file of the repository");
    let shown = text.lines().filter_map(|line| {
        let line = line.trim_start();
        let rest = ["pub(crate) ", "pub(super) ", "pub "]
            .iter()
            .find_map(|word| line.strip_prefix(word))
            .or_else(|| line.starts_with("mod ").then_some(line))?;
        let rest = ["const ", "async "]
            .iter()
            .fold(rest, |rest, word| if rest.contains("fn ") { rest.strip_prefix(word).unwrap_or(rest) } else { rest });
        let (kind, name) = rest.split_once(' ')?;
        ["mod", "struct", "enum", "trait", "type", "fn"].contains(&kind).then(|| {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            format!("{kind} {}", &name[..end])
        })
    });
    shown.collect()
}

#[test]
fn the_two_runtimes_have_the_same_files_in_the_same_order() {
    let (smol, tokio) = (sources("runtime-smol"), sources("runtime-tokio"));
    let shared: BTreeSet<String> = files(&smol).into_iter().filter(|name| !is_smol_alone(name)).collect();
    assert_eq!(files(&tokio), shared);
    let modules = |folder: &Path| {
        let modules = declarations(&folder.join("lib.rs")).into_iter();
        modules.filter(|module| !is_smol_alone(module.trim_start_matches("mod "))).collect::<Vec<_>>()
    };
    assert_eq!(modules(&tokio), modules(&smol));
}

/// Where libraries part, so do the files that hold them: what of tokio's stands in a file beside what smol's has too, and
/// what of smol's beside what tokio's has.
const DIFFERENT: [(&str, &[&str], &[&str]); 4] = [
    ("fetch.rs", &[], &["mod backend", "mod pool"]),
    // The runtime is made first, because a signal is caught within one, and tests wait for a server on its own.
    ("serve.rs", &["fn runtime", "fn handle"], &[]),
    // What smol brings along.
    ("spawner.rs", &["fn unblock"], &[]),
    ("wait.rs", &["struct Timer", "fn never", "fn set_at", "fn poll"], &[]),
];

/// Below the HTTP client's own file little is alike: what one server does itself, the other's library does.
const OWN: &str = "fetch/";

#[test]
fn what_both_runtimes_declare_stands_in_the_same_order() {
    let (smol, tokio) = (sources("runtime-smol"), sources("runtime-tokio"));
    let mut drifted = Vec::new();
    for name in files(&tokio).into_iter().filter(|name| name != "lib.rs" && !name.starts_with(OWN)) {
        let (_, added, left_out) = DIFFERENT.iter().find(|(file, ..)| *file == name).unwrap_or(&("", &[], &[]));
        let without = |file: PathBuf, names: &[&str]| {
            let declared = declarations(&file).into_iter();
            declared.filter(|declared| !names.contains(&declared.as_str())).collect::<Vec<_>>()
        };
        let (tokio, smol) = (without(tokio.join(&name), added), without(smol.join(&name), left_out));
        if tokio != smol {
            drifted.push(format!("{name}:\n  tokio {tokio:?}\n  smol  {smol:?}"));
        }
    }
    assert!(drifted.is_empty(), "{}", drifted.join("\n"));
}
