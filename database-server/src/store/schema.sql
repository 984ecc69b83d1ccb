-- What the database server keeps across restarts: the schema of user_version 3, for people.
-- It is made by the files in migrations/; a test holds the two together.
-- All times are milliseconds since 1970 UTC. 64-bit identifiers are stored as the signed number with the same bits.

-- How often this server has started. One row.
CREATE TABLE life (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    start       INTEGER NOT NULL,  -- number of the present start, 1..2^32-1; orders P4 commands and revisions of all lives
    started_ms  INTEGER NOT NULL   -- when that was
) STRICT;

-- The topology last taken up. One row once there was one.
CREATE TABLE topology (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    generation  INTEGER NOT NULL,  -- grows by one with each change of content, so that peers can tell old from new
    fingerprint INTEGER NOT NULL   -- 64-bit hash of the content: a restart with the same content keeps the generation
) STRICT;

-- Which push server serves a channel at a network. Without it a restart could move viewers that need not move.
CREATE TABLE assignment (
    channel     INTEGER NOT NULL,  -- channel id, 1..2^32-1
    network     TEXT    NOT NULL,  -- prefixes joined by +, such as 10.0.1.0/24
    host        TEXT    NOT NULL,  -- push server host
    destination TEXT    NOT NULL,  -- address by which the host serves the network
    revision    INTEGER NOT NULL,  -- 64 bits: start number << 32 | count; clients take the higher one
    PRIMARY KEY (channel, network)
) STRICT, WITHOUT ROWID;

-- Servers that were heard, for people.
CREATE TABLE registration (
    kind          TEXT    NOT NULL CHECK (kind IN ('acquisition', 'host')),
    id            TEXT    NOT NULL,  -- as in topology.toml
    boot_id       INTEGER NOT NULL,  -- 64 bits, that of its last start
    first_seen_ms INTEGER NOT NULL,  -- when it was first heard of
    last_seen_ms  INTEGER NOT NULL,  -- when it last came up
    lost_ms       INTEGER,           -- when it was last lost; NULL while it is there
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- Commands of superusers without a result yet: they outlive a restart, and an acquisition server carries out each id once.
CREATE TABLE command (
    id          INTEGER PRIMARY KEY,  -- 64 bits: start number << 32 | count
    acquisition TEXT NOT NULL,        -- for whom
    kind        TEXT NOT NULL,        -- 'restart-input'
    argument    TEXT NOT NULL         -- the input's id
) STRICT;

-- The journal, for people. The newest 10,000 rows are kept.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of happening; never used again, so that rows can be quoted
    at_ms   INTEGER NOT NULL,
    subject TEXT    NOT NULL,  -- such as: push server host `hall`
    text    TEXT    NOT NULL
) STRICT;

-- What push server hosts hold, as they last told: a host that is away still holds it, also when this server restarts meanwhile.
CREATE TABLE extent (
    host     TEXT    NOT NULL,  -- push server host
    channel  INTEGER NOT NULL,  -- channel id
    from_ms  INTEGER NOT NULL,  -- date of the first packet, by the acquisition server's marks
    to_ms    INTEGER NOT NULL,  -- date of the end of the last segment; later than from_ms
    segments INTEGER NOT NULL,  -- whole segments in it, without a gap, at least 1
    bytes    INTEGER NOT NULL,  -- of transport stream
    digest   BLOB    NOT NULL,  -- 16 bytes over the hashes of the segments: equal where the same packets are held
    PRIMARY KEY (host, channel, from_ms)
) STRICT, WITHOUT ROWID;

-- What people asked to keep at any age.
CREATE TABLE programme (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- counts up; never used again, so that people can write it down
    channel INTEGER NOT NULL,  -- channel id
    from_ms INTEGER NOT NULL,  -- dates of the recording
    to_ms   INTEGER NOT NULL,
    title   TEXT    NOT NULL   -- 1 to 128 bytes
) STRICT;

-- Who may log in. Written before the request that changes it is answered.
CREATE TABLE account (
    name       TEXT    PRIMARY KEY NOT NULL,
    hash       TEXT    NOT NULL,  -- of the password: argon2id as a PHC string, with its own salt and cost
    role       TEXT    NOT NULL CHECK (role IN ('viewer', 'operator', 'superuser')),
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,  -- when its role or password was last changed
    epoch      INTEGER NOT NULL   -- 64 random bits, drawn at each change: what was opened before it ends
) STRICT, WITHOUT ROWID;

-- Who has changed what, the newest MAX_AUDIT lines.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of happening; never used again
    at_ms   INTEGER NOT NULL,
    who     TEXT    NOT NULL,  -- name of an account, or: cluster key
    origin  TEXT    NOT NULL,  -- address and door, such as: 10.0.1.7 by P2
    what    TEXT    NOT NULL,  -- what was asked; no secrets
    outcome TEXT    NOT NULL   -- done, or why not
) STRICT;

-- What channels show when, as their broadcasters announced it: kept until it is announced otherwise, its channel is no more, or it
-- has been over for 4 hours. At most 2,048 rows of a channel, 128 MiB in all.
CREATE TABLE guide (
    channel     INTEGER NOT NULL,  -- channel id
    start_s     INTEGER NOT NULL,  -- when it begins, s since 1970, UTC
    duration_s  INTEGER NOT NULL,  -- how long it is; 0: not known
    id          INTEGER NOT NULL,  -- the broadcaster's number of it, 16 bits
    title       TEXT    NOT NULL,  -- at most 256 bytes
    text        TEXT    NOT NULL,  -- a line about it, at most 512 bytes
    description TEXT    NOT NULL,  -- more about it, at most 2,048 bytes
    language    TEXT,              -- of these texts, ISO 639-2
    content     INTEGER,           -- genre, the two nibbles of EN 300 468, table 29
    least_age   INTEGER,           -- in years, from which it is meant to be seen
    PRIMARY KEY (channel, start_s)
) STRICT, WITHOUT ROWID;
