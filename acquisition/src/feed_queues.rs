//! Packets on their way to the push servers: one store, a place in it for each feed.
//!
//! A feed that keeps up costs nothing; one that does not loses the oldest packets and nobody else's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use media::RtpPacket;
use protocols::ids::HostId;
use protocols::p3_feed::length_prefix;
use protocols::time::Time;

/// Packets kept for the slowest feed at most: 8 s at 5 Mb/s. When more come, it loses the oldest.
pub const MAX_PACKETS: usize = 4096;
/// Age at which a packet is of no use to a feed that has not taken it, and is dropped.
pub const MAX_AGE: Duration = Duration::from_secs(4);

/// The queues of one channel's feeds.
#[derive(Debug, Default)]
pub struct FeedQueues {
    packets: VecDeque<(Time, RtpPacket)>,
    /// Number of the packet at the front.
    front: u64,
    places: BTreeMap<FeedPlace, Place>,
    last_place: u64,
    dropped_packets: BTreeMap<HostId, u64>,
}

/// One connection's place in the queues. A connection that follows another to the same host has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPlace(u64);

#[derive(Debug)]
struct Place {
    host: HostId,
    /// Number of the packet to be taken next.
    next: u64,
}

impl FeedQueues {
    /// Begins a queue for a connection to `host`, at the live edge.
    pub fn attach(&mut self, host: &HostId) -> FeedPlace {
        self.last_place += 1;
        let place = FeedPlace(self.last_place);
        self.places.insert(place, Place { host: host.clone(), next: self.end() });
        self.trim();
        place
    }

    /// Ends that queue. The host's counter stays.
    pub fn detach(&mut self, place: FeedPlace) {
        self.places.remove(&place);
        self.trim();
    }

    /// Queues `packet` for all; drops what has become too old or too much.
    pub fn push(&mut self, now: Time, packet: RtpPacket) {
        if self.places.is_empty() {
            return;
        }
        self.packets.push_back((now, packet));
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

    /// Appends up to `max` packets to `out`, each framed as RFC 4571 says; answers how many.
    pub fn take_framed(&mut self, place: FeedPlace, max: usize, out: &mut Vec<u8>) -> usize {
        let Some(place) = self.places.get_mut(&place) else { return 0 };
        let skip = usize::try_from(place.next - self.front).unwrap_or(usize::MAX);
        let mut taken = 0;
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

    /// Packets held for the slowest feed.
    pub fn held_packets(&self) -> usize {
        self.packets.len()
    }

    fn end(&self) -> u64 {
        self.front + self.packets.len() as u64
    }

    /// Lets go of what every feed has taken.
    fn trim(&mut self) {
        let needed_from = self.places.values().map(|place| place.next).min().unwrap_or(self.end());
        let done = usize::try_from(needed_from - self.front).unwrap_or(usize::MAX);
        self.packets.drain(..done);
        self.front = needed_from;
    }
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

    /// Sequence numbers of up to `max` packets.
    fn take(queues: &mut FeedQueues, place: FeedPlace, max: usize) -> Vec<u16> {
        let mut framed = Vec::new();
        let taken = queues.take_framed(place, max, &mut framed);
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
        assert_eq!(queues.held_packets(), MAX_PACKETS);
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
        assert_eq!(queues.held_packets(), 0, "nobody is there to take it");
        let first = queues.attach(&slow);
        queues.push(Time::ZERO, packet(1));
        let second = queues.attach(&fast);
        queues.push(Time::ZERO, packet(2));
        assert_eq!(take(&mut queues, second, 9), [2]);
        assert_eq!(queues.held_packets(), 2);
        queues.detach(first);
        assert_eq!(queues.held_packets(), 0);
        assert!(take(&mut queues, first, 9).is_empty());
    }
}
