-- The segments that have waited for longer than any process keeps their audio (T5).
SELECT call_sid, origin, sequence, node, started_at, from_ms, to_ms
FROM transcript_segments
WHERE state IS NULL AND updated_at <= CAST(round(unixepoch('subsec') * 1000) AS integer) - $1
ORDER BY node, updated_at
LIMIT $2
