//! The chunked coding of a response body (RFC 9112, section 7.1), taken off as bytes arrive.

use super::response::BadResponse;
use callwarden_core::limits::{CHUNK_LINE_BYTES_MAX, RESPONSE_HEAD_BYTES_MAX};

/// Takes the chunked coding off a response body. Strict: lines end in CR LF, a size has at least one digit; extensions
/// and trailers are read and dropped.
#[derive(Debug, Default)]
pub(super) struct ChunkedDecoder {
    state: State,
    /// The bytes of the size line, or of all trailers, so far.
    line_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    SizeStart,
    /// After a digit.
    Size(usize),
    /// In an extension, which is ignored.
    Extension(usize),
    /// After the CR of a size line.
    SizeEnd(usize),
    /// This many bytes of the chunk are still to come.
    Data(usize),
    /// After the last byte of a chunk.
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the message.
    TrailerStart,
    Trailer,
    TrailerEnd,
    /// After the CR of the empty line.
    LastLf,
    Done,
}

impl ChunkedDecoder {
    /// Decodes from the front of `input` onto `body` and says how many bytes it took: all of them, unless the message
    /// ended among them.
    ///
    /// # Errors
    ///
    /// What is wrong with the coding, or that `body` would pass `body_bytes_max`.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        body_bytes_max: usize,
    ) -> Result<usize, BadResponse> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let taken = left.min(input.len() - at);
                body.extend_from_slice(&input[at..at + taken]);
                at += taken;
                self.state = if taken == left { State::DataCr } else { State::Data(left - taken) };
            } else {
                self.state = self.step(input[at], body_bytes_max.saturating_sub(body.len()))?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the body is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// One byte outside a chunk's data; `room` is what the body may still grow by.
    fn step(&mut self, byte: u8, room: usize) -> Result<State, BadResponse> {
        let digit = char::from(byte).to_digit(16).map(|digit| digit as usize);
        let next = match (self.state, byte) {
            (State::SizeStart, _) => State::Size(digit.ok_or(BadResponse::Chunk)?),
            (State::Size(size), b'\r') | (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(size), b';' | b' ' | b'\t') => State::Extension(size),
            (State::Size(size), _) => {
                let digit = digit.ok_or(BadResponse::Chunk)?;
                State::Size(size.checked_mul(16).ok_or(BadResponse::TooLong)? | digit)
            }
            (State::Extension(_) | State::TrailerStart | State::Trailer, b'\n') => return Err(BadResponse::Chunk),
            (State::Extension(size), _) => State::Extension(size),
            (State::SizeEnd(0), b'\n') => State::TrailerStart,
            (State::SizeEnd(size), b'\n') if size <= room => State::Data(size),
            (State::SizeEnd(_), b'\n') => return Err(BadResponse::TooLong),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::TrailerStart | State::Trailer, _) => State::Trailer,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::LastLf, b'\n') => State::Done,
            _ => return Err(BadResponse::Chunk),
        };
        self.count_line_byte(next)?;
        Ok(next)
    }

    /// Bounds what carries no body: a size line, and the trailers as a whole.
    fn count_line_byte(&mut self, next: State) -> Result<(), BadResponse> {
        let max = match next {
            State::Size(_) | State::Extension(_) => CHUNK_LINE_BYTES_MAX,
            State::TrailerStart | State::Trailer | State::TrailerEnd => RESPONSE_HEAD_BYTES_MAX,
            State::SizeStart
            | State::SizeEnd(_)
            | State::Data(_)
            | State::DataCr
            | State::DataLf
            | State::LastLf
            | State::Done => {
                self.line_bytes = 0;
                return Ok(());
            }
        };
        self.line_bytes += 1;
        if self.line_bytes > max { Err(BadResponse::Chunk) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], body_bytes_max: usize) -> Result<(Vec<u8>, usize, bool), BadResponse> {
        let (mut decoder, mut body) = (ChunkedDecoder::default(), Vec::new());
        let taken = decoder.decode(input, &mut body, body_bytes_max)?;
        Ok((body, taken, decoder.is_done()))
    }

    #[test]
    fn chunks_extensions_and_trailers_give_the_body_and_leave_what_follows() {
        let coded = b"4;a=\"b\"\r\nab\r\n\r\n0A \r\n0123456789\r\n000\r\nx: y\r\nz: \r\n\r\nHTTP/1.1";
        assert_eq!(decode(coded, 14), Ok((b"ab\r\n0123456789".to_vec(), coded.len() - 8, true)));
    }

    #[test]
    fn the_number_of_chunks_is_bounded_by_the_body_alone() {
        let coded = format!("{}0\r\n\r\n", "1;e=x\r\nb\r\n".repeat(2 * CHUNK_LINE_BYTES_MAX));
        let bytes = 2 * CHUNK_LINE_BYTES_MAX;
        assert_eq!(decode(coded.as_bytes(), bytes), Ok((vec![b'b'; bytes], coded.len(), true)));
    }

    #[test]
    fn a_body_over_its_limit_is_refused_before_its_bytes_arrive() {
        assert_eq!(decode(b"5\r\n", 4), Err(BadResponse::TooLong));
        assert_eq!(decode(b"3\r\nabc\r\n2\r\n", 4), Err(BadResponse::TooLong));
        assert_eq!(decode(b"ffffffffffffffffffffff\r\n", 4), Err(BadResponse::TooLong));
    }

    #[test]
    fn sloppy_coding_is_refused() {
        for coded in [
            "\r\n",
            "\n",
            "x\r\n",
            "-1\r\n",
            "3\nabc",
            "3\r\nabcd",
            "3\r\nabc\n",
            "1;\n",
            "0\r\n\n",
            "0\r\nx: y\n",
            "0\r\n\rx",
        ] {
            assert_eq!(decode(coded.as_bytes(), 100), Err(BadResponse::Chunk), "{coded:?}");
        }
    }

    #[test]
    fn size_lines_and_trailers_are_bounded() {
        let extension = |bytes: usize| format!("1;{}\r\n", "e".repeat(bytes - 2));
        assert!(decode(extension(CHUNK_LINE_BYTES_MAX).as_bytes(), 1).is_ok());
        assert_eq!(decode(extension(CHUNK_LINE_BYTES_MAX + 1).as_bytes(), 1), Err(BadResponse::Chunk));
        let trailers = |lines: usize| format!("0\r\n{}", "a: b\r\n".repeat(lines));
        assert!(decode(trailers(RESPONSE_HEAD_BYTES_MAX / 6 - 1).as_bytes(), 1).is_ok());
        assert_eq!(decode(trailers(RESPONSE_HEAD_BYTES_MAX / 6 + 1).as_bytes(), 1), Err(BadResponse::Chunk));
    }
}
