-- Merges what is known of a stretch of speech into its row, by the rules on SegmentFact and Job.
-- A word's place in a list is its rank. What is known of the job is taken as a whole: that of the higher state, then of
-- more attempts.
INSERT INTO transcript_segments AS known (
    call_sid, origin, sequence, updated_at, node, started_at, from_ms, to_ms, state, attempts, error, next_at, text
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
)
ON CONFLICT (call_sid, origin, sequence) DO UPDATE SET
    updated_at = max(known.updated_at, excluded.updated_at),
    node = CASE
        WHEN (excluded.updated_at, excluded.node) > (known.updated_at, known.node)
        THEN excluded.node ELSE known.node END,
    started_at = min(known.started_at, excluded.started_at),
    from_ms = min(known.from_ms, excluded.from_ms),
    to_ms = max(known.to_ms, excluded.to_ms),
    (state, attempts, error, next_at) = (
        SELECT state, attempts, error, next_at
        FROM (
            SELECT known.state AS state, known.attempts AS attempts, known.error AS error, known.next_at AS next_at
            UNION ALL
            SELECT excluded.state, excluded.attempts, excluded.error, excluded.next_at
        )
        ORDER BY
            instr('waiting failed done', coalesce(state, 'waiting')) DESC,
            attempts DESC, next_at DESC NULLS LAST, error DESC NULLS LAST
        LIMIT 1
    ),
    text = max(known.text, excluded.text)
