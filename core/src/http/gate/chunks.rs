//! The chunks of a body, taken out of the buffer as they come.

use crate::http::head::{Refusal, is_value_byte};
use crate::limits::{BODY_BYTES_MAX, CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX};
use bytes::{Buf as _, Bytes, BytesMut};

/// Hexadecimal digits of a chunk size that are read; more are an attempt at an overflow.
const SIZE_DIGITS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The line with the next chunk's size.
    #[default]
    Size,
    /// This many bytes of a chunk are still to come.
    Data(usize),
    /// The line end after a chunk's data.
    DataEnd,
    /// The lines after the last chunk; the room they still have.
    Trailers { room: usize },
}

/// A body in chunks, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    body: BytesMut,
    part: Part,
}

impl Chunks {
    /// Takes what there is out of `buffer`, and gives the body once it is whole. Chunk extensions and trailers are
    /// checked, bounded and dropped.
    pub(super) fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Refusal> {
        loop {
            self.part = match self.part {
                Part::Size => {
                    let Some(line) = line(buffer, CHUNK_LINE_BYTES_MAX, Refusal::Chunk)? else { return Ok(None) };
                    match size(&line)? {
                        0 => Part::Trailers { room: HEAD_BYTES_MAX },
                        bytes if bytes <= BODY_BYTES_MAX - self.body.len() => Part::Data(bytes),
                        _ => return Err(Refusal::BodyTooLong),
                    }
                }
                Part::Data(0) => Part::DataEnd,
                Part::Data(_) if buffer.is_empty() => return Ok(None),
                Part::Data(bytes) => {
                    let taken = buffer.split_to(bytes.min(buffer.len()));
                    self.body.extend_from_slice(&taken);
                    Part::Data(bytes - taken.len())
                }
                Part::DataEnd => match line(buffer, b"\r\n".len(), Refusal::Chunk)? {
                    None => return Ok(None),
                    Some(_) => Part::Size,
                },
                Part::Trailers { room } => match line(buffer, room, Refusal::HeadTooLong)? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => return Ok(Some(core::mem::take(&mut self.body).freeze())),
                    Some(line) => Part::Trailers { room: room - line.len() - b"\r\n".len() },
                },
            };
        }
    }
}

/// The next line without its end, which is at most `room` bytes long with it.
fn line(buffer: &mut BytesMut, room: usize, too_long: Refusal) -> Result<Option<BytesMut>, Refusal> {
    for (index, &byte) in buffer.iter().enumerate() {
        if index == room {
            return Err(too_long);
        }
        match (byte, index > 0 && buffer[index - 1] == b'\r') {
            (b'\n', true) => {
                let line = buffer.split_to(index - 1);
                buffer.advance(b"\r\n".len());
                return Ok(Some(line));
            }
            (b'\r', false) => {}
            (byte, false) if is_value_byte(byte) => {}
            (_, true | false) => return Err(Refusal::Chunk),
        }
    }
    Ok(None)
}

/// The size of a chunk, from its line: hexadecimal digits, then nothing or an extension.
fn size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return Err(Refusal::Chunk);
    }
    digits.iter().try_fold(0_usize, |size, &digit| {
        let value = char::from(digit).to_digit(16).ok_or(Refusal::Chunk)?;
        Ok(size.saturating_mul(16).saturating_add(value as usize))
    })
}
