//! What Google answers, whatever carries the request and whichever clock counts: on loopback, and in virtual time.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use callwarden_core::form::Form;
use callwarden_core::http::{Method, Request, Response};
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The key of the service account, which everybody knows.
pub const KEY: &str = include_str!("../../data/google/rsa.pem");
/// The same key as PKCS#1.
pub const KEY_PKCS1: &str = include_str!("../../data/google/rsa_pkcs1.pem");
/// The service account.
pub const CLIENT_EMAIL: &str = "prompts@calls.iam.gserviceaccount.example";

const KEY_ID: &str = "0123456789abcdef";
pub(super) const TOKEN_PATH: &str = "/token";
const SPEECH_PATH: &str = "/v1/text:synthesize";

/// A key file's content.
#[must_use]
pub fn key_file(private_key: &str, token_uri: &str) -> Value {
    json!({
        "type": "service_account",
        "project_id": "calls",
        "private_key_id": KEY_ID,
        "private_key": private_key,
        "client_email": CLIENT_EMAIL,
        "client_id": "100000000000000000001",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    })
}

/// What the service does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// What it is asked.
    Fine,
    /// It closes connections without an answer.
    Away,
    /// It keeps requests waiting until its mood changes.
    Silent,
    /// It answers 200 and something that is no JSON.
    Garbage,
    /// It gives no tokens and answers this status.
    NoToken(u16),
    /// It gives no speech and answers this status.
    NoSpeech(u16),
    /// Its speech is longer than anybody wants: this many bytes.
    Huge(usize),
}

/// The token endpoint and the speech service.
#[derive(Debug)]
pub struct GoogleService {
    token_uri: String,
    /// How old an assertion it takes, in seconds. Google takes one until it expires.
    pub oldest_assertion: u64,
    /// What it does with requests.
    pub mood: Mood,
    tokens: Vec<String>,
    spoken: Vec<String>,
    /// How many requests came in, as whoever carries them counts.
    pub requests: usize,
    /// What was wrong with them.
    pub complaints: Vec<String>,
}

/// The audio of a text: 60 ms a character, as a WAV of mu-law at 8 kHz.
#[must_use]
pub fn speech(text: &str) -> Vec<u8> {
    let sound: Vec<u8> = text.bytes().cycle().take(text.chars().count() * 480).collect();
    let length = u32::try_from(sound.len()).unwrap_or(u32::MAX);
    let mut wav = b"RIFF".to_vec();
    wav.extend((length + 38).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(18_u32.to_le_bytes());
    // Mu-law, one channel, 8,000 samples and bytes a second, one byte of 8 bits a sample, nothing more.
    wav.extend([7, 0, 1, 0]);
    wav.extend(8_000_u32.to_le_bytes());
    wav.extend(8_000_u32.to_le_bytes());
    wav.extend([1, 0, 8, 0, 0, 0]);
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    wav.extend(sound);
    wav
}

impl GoogleService {
    /// A service whose tokens are given at this address.
    #[must_use]
    pub fn new(token_uri: String) -> Self {
        Self {
            token_uri,
            oldest_assertion: 3_600,
            mood: Mood::Fine,
            tokens: Vec::new(),
            spoken: Vec::new(),
            requests: 0,
            complaints: Vec::new(),
        }
    }

    /// The key file that opens it.
    #[must_use]
    pub fn credentials(&self) -> String {
        key_file(KEY, &self.token_uri).to_string()
    }

    /// The tokens it gave still look like tokens, and open nothing.
    pub fn forget_tokens(&mut self) {
        self.tokens.iter_mut().for_each(|token| token.push_str(" (forgotten)"));
    }

    /// Every token it gave.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Every text it spoke.
    #[must_use]
    pub fn spoken(&self) -> &[String] {
        &self.spoken
    }

    /// Its answer at this second of 1970's; `None` where it closes the connection without one.
    pub fn answer(&mut self, now: u64, request: &Request) -> Option<Response> {
        let for_token = request.path() == TOKEN_PATH;
        match self.mood {
            Mood::Away => return None,
            Mood::Garbage => return Some(Response::text(200, "<html>שגיאה</html>")),
            Mood::NoToken(status) if for_token => {
                let body = json!({"error": "invalid_grant", "error_description": "As simulated."});
                return Some(json_answer(status, &body));
            }
            Mood::NoSpeech(status) if !for_token => return Some(refusal(status, "SIMULATED", "As simulated.")),
            Mood::Fine | Mood::Silent | Mood::NoToken(_) | Mood::NoSpeech(_) | Mood::Huge(_) => {}
        }
        let answer = match (request.path(), &request.method) {
            (TOKEN_PATH, Method::Post) => self.check_assertion(now, request).map(|()| self.grant()),
            (SPEECH_PATH, Method::Post) if !self.is_known(request) => {
                let message = "Request had invalid authentication credentials.";
                return Some(refusal(401, "UNAUTHENTICATED", message));
            }
            (SPEECH_PATH, Method::Post) => check_speech(request).map(|text| self.speak(text)),
            (path, method) => Err(format!("{method:?} {path}")),
        };
        Some(answer.unwrap_or_else(|complaint| {
            self.complaints.push(complaint.clone());
            refusal(400, "INVALID_ARGUMENT", &complaint)
        }))
    }

    fn grant(&mut self) -> Response {
        let token = format!("ya29.simulated-{}", self.tokens.len() + 1);
        self.tokens.push(token.clone());
        json_answer(200, &json!({"access_token": token, "expires_in": 3_599, "token_type": "Bearer"}))
    }

    fn is_known(&self, request: &Request) -> bool {
        let bearer = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        bearer.is_some_and(|bearer| self.tokens.iter().any(|token| token == bearer))
    }

    fn speak(&mut self, text: String) -> Response {
        let audio = match self.mood {
            Mood::Huge(bytes) => vec![b'A'; bytes],
            Mood::Fine | Mood::Away | Mood::Silent | Mood::Garbage | Mood::NoToken(_) | Mood::NoSpeech(_) => {
                speech(&text)
            }
        };
        self.spoken.push(text);
        json_answer(200, &json!({"audioContent": STANDARD.encode(audio)}))
    }

    /// RFC 7523, as Google wants it.
    fn check_assertion(&self, now: u64, request: &Request) -> Result<(), String> {
        expect("content type", request.headers.get("content-type"), Some("application/x-www-form-urlencoded"))?;
        expect("authorization", request.headers.get("authorization"), None)?;
        let form = Form::parse(&request.body);
        expect("fields", &form.iter().map(|(name, _)| name).collect::<Vec<_>>(), &vec!["grant_type", "assertion"])?;
        expect("grant", form.get("grant_type"), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"))?;
        let assertion = form.get("assertion").unwrap_or_default();
        let (signed, signature) = assertion.rsplit_once('.').ok_or("the assertion has no signature")?;
        let (header, claims) = signed.split_once('.').ok_or("the assertion has no claims")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|error| format!("the signature: {error}"))?;
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &*PUBLIC_KEY);
        key.verify(signed.as_bytes(), &signature).map_err(|_| "the signature does not fit")?;
        expect("header", &part(header)?, &json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID}))?;
        let claims = part(claims)?;
        let issued = claims["iat"].as_u64().ok_or("no time of issue")?;
        if issued > now || issued + self.oldest_assertion < now {
            return Err(format!("issued at {issued}, and now is {now}"));
        }
        let expected = json!({
            "iss": CLIENT_EMAIL,
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": self.token_uri,
            "iat": issued,
            "exp": issued + 3_600,
        });
        expect("claims", &claims, &expected)
    }
}

/// The text that is to be spoken.
fn check_speech(request: &Request) -> Result<String, String> {
    expect("content type", request.headers.get("content-type"), Some("application/json; charset=utf-8"))?;
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| format!("the body: {error}"))?;
    let text = body["input"]["text"].as_str().filter(|text| !text.is_empty()).ok_or("no text")?;
    let voice = body["voice"]["name"].as_str().ok_or("no voice")?;
    let language: Vec<&str> = voice.split('-').take(2).collect();
    let expected = json!({
        "input": {"text": text},
        "voice": {"languageCode": language.join("-"), "name": voice},
        "audioConfig": {"audioEncoding": "MULAW", "sampleRateHertz": 8_000},
    });
    expect("body", &body, &expected)?;
    Ok(text.to_owned())
}

fn part(encoded: &str) -> Result<Value, String> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|error| format!("a part of the assertion: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("a part of the assertion: {error}"))
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, is: T, expected: T) -> Result<(), String> {
    if is == expected { Ok(()) } else { Err(format!("{what}: {is:?} and not {expected:?}")) }
}

/// The public half of [`KEY`]. Reading a private key, with all that is checked of it, takes as long as a call.
static PUBLIC_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let lines: String = KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(lines).expect("a PEM");
    KeyPair::from_pkcs8(&der).expect("a key").public().as_ref().to_vec()
});

fn json_answer(status: u16, body: &Value) -> Response {
    Response::empty(status).with("content-type", "application/json").body(body.to_string())
}

fn refusal(status: u16, name: &str, message: &str) -> Response {
    json_answer(status, &json!({"error": {"code": status, "status": name, "message": message}}))
}
