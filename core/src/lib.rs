//! callwarden-core (docs follow)

pub mod audio;
pub mod call;
pub mod config;
pub mod far_end;
pub mod fetch;
pub mod form;
pub mod http;
pub mod key;
pub mod limits;
pub mod log;
pub mod path;
pub mod prompts;
pub mod rest;
pub mod secret;
pub mod sid;
pub mod signature;
pub mod store;
pub mod stream;
pub mod switchboard;
pub mod time;
pub mod token;
pub mod twiml;
pub mod wire;
