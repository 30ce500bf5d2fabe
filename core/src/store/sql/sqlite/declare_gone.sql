-- Says that a process is gone for sure: the time at which it was dead is the beginning of all times.
INSERT INTO nodes AS known (node, started_at, alive_until)
VALUES ($1, CAST(round(unixepoch('subsec') * 1000) AS integer), 0)
ON CONFLICT (node) DO UPDATE SET alive_until = excluded.alive_until
