-- Processes say that they live, and take over the calls of those that do not.

-- Since when its word has been good without a gap, by this machine's clock: whoever was cut off itself, as all are while
-- the database is away, can say nothing about the others yet.
ALTER TABLE nodes ADD COLUMN steady_since integer NOT NULL DEFAULT 0;
-- What a process keeps in its directory is found there by its name.
ALTER TABLE nodes DROP COLUMN data_dir;

-- Since when the call is its process's: who announced it, streams it, or took it over. What others hear of a call does not
-- make it theirs.
ALTER TABLE call_log ADD COLUMN node_at integer NOT NULL DEFAULT 0;
