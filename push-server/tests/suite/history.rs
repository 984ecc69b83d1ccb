//! Goal: a channel's path knows where decoding may begin, has its ring grow for that, and takes packets of the past that
//! no destination is sent. Method: packets and asides as the deframer lays them into the ring, with literal numbers; and
//! whatever order of feeding, holding and bringing the past, seeded.

#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use protocols::ids::{ChannelId, Revision};
use protocols::p3_feed::{AccessPoint, HEADER_BYTES, History, HistorySlice, MAX_HISTORY_PACKETS, Mark};
use protocols::time::{ClusterTime, Time};
use push_server::path::{ChannelPath, Drops, Pace};
use push_server::plan::{Plan, Target};
use push_server::ring::{MAX_SLOTS, Run, SLOTS};

const SSRC: u32 = 9;
/// Numbers begin where sequence numbers are about to wrap.
const FIRST: u64 = 3 * 65_536 - 40;

fn ms(ms: u64) -> Time {
    Time::from_ms(1_000 + ms)
}

/// Packet number `n`, 190 ticks from the one before.
fn packet(n: u64) -> [u8; 200] {
    let mut packet = [u8::try_from(n % 251).unwrap(); 200];
    packet[..HEADER_BYTES].copy_from_slice(&[0x80, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    packet[2..4].copy_from_slice(&n.to_be_bytes()[6..]);
    packet[4..8].copy_from_slice(&n.wrapping_mul(190).to_be_bytes()[4..]);
    packet
}

fn mark(number: u64) -> [u8; 16] {
    Mark { number, date: ClusterTime(number) }.encode()
}

fn point(number: u64) -> [u8; 8] {
    AccessPoint { number }.encode()
}

fn history(first: u64, packets: u16) -> [u8; 14] {
    History { first, packets, ssrc: SSRC }.encode()
}

/// A path, and what its one destination was sent.
struct Scene {
    path: ChannelPath,
    sent: Vec<u16>,
}

impl Scene {
    fn new(watched: bool) -> Self {
        let mut scene = Self { path: ChannelPath::new(ChannelId(1)), sent: Vec::new() };
        scene.path.feed_opened();
        scene.watch(ms(0), watched);
        scene
    }

    fn watch(&mut self, now: Time, sending: bool) {
        let target = Target {
            address: IpAddr::from([239, 192, 1, 1]),
            interface: None,
            ttl: 1,
            dscp: 34,
            window: Duration::ZERO,
            broadcast: false,
            sending,
        };
        self.path.apply(now, Arc::new(Plan { revision: Revision(1), port: 7_601, targets: vec![target] }));
        self.drain(now);
    }

    fn lay(&mut self, now: Time, frame: &[u8]) {
        self.path.slot()[..frame.len()].copy_from_slice(frame);
        self.path.commit(now, frame.len());
    }

    /// So many packets as they are made, 2 ms apart from `now` on, the first one marked; all that may leave does.
    fn flow(&mut self, now: Time, numbers: std::ops::Range<u64>) {
        self.lay(now, &mark(numbers.start));
        for (n, number) in (0..).zip(numbers) {
            self.lay(now + Duration::from_millis(2 * n), &packet(number));
            self.drain(now + Duration::from_millis(2 * n));
        }
    }

    /// A slice of the past, its first packet marked.
    fn slice(&mut self, now: Time, first: u64, packets: u16) {
        self.lay(now, &HistorySlice { first, packets }.encode());
        self.lay(now, &mark(first));
        (first..first + u64::from(packets)).for_each(|number| self.lay(now, &packet(number)));
    }

    fn drain(&mut self, now: Time) {
        let sent = &mut self.sent;
        self.path.drain(now, &mut |_, runs| {
            let packets = runs.iter().flat_map(Run::packets);
            sent.extend(packets.map(|packet| u16::from_be_bytes([packet[2], packet[3]])));
            runs.iter().map(Run::len).sum()
        });
    }

    /// Numbers of the packets from the newest random access point on, as far as they are here.
    fn burst(&self) -> Option<std::ops::Range<u64>> {
        let positions = self.path.newest_access()?..self.path.whole_until();
        let number = |at| self.path.number(at).unwrap();
        for at in positions.clone() {
            assert_eq!(self.path.packet(at), Some(&packet(number(at))[..]), "position {at}");
            assert_eq!(number(at), number(positions.start) + at - positions.start);
            assert!(self.path.date(at).is_none_or(|date| date.0 <= number(at)));
        }
        Some(number(positions.start)..number(positions.end - 1) + 1)
    }
}

fn low(numbers: std::ops::Range<u64>) -> Vec<u16> {
    numbers.map(|number| u16::try_from(number % 65_536).unwrap()).collect()
}

#[test]
fn the_newest_random_access_point_is_where_the_feed_says() {
    let mut scene = Scene::new(true);
    assert_eq!(scene.burst(), None);
    scene.flow(ms(0), FIRST..FIRST + 50);
    assert_eq!(scene.burst(), None);
    scene.lay(ms(100), &point(FIRST + 47));
    assert_eq!(scene.burst(), Some(FIRST + 47..FIRST + 50));
    scene.flow(ms(100), FIRST + 50..FIRST + 60);
    scene.lay(ms(120), &point(FIRST + 59));
    assert_eq!(scene.burst(), Some(FIRST + 59..FIRST + 60));
    // Of packets that are not here: to come, before all, of before the present point.
    for wrong in [FIRST + 60, FIRST - 1, FIRST + 58, 0, u64::MAX] {
        scene.lay(ms(120), &point(wrong));
        assert_eq!(scene.burst(), Some(FIRST + 59..FIRST + 60));
    }
    assert_eq!(scene.path.drops(), Drops { wrong_asides: 5, ..Drops::default() });
    assert_eq!((scene.sent.len(), scene.path.packets()), (60, 60), "asides are no packets");
    // Behind a gap, what is before it is not told by its number.
    scene.flow(ms(120), FIRST + 70..FIRST + 71);
    scene.lay(ms(120), &point(FIRST + 60));
    assert_eq!(scene.path.drops().wrong_asides, 6);
    scene.path.feed_opened();
    assert_eq!(scene.burst(), None, "a new feed says it anew");
}

#[test]
fn a_point_without_numbers_is_counted_and_ignored() {
    let mut scene = Scene::new(false);
    (0..5).for_each(|n| scene.lay(ms(n), &packet(n)));
    scene.lay(ms(5), &point(3));
    assert_eq!((scene.burst(), scene.path.drops().wrong_asides), (None, 1));
}

#[test]
fn the_ring_grows_while_no_new_point_comes_and_a_channel_with_points_enough_keeps_it_small() {
    let slot = scene_bytes(SLOTS) / SLOTS;
    assert_eq!(slot, 1_338);
    let mut scene = Scene::new(true);
    let mut now = ms(0);
    let mut flow = |scene: &mut Scene, from: u64, packets: u64| {
        scene.flow(now, FIRST + from..FIRST + from + packets);
        now += Duration::from_millis(2 * packets);
        now
    };
    // A point each 900 packets, told three packets late.
    for gop in 0..4 {
        let now = flow(&mut scene, gop * 900, 3);
        scene.lay(now, &point(FIRST + gop * 900));
        flow(&mut scene, gop * 900 + 3, 897);
        assert_eq!(scene.path.ring_bytes(), SLOTS * slot, "GOP {gop}");
    }
    // One of 3,500: seven seconds.
    let now = flow(&mut scene, 3_600, 1);
    scene.lay(now, &point(FIRST + 3_600));
    for (packets, slots) in
        [(1_021, SLOTS), (1, 2 * SLOTS), (1_023, 2 * SLOTS), (1, 4 * SLOTS), (1_453, 4 * SLOTS)]
    {
        let from = scene.path.packets();
        flow(&mut scene, from, packets);
        assert_eq!(scene.path.ring_bytes(), slots * slot, "{packets} from {from}");
        assert_eq!(scene.burst(), Some(FIRST + 3_600..FIRST + from + packets));
    }
    assert_eq!(scene.sent, low(FIRST..FIRST + 7_100), "nobody has noticed");
    assert_eq!(scene.path.drops(), Drops::default());
    // More than eight seconds: nobody should begin there.
    flow(&mut scene, 7_100, 700);
    assert_eq!((scene.path.ring_bytes(), scene.burst()), (4 * SLOTS * slot, None));
}

fn scene_bytes(slots: usize) -> usize {
    let scene = Scene::new(false);
    assert_eq!(scene.path.ring_bytes() % slots, 0);
    scene.path.ring_bytes()
}

#[test]
fn a_fast_channel_has_eight_thousand_slots_at_most() {
    let mut scene = Scene::new(false);
    scene.lay(ms(0), &mark(FIRST));
    scene.lay(ms(0), &packet(FIRST));
    scene.lay(ms(0), &point(FIRST));
    let most = MAX_SLOTS as u64 - 1;
    for n in 1..most {
        scene.lay(ms(n / 3), &packet(FIRST + n));
    }
    assert_eq!(scene.burst(), Some(FIRST..FIRST + most));
    assert_eq!(scene.path.ring_bytes(), 10_960_896);
    scene.lay(ms(3_000), &packet(FIRST + most));
    assert_eq!((scene.burst(), scene.path.ring_bytes()), (None, 10_960_896));
}

#[test]
fn what_is_brought_of_the_past_lies_before_the_newest_and_no_destination_is_sent_it() {
    let mut scene = Scene::new(false);
    scene.flow(ms(0), FIRST..FIRST + 5);
    scene.lay(ms(20), &packet(FIRST + 300)[..HEADER_BYTES]);
    scene.watch(ms(1_000), true);
    // It flows again: the newest at once, and then what is made and what was, in turn.
    scene.lay(ms(1_001), &packet(FIRST + 500)[..HEADER_BYTES]);
    scene.lay(ms(1_001), &history(FIRST + 400, 100));
    scene.lay(ms(1_001), &point(FIRST + 400));
    assert_eq!(scene.burst(), None);
    scene.flow(ms(1_001), FIRST + 500..FIRST + 501);
    assert_eq!(scene.sent, low(FIRST + 500..FIRST + 501));
    scene.slice(ms(1_002), FIRST + 400, 30);
    assert_eq!(scene.burst(), Some(FIRST + 400..FIRST + 430));
    scene.flow(ms(1_003), FIRST + 501..FIRST + 503);
    assert_eq!(scene.burst(), Some(FIRST + 400..FIRST + 430));
    scene.slice(ms(1_004), FIRST + 430, 70);
    assert_eq!(scene.burst(), Some(FIRST + 400..FIRST + 503));
    scene.flow(ms(1_005), FIRST + 503..FIRST + 510);
    assert_eq!(scene.burst(), Some(FIRST + 400..FIRST + 510));
    assert_eq!(scene.sent, low(FIRST + 500..FIRST + 510));
    assert_eq!((scene.path.packets(), scene.path.drops()), (15, Drops::default()), "the past is not counted");
}

#[test]
fn a_feed_that_begins_brings_the_past_before_anything_is_made() {
    let mut scene = Scene::new(true);
    scene.lay(ms(0), &history(FIRST, 60));
    scene.lay(ms(0), &point(FIRST));
    scene.slice(ms(1), FIRST, 60);
    scene.drain(ms(1));
    assert_eq!(scene.burst(), Some(FIRST..FIRST + 60));
    assert!(!scene.path.flowing(ms(1)), "what was is no sign of what is");
    scene.watch(ms(2), true);
    scene.flow(ms(2), FIRST + 60..FIRST + 63);
    assert_eq!(scene.burst(), Some(FIRST..FIRST + 63));
    assert_eq!(scene.sent, low(FIRST + 60..FIRST + 63));
}

#[test]
fn only_what_is_not_here_finds_a_place_and_the_rest_is_counted() {
    let mut scene = Scene::new(true);
    scene.flow(ms(0), FIRST..FIRST + 50);
    // Another connection, ten packets later.
    scene.path.feed_opened();
    scene.lay(ms(120), &history(FIRST + 20, 40));
    scene.lay(ms(120), &point(FIRST + 20));
    assert_eq!(scene.burst(), Some(FIRST + 20..FIRST + 50));
    scene.flow(ms(120), FIRST + 60..FIRST + 62);
    scene.slice(ms(122), FIRST + 20, 40);
    assert_eq!(scene.burst(), Some(FIRST + 20..FIRST + 62));
    assert_eq!(scene.path.positions(), 0..62);
    assert_eq!(scene.path.drops(), Drops { unwanted: 30, ..Drops::default() });
    assert_eq!(scene.sent, [low(FIRST..FIRST + 50), low(FIRST + 60..FIRST + 62)].concat());
}

#[test]
fn what_is_announced_and_does_not_come_is_given_up() {
    let mut scene = Scene::new(true);
    scene.lay(ms(0), &history(FIRST, 60));
    scene.lay(ms(0), &point(FIRST));
    scene.slice(ms(0), FIRST, 20);
    assert_eq!(scene.burst(), Some(FIRST..FIRST + 20));
    // Ten are left out: what is before them is of no use.
    scene.slice(ms(0), FIRST + 30, 10);
    assert_eq!(scene.burst(), None);
    scene.lay(ms(1), &point(FIRST + 31));
    assert_eq!(scene.burst(), Some(FIRST + 31..FIRST + 40));
    scene.flow(ms(1), FIRST + 60..FIRST + 62);
    scene.lay(ms(2), &history(FIRST + 60, 0));
    assert_eq!((scene.burst(), scene.path.whole_until()), (None, 62));
    scene.lay(ms(2), &point(FIRST + 61));
    assert_eq!(scene.burst(), Some(FIRST + 61..FIRST + 62));
    // Held while it comes: the rest is of the past for good.
    scene.lay(ms(3), &history(FIRST + 70, 10));
    scene.slice(ms(3), FIRST + 70, 5);
    scene.lay(ms(4), &packet(FIRST + 90)[..HEADER_BYTES]);
    assert_eq!((scene.burst(), scene.path.whole_until()), (None, scene.path.positions().end));
    assert_eq!(scene.path.drops(), Drops::default());
}

#[test]
fn what_never_comes_is_given_up_when_its_places_are_needed() {
    let mut scene = Scene::new(true);
    scene.lay(ms(0), &history(FIRST, 20));
    scene.flow(ms(0), FIRST + 20..FIRST + 20 + SLOTS as u64 - 5);
    assert_eq!((scene.path.whole_until(), scene.path.pace(ms(0))), (0, Pace::Arrival));
    assert!(scene.path.counters_due(ms(60_000)).is_some());
    assert_eq!(scene.path.whole_until(), scene.path.positions().end);
}

#[test]
fn a_past_that_cannot_be_is_counted_and_takes_no_place() {
    let mut scene = Scene::new(true);
    scene.flow(ms(0), FIRST..FIRST + 3);
    for wrong in [history(u64::MAX - 3, 9), history(FIRST, MAX_HISTORY_PACKETS + 1), history(0, u16::MAX)] {
        scene.lay(ms(3), &wrong);
    }
    assert_eq!((scene.path.drops().wrong_asides, scene.path.positions()), (3, 0..3));
    // All of it is here, or before it.
    scene.lay(ms(3), &history(FIRST, 3));
    scene.lay(ms(3), &history(FIRST - 9, 5));
    assert_eq!(scene.path.positions(), 0..8, "what is before all that is here is another row");
    // Packets that are not those announced.
    scene.lay(ms(3), &HistorySlice { first: FIRST - 9, packets: 3 }.encode());
    scene.lay(ms(3), &packet(FIRST - 8));
    scene.lay(ms(3), &[0; 200]);
    let mut other = packet(FIRST - 7);
    other[11] = 8;
    scene.lay(ms(3), &other);
    assert_eq!(scene.path.drops().wrong_asides, 6);
    scene.slice(ms(3), u64::MAX - 5, 1);
    scene.slice(ms(3), FIRST + 900, 4);
    assert_eq!(scene.path.drops(), Drops { wrong_asides: 6, unwanted: 5, ..Drops::default() });
    assert_eq!(scene.path.packets(), 3);
}

/// Asides, headers and packets of anything, of numbers near and far: nothing of it ends the data thread, and what is said to
/// be here is.
#[test]
fn no_asides_panic() {
    for seed in 0..150 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut scene = Scene::new(random.bool());
        for n in 0..120 {
            let number = match random.u32(..8) {
                0 => random.u64(..),
                1 => random.u64(..9),
                2 => u64::MAX - random.u64(..9),
                _ => FIRST + random.u64(..400),
            };
            let packets = *random.choice(&[0, 1, 2, 9, 300, MAX_HISTORY_PACKETS, u16::MAX]).unwrap();
            let now = ms(n * random.u64(1..40));
            match random.u32(..9) {
                0 => scene.lay(now, &mark(number)),
                1 => scene.lay(now, &point(number)),
                2 => scene.lay(now, &history(number, packets)),
                3 => scene.lay(now, &HistorySlice { first: number, packets }.encode()),
                4 => scene.lay(now, &packet(number)[..HEADER_BYTES]),
                5 => scene.slice(now, number.min(u64::MAX - 9), packets.min(9)),
                6 => (0..9).for_each(|n| scene.lay(now, &packet(number.wrapping_add(n)))),
                7 if random.bool() => scene.path.feed_opened(),
                _ => scene.lay(now, &packet(number)),
            }
            scene.drain(now);
            let (whole_until, positions) = (scene.path.whole_until(), scene.path.positions());
            assert!(whole_until <= positions.end, "seed {seed}");
            let here = scene.path.newest_access().is_none_or(|at| scene.path.packet(at).is_some());
            assert!(here, "seed {seed}, step {n}");
        }
        assert!(scene.path.ring_bytes() <= MAX_SLOTS * 1_338);
    }
}

/// Whatever a feed does: what a viewer could be given from the newest point on is without gap and repetition, byte for
/// byte, and the destination is sent each packet once, in order, and none of the past.
#[test]
fn in_any_order_the_past_and_the_present_make_one_stream() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut scene = Scene::new(true);
        let (mut next, mut now, mut made) = (FIRST, ms(0), Vec::new());
        for _ in 0..40 {
            now += Duration::from_millis(40);
            match random.u32(..5) {
                0 => {
                    next += random.u64(1..300);
                    scene.lay(now, &packet(next)[..HEADER_BYTES]);
                }
                1 => {
                    scene.path.feed_opened();
                    next += random.u64(..20);
                }
                _ => {}
            }
            let first = next - random.u64(..600).min(next - FIRST);
            if random.bool() {
                let packets = u16::try_from(next - first).unwrap();
                scene.lay(now, &history(first, packets));
                scene.lay(now, &point(first));
            }
            let mut past = first..next;
            for _ in 0..random.u32(..6) {
                let packets = random.u64(1..200);
                if random.bool() && !past.is_empty() {
                    let packets = packets.min(past.end - past.start);
                    scene.slice(now, past.start, u16::try_from(packets).unwrap());
                    past.start += packets;
                } else {
                    let until = next + packets.min(16);
                    scene.lay(now, &mark(next));
                    (next..until).for_each(|number| scene.lay(now, &packet(number)));
                    made.extend(low(next..until));
                    next = until;
                    if random.u32(..3) == 0 {
                        scene.lay(now, &point(next - random.u64(1..=packets.min(16))));
                    }
                }
                now += Duration::from_millis(10);
                scene.drain(now);
                scene.burst();
            }
        }
        scene.drain(now + Duration::from_millis(500));
        let mut due = made.iter();
        assert!(scene.sent.iter().all(|sent| due.any(|made| made == sent)), "seed {seed}: {:?}", scene.sent);
        assert_eq!(scene.path.packets(), made.len() as u64, "seed {seed}");
    }
}
