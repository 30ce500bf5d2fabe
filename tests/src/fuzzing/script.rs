//! A whole run of the simulation: every invariant, from any bytes.

use crate::generate;
use crate::simulation;

/// The script that the bytes stand for, played to its end.
pub fn script(data: &[u8]) {
    if let Err(failure) = simulation::run(&generate::script(data)) {
        // Told before the panic: it is told by playing it once more, and what panics there must not do so within a panic.
        let told = failure.to_string();
        panic!("{told}");
    }
}
