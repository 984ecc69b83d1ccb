//! The recent packets of one channel: fixed slots in one block of memory, so that consecutive packets are one buffer to
//! whoever sends them.
//!
//! ```text
//! position   … 5   6   7   8   9 │ next
//! slot           5   0   1   2   3 │ 4        position modulo SLOTS; the oldest is overwritten
//! run                └─ 7, 8, 9: one buffer, and one system call for each destination
//! ```

use std::slice::Chunks;

use protocols::p3_feed::MAX_PACKET_BYTES;

/// Packets that a ring holds: 1.3 MiB, two seconds of a 5 Mb/s channel.
pub const SLOTS: usize = 1_024;

/// A ring of packets. Positions count packets since its making and never wrap.
#[derive(Debug)]
pub struct PacketRing {
    bytes: Box<[[u8; MAX_PACKET_BYTES]]>,
    lengths: Box<[u16]>,
    next: u64,
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
        Self {
            bytes: vec![[0; MAX_PACKET_BYTES]; SLOTS].into_boxed_slice(),
            lengths: vec![0; SLOTS].into_boxed_slice(),
            next: 0,
        }
    }
}

impl PacketRing {
    /// Where the next packet is to be written. Overwrites the oldest, which is gone from now on only once
    /// [`Self::commit`] is called: until then [`Self::packet`] of it shows what was written.
    pub fn slot(&mut self) -> &mut [u8; MAX_PACKET_BYTES] {
        &mut self.bytes[index(self.next)]
    }

    /// The packet written to [`Self::slot`] is in, `len` bytes of it. Answers its position.
    ///
    /// # Panics
    /// When `len` is above [`MAX_PACKET_BYTES`].
    pub fn commit(&mut self, len: usize) -> u64 {
        assert!(len <= MAX_PACKET_BYTES, "a packet of {len} bytes");
        let position = self.next;
        self.lengths[index(position)] = u16::try_from(len).expect("1,328 fits 16 bits");
        self.next += 1;
        position
    }

    /// The bytes written to the slot that comes next, not yet committed.
    pub fn pending(&self, len: usize) -> &[u8] {
        &self.bytes[index(self.next)][..len]
    }

    /// The packet at `position`; `None` when it is overwritten or yet to come.
    pub fn packet(&self, position: u64) -> Option<&[u8]> {
        (self.oldest()..self.next)
            .contains(&position)
            .then(|| &self.bytes[index(position)][..usize::from(self.lengths[index(position)])])
    }

    /// The longest run that begins at `from` and has packets before `to` only; `None` when there is none at `from`.
    pub fn run(&self, from: u64, to: u64) -> Option<Run<'_>> {
        if !(self.oldest()..self.next.min(to)).contains(&from) {
            return None;
        }
        let first = index(from);
        let most = usize::try_from(self.next.min(to) - from).map_or(SLOTS, |most| most.min(SLOTS - first));
        let lengths = &self.lengths[first..first + most];
        let full = lengths.iter().take_while(|len| usize::from(**len) == MAX_PACKET_BYTES).count();
        let last = lengths.get(full).map_or(0, |len| usize::from(*len));
        let begin = first * MAX_PACKET_BYTES;
        Some(Run { bytes: &self.bytes.as_flattened()[begin..begin + full * MAX_PACKET_BYTES + last] })
    }

    /// Position of the oldest packet that is whole, whatever is being written to [`Self::slot`].
    pub fn oldest(&self) -> u64 {
        self.next.saturating_sub(SLOTS as u64 - 1)
    }

    /// Position that the next packet will have.
    pub fn next(&self) -> u64 {
        self.next
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position % SLOTS as u64).expect("below SLOTS")
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
}
