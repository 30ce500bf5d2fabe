-- Forgets processes that were gone for so long ($1), those apart to which an open call still belongs.
DELETE FROM nodes
WHERE alive_until <= CAST(round(unixepoch('subsec') * 1000) AS integer) - $1
    AND started_at <= CAST(round(unixepoch('subsec') * 1000) AS integer) - $1
    AND NOT EXISTS (SELECT 1 FROM call_log AS call WHERE call.node = nodes.node AND call.ended_at IS NULL)
