-- Merges what is known of a recording into its row, by the rules on RecordingFact and Job.
-- A word's place in a list is its rank. What is known of the job is taken as a whole: that of the higher state, then of
-- more attempts. Whoever tells how the try it took went gives the recording back.
INSERT INTO recordings AS known (
    recording_sid, call_sid, created_at, updated_at, state, duration_seconds, job_state, job_attempts, job_error,
    job_next_at
)
VALUES (
    $1, $2,
    timestamptz 'epoch' + $3 * interval '1 millisecond',
    timestamptz 'epoch' + $3 * interval '1 millisecond',
    $4, $5, $6, coalesce($7, 0), $8,
    timestamptz 'epoch' + $9 * interval '1 millisecond'
)
ON CONFLICT (recording_sid) DO UPDATE SET
    call_sid = greatest(known.call_sid, excluded.call_sid),
    created_at = least(known.created_at, excluded.created_at),
    updated_at = greatest(known.updated_at, excluded.updated_at),
    state = CASE
        WHEN strpos('in-progress absent completed', excluded.state)
            > strpos('in-progress absent completed', known.state)
        THEN excluded.state ELSE known.state END,
    duration_seconds = greatest(known.duration_seconds, excluded.duration_seconds),
    (job_state, job_attempts, job_error, job_next_at) = (
        SELECT job.state, job.attempts, job.error, job.next_at
        FROM (VALUES
            (known.job_state, known.job_attempts, known.job_error, known.job_next_at),
            (excluded.job_state, excluded.job_attempts, excluded.job_error, excluded.job_next_at)
        ) AS job (state, attempts, error, next_at)
        ORDER BY
            strpos('waiting failed done', coalesce(job.state, 'waiting')) DESC,
            job.attempts DESC, job.next_at DESC NULLS LAST, job.error DESC NULLS LAST
        LIMIT 1
    ),
    job_until = CASE WHEN $7 >= known.job_tries THEN NULL ELSE known.job_until END
