//! Harness of the integration tests: the world in virtual time, throwaway databases, server processes with Twilio's
//! side of their calls, plain HTTP over raw sockets.

pub mod balancer;
pub mod caller;
pub mod database;
pub mod deployment;
pub mod engine;
pub mod fuzzing;
pub mod generate;
pub mod google;
pub mod http;
pub mod model;
pub mod postgres;
pub mod process;
pub mod script;
pub mod signal;
pub mod simulation;
pub mod sound;
pub mod speech;
pub mod websocket;
pub mod world;
