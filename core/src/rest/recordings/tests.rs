use super::super::authorization;
use super::*;
use crate::audio::wav;
use crate::config::TwilioAccount;
use crate::far_end::{FarEnd, FarInput, FarOutput, Line, Plan};
use crate::http::Headers;
use crate::time::{Instant, Now};
use proptest::prelude::*;

const BASE: &str = "https://api.twilio.com";
const NOW: UnixMillis = UnixMillis(0);
const RECORD: &str = r#"<Record action="https://h/handle" maxLength="3" playBeep="false" trim="do-not-trim"/>"#;
const LOCATION: &str = "https://bucket.s3.example.com/a.wav?X-Signature=hidden";

fn account() -> AccountSid {
    AccountSid::from_number(0xA)
}

fn call() -> CallSid {
    CallSid::from_number(0xC)
}

fn signed_in() -> Secret {
    let account = TwilioAccount { sid: account(), auth_tokens: vec![Secret::new("12345")] };
    authorization(&account, 0).expect("a token")
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<FetchResponse, FetchError> {
    Ok(FetchResponse { status, headers: headers.iter().copied().collect::<Headers>(), body: body.into() })
}

fn audio_file() -> Bytes {
    [&wav::header(wav::Format::TELEPHONE, 2)[..], &[0, 0]].concat().into()
}

fn download(asked: Keeper, result: &Result<FetchResponse, FetchError>) -> DownloadOutcome {
    download_outcome(asked, NOW, result).outcome
}

#[test]
fn audio_is_asked_for_at_the_api_base_signed_in_and_with_room_for_the_longest_call() {
    let request = recording_audio(BASE, account(), RecordingSid::from_number(7), signed_in());
    assert_eq!(
        request.url,
        "https://api.twilio.com/2010-04-01/Accounts/AC0000000000000000000000000000000a\
         /Recordings/RE00000000000000000000000000000007.wav"
    );
    assert_eq!((request.method, request.authorization.clone()), (Method::Get, Some(signed_in())));
    assert_eq!((request.timeout, request.public_only), (limits::RECORDING_TIME, false));
    let four_hours = wav::HEADER_BYTES as u64 + 4 * 3_600 * wav::Format::TELEPHONE.bytes_per_second();
    assert!(request.response_bytes_max as u64 > four_hours);
}

#[test]
fn a_redirect_is_followed_once_over_https_to_the_public_and_without_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let result = answer(status, &[("Location", LOCATION)], "");
        let DownloadOutcome::Redirect(storage) = download(Keeper::Twilio, &result) else { panic!("{status}") };
        let request = recording_redirected(&storage);
        assert_eq!((request.url.as_str(), request.method), (LOCATION, Method::Get));
        assert_eq!((request.authorization, request.public_only), (None, true));
        assert_eq!(request.response_bytes_max, limits::RECORDING_BYTES_MAX);
        assert_eq!(download(Keeper::Storage, &result), DownloadOutcome::Forbidden, "a second one");
        assert!(!format!("{storage:?}").contains("hidden"));
        assert!(!download_outcome(Keeper::Twilio, NOW, &result).detail.contains("hidden"));
    }
}

#[test]
fn no_other_redirect_is_followed() {
    for location in [
        "",
        "/2010-04-01/elsewhere",
        "//host/a",
        "http://host/a",
        "ftp://host/a",
        "https://",
        "https:///a",
        "https://user:pass@host/a",
        "https://@host/a",
        "https://host/a b",
        "https://host/\u{5e9}",
        "שלום, עולם",
    ] {
        assert_eq!(StorageUrl::parse(location), None, "{location}");
        let result = answer(302, &[("location", location)], "");
        assert_eq!(download(Keeper::Twilio, &result), DownloadOutcome::Forbidden, "{location}");
    }
    assert_eq!(download(Keeper::Twilio, &answer(302, &[], "")), DownloadOutcome::Forbidden);
    assert_eq!(download(Keeper::Twilio, &answer(304, &[("location", LOCATION)], "")), DownloadOutcome::Forbidden);
    for location in ["HTTPS://Host:8443/a", "https://host?a", "https://[2a00::1]/user@place"] {
        assert!(StorageUrl::parse(location).is_some(), "{location}");
    }
}

#[test]
fn each_answer_to_a_download_means_what_the_rule_says() {
    use DownloadOutcome::{Forbidden, Gone, NotYet, Outage, Unauthorized};
    let after = |seconds: u64| Outage { after: Some(Duration::from_secs(seconds)) };
    let outage = || Outage { after: None };
    let error = |status: u16, code: u32| answer(status, &[], format!(r#"{{"code": {code}, "status": {status}}}"#));
    let cases = [
        (error(404, 20_404), NotYet, NotYet),
        (answer(404, &[], "<html>"), NotYet, NotYet),
        (answer(202, &[], ""), NotYet, NotYet),
        (error(409, 20_409), NotYet, NotYet),
        (answer(425, &[], ""), NotYet, NotYet),
        (error(410, 20_410), Gone, Gone),
        (answer(200, &[], r#"{"status": "deleted"}"#), Gone, NotYet),
        (answer(404, &[], r#"{"status": "absent"}"#), Gone, NotYet),
        (answer(200, &[], r#"{"status": "processing"}"#), NotYet, NotYet),
        (answer(200, &[], "<html>"), NotYet, NotYet),
        (answer(204, &[], ""), NotYet, NotYet),
        (error(401, 20_003), Unauthorized, Forbidden),
        (error(403, 20_005), Forbidden, Forbidden),
        (error(400, 20_001), Forbidden, Forbidden),
        (answer(408, &[], ""), outage(), outage()),
        (answer(429, &[("retry-after", "3")], ""), after(3), after(3)),
        (answer(503, &[("Retry-After", "121")], "x"), outage(), outage()),
        (error(500, 20_500), outage(), outage()),
        (Err(FetchError::NotSent("refused".to_owned())), outage(), outage()),
        (Err(FetchError::NotAllowed("no public address".to_owned())), Forbidden, Forbidden),
        (Err(FetchError::Ambiguous("the answer's body is too long".to_owned())), outage(), outage()),
    ];
    for (result, from_twilio, from_storage) in cases {
        assert_eq!(download(Keeper::Twilio, &result), from_twilio, "{result:?}");
        assert_eq!(download(Keeper::Storage, &result), from_storage, "{result:?}");
    }
    for asked in [Keeper::Twilio, Keeper::Storage] {
        assert_eq!(download(asked, &answer(200, &[], audio_file())), DownloadOutcome::Ready(audio_file()));
    }
}

#[test]
fn the_detail_of_a_download_says_who_answered_what() {
    let detail = |asked, result| download_outcome(asked, NOW, &result).detail;
    assert_eq!(detail(Keeper::Twilio, answer(200, &[], audio_file())), "Twilio answered 200 with 46 bytes");
    let denied = answer(403, &[], "<Error><Code>AccessDenied</Code></Error>");
    assert_eq!(
        detail(Keeper::Storage, denied),
        "the storage of the recording answered 403 with a body that is not JSON"
    );
    let late = answer(404, &[("twilio-request-id", "RQ7")], r#"{"code": 20404, "message": "not found"}"#);
    let redirect = answer(302, &[("location", "http://host/a")], "");
    let expected = "Twilio answered 302 without a body, a redirect that is not followed: only the first one is, and only \
        to https";
    assert_eq!(detail(Keeper::Twilio, redirect), expected);
    assert_eq!(detail(Keeper::Twilio, late), "Twilio answered 404, code 20404: not found (request RQ7)");
}

fn listed(body: impl Into<Bytes>) -> RecordingsOutcome {
    recordings_outcome(&answer(200, &[], body)).outcome
}

#[test]
fn a_list_tells_the_state_of_every_recording_whatever_its_numbers_look_like() {
    let found = |number, state, duration_seconds| FoundRecording {
        recording: RecordingSid::from_number(number),
        state,
        duration_seconds,
    };
    let states = [
        ("in-progress", RecordingState::InProgress),
        ("paused", RecordingState::InProgress),
        ("stopped", RecordingState::InProgress),
        ("processing", RecordingState::InProgress),
        ("on-fire", RecordingState::InProgress),
        ("completed", RecordingState::Completed),
        ("absent", RecordingState::Absent),
        ("deleted", RecordingState::Absent),
        ("failed", RecordingState::Absent),
    ];
    for (text, state) in states {
        let sid = RecordingSid::from_number(1);
        for (duration, seconds) in [("\"12\"", Some(12)), ("12", Some(12)), ("null", None), ("\"-1\"", None)] {
            let entry = format!(r#"{{"sid": "{sid}", "status": "{text}", "duration": {duration}}}"#);
            let list = format!(r#"{{"recordings": [{entry}], "page": 0}}"#);
            assert_eq!(listed(list), RecordingsOutcome::Found(vec![found(1, state, seconds)]));
        }
    }
    let bare =
        format!(r#"{{"recordings": [{{}}, 7, {{"sid": "CA1"}}, {{"sid": "{}"}}]}}"#, RecordingSid::from_number(2));
    assert_eq!(listed(bare), RecordingsOutcome::Found(vec![found(2, RecordingState::InProgress, None)]));
    assert_eq!(listed(r#"{"recordings": []}"#), RecordingsOutcome::Found(Vec::new()));
}

#[test]
fn a_list_is_read_up_to_its_bound() {
    let entries: Vec<_> = (0..=limits::RECORDINGS_LISTED_MAX as u128)
        .map(|number| format!(r#"{{"sid": "{}", "status": "completed"}}"#, RecordingSid::from_number(number)))
        .collect();
    let RecordingsOutcome::Found(found) = listed(format!(r#"{{"recordings": [{}]}}"#, entries.join(","))) else {
        panic!("a list")
    };
    assert_eq!(found.len(), limits::RECORDINGS_LISTED_MAX);
}

#[test]
fn each_answer_to_a_look_up_of_recordings_means_what_the_rule_says() {
    use RecordingsOutcome::{Failed, NotFound, Unauthorized};
    let cases = [
        (answer(200, &[], "{}"), Failed { retry: true }),
        (answer(200, &[], "<html>"), Failed { retry: true }),
        (answer(404, &[], ""), NotFound),
        (answer(410, &[], ""), NotFound),
        (answer(401, &[], ""), Unauthorized),
        (answer(429, &[], ""), Failed { retry: true }),
        (answer(503, &[], ""), Failed { retry: true }),
        (answer(403, &[], ""), Failed { retry: false }),
        (answer(302, &[], ""), Failed { retry: false }),
        (Err(FetchError::NotSent("refused".to_owned())), Failed { retry: true }),
        (Err(FetchError::Ambiguous("timeout".to_owned())), Failed { retry: true }),
    ];
    for (result, outcome) in cases {
        assert_eq!(recordings_outcome(&result).outcome, outcome, "{result:?}");
    }
}

/// A simulated call whose first document is a recording of three seconds, as far as one second into it.
struct Recorded {
    far: FarEnd,
    now: Now,
}

impl Recorded {
    fn new() -> Self {
        let mut line = Line::to_server("https://h", account(), call(), Some(Secret::new("12345")));
        line.voice_url = "https://h/incoming_call".to_owned();
        let plan = Plan { recording_delay: Duration::from_secs(2), ..Plan::default() };
        let now = Now { mono: Instant::from_millis(0), unix: UnixMillis(1_650_498_325_000) };
        let mut recorded = Self { far: FarEnd::new(line, plan), now };
        let mut out = Vec::new();
        recorded.far.start(now, &mut out);
        recorded.answer(out);
        recorded.wait(1);
        recorded
    }

    fn answer(&mut self, out: Vec<FarOutput>) {
        for output in out {
            if let FarOutput::Request { id, request } = output {
                let verbs = if request.url.ends_with("/incoming_call") { RECORD } else { "" };
                let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{verbs}</Response>");
                let result = answer(200, &[("content-type", "text/xml")], body);
                let mut out = Vec::new();
                self.far.handle(self.now, FarInput::Answered { id, result }, &mut out);
                self.answer(out);
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        let until = self.now.mono + Duration::from_secs(seconds);
        while let Some(next) = self.far.next_timeout().filter(|next| *next <= until) {
            self.now.mono = next;
            let mut out = Vec::new();
            self.far.handle_timeout(self.now, &mut out);
            self.answer(out);
        }
        self.now.mono = until;
    }

    fn list(&mut self, token: Secret) -> RecordingsOutcome {
        let request = recordings_of_call(BASE, account(), call(), token);
        recordings_outcome(&Ok(self.far.rest(self.now, &request, &mut Vec::new()))).outcome
    }

    fn audio(&mut self, recording: RecordingSid, token: Secret) -> DownloadOutcome {
        let request = recording_audio(BASE, account(), recording, token);
        download(Keeper::Twilio, &Ok(self.far.rest(self.now, &request, &mut Vec::new())))
    }
}

#[test]
fn the_far_end_lists_a_recording_and_gives_its_audio_when_it_is_ready() {
    let mut recorded = Recorded::new();
    let wrong = || Secret::new("Basic d3Jvbmc=");
    assert_eq!(recorded.list(wrong()), RecordingsOutcome::Unauthorized);
    let RecordingsOutcome::Found(found) = recorded.list(signed_in()) else { panic!("a list") };
    let &[FoundRecording { recording, state: RecordingState::InProgress, duration_seconds: None }] = &found[..] else {
        panic!("one recording: {found:?}")
    };
    assert_eq!(recorded.audio(recording, signed_in()), DownloadOutcome::NotYet);
    recorded.wait(3);
    assert_eq!(recorded.list(signed_in()), RecordingsOutcome::Found(found), "Twilio still works on it");
    assert_eq!(recorded.audio(recording, signed_in()), DownloadOutcome::NotYet);
    recorded.wait(2);
    let completed = FoundRecording { recording, state: RecordingState::Completed, duration_seconds: Some(3) };
    assert_eq!(recorded.list(signed_in()), RecordingsOutcome::Found(vec![completed]));
    assert_eq!(recorded.audio(recording, wrong()), DownloadOutcome::Unauthorized);
    let DownloadOutcome::Ready(audio) = recorded.audio(recording, signed_in()) else { panic!("audio") };
    assert_eq!(crate::audio::duration(&audio), Some(Duration::from_secs(3)));
}

proptest! {
    #[test]
    fn any_answer_is_classified_and_only_audio_is_ready(
        status: u16,
        body in proptest::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from)
            .boxed().prop_union(Just(audio_file()).boxed())
            .or("\\{\"(recordings|status)\": ?(\\[.{0,9}\\]|\"(deleted|absent|.{0,9})\")\\}".prop_map(Bytes::from).boxed()),
        location in "(https://)?.{0,20}",
    ) {
        let result = answer(status, &[("location", location.as_str())], body.clone());
        for asked in [Keeper::Twilio, Keeper::Storage] {
            let ready = matches!(download(asked, &result), DownloadOutcome::Ready(_));
            prop_assert_eq!(ready, (200..300).contains(&status) && Kind::of(&body).is_some());
        }
        let found = matches!(recordings_outcome(&result).outcome, RecordingsOutcome::Found(_));
        prop_assert!(!found || (200..300).contains(&status));
    }
}
