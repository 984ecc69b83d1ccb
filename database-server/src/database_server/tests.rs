//! The root machine among played peers, with literal times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocols::authority::ClusterKey;
use protocols::health::HealthReport;
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p1_registration::{
    ChannelReport, Command as Order1, CommandResult, FeedReport, FeedState, InputState, MAX_PENDING_COMMANDS,
    Poll, ToAcquisition, ToDatabase as FromAcquisition,
};
use protocols::p2_directory::{ChannelList, ChannelStatus, ToClient, ToDatabase as FromClient, Tuning};
use protocols::p4_control::{
    Command, CommandOrder, Configure, Configured, DestinationOrder, Kind, Query, Report, ReportItem,
    Response, Sealed, seal,
};
use protocols::preamble::Refusal;
use protocols::time::{ClusterTime, Time};
use protocols::topology::Topology;

use super::*;
use crate::record::Remembered;
use crate::{Config, ConnectionId, Output};

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

[[channel]]
id = 2
name = "Two"
acquisition_server = "roof"
input = "card"

[[push_server]]
id = "hall"
address = "10.0.1.1"
channels = [1, 2]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.1"
  serves = ["10.0.1.0/24"]

[[push_server]]
id = "yard"
address = "10.0.1.2"
channels = [1]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.2"
  serves = ["10.0.1.0/24"]
"#;

const P1: ConnectionId = ConnectionId(1);
const VIEWER: ConnectionId = ConnectionId(100);

fn topology(text: &str) -> Arc<Topology> {
    Arc::new(Topology::parse("topology.toml", text).expect("the text is right").0)
}

/// A push server host as the database server sees it: answers queries and takes configurations.
struct PlayedHost {
    id: HostId,
    boot: BootId,
    answers: bool,
    fed: BTreeMap<u32, bool>,
    /// Channels of whose destination it says whether it sends there.
    sending: BTreeMap<u32, bool>,
    last: CommandOrder,
    revisions: BTreeMap<ChannelId, Revision>,
    assigned: BTreeMap<ChannelId, bool>,
    configures: u32,
    released: Vec<ChannelId>,
}

impl PlayedHost {
    fn new(id: &str) -> Self {
        Self {
            id: id.parse().unwrap(),
            boot: BootId(7),
            answers: true,
            fed: BTreeMap::new(),
            sending: BTreeMap::new(),
            last: CommandOrder::default(),
            revisions: BTreeMap::new(),
            assigned: BTreeMap::new(),
            configures: 0,
            released: Vec::new(),
        }
    }

    fn reboot(&mut self) {
        self.boot = BootId(self.boot.0 + 1);
        self.last = CommandOrder::default();
        self.revisions.clear();
        self.assigned.clear();
    }

    fn answer(&mut self, key: &ClusterKey, bytes: &[u8]) -> Option<Vec<u8>> {
        let sealed = Sealed::parse(bytes).unwrap();
        let key = key.host_key(&self.id);
        if !self.answers || sealed.verify(&key).is_err() {
            return None;
        }
        match sealed.kind {
            Kind::Query => {
                let command: Command<Query> = sealed.open(&key).unwrap();
                let mut body = Report::default();
                if command.host_boot == self.boot {
                    self.last = command.order;
                    body.up_to = 1;
                    body.items = self
                        .revisions
                        .iter()
                        .map(|(channel, revision)| ReportItem::Server {
                            channel: *channel,
                            revision: *revision,
                            fed: self.fed.get(&channel.0).copied().unwrap_or(false),
                            packets: 0,
                        })
                        .collect();
                    body.items.extend(self.sending.iter().map(|(channel, sending)| {
                        ReportItem::Destination {
                            channel: ChannelId(*channel),
                            address: "239.192.1.1".parse().unwrap(),
                            sending: *sending,
                            packets: 0,
                            fault: None,
                        }
                    }));
                }
                Some(self.respond(Kind::Report, command.order, body, &key))
            }
            Kind::Configure => {
                let command: Command<Configure> = sealed.open(&key).unwrap();
                if command.host_boot != self.boot {
                    return Some(self.respond(Kind::Report, command.order, Report::default(), &key));
                }
                if command.order <= self.last {
                    return None;
                }
                self.last = command.order;
                self.configures += 1;
                let Configure { channel, revision, part, parts, ref destinations, .. } = command.body;
                if parts == 0 {
                    self.revisions.remove(&channel);
                    self.released.push(channel);
                } else {
                    self.revisions.insert(channel, revision);
                    self.assigned
                        .insert(channel, destinations.iter().any(|to: &DestinationOrder| to.assigned));
                }
                let body = Configured { channel, part, revision, in_force: revision };
                Some(self.respond(Kind::Configured, command.order, body, &key))
            }
            other => panic!("{other:?} is not for a host"),
        }
    }

    fn respond<B: serde::Serialize>(
        &self,
        kind: Kind,
        order: CommandOrder,
        body: B,
        key: &protocols::authority::MacKey,
    ) -> Vec<u8> {
        seal(kind, &Response { host: self.id.clone(), host_boot: self.boot, order, body }, key)
    }
}

/// A database server, its hosts at the end of a perfect network, and all that it sent to others.
struct World {
    server: DatabaseServer,
    key: ClusterKey,
    now: Time,
    hosts: Vec<PlayedHost>,
    told: Vec<(Time, Output)>,
    /// Every n-th datagram is lost; 0: none.
    lose_every: u64,
    datagrams: u64,
}

impl World {
    fn new(text: &str) -> Self {
        Self::started(text, 1, Remembered::default())
    }

    fn started(text: &str, start: u32, remembered: Remembered) -> Self {
        let key = ClusterKey::new([3; 32]);
        let config =
            Config { cluster_key: key.clone(), start, clock_base: ClusterTime(1_000_000), remembered };
        let server = DatabaseServer::new(config, BootId(1), 5);
        let hosts = vec![PlayedHost::new("hall"), PlayedHost::new("yard")];
        let now = Time::from_ms(1_000);
        let mut world = Self { server, key, now, hosts, told: Vec::new(), lose_every: 0, datagrams: 0 };
        world.give(Input::Topology(topology(text)));
        world
    }

    fn host(&mut self, id: &str) -> &mut PlayedHost {
        self.hosts.iter_mut().find(|host| host.id.as_str() == id).unwrap()
    }

    fn lost(&mut self) -> bool {
        self.datagrams += 1;
        self.lose_every != 0 && self.datagrams.is_multiple_of(self.lose_every)
    }

    fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            self.server.handle(self.now, input, &mut out);
            for output in out {
                let Output::Datagram { to, bytes } = output else {
                    self.told.push((self.now, output));
                    continue;
                };
                if self.lost() {
                    continue;
                }
                let name =
                    if to.ip() == "10.0.1.1".parse::<std::net::IpAddr>().unwrap() { "hall" } else { "yard" };
                let key = self.key.clone();
                let answer = self.host(name).answer(&key, &bytes);
                if let Some(bytes) = answer.filter(|_| !self.lost()) {
                    inputs.insert(0, Input::Datagram { from: to, bytes });
                }
            }
        }
    }

    /// Lets time pass, ticking at each deadline.
    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some((time, _)) = self.server.deadline().filter(|(time, _)| *time <= end) {
            self.now = self.now.max(time);
            self.give(Input::Tick);
        }
        self.now = end;
    }

    /// Lets time pass with an acquisition server and a viewer that keep speaking.
    fn run_polled(&mut self, ms: u64) {
        for _ in 0..ms / 250 {
            self.poll(&InputState::Delivering);
            self.give(Input::ClientMessage { connection: VIEWER, message: FromClient::Ping });
            self.run(250);
        }
    }

    fn register(&mut self) {
        let id = "roof".parse().unwrap();
        self.give(Input::AcquisitionConnected { connection: P1, id, boot_id: BootId(4) });
        let message = FromAcquisition::Register { software: "test".to_owned() };
        self.give(Input::AcquisitionMessage { connection: P1, message });
    }

    fn poll(&mut self, input: &InputState) {
        let feed = |host: &str| FeedReport {
            host: host.parse().unwrap(),
            state: FeedState::Connected,
            dropped_packets: 0,
        };
        let report = |id| ChannelReport {
            channel: ChannelId(id),
            input: input.clone(),
            source: 0,
            switches: 0,
            packets: 0,
            rate_bps: 0,
            feeds: vec![feed("hall"), feed("yard")],
            health: HealthReport::default(),
            signal: None,
        };
        let poll = Poll { channels: vec![report(1), report(2)], ..Poll::default() };
        self.give(Input::AcquisitionMessage { connection: P1, message: FromAcquisition::Poll(poll) });
    }

    fn feed_all(&mut self) {
        for host in &mut self.hosts {
            host.fed = BTreeMap::from([(1, true), (2, true)]);
        }
    }

    /// A site in which everything works and a viewer is connected.
    fn live(text: &str) -> Self {
        let mut world = Self::new(text);
        world.feed_all();
        world.register();
        world.connect(VIEWER, "10.0.1.50");
        world.run_polled(2_500);
        world.told.clear();
        world
    }

    fn connect(&mut self, connection: ConnectionId, address: &str) {
        self.give(Input::ClientConnected { connection, address: address.parse().unwrap() });
    }

    fn ask(&mut self, message: FromClient) -> Vec<ToClient> {
        let before = self.told.len();
        self.give(Input::ClientMessage { connection: VIEWER, message });
        self.told[before..].iter().filter_map(|(_, output)| to_client(output)).collect()
    }

    fn list(&mut self) -> ChannelList {
        match self.ask(FromClient::List { tunings: true }).remove(0) {
            ToClient::Channels(list) => list,
            other => panic!("{other:?}"),
        }
    }

    fn status(&mut self, channel: u32) -> ChannelStatus {
        self.server.status(ChannelId(channel), &"10.0.1.0/24".parse().unwrap()).unwrap().clone()
    }

    fn assigned(&self, channel: u32) -> Option<(String, Revision)> {
        let assignment = self.server.assignment(ChannelId(channel), &"10.0.1.0/24".parse().unwrap())?;
        Some((assignment.host.to_string(), assignment.revision))
    }

    fn clients_told(&self) -> Vec<ToClient> {
        self.told.iter().filter_map(|(_, output)| to_client(output)).collect()
    }

    fn tunings_told(&self) -> Vec<(Time, Tuning)> {
        let tunings = self.told.iter().filter_map(|(time, output)| match to_client(output) {
            Some(ToClient::Tuning(tuning)) => Some((*time, *tuning)),
            _ => None,
        });
        tunings.collect()
    }
}

fn to_client(output: &Output) -> Option<ToClient> {
    match output {
        Output::SendToClient { message, .. } if *message != ToClient::Pong => Some(message.clone()),
        _ => None,
    }
}

fn inactive(cause: &str) -> ChannelStatus {
    ChannelStatus::Inactive { cause: cause.to_owned() }
}

#[test]
fn a_site_that_works_lists_active_channels_with_tunings_bound_to_the_caller() {
    let mut world = World::live(SITE);
    let list = world.list();
    assert_eq!(list.network.as_deref(), Some("10.0.1.0/24"));
    assert!(!list.offline);
    let names: Vec<_> = list.channels.iter().map(|entry| (entry.id.0, entry.name.as_str())).collect();
    assert_eq!(names, [(1, "One"), (2, "Two")]);
    assert!(list.channels.iter().all(|entry| entry.status == ChannelStatus::Active));
    let tuning = list.channels[1].tuning.as_ref().unwrap();
    assert_eq!(tuning.push_server.to_string(), "hall/2");
    assert_eq!((tuning.destination.to_string(), tuning.port), ("239.192.1.1".to_owned(), 7602));
    assert_eq!(tuning.lease.client.to_string(), "10.0.1.50");
    assert_eq!(tuning.secret, world.key.lease_key().secret(&tuning.lease));
}

#[test]
fn a_network_that_nobody_serves_gets_an_empty_list() {
    let mut world = World::live(SITE);
    world.connect(ConnectionId(101), "192.168.9.9");
    let before = world.told.len();
    let message = FromClient::List { tunings: false };
    world.give(Input::ClientMessage { connection: ConnectionId(101), message });
    let Some(ToClient::Channels(list)) = to_client(&world.told[before].1) else { panic!() };
    assert_eq!((list.network, list.channels.len()), (None, 0));
}

#[test]
fn the_first_registration_goes_on_line_and_its_loss_off_line_with_inactive_channels() {
    let mut world = World::new(SITE);
    world.feed_all();
    world.run(2_000);
    assert_eq!(world.server.mode(), Mode::Offline);
    assert_eq!(world.status(1), inactive("acquisition server `roof` is not connected"));
    world.register();
    assert_eq!(world.server.mode(), Mode::Online);
    world.poll(&InputState::Delivering);
    assert_eq!(world.status(1), ChannelStatus::Active);
    world.run(1_999);
    assert_eq!(world.server.mode(), Mode::Online);
    world.run(1);
    assert_eq!(world.server.mode(), Mode::Offline, "silent for SILENCE_TIMEOUT");
    assert_eq!(world.status(1), inactive("acquisition server `roof` is not connected"));
    assert!(
        world
            .told
            .iter()
            .any(|(_, output)| matches!(output, Output::RefuseAcquisition { connection: P1, .. }))
    );
}

#[test]
fn a_failed_input_makes_its_channel_inactive_with_the_cause_and_no_other() {
    let mut world = World::live(SITE);
    let failed = ChannelReport {
        channel: ChannelId(2),
        input: InputState::Failed { cause: "no such file /srv/two.ts".to_owned() },
        source: 0,
        switches: 0,
        packets: 0,
        rate_bps: 0,
        feeds: vec![],
        health: HealthReport::default(),
        signal: None,
    };
    let poll = Poll { channels: vec![failed], ..Poll::default() };
    world.give(Input::AcquisitionMessage { connection: P1, message: FromAcquisition::Poll(poll) });
    assert_eq!(world.status(2), inactive("input: no such file /srv/two.ts"));
    assert_eq!(world.status(1), ChannelStatus::Active);
}

#[test]
fn viewers_are_retuned_within_two_seconds_of_a_push_servers_death_and_not_back_again() {
    let mut world = World::live(SITE);
    let (first, revision) = world.assigned(1).unwrap();
    let Some(ToClient::Tuning(tuning)) = world.ask(FromClient::Watch { channel: ChannelId(1) }).pop() else {
        panic!("a tuning at once")
    };
    assert_eq!(tuning.revision, revision);
    world.told.clear();
    let death = world.now;
    world.host(&first).answers = false;
    world.run_polled(2_000);
    let tunings = world.tunings_told();
    assert_eq!(tunings.len(), 1);
    assert!(tunings[0].0.since(death) <= Duration::from_millis(1_300), "{:?}", tunings[0].0.since(death));
    assert!(tunings[0].1.revision > revision);
    let (second, _) = world.assigned(1).unwrap();
    assert_ne!(first, second);
    assert!(world.host(&second).assigned[&ChannelId(1)]);
    world.told.clear();
    world.host(&first).answers = true;
    world.run_polled(2_000);
    assert_eq!(world.assigned(1).unwrap().0, second, "sticky");
    assert!(!world.host(&first).assigned[&ChannelId(1)], "the old one is told that it lost");
    assert_eq!(world.tunings_told(), []);
}

/// A site whose push server of channel 1 has just been drained; its id, and that of the one that takes over.
fn drained() -> (World, String, String) {
    let mut world = World::live(SITE);
    let (first, revision) = world.assigned(1).unwrap();
    world.host(&first).sending.insert(1, true);
    world.run_polled(500);
    world.ask(FromClient::Watch { channel: ChannelId(1) });
    world.told.clear();
    let id = format!("id = \"{first}\"");
    world.give(Input::Topology(topology(&SITE.replace(&id, &format!("{id}\ndrain = true")))));
    let (second, next) = world.assigned(1).unwrap();
    assert_ne!(first, second);
    assert!(next > revision);
    assert_eq!(world.tunings_told().len(), 1, "its viewers move at once");
    assert!(world.host(&second).assigned[&ChannelId(1)]);
    assert!(world.host(&first).assigned[&ChannelId(1)], "and it goes on");
    (world, first, second)
}

#[test]
fn a_drained_push_server_goes_on_until_half_a_second_after_its_successor_is_seen_sending() {
    let (mut world, first, second) = drained();
    let sends = |world: &mut World| world.host(&first).assigned[&ChannelId(1)];
    let before = world.host(&first).revisions[&ChannelId(1)];
    world.run_polled(1_000);
    assert!(sends(&mut world), "nobody else does");
    world.host(&second).sending.insert(1, true);
    // It says so when it is asked next, within 250 ms.
    world.run(499);
    assert!(sends(&mut world));
    world.run(251);
    assert!(!sends(&mut world));
    assert!(world.host(&first).revisions[&ChannelId(1)] > before);
    assert!(world.host(&second).assigned[&ChannelId(1)]);
    assert_eq!(world.tunings_told().len(), 1, "viewers hear nothing of that");
}

#[test]
fn a_drained_push_server_whose_successor_never_sends_goes_on_for_three_seconds() {
    let (mut world, first, _) = drained();
    world.run_polled(2_750);
    world.run(249);
    assert!(world.host(&first).assigned[&ChannelId(1)]);
    world.run(1);
    assert!(!world.host(&first).assigned[&ChannelId(1)]);
}

#[test]
fn a_drained_push_server_whose_successor_dies_is_assigned_again_without_a_pause() {
    let (mut world, first, second) = drained();
    let configures = world.host(&first).configures;
    world.host(&second).answers = false;
    world.run_polled(5_000);
    assert_eq!(world.assigned(1).unwrap().0, first);
    assert!(world.host(&first).assigned[&ChannelId(1)]);
    assert_eq!(world.host(&first).configures, configures, "it was never told to stop");
}

#[test]
fn a_channel_without_a_living_push_server_is_unavailable_with_the_reason_and_comes_back() {
    let mut world = World::live(SITE);
    world.ask(FromClient::Watch { channel: ChannelId(2) });
    world.told.clear();
    world.host("hall").answers = false;
    world.run_polled(1_500);
    let reason = "no push server for 10.0.1.0/24 is operating".to_owned();
    let unavailable = ToClient::Unavailable { channel: ChannelId(2), reason: reason.clone() };
    assert_eq!(world.clients_told(), [unavailable]);
    assert_eq!(world.status(2), inactive(&reason));
    world.told.clear();
    world.host("hall").answers = true;
    world.run_polled(500);
    assert_eq!(world.tunings_told().len(), 1);
}

#[test]
fn live_viewing_stays_tuned_when_only_the_registration_is_lost() {
    let mut world = World::live(SITE);
    world.ask(FromClient::Watch { channel: ChannelId(1) });
    world.told.clear();
    world.give(Input::AcquisitionClosed { connection: P1 });
    assert_eq!(world.status(1), inactive("acquisition server `roof` is not connected"));
    assert_eq!(world.clients_told(), [], "packets still arrive at the push server, so the tuning holds");
}

#[test]
fn a_restarted_host_is_configured_again_and_a_stranger_is_ignored() {
    let mut world = World::live(SITE);
    let revisions = world.host("hall").revisions.clone();
    world.host("hall").reboot();
    world.host("hall").configures = 0;
    world.run_polled(500);
    assert_eq!(world.host("hall").revisions, revisions);
    assert_eq!(world.host("hall").configures, 2);
    let counters = world.server.counters();
    let forged = seal(
        Kind::Report,
        &Response {
            host: "hall".parse().unwrap(),
            host_boot: BootId(99),
            order: CommandOrder::default(),
            body: Report::default(),
        },
        &ClusterKey::new([4; 32]).host_key(&"hall".parse().unwrap()),
    );
    world.give(Input::Datagram { from: "10.9.9.9:1".parse().unwrap(), bytes: forged });
    world.give(Input::Datagram { from: "10.9.9.9:1".parse().unwrap(), bytes: vec![1, 2, 3] });
    assert_eq!(world.server.counters().datagrams_unauthenticated, counters.datagrams_unauthenticated + 1);
    assert_eq!(world.server.counters().datagrams_malformed, counters.datagrams_malformed + 1);
    assert_eq!(world.server.presence().get(&"hall".parse().unwrap()).unwrap().boot, Some(BootId(8)));
}

#[test]
fn a_replayed_answer_changes_nothing() {
    let mut world = World::live(SITE);
    world.host("hall").answers = false;
    let mut out = Vec::new();
    world.now += Duration::from_millis(300);
    world.server.handle(world.now, Input::Tick, &mut out);
    let query = out.iter().find_map(|output| match output {
        Output::Datagram { to, bytes } if to.ip().to_string() == "10.0.1.1" => Some(bytes.clone()),
        _ => None,
    });
    world.host("hall").answers = true;
    let key = world.key.clone();
    let answer = world.host("hall").answer(&key, &query.unwrap()).unwrap();
    let from = "10.0.1.1:7404".parse().unwrap();
    let unexpected = world.server.counters().responses_unexpected;
    world.give(Input::Datagram { from, bytes: answer.clone() });
    assert_eq!(world.server.counters().responses_unexpected, unexpected);
    world.give(Input::Datagram { from, bytes: answer });
    assert_eq!(world.server.counters().responses_unexpected, unexpected + 1);
}

#[test]
fn configuration_converges_when_every_fifth_datagram_is_lost() {
    let mut world = World::new(SITE);
    world.lose_every = 5;
    world.run(3_000);
    for host in ["hall", "yard"] {
        let id = host.parse().unwrap();
        assert!(world.server.configuration().is_settled(&id), "{host}");
        for (channel, revision) in world.host(host).revisions.clone() {
            assert_eq!(world.server.configuration().revision(&id, channel), Some(revision));
        }
    }
    assert!(world.server.counters().configurations_repeated > 0);
}

#[test]
fn a_restarted_database_server_keeps_assignments_although_the_better_host_speaks_first() {
    let world = World::live(SITE);
    let (host, _) = world.assigned(1).unwrap();
    let other = if host == "hall" { "yard" } else { "hall" };
    let network = "10.0.1.0/24".parse().unwrap();
    let mut stored = world.server.assignment(ChannelId(1), &network).unwrap();
    // The one that ranks lower was assigned when the first life ended.
    stored.host = other.parse().unwrap();
    let remembered = Remembered { assignments: vec![stored.clone()], ..Remembered::default() };
    let mut next = World::started(SITE, 2, remembered);
    next.hosts = world.hosts;
    next.host(other).answers = false;
    next.register();
    next.run_polled(1_250);
    assert_eq!(next.assigned(1).unwrap(), (other.to_owned(), stored.revision));
    next.host(other).answers = true;
    next.run_polled(3_000);
    assert_eq!(next.assigned(1).unwrap(), (other.to_owned(), stored.revision));
}

#[test]
fn a_question_within_the_grace_is_answered_when_the_answer_is_sure() {
    let mut world = World::new(SITE);
    world.feed_all();
    world.host("hall").answers = false;
    world.connect(VIEWER, "10.0.1.50");
    assert_eq!(
        world.ask(FromClient::Watch { channel: ChannelId(2) }),
        [],
        "it may only not have been heard yet"
    );
    world.run(500);
    assert_eq!(world.clients_told(), []);
    world.host("hall").answers = true;
    world.run(500);
    assert_eq!(world.tunings_told().len(), 1);
    let mut silent = World::new(SITE);
    silent.hosts.iter_mut().for_each(|host| host.answers = false);
    silent.connect(VIEWER, "10.0.1.50");
    silent.ask(FromClient::Watch { channel: ChannelId(2) });
    silent.run(1_600);
    assert!(matches!(silent.clients_told()[..], [ToClient::Unavailable { .. }]));
}

#[test]
fn a_reload_reaches_only_whom_it_concerns() {
    let mut world = World::live(SITE);
    world.list();
    world.ask(FromClient::Watch { channel: ChannelId(1) });
    world.told.clear();
    let before = world.host("hall").revisions.clone();
    let configures = world.host("hall").configures + world.host("yard").configures;

    // The same content in other words.
    let generation = world.server.generation();
    world.give(Input::Topology(topology(&format!("# a comment\n{SITE}"))));
    assert_eq!((world.told.len(), world.server.generation()), (0, generation));

    // Channel 2 moves to another port: its push server and the watchers of it alone are told.
    let moved = SITE.replace("name = \"Two\"", "name = \"Two\"\nport = 9000");
    world.give(Input::Topology(topology(&moved)));
    world.run_polled(250);
    assert_eq!(world.host("hall").revisions[&ChannelId(1)], before[&ChannelId(1)]);
    assert!(world.host("hall").revisions[&ChannelId(2)] > before[&ChannelId(2)]);
    assert_eq!(world.host("hall").configures + world.host("yard").configures, configures + 1);
    let plans = world.told.iter().filter(|(_, output)| {
        matches!(output, Output::SendToAcquisition { message: ToAcquisition::Plan(_), .. })
    });
    assert_eq!(plans.count(), 0, "the acquisition server knows no ports");
    assert_eq!(
        world.clients_told(),
        [ToClient::ListChanged],
        "and a watcher of channel 1 no port of channel 2"
    );
    assert_eq!(world.server.generation().0, generation.0 + 1);
}

#[test]
fn a_channel_taken_from_a_host_is_released_and_a_new_one_is_planned_and_listed() {
    let mut world = World::live(SITE);
    world.list();
    world.ask(FromClient::Watch { channel: ChannelId(2) });
    world.told.clear();
    world.give(Input::Topology(topology(
        &SITE
            .replace("channels = [1, 2]", "channels = [1]")
            .replace("[[channel]]\nid = 2\nname = \"Two\"", "[[channel]]\nid = 3\nname = \"Three\"")
            .replace("channels = [1]\n", "channels = [1, 3]\n"),
    )));
    world.run_polled(250);
    assert_eq!(world.host("hall").released, [ChannelId(2)]);
    assert!(world.host("yard").revisions.contains_key(&ChannelId(3)));
    let reason = "channel 2 is not listed for 10.0.1.0/24".to_owned();
    assert!(world.clients_told().contains(&ToClient::Unavailable { channel: ChannelId(2), reason }));
    assert!(world.clients_told().contains(&ToClient::ListChanged));
    let plan = world.told.iter().find_map(|(_, output)| match output {
        Output::SendToAcquisition { message: ToAcquisition::Plan(plan), .. } => Some(plan.clone()),
        _ => None,
    });
    let plan = plan.unwrap();
    assert_eq!(plan.generation, world.server.generation());
    assert_eq!(plan.channels.iter().map(|channel| channel.channel.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(world.list().channels.iter().map(|entry| entry.id.0).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_host_that_leaves_the_topology_releases_all_and_is_forgotten() {
    let mut world = World::live(SITE);
    let without_yard = &SITE[..SITE.rfind("[[push_server]]").unwrap()];
    world.give(Input::Topology(topology(without_yard)));
    world.run_polled(250);
    assert_eq!(world.host("yard").released, [ChannelId(1)]);
    assert!(world.server.presence().get(&"yard".parse().unwrap()).is_none());
    assert_eq!(world.assigned(1).unwrap().0, "hall");
}

#[test]
fn changes_of_a_list_are_told_at_most_twice_a_second() {
    let mut world = World::live(SITE);
    world.list();
    world.told.clear();
    for round in 0..19 {
        let state = if round % 2 == 0 { InputState::Starting } else { InputState::Delivering };
        world.poll(&state);
        world.run(50);
        world.give(Input::ClientMessage { connection: VIEWER, message: FromClient::List { tunings: false } });
    }
    let told = world.clients_told().iter().filter(|message| **message == ToClient::ListChanged).count();
    assert_eq!(told, 2, "in 950 ms");
    assert!(world.server.counters().list_changes_coalesced >= 10);
}

#[test]
fn a_silent_client_is_closed_and_one_too_many_watches_are_refused() {
    let mut world = World::live(SITE);
    for channel in 1..=64 {
        world.ask(FromClient::Watch { channel: ChannelId(channel) });
    }
    let answer = world.ask(FromClient::Watch { channel: ChannelId(65) });
    let reason = "this connection watches 64 channels already".to_owned();
    assert_eq!(answer, [ToClient::Unavailable { channel: ChannelId(65), reason }]);
    world.run(6_100);
    let closed = |output: &Output| matches!(output, Output::CloseClient { connection: VIEWER, .. });
    assert!(world.told.iter().any(|(_, output)| closed(output)));
    assert_eq!(world.server.clients(), 0);
}

#[test]
fn clients_beyond_the_limit_of_an_address_are_refused_as_busy() {
    let mut world = World::live(SITE);
    for id in 0..=u64::from(crate::directory::MAX_CLIENTS_PER_ADDRESS) {
        world.connect(ConnectionId(1_000 + id), "10.0.1.77");
    }
    let Some((_, Output::CloseClient { refusal: Refusal::Busy(text), .. })) = world.told.pop() else {
        panic!()
    };
    assert_eq!(text, "1000 clients are connected from 10.0.1.77 already");
}

#[test]
fn an_undeclared_acquisition_server_is_refused_and_a_newer_connection_replaces() {
    let mut world = World::live(SITE);
    let stranger = "cellar".parse().unwrap();
    world.give(Input::AcquisitionConnected { connection: ConnectionId(8), id: stranger, boot_id: BootId(1) });
    let refusal = Refusal::UnknownServer("cellar".to_owned());
    assert_eq!(
        world.told.pop().unwrap().1,
        Output::RefuseAcquisition { connection: ConnectionId(8), refusal }
    );
    let id = "roof".parse().unwrap();
    world.give(Input::AcquisitionConnected { connection: ConnectionId(9), id, boot_id: BootId(5) });
    let replaced = Output::RefuseAcquisition { connection: P1, refusal: Refusal::Replaced };
    assert!(world.told.iter().any(|(_, output)| *output == replaced));
    let message = FromAcquisition::Register { software: String::new() };
    world.give(Input::AcquisitionMessage { connection: ConnectionId(9), message });
    world.give(Input::AcquisitionClosed { connection: P1 });
    assert_eq!(world.server.mode(), Mode::Online, "the end of the old connection is not that of the new one");
}

#[test]
fn a_command_goes_out_once_per_connection_until_its_result_comes() {
    let mut world = World::live(SITE);
    let (acquisition_server, input) = ("roof".parse().unwrap(), "card".parse().unwrap());
    let restart = SiteCommand::RestartInput { acquisition_server, input };
    let post = |world: &mut World| world.server.command(world.now, restart.clone(), &mut Vec::new());
    let sent = |world: &mut World| -> Vec<Order1> {
        world.told.clear();
        world.poll(&InputState::Delivering);
        world
            .told
            .iter()
            .find_map(|(_, output)| match output {
                Output::SendToAcquisition { message: ToAcquisition::Polled { commands }, .. } => {
                    Some(commands.clone())
                }
                _ => None,
            })
            .unwrap()
    };
    post(&mut world).unwrap();
    let first = sent(&mut world);
    assert_eq!(first.len(), 1);
    assert_eq!(sent(&mut world), []);
    world.give(Input::AcquisitionClosed { connection: P1 });
    world.register();
    // The same connection id stands for a new connection here only in name; give it another.
    let id = "roof".parse().unwrap();
    world.give(Input::AcquisitionConnected { connection: ConnectionId(2), id, boot_id: BootId(4) });
    let message = FromAcquisition::Register { software: String::new() };
    world.give(Input::AcquisitionMessage { connection: ConnectionId(2), message });
    world.told.clear();
    let done = vec![CommandResult { id: first[0].id, outcome: Ok(()) }];
    let again = FromAcquisition::Poll(Poll::default());
    world.give(Input::AcquisitionMessage { connection: ConnectionId(2), message: again.clone() });
    let polled = |commands| Output::SendToAcquisition {
        connection: ConnectionId(2),
        message: ToAcquisition::Polled { commands },
    };
    assert_eq!(world.told.pop().unwrap().1, polled(first.clone()));
    let message = FromAcquisition::Poll(Poll { done, ..Poll::default() });
    world.give(Input::AcquisitionMessage { connection: ConnectionId(2), message });
    assert_eq!(world.server.counters().commands_done, 1);
    for _ in 0..MAX_PENDING_COMMANDS {
        post(&mut world).unwrap();
    }
    let why = post(&mut world).unwrap_err();
    assert_eq!(why, "64 commands wait for acquisition server `roof` already");
}

/// Goal: what people are shown is what was reported: who is there, what is assigned, who watches, what is away.
#[test]
fn the_picture_shows_what_everybody_reported_and_who_watches() {
    use crate::site_view::{InputStateView, ModeView, PresenceView, RegistrationView, StatusView};

    let mut world = World::live(SITE);
    world.ask(FromClient::Watch { channel: ChannelId(1) });
    let view = world.server.site_view(world.now);
    assert_eq!((view.site.mode, view.site.generation), (ModeView::Live, 1));
    let roof = &view.acquisition_servers[0];
    assert_eq!((roof.state, &roof.inputs[0].channels[..]), (RegistrationView::Registered, &[1, 2][..]));
    assert_eq!(roof.inputs[0].url.as_deref(), Some("testcard:"));
    assert_eq!(view.channels[0].input_state, Some(InputStateView::Delivering));
    let feeds: Vec<&str> = view.channels[0].feeds.iter().map(|feed| feed.push_server.as_str()).collect();
    assert_eq!(feeds, ["hall", "yard"]);
    let servers: Vec<_> = view.push_servers.iter().map(|server| (server.id.as_str(), server.state)).collect();
    assert_eq!(servers, [("hall", PresenceView::Answers), ("yard", PresenceView::Answers)]);
    let network = &view.networks[0];
    assert_eq!((network.id.as_str(), network.viewers), ("10.0.1.0/24", 1));
    let listed: Vec<_> =
        network.channels.iter().map(|listed| (listed.channel, listed.status, listed.viewers)).collect();
    assert_eq!(listed, [(1, StatusView::Active, 1), (2, StatusView::Active, 0)]);
    // One of the rivals is assigned, and both pictures of that agree.
    let assigned: Vec<&str> = view
        .push_servers
        .iter()
        .filter(|server| server.destinations[0].channels[0].assigned)
        .map(|server| server.id.as_str())
        .collect();
    assert_eq!(assigned, [network.channels[0].push_server.as_deref().unwrap()]);

    world.give(Input::ClientClosed { connection: VIEWER });
    world.host("yard").answers = false;
    world.run(3_000);
    let view = world.server.site_view(world.now);
    assert_eq!((view.networks[0].viewers, view.push_servers[1].state), (0, PresenceView::Away));
    // Nobody has polled for that long.
    assert_eq!(
        (view.site.mode, view.acquisition_servers[0].state),
        (ModeView::Offline, RegistrationView::Away)
    );
}

fn schedule(channel: u32, world: &World) -> protocols::guide::Schedule {
    let start_unix_s = i64::try_from(world.server.cluster_time(world.now).0 / 1_000).unwrap();
    let event = |n: i64| protocols::guide::Event {
        start_unix_s: start_unix_s + n * 1_800,
        duration_s: 1_800,
        title: format!("Part {n}"),
        description: "More of it".to_owned(),
        ..protocols::guide::Event::default()
    };
    protocols::guide::Schedule {
        channel: ChannelId(channel),
        from_unix_s: start_unix_s,
        until_unix_s: start_unix_s + 7_200,
        events: (0..4).map(event).collect(),
    }
}

fn now_and_next(world: &mut World) -> Vec<(u32, Vec<String>)> {
    let from_unix_s = i64::try_from(world.server.cluster_time(world.now).0 / 1_000).unwrap();
    let query = protocols::p2_directory::GuideQuery {
        channel: None,
        from_unix_s,
        until_unix_s: from_unix_s + 86_400,
        per_channel: 2,
        descriptions: false,
        after: None,
    };
    match world.ask(FromClient::Guide(query)).remove(0) {
        ToClient::Guide(page) => {
            assert!(page.channels.iter().flat_map(|it| &it.events).all(|it| it.description.is_empty()));
            let titles = |it: &protocols::p2_directory::ChannelGuide| {
                (it.channel.0, it.events.iter().map(|event| event.title.clone()).collect())
            };
            page.channels.iter().map(titles).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_viewer_is_told_what_is_on_and_next_on_the_channels_of_its_network() {
    let mut world = World::live(SITE);
    assert!(now_and_next(&mut world).is_empty());
    let message = FromAcquisition::Guide(schedule(2, &world));
    world.give(Input::AcquisitionMessage { connection: P1, message: message.clone() });
    assert_eq!(now_and_next(&mut world), [(2, vec!["Part 0".to_owned(), "Part 1".to_owned()])]);
    let ask = crate::guide_view::GuideAsk { per_channel: 1, ..Default::default() };
    let view = world.server.guide_view(world.now, &ask);
    assert_eq!((view.channels.len(), view.channels[0].events[0].title.as_str()), (1, "Part 0"));
    let stored = |world: &World| {
        let kept = |(_, output): &&(Time, Output)| matches!(output, Output::Store(Record::GuideEvent { .. }));
        world.told.iter().filter(kept).count()
    };
    assert_eq!(stored(&world), 4);
    world.give(Input::AcquisitionMessage { connection: P1, message });
    assert_eq!(stored(&world), 4, "told again, it changes nothing");
}

#[test]
fn the_guide_outlives_a_restart_but_not_its_channel() {
    let mut world = World::live(SITE);
    let event = schedule(1, &world).events[0].clone();
    let remembered = Remembered {
        guide: vec![(ChannelId(1), event.clone()), (ChannelId(9), event)],
        ..Remembered::default()
    };
    world = World::started(SITE, 2, remembered);
    assert_eq!(world.server.guide().len(), 1, "channel 9 is not declared");
    world.connect(VIEWER, "10.0.1.50");
    assert_eq!(now_and_next(&mut world), [(1, vec!["Part 0".to_owned()])]);
}

#[test]
fn schedules_of_foreign_channels_and_unsound_ones_are_ignored_and_counted() {
    let mut world = World::live(SITE);
    let foreign = schedule(9, &world);
    let mut unsound = schedule(1, &world);
    unsound.events.reverse();
    for schedule in [foreign, unsound] {
        let before = world.server.counters().acquisition_faults;
        let message = FromAcquisition::Guide(schedule);
        world.give(Input::AcquisitionMessage { connection: P1, message });
        assert_eq!(world.server.counters().acquisition_faults, before + 1);
    }
    assert!(world.server.guide().is_empty());
}
