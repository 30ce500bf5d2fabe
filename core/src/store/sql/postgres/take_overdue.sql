-- Takes calls that lack their end, or a recording that should be there, 2, 10 and 60 minutes after they were last heard
-- of, and every 60 minutes from then on (T8). Taking one counts; news of the call begin the count anew.
WITH overdue AS (
    SELECT call.call_sid, CASE WHEN call.looked_up_at > call.updated_at THEN call.look_ups ELSE 0 END AS look_ups
    FROM call_log AS call
    WHERE (call.ended_at IS NULL OR call.transcript_status = 'pending')
        AND call.updated_at <= now() - $1 * interval '1 millisecond'
        AND (
            call.ended_at IS NULL
            OR call.recording_missing IS NULL AND (
                EXISTS (
                    SELECT FROM recordings AS recording
                    WHERE recording.call_sid = call.call_sid
                        AND recording.state = 'in-progress' AND recording.duration_seconds IS NULL
                )
                OR (call.fallback_at IS NOT NULL OR call.source = 'recording')
                    AND NOT EXISTS (SELECT FROM recordings AS recording WHERE recording.call_sid = call.call_sid)
            )
        )
        AND CASE
            WHEN call.looked_up_at > call.updated_at THEN
                CASE call.look_ups
                    WHEN 1 THEN call.updated_at + $2 * interval '1 millisecond'
                    WHEN 2 THEN call.updated_at + $3 * interval '1 millisecond'
                    ELSE call.looked_up_at + $3 * interval '1 millisecond' END
            ELSE call.updated_at + $1 * interval '1 millisecond' END <= now()
    ORDER BY call.updated_at
    LIMIT $4
    FOR UPDATE SKIP LOCKED
)
UPDATE call_log AS taken SET look_ups = overdue.look_ups + 1, looked_up_at = now()
FROM overdue
WHERE taken.call_sid = overdue.call_sid
RETURNING taken.call_sid, taken.account_sid, taken.look_ups, (taken.ended_at IS NOT NULL)::int::bigint
