//! An ear that knows what can be said: it finds known passages in a clip by their samples, and so their words.
//!
//! A media stream carries a passage as mu-law, and whoever sends it here has expanded it to linear samples: each of 256
//! values, the same on every side. So a clip cut anywhere holds the passage's very samples, and equality finds them
//! where a likeness would have to be judged. Windows of ten milliseconds of every passage are indexed; a clip is
//! searched at every offset, and each find is followed in both directions to its ends.

#[cfg(test)]
mod tests;

use super::wav::Audio;
use crate::limits;
use core::fmt;
use std::collections::BTreeMap;

/// What is heard where somebody speaks whom the ear does not know.
pub const UNKNOWN_SPEECH: &str = "דיבור לא מוכר";

/// Samples of an indexed window; what is shorter than two of them less one sample may be missed.
const WINDOW: usize = 80;
/// Samples over which loudness is measured: 20 ms.
const BLOCK: usize = 160;
/// Loud blocks that are speech: 0.3 s.
const SPEECH_BLOCKS: usize = 15;
/// The mean square of a window that is worth indexing. Below it, noise of a few steps could be anything.
const TELLING: u64 = 20_000;

/// A word of a passage: where it begins and where it ends, in samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word with its punctuation.
    pub text: String,
    /// Its first sample.
    pub from: usize,
    /// The first sample after it.
    pub to: usize,
}

/// Something that can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    samples: Vec<i16>,
    words: Vec<Word>,
}

/// The line of a table of words that is none: its number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATable(pub usize);

impl fmt::Display for NotATable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not `FROM TAB TO TAB WORD`, in milliseconds within the audio and in order", self.0)
    }
}

impl core::error::Error for NotATable {}

impl Passage {
    /// The passage of these mu-law samples, at 8,000 a second, and these words.
    #[must_use]
    pub fn new(mu_law: &[u8], words: Vec<Word>) -> Self {
        Self { samples: mu_law.iter().map(|byte| linear(*byte)).collect(), words }
    }

    /// The passage of these mu-law samples and a table of its words: a line each, `FROM TAB TO TAB WORD` in
    /// milliseconds. Lines that are empty or begin with `#` are skipped.
    ///
    /// # Errors
    /// The first line that is not such a line, or not later than the one before.
    pub fn from_table(mu_law: &[u8], table: &str) -> Result<Self, NotATable> {
        let (mut words, mut end) = (Vec::new(), 0);
        for (number, line) in (1..).zip(table.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let word = word(line).filter(|word| end <= word.from && word.from < word.to && word.to <= mu_law.len());
            let word = word.ok_or(NotATable(number))?;
            end = word.to;
            words.push(word);
        }
        Ok(Self::new(mu_law, words))
    }

    /// Its words, in order.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    }
}

fn word(line: &str) -> Option<Word> {
    let (from, rest) = line.split_once('\t')?;
    let (to, text) = rest.split_once('\t')?;
    let samples = |millis: &str| millis.parse::<usize>().ok()?.checked_mul(8);
    (!text.is_empty()).then_some(Word { text: text.to_owned(), from: samples(from)?, to: samples(to)? })
}

/// A mu-law sample as a linear one (G.711).
fn linear(sample: u8) -> i16 {
    let bits = !sample;
    let magnitude = ((i16::from(bits & 15) << 3) + 132) << (bits >> 4 & 7);
    if bits & 128 == 0 { magnitude - 132 } else { 132 - magnitude }
}

/// An unbroken stretch of a passage, found in a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which passage.
    pub passage: usize,
    /// Its first sample in the passage.
    pub from: usize,
    /// The first sample of the passage after it.
    pub to: usize,
    /// Where it begins in the clip.
    pub at: usize,
}

impl Piece {
    const fn samples(&self) -> usize {
        self.to - self.from
    }

    /// Whether it follows the other one in their passage, if with a gap: frames may have been lost.
    fn continues(&self, earlier: &Self) -> bool {
        self.passage == earlier.passage && self.from >= earlier.to
    }
}

/// What an ear made of a clip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    /// The words whose middle is in the clip, and [`UNKNOWN_SPEECH`] where other speech is.
    pub text: String,
    /// The stretches of known passages, in the order of the clip.
    pub pieces: Vec<Piece>,
    /// How often unknown speech was heard.
    pub unknown: usize,
}

impl Hearing {
    /// Whether nobody spoke.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.pieces.is_empty() && self.unknown == 0
    }

    pub(super) fn of_unknown_speech() -> Self {
        Self { text: UNKNOWN_SPEECH.to_owned(), pieces: Vec::new(), unknown: 1 }
    }

    fn say(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
    }
}

/// The ear. Its passages should differ in every ten milliseconds: what two have in common is heard as the first one's.
#[derive(Clone, Debug, Default)]
pub struct Ear {
    passages: Vec<Passage>,
    /// Where each window of the passages stands: which one, and at which sample.
    windows: BTreeMap<[i16; WINDOW], (usize, usize)>,
}

impl Ear {
    /// An ear that knows these passages.
    #[must_use]
    pub fn new(passages: Vec<Passage>) -> Self {
        let mut windows = BTreeMap::new();
        for (number, passage) in passages.iter().enumerate() {
            for (place, window) in passage.samples.as_chunks::<WINDOW>().0.iter().enumerate() {
                if mean_square(window) >= TELLING {
                    windows.entry(*window).or_insert((number, place * WINDOW));
                }
            }
        }
        Self { passages, windows }
    }

    /// The passages it knows.
    #[must_use]
    pub fn passages(&self) -> &[Passage] {
        &self.passages
    }

    pub(super) fn hear(&self, clip: &Audio) -> Hearing {
        let pieces = self.pieces(&clip.samples);
        let mut hearing = Hearing::default();
        let (mut run, mut heard) = (Vec::<Piece>::new(), 0);
        for piece in pieces {
            let strange = is_speech(&clip.samples[heard..piece.at]);
            if strange || run.last().is_some_and(|earlier| !piece.continues(earlier)) {
                self.finish(&mut run, &mut hearing);
            }
            if strange {
                hearing.hear_unknown();
            }
            heard = piece.at + piece.samples();
            hearing.pieces.push(piece);
            run.push(piece);
        }
        self.finish(&mut run, &mut hearing);
        if is_speech(&clip.samples[heard..]) {
            hearing.hear_unknown();
        }
        hearing
    }

    /// The stretches that clip and passages have in common, from the left, each as long as it can be.
    fn pieces(&self, clip: &[i16]) -> Vec<Piece> {
        let (mut pieces, mut free, mut at) = (Vec::new(), 0, 0);
        while let Some(window) = clip.get(at..).and_then(<[i16]>::first_chunk) {
            let Some((passage, place)) = self.windows.get(window).copied() else {
                at += 1;
                continue;
            };
            let samples = &self.passages[passage].samples;
            let back = common(clip[free..at].iter().rev(), samples[..place].iter().rev());
            let length = common(clip[at..].iter(), samples[place..].iter());
            pieces.push(Piece { passage, from: place - back, to: place + length, at: at - back });
            at += length;
            free = at;
        }
        pieces
    }

    /// Says the words of which a run of pieces holds the middle, or more than half where the middle was lost on the way.
    /// So of the clips that share a word one says it, and one only.
    fn finish(&self, run: &mut Vec<Piece>, hearing: &mut Hearing) {
        let Some(first) = run.first() else { return };
        for word in &self.passages[first.passage].words {
            let length = word.to - word.from;
            let middle = word.from + length / 2;
            let part = |piece: &Piece| piece.to.min(word.to).saturating_sub(piece.from.max(word.from));
            let there: usize = run.iter().map(part).sum();
            if run.iter().any(|piece| (piece.from..piece.to).contains(&middle)) || 2 * there > length {
                hearing.say(&word.text);
            }
        }
        run.clear();
    }
}

impl Hearing {
    fn hear_unknown(&mut self) {
        self.unknown += 1;
        self.say(UNKNOWN_SPEECH);
    }
}

/// How many of the first samples are equal.
fn common<'a>(left: impl Iterator<Item = &'a i16>, right: impl Iterator<Item = &'a i16>) -> usize {
    left.zip(right).take_while(|(left, right)| left == right).count()
}

fn mean_square(samples: &[i16]) -> u64 {
    let sum: u64 = samples.iter().map(|sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
    sum / (samples.len().max(1) as u64)
}

fn is_speech(samples: &[i16]) -> bool {
    let loud = samples.chunks(BLOCK).filter(|block| mean_square(block) >= limits::SPEECH_MEAN_SQUARE.into());
    loud.count() >= SPEECH_BLOCKS
}
