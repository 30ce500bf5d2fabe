//! Harness of the integration tests: the world in virtual time, throwaway databases, plain HTTP over raw sockets, and
//! whole server processes with Twilio's side of their calls.

pub mod caller;
//! Harness of the integration tests: the world in virtual time, throwaway databases, server processes, plain HTTP over
//! raw sockets.

pub mod balancer;
pub mod database;
pub mod deployment;
pub mod http;
pub mod postgres;
pub mod process;
pub mod websocket;
pub mod world;
