//! Facts in a file, for as long as the database does not take them (D3): one fact a line, as JSON, behind a line that
//! says so.
//!
//! Every later version has to read what this one wrote: a member is added with a default and never renamed.

use super::Fact;
use bytes::Bytes;
use serde_json::{Value, json};

/// What the name of such a file ends in.
const ENDING: &str = ".facts";
/// The first line's only member, and the version of what follows.
const HEAD: (&str, u64) = ("callwarden_facts", 1);

/// The name of a file: no other file of this process, or of one whose files it takes over, has the same.
#[must_use]
pub fn name(node: &str, number: u64) -> String {
    format!("{node}.{number}{ENDING}")
}

/// Whether a file holds facts, by its name.
#[must_use]
pub fn is_one(name: &str) -> bool {
    name.ends_with(ENDING)
}

/// The content of a file.
#[must_use]
pub fn write<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Bytes {
    let (name, version) = HEAD;
    let mut text = format!("{}\n", json!({ name: version }));
    for fact in facts {
        // Facts are plain data with keys that are texts: they can always be written.
        if let Ok(line) = serde_json::to_string(fact) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.into()
}

/// The facts of a file, and how many of its lines are none: all of them, when it is a file of another kind or version.
#[must_use]
pub fn read(content: &[u8]) -> (Vec<Fact>, usize) {
    let mut lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let head = lines.next().and_then(|line| serde_json::from_slice::<Value>(line).ok());
    let (name, version) = HEAD;
    if head.is_none_or(|head| head.get(name).and_then(Value::as_u64) != Some(version)) {
        return (Vec::new(), 1 + lines.count());
    }
    let mut unreadable = 0;
    let facts = lines.filter_map(|line| {
        let fact = serde_json::from_slice(line).ok();
        unreadable += usize::from(fact.is_none());
        fact
    });
    (facts.collect(), unreadable)
}

#[cfg(test)]
mod tests;
