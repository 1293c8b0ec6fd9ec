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
