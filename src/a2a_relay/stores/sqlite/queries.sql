-- get_agent
SELECT tenant, agent, agent_card, dialect, registered_at, last_seen_at, serves_rest_v03, card_changed_at
FROM agents WHERE tenant = ? AND agent = ?;

-- agents_of_tenant
SELECT tenant, agent, agent_card, dialect, registered_at, last_seen_at, serves_rest_v03, card_changed_at
FROM agents WHERE tenant = ? ORDER BY agent;

-- count_agents
SELECT tenant, count(*) FROM agents GROUP BY tenant;

-- put_agent
INSERT INTO agents (tenant, agent, agent_card, dialect, registered_at, last_seen_at, serves_rest_v03, card_changed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, agent) DO UPDATE SET
    agent_card = excluded.agent_card,
    dialect = excluded.dialect,
    registered_at = excluded.registered_at,
    last_seen_at = excluded.last_seen_at,
    serves_rest_v03 = excluded.serves_rest_v03,
    card_changed_at = excluded.card_changed_at;

-- forget_agent
DELETE FROM agents WHERE tenant = ? AND agent = ?;

-- get_stream
SELECT id, epoch, exchange_id, tenant, agent, owner, method, rpc_id, opened_at, is_over, failure
FROM streams WHERE id = ?;

-- streams_of_exchanges
SELECT exchange_id, id, tenant, agent FROM (VALUES (?)) CROSS JOIN streams ON exchange_id = column1;

-- streams_opened_before
SELECT id FROM streams WHERE opened_at < ?;

-- segments_of_stream
SELECT first, last, bodies FROM stream_segments
WHERE stream = (SELECT number FROM streams WHERE id = ?) ORDER BY first;

-- put_stream
INSERT OR REPLACE INTO streams (id, epoch, exchange_id, tenant, agent, owner, method, rpc_id, opened_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_segments
INSERT OR REPLACE INTO stream_segments (stream, first, last, bodies)
SELECT number, column2, column3, column4
FROM (VALUES (?, ?, ?, ?)) CROSS JOIN streams ON id = column1;

-- trim_streams
DELETE FROM stream_segments WHERE rowid IN (
    SELECT segments.rowid
    FROM (VALUES (?, ?)) CROSS JOIN streams ON id = column1
    CROSS JOIN stream_segments AS segments ON stream = number AND first < column2 AND last < column2
);

-- end_stream
UPDATE streams SET is_over = 1, failure = ? WHERE id = ?;

-- drop_stream
DELETE FROM streams WHERE id = ?;

-- get_task_owner
SELECT owner FROM task_owners WHERE tenant = ? AND agent = ? AND id = ?;

-- has_task_owners
SELECT EXISTS (SELECT 1 FROM task_owners WHERE tenant = ?);

-- put_task_owners
INSERT OR IGNORE INTO task_owners (tenant, agent, id, owner, learned_at) VALUES (?, ?, ?, ?, ?);

-- forget_task_owners
DELETE FROM task_owners WHERE learned_at < ?;
