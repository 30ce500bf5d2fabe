-- Takes calls that lack their end, or a recording that should be there, 2, 10 and 60 minutes after they were last heard
-- of, and every 60 minutes from then on (T8). Taking one counts; news of the call begin the count anew.
-- An array is found by the key whatever the planner believes of its length, and recordings are counted call by call:
-- for EXISTS all there ever were might be read.
UPDATE call_log AS taken SET
    look_ups = CASE WHEN taken.looked_up_at > taken.updated_at THEN taken.look_ups ELSE 0 END + 1,
    looked_up_at = now()
WHERE taken.call_sid = ANY (ARRAY(
    SELECT call.call_sid
    FROM call_log AS call
    WHERE (call.ended_at IS NULL OR call.transcript_status = 'pending')
        AND call.updated_at <= now() - $1 * interval '1 millisecond'
        AND (
            call.ended_at IS NULL
            OR call.recording_missing IS NULL AND (
                (
                    SELECT count(*) FROM recordings AS recording
                    WHERE recording.call_sid = call.call_sid
                        AND recording.state = 'in-progress' AND recording.duration_seconds IS NULL
                ) > 0
                OR (call.fallback_at IS NOT NULL OR call.source = 'recording')
                    AND (SELECT count(*) FROM recordings AS recording WHERE recording.call_sid = call.call_sid) = 0
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
))
RETURNING taken.call_sid, taken.account_sid, taken.look_ups, (taken.ended_at IS NOT NULL)::int::bigint
