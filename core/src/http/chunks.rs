//! The chunked transfer coding (RFC 9112, section 7.1) taken off a body, of a request or of a response.
//!
//! Strict, because the two ends of a connection must agree on where a message ends: lines end in CR LF and hold nothing
//! but visible ASCII, blanks and tabs, and a size is a few hexadecimal digits. Extensions and trailers are checked,
//! bounded and dropped.

use super::head::is_value_byte;
use crate::limits::{CHUNK_LINE_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX};
use bytes::Buf;
use core::fmt;

/// What is wrong with a body in chunks. Where the next message starts is not known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// The chunks are not framed as they must be, or a line with a size is longer than [`CHUNK_LINE_BYTES_MAX`].
    Malformed,
    /// The body would be longer than it may be. Said when the size is read, before its bytes are stored.
    BodyTooLong,
    /// The lines after the last chunk are longer than they may be.
    TrailersTooLong,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the body is not framed in chunks",
            Self::BodyTooLong => "the body in chunks is too long",
            Self::TrailersTooLong => "the lines after the chunks of the body are too long",
        })
    }
}

impl core::error::Error for ChunkError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The line with the next chunk's size.
    Size,
    /// This many bytes of a chunk are still to come, at least one.
    Data(usize),
    /// The CR after a chunk's data.
    DataReturn,
    /// The LF after it.
    DataFeed,
    /// The lines after the last chunk.
    Trailers,
}

/// One body in chunks, as far as it came.
#[derive(Debug)]
pub struct Chunks {
    body_bytes_max: usize,
    /// Bytes that the trailers, with their line ends and the empty line, may still have.
    trailer_room: usize,
    body: Vec<u8>,
    /// The line that is being read.
    line: Vec<u8>,
    part: Part,
}

impl Chunks {
    /// Expects a body of at most `body_bytes_max` bytes without its coding. The lines after the last chunk may have
    /// `trailer_bytes_max` bytes together, with their ends and the empty line that ends the body.
    #[must_use]
    pub fn new(body_bytes_max: usize, trailer_bytes_max: usize) -> Self {
        Self { body_bytes_max, trailer_room: trailer_bytes_max, body: Vec::new(), line: Vec::new(), part: Part::Size }
    }

    /// Takes what there is of the body out of `input`, and gives the body once it is whole: what is left in `input` then
    /// comes after it, and there is nothing more to be read here.
    ///
    /// # Errors
    /// What is wrong: at the first wrong byte, a wrong size at the end of its line.
    pub fn read(&mut self, input: &mut impl Buf) -> Result<Option<Vec<u8>>, ChunkError> {
        while input.has_remaining() {
            self.part = match self.part {
                Part::Size => {
                    let Some(line) = self.line(input, CHUNK_LINE_BYTES_MAX, ChunkError::Malformed)? else { break };
                    match size(&line)? {
                        0 => Part::Trailers,
                        bytes if bytes <= self.body_bytes_max - self.body.len() => Part::Data(bytes),
                        _ => return Err(ChunkError::BodyTooLong),
                    }
                }
                Part::Data(bytes) => match bytes - self.data(input, bytes) {
                    0 => Part::DataReturn,
                    left => Part::Data(left),
                },
                Part::DataReturn if input.get_u8() == b'\r' => Part::DataFeed,
                Part::DataFeed if input.get_u8() == b'\n' => Part::Size,
                Part::DataReturn | Part::DataFeed => return Err(ChunkError::Malformed),
                Part::Trailers => {
                    let Some(line) = self.line(input, self.trailer_room, ChunkError::TrailersTooLong)? else { break };
                    if line.is_empty() {
                        return Ok(Some(core::mem::take(&mut self.body)));
                    }
                    self.trailer_room -= line.len() + b"\r\n".len();
                    Part::Trailers
                }
            };
        }
        Ok(None)
    }

    /// Takes up to `most` bytes of data, as many as lie together, and says how many.
    fn data(&mut self, input: &mut impl Buf, most: usize) -> usize {
        let there = input.chunk();
        let data = &there[..most.min(there.len())];
        self.body.extend_from_slice(data);
        let taken = data.len();
        input.advance(taken);
        taken
    }

    /// The next line without its end, once it is whole. It is at most `room` bytes long with its end.
    fn line(&mut self, input: &mut impl Buf, room: usize, too_long: ChunkError) -> Result<Option<Vec<u8>>, ChunkError> {
        while input.has_remaining() {
            if self.line.len() == room {
                return Err(too_long);
            }
            let byte = input.get_u8();
            match (byte, self.line.last() == Some(&b'\r')) {
                (b'\n', true) => {
                    self.line.pop();
                    return Ok(Some(core::mem::take(&mut self.line)));
                }
                (b'\r', false) => {}
                (byte, false) if is_value_byte(byte) => {}
                (_, true | false) => return Err(ChunkError::Malformed),
            }
            self.line.push(byte);
        }
        Ok(None)
    }
}

/// The size of a chunk, from its line: hexadecimal digits, then nothing or an extension. A size beyond any memory is as
/// good as the greatest.
fn size(line: &[u8]) -> Result<usize, ChunkError> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > CHUNK_SIZE_DIGITS_MAX {
        return Err(ChunkError::Malformed);
    }
    digits.iter().try_fold(0_usize, |size, &digit| {
        let value = char::from(digit).to_digit(16).ok_or(ChunkError::Malformed)?;
        Ok(size.saturating_mul(16).saturating_add(value as usize))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any bound that no test of another one reaches.
    const TRAILER_BYTES_MAX: usize = 1_200;

    /// The body and how many bytes it took, once it is whole. How the input was cut must not change it.
    fn read(coded: &[u8], body_bytes_max: usize) -> Result<Option<(Vec<u8>, usize)>, ChunkError> {
        let mut rest = coded;
        let whole = Chunks::new(body_bytes_max, TRAILER_BYTES_MAX).read(&mut rest);
        let whole = whole.map(|body| body.map(|body| (body, coded.len() - rest.len())));
        assert_eq!(read_bytewise(coded, body_bytes_max), whole);
        whole
    }

    fn read_bytewise(coded: &[u8], body_bytes_max: usize) -> Result<Option<(Vec<u8>, usize)>, ChunkError> {
        let mut chunks = Chunks::new(body_bytes_max, TRAILER_BYTES_MAX);
        for (index, byte) in coded.iter().enumerate() {
            if let Some(body) = chunks.read(&mut core::slice::from_ref(byte))? {
                return Ok(Some((body, index + 1)));
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_extensions_and_trailers_give_the_body_and_leave_what_follows() {
        let coded = b"4;a=\"b\"\r\nab\r\n\r\n0A \r\n0123456789\r\n000\r\nx: y\r\nz: \r\n\r\nHTTP/1.1";
        assert_eq!(read(coded, 14), Ok(Some((b"ab\r\n0123456789".to_vec(), coded.len() - 8))));
        let hebrew = format!("{:x} ;x\r\nשלום\r\n0\r\n\r\n", "שלום".len());
        assert_eq!(read(hebrew.as_bytes(), 8), Ok(Some(("שלום".into(), hebrew.len()))));
    }

    #[test]
    fn a_body_is_not_whole_before_its_last_byte() {
        let coded = b"3\r\nabc\r\n0\r\nx: y\r\n\r\n";
        for end in 0..coded.len() {
            assert_eq!(read(&coded[..end], 100), Ok(None), "cut at {end}");
        }
        assert_eq!(read(coded, 100), Ok(Some((b"abc".to_vec(), coded.len()))));
    }

    #[test]
    fn the_number_of_chunks_is_bounded_by_the_body_alone() {
        let bytes = 2 * CHUNK_LINE_BYTES_MAX;
        let coded = format!("{}0\r\n\r\n", "1;e=x\r\nb\r\n".repeat(bytes));
        assert_eq!(read(coded.as_bytes(), bytes), Ok(Some((vec![b'b'; bytes], coded.len()))));
    }

    #[test]
    fn a_body_over_its_limit_is_refused_before_its_bytes_arrive() {
        assert_eq!(read(b"4\r\n", 4), Ok(None));
        for coded in ["5\r\n", "3\r\nabc\r\n2\r\n", "ffffffffffffffff\r\n"] {
            assert_eq!(read(coded.as_bytes(), 4), Err(ChunkError::BodyTooLong), "{coded:?}");
        }
    }

    #[test]
    fn a_size_has_so_many_digits_and_not_one_more() {
        let coded = |digits: usize| format!("{}1\r\n", "0".repeat(digits - 1));
        assert_eq!(read(coded(CHUNK_SIZE_DIGITS_MAX).as_bytes(), 1), Ok(None));
        assert_eq!(read(coded(CHUNK_SIZE_DIGITS_MAX + 1).as_bytes(), 1), Err(ChunkError::Malformed));
    }

    #[test]
    fn sloppy_coding_is_refused() {
        for coded in [
            "\r\n",
            "\n",
            ";a\r\n",
            "x\r\n",
            "-1\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5 5\r\n",
            "\u{0665}\r\n",
            "3\nabc",
            "3\rabc",
            "3\r\nabcd",
            "3\r\nabc\n",
            "3\r\nabc\r\r",
            "1;\n",
            "1;\0",
            "1;\u{f6}\r\n",
            "0\r\n\n",
            "0\r\nx: y\n",
            "0\r\nx: שלום",
            "0\r\n\rx",
        ] {
            assert_eq!(read(coded.as_bytes(), 100), Err(ChunkError::Malformed), "{coded:?}");
        }
    }

    #[test]
    fn each_fault_of_the_chunks_says_which_it_is() {
        for (error, words) in [
            (ChunkError::Malformed, "not framed in chunks"),
            (ChunkError::BodyTooLong, "the body in chunks is too long"),
            (ChunkError::TrailersTooLong, "the lines after the chunks of the body are too long"),
        ] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn size_lines_and_trailers_are_bounded() {
        let extension = |bytes: usize| format!("1;{}\r\n", "e".repeat(bytes - "1;\r\n".len()));
        assert_eq!(read(extension(CHUNK_LINE_BYTES_MAX).as_bytes(), 1), Ok(None));
        assert_eq!(read(extension(CHUNK_LINE_BYTES_MAX + 1).as_bytes(), 1), Err(ChunkError::Malformed));
        let trailers = |bytes: usize| {
            let lines = "a: b\r\n".repeat(bytes / 6 - 1);
            let last = "x".repeat(bytes - lines.len() - "\r\n\r\n".len());
            format!("0\r\n{lines}{last}\r\n\r\n")
        };
        let longest = trailers(TRAILER_BYTES_MAX);
        assert_eq!(read(longest.as_bytes(), 1), Ok(Some((Vec::new(), longest.len()))));
        assert_eq!(read(trailers(TRAILER_BYTES_MAX + 1).as_bytes(), 1), Err(ChunkError::TrailersTooLong));
    }
}
