//! The same scripts through the simulator in virtual time and through the server over real sockets: the same TwiML, the
//! same messages, the same requests to Twilio, the same lines of the log, the same rows. As each server is compared with
//! the simulator, so are the two with each other.

mod account;
mod calls;
mod relay;
mod requests;

use callwarden_tests::world::{AUTH_TOKEN, HOST};

/// What a server of the simulator's deployment is started with, on top of what a script sets.
const DEPLOYMENT: [(&str, &str); 2] = [("PUBLIC_HOST", HOST), ("TWILIO_AUTH_TOKEN", AUTH_TOKEN)];
