-- Says that a process lives, for so many milliseconds by this machine's clock. After a gap it is steady from now on.
INSERT INTO nodes AS known (node, started_at, steady_since, alive_until)
VALUES (
    $1,
    CAST(round(unixepoch('subsec') * 1000) AS integer),
    CAST(round(unixepoch('subsec') * 1000) AS integer),
    CAST(round(unixepoch('subsec') * 1000) AS integer) + $2
)
ON CONFLICT (node) DO UPDATE SET
    steady_since = CASE WHEN known.alive_until <= excluded.started_at
        THEN excluded.started_at ELSE known.steady_since END,
    alive_until = excluded.alive_until
