//! Replicas become equal again: what this host lacks is fetched from peers that have it, and peers that lack something are
//! given it. `docs/recording.md` (Replicas) says what is promised, `docs/protocols/p3.md` how it is asked for.
//!
//! ```text
//! P3 opening of a host ──► [`guests`]: answers from the archive            thread "replica-out"
//! orders, the archive  ──► [`fetcher`] ──[`peer`]──► other hosts' P3       thread "replica-in", one peer at a time
//!                              └─► [`incoming`]: files that are no segments yet ──verified──► the archive
//! ```
//!
//! Both threads give way to all others, and copy no faster than they are told to.

mod fetcher;
pub(crate) mod guests;
mod incoming;
mod peer;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use link::shutdown::Shutdown;
use protocols::authority::ClusterKey;
use protocols::ids::{BootId, HostId};
use tokio::sync::mpsc;

use super::recorder::{self, Recorder};
use crate::replication::Intervals;
use fetcher::Fetcher;
use guests::{Guest, Guests};

/// Bits a second that a host fetches at most, and gives its peers at most, unless told otherwise: an eighth of what the
/// usual network carries. Half an hour of 20 channels of 5 Mb/s takes as long to fetch.
pub const REPLICATION_RATE: u64 = 100_000_000;
/// The least that can be told: below it, frames take longer than their time.
pub const LEAST_REPLICATION_RATE: u64 = 1_000_000;
/// How often is looked whether something is to be done.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// A peer that says nothing for this long when it is asked, or within a transfer, is given up for a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that gives less than this is given up for a while: it keeps others from being asked.
const SLOWEST_BPS: u64 = 128_000;
/// Peers that are let in and wait to be served; one more is turned away.
const GUESTS_WAITING: usize = 16;
/// How far both threads stand back where processors are short (nice).
const MODESTY: i32 = 10;

/// How replicas are kept equal.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bits a second in each direction; [`REPLICATION_RATE`] unless set.
    pub rate_bps: u64,
    /// When peers are asked.
    pub intervals: Intervals,
    /// How often is looked whether something is to be done; shorter where a test is in a hurry.
    pub sweep_interval: Duration,
    /// A peer that says nothing for this long is given up for a while; 10 s unless a test is in a hurry.
    pub patience: Duration,
    /// A peer that gives fewer bits a second than this is given up for a while; `SLOWEST_BPS` likewise.
    pub slowest_bps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate_bps: REPLICATION_RATE,
            intervals: Intervals::default(),
            sweep_interval: SWEEP_INTERVAL,
            patience: PATIENCE,
            slowest_bps: SLOWEST_BPS,
        }
    }
}

protocols::atomic_counters! {
    /// Counts since the host's start.
    pub struct Counts {
        /// Times that a peer was asked what it has.
        pub looks: AtomicU64,
        /// Segments fetched, verified and taken in.
        pub fetched: AtomicU64,
        /// Bytes that were fetched, of whatever came of it.
        pub fetched_bytes: AtomicU64,
        /// Of the segments fetched those that took the place of a damaged one.
        pub mended: AtomicU64,
        /// Of the segments fetched those that took the place of one that was not as good.
        pub replaced: AtomicU64,
        /// Transfers that went on where an earlier one had ended.
        pub resumed: AtomicU64,
        /// Looks that a peer ended too early: unreachable, refused, closed.
        pub failures: AtomicU64,
        /// Looks that ended since a peer was too slow.
        pub slow: AtomicU64,
        /// Looks that ended since a peer said, or gave, what is not so.
        pub lies: AtomicU64,
        /// Times that a peer's trouble was told in the log: once, until it does what it is asked.
        pub told: AtomicU64,
        /// Segments that a peer no longer had when it was asked for them.
        pub gone: AtomicU64,
        /// Looks that ended since this host's disk did not take what was fetched, or has no room for it.
        pub no_room: AtomicU64,
        /// Parts of segments thrown away since nobody went on with them.
        pub stale: AtomicU64,
        /// Peers that were served.
        pub guests: AtomicU64,
        /// Peers turned away: too many at a time.
        pub turned_away: AtomicU64,
        /// Bytes that peers were given.
        pub given_bytes: AtomicU64,
    }
}

impl Counts {
    fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

/// Who this host is to its peers.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) host: HostId,
    pub(super) boot_id: BootId,
    pub(super) key: ClusterKey,
}

/// Both threads. Dropped, they end.
#[derive(Debug)]
pub(super) struct Replication {
    counts: Arc<Counts>,
    guests: mpsc::Sender<Guest>,
    shutdown: Shutdown,
    threads: Vec<JoinHandle<()>>,
}

impl Replication {
    /// Begins to fetch into, and to give from, the archive of `recorder`.
    pub(super) fn start(
        identity: &Identity,
        options: &recorder::Options,
        recorder: &Recorder,
    ) -> io::Result<Self> {
        let counts = Arc::<Counts>::default();
        let shutdown = Shutdown::new();
        let (guests, arriving) = mpsc::channel(GUESTS_WAITING);
        let fetcher = Fetcher::new(identity.clone(), options.clone(), recorder, counts.clone());
        let host = Guests::new(options.replication.rate_bps, recorder, counts.clone());
        let until = shutdown.clone();
        let fetching = thread("replica-in", async move {
            tokio::select! {
                () = until.requested() => {}
                () = fetcher.run() => {}
            }
        })?;
        let until = shutdown.clone();
        let giving = thread("replica-out", async move {
            tokio::select! {
                () = until.requested() => {}
                () = host.run(arriving) => {}
            }
        })?;
        Ok(Self { counts, guests, shutdown, threads: vec![fetching, giving] })
    }

    /// What was counted.
    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Where peers that were let in are brought to.
    pub(super) fn guests(&self) -> mpsc::Sender<Guest> {
        self.guests.clone()
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        self.shutdown.request();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a replication thread has panicked");
            }
        }
        tracing::info!(counts = ?self.counts, "replication ends");
    }
}

/// A thread of its own for `work`, with a runtime of its own, that stands back behind all others.
fn thread(name: &str, work: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Builder::new().name(name.to_owned()).spawn(move || {
        // On Linux a thread has a nice value of its own. Without the right to one it goes on as it is.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), MODESTY);
        runtime.block_on(work);
        // What a task still does is of no use to anybody.
        runtime.shutdown_background();
    })
}
