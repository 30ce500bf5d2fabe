//! `callwarden prompts`: renders what is missing, and lists what callers hear.

use super::{KEPT, PromptsError, Studio, read};
use crate::clock::Clock;
use crate::fetch::{Client, ClientSettings};
use crate::google;
use callwarden_core::config::Config;
use callwarden_core::google::CredentialsProblem;
use callwarden_core::prompts::{Prompt, Prompts, RenderReport, Renderer, Role};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Why the prompts cannot even be looked at.
#[derive(Debug)]
pub enum ListError {
    /// A file of `PROMPTS_DIR`.
    Prompts(PromptsError),
    /// `GOOGLE_APPLICATION_CREDENTIALS`.
    Credentials(CredentialsProblem),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompts(error) => error.fmt(f),
            Self::Credentials(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for ListError {}

/// What is to be printed.
#[derive(Debug)]
pub struct List {
    /// A line for each prompt, under a heading.
    pub table: String,
    /// What went wrong, one line each; empty when every prompt is as it should be.
    pub problems: Vec<String>,
}

/// Renders what is missing, each prompt tried once, and lists all.
///
/// # Errors
/// [`ListError`]: the configuration is wrong.
pub fn list(config: &Config) -> Result<List, ListError> {
    let mut prompts = read(config).map_err(ListError::Prompts)?;
    let mut problems = Vec::new();
    if let Some(account) = google::open(config).map_err(ListError::Credentials)? {
        super::take_kept(config, &mut prompts);
        let client = Client::new(ClientSettings::default());
        let studio = Studio::new(config, &prompts, account, Clock::start(), client);
        let reports = Mutex::new(Vec::new());
        smol::block_on(studio.run(Renderer::has_tried_all, async |report| {
            reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        }));
        for report in reports.into_inner().unwrap_or_else(PoisonError::into_inner) {
            match report {
                RenderReport::Rendered { role, file, audio } => prompts.rendered(role, file, audio),
                RenderReport::Failed(failure) => {
                    problems.push(format!("the {} could not be rendered: {}", failure.role.name(), failure.cause));
                }
                RenderReport::NotKept { file, cause } => {
                    let directory = config.data_dir.join(KEPT);
                    problems.push(format!(
                        "cannot keep {file} in {}: {cause}; set DATA_DIR to a directory of this user",
                        directory.display()
                    ));
                }
            }
        }
    }
    Ok(List { table: table(config, &prompts), problems })
}

fn table(config: &Config, prompts: &Prompts) -> String {
    let mut text = line(["prompt", "source", "voice", "seconds", "bytes", "file"]);
    for role in Role::ALL {
        let prompt = prompts.get(role);
        let seconds = match prompt {
            Prompt::File { audio, .. } | Prompt::Rendered { audio, .. } if audio.duration.is_none() => "?".to_owned(),
            Prompt::File { .. } | Prompt::Rendered { .. } => format!("{:.1}", prompt.length().as_secs_f64()),
            Prompt::Say(_) => format!("about {}", prompt.length().as_secs()),
            Prompt::None => "0".to_owned(),
        };
        let bytes = prompt.audio().map_or_else(none, |audio| audio.bytes.len().to_string());
        let (source, voice, file) = match prompt {
            Prompt::File { name, .. } => ("file", none(), config.prompts_dir.as_ref().map(|path| path.join(name))),
            Prompt::Rendered { file, .. } => {
                ("rendered", config.google_tts_voice.to_string(), Some(config.data_dir.join(KEPT).join(file)))
            }
            Prompt::Say(_) => ("said by Twilio", prompts.say_voice().as_str().to_owned(), None),
            Prompt::None => ("none", none(), None),
        };
        let file = file.map_or_else(none, |path: PathBuf| path.display().to_string());
        text += &line([role.name(), source, &voice, &seconds, &bytes, &file]);
    }
    text
}

fn none() -> String {
    "-".to_owned()
}

fn line([prompt, source, voice, seconds, bytes, file]: [&str; 6]) -> String {
    format!("{prompt:<8}  {source:<14}  {voice:<23}  {seconds:>8}  {bytes:>8}  {file}\n")
}
