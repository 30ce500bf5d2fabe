//! Who is let in, and the pages that tell how the process is: signatures, previews, development mode, methods and paths,
//! `/healthz`, `/readyz`, `/version` and `/metrics`. Virtual time.

use callwarden_core::far_end::{Plan, StreamFault};
use callwarden_core::http::{Method, Request, Response};
use callwarden_core::log::{Event, Level};
use callwarden_core::secret::Secret;
use callwarden_core::{path, signature};
use callwarden_tests::world::script::{Caller, get, signed, signed_with, text, token_in, unsigned};
use callwarden_tests::world::{AUTH_TOKEN, DatabaseFault, HOST, RestFault, World, settings};
use serde_json::Value;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const WEBHOOKS: [&str; 6] = [
    path::INCOMING_CALL,
    path::CALL_STATUS,
    path::STREAM_STATUS,
    path::STREAM_ENDED,
    path::HANDLE_RECORDING,
    path::RECORDING_STATUS,
];

fn development() -> World {
    World::with(settings(&[("TWILIO_ACCOUNT_SID", ""), ("TWILIO_AUTH_TOKEN", "")]))
}

fn with_method(method: Method, path: &str) -> Request {
    Request { method, ..get(path) }
}

/// Nothing is known of any call, and nothing was done for one.
#[track_caller]
fn assert_no_effect(world: &World) {
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 0);
    assert!(world.database.call_facts.is_empty() && world.database.events.is_empty() && world.rest_log.is_empty());
}

/// `/readyz` and its status.
fn readyz(world: &mut World) -> (u16, Value) {
    let response = world.ask(get(path::READYZ));
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

fn is_preview(response: &Response) -> bool {
    response.status == 200 && response.header("x-callwarden-preview") == Some("1")
}

#[test]
fn a_wrong_signature_is_refused_on_every_webhook_and_has_no_other_effect() {
    let mut world = World::new();
    let caller = Caller::new(1);
    for webhook in WEBHOOKS {
        let form = caller.form(&[("CallStatus", "completed"), ("RecordingStatus", "in-progress")]);
        assert_eq!(world.ask(signed_with("another-token", webhook, &form)).status, 403, "{webhook}");
        let mut altered = signed(webhook, &form);
        altered.body = [altered.body.as_ref(), b"&CallStatus=busy"].concat().into();
        assert_eq!(world.ask(altered).status, 403, "{webhook}");
    }
    world.run_for(SECOND * 20);
    assert_no_effect(&world);
    let rejected = world.logged(Event::SignatureRejected);
    assert_eq!(rejected.len(), 12);
    assert!(rejected.iter().all(|line| line.reason.as_deref() == Some("wrong")));
}

#[test]
fn a_rejected_signature_names_both_hosts() {
    let mut world = World::new();
    let mut request = signed_with("another-token", path::CALL_STATUS, &Caller::new(1).form(&[]));
    request.headers = request.headers.iter().filter(|(name, _)| *name != "host").collect();
    request.headers.push("host", "internal-7f.example.net:8080");
    assert_eq!(world.ask(request).status, 403);
    let rejected = world.logged(Event::SignatureRejected);
    let detail = rejected[0].detail.as_deref().expect("a detail");
    assert!(detail.contains(HOST) && detail.contains("internal-7f.example.net:8080"), "{detail}");
}

#[test]
fn a_missing_signature_is_refused_on_every_webhook_but_incoming_call() {
    let mut world = World::new();
    for webhook in WEBHOOKS.into_iter().filter(|webhook| *webhook != path::INCOMING_CALL) {
        assert_eq!(world.ask(unsigned(webhook, &Caller::new(1).form(&[]))).status, 403, "{webhook}");
    }
    assert_no_effect(&world);
    assert!(world.logged(Event::SignatureRejected).iter().all(|line| line.reason.as_deref() == Some("missing")));
}

#[test]
fn while_a_token_is_rotated_both_are_accepted_and_streams_of_either_too() {
    let both = format!("next,{AUTH_TOKEN}");
    let mut world = World::with(settings(&[("TWILIO_AUTH_TOKEN", both.as_str())]));
    for (number, token) in [(1, AUTH_TOKEN), (2, "next")] {
        let caller = Caller::new(number);
        let response = world.ask(signed_with(token, path::INCOMING_CALL, &caller.form(&[])));
        let stream = caller.stream(1);
        let socket = world.open_stream(caller, stream, &token_in(text(&response)));
        assert_eq!(world.socket(socket).closed, None);
    }
}

#[test]
fn an_unsigned_get_or_post_of_incoming_call_is_a_preview_that_lets_nobody_in() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let query = format!("{}?CallSid={}", path::INCOMING_CALL, caller.call);
    let requests = [
        get(path::INCOMING_CALL),
        get(&query),
        with_method(Method::Head, path::INCOMING_CALL),
        unsigned(path::INCOMING_CALL, &[]),
        unsigned(path::INCOMING_CALL, &caller.form(&[("CallStatus", "ringing")])),
    ];
    for request in requests {
        let response = world.ask(request);
        let document = text(&response);
        assert!(is_preview(&response), "{response:?}");
        assert!(document.contains(&format!(r#"<Stream url="wss://{HOST}/ws/twilio-media""#)), "{document}");
        assert!(document.contains("<Connect") && !document.contains("<Record"), "{document}");
        let socket = world.open_stream(caller, caller.stream(1), &token_in(document));
        assert_eq!(world.socket(socket).closed, Some(1008), "its token admits nobody");
    }
    world.run_for(SECOND * 20);
    assert_no_effect(&world);
    assert!(world.logged(Event::SignatureMissing).is_empty(), "a check by hand is no fault");
}

#[test]
fn a_preview_shows_the_recording_where_a_real_call_would_get_it() {
    let mut world = World::with(settings(&[("ENABLE_CALLS_STREAM", "false")]));
    let response = world.ask(get(path::INCOMING_CALL));
    assert!(is_preview(&response) && text(&response).contains("<Record"));
}

#[test]
fn twilios_own_request_without_a_signature_raises_the_alarm() {
    let mut world = World::new();
    assert_eq!(readyz(&mut world).1["signature"], "ok");
    let mut request = unsigned(path::INCOMING_CALL, &Caller::new(1).form(&[]));
    request.headers.push("user-agent", "TwilioProxy/1.1");
    assert!(is_preview(&world.ask(request)));
    let missing = world.logged(Event::SignatureMissing);
    assert_eq!((missing.len(), missing[0].level), (1, Level::Error));
    assert_eq!(readyz(&mut world).1["signature"], "missing");
}

#[test]
fn in_development_mode_an_unsigned_call_is_real_and_one_without_a_call_is_a_preview() {
    let mut world = development();
    assert_eq!(readyz(&mut world).1["twilio"], "disabled");
    assert!(is_preview(&world.ask(get(path::INCOMING_CALL))));
    assert!(is_preview(&world.ask(unsigned(path::INCOMING_CALL, &[]))));
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 0);
    let caller = Caller::new(1);
    let response = world.ask(unsigned(path::INCOMING_CALL, &caller.form(&[])));
    assert!(!is_preview(&response));
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 1);
    let socket = world.open_stream(caller, caller.stream(1), &token_in(text(&response)));
    assert_eq!(world.socket(socket).closed, None);
}

#[test]
fn a_signed_get_is_a_real_call() {
    let mut world = World::new();
    let caller = Caller::new(1);
    let target = format!("{}?CallSid={}&CallStatus=ringing", path::INCOMING_CALL, caller.call);
    let signature = signature::sign(&Secret::new(AUTH_TOKEN), &format!("https://{HOST}{target}"), []);
    let mut request = get(&target);
    request.headers.push("x-twilio-signature", signature);
    assert!(!is_preview(&world.ask(request)));
    assert_eq!(world.nodes[0].switchboard.gauges().calls, 1);
}

#[test]
fn wrong_methods_and_unknown_paths_are_told_so() {
    let mut world = World::new();
    for webhook in WEBHOOKS {
        let response = world.ask(with_method(Method::Delete, webhook));
        let allowed = if webhook == path::INCOMING_CALL { "GET, HEAD, POST" } else { "POST" };
        assert_eq!((response.status, response.header("allow")), (405, Some(allowed)), "{webhook}");
    }
    assert_eq!(world.ask(get(path::CALL_STATUS)).status, 405);
    for page in [path::HEALTHZ, path::READYZ, path::VERSION, path::METRICS] {
        let response = world.ask(with_method(Method::Post, page));
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")), "{page}");
    }
    for nothing in ["/", "/webhook", "/webhook/", "/webhook/incoming_call/", "/ws", "/static/tts/none.mp3", "/שלום"]
    {
        assert_eq!(world.ask(get(nothing)).status, 404, "{nothing}");
    }
    for media in [path::MEDIA.to_owned(), format!("{}/", path::MEDIA)] {
        assert_eq!(world.ask(get(&media)).status, 426, "an upgrade is asked for");
        let mut request = get(&media);
        request.headers.push("connection", "keep-alive, Upgrade");
        request.headers.push("upgrade", "WebSocket");
        assert_eq!(world.ask(request).status, 101, "{media}");
    }
}

#[test]
fn half_a_handshake_is_none() {
    let mut world = World::new();
    let both = [("connection", "Upgrade"), ("upgrade", "websocket")];
    for (method, lines, status) in [
        (Method::Get, &both[..], 101),
        (Method::Get, &both[..1], 426),
        (Method::Get, &both[1..], 426),
        (Method::Post, &both, 426),
    ] {
        let mut request = with_method(method, path::MEDIA);
        for (name, value) in lines {
            request.headers.push(*name, *value);
        }
        assert_eq!(world.ask(request).status, status, "{method:?} {lines:?}");
    }
}

#[test]
fn a_request_is_logged_loudly_where_twilio_asks_and_softly_where_anyone_does() {
    let media = format!("{}/", path::MEDIA);
    for (path, level) in [
        (path::INCOMING_CALL, Level::Info),
        (path::MEDIA, Level::Info),
        (&media, Level::Info),
        (path::HEALTHZ, Level::Debug),
        ("/", Level::Debug),
    ] {
        let mut world = World::new();
        world.ask(get(path));
        let levels: Vec<_> = world.logged(Event::Req).iter().map(|line| line.level).collect();
        assert_eq!(levels, [level], "{path}");
    }
}

#[test]
fn a_process_that_stops_refuses_new_sockets() {
    let mut world = World::new();
    world.drain();
    let mut request = get(path::MEDIA);
    request.headers.push("connection", "Upgrade");
    request.headers.push("upgrade", "websocket");
    assert_eq!(world.ask(request).status, 503);
}

#[test]
fn without_a_usable_host_nothing_can_be_called_back() {
    let mut world = World::with(settings(&[("PUBLIC_HOST", "")]));
    let mut request = unsigned(path::INCOMING_CALL, &[]);
    request.headers = [("host", "under_score<script>")].into_iter().collect();
    assert_eq!(world.ask(request).status, 400);
    let mut request = unsigned(path::INCOMING_CALL, &[]);
    request.headers.push("x-forwarded-host", "public.example.org, proxy.internal");
    assert!(text(&world.ask(request)).contains("wss://public.example.org/ws/twilio-media"));
}

#[test]
fn readyz_tells_each_services_real_state() {
    let mut world = World::new();
    let (status, page) = readyz(&mut world);
    assert_eq!(status, 200);
    for (name, expected) in
        [("db", "ok"), ("twilio", "ok"), ("openai", "disabled"), ("tts", "disabled"), ("stream", "on")]
    {
        assert_eq!(page[name], expected, "{name}");
    }
    assert_eq!(page["store"], "postgres");

    world.database.fault = DatabaseFault::Refuses;
    world.rest_always = RestFault::Refused(401, 20003);
    world.announce(Caller::new(1));
    world.run_for(SECOND * 9);
    let (status, page) = readyz(&mut world);
    assert_eq!((status, &page["db"], &page["twilio"]), (503, &"error".into(), &"error".into()));
    assert!(page["db_error_seconds"].as_u64().is_some_and(|seconds| seconds >= 8), "{page}");
    assert!(page["unwritten_facts"].as_u64().is_some_and(|facts| facts > 0), "{page}");
    assert!(!page.to_string().contains("refused"), "never an error's text");
    assert_eq!(world.ask(get(path::HEALTHZ)).status, 200, "calls are answered without the database too");

    world.database.fault = DatabaseFault::None;
    world.run_for(SECOND * 5);
    assert_eq!(readyz(&mut world).0, 200);
}

#[test]
fn version_says_which_build_runs() {
    let mut world = World::with(settings(&[("GIT_COMMIT", "abc123"), ("DEPLOY_ID", "green-7")]));
    let page: Value = serde_json::from_slice(&world.ask(get(path::VERSION)).body).expect("JSON");
    assert_eq!((&page["name"], &page["git_commit"]), (&"callwarden".into(), &"abc123".into()));
    assert_eq!((&page["deploy_id"], &page["runtime"]), (&"green-7".into(), &"virtual".into()));
    assert_eq!(page["started_at_unix_ms"], 1_795_000_000_000_u64);
}

#[test]
fn metrics_need_their_token_and_count_what_happened() {
    assert_eq!(World::new().ask(get(path::METRICS)).status, 404, "no token is set");
    assert_eq!(development().ask(get(path::METRICS)).status, 200);

    let mut world = World::with(settings(&[("METRICS_TOKEN", "see-me")]));
    let mute = world.call(Plan::with_fault(StreamFault::Mute(None)));
    world.run_to_the_end_of(mute);
    let mut ask = |authorization: Option<&str>| {
        let mut request = get(path::METRICS);
        authorization.into_iter().for_each(|value| request.headers.push("authorization", value));
        world.ask(request)
    };
    for wrong in [None, Some(""), Some("Bearer "), Some("Bearer see-m"), Some("see-me"), Some("Basic see-me")] {
        assert_eq!(ask(wrong).status, 404, "{wrong:?}");
    }
    let page = ask(Some("Bearer see-me"));
    for line in [
        "callwarden_calls_total 1",
        "callwarden_streams_accepted_total 1",
        "callwarden_fallbacks_total{reason=\"no_media\"} 1",
        "callwarden_fallbacks_total{reason=\"no_start\"} 0",
        "callwarden_fallbacks_confirmed_total 1",
        "callwarden_streams_open 0",
        "callwarden_database_up 1",
    ] {
        assert!(text(&page).lines().any(|given| given == line), "{line} is missing");
    }
}

/// One of each would not tell a counter from a flag.
#[test]
fn each_counter_counts_every_time() {
    let mut world = World::with(settings(&[("METRICS_TOKEN", "see-me")]));
    world.rest_always = RestFault::Refused(403, 20003);
    world.database.fault = DatabaseFault::Refuses;
    for number in [1, 2] {
        world.call(Plan { start_delay: SECOND * 9, ..Plan::default() });
        let stranger = Caller::new(number);
        world.open_stream(stranger, stranger.stream(1), "no token of ours");
        world.ask(signed_with("another token", path::CALL_STATUS, &stranger.form(&[])));
    }
    world.run_for(SECOND * 15);
    let mut request = get(path::METRICS);
    request.headers.push("authorization", "Bearer see-me");
    let page = world.ask(request);
    for counter in [
        "calls_total",
        "streams_accepted_total",
        "streams_refused_total",
        "signatures_rejected_total",
        "claims_blind_total",
        "fallbacks_failed_total",
        "fallbacks_cancelled_total",
        "fallbacks_total{reason=\"no_start\"}",
    ] {
        let line = format!("callwarden_{counter} 2");
        assert!(text(&page).lines().any(|given| given == line), "{line} is missing in\n{}", text(&page));
    }
}

#[test]
fn secrets_reach_no_page_and_no_log_line() {
    let mut world = World::with(settings(&[("METRICS_TOKEN", "see-me-never")]));
    world.rest_always = RestFault::Refused(401, 20003);
    let call = world.call(Plan::with_fault(StreamFault::Mute(None)));
    world.run_to_the_end_of(call);
    let pages: String =
        [path::HEALTHZ, path::READYZ, path::VERSION].map(|page| text(&world.ask(get(page))).to_owned()).concat();
    let everything = format!("{pages}{:?}{:?}", world.log, world.database.events);
    for secret in [AUTH_TOKEN, "see-me-never", "+972501234567", "ישראל", "postgres://"] {
        assert!(!everything.contains(secret), "{secret}");
    }
}
