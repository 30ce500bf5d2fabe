//! A form with a file (`multipart/form-data`, RFC 7578), written into one allocation of exactly its size.

use super::clip::Clip;
use core::fmt::Write as _;
use std::collections::BTreeSet;

/// How every boundary begins; a number of [`DIGITS`] hexadecimal digits follows.
const BOUNDARY: &str = "callwarden-";
const DIGITS: usize = 8;

/// A form, ready to be sent.
pub(super) struct Form {
    /// Names the boundary.
    pub(super) content_type: String,
    /// All of it.
    pub(super) body: Vec<u8>,
}

/// Writes the fields in order and the clip as `file` behind them: servers that work while they read know the model
/// first.
///
/// The boundary occurs nowhere inside, for sure and without chance: it is the first number that follows
/// [`BOUNDARY`] in no part. That is 0 for any audio but such as was made to hold it, so the body is written once.
pub(super) fn encode(fields: &[(&str, &str)], clip: &Clip<'_>) -> Form {
    let (body, file) = write(fields, clip, 0);
    let parts = fields.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let number = free_number(parts.chain([&body[file]]));
    let body = if number == 0 { body } else { write(fields, clip, number).0 };
    Form { content_type: format!("multipart/form-data; boundary={}", boundary(number)), body }
}

fn boundary(number: u32) -> String {
    format!("{BOUNDARY}{number:0DIGITS$x}")
}

/// The body, and where in it the file stands.
fn write(fields: &[(&str, &str)], clip: &Clip<'_>, number: u32) -> (Vec<u8>, core::ops::Range<usize>) {
    const WRITTEN: &str = "writing to a string cannot fail";
    let boundary = boundary(number);
    let mut start = String::new();
    for (name, value) in fields {
        write!(start, "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            .expect(WRITTEN);
    }
    let (extension, content_type) = (clip.kind().extension(), clip.kind().content_type());
    write!(
        start,
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.{extension}\"\r\n\
         Content-Type: {content_type}\r\n\r\n"
    )
    .expect(WRITTEN);
    let end = format!("\r\n--{boundary}--\r\n");
    let file = start.len()..start.len() + clip.file_bytes();
    let mut body = Vec::with_capacity(file.end + end.len());
    body.extend_from_slice(start.as_bytes());
    clip.write(&mut body);
    body.extend_from_slice(end.as_bytes());
    (body, file)
}

/// The least number that does not follow [`BOUNDARY`] anywhere in the parts. There are fewer occurrences than bytes, so
/// one of the first few numbers is always free.
fn free_number<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u32 {
    let taken: BTreeSet<u32> = parts.flat_map(numbers).collect();
    // In order: the first gap is the answer.
    taken.into_iter().fold(0, |free, number| if number == free { free + 1 } else { free })
}

/// The numbers that follow [`BOUNDARY`] in `part`. An occurrence covers one of the places looked at, whose byte tells
/// where it may begin; so most of the audio is not looked at.
fn numbers(part: &[u8]) -> impl Iterator<Item = u32> {
    let start = BOUNDARY.as_bytes();
    let places = (start.len() - 1..part.len()).step_by(start.len()).filter(|place| start.contains(&part[*place]));
    places.flat_map(move |place| {
        let begins = move |offset: &usize| part[place - offset..].starts_with(start);
        let offsets = (0..start.len()).filter(begins);
        offsets.filter_map(move |offset| number(&part[place - offset + start.len()..]))
    })
}

/// The number that a text begins with.
fn number(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(core::str::from_utf8(text.get(..DIGITS)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Kind, wav};
    use proptest::prelude::*;

    /// One part as a reader sees it: its header lines and its content.
    type Part = (Vec<String>, Vec<u8>);

    /// Reads a form as RFC 2046 (section 5.1.1) has it; `None` when it is not one.
    fn parse(content_type: &str, body: &[u8]) -> Option<Vec<Part>> {
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=")?;
        let delimiter = format!("\r\n--{boundary}");
        let padded = [b"\r\n", body].concat();
        let mut cuts = Vec::new();
        let mut from = 0;
        while let Some(at) = padded[from..].windows(delimiter.len()).position(|window| window == delimiter.as_bytes()) {
            cuts.push(from + at);
            from += at + delimiter.len();
        }
        let (last, _) = cuts.split_last()?;
        (cuts[0] == 0 && padded[*last + delimiter.len()..] == *b"--\r\n").then_some(())?;
        let pieces = cuts.windows(2).map(|pair| &padded[pair[0] + delimiter.len()..pair[1]]);
        pieces
            .map(|piece| {
                let piece = piece.strip_prefix(b"\r\n")?;
                let end = piece.windows(4).position(|window| window == b"\r\n\r\n")?;
                let lines = core::str::from_utf8(&piece[..end]).ok()?.split("\r\n").map(str::to_owned).collect();
                Some((lines, piece[end + 4..].to_vec()))
            })
            .collect()
    }

    fn field(name: &str) -> Vec<String> {
        vec![format!("Content-Disposition: form-data; name=\"{name}\"")]
    }

    #[test]
    fn a_form_is_its_fields_and_then_the_file_with_name_and_type() {
        let fields = [("model", "whisper-1"), ("language", "עברית \"he\"")];
        let form = encode(&fields, &Clip::File { kind: Kind::Mp3, bytes: b"ID3\r\n--callwarden\r\n" });
        assert_eq!(form.content_type, "multipart/form-data; boundary=callwarden-00000000");
        let file = vec![
            "Content-Disposition: form-data; name=\"file\"; filename=\"audio.mp3\"".to_owned(),
            "Content-Type: audio/mpeg".to_owned(),
        ];
        let parts = vec![
            (field("model"), b"whisper-1".to_vec()),
            (field("language"), "עברית \"he\"".into()),
            (file, b"ID3\r\n--callwarden\r\n".to_vec()),
        ];
        assert_eq!(parse(&form.content_type, &form.body), Some(parts));
    }

    #[test]
    fn a_boundary_that_stands_in_a_part_is_not_taken() {
        let taken =
            |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|number| boundary(*number).into_bytes()).collect() };
        for (file, value, number) in [
            (taken(&[0]), "", 1),
            (taken(&[1, 0, 2, 5]), "", 3),
            (taken(&[0, 1]), "callwarden-00000002", 3),
            (taken(&[7]), "", 0),
            (b"callwarden-callwarden-00000000".to_vec(), "", 1),
            (b"callwarden-0000000".to_vec(), "", 0),
        ] {
            let form = encode(&[("model", value)], &Clip::File { kind: Kind::Wav, bytes: &file });
            assert_eq!(form.content_type, format!("multipart/form-data; boundary={}", boundary(number)));
            let parts = parse(&form.content_type, &form.body).expect("a form");
            assert_eq!(parts.into_iter().map(|(_, content)| content).collect::<Vec<_>>(), [value.as_bytes(), &file]);
        }
    }

    #[test]
    fn the_body_is_allocated_once_at_its_size() {
        let audio = [0x55; 15 * 8_000];
        for clip in [Clip::MuLaw(&audio), Clip::Samples { format: wav::Format::TELEPHONE, bytes: &audio }] {
            let form = encode(&[("model", "gpt-transcribe")], &clip);
            assert_eq!(form.body.len(), form.body.capacity());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_the_boundary_is_nowhere_inside(
            values in proptest::collection::vec("[^\\p{Cc}]{0,12}|callwarden-0000000[0-3]", 0..4),
            pieces in proptest::collection::vec(
                prop_oneof![
                    "(\r\n)?(--)?(callwarden-)?(0000000)?[0-9a-f]?(--)?".prop_map(String::into_bytes),
                    proptest::collection::vec(any::<u8>(), 0..20),
                ],
                0..12,
            ),
            samples: bool,
        ) {
            let content = pieces.concat();
            let clip = if samples {
                Clip::Samples { format: wav::Format::TELEPHONE, bytes: &content }
            } else {
                Clip::File { kind: Kind::Wav, bytes: &content }
            };
            let fields: Vec<_> = values.iter().map(|value| ("name", value.as_str())).collect();
            let form = encode(&fields, &clip);
            let parts = parse(&form.content_type, &form.body);
            prop_assert!(parts.is_some());
            let parts = parts.unwrap_or_default();
            prop_assert_eq!(parts.len(), fields.len() + 1);
            let boundary = form.content_type.rsplit('=').next().unwrap_or_default().as_bytes();
            for (at, (lines, content)) in parts.iter().enumerate() {
                prop_assert!(!content.windows(boundary.len()).any(|window| window == boundary));
                match values.get(at) {
                    Some(value) => prop_assert_eq!((lines, content.as_slice()), (&field("name"), value.as_bytes())),
                    None => {
                        let mut file = Vec::new();
                        clip.write(&mut file);
                        prop_assert_eq!(&file, content);
                    }
                }
            }
        }
    }
}
