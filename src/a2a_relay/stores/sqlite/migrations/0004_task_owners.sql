-- Which caller a task or a context of an agent's belongs to. `learned_at` is wall time in whole hours.
CREATE TABLE task_owners (
    tenant      TEXT    NOT NULL,
    agent       TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    learned_at  INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent, id)
) WITHOUT ROWID;
