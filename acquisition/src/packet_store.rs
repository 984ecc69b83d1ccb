//! A channel's newest packets, once for all its feeds: those that a feed has still to take, and those since the newest
//! random access point, for who begins there.
//!
//! ```text
//! position   front ……………… past_from ……………………… end
//!            a slow feed   decoding may begin      the next that is made
//! ```
//!
//! Packets are numbered and dated here: see [`Mark`].

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use media::RtpPacket;
use media::random_access::PAT_WITHIN_PACKETS;
use protocols::p3_feed::{
    AccessPoint, HEADER_BYTES, History, HistorySlice, LONGEST_HISTORY, MARK_INTERVAL, MAX_HISTORY_PACKETS,
    Mark, length_prefix,
};
use protocols::time::{ClusterTime, Time};

/// The clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The local one.
    pub now: Time,
    /// The wall clock.
    pub wall: ClusterTime,
}

/// The packets of one channel, by positions, which count them from its beginning.
#[derive(Debug, Default)]
pub(crate) struct PacketStore {
    packets: VecDeque<(Time, RtpPacket)>,
    /// Position of the packet at the front.
    front: u64,
    /// What makes a position a number: the channel's first sequence number.
    number_offset: u64,
    /// The regular marks: positions and dates, the last one before the front and all behind it. A second apart, so there
    /// are as many as the packets are old: a dozen.
    marks: VecDeque<(u64, ClusterTime)>,
    /// When the last regular mark was made.
    marked: Time,
    /// Random access points found in the packets that are here.
    points: VecDeque<Point>,
    /// Position where the newest of them begins; `None` where there is none, or it is too long ago.
    past_from: Option<u64>,
    cut_points: u64,
    /// No packet before this position is younger than was last asked for.
    aged: u64,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    found: u64,
    start: u64,
}

/// Which packets a feed is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tense {
    /// As they are made, random access points among them.
    Present,
    /// Of the past, as one slice.
    Past,
}

impl PacketStore {
    /// Takes the next packet.
    pub(crate) fn push(&mut self, moment: Moment, packet: &RtpPacket) {
        let position = self.end();
        // Of all packets but the first this adds zero: a packetizer leaves no number out.
        let [.., high, low] = (position + self.number_offset).to_be_bytes();
        let expected = u16::from_be_bytes([high, low]);
        self.number_offset += u64::from(packet.sequence().0.wrapping_sub(expected));
        self.mark(moment, position);
        self.packets.push_back((moment.now, *packet));
        let Some(from) = self.past_from else { return };
        let too_old = self.at(from).is_none_or(|(at, _)| moment.now.since(*at) > LONGEST_HISTORY);
        if too_old || self.end() - from > MAX_HISTORY_PACKETS.into() {
            self.past_from = None;
            self.cut_points += 1;
        }
    }

    /// A random access point has been found in the newest packet: it begins so many packets before that.
    pub(crate) fn access_point(&mut self, back: u64) {
        let found = self.end().checked_sub(1);
        if let Some((found, start)) = found.and_then(|found| Some((found, found.checked_sub(back)?))) {
            self.points.push_back(Point { found, start });
            self.past_from = Some(start).filter(|start| *start >= self.front);
        }
    }

    /// Position that the next packet will have.
    pub(crate) fn end(&self) -> u64 {
        self.front + self.packets.len() as u64
    }

    /// Position of the packet where decoding should begin, as far as that and all behind it are here.
    pub(crate) fn past_from(&self) -> Option<u64> {
        self.past_from
    }

    /// Random access points that were given up, since the next was too far away.
    pub(crate) fn cut_points(&self) -> u64 {
        self.cut_points
    }

    /// How many packets are here.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// When the newest packet was made.
    pub(crate) fn newest_at(&self) -> Option<Time> {
        self.packets.back().map(|(at, _)| *at)
    }

    /// Position of the first packet that is not older than `age`, which is the same each time.
    pub(crate) fn timely_from(&mut self, now: Time, age: Duration) -> u64 {
        self.aged = self.aged.max(self.front);
        while self.at(self.aged).is_some_and(|(at, _)| now.since(*at) > age) {
            self.aged += 1;
        }
        self.aged
    }

    /// Lets go of what is before `needed_from`, but for what is since the newest random access point, or may be since one
    /// that is yet to be found.
    pub(crate) fn trim(&mut self, needed_from: u64) {
        let past_from = self.past_from.unwrap_or(self.end().saturating_sub(PAT_WITHIN_PACKETS));
        let keep_from = needed_from.min(past_from);
        let done = usize::try_from(keep_from.saturating_sub(self.front)).unwrap_or(usize::MAX);
        self.packets.drain(..done.min(self.packets.len()));
        self.front = self.front.max(keep_from);
        // The mark that dates the packet at the front, and those behind it.
        while self.marks.get(1).is_some_and(|(at, _)| *at <= self.front) {
            self.marks.pop_front();
        }
        while self.points.front().is_some_and(|point| point.found < self.front) {
            self.points.pop_front();
        }
    }

    /// Appends the packets at `positions`, which are here, framed as RFC 4571 says, marks where they are due; the first of
    /// them in any case if it is `unmarked`.
    pub(crate) fn frame_packets(
        &self,
        positions: Range<u64>,
        tense: Tense,
        mut unmarked: bool,
        out: &mut Vec<u8>,
    ) {
        if tense == Tense::Past {
            let packets = u16::try_from(positions.end - positions.start).unwrap_or(u16::MAX);
            frame(&HistorySlice { first: self.number(positions.start), packets }.encode(), out);
        }
        let skip = usize::try_from(positions.start - self.front).unwrap_or(usize::MAX);
        let mut behind = self.marks.partition_point(|(at, _)| *at < positions.start);
        let mut points = self.points.partition_point(|point| point.found < positions.start);
        for (position, (_, packet)) in positions.zip(self.packets.iter().skip(skip)) {
            let regular = self.marks.get(behind).filter(|(at, _)| *at == position);
            behind += usize::from(regular.is_some());
            if std::mem::take(&mut unmarked) || regular.is_some() {
                let dated = behind.checked_sub(1).and_then(|last| self.marks.get(last));
                let mark = dated.map(|(_, date)| Mark { number: self.number(position), date: *date });
                mark.into_iter().for_each(|mark| frame(&mark.encode(), out));
            }
            frame(packet.as_bytes(), out);
            if let Some(point) = self.points.get(points).filter(|point| point.found == position) {
                points += 1;
                if tense == Tense::Present {
                    frame(&AccessPoint { number: self.number(point.start) }.encode(), out);
                }
            }
        }
    }

    /// Appends the header alone of the packet at `position`; false when that is not here.
    pub(crate) fn frame_header(&self, position: u64, out: &mut Vec<u8>) -> bool {
        let packet = self.at(position);
        packet.into_iter().for_each(|(_, packet)| frame(&packet.as_bytes()[..HEADER_BYTES], out));
        packet.is_some()
    }

    /// Appends that the packets at `positions` come later, if they are any, and where in what is before `next` decoding may
    /// begin.
    pub(crate) fn frame_history(&self, positions: &Range<u64>, next: u64, out: &mut Vec<u8>) {
        if let Some((_, packet)) = self.at(positions.start).filter(|_| !positions.is_empty()) {
            let packets = u16::try_from(positions.end - positions.start).unwrap_or(u16::MAX);
            let ssrc = packet.header().ssrc;
            frame(&History { first: self.number(positions.start), packets, ssrc }.encode(), out);
        }
        if let Some(from) = self.past_from.filter(|from| *from < next) {
            frame(&AccessPoint { number: self.number(from) }.encode(), out);
        }
    }

    fn number(&self, position: u64) -> u64 {
        position + self.number_offset
    }

    fn at(&self, position: u64) -> Option<&(Time, RtpPacket)> {
        self.packets.get(usize::try_from(position.checked_sub(self.front)?).ok()?)
    }

    /// Dates the packet that comes next, when that is due.
    fn mark(&mut self, moment: Moment, position: u64) {
        let elapsed = moment.now.since(self.marked);
        let date = match self.marks.back() {
            None => moment.wall,
            Some(_) if elapsed < MARK_INTERVAL => return,
            // A clock that was set back is followed by going at half its speed: dates never go back, nor stand still.
            Some((_, last)) => moment.wall.max(*last + elapsed / 2),
        };
        self.marked = moment.now;
        self.marks.push_back((position, date));
    }
}

/// Appends that what was announced of the past and has not come will not.
pub(crate) fn frame_end_of_history(out: &mut Vec<u8>) {
    frame(&History { first: 0, packets: 0, ssrc: 0 }.encode(), out);
}

/// Appends `bytes` as a frame.
fn frame(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&length_prefix(bytes));
    out.extend_from_slice(bytes);
}
