//! Harness of the integration tests: the world in virtual time, throwaway databases, simulated calls.

pub mod world;
//! Under construction.

pub mod database;
pub mod postgres;
//! Harness of callwarden's integration tests.

pub mod http;
