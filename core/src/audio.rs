//! Audio as bytes: mu-law frames of a stream, and the prompt files.

mod file;
mod mulaw;

pub use file::{Kind, duration};
pub use mulaw::{NotBase64, SAMPLES, SpeechMeter, mean_square, mean_square_of_base64};
