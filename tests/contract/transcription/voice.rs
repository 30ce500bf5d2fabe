//! What callers say: the demo's recording, as it is or with pauses between its sentences, and where each word stands.

use bytes::Bytes;
use callwarden_core::far_end::sample;
use std::time::Duration;

/// Samples of a frame of a stream.
pub(crate) const FRAME: usize = 160;
/// Samples of a millisecond.
const MILLISECOND: usize = 8;
/// Mu-law of no sound.
const SILENCE: u8 = 0xff;
/// Sound that stays behind the last word of a script.
const BEHIND: usize = 100 * MILLISECOND;

/// Something to say.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    audio: Vec<u8>,
    words: Vec<Spoken>,
    sentences: Vec<Sentence>,
}

/// A word, and its place in samples.
#[derive(Clone, Debug)]
struct Spoken {
    text: String,
    from: usize,
    to: usize,
}

/// A sentence: where it begins and ends, in samples, and its words.
#[derive(Clone, Debug)]
pub(crate) struct Sentence {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) text: String,
}

impl Script {
    /// The recording as it is: one stretch of speech without a pause that would end it.
    pub(crate) fn sample() -> Self {
        Self::sentences(5, Duration::ZERO)
    }

    /// So many sentences of the recording, which begins anew at its end, and this much silence between them.
    pub(crate) fn sentences(count: usize, pause: Duration) -> Self {
        let (recording, passage) = (sample::speech(), sample::passage().expect("a table of words"));
        let words = passage.words();
        let last: Vec<usize> = (0..words.len()).filter(|word| words[*word].text.ends_with(['.', '?'])).collect();
        let mut script = Self { audio: Vec::new(), words: Vec::new(), sentences: Vec::new() };
        for number in 0..count {
            let first = if number % last.len() == 0 { 0 } else { last[number % last.len() - 1] + 1 };
            let end = last[number % last.len()];
            // A sentence has half of the pause on either side of it.
            let from = if first == 0 { 0 } else { words[first - 1].to.midpoint(words[first].from) };
            let to = words.get(end + 1).map_or(recording.len(), |next| words[end].to.midpoint(next.from));
            let moved = |place: usize| place - from + script.audio.len();
            let said = &words[first..=end];
            let placed =
                said.iter().map(|word| Spoken { text: word.text.clone(), from: moved(word.from), to: moved(word.to) });
            let texts: Vec<&str> = said.iter().map(|word| word.text.as_str()).collect();
            let (begins, ends) = (moved(said[0].from), moved(words[end].to));
            script.words.extend(placed);
            script.sentences.push(Sentence { from: begins, to: ends, text: texts.join(" ") });
            script.audio.extend_from_slice(&recording[from..to]);
            script.audio.resize(script.audio.len() + samples(pause), SILENCE);
        }
        script
    }

    /// The same, after this much silence.
    pub(crate) fn after(mut self, silence: Duration) -> Self {
        let samples = samples(silence);
        self.audio.splice(..0, std::iter::repeat_n(SILENCE, samples));
        self.words.iter_mut().for_each(|word| (word.from, word.to) = (word.from + samples, word.to + samples));
        let places = self.sentences.iter_mut();
        places.for_each(|sentence| (sentence.from, sentence.to) = (sentence.from + samples, sentence.to + samples));
        self
    }

    /// The same, before this much silence.
    pub(crate) fn before(mut self, silence: Duration) -> Self {
        self.audio.resize(self.audio.len() + samples(silence), SILENCE);
        self
    }

    /// As mu-law.
    pub(crate) fn audio(&self) -> Bytes {
        self.audio.clone().into()
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| word.text.as_str())
    }

    /// A sentence, from 0.
    pub(crate) fn sentence(&self, number: usize) -> &Sentence {
        &self.sentences[number]
    }

    /// The texts of its sentences.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.sentences.iter().map(|sentence| sentence.text.as_str()).collect()
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        self.texts().join(" ")
    }

    /// The sample behind the last word.
    pub(crate) fn end(&self) -> usize {
        self.words.last().map_or(0, |word| word.to) + BEHIND
    }

    /// The words whose middle lies between these samples: what is heard of a stretch that was cut.
    pub(crate) fn between(&self, from: usize, to: usize) -> String {
        let heard = self.words.iter().filter(|word| (from..to).contains(&word.from.midpoint(word.to)));
        heard.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The middle of a word, from 0, in time since the first sample.
    pub(crate) fn middle(&self, word: usize) -> Duration {
        let word = &self.words[word];
        Duration::from_millis((word.from.midpoint(word.to) / MILLISECOND) as u64)
    }
}

pub(crate) fn samples(time: Duration) -> usize {
    time.as_millis() as usize * MILLISECOND
}
