-- Merges what is known of a recording into its row, by the rules on RecordingFact and Job.
-- A word's place in a list is its rank. What is known of the job is taken as a whole: that of the higher state, then of
-- more attempts. Whoever tells how the try it took went gives the recording back.
INSERT INTO recordings AS known (
    recording_sid, call_sid, created_at, updated_at, state, duration_seconds, job_state, job_attempts, job_error,
    job_next_at
)
VALUES (
    $1, $2, $3, $3, $4, $5, $6, coalesce($7, 0), $8, $9
)
ON CONFLICT (recording_sid) DO UPDATE SET
    call_sid = max(known.call_sid, excluded.call_sid),
    created_at = min(known.created_at, excluded.created_at),
    updated_at = max(known.updated_at, excluded.updated_at),
    state = CASE
        WHEN instr('in-progress absent completed', excluded.state) > instr('in-progress absent completed', known.state)
        THEN excluded.state ELSE known.state END,
    duration_seconds = coalesce(
        max(known.duration_seconds, excluded.duration_seconds),
        known.duration_seconds, excluded.duration_seconds
    ),
    (job_state, job_attempts, job_error, job_next_at) = (
        SELECT state, attempts, error, next_at
        FROM (
            SELECT known.job_state AS state, known.job_attempts AS attempts, known.job_error AS error,
                known.job_next_at AS next_at
            UNION ALL
            SELECT excluded.job_state, excluded.job_attempts, excluded.job_error, excluded.job_next_at
        )
        ORDER BY
            instr('waiting failed done', coalesce(state, 'waiting')) DESC,
            attempts DESC, next_at DESC NULLS LAST, error DESC NULLS LAST
        LIMIT 1
    ),
    job_until = CASE WHEN $7 >= known.job_tries THEN NULL ELSE known.job_until END
