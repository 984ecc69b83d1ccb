//! Where nobody watches, nothing is sent.

use std::time::Duration;

use lab::site::{Plan, Site};
use lab::wire::{Capture, WireCounter};
use lab::{Host, Lab, Lan, timeline};
use protocols::p4_control::INTEREST_TIMEOUT;

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
/// How long each silence is listened to.
const SILENCE: Duration = Duration::from_secs(3);
/// What a push server may take beyond [`INTEREST_TIMEOUT`].
const GRACE: Duration = Duration::from_secs(1);

/// Whatever a push server's host puts onto a LAN, but for what every host with an address says: ARP, IGMP, and the neighbour
/// and listener discovery of IPv6.
struct Voice {
    counters: [WireCounter; 2],
}

impl Voice {
    fn of(host: &Host, lan: &Lan) -> Self {
        let filters = ["meta protocol ip meta l4proto != igmp", "meta protocol ip6 meta l4proto != icmpv6"];
        Self { counters: filters.map(|filter| lan.sent_by(host, filter)) }
    }

    fn packets(&self) -> u64 {
        self.counters.iter().map(WireCounter::packets).sum()
    }
}

/// Goal: not a packet on a LAN before its first interest, none later than the timeout and a second after its last, none ever
/// on a LAN without a viewer.
/// Method: the switches count all that push servers' hosts say (not our counters, and not only the channel's port); the
/// time of silence is taken from captures, from the last interest that reached the push server to the last packet that left.
#[test]
fn a_lan_where_nobody_watches_carries_not_one_packet() {
    let Some(lab) = Lab::open("a_lan_where_nobody_watches_carries_not_one_packet", &["tcpdump"]) else {
        return;
    };
    let site = Site::build(&lab, &Plan::testcard().with_rivals());
    let (anna, cleo) = (site.viewer("anna", &site.room), site.viewer("cleo", &site.ward));
    let room = [&site.hall, &site.annex].map(|host| Voice::of(host, &site.room));
    let ward = [Voice::of(&site.annex, &site.ward)];
    let said = |voices: &[Voice]| voices.iter().map(Voice::packets).sum::<u64>();

    let _daemons = site.start_all();
    site.wait_active(&anna, 1, PATIENCE);
    site.wait_active(&cleo, 1, PATIENCE);
    timeline::lasts(SILENCE);
    assert_eq!((said(&room), said(&ward)), (0, 0), "nobody has watched yet");

    let sent = watch_and_leave(&lab, &site, &anna, &site.room, &[&site.hall, &site.annex]);
    assert!(said(&room) >= sent, "the counters count: {} of {sent}", said(&room));
    assert_eq!(said(&ward), 0, "the ward has no viewer");

    let before = said(&room);
    timeline::lasts(SILENCE);
    let sent = watch_and_leave(&lab, &site, &cleo, &site.ward, &[&site.annex]);
    assert_eq!(said(&room), before, "the room is silent again, and has no viewer");
    assert!(said(&ward) >= sent, "the counters count: {} of {sent}", said(&ward));
    lab.note(format_args!("packets in all: room {before}, ward {}", said(&ward)));
}

/// `viewer` watches for [`SILENCE`] and goes; fails the test unless `servers` fall silent on `lan` in time after the last
/// interest, and stay silent. Gives the number of packets that they sent to the channel's port.
fn watch_and_leave(lab: &Lab, site: &Site, viewer: &Host, lan: &Lan, servers: &[&Host]) -> u64 {
    let interests = Capture::at(&site.router, lan, "udp dst port 7404");
    let streams: Vec<Capture> =
        servers.iter().map(|server| Capture::at(server, lan, "not arp and not igmp and not icmp6")).collect();
    let voices: Vec<Voice> = servers.iter().map(|server| Voice::of(server, lan)).collect();
    let said = || voices.iter().map(Voice::packets).sum::<u64>();
    let viewing = Viewing::start(site, viewer, 1);
    let took = viewing.wait_for_pictures(PATIENCE);
    timeline::lasts(SILENCE);
    assert!(viewing.finish().packets > 0);
    let before = said();
    timeline::lasts(INTEREST_TIMEOUT + GRACE);
    let in_time = said();
    timeline::lasts(GRACE);
    assert_eq!(said(), in_time, "silent {:?} after the viewer left", INTEREST_TIMEOUT + GRACE);
    assert!(in_time > before, "interest holds for a while after the viewer left");

    let last_interest = interests.stop().datagrams.last().expect("a viewer tells its interest").time;
    let packets: Vec<_> = streams.into_iter().flat_map(|stream| stream.stop().datagrams).collect();
    let last_packet = packets.iter().map(|packet| packet.time).max().expect("the viewer had pictures");
    let fell_silent = last_packet.saturating_sub(last_interest);
    lab.note(format_args!(
        "{}: pictures after {:.0} ms, {} packets, the last {:.3} s after the last interest",
        lan.name(),
        took.as_secs_f64() * 1e3,
        packets.len(),
        fell_silent.as_secs_f64()
    ));
    assert!(fell_silent <= INTEREST_TIMEOUT + GRACE, "{fell_silent:?}");
    packets.len() as u64
}
