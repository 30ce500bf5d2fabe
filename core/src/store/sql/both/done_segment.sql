-- Whether a segment is done: its audio, which a process that is gone left, is of no more use then (T5).
SELECT call_sid, origin, sequence
FROM transcript_segments
WHERE call_sid = $1 AND origin = $2 AND sequence = $3 AND state = 'done'
