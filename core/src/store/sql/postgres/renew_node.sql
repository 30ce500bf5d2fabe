-- Says that a process lives, for so many milliseconds by this database's clock. After a gap it is steady from now on.
INSERT INTO nodes AS known (node, started_at, steady_since, alive_until)
VALUES ($1, now(), now(), now() + $2 * interval '1 millisecond')
ON CONFLICT (node) DO UPDATE SET
    steady_since = CASE WHEN known.alive_until <= now() THEN now() ELSE known.steady_since END,
    alive_until = excluded.alive_until
