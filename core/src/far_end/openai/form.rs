//! What may be asked of which model, checked as the documentation of the API demands.

use super::multipart::{self, Part};
use super::wav::{self, Audio};
use super::{Clip, Refusal, Transcription};
use crate::fetch::FetchRequest;
use crate::limits;
use core::fmt::Write as _;
use core::time::Duration;
use sha2::{Digest as _, Sha256};

/// Models that are asked alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `gpt-transcribe`, also with a date.
    Transcribe,
    /// `gpt-4o-transcribe` and its smaller sisters.
    Omni,
    /// `whisper-1`.
    Whisper,
}

impl Family {
    fn of(model: &str) -> Option<Self> {
        match model {
            "whisper-1" => Some(Self::Whisper),
            "gpt-4o-transcribe" | "gpt-4o-mini-transcribe" | "gpt-4o-mini-transcribe-2025-12-15" => Some(Self::Omni),
            "gpt-transcribe" => Some(Self::Transcribe),
            dated if dated.starts_with("gpt-transcribe-") => Some(Self::Transcribe),
            _ => None,
        }
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text,
    Verbose,
}

/// A request that the API carries out.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) family: Family,
    pub(super) format: Format,
    pub(super) languages: Vec<String>,
    /// The samples, where the file could be read.
    pub(super) audio: Option<Audio>,
    pub(super) length: Duration,
}

/// The file extensions the API takes.
const EXTENSIONS: [&str; 9] = ["flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"];
/// The languages the API lists as supported, by ISO 639-1.
const LANGUAGES: [&str; 57] = [
    "af", "ar", "hy", "az", "be", "bs", "bg", "ca", "zh", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "gl", "de",
    "el", "he", "hi", "hu", "is", "id", "it", "ja", "kn", "kk", "ko", "lv", "lt", "mk", "ms", "mr", "mi", "ne", "no",
    "fa", "pl", "pt", "ro", "ru", "sr", "sk", "sl", "es", "sw", "sv", "tl", "ta", "th", "tr", "uk", "ur", "vi", "cy",
];

impl Order {
    /// Reads a request; what could be read of one that is refused is entered all the same.
    pub(super) fn read(request: &FetchRequest, entry: &mut Transcription) -> Result<Self, Refusal> {
        let content_type = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let content_type = content_type.map_or("", |(_, value)| value);
        let boundary = multipart::boundary(content_type).map_err(Refusal::bad_form)?;
        let parts = multipart::parts(&boundary, &request.body).map_err(Refusal::bad_form)?;
        let mut file = None;
        for part in parts {
            if part.name == "file" {
                file = Some(part);
            } else {
                let text = String::from_utf8_lossy(part.content).into_owned();
                entry.fields.push((part.name, text));
            }
        }
        let file = file.ok_or_else(|| missing("file"))?;
        let audio = audio(&file);
        let length = audio.as_ref().map(Audio::length).or_else(|| wav::mp3_length(file.content));
        entry.clip = Some(clip(&file, audio.as_ref(), length));
        let (family, format, languages) = fields(&entry.fields)?;
        let length = check_file(&file, length)?;
        Ok(Self { family, format, languages, audio, length })
    }
}

fn audio(file: &Part<'_>) -> Option<Audio> {
    wav::read(file.content)
}

fn clip(file: &Part<'_>, audio: Option<&Audio>, length: Option<Duration>) -> Clip {
    let mut digest = String::new();
    for byte in Sha256::digest(file.content) {
        write!(digest, "{byte:02x}").expect("writing to a string does not fail");
    }
    Clip {
        name: file.file_name.clone().unwrap_or_default(),
        content_type: file.content_type.clone(),
        bytes: file.content.len(),
        digest,
        length,
        rate: audio.map(|audio| audio.rate),
    }
}

/// How long a file plays that is what its name says, and long enough; unknown lengths count as a second.
fn check_file(file: &Part<'_>, length: Option<Duration>) -> Result<Duration, Refusal> {
    let name = file.file_name.as_deref().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let Some(extension) = extension.filter(|extension| EXTENSIONS.contains(&extension.as_str())) else {
        return Err(Refusal::bad_form(format!("Invalid file format. Supported formats: {EXTENSIONS:?}")));
    };
    if !wav::is_what_it_says(&extension, file.content) {
        return Err(Refusal::undecodable());
    }
    let length = length.unwrap_or(Duration::from_secs(1));
    if length < limits::FAR_END_AUDIO_TIME_MIN { Err(Refusal::too_short()) } else { Ok(length) }
}

fn missing(name: &str) -> Refusal {
    Refusal::invalid(name, Some("missing_required_parameter"), format!("Missing required parameter: '{name}'."))
}

fn unsupported(name: &str) -> Refusal {
    let text = format!("The parameter '{name}' is not supported with this model.");
    Refusal::invalid(name, Some("unsupported_parameter"), text)
}

fn wrong_value(name: &str) -> Refusal {
    Refusal::invalid(name, Some("invalid_value"), format!("Invalid value for '{name}'."))
}

/// Checks every field against the model.
fn fields(fields: &[(String, String)]) -> Result<(Family, Format, Vec<String>), Refusal> {
    let value = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let model = value("model").ok_or_else(|| missing("model"))?;
    let family = Family::of(model).ok_or_else(|| Refusal::no_such_model(model))?;
    let format = format(family, value("response_format"))?;
    for (place, (name, value)) in fields.iter().enumerate() {
        if !name.ends_with("[]") && fields[..place].iter().any(|(earlier, _)| earlier == name) {
            return Err(Refusal::invalid(name, None, format!("Duplicate parameter: '{name}'.")));
        }
        check_field(family, format, name, value)?;
    }
    let languages = fields.iter().filter(|(name, _)| matches!(name.as_str(), "language" | "languages[]"));
    Ok((family, format, languages.map(|(_, code)| code.clone()).collect()))
}

/// `verbose_json` and `text` are for `whisper-1`.
fn format(family: Family, asked: Option<&str>) -> Result<Format, Refusal> {
    match (asked, family) {
        (None | Some("json"), _) => Ok(Format::Json),
        (Some("text"), Family::Whisper) => Ok(Format::Text),
        (Some("verbose_json"), Family::Whisper) => Ok(Format::Verbose),
        (Some(other), _) => {
            let text = format!("response_format '{other}' is not compatible with this model. Use 'json' instead.");
            Err(Refusal::invalid("response_format", Some("unsupported_value"), text))
        }
    }
}

fn check_field(family: Family, format: Format, name: &str, value: &str) -> Result<(), Refusal> {
    let valid = match (name, family) {
        ("model" | "response_format" | "chunking_strategy", _) => true,
        ("language", Family::Omni | Family::Whisper) | ("languages[]", Family::Transcribe) => {
            return language(name, value);
        }
        // The new model refuses what could pass for markup or another line.
        ("keywords[]" | "prompt", Family::Transcribe) => {
            value.chars().count() <= limits::FAR_END_PROMPT_CHARS_MAX && !value.contains(['<', '>', '\r', '\n'])
        }
        ("prompt", Family::Omni | Family::Whisper) => true,
        ("temperature", _) => value.parse::<f32>().is_ok_and(|number| (0.0..=1.0).contains(&number)),
        ("timestamp_granularities[]", Family::Whisper) => {
            format == Format::Verbose && matches!(value, "word" | "segment")
        }
        ("include[]", Family::Omni) => value == "logprobs",
        ("stream", Family::Whisper) => matches!(value, "true" | "false"),
        ("stream", _) => value == "false",
        ("language" | "languages[]" | "keywords[]" | "timestamp_granularities[]" | "include[]", _) => {
            return Err(unsupported(name));
        }
        _ => {
            let text = format!("Unrecognized request argument supplied: {name}");
            return Err(Refusal::invalid(name, Some("unknown_parameter"), text));
        }
    };
    if valid { Ok(()) } else { Err(wrong_value(name)) }
}

fn language(name: &str, code: &str) -> Result<(), Refusal> {
    if LANGUAGES.contains(&code) {
        return Ok(());
    }
    Err(Refusal::invalid(name, Some("unsupported_language"), format!("Language '{code}' is not supported.")))
}
