-- 2 → 3: who may change things, and who has; schema.sql says what each column is.

CREATE TABLE account (
    name       TEXT    PRIMARY KEY NOT NULL,
    hash       TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('viewer', 'operator', 'superuser')),
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    epoch      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    origin  TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    outcome TEXT    NOT NULL
) STRICT;
