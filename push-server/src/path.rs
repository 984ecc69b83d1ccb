//! The data plane of one channel: packets in by P3, the same packets out by P6 to the destinations of the plan.
//!
//! Pure, and without allocation, lock or log line per packet: it lives in the thread that owns the sockets. Plans are
//! swapped in between two batches.
//!
//! ```text
//! P3 ──► ring ──► pacer ──► every target that is sending, in batches
//!         ├── newest packet at once, to a target that resumes
//!         └── any packet again, to who missed it
//! ```
//!
//! A packet leaves at most once to each destination, in the order of arrival. Live is live: what could not leave within
//! [`LONGEST_BACKLOG`] is passed over.
//!
//! Packets leave together that came within a target's window, [`MAX_BATCH`](crate::lane::MAX_BATCH) at most: a batch costs hardly more than a
//! packet (`docs/performance.md`). [`ChannelPath::pace`] says how often that wants looking after; a channel that nobody
//! watches is only skimmed.

mod history;
mod resending;
mod streaming;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::p3_feed::{HEADER_BYTES, MAX_PACKET_BYTES, Mark, SAMPLE_INTERVAL, STALL_TIMEOUT};
use protocols::p4_control::DestinationFault;
use protocols::time::{ClusterTime, Time};

use crate::dating::{Dating, Entry};
use crate::lane::Lane;
use crate::pacer::{Pacer, Stamp};
use crate::plan::{ChannelCounters, Plan, Target, TargetCounters};
use crate::repair::Repairs;
use crate::ring::{PacketRing, Run};
use history::Past;

pub use resending::Wanted;
use streaming::Streaming;
pub use streaming::{LIVE_WINDOW, Streamed};

/// A packet that has waited this long to leave is passed over, with all others but the newest.
pub const LONGEST_BACKLOG: Duration = Duration::from_secs(1);
/// How often counters are told when nothing urgent happens.
pub const COUNTERS_INTERVAL: Duration = Duration::from_secs(1);
/// A target that resumes is given the newest packet only when that arrived less than this ago.
pub const FRESH: Duration = Duration::from_secs(1);
/// Half packets of a stream that come in one window, as it is chosen for fast streams: below
/// [`MAX_BATCH`](crate::lane::MAX_BATCH), so that a turn that is late, or a stream that varies, still fits a batch.
const BATCH_AIM_HALVES: u32 = 15;
/// A window is never cut shorter than this: to a half, a quarter, …, or three quarters of those, whichever fits first.
const LEAST_WINDOW: Duration = Duration::from_micros(500);
/// So much of what a late turn held up leaves with it: 14 packets at 5 Mb/s, which with a burst are 2.5 ms of a 100 Mb/s port.
pub const MOST_LATE: Duration = Duration::from_millis(20);
/// And never more packets than that: with a burst less than one read of the feed takes, so that what a thread cannot
/// carry waits in the ring, where it is seen, and not in the socket.
pub const MOST_LATE_PACKETS: u32 = 24;
/// How often a channel is looked after that nobody watches: its packets wait in the socket.
pub const SKIM_INTERVAL: Duration = Duration::from_millis(100);
/// Packets that may wait in the socket of a channel that nobody watches: half of what a socket holds by default.
const SKIM_PACKETS: u32 = 48;
/// A feed that brought nothing for so long is looked after when it brings something.
const QUIET: Duration = Duration::from_millis(100);
/// How far back a returning feed may begin and still be taken for a repetition, in sequence numbers.
const REPEATED_WITHIN: u16 = 8_192;

/// When a channel wants to be looked after: fed from its socket, and drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As soon as its feed brings something, and at [`ChannelPath::deadline`].
    Arrival,
    /// Once in this time, whatever its feed brings.
    Every(Duration),
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
    /// Marks that do not speak of the packet behind them, or go back.
    pub wrong_marks: u64,
    /// Other asides that speak of packets that are not here or cannot be, and packets of the past that are not those
    /// announced.
    pub wrong_asides: u64,
    /// Packets of the past that were here before, or were given up.
    pub unwanted: u64,
}

/// The data plane of one channel.
#[derive(Debug)]
pub struct ChannelPath {
    channel: ChannelId,
    plan: Arc<Plan>,
    /// One for each target of the plan, at its index.
    lanes: Vec<Lane>,
    /// The shortest window of those that are sent to; [`SKIM_INTERVAL`] where nobody is.
    shortest_window: Duration,
    ring: PacketRing,
    past: Past,
    dating: Dating,
    pacer: Pacer,
    /// Position of the first packet that may not leave yet.
    released: u64,
    newest: Option<Header>,
    /// Position of the first packet after what a held feed left out: nobody who resumes is given one before it.
    begins: u64,
    /// Position of the first packet that may be sent again, to one viewer: what the feed left out before it may have the
    /// same numbers.
    mends_from: u64,
    /// The feed has shown a header alone since the last whole packet.
    held: bool,
    last_arrival: Option<Time>,
    /// Since when packets have been wanted somewhere.
    watched_since: Option<Time>,
    shed: bool,
    /// By how much the turn is late that comes now.
    late: Duration,
    packets: u64,
    drops: Drops,
    repairs: Repairs,
    /// `None` while it has no live session.
    streaming: Option<Box<Streaming>>,
    streamed: Streamed,
    told: Told,
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
            shortest_window: SKIM_INTERVAL,
            ring: PacketRing::default(),
            past: Past::default(),
            dating: Dating::default(),
            pacer: Pacer::default(),
            released: 0,
            newest: None,
            begins: 0,
            mends_from: 0,
            held: false,
            last_arrival: None,
            watched_since: None,
            shed: false,
            late: Duration::ZERO,
            packets: 0,
            drops: Drops::default(),
            repairs: Repairs::default(),
            streaming: None,
            streamed: Streamed::default(),
            told: Told::default(),
        }
    }

    /// A feed begins, perhaps in place of another: its first packet is told to control at once.
    pub fn feed_opened(&mut self) {
        self.last_arrival = None;
        self.past.interrupt();
        self.held = false;
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

    /// `len` bytes in [`Self::slot`] are a packet, the header alone that a held feed shows, or another aside. Call [`Self::drain`] when
    /// there are no more at hand.
    pub fn commit(&mut self, now: Time, len: usize) {
        if len <= self.past.apart {
            self.take_apart(now, len);
            return;
        }
        self.last_arrival = Some(now);
        let Some(header) = Header::of(self.ring.pending(len)) else {
            self.drops.not_rtp += 1;
            return;
        };
        match self.newest {
            Some(newest) if newest.ssrc != header.ssrc => self.pacer.restart(),
            Some(newest) if self.repeats(&newest, &header) => {
                self.drops.repeated += 1;
                self.dating.repeated();
                return;
            }
            _ => {}
        }
        self.newest = Some(header);
        self.held = false;
        self.packets += 1;
        self.pacer.arrived(now, header.stamp);
        let position = self.ring.commit(len);
        self.ring.set_arrival(position, now);
        if position >= self.past.grow_at {
            self.keep_access(now);
        }
        self.dating.packet(Entry { position, sequence: header.stamp.sequence, ssrc: header.ssrc });
    }

    /// Takes what a mark says of the packet that comes next.
    pub fn mark(&mut self, mark: Mark) {
        self.dating.mark(mark);
    }

    /// A held feed shows that packets come, without them: the next one continues nothing that is here.
    fn left_out(&mut self) {
        (self.begins, self.mends_from) = (self.ring.next(), self.ring.next());
        self.past.interrupt();
        self.held = true;
        self.newest = None;
        self.pacer.restart();
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
        let fresh = self.released > self.begins && now.since(self.ring.arrival(newest)) < FRESH;
        let resume_at = if fresh { newest } else { self.released.max(self.begins) };
        let lane = |target: &Target| {
            let before = self.plan.targets.binary_search_by_key(&target.address, |before| before.address);
            let mut lane = before.map_or_else(|_| Lane::new(), |index| self.lanes[index]);
            lane.follow(target, resume_at);
            lane
        };
        self.lanes = plan.targets.iter().map(lane).collect();
        self.plan = plan;
        self.watch(now);
    }

    /// Notes who wants packets now: destinations that are sent to, and live sessions.
    fn watch(&mut self, now: Time) {
        let windows = self.lanes.iter().filter(|lane| lane.sending).map(Lane::window);
        let shortest = windows.chain((self.live_sessions() > 0).then_some(LIVE_WINDOW)).min();
        self.shortest_window = shortest.unwrap_or(SKIM_INTERVAL);
        let watched = shortest.is_some();
        self.watched_since = watched.then(|| self.watched_since.unwrap_or(now));
        self.shed &= watched;
    }

    /// The turn that comes now is `late`: what would have left meanwhile may leave with it, for [`MOST_LATE`] and
    /// [`MOST_LATE_PACKETS`] at most.
    /// Otherwise a stream would fall back further with each turn that is later than a burst lasts.
    pub fn came_late(&mut self, late: Duration) {
        self.late = late.min(MOST_LATE).min(self.pacer.spacing() * MOST_LATE_PACKETS);
    }

    /// Hands every batch that may leave now to every target that is sending: `send(index, runs)` with the target's index
    /// in the plan, target by target, packets in order, at most [`MAX_BATCH`](crate::lane::MAX_BATCH) at a time. `send` answers how many of them,
    /// from the first, the operating system took; the others are gone for this target.
    pub fn drain(&mut self, now: Time, send: &mut impl FnMut(usize, &[Run<'_>]) -> usize) {
        self.pass_over(now);
        self.release(now);
        if self.shed {
            return;
        }
        let shortest = self.shortest_window;
        for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.sending) {
            let whole = lane.window() <= shortest || lane.due(now);
            self.drops.refused += lane.serve(now, &self.ring, self.released, whole, |runs| send(index, runs));
        }
    }

    /// Lets those packets go that the pacer allows; all, where nobody is sent to.
    fn release(&mut self, now: Time) {
        let late = std::mem::take(&mut self.late);
        if self.watched_since.is_none() || self.shed {
            self.released = self.ring.next();
            return;
        }
        while self.released < self.ring.next() && self.pacer.allowed_at() <= now {
            self.pacer.left(now - late);
            self.released += 1;
        }
    }

    /// When to look after it again.
    pub fn pace(&self, now: Time) -> Pace {
        if self.past.is_awaited() {
            return Pace::Arrival;
        }
        if self.held {
            // The first packet that somebody waits for leaves when it comes; samples are in no hurry.
            let watched = self.watched_since.is_some();
            return if watched { Pace::Arrival } else { Pace::Every(SAMPLE_INTERVAL) };
        }
        let waiting = |lane: &Lane| lane.sending && lane.next < self.released;
        let idle = self.watched_since.is_none() || self.shed;
        let left =
            || self.released == self.ring.next() && !self.lanes.iter().any(waiting) && !self.live_waits();
        if self.quiet(now) && (idle || left()) {
            return Pace::Arrival;
        }
        let own = self.pacer.own_spacing();
        if idle {
            let room = own.map_or(SKIM_INTERVAL, |own| own * SKIM_PACKETS);
            return Pace::Every(room.clamp(LEAST_WINDOW, SKIM_INTERVAL));
        }
        let mut window = self.shortest_window;
        if window.is_zero() {
            return Pace::Arrival;
        }
        let room = own.map_or(LEAST_WINDOW, |own| own * BATCH_AIM_HALVES / 2);
        while window > room && window >= LEAST_WINDOW * 2 {
            let three_quarters = window * 3 / 4;
            window = if three_quarters <= room { three_quarters } else { window / 2 };
        }
        Pace::Every(window)
    }

    /// How long the packet has waited that is next to leave; zero when none waits.
    pub fn behind(&self, now: Time) -> Duration {
        let waits = self.released < self.ring.next();
        if waits { now.since(self.ring.arrival(self.released)) } else { Duration::ZERO }
    }

    /// Its channel.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Since when packets have been wanted at some target; `None` when nobody watches.
    pub fn watched_since(&self) -> Option<Time> {
        self.watched_since
    }

    /// Packets a second that leave while nothing is shed, and twice those that come, which is what a channel costs
    /// beside: a measure of its load.
    pub fn load(&self) -> u64 {
        let watched = if self.watched_since.is_some() {
            self.lanes.iter().filter(|lane| lane.sending).count() as u64 + self.live_percent() / 100 + 2
        } else {
            0
        };
        let spacing_us = self.pacer.own_spacing().and_then(|own| u64::try_from(own.as_micros()).ok());
        spacing_us.map_or(0, |spacing_us| 1_000_000 * watched / spacing_us.max(1))
    }

    /// Stops sending to all targets, or begins again; both with the fault that says so.
    pub fn set_shed(&mut self, shed: bool) {
        if std::mem::replace(&mut self.shed, shed) == shed {
            return;
        }
        self.told.urgent = true;
        // What it is spared is not made up for.
        self.lanes.iter_mut().for_each(|lane| lane.next = lane.next.max(self.released));
    }

    /// Whether it is shed.
    pub fn is_shed(&self) -> bool {
        self.shed
    }

    /// Gives up a backlog that has become too old or has outgrown the ring: the newest packet is next.
    fn pass_over(&mut self, now: Time) {
        if self.released == self.ring.next() {
            return;
        }
        let overrun = self.released < self.ring.oldest();
        if overrun || now.since(self.ring.arrival(self.released)) > LONGEST_BACKLOG {
            let newest = self.ring.next() - 1;
            self.drops.skipped += newest - self.released;
            self.released = newest;
            for lane in &mut self.lanes {
                lane.next = lane.next.max(newest);
            }
            self.live_pass_over(newest);
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
        self.repairs.tidy(now);
        self.past.tidy(self.ring.oldest());
        let shed = self.shed;
        let line = |(target, lane): (&Target, &Lane)| TargetCounters {
            address: target.address,
            packets: lane.packets,
            fault: (shed && lane.sending).then_some(DestinationFault::Overloaded).or(lane.fault),
        };
        let targets = self.plan.targets.iter().zip(&self.lanes).map(line).collect();
        Some(ChannelCounters { channel: self.channel, packets: self.packets, flowing, targets })
    }

    /// The target at `index` of the plan cannot be sent to, or can again.
    pub fn set_fault(&mut self, index: usize, fault: Option<DestinationFault>) {
        if let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.fault != fault) {
            lane.fault = fault;
            self.told.urgent = true;
        }
    }

    /// When to call [`Self::drain`] again although nothing arrives, at the pace of arrival; `None` when nothing waits to
    /// leave.
    pub fn deadline(&self) -> Option<Time> {
        let paced = (self.released < self.ring.next()).then(|| self.pacer.allowed_at());
        let waiting =
            self.lanes.iter().filter(|lane| lane.sending && lane.next < self.released && !self.shed);
        waiting.map(Lane::window_ends).chain(paced).chain(self.live_due()).min()
    }

    /// Whether a packet has come within [`STALL_TIMEOUT`].
    pub fn flowing(&self, now: Time) -> bool {
        self.last_arrival.is_some_and(|at| now.since(at) < STALL_TIMEOUT)
    }

    /// Whether a batch leaves shortly for each target that is sending: what is to go there can go along.
    pub fn streaming(&self, now: Time) -> bool {
        !self.held && !self.shed && !self.quiet(now)
    }

    fn quiet(&self, now: Time) -> bool {
        self.last_arrival.is_none_or(|at| now.since(at) >= QUIET)
    }

    /// The plan in force.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What was dropped so far.
    pub fn drops(&self) -> Drops {
        let Past { wrong_asides, unwanted, .. } = self.past;
        Drops { wrong_marks: self.dating.wrong_marks(), wrong_asides, unwanted, ..self.drops }
    }

    /// The number that the packet at this position of the ring has since the beginning of its SSRC; `None` before the
    /// first mark.
    pub fn number(&self, position: u64) -> Option<u64> {
        self.dating.number(position)
    }

    /// The date of the packet at this position of the ring; `None` before the first mark.
    pub fn date(&self, position: u64) -> Option<ClusterTime> {
        self.dating.date(position)
    }

    /// Positions of the packets that the ring holds.
    pub fn positions(&self) -> Range<u64> {
        self.ring.oldest()..self.ring.next()
    }

    /// The packet at this position of the ring; `None` when it is overwritten or yet to come.
    pub fn packet(&self, position: u64) -> Option<&[u8]> {
        self.ring.packet(position)
    }

    /// RTP packets taken in so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }
}
