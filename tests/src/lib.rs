//! Harness of the integration tests: the world in virtual time, throwaway databases, plain HTTP over raw sockets.

pub mod database;
pub mod http;
pub mod postgres;
pub mod world;
