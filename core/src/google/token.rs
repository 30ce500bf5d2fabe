//! How a service account is given an access token (RFC 7523): it signs what it asks for.

use super::{Refusal, ServiceAccount, json_of, said};
use crate::fetch::{FetchError, FetchRequest, FetchResponse};
use crate::form;
use crate::http::Method;
use crate::limits;
use crate::secret::Secret;
use crate::time::UnixMillis;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::time::Duration;
use serde_json::{Value, json};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ADVICE: &str = "see that the key was not deleted at Google and that this machine's clock is right, or make a new \
                      key for GOOGLE_APPLICATION_CREDENTIALS";

/// What opens Google's APIs for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The `authorization` header.
    pub authorization: Secret,
    /// How long it counts, from when it was asked for.
    pub life: Duration,
}

impl ServiceAccount {
    /// What is to be signed to get a token: header and claims of a JSON Web Token. The wall clock is to be the true
    /// one: Google refuses an assertion of the future, and one longer than an hour.
    #[must_use]
    pub fn assertion(&self, now: UnixMillis) -> String {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let issued = now.0.div_euclid(1_000).saturating_sub(seconds(limits::ASSERTION_BACKDATED));
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(id) = &self.private_key_id {
            header["kid"] = Value::from(id.as_str());
        }
        let claims = json!({
            "iss": self.client_email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": issued,
            "exp": issued.saturating_add(seconds(limits::ASSERTION_LIFE)),
        });
        format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Asks for a token with an assertion and its signature.
#[must_use]
pub fn token_request(account: &ServiceAccount, assertion: &str, signature: &[u8]) -> FetchRequest {
    let signed = format!("{assertion}.{}", encode(signature));
    FetchRequest {
        method: Method::Post,
        url: account.token_uri.clone(),
        headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
        authorization: None,
        body: form::encode([("grant_type", GRANT_TYPE), ("assertion", &signed)]).into(),
        timeout: limits::GOOGLE_TOKEN_TIME,
        response_bytes_max: limits::GOOGLE_TOKEN_BYTES_MAX,
        public_only: false,
    }
}

/// Reads the answer to [`token_request`].
///
/// # Errors
/// Why there is no token.
pub fn granted(result: &Result<FetchResponse, FetchError>) -> Result<AccessToken, Refusal> {
    let response = result.as_ref().map_err(|error| Refusal::not_reached(error).without_token())?;
    match response.status {
        200..=299 => {
            let unusable =
                || Refusal::passing(format!("Google answered {} without a token", response.status)).without_token();
            json_of(response).and_then(|json| token_of(&json)).ok_or_else(unusable)
        }
        408 | 429 | 500.. => Err(Refusal::passing(said(response)).without_token()),
        _ => Err(Refusal::lasting(said(response), ADVICE).without_token()),
    }
}

impl Refusal {
    fn without_token(mut self) -> Self {
        self.detail = format!("no access token: {}", self.detail);
        self
    }
}

/// A token has to travel in a header line. One that does not say how long it counts is used once.
fn token_of(json: &Value) -> Option<AccessToken> {
    let token = json.get("access_token")?.as_str()?;
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let life = json.get("expires_in").and_then(Value::as_u64).unwrap_or_default();
    let authorization = Secret::new(format!("Bearer {token}"));
    fits.then(|| AccessToken { authorization, life: Duration::from_secs(life) })
}
