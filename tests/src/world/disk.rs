//! The simulated disk: files of this process, and of those that are gone.

use bytes::Bytes;
use callwarden_core::disk::{DiskAnswer, DiskCommand, DiskError, Orphan};
use callwarden_core::store::spooled;
use callwarden_core::time::Instant;
use std::collections::BTreeMap;

/// The utterance files of one `DATA_DIR`.
#[derive(Debug, Default)]
pub struct SimulatedDisk {
    /// The files of the process that runs.
    pub files: BTreeMap<String, Bytes>,
    /// Rendered prompts.
    pub(super) kept: BTreeMap<String, Bytes>,
    /// Whether it refuses everything.
    pub fails: bool,
    /// When it last refused something.
    pub(super) refused_at: Option<Instant>,
    /// How often a file was written.
    pub writes: usize,
    /// Processes that are gone and nobody has adopted.
    orphans: BTreeMap<String, BTreeMap<String, Bytes>>,
    /// Adopted ones that are not buried.
    unburied: BTreeMap<String, BTreeMap<String, Bytes>>,
}

impl SimulatedDisk {
    /// The process that runs is gone; what it had adopted and not buried is to be adopted again.
    pub(super) fn orphan(&mut self, node: &str) {
        self.orphans.insert(node.to_owned(), std::mem::take(&mut self.files));
        self.orphans.append(&mut self.unburied);
    }

    /// Whether a process that is gone left files that nobody has adopted yet.
    pub(super) fn has_orphans(&self) -> bool {
        self.orphans.values().any(|files| !files.is_empty())
    }

    /// The names of the files of speech.
    #[must_use]
    pub fn of_speech(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).filter(|name| !spooled::is_one(name)).collect()
    }

    pub(super) fn run(&mut self, now: Instant, command: DiskCommand) -> Result<DiskAnswer, DiskError> {
        if self.fails {
            self.refused_at = Some(now);
            return Err(DiskError("no space left on device".to_owned()));
        }
        match command {
            DiskCommand::Adopt => {
                let orphans: Vec<Orphan> = std::mem::take(&mut self.orphans)
                    .into_iter()
                    .map(|(node, files)| {
                        let listed = files.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect();
                        self.files.extend(files);
                        self.unburied.insert(node.clone(), BTreeMap::new());
                        Orphan { node, files: listed }
                    })
                    .collect();
                return Ok(DiskAnswer::Adopted(orphans));
            }
            DiskCommand::Write { name, bytes, instead_of, synced: _ } => {
                self.writes += 1;
                self.files.insert(name, bytes);
                instead_of.and_then(|old| self.files.remove(&old));
            }
            DiskCommand::Read { name } => {
                let bytes = self.files.get(&name).cloned();
                return bytes.map(DiskAnswer::Bytes).ok_or_else(|| DiskError("no such file".to_owned()));
            }
            DiskCommand::Remove { name } => {
                self.files.remove(&name);
            }
            DiskCommand::Bury { node } => {
                self.unburied.remove(&node);
            }
        }
        Ok(DiskAnswer::Done)
    }
}
