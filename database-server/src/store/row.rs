//! Records as rows, and back.

use std::net::IpAddr;

use protocols::guide::Event;
use protocols::ids::{ChannelId, Generation, HostId, Revision};
use protocols::p1_registration::{Command, Order};
use protocols::recording::{Digest, Extent, RecordingId, Span};
use protocols::time::ClusterTime;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::MAX_EVENTS;
use super::reader::{JournalLine, JournalQuery};
use crate::record::{Assignment, Programme, Record, Remembered, Server};

type Result<T> = std::result::Result<T, rusqlite::Error>;

/// Counts a start: the number is above the last one, and at least the seconds from `epoch` to `now`.
pub(super) fn begin_life(connection: &mut Connection, now: ClusterTime, epoch: ClusterTime) -> Result<u32> {
    let transaction = connection.transaction()?;
    let last: Option<i64> =
        transaction.query_row("SELECT start FROM life", [], |row| row.get(0)).optional()?;
    let last = last.and_then(|last| u32::try_from(last).ok()).unwrap_or(0);
    let floor = u32::try_from(now.since(epoch).as_secs()).unwrap_or(u32::MAX / 2);
    let start = last.saturating_add(1).max(floor).max(1);
    transaction.execute(
        "INSERT INTO life (id, start, started_ms) VALUES (1, ?1, ?2) \
         ON CONFLICT (id) DO UPDATE SET start = ?1, started_ms = ?2",
        params![start, now.0.cast_signed()],
    )?;
    transaction.commit()?;
    Ok(start)
}

/// What earlier lives left. A row that this version cannot read is left out: it says nothing that is not learnt anew.
pub(super) fn remembered(connection: &Connection) -> Result<Remembered> {
    let topology = connection
        .query_row("SELECT generation, fingerprint FROM topology", [], |row| {
            Ok((Generation(unsigned(row, 0)?), unsigned(row, 1)?))
        })
        .optional()?;
    let mut statement =
        connection.prepare("SELECT channel, network, host, destination, revision FROM assignment")?;
    let assignments = statement.query_map([], assignment)?.filter_map(readable).collect::<Result<_>>()?;
    let mut statement =
        connection.prepare("SELECT id, acquisition, kind, argument FROM command ORDER BY id")?;
    let commands = statement
        .query_map([], |row| {
            let order = match row.get_ref(2)?.as_str()? {
                "restart-input" => Order::RestartInput(parsed(row, 3)?),
                other => return Err(unreadable(2, format!("`{other}` is no kind of command"))),
            };
            Ok((parsed(row, 1)?, Command { id: unsigned(row, 0)?, order }))
        })?
        .filter_map(readable)
        .collect::<Result<_>>()?;
    let mut statement =
        connection.prepare("SELECT host, channel, from_ms, to_ms, segments, bytes, digest FROM extent")?;
    let extents = statement.query_map([], extent)?.filter_map(readable).collect::<Result<_>>()?;
    let mut statement = connection.prepare("SELECT id, channel, from_ms, to_ms, title FROM programme")?;
    let programmes = statement.query_map([], programme)?.filter_map(readable).collect::<Result<_>>()?;
    let last_recording: Option<u32> = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'programme'", [], |row| row.get(0))
        .optional()?;
    let last_recording = RecordingId(last_recording.unwrap_or(0));
    let mut statement = connection.prepare(
        "SELECT channel, id, start_s, duration_s, title, text, description, language, content, least_age FROM guide",
    )?;
    let guide = statement.query_map([], guide_event)?.filter_map(readable).collect::<Result<_>>()?;
    Ok(Remembered { topology, assignments, commands, extents, programmes, last_recording, guide })
}

/// Writes one record.
pub(super) fn apply(transaction: &Transaction<'_>, record: &Record) -> Result<()> {
    match record {
        Record::Topology { generation, fingerprint } => execute(
            transaction,
            "INSERT INTO topology (id, generation, fingerprint) VALUES (1, ?1, ?2) \
             ON CONFLICT (id) DO UPDATE SET generation = ?1, fingerprint = ?2",
            params![generation.0.cast_signed(), fingerprint.cast_signed()],
        ),
        Record::Assigned(Assignment { channel, network, host, destination, revision }) => execute(
            transaction,
            "INSERT INTO assignment (channel, network, host, destination, revision) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (channel, network) DO UPDATE SET host = ?3, destination = ?4, revision = ?5",
            params![
                channel.0,
                network.as_str(),
                host.as_str(),
                destination.to_string(),
                revision.0.cast_signed()
            ],
        ),
        Record::Unassigned { channel, network } => execute(
            transaction,
            "DELETE FROM assignment WHERE channel = ?1 AND network = ?2",
            params![channel.0, network.as_str()],
        ),
        Record::Seen { server, boot_id, at } => execute(
            transaction,
            "INSERT INTO registration (kind, id, boot_id, first_seen_ms, last_seen_ms) VALUES (?1, ?2, ?3, ?4, ?4) \
             ON CONFLICT (kind, id) DO UPDATE SET boot_id = ?3, last_seen_ms = ?4, lost_ms = NULL",
            params![kind(server), id(server), boot_id.0.cast_signed(), at.0.cast_signed()],
        ),
        Record::Lost { server, at } => execute(
            transaction,
            "UPDATE registration SET lost_ms = ?3 WHERE kind = ?1 AND id = ?2",
            params![kind(server), id(server), at.0.cast_signed()],
        ),
        Record::CommandPosted { acquisition, command } => {
            let Order::RestartInput(input) = &command.order;
            execute(
                transaction,
                "INSERT OR REPLACE INTO command (id, acquisition, kind, argument) VALUES (?1, ?2, 'restart-input', ?3)",
                params![command.id.cast_signed(), acquisition.as_str(), input.as_str()],
            )
        }
        Record::CommandDone { id } => {
            execute(transaction, "DELETE FROM command WHERE id = ?1", params![id.cast_signed()])
        }
        Record::Extent { host, extent } => execute(
            transaction,
            "INSERT OR REPLACE INTO extent (host, channel, from_ms, to_ms, segments, bytes, digest) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                host.as_str(),
                extent.channel.0,
                extent.from.0.cast_signed(),
                extent.to.0.cast_signed(),
                extent.segments,
                extent.bytes.cast_signed(),
                extent.digest.0
            ],
        ),
        Record::ExtentGone { host, channel, from } => execute(
            transaction,
            "DELETE FROM extent WHERE host = ?1 AND channel = ?2 AND from_ms = ?3",
            params![host.as_str(), channel.0, from.0.cast_signed()],
        ),
        Record::Programme(Programme { id, channel, span, title }) => execute(
            transaction,
            "INSERT OR REPLACE INTO programme (id, channel, from_ms, to_ms, title) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id.0, channel.0, span.from.0.cast_signed(), span.to.0.cast_signed(), title],
        ),
        Record::ProgrammeGone { id } => {
            execute(transaction, "DELETE FROM programme WHERE id = ?1", params![id.0])
        }
        Record::GuideEvent { channel, event } => write_guide_event(transaction, *channel, event),
        Record::GuideGone { channel, start_unix_s } => execute(
            transaction,
            "DELETE FROM guide WHERE channel = ?1 AND start_s = ?2",
            params![channel.0, start_unix_s],
        ),
        Record::GuideChannelGone { channel } => {
            execute(transaction, "DELETE FROM guide WHERE channel = ?1", params![channel.0])
        }
        Record::GuideOver { before_unix_s } => {
            execute(transaction, "DELETE FROM guide WHERE start_s + duration_s <= ?1", params![before_unix_s])
        }
        Record::Event(event) => execute(
            transaction,
            "INSERT INTO event (at_ms, subject, text) VALUES (?1, ?2, ?3)",
            params![event.at.0.cast_signed(), event.subject, event.text],
        ),
    }
}

fn write_guide_event(transaction: &Transaction<'_>, channel: ChannelId, event: &Event) -> Result<()> {
    execute(
        transaction,
        "INSERT OR REPLACE INTO guide \
         (channel, id, start_s, duration_s, title, text, description, language, content, least_age) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            channel.0,
            event.id,
            event.start_unix_s,
            event.duration_s,
            event.title,
            event.text,
            event.description,
            event.language,
            event.content,
            event.least_age
        ],
    )
}

/// Lines of the journal, newest first.
pub(super) fn journal(connection: &Connection, query: JournalQuery) -> Result<Vec<JournalLine>> {
    let sql =
        "SELECT id, at_ms, subject, text FROM event WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    // Beyond every row's number.
    let bound = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    let line =
        |row: &Row<'_>| Ok(JournalLine::new(unsigned(row, 0)?, unsigned(row, 1)?, row.get(2)?, row.get(3)?));
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![bound(query.after), bound(query.before), query.limit], line)?;
    rows.filter_map(readable).collect()
}

/// Drops the oldest journal rows above [`MAX_EVENTS`].
pub(super) fn trim_events(transaction: &Transaction<'_>) -> Result<()> {
    let sql = "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1";
    execute(transaction, sql, params![MAX_EVENTS])
}

fn execute(transaction: &Transaction<'_>, sql: &str, params: impl rusqlite::Params) -> Result<()> {
    transaction.prepare_cached(sql)?.execute(params).map(drop)
}

fn assignment(row: &Row<'_>) -> Result<Assignment> {
    Ok(Assignment {
        channel: ChannelId(row.get(0)?),
        network: parsed(row, 1)?,
        host: parsed(row, 2)?,
        destination: parsed::<IpAddr>(row, 3)?,
        revision: Revision(unsigned(row, 4)?),
    })
}

fn extent(row: &Row<'_>) -> Result<(HostId, Extent)> {
    let extent = Extent {
        channel: ChannelId(row.get(1)?),
        from: ClusterTime(unsigned(row, 2)?),
        to: ClusterTime(unsigned(row, 3)?),
        segments: row.get(4)?,
        bytes: unsigned(row, 5)?,
        digest: Digest(row.get(6)?),
    };
    Ok((parsed(row, 0)?, extent))
}

fn programme(row: &Row<'_>) -> Result<Programme> {
    let span = Span { from: ClusterTime(unsigned(row, 2)?), to: ClusterTime(unsigned(row, 3)?) };
    Ok(Programme { id: RecordingId(row.get(0)?), channel: ChannelId(row.get(1)?), span, title: row.get(4)? })
}

fn guide_event(row: &Row<'_>) -> Result<(ChannelId, Event)> {
    let event = Event {
        id: row.get(1)?,
        start_unix_s: row.get(2)?,
        duration_s: row.get(3)?,
        title: row.get(4)?,
        text: row.get(5)?,
        description: row.get(6)?,
        language: row.get(7)?,
        content: row.get(8)?,
        least_age: row.get(9)?,
    };
    Ok((ChannelId(row.get(0)?), event))
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(row: &Row<'_>, column: usize) -> Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error: T::Err| unreadable(column, error.to_string()))
}

fn unreadable(column: usize, why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}

/// Leaves out rows that do not parse; keeps errors of SQLite itself.
fn readable<T>(row: Result<T>) -> Option<Result<T>> {
    match row {
        Err(rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::IntegralValueOutOfRange(..)) => {
            None
        }
        other => Some(other),
    }
}

fn kind(server: &Server) -> &'static str {
    match server {
        Server::Acquisition(_) => "acquisition",
        Server::Host(_) => "host",
    }
}

fn id(server: &Server) -> &str {
    match server {
        Server::Acquisition(id) => id.as_str(),
        Server::Host(id) => id.as_str(),
    }
}
