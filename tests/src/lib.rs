//! Harness of the integration tests: the world in virtual time, throwaway databases, simulated calls.

pub mod world;
