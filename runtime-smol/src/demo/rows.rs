//! Reads what the server wrote down.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;

/// A call's row, and its recordings in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Row {
    #[sqlx(rename = "call_sid")]
    pub(super) call: String,
    pub(super) status: Option<String>,
    pub(super) frames: Option<i64>,
    pub(super) fallback_reason: Option<String>,
    pub(super) how_far: Option<String>,
    pub(super) recordings: i64,
}

pub(super) async fn read(database: &Path) -> Result<Vec<Row>, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    let query = "SELECT call_sid, status, frames, fallback_reason, how_far,
                        (SELECT count(*) FROM recordings WHERE recordings.call_sid = call_log.call_sid) AS recordings
                 FROM call_log ORDER BY created_at";
    let rows = sqlx::query_as(query).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(rows)
}
