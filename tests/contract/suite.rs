//! What an operator and Twilio may rely on, whichever server runs. Each server's own package includes this file and
//! names its binary: nothing in here asks which one it is.

mod calls;
mod command_line;
mod differential;
mod process;
mod transcription;

use crate::{BINARY, FOREIGN_THREADS, NAME, RUNTIME};
