//! Signals to processes.

use std::process::Command;

/// The command that sends a signal, by its short name, to processes. It is the shell's own `kill`: a program of that
/// name is in a package that a minimal system lacks.
#[must_use]
pub fn kill(name: &str, processes: &[String]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"kill -s "$0" "$@""#, name]).args(processes);
    command
}
