-- What the row of a call says to a process that is asked about it and does not know it.
SELECT
    call.call_sid, call.account_sid, call.public_host, call.source, coalesce(call.streams, 0), call.stream_sid,
    (call.first_media_at IS NOT NULL)::int::bigint, (call.finished_at IS NOT NULL)::int::bigint,
    greatest(0, extract(epoch FROM now() - call.created_at) * 1000)::bigint,
    (
        call.fallback_at IS NOT NULL
        OR EXISTS (SELECT 1 FROM recordings AS recording WHERE recording.call_sid = call.call_sid)
    )::int::bigint
FROM call_log AS call WHERE call.call_sid = $1 AND call.ended_at IS NULL
