-- The segments whose audio a process had that is gone (T5).
SELECT call_sid, origin, sequence, node, round(extract(epoch FROM started_at) * 1000)::bigint, from_ms, to_ms
FROM transcript_segments
WHERE state IS NULL AND node = $1
ORDER BY call_sid, origin, sequence
LIMIT $2
