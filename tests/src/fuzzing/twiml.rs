//! Round trips: what the server writes, the other side reads as it was meant; and what the other side is sent, whatever it
//! is, it survives.

use super::source::{Source, text};
use crate::world::speech::{service, settings};
use callwarden_core::audio::wav;
use callwarden_core::far_end::twiml::{self, Verb};
use callwarden_core::fetch::FetchRequest;
use callwarden_core::google::Voice;
use callwarden_core::limits;
use callwarden_core::sid::CallSid;
use callwarden_core::time::{Instant, Now, UnixMillis};
use callwarden_core::transcription::{Clip, Service};
use callwarden_core::twiml::{Announcement, Document, PublicHost, SayVoice};
use std::sync::OnceLock;

/// Documents and multipart bodies.
pub fn twiml(data: &[u8]) {
    let mut source = Source::new(data);
    match source.byte() % 4 {
        0 => drop(twiml::read(&text(source.rest()))),
        1 => document(source),
        2 => clip(source),
        _ => any_form(source),
    }
}

fn document(mut source: Source<'_>) {
    let host: PublicHost = "calls.example.com".parse().expect("a host");
    let said = text(source.some());
    let voice = SayVoice::nearest(&"he-IL-Wavenet-A".parse::<Voice>().expect("a voice"));
    let announcement = match source.byte() % 3 {
        0 => Announcement::Silent,
        1 => Announcement::Play("/static/tts/greeting_he.mp3"),
        _ => Announcement::Say(&said, voice),
    };
    let (call, token) = (CallSid::from_number(source.word().into()), text(source.some()));
    let document = match source.byte() % 6 {
        0 => Document::Stream { greeting: announcement, call: Some(call), token: &token },
        1 => Document::Record(announcement),
        2 => Document::RecordAgain,
        3 => Document::Goodbye(announcement),
        4 => Document::Hangup,
        _ => Document::Empty,
    };
    let xml = document.to_xml(&host);
    let read = twiml::read(&xml).unwrap_or_else(|fault| panic!("{fault:?}: {xml}"));
    assert!(read.warnings.is_empty(), "{:?}: {xml}", read.warnings);
    let mut verbs = read.verbs.into_iter().peekable();
    if let Some(Verb::Say { text: heard, .. }) = verbs.next_if(|verb| matches!(verb, Verb::Say { .. })) {
        let Announcement::Say(said, _) = announcement else { panic!("nobody says {heard:?}") };
        // Line ends and other control characters part words, or are left out.
        let letters =
            |text: &str| text.chars().filter(|char| !char.is_control() && !char.is_whitespace()).collect::<String>();
        assert!(letters(said).starts_with(&letters(&heard)), "{heard:?} of {said:?}: {xml}");
        let short = said.chars().count() <= limits::PROMPT_TEXT_CHARS_MAX;
        assert!(!short || letters(said) == letters(&heard), "{heard:?} of {said:?}: {xml}");
    }
    verbs.next_if(|verb| matches!(verb, Verb::Play { .. }));
    let verbs: Vec<Verb> = verbs.collect();
    let fits = match document {
        Document::Stream { .. } => {
            let [Verb::Connect { stream, .. }, Verb::Redirect { .. }] = &verbs[..] else { panic!("{xml}") };
            let parameter = |name: &str| stream.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            parameter("call_sid").is_some_and(|sid| sid == call.as_str()) && parameter("token").is_some()
        }
        Document::Record(_) | Document::RecordAgain => matches!(verbs[..], [Verb::Record(_)]),
        Document::Goodbye(_) | Document::Hangup => matches!(verbs[..], [Verb::Hangup]),
        Document::Empty => verbs.is_empty(),
    };
    assert!(fits, "{verbs:?}: {xml}");
}

/// What the client writes, the service reads: the same fields, all of the audio.
fn clip(mut source: Source<'_>) {
    let model = source.one_of(&["gpt-transcribe", "whisper-1", "שלום"]);
    let kind = source.byte() % 3;
    let times = usize::from(source.byte()) + 1;
    let sound = source.rest().repeat(times);
    let format = wav::Format::TELEPHONE;
    let clip = match kind {
        0 => Clip::MuLaw(&sound),
        1 => Clip::Samples { format, bytes: &sound },
        _ => match Clip::file(&sound) {
            Some(file) => file,
            None => return,
        },
    };
    let request = client(model).request(&clip);
    let mut service = service(true);
    drop(service.answer(now(), &request));
    let asked = service.ledger().requests.last().expect("it was asked");
    assert_eq!(asked.field("model"), Some(model));
    let file = asked.clip.as_ref().expect("a file");
    let expected = match clip {
        Clip::MuLaw(audio) => wav::HEADER_BYTES + 2 * audio.len(),
        Clip::Samples { bytes, .. } => wav::HEADER_BYTES + bytes.len() / 2 * 2,
        Clip::File { bytes, .. } => bytes.len(),
    };
    assert_eq!(file.bytes, expected);
}

fn client(model: &str) -> Service {
    let config = settings(&[("TRANSCRIBE_MODEL", model)]).config;
    Service::from_config(&config).expect("a key")
}

/// Any body of any type: refused or answered, never a panic.
fn any_form(mut source: Source<'_>) {
    static TYPES: OnceLock<[String; 3]> = OnceLock::new();
    let types = TYPES.get_or_init(|| {
        ["multipart/form-data; boundary=b", "multipart/form-data; boundary=\"\"", "application/json"].map(str::to_owned)
    });
    let content_type = &types[usize::from(source.byte()) % types.len()];
    let request = FetchRequest {
        headers: vec![("content-type", content_type.clone())],
        body: source.rest().to_vec().into(),
        ..client("whisper-1").request(&Clip::MuLaw(&[]))
    };
    drop(service(true).answer(now(), &request));
}

const fn now() -> Now {
    Now { mono: Instant::from_millis(1), unix: UnixMillis(1_795_000_000_000) }
}
