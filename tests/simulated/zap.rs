//! The seam between P5 and P6: the client's machine and the push server's, over links that lose, reorder and are late. Nothing
//! is shown twice, nothing is skipped, and no session is left behind.
#![expect(clippy::unwrap_used, reason = "tests: what cannot be unwrapped fails the test")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use client::live::Policy;
use client::viewer::{Counters, Group, Input, Notice, Output, Receiving, Viewer};
use masthead_tests::lossy_link::{Direction, Loss, Nature};
use media::sequence::Sequence;
use protocols::authority::{ClusterKey, LEASE_LIFETIME, Lease};
use protocols::ids::{ChannelId, Generation, Revision};
use protocols::p2_directory::{ChannelEntry, ChannelList, ChannelStatus, ToClient, ToDatabase, Tuning};
use protocols::p3_feed::{ACCESS_POINT_BYTES, AccessPoint, HEADER_BYTES, Mark};
use protocols::p4_control::{Kind, LiveRequest, Repair, Sealed};
use protocols::time::{ClusterTime, Time};
use push_server::admission::LiveAsked;
use push_server::counters::Counters as ServerCounters;
use push_server::live::table::{self, LiveTable, Standing};
use push_server::path::{ChannelPath, Wanted};
use push_server::plan::{Plan, Target};
use push_server::repair::{Answer, Asker};
use push_server::ring::Run;

/// A 5 Mb/s channel, more or less.
const SPACING: Duration = Duration::from_millis(2);
/// A data thread's turns.
const TURN: Duration = Duration::from_millis(5);
/// The push server has been at work for so long when the client comes.
const BEFORE: Duration = Duration::from_secs(6);
/// The acquisition server's number of the first packet: sequence numbers wrap while it is watched.
const FIRST: u64 = 62_000;
const CHANNELS: u32 = 2;
const SEEDS: u64 = 3;

/// What the network is like.
#[derive(Debug, Clone, Copy)]
struct Case {
    #[expect(dead_code, reason = "failures show it")]
    name: &'static str,
    loss: Loss,
    round_trip: Duration,
    /// Datagrams overtake each other by up to this.
    jitter: Duration,
    /// From joining to the first packet of the group.
    join: Duration,
    /// Packets from one random access point to the next.
    gop_packets: u64,
}

const CLEAN: Case = Case {
    name: "clean",
    loss: Loss::Independent(0.0),
    round_trip: Duration::from_millis(1),
    jitter: Duration::from_micros(100),
    join: Duration::from_millis(3),
    gop_packets: 500,
};

fn cases() -> Vec<Case> {
    let ms = Duration::from_millis;
    vec![
        CLEAN,
        Case { name: "short GOP", gop_packets: 125, ..CLEAN },
        Case { name: "long GOP", gop_packets: 2_500, ..CLEAN },
        Case { name: "loss of 2 %", loss: Loss::Independent(0.02), ..CLEAN },
        Case { name: "loss of 5 %", loss: Loss::Independent(0.05), round_trip: ms(5), ..CLEAN },
        Case { name: "reordering", jitter: ms(8), ..CLEAN },
        Case { name: "reordering and loss", jitter: ms(8), loss: Loss::Independent(0.02), ..CLEAN },
        Case { name: "late join", join: ms(800), ..CLEAN },
        Case { name: "a join of more than a second", join: ms(2_500), ..CLEAN },
        Case { name: "far away", round_trip: ms(40), jitter: ms(2), ..CLEAN },
        Case {
            name: "burst loss",
            loss: Loss::Bursts { share: 0.02, bad: ms(20), bad_loss: 0.5 },
            round_trip: ms(5),
            ..CLEAN
        },
    ]
}

/// Goal: whatever the link does, a zap shows a channel from a random access point on, each packet once and in order, up to
/// and beyond the seam with P6; then no session is left.
/// Method: a zap at a random moment, and four seconds of watching, for each case and seed.
#[test]
fn a_zap_shows_every_packet_from_a_random_access_point_on_whatever_the_link_does() {
    for case in cases() {
        for seed in 0..SEEDS {
            let mut scene = Scene::new(case, seed);
            scene.run_for_some(0..1_000);
            scene.watch(1);
            scene.run(Duration::from_secs(4));
            scene.judge();
            let counters = scene.client.counters();
            assert_eq!((counters.seams, counters.live_sessions), (1, 1), "{case:?} {seed}: {counters:?}");
            assert_eq!(scene.first_is_access_point, Some(true), "{case:?} {seed}");
        }
    }
}

/// Goal: sessions that are left in the middle of their bursts send nothing into the channel after them, and end.
/// Method: zaps each 30 to 300 ms, as by a key that repeats, over a link that loses and reorders.
#[test]
fn key_repeat_leaves_no_session_and_mixes_no_channels() {
    for case in cases() {
        for seed in 0..SEEDS {
            let mut scene = Scene::new(case, seed);
            for n in 0..12 {
                scene.watch(1 + n % CHANNELS);
                scene.run_for_some(30..300);
            }
            scene.watch(1);
            scene.run(Duration::from_secs(4));
            scene.judge();
        }
    }
}

/// Goal: a group that never arrives leaves the picture to P5, and the way back loses nothing.
#[test]
fn a_filtered_group_is_watched_by_p5_and_returns_without_a_gap() {
    for case in cases().into_iter().filter(|case| case.join < Duration::from_secs(1)) {
        for seed in 0..SEEDS {
            let mut scene = Scene::new(case, seed);
            scene.filtered = true;
            scene.watch(1);
            scene.run(Duration::from_secs(8));
            assert!(scene.told.contains(&Notice::ByUnicast), "{case:?} {seed}");
            assert!(scene.count(1) > 3_500, "{case:?} {seed}: {}", scene.count(1));
            scene.filtered = false;
            scene.run(Duration::from_secs(12));
            assert!(scene.told.contains(&Notice::ByBroadcast), "{case:?} {seed}");
            scene.judge();
        }
    }
}

/// Goal: a group that falls silent while it is watched is replaced by P5 within a second; nothing that came is shown twice, and
/// the way back loses nothing.
#[test]
fn a_group_that_falls_silent_is_replaced_within_a_second_and_returns() {
    for case in cases().into_iter().filter(|case| case.join < Duration::from_millis(500)) {
        for seed in 0..SEEDS {
            let mut scene = Scene::new(case, seed);
            scene.watch(1);
            scene.run(Duration::from_secs(3));
            scene.filtered = true;
            scene.run(Duration::from_secs(1));
            let silent = scene.last_came;
            scene.run(Duration::from_millis(500));
            assert!(scene.last_came > silent, "{case:?} {seed}: nothing in a second and a half");
            scene.run(Duration::from_secs(3));
            // What the ring had to fill in between is repair's.
            let lost = scene.client.counters().lost;
            scene.filtered = false;
            scene.run(Duration::from_secs(12));
            assert_eq!(scene.client.counters().lost, lost, "{case:?} {seed}: the way back");
            scene.check_sessions();
        }
    }
}

/// Goal: where only P5 is wanted, no group is joined and no interest shown, and all comes.
#[test]
fn unicast_joins_nothing_and_shows_no_interest() {
    for case in cases() {
        let mut scene = Scene::with(case, 3, Policy { unicast: true, ..Policy::default() });
        scene.watch(1);
        scene.run(Duration::from_secs(8));
        assert_eq!(scene.client.counters().interests_sent, 0);
        assert!(scene.joined.is_none() && scene.count(1) > 3_500, "{case:?}");
        scene.watch(2);
        scene.run(Duration::from_secs(2));
        assert_eq!(scene.client.counters().lost, 0, "{case:?}");
        assert_eq!(scene.table.len().0, 1, "{case:?}: that of the other channel is gone");
    }
}

/// Goal: a push server that knows no live sessions costs a zap 150 ms.
#[test]
fn a_push_server_that_does_not_answer_is_joined_soon() {
    let mut scene = Scene::new(CLEAN, 5);
    scene.deaf = true;
    scene.watch(1);
    scene.run(Duration::from_millis(149));
    assert!(scene.joined.is_none());
    scene.run(Duration::from_millis(60));
    assert!(scene.count(1) > 0);
    scene.run(Duration::from_secs(3));
    assert_eq!(scene.client.counters().lost, 0);
}

/// Goal: a push server that is full is asked again, and P6 is joined at once.
#[test]
fn a_push_server_that_is_full_leaves_the_zap_to_p6() {
    let mut scene = Scene::new(CLEAN, 5);
    for n in 0..table::MAX_BURSTS {
        let address =
            SocketAddr::from(([10, 9, u8::try_from(n / 4).unwrap(), 1], 1_000 + u16::try_from(n).unwrap()));
        scene.occupy(address);
    }
    scene.watch(1);
    scene.run(Duration::from_millis(30));
    assert_eq!(scene.client.counters().live_refused, 1);
    assert!(scene.count(1) > 0, "by P6");
    scene.run(Duration::from_secs(2));
    assert_eq!((scene.client.counters().lost, scene.client.counters().live_sessions), (0, 0));
}

/// The client, the push server, and what is between them.
struct Scene {
    case: Case,
    seed: u64,
    now: Time,
    random: fastrand::Rng,
    down: Direction,
    up: Direction,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    next_turn: Time,
    channels: Vec<Channel>,
    table: LiveTable,
    server: ServerCounters,
    /// The push server drops what it hears of live sessions.
    deaf: bool,
    client: Viewer,
    /// The client has joined this group, which delivers from then on.
    joined: Option<(Group, Time)>,
    /// No group delivers.
    filtered: bool,
    outputs: Vec<Output>,
    watched: u32,
    /// Number of the newest packet delivered since the zap.
    delivered: Option<u64>,
    first_is_access_point: Option<bool>,
    counts: Vec<u64>,
    last_came: Time,
    told: Vec<Notice>,
}

/// A channel at the push server.
struct Channel {
    path: ChannelPath,
    number: u32,
    fed: u64,
}

/// Ordered by when, and then by which was sent first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Time,
    order: u64,
    what: Carried,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Carried {
    Broadcast(u32, Vec<u8>),
    Stream(Vec<u8>),
    Answer(Vec<u8>),
    Order(Vec<u8>),
}

impl Scene {
    fn new(case: Case, seed: u64) -> Self {
        Self::with(case, seed, Policy::default())
    }

    fn with(case: Case, seed: u64, live: Policy) -> Self {
        let Case { loss, round_trip, jitter, .. } = case;
        let nature = Nature { loss, round_trip, jitter };
        let receiving = Receiving { live, ..Receiving::default() };
        let mut scene = Self {
            case,
            seed,
            now: Time::ZERO,
            random: fastrand::Rng::with_seed(seed),
            down: Direction::new(nature, seed),
            up: Direction::new(nature, seed + 1_000),
            arrivals: BinaryHeap::new(),
            order: 0,
            next_turn: Time::ZERO + TURN,
            channels: (1..=CHANNELS).map(Channel::new).collect(),
            table: LiveTable::new(table::DEFAULT_VIEWERS),
            server: ServerCounters::default(),
            deaf: false,
            client: Viewer::new(seed).receiving(receiving),
            joined: None,
            filtered: false,
            outputs: Vec::new(),
            watched: 0,
            delivered: None,
            first_is_access_point: None,
            counts: vec![0; 1 + CHANNELS as usize],
            last_came: Time::ZERO,
            told: Vec::new(),
        };
        scene.run(BEFORE);
        let entry = |number| ChannelEntry {
            id: ChannelId(number),
            name: String::new(),
            status: ChannelStatus::Active,
            tuning: Some(Box::new(tuning(number))),
            group: None,
            logo: None,
        };
        let list = ChannelList {
            generation: Generation(1),
            network: Some("10.0.1.0/24".to_owned()),
            offline: false,
            time: cluster_time(scene.now),
            channels: (1..=CHANNELS).map(entry).collect(),
        };
        scene.give(Input::List { tunings: true });
        scene.give(Input::DirectoryConnected);
        scene.give(Input::DirectoryMessage(ToClient::Channels(list)));
        scene
    }

    /// The key is pressed.
    fn watch(&mut self, number: u32) {
        if self.watched != number {
            (self.watched, self.delivered, self.first_is_access_point) = (number, None, None);
        }
        self.give(Input::Watch(ChannelId(number)));
    }

    fn run_for_some(&mut self, ms: Range<u64>) {
        let span = Duration::from_millis(self.random.u64(ms));
        self.run(span);
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let arrival = self.arrivals.peek().map(|Reverse(arrival)| arrival.at);
            let tick = self.client.deadline().map(|(at, _)| at.max(self.now));
            let next = [Some(self.next_turn), arrival, tick].into_iter().flatten().min().unwrap();
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if arrival == Some(next) {
                let Some(Reverse(arrival)) = self.arrivals.pop() else { unreachable!() };
                self.arrives(arrival.what);
            } else if self.next_turn == next {
                self.next_turn += TURN;
                self.turn();
            } else {
                self.give(Input::Tick);
            }
        }
    }

    fn arrives(&mut self, what: Carried) {
        match what {
            Carried::Order(bytes) => self.ordered(&bytes),
            Carried::Answer(bytes) => {
                self.give(Input::Control { from: tuning(1).control, bytes: &bytes });
            }
            Carried::Stream(bytes) => {
                let from = SocketAddr::new(tuning(1).control.ip(), 7405);
                self.give(Input::Stream { from, bytes: &bytes });
            }
            Carried::Broadcast(number, bytes) => {
                let group = group(number);
                let open = self.joined.is_some_and(|(joined, from)| joined == group && from <= self.now);
                if open && !self.filtered {
                    self.give(Input::Media { group, bytes: &bytes });
                }
            }
        }
    }

    fn give(&mut self, input: Input<'_>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.client.handle(self.now, input, &mut outputs);
        for output in outputs.drain(..) {
            match output {
                Output::SendControl { bytes, .. } => self.carry(Carried::Order(bytes)),
                Output::Join(group) => self.joined = Some((group, self.now + self.case.join)),
                Output::Leave(group) => drop(self.joined.take_if(|(joined, _)| *joined == group)),
                Output::Deliver(packet) => self.delivers(packet.as_bytes()),
                Output::SendDirectory(ToDatabase::Ping) => self.order_directory(ToClient::Pong),
                Output::Notice(notice @ (Notice::ByUnicast | Notice::ByBroadcast)) => self.told.push(notice),
                _ => {}
            }
        }
        self.outputs = outputs;
    }

    fn order_directory(&mut self, message: ToClient) {
        let mut outputs = Vec::new();
        self.client.handle(self.now, Input::DirectoryMessage(message), &mut outputs);
        assert!(outputs.is_empty(), "{outputs:?}");
    }

    fn delivers(&mut self, bytes: &[u8]) {
        let (channel, number) = number(bytes);
        assert_eq!(channel, self.watched, "{:?} {}: of another channel", self.case, self.seed);
        let follows = self.delivered.is_none_or(|last| last < number);
        assert!(follows, "{:?} {}: {number} after {:?}", self.case, self.seed, self.delivered);
        if self.delivered.is_none() {
            self.first_is_access_point = Some(number.is_multiple_of(self.case.gop_packets));
        }
        self.delivered = Some(number);
        self.counts[channel as usize] += 1;
        self.last_came = self.now;
    }

    /// Nothing was lost, the newest is there, and no session is left.
    fn judge(&self) {
        let Self { case, seed, .. } = self;
        let counters: Counters = self.client.counters();
        assert_eq!(counters.lost, 0, "{case:?} {seed}: {counters:?}");
        let behind = self.channels[self.watched as usize - 1].fed - self.delivered.unwrap();
        assert!(behind < 150, "{case:?} {seed}: {behind} packets behind; {counters:?}");
        self.check_sessions();
    }

    fn check_sessions(&self) {
        assert_eq!(self.table.len(), (0, 0), "{:?} {}", self.case, self.seed);
        let sessions = |channel: &Channel| channel.path.live_sessions();
        assert_eq!(self.channels.iter().map(sessions).sum::<usize>(), 0, "{:?} {}", self.case, self.seed);
    }

    /// Packets of a channel that were delivered.
    fn count(&self, number: u32) -> u64 {
        self.counts[number as usize]
    }

    fn carry(&mut self, what: Carried) {
        let direction = if matches!(what, Carried::Order(_)) { &mut self.up } else { &mut self.down };
        let Some(at) = direction.carry(self.now) else { return };
        self.order += 1;
        self.arrivals.push(Reverse(Arrival { at, order: self.order, what }));
    }

    /// The push server's data thread, and what it tells control.
    fn turn(&mut self) {
        let (now, mut sent) = (self.now, Vec::new());
        let mut events = Vec::new();
        for channel in &mut self.channels {
            channel.feed(now, self.case.gop_packets);
            let Channel { path, number, .. } = channel;
            path.drain(now, &mut |_, runs| {
                let packets = runs.iter().flat_map(Run::packets);
                sent.extend(packets.map(|bytes| Carried::Broadcast(*number, bytes.to_vec())));
                runs.iter().map(Run::len).sum()
            });
            path.stream(now, &mut |to, run| {
                if to == client_address() {
                    sent.extend(run.packets().map(|bytes| Carried::Stream(bytes.to_vec())));
                }
                run.len()
            });
            events.extend(path.live_events());
        }
        sent.into_iter().for_each(|what| self.carry(what));
        let mut wanted = Vec::new();
        for event in events {
            self.table.told(cluster_time(now), event, &mut self.server, &mut wanted);
        }
        self.table.advance(now, &mut self.server, &mut wanted);
        self.carry_out(wanted);
    }

    fn ordered(&mut self, bytes: &[u8]) {
        let sealed = Sealed::parse(bytes).unwrap();
        match sealed.kind {
            Kind::Live if !self.deaf => {
                let lease = LiveRequest::peek_lease(&sealed).unwrap();
                let secret = key().lease_key().secret(&lease);
                let request = LiveRequest::open(&sealed, &secret).unwrap();
                self.hear(client_address(), request);
            }
            Kind::Repair => {
                let lease = sealed.peek_front::<Lease>().unwrap();
                let repair: Repair = sealed.open(&key().lease_key().secret(&lease)).unwrap();
                let round_trip = Duration::from_micros(repair.rtt_us.into());
                let asker = Asker::Viewer { address: client_address(), round_trip };
                let wanted = Wanted { asker, target: 0, ssrc: repair.ssrc, missing: &repair.missing };
                let mut sent = Vec::new();
                let path = &mut self.channels[lease.channel.0 as usize - 1].path;
                path.repair(self.now, &wanted, &mut |answer, bytes| {
                    assert!(matches!(answer, Answer::Stream(_)), "one viewer alone is answered alone");
                    sent.push(Carried::Stream(bytes.to_vec()));
                    true
                });
                sent.into_iter().for_each(|what| self.carry(what));
            }
            _ => {}
        }
    }

    fn hear(&mut self, from: SocketAddr, request: LiveRequest) {
        let secret = key().lease_key().secret(&request.lease);
        let asked = LiveAsked { from, request, secret, flaw: None, cluster: cluster_time(self.now) };
        let standing = Standing { assigned: true, fed: true };
        let mut wanted = Vec::new();
        self.table.hear(self.now, &asked, standing, &mut self.server, &mut wanted);
        self.carry_out(wanted);
    }

    /// Somebody else takes a place.
    fn occupy(&mut self, from: SocketAddr) {
        let session = protocols::p4_control::LiveId(1);
        let order = protocols::p4_control::LiveOrder::Begin { burst_percent: 500 };
        let lease = tuning(2).lease;
        self.hear(from, LiveRequest { lease, time: cluster_time(self.now), session, order });
        self.run(Duration::from_millis(3));
    }

    fn carry_out(&mut self, wanted: Vec<table::Output>) {
        for wanted in wanted {
            match wanted {
                table::Output::Answer { key, bytes } if key.client == client_address() => {
                    self.carry(Carried::Answer(bytes));
                }
                table::Output::Answer { .. } => {}
                table::Output::Order { channel, order } => {
                    self.channels[channel.0 as usize - 1].path.live(self.now, order);
                    // What may leave at once leaves with the turn that the order makes.
                    self.turn();
                }
            }
        }
    }
}

impl Channel {
    fn new(number: u32) -> Self {
        let target = Target {
            address: group(number).address,
            interface: None,
            ttl: 1,
            dscp: 0,
            window: Duration::from_millis(10),
            broadcast: false,
            sending: true,
        };
        let mut path = ChannelPath::new(ChannelId(number));
        let plan = Plan { revision: Revision::new(1, 1), port: 7_601, targets: vec![target] };
        path.apply(Time::ZERO, Arc::new(plan));
        path.feed_opened();
        path.mark(Mark { number: FIRST, date: cluster_time(Time::ZERO) });
        Self { path, number, fed: 0 }
    }

    /// What has come by now.
    fn feed(&mut self, now: Time, gop_packets: u64) {
        while Time::ZERO + SPACING * u32::try_from(self.fed).unwrap() < now {
            self.path.feed(now, &packet(self.number, self.fed));
            if self.fed.is_multiple_of(gop_packets) {
                let point = AccessPoint { number: FIRST + self.fed }.encode();
                self.path.slot()[..ACCESS_POINT_BYTES].copy_from_slice(&point);
                self.path.commit(now, ACCESS_POINT_BYTES);
            }
            self.fed += 1;
        }
    }
}

/// Packet `n` of a channel.
fn packet(channel: u32, n: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(Sequence::of_extended(n + FIRST).0.to_be_bytes());
    let time_90k = u32::try_from(n * 180).unwrap();
    bytes.extend(time_90k.to_be_bytes());
    bytes.extend((0x5eed_0000 + channel).to_be_bytes());
    bytes.extend(u64::from(channel).to_be_bytes());
    bytes.extend(n.to_be_bytes().into_iter().cycle().take(188 - 8));
    bytes
}

/// The channel and number of a packet, all of whose bytes are right.
fn number(bytes: &[u8]) -> (u32, u64) {
    let (channel, rest) = bytes[HEADER_BYTES..].split_first_chunk().unwrap();
    let channel = u32::try_from(u64::from_be_bytes(*channel)).unwrap();
    let n = u64::from_be_bytes(*rest.first_chunk().unwrap());
    assert!(bytes == packet(channel, n), "packet {n} was altered");
    (channel, n)
}

fn group(number: u32) -> Group {
    let Tuning { destination: address, port, lease, .. } = tuning(number);
    Group { address, port, local: lease.client }
}

fn client_address() -> SocketAddr {
    SocketAddr::new(tuning(1).lease.client, 40_000)
}

fn cluster_time(now: Time) -> ClusterTime {
    ClusterTime(1_000_000) + now.since_origin()
}

fn key() -> ClusterKey {
    ClusterKey::new([7; 32])
}

fn tuning(number: u32) -> Tuning {
    let channel = ChannelId(number);
    let destination = IpAddr::from([239, 192, 1, u8::try_from(number).unwrap()]);
    let expires = ClusterTime(1_000_000) + LEASE_LIFETIME;
    let lease = Lease { client: [10, 0, 1, 7].into(), channel, destination, expires };
    Tuning {
        channel,
        name: "One".to_owned(),
        destination,
        port: 7601,
        push_server: format!("hall/{number}").parse().unwrap(),
        control: "10.0.1.1:7404".parse().unwrap(),
        revision: Revision::new(1, 1),
        lease,
        secret: key().lease_key().secret(&lease),
        announce_key: key().announce_key(channel),
        time: ClusterTime(1_000_000),
    }
}
