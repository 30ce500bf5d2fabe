-- Gives back the recordings of processes that are gone, as take_over.sql knows them. Their rows are locked in the order
-- of their keys, as facts lock them.
UPDATE recordings SET job_until = NULL
WHERE recording_sid = ANY (ARRAY(
    SELECT recording_sid
    FROM recordings
    WHERE job_until IS NOT NULL
        AND job_node = ANY (ARRAY(
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
    ORDER BY recording_sid
    FOR UPDATE
))
