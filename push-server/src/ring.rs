//! The recent packets of one channel: fixed slots in one block of memory, so that consecutive packets are one buffer to
//! whoever sends them.
//!
//! ```text
//! position   … 5   6   7   8   9 │ next
//! slot           5   0   1   2   3 │ 4        position modulo the number of slots; the oldest is overwritten
//! run                └─ 7, 8, 9: one buffer, and one system call for each destination
//! ```
//!
//! It has [`SLOTS`], and twice as many each time that it is told to [`PacketRing::grow`]: memory is taken then only.
//!
//! Places can be kept free for packets that come later than those behind them ([`PacketRing::reserve`]).

use std::slice::Chunks;

use protocols::p3_feed::MAX_PACKET_BYTES;
use protocols::time::Time;

/// Packets that a ring holds to begin with, a power of two: 1.3 MiB, two seconds of a 5 Mb/s channel.
pub const SLOTS: usize = 1_024;
/// Packets that a ring holds at most: 10.5 MiB, 8 seconds of a 10 Mb/s channel.
pub const MAX_SLOTS: usize = 8_192;

/// Memory that each slot takes, with what is noted of it.
pub const SLOT_BYTES: usize = MAX_PACKET_BYTES + size_of::<u16>() + size_of::<Time>();

/// A ring of packets. Positions count packets since its making and never wrap.
#[derive(Debug)]
pub struct PacketRing {
    bytes: Box<[[u8; MAX_PACKET_BYTES]]>,
    /// Zero: kept free.
    lengths: Box<[u16]>,
    arrived: Box<[Time]>,
    next: u64,
    /// Nothing before this was kept when it grew.
    first: u64,
}

/// Consecutive packets, one behind another in memory: all of [`MAX_PACKET_BYTES`], but for the last, which may be
/// shorter. That is what UDP segmentation offload takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run<'ring> {
    bytes: &'ring [u8],
}

impl<'ring> Run<'ring> {
    /// All bytes of all packets.
    pub fn bytes(&self) -> &'ring [u8] {
        self.bytes
    }

    /// How many packets it has.
    pub fn len(&self) -> usize {
        self.bytes.len().div_ceil(MAX_PACKET_BYTES)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether its last packet is as long as the others, so that one more, of any length, may follow in its train.
    pub fn is_even(&self) -> bool {
        self.bytes.len().is_multiple_of(MAX_PACKET_BYTES)
    }

    /// Each packet.
    pub fn packets(&self) -> Chunks<'ring, u8> {
        self.bytes.chunks(MAX_PACKET_BYTES)
    }
}

impl Default for PacketRing {
    fn default() -> Self {
        Self::of(SLOTS)
    }
}

impl PacketRing {
    /// An empty ring of so many slots, a power of two.
    fn of(slots: usize) -> Self {
        Self {
            bytes: vec![[0; MAX_PACKET_BYTES]; slots].into_boxed_slice(),
            lengths: vec![0; slots].into_boxed_slice(),
            arrived: vec![Time::ZERO; slots].into_boxed_slice(),
            next: 0,
            first: 0,
        }
    }

    /// Doubles it until it has room for `packets`, with what it holds, but for what has been written to [`Self::slot`] and
    /// not committed; or as far as [`MAX_SLOTS`]. Answers whether it has that room.
    pub fn grow(&mut self, packets: usize) -> bool {
        let slots = (packets + 1).next_power_of_two().clamp(self.slots(), MAX_SLOTS);
        if slots > self.slots() {
            let mut wider = Self { next: self.next, first: self.oldest(), ..Self::of(slots) };
            for position in self.oldest()..self.next {
                let (from, to) = (self.index(position), wider.index(position));
                wider.bytes[to] = self.bytes[from];
                wider.lengths[to] = self.lengths[from];
                wider.arrived[to] = self.arrived[from];
            }
            *self = wider;
        }
        packets < self.slots()
    }

    /// Keeps the next `packets` positions free from `now` on, for [`Self::fill`]. What was written to [`Self::slot`] and not committed is
    /// forgotten.
    ///
    /// # Panics
    /// When it has no room for so many: see [`Self::grow`].
    pub fn reserve(&mut self, now: Time, packets: usize) {
        assert!(packets < self.slots(), "room for {packets} packets in {} slots", self.slots());
        for position in (self.next..).take(packets) {
            let at = self.index(position);
            (self.lengths[at], self.arrived[at]) = (0, now);
        }
        self.next += packets as u64;
    }

    /// The packet written to [`Self::slot`], `len` bytes of it, belongs to `position`, which was kept free. False when that
    /// has been overwritten meanwhile, or is not free.
    pub fn fill(&mut self, position: u64, now: Time, len: usize) -> bool {
        let (from, to) = (self.index(self.next), self.index(position));
        let free = (self.oldest()..self.next).contains(&position) && self.lengths[to] == 0;
        let Some(len) = u16::try_from(len).ok().filter(|_| free && len <= MAX_PACKET_BYTES) else {
            return false;
        };
        self.bytes[to] = self.bytes[from];
        (self.lengths[to], self.arrived[to]) = (len, now);
        true
    }

    /// How many packets it has room for.
    pub fn slots(&self) -> usize {
        self.lengths.len()
    }

    /// Where the next packet is to be written. Overwrites the oldest, which is gone from now on only once
    /// [`Self::commit`] is called: until then [`Self::packet`] of it shows what was written.
    pub fn slot(&mut self) -> &mut [u8; MAX_PACKET_BYTES] {
        let at = self.index(self.next);
        &mut self.bytes[at]
    }

    /// The packet written to [`Self::slot`] is in, `len` bytes of it. Answers its position; when it arrived is to be noted
    /// by [`Self::set_arrival`].
    ///
    /// # Panics
    /// When `len` is above [`MAX_PACKET_BYTES`].
    pub fn commit(&mut self, len: usize) -> u64 {
        assert!(len <= MAX_PACKET_BYTES, "a packet of {len} bytes");
        let position = self.next;
        let at = self.index(position);
        self.lengths[at] = u16::try_from(len).expect("1,328 fits 16 bits");
        self.next += 1;
        position
    }

    /// The bytes written to the slot that comes next, not yet committed.
    pub fn pending(&self, len: usize) -> &[u8] {
        &self.bytes[self.index(self.next)][..len]
    }

    /// The packet at `position`; `None` when it is overwritten, kept free or yet to come.
    pub fn packet(&self, position: u64) -> Option<&[u8]> {
        let at = self.index(position);
        let len = usize::from(self.lengths[at]);
        (len > 0 && (self.oldest()..self.next).contains(&position)).then(|| &self.bytes[at][..len])
    }

    /// The packet at `position` arrived at `now`.
    pub fn set_arrival(&mut self, position: u64, now: Time) {
        let at = self.index(position);
        self.arrived[at] = now;
    }

    /// When the packet at `position` arrived, if the ring holds it.
    pub fn arrival(&self, position: u64) -> Time {
        self.arrived[self.index(position)]
    }

    /// The longest run that begins at `from` and has packets before `to` only; `None` when there is none at `from`.
    pub fn run(&self, from: u64, to: u64) -> Option<Run<'_>> {
        if !(self.oldest()..self.next.min(to)).contains(&from) {
            return None;
        }
        let (first, slots) = (self.index(from), self.slots());
        let most = usize::try_from(self.next.min(to) - from).map_or(slots, |most| most).min(slots - first);
        let lengths = &self.lengths[first..first + most];
        let full = lengths.iter().take_while(|len| usize::from(**len) == MAX_PACKET_BYTES).count();
        let last = lengths.get(full).map_or(0, |len| usize::from(*len));
        let begin = first * MAX_PACKET_BYTES;
        if full == 0 && last == 0 {
            return None;
        }
        Some(Run { bytes: &self.bytes.as_flattened()[begin..begin + full * MAX_PACKET_BYTES + last] })
    }

    /// Position of the oldest packet that is whole, whatever is being written to [`Self::slot`].
    pub fn oldest(&self) -> u64 {
        self.next.saturating_sub(self.slots() as u64 - 1).max(self.first)
    }

    /// Position that the next packet will have.
    pub fn next(&self) -> u64 {
        self.next
    }

    fn index(&self, position: u64) -> usize {
        let mask = self.slots() as u64 - 1;
        usize::try_from(position & mask).expect("below the number of slots")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut PacketRing, byte: u8, len: usize) -> u64 {
        ring.slot()[..len].fill(byte);
        ring.commit(len)
    }

    #[test]
    fn packets_are_found_by_position_until_they_are_overwritten() {
        let mut ring = PacketRing::default();
        for n in 0..SLOTS as u64 + 10 {
            assert_eq!(
                push(&mut ring, u8::try_from(n % 251).unwrap(), 200 + usize::try_from(n % 3).unwrap()),
                n
            );
        }
        let newest = SLOTS as u64 + 9;
        assert_eq!(ring.packet(newest), Some(&vec![u8::try_from(newest % 251).unwrap(); 201][..]));
        assert_eq!((ring.packet(newest + 1), ring.packet(10)), (None, None));
        assert_eq!(ring.oldest(), 11);
        assert!(ring.packet(11).is_some());
    }

    #[test]
    fn a_packet_being_written_disturbs_none_that_can_be_read() {
        let mut ring = PacketRing::default();
        for n in 0..SLOTS as u64 {
            push(&mut ring, u8::try_from(n % 251).unwrap(), 200);
        }
        ring.slot().fill(0xff);
        assert!((ring.oldest()..ring.next()).all(|at| ring.packet(at).unwrap()[0] != 0xff));
    }

    #[test]
    fn a_run_ends_at_a_short_packet_at_the_end_of_the_block_and_where_it_is_told_to() {
        let mut ring = PacketRing::default();
        for (n, len) in [1_328, 1_328, 576, 1_328, 1_328].into_iter().enumerate() {
            push(&mut ring, u8::try_from(n).unwrap(), len);
        }
        let lens = |run: Option<Run<'_>>| run.map(|run| run.packets().map(<[u8]>::len).collect::<Vec<_>>());
        assert_eq!(lens(ring.run(0, 9)), Some(vec![1_328, 1_328, 576]));
        assert_eq!(lens(ring.run(2, 9)), Some(vec![576]));
        assert_eq!(lens(ring.run(3, 4)), Some(vec![1_328]));
        assert!(ring.run(0, 2).unwrap().is_even() && !ring.run(0, 9).unwrap().is_even());
        assert_eq!((ring.run(5, 9), ring.run(0, 9).map(|run| run.len())), (None, Some(3)));
        for _ in 5..SLOTS + 3 {
            push(&mut ring, 7, 1_328);
        }
        assert_eq!(ring.run(SLOTS as u64 - 2, u64::MAX).map(|run| run.len()), Some(2));
        assert_eq!(ring.run(SLOTS as u64, u64::MAX).map(|run| run.len()), Some(3));
        assert_eq!(ring.run(1, u64::MAX), None);
    }

    #[test]
    fn a_ring_that_grows_keeps_what_it_holds_where_it_was_and_then_holds_twice_as_much() {
        let mut ring = PacketRing::default();
        let byte = |n: u64| u8::try_from(n % 251).unwrap();
        for n in 0..1_500 {
            push(&mut ring, byte(n), 200);
        }
        ring.set_arrival(1_499, Time::from_ms(7));
        assert!(ring.grow(SLOTS));
        assert_eq!((ring.slots(), ring.next()), (2 * SLOTS, 1_500));
        assert_eq!(ring.arrival(1_499), Time::from_ms(7));
        assert_eq!(ring.oldest(), 1_500 - (SLOTS as u64 - 1), "what was gone does not come back");
        for n in 1_500..2_000 {
            push(&mut ring, byte(n), 200);
        }
        let held = |ring: &PacketRing, at: u64| ring.packet(at).map(|packet| packet[199]);
        let first = 1_500 - (SLOTS as u64 - 1);
        assert!((first..2_000).all(|n| held(&ring, n) == Some(byte(n))));
        assert!(ring.grow(2 * SLOTS - 1) && ring.slots() == 2 * SLOTS, "it has that room");
        assert!(ring.grow(MAX_SLOTS - 1));
        assert_eq!(ring.slots(), MAX_SLOTS);
        assert!(!ring.grow(MAX_SLOTS));
        assert!((first..2_000).all(|n| held(&ring, n) == Some(byte(n))));
    }

    #[test]
    fn places_kept_free_are_filled_later_and_those_that_are_not_are_holes() {
        let mut ring = PacketRing::default();
        push(&mut ring, 1, 1_328);
        ring.reserve(Time::ZERO, 3);
        assert_eq!(push(&mut ring, 5, 1_328), 4);
        for (position, byte) in [(1, 2), (3, 4)] {
            ring.slot()[..1_328].fill(byte);
            assert!(ring.fill(position, Time::from_ms(9), 1_328));
        }
        let bytes: Vec<Option<u8>> = (0..6).map(|at| ring.packet(at).map(|packet| packet[1_327])).collect();
        assert_eq!(bytes, [Some(1), Some(2), None, Some(4), Some(5), None]);
        assert_eq!(
            (ring.run(0, 9).map(|run| run.len()), ring.run(2, 9), ring.arrival(3)),
            (Some(2), None, Time::from_ms(9))
        );
        assert!(!ring.fill(3, Time::ZERO, 1_328), "not free");
        assert!(!ring.fill(5, Time::ZERO, 1_328), "yet to come");
        (0..SLOTS).for_each(|_| {
            push(&mut ring, 9, 1_328);
        });
        assert!(!ring.fill(2, Time::ZERO, 1_328), "overwritten meanwhile");
    }
}
