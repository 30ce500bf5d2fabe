-- Merges what is known of a stretch of speech into its row, by the rules on SegmentFact and Job.
-- A word's place in a list is its rank. What is known of the job is taken as a whole: that of the higher state, then of
-- more attempts.
INSERT INTO transcript_segments AS known (
    call_sid, origin, sequence, updated_at, node, started_at, from_ms, to_ms, state, attempts, error, next_at, text
)
VALUES (
    $1, $2, $3,
    timestamptz 'epoch' + $4 * interval '1 millisecond',
    $5,
    timestamptz 'epoch' + $6 * interval '1 millisecond',
    $7, $8, $9, $10, $11,
    timestamptz 'epoch' + $12 * interval '1 millisecond',
    $13
)
ON CONFLICT (call_sid, origin, sequence) DO UPDATE SET
    updated_at = greatest(known.updated_at, excluded.updated_at),
    node = CASE
        WHEN (excluded.updated_at, excluded.node) > (known.updated_at, known.node)
        THEN excluded.node ELSE known.node END,
    started_at = least(known.started_at, excluded.started_at),
    from_ms = least(known.from_ms, excluded.from_ms),
    to_ms = greatest(known.to_ms, excluded.to_ms),
    (state, attempts, error, next_at) = (
        SELECT job.state, job.attempts, job.error, job.next_at
        FROM (VALUES
            (known.state, known.attempts, known.error, known.next_at),
            (excluded.state, excluded.attempts, excluded.error, excluded.next_at)
        ) AS job (state, attempts, error, next_at)
        ORDER BY
            strpos('waiting failed done', coalesce(job.state, 'waiting')) DESC,
            job.attempts DESC, job.next_at DESC NULLS LAST, job.error DESC NULLS LAST
        LIMIT 1
    ),
    text = greatest(known.text, excluded.text)
