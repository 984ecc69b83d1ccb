-- 3 → 4: what channels show when; schema.sql says what each column is.

CREATE TABLE guide (
    channel     INTEGER NOT NULL,
    start_s     INTEGER NOT NULL,
    duration_s  INTEGER NOT NULL,
    id          INTEGER NOT NULL,
    title       TEXT    NOT NULL,
    text        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    language    TEXT,
    content     INTEGER,
    least_age   INTEGER,
    PRIMARY KEY (channel, start_s)
) STRICT, WITHOUT ROWID;
