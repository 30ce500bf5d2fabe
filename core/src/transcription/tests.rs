use super::*;
use crate::audio::wav;
use core::time::Duration;

/// The service of these settings.
pub(super) fn service(settings: &[(&str, &str)]) -> Option<Service> {
    let pairs = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Service::from_config(&Config::from_pairs(pairs).expect("valid settings"))
}

/// The lines of a request's form that name its fields, and the line after the empty one.
fn fields(request: &FetchRequest) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(&request.body);
    let name = |part: &str| Some(part.split_once("name=\"")?.1.split_once('"')?.0.to_owned());
    let value = |part: &str| Some(part.split_once("\r\n\r\n")?.1.split_once("\r\n")?.0.to_owned());
    text.split("--callwarden-00000000").filter_map(|part| Some((name(part)?, value(part)?))).collect()
}

#[test]
fn without_a_key_there_is_no_service() {
    assert_eq!(service(&[("OPENAI_BASE_URL", "http://whisper:9000/v1")]), None);
}

#[test]
fn the_default_model_is_asked_with_a_list_of_languages_and_never_with_one() {
    let service = service(&[("OPENAI_API_KEY", "sk-hidden")]).expect("a service");
    let request = service.request(&Clip::MuLaw(&[0xff; 800]));
    assert_eq!(request.method, Method::Post);
    assert_eq!(request.url, "https://api.openai.com/v1/audio/transcriptions");
    assert_eq!(request.authorization.as_ref().map(Secret::expose), Some("Bearer sk-hidden"));
    assert_eq!((request.response_bytes_max, request.public_only), (limits::TRANSCRIPTION_BYTES_MAX, false));
    let fields = fields(&request);
    let names: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let wanted = [("model", "gpt-transcribe"), ("languages[]", "he"), ("response_format", "json")];
    assert_eq!((&names[..3], names[3].0, names.len()), (&wanted[..], "file", 4));
    assert!(String::from_utf8_lossy(&request.body).contains("filename=\"audio.wav\"\r\nContent-Type: audio/wav\r\n"));
    assert!(!format!("{service:?}{request:?}").contains("sk-hidden"));
}

#[test]
fn any_other_model_is_asked_as_whisper_is_wherever_it_runs() {
    for model in ["whisper-1", "gpt-4o-transcribe", "ivrit-ai/whisper-large-v3", "GPT-TRANSCRIBE"] {
        let settings = [
            ("OPENAI_API_KEY", "none"),
            ("OPENAI_BASE_URL", "http://whisper:9000/v1/"),
            ("TRANSCRIBE_MODEL", model),
            ("TRANSCRIBE_LANGUAGE", "ar"),
        ];
        let request = service(&settings).expect("a service").request(&Clip::MuLaw(&[]));
        assert_eq!(request.url, "http://whisper:9000/v1/audio/transcriptions");
        let fields = fields(&request);
        let names: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(names[..3], [("model", model), ("language", "ar"), ("response_format", "json")]);
    }
    assert_eq!(Dialect::of("gpt-transcribe-2027-01-01"), Dialect::GptTranscribe);
}

#[test]
fn a_longer_clip_gets_more_time_up_to_a_bound() {
    let service = service(&[("OPENAI_API_KEY", "sk-hidden")]).expect("a service");
    let timeout = |clip: Clip<'_>| service.request(&clip).timeout;
    let seconds = |seconds: usize| vec![0; seconds * 8_000];
    assert_eq!(timeout(Clip::MuLaw(&[])), limits::TRANSCRIPTION_TIME);
    assert_eq!(timeout(Clip::MuLaw(&seconds(15))), limits::TRANSCRIPTION_TIME + Duration::from_secs(15));
    let ten_minutes = seconds(2 * 600);
    let format = wav::Format::TELEPHONE;
    assert_eq!(timeout(Clip::Samples { format, bytes: &ten_minutes }), limits::TRANSCRIPTION_TIME_MAX);
    let untold = Clip::file(b"ID3\x04\0\0\0\0\0\0").expect("an MP3 file");
    assert_eq!(timeout(untold), limits::TRANSCRIPTION_TIME_MAX);
}

#[test]
fn the_client_waits_for_a_head_as_long_as_a_transcription_may_take() {
    const { assert!(limits::RESPONSE_HEAD_TIME.as_secs() >= limits::TRANSCRIPTION_TIME_MAX.as_secs()) };
}
