-- The log of acts and refusals, each entry chained to the one before it by its hash. The last one is never removed.
CREATE TABLE audit_chain (
    number    INTEGER NOT NULL PRIMARY KEY,
    at        REAL    NOT NULL,
    tenant    TEXT    NOT NULL,
    actor     TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    outcome   TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    peer      TEXT    NOT NULL,
    times     INTEGER NOT NULL,
    previous  TEXT    NOT NULL,
    hash      TEXT    NOT NULL
);
CREATE INDEX audit_chain_of_tenant ON audit_chain (tenant, number);

-- The number of the first entry that is to be there: those before it were removed by age.
INSERT INTO facts (name, value) VALUES ('audit_begins_at', '1');
