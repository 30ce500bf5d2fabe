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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::AudioFile;
    use bytes::Bytes;

    /// Half a second of mu-law as WAV.
    fn wav() -> Bytes {
        let format =
            [&b"fmt "[..], &16_u32.to_le_bytes(), &[7, 0, 1, 0], &8_000_u32.to_le_bytes(), &8_000_u32.to_le_bytes()];
        let data = [&[1, 0, 8, 0][..], b"data", &4_000_u32.to_le_bytes(), &[0xff; 4_000]];
        Bytes::from([b"RIFF\0\0\0\0WAVE", &format.concat()[..], &data.concat()].concat())
    }

    fn config(pairs: &[(&str, &str)]) -> Config {
        Config::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).expect("valid")
    }

    /// The cells of the table, between two spaces or more.
    fn rows(list: &List) -> Vec<Vec<&str>> {
        list.table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect()
    }

    #[test]
    fn the_table_says_of_each_prompt_where_it_comes_from_and_how_long_it_is() {
        let config = config(&[
            ("PROMPTS_DIR", "/prompts"),
            ("DATA_DIR", "/data"),
            ("FALLBACK_TEXT", "twenty letters, or 2"),
            ("GOODBYE_TEXT", ""),
        ]);
        let prompts = Prompts::new(&config, |name| (name == "greeting_he.wav").then(wav)).expect("prompts");
        let said = List::new(&config, prompts.clone(), Vec::new());
        assert_eq!(
            rows(&said),
            [
                vec!["prompt", "source", "voice", "seconds", "bytes", "file"],
                vec!["greeting", "file", "-", "0.5", "4044", "/prompts/greeting_he.wav"],
                vec!["fallback", "said by Twilio", "Google.he-IL-Wavenet-A", "about 2", "-", "-"],
                vec!["goodbye", "none", "-", "0", "-", "-"],
            ]
        );
        let starts = ["prompt    source          voice", "greeting  file            -  "];
        assert!(said.table.lines().zip(starts).all(|(line, start)| line.starts_with(start)), "{}", said.table);
        assert!(said.table.ends_with("-  -\n") && said.problems.is_empty(), "{}", said.table);
        let unreadable = AudioFile::new(Bytes::from_static(b"ID3 nothing follows")).expect("a file");
        let reports =
            [(Role::Fallback, "f.wav", AudioFile::new(wav()).expect("a file")), (Role::Greeting, "g.mp3", unreadable)];
        let reports = reports.map(|(role, file, audio)| RenderReport::Rendered { role, file: file.to_owned(), audio });
        let without = Prompts::new(&config, |_| None).expect("no files");
        let rendered = List::new(&config, without, reports.into());
        assert_eq!(
            rows(&rendered)[1..3],
            [
                vec!["greeting", "rendered", "he-IL-Wavenet-A", "?", "19", "/data/prompts/g.mp3"],
                vec!["fallback", "rendered", "he-IL-Wavenet-A", "0.5", "4044", "/data/prompts/f.wav"],
            ]
        );
    }
}
