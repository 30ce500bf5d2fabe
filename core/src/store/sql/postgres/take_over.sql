-- Takes over open calls of processes that are gone ($1 takes them): those whose word ran out, once this process itself
-- has been steady for so long ($2) that they could have renewed it after an outage, and those declared gone. Not calls
-- that are recorded or to be recorded: Twilio does that without us. A claim that its holder did not use is free again.
-- They are found by whose they are, however many there were of late, and locked in the order of their keys, as facts
-- lock them.
UPDATE call_log AS taken SET
    node = $1,
    node_at = now(),
    claim_node = CASE WHEN taken.claim_node = taken.node THEN NULL ELSE taken.claim_node END,
    claim_until = CASE WHEN taken.claim_node = taken.node THEN NULL ELSE taken.claim_until END
WHERE taken.call_sid = ANY (ARRAY(
    SELECT call.call_sid
    FROM call_log AS call
    WHERE call.ended_at IS NULL
        AND call.node = ANY (ARRAY(
            SELECT gone.node FROM nodes AS gone
            WHERE gone.node <> $1
                AND gone.alive_until <= now()
                AND (
                    gone.alive_until = timestamptz 'epoch'
                    OR EXISTS (
                        SELECT 1 FROM nodes AS this
                        WHERE this.node = $1 AND this.steady_since <= now() - $2 * interval '1 millisecond'
                    )
                )
        ))
        AND coalesce(call.status, '') NOT IN ('canceled', 'no-answer', 'busy', 'failed', 'completed')
        AND call.fallback_at IS NULL
        AND coalesce(call.source, '') <> 'recording'
        AND call.created_at + $3 * interval '1 millisecond' > now()
        AND NOT EXISTS (SELECT 1 FROM recordings AS recording WHERE recording.call_sid = call.call_sid)
    ORDER BY call.call_sid
    LIMIT $4
    FOR UPDATE SKIP LOCKED
))
RETURNING
    taken.call_sid, taken.account_sid, taken.public_host, taken.source, coalesce(taken.streams, 0), taken.stream_sid,
    (taken.first_media_at IS NOT NULL)::int::bigint, (taken.finished_at IS NOT NULL)::int::bigint,
    greatest(0, extract(epoch FROM now() - taken.created_at) * 1000)::bigint, 0::bigint
