-- Streams of events, and their events in runs of what one commit took.
CREATE TABLE streams (
    number       INTEGER NOT NULL PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    exchange_id  TEXT    NOT NULL UNIQUE,
    tenant       TEXT    NOT NULL,
    agent        TEXT    NOT NULL,
    epoch        TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    method       TEXT    NOT NULL,
    rpc_id       BLOB,
    opened_at    REAL    NOT NULL,
    is_over      INTEGER NOT NULL DEFAULT 0,
    failure      BLOB
);

-- With a rowid, new segments lie beside each other in the file, and only their short keys are spread over it.
CREATE TABLE stream_segments (
    stream  INTEGER NOT NULL REFERENCES streams (number) ON DELETE CASCADE,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    bodies  BLOB    NOT NULL,
    PRIMARY KEY (stream, first)
);
