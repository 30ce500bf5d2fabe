//! What a prompt file is, and how long it plays: W1 waits for a stream at least as long as the greeting.
//!
//! Every function is total: whatever the bytes, it answers in time proportional to their number.

use core::time::Duration;

/// The formats a prompt file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// MPEG 1, 2 or 2.5, layer III.
    Mp3,
    /// RIFF WAVE.
    Wav,
}

impl Kind {
    /// Tells the format by the first bytes; the name of a file proves nothing.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            _ => starts_frames(bytes).then_some(Self::Mp3),
        }
    }

    /// The media type Twilio expects for it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
        }
    }

    /// How the name of such a file ends, after the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
        }
    }
}

/// How long a file plays; `None` where its bytes do not tell.
#[must_use]
pub fn duration(bytes: &[u8]) -> Option<Duration> {
    match Kind::of(bytes)? {
        Kind::Wav => wav_duration(bytes),
        Kind::Mp3 => mp3_duration(bytes),
    }
}

/// The bytes of audio over the bytes a second, which the header states for every codec. A length that is longer than
/// the file, as programs write that cannot seek back, means the rest of the file.
fn wav_duration(bytes: &[u8]) -> Option<Duration> {
    let (mut bytes_per_second, mut audio) = (None, None);
    for chunk in chunks(bytes) {
        match &chunk.name {
            b"fmt " => bytes_per_second = little_endian(chunk.body, 8),
            b"data" => audio = Some(chunk.body.len()),
            _ => {}
        }
    }
    let bytes_per_second = bytes_per_second.filter(|rate| *rate > 0)?;
    let micros = u64::try_from(audio?).ok()?.checked_mul(1_000_000)? / u64::from(bytes_per_second);
    Some(Duration::from_micros(micros))
}

/// A chunk of a RIFF file.
pub(super) struct Chunk<'f> {
    pub(super) name: [u8; 4],
    /// As long as it says, or to the end of the file.
    pub(super) body: &'f [u8],
    /// Its body and all that follows.
    pub(super) rest: &'f [u8],
}

/// The chunks of a RIFF file, in order.
pub(super) fn chunks(file: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut next = file.get(12..).unwrap_or_default();
    core::iter::from_fn(move || {
        let (header, rest) = next.split_at_checked(8)?;
        let stated = usize::try_from(little_endian(header, 4)?).unwrap_or(usize::MAX);
        let body = &rest[..stated.min(rest.len())];
        // Chunks are padded to an even length.
        next = rest.get(body.len().next_multiple_of(2)..).unwrap_or_default();
        Some(Chunk { name: *header.first_chunk()?, body, rest })
    })
}

pub(super) fn little_endian(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*four))
}

/// Walks from frame to frame and adds up what each plays, so constant and variable bit rates count alike. Bytes that
/// are no frame (tags, damage) are skipped until two frames follow each other. A leading frame with the encoder's
/// table of contents counts as audio: 26 ms too long, never too short.
fn mp3_duration(bytes: &[u8]) -> Option<Duration> {
    let mut rest = after_tags(bytes);
    let (mut nanos, mut in_step) = (0_u64, false);
    while rest.len() >= 4 {
        match Frame::read(rest).filter(|frame| frame.bytes <= rest.len() && (in_step || starts_frames(rest))) {
            Some(frame) => {
                nanos = nanos.saturating_add(frame.nanos());
                rest = &rest[frame.bytes..];
                in_step = true;
            }
            None => {
                rest = &rest[1..];
                in_step = false;
            }
        }
    }
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// What follows the ID3v2 tags. A tag longer than the file leaves nothing.
fn after_tags(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b'I', b'D', b'3', _, _, flags, size @ ..] = rest {
        let Some(size) = size.first_chunk::<4>() else { break };
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        // Seven bits a byte.
        let size = size.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        rest = rest.get(10 + size + footer..).unwrap_or_default();
    }
    rest
}

/// Whether a frame begins here and another one, or the end, follows it.
fn starts_frames(bytes: &[u8]) -> bool {
    Frame::read(bytes).is_some_and(|frame| {
        bytes.get(frame.bytes..).is_some_and(|next| next.is_empty() || Frame::read(next).is_some())
    })
}

/// The header of an MPEG layer III frame.
struct Frame {
    /// Header included.
    bytes: usize,
    samples: u32,
    samples_per_second: u32,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Self> {
        const KILOBITS_1: [u32; 16] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0];
        const KILOBITS_2: [u32; 16] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0];
        const HERTZ: [u32; 3] = [44_100, 48_000, 32_000];
        let [sync, version, rates, ..] = *bytes.first_chunk::<4>()?;
        if sync != 0xff || version & 0xe6 != 0xe2 {
            return None;
        }
        // MPEG 1 has two granules of 576 samples a frame, the others one; 2 halves the rate, 2.5 quarters it.
        let (granules, divisor, kilobits) = match version >> 3 & 3 {
            3 => (2, 1, KILOBITS_1),
            2 => (1, 2, KILOBITS_2),
            0 => (1, 4, KILOBITS_2),
            _ => return None,
        };
        let samples_per_second = HERTZ.get(usize::from(rates >> 2 & 3))? / divisor;
        let bits_per_second = kilobits[usize::from(rates >> 4)] * 1_000;
        if bits_per_second == 0 {
            return None;
        }
        let padding = u32::from(rates >> 1 & 1);
        let samples = 576 * granules;
        let bytes = usize::try_from(samples / 8 * bits_per_second / samples_per_second + padding).ok()?;
        Some(Self { bytes, samples, samples_per_second })
    }

    fn nanos(&self) -> u64 {
        u64::from(self.samples) * 1_000_000_000 / u64::from(self.samples_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(name: &[u8; 4], stated: u32, body: &[u8]) -> Vec<u8> {
        let mut chunk = [&name[..], &stated.to_le_bytes(), body].concat();
        if body.len() % 2 == 1 {
            chunk.push(0);
        }
        chunk
    }

    fn format(tag: u16, bytes_per_second: u32) -> Vec<u8> {
        let body = [&tag.to_le_bytes()[..], &[1, 0], &[0; 4], &bytes_per_second.to_le_bytes(), &[2, 0, 16, 0]].concat();
        chunk(b"fmt ", 16, &body)
    }

    fn wav(chunks: &[Vec<u8>]) -> Vec<u8> {
        [&b"RIFF\0\0\0\0WAVE"[..], &chunks.concat()].concat()
    }

    /// A frame with this second and third header byte, filled to its length.
    fn frame(version: u8, rates: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, version, rates, 0];
        let length = Frame::read(&bytes).expect("a frame").bytes;
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn a_wav_plays_as_long_as_its_audio_whatever_stands_around_it() {
        let second = [0; 8_000];
        let pcm = wav(&[format(1, 16_000), chunk(b"LIST", 3, b"abc"), chunk(b"data", 8_000, &second)]);
        assert_eq!(duration(&pcm), Some(Duration::from_millis(500)));
        let mu_law = wav(&[chunk(b"data", 8_000, &second), format(7, 8_000), chunk(b"junk", 0, b"")]);
        assert_eq!(duration(&mu_law), Some(Duration::from_secs(1)));
        let endless = wav(&[format(7, 8_000), chunk(b"data", u32::MAX, &second)]);
        assert_eq!(duration(&endless), Some(Duration::from_secs(1)));
        assert_eq!(Kind::of(&pcm).map(Kind::content_type), Some("audio/wav"));
    }

    #[test]
    fn a_wav_that_does_not_tell_its_length_is_none() {
        for chunks in [vec![], vec![format(1, 16_000)], vec![chunk(b"data", 2, &[0; 2])], vec![format(1, 0)]] {
            assert_eq!(duration(&wav(&chunks)), None);
        }
        let no_rate = wav(&[format(1, 0), chunk(b"data", 2, &[0; 2])]);
        assert_eq!(duration(&no_rate), None);
        let short_format = wav(&[chunk(b"fmt ", 4, &[0; 4]), chunk(b"data", 2, &[0; 2])]);
        assert_eq!(duration(&short_format), None);
    }

    #[test]
    fn frames_of_every_version_have_the_length_of_the_standard() {
        // MPEG 1, 128 kbit/s, 44.1 kHz; MPEG 2, 32 kbit/s, 24 kHz; MPEG 2.5, 8 kbit/s, 8 kHz.
        for (version, rates, bytes, micros) in
            [(0xfb, 0x90, 417, 26_122), (0xfb, 0x92, 418, 26_122), (0xf3, 0x44, 96, 24_000), (0xe3, 0x18, 72, 72_000)]
        {
            let bytes_of = frame(version, rates);
            assert_eq!(bytes_of.len(), bytes);
            assert_eq!(Frame::read(&bytes_of).expect("a frame").nanos() / 1_000, micros);
        }
    }

    #[test]
    fn an_mp3_plays_as_long_as_its_frames_constant_or_not_between_tags_and_damage() {
        let (low, high) = (frame(0xf3, 0x44), frame(0xf3, 0x84));
        let plain = low.repeat(100);
        assert_eq!(duration(&plain), Some(Duration::from_millis(2_400)));
        assert_eq!(Kind::of(&plain), Some(Kind::Mp3));
        let variable = [low.repeat(50), high.repeat(50)].concat();
        assert_eq!(duration(&variable), Some(Duration::from_millis(2_400)));
        let mut tag = vec![b'I', b'D', b'3', 4, 0, 0x10, 0, 0, 2, 1];
        tag.extend([0xff; 257 + 10]);
        let mut old_tag = b"TAG".to_vec();
        old_tag.resize(128, b' ');
        let tagged = [&tag[..], &tag, &plain, &old_tag].concat();
        assert_eq!(duration(&tagged), Some(Duration::from_millis(2_400)));
        let damaged = [&plain[..], &[0xff, 0xfb, 0x00, 1, 2, 3], &plain, &low[..40]].concat();
        assert_eq!(duration(&damaged), Some(Duration::from_millis(4_800)));
    }

    /// An ID3v2 tag that holds sound of its own, as one with a picture or a comment may seem to.
    fn tag_of_frames(flags: u8, footer: &[u8]) -> Vec<u8> {
        let content = frame(0xf3, 0x44).repeat(4);
        assert_eq!(content.len(), 3 << 7, "its length takes two of the four bytes");
        [&[b'I', b'D', b'3', 4, 0, flags, 0, 0, 3, 0][..], &content, footer].concat()
    }

    #[test]
    fn what_stands_in_a_tag_is_not_played_whether_a_footer_follows_it_or_not() {
        let sound = frame(0xf3, 0x44).repeat(10);
        let footer = b"3DI\x04\0\x10\0\0\x03\0";
        let (plain, footed) = (tag_of_frames(0, b""), tag_of_frames(0x10, footer));
        for tags in [&plain[..], &footed, &[&plain[..], &footed].concat(), &[&footed[..], &plain].concat()] {
            let played = duration(&[tags, &sound].concat());
            assert_eq!(played, Some(Duration::from_millis(240)), "{} bytes of tags", tags.len());
        }
    }

    #[test]
    fn bytes_that_are_neither_are_none() {
        let tag_beyond_the_end = b"ID3\x04\0\0\x7f\x7f\x7f\x7fabc";
        let one_frame_then_text = [&frame(0xfb, 0x90)[..], b"text"].concat();
        let altered = |first: u8, second: u8| {
            let mut altered = frame(0xfb, 0x90);
            (altered[0], altered[1]) = (first, second);
            altered.repeat(2)
        };
        let (layer_two, no_sync) = (altered(0xff, 0xfd), altered(0xfe, 0xfb));
        for bytes in [
            &b""[..],
            b"OggS",
            b"RIFF\0\0\0\0AVI ",
            "שלום".as_bytes(),
            &[0xff; 100],
            &one_frame_then_text,
            &layer_two,
            &no_sync,
        ] {
            assert_eq!((Kind::of(bytes), duration(bytes)), (None, None), "{bytes:?}");
        }
        assert_eq!(duration(tag_beyond_the_end), None);
        assert_eq!(duration(b"ID3"), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_survived(
            start in prop_oneof![
                Just(&b""[..]), Just(&b"ID3\x03\0\0\0\0\0\x01"[..]), Just(&b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0"[..]),
                Just(&b"RIFF\0\0\0\0WAVEdata"[..]), Just(&[0xff, 0xfb, 0x90, 0][..]),
            ],
            bytes in proptest::collection::vec(prop_oneof![Just(0xff_u8), Just(0xfb), any::<u8>()], 0..600),
        ) {
            let file = [start, &bytes].concat();
            prop_assert!(duration(&file).is_none() || Kind::of(&file).is_some());
        }

        #[test]
        fn any_walk_of_frames_adds_up(versions in proptest::collection::vec((0_usize..3, 1_u8..15, 0_u8..3), 1..40)) {
            let frames: Vec<_> = versions
                .iter()
                .map(|(version, bit_rate, rate)| frame([0xfb, 0xf3, 0xe3][*version], bit_rate << 4 | rate << 2))
                .collect();
            let nanos = frames.iter().map(|frame| Frame::read(frame).expect("a frame").nanos()).sum();
            prop_assert_eq!(duration(&frames.concat()), Some(Duration::from_nanos(nanos)));
        }
    }
}
