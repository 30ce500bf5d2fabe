-- Gives back the recordings of a process that is gone (T5).
UPDATE recordings SET job_until = NULL
WHERE job_node = $1 AND job_until IS NOT NULL
