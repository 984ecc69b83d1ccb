//! Packets on their way to the push servers: one store, a place in it for each feed.
//!
//! A feed that keeps up costs nothing; one that does not loses the oldest packets and nobody else's. One that is held
//! shows the newest packet's header now and then, and keeps only that packet, with which it begins when it flows again.
//!
//! Packets are numbered and dated here, once for all feeds: see [`Mark`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use media::{RtpPacket, Sequence};
use protocols::ids::HostId;
use protocols::p3_feed::{HEADER_BYTES, MARK_INTERVAL, Mark, SAMPLE_INTERVAL, length_prefix};
use protocols::time::{ClusterTime, Time};

/// Packets kept for the slowest feed at most: 8 s at 5 Mb/s. When more come, it loses the oldest.
pub const MAX_PACKETS: usize = 4096;
/// Age at which a packet is of no use to a feed that has not taken it, and is dropped.
pub const MAX_AGE: Duration = Duration::from_secs(4);
/// A feed that flows again begins with the newest packet when that is younger: an older one is of an input that stalls.
pub const FRESH: Duration = Duration::from_secs(1);

/// The clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The local one.
    pub now: Time,
    /// The wall clock.
    pub wall: ClusterTime,
}

/// The queues of one channel's feeds.
#[derive(Debug, Default)]
pub struct FeedQueues {
    packets: VecDeque<(Time, RtpPacket)>,
    /// How many packets were queued before the one at the front: its position.
    front: u64,
    /// What makes a position a number: the channel's first sequence number.
    number_offset: u64,
    /// The regular marks: positions and dates, the last one before the front and all behind it. A second apart, so there
    /// are as many as the packets are old: a handful.
    marks: VecDeque<(u64, ClusterTime)>,
    /// When the last regular mark was made.
    marked: Time,
    places: BTreeMap<FeedPlace, Place>,
    last_place: u64,
    dropped_packets: BTreeMap<HostId, u64>,
    held: BTreeMap<HostId, u64>,
}

/// One connection's place in the queues. A connection that follows another to the same host has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPlace(u64);

#[derive(Debug)]
struct Place {
    host: HostId,
    /// Position of the packet to be taken next.
    next: u64,
    /// The next packet does not follow the one before it: it is to be marked.
    unmarked: bool,
    /// `None`: it flows.
    held: Option<Held>,
    /// Holding left packets out since the last header alone: one must come before the next whole packet.
    gap: bool,
}

#[derive(Debug)]
struct Held {
    /// Position of the first packet whose header was not shown.
    unseen: u64,
    /// When to show the next, or that there is none.
    due: Time,
}

impl FeedQueues {
    /// Begins a queue for a connection to `host`, at the live edge.
    pub fn attach(&mut self, host: &HostId) -> FeedPlace {
        self.last_place += 1;
        let place = FeedPlace(self.last_place);
        let fresh = Place { host: host.clone(), next: self.end(), unmarked: true, held: None, gap: false };
        self.places.insert(place, fresh);
        self.trim();
        place
    }

    /// Ends that queue. The host's counter stays.
    pub fn detach(&mut self, place: FeedPlace) {
        self.places.remove(&place);
        self.trim();
    }

    /// Holds that queue from `now` on; its first sample is due at once. Nothing changes when it is held already.
    pub fn hold(&mut self, now: Time, place: FeedPlace) {
        if let Some(place) = self.places.get_mut(&place).filter(|place| place.held.is_none()) {
            place.held = Some(Held { unseen: place.next, due: now });
        }
        self.leave_out();
    }

    /// Lets that queue flow again, from the newest packet on. Nothing changes when it flows already.
    pub fn flow(&mut self, now: Time, place: FeedPlace) {
        let stale = self.packets.back().is_some_and(|(at, _)| now.since(*at) >= FRESH);
        let end = self.end();
        if let Some(place) = self.places.get_mut(&place).filter(|place| place.held.is_some()) {
            place.held = None;
            if stale && place.next < end {
                (place.next, place.gap, place.unmarked) = (end, true, true);
            }
        }
        self.trim();
    }

    /// When [`Self::take_framed`] has the next sample of a held queue; `None`: it flows.
    pub fn next_sample(&self, place: FeedPlace) -> Option<Time> {
        self.places.get(&place)?.held.as_ref().map(|held| held.due)
    }

    /// Queues `packet` for all; drops what has become too old or too much.
    pub fn push(&mut self, moment: Moment, packet: RtpPacket) {
        self.number(moment, packet.sequence());
        let now = moment.now;
        if self.places.is_empty() {
            self.front += 1;
            self.forget_marks();
            return;
        }
        self.packets.push_back((now, packet));
        self.leave_out();
        let stale = self.packets.iter().take_while(|(at, _)| now.since(*at) > MAX_AGE).count();
        let drop = stale.max(self.packets.len().saturating_sub(MAX_PACKETS));
        if drop == 0 {
            return;
        }
        let keep_from = self.front + drop as u64;
        for place in self.places.values_mut() {
            let lost = keep_from.saturating_sub(place.next);
            if lost > 0 {
                (place.next, place.unmarked) = (keep_from, true);
                *self.dropped_packets.entry(place.host.clone()).or_default() += lost;
            }
        }
        self.trim();
    }

    /// Appends up to `max` packets to `out`, each framed as RFC 4571 says; answers how many. Of a held queue: no packet,
    /// but the newest one's header alone, or the keepalive, when that is due. Marks stand where they are due.
    pub fn take_framed(&mut self, now: Time, place: FeedPlace, max: usize, out: &mut Vec<u8>) -> usize {
        let end = self.end();
        let Some(place) = self.places.get_mut(&place) else { return 0 };
        if let Some(held) = &mut place.held {
            if held.due <= now {
                held.due = now + SAMPLE_INTERVAL;
                let unseen = self.packets.back().filter(|_| held.unseen < end);
                out.extend_from_slice(
                    &unseen.map_or(length_prefix(&[]).to_vec(), |(_, packet)| header(packet)),
                );
                place.gap &= unseen.is_none();
                held.unseen = end;
            }
            return 0;
        }
        let skip = usize::try_from(place.next - self.front).unwrap_or(usize::MAX);
        let mut taken = 0;
        if let Some((_, first)) = self.packets.get(skip).filter(|_| std::mem::take(&mut place.gap)) {
            out.extend_from_slice(&header(first));
        }
        let mut behind = self.marks.partition_point(|(at, _)| *at < place.next);
        for (_, packet) in self.packets.iter().skip(skip).take(max) {
            let regular = self.marks.get(behind).filter(|(at, _)| *at == place.next);
            behind += usize::from(regular.is_some());
            if regular.is_some() || std::mem::take(&mut place.unmarked) {
                let dated = behind.checked_sub(1).and_then(|last| self.marks.get(last));
                let number = place.next + self.number_offset;
                out.extend(dated.into_iter().flat_map(|(_, date)| mark(Mark { number, date: *date })));
            }
            place.unmarked = false;
            out.extend_from_slice(&length_prefix(packet.as_bytes()));
            out.extend_from_slice(packet.as_bytes());
            taken += 1;
            place.next += 1;
        }
        self.trim();
        taken
    }

    /// Packets dropped per host since the channel began, of hosts that lost any.
    pub fn dropped_packets(&self) -> &BTreeMap<HostId, u64> {
        &self.dropped_packets
    }

    /// Packets not sent per host because its feed was held, since the channel began.
    pub fn held(&self) -> &BTreeMap<HostId, u64> {
        &self.held
    }

    /// Packets that wait for the slowest feed.
    pub fn waiting_packets(&self) -> usize {
        self.packets.len()
    }

    /// Gives the packet that comes next its number, and its date when that is due.
    fn number(&mut self, moment: Moment, sequence: Sequence) {
        let position = self.end();
        // Of all packets but the first this adds zero: a packetizer leaves no number out.
        let [.., high, low] = (position + self.number_offset).to_be_bytes();
        let expected = u16::from_be_bytes([high, low]);
        self.number_offset += u64::from(sequence.0.wrapping_sub(expected));
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

    fn end(&self) -> u64 {
        self.front + self.packets.len() as u64
    }

    /// Takes held feeds to the newest packet.
    fn leave_out(&mut self) {
        let newest = self.end().saturating_sub(1);
        let mut moved = false;
        for place in self.places.values_mut().filter(|place| place.held.is_some() && place.next < newest) {
            *self.held.entry(place.host.clone()).or_default() += newest - place.next;
            (place.next, place.gap, place.unmarked, moved) = (newest, true, true, true);
        }
        if moved {
            self.trim();
        }
    }

    /// Lets go of what every feed has taken.
    fn trim(&mut self) {
        let needed_from = self.places.values().map(|place| place.next).min().unwrap_or(self.end());
        let done = usize::try_from(needed_from - self.front).unwrap_or(usize::MAX);
        self.packets.drain(..done);
        self.front = needed_from;
        self.forget_marks();
    }

    /// Keeps the mark that dates the packet at the front, and those behind it.
    fn forget_marks(&mut self) {
        while self.marks.get(1).is_some_and(|(at, _)| *at <= self.front) {
            self.marks.pop_front();
        }
    }
}

/// A mark as a frame.
fn mark(mark: Mark) -> Vec<u8> {
    let bytes = mark.encode();
    [&length_prefix(&bytes)[..], &bytes].concat()
}

/// A packet's RTP header as a frame of its own.
fn header(packet: &RtpPacket) -> Vec<u8> {
    let header = &packet.as_bytes()[..HEADER_BYTES];
    [&length_prefix(header)[..], header].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::rtp::RtpHeader;
    use protocols::p3_feed::MARK_BYTES;

    fn packet(sequence: u16) -> RtpPacket {
        let sequence = Sequence(sequence);
        let header = RtpHeader { marker: false, payload_type: 33, sequence, timestamp_90k: 0, ssrc: 1 };
        RtpPacket::new(&header, &[0x47; 188]).unwrap()
    }

    fn hosts() -> (HostId, HostId) {
        ("fast".parse().unwrap(), "slow".parse().unwrap())
    }

    /// At `ms`, where the wall clock shows a million more.
    fn at(ms: u64) -> Moment {
        Moment { now: Time::from_ms(ms), wall: ClusterTime(1_000_000 + ms) }
    }

    /// What a feed is given at `at_ms`, `max` packets at most.
    fn given(queues: &mut FeedQueues, place: FeedPlace, at_ms: u64, max: usize) -> (usize, Vec<Vec<u8>>) {
        let (mut framed, mut frames) = (Vec::new(), Vec::new());
        let taken = queues.take_framed(Time::from_ms(at_ms), place, max, &mut framed);
        let mut rest = &framed[..];
        while let Some((prefix, behind)) = rest.split_first_chunk() {
            let (frame, behind) = behind.split_at(usize::from(u16::from_be_bytes(*prefix)));
            frames.push(frame.to_vec());
            rest = behind;
        }
        (taken, frames)
    }

    fn sequence(frame: &[u8]) -> u16 {
        frame.get(2..4).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The same: sequence numbers with the length of each frame, but for marks.
    fn frames(queues: &mut FeedQueues, place: FeedPlace, at_ms: u64) -> Vec<(usize, u16)> {
        let (_, frames) = given(queues, place, at_ms, 9);
        let frames = frames.iter().filter(|frame| frame.len() != MARK_BYTES);
        frames.map(|frame| (frame.len(), sequence(frame))).collect()
    }

    /// The same: sequence numbers, and before those that are marked the date, less the million.
    fn marked(queues: &mut FeedQueues, place: FeedPlace) -> Vec<(Option<u64>, u64)> {
        let (_, frames) = given(queues, place, 0, 99);
        let (mut packets, mut mark) = (Vec::new(), None);
        for frame in frames.iter().filter(|frame| frame.len() != HEADER_BYTES) {
            if let Some(bytes) = frame.first_chunk().filter(|_| frame.len() == MARK_BYTES) {
                mark = Some(Mark::decode(*bytes));
                continue;
            }
            let mark = mark.take();
            assert!(mark.is_none_or(|mark| mark.number & 0xffff == u64::from(sequence(frame))), "{mark:?}");
            let number = mark.map_or(sequence(frame).into(), |mark| mark.number);
            packets.push((mark.map(|mark| mark.date.0 - 1_000_000), number));
        }
        assert_eq!(mark, None, "a mark stands before a packet");
        packets
    }

    /// Sequence numbers of up to `max` packets.
    fn take(queues: &mut FeedQueues, place: FeedPlace, max: usize) -> Vec<u16> {
        let (taken, frames) = given(queues, place, 0, max);
        let packets = frames.iter().filter(|frame| frame.len() != MARK_BYTES);
        let sequences: Vec<u16> = packets.map(|frame| sequence(frame)).collect();
        assert_eq!(sequences.len(), taken);
        assert!(frames.iter().all(|frame| frame.len() == MARK_BYTES || frame.len() == 200));
        sequences
    }

    #[test]
    fn a_slow_feed_loses_its_oldest_packets_and_the_fast_one_none() {
        let (fast, slow) = hosts();
        let mut queues = FeedQueues::default();
        let fast_place = queues.attach(&fast);
        let slow_place = queues.attach(&slow);
        let mut got = Vec::new();
        for n in 0..5000 {
            queues.push(at(0), packet(n));
            got.extend(take(&mut queues, fast_place, 32));
        }
        assert_eq!(got, (0..5000).collect::<Vec<_>>());
        assert_eq!(queues.waiting_packets(), MAX_PACKETS);
        assert_eq!(queues.dropped_packets(), &[(slow.clone(), 5000 - MAX_PACKETS as u64)].into());
        assert_eq!(take(&mut queues, slow_place, 2), [904, 905]);
    }

    #[test]
    fn packets_that_nobody_took_for_four_seconds_are_dropped() {
        let (fast, slow) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&slow);
        queues.push(at(0), packet(1));
        queues.push(at(3000), packet(2));
        queues.push(at(4001), packet(3));
        assert_eq!(take(&mut queues, place, 9), [2, 3]);
        assert_eq!(queues.dropped_packets()[&slow], 1);
        assert!(!queues.dropped_packets().contains_key(&fast));
    }

    #[test]
    fn a_feed_begins_at_the_live_edge_and_what_all_have_taken_is_let_go() {
        let (fast, slow) = hosts();
        let mut queues = FeedQueues::default();
        queues.push(at(0), packet(0));
        assert_eq!(queues.waiting_packets(), 0, "nobody is there to take it");
        let first = queues.attach(&slow);
        queues.push(at(0), packet(1));
        let second = queues.attach(&fast);
        queues.push(at(0), packet(2));
        assert_eq!(take(&mut queues, second, 9), [2]);
        assert_eq!(queues.waiting_packets(), 2);
        queues.detach(first);
        assert_eq!(queues.waiting_packets(), 0);
        assert!(take(&mut queues, first, 9).is_empty());
    }

    #[test]
    fn a_held_feed_shows_the_newest_header_each_200_ms_and_begins_again_with_the_newest_packet() {
        let (fast, slow) = hosts();
        let mut queues = FeedQueues::default();
        let (held, flowing) = (queues.attach(&slow), queues.attach(&fast));
        queues.push(at(0), packet(0));
        assert_eq!(frames(&mut queues, held, 0), [(200, 0)]);
        queues.hold(Time::from_ms(5), held);
        assert_eq!(frames(&mut queues, held, 5), [(0, 0)], "nothing newer than what was sent");
        let mut got = Vec::new();
        for n in 1..=100 {
            queues.push(at(5 + 2 * u64::from(n)), packet(n));
            got.extend(frames(&mut queues, held, 5 + 2 * u64::from(n)));
            take(&mut queues, flowing, 9);
        }
        assert_eq!(got, [(12, 100)], "one at 205 ms");
        assert_eq!(queues.waiting_packets(), 1, "the newest");
        assert_eq!(queues.next_sample(held), Some(Time::from_ms(405)));
        queues.push(at(300), packet(101));
        queues.push(at(302), packet(102));
        queues.flow(Time::from_ms(303), held);
        queues.push(at(304), packet(103));
        assert_eq!(frames(&mut queues, held, 304), [(12, 102), (200, 102), (200, 103)]);
        assert_eq!(queues.next_sample(held), None);
        assert_eq!(queues.held(), &[(slow, 101)].into());
        assert!(queues.dropped_packets().is_empty(), "nothing was dropped");
    }

    #[test]
    fn what_was_left_out_is_shown_before_the_next_packet_and_no_packet_comes_twice() {
        let (_, host) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host);
        queues.push(at(0), packet(0));
        assert_eq!(frames(&mut queues, place, 0), [(200, 0)]);
        // Held and let go before anything came: the stream has no gap.
        queues.hold(Time::from_ms(1), place);
        queues.flow(Time::from_ms(2), place);
        queues.push(at(3), packet(1));
        assert_eq!(frames(&mut queues, place, 3), [(200, 1)]);
        // Between two samples two came: the first is left out, which a header tells.
        queues.hold(Time::from_ms(4), place);
        assert_eq!(frames(&mut queues, place, 4), [(0, 0)]);
        queues.push(at(5), packet(2));
        queues.push(at(6), packet(3));
        queues.flow(Time::from_ms(7), place);
        assert_eq!(frames(&mut queues, place, 7), [(12, 3), (200, 3)]);
    }

    #[test]
    fn a_held_feed_of_a_silent_input_says_so_and_begins_with_no_old_packet() {
        let (_, host) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host);
        queues.hold(Time::ZERO, place);
        queues.push(at(1), packet(1));
        assert_eq!(frames(&mut queues, place, 1), [(12, 1)]);
        assert_eq!(frames(&mut queues, place, 200), []);
        assert_eq!(frames(&mut queues, place, 201), [(0, 0)]);
        assert_eq!(frames(&mut queues, place, 1_001), [(0, 0)]);
        queues.flow(Time::from_ms(1_001), place);
        assert_eq!(frames(&mut queues, place, 1_001), []);
        queues.push(at(5_000), packet(2));
        assert_eq!(frames(&mut queues, place, 5_000), [(12, 2), (200, 2)]);
    }

    #[test]
    fn a_feed_that_is_held_while_packets_wait_gives_them_up() {
        let (_, host) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host);
        (0..5).for_each(|n| queues.push(at(0), packet(n)));
        queues.hold(Time::ZERO, place);
        assert_eq!((queues.waiting_packets(), queues.held()[&host]), (1, 4));
        assert_eq!(frames(&mut queues, place, 0), [(12, 4)]);
        queues.flow(Time::ZERO, place);
        assert_eq!(frames(&mut queues, place, 0), [(200, 4)]);
    }

    #[test]
    fn each_second_the_same_packet_is_marked_for_every_feed_and_each_first_packet_with_the_same_date() {
        let (fast, slow) = hosts();
        let mut queues = FeedQueues::default();
        let first = queues.attach(&fast);
        for n in 0..30_u16 {
            queues.push(at(100 * u64::from(n)), packet(n.wrapping_sub(5)));
        }
        let early = marked(&mut queues, first);
        let second = queues.attach(&slow);
        for n in 30..45_u16 {
            queues.push(at(100 * u64::from(n)), packet(n - 5));
        }
        let with_marks = |packets: Vec<(Option<u64>, u64)>| {
            packets.into_iter().filter(|(date, _)| date.is_some()).collect::<Vec<_>>()
        };
        // Numbers go on where sequence numbers wrap, five packets from the first.
        let wrapped = 1 << 16;
        let regular = [(Some(0), wrapped - 5), (Some(1_000), wrapped + 5), (Some(2_000), wrapped + 15)];
        assert_eq!((early.len(), with_marks(early)), (30, regular.to_vec()));
        let both = [(Some(3_000), wrapped + 25), (Some(4_000), wrapped + 35)];
        assert_eq!(with_marks(marked(&mut queues, first)), both);
        assert_eq!(with_marks(marked(&mut queues, second)), both);
        queues.push(at(4_500), packet(40));
        let third = queues.attach(&slow);
        queues.push(at(4_600), packet(41));
        assert_eq!(marked(&mut queues, first), [(None, 40), (None, 41)]);
        assert_eq!(marked(&mut queues, third), [(Some(4_000), wrapped + 41)]);
    }

    #[test]
    fn behind_every_gap_the_number_is_told_with_the_date_of_the_mark_before() {
        let (_, host) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host);
        queues.push(at(0), packet(0));
        queues.push(at(100), packet(1));
        assert_eq!(marked(&mut queues, place), [(Some(0), 0), (None, 1)]);
        queues.hold(Time::from_ms(150), place);
        (2..9_u16).for_each(|n| queues.push(at(100 * u64::from(n)), packet(n)));
        queues.flow(Time::from_ms(850), place);
        assert_eq!(marked(&mut queues, place), [(Some(0), 8)], "held");
        queues.push(at(1_100), packet(9));
        queues.push(at(3_000), packet(10));
        queues.push(at(5_200), packet(11));
        assert_eq!(queues.dropped_packets()[&host], 1);
        assert_eq!(marked(&mut queues, place), [(Some(3_000), 10), (Some(5_200), 11)], "dropped");
        assert_eq!(queues.marks.len(), 1, "the last one remains");
    }

    #[test]
    fn dates_never_go_back_though_the_clock_is_set_back_and_go_on_at_half_speed_meanwhile() {
        let (_, host) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host);
        for (n, wall) in [(0_u16, 60_000), (1, 31_000), (2, 32_000), (3, 90_000)] {
            let moment =
                Moment { now: Time::from_ms(1_000 * u64::from(n)), wall: ClusterTime(1_000_000 + wall) };
            queues.push(moment, packet(n));
        }
        let dates: Vec<_> = marked(&mut queues, place).into_iter().map(|(date, _)| date.unwrap()).collect();
        assert_eq!(dates, [60_000, 60_500, 61_000, 90_000]);
    }
}
