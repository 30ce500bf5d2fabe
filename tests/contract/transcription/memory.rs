//! What callers cost in memory while nobody transcribes them.

use super::voice::{FRAME, Script, samples};
use super::{LOOK, Site, millis, says, stopped};
use callwarden_tests::database::TestDatabase;
use callwarden_tests::deployment::Caller;
use callwarden_tests::http::soon;
use callwarden_tests::process::Server;
use smol::{Timer, block_on};
use std::fs;
use std::time::Duration;

/// Callers at once.
const CALLERS: usize = 100;

/// A line of what the system knows of a server's memory, in KiB.
pub(crate) fn memory(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Waits until each caller has sent so much sound.
async fn heard(callers: &[Caller], sound: Duration) {
    let frames = (samples(sound) / FRAME) as u64;
    soon("the callers' frames", async {
        for caller in callers {
            while caller.so_far().streams.first().is_none_or(|stream| stream.frames < frames) {
                Timer::after(LOOK).await;
            }
        }
    })
    .await;
}

#[test]
fn a_hundred_callers_who_speak_to_a_service_that_is_away_take_little_memory() {
    block_on(async {
        // Nobody listens there.
        let settings = [("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"), ("RUST_LOG", "info")];
        let site = Site::new(TestDatabase::sqlite(), &settings).await;
        let server = site.server("node").await;
        let quiet = millis(3_000);
        let script = Script::sentences(10, Duration::ZERO).after(quiet);
        let resident = || memory(&server, "VmRSS:");
        let idle = resident();
        let callers: Vec<Caller> =
            (0..CALLERS).map(|_| site.deployment.call(server.address(), says(&script))).collect();
        heard(&callers, quiet).await;
        let silent = resident();
        heard(&callers, quiet + millis(14_500)).await;
        let speaking = resident();
        heard(&callers, quiet + millis(19_000)).await;
        let kept = resident();
        callers.iter().for_each(Caller::hang_up);
        for caller in callers {
            caller.ended().await;
        }
        soon("the last utterances", async {
            while site.files("node").len() < 2 * CALLERS {
                Timer::after(LOOK).await;
            }
        })
        .await;
        let after = resident();
        let each = |now: u64| now.saturating_sub(idle) / CALLERS as u64;
        println!(
            "KiB: idle {idle}; each call {} quiet, {} at 14.5 s of speech, {} with 15 s on disk, {} when all are over",
            each(silent),
            each(speaking),
            each(kept),
            each(after)
        );
        assert!(each(silent) <= 120 && each(speaking) <= 320, "{idle} {silent} {speaking}");
        stopped(server);
    });
}
