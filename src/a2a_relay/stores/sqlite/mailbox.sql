-- prepare_accept
WITH asked (place, tenant, agent, context) AS (VALUES (?, ?, ?, ?))
SELECT place, number, in_line, bytes,
    EXISTS (
        SELECT 1 FROM letters
        WHERE mailbox = mailboxes.number AND letters.context = asked.context AND is_in_line = 1
    ),
    (SELECT seq FROM sqlite_sequence WHERE name = 'letters')
FROM asked LEFT JOIN mailboxes ON mailboxes.tenant = asked.tenant AND mailboxes.agent = asked.agent;

-- get_key
SELECT digest, letter FROM idempotency_keys WHERE scope = ? AND expires_at > ?;

-- get_keys
WITH asked (scope, now) AS (VALUES (?, ?))
SELECT idempotency_keys.scope, digest, letter
FROM asked CROSS JOIN idempotency_keys ON idempotency_keys.scope = asked.scope AND expires_at > asked.now;

-- put_keys
INSERT OR REPLACE INTO idempotency_keys (scope, digest, letter, expires_at) VALUES (?, ?, ?, ?);

-- put_mailbox
INSERT INTO mailboxes (tenant, agent) VALUES (?, ?);

-- put_letters
INSERT INTO letters (
    number, id, tenant, mailbox, owner, task_id, context, context_id, state, is_in_line, is_head, attempt, lease, size,
    accepted_at, expires_at, key_expires_at, history
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_bodies
INSERT INTO letter_bodies (letter, envelope, params) VALUES (?, ?, ?);

-- count
UPDATE mailboxes
SET queued = queued + ?, leased = leased + ?, dead = dead + ?, in_line = in_line + ?, bytes = bytes + ?
WHERE number = ?;

-- count_accepted
INSERT INTO mailboxes (tenant, agent, queued, leased, in_line, bytes) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, agent) DO UPDATE SET
    queued = queued + excluded.queued,
    leased = leased + excluded.leased,
    in_line = in_line + excluded.in_line,
    bytes = bytes + excluded.bytes;

-- find_letter
SELECT * FROM whole_letters WHERE id = ? AND tenant = ?;

-- find_context
SELECT * FROM whole_letters
WHERE mailbox = (SELECT number FROM mailboxes WHERE tenant = ? AND agent = ?) AND context_id = ?
    AND is_in_line = 1
ORDER BY number DESC LIMIT 1;

-- find_named_context
SELECT * FROM whole_letters
WHERE mailbox = (SELECT number FROM mailboxes WHERE tenant = ? AND agent = ?) AND context_id = ?
    AND alias_context_id != ''
ORDER BY number DESC LIMIT 1;

-- is_waiting
SELECT 1 FROM letters
WHERE mailbox = (SELECT number FROM mailboxes WHERE tenant = ? AND agent = ?) AND context = ? AND is_in_line = 1
LIMIT 1;

-- is_any_waiting
SELECT 1 FROM mailboxes WHERE tenant = ? AND agent = ? AND in_line > 0;

-- count_waiting
SELECT coalesce(sum(queued + leased), 0) FROM mailboxes;

-- backlog
SELECT tenant, agent, queued + leased FROM mailboxes WHERE queued + leased > 0;

-- lease
SELECT * FROM whole_letters
WHERE mailbox = (SELECT number FROM mailboxes WHERE tenant = ? AND agent = ? AND is_paused = 0)
    AND is_head = 1 AND state = 'queued' AND expires_at > ? AND NOT (not_before > ? AND not_before <= ?)
ORDER BY number LIMIT ?;

-- lease_letter
UPDATE letters SET state = 'leased', lease = ?, attempt = ?, history = ? WHERE number = ?;

-- next_due
SELECT min(not_before) FROM letters
WHERE mailbox = (SELECT number FROM mailboxes WHERE tenant = ? AND agent = ? AND is_paused = 0)
    AND is_head = 1 AND not_before > 0 AND not_before > ? AND not_before <= ?
    AND state = 'queued' AND expires_at > not_before;

-- leased
SELECT * FROM whole_letters
WHERE mailbox = (SELECT number FROM mailboxes WHERE tenant = ? AND agent = ?) AND state = 'leased'
ORDER BY number;

-- get_held
SELECT * FROM letter_heads WHERE id = ? AND tenant = ? AND agent = ? AND state = 'leased' AND lease = ?;

-- get_queued
SELECT * FROM letter_heads WHERE id = ? AND tenant = ? AND state = 'queued';

-- take_over
UPDATE letters SET lease = ? WHERE number = ?;

-- bind
UPDATE letters SET alias_task_id = ?, alias_context_id = ?, history = ? WHERE number = ?;

-- put_answer
UPDATE letter_bodies SET params = x'', answer_kind = ?, answer = ? WHERE letter = ?;

-- end_letter
UPDATE letters
SET state = ?, is_in_line = 0, is_head = 0, lease = '', reason = ?, ended_at = ?, remove_at = ?, history = ?
WHERE number = ?;

-- hand_on
UPDATE letters SET is_head = 1 WHERE number = (
    SELECT number FROM letters WHERE mailbox = ? AND context = ? AND is_in_line = 1 ORDER BY number LIMIT 1
);

-- give_back
UPDATE letters SET state = 'queued', lease = '', attempt = ?, not_before = ?, is_in_line = 1, history = ?
WHERE number = ?;

-- step_down
UPDATE letters SET is_head = 0
WHERE mailbox = ? AND context = ? AND is_in_line = 1 AND is_head = 1;

-- expiring
SELECT * FROM whole_letters WHERE state = 'queued' AND expires_at <= ? ORDER BY expires_at LIMIT ?;

-- unswept
SELECT * FROM whole_letters WHERE state = 'expired' AND remove_at IS NULL ORDER BY number LIMIT ?;

-- overdue
SELECT * FROM whole_letters WHERE state = 'leased' AND expires_at <= ? LIMIT ?;

-- keep
UPDATE letters SET remove_at = ? WHERE number = ?;

-- removable
SELECT * FROM letter_heads WHERE remove_at IS NOT NULL AND remove_at <= ? ORDER BY remove_at LIMIT ?;

-- remove_letter
DELETE FROM letters WHERE number = ?;

-- remove_mailbox
DELETE FROM mailboxes
WHERE number = ? AND is_paused = 0 AND NOT EXISTS (SELECT 1 FROM letters WHERE mailbox = mailboxes.number);

-- remove_keys
DELETE FROM idempotency_keys WHERE scope IN (
    SELECT scope FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
);

-- mailboxes
SELECT agent, queued, leased, dead, bytes, (
        SELECT accepted_at FROM (
            SELECT * FROM (
                SELECT number, accepted_at FROM letters
                WHERE mailbox = mailboxes.number AND is_head = 1 ORDER BY letters.number LIMIT 1
            )
            UNION ALL
            SELECT * FROM (
                SELECT number, accepted_at FROM letters
                WHERE mailbox = mailboxes.number AND state = 'leased' ORDER BY letters.number LIMIT 1
            )
        ) ORDER BY number LIMIT 1
    ), is_paused
FROM mailboxes WHERE tenant = ? AND (queued + leased + dead > 0 OR is_paused = 1) ORDER BY agent;

-- get_mailbox
SELECT number FROM mailboxes WHERE tenant = ? AND agent = ?;

-- last_number
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'letters'), 0);

-- set_last_number
UPDATE sqlite_sequence SET seq = ? WHERE name = 'letters';

-- redrive_letter
UPDATE letters
SET number = ?, state = 'queued', is_in_line = 1, is_head = NOT EXISTS (
        SELECT 1 FROM letters AS others
        WHERE others.mailbox = letters.mailbox AND others.context = letters.context AND others.is_in_line = 1
    ),
    attempt = 0, not_before = 0, accepted_at = ?, expires_at = ?, ended_at = NULL, remove_at = NULL,
    alias_task_id = '', alias_context_id = '', reason = '', history = ?
WHERE number = ?;

-- pause
INSERT INTO mailboxes (tenant, agent, is_paused) VALUES (?, ?, ?)
ON CONFLICT (tenant, agent) DO UPDATE SET is_paused = excluded.is_paused;

-- put_act
INSERT INTO audit (at, tenant, actor, action, target, touched, reason) VALUES (?, ?, ?, ?, ?, ?, ?);

-- count_act
UPDATE audit SET touched = touched + ? WHERE number = ?;

-- trim_audit
DELETE FROM audit WHERE tenant = ? AND number <= (
    SELECT number FROM audit WHERE tenant = ? ORDER BY number DESC LIMIT 1 OFFSET ?
);

-- audit
SELECT at, tenant, actor, action, target, touched, reason FROM audit
WHERE tenant = ? ORDER BY number DESC LIMIT ?;

-- get_epoch
SELECT value FROM facts WHERE name = 'epoch';

-- put_epoch
INSERT OR REPLACE INTO facts (name, value) VALUES ('epoch', ?);

-- restorable
SELECT * FROM letter_heads WHERE number > ? AND state IN ('queued', 'leased') ORDER BY number LIMIT ?;

-- restore_letter
UPDATE letters
SET state = 'queued', is_in_line = 1, lease = '', is_restored = 1, not_before = 0, history = ? WHERE number = ?;

-- restore_heads
UPDATE letters SET is_head = NOT EXISTS (
    SELECT 1 FROM letters AS others
    WHERE others.mailbox = letters.mailbox AND others.context = letters.context AND others.is_in_line = 1
        AND others.number < letters.number
)
WHERE is_in_line = 1;

-- restore_counts
UPDATE mailboxes SET leased = 0, (queued, in_line, bytes) = (
    SELECT count(*), count(*), coalesce(sum(size), 0) FROM letters WHERE mailbox = mailboxes.number AND is_in_line = 1
);
