//! `GOOGLE_APPLICATION_CREDENTIALS`: the key file of a service account, and everything that can be wrong with it.

use crate::limits;
use crate::secret::Secret;
use core::fmt;
use serde_json::Value;
use serde_json::error::Category;

/// The variable, as every problem names it.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
/// The forms of an RSA key that is not encrypted: PKCS#8, which Google gives out, and PKCS#1.
const RSA_LABELS: [&str; 2] = ["PRIVATE KEY", "RSA PRIVATE KEY"];

/// The variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The path of the key file. Shown nowhere: it may be something else, pasted here by mistake.
    File(Secret),
    /// The key file's content.
    Inline(Box<ServiceAccount>),
}

impl Credentials {
    /// Reads the variable: what begins like JSON is the content itself.
    ///
    /// # Errors
    /// When that content is no usable key file.
    pub fn from_setting(text: &str) -> Result<Self, CredentialsProblem> {
        if text.starts_with('{') {
            return ServiceAccount::from_json(text.as_bytes()).map(|account| Self::Inline(Box::new(account)));
        }
        Ok(Self::File(Secret::new(text)))
    }
}

/// A service account with its key, as its key file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Who it is.
    pub client_email: String,
    /// Which of its keys this is, where the file says so.
    pub private_key_id: Option<String>,
    /// The key, as PEM.
    pub private_key: Secret,
    /// Where it is given access tokens.
    pub token_uri: String,
}

/// Why the variable cannot be used. Displays one line that names it and says what to do; holds nothing of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsProblem {
    /// The file it names cannot be read, for this reason.
    Unreadable(String),
    /// More than [`limits::CREDENTIALS_BYTES_MAX`].
    TooLong,
    /// The JSON ends before its end.
    CutShort,
    /// No JSON, from this line and column on.
    NotJson(usize, usize),
    /// JSON of another kind than a service account's; its `type`, where that can be shown.
    WrongType(Option<String>),
    /// A member is missing, empty or no text.
    Missing(&'static str),
    /// `token_uri` is no URL.
    TokenUri,
    /// The key's line ends are written as two characters each.
    EscapedTwice,
    /// The key is encrypted.
    Encrypted,
    /// The key is no RSA key, or no private one; its PEM label.
    NotRsa(String),
    /// No PEM at all, or one without its end.
    NotPem,
    /// A PEM whose content is no key that can be used, for this reason.
    KeyRejected(String),
}

impl CredentialsProblem {
    /// What is wrong.
    #[must_use]
    pub fn wrong(&self) -> String {
        match self {
            Self::Unreadable(cause) => format!("the file it names cannot be read: {cause}"),
            Self::TooLong => format!("longer than {} KiB", limits::CREDENTIALS_BYTES_MAX / 1024),
            Self::CutShort => "its JSON ends in the middle".to_owned(),
            Self::NotJson(line, column) => format!("no JSON (line {line}, column {column})"),
            Self::WrongType(Some(kind)) => format!("its `type` is {kind} and not service_account"),
            Self::WrongType(None) => "its `type` is not service_account".to_owned(),
            Self::Missing(member) => format!("`{member}` is missing or empty"),
            Self::TokenUri => "`token_uri` is no http:// or https:// URL".to_owned(),
            Self::EscapedTwice => {
                "the lines of `private_key` end in a backslash and an n, because it was escaped twice".to_owned()
            }
            Self::Encrypted => "`private_key` is encrypted".to_owned(),
            Self::NotRsa(label) => format!("`private_key` is labelled {label}, which is no RSA private key"),
            Self::NotPem => "`private_key` is no whole PEM, from its BEGIN line to its END line".to_owned(),
            Self::KeyRejected(cause) => format!("`private_key` is no RSA key that can be used ({cause})"),
        }
    }

    /// What to write instead.
    #[must_use]
    pub const fn instead(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "write the path of the key file, or its whole content on one line",
            Self::CutShort | Self::NotJson(..) | Self::TooLong | Self::EscapedTwice | Self::NotPem => {
                "take the key file as Google gave it out: write its path, or its whole content on one line"
            }
            Self::WrongType(_) | Self::Missing(_) | Self::TokenUri => {
                "take the key file of a service account (Google Cloud console, IAM, Service accounts, Keys)"
            }
            Self::Encrypted | Self::NotRsa(_) | Self::KeyRejected(_) => {
                "make a new JSON key for the service account and take its file as it is"
            }
        }
    }
}

impl fmt::Display for CredentialsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE}: {}; {}", self.wrong(), self.instead())
    }
}

impl core::error::Error for CredentialsProblem {}

impl ServiceAccount {
    /// Reads a key file's content. Whether the PEM holds a key, its signer finds out.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_json(text: &[u8]) -> Result<Self, CredentialsProblem> {
        if text.len() > limits::CREDENTIALS_BYTES_MAX {
            return Err(CredentialsProblem::TooLong);
        }
        let json: Value = serde_json::from_slice(text).map_err(|error| match error.classify() {
            Category::Eof => CredentialsProblem::CutShort,
            Category::Syntax | Category::Data | Category::Io => {
                CredentialsProblem::NotJson(error.line(), error.column())
            }
        })?;
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        if text("type") != Some("service_account") {
            return Err(CredentialsProblem::WrongType(text("type").filter(|kind| is_a_word(kind)).map(str::to_owned)));
        }
        let required = |name: &'static str| text(name).ok_or(CredentialsProblem::Missing(name));
        let (client_email, private_key) = (required("client_email")?, required("private_key")?);
        let token_uri = required("token_uri")?;
        check_pem(private_key)?;
        if !is_url(token_uri) {
            return Err(CredentialsProblem::TokenUri);
        }
        Ok(Self {
            client_email: client_email.to_owned(),
            private_key_id: text("private_key_id").map(str::to_owned),
            private_key: Secret::new(private_key),
            token_uri: token_uri.to_owned(),
        })
    }
}

/// Of another kind of credentials: `authorized_user`, `external_account`.
fn is_a_word(kind: &str) -> bool {
    kind.len() <= 40 && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn is_url(text: &str) -> bool {
    let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@'))
}

/// Looks at the lines around the key, which say what it is.
fn check_pem(pem: &str) -> Result<(), CredentialsProblem> {
    if pem.contains("\\n") {
        return Err(CredentialsProblem::EscapedTwice);
    }
    let label = pem.strip_prefix(BEGIN).and_then(|rest| rest.split_once(DASHES)).map(|(label, _)| label);
    let label = label.ok_or(CredentialsProblem::NotPem)?;
    if label == "ENCRYPTED PRIVATE KEY" || pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CredentialsProblem::Encrypted);
    }
    if !RSA_LABELS.contains(&label) {
        let shown = label.len() <= 40 && label.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' ');
        return Err(if shown { CredentialsProblem::NotRsa(label.to_owned()) } else { CredentialsProblem::NotPem });
    }
    if pem.ends_with(&format!("{DASHES}END {label}{DASHES}")) { Ok(()) } else { Err(CredentialsProblem::NotPem) }
}
