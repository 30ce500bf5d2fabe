//! Sound.
use base64::Engine as _;

/// Whether a frame holds speech.
#[must_use]
pub fn is_speech(payload: &str) -> bool {
    let mut bytes = [0_u8; 400];
    let Ok(len) = base64::engine::general_purpose::STANDARD.decode_slice(payload, &mut bytes) else { return false };
    bytes[..len].iter().filter(|byte| **byte & 0x7f < 0x50).count() * 4 > len
}
