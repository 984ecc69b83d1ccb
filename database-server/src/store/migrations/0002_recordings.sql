-- 1 → 2: what is recorded; schema.sql says what each column is.

CREATE TABLE extent (
    host     TEXT    NOT NULL,
    channel  INTEGER NOT NULL,
    from_ms  INTEGER NOT NULL,
    to_ms    INTEGER NOT NULL,
    segments INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    digest   BLOB    NOT NULL,
    PRIMARY KEY (host, channel, from_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE programme (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    channel INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms   INTEGER NOT NULL,
    title   TEXT    NOT NULL
) STRICT;
