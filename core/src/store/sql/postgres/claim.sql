-- Claims a call's one fallback for a process (W5), by this database's clock. It is refused, and no row changes, when
-- the call is over, when it already fell back or a recording of it called back (W6), when more streams started than the
-- process knows of or the caller has finished without its knowing, and while another process holds the claim. Who holds it may claim it again, which begins a new lease.
INSERT INTO call_log AS known (call_sid, created_at, updated_at, node, claim_node, claim_until)
VALUES (
    $1,
    timestamptz 'epoch' + $2 * interval '1 millisecond',
    timestamptz 'epoch' + $2 * interval '1 millisecond',
    $3, $3,
    now() + $4 * interval '1 millisecond'
)
ON CONFLICT (call_sid) DO UPDATE SET
    claim_node = excluded.claim_node,
    claim_until = excluded.claim_until
WHERE coalesce(known.status, '') NOT IN ('canceled', 'no-answer', 'busy', 'failed', 'completed')
    AND known.ended_at IS NULL
    AND known.fallback_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM recordings AS recording WHERE recording.call_sid = known.call_sid)
    AND coalesce(known.streams, 0) <= $5
    AND (known.finished_at IS NULL OR $6 <> 0)
    AND (
        known.claim_node IS NULL
        OR known.claim_node = excluded.claim_node
        OR known.claim_until <= now()
    )
