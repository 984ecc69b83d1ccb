//! The viewer in scenarios: a directory, push servers and a network, all made of literal messages and times.

use std::net::{IpAddr, SocketAddr};

use media::Sequence;
use media::rtp::{RtpHeader, RtpPacket};
use protocols::authority::{ClusterKey, LEASE_LIFETIME, Lease};
use protocols::codec;
use protocols::ids::{BootId, Generation, Revision};
use protocols::p2_directory::{ChannelEntry, ChannelStatus, PING_INTERVAL, SILENCE_TIMEOUT};
use protocols::p4_control::{
    Interest, InterestAnswer, InterestVerdict, Kind, LiveAnswer, LiveRequest, LiveVerdict, Missing, Repair,
    Sealed, mask_secret, seal,
};
use protocols::p6_broadcast::Announcement;

use super::*;

const CHANNEL: ChannelId = ChannelId(1);
const CLIENT: &str = "10.0.1.7";
const GROUP_A: &str = "239.192.1.1";
const GROUP_B: &str = "239.192.1.2";
/// The cluster's time is local time plus this.
const CLUSTER_MS: u64 = 1_000_000;

/// Without fast start, whose decisions are told in `live.rs` and whose effects in `tests/simulated/zap.rs`.
const P6_ALONE: Receiving = Receiving {
    hold: Duration::from_millis(200),
    repair: crate::repair::Mode::Deadline,
    live: crate::live::Policy { burst_percent: None, unicast: false },
};

fn cluster() -> ClusterKey {
    ClusterKey::new([7; 32])
}

fn tuning(channel: ChannelId, host: &str, group: &str, revision: Revision) -> Tuning {
    let lease = Lease {
        client: CLIENT.parse().unwrap(),
        channel,
        destination: group.parse().unwrap(),
        expires: ClusterTime(CLUSTER_MS) + LEASE_LIFETIME,
    };
    Tuning {
        channel,
        name: "One".to_owned(),
        destination: lease.destination,
        port: 7601,
        push_server: format!("{host}/{channel}").parse().unwrap(),
        control: if host == "hall" { "10.0.1.1:7404" } else { "10.0.1.2:7404" }.parse().unwrap(),
        revision,
        lease,
        secret: cluster().lease_key().secret(&lease),
        announce_key: cluster().announce_key(channel),
        time: ClusterTime(CLUSTER_MS),
    }
}

fn hall(count: u32) -> Tuning {
    tuning(CHANNEL, "hall", GROUP_A, Revision::new(1, count))
}

fn list(tunings: &[Tuning]) -> ChannelList {
    let entry = |tuning: &Tuning| ChannelEntry {
        id: tuning.channel,
        name: tuning.name.clone(),
        status: ChannelStatus::Active,
        tuning: Some(Box::new(tuning.clone())),
        group: None,
        logo: None,
    };
    ChannelList {
        generation: Generation(1),
        network: Some("10.0.1.0/24".to_owned()),
        offline: false,
        time: ClusterTime(CLUSTER_MS),
        channels: tunings.iter().map(entry).collect(),
    }
}

fn rtp(sequence: u16) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type: 33,
        sequence: Sequence(sequence),
        timestamp_90k: u32::from(sequence) * 900,
        ssrc: 0x5eed,
    };
    RtpPacket::new(&header, &[0x47; 1316]).unwrap().as_bytes().to_vec()
}

fn group(address: &str) -> Group {
    Group { address: address.parse().unwrap(), port: 7601, local: CLIENT.parse().unwrap() }
}

/// A viewer and the present.
struct World {
    now: Time,
    viewer: Viewer,
}

impl World {
    fn new() -> Self {
        Self { now: Time::from_ms(1_000), viewer: Viewer::new(42).receiving(P6_ALONE) }
    }

    /// One that watches channel 1 from `hall` and has its first packets.
    fn playing() -> Self {
        let mut world = Self::new();
        world.give(Input::List { tunings: true });
        world.give(Input::DirectoryConnected);
        world.give(Input::Watch(CHANNEL));
        world.say(ToClient::Channels(list(&[hall(1)])));
        world.say(ToClient::Tuning(Box::new(hall(1))));
        world.announce(1, 5_000);
        world.media(GROUP_A, &[1, 2, 3]);
        world
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        self.viewer.handle(self.now, input, &mut out);
        out
    }

    fn say(&mut self, message: ToClient) -> Vec<Output> {
        self.give(Input::DirectoryMessage(message))
    }

    fn media(&mut self, from: &str, sequences: &[u16]) -> Vec<Output> {
        let mut out = Vec::new();
        for sequence in sequences {
            out.extend(self.give(Input::Media { group: group(from), bytes: &rtp(*sequence) }));
        }
        out
    }

    fn announce(&mut self, boot_id: u64, held_ms: u64) -> Vec<Output> {
        let announcement = Announcement {
            channel: CHANNEL,
            held_for: Duration::from_millis(held_ms),
            boot_id: BootId(boot_id),
            time: self.cluster(),
        };
        let bytes = announcement.seal(&cluster().announce_key(CHANNEL));
        self.give(Input::Media { group: group(GROUP_A), bytes: &bytes })
    }

    fn answer(&mut self, verdict: InterestVerdict) -> Vec<Output> {
        let secret = self.viewer.tuning().unwrap().secret.clone();
        let answer = InterestAnswer { channel: CHANNEL, time: self.cluster(), verdict };
        let bytes = seal(Kind::InterestAnswer, &answer, &secret);
        self.give(Input::Control { from: "10.0.1.1:7404".parse().unwrap(), bytes: &bytes })
    }

    fn cluster(&self) -> ClusterTime {
        ClusterTime(CLUSTER_MS) + self.now.since_origin()
    }

    /// Lets time pass, serving deadlines.
    fn wait(&mut self, span: Duration) -> Vec<Output> {
        let end = self.now + span;
        let mut out = Vec::new();
        let mut wakes = 0;
        while let Some((at, reason)) = self.viewer.deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            out.extend(self.give(Input::Tick));
            wakes += 1;
            assert!(wakes < 10_000, "it spins: {reason:?} at {at}");
        }
        self.now = end;
        out
    }

    /// Likewise, while a push server sends and announces.
    fn play(&mut self, span: Duration, sequence: &mut u16) -> Vec<Output> {
        let mut out = Vec::new();
        for _ in 0..span.as_millis() / 100 {
            out.extend(self.wait(Duration::from_millis(100)));
            *sequence += 1;
            out.extend(self.media(GROUP_A, &[*sequence]));
            out.extend(self.announce(1, 4_000));
        }
        out
    }
}

fn delivered(out: &[Output]) -> Vec<u16> {
    out.iter()
        .filter_map(|output| match output {
            Output::Deliver(packet) => Some(packet.sequence().0),
            _ => None,
        })
        .collect()
}

fn interests(out: &[Output]) -> Vec<(SocketAddr, Interest)> {
    out.iter()
        .filter_map(|output| match output {
            Output::SendControl { to, bytes, from } => {
                let sealed = Sealed::parse(bytes).unwrap();
                if sealed.kind != Kind::Interest {
                    return None;
                }
                let interest = Interest::peek(&sealed).unwrap();
                assert_eq!(*from, interest.lease.client);
                sealed.verify(&cluster().lease_key().secret(&interest.lease)).expect("tagged with its lease");
                Some((*to, interest))
            }
            _ => None,
        })
        .collect()
}

/// Requests for missing packets, each sent to the push server by the address of the lease.
fn repairs(out: &[Output]) -> Vec<Repair> {
    let one = |output: &Output| {
        let Output::SendControl { to, bytes, from } = output else { return None };
        let sealed = Sealed::parse(bytes).ok().filter(|sealed| sealed.kind == Kind::Repair)?;
        let tuning = hall(1);
        assert_eq!((*from, *to), (tuning.lease.client, tuning.control));
        Some(sealed.open::<Repair>(&tuning.secret).unwrap())
    };
    out.iter().filter_map(one).collect()
}

fn requests(out: &[Output]) -> Vec<ToDatabase> {
    out.iter()
        .filter_map(|output| match output {
            Output::SendDirectory(message) => Some(message.clone()),
            _ => None,
        })
        .collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn watching_asks_joins_and_speaks_at_once() {
    let mut world = World::new();
    assert_eq!(world.give(Input::Watch(CHANNEL)), [Output::ConnectDirectory]);
    let out = world.give(Input::DirectoryConnected);
    assert_eq!(requests(&out), [ToDatabase::Watch { channel: CHANNEL }]);
    let out = world.say(ToClient::Tuning(Box::new(hall(1))));
    assert_eq!(out[0], Output::Join(group(GROUP_A)));
    let [(to, interest)] = interests(&out)[..] else { panic!("{out:?}") };
    assert_eq!(to, "10.0.1.1:7404".parse().unwrap());
    assert_eq!(interest.time, ClusterTime(CLUSTER_MS), "dated by the tuning's clock");
    let out = world.media(GROUP_A, &[9]);
    assert_eq!(out[0], Output::Notice(Notice::Playing { channel: CHANNEL }));
    assert_eq!(delivered(&out), [9]);
}

#[test]
fn packets_of_two_push_servers_come_out_once_and_in_order() {
    let mut world = World::playing();
    let out = world.media(GROUP_A, &[4, 4, 6, 5, 5, 6, 7]);
    assert_eq!(delivered(&out), [4, 5, 6, 7]);
    let counters = world.viewer.counters();
    assert_eq!((counters.duplicates, counters.reordered, counters.lost), (3, 1, 0));
}

#[test]
fn a_gap_is_waited_for_then_counted_as_lost() {
    let mut world = World::playing();
    assert!(delivered(&world.media(GROUP_A, &[6])).is_empty());
    let out = world.wait(Duration::from_millis(300));
    assert_eq!(delivered(&out), [6]);
    assert!(out.contains(&Output::Notice(Notice::Lost { packets: 2 })));
    assert_eq!(world.viewer.counters().lost, 2);
}

#[test]
fn a_gap_is_asked_for_and_what_comes_by_p5_fills_it() {
    let mut world = World::playing();
    world.media(GROUP_A, &[6, 7]);
    let asked = repairs(&world.wait(Duration::from_millis(2)));
    let [Repair { rtt_us: 0, ssrc: 0x5eed, missing, lease, time }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(missing[..], [Missing { first: 4, following: 1 }]);
    // The clock was set by the tuning, 2 ms ago.
    assert_eq!((*lease, *time), (hall(1).lease, ClusterTime(CLUSTER_MS + 2)));
    world.wait(Duration::from_millis(8));
    let from = "10.0.1.1:7405".parse().unwrap();
    assert_eq!(delivered(&world.give(Input::Stream { from, bytes: &rtp(4) })), [4]);
    assert_eq!(delivered(&world.give(Input::Stream { from, bytes: &rtp(5) })), [5, 6, 7]);
    world.media(GROUP_A, &[9]);
    let again = repairs(&world.wait(Duration::from_millis(2)));
    assert_eq!(again.iter().map(|repair| repair.rtt_us).collect::<Vec<_>>(), [8_000]);
    let counters = world.viewer.counters();
    assert_eq!((counters.repaired, counters.repairs_asked, counters.repair_requests), (2, 3, 2));
    assert_eq!((counters.lost, counters.foreign_stream), (0, 0));
}

#[test]
fn p5_of_somebody_else_or_of_another_stream_is_not_taken() {
    let mut world = World::playing();
    world.media(GROUP_A, &[6]);
    let [hall, stranger] = ["10.0.1.1:7405", "10.0.1.66:7405"].map(|address| address.parse().unwrap());
    let mut other = rtp(4);
    other[11] ^= 1;
    for (from, bytes) in [(hall, &other[..]), (hall, b"M5"), (stranger, &rtp(4)[..])] {
        assert_eq!(delivered(&world.give(Input::Stream { from, bytes })), [0_u16; 0]);
    }
    assert_eq!(world.viewer.counters().foreign_stream, 3);
    // A push server of several addresses may answer by another one: what was asked for is welcome.
    world.wait(Duration::from_millis(2));
    assert_eq!(delivered(&world.give(Input::Stream { from: stranger, bytes: &rtp(4) })), [4]);
}

/// A push server of several addresses sends by the one that is on the way to the viewer, which may not be the one it is asked at,
/// and its data threads are faster than its answers.
#[test]
fn a_burst_that_comes_before_its_answer_counts_from_whichever_address_answers() {
    let mut world = World::new();
    world.viewer = Viewer::new(42).receiving(Receiving { live: crate::live::Policy::default(), ..P6_ALONE });
    world.give(Input::Watch(CHANNEL));
    world.give(Input::DirectoryConnected);
    let mut out = world.say(ToClient::Tuning(Box::new(hall(1))));
    out.extend(world.wait(Duration::from_millis(1)));
    let begun = out.iter().find_map(|output| match output {
        Output::SendControl { bytes, .. } => {
            LiveRequest::open(&Sealed::parse(bytes).ok()?, &hall(1).secret).ok()
        }
        _ => None,
    });
    let [other, stranger] = ["10.0.1.9:7405", "10.0.1.66:7405"].map(|address| address.parse().unwrap());
    for (from, sequence) in [(other, 1), (stranger, 2), (other, 3)] {
        assert_eq!(delivered(&world.give(Input::Stream { from, bytes: &rtp(sequence) })), [0_u16; 0]);
    }
    let verdict = LiveVerdict::Begun { ssrc: 0x5eed, first: 1, newest: 9 };
    let answer = LiveAnswer { session: begun.unwrap().session, time: world.cluster(), verdict };
    let bytes = seal(Kind::LiveAnswer, &answer, &hall(1).secret);
    let from = "10.0.1.9:7404".parse().unwrap();
    assert_eq!(delivered(&world.give(Input::Control { from, bytes: &bytes })), [1]);
    assert_eq!(world.viewer.counters().foreign_stream, 1);
    assert_eq!(delivered(&world.give(Input::Stream { from: other, bytes: &rtp(2) })), [2, 3]);
}

#[test]
fn repairs_that_come_twice_or_too_late_are_counted() {
    let mut world = World::playing();
    world.media(GROUP_A, &[5]);
    world.wait(Duration::from_millis(300));
    let from = "10.0.1.1:7405".parse().unwrap();
    for sequence in [4, 5] {
        assert_eq!(delivered(&world.give(Input::Stream { from, bytes: &rtp(sequence) })), [0_u16; 0]);
    }
    let counters = world.viewer.counters();
    assert_eq!((counters.repairs_late, counters.repair_duplicates, counters.lost), (1, 1, 1));
}

#[test]
fn a_viewer_that_wants_no_repair_asks_for_none_and_holds_as_long_as_told() {
    let receiving =
        Receiving { hold: Duration::from_millis(50), repair: crate::repair::Mode::Off, ..P6_ALONE };
    let mut world = World::new();
    world.viewer = Viewer::new(42).receiving(receiving);
    world.give(Input::Watch(CHANNEL));
    world.give(Input::DirectoryConnected);
    world.say(ToClient::Tuning(Box::new(hall(1))));
    world.media(GROUP_A, &[1, 3]);
    let out = world.wait(Duration::from_millis(49));
    assert_eq!((delivered(&out), repairs(&out)), (vec![], vec![]));
    assert_eq!(delivered(&world.wait(Duration::from_millis(1))), [3]);
}

#[test]
fn a_move_within_the_group_keeps_the_stream_and_speaks_to_the_new_server() {
    let mut world = World::playing();
    let mut out =
        world.say(ToClient::Tuning(Box::new(tuning(CHANNEL, "cellar", GROUP_A, Revision::new(1, 2)))));
    out.extend(world.wait(Duration::from_millis(300)));
    assert!(!out.iter().any(|output| matches!(output, Output::Join(_) | Output::Leave(_))), "{out:?}");
    assert_eq!(interests(&out)[0].0, "10.0.1.2:7404".parse().unwrap());
    let out = world.media(GROUP_A, &[3, 4]);
    assert_eq!(delivered(&out), [4], "the same stream goes on");
    assert_eq!(world.viewer.counters().moves, 1);
}

#[test]
fn after_a_move_the_new_server_hears_of_the_viewer_although_the_old_one_goes_on() {
    let mut world = World::playing();
    let mut sequence = 3;
    world.play(Duration::from_millis(500), &mut sequence);
    world.say(ToClient::Tuning(Box::new(tuning(CHANNEL, "cellar", GROUP_A, Revision::new(1, 2)))));
    let mut out = world.announce(1, 4_000);
    out.extend(world.play(Duration::from_millis(300), &mut sequence));
    let spoken_to: Vec<_> = interests(&out).iter().map(|(to, _)| *to).collect();
    assert_eq!(spoken_to, ["10.0.1.2:7404".parse().unwrap()]);
}

#[test]
fn a_move_to_another_group_joins_it_before_it_leaves_the_old_one() {
    let mut world = World::playing();
    let out = world.say(ToClient::Tuning(Box::new(tuning(CHANNEL, "cellar", GROUP_B, Revision::new(1, 2)))));
    assert_eq!(out[0], Output::Join(group(GROUP_B)));
    let out = world.media(GROUP_A, &[4]);
    assert_eq!(delivered(&out), [4], "the old one may still send");
    let out = world.media(GROUP_B, &[4, 5]);
    assert_eq!(out[0], Output::Leave(group(GROUP_A)));
    assert_eq!(delivered(&out), [5]);
    assert!(delivered(&world.media(GROUP_A, &[6])).is_empty());
    assert_eq!(world.viewer.counters().stale, 1);
}

#[test]
fn a_silent_new_group_does_not_keep_the_old_one_for_ever() {
    let mut world = World::playing();
    world.say(ToClient::Tuning(Box::new(tuning(CHANNEL, "cellar", GROUP_B, Revision::new(1, 2)))));
    let out = world.wait(LEAVE_OLD_AFTER);
    assert!(out.contains(&Output::Leave(group(GROUP_A))));
}

#[test]
fn moving_to_and_fro_joins_no_group_twice() {
    let mut world = World::playing();
    let there = tuning(CHANNEL, "cellar", GROUP_B, Revision::new(1, 2));
    let back = Tuning { revision: Revision::new(1, 3), ..hall(1) };
    world.say(ToClient::Tuning(Box::new(there)));
    let out = world.say(ToClient::Tuning(Box::new(back)));
    assert!(!out.iter().any(|output| matches!(output, Output::Join(_) | Output::Leave(_))), "{out:?}");
    let out = world.media(GROUP_A, &[4]);
    assert_eq!(out[0], Output::Leave(group(GROUP_B)));
}

#[test]
fn media_that_come_back_are_told() {
    let mut world = World::playing();
    assert!(!world.media(GROUP_A, &[4]).contains(&Output::Notice(Notice::Playing { channel: CHANNEL })));
    world.wait(seconds(1));
    assert!(world.media(GROUP_A, &[5]).contains(&Output::Notice(Notice::Playing { channel: CHANNEL })));
}

#[test]
fn old_revisions_are_ignored() {
    let mut world = World::playing();
    let newer = tuning(CHANNEL, "cellar", GROUP_A, Revision::new(1, 3));
    world.say(ToClient::Tuning(Box::new(newer)));
    let out = world.say(ToClient::Tuning(Box::new(hall(2))));
    assert_eq!(out, []);
    assert_eq!(world.viewer.tuning().unwrap().push_server.to_string(), "cellar/1");
    assert_eq!(world.viewer.counters().ignored_tunings, 1);
}

#[test]
fn a_dead_push_server_sends_the_viewer_back_to_the_directory() {
    let mut world = World::playing();
    let out = world.wait(MEDIA_SILENCE * 2);
    assert!(requests(&out).contains(&ToDatabase::Watch { channel: CHANNEL }), "{out:?}");
    let out = world.wait(seconds(10));
    let asked = requests(&out).iter().filter(|message| matches!(message, ToDatabase::Watch { .. })).count();
    assert!((2..=9).contains(&asked), "again, but not often: {asked}");
}

#[test]
fn viewing_goes_on_while_the_directory_is_away_and_the_watch_is_sent_again() {
    let mut world = World::playing();
    let mut sequence = 3;
    let mut out = world.give(Input::DirectoryClosed { cause: "reset".to_owned() });
    out.extend(world.play(seconds(60), &mut sequence));
    assert_eq!(delivered(&out).len(), 600);
    assert!(interests(&out).len() < 2, "others hold it");
    let tries = out.iter().filter(|output| **output == Output::ConnectDirectory).count();
    assert!((8..=20).contains(&tries), "{tries} in a minute");
    world.give(Input::DirectoryClosed { cause: "refused".to_owned() });
    while !world.play(Duration::from_millis(100), &mut sequence).contains(&Output::ConnectDirectory) {}
    let out = world.give(Input::DirectoryConnected);
    assert_eq!(requests(&out), [ToDatabase::List { tunings: true }, ToDatabase::Watch { channel: CHANNEL }]);
    let restarted = Tuning { revision: Revision::new(2, 0), ..hall(0) };
    let out = world.say(ToClient::Tuning(Box::new(restarted)));
    assert_eq!(out, [], "the same push server: nothing to do");
}

#[test]
fn an_attempt_that_hangs_is_given_up_and_tried_again() {
    let mut world = World::new();
    world.give(Input::List { tunings: true });
    let out = world.wait(CONNECT_TIMEOUT + seconds(1));
    let down = Notice::DirectoryDown { cause: "no answer".to_owned() };
    assert_eq!(out[..2], [Output::DropDirectory, Output::Notice(down)]);
    assert_eq!(out[2..], [Output::ConnectDirectory]);
    let out = world.wait(seconds(30));
    assert!(!out.iter().any(|output| matches!(output, Output::Notice(_))), "told once: {out:?}");
}

#[test]
fn a_silent_directory_is_left_and_a_living_one_is_pinged() {
    let mut world = World::playing();
    let out = world.wait(PING_INTERVAL);
    assert!(requests(&out).contains(&ToDatabase::Ping));
    world.say(ToClient::Pong);
    let out = world.wait(SILENCE_TIMEOUT.saturating_sub(PING_INTERVAL));
    assert!(!out.contains(&Output::DropDirectory));
    let out = world.wait(PING_INTERVAL);
    assert!(out.contains(&Output::DropDirectory));
}

#[test]
fn a_cached_list_tunes_while_the_directory_is_away() {
    let mut world = World::new();
    let now = world.cluster();
    world.give(Input::CachedList { list: list(&[hall(1)]), now });
    let out = world.give(Input::Watch(CHANNEL));
    assert!(!out.iter().any(|output| matches!(output, Output::Join(_))), "it asks first");
    let out = world.wait(CACHE_AFTER);
    assert_eq!(out[0], Output::Join(group(GROUP_A)));
    let [(_, interest)] = interests(&out)[..] else { panic!("{out:?}") };
    assert_eq!(interest.time, world.cluster(), "dated by the estimate");
    assert!(out.iter().any(|output| matches!(output, Output::Notice(Notice::Tuned { cached: true, .. }))));
}

#[test]
fn a_directory_that_refuses_to_connect_is_not_waited_for() {
    let mut world = World::new();
    let now = world.cluster();
    world.give(Input::CachedList { list: list(&[hall(1)]), now });
    world.give(Input::Watch(CHANNEL));
    let out = world.give(Input::DirectoryClosed { cause: "connection refused".to_owned() });
    assert!(out.contains(&Output::Join(group(GROUP_A))));
}

#[test]
fn what_the_directory_says_replaces_a_cached_tuning_that_never_worked() {
    let mut world = World::new();
    let stale = Tuning { revision: Revision::new(9, 0), ..hall(0) };
    let now = world.cluster();
    world.give(Input::CachedList { list: list(&[stale]), now });
    world.give(Input::Watch(CHANNEL));
    world.wait(CACHE_AFTER);
    world.give(Input::DirectoryConnected);
    let out = world.say(ToClient::Tuning(Box::new(tuning(CHANNEL, "cellar", GROUP_B, Revision::new(1, 0)))));
    assert_eq!(out[0], Output::Join(group(GROUP_B)));
    assert!(!interests(&out).is_empty() || !interests(&world.wait(Duration::from_millis(300))).is_empty());
}

#[test]
fn an_extended_lease_is_used_and_kept() {
    let mut world = World::playing();
    let lease = Lease { expires: ClusterTime(99_000_000), ..hall(1).lease };
    let secret = cluster().lease_key().secret(&lease);
    let masked_secret = mask_secret(&hall(1).secret, lease.expires, secret.to_bytes());
    let out = world.answer(InterestVerdict::Extended { expires: lease.expires, masked_secret });
    let [Output::KeepList(kept)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(kept.channels[0].tuning.as_ref().unwrap().lease, lease);
    let out = world.wait(seconds(3));
    let (_, interest) = interests(&out)[0];
    assert_eq!(interest.lease, lease, "and tagged with its secret, as `interests` checks");
}

#[test]
fn a_wrong_clock_is_set_and_the_interest_sent_again_but_not_in_a_loop() {
    let mut world = World::playing();
    world.now += seconds(3600);
    let before = world.viewer.counters().interests_sent;
    let out = world.answer(InterestVerdict::Clock);
    assert!(interests(&out).iter().all(|(_, interest)| interest.time == world.cluster()), "{out:?}");
    for _ in 0..100 {
        world.answer(InterestVerdict::Clock);
    }
    assert!(world.viewer.counters().interests_sent - before <= 2);
}

#[test]
fn a_push_server_that_serves_us_no_more_sends_us_to_the_directory_without_a_storm() {
    let mut world = World::playing();
    let mut asked = 0;
    for _ in 0..100 {
        let mut out = world.answer(InterestVerdict::NotAssigned);
        world.media(GROUP_A, &[3]);
        out.extend(world.wait(Duration::from_millis(100)));
        let watches = |message: &&ToDatabase| matches!(message, ToDatabase::Watch { .. });
        asked += requests(&out).iter().filter(watches).count();
        world.say(ToClient::Pong);
    }
    assert!((2..=10).contains(&asked), "{asked} in ten seconds");
}

#[test]
fn a_renewed_lease_after_a_refusal_is_shown_soon() {
    let mut world = World::playing();
    world.answer(InterestVerdict::Expired);
    let lease = Lease { expires: ClusterTime(77_000_000), ..hall(1).lease };
    let renewed = Tuning { lease, secret: cluster().lease_key().secret(&lease), ..hall(1) };
    let mut out = world.say(ToClient::Tuning(Box::new(renewed)));
    out.extend(world.wait(Duration::from_millis(300)));
    assert_eq!(interests(&out)[0].1.lease, lease);
}

#[test]
fn forged_answers_and_announcements_change_nothing() {
    let mut world = World::playing();
    let answer =
        InterestAnswer { channel: CHANNEL, time: ClusterTime(0), verdict: InterestVerdict::NotAssigned };
    let forged = seal(Kind::InterestAnswer, &answer, &ClusterKey::new([9; 32]).announce_key(CHANNEL));
    let from = "10.0.1.1:7404".parse().unwrap();
    assert_eq!(world.give(Input::Control { from, bytes: &forged }), []);
    assert_eq!(world.give(Input::Control { from, bytes: b"M4" }), []);
    let query = seal(Kind::Query, &answer, &hall(1).secret);
    assert_eq!(world.give(Input::Control { from, bytes: &query }), []);
    let mut announcement =
        Announcement { channel: CHANNEL, held_for: seconds(5), boot_id: BootId(66), time: world.cluster() }
            .seal(&cluster().announce_key(CHANNEL));
    announcement[15] ^= 1;
    world.give(Input::Media { group: group(GROUP_A), bytes: &announcement });
    let counters = world.viewer.counters();
    assert_eq!((counters.bad_tags, counters.bad_control, counters.announcements), (2, 2, 1));
}

#[test]
fn zapping_leaves_the_old_channel_first_and_drops_what_still_comes_of_it() {
    let mut world = World::playing();
    let out = world.give(Input::Watch(ChannelId(2)));
    assert_eq!(out[0], Output::Leave(group(GROUP_A)));
    assert_eq!(
        requests(&out),
        [ToDatabase::Unwatch { channel: CHANNEL }, ToDatabase::Watch { channel: ChannelId(2) }]
    );
    assert_eq!(world.media(GROUP_A, &[4]), []);
    world.say(ToClient::Tuning(Box::new(hall(2))));
    assert_eq!(world.viewer.tuning(), None, "an answer to the old question");
    let two = tuning(ChannelId(2), "hall", GROUP_B, Revision::new(1, 1));
    world.say(ToClient::Tuning(Box::new(two)));
    assert_eq!(delivered(&world.media(GROUP_B, &[60_000])), [60_000]);
    let counters = world.viewer.counters();
    assert_eq!((counters.zaps, counters.delivered, counters.stale), (2, 4, 1));
}

#[test]
fn an_unavailable_channel_is_waited_for_without_asking_on() {
    let mut world = World::new();
    world.give(Input::Watch(CHANNEL));
    world.give(Input::DirectoryConnected);
    let out = world.say(ToClient::Unavailable { channel: CHANNEL, reason: "roof is away".to_owned() });
    assert!(matches!(&out[..], [Output::Notice(Notice::Unavailable { .. })]));
    for _ in 0..10 {
        let out = world.wait(seconds(2));
        assert!(requests(&out).iter().all(|message| *message == ToDatabase::Ping), "{out:?}");
        world.say(ToClient::Pong);
    }
    let out = world.say(ToClient::Tuning(Box::new(hall(1))));
    assert_eq!(out[0], Output::Join(group(GROUP_A)));
}

#[test]
fn the_list_is_kept_fetched_again_each_minute_and_when_it_changes() {
    let mut world = World::new();
    world.give(Input::List { tunings: true });
    let out = world.give(Input::DirectoryConnected);
    assert_eq!(requests(&out), [ToDatabase::List { tunings: true }]);
    let out = world.say(ToClient::Channels(list(&[hall(1)])));
    assert!(out.contains(&Output::KeepList(list(&[hall(1)]))));
    world.say(ToClient::ListChanged);
    let out = world.wait(LIST_SPACING);
    assert_eq!(requests(&out), [ToDatabase::List { tunings: true }]);
    let mut fetched = 0;
    for _ in 0..60 {
        world.say(ToClient::Pong);
        let out = world.wait(seconds(2));
        fetched += requests(&out).iter().filter(|message| matches!(message, ToDatabase::List { .. })).count();
    }
    assert!((1..=2).contains(&fetched), "{fetched} in two minutes");
}

#[test]
fn a_refusal_is_told_and_retried_with_growing_patience() {
    let mut world = World::new();
    world.give(Input::List { tunings: false });
    let mut tries = 0;
    for _ in 0..60 {
        world.give(Input::DirectoryConnected);
        world.say(ToClient::Refused(protocols::preamble::Refusal::Busy("too many".to_owned())));
        let out = world.wait(seconds(1));
        tries += out.iter().filter(|output| **output == Output::ConnectDirectory).count();
    }
    assert!(tries < 25, "{tries} in a minute");
}

#[test]
fn rubbish_never_panics_and_never_leaves_the_counters() {
    let mut world = World::playing();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        let mut bytes = match random.u8(..4) {
            0 => rtp(random.u16(..)),
            1 => codec::encode(&hall(1)),
            2 => Interest { lease: hall(1).lease, time: ClusterTime(1) }.seal(&hall(1).secret),
            _ => (0..random.usize(..64)).map(|_| random.u8(..)).collect(),
        };
        for _ in 0..random.usize(..4) {
            if let Some(index) = (!bytes.is_empty()).then(|| random.usize(..bytes.len())) {
                bytes[index] = random.u8(..);
            }
        }
        let from: SocketAddr = (IpAddr::from([10, 0, 0, 9]), 1).into();
        if random.bool() {
            assert_eq!(world.give(Input::Control { from, bytes: &bytes }), []);
        } else {
            world.give(Input::Media { group: group(GROUP_A), bytes: &bytes });
        }
    }
    assert!(world.viewer.counters().bad_control > 1_000);
}
