//! The service account of `GOOGLE_APPLICATION_CREDENTIALS`: its file is read, and its key signs. What is asked for and
//! signed is the core's business.

use callwarden_core::config::Config;
use callwarden_core::google::{Credentials, CredentialsProblem, ServiceAccount};
use callwarden_core::limits;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::fs::File;
use std::io::{self, Read};

/// Signs with a service account's key.
#[derive(Debug)]
pub struct Signer {
    key: rsa::KeyPair,
    random: SystemRandom,
}

/// The service account of `config` and its signer; `None` without one. Reads a file, so it blocks.
///
/// # Errors
/// [`CredentialsProblem`]: with credentials that cannot be used, nobody would notice that prompts are never rendered.
pub fn open(config: &Config) -> Result<Option<(ServiceAccount, Signer)>, CredentialsProblem> {
    let account = match &config.google_credentials {
        None => return Ok(None),
        Some(Credentials::Inline(account)) => ServiceAccount::clone(account),
        Some(Credentials::File(path)) => {
            let text = read_file(path.expose()).map_err(|error| CredentialsProblem::Unreadable(error.to_string()))?;
            ServiceAccount::from_json(&text)?
        }
    };
    let signer = Signer::new(&account)?;
    Ok(Some((account, signer)))
}

/// A whole file, or as much of a too long one as shows that it is.
fn read_file(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::CREDENTIALS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Signer {
    /// The signer of an account.
    ///
    /// # Errors
    /// When its PEM holds no RSA key of 2,048 bits or more.
    pub fn new(account: &ServiceAccount) -> Result<Self, CredentialsProblem> {
        let pem = account.private_key.expose().as_bytes();
        let rejected = |rejection: ring::error::KeyRejected| CredentialsProblem::KeyRejected(rejection.to_string());
        let key = match PrivateKeyDer::from_pem_slice(pem).map_err(|_| CredentialsProblem::NotPem)? {
            PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(rejected)?,
            PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()).map_err(rejected)?,
            // Another label than the core let through.
            PrivateKeyDer::Sec1(_) | _ => return Err(CredentialsProblem::NotPem),
        };
        Ok(Self { key, random: SystemRandom::new() })
    }

    /// Signs a message: RSASSA-PKCS1-v1_5 with SHA-256. It takes about a millisecond.
    ///
    /// # Errors
    /// When the system has no random bytes, which blind the computation.
    pub fn sign(&self, message: &str) -> Result<Vec<u8>, String> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &self.random, message.as_bytes(), &mut signature)
            .map_err(|_| "the system has no random bytes".to_owned())?;
        Ok(signature)
    }
}
