//! A recogniser of speech as a process of its own, where one is installed (`tests/engine`).

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The variable that says where the engine is installed; without it, in `target/speech-engine`.
pub const VARIABLE: &str = "CALLWARDEN_SPEECH_ENGINE";
/// The key it demands.
pub const KEY: &str = "sk-engine";

/// A running engine; it does not outlive its test.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Engine {
    /// Starts the installed engine. When there is none, says so past the capture of test output.
    ///
    /// # Panics
    /// When it is installed and does not start.
    #[must_use]
    pub fn start_if_installed() -> Option<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory =
            env::var_os(VARIABLE).map_or_else(|| package.with_file_name("target").join("speech-engine"), PathBuf::from);
        if !directory.join("installed").exists() {
            say(&format!(
                "NOT TESTED: no speech engine is installed in {} (tests/engine/install.sh does it; {VARIABLE} names \
                 another directory)",
                directory.display()
            ));
            return None;
        }
        let mut child = Command::new(directory.join("venv/bin/python"))
            .arg(package.join("engine/server.py"))
            .args(["--key", KEY])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the engine's Python starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("its output is text");
        let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/v1"));
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("the engine does not say where it listens but {line:?}"));
        Some(Self { child, address, directory })
    }

    /// The `OPENAI_BASE_URL` of a server that asks it.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where the recorded speech lies.
    #[must_use]
    pub fn speech(&self) -> PathBuf {
        self.directory.join("speech")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // One that has ended by itself needs no more.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Writes a line that is seen also when the test passes.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}
