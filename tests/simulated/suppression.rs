//! However many viewers a network has, their interest costs the push server a few packets a second: 10,000 keepers and
//! the real control machine on one LAN, a simulated hour, 1 % loss at each receiver by itself.
//!
//! A loop of its own instead of a world: a network packet is one event for all its receivers. Time is cut into slots
//! shorter than any delay, so nothing within a slot can follow from anything else in it.

#![expect(clippy::unwrap_used, reason = "a test: what fails ends it")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use client::interest::{InterestKeeper, Tune};
use protocols::authority::{ClusterKey, LEASE_LIFETIME, Lease, MacKey};
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p4_control::{
    Command, CommandOrder, Configure, DestinationOrder, INTEREST_TIMEOUT, Interest, Kind, Query, seal,
};
use protocols::p6_broadcast::Announcement;
use protocols::time::{ClusterTime, Time};
use push_server::{Config, Input, Output, PushServer};

const CHANNEL: ChannelId = ChannelId(1);
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 192, 1, 1));
const DATABASE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 7410);
/// One slot, in µs; a network delay is more.
const SLOT_US: u64 = 256;
/// Slots of the wheel: deadlines lie at most 4 s ahead.
const SLOTS: usize = 16_384;
/// From a sender to a receiver.
const DELAY: Duration = Duration::from_micros(300);
/// Between two media packets.
const MEDIA: Duration = Duration::from_millis(200);
const LOSS: f64 = 0.01;
/// The cluster's time at the origin.
const CLUSTER: ClusterTime = ClusterTime(1_790_000_000_000);

/// What was seen of one run.
#[derive(Debug, Default)]
struct Seen {
    /// Interests that left viewers, by second.
    by_second: Vec<u32>,
    /// Times that sending was suspended although viewers watched.
    suspensions: u32,
}

struct Lan {
    random: fastrand::Rng,
    server: PushServer,
    keepers: Vec<InterestKeeper>,
    armed: Vec<Time>,
    wheel: Vec<Vec<u32>>,
    key: ClusterKey,
    sending: bool,
    seen: Seen,
    out: Vec<Output>,
    /// Packets under way to all viewers: when they arrive, and the announced hold (`None`: media).
    to_viewers: std::collections::VecDeque<(Time, Option<Duration>)>,
    to_server: std::collections::VecDeque<(Time, u32)>,
}

fn order(sequence: u64) -> CommandOrder {
    CommandOrder { start: 1, sequence }
}

impl Lan {
    fn new(viewers: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let key = ClusterKey::new([7; 32]);
        let host: HostId = "hall".parse().unwrap();
        let (boot, host_key) = (BootId(5), key.host_key(&host));
        let mut server = PushServer::new(Config { host: host.clone(), key: key.clone() }, boot);
        let destination = DestinationOrder {
            address: GROUP,
            interface: None,
            ttl: 1,
            dscp: 0,
            window_ms: 10,
            broadcast: false,
            assigned: true,
            membership: false,
            announce: false,
        };
        let configure = Configure {
            channel: CHANNEL,
            revision: Revision::new(1, 1),
            part: 0,
            parts: 1,
            port: 7601,
            record: None,
            session: None,
            destinations: vec![destination],
        };
        let query = Query { time: CLUSTER, since: 0, padding: [0; 16] };
        let query = Command { host: host.clone(), host_boot: boot, order: order(1), body: query };
        let configure = Command { host, host_boot: boot, order: order(2), body: configure };
        let mut out = Vec::new();
        for bytes in [seal(Kind::Query, &query, &host_key), seal(Kind::Configure, &configure, &host_key)] {
            server.handle(Time::ZERO, Input::Datagram { from: DATABASE, bytes }, &mut out);
        }
        out.clear();
        Self {
            server,
            keepers: (0..viewers).map(|_| InterestKeeper::new(random.u64(..))).collect(),
            random,
            armed: vec![Time::from_us(u64::MAX); viewers],
            wheel: vec![Vec::new(); SLOTS],
            key,
            sending: false,
            seen: Seen::default(),
            out,
            to_viewers: std::collections::VecDeque::new(),
            to_server: std::collections::VecDeque::new(),
        }
    }

    /// What is due already is done in the next slot.
    fn arm(&mut self, now: Time, viewer: usize) {
        let Some(at) = self.keepers[viewer].deadline() else { return };
        if at < self.armed[viewer] {
            self.armed[viewer] = at;
            self.wheel[slot(at.max(now))].push(u32::try_from(viewer).unwrap());
        }
    }

    /// Viewers tune at random moments of `join`; then the LAN lives until `end`.
    fn run(mut self, join: Duration, end: Time) -> Seen {
        let mut joins: Vec<(Time, usize)> = (0..self.keepers.len())
            .map(|viewer| (Time::from_ms(100) + join.mul_f64(self.random.f64()), viewer))
            .collect();
        joins.sort_unstable_by(|a, b| b.cmp(a));
        self.seen.by_second = vec![0; usize::try_from(end.as_us() / 1_000_000 + 1).unwrap()];
        let mut media_at = Time::from_ms(100);
        let mut now = Time::ZERO;
        let mut due = Vec::new();
        while now < end {
            now += Duration::from_micros(SLOT_US);
            while let Some((_, viewer)) = joins.pop_if(|(at, _)| *at <= now) {
                self.keepers[viewer].tuned(now, Tune::Fresh);
                self.arm(now, viewer);
            }
            if media_at <= now {
                media_at += MEDIA;
                if self.sending {
                    self.to_viewers.push_back((now + DELAY, None));
                }
            }
            while self.to_server.front().is_some_and(|(at, _)| *at <= now) {
                let (_, viewer) = self.to_server.pop_front().unwrap();
                self.interest(now, viewer);
            }
            if self.server.deadline().is_some_and(|(at, _)| at <= now) {
                self.server_handles(now, Input::Tick);
            }
            while self.to_viewers.front().is_some_and(|(at, _)| *at <= now) {
                let (_, held_for) = self.to_viewers.pop_front().unwrap();
                self.deliver(now, held_for);
            }
            let over = slot(now - Duration::from_micros(SLOT_US));
            std::mem::swap(&mut due, &mut self.wheel[over]);
            for viewer in due.drain(..) {
                self.wake(now, viewer as usize);
            }
        }
        self.seen
    }

    fn wake(&mut self, now: Time, viewer: usize) {
        if self.armed[viewer] > now {
            return; // moved since
        }
        self.armed[viewer] = Time::from_us(u64::MAX);
        if self.keepers[viewer].poll(now).is_some() {
            self.seen.by_second[usize::try_from(now.as_us() / 1_000_000).unwrap()] += 1;
            if self.random.f64() >= LOSS {
                self.to_server.push_back((now + DELAY, u32::try_from(viewer).unwrap()));
            }
        }
        self.arm(now, viewer);
    }

    fn interest(&mut self, now: Time, viewer: u32) {
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + viewer));
        let lease = Lease { client, channel: CHANNEL, destination: GROUP, expires: CLUSTER + LEASE_LIFETIME };
        let secret: MacKey = self.key.lease_key().secret(&lease);
        let bytes = Interest { lease, time: CLUSTER + now.since_origin() }.seal(&secret);
        self.server_handles(now, Input::Datagram { from: SocketAddr::new(client, 40_000), bytes });
    }

    fn server_handles(&mut self, now: Time, input: Input) {
        let mut out = std::mem::take(&mut self.out);
        self.server.handle(now, input, &mut out);
        for output in out.drain(..) {
            match output {
                Output::Plan { plan, .. } => {
                    let sending = plan.targets.iter().any(|target| target.sending);
                    self.seen.suspensions += u32::from(self.sending && !sending);
                    self.sending = sending;
                }
                Output::Announce { bytes, .. } => {
                    let announcement = Announcement::open(&bytes, &self.key.announce_key(CHANNEL)).unwrap();
                    self.to_viewers.push_back((now + DELAY, Some(announcement.held_for)));
                }
                _ => {}
            }
        }
        self.out = out;
    }

    /// One packet for all viewers but those that lose it: the distance to the next one that does is geometric.
    fn deliver(&mut self, now: Time, held_for: Option<Duration>) {
        let mut lost = self.next_lost(0);
        for viewer in 0..self.keepers.len() {
            if viewer == lost {
                lost = self.next_lost(viewer + 1);
                continue;
            }
            match held_for {
                Some(held_for) => self.keepers[viewer].heard(now, held_for),
                None => self.keepers[viewer].media(now),
            }
            self.arm(now, viewer);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of viewers")]
    fn next_lost(&mut self, from: usize) -> usize {
        from + ((1.0 - self.random.f64()).ln() / (1.0 - LOSS).ln()) as usize
    }
}

fn slot(at: Time) -> usize {
    usize::try_from(at.as_us() / SLOT_US).unwrap() % SLOTS
}

/// Mean and maximum of interests per second from `from_s` on.
fn figures(seen: &Seen, from_s: usize) -> (f64, u32) {
    let after = &seen.by_second[from_s..];
    (f64::from(after.iter().sum::<u32>()) / after.len() as f64, *after.iter().max().unwrap())
}

const HOUR: Time = Time::from_ms(3_600_000);

#[test]
fn ten_thousand_viewers_send_at_most_twenty_interests_a_second_and_are_never_suspended() {
    let seen = Lan::new(10_000, 1).run(Duration::ZERO, HOUR);
    // All tune in the same moment, so each speaks once then; that moment is over after two seconds.
    let (mean, max) = figures(&seen, 3);
    println!(
        "10,000 viewers, one hour: {mean:.2} interests/s, at most {max}; first seconds {:?}",
        &seen.by_second[..4]
    );
    assert_eq!(seen.suspensions, 0);
    assert!(max <= 20, "{max} interests in one second");
}

#[test]
fn ten_thousand_viewers_who_join_over_ten_seconds_speak_about_once_each() {
    let seen = Lan::new(10_000, 2).run(Duration::from_secs(10), Time::from_ms(60_000));
    let total: u32 = seen.by_second[..12].iter().sum();
    println!("10,000 join over 10 s: {:?} interests by second", &seen.by_second[..14]);
    assert_eq!(seen.suspensions, 0);
    assert!(total < 12_000, "{total} interests for 10,000 viewers");
    assert!(figures(&seen, 13).1 <= 20);
}

#[test]
fn the_cost_at_the_push_server_grows_at_most_logarithmically() {
    let mut rates = Vec::new();
    for viewers in [1, 10, 100, 1_000, 10_000] {
        let seen = Lan::new(viewers, 3).run(Duration::ZERO, Time::from_ms(600_000));
        let (mean, max) = figures(&seen, 3);
        println!("{viewers} viewers: {mean:.2} interests/s, at most {max}");
        assert_eq!(seen.suspensions, 0, "{viewers} viewers");
        assert!(mean > 1.0 / INTEREST_TIMEOUT.as_secs_f64());
        rates.push(mean);
    }
    // Four decades more viewers: at most four times one viewer's rate, and one.
    assert!(rates[4] <= 4.0 * rates[0] + 1.0, "{rates:?}");
}
