//! What a simulated caller says: a recording, and the words in it.

use super::openai::{NotATable, Passage};
use bytes::Bytes;

/// Twelve seconds of Hebrew, as mu-law.
#[must_use]
pub fn speech() -> Bytes {
    let file: &'static [u8] = include_bytes!("../../assets/speech_he.wav");
    let data = file.windows(4).position(|name| name == b"data").map_or(file.len(), |at| at + 8);
    Bytes::from_static(file.get(data..).unwrap_or_default())
}

/// The same recording with its words, for the ear of a simulated transcription service.
///
/// # Errors
/// None, as a test shows: the table is a part of the program.
pub fn passage() -> Result<Passage, NotATable> {
    Passage::from_table(&speech(), include_str!("../../assets/speech_he.words.tsv"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::mean_square;
    use crate::limits;

    #[test]
    fn the_voice_is_twelve_seconds_of_speech() {
        let voice = speech();
        assert!((90_000..110_000).contains(&voice.len()), "{}", voice.len());
        let loud = voice.iter().filter(|sample| (**sample & 0x7F) < 0x50).count();
        assert!(loud * 10 > voice.len(), "at least a tenth of the samples are loud");
    }

    #[test]
    fn every_word_is_spoken_where_the_table_says_and_pauses_are_where_it_says_none() {
        let (voice, passage) = (speech(), passage().expect("a table"));
        let (mut end, mut pauses) = (0, 0);
        for word in passage.words() {
            let loud = mean_square(&voice[word.from..word.to]);
            assert!(loud >= limits::SPEECH_MEAN_SQUARE, "{}: {loud}", word.text);
            if word.from > end {
                let quiet = mean_square(&voice[end..word.from]);
                assert!(quiet < limits::SPEECH_MEAN_SQUARE, "before {}: {quiet}", word.text);
                pauses += 1;
            }
            end = word.to;
        }
        // One before each of the seven phrases.
        assert_eq!(pauses, 7);
        assert!(mean_square(&voice[end..]) < limits::SPEECH_MEAN_SQUARE);
    }

    #[test]
    fn the_table_says_what_the_readme_says() {
        let readme = include_str!("../../assets/README.md");
        let text = passage().expect("a table").text();
        assert!(readme.contains(&format!("| {text} |")), "{text}");
    }
}
