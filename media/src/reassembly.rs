//! The receiver's side of RTP: datagrams in any order, some twice, some never, from one or several senders of the
//! same packets; packets out once and in order.
//!
//! ```text
//! Empty --first packet or start_at--> Following --two in a row of another SSRC or far away--> Following (reset)
//!                                             └──two in a row beyond the window--> Following (what is skipped is lost)
//!
//! delivered … │ gap │ held held │ gap │ held      the gap at the head is given up when its hold time is over
//! ```
//!
//! A foreign SSRC, or a sequence number far away or beyond the window, is on probation (RFC 3550 appendix A.1): it takes
//! two packets in a row of it, with none of the current stream in between, to move there. So a lagging second sender
//! cannot drag the receiver back, and neither can single forged packets drag it anywhere. Where a quarter of the window
//! waits behind gaps, what comes next is beyond it by right: then the oldest gap is given up.

use std::collections::VecDeque;
use std::time::Duration;

use crate::rtp::{Kind, RtpPacket, classify};
use crate::sequence::Sequence;

/// A sequence number this far from the expected one belongs to another run (`MAX_DROPOUT` of RFC 3550 A.1).
pub const JUMP_PACKETS: u64 = 3000;

/// Sequence numbers whose fate is remembered, to tell late from duplicate. At least [`JUMP_PACKETS`].
const HISTORY_PACKETS: u64 = 4096;
const HISTORY_WORDS: usize = 64;

/// How much a [`Reassembly`] waits and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the packets behind a gap wait for it to close.
    pub hold: Duration,
    /// Packets from the gap at the head to the newest; when more come, the gap is given up. At most [`JUMP_PACKETS`].
    pub window_packets: usize,
}

impl Default for Limits {
    /// 200 ms; 2048 packets (2.7 MB, and 4 s at 5 Mb/s).
    fn default() -> Self {
        Self { hold: Duration::from_millis(200), window_packets: 2048 }
    }
}

/// What comes out, in order of the extended sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are packets; a box each would be an allocation per packet"
)]
pub enum Output {
    /// Hand this packet on.
    Packet {
        /// Its sequence number, extended to 64 bits; unique within this reassembly.
        extended: u64,
        /// The packet.
        packet: RtpPacket,
    },
    /// Packets that were waited for in vain.
    Lost {
        /// The first one.
        first_extended: u64,
        /// How many.
        count: u64,
    },
    /// Another stream begins: what comes next does not continue what came before.
    Reset,
}

/// What happened so far. `received` is `delivered`, `duplicates`, `late` and `strays`, and what is held or on probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// RTP packets taken in.
    pub received: u64,
    /// Packets handed on.
    pub delivered: u64,
    /// Packets given up.
    pub lost: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that came after they had been given up, or before the start.
    pub late: u64,
    /// Packets handed on that came after a later one.
    pub reordered: u64,
    /// Moves to another SSRC or another run of sequence numbers.
    pub resets: u64,
    /// Packets thrown away on probation.
    pub strays: u64,
    /// Gaps given up because the window was full.
    pub overflows: u64,
    /// Datagrams that are no usable RTP; RTCP is not counted.
    pub foreign: u64,
}

/// Puts packets in order. Holds at most [`Limits::window_packets`].
#[derive(Debug)]
pub struct Reassembly {
    limits: Limits,
    stream: Option<Stream>,
    probation: Option<RtpPacket>,
    counters: Counters,
    /// Extended numbers are never reused, also not across resets.
    floor: u64,
    /// See [`Reassembly::wait_for`].
    awaited: Awaited,
}

/// Packets below a number, which have longer to come than others.
#[derive(Debug, Clone, Copy, Default)]
struct Awaited {
    below: u64,
    hold: Duration,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    /// Extended number of the packet to be delivered next.
    next: u64,
    /// Highest number seen, or one below the first.
    highest: u64,
    /// Slot n waits for `next + n`; the first slot is always empty, the last never.
    held: VecDeque<Option<Held>>,
    /// When the packet at the head last arrived by itself: progress restarts the patience.
    progress: Duration,
    delivered: [u64; HISTORY_WORDS],
}

#[derive(Debug)]
struct Held {
    arrived: Duration,
    packet: RtpPacket,
}

impl Reassembly {
    /// An empty one; the first packet that comes is the first one wanted.
    pub fn new(limits: Limits) -> Self {
        let window_packets = limits.window_packets.clamp(1, 3000);
        let limits = Limits { window_packets, ..limits };
        let (counters, awaited) = (Counters::default(), Awaited::default());
        Self { limits, stream: None, probation: None, counters, floor: 1 << 16, awaited }
    }

    /// Packets below `below` are on their way by another path than those behind them: they are waited for as long as
    /// `hold` since the last that came, where that is longer than [`Limits::hold`].
    pub fn wait_for(&mut self, below: u64, hold: Duration) {
        self.awaited = Awaited { below, hold };
    }

    /// Begins (again) with `sequence` of `ssrc`, whatever came or comes first; what is held is dropped. Answers the
    /// extended number of `sequence`.
    pub fn start_at(&mut self, now: Duration, ssrc: u32, sequence: Sequence) -> u64 {
        let base = self.stream.as_ref().map_or(self.floor, |stream| stream.highest + 1);
        let mut first = (base & !0xffff) | u64::from(sequence.0);
        if first < base {
            first += 1 << 16;
        }
        self.floor = first;
        self.probation = None;
        self.stream = Some(Stream::new(now, ssrc, first));
        first
    }

    /// Takes a datagram and says what it was. RTCP is the caller's.
    pub fn datagram(&mut self, now: Duration, datagram: &[u8], out: &mut Vec<Output>) -> Kind {
        let kind = classify(datagram);
        match (kind, RtpPacket::from_datagram(datagram)) {
            (Kind::Rtp, Ok(packet)) => self.packet(now, &packet, out),
            (Kind::Rtcp, _) => {}
            _ => self.counters.foreign += 1,
        }
        kind
    }

    /// Takes a packet.
    pub fn packet(&mut self, now: Duration, packet: &RtpPacket, out: &mut Vec<Output>) {
        self.counters.received += 1;
        let header = packet.header();
        if self.stream.is_none() {
            self.start_at(now, header.ssrc, header.sequence);
        }
        let Some(stream) = &self.stream else { return };
        let extended = header.sequence.extend_near(stream.next);
        let beyond = extended >= stream.next + self.limits.window_packets as u64 && !self.is_crowded();
        if beyond || stream.ssrc != header.ssrc || extended.abs_diff(stream.next) >= JUMP_PACKETS {
            self.stray(now, packet, out);
            return;
        }
        self.counters.strays += u64::from(self.probation.take().is_some());
        self.insert(now, extended, packet, out);
        self.expire(now, out);
    }

    /// Gives up the gaps whose time is over.
    pub fn expire(&mut self, now: Duration, out: &mut Vec<Output>) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.give_up_head(out);
        }
    }

    /// When to call [`Reassembly::expire`]; `None` when nothing waits.
    pub fn deadline(&self) -> Option<Duration> {
        let stream = self.stream.as_ref()?;
        let arrived = stream.held.iter().flatten().next()?.arrived;
        let awaited = if stream.next < self.awaited.below { self.awaited.hold } else { Duration::ZERO };
        Some(arrived.max(stream.progress) + self.limits.hold.max(awaited))
    }

    /// Extended numbers waited for, lowest first: what a repair request would name.
    pub fn missing(&self) -> impl Iterator<Item = u64> {
        let stream = self.stream.iter();
        stream.flat_map(|stream| {
            (stream.next..).zip(&stream.held).filter(|(_, slot)| slot.is_none()).map(|(n, _)| n)
        })
    }

    /// Whether anything waits behind a gap; while nothing does, nothing is missing.
    pub fn is_waiting(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| !stream.held.is_empty())
    }

    /// Whether `extended` is waited for.
    pub fn is_missing(&self, extended: u64) -> bool {
        let Some(stream) = &self.stream else { return false };
        let slot = extended.checked_sub(stream.next).and_then(|slot| usize::try_from(slot).ok());
        slot.and_then(|slot| stream.held.get(slot)).is_some_and(Option::is_none)
    }

    /// SSRC of the stream followed.
    pub fn ssrc(&self) -> Option<u32> {
        self.stream.as_ref().map(|stream| stream.ssrc)
    }

    /// Extended number of the packet to be delivered next.
    pub fn next_extended(&self) -> Option<u64> {
        self.stream.as_ref().map(|stream| stream.next)
    }

    /// Highest extended number that arrived.
    pub fn highest_extended(&self) -> Option<u64> {
        self.stream.as_ref().map(|stream| stream.highest)
    }

    /// Packets held behind gaps.
    pub fn held_packets(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.held.iter().flatten().count())
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn stray(&mut self, now: Duration, packet: &RtpPacket, out: &mut Vec<Output>) {
        let header = packet.header();
        let confirmed = self.probation.take().filter(|first| {
            let first_header = first.header();
            self.counters.strays += 1;
            first_header.ssrc == header.ssrc && first_header.sequence.next() == header.sequence
        });
        let Some(first) = confirmed else {
            self.probation = Some(*packet);
            return;
        };
        self.counters.strays -= 1;
        if let Some(extended) = self.within_jump(&first) {
            self.insert(now, extended, &first, out);
            self.insert(now, extended + 1, packet, out);
            self.expire(now, out);
            return;
        }
        self.counters.resets += 1;
        self.drain(out);
        out.push(Output::Reset);
        let extended = self.start_at(now, header.ssrc, first.sequence());
        self.insert(now, extended, &first, out);
        self.insert(now, extended + 1, packet, out);
    }

    /// Whether so much waits behind gaps that a packet beyond the window is their successor and no forger's jump.
    fn is_crowded(&self) -> bool {
        self.held_packets() * 4 >= self.limits.window_packets
    }

    /// The extended number of `packet` when it belongs to the run that is followed.
    fn within_jump(&self, packet: &RtpPacket) -> Option<u64> {
        let stream = self.stream.as_ref()?;
        let extended = packet.sequence().extend_near(stream.next);
        let near = stream.ssrc == packet.header().ssrc && extended.abs_diff(stream.next) < JUMP_PACKETS;
        near.then_some(extended)
    }

    fn insert(&mut self, now: Duration, extended: u64, packet: &RtpPacket, out: &mut Vec<Output>) {
        let Some(next) = self.next_extended() else { return };
        if extended < next {
            let stream = self.stream.as_ref().filter(|stream| stream.was_delivered(extended));
            *(if stream.is_some() { &mut self.counters.duplicates } else { &mut self.counters.late }) += 1;
            return;
        }
        let window = self.limits.window_packets as u64;
        while self.next_extended().is_some_and(|next| extended - next.min(extended) >= window) {
            self.counters.overflows += 1;
            self.make_room(extended, out);
        }
        let Some(stream) = self.stream.as_mut() else { return };
        let reordered = extended < stream.highest;
        stream.highest = stream.highest.max(extended);
        let slot = usize::try_from(extended - stream.next).expect("below the window");
        if stream.held.len() <= slot {
            stream.held.resize_with(slot + 1, || None);
        }
        if stream.held[slot].is_some() {
            self.counters.duplicates += 1;
            return;
        }
        self.counters.reordered += u64::from(reordered);
        stream.held[slot] = Some(Held { arrived: now, packet: *packet });
        if slot == 0 {
            stream.progress = now;
            self.deliver(out);
        }
    }

    /// Moves the head so that `extended` fits, giving up gaps on the way.
    fn make_room(&mut self, extended: u64, out: &mut Vec<Output>) {
        if self.held_packets() > 0 {
            self.give_up_head(out);
            return;
        }
        let Some(stream) = self.stream.as_mut() else { return };
        let count = extended - stream.next;
        out.push(Output::Lost { first_extended: stream.next, count });
        self.counters.lost += count;
        stream.skip(count);
    }

    fn give_up_head(&mut self, out: &mut Vec<Output>) {
        let Some(stream) = self.stream.as_mut() else { return };
        let count = stream.held.iter().take_while(|slot| slot.is_none()).count() as u64;
        if count > 0 {
            out.push(Output::Lost { first_extended: stream.next, count });
            self.counters.lost += count;
            stream.skip(count);
        }
        self.deliver(out);
    }

    fn deliver(&mut self, out: &mut Vec<Output>) {
        let Some(stream) = self.stream.as_mut() else { return };
        while let Some(Some(held)) = stream.held.pop_front_if(|slot| slot.is_some()) {
            out.push(Output::Packet { extended: stream.next, packet: held.packet });
            stream.remember(stream.next, true);
            stream.next += 1;
            self.counters.delivered += 1;
        }
    }

    /// Hands on what is held, as before a reset.
    fn drain(&mut self, out: &mut Vec<Output>) {
        while self.held_packets() > 0 {
            self.give_up_head(out);
        }
    }
}

impl Stream {
    fn new(now: Duration, ssrc: u32, first: u64) -> Self {
        let held = VecDeque::new();
        Self { ssrc, next: first, highest: first - 1, held, progress: now, delivered: [0; HISTORY_WORDS] }
    }

    fn skip(&mut self, count: u64) {
        for _ in 0..count {
            self.held.pop_front();
            self.remember(self.next, false);
            self.next += 1;
        }
    }

    fn remember(&mut self, extended: u64, delivered: bool) {
        let (word, bit) = history_place(extended);
        self.delivered[word] = (self.delivered[word] & !bit) | if delivered { bit } else { 0 };
    }

    fn was_delivered(&self, extended: u64) -> bool {
        let (word, bit) = history_place(extended);
        self.delivered[word] & bit != 0
    }
}

fn history_place(extended: u64) -> (usize, u64) {
    let place = usize::try_from(extended % HISTORY_PACKETS).expect("below 4096");
    (place / 64, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::{PAYLOAD_TYPE_MP2T, RtpHeader};

    const HOLD: Duration = Duration::from_millis(200);

    fn rtp(ssrc: u32, sequence: u16) -> RtpPacket {
        let payload_type = PAYLOAD_TYPE_MP2T;
        let header =
            RtpHeader { marker: false, payload_type, sequence: Sequence(sequence), timestamp_90k: 0, ssrc };
        RtpPacket::new(&header, &sequence.to_be_bytes()).unwrap()
    }

    #[test]
    fn what_is_on_its_way_by_another_path_is_waited_for_longer() {
        let mut reassembly = Reassembly::new(Limits { hold: Duration::ZERO, ..Limits::default() });
        assert_eq!(run(&mut reassembly, 0, 1, &[10]), [Some(10)]);
        let next = reassembly.next_extended().unwrap();
        reassembly.wait_for(next + 2, HOLD);
        assert_eq!(run(&mut reassembly, 0, 1, &[13]), []);
        assert_eq!(run(&mut reassembly, 150, 1, &[11]), [Some(11)]);
        assert_eq!(reassembly.deadline(), Some(Duration::from_millis(350)), "since the last that came");
        assert_eq!(run(&mut reassembly, 349, 1, &[12]), [Some(12), Some(13)]);
        assert_eq!(run(&mut reassembly, 349, 1, &[15]), [Some(-1), Some(15)], "behind it all is as before");
    }

    /// Sequence numbers delivered, −n for n lost, `None` for a reset.
    fn run(reassembly: &mut Reassembly, now_ms: u64, ssrc: u32, sequences: &[u16]) -> Vec<Option<i32>> {
        let mut out = Vec::new();
        for &sequence in sequences {
            reassembly.packet(Duration::from_millis(now_ms), &rtp(ssrc, sequence), &mut out);
        }
        brief(&out)
    }

    fn brief(out: &[Output]) -> Vec<Option<i32>> {
        let one = |output: &Output| match output {
            Output::Packet { extended, packet } => {
                assert_eq!(Sequence::of_extended(*extended), packet.sequence());
                Some(i32::from(packet.sequence().0))
            }
            Output::Lost { count, .. } => Some(-i32::try_from(*count).unwrap()),
            Output::Reset => None,
        };
        out.iter().map(one).collect()
    }

    fn somes(values: &[i32]) -> Vec<Option<i32>> {
        values.iter().copied().map(Some).collect()
    }

    fn reassembly() -> Reassembly {
        Reassembly::new(Limits { hold: HOLD, window_packets: 100 })
    }

    #[test]
    fn order_is_restored_across_the_wrap_and_copies_dropped() {
        let mut reassembly = reassembly();
        let out = run(&mut reassembly, 0, 7, &[65_534, 0, 65_535, 65_535, 0, 1]);
        assert_eq!(out, somes(&[65_534, 65_535, 0, 1]));
        let counters = reassembly.counters();
        assert_eq!((counters.duplicates, counters.reordered, counters.lost), (2, 1, 0));
    }

    #[test]
    fn a_gap_is_given_up_when_its_time_is_over_and_not_before() {
        let mut reassembly = reassembly();
        assert_eq!(run(&mut reassembly, 0, 7, &[10]), somes(&[10]));
        assert_eq!(reassembly.deadline(), None);
        assert_eq!(run(&mut reassembly, 50, 7, &[13]), somes(&[]));
        assert_eq!(reassembly.missing().collect::<Vec<_>>(), [65_536 + 11, 65_536 + 12]);
        let asked = [10, 11, 12, 13, 14].map(|n| reassembly.is_missing(65_536 + n));
        assert_eq!((reassembly.is_waiting(), asked), (true, [false, true, true, false, false]));
        assert_eq!(reassembly.deadline(), Some(Duration::from_millis(250)));
        let mut out = Vec::new();
        reassembly.expire(Duration::from_millis(249), &mut out);
        assert!(out.is_empty());
        reassembly.expire(Duration::from_millis(250), &mut out);
        assert_eq!(brief(&out), somes(&[-2, 13]));
        assert!(!reassembly.is_waiting() && !reassembly.is_missing(65_536 + 11));
        assert_eq!(run(&mut reassembly, 260, 7, &[12]), somes(&[]));
        assert_eq!(reassembly.counters().late, 1);
    }

    #[test]
    fn a_burst_that_catches_up_with_live_restarts_the_patience() {
        let mut reassembly = reassembly();
        reassembly.start_at(Duration::ZERO, 7, Sequence(100));
        assert_eq!(run(&mut reassembly, 0, 7, &[103]), somes(&[]));
        assert_eq!(run(&mut reassembly, 150, 7, &[100]), somes(&[100]));
        assert_eq!(run(&mut reassembly, 300, 7, &[101]), somes(&[101]));
        assert_eq!(run(&mut reassembly, 450, 7, &[102]), somes(&[102, 103]));
    }

    #[test]
    fn a_full_window_gives_up_its_oldest_gap() {
        let mut reassembly = reassembly();
        assert_eq!(run(&mut reassembly, 0, 7, &[0, 2, 101, 102]), somes(&[0, -1, 2]));
        assert_eq!(reassembly.counters().overflows, 1);
        assert_eq!(run(&mut reassembly, 0, 7, &[500, 501]), somes(&[-98, 101, 102, -397, 500, 501]));
        assert_eq!(reassembly.counters().resets, 0);
    }

    #[test]
    fn one_packet_beyond_the_window_does_not_pull_forward() {
        let mut reassembly = reassembly();
        assert_eq!(run(&mut reassembly, 0, 7, &[0, 2_500, 1, 101 + 1, 2]), somes(&[0, 1, 2]));
        let counters = reassembly.counters();
        assert_eq!((counters.strays, counters.lost), (2, 0));
    }

    #[test]
    fn another_ssrc_needs_two_in_a_row() {
        let mut reassembly = reassembly();
        run(&mut reassembly, 0, 7, &[1, 2]);
        assert_eq!(run(&mut reassembly, 1, 8, &[50]), somes(&[]));
        assert_eq!(run(&mut reassembly, 2, 7, &[3]), somes(&[3]));
        assert_eq!(run(&mut reassembly, 3, 8, &[51]), somes(&[]));
        assert_eq!(run(&mut reassembly, 4, 8, &[52]), [None, Some(51), Some(52)]);
        let counters = reassembly.counters();
        assert_eq!((counters.resets, counters.strays, reassembly.ssrc()), (1, 1, Some(8)));
    }

    #[test]
    fn a_lagging_second_sender_does_not_pull_back() {
        let mut reassembly = reassembly();
        let mut out = Vec::new();
        for n in 4000..6000 {
            out.extend(run(&mut reassembly, 0, 7, &[n, n - 3500]));
        }
        assert_eq!(out, somes(&(4000..6000).collect::<Vec<_>>()));
        assert_eq!(reassembly.counters().resets, 0);
    }

    #[test]
    fn rtcp_on_the_same_port_is_left_to_the_caller() {
        let mut reassembly = reassembly();
        let kind = reassembly.datagram(Duration::ZERO, &[0x81, 200, 0, 1, 0, 0, 0, 0], &mut Vec::new());
        assert_eq!((kind, reassembly.counters()), (Kind::Rtcp, Counters::default()));
    }

    proptest! {
        #[test]
        fn no_datagrams_panic(
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..200),
            first: u16,
        ) {
            let mut reassembly = reassembly();
            let mut out = Vec::new();
            for mut bytes in datagrams {
                if let Some([a, b, c, d, ..]) = bytes.first_chunk_mut::<12>() {
                    *a = 0x80;
                    *b &= 0x7f;
                    [*c, *d] = first.wrapping_add(u16::from(*d) * 37).to_be_bytes();
                }
                if let Some(ssrc) = bytes.get_mut(8..12) { ssrc.fill(1) }
                reassembly.datagram(Duration::ZERO, &bytes, &mut out);
                prop_assert!(reassembly.held_packets() <= 100);
            }
        }

        /// Two senders of the same packets, each losing, copying and shuffling: whatever arrives in its time is delivered
        /// once and in order, and what is missing is counted.
        #[test]
        fn arrivals_are_delivered_once_and_in_order(first: u16, fates in proptest::collection::vec((0u8..20, 0u64..30), 2..400)) {
            let mut arrivals: Vec<(u64, u16)> = vec![(0, first)];
            for (n, &(fate, delay)) in (1u16..).zip(&fates) {
                let (sequence, sent) = (first.wrapping_add(n), u64::from(n));
                let copies = match fate { 0 => 0, 1..4 => 2, _ => 1 };
                arrivals.extend((0..copies).map(|copy| (sent + delay * (1 + copy), sequence)));
            }
            arrivals.sort_by_key(|&(at, _)| at);
            let mut reassembly = reassembly();
            let mut out = Vec::new();
            for &(at, sequence) in &arrivals {
                reassembly.packet(Duration::from_millis(at), &rtp(7, sequence), &mut out);
            }
            reassembly.expire(Duration::from_mins(1), &mut out);
            let delivered: Vec<u16> = out.iter().filter_map(|output| match output {
                Output::Packet { packet, .. } => Some(packet.sequence().0),
                _ => None,
            }).collect();
            let mut wanted: Vec<u16> = arrivals.iter().map(|&(_, sequence)| sequence.wrapping_sub(first)).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let wanted: Vec<u16> = wanted.iter().map(|n| n.wrapping_add(first)).collect();
            prop_assert_eq!(&delivered, &wanted);
            let last = wanted.last().unwrap().wrapping_sub(first);
            let counters = reassembly.counters();
            prop_assert_eq!(counters.lost, u64::from(last) + 1 - wanted.len() as u64);
            prop_assert_eq!(counters.duplicates, (arrivals.len() - wanted.len()) as u64);
            prop_assert_eq!(counters.late, 0);
        }
    }
}
