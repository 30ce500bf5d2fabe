//! The service is away, or the server: what was said before is transcribed all the same, and once.

use super::voice::{FRAME, Script};
use super::{Site, column, discreet, millis, openai_is, says, spoken, stopped, transcript};
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::far_end::{AfterFailure, HangUp, Heard, Ledger, Plan};
use callwarden_tests::balancer::Balancer;
use callwarden_tests::database::TestDatabase;
use callwarden_tests::http::until;
use callwarden_tests::postgres::Cluster;
use smol::block_on;
use smol::future::zip;
use std::fs;
use std::time::Duration;

/// What a row says whose server was killed while it listened.
const CUT: &str = "failed: the server stopped while the caller was on a stream: what was being said is lost";

/// Away, for everybody.
fn outage() -> Option<Fault> {
    Some(Fault::Refuse(Refusal::overloaded()))
}

/// The caller speaks to a stream, then to a recording, and leaves in the middle of it. Twilio asks nothing when the stream
/// breaks: asked, the next process would let the caller go on.
fn speaks_twice(script: &Script) -> Plan {
    Plan { hangs_up: HangUp::Recording(millis(2_500)), after_failure: AfterFailure::Nothing, ..says(script) }
}

/// What was said on the one stream of a caller, and on the one recording after it: each begins with the first word.
fn said(script: &Script, ledger: &Ledger) -> (String, String) {
    assert_eq!((ledger.streams.len(), ledger.recordings.len()), (1, 1), "{ledger}");
    let recorded = ledger.recordings[0].speech.as_millis() as usize * 8;
    (script.between(0, ledger.streams[0].frames as usize * FRAME), script.between(0, recorded))
}

/// The service goes away during a call, and while it is away the server is killed.
async fn killed_in_an_outage(database: TestDatabase) {
    let site = Site::new(database, &[]).await;
    let server = site.server("node").await;
    // Twilio's request waits for the new process, as it would at a balancer.
    let balancer = Balancer::start(server.address(), server.address()).await;
    let script = Script::sentences(5, millis(1_000));
    let caller = site.deployment.call(balancer.address(), speaks_twice(&script));
    let call = caller.sid;
    let is_done =
        |count: usize| move |row: &[_]| row.iter().filter(|row| column(row, "state") == Some("done")).count() == count;
    site.segments_until(call, "the first text", is_done(1)).await;
    site.no_files("node").await;
    site.openai.set_fault(outage());
    openai_is(&server, "error").await;
    assert_eq!(site.files("node").len(), 1);
    // The third sentence is on disk too, and the fourth is being spoken.
    spoken(&caller, script.sentence(3).from + FRAME * 15).await;
    assert_eq!(site.files("node").len(), 2);
    let server = discreet(site.deployment.kill_and_restart("node", server).await);

    let (_, ledger) = caller.ended().await;
    let (_, recorded) = said(&script, &ledger);
    openai_is(&server, "error").await;
    let row = site.deployment.row(call, |row| column(row, "status") == Some("completed")).await;
    let first = script.sentence(0).text.as_str();
    assert_eq!(transcript(&row), (Some("pending"), Some(format!("{first} […]").as_str())));
    assert_eq!((site.files("node").len(), site.nodes("node")), (2, 1));

    site.openai.set_fault(None);
    let row = site.settled(call).await;
    let kept = script.texts()[..3].join(" ");
    assert_eq!(transcript(&row), (Some(CUT), Some(format!("{kept} […]\n{recorded}").as_str())));
    openai_is(&server, "ok").await;
    site.paid_for(&[&script.texts()[..3], &[recorded.as_str()]].concat());
    site.no_files("node").await;
    stopped(server);
}

/// The database is away when a text comes, and then the server is killed: nobody has to be asked for that text again.
async fn killed_with_texts_that_nobody_took() {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    let site = Site::new(TestDatabase::of(&cluster), &[]).await;
    let server = site.server("node").await;
    let port = server.address().port();
    let balancer = Balancer::start(server.address(), server.address()).await;
    let script = Script::sentences(3, millis(1_000));
    let caller = site.deployment.call(balancer.address(), speaks_twice(&script));
    let call = caller.sid;
    site.deployment.noted(call, "frames").await;
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
    // The first comes when the server may not know yet that the database is away, the second long after.
    let texts = || site.files("node").iter().filter(|name| name.ends_with(".txt")).count();
    until("two texts in files", || texts() == 2).await;
    assert_eq!((site.files("node").len(), site.openai.ledger().texts().count()), (2, 2));
    server.signal("KILL");
    server.ended();
    // A kill may also come when the text is in its file and the audio is still there.
    for text in site.paths("node").iter().filter(|path| path.extension().is_some_and(|name| name == "txt")) {
        fs::write(text.with_extension("ulaw"), script.audio()).expect("a file");
    }
    cluster.restart().unwrap_or_else(|error| panic!("{error}"));
    let server = discreet(site.deployment.server_at("node", port).await);
    let (_, ledger) = caller.ended().await;
    let (_, recorded) = said(&script, &ledger);
    let row = site.settled(call).await;
    let kept = script.texts()[..2].join(" ");
    assert_eq!(transcript(&row), (Some(CUT), Some(format!("{kept} […]\n{recorded}").as_str())));
    site.paid_for(&[&script.texts()[..2], &[recorded.as_str()]].concat());
    site.no_files("node").await;
    stopped(server);
}

/// The server is told to stop while a caller speaks; it moves the call to a recording, which the next one transcribes.
async fn stopped_in_mid_sentence(fault: Option<Fault>) {
    let site = Site::new(TestDatabase::sqlite(), &[("DRAIN_SECONDS", "1")]).await;
    let is_away = fault.is_some();
    site.openai.set_fault(fault);
    let server = site.server("node").await;
    let port = server.address().port();
    let balancer = Balancer::start(server.address(), server.address()).await;
    let script = Script::sample();
    let plan = Plan { hangs_up: HangUp::Recording(Duration::from_secs(8)), ..says(&script) };
    let caller = site.deployment.call(balancer.address(), plan);
    let call = caller.sid;
    spoken(&caller, script.sentence(0).to).await;
    stopped(server);
    let ledger = caller.until("a recording", |ledger| ledger.heard() == Some(Heard::Recording)).await;
    let spoken = script.between(0, ledger.streams[0].frames as usize * FRAME);
    let rows = site.deployment.rows_of("call_log", call).await;
    if is_away {
        // The process does not wait for the end of an outage.
        assert_eq!((transcript(&rows[0]), site.files("node").len()), ((Some("pending"), None), 1));
        site.openai.set_fault(None);
    } else {
        assert_eq!((transcript(&rows[0]), site.files("node").len()), ((Some("pending"), Some(spoken.as_str())), 0));
    }
    let server = discreet(site.deployment.server_at("node", port).await);
    let (_, ledger) = caller.ended().await;
    let (spoken, recorded) = said(&script, &ledger);
    let row = site.settled(call).await;
    assert_eq!(transcript(&row), (Some("done"), Some(format!("{spoken}\n{recorded}").as_str())), "{ledger}");
    site.paid_for(&[&spoken, &recorded]);
    site.no_files("node").await;
    assert_eq!(site.nodes("node"), 1);
    stopped(server);
}

#[test]
fn what_was_said_before_a_kill_or_a_stop_in_an_outage_or_out_of_it_is_transcribed_once() {
    let [postgres, sqlite] = TestDatabase::both();
    let away = zip(killed_in_an_outage(postgres), killed_in_an_outage(sqlite));
    let stops = zip(stopped_in_mid_sentence(None), stopped_in_mid_sentence(outage()));
    block_on(zip(killed_with_texts_that_nobody_took(), zip(away, stops)));
}
