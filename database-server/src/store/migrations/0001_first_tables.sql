-- 0 → 1: the first tables; schema.sql says what each column is.

CREATE TABLE life (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    start       INTEGER NOT NULL,
    started_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE topology (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    generation  INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL
) STRICT;

CREATE TABLE assignment (
    channel     INTEGER NOT NULL,
    network     TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    destination TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    PRIMARY KEY (channel, network)
) STRICT, WITHOUT ROWID;

CREATE TABLE registration (
    kind          TEXT    NOT NULL CHECK (kind IN ('acquisition', 'host')),
    id            TEXT    NOT NULL,
    boot_id       INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,
    lost_ms       INTEGER,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE command (
    id          INTEGER PRIMARY KEY,
    acquisition TEXT NOT NULL,
    kind        TEXT NOT NULL,
    argument    TEXT NOT NULL
) STRICT;

CREATE TABLE event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    subject TEXT    NOT NULL,
    text    TEXT    NOT NULL
) STRICT;
