//! Audio files as the API takes them: WAV of 16-bit samples is read, of other formats only the first bytes are known.

use super::super::sound;
use core::time::Duration;

/// The audio of a WAV file: its first channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Audio {
    pub(super) rate: u32,
    pub(super) samples: Vec<i16>,
}

impl Audio {
    pub(super) fn length(&self) -> Duration {
        let samples = u64::try_from(self.samples.len()).unwrap_or(u64::MAX);
        Duration::from_micros(samples.saturating_mul(1_000_000) / u64::from(self.rate))
    }
}

/// Reads a WAV file of linear samples of 16 bits; `None` for any other, and for one that ends before it said it would.
pub(super) fn read(file: &[u8]) -> Option<Audio> {
    let (head, mut chunks) = file.split_at_checked(12)?;
    if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
        return None;
    }
    let mut format = None;
    loop {
        let (head, body) = chunks.split_at_checked(8)?;
        let length = usize::try_from(u32::from_le_bytes(*head.last_chunk()?)).ok()?;
        let content = body.get(..length)?;
        match &head[..4] {
            b"fmt " => format = Some(linear(content)?),
            b"data" => {
                let (channels, rate) = format?;
                let frames = content.chunks_exact(2 * channels).filter_map(|frame| frame.first_chunk());
                return Some(Audio { rate, samples: frames.map(|sample| i16::from_le_bytes(*sample)).collect() });
            }
            _ => {}
        }
        chunks = body.get(length + length % 2..)?;
    }
}

/// Channels and rate of a format chunk that names linear samples of 16 bits and agrees with itself.
fn linear(format: &[u8]) -> Option<(usize, u32)> {
    let short = |at: usize| format.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    let long = |at: usize| format.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let (tag, channels, rate) = (short(0)?, short(2)?, long(4)?);
    let agrees = long(8)? == rate.checked_mul(2 * u32::from(channels))? && short(12)? == channels.checked_mul(2)?;
    (tag == 1 && short(14)? == 16 && channels > 0 && rate > 0 && agrees).then_some((channels.into(), rate))
}

/// Whether a file is what the extension of its name says, told by its first bytes.
pub(super) fn is_what_it_says(extension: &str, file: &[u8]) -> bool {
    match extension {
        "wav" => read(file).is_some(),
        "mp3" | "mpeg" | "mpga" => mp3_length(file).is_some(),
        "flac" => file.starts_with(b"fLaC"),
        "ogg" => file.starts_with(b"OggS"),
        "webm" => file.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]),
        "mp4" | "m4a" => file.get(4..).is_some_and(|rest| rest.starts_with(b"ftyp")),
        _ => false,
    }
}

/// How long an MP3 file plays.
pub(super) fn mp3_length(file: &[u8]) -> Option<Duration> {
    sound::playing_time("audio/mpeg", file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(format: &[u8], data: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_le_bytes();
        let list = b"LIST\x03\0\0\0abc\0";
        [&b"RIFF\0\0\0\0WAVE"[..], list, b"fmt ", &length(format), format, b"data", &length(data), data].concat()
    }

    fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let frame = channels * bits / 8;
        let per_second = rate * u32::from(frame);
        let shorts = [frame.to_le_bytes(), bits.to_le_bytes()].concat();
        [&tag.to_le_bytes()[..], &channels.to_le_bytes(), &rate.to_le_bytes(), &per_second.to_le_bytes(), &shorts]
            .concat()
    }

    #[test]
    fn a_file_of_another_kind_is_none_whatever_follows_its_name() {
        let mut other = file(&format(1, 1, 8_000, 16), &[1, 0]);
        other[8..12].copy_from_slice(b"AVI ");
        assert!(read(&other).is_none());
        other[..12].copy_from_slice(b"RIFX\0\0\0\0WAVE");
        assert!(read(&other).is_none());
    }

    #[test]
    fn linear_samples_are_read_and_of_two_channels_the_first() {
        let mono = read(&file(&format(1, 1, 8_000, 16), &[1, 0, 0xFF, 0xFF])).expect("a file");
        assert_eq!(
            (mono.rate, mono.samples, read(&file(&format(1, 1, 8_000, 16), &[])).map(|audio| audio.samples)),
            (8_000, vec![1, -1], Some(vec![]))
        );
        let stereo = read(&file(&format(1, 2, 16_000, 16), &[1, 0, 9, 9, 2, 0, 9, 9])).expect("a file");
        assert_eq!((stereo.length(), stereo.samples), (Duration::from_micros(125), vec![1, 2]));
    }

    #[test]
    fn no_other_wav_is_read_and_none_that_contradicts_itself() {
        let mut disagrees = format(1, 1, 8_000, 16);
        disagrees[8] ^= 1;
        let formats =
            [format(7, 1, 8_000, 8), format(1, 1, 8_000, 8), format(3, 1, 8_000, 16), format(1, 0, 8_000, 16)];
        for wrong in formats.into_iter().chain([format(1, 1, 0, 16), disagrees, Vec::new()]) {
            assert_eq!(read(&file(&wrong, &[0; 4])), None, "{wrong:?}");
        }
        let whole = file(&format(1, 1, 8_000, 16), &[0; 4]);
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let wav = file(&format(1, 1, 8_000, 16), &[0; 4]);
        // MPEG 2 layer III, 32 kbit/s, 24 kHz: 96 bytes a frame.
        let mut mp3 = vec![0xFF, 0xF3, 0x44, 0xC4];
        mp3.resize(96, 0);
        let files: [(&str, &[u8]); 7] = [
            ("wav", &wav),
            ("mp3", &mp3),
            ("mpga", &mp3),
            ("flac", b"fLaC\0"),
            ("ogg", b"OggS\0"),
            ("webm", b"\x1A\x45\xDF\xA3"),
            ("m4a", b"\0\0\0\x20ftypM4A "),
        ];
        for (extension, bytes) in files {
            assert!(is_what_it_says(extension, bytes), "{extension}");
            assert!(!is_what_it_says(extension, b"<html>"), "{extension}");
        }
        assert!(!is_what_it_says("mp3", &wav) && !is_what_it_says("exe", &wav));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let with_head = [&b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0"[..], &bytes].concat();
            prop_assert!(read(&with_head).is_none_or(|audio| audio.samples.len() < with_head.len()));
        }
    }
}
