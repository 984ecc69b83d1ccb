//! Looks after what is kept, and after the disk: mends what a recorder left, deletes what has been kept long enough,
//! verifies each segment once a day, stops recording before the disk is full, and tries again after a fault.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use link::clock::Clock;
use protocols::ids::ChannelId;

use super::Options;
use super::archive::Archive;
use super::disk;
use super::mend::{self, Mended, Rights};
use super::status::{Counts, Status};
use super::verify;
use crate::recording::SegmentName;

/// Segments are mended for so long in one turn; then the disk is looked at again.
const MENDING_TURN: Duration = Duration::from_millis(500);
/// The first segment is verified so long after the start, when others have more to do; or after a tenth of the time that
/// verifying all takes, if that is less.
const VERIFY_AFTER: Duration = Duration::from_mins(1);
/// One sweep in so many looks for what has been kept long enough, which takes a look at everything.
const WEED_EACH: u32 = 10;

/// The keeper's thread.
pub(super) struct Keeper {
    options: Options,
    archive: Arc<Archive>,
    status: Arc<Status>,
    listed: bool,
    /// Held while this process records there: nobody else may mend or delete.
    lock: Option<File>,
    weed_at: Instant,
    retry_at: Instant,
    verified: Option<(ChannelId, SegmentName)>,
    verify_at: Instant,
}

impl Keeper {
    pub(super) fn new(options: Options, archive: Arc<Archive>, status: Arc<Status>) -> Self {
        let now = Instant::now();
        let verify_at = now + VERIFY_AFTER.min(options.verify_within / 10);
        Self {
            options,
            archive,
            status,
            listed: false,
            lock: None,
            weed_at: now,
            retry_at: now,
            verified: None,
            verify_at,
        }
    }

    /// Looks what is there, before anything is recorded. Another recorder at work there is an error; a disk that cannot be
    /// written is a fault that may pass.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if let Err(error) = self.look_at_disk()
            && error.kind() == io::ErrorKind::ResourceBusy
        {
            return Err(error);
        }
        let now = Instant::now();
        self.retry_at = now + self.options.retry_interval;
        // The newest at least: players ask for them first.
        self.mend(now);
        Ok(())
    }

    /// Works until `stop` is closed.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(self.options.sweep_interval) {
            let now = Instant::now();
            if self.status.is_faulty() {
                if now >= self.retry_at {
                    self.retry_at = now + self.options.retry_interval;
                    // What is wrong is known as a fault.
                    let _ = self.look_at_disk();
                }
            } else {
                self.retry_at = now + self.options.retry_interval;
                self.check_room();
            }
            if self.listed {
                self.weed(now);
                self.mend(now);
                self.verify(now);
            }
        }
    }

    /// Whether the disk can be written; then recording may begin, or go on.
    fn look_at_disk(&mut self) -> io::Result<()> {
        let root = self.archive.root().to_owned();
        let usable =
            self.lock().and_then(|()| disk::probe(&root)).and_then(|()| self.room()).and_then(|()| {
                if !self.listed {
                    self.archive.list()?;
                    self.listed = true;
                }
                Ok(())
            });
        match &usable {
            Ok(()) => self.status.clear(),
            Err(error) => self.status.raise(&format!("writing to {}", root.display()), error),
        }
        if !self.listed {
            // What can only be read can be played.
            self.listed = self.archive.list().is_ok();
        }
        usable
    }

    fn lock(&mut self) -> io::Result<()> {
        if self.lock.is_none() {
            self.lock = Some(disk::lock(self.archive.root())?);
        }
        Ok(())
    }

    fn check_room(&self) {
        if let Err(error) = self.room() {
            self.status
                .raise(&format!("keeping room on the disk of {}", self.archive.root().display()), &error);
        }
    }

    fn room(&self) -> io::Result<()> {
        let free = disk::free_bytes(self.archive.root())?;
        let reserve = self.options.reserve_bytes;
        if free >= reserve {
            return Ok(());
        }
        let text = format!("{free} bytes are free; recording leaves {reserve}");
        Err(io::Error::new(io::ErrorKind::StorageFull, text))
    }

    fn weed(&mut self, now: Instant) {
        if now < self.weed_at || self.lock.is_none() {
            return;
        }
        self.weed_at = now + self.options.sweep_interval * WEED_EACH;
        for due in self.archive.due(Clock::wall().0, self.options.limit_bytes) {
            if let Err(error) = self.archive.delete(due.channel, due.name) {
                tracing::warn!(channel = %due.channel, segment = %due.name, %error, "cannot delete a segment");
                return;
            }
            tracing::debug!(channel = %due.channel, segment = %due.name, "deleted: kept long enough");
            Counts::add(&self.status.counts.deleted, 1);
        }
    }

    fn mend(&mut self, began: Instant) {
        // The newest first: that is what is asked for.
        for (channel, name) in self.archive.to_mend().into_iter().rev() {
            if began.elapsed() >= MENDING_TURN {
                return;
            }
            match mend::mend(self.archive.root(), channel, name, self.rights()) {
                Ok(mended) => self.mended(channel, name, mended),
                Err(error) => {
                    tracing::debug!(%channel, segment = %name, %error, "cannot mend a segment now");
                    return;
                }
            }
        }
    }

    fn rights(&self) -> Rights {
        if self.lock.is_some() { Rights::Alter } else { Rights::Look }
    }

    fn mended(&self, channel: ChannelId, name: SegmentName, mended: Mended) {
        match mended {
            Mended::Complete(segment) => self.archive.completed(channel, segment),
            Mended::Cut { segment, lost } => {
                tracing::info!(%channel, segment = %name, packets = segment.packets, lost, "completed a segment that its recorder left");
                self.archive.completed(channel, segment);
            }
            Mended::Removed => {
                tracing::info!(%channel, segment = %name, "removed a segment of which nothing was durable");
                self.archive.forget(channel, name);
            }
            Mended::Damaged => self.damaged(channel, name, "its index is not what was written"),
        }
    }

    fn verify(&mut self, now: Instant) {
        if now < self.verify_at || self.status.is_faulty() {
            return;
        }
        let many = u32::try_from(self.archive.complete().max(1)).unwrap_or(u32::MAX);
        self.verify_at = now + (self.options.verify_within / many).max(self.options.sweep_interval);
        self.verify_next();
    }

    /// Verifies the segment after the one verified last.
    pub(super) fn verify_next(&mut self) {
        let Some((channel, segment)) = self.archive.next_complete(self.verified) else { return };
        self.verified = Some((channel, segment.name));
        if let Err(flaw) = verify::verify(self.archive.root(), channel, segment.name) {
            // It may have been deleted, or be another one, meanwhile.
            let condemned = self.archive.condemn(channel, &segment);
            self.status.damaged(channel, segment.name, &flaw.to_string(), condemned);
        }
    }

    fn damaged(&self, channel: ChannelId, name: SegmentName, why: &str) {
        let put_aside = self.archive.damaged(channel, name);
        self.status.damaged(channel, name, why, put_aside.map(|()| true));
    }
}
