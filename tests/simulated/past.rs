//! Goal: whatever becomes of a feed (held, let flow, slow, replaced), a push server holds one stream without gap and
//! repetition from the newest random access point to the newest packet, and no destination is sent what was made before
//! its feed flowed. Method: the acquisition server's queues, their bytes through the deframer, into a channel's path; seeds.
#![expect(clippy::unwrap_used, reason = "tests: what cannot be unwrapped fails the test")]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use acquisition::feed_queues::{FeedPlace, FeedQueues, Moment};
use media::rtp::{PAYLOAD_TYPE_MP2T, RtpHeader, RtpPacket};
use media::sequence::Sequence;
use protocols::ids::{ChannelId, HostId, Revision};
use protocols::p3_feed::MAX_HISTORY_PACKETS;
use protocols::time::{ClusterTime, Time};
use push_server::deframer::{Deframer, Step};
use push_server::path::{ChannelPath, Drops};
use push_server::plan::{Plan, Target};
use push_server::ring::Run;

/// The first number: sequence numbers wrap a few seconds later.
const FIRST: u64 = 64_000;
/// Time between two packets: a channel of 5 Mb/s.
const SPACING: Duration = Duration::from_micros(2_100);

/// One feed from queue to ring.
struct Feed {
    random: fastrand::Rng,
    now: Time,
    queues: FeedQueues,
    place: FeedPlace,
    held: bool,
    /// On its way.
    wire: VecDeque<u8>,
    deframer: Deframer,
    path: ChannelPath,
    /// How many packets were made.
    made: u64,
    /// Number of the next packet when the feed was held.
    held_from: u64,
    /// Numbers of packets that were made while the feed was held or away, but for the newest.
    left_out: Vec<Range<u64>>,
    sent: u64,
    newest_point: u64,
}

fn packet(number: u64) -> RtpPacket {
    let sequence = Sequence(u16::try_from(number % 65_536).unwrap());
    let timestamp_90k = u32::try_from(number * 189 % (1 << 32)).unwrap();
    let header =
        RtpHeader { marker: false, payload_type: PAYLOAD_TYPE_MP2T, sequence, timestamp_90k, ssrc: 7 };
    let transport: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(188).collect();
    RtpPacket::new(&header, &transport.repeat(if number.is_multiple_of(9) { 2 } else { 7 })).unwrap()
}

impl Feed {
    fn new(seed: u64) -> Self {
        let mut queues = FeedQueues::default();
        let place = queues.attach(&host());
        let mut path = ChannelPath::new(ChannelId(1));
        path.feed_opened();
        let target = Target {
            address: IpAddr::from([239, 192, 1, 1]),
            interface: None,
            ttl: 1,
            dscp: 34,
            window: Duration::from_millis(10),
            broadcast: false,
            sending: true,
        };
        let now = Time::from_ms(1_000);
        path.apply(now, Arc::new(Plan { revision: Revision(1), port: 7_601, targets: vec![target] }));
        Self {
            random: fastrand::Rng::with_seed(seed),
            now,
            queues,
            place,
            held: false,
            wire: VecDeque::new(),
            deframer: Deframer::default(),
            path,
            made: 0,
            held_from: FIRST,
            left_out: Vec::new(),
            sent: FIRST,
            newest_point: u64::MAX,
        }
    }

    /// Makes a packet; with so many to a picture group at most.
    fn make(&mut self, group: u64) {
        let number = FIRST + self.made;
        let wall = ClusterTime(1_800_000_000_000 + self.now.as_us() / 1_000);
        self.queues.push(Moment { now: self.now, wall }, packet(number));
        self.made += 1;
        self.now += SPACING;
        if self.newest_point == u64::MAX || number - self.newest_point >= group {
            let back = self.random.u64(..4).min(number - FIRST);
            self.newest_point = number - back;
            self.queues.access_point(back);
        }
    }

    /// Lets the sender write, and the receiver read what has come by now.
    fn carry(&mut self, packets: usize, most_bytes: usize) {
        let mut framed = Vec::new();
        self.queues.take_framed(self.now, self.place, packets, &mut framed);
        self.wire.extend(framed);
        let mut left = most_bytes.min(self.wire.len());
        while left > 0 {
            match self.deframer.step() {
                Step::Length(most) => {
                    let length: Vec<u8> = self.wire.drain(..most.min(left)).collect();
                    left -= length.len();
                    self.deframer.length_bytes(&length).unwrap();
                }
                Step::Body { from, to } => {
                    let bytes = (to - from).min(left);
                    let slot = &mut self.path.slot()[from..from + bytes];
                    slot.iter_mut().zip(self.wire.drain(..bytes)).for_each(|(slot, byte)| *slot = byte);
                    left -= bytes;
                    if let Some(len) = self.deframer.body_bytes(bytes) {
                        self.path.commit(self.now, len);
                    }
                }
            }
        }
        let (sent, left_out) = (&mut self.sent, &self.left_out);
        self.path.drain(self.now, &mut |_, runs| {
            for bytes in runs.iter().flat_map(Run::packets) {
                let low = u16::from_be_bytes([bytes[2], bytes[3]]);
                let ahead = low.wrapping_sub(u16::try_from(*sent % 65_536).unwrap());
                let number = *sent + u64::from(ahead);
                assert!(!left_out.iter().any(|range| range.contains(&number)), "{number} is past");
                assert!(number < *sent + 30_000, "{number} behind {sent}");
                assert!(*bytes == *packet(number).as_bytes());
                *sent = number + 1;
            }
            runs.iter().map(Run::len).sum()
        });
    }

    /// What a viewer could be given now, judged.
    fn burst(&self) -> Option<(u64, u64)> {
        let positions = self.path.newest_access()?..self.path.whole_until();
        let first = self.path.number(positions.start).unwrap();
        for (at, number) in positions.clone().zip(first..) {
            assert!(
                self.path.packet(at) == Some(packet(number).as_bytes()),
                "{number} at {at} of {positions:?}"
            );
            assert_eq!(self.path.number(at), Some(number));
            assert!(self.path.date(at).is_some());
        }
        Some((first, first + positions.end - positions.start))
    }

    fn replace(&mut self) {
        self.queues.detach(self.place);
        // Nothing is left of the old connection but what has been read.
        self.wire.clear();
        self.deframer = Deframer::default();
        self.place = self.queues.attach(&host());
        self.path.feed_opened();
        if std::mem::take(&mut self.held) {
            self.left_out.push(self.held_from..FIRST + self.made);
        }
    }

    fn order(&mut self) {
        self.held = !self.held;
        if self.held {
            self.queues.hold(self.now, self.place);
            self.held_from = FIRST + self.made;
        } else {
            self.queues.flow(self.now, self.place);
            self.left_out.push(self.held_from..FIRST + self.made.saturating_sub(1));
        }
    }
}

fn host() -> HostId {
    "hall".parse().unwrap()
}

#[test]
fn the_ring_holds_one_stream_from_the_newest_point_whatever_becomes_of_the_feed() {
    for seed in 0..20 {
        let mut feed = Feed::new(seed);
        // From half a second to seven seconds.
        let group = feed.random.u64(200..3_300);
        for _ in 0..120 {
            match feed.random.u32(..12) {
                0 | 1 => feed.order(),
                2 => feed.replace(),
                _ => {}
            }
            let (packets, bytes) = (feed.random.usize(1..40), 1 << feed.random.u32(6..17));
            for _ in 0..feed.random.u32(1..150) {
                feed.make(group);
                if feed.random.u32(..4) == 0 {
                    feed.carry(packets, bytes);
                }
            }
            feed.burst();
        }
        if feed.held {
            feed.order();
        }
        // All that waits arrives, whatever has happened, and then the next point at the latest.
        for _ in 0..group + 8 {
            feed.make(group);
            feed.carry(60, usize::MAX);
        }
        for _ in 0..500 {
            feed.carry(60, usize::MAX);
        }
        assert_eq!(feed.burst(), Some((feed.newest_point, FIRST + feed.made)), "seed {seed}");
        let Drops { not_rtp, wrong_marks, .. } = feed.path.drops();
        assert_eq!((not_rtp, wrong_marks), (0, 0), "seed {seed}");
        assert!(feed.queues.kept_packets() <= usize::from(MAX_HISTORY_PACKETS), "seed {seed}");
    }
}

#[test]
fn a_first_viewer_is_given_the_past_within_what_the_wire_takes_and_the_newest_packet_at_once() {
    let mut feed = Feed::new(1);
    for _ in 0..3_000 {
        feed.make(10_000);
        feed.carry(32, usize::MAX);
        feed.burst();
        if feed.made == 100 {
            feed.order();
        }
    }
    feed.order();
    let before = feed.path.packets();
    feed.carry(32, 2_000);
    assert_eq!(
        (feed.path.packets(), feed.sent),
        (before + 1, FIRST + 3_000),
        "the newest, in the first 2,000 bytes"
    );
    let mut turns = 0;
    while feed.burst().is_none_or(|(first, end)| (first, end) != (feed.newest_point, FIRST + feed.made)) {
        feed.carry(32, 42_000);
        turns += 1;
    }
    // 2,899 packets of 1,330 bytes, some shorter, 31 of them in the first batch.
    assert!((80..=100).contains(&turns), "{turns}");
    assert_eq!(feed.path.drops(), Drops::default());
}
