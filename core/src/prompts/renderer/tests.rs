//! In virtual time, against a Google of a few lines.

use super::*;
use crate::form::Form;
use crate::http::Headers;
use crate::prompts::Prompts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const HOUR: Duration = Duration::from_secs(3_600);
const TOKEN_URI: &str = "https://oauth.example/token";

fn wav(text: &str) -> Bytes {
    let sound = [0xff_u8; 800];
    let format = [&b"fmt "[..], &16_u32.to_le_bytes(), &[7, 0, 1, 0], &8_000_u32.to_le_bytes()];
    let more = [&8_000_u32.to_le_bytes()[..], &[1, 0, 8, 0], b"data", &800_u32.to_le_bytes(), &sound, text.as_bytes()];
    Bytes::from([b"RIFF\0\0\0\0WAVE", &format.concat()[..], &more.concat()].concat())
}

fn config(pairs: &[(&str, &str)]) -> Config {
    let texts = [("GREETING_TEXT", "שלום"), ("FALLBACK_TEXT", "הודעה"), ("GOODBYE_TEXT", "להתראות")];
    let pairs = texts.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_pairs(pairs).expect("valid")
}

fn account() -> ServiceAccount {
    ServiceAccount {
        client_email: "calls@example".to_owned(),
        private_key_id: None,
        private_key: Secret::new("key"),
        token_uri: TOKEN_URI.to_owned(),
    }
}

fn answer(status: u16, body: impl ToString) -> Result<FetchResponse, FetchError> {
    Ok(FetchResponse { status, headers: Headers::default(), body: body.to_string().into() })
}

/// What Google does for the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Fine,
    /// No connection.
    Away,
    /// An answer that is no JSON.
    Garbage,
    /// Tokens are refused with this status.
    NoToken(u16),
    /// Speech is refused with this status.
    NoSpeech(u16),
    /// One text is refused with this status.
    Dislikes(&'static str, u16),
}

/// A renderer, its Google, and what came out.
struct Bench {
    renderer: Renderer,
    now: Now,
    mood: Mood,
    token_life: Duration,
    tokens: u64,
    granted: Instant,
    spoken: Vec<String>,
    kept: BTreeMap<String, Bytes>,
    reports: Vec<(Duration, RenderReport)>,
}

impl Bench {
    fn new(config: &Config, kept: &BTreeMap<String, Bytes>) -> Self {
        let now = Now { mono: Instant::from_millis(5_000), unix: UnixMillis(1_700_000_000_000) };
        let mut prompts = Prompts::new(config, |_| None).expect("no files");
        prompts.take_kept(&config.google_tts_voice, |file| kept.get(file).cloned());
        let to_render = prompts.to_render(&config.google_tts_voice);
        let (mood, token_life, kept) = (Mood::Fine, HOUR, kept.clone());
        let renderer = Renderer::new(now, account(), config, to_render);
        let (spoken, reports, granted) = (Vec::new(), Vec::new(), now.mono);
        Self { renderer, now, mood, token_life, tokens: 0, granted, spoken, kept, reports }
    }

    fn fresh() -> Self {
        Self::new(&config(&[]), &BTreeMap::new())
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, unix: self.now.unix + time };
    }

    fn elapsed(&self) -> Duration {
        self.now.mono.since(Instant::from_millis(5_000))
    }

    /// Works off what is due now, answering at once.
    fn turn(&mut self) {
        let mut out = Vec::new();
        self.renderer.handle_timeout(self.now, &mut out);
        while !out.is_empty() {
            let mut answers = Vec::new();
            for output in out.drain(..) {
                match output {
                    RenderOutput::Sign { step, message } => {
                        answers.push(RenderInput::Signed { step, result: Ok(message.into_bytes()) });
                    }
                    RenderOutput::Fetch { step, request } => {
                        let result = self.google(&request);
                        answers.push(RenderInput::Fetched { step, result });
                    }
                    RenderOutput::Keep { file, bytes } => drop(self.kept.insert(file, bytes)),
                    RenderOutput::Report(report) => self.reports.push((self.elapsed(), report)),
                }
            }
            assert!(answers.len() <= 1, "one thing at a time");
            for answer in answers {
                self.renderer.handle(self.now, answer, &mut out);
            }
        }
        assert!(self.renderer.next_timeout().is_none_or(|at| at > self.now.mono), "busy");
    }

    /// Goes on for `time`, from deadline to deadline.
    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        self.turn();
        while let Some(at) = self.renderer.next_timeout().filter(|at| *at <= end) {
            self.pass(at.since(self.now.mono));
            self.turn();
        }
        self.pass(end.since(self.now.mono));
    }

    fn google(&mut self, request: &FetchRequest) -> Result<FetchResponse, FetchError> {
        let for_token = request.url == TOKEN_URI;
        let age = self.now.mono.since(self.granted);
        assert!(for_token || age + limits::ACCESS_TOKEN_MARGIN <= self.token_life, "a token of {age:?} is used");
        match self.mood {
            Mood::Away => return Err(FetchError::NotSent("connection refused".to_owned())),
            Mood::Garbage => return answer(200, "<html>"),
            Mood::NoToken(status) if for_token => return answer(status, "{}"),
            Mood::NoSpeech(status) if !for_token => return answer(status, "{}"),
            Mood::Fine | Mood::NoToken(_) | Mood::NoSpeech(_) | Mood::Dislikes(..) => {}
        }
        if for_token {
            assert!(Form::parse(&request.body).get("assertion").is_some());
            self.tokens += 1;
            self.granted = self.now.mono;
            let life = self.token_life.as_secs();
            return answer(200, json!({"access_token": format!("token-{}", self.tokens), "expires_in": life}));
        }
        assert_eq!(request.url, "https://texttospeech.googleapis.com/v1/text:synthesize");
        let bearer = request.authorization.as_ref().map(Secret::expose);
        if bearer != Some(&format!("Bearer token-{}", self.tokens)) {
            return answer(401, "{}");
        }
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let text = body["input"]["text"].as_str().expect("a text").to_owned();
        if let Mood::Dislikes(disliked, status) = self.mood
            && text == disliked
        {
            return answer(status, "{}");
        }
        self.spoken.push(text.clone());
        answer(200, json!({"audioContent": STANDARD.encode(wav(&text))}))
    }

    fn rendered(&self) -> Vec<Role> {
        let role = |report: &RenderReport| match report {
            RenderReport::Rendered { role, .. } => Some(*role),
            RenderReport::Failed(_) | RenderReport::NotKept { .. } => None,
        };
        self.reports.iter().filter_map(|(_, report)| role(report)).collect()
    }

    /// When each try failed, in seconds, and whether for long.
    fn failures(&self) -> Vec<(u64, Role, bool)> {
        let failure = |(at, report): &(Duration, RenderReport)| match report {
            RenderReport::Failed(failure) => Some((at.as_secs(), failure.role, failure.is_lasting)),
            RenderReport::Rendered { .. } | RenderReport::NotKept { .. } => None,
        };
        self.reports.iter().filter_map(failure).collect()
    }
}

#[test]
fn every_text_is_rendered_once_with_one_token() {
    let mut bench = Bench::fresh();
    bench.run(Duration::ZERO);
    assert_eq!((bench.tokens, &bench.spoken[..]), (1, &["שלום", "הודעה", "להתראות"].map(str::to_owned)[..]));
    assert_eq!((bench.rendered(), bench.kept.len()), (Role::ALL.to_vec(), 3));
    assert!(bench.renderer.is_done() && bench.renderer.has_tried_all());
    bench.run(24 * HOUR);
    assert_eq!((bench.tokens, bench.spoken.len()), (1, 3));
}

#[test]
fn a_restart_asks_for_nothing_and_a_changed_text_for_itself_only() {
    let mut first = Bench::fresh();
    first.run(Duration::ZERO);
    let mut second = Bench::new(&config(&[]), &first.kept);
    assert!(second.renderer.is_done());
    assert_eq!(second.renderer.next_timeout(), None);
    second.run(24 * HOUR);
    assert_eq!((second.tokens, second.spoken.len(), second.reports.len()), (0, 0, 0));
    let mut changed = Bench::new(&config(&[("GOODBYE_TEXT", "ביי")]), &first.kept);
    changed.run(HOUR);
    assert_eq!((changed.rendered(), &changed.spoken[..]), (vec![Role::Goodbye], &["ביי".to_owned()][..]));
    let voice = Bench::new(&config(&[("GOOGLE_TTS_VOICE", "he-IL-Standard-B")]), &first.kept);
    assert!(!voice.renderer.has_tried_all());
    assert_eq!(voice.renderer.jobs.len(), 3);
}

#[test]
fn a_damaged_rendering_is_made_anew() {
    let mut first = Bench::fresh();
    first.run(Duration::ZERO);
    let damaged = first.kept.keys().cloned().zip([Bytes::new(), Bytes::from_static(b"RIFF"), wav("").slice(..44)]);
    let mut second = Bench::new(&config(&[]), &damaged.collect());
    second.run(Duration::ZERO);
    assert_eq!((second.spoken.len(), &second.kept), (3, &first.kept));
}

#[test]
fn what_has_a_file_or_no_text_is_not_asked_for() {
    let config = config(&[("GOODBYE_TEXT", "")]);
    let prompts = Prompts::new(&config, |name| (name == "greeting_he.mp3").then(|| wav(""))).expect("a file");
    let roles: Vec<_> = prompts.to_render(&config.google_tts_voice).iter().map(|rendering| rendering.role).collect();
    assert_eq!(roles, [Role::Fallback]);
}

#[test]
fn one_audio_serves_two_prompts_of_the_same_text() {
    let mut bench = Bench::new(&config(&[("GOODBYE_TEXT", "שלום")]), &BTreeMap::new());
    bench.run(Duration::ZERO);
    assert_eq!(bench.spoken, ["שלום", "הודעה"]);
    assert_eq!((bench.rendered(), bench.kept.len()), (vec![Role::Greeting, Role::Goodbye, Role::Fallback], 2));
}

#[test]
fn an_outage_is_waited_for_ever_longer_and_ends_with_every_prompt() {
    let mut bench = Bench::fresh();
    bench.mood = Mood::Away;
    bench.run(2 * HOUR);
    // One question a round: without a token no prompt is tried.
    let failures = bench.failures();
    let at: Vec<_> = failures.iter().map(|(at, ..)| *at).take(12).collect();
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1_111]);
    assert!(failures.iter().all(|(_, _, lasting)| !lasting));
    assert!(bench.renderer.has_tried_all() && !bench.renderer.is_done());
    bench.mood = Mood::Fine;
    bench.run(limits::RENDER_RETRY_MAX);
    assert_eq!(bench.rendered().len(), 3);
    assert!(bench.renderer.is_done());
}

#[test]
fn what_only_a_change_can_end_is_tried_at_the_slowest_pace() {
    for mood in [Mood::NoToken(400), Mood::NoSpeech(403), Mood::NoSpeech(401)] {
        let mut bench = Bench::fresh();
        bench.mood = mood;
        bench.run(HOUR);
        let failures = bench.failures();
        assert!(failures.iter().all(|(at, _, lasting)| *lasting && at % limits::RENDER_RETRY_MAX.as_secs() == 0));
        let rounds = if mood == Mood::NoSpeech(403) { 3 * 13 } else { 13 };
        assert_eq!(failures.len(), rounds, "{mood:?}");
        bench.mood = Mood::Fine;
        bench.run(limits::RENDER_RETRY_MAX);
        assert!(bench.renderer.is_done(), "{mood:?}");
    }
}

#[test]
fn garbage_is_a_failure_that_may_pass() {
    let mut bench = Bench::fresh();
    bench.mood = Mood::Garbage;
    bench.run(Duration::from_secs(10));
    assert_eq!(bench.failures().len(), 4);
    assert!(bench.failures().iter().all(|(_, _, lasting)| !lasting));
    bench.mood = Mood::Fine;
    bench.run(Duration::from_secs(10));
    assert!(bench.renderer.is_done());
}

#[test]
fn one_text_that_is_refused_does_not_hold_the_others_up() {
    let mut bench = Bench::fresh();
    bench.mood = Mood::Dislikes("שלום", 400);
    bench.run(Duration::ZERO);
    assert_eq!(bench.rendered(), [Role::Fallback, Role::Goodbye]);
    assert_eq!((bench.failures(), bench.tokens), (vec![(0, Role::Greeting, true)], 1));
}

#[test]
fn a_token_is_renewed_before_it_expires_and_used_until_then() {
    let mut bench = Bench::fresh();
    bench.mood = Mood::NoSpeech(503);
    // Tried every five minutes in the end. The first token counts until a minute before its hour is over.
    bench.run(Duration::from_secs(3_600 - 60));
    assert_eq!(bench.tokens, 1);
    bench.run(limits::RENDER_RETRY_MAX);
    assert_eq!(bench.tokens, 2);
    bench.mood = Mood::Fine;
    bench.run(limits::RENDER_RETRY_MAX);
    assert_eq!(bench.rendered().len(), 3);
}

#[test]
fn a_token_that_hardly_lasts_is_used_once() {
    let mut bench = Bench::fresh();
    bench.token_life = limits::ACCESS_TOKEN_MARGIN;
    bench.run(Duration::ZERO);
    assert_eq!((bench.tokens, bench.rendered().len()), (3, 3));
}

#[test]
fn a_kept_token_that_is_refused_is_replaced_at_once() {
    let mut bench = Bench::fresh();
    bench.mood = Mood::Dislikes("שלום", 503);
    bench.run(Duration::ZERO);
    assert_eq!((bench.tokens, bench.rendered().len()), (1, 2));
    // Google forgets the token it gave.
    bench.tokens += 1;
    bench.mood = Mood::Fine;
    bench.run(Duration::from_secs(1));
    assert_eq!((bench.tokens, bench.failures().len()), (3, 1));
    assert!(bench.renderer.is_done());
}

#[test]
fn an_assertion_is_dated_by_the_wall_clock_even_when_that_went_back() {
    let mut bench = Bench::fresh();
    bench.mood = Mood::NoToken(400);
    bench.turn();
    bench.now = Now { mono: bench.now.mono + limits::RENDER_RETRY_MAX, unix: UnixMillis(1_600_000_000_000) };
    let mut out = Vec::new();
    bench.renderer.handle_timeout(bench.now, &mut out);
    let Some(RenderOutput::Sign { message, .. }) = out.pop() else { panic!("{out:?}") };
    assert_eq!(message, account().assertion(UnixMillis(1_600_000_000_000)));
}

#[test]
fn a_signature_that_fails_is_said_and_tried_again() {
    let mut bench = Bench::fresh();
    let mut out = Vec::new();
    bench.renderer.handle_timeout(bench.now, &mut out);
    let Some(RenderOutput::Sign { step, .. }) = out.pop() else { panic!("{out:?}") };
    let result = Err("no random bytes".to_owned());
    bench.renderer.handle(bench.now, RenderInput::Signed { step, result }, &mut out);
    let [RenderOutput::Report(RenderReport::Failed(failure))] = &out[..] else { panic!("{out:?}") };
    assert!(failure.cause.contains("no random bytes") && failure.is_lasting, "{failure:?}");
    bench.run(limits::RENDER_RETRY_MAX);
    assert!(bench.renderer.is_done());
}

#[test]
fn a_signature_that_comes_late_is_not_taken_for_the_one_that_is_waited_for() {
    let mut bench = Bench::fresh();
    let mut out = Vec::new();
    bench.renderer.handle_timeout(bench.now, &mut out);
    let Some(RenderOutput::Sign { step: first, .. }) = out.pop() else { panic!("{out:?}") };
    bench.renderer.handle(bench.now, RenderInput::Signed { step: first, result: Err("no".to_owned()) }, &mut out);
    bench.pass(limits::RENDER_RETRY_MAX);
    bench.renderer.handle_timeout(bench.now, &mut out);
    let Some(RenderOutput::Sign { step: second, .. }) = out.pop() else { panic!("{out:?}") };
    out.clear();
    bench.renderer.handle(bench.now, RenderInput::Signed { step: first, result: Ok(vec![1]) }, &mut out);
    assert!(out.is_empty(), "{out:?}");
    bench.renderer.handle(bench.now, RenderInput::Signed { step: second, result: Ok(vec![2]) }, &mut out);
    assert!(matches!(out[..], [RenderOutput::Fetch { .. }]), "{out:?}");
}

#[test]
fn no_failure_says_a_secret() {
    for mood in [Mood::Away, Mood::Garbage, Mood::NoToken(400), Mood::NoSpeech(401), Mood::NoSpeech(500)] {
        let mut bench = Bench::fresh();
        bench.mood = mood;
        bench.run(Duration::ZERO);
        let said = format!("{:?} {:?}", bench.reports, bench.renderer);
        assert!(!said.contains("token-") && !said.contains("\"key\""), "{said}");
    }
}

proptest! {
    /// Whatever is answered, early, late, twice or to something else: one thing is waited for at a time, nothing is
    /// asked for that is done, and time backwards is time standing still.
    #[test]
    fn any_answers_leave_it_waiting_for_one_thing_or_for_a_deadline(
        answers in proptest::collection::vec((0_u8..6, any::<bool>(), 0_u64..400_000), 1..60),
    ) {
        let mut bench = Bench::fresh();
        let (mut out, mut asked, mut stale) = (Vec::new(), None, Vec::new());
        bench.renderer.handle_timeout(bench.now, &mut out);
        for (kind, back, millis) in answers {
            for output in out.drain(..) {
                match output {
                    RenderOutput::Sign { step, .. } | RenderOutput::Fetch { step, .. } => {
                        prop_assert_eq!(asked.replace(step), None);
                        prop_assert!(!bench.renderer.is_done());
                    }
                    RenderOutput::Keep { .. } | RenderOutput::Report(_) => {}
                }
            }
            prop_assert_eq!(bench.renderer.next_timeout().is_none(), asked.is_some() || bench.renderer.is_done());
            let now = if back { Now { mono: Instant::from_millis(0), ..bench.now } } else { bench.now };
            for step in &stale {
                let result = answer(200, "{}");
                bench.renderer.handle(now, RenderInput::Fetched { step: *step, result }, &mut out);
                prop_assert!(out.is_empty());
            }
            match asked.take() {
                Some(step) => {
                    stale.push(step);
                    let audio = json!({"audioContent": STANDARD.encode(wav("")), "access_token": "x"});
                    let input = match kind {
                        0 => RenderInput::Signed { step, result: Err("no".to_owned()) },
                        1 => RenderInput::Signed { step, result: Ok(vec![1]) },
                        2 => RenderInput::Fetched { step, result: Err(FetchError::NotSent("no".to_owned())) },
                        3 => RenderInput::Fetched { step, result: answer(401, "") },
                        _ => RenderInput::Fetched { step, result: answer(200, audio) },
                    };
                    let fits = matches!(
                        (&bench.renderer.state, &input),
                        (State::Signing { .. }, RenderInput::Signed { .. })
                            | (State::AskingForToken { .. } | State::AskingForSpeech { .. }, RenderInput::Fetched { .. })
                    );
                    bench.renderer.handle(now, input, &mut out);
                    if !fits {
                        prop_assert!(out.is_empty());
                        stale.pop();
                        asked = Some(step);
                    }
                }
                None => {
                    bench.pass(Duration::from_millis(millis));
                    bench.renderer.handle_timeout(bench.now, &mut out);
                }
            }
        }
    }
}
