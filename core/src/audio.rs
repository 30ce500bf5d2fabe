//! Audio as bytes: mu-law frames of a stream, the prompt files, and what is sent to be transcribed.

mod file;
mod loudness;
mod mulaw;
pub mod wav;

pub use file::{Kind, duration};
pub(crate) use loudness::{is_near_silent, quietest};
pub use mulaw::{NotBase64, SAMPLES, SpeechMeter, mean_square, mean_square_of_base64};
