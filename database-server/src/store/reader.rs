//! Questions to the store: answered by the thread that writes, in order with what was put before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use protocols::time::ClusterTime;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::row;
use super::writer::Work;
use crate::record::Event;

/// Questions that may wait; one more is refused.
pub const QUEUED_QUESTIONS: usize = 16;
/// Lines of the journal in one answer.
pub const MAX_LINES: u32 = 1_000;

/// A line of the journal with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    /// Grows with time; never used again.
    pub id: u64,
    /// What happened.
    pub event: Event,
}

/// Which lines of the journal: the newest of those between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalQuery {
    /// Lines with a number above this.
    pub after: u64,
    /// Lines with a number below this.
    pub before: u64,
    /// How many, at most [`MAX_LINES`].
    pub limit: u32,
}

/// A question.
#[derive(Debug)]
pub enum Question {
    /// Lines of the journal, newest first.
    Journal(JournalQuery, oneshot::Sender<Result<Vec<JournalLine>, rusqlite::Error>>),
}

/// A question was not put: too many wait, or the store is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Takes questions to the store. Never blocks.
#[derive(Debug, Clone)]
pub struct Reader {
    queue: SyncSender<Work>,
    waiting: Arc<AtomicUsize>,
}

/// The place of one question; given up when it is answered.
#[derive(Debug)]
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reader {
    pub(super) fn new(queue: SyncSender<Work>) -> Self {
        Self { queue, waiting: Arc::default() }
    }

    /// Puts a question.
    pub fn ask(&self, question: Question) -> Result<(), Busy> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Waiting(Arc::clone(&self.waiting));
        if before >= QUEUED_QUESTIONS {
            return Err(Busy);
        }
        self.queue.try_send(Work::Answer(question, place)).map_err(|_| Busy)
    }
}

impl Question {
    /// Answers; whoever does not wait any more misses it.
    pub(super) fn answer(self, connection: &Connection) {
        match self {
            Self::Journal(query, answer) => {
                let query = JournalQuery { limit: query.limit.min(MAX_LINES), ..query };
                drop(answer.send(row::journal(connection, query)));
            }
        }
    }
}

impl JournalLine {
    pub(super) fn new(id: u64, at_ms: u64, subject: String, text: String) -> Self {
        Self { id, event: Event { at: ClusterTime(at_ms), subject, text } }
    }
}
