//! The prompts of this process: files are read once, at the start; texts are rendered beside the calls. What makes a
//! file a prompt, and what is asked of Google, is the core's business.

mod list;
mod studio;

pub use list::list;
pub use studio::Studio;

use bytes::Bytes;
use callwarden_core::config::Config;
use callwarden_core::lifecycle::PromptsError;
use callwarden_core::limits;
use callwarden_core::prompts::{KEPT, Prompts};
use std::fs::{File, read_dir};
use std::io::{self, Read};
use std::path::Path;

/// The prompts of `config`: its files, and its texts where there is no file.
///
/// # Errors
/// [`PromptsError`]: a prompt that is meant to be heard and cannot be is no prompt to start with.
pub fn read(config: &Config) -> Result<Prompts, PromptsError> {
    let Some(directory) = &config.prompts_dir else {
        return Prompts::new(config, |_| None).map_err(PromptsError::Unusable);
    };
    read_dir(directory).map_err(|error| PromptsError::Unreadable(directory.clone(), error))?;
    let mut unreadable = None;
    let prompts = Prompts::new(config, |name| {
        let path = directory.join(name);
        match read_file(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                unreadable = Some(PromptsError::Unreadable(path, error));
                None
            }
        }
    });
    match unreadable {
        Some(problem) => Err(problem),
        None => prompts.map_err(PromptsError::Unusable),
    }
}

/// Takes what was rendered before. A file that cannot be read is no file: its prompt is rendered anew.
pub(crate) fn take_kept(config: &Config, prompts: &mut Prompts) {
    let directory = config.data_dir.join(KEPT);
    prompts.take_kept(&config.google_tts_voice, |file| read_file(&directory.join(file)).ok());
}

/// A whole file, or as much of a too long one as shows that it is.
fn read_file(path: &Path) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::PROMPT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use callwarden_core::prompts::{Prompt, Role};
    use std::fs;
    use std::path::PathBuf;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("callwarden-הודעות-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.0.join(name), bytes).expect("written");
        }

        fn read(&self) -> Result<Prompts, PromptsError> {
            let directory = self.0.to_str().expect("UTF-8").to_owned();
            read(&Config::from_pairs([("PROMPTS_DIR".to_owned(), directory)]).expect("a configuration"))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    /// One frame of silence, MPEG-1 layer III, 64 kbit/s, 44.1 kHz.
    fn mp3() -> Vec<u8> {
        let mut frame = vec![0_u8; 208];
        frame[..4].copy_from_slice(&[0xFF, 0xFB, 0x50, 0xC0]);
        frame.repeat(4)
    }

    #[test]
    fn a_file_wins_over_its_text_and_the_others_keep_theirs() {
        let directory = Directory::new("wins");
        directory.write("greeting_he.mp3", &mp3());
        let prompts = directory.read().expect("prompts");
        assert!(matches!(prompts.get(Role::Greeting), Prompt::File { audio, .. } if audio.bytes == mp3()));
        assert!(matches!(prompts.get(Role::Fallback), Prompt::Say(text) if text.contains("הודעה")));
    }

    #[test]
    fn a_file_that_is_no_audio_or_too_long_is_named() {
        let directory = Directory::new("unusable");
        directory.write("greeting_he.mp3", "שלום".as_bytes());
        directory.write("goodbye_he.wav", &vec![0xFF; limits::PROMPT_BYTES_MAX + 1]);
        let problem = directory.read().expect_err("unusable").to_string();
        let lines: Vec<&str> = problem.lines().collect();
        assert_eq!(lines.len(), 2, "{problem}");
        assert!(lines[0].contains("greeting_he.mp3") && lines[1].contains("goodbye_he.wav"), "{problem}");
    }

    #[test]
    fn a_file_that_cannot_be_read_and_a_directory_that_is_not_there_are_named() {
        let directory = Directory::new("unreadable");
        fs::create_dir(directory.0.join("fallback_he.mp3")).expect("a directory where a file should be");
        assert!(directory.read().expect_err("unreadable").to_string().contains("fallback_he.mp3"));
        let missing = Directory(directory.0.join("איננה"));
        assert!(missing.read().expect_err("missing").to_string().contains("איננה"));
    }
}
