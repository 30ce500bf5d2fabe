-- Merges what is known of a recording into its row, by the rules on RecordingFact.
-- A word's place in a list is its rank.
INSERT INTO recordings AS known (recording_sid, call_sid, created_at, updated_at, state, duration_seconds)
VALUES (
    $1, $2, $3, $3, $4, $5
)
ON CONFLICT (recording_sid) DO UPDATE SET
    call_sid = max(known.call_sid, excluded.call_sid),
    created_at = min(known.created_at, excluded.created_at),
    updated_at = max(known.updated_at, excluded.updated_at),
    state = CASE
        WHEN instr('in-progress absent completed', excluded.state) > instr('in-progress absent completed', known.state)
        THEN excluded.state ELSE known.state END,
    duration_seconds = coalesce(
        max(known.duration_seconds, excluded.duration_seconds),
        known.duration_seconds, excluded.duration_seconds
    )
