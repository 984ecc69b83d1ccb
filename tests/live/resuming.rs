//! How soon the first packet leaves after the first interest.
#![expect(clippy::disallowed_methods, reason = "the test sends, and times what the machine itself takes")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use lab::pcap::Pcap;
use lab::site::{Daemon, Plan, PlannedDestination, READY_LIMIT, Site};
use lab::source::Clip;
use lab::wire::Capture;
use lab::{Host, Lab, Process, timeline};
use protocols::authority::{ClusterKey, LEASE_LIFETIME, Lease};
use protocols::ids::ChannelId;
use protocols::p4_control::Interest;
use protocols::time::ClusterTime;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the first packet may take.
const RESUMED_WITHIN: Duration = Duration::from_millis(5);
pub(crate) const CHANNELS: u32 = 10;
const DESTINATIONS: u8 = 20;
/// Between two first interests: interest holds for five seconds, so some thirty streams of 5 Mb/s are on their way.
const INTEREST_EVERY: Duration = Duration::from_millis(150);
/// Two wake-ups that take less than this, p99, say that the machine has time for us.
const QUIET: Duration = Duration::from_millis(1);
/// How far the capture may be behind.
pub(crate) const CAPTURED_WITHIN: Duration = Duration::from_millis(1500);
/// Ethernet, IPv4, UDP, and the interest as far as its destination.
pub(crate) const KEPT_BYTES: u32 = 96;

/// The first viewer's address is in the network of the first group.
const BEFORE_FIRST_VIEWER: u8 = 99;

/// The `n`th group, from 1.
fn group(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(239, 192, 3, n)
}

/// Ten channels, each to so many groups in the room; only one push server.
fn plan(clip: &Clip, destinations: u8) -> Plan {
    let url = format!("file:{}", clip.path.display());
    let mut plan = Plan::of(&url);
    for id in 2..=CHANNELS {
        plan = plan.with_channel(id, &format!("Channel {id}"), &url);
    }
    plan.push_servers.truncate(1);
    plan.push_servers[0].destinations = (1..=destinations)
        .map(|n| PlannedDestination {
            address: group(n).to_string(),
            serves: vec![format!("10.77.1.{}/32", BEFORE_FIRST_VIEWER + n)],
            ..PlannedDestination::room()
        })
        .collect();
    plan
}

/// A site by [`plan`] with its daemons at work and every channel active, and a viewer in its room.
pub(crate) fn active_site(lab: &Lab, destinations: u8) -> (Site, Host, [Process; 3]) {
    let site = Site::build(lab, &plan(&Clip::five_megabits(40), destinations));
    let viewer = site.viewer("anna", &site.room);
    let servers = [Daemon::Database, Daemon::Acquisition, Daemon::Hall].map(|daemon| {
        let mut process = site.start(daemon);
        process.wait_for_line("ready", READY_LIMIT);
        process
    });
    for channel in 1..=CHANNELS {
        site.wait_active(&viewer, channel, PATIENCE);
    }
    (site, viewer, servers)
}

/// Goal: the first packet leaves within 5 ms of the first interest, p99 of 200 suspended (channel, destination) pairs.
/// Method: 5 Mb/s each; the test sends the interests itself, with leases minted from the site's key; a capture at the push
/// server's interface has both the interest as it arrives and the packet as it leaves. Two threads of the test that wake
/// one another at the same moments say what the machine itself takes.
#[test]
fn first_packet_leaves_within_five_milliseconds_of_the_first_interest() {
    const NAME: &str = "first_packet_leaves_within_five_milliseconds_of_the_first_interest";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "tcpdump"]) else { return };
    let (site, viewer, _servers) = active_site(&lab, DESTINATIONS);

    let filter = "udp dst port 7404 or udp dst portrange 7601-7610";
    let capture = Capture::of_first_bytes(&site.hall, &site.room, filter, KEPT_BYTES);
    let control = Control::start();
    send_interests(&site, &viewer, DESTINATIONS, || control.say());
    // The capture is a second behind.
    timeline::lasts(CAPTURED_WITHIN);
    let (mut times, control) = (resume_times(&capture.stop()), control.finish());
    times.sort();
    assert_eq!(
        times.len(),
        usize::try_from(CHANNELS).unwrap() * usize::from(DESTINATIONS),
        "every pair resumed"
    );
    lab.note(format_args!("interest to first packet: {}", distribution(&times)));
    lab.note(format_args!("two wake-ups of the machine meanwhile: {}", distribution(&control)));
    assert_prompt(&times, &control);
}

/// That the first packets leave within [`RESUMED_WITHIN`], p99, on a machine that has time for us as `control` says. On one
/// that is busy with something else nobody could keep that for one in a hundred: a single stall of it is that already, and
/// whether it met us or the two threads is chance. What is ours shows in the median then.
pub(crate) fn assert_prompt(times: &[Duration], control: &[Duration]) {
    let quiet = percentile(control, 99) < QUIET && percentile(control, 100) < RESUMED_WITHIN;
    let percent = if quiet { 99 } else { 50 };
    let allowed = RESUMED_WITHIN + percentile(control, percent);
    assert!(percentile(times, percent) <= allowed, "p{percent} above {allowed:?}: {}", distribution(times));
}

/// One interest for each pair, each of the channels in turn; `each` is called at the same moments.
pub(crate) fn send_interests(site: &Site, viewer: &Host, destinations: u8, each: impl Fn()) {
    let key = ClusterKey::from_file_text(&std::fs::read_to_string(&site.key).unwrap()).unwrap();
    let socket = viewer.enter(|| UdpSocket::bind((viewer.address(), 0)).unwrap());
    let to = (site.hall.address_on(&site.room), 7404);
    for destination in 1..=destinations {
        for channel in 1..=CHANNELS {
            let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let time = ClusterTime(u64::try_from(since_1970.as_millis()).unwrap());
            let lease = Lease {
                client: viewer.address().into(),
                channel: ChannelId(channel),
                destination: group(destination).into(),
                expires: time + LEASE_LIFETIME,
            };
            let interest = Interest { lease, time };
            socket.send_to(&interest.seal(&key.lease_key().secret(&lease)), to).unwrap();
            each();
            timeline::lasts(INTEREST_EVERY);
        }
    }
}

/// Two threads that hand a word on and note how late it is, as the push server's two do: woken by the socket, the first
/// wakes the second. Nothing of ours, so what it takes is what the machine takes.
pub(crate) struct Control {
    first: Sender<Instant>,
    second: JoinHandle<Vec<Duration>>,
}

impl Control {
    pub(crate) fn start() -> Self {
        let (first, heard) = channel::<Instant>();
        let (hand_on, handed) = channel::<Instant>();
        std::thread::spawn(move || heard.into_iter().try_for_each(|said| hand_on.send(said)));
        let second = std::thread::spawn(move || handed.into_iter().map(|said| said.elapsed()).collect());
        Self { first, second }
    }

    pub(crate) fn say(&self) {
        self.first.send(Instant::now()).unwrap();
    }

    /// Sorted.
    pub(crate) fn finish(self) -> Vec<Duration> {
        drop(self.first);
        let mut times = self.second.join().unwrap();
        times.sort();
        times
    }
}

/// From the first interest of each (channel, destination) to its first RTP packet.
pub(crate) fn resume_times(pcap: &Pcap) -> Vec<Duration> {
    let mut asked: BTreeMap<(u32, IpAddr), Duration> = BTreeMap::new();
    let mut times = Vec::new();
    for datagram in &pcap.datagrams {
        let bytes = &datagram.payload;
        if datagram.destination.port() == 7404 {
            let channel = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
            let destination = <[u8; 4]>::try_from(&bytes[20..24]).unwrap();
            asked.entry((channel, destination.into())).or_insert(datagram.time);
        } else if bytes[1] & 0x7f == 33 {
            let channel = u32::from(datagram.destination.port() - 7600);
            // Once for each pair: what follows finds Duration::MAX.
            match asked.insert((channel, datagram.destination.ip()), Duration::MAX) {
                Some(Duration::MAX) => {}
                Some(at) => times.push(datagram.time.saturating_sub(at)),
                None => panic!("{} is sent to unasked", datagram.destination),
            }
        }
    }
    times
}

/// Of `sorted`, which has one at least.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

pub(crate) fn distribution(sorted: &[Duration]) -> String {
    let [p50, p90, p99, max] =
        [50, 90, 99, 100].map(|percent| percentile(sorted, percent).as_secs_f64() * 1e3);
    format!("p50 {p50:.3} ms, p90 {p90:.3} ms, p99 {p99:.3} ms, max {max:.3} ms of {}", sorted.len())
}
