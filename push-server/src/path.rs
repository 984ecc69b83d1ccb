//! The data plane of one channel: packets in by P3, the same packets out by P6 to the destinations of the plan.
//!
//! Pure, and without allocation, lock or log line per packet: it lives in the thread that owns the sockets. Plans are
//! swapped in between two batches.
//!
//! ```text
//! P3 ──► ring ──► pacer ──► every target that is sending
//!         └── newest packet at once, to a target that resumes
//! ```
//!
//! A packet leaves at most once to each destination, in the order of arrival. Live is live: what could not leave within
//! [`LONGEST_BACKLOG`] is passed over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::p3_feed::{MAX_PACKET_BYTES, STALL_TIMEOUT};
use protocols::p4_control::DestinationFault;
use protocols::time::Time;

use crate::pacer::{Pacer, Stamp};
use crate::plan::{ChannelCounters, Plan, TargetCounters};
use crate::ring::{PacketRing, SLOTS};

/// A packet that has waited this long to leave is passed over, with all others but the newest.
pub const LONGEST_BACKLOG: Duration = Duration::from_secs(1);
/// How often counters are told when nothing urgent happens.
pub const COUNTERS_INTERVAL: Duration = Duration::from_secs(1);
/// A target that resumes is given the newest packet only when that arrived less than this ago.
pub const FRESH: Duration = Duration::from_secs(1);
/// How far back a returning feed may begin and still be taken for a repetition, in sequence numbers.
const REPEATED_WITHIN: u16 = 8_192;
const HEADER_BYTES: usize = 12;

/// What became of a packet handed to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The operating system took it.
    Sent,
    /// It did not; the packet is gone for this destination.
    Dropped,
}

/// Drops of one channel's data plane since its making.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets that are no RTP.
    pub not_rtp: u64,
    /// Packets that a returning feed repeated.
    pub repeated: u64,
    /// Packets passed over because they could not leave in time.
    pub skipped: u64,
    /// Packets that a socket did not take, over all destinations.
    pub refused: u64,
}

/// The data plane of one channel.
#[derive(Debug)]
pub struct ChannelPath {
    channel: ChannelId,
    plan: Arc<Plan>,
    lanes: Vec<Lane>,
    ring: PacketRing,
    /// When the packet in each slot arrived.
    arrived: Box<[Time]>,
    pacer: Pacer,
    /// Position of the first packet that may not leave yet.
    released: u64,
    newest: Option<Header>,
    last_arrival: Option<Time>,
    packets: u64,
    drops: Drops,
    told: Told,
}

/// One destination, beside its target in the plan.
#[derive(Debug, Clone, Copy)]
struct Lane {
    address: IpAddr,
    sending: bool,
    /// Position of the first packet that has not been given to it.
    next: u64,
    packets: u64,
    fault: Option<DestinationFault>,
}

/// What control was told last.
#[derive(Debug, Default)]
struct Told {
    at: Time,
    flowing: bool,
    urgent: bool,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    stamp: Stamp,
    ssrc: u32,
}

impl Header {
    fn of(packet: &[u8]) -> Option<Self> {
        let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *packet.first_chunk::<HEADER_BYTES>()?;
        let stamp = Stamp {
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp_90k: u32::from_be_bytes([t0, t1, t2, t3]),
            rebased: kind & 0x80 != 0,
        };
        (flags >> 6 == 2).then_some(Self { stamp, ssrc: u32::from_be_bytes([c0, c1, c2, c3]) })
    }
}

impl ChannelPath {
    /// An empty path, which sends nowhere.
    pub fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            plan: Arc::default(),
            lanes: Vec::new(),
            ring: PacketRing::default(),
            arrived: vec![Time::ZERO; SLOTS].into_boxed_slice(),
            pacer: Pacer::default(),
            released: 0,
            newest: None,
            last_arrival: None,
            packets: 0,
            drops: Drops::default(),
            told: Told::default(),
        }
    }

    /// A feed begins, perhaps in place of another: its first packet is told to control at once.
    pub fn feed_opened(&mut self) {
        self.last_arrival = None;
        self.told.flowing = false;
    }

    /// Takes one RTP packet that is elsewhere in memory; longer ones than [`MAX_PACKET_BYTES`] are dropped.
    pub fn feed(&mut self, now: Time, packet: &[u8]) {
        match self.slot().get_mut(..packet.len()) {
            Some(slot) => {
                slot.copy_from_slice(packet);
                self.commit(now, packet.len());
            }
            None => self.drops.not_rtp += 1,
        }
    }

    /// Where P3 writes the next packet, before [`Self::commit`].
    pub fn slot(&mut self) -> &mut [u8; MAX_PACKET_BYTES] {
        self.ring.slot()
    }

    /// `len` bytes in [`Self::slot`] are a packet. Call [`Self::drain`] when there are no more at hand.
    pub fn commit(&mut self, now: Time, len: usize) {
        self.last_arrival = Some(now);
        let Some(header) = Header::of(self.ring.pending(len)) else {
            self.drops.not_rtp += 1;
            return;
        };
        match self.newest {
            Some(newest) if newest.ssrc != header.ssrc => self.pacer.restart(),
            Some(newest) if self.repeats(&newest, &header) => {
                self.drops.repeated += 1;
                return;
            }
            _ => {}
        }
        self.newest = Some(header);
        self.packets += 1;
        self.pacer.arrived(now, header.stamp);
        let position = self.ring.commit(len);
        let at = slot_of(position);
        self.arrived[at] = now;
    }

    /// Whether `header` was here before: not after the newest by its number, and not later by its time either (which
    /// tells a number that came round again after a long gap), unless the ring still shows that very packet.
    fn repeats(&self, newest: &Header, header: &Header) -> bool {
        let back = newest.stamp.sequence.wrapping_sub(header.stamp.sequence);
        if back >= REPEATED_WITHIN {
            return false;
        }
        let ahead_90k = header.stamp.timestamp_90k.wrapping_sub(newest.stamp.timestamp_90k);
        let later = ahead_90k != 0 && ahead_90k < 1 << 31;
        !later || self.in_ring(header)
    }

    fn in_ring(&self, header: &Header) -> bool {
        (self.ring.oldest()..self.ring.next()).rev().any(|at| {
            let held = self.ring.packet(at).and_then(Header::of);
            held.is_some_and(|held| held.ssrc == header.ssrc && held.stamp == header.stamp)
        })
    }

    /// Puts `plan` in force. Call [`Self::drain`] then: a target that resumes is given the newest packet.
    pub fn apply(&mut self, now: Time, plan: Arc<Plan>) {
        let newest = self.released.saturating_sub(1);
        let fresh = self.released > 0 && now.since(self.arrived[slot_of(newest)]) < FRESH;
        let resume_at = if fresh { newest } else { self.released };
        let before = std::mem::take(&mut self.lanes);
        self.lanes = plan
            .targets
            .iter()
            .map(|target| {
                let kept = before
                    .binary_search_by_key(&target.address, |lane| lane.address)
                    .ok()
                    .map(|at| before[at]);
                let mut lane = kept.unwrap_or(Lane {
                    address: target.address,
                    sending: false,
                    next: 0,
                    packets: 0,
                    fault: None,
                });
                if target.sending && !lane.sending {
                    lane.next = lane.next.max(resume_at);
                }
                lane.sending = target.sending;
                lane
            })
            .collect();
        self.plan = plan;
    }

    /// Hands every packet that may leave now to every target that is sending: `send(index, packet)` with the target's
    /// index in the plan, target by target, packets in order.
    pub fn drain(&mut self, now: Time, send: &mut impl FnMut(usize, &[u8]) -> Fate) {
        self.pass_over(now);
        while self.released < self.ring.next() && self.pacer.allowed_at() <= now {
            self.pacer.left(now);
            self.released += 1;
        }
        for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.sending) {
            let from = lane.next.max(self.ring.oldest());
            for packet in (from..self.released).filter_map(|at| self.ring.packet(at)) {
                match send(index, packet) {
                    Fate::Sent => lane.packets += 1,
                    Fate::Dropped => self.drops.refused += 1,
                }
            }
            lane.next = lane.next.max(self.released);
        }
    }

    /// Gives up a backlog that has become too old or has outgrown the ring: the newest packet is next.
    fn pass_over(&mut self, now: Time) {
        if self.released == self.ring.next() {
            return;
        }
        let overrun = self.released < self.ring.oldest();
        if overrun || now.since(self.arrived[slot_of(self.released)]) > LONGEST_BACKLOG {
            let newest = self.ring.next() - 1;
            self.drops.skipped += newest - self.released;
            self.released = newest;
            for lane in &mut self.lanes {
                lane.next = lane.next.max(newest);
            }
        }
    }

    /// The counters, when it is time to tell them: at once when packets begin or cease to come or a fault begins or
    /// ends, otherwise each [`COUNTERS_INTERVAL`].
    pub fn counters_due(&mut self, now: Time) -> Option<ChannelCounters> {
        let flowing = self.flowing(now);
        if flowing == self.told.flowing && !self.told.urgent && now.since(self.told.at) < COUNTERS_INTERVAL {
            return None;
        }
        self.told = Told { at: now, flowing, urgent: false };
        let line =
            |lane: &Lane| TargetCounters { address: lane.address, packets: lane.packets, fault: lane.fault };
        let targets = self.lanes.iter().map(line).collect();
        Some(ChannelCounters { channel: self.channel, packets: self.packets, flowing, targets })
    }

    /// The target at `index` of the plan cannot be sent to, or can again.
    pub fn set_fault(&mut self, index: usize, fault: Option<DestinationFault>) {
        if let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.fault != fault) {
            lane.fault = fault;
            self.told.urgent = true;
        }
    }

    /// When to call [`Self::drain`] again although nothing arrives; `None` when nothing waits to leave.
    pub fn deadline(&self) -> Option<Time> {
        (self.released < self.ring.next()).then(|| self.pacer.allowed_at())
    }

    /// Whether a packet has come within [`STALL_TIMEOUT`].
    pub fn flowing(&self, now: Time) -> bool {
        self.last_arrival.is_some_and(|at| now.since(at) < STALL_TIMEOUT)
    }

    /// The plan in force.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What was dropped so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// RTP packets taken in so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }
}

fn slot_of(position: u64) -> usize {
    usize::try_from(position % SLOTS as u64).expect("below SLOTS")
}
