//! Recorded sentences, and how much of them was understood.

use crate::sound::{read_wav, telephone};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A sentence that somebody read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// What is said.
    pub text: String,
    /// How it sounds over a telephone line, as mu-law.
    pub voice: Vec<u8>,
}

/// The sentences of a directory: WAV files, and a `transcription` with a line each,
/// `<s> the words </s> (name of the file)`.
///
/// # Panics
/// When it is no such directory.
#[must_use]
pub fn sentences(directory: &Path) -> Vec<Sentence> {
    let list = fs::read_to_string(directory.join("transcription")).expect("a list of sentences");
    let sentence = |line: &str| {
        let (text, name) = line.strip_prefix("<s> ")?.split_once(" </s> (")?;
        let file = fs::read(directory.join(format!("{}.wav", name.strip_suffix(')')?))).expect("a recording");
        Some(Sentence { text: text.to_owned(), voice: telephone(&read_wav(&file)) })
    };
    list.lines().map(|line| sentence(line).expect("a line of the list")).collect()
}

/// What a caller says who pauses for so long after each sentence.
#[must_use]
pub fn monologue(sentences: &[Sentence], pause: Duration) -> Sentence {
    let silence = vec![0xFF; usize::try_from(pause.as_millis()).unwrap_or(0) * 8];
    let voice = sentences.iter().flat_map(|sentence| [&sentence.voice[..], &silence].concat()).collect();
    let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    Sentence { text: texts.join(" "), voice }
}

/// The words of a text, without what is not spoken.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace("mr.", "mister");
    let spoken = |character: char| character.is_alphabetic() || character == '\'';
    lower.split(|character| !spoken(character)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// How many words would have to be replaced, added or left out to make one text of the other.
#[must_use]
pub fn word_errors(spoken: &str, heard: &str) -> usize {
    let (spoken, heard) = (words(spoken), words(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (place, word) in (1..).zip(&spoken) {
        let mut diagonal = std::mem::replace(&mut row[0], place);
        for (other, candidate) in (1..).zip(&heard) {
            let replaced = diagonal + usize::from(word != candidate);
            diagonal = row[other];
            row[other] = replaced.min(row[other] + 1).min(row[other - 1] + 1);
        }
    }
    row[heard.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_that_are_wrong_missing_or_too_many() {
        for (spoken, heard, errors) in [
            ("he was not ill disposed", "He was not ill-disposed.", 0),
            ("mister dashwood's house", "Mr. Dashwood's house,", 0),
            ("he was not an ill man", "he was an ill old man", 2),
            ("one two three", "one too three", 1),
            ("one two", "", 2),
            ("", "you", 1),
            ("שלום עולם", "עולם, שלום!", 2),
        ] {
            assert_eq!(word_errors(spoken, heard), errors, "{spoken} | {heard}");
        }
    }

    #[test]
    fn a_monologue_is_its_sentences_with_pauses() {
        let sentence = |text: &str, voice: u8| Sentence { text: text.to_owned(), voice: vec![voice; 2] };
        let said = monologue(&[sentence("a b", 1), sentence("c", 2)], Duration::from_millis(1));
        assert_eq!(said.text, "a b c");
        assert_eq!(said.voice, [&[1; 2][..], &[0xFF; 8], &[2; 2], &[0xFF; 8]].concat());
    }
}
