//! What the database server keeps across restarts, in SQLite: the only module that speaks SQL.
//!
//! ```text
//! open: lock the folder ─► check the file (damaged: set aside) ─► migrate ─► new start number ─► Remembered
//! then: Writer::put  ─┐
//!       Reader::ask  ─┴► bounded queue ─► one thread ─► one transaction per batch; answers
//! ```
//!
//! WAL with `synchronous = FULL`: a batch that is committed survives the loss of power; a SIGKILL at any moment leaves the last
//! committed batch. Nothing here is needed to go on: what is lost is learnt anew from the topology and the hosts' reports,
//! at the price of viewers moved.

mod accounts;
mod migration;
mod reader;
mod row;
mod writer;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocols::time::ClusterTime;
use rusqlite::Connection;
use thiserror::Error;
use tracing::error;

pub use self::accounts::{AccountBook, MAX_AUDIT};
pub use self::reader::{Busy, JournalLine, JournalQuery, MAX_LINES, QUEUED_QUESTIONS, Question, Reader};
pub use self::writer::{MAX_UNSENT_RECORDS, QUEUED_BATCHES, RECORDS_PER_TRANSACTION, Writer};
use crate::record::Remembered;

/// Name of the database in the data folder.
pub const FILE_NAME: &str = "masthead.db";
/// Name of the file that keeps a second database server out of the folder.
pub const LOCK_NAME: &str = "masthead.lock";
/// Journal rows that are kept; the oldest go first.
pub const MAX_EVENTS: u32 = 10_000;
/// Cluster time of 2026-01-01: start numbers are at least the seconds since then, so that they grow even when the
/// data folder was lost.
const START_EPOCH: ClusterTime = ClusterTime(1_767_225_600_000);
/// How long a writer waits for a reader, such as an administrator's `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder cannot be made, read or renamed.
    #[error("{path}: {error}{advice}", advice = advice(error))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// Another database server has the folder.
    #[error("{0} is in use by another database server: stop it, or give this one its own folder with --data")]
    InUse(PathBuf),
    /// Another program's database, or one of a later version.
    #[error(
        "{path}: its schema version is {found}, this program knows versions up to {known}: update this program"
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: usize,
    },
    /// SQLite refuses.
    #[error("{path}: {error}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
}

/// What an administrator can do about a refused file or folder; empty or beginning with `; `.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that runs the database server has to own the data folder"
        }
        _ => "",
    }
}

/// An open store: what it remembers, and the way to tell it more.
#[derive(Debug)]
pub struct Store {
    /// Number of this start.
    pub start: u32,
    /// What earlier lives left.
    pub remembered: Remembered,
    /// Takes records.
    pub writer: Writer,
}

/// Opens the store in `folder`, which is made where missing, and begins a new life in it at `now`.
///
/// A damaged database is set aside under another name, with a message in the log, and a new one is begun.
pub fn open(folder: &Path, now: ClusterTime) -> Result<Store, StoreError> {
    fs::create_dir_all(folder).map_err(|error| StoreError::Io { path: folder.to_owned(), error })?;
    let lock = lock(folder)?;
    let path = folder.join(FILE_NAME);
    let sqlite = |error| StoreError::Sqlite { path: path.clone(), error };
    let mut connection = match connect(&path) {
        Ok(connection) => connection,
        Err(damage) => {
            let aside = set_aside(&path, now)?;
            error!(
                file = %path.display(), aside = %aside.display(), %damage,
                "the database is damaged: it was set aside and a new one is begun. Nothing needs to be done; to look for \
                 the cause, check the disk; to save the journal, run `sqlite3 <the file set aside> .recover`"
            );
            connect(&path).map_err(|damage| match damage {
                Damage::Sqlite(error) => sqlite(error),
                Damage::Check(text) => StoreError::Io { path: path.clone(), error: io::Error::other(text) },
            })?
        }
    };
    migration::migrate(&mut connection, &path)?;
    let start = row::begin_life(&mut connection, now, START_EPOCH).map_err(sqlite)?;
    let remembered = row::remembered(&connection).map_err(sqlite)?;
    let writer =
        Writer::start(connection, lock).map_err(|error| StoreError::Io { path: path.clone(), error })?;
    Ok(Store { start, remembered, writer })
}

/// Why a database file is not used.
#[derive(Debug, Error)]
enum Damage {
    #[error("{0}")]
    Sqlite(rusqlite::Error),
    #[error("{0}")]
    Check(String),
}

impl From<rusqlite::Error> for Damage {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A connection to a database that passed SQLite's own check.
fn connect(path: &Path) -> Result<Connection, Damage> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let check: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(Damage::Check(check));
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Renames the database and its companions; returns the new name of the database.
fn set_aside(path: &Path, now: ClusterTime) -> Result<PathBuf, StoreError> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = named(&format!(".damaged-{}", now.0));
    for companion in ["", "-wal", "-shm"] {
        let from = named(companion);
        let to = named(&format!(".damaged-{}{companion}", now.0));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Io { path: from, error });
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_NAME);
    let io = |error| StoreError::Io { path: path.clone(), error };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests;
