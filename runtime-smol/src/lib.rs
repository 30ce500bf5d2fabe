//! Under construction.

pub mod store;
//! The production server of callwarden, on smol.

pub mod server;
pub mod fetch;
