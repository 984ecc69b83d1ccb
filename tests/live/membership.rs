//! Players that only join a group keep its channel flowing, and nobody else does.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lab::command::Command;
use lab::member::Member;
use lab::process::Process;
use lab::site::{Daemon, Plan, READY_LIMIT, ROOM_GROUP, Site};
use lab::{Lab, judge, timeline};

const PATIENCE: Duration = Duration::from_secs(15);
/// From the switch's knowledge of a member to the first packet.
const JOIN_LIMIT: Duration = Duration::from_secs(1);
/// The push server's; a member who says nothing is gone after 10 s, one who leaves after 2 s.
const QUERY_INTERVAL_S: &str = "4";
/// Two questions a second apart, and what a busy machine takes.
const LEAVE_LIMIT: Duration = Duration::from_secs(4);
/// Without a word: twice the interval and half of it, and what a busy machine takes.
const SILENCE_LIMIT: Duration = Duration::from_secs(13);

/// The plan's topology, with members as viewers in the room.
fn topology(plan: &Plan) -> String {
    plan.text().replace("  interface = \"room\"\n", "  interface = \"room\"\n  membership = true\n")
}

/// All daemons with a topology of its own, `hall` asking often.
fn start(site: &Site, topology: &str) -> Vec<Process> {
    std::fs::write(&site.topology, topology).unwrap();
    let daemons = [Daemon::Database, Daemon::Acquisition, Daemon::Hall].map(|daemon| {
        let command = site.command(daemon);
        let asking = daemon == Daemon::Hall;
        let command = if asking { command.args(["--query-interval", QUERY_INTERVAL_S]) } else { command };
        let mut process = site.host_of(daemon).spawn(command);
        process.wait_for_line("ready", READY_LIMIT);
        process
    });
    daemons.into()
}

fn in_group(last: &str, port: u16) -> SocketAddr {
    SocketAddr::new(last.parse().unwrap(), port)
}

/// Goal: VLC on `rtp://@group:port`, which knows nothing of us, is sent its channel within a second of its join, shows it, and
/// when it leaves the channel stops after the querier's questions. Nothing is sent before, and nothing after.
/// Method: a switch that looks (snooping), whose own querier is off, so that `hall` is the one; counters on its port.
#[test]
fn vlc_that_joins_a_group_is_sent_its_channel_until_it_leaves() {
    let Some(lab) = Lab::open("vlc_that_joins_a_group_is_sent_its_channel_until_it_leaves", &["vlc"]) else {
        return;
    };
    let site = Site::build(&lab, &Plan::testcard());
    site.room.querier(false);
    let [vera, nina] = ["vera", "nina"].map(|name| site.viewer(name, &site.room));
    let _daemons = start(&site, &topology(&Plan::testcard()));
    site.wait_active(&nina, 1, PATIENCE);
    let sent = site.room.sent_by(&site.hall, "udp dport 7601");
    let to_nina = site.room.heard_by(&nina, "udp dport 7601");
    timeline::stays("nothing is sent to nobody", Duration::from_secs(3), || sent.packets() == 0);

    let url = format!("rtp://@{ROOM_GROUP}:7601");
    let (joined, vlc) = std::thread::scope(|scope| {
        let joined = scope.spawn(|| {
            timeline::until("the switch knows of VLC", PATIENCE, || {
                site.room.members(ROOM_GROUP).contains(&"vera".to_owned())
            });
            timeline::until("packets follow the join", PATIENCE, || sent.packets() > 0)
        });
        let vlc = judge::vlc(&vera, &site.room, &url);
        (joined.join().unwrap(), vlc)
    });
    timeline::report("join to first packet", joined);
    assert!(joined < JOIN_LIMIT, "{joined:?}");
    let shows = || (vlc.bytes() > 200_000).then_some(());
    timeline::obtain_or("VLC shows it", PATIENCE, shows, || "it does not".into());
    // Longer than a member lasts who is not heard of again.
    timeline::lasts(Duration::from_secs(12));
    let before = sent.packets();
    timeline::until("it flows on", JOIN_LIMIT, || sent.packets() > before + 10);

    let asked = Instant::now();
    drop(vlc.finish());
    let stopped = until_silent(&sent, SILENCE_LIMIT);
    timeline::report("VLC told to end, to the last packet", stopped.duration_since(asked));
    assert!(stopped.duration_since(asked) < LEAVE_LIMIT + JOIN_LIMIT, "{:?}", stopped.duration_since(asked));
    let after = sent.packets();
    timeline::stays("nothing is sent after", Duration::from_secs(3), || sent.packets() == after);
    assert_eq!(to_nina.packets(), 0, "who did not join is sent nothing");
}

/// Waits until no packet comes for a second; when the last one came.
fn until_silent(counter: &lab::wire::WireCounter, limit: Duration) -> Instant {
    let (mut last, mut at) = (counter.packets(), Instant::now());
    timeline::until("packets stop", limit, || {
        let now = counter.packets();
        if now != last {
            (last, at) = (now, Instant::now());
        }
        at.elapsed() > Duration::from_secs(1)
    });
    at
}

/// Goal: ten channels on one port, each in a group of its own, do not cross: each of ten receivers is sent one stream, and no
/// two the same.
#[test]
fn ten_groups_on_one_port_do_not_cross() {
    let Some(lab) = Lab::open("ten_groups_on_one_port_do_not_cross", &[]) else { return };
    let plan = Plan::testcard();
    let site = Site::build(&lab, &plan);
    let hosts: Vec<_> = (1..=10).map(|n| site.viewer(&format!("v{n}"), &site.room)).collect();
    let others: Vec<String> = (2..=10)
        .map(|id| {
            let source = "acquisition_server = \"roof\"\ninput = \"input-1\"\nport = 5004";
            format!("\n[[channel]]\nid = {id}\nname = \"Channel {id}\"\n{source}\n")
        })
        .collect();
    let text = topology(&plan)
        .replace("input = \"input-1\"\n", "input = \"input-1\"\nport = 5004\n")
        .replace(
            "id = \"hall\"\naddress = \"10.77.0.11\"\nchannels = [1]",
            "id = \"hall\"\naddress = \"10.77.0.11\"\nchannels = [1,2,3,4,5,6,7,8,9,10]",
        )
        .replace(&format!("address = \"{ROOM_GROUP}\""), "address = \"239.192.1.0/24\"");
    let _daemons = start(&site, &(text + &others.concat()));
    for channel in 1..=10 {
        site.wait_active(&hosts[0], channel, PATIENCE);
    }
    let members: Vec<Member> = (1..=10)
        .zip(&hosts)
        .map(|(n, host)| Member::join(host, &site.room, in_group(&format!("239.192.1.{n}"), 5004)))
        .collect();
    timeline::until("all are sent something", PATIENCE, || {
        members.iter().all(|member| member.packets() > 200)
    });
    let mut all = BTreeSet::new();
    for (n, member) in (1..).zip(members) {
        let sources: BTreeSet<Vec<u8>> = member
            .leave()
            .iter()
            .filter(|got| got.payload[1] == 33 || got.payload[1] == 161)
            .map(|got| got.payload[8..12].to_vec())
            .collect();
        assert_eq!(sources.len(), 1, "receiver {n}: {sources:?}");
        assert!(all.insert(sources), "receiver {n} is sent another's");
    }
}

/// Goal: an IGMPv2 host is heard although the switch asks by itself, with a lower address, and passes reports on to routers
/// only: the push server makes itself known as one. After it has left the channel stops.
/// Method: `force_igmp_version=2`; the bridge has an address of its own, 10.77.1.1, and asks from it.
#[test]
fn an_igmp_version_2_host_is_heard_beside_the_switchs_own_querier() {
    let Some(lab) = Lab::open("an_igmp_version_2_host_is_heard_beside_the_switchs_own_querier", &[]) else {
        return;
    };
    let site = Site::build(&lab, &Plan::testcard());
    let switch = site.room.namespace();
    switch.run("ip addr add 10.77.1.1/24 dev switch");
    switch.run("ip link set dev switch type bridge mcast_query_use_ifaddr 1 mcast_query_interval 400 mcast_startup_query_interval 200 mcast_igmp_version 2");
    site.room.querier(false);
    site.room.querier(true);
    let vera = site.viewer("vera", &site.room);
    vera.sysctl(&["net.ipv4.conf.room.force_igmp_version=2"]);
    let mut daemons = start(&site, &topology(&Plan::testcard()));
    site.wait_active(&vera, 1, PATIENCE);
    daemons[2].wait_for_line("another asks for members here", PATIENCE);
    let sent = site.room.sent_by(&site.hall, "udp dport 7601");
    timeline::stays("nothing is sent to nobody", Duration::from_secs(2), || sent.packets() == 0);
    let member = Member::join(&vera, &site.room, site.in_room(1));
    let took = timeline::until("packets follow the join", PATIENCE, || sent.packets() > 0);
    timeline::report("join to first packet", took);
    assert!(took < JOIN_LIMIT, "{took:?}");
    timeline::lasts(Duration::from_secs(12));
    let before = member.packets();
    timeline::until("it flows on", JOIN_LIMIT, || member.packets() > before + 10);
    drop(member.leave());
    let left = Instant::now();
    let stopped = until_silent(&sent, SILENCE_LIMIT);
    timeline::report("leave to the last packet", stopped.duration_since(left));
}

/// Goal: the same with IPv6: MLD reports keep a channel flowing, and a leave ends it.
#[test]
fn members_of_an_ipv6_group_are_heard_by_mld() {
    let Some(lab) = Lab::open("members_of_an_ipv6_group_are_heard_by_mld", &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard());
    site.room.querier(false);
    let vera = site.viewer("vera", &site.room);
    let text = topology(&Plan::testcard())
        .replace(ROOM_GROUP, "ff15::101")
        .replace("serves = [\"10.77.1.0/24\"]", "serves = [\"10.77.1.0/24\", \"fd00:10:77:1::/64\"]");
    let _daemons = start(&site, &text);
    site.wait_active(&vera, 1, PATIENCE);
    let sent = site.room.sent_by(&site.hall, "udp dport 7601");
    timeline::stays("nothing is sent to nobody", Duration::from_secs(2), || sent.packets() == 0);
    let group: IpAddr = "ff15::101".parse().unwrap();
    let member = Member::join(&vera, &site.room, SocketAddr::new(group, 7601));
    let took = timeline::until("packets follow the join", PATIENCE, || sent.packets() > 0);
    timeline::report("join to first packet", took);
    assert!(took < JOIN_LIMIT, "{took:?}");
    timeline::lasts(Duration::from_secs(12));
    let before = member.packets();
    timeline::until("it flows on", JOIN_LIMIT, || member.packets() > before + 10);
    drop(member.leave());
    let left = Instant::now();
    let stopped = until_silent(&sent, SILENCE_LIMIT);
    timeline::report("leave to the last packet", stopped.duration_since(left));
    assert!(stopped.duration_since(left) < LEAVE_LIMIT, "{:?}", stopped.duration_since(left));
}

/// Goal: an announced channel is found by players that nobody here wrote: ffmpeg receives what SAP told it of, VLC lists it by its name;
/// and when the push server ends, it is taken back.
/// Method: both listen before the push server is there, since announcements are minutes apart; what keeps the channel flowing
/// for ffmpeg is that it joins the group.
#[test]
fn ffmpeg_receives_and_vlc_lists_a_channel_announced_by_sap() {
    let Some(lab) = Lab::open("ffmpeg_receives_and_vlc_lists_a_channel_announced_by_sap", &["ffmpeg", "vlc"])
    else {
        return;
    };
    let site = Site::build(&lab, &Plan::testcard());
    site.room.querier(false);
    let [vera, nina] = ["vera", "nina"].map(|name| site.viewer(name, &site.room));
    let home = lab.path("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let sap = "ffmpeg -nostdin -loglevel info -i sap://239.195.255.255 -t 3 -f null -";
    let mut ffmpeg = vera.spawn(Command::line(sap));
    let mut vlc = nina.spawn(
        Command::line("cvlc -I dummy -vv --no-color --services-discovery sap --miface")
            .arg(site.room.name())
            .env("HOME", &home)
            .as_nobody(),
    );
    vlc.wait_for_line("services discovery", PATIENCE);
    timeline::until("both listen", PATIENCE, || site.room.members("239.195.255.255") == ["nina", "vera"]);
    let notices = site.room.sent_by(&site.hall, "udp dport 9875");
    let text = topology(&Plan::testcard())
        .replace("  membership = true\n", "  membership = true\n  announce = true\n  ttl = 2\n");
    let mut daemons = start(&site, &text);
    timeline::until("the channel is announced", PATIENCE, || notices.packets() > 0);
    assert!(ffmpeg.wait_exit(Duration::from_secs(40)).success(), "{}", ffmpeg.log());
    // It joins in mid-stream and guesses what each stream is until a PMT comes, so what it takes them for is not asked.
    assert!(ffmpeg.log().contains("Stream #0:0") && !ffmpeg.log().contains("audio:0kB"), "{}", ffmpeg.log());
    let listed = || vlc.log().contains("One").then_some(());
    timeline::obtain_or("VLC lists it", PATIENCE, listed, || "it does not".into());
    assert_eq!(notices.packets(), 1, "it is announced once in some minutes");
    daemons.pop().unwrap().terminate(PATIENCE);
    timeline::until("it is taken back", PATIENCE, || notices.packets() > 1);
}
