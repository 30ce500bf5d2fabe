-- The segments that have waited for longer than any process keeps their audio (T5).
SELECT call_sid, origin, sequence, node, round(extract(epoch FROM started_at) * 1000)::bigint, from_ms, to_ms
FROM transcript_segments
WHERE state IS NULL AND updated_at <= now() - $1 * interval '1 millisecond'
ORDER BY node, updated_at
LIMIT $2
