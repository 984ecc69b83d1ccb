//! A site of 1,000 channels, 100 networks and 10,000 clients: that no input costs more than what it changes.
//!
//! A debug build, which is ten times slower, has a site of a hundredth. Times are printed, not asserted; `cargo test --release -p masthead-database-server --lib scale -- --nocapture`.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use protocols::authority::ClusterKey;
use protocols::health::HealthReport;
use protocols::ids::{BootId, ChannelId, HostId};
use protocols::p1_registration::{ChannelReport, InputState, Poll, ToDatabase as FromAcquisition};
use protocols::p2_directory::ToDatabase as FromClient;
use protocols::p4_control::{
    Command, Configure, Configured, ITEMS_PER_REPORT, Kind, Query, Report, ReportItem, Response, Sealed, seal,
};
use protocols::time::{ClusterTime, Time};
use protocols::topology::Topology;

use super::*;
use crate::record::Remembered;

const FULL: bool = !cfg!(debug_assertions);
const CHANNELS: u32 = if FULL { 1_000 } else { 100 };
const NETWORKS: u32 = if FULL { 100 } else { 10 };
const CLIENTS: u64 = if FULL { 10_000 } else { 1_000 };

/// Every network has one host of its own and shares a second one with its neighbour.
fn site() -> String {
    let mut text = "[database_server]\naddress = \"10.255.0.2\"\n[[acquisition_server]]\nid = \"roof\"\n\
                    [[acquisition_server.input]]\nid = \"card\"\nurl = \"testcard:\"\n"
        .to_owned();
    for id in 1..=CHANNELS {
        write!(
            text,
            "[[channel]]\nid = {id}\nname = \"Channel {id}\"\nacquisition_server = \"roof\"\ninput = \"card\"\n"
        )
        .unwrap();
    }
    let ids: Vec<String> = (1..=CHANNELS).map(|id| id.to_string()).collect();
    for network in 0..NETWORKS {
        write!(
            text,
            "[[push_server]]\nid = \"h{network}\"\naddress = \"10.{network}.0.1\"\nchannels = [{}]\n",
            ids.join(", ")
        )
        .unwrap();
        for served in [network, network ^ 1] {
            write!(
                text,
                "[[push_server.destination]]\naddress = \"239.{network}.{served}.1\"\ninterface = \"eth{served}\"\n\
                 serves = [\"10.{served}.0.0/16\"]\n"
            )
            .unwrap();
        }
    }
    text
}

struct Site {
    server: DatabaseServer,
    key: ClusterKey,
    now: Time,
    /// Those that were told something.
    clients_told: BTreeSet<ConnectionId>,
    /// The revision of every push server, by host and channel.
    hosts: Vec<Vec<protocols::ids::Revision>>,
    silent: Option<usize>,
}

impl Site {
    /// Gives `input` and all that hosts answer; returns the time that the machine took for the dearest single input, in µs.
    fn give(&mut self, input: Input) -> u128 {
        let mut inputs = vec![input];
        let mut dearest = 0;
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            let begun = Instant::now();
            self.server.handle(self.now, input, &mut out);
            dearest = dearest.max(begun.elapsed().as_micros());
            for output in out {
                match output {
                    Output::Datagram { to, bytes } => inputs
                        .extend(self.answer(to, &bytes).map(|bytes| Input::Datagram { from: to, bytes })),
                    Output::SendToClient { connection, .. } => {
                        self.clients_told.insert(connection);
                    }
                    _ => {}
                }
            }
        }
        dearest
    }

    fn answer(&mut self, to: std::net::SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        let std::net::IpAddr::V4(v4) = to.ip() else { return None };
        let number = usize::from(v4.octets()[1]);
        if self.silent == Some(number) {
            return None;
        }
        let host: HostId = format!("h{number}").parse().unwrap();
        let (key, sealed) = (self.key.host_key(&host), Sealed::parse(bytes).unwrap());
        let boot = BootId(9);
        if sealed.kind == Kind::Query {
            let command: Command<Query> = sealed.open(&key).unwrap();
            let from = usize::try_from(command.body.since).unwrap();
            let fed =
                self.hosts[number].iter().enumerate().skip(from).filter(|(_, revision)| revision.0 != 0);
            let items: Vec<ReportItem> = fed
                .take(if command.host_boot == boot { ITEMS_PER_REPORT } else { 0 })
                .map(|(channel, revision)| ReportItem::Server {
                    channel: ChannelId(u32::try_from(channel).unwrap()),
                    revision: *revision,
                    fed: true,
                    packets: 0,
                })
                .collect();
            let up_to = (from + items.len()) as u64;
            let body = Report { up_to, more: items.len() == ITEMS_PER_REPORT, items };
            return Some(seal(
                Kind::Report,
                &Response { host, host_boot: boot, order: command.order, body },
                &key,
            ));
        }
        let command: Command<Configure> = sealed.open(&key).unwrap();
        let Configure { channel, part, revision, .. } = command.body;
        self.hosts[number][channel.0 as usize] = revision;
        let body = Configured { channel, part, revision, in_force: revision };
        Some(seal(Kind::Configured, &Response { host, host_boot: boot, order: command.order, body }, &key))
    }

    /// Lets `ms` pass; returns the dearest input in µs.
    fn run(&mut self, ms: u64) -> u128 {
        let end = self.now + std::time::Duration::from_millis(ms);
        let mut dearest = 0;
        while let Some((time, _)) = self.server.deadline().filter(|(time, _)| *time <= end) {
            self.now = self.now.max(time);
            dearest = dearest.max(self.give(Input::Tick));
        }
        self.now = end;
        dearest
    }

    fn poll(&mut self) -> u128 {
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
        let poll = Poll { channels: (1..=CHANNELS).map(report).collect(), ..Poll::default() };
        self.give(Input::AcquisitionMessage {
            connection: ConnectionId(1),
            message: FromAcquisition::Poll(poll),
        })
    }
}

/// Goal: all is assigned and told at this size, the loss of a host moves its viewers and nobody else; costs are printed.
#[test]
fn a_large_site_is_served() {
    let text = site();
    let begun = Instant::now();
    let topology = Arc::new(Topology::parse("topology.toml", &text).expect("the text is right").0);
    println!("parse: {} ms", begun.elapsed().as_millis());
    let key = ClusterKey::new([1; 32]);
    let config = Config {
        cluster_key: key.clone(),
        start: 1,
        clock_base: ClusterTime(0),
        remembered: Remembered::default(),
    };
    let hosts = vec![vec![protocols::ids::Revision(0); CHANNELS as usize + 1]; NETWORKS as usize];
    let server = DatabaseServer::new(config, BootId(1), 1);
    let mut site =
        Site { server, key, now: Time::from_ms(1_000), clients_told: BTreeSet::new(), hosts, silent: None };
    println!("first topology: {} µs", site.give(Input::Topology(Arc::clone(&topology))));
    let id = "roof".parse().unwrap();
    site.give(Input::AcquisitionConnected { connection: ConnectionId(1), id, boot_id: BootId(1) });
    let message = FromAcquisition::Register { software: String::new() };
    println!(
        "registration: {} µs",
        site.give(Input::AcquisitionMessage { connection: ConnectionId(1), message })
    );
    println!("first poll: {} µs", site.poll());
    println!("hosts come up, dearest input: {} µs", site.run(1_400));
    println!("second poll: {} µs", site.poll());
    println!("end of the grace, dearest input: {} µs", site.run(1_000));
    site.poll();
    site.run(1_000);
    println!("third poll: {} µs", site.poll());
    let places = u64::from(CHANNELS * NETWORKS);
    assert!(site.server.counters().assignments >= places);
    for n in 0..CLIENTS {
        let (connection, network) = (ConnectionId(1_000 + n), n % u64::from(NETWORKS));
        let address = format!("10.{network}.{}.7", n / 256).parse().unwrap();
        site.give(Input::ClientConnected { connection, address });
        let channel = ChannelId(u32::try_from(n % 7).unwrap() + 1);
        site.give(Input::ClientMessage { connection, message: FromClient::Watch { channel } });
    }
    assert_eq!(site.clients_told.len() as u64, CLIENTS, "each is tuned at once");
    let message = FromClient::Watch { channel: ChannelId(3) };
    println!("watch: {} µs", site.give(Input::ClientMessage { connection: ConnectionId(1_000), message }));
    for (what, tunings) in [("list", false), ("list again", false), ("list with tunings", true)] {
        let message = FromClient::List { tunings };
        let input = Input::ClientMessage { connection: ConnectionId(1_000), message };
        println!("{what}: {} µs", site.give(input));
    }
    for n in 0..1_000.min(CLIENTS) {
        let message = FromClient::List { tunings: false };
        site.give(Input::ClientMessage { connection: ConnectionId(1_000 + n), message });
    }
    let prepared = site.server.counters().lists_prepared;
    assert_eq!(prepared, u64::from(NETWORKS), "a list is made once for all clients of its network");
    site.clients_told.clear();
    site.silent = Some(0);
    println!("a host dies, dearest input: {} µs", site.run(1_400));
    // Two networks of a hundred depended on it.
    let affected = usize::try_from(CLIENTS * 2 / u64::from(NETWORKS)).unwrap();
    let told = site.clients_told.len();
    assert!((1..=affected).contains(&told), "{told} told");
    println!("reload of a changed name: {} µs", {
        let text = text.replace("\"Channel 1\"", "\"Eins\"");
        let changed = Topology::parse("topology.toml", &text).expect("the text is right").0;
        site.give(Input::Topology(Arc::new(changed)))
    });
}
