//! How long a media file plays, as Twilio would find out: told by the file, not by whoever made it.

use core::time::Duration;

/// The media types `<Play>` takes.
const TYPES: [&str; 10] = [
    "audio/mpeg",
    "audio/wav",
    "audio/wave",
    "audio/x-wav",
    "audio/aiff",
    "audio/x-aifc",
    "audio/x-aiff",
    "audio/x-gsm",
    "audio/gsm",
    "audio/ulaw",
];

/// How long a file of this content type plays. WAV, MP3 and bare mu-law are measured.
///
/// # Errors
/// Why `<Play>` would not play it.
pub fn playing_time(content_type: &str, file: &[u8]) -> Result<Duration, String> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !TYPES.contains(&kind.as_str()) {
        return Err(format!("the content type {kind:?} is not one <Play> takes"));
    }
    let time = match kind.as_str() {
        "audio/ulaw" => Some(seconds(file.len(), 8_000)),
        "audio/mpeg" => mp3(file),
        _ => wav(file),
    };
    time.filter(|time| !time.is_zero()).ok_or_else(|| format!("the file is not {kind}"))
}

fn seconds(units: usize, per_second: u32) -> Duration {
    let units = u64::try_from(units).unwrap_or(u64::MAX);
    Duration::from_micros(units.saturating_mul(1_000_000) / u64::from(per_second))
}

/// The length of the `data` chunk over the bytes a second that `fmt ` names.
fn wav(file: &[u8]) -> Option<Duration> {
    let (head, mut chunks) = file.split_at_checked(12)?;
    if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
        return None;
    }
    let mut per_second = None;
    loop {
        let (head, body) = chunks.split_at_checked(8)?;
        let (name, length) = head.split_at(4);
        let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
        match name {
            b"fmt " => per_second = Some(u32::from_le_bytes(body.get(8..12)?.try_into().ok()?)),
            // A file that was streamed may name more than it holds.
            b"data" => return Some(seconds(length.min(body.len()), per_second.filter(|bytes| *bytes > 0)?)),
            _ => {}
        }
        chunks = body.get(length + length % 2..)?;
    }
}

/// The frames of an MPEG layer III file, each counted with its own length.
fn mp3(file: &[u8]) -> Option<Duration> {
    let mut rest = file;
    if let Some(tag) = file.strip_prefix(b"ID3") {
        let size = tag.get(3..7)?.iter().fold(0, |size, byte| size << 7 | usize::from(byte & 127));
        rest = file.get(10 + size..)?;
    }
    let mut time = Duration::ZERO;
    while let Some((length, lasts)) = rest.first_chunk().and_then(mp3_frame) {
        time += lasts;
        rest = rest.get(length..).unwrap_or_default();
    }
    Some(time)
}

/// Bytes and duration of the frame this header begins.
fn mp3_frame(header: &[u8; 4]) -> Option<(usize, Duration)> {
    const MPEG1: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const MPEG2: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let header = u32::from_be_bytes(*header);
    let (version, layer) = (header >> 19 & 3, header >> 17 & 3);
    if header >> 21 != 0x7FF || layer != 1 || version == 1 {
        return None;
    }
    let (rates, samples, divisor) = match version {
        3 => (MPEG1, 1_152, 1),
        2 => (MPEG2, 576, 2),
        _ => (MPEG2, 576, 4),
    };
    let kilobits = *rates.get((header >> 12 & 15) as usize)?;
    let frequency = [44_100, 48_000, 32_000].get((header >> 10 & 3) as usize)? / divisor;
    let length = samples / 8 * kilobits * 1_000 / frequency + (header >> 9 & 1);
    (kilobits > 0).then(|| (length as usize, seconds(samples as usize, frequency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav_file(per_second: u32, data: usize) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0\x07\0\x01\0\x40\x1f\0\0".to_vec();
        file.extend(per_second.to_le_bytes());
        file.extend(b"\x01\0\x08\0\0\0fact\x04\0\0\0\0\0\0\0data");
        file.extend(u32::try_from(data).expect("small").to_le_bytes());
        file.resize(file.len() + data, 0xFF);
        file
    }

    #[test]
    fn a_wav_file_plays_as_long_as_its_data() {
        assert_eq!(playing_time("audio/wav", &wav_file(8_000, 12_000)), Ok(Duration::from_millis(1_500)));
        assert_eq!(playing_time("audio/x-wav; q=1", &wav_file(16_000, 12_000)), Ok(Duration::from_millis(750)));
        for cut in 0..58 {
            assert!(playing_time("audio/wav", &wav_file(8_000, 12_000)[..cut]).is_err(), "{cut}");
        }
        assert!(playing_time("audio/wav", &wav_file(0, 12_000)).is_err());
    }

    #[test]
    fn an_mp3_file_plays_as_long_as_its_frames() {
        // MPEG 2 layer III, 32 kbit/s, 24 kHz: 96 bytes and 24 ms a frame.
        let mut file = b"ID3\x04\0\0\0\0\0\x05tagged".to_vec();
        file.truncate(15);
        for _ in 0..50 {
            file.extend([0xFF, 0xF3, 0x44, 0xC4]);
            file.resize(file.len() + 92, 0);
        }
        assert_eq!(playing_time("audio/mpeg", &file), Ok(Duration::from_millis(1_200)));
        assert!(playing_time("audio/mpeg", b"<html>").is_err());
    }

    #[test]
    fn a_wav_file_says_that_it_is_one_and_pads_chunks_of_odd_length() {
        let file = wav_file(8_000, 12_000);
        let mut film = file.clone();
        film[8..12].copy_from_slice(b"AVI ");
        assert!(playing_time("audio/wav", &film).is_err());
        let odd = [&file[..12], b"note\x03\0\0\0abc\0", &file[12..]].concat();
        assert_eq!(playing_time("audio/wav", &odd), Ok(Duration::from_millis(1_500)));
    }

    #[test]
    fn a_tag_of_any_length_stands_before_the_frames() {
        let mut file = b"ID3\x04\0\0\0\0\x02\x05".to_vec();
        file.resize(10 + 2 * 128 + 5, b't');
        file.extend([0xFF, 0xFB, 0x90, 0x00]);
        assert_eq!(playing_time("audio/mpeg", &file), Ok(Duration::from_micros(26_122)));
    }

    #[test]
    fn the_head_of_a_frame_tells_its_bytes_and_its_duration() {
        for (head, expected) in [
            ([0xFF, 0xFB, 0x90, 0x00], Some((417, 26_122))),
            ([0xFF, 0xFB, 0x92, 0x00], Some((418, 26_122))),
            ([0xFF, 0xF3, 0x44, 0xC4], Some((96, 24_000))),
            ([0xFF, 0xE3, 0x44, 0xC4], Some((192, 48_000))),
            // No bit rate, one that is reserved, a frequency that is; layer II, a version that is reserved, no frame.
            ([0xFF, 0xFB, 0x00, 0x00], None),
            ([0xFF, 0xFB, 0xF0, 0x00], None),
            ([0xFF, 0xFB, 0x9C, 0x00], None),
            ([0xFF, 0xFD, 0x90, 0x00], None),
            ([0xFF, 0xEB, 0x90, 0x00], None),
            ([0xFE, 0xFB, 0x90, 0x00], None),
        ] {
            let read = mp3_frame(&head).map(|(length, lasts)| (length, lasts.as_micros()));
            assert_eq!(read, expected, "{head:02x?}");
        }
    }

    #[test]
    fn a_content_type_that_does_not_match_is_not_played() {
        assert!(playing_time("text/html", &wav_file(8_000, 12_000)).is_err());
        assert!(playing_time("audio/mpeg", &wav_file(8_000, 12_000)).is_err());
        assert_eq!(playing_time("audio/ulaw", &[0xFF; 800]), Ok(Duration::from_millis(100)));
    }
}
