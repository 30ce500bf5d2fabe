//! What the fuzzer has found so far, in the code of this build: every file of every corpus, and that none is missing.

use callwarden_tests::fuzzing::TARGETS;
use std::fs;
use std::path::Path;

#[test]
fn every_input_of_every_corpus_runs_clean() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS {
        let files: Vec<_> =
            fs::read_dir(corpora.join(name)).expect("a corpus").map(|file| file.expect("a file").path()).collect();
        assert!(files.len() >= 10, "{name}: {} files", files.len());
        for file in files {
            eprintln!("{}", file.display());
            target(&fs::read(&file).expect("a file"));
        }
    }
}

#[test]
fn every_target_has_its_program_and_its_line_in_the_readme() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let (manifest, readme) =
        ["Cargo.toml", "README.md"].map(|file| fs::read_to_string(fuzz.join(file)).expect("a file")).into();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
    }
}
