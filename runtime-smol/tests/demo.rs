//! The demo as an operator meets it, when something is wrong.

use std::process::{Command, Stdio};

#[test]
fn the_demo_takes_no_transcription_service_that_a_server_would_not_take() {
    let variables =
        [("OPENAI_API_KEY", "hush-hush"), ("OPENAI_BASE_URL", "my server"), ("PORT", "no port of the demo's")];
    let mut command = Command::new(env!("CARGO_BIN_EXE_callwarden"));
    let output = command.arg("demo").env_clear().envs(variables).stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((output.status.code(), lines.len(), output.stdout.len()), (Some(2), 1, 0), "{lines:?}");
    assert!(lines[0].starts_with("callwarden: OPENAI_BASE_URL: "), "{lines:?}");
}
