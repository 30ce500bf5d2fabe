//! The files of speech that is not transcribed yet, and of rows that the database has not taken, in
//! `DATA_DIR/utterances`: a directory for each process, and beside it a file that the process keeps locked while it lives.
//! Performs the core's [`DiskCommand`]s; which file is for what is the core's affair.

use callwarden_core::disk::{DiskAnswer, DiskCommand, DiskError, Orphan};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a lock's name ends in.
const LOCK: &str = "lock";
/// What the name of a file ends in while it is being written.
const UNFINISHED: &str = "part";

/// The directory of this process. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    node: String,
    /// Held as long as this process lives.
    _lock: File,
    /// Locks of processes that are gone, until they are buried.
    held: Mutex<BTreeMap<String, File>>,
}

impl Disk {
    /// Makes the directory of the process `node` in `data_dir`, and locks it.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(data_dir: &Path, node: &str) -> io::Result<Self> {
        let root = data_dir.join("utterances");
        fs::create_dir_all(root.join(node))?;
        // Locked before it has its name: nobody ever sees it unlocked.
        let unfinished = root.join(format!("{node}.{UNFINISHED}"));
        let lock = File::create(&unfinished)?;
        lock.lock()?;
        fs::rename(&unfinished, root.join(format!("{node}.{LOCK}")))?;
        // Without either name nobody would find what is synced in the directory.
        sync(&root)?;
        let held = Mutex::new(BTreeMap::new());
        Ok(Self(Arc::new(Directory { root, node: node.to_owned(), _lock: lock, held })))
    }

    /// Performs a command on a thread that may wait for the disk.
    ///
    /// # Errors
    /// What the system says, in words.
    pub async fn run(&self, command: DiskCommand) -> Result<DiskAnswer, DiskError> {
        let directory = Arc::clone(&self.0);
        smol::unblock(move || directory.perform(command)).await.map_err(|error| DiskError(error.to_string()))
    }
}

impl Directory {
    fn perform(&self, command: DiskCommand) -> io::Result<DiskAnswer> {
        match command {
            DiskCommand::Adopt => return self.adopt().map(DiskAnswer::Adopted),
            DiskCommand::Read { name } => {
                return fs::read(self.path(&name)).map(|bytes| DiskAnswer::Bytes(bytes.into()));
            }
            DiskCommand::Write { name, bytes, instead_of, synced } => {
                self.write(&name, &bytes, synced)?;
                if let Some(old) = instead_of {
                    remove(&self.path(&old))?;
                }
            }
            DiskCommand::Remove { name } => remove(&self.path(&name))?,
            DiskCommand::Bury { node } => self.bury(&node)?,
        }
        Ok(DiskAnswer::Done)
    }

    fn write(&self, name: &str, bytes: &[u8], synced: bool) -> io::Result<()> {
        let unfinished = self.path(&format!("{name}.{UNFINISHED}"));
        let written = write(&unfinished, bytes, synced).and_then(|()| fs::rename(&unfinished, self.path(name)));
        if written.is_err() {
            // The next try has another name: on a full disk what is left of each would take what room there is.
            fs::remove_file(&unfinished).ok();
        }
        written?;
        if synced { sync(&self.root.join(&self.node)) } else { Ok(()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(&self.node).join(name)
    }

    /// Finds the locks that nobody holds, and moves what is beside them.
    fn adopt(&self) -> io::Result<Vec<Orphan>> {
        let mut orphans = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let node = path.file_stem().and_then(OsStr::to_str).filter(|_| path.extension() == Some(OsStr::new(LOCK)));
            let Some(node) = node.filter(|node| *node != self.node) else { continue };
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.contains_key(node) {
                continue;
            }
            let Ok(lock) = File::open(&path) else { continue };
            if lock.try_lock().is_ok() {
                orphans.push(Orphan { node: node.to_owned(), files: self.move_from(node)? });
                held.insert(node.to_owned(), lock);
            }
        }
        Ok(orphans)
    }

    fn move_from(&self, node: &str) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        let entries = match fs::read_dir(self.root.join(node)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            // What its process had not finished writing is nothing.
            if entry.path().extension() == Some(OsStr::new(UNFINISHED)) {
                fs::remove_file(entry.path())?;
            } else if let Ok(name) = entry.file_name().into_string() {
                let bytes = entry.metadata()?.len();
                fs::rename(entry.path(), self.path(&name))?;
                files.push((name, bytes));
            }
        }
        sync(&self.root.join(&self.node))?;
        Ok(files)
    }

    fn bury(&self, node: &str) -> io::Result<()> {
        let directory = fs::remove_dir(self.root.join(node));
        directory.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        remove(&self.root.join(format!("{node}.{LOCK}")))?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8], synced: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    if synced { file.sync_all() } else { Ok(()) }
}

/// What a directory has names for would survive a loss of power.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A file that is not there is removed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
