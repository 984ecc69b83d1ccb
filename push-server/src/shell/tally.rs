//! What a data thread has done, for statistics and for the tests that count system calls.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one data thread since its start. The thread writes each once a turn, anybody reads.
#[derive(Debug, Default)]
pub struct Tally {
    turns: AtomicU64,
    reads: AtomicU64,
    sends: AtomicU64,
    lone_announcements: AtomicU64,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    channels_shed: AtomicU64,
    channels_taken_over: AtomicU64,
    repairs_streamed: AtomicU64,
    repairs_broadcast: AtomicU64,
    repairs_withheld: AtomicU64,
    live_packets: AtomicU64,
    live_sends: AtomicU64,
    live_lost: AtomicU64,
}

protocols::counters! {
    /// The counts of one moment.
    pub struct Counts {
        /// Turns: the thread waited, and served what was due. One system call at least.
        pub turns: u64,
        /// System calls that read feeds.
        pub reads: u64,
        /// System calls that sent packets, and announcements along with them.
        pub sends: u64,
        /// System calls that sent an announcement alone.
        pub lone_announcements: u64,
        /// Packets that came by P3.
        pub packets_in: u64,
        /// Packets that the operating system took, over all destinations.
        pub packets_out: u64,
        /// Channels shed under overload.
        pub channels_shed: u64,
        /// Channels taken over from another data thread.
        pub channels_taken_over: u64,
        /// Packets sent again to one viewer.
        pub repairs_streamed: u64,
        /// Packets sent again to a destination.
        pub repairs_broadcast: u64,
        /// Packets asked for again and not sent.
        pub repairs_withheld: u64,
        /// Packets of live sessions that the operating system took.
        pub live_packets: u64,
        /// System calls that sent them.
        pub live_sends: u64,
        /// Packets that it did not take, or that the ring had no more.
        pub live_lost: u64,
    }
}

impl Tally {
    /// The counts now.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            turns: read(&self.turns),
            reads: read(&self.reads),
            sends: read(&self.sends),
            lone_announcements: read(&self.lone_announcements),
            packets_in: read(&self.packets_in),
            packets_out: read(&self.packets_out),
            channels_shed: read(&self.channels_shed),
            channels_taken_over: read(&self.channels_taken_over),
            repairs_streamed: read(&self.repairs_streamed),
            repairs_broadcast: read(&self.repairs_broadcast),
            repairs_withheld: read(&self.repairs_withheld),
            live_packets: read(&self.live_packets),
            live_sends: read(&self.live_sends),
            live_lost: read(&self.live_lost),
        }
    }

    pub(super) fn show(&self, counts: &Counts) {
        let Counts {
            turns,
            reads,
            sends,
            lone_announcements,
            packets_in,
            packets_out,
            channels_shed,
            channels_taken_over,
            repairs_streamed,
            repairs_broadcast,
            repairs_withheld,
            live_packets,
            live_sends,
            live_lost,
        } = *counts;
        self.turns.store(turns, Ordering::Relaxed);
        self.reads.store(reads, Ordering::Relaxed);
        self.sends.store(sends, Ordering::Relaxed);
        self.lone_announcements.store(lone_announcements, Ordering::Relaxed);
        self.packets_in.store(packets_in, Ordering::Relaxed);
        self.packets_out.store(packets_out, Ordering::Relaxed);
        self.channels_shed.store(channels_shed, Ordering::Relaxed);
        self.channels_taken_over.store(channels_taken_over, Ordering::Relaxed);
        self.repairs_streamed.store(repairs_streamed, Ordering::Relaxed);
        self.repairs_broadcast.store(repairs_broadcast, Ordering::Relaxed);
        self.repairs_withheld.store(repairs_withheld, Ordering::Relaxed);
        self.live_packets.store(live_packets, Ordering::Relaxed);
        self.live_sends.store(live_sends, Ordering::Relaxed);
        self.live_lost.store(live_lost, Ordering::Relaxed);
    }
}
