//! What one viewer's interest costs a push server, and one viewer's question the database server's topology.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocols::authority::{ClusterKey, Lease};
use protocols::ids::{BootId, ChannelId};
use protocols::p4_control::{Interest, Sealed};
use protocols::time::{ClusterTime, Time};
use protocols::topology::Topology;
use push_server::counters::Counters;
use push_server::interest::InterestTable;

use crate::{HotPath, Step};

pub(crate) const HOT_PATHS: &[HotPath] = &[
    HotPath { name: "interest", unit: "datagram", units_per_step: 1, prepare: interest },
    HotPath { name: "topology", unit: "question", units_per_step: 1, prepare: topology },
];

const CHANNELS: u32 = 100;
const DESTINATIONS_PER_CHANNEL: u8 = 10;
const NETWORKS: u8 = 100;
const WALL: ClusterTime = ClusterTime(1_800_000_000_000);

/// Interest in 1,000 destinations by turns, each once a second; with the announcements that fall due.
fn interest() -> Step {
    let cluster = ClusterKey::new([7; 32]);
    let (client, leases) = (IpAddr::from([10, 0, 1, 7]), cluster.lease_key());
    let mut table = InterestTable::new(cluster, BootId(1));
    let mut datagrams = Vec::new();
    for channel in (1..=CHANNELS).map(ChannelId) {
        for destination in (0..DESTINATIONS_PER_CHANNEL).map(|last| IpAddr::from([239, 192, 1, last])) {
            table.assign(channel, destination);
            let lease = Lease { client, channel, destination, expires: ClusterTime(WALL.0 + 12 * 3_600_000) };
            datagrams.push(Interest { lease, time: WALL }.seal(&leases.secret(&lease)));
        }
    }
    let (mut counters, mut out) = (Counters::default(), Vec::new());
    let (mut now, mut next) = (Time::from_ms(1_000), 0);
    let from = SocketAddr::new(client, 5_000);
    Box::new(move || {
        now += Duration::from_millis(1);
        let sealed = Sealed::parse(black_box(&datagrams[next])).expect("it was sealed here");
        next = (next + 1) % datagrams.len();
        table.hear(now, Some(WALL), from, &sealed, &mut counters, &mut out);
        if table.deadline().is_some_and(|due| due <= now) {
            table.advance(now, Some(WALL), &mut counters, &mut out);
        }
        black_box(&out);
        out.clear();
    })
}

/// From a viewer's address to the list of its network's channels, at a site of 100 channels and 100 networks.
fn topology() -> Step {
    let (topology, _) = Topology::parse("site.toml", &site()).expect("the site is right");
    let mut network = 0;
    Box::new(move || {
        network = (network + 37) % NETWORKS;
        let viewer = black_box(IpAddr::from([10, 1, network, 77]));
        let network = topology.network_of(viewer).expect("every viewer has a network");
        black_box(topology.channels_of(network));
    })
}

/// One push server host for each network, each carrying every channel by multicast.
fn site() -> String {
    let mut text = String::from(
        "[database_server]\naddress = \"10.0.0.2\"\n\n[[acquisition_server]]\nid = \"roof\"\n\n  \
         [[acquisition_server.input]]\n  id = \"mux\"\n  url = \"rtp://239.192.9.1:5004\"\n\n",
    );
    for id in 1..=CHANNELS {
        write!(
            text,
            "[[channel]]\nid = {id}\nname = \"Channel {id}\"\nacquisition_server = \"roof\"\ninput = \"mux\"\n\
             service = {id}\nport = {}\n\n",
            7_600 + id
        )
        .expect("a String takes all");
    }
    let list = (1..=CHANNELS).map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    for network in 0..NETWORKS {
        write!(
            text,
            "[[push_server]]\nid = \"lan-{network}\"\naddress = \"10.1.{network}.1\"\nchannels = [{list}]\n\n  \
             [[push_server.destination]]\n  address = \"239.192.0.1\"\n  interface = \"10.1.{network}.1\"\n  \
             serves = [\"10.1.{network}.0/24\"]\n\n"
        )
        .expect("a String takes all");
    }
    text
}
