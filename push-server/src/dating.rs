//! What the packets of a channel's ring are called and when they were made, from the marks that P3 brings.
//!
//! ```text
//! marks        7041, 12:00:00       7391, 12:00:01             8200, 12:00:01
//! position     0     1     2  …     350   …             419    420   421 …
//! number       7041  7042  7043 …   7391  …             7460   8200  8201 …
//!                                                     gap ─┘
//! ```
//!
//! A packet that follows the one before it costs a comparison. Only at marks and gaps is something written down, and only
//! so much of it is kept as covers a ring.

use std::collections::VecDeque;

use protocols::p3_feed::Mark;
use protocols::time::ClusterTime;

/// Rows of consecutive numbers that are remembered; of packets before them no number is known.
pub const MAX_RUNS: usize = 64;
/// Dates that are remembered, mostly one a second; of packets before them no date is known.
pub const MAX_DATES: usize = 128;

/// Numbers and dates of one channel's packets, by their positions in its ring: 5 kB.
#[derive(Debug)]
pub struct Dating {
    /// A mark whose packet has not come.
    mark: Option<Mark>,
    /// Name of the packet that follows the newest one.
    next: u64,
    /// The same while no mark has come; otherwise [`NOBODY`], so that one comparison tells that nothing is to be noted.
    unnoted: u64,
    /// Where rows of consecutive numbers begin, and with which number if that is known.
    runs: Row<u64>,
    /// From where on packets have which date, if it is known.
    dates: Row<ClusterTime>,
    wrong_marks: u64,
}

const SEQUENCE_BITS: u32 = 16;
/// No packet has this name.
const NOBODY: u64 = u64::MAX;

/// A packet that has been put into the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its position: one more than that of the packet before.
    pub position: u64,
    /// Its RTP sequence number.
    pub sequence: u16,
    /// Its synchronisation source.
    pub ssrc: u32,
}

impl Default for Dating {
    fn default() -> Self {
        let (runs, dates) = (Row::new(MAX_RUNS), Row::new(MAX_DATES));
        Self { mark: None, next: NOBODY, unnoted: NOBODY, runs, dates, wrong_marks: 0 }
    }
}

impl Dating {
    /// A mark has come: it speaks of the packet that comes next.
    pub fn mark(&mut self, mark: Mark) {
        (self.mark, self.unnoted) = (Some(mark), NOBODY);
    }

    /// The packet that came next was here before, and its mark with it.
    pub fn repeated(&mut self) {
        (self.mark, self.unnoted) = (None, self.next);
    }

    /// A packet has been put into the ring.
    #[inline]
    pub fn packet(&mut self, entry: Entry) {
        if name(entry.ssrc, entry.sequence) != self.unnoted {
            self.note(entry);
        }
        self.next = name(entry.ssrc, entry.sequence.wrapping_add(1));
        self.unnoted = self.next;
    }

    /// Positions from `position` on are kept free for `packets` packets of the past that come later, which are numbered
    /// from `number` on; the one behind them follows them.
    pub fn reserve(&mut self, position: u64, number: u64, packets: u16, ssrc: u32) {
        let goes_on = self.newest(ssrc, position).is_some_and(|newest| newest.checked_add(1) == Some(number));
        if !goes_on {
            self.runs.push(position, Some(number));
            self.dates.push(position, None);
        }
        let [.., high, low] = number.wrapping_add(packets.into()).to_be_bytes();
        (self.mark, self.next) = (None, name(ssrc, u16::from_be_bytes([high, low])));
        self.unnoted = self.next;
    }

    /// What `mark` says holds for the packet at `position`, which has come later than others behind it.
    pub fn mark_late(&mut self, position: u64, mark: Mark) {
        let follows =
            |last: &u64| self.number(*last).and_then(|last| last.checked_add(1)) == Some(mark.number);
        let before = position.checked_sub(1).filter(follows).and_then(|last| self.date(last));
        let behind = self.dates.after(position);
        let right = self.number(position) == Some(mark.number)
            && before.is_none_or(|before| before <= mark.date)
            && behind.is_none_or(|behind| mark.date <= behind);
        if !right {
            self.wrong_marks += 1;
        } else if self.date(position) != Some(mark.date) {
            self.dates.insert(position, Some(mark.date));
        }
    }

    /// The number of the newest packet, the one before the position `end`, if it is of `ssrc`.
    pub fn newest(&self, ssrc: u32, end: u64) -> Option<u64> {
        let same = self.next != NOBODY && self.next >> SEQUENCE_BITS == u64::from(ssrc);
        end.checked_sub(1).filter(|_| same).and_then(|last| self.number(last))
    }

    /// Where before the position `end` the packet of this number is, if all behind it follow one another.
    pub fn position(&self, number: u64, end: u64) -> Option<u64> {
        let last = end.checked_sub(1)?;
        let position = last.checked_sub(self.number(last)?.checked_sub(number)?)?;
        (self.number(position) == Some(number)).then_some(position)
    }

    /// The number that the packet at `position` has since the beginning of its SSRC, or will have if nothing is lost
    /// until then; `None` before the first mark, and where it is remembered no more.
    pub fn number(&self, position: u64) -> Option<u64> {
        let (begins, number) = self.runs.at(position)?;
        Some(number?.wrapping_add(position - begins))
    }

    /// The date of the packet at `position`, that of the last mark at or before it; `None` where there is none, and where
    /// it is remembered no more.
    pub fn date(&self, position: u64) -> Option<ClusterTime> {
        self.dates.at(position)?.1
    }

    /// Marks that were ignored: of another packet than came next, or of an earlier one, or earlier in date.
    pub fn wrong_marks(&self) -> u64 {
        self.wrong_marks
    }

    /// Writes down what a packet's mark says, or that numbers do not go on with it.
    #[cold]
    fn note(&mut self, entry: Entry) {
        let Entry { position, sequence, ssrc } = entry;
        let (mut least, mut date) = (None, None);
        if self.next >> SEQUENCE_BITS == u64::from(ssrc) {
            let ahead = name(ssrc, sequence).wrapping_sub(self.next) % (1 << SEQUENCE_BITS) + 1;
            let last = position.checked_sub(1);
            least = last.and_then(|last| self.number(last)).map(|number| number.wrapping_add(ahead));
            date = last.and_then(|last| self.date(last));
        }
        let mark = self.mark.take();
        let right = mark.filter(|mark| {
            mark.number.to_be_bytes()[6..] == sequence.to_be_bytes()
                && least.is_none_or(|least| mark.number >= least)
                && date.is_none_or(|date| mark.date >= date)
        });
        self.wrong_marks += u64::from(mark.is_some() && right.is_none());
        let number = right.map_or(least, |mark| Some(mark.number));
        if number != self.number(position) {
            self.runs.push(position, number);
        }
        let date = right.map_or(date, |mark| Some(mark.date));
        if date != self.date(position) {
            self.dates.push(position, date);
        }
    }
}

/// What tells packets apart: no two neighbours have the same.
fn name(ssrc: u32, sequence: u16) -> u64 {
    (u64::from(ssrc) << SEQUENCE_BITS) | u64::from(sequence)
}

/// Values by the positions from which on they hold, ascending.
#[derive(Debug)]
struct Row<T> {
    entries: VecDeque<(u64, Option<T>)>,
    /// Reached: the oldest makes room.
    most: usize,
}

impl<T: Copy> Row<T> {
    fn new(most: usize) -> Self {
        Self { entries: VecDeque::with_capacity(most), most }
    }

    /// From `position` on, which is above all others, `value` holds.
    fn push(&mut self, position: u64, value: Option<T>) {
        if self.entries.len() == self.most {
            self.entries.pop_front();
        }
        self.entries.push_back((position, value));
    }

    /// From `position` on `value` holds, until the next that is written down behind it.
    fn insert(&mut self, position: u64, value: Option<T>) {
        let at = self.entries.partition_point(|(begins, _)| *begins < position);
        if let Some(entry) = self.entries.get_mut(at).filter(|(begins, _)| *begins == position) {
            entry.1 = value;
        } else if self.entries.len() < self.most {
            self.entries.insert(at, (position, value));
        } else if let Some(at) = at.checked_sub(1) {
            // The oldest makes room, be it this one.
            self.entries.pop_front();
            self.entries.insert(at, (position, value));
        }
    }

    /// What is written down first behind `position`, if it is known.
    fn after(&self, position: u64) -> Option<T> {
        let behind = self.entries.partition_point(|(begins, _)| *begins <= position);
        self.entries.get(behind)?.1
    }

    /// What holds at `position`, and since where.
    fn at(&self, position: u64) -> Option<(u64, Option<T>)> {
        let behind = self.entries.partition_point(|(begins, _)| *begins <= position);
        self.entries.get(behind.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: u64 = 3 << 16;

    /// Packets one after another, at positions from 0.
    #[derive(Default)]
    struct Stream {
        dating: Dating,
        position: u64,
    }

    impl Stream {
        fn mark(&mut self, number: u64, date: u64) {
            self.dating.mark(Mark { number, date: ClusterTime(date) });
        }

        fn packet(&mut self, sequence: u16, ssrc: u32) {
            self.dating.packet(Entry { position: self.position, sequence, ssrc });
            self.position += 1;
        }

        /// Numbers less [`HIGH`], and dates, of all packets.
        fn all(&self) -> Vec<(Option<u64>, Option<u64>)> {
            let known = |at| {
                (self.dating.number(at).map(|number| number - HIGH), self.dating.date(at).map(|date| date.0))
            };
            (0..self.position).map(known).collect()
        }
    }

    #[test]
    fn packets_are_numbered_on_from_their_mark_and_have_its_date() {
        let mut stream = Stream::default();
        stream.packet(6, 1);
        stream.mark(HIGH + 7, 1_000);
        stream.packet(7, 1);
        stream.packet(8, 1);
        stream.mark(HIGH + 9, 2_000);
        stream.packet(9, 1);
        let expected = [(None, None), (Some(7), Some(1_000)), (Some(8), Some(1_000)), (Some(9), Some(2_000))];
        assert_eq!(stream.all(), expected);
        assert_eq!(stream.dating.number(6), Some(HIGH + 12), "if nothing is lost");
        assert_eq!(stream.dating.wrong_marks(), 0);
    }

    #[test]
    fn numbers_go_on_behind_a_gap_and_where_sequence_numbers_wrap() {
        let mut stream = Stream::default();
        stream.mark(HIGH + 65_534, 1_000);
        [65_534, 65_535, 0, 4].into_iter().for_each(|sequence| stream.packet(sequence, 1));
        stream.mark(HIGH + (2 << 16) + 5, 9_000);
        stream.packet(5, 1);
        let numbers: Vec<_> = stream.all().into_iter().map(|(number, _)| number.unwrap()).collect();
        assert_eq!(numbers, [65_534, 65_535, 65_536, 65_540, 131_077]);
        assert_eq!(stream.dating.wrong_marks(), 0, "whole rounds may have been left out");
    }

    #[test]
    fn a_mark_of_another_packet_or_from_before_is_counted_and_ignored() {
        let mut stream = Stream::default();
        stream.mark(HIGH + 8, 1_000);
        stream.packet(7, 1);
        assert_eq!((stream.all(), stream.dating.wrong_marks()), (vec![(None, None)], 1));
        stream.mark(HIGH + 8, 1_000);
        stream.packet(8, 1);
        stream.mark(HIGH + 9, 999);
        stream.packet(9, 1);
        stream.mark(HIGH + 10 - (1 << 16), 1_001);
        stream.packet(10, 1);
        stream.mark(u64::MAX, 1_001);
        stream.packet(11, 1);
        assert_eq!(stream.dating.wrong_marks(), 4);
        assert_eq!(
            stream.all()[1..],
            [
                (Some(8), Some(1_000)),
                (Some(9), Some(1_000)),
                (Some(10), Some(1_000)),
                (Some(11), Some(1_000))
            ]
        );
    }

    #[test]
    fn another_ssrc_is_another_stream_unknown_until_its_first_mark() {
        let mut stream = Stream::default();
        stream.mark(HIGH + 7, 5_000);
        stream.packet(7, 1);
        stream.packet(8, 2);
        stream.mark(HIGH + 1, 4_000);
        stream.packet(1, 3);
        assert_eq!(stream.all(), [(Some(7), Some(5_000)), (None, None), (Some(1), Some(4_000))]);
        assert_eq!(stream.dating.wrong_marks(), 0);
    }

    #[test]
    fn the_mark_of_a_packet_that_is_repeated_is_no_wrong_one() {
        let mut stream = Stream::default();
        stream.mark(HIGH + 7, 1_000);
        stream.packet(7, 1);
        stream.mark(HIGH + 7, 1_000);
        stream.dating.repeated();
        stream.packet(8, 1);
        assert_eq!((stream.all()[1], stream.dating.wrong_marks()), ((Some(8), Some(1_000)), 0));
    }

    #[test]
    fn what_comes_late_is_numbered_before_what_is_there_and_dated_by_its_own_marks() {
        let mut stream = Stream::default();
        stream.mark(HIGH + 7, 1_000);
        stream.packet(7, 1);
        // Nothing of the past is here: ten packets before number 60.
        stream.dating.reserve(1, HIGH + 50, 10, 1);
        stream.position += 10;
        stream.mark(HIGH + 60, 6_000);
        stream.packet(60, 1);
        stream.packet(61, 1);
        let mark = |number, date| Mark { number: HIGH + number, date: ClusterTime(date) };
        stream.dating.mark_late(1, mark(50, 4_000));
        stream.dating.mark_late(5, mark(54, 5_000));
        let all = stream.all();
        assert_eq!(
            (all[0], all[1], all[4]),
            ((Some(7), Some(1_000)), (Some(50), Some(4_000)), (Some(53), Some(4_000)))
        );
        assert_eq!((all[5], all[10]), ((Some(54), Some(5_000)), (Some(59), Some(5_000))));
        assert_eq!((all[11], all[12]), ((Some(60), Some(6_000)), (Some(61), Some(6_000))));
        assert_eq!(stream.dating.wrong_marks(), 0);
        for (position, wrong) in [(6, mark(54, 5_000)), (6, mark(55, 4_999)), (6, mark(55, 6_001))] {
            stream.dating.mark_late(position, wrong);
        }
        assert_eq!((stream.dating.wrong_marks(), stream.all() == all), (3, true));
        assert_eq!(stream.dating.position(HIGH + 52, 13), Some(3));
        assert_eq!(
            (stream.dating.position(HIGH + 7, 13), stream.dating.position(HIGH + 62, 13)),
            (None, None)
        );
        // What follows the newest is of the same row.
        stream.dating.reserve(13, HIGH + 62, 5, 1);
        stream.position += 5;
        stream.packet(67, 1);
        assert_eq!(
            (stream.dating.number(18), stream.dating.position(HIGH + 50, 19)),
            (Some(HIGH + 67), Some(1))
        );
        assert_eq!((stream.dating.newest(1, 19), stream.dating.newest(2, 19)), (Some(HIGH + 67), None));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_is_forgotten() {
        let mut stream = Stream::default();
        for n in 0..200_u16 {
            stream.mark(HIGH + 2 * u64::from(n), 1_000 * u64::from(n));
            stream.packet(2 * n, 1);
        }
        let (runs, dates) = (200 - MAX_RUNS as u64, 200 - MAX_DATES as u64);
        assert_eq!(
            (stream.dating.number(runs - 1), stream.dating.number(runs)),
            (None, Some(HIGH + 2 * runs))
        );
        assert_eq!(
            (stream.dating.date(dates - 1), stream.dating.date(dates)),
            (None, Some(ClusterTime(1_000 * dates)))
        );
    }
}
