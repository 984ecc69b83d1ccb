//! Where a recording is cut: at the same packets wherever it is recorded, since nothing but the packets and their dates is asked.
//!
//! ```text
//! slot       │        5:12                          │       5:13
//! packets    … P P P P P [PAT I] P P P P P P P P P P P P P [PAT I] P P P …
//! segment    ────────────────────────────────────────────┘└──────────────   the first random access point of a slot
//!                                                      held ▲ until it is sure that none begins there
//! ```
//!
//! * A slot's first random access point begins a segment. Where packets are missing before it, it may not be the slot's
//!   first: then it begins one only if the segment's slot is another.
//! * After a slot without any, the next slot begins a segment with its first packet (a channel whose random access points
//!   cannot be told).
//! * Another SSRC, numbers that jump by more than [`MAX_JUMP`] or back, or a hole longer than a slot, begin one.
//!
//! A point is told a few packets after the one where its segment begins: packets are held, undecided, for
//! [`HELD_90K`] of their own time.

use std::collections::VecDeque;

use media::random_access::RandomAccess;

use super::segment::{SEGMENT_MS, slot};

/// Packets are held for this long by their timestamps: the PAT up to 100 ms before a picture, and what it takes to tell a
/// picture's kind.
pub const HELD_90K: u32 = 27_000;
/// Packets held at most, where timestamps stand still. A point told later than that is none.
pub const MAX_HELD: usize = 1_024;
/// Numbers missing in one segment at a time at most.
pub const MAX_JUMP: u64 = 1 << 20;
/// How far back a number must be to be another beginning rather than a repetition.
pub const MAX_BACK: u64 = 1 << 16;

/// A packet, as far as cutting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its source.
    pub ssrc: u32,
    /// Its number.
    pub number: u64,
    /// Its date, ms since 1970.
    pub date_ms: u64,
    /// Its timestamp.
    pub timestamp_90k: u32,
    /// A random access point that it told.
    pub point: Option<RandomAccess>,
}

/// What a packet makes known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Decision {
    /// A segment begins with the packet of this number, held or just pushed.
    pub begin: Option<u64>,
    /// Decoding may begin at the packet of this number, held or just pushed.
    pub access: Option<u64>,
    /// How many packets are undecided now, the newest included.
    pub held: usize,
    /// Numbers that are missing before this packet, in the same segment or between two.
    pub missing: u64,
}

/// What is to be done with a packet before it is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It goes on.
    Next,
    /// It was here before.
    Repeated,
    /// It goes on nothing.
    Anew,
}

/// Whether the slot of the newest packet has had a random access point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Points {
    Had,
    None,
    Unknown,
}

/// Cuts one channel.
#[derive(Debug, Default)]
pub struct Segmenter {
    state: Option<State>,
    held: VecDeque<Seen>,
}

#[derive(Debug)]
struct State {
    newest: Seen,
    points: Points,
    /// Slot for which the present segment was begun.
    segment_slot: u64,
}

impl Segmenter {
    /// How a packet of this source and number stands to those before.
    pub fn order(&self, ssrc: u32, number: u64) -> Order {
        let Some(newest) = self.state.as_ref().map(|state| state.newest) else { return Order::Anew };
        match number.checked_sub(newest.number) {
            _ if newest.ssrc != ssrc => Order::Anew,
            Some(0) => Order::Repeated,
            Some(ahead) if ahead <= MAX_JUMP => Order::Next,
            None if newest.number - number < MAX_BACK => Order::Repeated,
            _ => Order::Anew,
        }
    }

    /// Forgets everything: the next packet begins a segment.
    pub fn reset(&mut self) {
        self.state = None;
        self.held.clear();
    }

    /// Takes the next packet, which is not [`Order::Repeated`].
    pub fn push(&mut self, seen: Seen) -> Decision {
        let anew = self.order(seen.ssrc, seen.number) != Order::Next;
        let before = self.state.as_ref().map(|state| state.newest).filter(|_| !anew);
        let missing = before.map_or(0, |before| seen.number - before.number - 1);
        let hole = |before: Seen| missing > 0 && seen.date_ms.abs_diff(before.date_ms) > SEGMENT_MS;
        if before.is_none_or(hole) {
            return self.begin_anew(seen, missing);
        }
        self.hold(seen);
        let first = self.enter(seen, missing).then_some(seen.number);
        let point = seen.point.and_then(|point| self.point(point));
        let begin = point.filter(|point| point.begins).map(|point| point.start).or(first);
        if let Some(begin) = begin {
            self.held.retain(|held| held.number >= begin);
        }
        Decision { begin, access: point.map(|point| point.start), held: self.held.len(), missing }
    }

    fn begin_anew(&mut self, seen: Seen, missing: u64) -> Decision {
        self.held.clear();
        self.held.push_back(seen);
        let slot = slot(seen.date_ms);
        self.state = Some(State { newest: seen, points: Points::Unknown, segment_slot: slot });
        let point = seen.point.and_then(|point| self.point(point));
        Decision {
            begin: Some(seen.number),
            access: point.map(|point| point.start),
            held: self.held.len(),
            missing,
        }
    }

    fn hold(&mut self, seen: Seen) {
        let over = |held: &Seen| seen.timestamp_90k.wrapping_sub(held.timestamp_90k) > HELD_90K;
        while self.held.front().is_some_and(over) || self.held.len() >= MAX_HELD {
            self.held.pop_front();
        }
        self.held.push_back(seen);
    }

    /// `seen` is the newest. Answers whether it begins a segment because the slot before had no point.
    fn enter(&mut self, seen: Seen, missing: u64) -> bool {
        let Some(state) = &mut self.state else { return false };
        let entered = slot(seen.date_ms);
        let left = std::mem::replace(&mut state.newest, seen);
        let had = state.points;
        if slot(left.date_ms) == entered {
            if missing > 0 && had == Points::None {
                state.points = Points::Unknown;
            }
            return false;
        }
        state.points = if missing > 0 { Points::Unknown } else { Points::None };
        let begins = had == Points::None && missing == 0;
        if begins {
            state.segment_slot = entered;
        }
        begins
    }

    /// The newest packet told a point, which counts for that packet's slot. `None`: it was told too late.
    fn point(&mut self, point: RandomAccess) -> Option<Point> {
        let held = |number| self.held.binary_search_by_key(&number, |held| held.number).is_ok();
        let start = [point.start, point.picture].into_iter().find(|number| held(*number))?;
        let state = self.state.as_mut()?;
        let slot = slot(state.newest.date_ms);
        let begins = match std::mem::replace(&mut state.points, Points::Had) {
            Points::Had => false,
            Points::None => true,
            Points::Unknown => state.segment_slot != slot,
        };
        if begins {
            state.segment_slot = slot;
        }
        Some(Point { start, begins })
    }
}

#[derive(Clone, Copy)]
struct Point {
    start: u64,
    begins: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream of 100 packets a second, with a point every `gop` packets whose PAT is 2 packets before it, told one behind.
    fn stream(from: u64, to: u64, gop: u64) -> impl Iterator<Item = Seen> {
        (from..to).map(move |n| {
            let point =
                (gop > 0 && n > 3 && n % gop == 4).then(|| RandomAccess { start: n - 3, picture: n - 1 });
            seen(n, n * 10, point)
        })
    }

    fn seen(number: u64, date_ms: u64, point: Option<RandomAccess>) -> Seen {
        let timestamp_90k = u32::try_from(number * 900 % (1 << 32)).unwrap();
        Seen { ssrc: 1, number, date_ms: date_ms / 1_000 * 1_000, timestamp_90k, point }
    }

    fn begins(packets: impl Iterator<Item = Seen>) -> Vec<u64> {
        let mut segmenter = Segmenter::default();
        packets.filter_map(|seen| segmenter.push(seen).begin).collect()
    }

    #[test]
    fn a_segment_begins_with_the_tables_of_the_first_point_in_a_slot() {
        // Slots are 6,000 packets; points are told at 48·n + 4.
        assert_eq!(begins(stream(100, 18_100, 48)), [100, 6_001, 12_001, 18_001]);
        assert_eq!(begins(stream(100, 18_100, 50)), [100, 6_001, 12_001, 18_001]);
        assert_eq!(begins(stream(100, 18_100, 7)), [100, 6_000, 11_999, 17_998]);
    }

    #[test]
    fn whoever_begins_later_cuts_at_the_same_packets() {
        for gop in [7, 48, 50, 250, 1_000, 0] {
            let all = begins(stream(0, 60_000, gop));
            for from in [1, 5_990, 6_000, 6_001, 6_003, 6_010, 11_999, 12_345] {
                let late = begins(stream(from, 60_000, gop));
                let common = all.iter().filter(|begin| **begin > from + 12_000);
                let late: Vec<_> = late.into_iter().filter(|begin| *begin > from + 12_000).collect();
                assert!(late.iter().eq(common), "{gop} from {from}: {late:?} {all:?}");
            }
        }
    }

    #[test]
    fn without_points_a_slot_begins_with_its_first_packet() {
        assert_eq!(begins(stream(100, 24_100, 0)), [100, 12_000, 18_000, 24_000]);
    }

    #[test]
    fn another_source_a_jump_and_a_long_hole_begin_anew() {
        let mut segmenter = Segmenter::default();
        assert_eq!(segmenter.push(seen(10, 0, None)).begin, Some(10));
        assert_eq!(segmenter.push(seen(11, 0, None)).begin, None);
        assert_eq!(segmenter.push(Seen { ssrc: 2, ..seen(5, 0, None) }).begin, Some(5));
        assert_eq!(segmenter.order(2, 5), Order::Repeated);
        assert_eq!((segmenter.order(2, 4), segmenter.order(2, 6)), (Order::Repeated, Order::Next));
        let decision = segmenter.push(Seen { ssrc: 2, ..seen(16, 61_000, None) });
        assert_eq!((decision.begin, decision.missing), (Some(16), 10));
        assert_eq!(segmenter.order(2, 17 + MAX_JUMP), Order::Anew);
        assert_eq!(segmenter.push(Seen { ssrc: 2, ..seen(17 + MAX_JUMP, 61_000, None) }).missing, 0);
        assert_eq!(segmenter.order(2, 16), Order::Anew);
    }

    #[test]
    fn a_short_hole_is_part_of_its_segment() {
        let holed = stream(100, 12_100, 48).filter(|seen| !(3_000..3_020).contains(&seen.number));
        assert_eq!(begins(holed), [100, 6_001, 12_001]);
        // One that swallows the point where the slot's segment begins: the next point begins it.
        let holed = stream(100, 12_100, 48).filter(|seen| !(5_990..6_020).contains(&seen.number));
        assert_eq!(begins(holed), [100, 6_049, 12_001]);
    }

    #[test]
    fn a_point_that_is_told_too_late_cuts_nothing_that_has_gone() {
        let mut segmenter = Segmenter::default();
        assert_eq!(stream(0, 6_200, 0).filter(|seen| segmenter.push(*seen).begin.is_some()).count(), 1);
        let point = Some(RandomAccess { start: 6_001, picture: 6_002 });
        let decision = segmenter.push(Seen { point, ..seen(6_200, 62_000, None) });
        assert_eq!((decision.begin, decision.access), (None, None));
        let point = Some(RandomAccess { start: 6_001, picture: 6_190 });
        let decision = segmenter.push(Seen { point, ..seen(6_201, 62_010, None) });
        assert_eq!((decision.begin, decision.access), (Some(6_190), Some(6_190)));
    }

    proptest! {
        #[test]
        fn what_is_held_is_bounded_and_what_begins_is_held(
            steps in proptest::collection::vec((0..4_u64, 0..40_000_u64, 0..9_000_u32, any::<Option<u8>>()), 0..3_000),
        ) {
            let (mut segmenter, mut number, mut date_ms, mut timestamp_90k) = (Segmenter::default(), 0, 0, 0_u32);
            let mut undecided: VecDeque<u64> = VecDeque::new();
            for (ahead, later_ms, ticks, point) in steps {
                number += ahead + 1;
                date_ms += later_ms;
                timestamp_90k = timestamp_90k.wrapping_add(ticks);
                let point = point.map(|back| {
                    let picture = number.saturating_sub(u64::from(back / 16));
                    RandomAccess { start: picture.saturating_sub(u64::from(back % 16)), picture }
                });
                let decision = segmenter.push(Seen { ssrc: 1, number, date_ms, timestamp_90k, point });
                undecided.push_back(number);
                prop_assert!((1..=MAX_HELD).contains(&decision.held));
                for told in [decision.begin, decision.access].into_iter().flatten() {
                    prop_assert!(undecided.contains(&told));
                }
                undecided.drain(..undecided.len() - decision.held);
            }
        }
    }
}
