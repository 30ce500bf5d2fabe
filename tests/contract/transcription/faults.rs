//! Everything a transcription service can answer but a text: what becomes of the speech it was asked for, what the row
//! says, and that the next caller of the same server is transcribed.

use super::voice::Script;
use super::{LOOK, Site, column, discreet, leaves, millis, openai_is, ready, stopped, transcript};
use callwarden_core::far_end::openai::{Fault, Refusal};
use callwarden_core::limits;
use callwarden_core::sid::CallSid;
use callwarden_tests::database::{Row, TestDatabase};
use callwarden_tests::http::soon;
use callwarden_tests::process::Server;
use futures_util::future::join_all;
use smol::{Timer, block_on};
use std::time::Duration;

/// A fault and what it means.
struct Case {
    fault: Fault,
    means: Means,
}

enum Means {
    /// Nothing was said.
    Nothing,
    /// The service is asked again, and has the text in the end. Until then the row waits, and the segment says why.
    Trouble {
        /// Why.
        cause: &'static str,
        /// The second request comes no sooner than this after the first.
        wait: Duration,
    },
    /// This speech will never have a text.
    Refused(&'static str),
    /// No speech has a text until a person acts; the rows say what has to be done.
    Blocked(&'static str),
    /// It has its text, if late.
    Late,
}

/// An outage. The first wait is half a second, shortened by a quarter at most.
fn trouble(fault: Fault, cause: &'static str) -> Case {
    Case { fault, means: Means::Trouble { cause, wait: millis(375) } }
}

fn blocked(fault: Fault, cause: &'static str) -> Case {
    Case { fault, means: Means::Blocked(cause) }
}

fn cases() -> Vec<Case> {
    use Fault::{Cut, Drip, Flood, Page, Refuse, Wordless};
    let after = |wait: &str| Refuse(Refusal::rate_limit().with("retry-after", wait));
    vec![
        Case { fault: Refuse(Refusal::too_short()), means: Means::Nothing },
        Case { fault: Wordless, means: Means::Nothing },
        Case {
            fault: Refuse(Refusal::bad_form("No.")),
            means: Means::Refused("answered 400, invalid_request_error: No."),
        },
        Case {
            fault: Refuse(Refusal::too_large(30_000_000)),
            means: Means::Refused("answered 413, server_error: Maximum"),
        },
        blocked(
            Refuse(Refusal::wrong_key()),
            "answered 401, invalid_request_error, invalid_api_key; check OPENAI_API_KEY",
        ),
        blocked(Refuse(Refusal::quota_spent()), "check the account's quota and billing"),
        blocked(Page, "answered 200 with a body that is not JSON; check OPENAI_BASE_URL"),
        trouble(Refuse(Refusal::timed_out()), "answered 408"),
        trouble(Refuse(Refusal::conflict()), "answered 409"),
        trouble(Refuse(Refusal::rate_limit()), "answered 429, requests, rate_limit_exceeded"),
        Case { fault: after("2"), means: Means::Trouble { cause: "answered 429", wait: millis(2_000) } },
        trouble(Refuse(Refusal::server_error()), "answered 500"),
        trouble(Refuse(Refusal::overloaded()), "answered 503"),
        trouble(Flood, "the answer's body is too long"),
        trouble(Cut, "no usable answer"),
        Case { fault: Drip(millis(4)), means: Means::Late },
    ]
}

/// What every caller says.
fn script() -> Script {
    Script::sentences(1, millis(1_000))
}

/// A caller says a sentence and hangs up.
async fn calls(site: &Site, server: &Server) -> CallSid {
    site.deployment.call(server.address(), leaves(&script(), millis(2_500))).ended().await.0
}

async fn is_transcribed(site: &Site, call: CallSid) {
    let row = site.settled(call).await;
    assert_eq!(transcript(&row), (Some("done"), Some(script().text().as_str())));
}

fn failed(row: &Row) -> &str {
    let status = column(row, "transcript_status").unwrap_or_default();
    status.strip_prefix("failed: the transcription service ").unwrap_or_else(|| panic!("{row:?}"))
}

async fn plays(case: Case) {
    let site = Site::new(TestDatabase::sqlite(), &[]).await;
    let server = site.server("node").await;
    site.openai.set_fault(Some(case.fault));
    let call = calls(&site, &server).await;
    match case.means {
        Means::Nothing => {
            assert_eq!(transcript(&site.settled(call).await), (Some("empty"), None));
            site.openai.set_fault(None);
        }
        Means::Late => is_transcribed(&site, call).await,
        Means::Trouble { cause, wait } => {
            let said = |rows: &[Row]| rows.iter().any(|row| row.contains_key("error"));
            let rows = site.segments_until(call, "a cause", said).await;
            assert!(rows[0]["error"].contains(cause) && !rows[0].contains_key("state"), "{rows:?}");
            let row = site.deployment.row(call, |row| column(row, "status") == Some("completed")).await;
            assert_eq!(transcript(&row), (Some("pending"), None));
            assert_eq!(ready(&server, "openai").await, "error");
            asked(&site, 2).await;
            site.openai.set_fault(None);
            is_transcribed(&site, call).await;
            let requests = site.openai.ledger().requests;
            let waited = requests[1].at.mono.since(requests[0].at.mono);
            assert!(waited >= wait, "asked again after {waited:?}");
        }
        Means::Refused(cause) => {
            let row = site.settled(call).await;
            assert!(failed(&row).starts_with(cause), "{row:?}");
            assert_eq!((column(&row, "transcript"), ready(&server, "openai").await), (Some("[…]"), "ok".into()));
            site.openai.set_fault(None);
        }
        Means::Blocked(cause) => {
            let other = calls(&site, &server).await;
            for call in [call, other] {
                let row = site.settled(call).await;
                assert!(failed(&row).contains(cause), "{row:?}");
            }
            // The second one did not even try.
            assert_eq!(site.openai.ledger().requests.len(), 1);
            assert_eq!((ready(&server, "openai").await, site.files("node").len()), ("error".into(), 2));
            // A person mends it, and starts the server anew.
            site.openai.set_fault(None);
            let server = discreet(site.deployment.kill_and_restart("node", server).await);
            for call in [call, other] {
                site.deployment.row(call, |row| column(row, "transcript_status") == Some("done")).await;
                is_transcribed(&site, call).await;
            }
            return goes_on(&site, server).await;
        }
    }
    goes_on(&site, server).await;
}

/// The next caller is transcribed, and no file is left of the ones before.
async fn goes_on(site: &Site, server: Server) {
    let call = calls(site, &server).await;
    is_transcribed(site, call).await;
    openai_is(&server, "ok").await;
    site.no_files("node").await;
    stopped(server);
}

async fn asked(site: &Site, count: usize) {
    soon("another request", async {
        while site.openai.ledger().requests.len() < count {
            Timer::after(LOOK).await;
        }
    })
    .await;
}

/// A service whose answer does not come to an end is given up when the request's time is over, and asked again.
pub(crate) async fn never_ends() {
    let site = Site::new(TestDatabase::sqlite(), &[]).await;
    let server = site.server("node").await;
    site.openai.script([Some(Fault::Drip(Duration::from_secs(1)))]);
    let call = calls(&site, &server).await;
    // The time of a request has no setting.
    Timer::after(limits::TRANSCRIPTION_TIME).await;
    let said = |rows: &[Row]| rows.iter().any(|row| row.contains_key("error"));
    let rows = site.segments_until(call, "a cause", said).await;
    assert!(rows[0]["error"].contains("in the time the request had"), "{rows:?}");
    is_transcribed(&site, call).await;
    assert_eq!(site.openai.ledger().requests.len(), 2);
    goes_on(&site, server).await;
}

#[test]
fn whatever_the_service_answers_the_row_says_what_became_of_it_and_the_next_caller_is_transcribed() {
    block_on(join_all(cases().into_iter().map(plays)));
}
