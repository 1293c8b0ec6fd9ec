-- last
SELECT number, hash FROM audit_chain ORDER BY number DESC LIMIT 1;

-- put
INSERT INTO audit_chain (number, at, tenant, actor, action, target, outcome, reason, peer, times, previous, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- page
SELECT * FROM audit_chain WHERE number < ? ORDER BY number DESC LIMIT ?;

-- page_of_tenant
SELECT * FROM audit_chain WHERE tenant = ? AND number < ? ORDER BY number DESC LIMIT ?;

-- behind
SELECT * FROM audit_chain WHERE number > ? ORDER BY number LIMIT ?;

-- begins_at
SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'audit_begins_at';

-- first_since
SELECT coalesce(
    (SELECT number FROM audit_chain WHERE at >= ? ORDER BY number LIMIT 1), (SELECT max(number) FROM audit_chain)
);

-- set_begin
UPDATE facts SET value = ? WHERE name = 'audit_begins_at';

-- remove
DELETE FROM audit_chain WHERE number < ?;
