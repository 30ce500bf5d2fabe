-- Takes calls that lack their end, or a recording that should be there, 2, 10 and 60 minutes after they were last heard
-- of, and every 60 minutes from then on (T8). Taking one counts; news of the call begin the count anew.
UPDATE call_log SET
    look_ups = CASE WHEN looked_up_at > updated_at THEN look_ups ELSE 0 END + 1,
    looked_up_at = CAST(round(unixepoch('subsec') * 1000) AS integer)
WHERE call_sid IN (
    SELECT call.call_sid
    FROM call_log AS call
    WHERE (call.ended_at IS NULL OR call.transcript_status = 'pending')
        AND (
            call.ended_at IS NULL
            OR call.recording_missing IS NULL AND (
                EXISTS (
                    SELECT 1 FROM recordings AS recording
                    WHERE recording.call_sid = call.call_sid
                        AND recording.state = 'in-progress' AND recording.duration_seconds IS NULL
                )
                OR (call.fallback_at IS NOT NULL OR call.source = 'recording')
                    AND NOT EXISTS (SELECT 1 FROM recordings AS recording WHERE recording.call_sid = call.call_sid)
            )
        )
        AND CASE
            WHEN call.looked_up_at > call.updated_at THEN
                CASE call.look_ups
                    WHEN 1 THEN call.updated_at + $2
                    WHEN 2 THEN call.updated_at + $3
                    ELSE call.looked_up_at + $3 END
            ELSE call.updated_at + $1 END <= CAST(round(unixepoch('subsec') * 1000) AS integer)
    ORDER BY call.updated_at
    LIMIT $4
)
RETURNING call_sid, account_sid, look_ups, ended_at IS NOT NULL
