//! Packets on their way to the push servers: one store, a place in it for each feed.
//!
//! A feed that keeps up costs nothing; one that does not loses the oldest packets and nobody else's. One that is held
//! shows the newest packet's header now and then, and keeps only that packet, with which it begins when it flows again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use media::RtpPacket;
use protocols::ids::HostId;
use protocols::p3_feed::{HEADER_BYTES, SAMPLE_INTERVAL, length_prefix};
use protocols::time::Time;

/// Packets kept for the slowest feed at most: 8 s at 5 Mb/s. When more come, it loses the oldest.
pub const MAX_PACKETS: usize = 4096;
/// Age at which a packet is of no use to a feed that has not taken it, and is dropped.
pub const MAX_AGE: Duration = Duration::from_secs(4);
/// A feed that flows again begins with the newest packet when that is younger: an older one is of an input that stalls.
pub const FRESH: Duration = Duration::from_secs(1);

/// The queues of one channel's feeds.
#[derive(Debug, Default)]
pub struct FeedQueues {
    packets: VecDeque<(Time, RtpPacket)>,
    /// Number of the packet at the front.
    front: u64,
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
    /// Number of the packet to be taken next.
    next: u64,
    /// `None`: it flows.
    held: Option<Held>,
    /// Holding left packets out since the last header alone: one must come before the next whole packet.
    gap: bool,
}

#[derive(Debug)]
struct Held {
    /// Number of the first packet whose header was not shown.
    unseen: u64,
    /// When to show the next, or that there is none.
    due: Time,
}

impl FeedQueues {
    /// Begins a queue for a connection to `host`, at the live edge.
    pub fn attach(&mut self, host: &HostId) -> FeedPlace {
        self.last_place += 1;
        let place = FeedPlace(self.last_place);
        let fresh = Place { host: host.clone(), next: self.end(), held: None, gap: false };
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
                (place.next, place.gap) = (end, true);
            }
        }
        self.trim();
    }

    /// When [`Self::take_framed`] has the next sample of a held queue; `None`: it flows.
    pub fn next_sample(&self, place: FeedPlace) -> Option<Time> {
        self.places.get(&place)?.held.as_ref().map(|held| held.due)
    }

    /// Queues `packet` for all; drops what has become too old or too much.
    pub fn push(&mut self, now: Time, packet: RtpPacket) {
        if self.places.is_empty() {
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
                place.next = keep_from;
                *self.dropped_packets.entry(place.host.clone()).or_default() += lost;
            }
        }
        self.trim();
    }

    /// Appends up to `max` packets to `out`, each framed as RFC 4571 says; answers how many. Of a held queue: no packet,
    /// but the newest one's header alone, or the keepalive, when that is due.
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
        for (_, packet) in self.packets.iter().skip(skip).take(max) {
            out.extend_from_slice(&length_prefix(packet.as_bytes()));
            out.extend_from_slice(packet.as_bytes());
            taken += 1;
        }
        place.next += taken as u64;
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

    fn end(&self) -> u64 {
        self.front + self.packets.len() as u64
    }

    /// Takes held feeds to the newest packet.
    fn leave_out(&mut self) {
        let newest = self.end().saturating_sub(1);
        let mut moved = false;
        for place in self.places.values_mut().filter(|place| place.held.is_some() && place.next < newest) {
            *self.held.entry(place.host.clone()).or_default() += newest - place.next;
            (place.next, place.gap, moved) = (newest, true, true);
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
    }
}

/// A packet's RTP header as a frame of its own.
fn header(packet: &RtpPacket) -> Vec<u8> {
    let header = &packet.as_bytes()[..HEADER_BYTES];
    [&length_prefix(header)[..], header].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Sequence;
    use media::rtp::RtpHeader;

    fn packet(sequence: u16) -> RtpPacket {
        let sequence = Sequence(sequence);
        let header = RtpHeader { marker: false, payload_type: 33, sequence, timestamp_90k: 0, ssrc: 1 };
        RtpPacket::new(&header, &[0x47; 188]).unwrap()
    }

    fn hosts() -> (HostId, HostId) {
        ("fast".parse().unwrap(), "slow".parse().unwrap())
    }

    /// What a feed is given at `at_ms`: sequence numbers with the length of each frame.
    fn frames(queues: &mut FeedQueues, place: FeedPlace, at_ms: u64) -> Vec<(usize, u16)> {
        let (mut framed, mut frames) = (Vec::new(), Vec::new());
        queues.take_framed(Time::from_ms(at_ms), place, 9, &mut framed);
        let mut rest = &framed[..];
        while let Some((prefix, behind)) = rest.split_first_chunk() {
            let (frame, behind) = behind.split_at(usize::from(u16::from_be_bytes(*prefix)));
            let sequence = frame.get(2..4).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
            frames.push((frame.len(), sequence));
            rest = behind;
        }
        frames
    }

    /// Sequence numbers of up to `max` packets.
    fn take(queues: &mut FeedQueues, place: FeedPlace, max: usize) -> Vec<u16> {
        let mut framed = Vec::new();
        let taken = queues.take_framed(Time::ZERO, place, max, &mut framed);
        let sequences: Vec<u16> =
            framed.chunks(202).map(|frame| u16::from_be_bytes([frame[4], frame[5]])).collect();
        assert_eq!(sequences.len(), taken);
        assert!(framed.chunks(202).all(|frame| frame[..2] == [0, 200]));
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
            queues.push(Time::ZERO, packet(n));
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
        queues.push(Time::ZERO, packet(1));
        queues.push(Time::from_ms(3000), packet(2));
        queues.push(Time::from_ms(4001), packet(3));
        assert_eq!(take(&mut queues, place, 9), [2, 3]);
        assert_eq!(queues.dropped_packets()[&slow], 1);
        assert!(!queues.dropped_packets().contains_key(&fast));
    }

    #[test]
    fn a_feed_begins_at_the_live_edge_and_what_all_have_taken_is_let_go() {
        let (fast, slow) = hosts();
        let mut queues = FeedQueues::default();
        queues.push(Time::ZERO, packet(0));
        assert_eq!(queues.waiting_packets(), 0, "nobody is there to take it");
        let first = queues.attach(&slow);
        queues.push(Time::ZERO, packet(1));
        let second = queues.attach(&fast);
        queues.push(Time::ZERO, packet(2));
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
        queues.push(Time::ZERO, packet(0));
        assert_eq!(frames(&mut queues, held, 0), [(200, 0)]);
        queues.hold(Time::from_ms(5), held);
        assert_eq!(frames(&mut queues, held, 5), [(0, 0)], "nothing newer than what was sent");
        let mut got = Vec::new();
        for n in 1..=100 {
            queues.push(Time::from_ms(5 + 2 * u64::from(n)), packet(n));
            got.extend(frames(&mut queues, held, 5 + 2 * u64::from(n)));
            take(&mut queues, flowing, 9);
        }
        assert_eq!(got, [(12, 100)], "one at 205 ms");
        assert_eq!(queues.waiting_packets(), 1, "the newest");
        assert_eq!(queues.next_sample(held), Some(Time::from_ms(405)));
        queues.push(Time::from_ms(300), packet(101));
        queues.push(Time::from_ms(302), packet(102));
        queues.flow(Time::from_ms(303), held);
        queues.push(Time::from_ms(304), packet(103));
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
        queues.push(Time::ZERO, packet(0));
        assert_eq!(frames(&mut queues, place, 0), [(200, 0)]);
        // Held and let go before anything came: the stream has no gap.
        queues.hold(Time::from_ms(1), place);
        queues.flow(Time::from_ms(2), place);
        queues.push(Time::from_ms(3), packet(1));
        assert_eq!(frames(&mut queues, place, 3), [(200, 1)]);
        // Between two samples two came: the first is left out, which a header tells.
        queues.hold(Time::from_ms(4), place);
        assert_eq!(frames(&mut queues, place, 4), [(0, 0)]);
        queues.push(Time::from_ms(5), packet(2));
        queues.push(Time::from_ms(6), packet(3));
        queues.flow(Time::from_ms(7), place);
        assert_eq!(frames(&mut queues, place, 7), [(12, 3), (200, 3)]);
    }

    #[test]
    fn a_held_feed_of_a_silent_input_says_so_and_begins_with_no_old_packet() {
        let (_, host) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host);
        queues.hold(Time::ZERO, place);
        queues.push(Time::from_ms(1), packet(1));
        assert_eq!(frames(&mut queues, place, 1), [(12, 1)]);
        assert_eq!(frames(&mut queues, place, 200), []);
        assert_eq!(frames(&mut queues, place, 201), [(0, 0)]);
        assert_eq!(frames(&mut queues, place, 1_001), [(0, 0)]);
        queues.flow(Time::from_ms(1_001), place);
        assert_eq!(frames(&mut queues, place, 1_001), []);
        queues.push(Time::from_ms(5_000), packet(2));
        assert_eq!(frames(&mut queues, place, 5_000), [(12, 2), (200, 2)]);
    }

    #[test]
    fn a_feed_that_is_held_while_packets_wait_gives_them_up() {
        let (_, host) = hosts();
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host);
        (0..5).for_each(|n| queues.push(Time::ZERO, packet(n)));
        queues.hold(Time::ZERO, place);
        assert_eq!((queues.waiting_packets(), queues.held()[&host]), (1, 4));
        assert_eq!(frames(&mut queues, place, 0), [(12, 4)]);
        queues.flow(Time::ZERO, place);
        assert_eq!(frames(&mut queues, place, 0), [(200, 4)]);
    }
}
