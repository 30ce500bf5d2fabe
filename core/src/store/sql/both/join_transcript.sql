-- Joins a call's transcript from its segments, and says how it stands (T7). It follows from the rows alone, so it may be
-- done at any time; whoever does it has locked the call's row in a statement before, or a writer beside it would be
-- overlooked.
-- Segments follow each other in the order they were spoken: a space between two of one origin, a new line between two
-- origins ($2), a mark where one failed. A stream's segment 0, which stands for the listening, comes last of its origin. No
-- text is ever lost: a segment's never becomes empty again.
UPDATE call_log AS call SET
    transcript = joined.text,
    transcript_status = CASE
        WHEN call.transcript_status = 'disabled' THEN 'disabled'
        WHEN call.ended_at IS NULL THEN 'pending'
        WHEN segment.waiting > 0 OR recording.waiting > 0 THEN 'pending'
        WHEN call.recording_missing IS NULL
            AND (recording.running > 0 OR recording.known = 0 AND (call.fallback_at IS NOT NULL OR call.source = 'recording'))
        THEN 'pending'
        WHEN segment.failure IS NOT NULL THEN 'failed: ' || segment.failure
        WHEN recording.failure IS NOT NULL THEN 'failed: ' || recording.failure
        WHEN recording.running > 0 OR recording.known = 0 AND call.recording_missing IS NOT NULL
        THEN 'failed: ' || call.recording_missing
        WHEN joined.text IS NOT NULL THEN 'done'
        WHEN recording.absent > 0 AND recording.absent = recording.known THEN 'failed: Twilio kept no recording'
        ELSE 'empty' END
FROM
    (
        SELECT string_agg(origin.text, $2 ORDER BY origin.begun, origin.origin) AS text
        FROM (
            SELECT said.origin, min(said.started_at) AS begun,
                string_agg(said.text, ' ' ORDER BY said.sequence = 0, said.sequence) FILTER (WHERE said.text <> '') AS text
            FROM (
                SELECT origin, sequence, started_at, CASE WHEN state = 'failed' THEN '[…]' ELSE text END AS text
                FROM transcript_segments WHERE call_sid = $1
            ) AS said
            GROUP BY said.origin
        ) AS origin
        WHERE origin.text IS NOT NULL
    ) AS joined,
    (
        SELECT count(*) FILTER (WHERE state IS NULL) AS waiting, min(error) FILTER (WHERE state = 'failed') AS failure
        FROM transcript_segments WHERE call_sid = $1
    ) AS segment,
    (
        SELECT count(*) AS known,
            count(*) FILTER (WHERE state = 'in-progress' AND duration_seconds IS NULL) AS running,
            count(*) FILTER (
                WHERE (state = 'completed' OR state = 'in-progress' AND duration_seconds IS NOT NULL)
                    AND job_state IS NULL
            ) AS waiting,
            count(*) FILTER (WHERE state = 'absent') AS absent,
            min(job_error) FILTER (WHERE job_state = 'failed') AS failure
        FROM recordings WHERE call_sid = $1
    ) AS recording
WHERE call.call_sid = $1
