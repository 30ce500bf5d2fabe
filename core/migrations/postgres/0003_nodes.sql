-- Processes say that they live, and take over the calls of those that do not.

ALTER TABLE nodes
    -- Since when its word has been good without a gap, by this database's clock: whoever was cut off itself, as all
    -- are while the database is away, can say nothing about the others yet.
    ADD COLUMN steady_since timestamptz NOT NULL DEFAULT now(),
    -- What a process keeps in its directory is found there by its name.
    DROP COLUMN data_dir;

-- Since when the call is its process's: who announced it, streams it, or took it over. What others hear of a call does not
-- make it theirs.
ALTER TABLE call_log ADD COLUMN node_at timestamptz NOT NULL DEFAULT timestamptz 'epoch';
