-- Takes recordings that wait to be transcribed, for a process and a time, by this database's clock (T5). One that
-- another process holds is left to it until its time is over. What was told of earlier tries stays as it is: it may have
-- to be taken again because nothing is told of this one.
-- An array is found by the key whatever the planner believes of its length.
UPDATE recordings AS taken SET
    job_node = $1,
    job_until = now() + $2 * interval '1 millisecond',
    job_tries = greatest(taken.job_tries, taken.job_attempts) + 1
WHERE taken.recording_sid = ANY (ARRAY(
    SELECT recording.recording_sid
    FROM recordings AS recording JOIN call_log AS call ON call.call_sid = recording.call_sid
    WHERE (recording.job_state IS NULL OR recording.job_state = 'failed' AND recording.job_next_at IS NOT NULL)
        AND (recording.state = 'completed'
            OR recording.state = 'in-progress' AND recording.duration_seconds IS NOT NULL)
        AND (recording.job_next_at IS NULL OR recording.job_next_at <= now())
        AND (recording.job_until IS NULL OR recording.job_until <= now())
        AND coalesce(call.transcript_status, '') <> 'disabled'
    ORDER BY recording.job_next_at NULLS FIRST, recording.created_at
    LIMIT $3
    FOR UPDATE OF recording SKIP LOCKED
))
RETURNING taken.recording_sid, taken.call_sid,
    (SELECT call.account_sid FROM call_log AS call WHERE call.call_sid = taken.call_sid),
    round(extract(epoch FROM taken.created_at) * 1000)::bigint,
    taken.job_tries,
    (taken.job_state IS NOT NULL)::int::bigint,
    (
        SELECT string_agg(segment.sequence::text, ' ' ORDER BY segment.sequence)
        FROM transcript_segments AS segment
        WHERE segment.call_sid = taken.call_sid AND segment.origin = taken.recording_sid AND segment.state = 'done'
    )
