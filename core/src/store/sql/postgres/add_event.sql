-- Adds a line to a call's timeline. Its key is its content, so that a repeat changes nothing.
INSERT INTO call_events (call_sid, at, event, detail)
VALUES ($1, timestamptz 'epoch' + $2 * interval '1 millisecond', $3, $4)
ON CONFLICT DO NOTHING
