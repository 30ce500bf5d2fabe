-- Merges what is known of a recording into its row, by the rules on RecordingFact.
-- A word's place in a list is its rank.
INSERT INTO recordings AS known (recording_sid, call_sid, created_at, updated_at, state, duration_seconds)
VALUES (
    $1, $2,
    timestamptz 'epoch' + $3 * interval '1 millisecond',
    timestamptz 'epoch' + $3 * interval '1 millisecond',
    $4, $5
)
ON CONFLICT (recording_sid) DO UPDATE SET
    call_sid = greatest(known.call_sid, excluded.call_sid),
    created_at = least(known.created_at, excluded.created_at),
    updated_at = greatest(known.updated_at, excluded.updated_at),
    state = CASE
        WHEN strpos('in-progress absent completed', excluded.state)
            > strpos('in-progress absent completed', known.state)
        THEN excluded.state ELSE known.state END,
    duration_seconds = greatest(known.duration_seconds, excluded.duration_seconds)
