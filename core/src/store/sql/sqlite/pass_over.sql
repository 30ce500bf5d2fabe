-- Passes over recordings of calls that are never transcribed, some at a time, so that they do not wait for ever among
-- those that are taken.
UPDATE recordings SET job_state = 'done'
WHERE recording_sid IN (
    SELECT recording.recording_sid
    FROM recordings AS recording
    WHERE (recording.job_state IS NULL OR recording.job_next_at IS NOT NULL) AND recording.state <> 'absent'
        AND (SELECT call.transcript_status FROM call_log AS call WHERE call.call_sid = recording.call_sid) = 'disabled'
    ORDER BY recording.job_next_at NULLS FIRST, recording.created_at
    LIMIT $1
)
