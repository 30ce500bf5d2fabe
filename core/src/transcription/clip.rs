//! The audio of one request.

use crate::audio::{self, Kind, SAMPLES, wav};
use core::time::Duration;

/// Audio to be transcribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clip<'a> {
    /// An utterance of a live call: mu-law, 8,000 samples a second. Sent as 16-bit samples, for no service names mu-law
    /// among what it takes; expanded only while the body is written, so that it waits at half the size.
    MuLaw(&'a [u8]),
    /// A piece of a recording: 16-bit samples, as their bytes stand in a WAV file. A last sample that is not whole is
    /// left out.
    Samples {
        /// How they follow each other.
        format: wav::Format,
        /// The samples, the lower byte first.
        bytes: &'a [u8],
    },
    /// A file, sent as it is.
    File {
        /// What it is.
        kind: Kind,
        /// All of it.
        bytes: &'a [u8],
    },
}

impl<'a> Clip<'a> {
    /// A file whose kind is told by its content; `None` when it is neither WAV nor MP3.
    #[must_use]
    pub fn file(bytes: &'a [u8]) -> Option<Self> {
        Some(Self::File { kind: Kind::of(bytes)?, bytes })
    }

    /// How long it plays; `None` for a file that does not tell.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Self::MuLaw(audio) => Some(playing_time(audio.len() as u64, wav::Format::TELEPHONE.hertz.into())),
            Self::Samples { format, bytes } => Some(playing_time(bytes.len() as u64, format.bytes_per_second())),
            Self::File { bytes, .. } => audio::duration(bytes),
        }
    }

    /// What is sent: the kind of file.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::MuLaw(_) | Self::Samples { .. } => Kind::Wav,
            Self::File { kind, .. } => *kind,
        }
    }

    /// Bytes of the file that is sent.
    pub(super) fn file_bytes(&self) -> usize {
        match self {
            Self::MuLaw(audio) => wav::HEADER_BYTES + 2 * audio.len(),
            Self::Samples { format, bytes } => wav::HEADER_BYTES + whole(bytes, *format).len(),
            Self::File { bytes, .. } => bytes.len(),
        }
    }

    /// Appends the file that is sent.
    pub(super) fn write(&self, body: &mut Vec<u8>) {
        match self {
            Self::MuLaw(audio) => {
                body.extend_from_slice(&wav::header(wav::Format::TELEPHONE, 2 * audio.len()));
                let start = body.len();
                body.resize(start + 2 * audio.len(), 0);
                for (sample, byte) in body[start..].chunks_exact_mut(2).zip(*audio) {
                    sample.copy_from_slice(&SAMPLES[usize::from(*byte)].to_le_bytes());
                }
            }
            Self::Samples { format, bytes } => {
                let samples = whole(bytes, *format);
                body.extend_from_slice(&wav::header(*format, samples.len()));
                body.extend_from_slice(samples);
            }
            Self::File { bytes, .. } => body.extend_from_slice(bytes),
        }
    }
}

/// The part of `bytes` that is whole blocks of samples.
fn whole(bytes: &[u8], format: wav::Format) -> &[u8] {
    &bytes[..bytes.len() - bytes.len() % format.block_bytes()]
}

/// No rate means no sound.
fn playing_time(bytes: u64, bytes_per_second: u64) -> Duration {
    let micros = bytes.saturating_mul(1_000_000).checked_div(bytes_per_second);
    Duration::from_micros(micros.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::wav::Format;
    use core::num::NonZeroU16;

    fn file(clip: Clip<'_>) -> Vec<u8> {
        let mut body = Vec::with_capacity(clip.file_bytes());
        let capacity = body.capacity();
        clip.write(&mut body);
        assert_eq!((body.len(), body.capacity()), (clip.file_bytes(), capacity), "written without growing");
        body
    }

    #[test]
    fn an_utterance_is_sent_as_the_samples_its_bytes_stand_for() {
        let audio = [0x00, 0x80, 0x7f, 0xff, 0xfe].repeat(1_600);
        let clip = Clip::MuLaw(&audio);
        assert_eq!(clip.duration(), Some(Duration::from_secs(1)));
        let sent = file(clip);
        assert_eq!((Kind::of(&sent), audio::duration(&sent)), (Some(Kind::Wav), clip.duration()));
        let samples: Vec<_> =
            sent[wav::HEADER_BYTES..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!((samples.len(), &samples[..5]), (8_000, &[-32_124, 32_124, 0, 0, 8][..]));
    }

    #[test]
    fn a_piece_of_a_recording_is_its_samples_behind_a_header() {
        let format = Format { hertz: 8_000, channels: NonZeroU16::new(2).expect("not zero") };
        let bytes: Vec<u8> = (0..=255).cycle().take(32_003).collect();
        let clip = Clip::Samples { format, bytes: &bytes };
        let sent = file(clip);
        assert_eq!(sent[wav::HEADER_BYTES..], bytes[..32_000], "the last sample is not whole");
        assert_eq!(audio::duration(&sent), Some(Duration::from_secs(1)));
        assert_eq!(clip.duration().map(|duration| duration.as_millis()), Some(1_000));
        let mute = Clip::Samples { format: Format { hertz: 0, ..format }, bytes: &bytes };
        assert_eq!(mute.duration(), Some(Duration::ZERO));
    }

    #[test]
    fn a_file_is_sent_as_it_is_and_named_by_its_content() {
        let wav = file(Clip::MuLaw(&[0xff; 800]));
        let clip = Clip::file(&wav).expect("a WAV file");
        assert_eq!((clip.kind(), clip.duration()), (Kind::Wav, Some(Duration::from_millis(100))));
        assert_eq!(file(clip), wav);
        let tagged = b"ID3\x04\0\0\0\0\0\0";
        let clip = Clip::file(tagged).expect("an MP3 file");
        assert_eq!((clip.kind(), clip.duration(), file(clip).as_slice()), (Kind::Mp3, None, &tagged[..]));
        assert_eq!(Clip::file("<html>שגיאה</html>".as_bytes()), None);
    }

    #[test]
    fn an_empty_clip_is_a_file_without_sound() {
        for clip in [Clip::MuLaw(&[]), Clip::Samples { format: Format::TELEPHONE, bytes: &[1] }] {
            assert_eq!(file(clip).len(), wav::HEADER_BYTES);
        }
    }
}
