-- Gives back the recordings of processes that are gone, as take_over.sql knows them.
UPDATE recordings SET job_until = NULL
WHERE job_until IS NOT NULL AND job_node IN (
    SELECT gone.node FROM nodes AS gone
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
)
