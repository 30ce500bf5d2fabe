//! What `callwarden prompts` prints: a table of what callers hear, and what went wrong.

use super::{Prompt, Prompts, RenderReport, Role};
use crate::config::Config;
use std::path::PathBuf;

/// The directory in `DATA_DIR` where renderings are kept for the next start.
pub const KEPT: &str = "prompts";

/// What is to be printed.
#[derive(Debug)]
pub struct List {
    /// A line for each prompt, under a heading.
    pub table: String,
    /// What went wrong, one line each; empty when every prompt is as it should be.
    pub problems: Vec<String>,
}

impl List {
    /// The list of `prompts` after what `reports` say of their rendering.
    #[must_use]
    pub fn new(config: &Config, mut prompts: Prompts, reports: Vec<RenderReport>) -> Self {
        let mut problems = Vec::new();
        for report in reports {
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
        Self { table: table(config, &prompts), problems }
    }
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
