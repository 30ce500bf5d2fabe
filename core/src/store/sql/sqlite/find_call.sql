-- What the row of a call says to a process that is asked about it and does not know it.
SELECT
    call.call_sid, call.account_sid, call.public_host, call.source, coalesce(call.streams, 0), call.stream_sid,
    call.first_media_at IS NOT NULL, call.finished_at IS NOT NULL,
    max(0, CAST(round(unixepoch('subsec') * 1000) AS integer) - call.created_at),
    call.fallback_at IS NOT NULL
        OR EXISTS (SELECT 1 FROM recordings AS recording WHERE recording.call_sid = call.call_sid)
FROM call_log AS call WHERE call.call_sid = $1 AND call.ended_at IS NULL
