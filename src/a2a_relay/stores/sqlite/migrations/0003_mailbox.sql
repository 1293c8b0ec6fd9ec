-- What the store says of itself. A new epoch: letters were lost, or a backup was restored.
CREATE TABLE facts (
    name   TEXT NOT NULL PRIMARY KEY,
    value  TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO facts (name, value) VALUES ('epoch', lower(hex(randomblob(8))));

-- One row for each agent with letters, counted in the transactions that change them, so that nothing has to count.
CREATE TABLE mailboxes (
    number     INTEGER NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    queued     INTEGER NOT NULL DEFAULT 0,
    leased     INTEGER NOT NULL DEFAULT 0,
    dead       INTEGER NOT NULL DEFAULT 0,
    in_line    INTEGER NOT NULL DEFAULT 0,
    bytes      INTEGER NOT NULL DEFAULT 0,
    is_paused  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, agent)
);

-- is_in_line: it waits its turn, or has it; a late one (leased from the beginning) has none to wait for.
-- is_head: the first in line of its context. remove_at: when it has ended, and it is known how long it is kept.
-- history: a JSON array of [at, event, attempt, reason] on each line.
CREATE TABLE letters (
    number            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,
    tenant            TEXT    NOT NULL,
    mailbox           INTEGER NOT NULL,
    owner             TEXT    NOT NULL,
    task_id           TEXT    NOT NULL,
    context           TEXT    NOT NULL,
    context_id        TEXT    NOT NULL,
    state             TEXT    NOT NULL,
    is_in_line        INTEGER NOT NULL,
    is_head           INTEGER NOT NULL,
    attempt           INTEGER NOT NULL,
    not_before        REAL    NOT NULL DEFAULT 0,
    lease             TEXT    NOT NULL,
    size              INTEGER NOT NULL,
    accepted_at       REAL    NOT NULL,
    expires_at        REAL    NOT NULL,
    ended_at          REAL,
    remove_at         REAL,
    key_expires_at    REAL    NOT NULL,
    alias_task_id     TEXT    NOT NULL DEFAULT '',
    alias_context_id  TEXT    NOT NULL DEFAULT '',
    reason            TEXT    NOT NULL DEFAULT '',
    is_restored       INTEGER NOT NULL DEFAULT 0,
    history           TEXT    NOT NULL
);

-- Each index that a letter enters when it is accepted is a page more in the commit that its sender waits for: these four.
CREATE INDEX letters_of_mailbox ON letters (mailbox, is_head, number);
CREATE INDEX letters_delayed ON letters (mailbox, not_before) WHERE is_head = 1 AND not_before > 0;
CREATE INDEX letters_in_line ON letters (mailbox, context, number) WHERE is_in_line = 1;
CREATE INDEX letters_leased ON letters (mailbox, number) WHERE state = 'leased';
CREATE INDEX letters_of_tenant ON letters (tenant, number);
CREATE INDEX letters_expiring ON letters (expires_at) WHERE state = 'queued';
CREATE INDEX letters_kept ON letters (remove_at) WHERE remove_at IS NOT NULL;
CREATE INDEX letters_unswept ON letters (number) WHERE state = 'expired' AND remove_at IS NULL;
CREATE INDEX letters_dead ON letters (tenant, state, number) WHERE state = 'dead';
CREATE INDEX letters_of_named_context ON letters (mailbox, context_id, number) WHERE alias_context_id != '';

-- Apart from the letters, so that what changes does not carry them along.
CREATE TABLE letter_bodies (
    letter       INTEGER NOT NULL PRIMARY KEY
                 REFERENCES letters (number) ON DELETE CASCADE ON UPDATE CASCADE,
    envelope     BLOB    NOT NULL,
    params       BLOB    NOT NULL,
    answer_kind  TEXT,
    answer       BLOB
);

CREATE TABLE idempotency_keys (
    scope       TEXT NOT NULL PRIMARY KEY,
    digest      BLOB NOT NULL,
    letter      TEXT NOT NULL,
    expires_at  REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (expires_at);

CREATE TABLE audit (
    number   INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at       REAL    NOT NULL,
    tenant   TEXT    NOT NULL,
    actor    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    touched  INTEGER NOT NULL,
    reason   TEXT    NOT NULL
);
CREATE INDEX audit_of_tenant ON audit (tenant, number);

-- Letters as the relay reads them: with the name of their mailbox. The order of the joins is meant.
CREATE VIEW letter_heads AS
SELECT letters.*, agent FROM letters CROSS JOIN mailboxes ON mailboxes.number = letters.mailbox;

CREATE VIEW whole_letters AS
SELECT letters.*, agent, envelope, params, answer_kind, answer
FROM letters
CROSS JOIN mailboxes ON mailboxes.number = letters.mailbox
CROSS JOIN letter_bodies ON letter_bodies.letter = letters.number;
