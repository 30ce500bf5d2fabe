//! The header of a WAV file with 16-bit samples: what transcription services take for sure.

use core::num::NonZeroU16;

/// Bytes of [`header`].
pub const HEADER_BYTES: usize = 44;
/// Bytes of a sample.
const SAMPLE_BYTES: u16 = 2;

/// How samples follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Samples a second, of each channel.
    pub hertz: u32,
    /// Channels; their samples alternate.
    pub channels: NonZeroU16,
}

impl Format {
    /// Telephone audio: one channel, 8,000 samples a second.
    pub const TELEPHONE: Self = Self { hertz: 8_000, channels: NonZeroU16::MIN };

    /// Bytes of one sample of every channel.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        usize::from(self.channels.get()) * usize::from(SAMPLE_BYTES)
    }

    /// Bytes a second.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        u64::from(self.hertz) * self.block_bytes() as u64
    }
}

/// What stands before `audio_bytes` bytes of samples. A length beyond 4 GiB is written as the largest there is, which
/// readers take for "up to the end".
#[must_use]
pub fn header(format: Format, audio_bytes: usize) -> [u8; HEADER_BYTES] {
    const PCM: u16 = 1;
    let audio = u32::try_from(audio_bytes).unwrap_or(u32::MAX);
    let per_second = u32::try_from(format.bytes_per_second()).unwrap_or(u32::MAX);
    let block = format.channels.get().saturating_mul(SAMPLE_BYTES);
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &audio.saturating_add(36).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        &PCM.to_le_bytes(),
        &format.channels.get().to_le_bytes(),
        &format.hertz.to_le_bytes(),
        &per_second.to_le_bytes(),
        &block.to_le_bytes(),
        &(8 * SAMPLE_BYTES).to_le_bytes(),
        b"data",
        &audio.to_le_bytes(),
    ];
    let mut header = [0; HEADER_BYTES];
    let bytes = fields.into_iter().flatten();
    for (place, byte) in header.iter_mut().zip(bytes) {
        *place = *byte;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio;
    use core::time::Duration;

    #[test]
    fn the_header_is_the_one_every_reader_knows() {
        let written = header(Format::TELEPHONE, 16_000);
        let known =
            b"RIFF\xa4\x3e\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x80\x3e\0\0";
        assert_eq!(&written, known);
        let stereo = Format { hertz: 44_100, channels: NonZeroU16::new(2).expect("not zero") };
        assert_eq!(header(stereo, 0)[22..36], *b"\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0");
    }

    #[test]
    fn a_file_of_header_and_samples_plays_as_long_as_its_samples() {
        for (hertz, channels, bytes, millis) in [(8_000, 1, 8_000, 500), (16_000, 2, 64_000, 1_000)] {
            let format = Format { hertz, channels: NonZeroU16::new(channels).expect("not zero") };
            let file = [&header(format, bytes)[..], &vec![7; bytes]].concat();
            assert_eq!(audio::duration(&file), Some(Duration::from_millis(millis)));
            assert_eq!(audio::Kind::of(&file), Some(audio::Kind::Wav));
        }
    }

    #[test]
    fn numbers_beyond_the_fields_are_the_largest_there_are() {
        let huge = Format { hertz: u32::MAX, channels: NonZeroU16::MAX };
        let written = header(huge, usize::MAX);
        assert_eq!(
            (&written[4..8], &written[28..34], &written[40..]),
            (&[0xff; 4][..], &[0xff; 6][..], &[0xff; 4][..])
        );
    }
}
