-- The whole first schema: the same tables and columns as in Postgres. Applied migrations are never edited: a change is
-- a new file with the next number.
--
-- Times are milliseconds since 1970. SQLite compares texts byte by byte by default, which is what the merge rules need.
-- STRICT tables refuse a value of the wrong type, as Postgres does.

-- One row per call. Facts about a call are merged into its row in any order and any number of times, so every column
-- but the key, the two stamps and the node may still be unknown (NULL).
CREATE TABLE call_log (
    call_sid          text PRIMARY KEY NOT NULL,
    account_sid       text,
    from_number       text,
    to_number         text,
    direction         text,
    public_host       text,
    -- queued < initiated < ringing < in-progress < stream_closed < canceled < no-answer < busy < failed < completed
    status            text,
    -- What the TwiML asked for: stream or recording.
    source            text,
    -- The process that knew the call last: its row in nodes.
    node              text NOT NULL,
    -- How many streams started, and the last of them.
    streams           integer,
    stream_sid        text,
    stream_started_at integer,
    first_media_at    integer,
    frames            integer,
    -- no_start, no_media, media_stalled, media_quiet, stream_error or stream_lost.
    fallback_reason   text,
    fallback_at       integer,
    -- How far the call got, in words, and when that was known: the latest words stay.
    how_far           text,
    how_far_at        integer,
    -- The stream was closed because the caller had finished.
    finished_at       integer,
    -- Who may deliver the call's one fallback, and until when, by this database's clock.
    claim_node        text,
    claim_until       integer,
    transcript        text,
    -- pending, done, empty, disabled, or failed: and why.
    transcript_status text,
    created_at        integer NOT NULL,
    ended_at          integer,
    duration_seconds  integer,
    updated_at        integer NOT NULL
) STRICT;

-- The newest calls first, for people and pages.
CREATE INDEX call_log_created_at ON call_log (created_at);
-- The open calls of a process that died, for those that adopt them.
CREATE INDEX call_log_open ON call_log (node) WHERE ended_at IS NULL;

-- A call's timeline. The key is the content: the same line twice is one row. It also serves "all of one call, in
-- order". The texts are cut before they are stored.
CREATE TABLE call_events (
    call_sid text NOT NULL,
    at       integer NOT NULL,
    event    text NOT NULL,
    detail   text NOT NULL,
    PRIMARY KEY (call_sid, at, event, detail)
) STRICT;

-- What was said, utterance by utterance; call_log.transcript is joined from these.
CREATE TABLE transcript_segments (
    call_sid   text NOT NULL,
    -- The stream or the recording it was heard on.
    origin     text NOT NULL,
    sequence   integer NOT NULL,
    started_at integer NOT NULL,
    -- Where in its origin the utterance begins and ends, in milliseconds.
    from_ms    integer NOT NULL,
    to_ms      integer NOT NULL,
    text       text NOT NULL,
    PRIMARY KEY (call_sid, origin, sequence)
) STRICT;

-- One row per recording, which is also the job of transcribing it.
CREATE TABLE recordings (
    recording_sid    text PRIMARY KEY NOT NULL,
    call_sid         text NOT NULL,
    -- in-progress < absent < completed
    state            text NOT NULL,
    duration_seconds integer,
    created_at       integer NOT NULL,
    updated_at       integer NOT NULL,
    -- NULL while there is work to do; failed < done.
    job_state        text,
    job_error        text,
    job_attempts     integer NOT NULL DEFAULT 0,
    -- Not before this; NULL means at once.
    job_next_at      integer,
    -- Who works on it, and until when, by this database's clock.
    job_node         text,
    job_until        integer
) STRICT;

CREATE INDEX recordings_call_sid ON recordings (call_sid);
-- The jobs that wait.
CREATE INDEX recordings_waiting ON recordings (job_next_at) WHERE job_state IS NULL;

-- One row per running process.
CREATE TABLE nodes (
    node        text PRIMARY KEY NOT NULL,
    -- Names the process's DATA_DIR, so that whoever takes it over knows whom it replaces.
    data_dir    text,
    started_at  integer NOT NULL,
    -- Dead after this, by this database's clock, unless renewed.
    alive_until integer NOT NULL
) STRICT;
