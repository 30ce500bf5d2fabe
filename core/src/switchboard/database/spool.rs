//! The spool: what waits for a database that does not answer stands in files of `DATA_DIR` too (D3).
//!
//! A file is written once, synced, and removed when the database has all of it. Written is everything that has no file
//! yet, again and again while the database is down: one file at a time, so that a slow disk makes larger files and not
//! more of them. What a process leaves behind is read by the next one, and taken by the database a second time where it
//! must be: facts may repeat (D2).
//!
//! It is no database but files, because the directory of the process, its lock and its adoption are there for speech
//! already (T5), and a file that is whole or not there needs no journal and no repair.

use super::super::Output;
use super::Database;
use super::work::Waiting;
use crate::limits;
use crate::log::{Event, Level, LogLine};
use crate::store::spooled;
use crate::time::Instant;
use bytes::Bytes;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

/// Names a file of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::switchboard) struct FileKey(u64);

/// A file of facts.
#[derive(Debug)]
struct File {
    name: String,
    since: Instant,
    bytes: usize,
    /// Facts of it that wait in memory.
    left: usize,
    /// Whether it is on the disk: before that it promises nothing.
    written: bool,
    /// Whether facts of it are in it alone: memory was full. Then it is read again before it goes.
    holds_more: bool,
    /// Whether it was read, and not written by this process.
    was_read: bool,
    /// Whether lines of it could not be read: then it stays, for somebody to look at.
    damaged: bool,
}

/// The files, and what is to be done to them.
#[derive(Debug, Default)]
pub(super) struct Spool {
    files: BTreeMap<FileKey, File>,
    next: u64,
    writing: bool,
    /// Names of files to be read: those of processes that are gone, and those that hold more than memory did.
    unread: VecDeque<String>,
    reading: bool,
    useless: VecDeque<String>,
    bytes: usize,
    /// Facts in memory that stand in files.
    left: usize,
    /// Since when the disk has not done what it was told, and when it is told again.
    failing: Option<(Instant, Instant)>,
}

impl Spool {
    /// Files that hold facts, or may.
    pub(super) fn files(&self) -> usize {
        self.files.len() + self.unread.len() + usize::from(self.reading)
    }

    /// Facts in memory that stand in files, written or being written.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// How long the oldest of them has waited.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.files.values().filter(|file| !file.damaged || file.left > 0).map(|file| now.since(file.since)).max()
    }

    /// Since when the disk has not done what it was told.
    pub(super) fn failing_since(&self) -> Option<Instant> {
        self.failing.map(|(since, _)| since)
    }

    /// Whether a fact that stands in this file is safe there.
    pub(super) fn is_safe(&self, file: Option<FileKey>) -> bool {
        file.and_then(|key| self.files.get(&key)).is_some_and(|file| file.written)
    }

    /// A file is of no more use: the next name that is to be removed.
    pub(super) fn next_useless(&mut self) -> Option<String> {
        self.useless.pop_front()
    }

    /// When the disk is to be tried again, if it failed; `now` while it did not.
    fn ready(&self, now: Instant) -> Instant {
        self.failing.map_or(now, |(_, again)| again)
    }

    /// Whether a file may be written now: one at a time, and not more than there is room for.
    pub(super) fn can_write(&self, now: Instant) -> bool {
        !self.writing && self.ready(now) <= now && self.bytes < limits::SPOOL_BYTES_MAX
    }

    /// Whether what comes can be kept: the disk does what it is told, and there is room.
    fn keeps_more(&self) -> bool {
        self.failing.is_none() && self.bytes < limits::SPOOL_BYTES_MAX
    }

    /// When writing or reading is tried again, if that is what is waited for.
    pub(super) fn next_timeout(&self, wants_to_write: bool) -> Option<Instant> {
        let (_, again) = self.failing?;
        let write = wants_to_write && !self.writing && self.bytes < limits::SPOOL_BYTES_MAX;
        let read = !self.reading && !self.unread.is_empty();
        (write || read).then_some(again)
    }

    /// Begins a file of these facts, which all know it from now on.
    pub(super) fn write(&mut self, node: &str, facts: Vec<&mut Waiting>, now: Instant) -> (FileKey, String, Bytes) {
        self.next += 1;
        let (key, name) = (FileKey(self.next), spooled::name(node, self.next));
        let content = spooled::write(facts.iter().map(|waiting| &waiting.fact));
        let left = facts.len();
        for waiting in facts {
            waiting.file = Some(key);
        }
        self.bytes += content.len();
        self.left += left;
        let file = File {
            name: name.clone(),
            since: now,
            bytes: content.len(),
            left,
            written: false,
            holds_more: false,
            was_read: false,
            damaged: false,
        };
        self.files.insert(key, file);
        self.writing = true;
        (key, name, content)
    }

    /// A file is written.
    pub(super) fn written(&mut self, key: FileKey) {
        (self.writing, self.failing) = (false, None);
        if let Some(file) = self.files.get_mut(&key) {
            file.written = true;
        }
        self.close_if_done(key);
    }

    /// A file could not be written: its facts have none. Returns whether that is news.
    pub(super) fn not_written(&mut self, key: FileKey, now: Instant) -> bool {
        self.writing = false;
        if let Some(file) = self.files.remove(&key) {
            self.bytes -= file.bytes;
            self.left -= file.left;
        }
        self.failed(now)
    }

    fn failed(&mut self, now: Instant) -> bool {
        let news = self.failing.is_none();
        let since = self.failing.map_or(now, |(since, _)| since);
        self.failing = Some((since, now + limits::SPOOL_RETRY));
        news
    }

    /// A fact left memory: the database has it, or will never take it.
    pub(super) fn taken(&mut self, file: Option<FileKey>) {
        let Some(key) = file else { return };
        if let Some(file) = self.files.get_mut(&key) {
            file.left -= 1;
            self.left -= 1;
        }
        self.close_if_done(key);
    }

    /// A fact left memory for want of room, and is in its file alone.
    pub(super) fn set_aside(&mut self, key: FileKey) {
        if let Some(file) = self.files.get_mut(&key) {
            file.left -= 1;
            self.left -= 1;
            file.holds_more = true;
        }
        self.close_if_done(key);
    }

    fn close_if_done(&mut self, key: FileKey) {
        let done = |file: &File| file.left == 0 && file.written && !file.damaged;
        if !self.files.get(&key).is_some_and(done) {
            return;
        }
        let Some(file) = self.files.remove(&key) else { return };
        self.bytes -= file.bytes;
        let next = if file.holds_more { &mut self.unread } else { &mut self.useless };
        next.push_back(file.name);
    }

    /// A file of a process that is gone.
    pub(super) fn found(&mut self, name: String) {
        self.unread.push_back(name);
    }

    /// Whether there are files to be read, or facts that were read and are not in the database yet.
    pub(super) fn has_unread(&self) -> bool {
        self.reading || !self.unread.is_empty() || self.files.values().any(|file| file.was_read && file.left > 0)
    }

    /// The next file to be read.
    pub(super) fn begin_to_read(&mut self, now: Instant) -> Option<String> {
        if self.reading || self.ready(now) > now {
            return None;
        }
        let name = self.unread.pop_front()?;
        self.reading = true;
        Some(name)
    }

    /// A file was read: its facts wait from now on.
    pub(super) fn read(&mut self, name: String, content: &[u8], now: Instant) -> (Vec<Waiting>, usize) {
        (self.reading, self.failing) = (false, None);
        let (facts, unreadable) = spooled::read(content);
        self.next += 1;
        let key = FileKey(self.next);
        self.bytes += content.len();
        self.left += facts.len();
        let file = File {
            name,
            since: now,
            bytes: content.len(),
            left: facts.len(),
            written: true,
            holds_more: false,
            was_read: true,
            damaged: unreadable > 0,
        };
        self.files.insert(key, file);
        self.close_if_done(key);
        (facts.into_iter().map(|fact| Waiting { fact, file: Some(key) }).collect(), unreadable)
    }

    /// A file could not be read; it is tried again. Returns whether that is news.
    pub(super) fn not_read(&mut self, name: String, now: Instant) -> bool {
        self.reading = false;
        // Behind the others, which may be readable.
        self.unread.push_back(name);
        self.failed(now)
    }
}

impl Database {
    /// Facts in memory of which no file is written or being written.
    pub(super) fn without_a_file(&self) -> usize {
        let under_way = self.under_way.iter().map(|(_, sent)| sent.work.facts().len());
        self.waiting.len() + self.suspects.len() + under_way.sum::<usize>() - self.spool.left()
    }

    /// While the database is down: the next file of facts that have none, its name and its content.
    pub(in crate::switchboard) fn next_to_spool(
        &mut self,
        node: &str,
        now: Instant,
    ) -> Option<(FileKey, String, Bytes)> {
        if self.is_up() || !self.spool.can_write(now) {
            return None;
        }
        let most = self.without_a_file().min(limits::SPOOL_FACTS_PER_FILE_MAX);
        if most == 0 {
            return None;
        }
        // The newest are at the end, and what is written already need not be looked at.
        let under_way = self.under_way.values_mut().flat_map(|sent| sent.work.facts_mut());
        let all = under_way.chain(&mut self.suspects).chain(self.waiting.iter_mut().rev());
        let bare = all.filter(|waiting| waiting.file.is_none()).take(most).collect();
        Some(self.spool.write(node, bare, now))
    }

    /// A file of facts was written, or could not be: then they have none.
    pub(in crate::switchboard) fn spooled(
        &mut self,
        key: FileKey,
        failed: Option<&str>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(cause) = failed else { return self.spool.written(key) };
        let under_way = self.under_way.values_mut().flat_map(|sent| sent.work.facts_mut());
        let all = under_way.chain(&mut self.suspects).chain(&mut self.waiting);
        all.filter(|waiting| waiting.file == Some(key)).for_each(|waiting| waiting.file = None);
        if self.spool.not_written(key, now) {
            self.spool_fails(cause, out);
        }
    }

    fn spool_fails(&self, cause: &str, out: &mut Vec<Output>) {
        let line = LogLine::new(Level::Error, Event::DbError)
            .reason("spool")
            .cause(cause)
            .count(self.unwritten() as u64)
            .detail("DATA_DIR does not keep what the database does not take: it is lost with this process");
        out.push(Output::Log(Box::new(line)));
    }

    /// The next file of facts that is to be read: when there is room for what may be in it.
    pub(in crate::switchboard) fn next_to_read(&mut self, now: Instant) -> Option<String> {
        let room = self.waiting.len() + limits::SPOOL_FACTS_PER_FILE_MAX <= limits::FACTS_WAITING_MAX;
        if room { self.spool.begin_to_read(now) } else { None }
    }

    /// A file of facts was read, or could not be.
    pub(in crate::switchboard) fn unspooled(
        &mut self,
        name: String,
        content: Result<&[u8], &str>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let content = match content {
            Ok(content) => content,
            Err(cause) => {
                if self.spool.not_read(name, now) {
                    self.spool_fails(cause, out);
                }
                return;
            }
        };
        let (facts, unreadable) = self.spool.read(name.clone(), content, now);
        if unreadable > 0 {
            let line = LogLine::new(Level::Error, Event::DbError)
                .reason("spool_unreadable")
                .count(unreadable as u64)
                .detail(format_args!("lines of {name} in DATA_DIR are no facts; the file stays there"));
            out.push(Output::Log(Box::new(line)));
        }
        self.waiting.extend(facts);
        self.announce(out);
    }

    /// Facts that a process which is gone left in a file.
    pub(in crate::switchboard) fn found_spooled(&mut self, name: String) {
        self.spool.found(name);
    }

    /// The next file that is of no more use.
    pub(in crate::switchboard) fn next_useless(&mut self) -> Option<String> {
        self.spool.next_useless()
    }

    /// Whether a fact that comes now has somewhere to go, in the database or in a file, and room in memory on its way.
    pub(in crate::switchboard) fn keeps_facts(&self) -> bool {
        let somewhere = self.is_up() || self.spool.keeps_more();
        somewhere && (!self.is_full() || self.waiting.iter().any(|waiting| self.spool.is_safe(waiting.file)))
    }

    /// Files that hold facts, or may; and how long the oldest has waited.
    pub(in crate::switchboard) fn files(&self, now: Instant) -> (usize, Option<Duration>) {
        (self.spool.files(), self.spool.age(now))
    }

    /// Whether facts that were read from files, or will be, are not in the database yet: until then its rows do not say
    /// all that is known.
    pub(in crate::switchboard) fn has_unread_files(&self) -> bool {
        self.spool.has_unread()
    }

    /// Whether files are left that are of no more use.
    pub(in crate::switchboard) fn has_useless_files(&self) -> bool {
        !self.spool.useless.is_empty()
    }

    /// Since when the disk has not kept what the database does not take.
    pub(in crate::switchboard) fn spool_failing_since(&self) -> Option<Instant> {
        self.spool.failing_since()
    }
}

#[cfg(test)]
mod tests;
