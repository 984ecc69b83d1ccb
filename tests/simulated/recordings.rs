//! The catalogue from end to end but for the disk: real database server, two real push server hosts whose recorders are
//! played, and a network that loses a fifth of all datagrams. Everybody restarts at random; afterwards the list says what is held, and
//! in between nothing that a host holds is ever missing from it once it was there.
#![expect(clippy::unwrap_used, reason = "tests: what cannot be unwrapped fails the test")]

use std::sync::Arc;
use std::time::Duration;

use database_server::{Config, ConnectionId, DatabaseServer, Input, Output, Programme, Record, Remembered};
use protocols::authority::ClusterKey;
use protocols::ids::{BootId, ChannelId};
use protocols::p2_directory::{
    PlayServer, PlayTarget, Presentation, PresentationRefusal, ProgrammeState, RangeState, RecordingList,
    ToClient, ToDatabase,
};
use protocols::recording::{Digest, Extent, RecordOrder, Span};
use protocols::time::{ClusterTime, Time};
use protocols::topology::Topology;
use push_server::PushServer;

const SITE: &str = r#"
[database_server]
address = "10.0.0.2"
[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id = "card"
  url = "testcard:"
[[channel]]
id = 1
name = "One"
acquisition_server = "roof"
input = "card"
[[push_server]]
id = "hall"
address = "10.0.1.1"
channels = [1]
record = { keep = "7d" }
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.1"
  serves = ["10.0.1.0/24"]
[[push_server]]
id = "yard"
address = "10.0.1.2"
channels = [1]
record = { keep = "7d" }
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.2"
  serves = ["10.0.1.0/24"]
"#;

const CHANNEL: ChannelId = ChannelId(1);
const CLIENT: ConnectionId = ConnectionId(1);
const DATABASE: &str = "10.0.0.2:7410";
/// The wall clock at the origin.
const WALL: ClusterTime = ClusterTime(1_800_000_000_000);
/// A client says something this often.
const STEP: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_mins(1);

struct Host {
    machine: PushServer,
    address: &'static str,
    name: &'static str,
    boots: u64,
    /// What its disk holds.
    disk: Vec<Extent>,
    order: Option<RecordOrder>,
}

impl Host {
    fn new(name: &'static str, address: &'static str) -> Self {
        let (disk, order) = (Vec::new(), None);
        Self { machine: machine(name, 1), address, name, boots: 1, disk, order }
    }
}

fn machine(name: &str, boot: u64) -> PushServer {
    let config = push_server::Config { host: name.parse().unwrap(), key: ClusterKey::new([7; 32]) };
    PushServer::new(config, BootId(boot))
}

struct Site {
    now: Time,
    database: DatabaseServer,
    starts: u32,
    remembered: Remembered,
    hosts: [Host; 2],
    random: fastrand::Rng,
    loss: f64,
    /// Hears nothing.
    dead: Option<usize>,
}

impl Site {
    fn new(seed: u64) -> Self {
        let hosts = [Host::new("hall", "10.0.1.1:7404"), Host::new("yard", "10.0.1.2:7404")];
        let mut site = Self {
            now: Time::ZERO,
            database: database(1, Remembered::default()),
            starts: 1,
            remembered: Remembered::default(),
            hosts,
            random: fastrand::Rng::with_seed(seed),
            loss: 0.2,
            dead: None,
        };
        site.greet();
        site
    }

    fn load(&mut self, text: &str) {
        let topology = Topology::parse("topology.toml", text).expect("the text is right").0;
        self.tell(Input::Topology(Arc::new(topology)));
    }

    /// What the database server must hear at each of its starts.
    fn greet(&mut self) {
        self.load(SITE);
        self.tell(Input::ClientConnected { connection: CLIENT, address: "10.0.1.7".parse().unwrap() });
    }

    /// Gives the database server an input, and carries what it says to the hosts and back. Returns what the client hears.
    fn tell(&mut self, input: Input) -> Vec<ToClient> {
        let (mut inputs, mut heard) = (vec![input], Vec::new());
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            self.database.handle(self.now, input, &mut out);
            for output in out {
                match output {
                    Output::SendToClient { message, .. } => heard.push(message),
                    Output::Store(record) => store(&mut self.remembered, record),
                    Output::Datagram { to, bytes } => {
                        let number = usize::from(to.to_string() != self.hosts[0].address);
                        let from = DATABASE.parse().unwrap();
                        let answers = self.tell_host(number, push_server::Input::Datagram { from, bytes });
                        inputs.extend(answers);
                    }
                    _ => {}
                }
            }
        }
        heard
    }

    /// Gives a host an input; its answers, as far as they arrive, are inputs of the database server.
    fn tell_host(&mut self, number: usize, input: push_server::Input) -> Vec<Input> {
        let datagram = matches!(input, push_server::Input::Datagram { .. });
        if datagram && (self.dead == Some(number) || self.random.f64() < self.loss) {
            return Vec::new();
        }
        let host = &mut self.hosts[number];
        let mut out = Vec::new();
        host.machine.handle(self.now, input, &mut out);
        let mut answers = Vec::new();
        for output in out {
            match output {
                push_server::Output::Send { bytes, .. } if self.random.f64() >= self.loss => {
                    answers.push(Input::Datagram { from: host.address.parse().unwrap(), bytes });
                }
                push_server::Output::Record { order, .. } => host.order = order.map(|order| *order),
                _ => {}
            }
        }
        answers
    }

    /// Lets time pass, in steps in which a client may be silent.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.advance(end.min(self.now + STEP));
            self.tell(Input::ClientMessage { connection: CLIENT, message: ToDatabase::Ping });
        }
    }

    fn advance(&mut self, end: Time) {
        loop {
            let database = self.database.deadline().map(|(at, _)| (at, None));
            let host =
                |number: usize| self.hosts[number].machine.deadline().map(|(at, _)| (at, Some(number)));
            let next = [database, host(0), host(1)].into_iter().flatten().min().filter(|(at, _)| *at <= end);
            let Some((at, who)) = next else { break };
            self.now = self.now.max(at);
            match who {
                None => drop(self.tell(Input::Tick)),
                Some(number) => {
                    let answers = self.tell_host(number, push_server::Input::Tick);
                    answers.into_iter().for_each(|input| drop(self.tell(input)));
                }
            }
        }
        self.now = end;
    }

    /// The recorder of a host has looked at its disk.
    fn scan(&mut self, number: usize) {
        let extents = self.hosts[number].disk.clone();
        let input = push_server::Input::Extents { channel: CHANNEL, extents };
        let answers = self.tell_host(number, input);
        assert!(answers.is_empty());
    }

    fn restart_host(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        host.boots += 1;
        host.machine = machine(host.name, host.boots);
        host.order = None;
    }

    fn restart_database(&mut self) {
        self.starts += 1;
        self.database = database(self.starts, self.remembered.clone());
        self.greet();
    }

    fn ask(&mut self, message: ToDatabase) -> ToClient {
        let input = Input::ClientMessage { connection: CLIENT, message };
        self.tell(input).pop().expect("each question has an answer")
    }

    fn list(&mut self) -> RecordingList {
        match self.ask(ToDatabase::Recordings { channel: None }) {
            ToClient::Recordings(list) => list,
            other => panic!("{other:?}"),
        }
    }

    fn time(&self) -> ClusterTime {
        WALL + self.now.since_origin()
    }
}

fn database(start: u32, remembered: Remembered) -> DatabaseServer {
    let cluster_key = ClusterKey::new([7; 32]);
    DatabaseServer::new(Config { cluster_key, start, clock_base: WALL, remembered }, BootId(start.into()), 1)
}

/// What the store does, at once.
fn store(remembered: &mut Remembered, record: Record) {
    match record {
        Record::Topology { generation, fingerprint } => remembered.topology = Some((generation, fingerprint)),
        Record::Extent { host, extent } => {
            remembered.extents.retain(|(other, old)| !(*other == host && old.from == extent.from));
            remembered.extents.push((host, extent));
        }
        Record::ExtentGone { host, from, .. } => {
            remembered.extents.retain(|(other, old)| !(*other == host && old.from == from));
        }
        Record::Programme(programme) => {
            remembered.last_recording = remembered.last_recording.max(programme.id);
            remembered.programmes.push(programme);
        }
        Record::ProgrammeGone { id } => remembered.programmes.retain(|programme| programme.id != id),
        _ => {}
    }
}

fn extent(from: ClusterTime, to: ClusterTime) -> Extent {
    let digest = Digest([1; 16]);
    Extent { channel: CHANNEL, from, to, segments: 1, bytes: to.0 - from.0, digest }
}

/// Goal: two hosts record for hours, each misses what it misses, everybody restarts again and again, a fifth of the datagrams
/// is lost. Method: after each minute the list must cover what it covered before; at the end it must say exactly what the disks hold.
#[test]
fn nothing_that_was_listed_vanishes_over_restarts_and_in_the_end_the_list_says_what_is_held() {
    for seed in 0..10 {
        let mut site = Site::new(seed);
        let begin = site.time();
        let mut listed = ClusterTime(0);
        for minute in 0..120 {
            site.pass(MINUTE);
            let (from, to) = (begin + MINUTE * minute, begin + MINUTE * (minute + 1));
            for number in 0..2 {
                // A host that was not told to record misses the minute, and now and then one does all the same.
                let recording =
                    site.hosts[number].order.is_some() && (number == 0 || site.random.u8(..20) > 0);
                if recording {
                    let disk = &mut site.hosts[number].disk;
                    match disk.last_mut().filter(|last| last.to == from) {
                        Some(last) => *last = Extent { segments: last.segments + 1, ..extent(last.from, to) },
                        None => disk.push(extent(from, to)),
                    }
                }
                site.scan(number);
            }
            match site.random.u8(..20) {
                0 => site.restart_database(),
                1 => {
                    site.restart_host(0);
                    site.restart_database();
                }
                number @ (2 | 3) => site.restart_host(usize::from(number) - 2),
                _ => {}
            }
            let list = site.list();
            let newest = list.channels[0].ranges.last().map_or(ClusterTime(0), |range| range.span.to);
            assert!(newest >= listed, "seed {seed}, minute {minute}: {newest:?} after {listed:?}");
            listed = newest;
        }
        site.loss = 0.0;
        site.scan(0);
        site.scan(1);
        site.pass(Duration::from_secs(5));
        let list = site.list();
        let held = |number: usize| Span::merged(site.hosts[number].disk.iter().map(Extent::span));
        let all = Span::merged(list.channels[0].ranges.iter().map(|range| range.span));
        assert_eq!(all, Span::merged([held(0), held(1)].concat()), "seed {seed}");
        let whole = |range: &&protocols::p2_directory::Range| range.state == RangeState::Kept;
        let kept = Span::merged(list.channels[0].ranges.iter().filter(whole).map(|range| range.span));
        let both = held(0).into_iter().flat_map(|a| held(1).into_iter().map(move |b| a.overlap(b)));
        assert_eq!(kept, Span::merged(both), "seed {seed}");
        let mut stored = site.remembered.extents.iter().map(|(_, extent)| *extent).collect::<Vec<_>>();
        stored.sort_unstable();
        let mut disks = [site.hosts[0].disk.clone(), site.hosts[1].disk.clone()].concat();
        disks.sort_unstable();
        assert_eq!(stored, disks, "seed {seed}: the store");
    }
}

#[test]
fn a_recording_that_somebody_orders_is_protected_at_every_host_until_it_is_given_up() {
    let mut site = Site::new(1);
    site.pass(Duration::from_secs(5));
    assert_eq!(site.hosts[1].order.as_ref().map(|order| order.keep_s), Some(7 * 86_400));
    let peers = |site: &Site, number: usize| {
        let order = site.hosts[number].order.as_ref().unwrap();
        order.peers.iter().map(|peer| (peer.host.to_string(), peer.feed.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(peers(&site, 0), [("yard".to_owned(), "10.0.1.2:7403".to_owned())]);
    assert_eq!(peers(&site, 1), [("hall".to_owned(), "10.0.1.1:7403".to_owned())]);
    let span = Span { from: site.time() + MINUTE, to: site.time() + MINUTE * 31 };
    let order = ToDatabase::Record { channel: CHANNEL, span, title: "News".to_owned() };
    let ToClient::Recorded(programme) = site.ask(order.clone()) else { panic!() };
    assert_eq!((programme.id.0, programme.state, programme.recorders), (1, ProgrammeState::Scheduled, 2));
    site.pass(Duration::from_secs(5));
    let protected =
        |site: &Site| site.hosts.iter().map(|host| host.order.clone().unwrap().protected).collect::<Vec<_>>();
    assert_eq!(protected(&site), [[span], [span]]);
    // Also after a restart of everybody.
    site.restart_host(0);
    site.restart_database();
    let kept = Programme { id: programme.id, channel: CHANNEL, span, title: "News".to_owned() };
    assert_eq!(site.remembered.programmes, [kept]);
    site.pass(Duration::from_secs(5));
    assert_eq!(protected(&site), [[span], [span]]);
    assert_eq!(site.list().programmes, [*programme.clone()]);
    let answer = site.ask(ToDatabase::Unrecord { id: programme.id });
    assert_eq!(answer, ToClient::Unrecorded { id: programme.id });
    site.pass(Duration::from_secs(5));
    assert_eq!(protected(&site), [[], []]);
    site.restart_database();
    let ToClient::Recorded(next) = site.ask(order) else { panic!() };
    assert_eq!(next.id.0, 2, "an id is never used again");
    assert!(matches!(site.ask(ToDatabase::Unrecord { id: programme.id }), ToClient::RecordRefused(_)));
}

/// A mistake in the topology, mended before the hosts have heard of it: they are asked for what was forgotten meanwhile.
#[test]
fn a_topology_that_forgets_a_recorder_for_a_moment_costs_nothing() {
    let mut site = Site::new(1);
    site.pass(Duration::from_secs(5));
    for number in 0..2 {
        site.hosts[number].disk = vec![extent(WALL, WALL + MINUTE)];
        site.scan(number);
    }
    site.pass(Duration::from_secs(5));
    assert_eq!(site.list().channels[0].ranges[0].replicas, 2);
    site.loss = 1.0;
    site.load(&SITE.replace("record = { keep = \"7d\" }", ""));
    assert_eq!(site.list().channels, []);
    site.load(SITE);
    site.loss = 0.2;
    site.pass(Duration::from_secs(5));
    assert_eq!(site.list().channels[0].ranges[0].replicas, 2);
}

/// Goal: a viewer is sent to a push server that answers and holds what it wants, and by a lease that the push servers' key verifies;
/// when the host dies, or everybody restarts, the next answer to the same question still fits the session that is under way.
#[test]
fn who_wants_to_play_is_sent_to_those_who_hold_it_and_answer() {
    let mut site = Site::new(1);
    site.loss = 0.0;
    site.pass(Duration::from_secs(5));
    let wish = ToDatabase::Play(PlayTarget::Channel { channel: CHANNEL, from: WALL, to: None });
    let refused = ToClient::PlayRefused(PresentationRefusal::NothingHeld);
    assert_eq!(site.ask(wish.clone()), refused, "nobody is fed");
    let end = WALL + MINUTE * 10;
    site.hosts[0].disk = vec![extent(WALL, end)];
    site.hosts[1].disk = vec![extent(WALL + MINUTE * 4, end)];
    site.scan(0);
    site.scan(1);
    site.pass(Duration::from_secs(5));

    let ToClient::Playing(all) = site.ask(wish.clone()) else { panic!() };
    assert_eq!((all.span, all.growing, all.rate_bytes_per_s), (Span { from: WALL, to: end }, false, 1_000));
    let servers = |presentation: &Presentation| {
        let line = |server: &PlayServer| (server.control.to_string(), server.holds_all);
        presentation.servers.iter().map(line).collect::<Vec<_>>()
    };
    let [hall, yard] = ["10.0.1.1:7404", "10.0.1.2:7404"].map(str::to_owned);
    assert_eq!(servers(&all), [(hall, true), (yard.clone(), false)]);
    let key = ClusterKey::new([7; 32]).lease_key();
    assert!(all.secret == key.recording_secret(&all.lease) && all.lease.covers(end));
    assert_eq!((all.lease.client, all.lease.from), ("10.0.1.7".parse().unwrap(), WALL));

    // Right after a restart hosts that have not been heard yet count as alive: the store knows what they hold.
    site.loss = 1.0;
    site.restart_database();
    let ToClient::Playing(again) = site.ask(wish.clone()) else { panic!() };
    assert_eq!(servers(&again).len(), 2);
    assert_eq!(again.lease.from, all.lease.from);
    site.pass(Duration::from_secs(5));
    assert_eq!(site.ask(wish.clone()), ToClient::PlayRefused(PresentationRefusal::NoServer { holders: 2 }));

    // One comes back.
    site.loss = 0.0;
    site.dead = Some(0);
    site.pass(Duration::from_secs(5));
    let ToClient::Playing(rest) = site.ask(wish) else { panic!() };
    assert_eq!(servers(&rest), [(yard, false)]);
    assert_eq!((rest.lease.from, rest.span), (all.lease.from, all.span));
}
