//! Thousands of deadlines that come round soon: a hashed timer wheel (Varghese and Lauck, 1987, scheme 6).
//!
//! ```text
//! slot     0    1    2   …   k  …   SLOTS-1        a deadline hangs in slot (time / SLOT_US) mod SLOTS,
//!          │    │         │  ▲                     those of later rounds among those of this one
//!          ·   t,t        t  now
//! ```
//!
//! Setting one and taking one out cost the same however many there are, unlike [`protocols::timers::Timers`], whose deadlines can be
//! moved. Here they cannot: whoever changes his mind sets another and passes over the first when it comes.

use protocols::time::Time;

/// Width of a slot in µs.
pub const SLOT_US: u64 = 256;
/// Slots in a round: 262 ms. A deadline further away is looked at once a round.
pub const SLOTS: usize = 1_024;

/// Slots in a round, as a difference of slot numbers.
const ROUND: u64 = SLOTS as u64;
/// Bits of one word of the map of slots in use.
const WORD: usize = 64;

/// Deadlines, each with a key. Keys may repeat. Memory is what was once needed at a time.
#[derive(Debug, Clone)]
pub struct TimerWheel<K> {
    slots: Vec<Slot<K>>,
    /// A bit for each slot that is not empty.
    used: [u64; SLOTS / WORD],
    /// Everything before this was taken out.
    past: Time,
    len: usize,
}

#[derive(Debug, Clone)]
struct Slot<K> {
    entries: Vec<(Time, K)>,
    /// The earliest in it; meaningless when there is none.
    earliest: Time,
}

impl<K: Copy + Ord> TimerWheel<K> {
    /// An empty wheel at `now`.
    pub fn new(now: Time) -> Self {
        let slot = Slot { entries: Vec::new(), earliest: Time::ZERO };
        Self { slots: vec![slot; SLOTS], used: [0; SLOTS / WORD], past: now, len: 0 }
    }

    /// `key` is due at `time`; at once where that has passed.
    pub fn set(&mut self, time: Time, key: K) {
        let index = slot_of(time.max(self.past));
        let slot = &mut self.slots[index];
        slot.earliest = if slot.entries.is_empty() { time } else { slot.earliest.min(time) };
        slot.entries.push((time, key));
        self.used[index / WORD] |= 1 << (index % WORD);
        self.len += 1;
    }

    /// Moves what is due at `now` to the end of `due`, the longest due first. Time does not go back.
    pub fn take(&mut self, now: Time, due: &mut Vec<(Time, K)>) {
        let begin = due.len();
        let first = slot_number(self.past);
        let rounds_end = slot_number(now).max(first).min(first + ROUND - 1);
        let mut number = first;
        while let Some(index) = self.next_used(number, rounds_end) {
            number = at_or_after(number, index);
            self.take_slot(index, now, due);
            number += 1;
        }
        self.past = self.past.max(now);
        self.len -= due.len() - begin;
        due[begin..].sort_unstable();
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Time> {
        let first = slot_number(self.past);
        let mut number = first;
        let mut earliest: Option<Time> = None;
        while let Some(index) = self.next_used(number, first + ROUND - 1) {
            number = at_or_after(number, index);
            let time = self.slots[index].earliest;
            earliest = Some(earliest.map_or(time, |earliest| earliest.min(time)));
            if slot_number(time) <= number {
                break; // of this round, so no later slot has an earlier one
            }
            number += 1;
        }
        earliest
    }

    /// How many are set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn take_slot(&mut self, index: usize, now: Time, due: &mut Vec<(Time, K)>) {
        let slot = &mut self.slots[index];
        if slot.earliest > now {
            return;
        }
        due.extend(slot.entries.extract_if(.., |(time, _)| *time <= now));
        match slot.entries.iter().map(|(time, _)| *time).min() {
            Some(earliest) => slot.earliest = earliest,
            None => self.used[index / WORD] &= !(1 << (index % WORD)),
        }
    }

    /// The first slot in use from slot number `from` to `to`, both within one round.
    fn next_used(&self, from: u64, to: u64) -> Option<usize> {
        if from > to {
            return None;
        }
        let (mut index, mut left) = (slot_index(from), usize::try_from(to - from + 1).unwrap_or(SLOTS));
        while left > 0 {
            let word = self.used[index / WORD] >> (index % WORD);
            let in_word = WORD - index % WORD;
            if word == 0 {
                index = (index + in_word) % SLOTS;
                left = left.saturating_sub(in_word);
                continue;
            }
            let skip = word.trailing_zeros() as usize;
            return (skip < left).then_some(index + skip);
        }
        None
    }
}

/// Slots since the origin.
fn slot_number(time: Time) -> u64 {
    time.as_us() / SLOT_US
}

fn slot_index(number: u64) -> usize {
    (number % ROUND) as usize
}

/// The first slot number from `number` on whose index is `index`.
fn at_or_after(number: u64, index: usize) -> u64 {
    number + ((index + SLOTS - slot_index(number)) % SLOTS) as u64
}

fn slot_of(time: Time) -> usize {
    slot_index(slot_number(time))
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;
    use proptest::prelude::*;

    fn take(wheel: &mut TimerWheel<u32>, now: u64) -> Vec<(u64, u32)> {
        let mut due = Vec::new();
        wheel.take(Time::from_us(now), &mut due);
        due.into_iter().map(|(time, key)| (time.as_us(), key)).collect()
    }

    #[test]
    fn deadlines_of_the_same_slot_and_of_later_rounds_come_each_in_its_time() {
        let round = SLOT_US * SLOTS as u64;
        let mut wheel = TimerWheel::new(Time::ZERO);
        for (time, key) in [(300, 1), (310, 2), (300 + round, 3), (300 + 5 * round, 4)] {
            wheel.set(Time::from_us(time), key);
        }
        assert_eq!(wheel.next(), Some(Time::from_us(300)));
        assert_eq!(take(&mut wheel, 299), []);
        assert_eq!(take(&mut wheel, 305), [(300, 1)]);
        assert_eq!(take(&mut wheel, 400), [(310, 2)]);
        assert_eq!(wheel.next(), Some(Time::from_us(300 + round)));
        assert_eq!(take(&mut wheel, 10 * round), [(300 + round, 3), (300 + 5 * round, 4)]);
        assert!(wheel.is_empty() && wheel.next().is_none());
    }

    #[test]
    fn what_is_set_too_late_is_due_at_once() {
        let mut wheel = TimerWheel::new(Time::from_us(1_000_000));
        wheel.set(Time::from_us(5), 1);
        assert_eq!(wheel.next(), Some(Time::from_us(5)));
        assert_eq!(take(&mut wheel, 1_000_000), [(5, 1)]);
    }

    proptest! {
        /// Whatever is set and however time goes on, what a heap gives the wheel gives.
        #[test]
        fn a_wheel_is_a_heap(
            start in 0..u64::MAX / 4,
            steps in proptest::collection::vec((0..3_u8, 0..2_000_000_u64), 1..300),
        ) {
            let mut now = start;
            let mut wheel = TimerWheel::new(Time::from_us(now));
            let mut heap = BinaryHeap::new();
            for (key, (kind, span)) in (0_u32..).zip(steps) {
                if kind > 0 {
                    // Near, far, and sometimes in the past.
                    let time = if kind == 1 { now + span / 500 } else { (now + span).saturating_sub(300_000) };
                    wheel.set(Time::from_us(time), key);
                    heap.push(Reverse((time, key)));
                } else {
                    now += span / 3;
                    let mut expected = Vec::new();
                    while heap.peek().is_some_and(|Reverse((time, _))| *time <= now) {
                        expected.extend(heap.pop().map(|Reverse(entry)| entry));
                    }
                    prop_assert_eq!(take(&mut wheel, now), expected);
                }
                prop_assert_eq!(wheel.next().map(Time::as_us), heap.peek().map(|Reverse((time, _))| *time));
                prop_assert_eq!(wheel.len(), heap.len());
            }
        }
    }
}
