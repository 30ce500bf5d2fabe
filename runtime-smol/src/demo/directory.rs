//! The demo's files: its prompts, its database, and what the server keeps beside them. They stay, to be looked at.

use super::DemoError;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

const PROMPTS: [(&str, &[u8]); 3] = [
    ("greeting_he.wav", include_bytes!("../../assets/greeting_he.wav")),
    ("fallback_he.wav", include_bytes!("../../assets/fallback_he.wav")),
    ("goodbye_he.wav", include_bytes!("../../assets/goodbye_he.wav")),
];

pub(super) struct Directory {
    path: PathBuf,
    prompts: PathBuf,
    database: PathBuf,
}

impl Directory {
    /// A new directory of this process's under the system's one for temporary files.
    pub(super) fn create() -> Result<Self, DemoError> {
        let path = std::env::temp_dir().join(format!("callwarden-demo-{}", process::id()));
        let directory = Self { prompts: path.join("prompts"), database: path.join("callwarden.db"), path };
        directory.write().map_err(|error| DemoError::Directory(directory.path.clone(), error))?;
        Ok(directory)
    }

    fn write(&self) -> Result<(), std::io::Error> {
        // A process of the same number left its files here.
        if self.path.exists() {
            fs::remove_dir_all(&self.path)?;
        }
        fs::create_dir_all(&self.prompts)?;
        PROMPTS.iter().try_for_each(|(name, bytes)| fs::write(self.prompts.join(name), bytes))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn prompts(&self) -> &Path {
        &self.prompts
    }

    pub(super) fn database(&self) -> &Path {
        &self.database
    }
}
