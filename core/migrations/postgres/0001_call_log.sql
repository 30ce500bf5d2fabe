-- The whole first schema. Applied migrations are never edited: a change is a new file with the next number.
--
-- Every text column has COLLATE "C": merge rules compare texts byte by byte, and the answer must not depend on the
-- locale a database was created with. Times are written as milliseconds since 1970 and kept as timestamptz.

-- One row per call. Facts about a call are merged into its row in any order and any number of times, so every column
-- but the key, the two stamps and the node may still be unknown (NULL).
CREATE TABLE call_log (
    call_sid          text COLLATE "C" PRIMARY KEY,
    account_sid       text COLLATE "C",
    from_number       text COLLATE "C",
    to_number         text COLLATE "C",
    direction         text COLLATE "C",
    public_host       text COLLATE "C",
    -- queued < initiated < ringing < in-progress < stream_closed < canceled < no-answer < busy < failed < completed
    status            text COLLATE "C",
    -- What the TwiML asked for: stream or recording.
    source            text COLLATE "C",
    -- The process that knew the call last: its row in nodes.
    node              text COLLATE "C" NOT NULL,
    -- How many streams started, and the last of them.
    streams           bigint,
    stream_sid        text COLLATE "C",
    stream_started_at timestamptz,
    first_media_at    timestamptz,
    frames            bigint,
    -- no_start, no_media, media_stalled, media_quiet, stream_error or stream_lost.
    fallback_reason   text COLLATE "C",
    fallback_at       timestamptz,
    -- How far the call got, in words, and when that was known: the latest words stay.
    how_far           text COLLATE "C",
    how_far_at        timestamptz,
    -- The stream was closed because the caller had finished.
    finished_at       timestamptz,
    -- Who may deliver the call's one fallback, and until when, by this database's clock.
    claim_node        text COLLATE "C",
    claim_until       timestamptz,
    transcript        text COLLATE "C",
    -- pending, done, empty, disabled, or failed: and why.
    transcript_status text COLLATE "C",
    created_at        timestamptz NOT NULL,
    ended_at          timestamptz,
    duration_seconds  bigint,
    updated_at        timestamptz NOT NULL
);

-- The newest calls first, for people and pages.
CREATE INDEX call_log_created_at ON call_log (created_at);
-- The open calls of a process that died, for those that adopt them.
CREATE INDEX call_log_open ON call_log (node) WHERE ended_at IS NULL;

-- A call's timeline. The key is the content: the same line twice is one row. It also serves "all of one call, in
-- order". The texts are cut before they are stored, so that the longest key fits an index page.
CREATE TABLE call_events (
    call_sid text COLLATE "C" NOT NULL,
    at       timestamptz NOT NULL,
    event    text COLLATE "C" NOT NULL,
    detail   text COLLATE "C" NOT NULL,
    PRIMARY KEY (call_sid, at, event, detail)
);

-- What was said, utterance by utterance; call_log.transcript is joined from these.
CREATE TABLE transcript_segments (
    call_sid   text COLLATE "C" NOT NULL,
    -- The stream or the recording it was heard on.
    origin     text COLLATE "C" NOT NULL,
    sequence   bigint NOT NULL,
    started_at timestamptz NOT NULL,
    -- Where in its origin the utterance begins and ends, in milliseconds.
    from_ms    bigint NOT NULL,
    to_ms      bigint NOT NULL,
    text       text COLLATE "C" NOT NULL,
    PRIMARY KEY (call_sid, origin, sequence)
);

-- One row per recording, which is also the job of transcribing it.
CREATE TABLE recordings (
    recording_sid    text COLLATE "C" PRIMARY KEY,
    call_sid         text COLLATE "C" NOT NULL,
    -- in-progress < absent < completed
    state            text COLLATE "C" NOT NULL,
    duration_seconds bigint,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    -- NULL while there is work to do; failed < done.
    job_state        text COLLATE "C",
    job_error        text COLLATE "C",
    job_attempts     bigint NOT NULL DEFAULT 0,
    -- Not before this; NULL means at once.
    job_next_at      timestamptz,
    -- Who works on it, and until when, by this database's clock.
    job_node         text COLLATE "C",
    job_until        timestamptz
);

CREATE INDEX recordings_call_sid ON recordings (call_sid);
-- The jobs that wait.
CREATE INDEX recordings_waiting ON recordings (job_next_at) WHERE job_state IS NULL;

-- One row per running process.
CREATE TABLE nodes (
    node        text COLLATE "C" PRIMARY KEY,
    -- Names the process's DATA_DIR, so that whoever takes it over knows whom it replaces.
    data_dir    text COLLATE "C",
    started_at  timestamptz NOT NULL,
    -- Dead after this, by this database's clock, unless renewed.
    alive_until timestamptz NOT NULL
);
