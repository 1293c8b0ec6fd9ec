-- Tenants and keys. Lists and maps are JSON. `changed`: the number of the change that a row was last part of, so that
-- another process reads only what is new to it; the facts beside say what the last change was, and the last removal.
CREATE TABLE tenants (
    name                   TEXT    NOT NULL PRIMARY KEY,
    changed                INTEGER NOT NULL,
    created_at             REAL    NOT NULL,
    state                  TEXT    NOT NULL,
    takes_legacy           INTEGER NOT NULL,
    networks               TEXT    NOT NULL,
    limits                 TEXT    NOT NULL,
    issuers                TEXT    NOT NULL,
    on_second_session      TEXT    NOT NULL,
    takeover_hold_seconds  REAL
) WITHOUT ROWID;
CREATE INDEX tenants_changed ON tenants (changed);

-- tenant: empty for an operator's. scopes and agents: NULL for whatever the role may.
CREATE TABLE keys (
    id            TEXT    NOT NULL PRIMARY KEY,
    changed       INTEGER NOT NULL,
    tenant        TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    created_at    REAL    NOT NULL,
    agent         TEXT    NOT NULL,
    form          TEXT    NOT NULL,
    scopes        TEXT,
    agents        TEXT,
    networks      TEXT    NOT NULL,
    limits        TEXT    NOT NULL,
    created_by    TEXT    NOT NULL,
    expires_at    REAL,
    revoked_at    REAL,
    last_used_at  REAL,
    proof_key     BLOB,
    UNIQUE (tenant, name)
) WITHOUT ROWID;
CREATE INDEX keys_changed ON keys (changed);

-- digest: the SHA-256 of a secret, which itself is nowhere. sealed: one that signs, encrypted with the relay's own key.
CREATE TABLE key_secrets (
    digest      BLOB NOT NULL PRIMARY KEY,
    key         TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    place       INTEGER NOT NULL,
    prefix      TEXT NOT NULL,
    created_at  REAL NOT NULL,
    expires_at  REAL,
    sealed      BLOB
) WITHOUT ROWID;
CREATE INDEX key_secrets_of_key ON key_secrets (key, place);

CREATE TABLE legacy_uses (
    tenant    TEXT NOT NULL,
    identity  TEXT NOT NULL,
    role      TEXT NOT NULL,
    first_at  REAL NOT NULL,
    last_at   REAL NOT NULL,
    PRIMARY KEY (tenant, identity, role)
) WITHOUT ROWID;
CREATE INDEX legacy_uses_by_time ON legacy_uses (last_at);

INSERT INTO facts (name, value) VALUES ('credentials_changed', '0'), ('credentials_removed', '0');
