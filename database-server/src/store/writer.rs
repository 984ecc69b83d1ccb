//! The one thread that writes: takes records from a bounded queue and commits them in batches; between them it answers questions.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tracing::{error, warn};

use super::reader::{Question, Reader, Waiting};
use super::row;
use crate::record::Record;

/// Batches that wait for the thread; when it is full, records stay with the sender and go with its next batch.
pub const QUEUED_BATCHES: usize = 64;
/// Records that may stay with the sender. Above it journal lines and programmes are dropped, and then the oldest records, each
/// counted: the disk has stood still for long, and what is lost is learnt anew after a restart.
pub const MAX_UNSENT_RECORDS: usize = 500_000;
/// A transaction takes no further batch when it has this many records: bounds how long one commit takes. Batches are whole.
pub const RECORDS_PER_TRANSACTION: usize = 20_000;

/// What the thread is given.
#[derive(Debug)]
pub(super) enum Work {
    /// Write these.
    Write(Vec<Record>),
    /// Answer that, and give its place up.
    Answer(Question, Waiting),
    /// Nothing comes any more.
    End,
}

/// The sending end of the store. Never blocks before [`Self::close`].
#[derive(Debug)]
pub struct Writer {
    queue: Option<SyncSender<Work>>,
    reader: Reader,
    unsent: Vec<Record>,
    thread: Option<JoinHandle<()>>,
    /// Records that were given up.
    dropped: u64,
}

impl Writer {
    pub(super) fn start(connection: Connection, lock: File) -> io::Result<Self> {
        let (queue, work) = sync_channel(QUEUED_BATCHES);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || {
            serve(connection, &work);
            drop(lock);
        })?;
        let reader = Reader::new(queue.clone());
        Ok(Self { queue: Some(queue), reader, unsent: Vec::new(), thread: Some(thread), dropped: 0 })
    }

    /// A way to put questions; it may outlive the writer, and is answered no more then.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Has `records` written, after all before them.
    pub fn put(&mut self, records: impl IntoIterator<Item = Record>) {
        self.unsent.extend(records);
        if self.unsent.is_empty() {
            return;
        }
        let Some(queue) = &self.queue else { return };
        match queue.try_send(Work::Write(std::mem::take(&mut self.unsent))) {
            Ok(()) => {}
            Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) => {
                if let Work::Write(records) = work {
                    self.unsent = records;
                }
                self.bound_unsent();
            }
        }
    }

    /// Records given up since the start, because the disk did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Records that wait for a place in the queue.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Writes what waits and ends the thread. Blocks for as long as the last commits take.
    pub fn close(&mut self) {
        if let Some(queue) = self.queue.take() {
            // Fails only when the thread is gone, which has been said then.
            let _ = queue.send(Work::Write(std::mem::take(&mut self.unsent)));
            let _ = queue.send(Work::End);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the store's thread had failed");
        }
    }

    fn bound_unsent(&mut self) {
        let before = self.unsent.len();
        if before <= MAX_UNSENT_RECORDS {
            return;
        }
        self.unsent.retain(|record| !matches!(record, Record::Event(_) | Record::GuideEvent { .. }));
        let excess = self.unsent.len().saturating_sub(MAX_UNSENT_RECORDS);
        self.unsent.drain(..excess);
        let given_up = before - self.unsent.len();
        self.dropped += given_up as u64;
        warn!(records = given_up, "the store does not keep up: records given up");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(mut connection: Connection, queue: &Receiver<Work>) {
    let mut failing = false;
    let mut next = None;
    while let Some(work) = next.take().or_else(|| queue.recv().ok()) {
        let mut records = match work {
            Work::Write(records) => records,
            Work::Answer(question, place) => {
                question.answer(&connection);
                drop(place);
                continue;
            }
            Work::End => break,
        };
        while records.len() < RECORDS_PER_TRANSACTION && next.is_none() {
            match queue.try_recv() {
                Ok(Work::Write(more)) => records.extend(more),
                Ok(other) => next = Some(other),
                Err(_) => break,
            }
        }
        let result = commit(&mut connection, &records);
        // Said once: the next thousand failures have the same cause.
        match (&result, failing) {
            (Err(cause), false) => error!(
                %cause, records = records.len(),
                "the store cannot be written: everything goes on, but a restart will not know of it; free disk space"
            ),
            (Ok(()), true) => warn!("the store can be written again"),
            _ => {}
        }
        failing = result.is_err();
    }
    // Leaves one file behind instead of three; a failure costs only that.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}

fn commit(connection: &mut Connection, records: &[Record]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for record in records {
        row::apply(&transaction, record)?;
    }
    if records.iter().any(|record| matches!(record, Record::Event(_))) {
        row::trim_events(&transaction)?;
    }
    transaction.commit()
}
