//! Audio as bytes: mu-law frames of a stream, prompt files, recordings, and what is sent to be transcribed.

mod file;
mod loudness;
mod mulaw;
mod recording;
pub mod wav;

pub use file::{Kind, duration};
pub(crate) use loudness::{is_quieter, quietest};
pub use mulaw::{NotBase64, SAMPLES, SpeechMeter, decode_base64, mean_square, mean_square_of_base64, mulaw_length};
pub use recording::{Encoding, Format, NotARecording, Piece, Recording};
