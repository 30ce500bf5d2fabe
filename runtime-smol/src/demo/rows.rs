//! Reads what the server wrote down.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;

/// A call's row, and what there is of it in other tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Row {
    #[sqlx(rename = "call_sid")]
    pub(super) call: String,
    pub(super) status: Option<String>,
    pub(super) frames: Option<i64>,
    pub(super) fallback_reason: Option<String>,
    pub(super) how_far: Option<String>,
    pub(super) recordings: i64,
    pub(super) transcript: Option<String>,
    pub(super) transcript_status: Option<String>,
    /// How much of the call was transcribed: utterances of its streams, and recordings.
    pub(super) utterances_transcribed: i64,
    pub(super) recordings_transcribed: i64,
    /// What keeps a part of it from being transcribed, so far.
    pub(super) trouble: Option<String>,
}

impl Row {
    /// Whether more may still come of what the caller said.
    pub(super) fn is_pending(&self) -> bool {
        self.transcript_status.as_deref().is_none_or(|status| status == "pending")
    }
}

/// A stream's segment 0 stands for the listening and is no utterance.
const ROWS: &str = "
    SELECT call.call_sid, status, frames, fallback_reason, how_far, transcript, transcript_status,
        coalesce(recording.known, 0) AS recordings, coalesce(recording.transcribed, 0) AS recordings_transcribed,
        coalesce(segment.utterances, 0) AS utterances_transcribed, coalesce(segment.trouble, recording.trouble) AS trouble
    FROM call_log AS call
    LEFT JOIN (
        SELECT call_sid, count(*) AS known, count(*) FILTER (WHERE job_state = 'done') AS transcribed,
            max(job_error) FILTER (WHERE job_state IS NOT 'done') AS trouble
        FROM recordings GROUP BY call_sid
    ) AS recording ON recording.call_sid = call.call_sid
    LEFT JOIN (
        SELECT call_sid, count(*) FILTER (WHERE state = 'done' AND sequence > 0 AND origin LIKE 'MZ%') AS utterances,
            max(error) FILTER (WHERE state IS NOT 'done') AS trouble
        FROM transcript_segments GROUP BY call_sid
    ) AS segment ON segment.call_sid = call.call_sid";

pub(super) async fn read(database: &Path) -> Result<Vec<Row>, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    let rows = sqlx::query_as(ROWS).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(rows)
}
