//! Threads that wait for the disk, so that the playback thread does not.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::Call;
use super::frame::Frame;
use super::reel::{Reel, Wish};
use crate::session::{MAX_SESSIONS, ReadOutcome, SessionKey};
use crate::shell::recorder::reader::Haste;

/// Threads that read: so many slow reads at a time hold up no other.
const THREADS: usize = 4;
/// Reads that wait for a thread at most; one more fails, and its session tries again. Each session waits for one, rarely two.
const JOBS_WAITING: usize = 2 * MAX_SESSIONS;
/// That a disk fails is told at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// A read, with the reel that it is read by.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: SessionKey,
    pub(super) ticket: u64,
    pub(super) wish: Wish,
    pub(super) reel: Reel,
}

/// The threads. Dropped, they end with what they are at.
#[derive(Debug)]
pub(super) struct Readers {
    jobs: Option<Sender<Box<Job>>>,
    waiting: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts them; what they have read goes to `done`.
    pub(super) fn start(done: &SyncSender<Call>) -> io::Result<Self> {
        let (jobs, taken) = channel();
        let (taken, waiting) = (Arc::new(Mutex::new(taken)), Arc::new(AtomicUsize::new(0)));
        let start_one = |number| {
            let reader =
                Reader { jobs: taken.clone(), waiting: waiting.clone(), done: done.clone(), told: None };
            Builder::new().name(format!("read-{number}")).spawn(move || reader.run())
        };
        let threads = (0..THREADS).map(start_one).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), waiting, threads })
    }

    /// Has a read done; the job comes back when too many wait.
    pub(super) fn put(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        let Some(jobs) = self.jobs.as_ref().filter(|_| self.waiting.load(Ordering::Acquire) < JOBS_WAITING)
        else {
            return Err(job);
        };
        self.waiting.fetch_add(1, Ordering::AcqRel);
        jobs.send(job).map_err(|refused| refused.0)
    }

    /// Ends them. Nothing is heard of what they were at.
    pub(super) fn stop(mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reader thread has panicked");
            }
        }
    }
}

struct Reader {
    jobs: Arc<Mutex<Receiver<Box<Job>>>>,
    waiting: Arc<AtomicUsize>,
    done: SyncSender<Call>,
    /// When a failure was last told of.
    told: Option<Instant>,
}

impl Reader {
    fn run(mut self) {
        loop {
            let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = job else { return };
            let Job { key, ticket, wish, mut reel } = *job;
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            let outcome = reel.read(wish, Haste::Wait).unwrap_or_else(|error| self.failed(wish, &error));
            if self.done.send(Call::Read { key, ticket, outcome, reel }).is_err() {
                return;
            }
        }
    }

    fn failed(&mut self, wish: Wish, error: &io::Error) -> ReadOutcome<Frame> {
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(channel = %wish.channel, %error, "a recording cannot be read");
        }
        ReadOutcome::Failed
    }
}
