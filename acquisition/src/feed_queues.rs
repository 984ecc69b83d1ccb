//! Packets on their way to the push servers: one store, a place in it for each feed.
//!
//! A feed that keeps up costs nothing; one that does not loses the oldest packets and nobody else's. One that is held
//! shows the newest packet's header now and then, and keeps only that packet, with which it begins when it flows again.
//!
//! A feed that begins, or flows again, is also given what it lacks of the past, from the newest random access point on:
//! beside the packets that are made, and after them in each batch, so that none of them waits for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use media::RtpPacket;
use protocols::ids::HostId;
use protocols::p3_feed::{MAX_HISTORY_PACKETS, SAMPLE_INTERVAL, length_prefix};
use protocols::time::Time;

pub use crate::packet_store::Moment;
use crate::packet_store::{PacketStore, Tense, frame_end_of_history};

/// Packets kept for the slowest feed at most: 8 s at 5 Mb/s. When more come, it loses the oldest.
pub const MAX_PACKETS: usize = 4096;
/// Age at which a packet is of no use to a feed that has not taken it, and is dropped.
pub const MAX_AGE: Duration = Duration::from_secs(4);
/// A feed that flows again begins with the newest packet when that is younger: an older one is of an input that stalls.
pub const FRESH: Duration = Duration::from_secs(1);
/// A feed that is so far behind with what it is given of the past is given no more of it.
const MAX_PAST: u64 = MAX_PACKETS as u64 + MAX_HISTORY_PACKETS as u64;

/// The queues of one channel's feeds.
#[derive(Debug, Default)]
pub struct FeedQueues {
    store: PacketStore,
    places: BTreeMap<FeedPlace, Place>,
    last_place: u64,
    dropped_packets: BTreeMap<HostId, u64>,
    held: BTreeMap<HostId, u64>,
    past: u64,
    past_given_up: u64,
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
    /// Position behind the last packet that it took, with whatever it was given of the past before that.
    had: u64,
    past: Past,
}

/// What a feed is given of the past.
#[derive(Debug, Default)]
struct Past {
    /// What is still to be given; whoever feeds may have begun.
    positions: Range<u64>,
    /// It has to be told what comes, or that no more does, before anything else.
    untold: bool,
    /// The first packet of it is to be marked.
    unmarked: bool,
}

#[derive(Debug)]
struct Held {
    /// Position of the first packet whose header was not shown.
    unseen: u64,
    /// When to show the next, or that there is none.
    due: Time,
}

/// How often queues came to a limit, since the channel began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PastCounters {
    /// Packets of the past that were given to feeds.
    pub packets: u64,
    /// Random access points whose packets were let go of before there was a newer one: too long ago, or too many.
    pub cut_points: u64,
    /// Times that a feed was too slow for what it was to be given of the past.
    pub given_up: u64,
}

impl Past {
    /// Nothing; `untold`, if it was to be more.
    fn end(&mut self) {
        *self = Self { untold: !self.positions.is_empty() && !self.untold, ..Self::default() };
    }
}

impl FeedQueues {
    /// Begins a queue for a connection to `host`, at the live edge, with the past from the newest random access point on.
    pub fn attach(&mut self, host: &HostId) -> FeedPlace {
        self.last_place += 1;
        let place = FeedPlace(self.last_place);
        let next = self.store.end();
        let mut fresh = Place {
            host: host.clone(),
            next,
            unmarked: true,
            held: None,
            gap: false,
            had: 0,
            past: Past::default(),
        };
        fresh.give_past(&self.store);
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
            if !std::mem::take(&mut place.past).positions.is_empty() {
                // What it was given has a hole: all of it is given anew.
                place.had = 0;
            }
        }
        self.leave_out();
        self.trim();
    }

    /// Lets that queue flow again, from the newest packet on. Nothing changes when it flows already.
    pub fn flow(&mut self, now: Time, place: FeedPlace) {
        let stale = self.store.newest_at().is_some_and(|at| now.since(at) >= FRESH);
        let end = self.store.end();
        if let Some(place) = self.places.get_mut(&place).filter(|place| place.held.is_some()) {
            place.held = None;
            if stale && place.next < end {
                (place.next, place.gap, place.unmarked) = (end, true, true);
            } else {
                place.give_past(&self.store);
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
        self.store.push(moment, &packet);
        self.leave_out();
        let end = self.store.end();
        let timely = self.store.timely_from(moment.now, MAX_AGE);
        let keep_from = timely.max(end.saturating_sub(MAX_PACKETS as u64));
        for place in self.places.values_mut() {
            let lost = keep_from.saturating_sub(place.next);
            if lost > 0 {
                (place.next, place.unmarked) = (keep_from, true);
                *self.dropped_packets.entry(place.host.clone()).or_default() += lost;
            }
            if !place.past.positions.is_empty() && end - place.past.positions.start > MAX_PAST {
                place.past.end();
                self.past_given_up += 1;
            }
        }
        self.trim();
    }

    /// A random access point has been found in the newest packet: it begins so many packets before that.
    pub fn access_point(&mut self, back: u64) {
        self.store.access_point(back);
        self.trim();
    }

    /// Appends up to `max` packets to `out`, each framed as RFC 4571 says; answers how many. Of a held queue: no packet,
    /// but the newest one's header alone, or the keepalive, when that is due. Marks and other asides stand where they are
    /// due.
    pub fn take_framed(&mut self, now: Time, place: FeedPlace, max: usize, out: &mut Vec<u8>) -> usize {
        let Some(place) = self.places.get_mut(&place) else { return 0 };
        let (store, end) = (&self.store, self.store.end());
        if let Some(held) = &mut place.held {
            if held.due <= now {
                held.due = now + SAMPLE_INTERVAL;
                let shown = held.unseen < end && store.frame_header(end - 1, out);
                if !shown {
                    out.extend_from_slice(&length_prefix(&[]));
                }
                place.gap &= !shown;
                held.unseen = end;
            }
            return 0;
        }
        place.gap = place.gap && !store.frame_header(place.next, out);
        place.past.tell(store, place.next, out);
        let present = place.next..end.min(place.next + max as u64);
        let mut taken = present.end - present.start;
        if taken > 0 {
            (place.next, place.had) = (present.end, present.end);
            store.frame_packets(present, Tense::Present, std::mem::take(&mut place.unmarked), out);
        }
        let past = &mut place.past;
        let until = past.positions.end.min(past.positions.start + (max as u64 - taken));
        if past.positions.start < until {
            let slice = past.positions.start..until;
            past.positions.start = until;
            taken += slice.end - slice.start;
            self.past += slice.end - slice.start;
            store.frame_packets(slice, Tense::Past, std::mem::take(&mut past.unmarked), out);
        }
        self.trim();
        usize::try_from(taken).unwrap_or(max)
    }

    /// Packets dropped per host since the channel began, of hosts that lost any.
    pub fn dropped_packets(&self) -> &BTreeMap<HostId, u64> {
        &self.dropped_packets
    }

    /// Packets not sent per host because its feed was held, since the channel began.
    pub fn held(&self) -> &BTreeMap<HostId, u64> {
        &self.held
    }

    /// What became of the past.
    pub fn past(&self) -> PastCounters {
        let cut_points = self.store.cut_points();
        PastCounters { packets: self.past, cut_points, given_up: self.past_given_up }
    }

    /// Packets that wait for the slowest feed.
    pub fn waiting_packets(&self) -> usize {
        let slowest = self.places.values().map(|place| place.next).min();
        slowest.and_then(|next| usize::try_from(self.store.end() - next).ok()).unwrap_or_default()
    }

    /// Packets that are here: those that wait, and those since the newest random access point.
    pub fn kept_packets(&self) -> usize {
        self.store.len()
    }

    /// Takes held feeds to the newest packet.
    fn leave_out(&mut self) {
        let newest = self.store.end().saturating_sub(1);
        for place in self.places.values_mut().filter(|place| place.held.is_some() && place.next < newest) {
            *self.held.entry(place.host.clone()).or_default() += newest - place.next;
            (place.next, place.gap, place.unmarked) = (newest, true, true);
        }
    }

    /// Lets go of what every feed has taken, and nobody begins with.
    fn trim(&mut self) {
        let needed = |place: &Place| {
            let past = Some(place.past.positions.start).filter(|_| !place.past.positions.is_empty());
            past.map_or(place.next, |past| past.min(place.next))
        };
        self.store.trim(self.places.values().map(needed).min().unwrap_or(self.store.end()));
    }
}

impl Place {
    /// It is given what it has not had of the past, from the newest random access point on.
    fn give_past(&mut self, store: &PacketStore) {
        let first = store.past_from().map_or(self.next, |from| from.max(self.had).min(self.next));
        self.past = Past { positions: first..self.next, untold: true, unmarked: true };
    }
}

impl Past {
    /// Appends what is to be told of it before the packet at `next`.
    fn tell(&mut self, store: &PacketStore, next: u64, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.untold) {
            return;
        }
        if self.unmarked {
            store.frame_history(&self.positions, next, out);
        } else {
            frame_end_of_history(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Sequence;
    use media::rtp::RtpHeader;
    use protocols::p3_feed::{HEADER_BYTES, MARK_BYTES, Mark};
    use protocols::time::ClusterTime;

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
