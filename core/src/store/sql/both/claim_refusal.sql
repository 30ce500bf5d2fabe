-- Why a claim (claim.sql) is refused, read in its transaction: the first thing that stands in its way.
SELECT CASE
    WHEN coalesce(status, '') IN ('canceled', 'no-answer', 'busy', 'failed', 'completed') OR ended_at IS NOT NULL
        THEN 'over'
    WHEN EXISTS (SELECT 1 FROM recordings AS recording WHERE recording.call_sid = call_log.call_sid) THEN 'recorded'
    WHEN fallback_at IS NOT NULL THEN 'fell_back'
    WHEN coalesce(streams, 0) > $2 OR finished_at IS NOT NULL AND $3 = 0 THEN 'elsewhere'
    ELSE 'held' END
FROM call_log WHERE call_sid = $1
