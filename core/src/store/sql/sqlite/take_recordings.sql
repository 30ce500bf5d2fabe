-- Takes recordings that wait to be transcribed, for a process and a time, by this machine's clock (T5). One that
-- another process holds is left to it until its time is over. What was told of earlier tries stays as it is: it may have
-- to be taken again because nothing is told of this one.
-- The first condition is that of the index, word for word, or SQLite would not use it.
UPDATE recordings SET
    job_node = $1,
    job_until = CAST(round(unixepoch('subsec') * 1000) AS integer) + $2,
    job_tries = max(job_tries, job_attempts) + 1
WHERE recording_sid IN (
    SELECT recording.recording_sid
    FROM recordings AS recording JOIN call_log AS call ON call.call_sid = recording.call_sid
    WHERE (recording.job_state IS NULL OR recording.job_next_at IS NOT NULL) AND recording.state <> 'absent'
        AND coalesce(recording.job_state, 'failed') = 'failed'
        AND (recording.state = 'completed' OR recording.duration_seconds IS NOT NULL)
        AND coalesce(recording.job_next_at, 0) <= CAST(round(unixepoch('subsec') * 1000) AS integer)
        AND coalesce(recording.job_until, 0) <= CAST(round(unixepoch('subsec') * 1000) AS integer)
        AND coalesce(call.transcript_status, '') <> 'disabled'
    ORDER BY recording.job_next_at NULLS FIRST, recording.created_at
    LIMIT $3
)
RETURNING recording_sid, call_sid,
    (SELECT call.account_sid FROM call_log AS call WHERE call.call_sid = recordings.call_sid),
    created_at,
    job_tries,
    job_state IS NOT NULL,
    (
        SELECT string_agg(CAST(segment.sequence AS text), ' ' ORDER BY segment.sequence)
        FROM transcript_segments AS segment
        WHERE segment.call_sid = recordings.call_sid AND segment.origin = recordings.recording_sid
            AND segment.state = 'done'
    )
