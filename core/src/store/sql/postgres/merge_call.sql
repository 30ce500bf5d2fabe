-- Merges what is known of a call into its row, by the rules on CallFact: facts give the same row in any order and for
-- any repeats. A value that is not known is NULL and changes nothing, for a comparison with NULL is not true.
-- A word's place in a list is its rank. A pair's first half is the least or greatest alone; the second goes with it.
INSERT INTO call_log AS known (
    call_sid, created_at, updated_at, node, account_sid, from_number, to_number, direction, public_host, status,
    source, streams, stream_sid, stream_started_at, first_media_at, frames, fallback_at, fallback_reason, how_far_at,
    how_far, finished_at, ended_at, duration_seconds, transcript_status, recording_missing, node_at
) VALUES (
    $1,
    timestamptz 'epoch' + $2 * interval '1 millisecond',
    timestamptz 'epoch' + $2 * interval '1 millisecond',
    $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
    timestamptz 'epoch' + $13 * interval '1 millisecond',
    timestamptz 'epoch' + $14 * interval '1 millisecond',
    $15,
    timestamptz 'epoch' + $16 * interval '1 millisecond',
    $17,
    timestamptz 'epoch' + $18 * interval '1 millisecond',
    $19,
    timestamptz 'epoch' + $20 * interval '1 millisecond',
    timestamptz 'epoch' + $21 * interval '1 millisecond',
    $22, $23, $24,
    timestamptz 'epoch' + $25 * interval '1 millisecond'
)
ON CONFLICT (call_sid) DO UPDATE SET
    created_at = least(known.created_at, excluded.created_at),
    updated_at = greatest(known.updated_at, excluded.updated_at),
    node = CASE
        WHEN (excluded.node_at, excluded.node) > (known.node_at, known.node)
        THEN excluded.node ELSE known.node END,
    node_at = greatest(known.node_at, excluded.node_at),
    account_sid = greatest(known.account_sid, excluded.account_sid),
    from_number = greatest(known.from_number, excluded.from_number),
    to_number = greatest(known.to_number, excluded.to_number),
    direction = greatest(known.direction, excluded.direction),
    public_host = greatest(known.public_host, excluded.public_host),
    status = CASE
        WHEN known.status IS NULL
            OR strpos('queued initiated ringing in-progress stream_closed canceled no-answer busy failed completed',
                excluded.status)
            > strpos('queued initiated ringing in-progress stream_closed canceled no-answer busy failed completed',
                known.status)
        THEN excluded.status ELSE known.status END,
    source = least(known.source, excluded.source),
    streams = greatest(known.streams, excluded.streams),
    stream_sid = CASE
        WHEN known.streams IS NULL
            OR (excluded.streams, excluded.stream_sid) > (known.streams, known.stream_sid)
        THEN excluded.stream_sid ELSE known.stream_sid END,
    stream_started_at = least(known.stream_started_at, excluded.stream_started_at),
    first_media_at = least(known.first_media_at, excluded.first_media_at),
    frames = greatest(known.frames, excluded.frames),
    fallback_at = least(known.fallback_at, excluded.fallback_at),
    fallback_reason = CASE
        WHEN known.fallback_at IS NULL
            OR excluded.fallback_at < known.fallback_at
            OR excluded.fallback_at = known.fallback_at
                AND strpos('no_start no_media media_stalled media_quiet stream_error stream_lost',
                    excluded.fallback_reason)
                < strpos('no_start no_media media_stalled media_quiet stream_error stream_lost',
                    known.fallback_reason)
        THEN excluded.fallback_reason ELSE known.fallback_reason END,
    how_far_at = greatest(known.how_far_at, excluded.how_far_at),
    how_far = CASE
        WHEN known.how_far_at IS NULL
            OR (excluded.how_far_at, excluded.how_far) > (known.how_far_at, known.how_far)
        THEN excluded.how_far ELSE known.how_far END,
    finished_at = least(known.finished_at, excluded.finished_at),
    ended_at = least(known.ended_at, excluded.ended_at),
    duration_seconds = greatest(known.duration_seconds, excluded.duration_seconds),
    -- It follows from other rows once it has begun; only what is never transcribed stays so.
    transcript_status = CASE
        WHEN known.transcript_status IS NULL OR excluded.transcript_status = 'disabled'
        THEN excluded.transcript_status ELSE known.transcript_status END,
    recording_missing = greatest(known.recording_missing, excluded.recording_missing)
