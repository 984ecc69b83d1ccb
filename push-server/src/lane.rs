//! One destination of a channel's data plane: which packets it has had, and the batches in which it is given the others.

use std::time::Duration;

use protocols::p4_control::DestinationFault;
use protocols::time::Time;

use crate::pacer::BURST_PACKETS;
use crate::plan::Target;
use crate::ring::{PacketRing, Run};

/// Packets that leave for one target back to back at most: 0.9 ms of a 100 Mb/s port.
pub const MAX_BATCH: usize = BURST_PACKETS as usize;

const _: () = assert!(
    size_of::<Lane>() <= 32,
    "each turn walks the lanes of a channel, up to a thousand of them: two of them share a cache line"
);

/// One destination, at the place of its target in the plan, which has all that is not needed for each batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    /// Position of the first packet that has not been given to it.
    pub(crate) next: u64,
    pub(crate) packets: u64,
    /// When its last batch left.
    served: Time,
    window_us: u32,
    pub(crate) sending: bool,
    pub(crate) fault: Option<DestinationFault>,
}

impl Lane {
    pub(crate) fn new() -> Self {
        Self { next: 0, packets: 0, served: Time::ZERO, window_us: 0, sending: false, fault: None }
    }

    /// Does from now on what `target` says; one that resumes is given no packet before `resume_at`.
    pub(crate) fn follow(&mut self, target: &Target, resume_at: u64) {
        if target.sending && !self.sending {
            self.next = self.next.max(resume_at);
        }
        self.sending = target.sending;
        self.window_us = u32::try_from(target.window.as_micros()).unwrap_or(u32::MAX);
    }

    pub(crate) fn window(&self) -> Duration {
        Duration::from_micros(self.window_us.into())
    }

    /// When its window is over.
    pub(crate) fn window_ends(&self) -> Time {
        self.served + self.window()
    }

    /// Whether its window is over, or nearly: turns are not punctual to the microsecond.
    pub(crate) fn due(&self, now: Time) -> bool {
        now + self.window() / 8 >= self.window_ends()
    }

    /// Hands the packets before `released` to `send`, in batches; of what does not fill one, only the `whole` rest.
    /// Answers how many packets were refused.
    pub(crate) fn serve(
        &mut self,
        now: Time,
        ring: &PacketRing,
        released: u64,
        whole: bool,
        mut send: impl FnMut(&[Run<'_>]) -> usize,
    ) -> u64 {
        let mut refused = 0;
        self.next = self.next.max(ring.oldest());
        let least = if whole { 1 } else { MAX_BATCH as u64 };
        while released.saturating_sub(self.next) >= least {
            let to = released.min(self.next + MAX_BATCH as u64);
            let batch = Batch::gather(ring, self.next, to);
            let taken = send(batch.runs()) as u64;
            self.packets += taken;
            refused += (to - self.next).saturating_sub(taken);
            (self.next, self.served) = (to, now);
        }
        refused
    }
}

/// Up to [`MAX_BATCH`] packets, as few runs as they are.
struct Batch<'ring> {
    runs: [Run<'ring>; MAX_BATCH],
    len: usize,
}

impl<'ring> Batch<'ring> {
    fn gather(ring: &'ring PacketRing, from: u64, to: u64) -> Self {
        let mut batch = Self { runs: [Run::default(); MAX_BATCH], len: 0 };
        let mut at = from;
        while let Some(run) = ring.run(at, to).filter(|_| batch.len < MAX_BATCH) {
            at += run.len() as u64;
            batch.runs[batch.len] = run;
            batch.len += 1;
        }
        batch
    }

    fn runs(&self) -> &[Run<'ring>] {
        &self.runs[..self.len]
    }
}
