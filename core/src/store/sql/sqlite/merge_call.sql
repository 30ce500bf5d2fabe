-- Merges what is known of a call into its row, by the rules on CallFact: facts give the same row in any order and for
-- any repeats. A value that is not known is NULL and changes nothing, for a comparison with NULL is not true.
-- min and max of a value and NULL are NULL in SQLite, hence the coalesce.
-- A word's place in a list is its rank. A pair's first half is the least or greatest alone; the second goes with it.
INSERT INTO call_log AS known (
    call_sid, created_at, updated_at, node, account_sid, from_number, to_number, direction, public_host, status,
    source, streams, stream_sid, stream_started_at, first_media_at, frames, fallback_at, fallback_reason, how_far_at,
    how_far, finished_at, ended_at, duration_seconds, transcript_status, recording_missing, node_at
) VALUES (
    $1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
    $25
)
ON CONFLICT (call_sid) DO UPDATE SET
    created_at = min(known.created_at, excluded.created_at),
    updated_at = max(known.updated_at, excluded.updated_at),
    node = CASE
        WHEN (excluded.node_at, excluded.node) > (known.node_at, known.node)
        THEN excluded.node ELSE known.node END,
    node_at = max(known.node_at, excluded.node_at),
    account_sid = coalesce(max(known.account_sid, excluded.account_sid), known.account_sid, excluded.account_sid),
    from_number = coalesce(max(known.from_number, excluded.from_number), known.from_number, excluded.from_number),
    to_number = coalesce(max(known.to_number, excluded.to_number), known.to_number, excluded.to_number),
    direction = coalesce(max(known.direction, excluded.direction), known.direction, excluded.direction),
    public_host = coalesce(max(known.public_host, excluded.public_host), known.public_host, excluded.public_host),
    status = CASE
        WHEN known.status IS NULL
            OR instr('queued initiated ringing in-progress stream_closed canceled no-answer busy failed completed',
                excluded.status)
            > instr('queued initiated ringing in-progress stream_closed canceled no-answer busy failed completed',
                known.status)
        THEN excluded.status ELSE known.status END,
    source = coalesce(min(known.source, excluded.source), known.source, excluded.source),
    streams = coalesce(max(known.streams, excluded.streams), known.streams, excluded.streams),
    stream_sid = CASE
        WHEN known.streams IS NULL
            OR (excluded.streams, excluded.stream_sid) > (known.streams, known.stream_sid)
        THEN excluded.stream_sid ELSE known.stream_sid END,
    stream_started_at = coalesce(
        min(known.stream_started_at, excluded.stream_started_at),
        known.stream_started_at, excluded.stream_started_at
    ),
    first_media_at = coalesce(
        min(known.first_media_at, excluded.first_media_at),
        known.first_media_at, excluded.first_media_at
    ),
    frames = coalesce(max(known.frames, excluded.frames), known.frames, excluded.frames),
    fallback_at = coalesce(min(known.fallback_at, excluded.fallback_at), known.fallback_at, excluded.fallback_at),
    fallback_reason = CASE
        WHEN known.fallback_at IS NULL
            OR excluded.fallback_at < known.fallback_at
            OR excluded.fallback_at = known.fallback_at
                AND instr('no_start no_media media_stalled media_quiet stream_error stream_lost',
                    excluded.fallback_reason)
                < instr('no_start no_media media_stalled media_quiet stream_error stream_lost',
                    known.fallback_reason)
        THEN excluded.fallback_reason ELSE known.fallback_reason END,
    how_far_at = coalesce(max(known.how_far_at, excluded.how_far_at), known.how_far_at, excluded.how_far_at),
    how_far = CASE
        WHEN known.how_far_at IS NULL
            OR (excluded.how_far_at, excluded.how_far) > (known.how_far_at, known.how_far)
        THEN excluded.how_far ELSE known.how_far END,
    finished_at = coalesce(min(known.finished_at, excluded.finished_at), known.finished_at, excluded.finished_at),
    ended_at = coalesce(min(known.ended_at, excluded.ended_at), known.ended_at, excluded.ended_at),
    duration_seconds = coalesce(
        max(known.duration_seconds, excluded.duration_seconds),
        known.duration_seconds, excluded.duration_seconds
    ),
    -- It follows from other rows once it has begun; only what is never transcribed stays so.
    transcript_status = CASE
        WHEN known.transcript_status IS NULL OR excluded.transcript_status = 'disabled'
        THEN excluded.transcript_status ELSE known.transcript_status END,
    recording_missing = coalesce(
        max(known.recording_missing, excluded.recording_missing),
        known.recording_missing, excluded.recording_missing
    )
