//! How recording goes: what was counted, and the fault that keeps it from going on.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocols::ids::ChannelId;
use protocols::recording::RecordingFault;

use super::disk;
use crate::recording::SegmentName;

protocols::atomic_counters! {
    /// Counts since the recorder's start, over all channels.
    pub struct Counts {
        /// Packets handed to the operating system.
        pub packets: AtomicU64,
        /// Bytes of their transport packets.
        pub bytes: AtomicU64,
        /// Segments completed.
        pub segments: AtomicU64,
        /// Packets dropped since the disk was too far behind: a hole.
        pub dropped: AtomicU64,
        /// Packets that came while nothing could be recorded.
        pub unrecorded: AtomicU64,
        /// Packets that could not be made again from what is recorded, or whose number or date cannot be.
        pub refused: AtomicU64,
        /// Packets that came before their feed's first mark.
        pub undated: AtomicU64,
        /// Packets that had been recorded before.
        pub repeated: AtomicU64,
        /// Numbers that were missing between packets.
        pub missing: AtomicU64,
        /// Segments found to be damaged.
        pub damaged: AtomicU64,
        /// Segments deleted since they had been kept long enough.
        pub deleted: AtomicU64,
        /// Times that recording stopped.
        pub faults: AtomicU64,
    }
}

impl Counts {
    pub(crate) fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

/// Shared by the recorder's threads and whoever asks.
#[derive(Debug, Default)]
pub struct Status {
    /// What was counted.
    pub counts: Counts,
    faulty: AtomicBool,
    faults: Mutex<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    present: Option<RecordingFault>,
    /// What was said last: not said again while it comes back at each retry.
    said: Option<RecordingFault>,
}

impl Status {
    /// Why nothing is recorded; `None`: recording goes on.
    pub fn fault(&self) -> Option<RecordingFault> {
        self.faults().present
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Acquire)
    }

    /// Recording of all channels stops.
    pub(crate) fn raise(&self, doing: &str, error: &io::Error) {
        let mut faults = self.faults();
        if faults.present.is_some() {
            tracing::debug!(%error, "{doing} failed too");
            return;
        }
        let fault = disk::fault(error);
        faults.present = Some(fault);
        Counts::add(&self.counts.faults, 1);
        if faults.said.replace(fault) == Some(fault) {
            tracing::debug!(%error, "recording stopped again: {doing} failed");
        } else {
            tracing::error!(%error, "recording of all channels stops: {doing} failed; live goes on, and it is tried again");
        }
        self.faulty.store(true, Ordering::Release);
    }

    /// The disk takes what is written again.
    pub(crate) fn clear(&self) {
        let mut faults = self.faults();
        if faults.present.take().is_some() {
            tracing::info!("recording is tried again");
        }
        self.faulty.store(false, Ordering::Release);
    }

    /// A segment was found not to be what was recorded; `put_aside`: whether it still was there, and what became of it.
    pub(crate) fn damaged(
        &self,
        channel: ChannelId,
        name: SegmentName,
        why: &str,
        put_aside: io::Result<bool>,
    ) {
        if matches!(put_aside, Ok(false)) {
            return;
        }
        Counts::add(&self.counts.damaged, 1);
        tracing::error!(%channel, segment = %name, why, "a recorded segment is damaged and counts as missing");
        if let Err(error) = put_aside {
            tracing::warn!(%channel, segment = %name, %error, "cannot put the index of a damaged segment aside");
        }
    }

    /// Something was recorded: the next fault is news.
    pub(crate) fn succeeded(&self) {
        let mut faults = self.faults();
        if faults.present.is_none() {
            faults.said = None;
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
