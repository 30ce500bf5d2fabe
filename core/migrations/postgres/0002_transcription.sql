-- Transcription: segments become jobs of their own, and calls that lack something are looked up.

ALTER TABLE transcript_segments
    -- Which process has the audio.
    ADD COLUMN node       text COLLATE "C" NOT NULL DEFAULT '',
    -- NULL while there is work to do; failed < done.
    ADD COLUMN state      text COLLATE "C",
    ADD COLUMN attempts   bigint NOT NULL DEFAULT 0,
    ADD COLUMN error      text COLLATE "C",
    ADD COLUMN next_at    timestamptz,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- The segments that wait, by the process that has them.
CREATE INDEX transcript_segments_waiting ON transcript_segments (node, updated_at) WHERE state IS NULL;

ALTER TABLE call_log
    -- How often a call that lacked its end or its recording was looked up since it was last heard of.
    ADD COLUMN look_ups          bigint NOT NULL DEFAULT 0,
    -- When it was last looked up, by this database's clock.
    ADD COLUMN looked_up_at      timestamptz,
    -- Why a recording that should be there is none.
    ADD COLUMN recording_missing text COLLATE "C";

-- The calls that may have to be looked up.
CREATE INDEX call_log_unsettled ON call_log (updated_at) WHERE ended_at IS NULL OR transcript_status = 'pending';

-- How often it was taken; job_attempts is the try of which was told what stands in the row.
ALTER TABLE recordings ADD COLUMN job_tries bigint NOT NULL DEFAULT 0;
-- Also failed jobs are tried again when a time is set. What is absent never waits.
DROP INDEX recordings_waiting;
CREATE INDEX recordings_waiting ON recordings (job_next_at NULLS FIRST, created_at)
    WHERE (job_state IS NULL OR job_next_at IS NOT NULL) AND state <> 'absent';
-- The recordings that a process holds.
CREATE INDEX recordings_taken ON recordings (job_node) WHERE job_until IS NOT NULL;
