//! `callwarden prompts`: renders what is missing, and lists what callers hear.

use super::{Studio, read};
use crate::clock::Clock;
use crate::fetch::{Client, ClientSettings};
use crate::google;
use callwarden_core::config::Config;
use callwarden_core::lifecycle::StartError;
use callwarden_core::prompts::{List, Renderer};
use std::sync::{Mutex, PoisonError};

/// Renders what is missing, each prompt tried once, and lists all.
///
/// # Errors
/// [`StartError`]: the configuration is wrong.
pub fn list(config: &Config) -> Result<List, StartError> {
    let mut prompts = read(config).map_err(StartError::Prompts)?;
    let reports = Mutex::new(Vec::new());
    if let Some(account) = google::open(config).map_err(StartError::Credentials)? {
        super::take_kept(config, &mut prompts);
        let client = Client::new(ClientSettings::default());
        let studio = Studio::new(config, &prompts, account, Clock::start(), client);
        smol::block_on(studio.run(Renderer::has_tried_all, async |report| {
            reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        }));
    }
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(List::new(config, prompts, reports))
}
