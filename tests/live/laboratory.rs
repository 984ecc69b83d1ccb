//! The laboratory itself: its switch behaves as a switch, its counters count, its losses lose.

use std::net::SocketAddr;
use std::time::Duration;

use lab::member::Member;
use lab::source::{Clip, Sender};
use lab::wire::Capture;
use lab::{Lab, Loss, packets, timeline};

const GROUP: &str = "239.77.0.1:7601";
const PATIENCE: Duration = Duration::from_secs(10);

fn group() -> SocketAddr {
    GROUP.parse().unwrap()
}

/// A member of the group gets every byte; the wire of a host that did not join carries none, by counter and by capture.
#[test]
fn snooping_switch_sends_a_group_to_its_members_only() {
    let Some(lab) = Lab::open("snooping_switch_sends_a_group_to_its_members_only", &["ffmpeg", "tcpdump"])
    else {
        return;
    };
    let clip = Clip::five_megabits(40);
    let hall = lab.lan("hall", "10.77.1.0/24");
    let [push, viewer, other] = ["push", "viewer", "other"].map(|name| lab.host(name));
    for (host, address) in [(&push, "10.77.1.1"), (&viewer, "10.77.1.2"), (&other, "10.77.1.3")] {
        lab.attach(host, &hall, address);
    }
    assert!(lab.reaches(&viewer, "10.77.1.1") && lab.reaches(&viewer, "fd00:10:77:1::1"));

    let sent = hall.sent_by(&push, "udp dport 7601");
    let [wanted, unwanted] = [&viewer, &other].map(|host| hall.heard_by(host, "udp dport 7601"));
    let idle = Capture::at(&other, &hall, "udp port 7601");
    let member = Member::join(&viewer, &hall, group());
    let took =
        timeline::until("the switch knows the member", PATIENCE, || hall.members("239.77.0.1") == ["viewer"]);
    timeline::report("joined", took);
    let sender = Sender::start(&push, &clip, group());
    timeline::until("two seconds of stream", PATIENCE, || sender.sent_bytes() > 1_250_000);
    let stream = sender.stop();
    timeline::until("all on the wire arrived", PATIENCE, || member.packets() as u64 == sent.packets());

    let received: Vec<u8> = member.leave().into_iter().flat_map(|datagram| datagram.payload).collect();
    assert!(received == stream, "{:?}", packets::compare(&stream, &received));
    assert_eq!(wanted.packets(), sent.packets());
    assert_eq!((unwanted.packets(), idle.stop().packets), (0, 0));
}

/// The check above can fail: a switch without snooping floods.
#[test]
fn switch_without_snooping_floods() {
    let Some(lab) = Lab::open("switch_without_snooping_floods", &["ffmpeg"]) else { return };
    let hall = lab.lan("hall", "10.77.1.0/24");
    hall.snooping(false);
    let [push, other] = ["push", "other"].map(|name| lab.host(name));
    lab.attach(&push, &hall, "10.77.1.1");
    lab.attach(&other, &hall, "10.77.1.3");
    let unwanted = hall.heard_by(&other, "udp dport 7601");
    let sender = Sender::start(&push, &Clip::five_megabits(40), group());
    timeline::until("the flood", PATIENCE, || unwanted.packets() > 100);
    drop(sender);
}

/// Every host of a LAN hears a directed broadcast, also one sent from behind a router.
#[test]
fn directed_broadcast_reaches_every_host_through_a_router() {
    let Some(lab) = Lab::open("directed_broadcast_reaches_every_host_through_a_router", &["ffmpeg"]) else {
        return;
    };
    let (core, hall) = (lab.lan("core", "10.77.0.0/24"), lab.lan("hall", "10.77.1.0/24"));
    let (push, router) = (lab.host("push"), lab.router("router"));
    lab.attach(&push, &core, "10.77.0.5");
    lab.attach(&router, &core, "10.77.0.1");
    lab.attach(&router, &hall, "10.77.1.1");
    push.route("default", "10.77.0.1");
    let to = SocketAddr::new(hall.broadcast().into(), 7602);
    let members = ["a", "b"].map(|name| lab.host(name)).map(|viewer| {
        lab.attach(&viewer, &hall, if viewer.name() == "a" { "10.77.1.2" } else { "10.77.1.3" });
        viewer.route("default", "10.77.1.1");
        Member::join(&viewer, &hall, to)
    });
    let sent = core.carries("udp dport 7602");
    let sender = Sender::start(&push, &Clip::five_megabits(40), to);
    timeline::until("a second of stream", PATIENCE, || sender.sent_bytes() > 600_000);
    drop(sender);
    timeline::until("both heard all", PATIENCE, || {
        members.iter().all(|member| member.packets() as u64 == sent.packets())
    });
}

/// IPv6 multicast is snooped too: the member gets it, the other does not.
#[test]
fn ipv6_group_reaches_its_member_only() {
    let Some(lab) = Lab::open("ipv6_group_reaches_its_member_only", &["ffmpeg"]) else { return };
    let hall = lab.lan("hall", "10.77.1.0/24");
    let [push, viewer, other] = ["push", "viewer", "other"].map(|name| lab.host(name));
    for (host, address) in [(&push, "10.77.1.1"), (&viewer, "10.77.1.2"), (&other, "10.77.1.3")] {
        lab.attach(host, &hall, address);
        host.multicast_via(&hall);
    }
    let to: SocketAddr = "[ff15::77:1]:7601".parse().unwrap();
    let unwanted = hall.heard_by(&other, "udp dport 7601");
    let member = Member::join(&viewer, &hall, to);
    timeline::until("the switch knows the member", PATIENCE, || hall.members("ff15::77:1") == ["viewer"]);
    let sender = Sender::start(&push, &Clip::five_megabits(40), to);
    timeline::until("a second of stream", PATIENCE, || member.packets() > 450);
    drop(sender);
    assert_eq!(unwanted.packets(), 0);
}

/// Losses take what they say, towards one host only, and end when healed; a partition takes all.
#[test]
fn losses_take_exactly_what_they_say() {
    let Some(lab) = Lab::open("losses_take_exactly_what_they_say", &["ffmpeg"]) else { return };
    let hall = lab.lan("hall", "10.77.1.0/24");
    let [push, near, far] = ["push", "near", "far"].map(|name| lab.host(name));
    for (host, address) in [(&push, "10.77.1.1"), (&near, "10.77.1.2"), (&far, "10.77.1.3")] {
        lab.attach(host, &hall, address);
    }
    let members = [&near, &far].map(|viewer| Member::join(viewer, &hall, group()));
    timeline::until("both are members", PATIENCE, || hall.members("239.77.0.1") == ["far", "near"]);
    let every_20th = hall.lossy_to(&far, "udp dport 7601", Loss::EveryNth(20));
    let sender = Sender::start(&push, &Clip::five_megabits(40), group());
    timeline::until("two seconds of stream", PATIENCE, || sender.sent_bytes() > 1_250_000);
    let sent = sender.stop().len().div_ceil(1316);
    timeline::until("near got all", PATIENCE, || members[0].packets() == sent);
    timeline::until("far got 19 of 20", PATIENCE, || members[1].packets() == sent - sent.div_ceil(20));
    assert_eq!(every_20th.heal(), sent.div_ceil(20) as u64);

    assert!(lab.reaches(&far, "10.77.1.1"));
    let cut = hall.partition(&far);
    assert!(!lab.reaches(&far, "10.77.1.1"));
    drop(cut);
    assert!(lab.reaches(&far, "10.77.1.1"));
}

/// Processes are killed, paused, restarted and waited for; nothing of a lab remains when it goes.
#[test]
fn processes_obey_and_nothing_remains() {
    let Some(lab) = Lab::open("processes_obey_and_nothing_remains", &[]) else { return };
    let host = lab.host("host");
    let mut clock = host.spawn(lab::Command::new("sh").args(["-c", "echo up; sleep 600; true"]));
    assert_eq!(clock.wait_for_line("up", PATIENCE), "up");
    assert!(clock.rss_bytes() > 100_000 && clock.is_running());
    let first = clock.pid();
    clock.kill9();
    assert!(!clock.is_running());
    clock.restart();
    clock.wait_for_line("up", PATIENCE);
    assert!(clock.is_running() && clock.pid() != first);
    clock.pause();
    clock.resume();
    assert!(!clock.terminate(PATIENCE).success());
    let (namespace, folder) = (host.namespace().name().to_string(), lab.folder().to_path_buf());
    drop((clock, host, lab));
    let left = lab::Command::line("ip netns list").succeed();
    assert!(!left.contains(&namespace) && !folder.exists());
}
