-- Gives back the recordings of a process that is gone (T5). Their rows are locked in the order of their keys, as facts
-- lock them.
UPDATE recordings SET job_until = NULL
WHERE recording_sid = ANY (ARRAY(
    SELECT recording_sid FROM recordings
    WHERE job_node = $1 AND job_until IS NOT NULL
    ORDER BY recording_sid
    FOR UPDATE
))
