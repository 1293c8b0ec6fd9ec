-- Registered agents and the last card of each.
CREATE TABLE agents (
    tenant           TEXT    NOT NULL,
    agent            TEXT    NOT NULL,
    agent_card       BLOB,
    dialect          TEXT    NOT NULL,
    registered_at    REAL    NOT NULL,
    last_seen_at     REAL    NOT NULL,
    card_changed_at  REAL    NOT NULL,
    serves_rest_v03  INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent)
) WITHOUT ROWID;
