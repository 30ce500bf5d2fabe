//! The rules of the design in virtual time: each is a test with its name, grouped by subject. One binary, because each
//! links the database drivers anew.

mod admission;
mod bridge_rules;
mod crowds;
mod database_commands;
mod database_outage;
mod drain;
mod every_call_has_a_transcript;
mod fallback_rules;
mod independent_calls;
mod live_transcription;
mod model;
mod no_silence;
mod one_socket_per_call;
mod overdue_calls;
mod pages;
mod recording_files;
mod recordings;
mod recordings_in_time;
mod replaced_system;
mod spool;
mod stream_ended_table;
mod taken_over;
mod transcription_drain;
mod transcription_limits;
mod transcription_outages;
mod transcription_refusals;
mod unanswered;
mod watch_rules;
mod webhooks;
