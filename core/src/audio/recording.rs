//! A recording as it was downloaded: what is in it, and pieces of it that a transcription takes (T2).
//!
//! Nothing is copied: pieces are slices of the file. The lengths that a file states are believed as far as it goes.

#[cfg(test)]
mod tests;

use super::file::{Kind, chunks, little_endian};
use super::{SAMPLES, is_quieter, quietest};
use crate::limits;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

/// Sound whose loudness is compared with that of its neighbours.
const FRAME_TIME: Duration = Duration::from_millis(20);
/// A recording is cut where so many frames are quiet on either side: 200 ms in all.
const PAUSE_FRAMES: usize = 5;

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 16 bits, little-endian.
    Pcm16,
    /// G.711 mu-law, a byte each.
    MuLaw,
    /// G.711 A-law, a byte each.
    ALaw,
}

impl Encoding {
    /// Bytes of a sample.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Pcm16 => 2,
            Self::MuLaw | Self::ALaw => 1,
        }
    }

    /// The samples as 16-bit numbers; half of one at the end is left out.
    pub fn samples(self, audio: &[u8]) -> impl Iterator<Item = i16> {
        audio.chunks_exact(self.bytes()).map(move |bytes| match self {
            Self::Pcm16 => i16::from_le_bytes([bytes[0], bytes[1]]),
            Self::MuLaw => SAMPLES[usize::from(bytes[0])],
            Self::ALaw => a_law(bytes[0]),
        })
    }

    fn mean_square(self, audio: &[u8]) -> u32 {
        let sum: u64 = self.samples(audio).map(|sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
        let samples = (audio.len() / self.bytes()).max(1) as u64;
        u32::try_from(sum / samples).unwrap_or(u32::MAX)
    }
}

/// Every second bit is inverted: a sign, three bits of exponent, four of mantissa.
const fn a_law(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let step = ((bits & 0x0f) as i16) << 4 | 8;
    let magnitude = match bits >> 4 & 7 {
        0 => step,
        exponent => (step + 0x100) << (exponent - 1),
    };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

/// What samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How each is written.
    pub encoding: Encoding,
    /// How many a second, in each channel; from 1 to [`limits::SAMPLE_RATE_MAX`].
    pub rate: u32,
    /// 1 or 2, sample by sample in turn.
    pub channels: u16,
}

impl Format {
    /// Bytes of one sample of every channel.
    fn unit(self) -> usize {
        self.encoding.bytes() * usize::from(self.channels)
    }

    /// How long so many bytes play.
    fn duration(self, bytes: usize) -> Duration {
        let nanos = (bytes / self.unit()) as u128 * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Bytes that play for this long, in whole samples and at least one.
    fn bytes(self, time: Duration) -> usize {
        let units = time.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        usize::try_from(units.max(1)).unwrap_or(usize::MAX).saturating_mul(self.unit())
    }

    /// The loudness of each [`FRAME_TIME`].
    fn loudness(self, audio: &[u8]) -> impl Iterator<Item = u32> {
        audio.chunks(self.bytes(FRAME_TIME)).map(move |frame| self.encoding.mean_square(frame))
    }
}

/// Why a file is no recording to transcribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotARecording {
    /// No bytes at all.
    Empty,
    /// An MP3, whatever was asked for.
    Mp3,
    /// Neither WAV nor MP3.
    Unknown,
    /// A WAV that ends before its audio begins, or does not say what it is.
    Truncated,
    /// A WAV of a kind that is not read.
    Format {
        /// The format tag: 1 is PCM, 6 A-law, 7 mu-law.
        tag: u16,
        /// Bits of a sample.
        bits: u16,
        /// Channels.
        channels: u16,
        /// Samples a second.
        rate: u32,
    },
    /// A WAV without one sample.
    NoAudio,
}

impl fmt::Display for NotARecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the recording is empty: the file has no bytes"),
            Self::Mp3 => f.write_str("the recording is an MP3 and not the WAV that was asked for"),
            Self::Unknown => {
                f.write_str("the recording is neither WAV nor MP3, but some other file, such as an error page")
            }
            Self::Truncated => {
                f.write_str("the recording is a WAV whose header is cut off or says nothing of its audio")
            }
            Self::Format { tag, bits, channels, rate } => write!(
                f,
                "the recording is a WAV of a kind that is not read (format {tag}, {bits} bits, {channels} channels, \
                 {rate} samples a second): only 16-bit PCM, mu-law and A-law in one or two channels are, of at most \
                 {} samples a second",
                limits::SAMPLE_RATE_MAX
            ),
            Self::NoAudio => f.write_str("the recording is 0 s long: a WAV without audio"),
        }
    }
}

impl core::error::Error for NotARecording {}

/// A WAV with at least one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    format: Format,
    /// Whole samples of every channel.
    audio: Bytes,
}

/// A part of a recording that one request takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the recording.
    pub from: Duration,
    /// Where it ends; the next one begins there.
    pub to: Duration,
    /// A slice of the file, in the recording's [`Format`].
    pub samples: Bytes,
    /// It is so quiet that a stock phrase of a transcription model is not to be believed (T6).
    pub near_silent: bool,
    /// There is nothing in it to be transcribed (T6).
    pub silent: bool,
}

impl Recording {
    /// Reads a file, whatever its name or content type said.
    ///
    /// # Errors
    /// Why there is nothing in it to transcribe.
    pub fn read(file: &Bytes) -> Result<Self, NotARecording> {
        match Kind::of(file) {
            Some(Kind::Wav) => {}
            Some(Kind::Mp3) => return Err(NotARecording::Mp3),
            None if file.is_empty() => return Err(NotARecording::Empty),
            None if file.starts_with(b"RIFF") && file.len() < 12 => return Err(NotARecording::Truncated),
            None => return Err(NotARecording::Unknown),
        }
        let first = |name: &[u8; 4]| chunks(file).find(|chunk| chunk.name == *name).ok_or(NotARecording::Truncated);
        let format = format(first(b"fmt ")?.body)?;
        let data = first(b"data")?;
        let audio = if data.body.is_empty() && is_unfinished(file) { data.rest } else { data.body };
        let whole = audio.len() / format.unit() * format.unit();
        if whole == 0 {
            return Err(NotARecording::NoAudio);
        }
        Ok(Self { format, audio: file.slice_ref(&audio[..whole]) })
    }

    /// What its samples mean.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// How long it plays; never 0.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.format.duration(self.audio.len())
    }

    /// The pieces, in order: one, unless the recording is longer than [`limits::CLIP_TIME_MAX`] or larger than
    /// [`limits::CLIP_BYTES_MAX`]. Each but the last ends at the quietest place near its bound.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> {
        self.pieces_within(limits::CLIP_BYTES_MAX, limits::CLIP_TIME_MAX)
    }

    fn pieces_within(&self, pcm_bytes_max: usize, time_max: Duration) -> impl Iterator<Item = Piece> {
        let Self { format, ref audio } = *self;
        let most_units = (pcm_bytes_max / (2 * usize::from(format.channels))).max(1);
        let most = (most_units * format.unit()).min(format.bytes(time_max));
        let mut at = 0;
        core::iter::from_fn(move || {
            let rest = audio.slice(at..);
            if rest.is_empty() {
                return None;
            }
            let samples = if rest.len() > most { rest.slice(..self.cut(&rest[..most])) } else { rest };
            let from = at;
            at += samples.len();
            let is_quieter = |than| is_quieter(format.loudness(&samples), than);
            Some(Piece {
                from: format.duration(from),
                to: format.duration(at),
                near_silent: is_quieter(limits::NEAR_SILENT_MEAN_SQUARE),
                silent: is_quieter(limits::SPEECH_GATE_MEAN_SQUARE),
                samples,
            })
        })
    }

    /// Where a piece ends that may have all of this audio: never before its middle.
    fn cut(&self, audio: &[u8]) -> usize {
        let frame = self.format.bytes(FRAME_TIME);
        let frames = self.format.bytes(limits::CLIP_CUT_WINDOW).min(audio.len() / 2) / frame;
        let window = &audio[audio.len() - frames * frame..];
        let loudness: Vec<u32> = self.format.loudness(window).collect();
        let rest = quietest(&loudness, PAUSE_FRAMES).map_or(0, |frames_before| frames - frames_before);
        audio.len() - rest * frame
    }
}

/// What a `fmt ` chunk says. The lengths it could derive from the rest are not read: they lie.
fn format(chunk: &[u8]) -> Result<Format, NotARecording> {
    const EXTENSIBLE: u16 = 0xfffe;
    let number = |at: usize| Some(u16::from_le_bytes(*chunk.get(at..)?.first_chunk()?));
    let read = || Some((number(0)?, number(2)?, little_endian(chunk, 4)?, number(14)?));
    let (tag, channels, rate, bits) = read().ok_or(NotARecording::Truncated)?;
    let tag = if tag == EXTENSIBLE { number(24).unwrap_or(tag) } else { tag };
    let encoding = match (tag, bits) {
        (1, 16) => Some(Encoding::Pcm16),
        (6, 8) => Some(Encoding::ALaw),
        (7, 8) => Some(Encoding::MuLaw),
        _ => None,
    };
    encoding
        .filter(|_| (1..=2).contains(&channels) && (1..=limits::SAMPLE_RATE_MAX).contains(&rate))
        .map(|encoding| Format { encoding, rate, channels })
        .ok_or(NotARecording::Format { tag, bits, channels, rate })
}

/// Whether the file was written by a program that never came back to its header: it is longer than it says.
fn is_unfinished(file: &[u8]) -> bool {
    little_endian(file, 4).is_some_and(|stated| stated == u32::MAX || u64::from(stated) + 8 < file.len() as u64)
}
