//! The recorder: threads that write what data threads bring them, and one that looks after what is kept.
//! `docs/recording.md` says what is promised.
//!
//! ```text
//! data threads ──[`Intake`]: chunks──► recorder threads ──► .ts, .index
//!                                            │ [`Archive`]
//! players, copies ◄──[`Cursor`]──────────────┤
//!                                       keeper: mends, weeds, verifies, tries again
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `intake.rs`, `tap.rs` | the data thread's end: what is copied, waits, is dropped |
//! | `desk.rs` | the driver's end: orders, and what is told by P4 |
//! | `channel_recorder.rs`, `writer.rs` | one channel's recording; one segment that grows |
//! | `archive.rs`, `reader.rs` | the list of what is kept; reading it |
//! | `keeper.rs`, `mend.rs`, `verify.rs`, `walk.rs` | looking after it |
//! | `status.rs`, `disk.rs` | counters and the fault; what is asked of the disk |

pub mod archive;
mod channel_recorder;
pub(crate) mod desk;
pub(crate) mod disk;
pub mod intake;
mod keeper;
mod mend;
pub mod reader;
pub mod status;
pub(crate) mod tap;
#[cfg(test)]
mod tests;
pub mod verify;
mod walk;
pub mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use protocols::ids::ChannelId;

pub use archive::{Archive, Held};
pub use intake::Intake;
pub use reader::{Cursor, Played, SegmentReader};
pub use status::Status;

use super::replication;
use channel_recorder::ChannelRecorder;
use intake::Delivery;
use keeper::Keeper;
use status::Counts;

/// What was recorded is durable after this time, and what the disk takes: the most that a crash loses.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// After a fault it is tried again each such time.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// A segment of a channel that brings nothing for this long is completed, and so told to the catalogue. Longer than a slot: the
/// next packet would begin another segment anyway.
pub const SILENCE: Duration = Duration::from_secs(75);
/// How often the disk, and what is kept, are looked after.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// In this time each segment is verified once.
pub const VERIFY_WITHIN: Duration = Duration::from_hours(24);
/// Recording stops while less than this is free on its disk, so that the last of it is left to others.
pub const RESERVE_BYTES: u64 = 256 * 1_024 * 1_024;
/// Threads that write: while the disk makes something of one channel last, others go on.
const THREADS: usize = 4;

/// Where and how to record.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of this host's data; recordings are in a folder in it.
    pub data: PathBuf,
    /// Bytes of transport packets to keep at most; `None`: no limit but the disk's.
    pub limit_bytes: Option<u64>,
    /// Bytes to leave free on the disk; [`RESERVE_BYTES`] unless a test has a smaller disk.
    pub reserve_bytes: u64,
    /// [`FLUSH_INTERVAL`], unless a test is in a hurry.
    pub flush_interval: Duration,
    /// [`SILENCE`], likewise.
    pub silence: Duration,
    /// [`RETRY_INTERVAL`], likewise.
    pub retry_interval: Duration,
    /// [`SWEEP_INTERVAL`], likewise.
    pub sweep_interval: Duration,
    /// In this time each segment is read and verified once, [`VERIFY_WITHIN`] unless set; a day's worth in less is a matter of
    /// how fast the disk reads.
    pub verify_within: Duration,
    /// How what peers have is fetched.
    pub replication: replication::Options,
}

impl Options {
    /// As a host records in `data`.
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            limit_bytes: None,
            reserve_bytes: RESERVE_BYTES,
            flush_interval: FLUSH_INTERVAL,
            silence: SILENCE,
            retry_interval: RETRY_INTERVAL,
            sweep_interval: SWEEP_INTERVAL,
            verify_within: VERIFY_WITHIN,
            replication: replication::Options::default(),
        }
    }
}

/// The recorder of a host. Dropped, it completes what it has, and ends.
#[derive(Debug)]
pub struct Recorder {
    archive: Arc<Archive>,
    status: Arc<Status>,
    to: Vec<Sender<Delivery>>,
    threads: Vec<JoinHandle<()>>,
    /// Closed to end the keeper.
    keeper: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Recorder {
    /// Looks what is there, and begins. A disk that cannot be written is a fault that may pass, not an error; another
    /// process that records there is one.
    pub fn start(options: &Options) -> io::Result<Self> {
        let archive = Arc::new(Archive::new(disk::recordings(&options.data)));
        let status = Arc::new(Status::default());
        let mut keeper = Keeper::new(options.clone(), archive.clone(), status.clone());
        keeper.begin()?;
        let (mut to, mut threads) = (Vec::new(), Vec::new());
        for number in 0..THREADS {
            let (sender, deliveries) = channel();
            let worker = Worker::new(options, archive.clone(), status.clone());
            threads.push(
                Builder::new().name(format!("record-{number}")).spawn(move || worker.run(&deliveries))?,
            );
            to.push(sender);
        }
        let (stop, stopped) = channel();
        let keeper = Builder::new().name("keeper".to_owned()).spawn(move || keeper.run(&stopped))?;
        Ok(Self { archive, status, to, threads, keeper: Some((stop, keeper)) })
    }

    /// What is kept.
    pub fn archive(&self) -> &Arc<Archive> {
        &self.archive
    }

    /// How it goes.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// What takes a channel's packets. One at a time for each channel.
    pub fn intake(&self, channel: ChannelId) -> Intake {
        let thread = channel.0 as usize % self.to.len();
        Intake::new(channel, self.to[thread].clone(), self.status.clone())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for to in self.to.drain(..) {
            let _ = to.send(Delivery::Stop);
        }
        let keeper = self.keeper.take().map(|(stop, keeper)| {
            drop(stop);
            keeper
        });
        for thread in self.threads.drain(..).chain(keeper) {
            if thread.join().is_err() {
                tracing::error!("a recorder thread has panicked");
            }
        }
    }
}

/// One recorder thread.
struct Worker {
    flush_interval: Duration,
    silence: Duration,
    archive: Arc<Archive>,
    status: Arc<Status>,
    channels: BTreeMap<ChannelId, ChannelRecorder>,
    flush_at: Instant,
}

impl Worker {
    fn new(options: &Options, archive: Arc<Archive>, status: Arc<Status>) -> Self {
        let Options { flush_interval, silence, .. } = *options;
        let flush_at = Instant::now() + flush_interval;
        Self { flush_interval, silence, archive, status, channels: BTreeMap::new(), flush_at }
    }

    fn run(mut self, deliveries: &Receiver<Delivery>) {
        loop {
            let patience = self.flush_at.saturating_duration_since(Instant::now());
            match deliveries.recv_timeout(patience) {
                Ok(Delivery::Chunk(chunk, belt)) => {
                    self.take(&chunk);
                    belt.give_back(chunk);
                }
                Ok(Delivery::Ended(channel)) => self.end(channel),
                Ok(Delivery::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= self.flush_at {
                self.flush();
                self.flush_at = Instant::now() + self.flush_interval;
            }
        }
        let channels: Vec<ChannelId> = self.channels.keys().copied().collect();
        channels.into_iter().for_each(|channel| self.end(channel));
    }

    fn take(&mut self, chunk: &crate::recording::chunk::Chunk) {
        if self.status.is_faulty() {
            Counts::add(&self.status.counts.unrecorded, chunk.len() as u64);
            self.halt();
            return;
        }
        let Self { archive, status, channels, .. } = self;
        let channel = chunk.channel();
        let recorder = channels
            .entry(channel)
            .or_insert_with(|| ChannelRecorder::new(channel, archive.clone(), status.clone()));
        if let Err(error) = recorder.record(Instant::now(), chunk).and_then(|()| recorder.write()) {
            recorder.forget();
            self.status.raise(&format!("writing a segment of channel {channel}"), &error);
        }
    }

    fn end(&mut self, channel: ChannelId) {
        let Some(mut recorder) = self.channels.remove(&channel) else { return };
        if let Err(error) = recorder.end() {
            self.status.raise(&format!("completing a segment of channel {channel}"), &error);
        }
    }

    fn flush(&mut self) {
        if self.status.is_faulty() {
            self.halt();
            return;
        }
        let now = Instant::now();
        let is_silent = |recorder: &ChannelRecorder| now.duration_since(recorder.heard()) >= self.silence;
        let silent = self.channels.iter().filter(|(_, recorder)| is_silent(recorder));
        let silent: Vec<ChannelId> = silent.map(|(channel, _)| *channel).collect();
        silent.into_iter().for_each(|channel| self.end(channel));
        for (channel, recorder) in &mut self.channels {
            if let Err(error) = recorder.flush() {
                recorder.forget();
                self.status.raise(&format!("making a segment of channel {channel} last"), &error);
            }
        }
    }

    /// While there is a fault nothing grows: what was begun ends, as well as it can.
    fn halt(&mut self) {
        for (_, mut recorder) in std::mem::take(&mut self.channels) {
            // What cannot be completed now is mended later.
            let _ = recorder.end();
        }
    }
}
