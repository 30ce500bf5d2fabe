-- Takes over open calls of processes that are gone ($1 takes them): those whose word ran out, once this process itself
-- has been steady for so long ($2) that they could have renewed it after an outage, and those declared gone. Not calls
-- that are recorded or to be recorded: Twilio does that without us. A claim that its holder did not use is free again.
UPDATE call_log SET
    claim_node = CASE WHEN claim_node = node THEN NULL ELSE claim_node END,
    claim_until = CASE WHEN claim_node = node THEN NULL ELSE claim_until END,
    node = $1,
    node_at = CAST(round(unixepoch('subsec') * 1000) AS integer)
WHERE call_sid IN (
    SELECT call.call_sid
    -- Joined in this order and not sorted, or all calls there ever were would be read.
    FROM nodes AS gone CROSS JOIN call_log AS call ON call.node = gone.node
    WHERE gone.node <> $1
        AND gone.alive_until <= CAST(round(unixepoch('subsec') * 1000) AS integer)
        AND (
            gone.alive_until = 0
            OR EXISTS (
                SELECT 1 FROM nodes AS this
                WHERE this.node = $1
                    AND this.steady_since <= CAST(round(unixepoch('subsec') * 1000) AS integer) - $2
            )
        )
        AND call.ended_at IS NULL
        AND coalesce(call.status, '') NOT IN ('canceled', 'no-answer', 'busy', 'failed', 'completed')
        AND call.fallback_at IS NULL
        AND coalesce(call.source, '') <> 'recording'
        AND call.created_at + $3 > CAST(round(unixepoch('subsec') * 1000) AS integer)
        AND NOT EXISTS (SELECT 1 FROM recordings AS recording WHERE recording.call_sid = call.call_sid)
    LIMIT $4
)
RETURNING
    call_sid, account_sid, public_host, source, coalesce(streams, 0), stream_sid, first_media_at IS NOT NULL,
    finished_at IS NOT NULL, max(0, CAST(round(unixepoch('subsec') * 1000) AS integer) - created_at), 0
