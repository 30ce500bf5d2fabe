use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn chunk(name: &[u8; 4], stated: u32, body: &[u8]) -> Vec<u8> {
    let mut chunk = [&name[..], &stated.to_le_bytes(), body].concat();
    if body.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

fn named(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    chunk(name, u32::try_from(body.len()).expect("small"), body)
}

fn format_body(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    // The bytes a second and the bytes of a sample are wrong.
    [&tag.to_le_bytes()[..], &channels.to_le_bytes(), &rate.to_le_bytes(), &[1; 6], &bits.to_le_bytes()].concat()
}

fn file(riff_size: u32, chunks: &[Vec<u8>]) -> Bytes {
    [&b"RIFF"[..], &riff_size.to_le_bytes(), b"WAVE", &chunks.concat()].concat().into()
}

/// A file whose lengths are right.
fn wav(chunks: &[Vec<u8>]) -> Bytes {
    file(u32::try_from(chunks.concat().len()).expect("small") + 4, chunks)
}

fn pcm(rate: u32, channels: u16, audio: &[u8]) -> Bytes {
    wav(&[named(b"fmt ", &format_body(1, channels, rate, 16)), named(b"data", audio)])
}

/// A tone of this loudness, in 16-bit PCM at 8,000 samples a second.
fn tone(level: i16, time: Duration) -> Vec<u8> {
    let samples = usize::try_from(time.as_millis() * 8).expect("short");
    (0..samples).flat_map(|sample| (if sample % 16 < 8 { level } else { -level }).to_le_bytes()).collect()
}

#[test]
fn a_recording_plays_as_long_as_its_samples_in_any_format() {
    for (tag, bits, encoding) in [(1, 16, Encoding::Pcm16), (6, 8, Encoding::ALaw), (7, 8, Encoding::MuLaw)] {
        for (rate, channels) in [(8_000, 1), (8_000, 2), (44_100, 2), (11_025, 1), (1, 1)] {
            let format = Format { encoding, rate, channels };
            let audio = vec![1; format.unit() * rate as usize * 3 + format.unit() - 1];
            let wav = wav(&[named(b"fmt ", &format_body(tag, channels, rate, bits)), named(b"data", &audio)]);
            let recording = Recording::read(&wav).expect("a recording");
            assert_eq!((recording.format(), recording.duration()), (format, 3 * SECOND));
        }
    }
}

#[test]
fn an_extensible_header_says_in_its_extension_what_it_is() {
    let mut body = format_body(0xfffe, 1, 16_000, 16);
    body.extend([22, 0, 16, 0, 4, 0, 0, 0, 1, 0]);
    body.extend(b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    let recording = Recording::read(&wav(&[named(b"fmt ", &body), named(b"data", &[0; 32_000])])).expect("a recording");
    assert_eq!(recording.format(), Format { encoding: Encoding::Pcm16, rate: 16_000, channels: 1 });
    body.truncate(24);
    let cut = Recording::read(&wav(&[named(b"fmt ", &body), named(b"data", &[0; 32_000])]));
    assert_eq!(cut, Err(NotARecording::Format { tag: 0xfffe, bits: 16, channels: 1, rate: 16_000 }));
}

#[test]
fn chunks_around_the_audio_and_lengths_that_lie_do_not_change_it() {
    let format = named(b"fmt ", &format_body(1, 1, 8_000, 16));
    let audio = tone(1_000, SECOND);
    for riff_size in [0, 36, u32::MAX, 1 << 31] {
        for stated in [0, 16_000, u32::MAX, 1 << 31] {
            let chunks =
                [named(b"LIST", b"odd"), format.clone(), named(b"fact", &[0; 4]), chunk(b"data", stated, &audio)];
            let file = file(riff_size, &chunks);
            let read = Recording::read(&file).map(|recording| recording.audio);
            let told = stated > 0 || riff_size != 1 << 31;
            assert_eq!(read, if told { Ok(Bytes::from(audio.clone())) } else { Err(NotARecording::NoAudio) });
        }
    }
    let later = wav(&[chunk(b"data", 16_000, &audio), format, named(b"LIST", b"even"), named(b"data", &[1; 4])]);
    assert_eq!(Recording::read(&later).expect("a recording").audio, audio);
}

#[test]
fn audio_is_looked_for_behind_its_header_only_where_the_file_is_longer_than_it_says() {
    let format = named(b"fmt ", &format_body(1, 1, 8_000, 16));
    let chunks = [format, named(b"data", &[]), named(b"LIST", b"four")];
    let length = u32::try_from(chunks.concat().len()).expect("small") + 4;
    assert_eq!(Recording::read(&file(length, &chunks)), Err(NotARecording::NoAudio), "nothing was said");
    let unfinished = Recording::read(&file(length - 1, &chunks)).expect("a recording");
    assert_eq!(unfinished.audio, chunks[2]);
}

#[test]
fn what_is_no_recording_says_what_it_is() {
    let format = named(b"fmt ", &format_body(1, 1, 8_000, 16));
    let mp3 = [&[0xff, 0xfb, 0x90, 0][..], &[0; 413]].concat().repeat(3);
    let of_kind = |tag, channels, rate, bits| {
        wav(&[named(b"fmt ", &format_body(tag, channels, rate, bits)), named(b"data", &[0; 64])])
    };
    for (file, error, text) in [
        (Bytes::new(), NotARecording::Empty, "no bytes"),
        (Bytes::from(mp3), NotARecording::Mp3, "an MP3 and not the WAV"),
        (Bytes::from_static(b"<?xml version='1.0'?>"), NotARecording::Unknown, "error page"),
        (Bytes::from_static(b"OggS"), NotARecording::Unknown, "neither WAV nor MP3"),
        (Bytes::from_static(b"RIFF\x04\0\0\0AVI "), NotARecording::Unknown, "neither WAV nor MP3"),
        (Bytes::from_static(b"RIFF\0\0"), NotARecording::Truncated, "cut off"),
        (Bytes::from_static(b"RIFF\x24\0\0\0WAV"), NotARecording::Truncated, "cut off"),
        (wav(&[]), NotARecording::Truncated, "cut off"),
        (wav(std::slice::from_ref(&format)), NotARecording::Truncated, "cut off"),
        (wav(&[named(b"data", &[0; 64])]), NotARecording::Truncated, "cut off"),
        (wav(&[named(b"fmt ", &[1, 0, 1, 0]), named(b"data", &[0; 64])]), NotARecording::Truncated, "cut off"),
        (wav(&[format.clone(), named(b"data", &[])]), NotARecording::NoAudio, "0 s long"),
        (wav(&[format, named(b"data", &[0])]), NotARecording::NoAudio, "0 s long"),
        (
            of_kind(3, 1, 8_000, 32),
            NotARecording::Format { tag: 3, bits: 32, channels: 1, rate: 8_000 },
            "format 3, 32 bits, 1 channels, 8000 samples",
        ),
        (of_kind(1, 1, 0, 16), NotARecording::Format { tag: 1, bits: 16, channels: 1, rate: 0 }, "0 samples a second"),
        (
            of_kind(1, 1, 384_001, 16),
            NotARecording::Format { tag: 1, bits: 16, channels: 1, rate: 384_001 },
            "384001 samples a second",
        ),
        (of_kind(1, 3, 8_000, 16), NotARecording::Format { tag: 1, bits: 16, channels: 3, rate: 8_000 }, "3 channels"),
        (of_kind(1, 0, 8_000, 16), NotARecording::Format { tag: 1, bits: 16, channels: 0, rate: 8_000 }, "0 channels"),
        (of_kind(1, 1, 8_000, 8), NotARecording::Format { tag: 1, bits: 8, channels: 1, rate: 8_000 }, "8 bits"),
    ] {
        assert_eq!(Recording::read(&file), Err(error.clone()));
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn the_laws_mean_the_values_of_g711() {
    let a_law = [(0xd5, 8), (0x55, -8), (0xd4, 24), (0x80, 5_504), (0xaa, 32_256), (0x2a, -32_256), (0xc5, 264)];
    for (byte, sample) in a_law {
        assert_eq!(Encoding::ALaw.samples(&[byte]).collect::<Vec<_>>(), [sample], "{byte:#x}");
    }
    assert_eq!(Encoding::MuLaw.samples(&[0xff, 0x00, 0xef]).collect::<Vec<_>>(), [0, -32_124, 132]);
    assert_eq!(Encoding::Pcm16.samples(&[0x34, 0x12, 0xff]).collect::<Vec<_>>(), [0x1234]);
}

#[test]
fn a_short_recording_is_one_piece_of_the_file_itself() {
    let file = pcm(8_000, 1, &tone(8_000, SECOND));
    let pieces: Vec<Piece> = Recording::read(&file).expect("a recording").pieces().collect();
    let [Piece { from: Duration::ZERO, to: SECOND, samples, near_silent: false, silent: false }] = &pieces[..] else {
        panic!("{} pieces", pieces.len())
    };
    assert_eq!(samples.as_ptr(), file[44..].as_ptr());
}

#[test]
fn a_long_recording_is_cut_in_the_last_pause_before_the_bound() {
    let (talk, pause) = (tone(8_000, 7 * SECOND), tone(60, SECOND));
    let file = pcm(8_000, 1, &[talk.clone(), pause.clone(), talk.clone(), pause, talk].concat());
    let recording = Recording::read(&file).expect("a recording");
    let cuts = |bytes_max, time_max| -> Vec<u128> {
        recording.pieces_within(bytes_max, time_max).map(|piece| piece.to.as_millis()).collect()
    };
    // 23 s in all; the pauses are from 7 to 8 s and from 15 to 16 s. Of the places in a pause the last one.
    assert_eq!(cuts(usize::MAX, 20 * SECOND), [15_900, 23_000]);
    assert_eq!(cuts(20 * 16_000, Duration::MAX), [15_900, 23_000]);
    assert_eq!(cuts(usize::MAX, 9 * SECOND), [7_900, 15_900, 23_000]);
    assert_eq!(cuts(usize::MAX, 23 * SECOND), [23_000], "what may be sent whole is not cut");
    // No pause in the second half of what may be sent.
    assert_eq!(cuts(usize::MAX, 3 * SECOND)[..2], [2_900, 5_800]);
}

#[test]
fn a_recording_over_the_time_of_a_request_is_cut_within_the_window_before_it() {
    let minute = tone(8_000, 60 * SECOND);
    let pause = tone(0, SECOND);
    // A pause before the window, one in it, and none behind it.
    let file = pcm(8_000, 1, &[minute.repeat(9), pause.clone(), tone(8_000, 40 * SECOND), pause, minute].concat());
    let pieces: Vec<Piece> = Recording::read(&file).expect("a recording").pieces().collect();
    assert_eq!(pieces.iter().map(|piece| piece.to.as_millis()).collect::<Vec<_>>(), [581_900, 642_000]);
    assert!(pieces[0].to <= limits::CLIP_TIME_MAX && pieces[0].to >= limits::CLIP_TIME_MAX - limits::CLIP_CUT_WINDOW);
}

#[test]
fn a_recording_over_the_bytes_of_a_request_is_cut_by_its_size_as_pcm() {
    // Two channels at 48,000 samples a second: 24 MiB are 131 s.
    let audio = vec![0x7f; 2 * 48_000 * 150];
    let file = wav(&[named(b"fmt ", &format_body(7, 2, 48_000, 8)), named(b"data", &audio)]);
    let pieces: Vec<Piece> = Recording::read(&file).expect("a recording").pieces().collect();
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| 2 * piece.samples.len() <= limits::CLIP_BYTES_MAX && piece.near_silent));
}

#[test]
fn a_murmur_is_near_silent_and_speech_is_not() {
    for (level, near_silent) in [(0, true), (150, true), (250, false), (8_000, false)] {
        let recording = Recording::read(&pcm(8_000, 1, &tone(level, SECOND))).expect("a recording");
        assert!(recording.pieces().all(|piece| piece.near_silent == near_silent), "{level}");
    }
}

proptest! {
    #[test]
    fn pieces_cover_a_recording_once_and_stay_below_their_bounds(
        audio in proptest::collection::vec(any::<u8>(), 1..6_000),
        (tag, bits) in prop_oneof![Just((1_u16, 16_u16)), Just((6, 8)), Just((7, 8))],
        (rate, channels) in (prop_oneof![1_u32..50, Just(8_000), any::<u32>()], 1_u16..=2),
        bytes_max in 1_usize..4_000,
        millis_max in 0_u64..2_000,
    ) {
        let file = wav(&[named(b"fmt ", &format_body(tag, channels, rate, bits)), named(b"data", &audio)]);
        let Ok(recording) = Recording::read(&file) else { return Ok(()) };
        let (unit, time_max) = (recording.format().unit(), Duration::from_millis(millis_max));
        let pieces: Vec<Piece> = recording.pieces_within(bytes_max, time_max).collect();
        prop_assert_eq!(pieces.iter().flat_map(|piece| piece.samples.to_vec()).collect::<Vec<_>>(), recording.audio.to_vec());
        prop_assert!(pieces.iter().all(|piece| !piece.samples.is_empty() && piece.samples.len() % unit == 0));
        prop_assert!(pieces.windows(2).all(|pair| pair[0].to == pair[1].from));
        prop_assert_eq!((pieces[0].from, pieces[pieces.len() - 1].to), (Duration::ZERO, recording.duration()));
        let pcm = |piece: &Piece| piece.samples.len() / recording.format().encoding.bytes() * 2;
        let within = |piece: &Piece| pcm(piece) <= bytes_max && recording.format().duration(piece.samples.len()) <= time_max;
        // A sample is the least there can be.
        prop_assert!(pieces.iter().all(|piece| within(piece) || piece.samples.len() == unit));
        prop_assert_eq!(recording.pieces_within(bytes_max, time_max).collect::<Vec<_>>(), pieces);
    }

    #[test]
    fn hostile_bytes_are_survived(
        cut in 0_usize..120,
        places in proptest::collection::vec((0_usize..120, any::<u8>()), 0..6),
        random in proptest::collection::vec(any::<u8>(), 0..200),
        riff in any::<bool>(),
    ) {
        let mut file = pcm(8_000, 1, &tone(1_000, Duration::from_millis(4))).to_vec();
        for (place, byte) in places {
            if let Some(old) = file.get_mut(place) {
                *old = byte;
            }
        }
        file.truncate(cut);
        let random = if riff { [&b"RIFF\0\0\0\0WAVE"[..], &random].concat() } else { random };
        for file in [file, random] {
            let file = Bytes::from(file);
            if let Ok(recording) = Recording::read(&file) {
                prop_assert!(!recording.audio.is_empty() && recording.audio.len() < file.len());
                prop_assert_eq!(recording.pieces().count(), 1);
            }
        }
    }
}
