-- Forgets processes that were gone for so long ($1), those apart to which an open call still belongs.
DELETE FROM nodes
WHERE alive_until <= now() - $1 * interval '1 millisecond'
    AND started_at <= now() - $1 * interval '1 millisecond'
    AND NOT EXISTS (SELECT 1 FROM call_log AS call WHERE call.node = nodes.node AND call.ended_at IS NULL)
