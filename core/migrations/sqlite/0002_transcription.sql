-- Transcription: segments become jobs of their own, and calls that lack something are looked up.

-- Which process has the audio.
ALTER TABLE transcript_segments ADD COLUMN node text NOT NULL DEFAULT '';
-- NULL while there is work to do; failed < done.
ALTER TABLE transcript_segments ADD COLUMN state text;
ALTER TABLE transcript_segments ADD COLUMN attempts integer NOT NULL DEFAULT 0;
ALTER TABLE transcript_segments ADD COLUMN error text;
ALTER TABLE transcript_segments ADD COLUMN next_at integer;
ALTER TABLE transcript_segments ADD COLUMN updated_at integer NOT NULL DEFAULT 0;

-- The segments that wait, by the process that has them.
CREATE INDEX transcript_segments_waiting ON transcript_segments (node, updated_at) WHERE state IS NULL;

-- How often a call that lacked its end or its recording was looked up since it was last heard of.
ALTER TABLE call_log ADD COLUMN look_ups integer NOT NULL DEFAULT 0;
-- When it was last looked up, by this machine's clock.
ALTER TABLE call_log ADD COLUMN looked_up_at integer;
-- Why a recording that should be there is none.
ALTER TABLE call_log ADD COLUMN recording_missing text;

-- The calls that may have to be looked up.
CREATE INDEX call_log_unsettled ON call_log (updated_at) WHERE ended_at IS NULL OR transcript_status = 'pending';

-- How often it was taken; job_attempts is the try of which was told what stands in the row.
ALTER TABLE recordings ADD COLUMN job_tries integer NOT NULL DEFAULT 0;
-- Also failed jobs are tried again when a time is set. What is absent never waits.
DROP INDEX recordings_waiting;
CREATE INDEX recordings_waiting ON recordings (job_next_at, created_at)
    WHERE (job_state IS NULL OR job_next_at IS NOT NULL) AND state <> 'absent';
-- The recordings that a process holds.
CREATE INDEX recordings_taken ON recordings (job_node) WHERE job_until IS NOT NULL;
