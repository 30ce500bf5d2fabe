-- Gives a claim back that was not used. Only its holder can.
UPDATE call_log SET claim_node = NULL, claim_until = NULL
WHERE call_sid = $1 AND claim_node = $2
