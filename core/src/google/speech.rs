//! `text:synthesize`: a text becomes audio.

use super::{Refusal, Trouble, Voice, json_of, said};
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::http::Method;
use crate::limits;
use crate::prompts::AudioFile;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Said of a token that was just given.
const NOT_TAKEN: &str = "see that the service account was not disabled at Google";

/// Asks for the speech of a text, as a WAV of mu-law at 8 kHz: what a telephone line carries. Twilio turns every file
/// into that; given so, nothing is compressed twice (MP3 comes at 32 kbit/s), nothing is converted while a caller waits,
/// and the length stands in the header.
#[must_use]
pub fn synthesize(base: &str, authorization: &Secret, voice: &Voice, text: &str) -> FetchRequest {
    let body = json!({
        "input": {"text": text},
        "voice": {"languageCode": voice.language_code(), "name": voice.as_str()},
        "audioConfig": {"audioEncoding": "MULAW", "sampleRateHertz": 8_000},
    });
    FetchRequest {
        method: Method::Post,
        url: format!("{base}/text:synthesize"),
        headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
        authorization: Some(authorization.clone()),
        body: body.to_string().into(),
        timeout: limits::SPEECH_TIME,
        response_bytes_max: limits::SPEECH_BYTES_MAX,
        public_only: false,
    }
}

/// Reads the answer to [`synthesize`].
///
/// # Errors
/// Why there is no speech.
pub fn synthesized(result: &Result<FetchResponse, FetchError>) -> Result<AudioFile, Refusal> {
    let response = result.as_ref().map_err(Refusal::not_reached)?;
    let advice = match response.status {
        200..=299 => return speech_of(response),
        408 | 429 | 500.. => return Err(Refusal::passing(said(response))),
        401 => return Err(Refusal { trouble: Trouble::Token, detail: said(response), advice: NOT_TAKEN }),
        400 => "see that Google has the voice of GOOGLE_TTS_VOICE",
        403 => {
            "enable the Cloud Text-to-Speech API and billing in the project of the service account, and let the \
             account use it"
        }
        _ => "see that GOOGLE_TTS_BASE_URL is where Google's speech service is",
    };
    Err(Refusal::lasting(said(response), advice))
}

fn speech_of(response: &FetchResponse) -> Result<AudioFile, Refusal> {
    let json = json_of(response);
    let content = json.as_ref().and_then(|json| json.get("audioContent")?.as_str());
    let bytes = content.and_then(|content| STANDARD.decode(content).ok());
    let bytes = bytes.ok_or_else(|| Refusal::passing(format!("Google answered {} without audio", response.status)))?;
    let sound = AudioFile::with_sound(bytes.into());
    sound.ok_or_else(|| Refusal::passing(format!("Google answered {} with audio that holds no sound", response.status)))
}
