//! Audio as bytes: mu-law frames of a stream, prompt files, recordings, and what is sent to be transcribed.

mod file;
mod loudness;
mod mulaw;
mod recording;
pub mod wav;

pub use file::{Kind, duration};
pub(crate) use loudness::{is_near_silent, quietest};
pub use mulaw::{NotBase64, SAMPLES, SpeechMeter, mean_square, mean_square_of_base64};
pub use recording::{Encoding, Format, NotARecording, Piece, Recording};
