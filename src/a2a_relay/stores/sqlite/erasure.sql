-- idempotency_keys
DELETE FROM idempotency_keys WHERE letter IN (SELECT id FROM letters WHERE tenant = ?);

-- letters
DELETE FROM letters WHERE number IN (SELECT number FROM letters WHERE tenant = ? ORDER BY number LIMIT ?);

-- streams
DELETE FROM streams WHERE number IN (SELECT number FROM streams WHERE tenant = ? LIMIT ?);

-- mailboxes
DELETE FROM mailboxes WHERE tenant = ?;

-- letter_acts
DELETE FROM audit WHERE tenant = ?;

-- agents
DELETE FROM agents WHERE tenant = ?;

-- task_owners
DELETE FROM task_owners WHERE tenant = ?;
