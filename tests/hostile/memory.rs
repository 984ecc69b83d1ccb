//! What a channel, a destination and a viewer cost in memory, and that an hour of zapping costs nothing: a database server and
//! a push server host at work on a virtual clock, with their heap counted. Sockets and the kernel are not in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use database_server::{Config, ConnectionId, DatabaseServer, Input, Output, Remembered};
use protocols::health::HealthReport;
use protocols::ids::{BootId, ChannelId, Revision};
use protocols::p1_registration::{ChannelReport, InputState, Poll, ToDatabase as FromAcquisition};
use protocols::p2_directory::{ToClient, ToDatabase, Tuning};
use protocols::p4_control::{Interest, Missing};
use protocols::time::Time;
use protocols::topology::Topology;
use push_server::path::{ChannelPath, Wanted};
use push_server::plan::{ChannelCounters, Plan, Target};
use push_server::repair::Asker;
use push_server::{FeedId, PushServer};

use crate::heap::{Meter, measured};
use crate::site::{BOOT, DATABASE, HALL, WALL, cluster, hall, rtp, wall};
use crate::trial::Trial;

/// A channel at a push server: its ring of 1,024 packets of 1,328 bytes, and little else.
const PUSH_CHANNEL_BYTES: i64 = 1_400_000;
/// What a channel keeps beside its ring that is sent to one destination: dates, pace and counters, those of repair and fast
/// start among them.
const BESIDE_THE_RING_BYTES: i64 = 29_888;
/// A destination of a channel at a push server, watched: configuration, interest, plan, pacing, reports.
const PUSH_DESTINATION_BYTES: i64 = 1_024;
/// A viewer at a push server. Interest is held by the destination, whoever shows it.
const PUSH_VIEWER_BYTES: i64 = 0;
/// A channel at one network, at the database server: assignment, status, tuning, configuration, reports.
const DATABASE_PLACE_BYTES: i64 = 1_536;
/// A connected viewer at the database server, who has a list and watches a channel.
const DATABASE_VIEWER_BYTES: i64 = 512;
/// What an hour may leave behind in both: tables that have grown to their size at the busiest moment.
const HOUR_BYTES: i64 = 64 << 10;

const ACQUISITION: ConnectionId = ConnectionId(1);
/// The first viewer's connection.
const FIRST: u64 = 1_000;
/// A viewer says something this often; the database server gives up the silent after 6 s.
const SPEAKS_EVERY: Duration = Duration::from_secs(5);

/// A database server, a push server host with its data plane, and viewers.
struct Site {
    database: DatabaseServer,
    host: PushServer,
    paths: BTreeMap<ChannelId, ChannelPath>,
    now: Time,
    channels: u32,
    networks: u32,
    polled: Time,
}

impl Site {
    /// All channels are fed, and served to all networks by a destination each.
    fn new(channels: u32, networks: u32) -> Self {
        let config =
            Config { cluster_key: cluster(), start: 3, clock_base: WALL, remembered: Remembered::default() };
        let mut site = Self {
            database: DatabaseServer::new(config, BootId(1), 1),
            host: PushServer::new(push_server::Config { host: hall(), key: cluster() }, BOOT),
            paths: BTreeMap::new(),
            now: Time::ZERO,
            channels,
            networks,
            polled: Time::ZERO,
        };
        let topology =
            Topology::parse("topology.toml", &text(channels, networks)).expect("the text is right").0;
        site.tell(Input::Topology(Arc::new(topology)));
        let id = "roof".parse().unwrap();
        site.tell(Input::AcquisitionConnected { connection: ACQUISITION, id, boot_id: BootId(2) });
        let message = FromAcquisition::Register { software: String::new() };
        site.tell(Input::AcquisitionMessage { connection: ACQUISITION, message });
        site.pass(Duration::from_secs(1));
        for channel in (1..=channels).map(ChannelId) {
            let (feed, peer) = (FeedId(channel.0.into()), "roof".parse().unwrap());
            site.tell_host(push_server::Input::FeedOpened { channel, feed, peer, ssrc: channel.0 });
            let counters = ChannelCounters { channel, packets: 1, flowing: true, targets: Vec::new() };
            site.tell_host(push_server::Input::Counters(counters));
        }
        site.pass(Duration::from_secs(4));
        site
    }

    /// Gives the database server an input; what it says to the host is carried there and back. Returns what viewers hear.
    fn tell(&mut self, input: Input) -> Vec<ToClient> {
        let mut heard = Vec::new();
        let mut out = Vec::new();
        self.database.handle(self.now, input, &mut out);
        for output in out {
            match output {
                Output::SendToClient { message, .. } => heard.push(message),
                Output::Datagram { bytes, .. } => {
                    let from = DATABASE.parse().unwrap();
                    self.tell_host(push_server::Input::Datagram { from, bytes });
                }
                Output::CloseClient { refusal, .. } => panic!("a viewer is refused: {refusal}"),
                _ => {}
            }
        }
        heard
    }

    fn tell_host(&mut self, input: push_server::Input) {
        let mut out = Vec::new();
        self.host.handle(self.now, input, &mut out);
        for output in out {
            match output {
                push_server::Output::Send { to, bytes } if to == DATABASE.parse::<SocketAddr>().unwrap() => {
                    let from = HALL.parse().unwrap();
                    self.tell(Input::Datagram { from, bytes });
                }
                push_server::Output::Plan { channel, plan } => {
                    let path = self.paths.entry(channel).or_insert_with(|| ChannelPath::new(channel));
                    path.apply(self.now, plan);
                }
                _ => {}
            }
        }
    }

    /// Lets time pass in both servers.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let database = self.database.deadline().map(|(at, _)| at);
            let host = self.host.deadline().map(|(at, _)| at);
            let poll = self.polled + Duration::from_millis(500);
            let next = [database, host, Some(poll)].into_iter().flatten().min().unwrap_or(end);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if poll == next {
                self.poll();
            } else if database == Some(next) {
                self.tell(Input::Tick);
            } else {
                self.tell_host(push_server::Input::Tick);
            }
        }
        self.now = end;
    }

    fn poll(&mut self) {
        self.polled = self.now;
        let report = |id| ChannelReport {
            channel: ChannelId(id),
            input: InputState::Delivering,
            source: 0,
            switches: 0,
            packets: 0,
            rate_bps: 0,
            feeds: vec![],
            health: HealthReport::default(),
            signal: None,
        };
        let poll = Poll { channels: (1..=self.channels).map(report).collect(), ..Poll::default() };
        let message = FromAcquisition::Poll(poll);
        self.tell(Input::AcquisitionMessage { connection: ACQUISITION, message });
    }

    /// The `n`th viewer's network is n modulo the networks.
    fn address(&self, n: u32) -> IpAddr {
        let [high, low] = u16::try_from(n / self.networks).unwrap().to_be_bytes();
        Ipv4Addr::new(10, u8::try_from(n % self.networks + 1).unwrap(), high, low).into()
    }

    fn connect(&mut self, n: u32) {
        let connection = ConnectionId(FIRST + u64::from(n));
        let address = self.address(n);
        self.tell(Input::ClientConnected { connection, address });
    }

    fn say(&mut self, n: u32, message: ToDatabase) -> Vec<ToClient> {
        let connection = ConnectionId(FIRST + u64::from(n));
        self.tell(Input::ClientMessage { connection, message })
    }

    /// Tunes, and shows interest.
    fn watch(&mut self, n: u32, channel: ChannelId) {
        let tuning =
            self.say(n, ToDatabase::Watch { channel }).into_iter().find_map(|message| match message {
                ToClient::Tuning(tuning) => Some(*tuning),
                _ => None,
            });
        let Tuning { lease, secret, control, .. } = tuning.expect("every channel can be had");
        assert_eq!(control, HALL.parse().unwrap());
        let from = SocketAddr::new(lease.client, 5_000);
        let bytes = Interest { lease, time: wall(self.now) }.seal(&secret);
        self.tell_host(push_server::Input::Datagram { from, bytes });
        assert!(self.host.sending(channel, lease.destination));
    }

    /// Packets for every channel, sent on by the data plane.
    fn feed(&mut self, packets: u64) {
        for n in 0..packets {
            for path in self.paths.values_mut() {
                path.feed(self.now, rtp(n).as_bytes());
                path.drain(self.now, &mut |_, runs| runs.iter().map(push_server::ring::Run::len).sum());
            }
            self.now += Duration::from_millis(2);
        }
    }
}

fn text(channels: u32, networks: u32) -> String {
    let mut text = "[database_server]\naddress = \"10.0.0.2\"\n[[acquisition_server]]\nid = \"roof\"\n\
                    [[acquisition_server.input]]\nid = \"card\"\nurl = \"testcard:\"\n"
        .to_owned();
    for id in 1..=channels {
        let channel = format_args!(
            "[[channel]]\nid = {id}\nname = \"Channel {id}\"\nacquisition_server = \"roof\"\ninput = \"card\"\n"
        );
        text.write_fmt(channel).unwrap();
    }
    let ids: Vec<u32> = (1..=channels).collect();
    writeln!(text, "[[push_server]]\nid = \"hall\"\naddress = \"10.0.1.1\"\nchannels = {ids:?}").unwrap();
    for network in 1..=networks {
        let destination = format_args!(
            "[[push_server.destination]]\naddress = \"239.192.1.{network}\"\ninterface = \"10.0.1.1\"\n\
             serves = [\"10.{network}.0.0/16\"]\n"
        );
        text.write_fmt(destination).unwrap();
    }
    text
}

/// The heap that `thing` held.
fn held<T>(thing: T) -> i64 {
    -measured(|| drop(thing)).1.live
}

/// What each server holds of a site where everything is watched: database server, push server host with its data plane.
fn site_bytes(channels: u32, networks: u32) -> (i64, i64) {
    let mut site = Site::new(channels, networks);
    for network in 0..networks {
        site.connect(network);
        for channel in 1..=channels {
            site.watch(network, ChannelId(channel));
        }
    }
    site.feed(100);
    let Site { database, host, paths, .. } = site;
    (held(database), held((host, paths)))
}

#[test]
fn a_channel_and_a_destination_cost_what_is_stated() {
    let mut trial = Trial::new("memory of channels and destinations");
    let (few, more_channels, more_networks) = (site_bytes(10, 10), site_bytes(30, 10), site_bytes(10, 30));
    let destination = (more_networks.1 - few.1) / (10 * 20);
    let channel = (more_channels.1 - few.1) / 20 - 10 * destination;
    let place = (more_networks.0 - few.0) / (10 * 20);
    trial.highest("bytes of a channel at a push server", channel);
    trial.highest("bytes of a destination at a push server", destination);
    trial.highest("bytes of a channel at a network at the database server", place);
    assert!((1..=PUSH_CHANNEL_BYTES).contains(&channel), "{channel}");
    assert!((1..=PUSH_DESTINATION_BYTES).contains(&destination), "{destination}");
    assert!((1..=DATABASE_PLACE_BYTES).contains(&place), "{place}");
}

/// Packets of a 5 Mb/s channel from number `from` on, each 2 ms, and the counters each second as the host is told them.
fn flow(path: &mut ChannelPath, packets: std::ops::Range<u64>) {
    for n in packets {
        let now = Time::from_ms(1_000 + 2 * n);
        let packet = rtp(n);
        path.slot()[..packet.as_bytes().len()].copy_from_slice(packet.as_bytes());
        path.commit(now, packet.as_bytes().len());
        path.drain(now, &mut |_, runs| runs.iter().map(push_server::ring::Run::len).sum());
        drop(path.counters_due(now));
    }
}

/// Goal: repair and fast start cost a channel nothing but its ring that nobody repairs or starts fast, and nothing any more
/// ten seconds after somebody did.
/// Method: the data path of a watched channel with its heap measured. That it costs no instruction and no allocation is
/// counted by `tests/hot_paths` (`path-1-destination-repaired` beside `path-1-destination`).
#[test]
fn a_channel_that_nobody_repairs_holds_its_ring_and_little_beside_it() {
    const MINUTE: u64 = 30_000;
    let destination = IpAddr::from([239, 192, 1, 1]);
    let target = Target {
        address: destination,
        interface: None,
        ttl: 1,
        dscp: 0,
        window: Duration::from_millis(10),
        broadcast: false,
        sending: true,
    };
    let plan = Arc::new(Plan { revision: Revision(1), port: 7_601, targets: vec![target] });
    let (mut path, growth) = measured(|| {
        let mut path = ChannelPath::new(ChannelId(1));
        path.apply(Time::ZERO, plan);
        flow(&mut path, 0..MINUTE);
        path
    });
    let ring = i64::try_from(path.ring_bytes()).unwrap();
    println!("a channel holds {} bytes, {ring} of them its ring", growth.live);
    assert!((0..BESIDE_THE_RING_BYTES).contains(&(growth.live - ring)), "{growth:?}, ring {ring}");

    let meter = Meter::start();
    flow(&mut path, MINUTE..2 * MINUTE);
    let asked: Vec<Missing> = Missing::cover((0..200).map(|back| low(2 * MINUTE - 300 + back)));
    let ((), repaired) = measured(|| {
        let asker = Asker::Viewer { address: ([10, 0, 1, 7], 5_000).into(), round_trip: Duration::ZERO };
        let wanted = Wanted { asker, target: 0, ssrc: 0x5eed, missing: &asked };
        path.repair(Time::from_ms(1_000 + 4 * MINUTE), &wanted, &mut |_, _| true);
    });
    drop(asked);
    assert!(path.repairs().sent >= 200 && repaired.live > 0, "{repaired:?}");
    flow(&mut path, 2 * MINUTE..2 * MINUTE + 6_000);
    let growth = meter.stop();
    assert_eq!(growth.live, 0, "{repaired:?} were held for repair");
}

fn low(n: u64) -> u16 {
    let [.., high, low] = n.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// What each server holds with so many viewers of one channel.
fn viewer_bytes(viewers: u32) -> (i64, i64) {
    let mut site = Site::new(4, 10);
    for n in 0..viewers {
        site.connect(n);
        site.say(n, ToDatabase::List { tunings: true });
        site.watch(n, ChannelId(1));
    }
    let Site { database, host, .. } = site;
    (held(database), held(host))
}

#[test]
fn a_viewer_costs_what_is_stated_and_nothing_at_the_push_server_with_10_000_of_them() {
    let mut trial = Trial::new("memory of viewers");
    let (few, many) = (viewer_bytes(1_000), viewer_bytes(10_000));
    let (database, push) = ((many.0 - few.0) / 9_000, many.1 - few.1);
    trial.highest("bytes of a viewer at the database server", database);
    trial.highest("bytes of 9,000 viewers more at the push server", push);
    assert!((1..=DATABASE_VIEWER_BYTES).contains(&database), "{database}");
    assert!(push <= PUSH_VIEWER_BYTES, "{push}");
}

/// 10,000 viewers zap every 30 s for an hour: after the first minutes, in which tables grow to their size, nothing is added.
#[test]
fn an_hour_of_zapping_leaves_the_heap_as_it_was() {
    const CHANNELS: u32 = 20;
    let mut trial = Trial::new("memory of zapping");
    let mut random = trial.random();
    let mut site = Site::new(CHANNELS, 10);
    // The hour at full length with 10,000 viewers takes 7 million messages; fewer trials have fewer viewers.
    let viewers = u32::try_from(Trial::inputs() / 100).unwrap().clamp(100, 10_000);
    let mut watched = vec![ChannelId(1); usize::try_from(viewers).unwrap()];
    for n in 0..viewers {
        site.connect(n);
        site.say(n, ToDatabase::List { tunings: true });
        site.watch(n, ChannelId(1));
    }
    let turns = 3_600 / SPEAKS_EVERY.as_secs();
    let mut meter = None;
    for turn in 0..turns {
        if turn == turns / 12 {
            meter = Some(Meter::start());
        }
        for (n, before) in (0..viewers).zip(&mut watched) {
            if n % (viewers / 50) == 0 {
                site.pass(SPEAKS_EVERY / 50);
            }
            if random.u8(..6) == 0 {
                let channel = ChannelId(random.u32(1..=CHANNELS));
                site.say(n, ToDatabase::Unwatch { channel: *before });
                site.watch(n, channel);
                *before = channel;
                trial.count("zaps");
            } else {
                site.say(n, ToDatabase::Ping);
            }
        }
    }
    let growth = meter.expect("more than twelve turns").stop();
    trial.highest("bytes left by 55 minutes", growth.live);
    assert_eq!(site.database.clients(), usize::try_from(viewers).unwrap(), "nobody was given up");
    assert!(growth.live < HOUR_BYTES, "{growth:?}");
}
