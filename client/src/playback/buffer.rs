//! The circular buffer of a playback: packets in the order of their numbers, with room for what has not come yet.
//!
//! Packets are counted by *index*, from 0 at the first session on and without a break when a session at another push server goes on;
//! a session's own numbers begin again at 0, at an index that is known when it is begun.

use std::collections::VecDeque;

/// A gap may be this many times the capacity long; what is further ahead is dropped and counted.
const REACH: usize = 2;

/// A packet in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The RTP packet.
    pub packet: Vec<u8>,
    /// Its source.
    pub ssrc: u32,
    /// Its sequence number.
    pub sequence: u16,
    /// Its time, 90 kHz.
    pub timestamp_90k: u32,
    /// It does not follow the one before it in the recording.
    pub jump: bool,
    /// It is the last of the session.
    pub last: bool,
}

/// What is at the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front<'a> {
    /// The next packet.
    Packet(&'a Held),
    /// The next packet is missing; this one is behind the gap.
    Gap(&'a Held),
    /// Nothing.
    Empty,
}

/// What came of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Taken in.
    pub taken: u64,
    /// There already, or before what has been shown.
    pub late: u64,
    /// No room: the buffer ran over.
    pub overflows: u64,
    /// Given up: never came, or too late.
    pub lost: u64,
}

/// The buffer.
#[derive(Debug)]
pub struct PlayBuffer {
    /// From the index `head` on; the last one is never empty.
    slots: VecDeque<Option<Held>>,
    head: u64,
    /// Index of the present session's number 0; may be below or above `head`.
    base: u64,
    held: u32,
    capacity: u32,
    counters: Counters,
}

impl PlayBuffer {
    /// An empty one for at most `capacity` packets.
    pub fn new(capacity: u32) -> Self {
        Self { slots: VecDeque::new(), head: 0, base: 0, held: 0, capacity, counters: Counters::default() }
    }

    /// Holds at most `capacity` packets from here on; what is too much stays.
    pub fn set_capacity(&mut self, capacity: u32) {
        self.capacity = capacity;
    }

    /// Takes a packet in.
    pub fn insert(&mut self, number: u32, held: Held) {
        let index = self.index(number);
        let reach = self.capacity as usize * REACH;
        let Some(offset) = index.checked_sub(self.head).and_then(|offset| usize::try_from(offset).ok())
        else {
            self.counters.late += 1;
            return;
        };
        if self.held >= self.capacity || offset >= reach {
            self.counters.overflows += 1;
            return;
        }
        if offset >= self.slots.len() {
            self.slots.resize_with(offset + 1, || None);
        }
        match &mut self.slots[offset] {
            Some(_) => self.counters.late += 1,
            free => {
                *free = Some(held);
                self.held += 1;
                self.counters.taken += 1;
            }
        }
    }

    /// What is next.
    pub fn front(&self) -> Front<'_> {
        match self.slots.front() {
            Some(Some(held)) => Front::Packet(held),
            _ => self.slots.iter().flatten().next().map_or(Front::Empty, Front::Gap),
        }
    }

    /// Takes the front packet out; `None` when it is missing.
    pub fn pop(&mut self) -> Option<Held> {
        let held = self.slots.pop_front_if(|slot| slot.is_some())??;
        self.head += 1;
        self.held -= 1;
        Some(held)
    }

    /// How many of the packets at the front have come without a gap, and where among them the first is, but for the front one itself,
    /// that does not follow the one before it.
    pub fn run(&self) -> (usize, Option<usize>) {
        let run = self.slots.iter().take_while(|slot| slot.is_some()).count();
        let jump = |slot: &Option<Held>| slot.as_ref().is_some_and(|held| held.jump);
        let jumps = self.slots.iter().take(run).skip(1).position(jump);
        (run, jumps.map(|place| place + 1))
    }

    /// Gives up all that is before the next packet that follows none, the front one aside. Returns whether anything was.
    pub fn skip_to_jump(&mut self) -> bool {
        let before = self.head;
        while !self.slots.is_empty() {
            if self.slots.pop_front().flatten().is_some() {
                self.held -= 1;
            }
            self.head += 1;
            self.counters.lost += 1;
            if matches!(self.slots.front(), Some(Some(held)) if held.jump) {
                break;
            }
        }
        self.head != before
    }

    /// Gives up the gap at the front.
    pub fn skip_gap(&mut self) {
        while self.slots.pop_front_if(|slot| slot.is_none()).is_some() {
            self.head += 1;
            self.counters.lost += 1;
        }
    }

    /// Forgets all that is before the present session's `number`, which comes next.
    pub fn restart_at(&mut self, number: u32) {
        let index = self.index(number);
        while self.head < index
            && let Some(slot) = self.slots.pop_front()
        {
            self.head += 1;
            self.held -= u32::from(slot.is_some());
        }
        self.head = self.head.max(index);
    }

    /// Forgets everything; numbers go on.
    pub fn clear(&mut self) {
        self.head += self.slots.len() as u64;
        self.slots.clear();
        self.held = 0;
    }

    /// A new session's number 0 is the packet at `index`.
    pub fn rebase(&mut self, index: u64) {
        self.base = index;
    }

    /// Index of the present session's `number`.
    pub fn index(&self, number: u32) -> u64 {
        // Numbers wrap: taken for the index nearest to the front.
        #[expect(clippy::cast_possible_truncation, reason = "the low half is what numbers are compared by")]
        let front = self.head.wrapping_sub(self.base) as u32;
        self.head.saturating_add_signed(i64::from(number.wrapping_sub(front).cast_signed()))
    }

    /// The first index that has not come, and the packet before it where that is still here.
    pub fn first_missing(&self) -> (u64, Option<&Held>) {
        let run = self.slots.iter().take_while(|slot| slot.is_some()).count();
        let before = run.checked_sub(1).and_then(|last| self.slots[last].as_ref());
        (self.head + run as u64, before)
    }

    /// Indices of the present session before `end` that have not come, ascending.
    pub fn missing(&self, end: u64) -> impl Iterator<Item = u64> {
        let come = |index: u64| {
            let offset = index.checked_sub(self.head).and_then(|offset| usize::try_from(offset).ok());
            offset.and_then(|offset| self.slots.get(offset)).is_some_and(Option::is_some)
        };
        let reach = self.head + u64::from(self.capacity) * REACH as u64;
        (self.head.max(self.base)..end.min(reach)).filter(move |index| !come(*index))
    }

    /// Behind the last one that has come.
    pub fn end(&self) -> u64 {
        self.head + self.slots.len() as u64
    }

    /// Whether one has come behind one that has not.
    pub fn has_gaps(&self) -> bool {
        self.held as usize != self.slots.len()
    }

    /// The present session's number of `index`.
    #[expect(clippy::cast_possible_truncation, reason = "numbers wrap")]
    pub fn number(&self, index: u64) -> u32 {
        index.wrapping_sub(self.base) as u32
    }

    /// Index of the front.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Packets in it.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(sequence: u16) -> Held {
        Held { packet: vec![], ssrc: 1, sequence, timestamp_90k: 0, jump: false, last: false }
    }

    fn taken(buffer: &mut PlayBuffer) -> Vec<u16> {
        std::iter::from_fn(|| buffer.pop()).map(|held| held.sequence).collect()
    }

    #[test]
    fn packets_come_out_in_the_order_of_their_numbers_once() {
        let mut buffer = PlayBuffer::new(10);
        for number in [2, 0, 1, 1, 4] {
            buffer.insert(number, held(u16::try_from(number).unwrap()));
        }
        assert_eq!(taken(&mut buffer), [0, 1, 2]);
        assert!(matches!(buffer.front(), Front::Gap(held) if held.sequence == 4));
        buffer.insert(1, held(1));
        buffer.skip_gap();
        assert_eq!(taken(&mut buffer), [4]);
        assert_eq!(buffer.counters(), Counters { taken: 4, late: 2, overflows: 0, lost: 1 });
    }

    #[test]
    fn pictures_are_told_apart_by_what_follows_none() {
        let mut buffer = PlayBuffer::new(20);
        for number in [0, 1, 2, 3, 4, 6, 8, 9] {
            let jump = matches!(number, 0 | 3 | 8);
            buffer.insert(number, Held { jump, ..held(u16::try_from(number).unwrap()) });
        }
        assert_eq!(buffer.run(), (5, Some(3)));
        assert!((0..3).all(|_| buffer.pop().is_some()));
        assert_eq!(buffer.run(), (2, None), "5 is missing");
        assert!(buffer.skip_to_jump());
        assert_eq!((buffer.run(), buffer.held(), buffer.head()), ((2, None), 2, 8));
    }

    #[test]
    fn what_is_too_much_or_too_far_is_dropped_and_counted() {
        let mut buffer = PlayBuffer::new(2);
        for number in [4, 0, 1, 2] {
            buffer.insert(number, held(0));
        }
        assert_eq!((buffer.held(), buffer.counters().overflows), (2, 2));
    }

    #[test]
    fn a_new_session_goes_on_at_the_first_that_is_missing() {
        let mut buffer = PlayBuffer::new(10);
        for number in [0, 1, 3] {
            buffer.insert(number, held(u16::try_from(number).unwrap()));
        }
        let (missing, before) = buffer.first_missing();
        assert_eq!((missing, before.map(|held| held.sequence)), (2, Some(1)));
        buffer.rebase(missing);
        for number in 0..3 {
            buffer.insert(number, held(2 + u16::try_from(number).unwrap()));
        }
        assert_eq!(taken(&mut buffer), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn behind_a_seek_only_what_comes_from_its_number_on_is_kept() {
        let mut buffer = PlayBuffer::new(10);
        for number in 0..3 {
            buffer.insert(number, held(0));
        }
        buffer.clear();
        for number in [3, 5, 6] {
            buffer.insert(number, held(u16::try_from(number).unwrap()));
        }
        buffer.restart_at(5);
        assert_eq!((buffer.held(), taken(&mut buffer)), (2, vec![5, 6]));
        buffer.restart_at(9);
        assert_eq!((buffer.held(), buffer.index(9)), (0, 9));
    }

    #[test]
    fn numbers_go_on_beyond_their_wrap() {
        let mut buffer = PlayBuffer::new(10);
        buffer.rebase(0_u64.wrapping_sub(u64::from(u32::MAX)));
        for number in [u32::MAX, 0, 1] {
            buffer.insert(number, held(u16::from(number == 1)));
        }
        assert_eq!(taken(&mut buffer), [0, 0, 1]);
    }
}
