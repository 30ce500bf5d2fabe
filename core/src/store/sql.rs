//! SQL of the store commands, for Postgres and SQLite.
