//! The pages for balancers, deploys and operators: `/healthz`, `/readyz`, `/version`, `/metrics`.

use super::Switchboard;
use super::database::State;
use crate::http::{Request, Response};
use crate::store::FallbackReason;
use crate::time::Instant;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use subtle::ConstantTimeEq as _;

/// What the last real use of a service showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Not configured.
    Disabled,
    /// It answered, or was not needed yet.
    Ok,
    /// It did not, since then.
    Failing(Instant),
}

impl Service {
    /// A service that was not used yet.
    pub(super) const fn new(configured: bool) -> Self {
        if configured { Self::Ok } else { Self::Disabled }
    }

    /// Since when it has failed.
    const fn failing_since(self) -> Option<Instant> {
        match self {
            Self::Failing(since) => Some(since),
            Self::Ok | Self::Disabled => None,
        }
    }

    /// Notes how a use of the service went.
    pub(super) fn used(&mut self, well: bool, now: Instant) {
        *self = match *self {
            _ if well => Self::Ok,
            Self::Failing(since) => Self::Failing(since),
            Self::Ok | Self::Disabled => Self::Failing(now),
        };
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Ok => "ok",
            Self::Failing(_) => "error",
        }
    }
}

/// What happened since the process began.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: u64,
    pub(super) streams_accepted: u64,
    pub(super) streams_refused: u64,
    pub(super) fallbacks: BTreeMap<FallbackReason, u64>,
    pub(super) fallbacks_confirmed: u64,
    pub(super) fallbacks_failed: u64,
    pub(super) fallbacks_cancelled: u64,
    pub(super) claims_blind: u64,
    pub(super) signatures_rejected: u64,
    pub(super) calls_unwatched: u64,
    pub(super) calls_taken_over: u64,
    pub(super) utterances: u64,
    pub(super) utterances_transcribed: u64,
    pub(super) utterances_adopted: u64,
    pub(super) recordings_transcribed: u64,
    pub(super) transcriptions_failed: u64,
    pub(super) stock_phrases_dropped: u64,
}

impl Switchboard {
    /// 200 while this process can answer a call and keep its row; balancers ask this.
    pub(super) fn healthz(&self) -> Response {
        let state = match (self.draining, self.database.keeps_facts()) {
            (Some(_), _) => Err("draining: this process is stopping"),
            (None, false) => Err("the database does not answer, and neither DATA_DIR nor memory keeps rows for it"),
            (None, true) => Ok("ok"),
        };
        match state {
            Ok(text) => Response::text(200, text),
            Err(text) => Response::text(503, text),
        }
        .with("cache-control", "no-store")
    }

    /// Each service as its last real use left it; for deploys and people. Never an error's text: anyone may ask.
    pub(super) fn readyz(&self) -> Response {
        let (database, failing) = match self.database.state() {
            State::Up => ("ok", None),
            State::Down { since, .. } => ("error", Some(*since)),
        };
        let seconds = |since: Instant| self.now.mono.since(since).as_secs();
        let (spool_files, spool_age) = self.database.files(self.now.mono);
        let page = json!({
            "db": database,
            "db_error_seconds": failing.map(seconds),
            "openai": self.openai.as_str(),
            "openai_error_seconds": self.openai.failing_since().map(seconds),
            "tts": self.tts.as_str(),
            "tts_error_seconds": self.tts.failing_since().map(seconds),
            "twilio": self.twilio.as_str(),
            "twilio_error_seconds": self.twilio.failing_since().map(seconds),
            "signature": if self.unsigned.is_some() { "missing" } else { "ok" },
            "stream": if self.settings.config.streaming { "on" } else { "off" },
            "store": self.settings.config.database.name(),
            "draining": self.draining.is_some(),
            "unwritten_facts": self.database.unwritten(),
            "dropped_facts": self.database.dropped(),
            "spool_files": spool_files,
            "spool_oldest_seconds": spool_age.map(|age| age.as_secs()),
            "spool_error_seconds": self.database.spool_failing_since().map(seconds),
            "untranscribed": self.gauges().speech_waiting,
        });
        let status = if database == "ok" && self.draining.is_none() { 200 } else { 503 };
        json_page(status, &page)
    }

    /// Which build is really running.
    pub(super) fn version(&self) -> Response {
        let config = &self.settings.config;
        json_page(
            200,
            &json!({
                "name": "callwarden",
                "version": env!("CARGO_PKG_VERSION"),
                "git_commit": config.git_commit,
                "deploy_id": config.deploy_id,
                "runtime": self.settings.runtime,
                "node": self.settings.node,
                "started_at_unix_ms": self.started.0,
            }),
        )
    }

    /// Prometheus text, for those who know `METRICS_TOKEN`; without one only in development mode.
    pub(super) fn metrics(&self, request: &Request) -> Response {
        let allowed = match &self.settings.config.metrics_token {
            Some(token) => request.headers.get("authorization").is_some_and(|given| {
                given.strip_prefix("Bearer ").unwrap_or_default().as_bytes().ct_eq(token.expose().as_bytes()).into()
            }),
            None => self.settings.config.twilio.is_none(),
        };
        if !allowed {
            return super::routes::not_found();
        }
        Response::empty(200)
            .with("content-type", "text/plain; version=0.0.4; charset=utf-8")
            .with("cache-control", "no-store")
            .body(self.metrics_text())
    }

    fn metrics_text(&self) -> String {
        let (counters, gauges) = (&self.counters, self.gauges());
        let mut text = String::new();
        let mut add = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        };
        add("callwarden_calls_total", "counter", "Calls announced.", counters.calls);
        add("callwarden_calls_live", "gauge", "Calls not over and not recording.", gauges.live_calls as u64);
        add("callwarden_calls_unwatched_total", "counter", "Calls there was no memory for.", counters.calls_unwatched);
        let taken_over = "Calls of processes that are gone.";
        add("callwarden_calls_taken_over_total", "counter", taken_over, counters.calls_taken_over);
        add("callwarden_streams_open", "gauge", "Open WebSockets.", gauges.streams as u64);
        add("callwarden_streams_accepted_total", "counter", "Streams accepted.", counters.streams_accepted);
        add("callwarden_streams_refused_total", "counter", "Streams refused.", counters.streams_refused);
        add("callwarden_fallbacks_confirmed_total", "counter", "Fallbacks confirmed.", counters.fallbacks_confirmed);
        add("callwarden_fallbacks_failed_total", "counter", "Updates given up.", counters.fallbacks_failed);
        add("callwarden_fallbacks_cancelled_total", "counter", "Fallbacks called off.", counters.fallbacks_cancelled);
        add("callwarden_claims_blind_total", "counter", "Claims the store did not answer.", counters.claims_blind);
        add("callwarden_signatures_rejected_total", "counter", "Wrong signatures.", counters.signatures_rejected);
        add("callwarden_facts_unwritten", "gauge", "Facts waiting for the database.", gauges.unwritten_facts as u64);
        add("callwarden_facts_dropped_total", "counter", "Facts given up.", self.database.dropped());
        let (files, age) = self.database.files(self.now.mono);
        add("callwarden_spool_files", "gauge", "Files of facts in DATA_DIR.", files as u64);
        let oldest = "How long the oldest of them has waited.";
        add("callwarden_spool_oldest_seconds", "gauge", oldest, age.map_or(0, |age| age.as_secs()));
        add("callwarden_utterances_total", "counter", "Utterances heard.", counters.utterances);
        add(
            "callwarden_utterances_transcribed_total",
            "counter",
            "Their texts stored.",
            counters.utterances_transcribed,
        );
        add("callwarden_utterances_adopted_total", "counter", "Left by other processes.", counters.utterances_adopted);
        add("callwarden_recordings_transcribed_total", "counter", "Recordings.", counters.recordings_transcribed);
        add(
            "callwarden_transcriptions_failed_total",
            "counter",
            "Speech without a text.",
            counters.transcriptions_failed,
        );
        add(
            "callwarden_stock_phrases_dropped_total",
            "counter",
            "Texts of near-silence.",
            counters.stock_phrases_dropped,
        );
        add("callwarden_speech_waiting", "gauge", "Stretches not transcribed yet.", gauges.speech_waiting as u64);
        add("callwarden_speech_on_disk_bytes", "gauge", "Their audio in DATA_DIR.", gauges.speech_on_disk);
        add("callwarden_database_up", "gauge", "Whether the database answers.", u64::from(self.database.is_up()));
        text.push_str(
            "# HELP callwarden_fallbacks_total Fallbacks begun.\n# TYPE callwarden_fallbacks_total counter\n",
        );
        for reason in FallbackReason::ALL {
            let value = counters.fallbacks.get(&reason).copied().unwrap_or_default();
            let _infallible = writeln!(text, "callwarden_fallbacks_total{{reason=\"{reason}\"}} {value}");
        }
        text
    }
}

fn json_page(status: u16, page: &serde_json::Value) -> Response {
    Response::empty(status)
        .with("content-type", "application/json")
        .with("cache-control", "no-store")
        .body(format!("{page}\n"))
}
