//! The control machine of a push server host, with literal times: commands, interest, feeds, reports.

use crate::site;

use protocols::authority::{CLOCK_TOLERANCE, LEASE_LIFETIME};
use protocols::ids::{ChannelId, Revision};
use protocols::p4_control::{
    Configured, DestinationFault, INTEREST_BYTES, InterestAnswer, InterestVerdict, Kind, Report, ReportItem,
    Sealed, mask_secret,
};
use protocols::p6_broadcast::Announcement;
use protocols::preamble::Refusal;
use protocols::time::{ClusterTime, Time};
use push_server::plan::{ChannelCounters, TargetCounters};
use push_server::{FeedId, Input, Output};
use site::{CHANNEL, Site, WALL, destination};

fn ms(ms: u64) -> Time {
    Time::from_ms(ms)
}

#[test]
fn an_unknown_boot_id_is_told_by_a_report_no_longer_than_the_query() {
    let mut site = Site::new();
    let query = site.query(0, 0);
    let out = site.datagram(ms(0), &query);
    let [Output::Send { bytes, .. }] = &out[..] else { panic!("{out:?}") };
    assert!(bytes.len() <= query.len());
    let report = Site::response::<Report>(Kind::Report, bytes);
    assert_eq!((report.host_boot, report.body), (site.boot_id(), Report::default()));
    assert_eq!(site.server.cluster_time(ms(0)), None);
}

#[test]
fn a_configured_destination_waits_for_interest_and_falls_silent_five_seconds_after_the_last() {
    let mut site = Site::configured();
    assert!(!site.server.sending(CHANNEL, destination(1)));
    let out = site.interest(ms(1_000), 1);
    assert_eq!(site::sending_in_plans(&out), [(destination(1), true), (destination(2), false)]);
    assert!(matches!(&out[1], Output::Announce { .. }));
    assert!(site.interest(ms(3_000), 1).iter().all(|output| !matches!(output, Output::Plan { .. })));
    let log = site.run_until(ms(7_999));
    assert!(log.iter().all(|(_, output)| matches!(output, Output::Announce { .. })));
    let log = site.run_until(ms(9_000));
    let (at, output) = log.iter().find(|(_, output)| matches!(output, Output::Plan { .. })).unwrap();
    assert_eq!(*at, ms(8_000));
    assert_eq!(
        site::sending_in_plans(std::slice::from_ref(output)),
        [(destination(1), false), (destination(2), false)]
    );
    assert_eq!(site.server.deadline(), None);
}

#[test]
fn held_interest_is_announced_every_250_ms_and_at_once_when_it_is_renewed_late() {
    let mut site = Site::configured();
    let key = site::cluster().announce_key(CHANNEL);
    let open = |output: &Output| match output {
        Output::Announce { bytes, .. } => Announcement::open(bytes, &key),
        _ => None,
    };
    let first = site.interest(ms(1_000), 1).iter().find_map(open).unwrap();
    assert_eq!((first.held_for.as_millis(), first.time), (5_000, ClusterTime(WALL + 1_000)));
    let log = site.run_until(ms(2_100));
    let times: Vec<Time> = log.iter().map(|(at, _)| *at).collect();
    // Nobody asks, so each waits the 60 ms for others to go along with.
    assert_eq!(times, [1_310, 1_620, 1_930].map(ms));
    assert_eq!(open(&log[2].1).unwrap().held_for.as_millis(), 4_070);
    // 3.9 s are left: announced at once, and not again for the next 20 ms.
    let renewed = site.interest(ms(2_101), 1).iter().find_map(open).unwrap();
    assert_eq!(renewed.held_for.as_millis(), 5_000);
    // 4.9 s are left: no hurry.
    assert_eq!(site.interest(ms(2_200), 1), []);
    assert_eq!(site.run_until(ms(2_450))[0].0, ms(2_411));
}

#[test]
fn ten_thousand_renewals_at_once_make_one_announcement() {
    let mut site = Site::configured();
    site.interest(ms(1_000), 1);
    site.run_until(ms(3_000));
    let announced = (0..10_000).map(|n| site.interest(Time::from_us(3_000_000 + n * 20), 1));
    let count = announced.flatten().filter(|output| matches!(output, Output::Announce { .. })).count();
    assert_eq!(count, 1);
}

#[test]
fn an_assignment_to_another_push_server_ends_sending_at_once() {
    let mut site = Site::configured();
    site.interest(ms(1_000), 1);
    let out = site.configure(ms(1_100), 2, &[(1, false), (2, true)]);
    assert_eq!(site::sending_in_plans(&out), [(destination(1), false), (destination(2), false)]);
    let out = site.interest(ms(1_200), 1);
    assert_eq!(Site::verdict(&out, 1), Some(InterestVerdict::NotAssigned));
    // Back again: it waits for interest.
    let out = site.configure(ms(1_300), 3, &[(1, true), (2, true)]);
    assert_eq!(site::sending_in_plans(&out), [(destination(1), false), (destination(2), false)]);
    assert_eq!(site::sending_in_plans(&site.interest(ms(1_400), 1))[0], (destination(1), true));
}

#[test]
fn a_change_of_something_else_does_not_interrupt_what_is_sent() {
    let mut site = Site::configured();
    site.interest(ms(1_000), 1);
    let out = site.configure(ms(1_100), 2, &[(1, true), (2, false), (3, true)]);
    let plan = [(destination(1), true), (destination(2), false), (destination(3), false)];
    assert_eq!(site::sending_in_plans(&out), plan);
}

#[test]
fn configurations_are_acknowledged_with_the_revision_in_force() {
    let mut site = Site::configured();
    let acknowledged = |out: &[Output]| {
        let Some(Output::Send { bytes, .. }) =
            out.iter().find(|output| matches!(output, Output::Send { .. }))
        else {
            panic!("{out:?}")
        };
        Site::response::<Configured>(Kind::Configured, bytes).body
    };
    let out = site.configure(ms(10), 5, &[(1, true)]);
    assert_eq!(acknowledged(&out).in_force, Revision(5));
    let out = site.configure(ms(20), 4, &[(2, true)]);
    let answer = acknowledged(&out);
    assert_eq!((answer.revision, answer.in_force), (Revision(4), Revision(5)));
    let out = site.release(ms(30), 6);
    assert_eq!(acknowledged(&out).in_force, Revision(6));
    assert_eq!(site.server.revision(CHANNEL), None);
}

#[test]
fn a_released_channel_stops_closes_its_feed_and_is_forgotten() {
    let mut site = Site::configured();
    site.interest(ms(1_000), 1);
    site.feed_opened(ms(1_000), 7);
    let out = site.release(ms(1_100), 2);
    let close =
        Output::CloseFeed { channel: CHANNEL, feed: FeedId(7), refusal: Refusal::NotConfigured(CHANNEL) };
    assert!(out.contains(&close) && out.contains(&Output::Release { channel: CHANNEL }), "{out:?}");
    assert_eq!((site.server.deadline(), site.server.fed(CHANNEL)), (None, false));
    assert!(site.report(ms(1_200), 0).items.is_empty());
}

#[test]
fn a_recorded_or_reordered_command_changes_nothing_and_is_not_answered() {
    let mut site = Site::configured();
    let recorded = site.configure_datagram(9, &[(1, false)]);
    assert_ne!(site.datagram(ms(10), &recorded), []);
    assert_eq!(site.datagram(ms(20), &recorded), []);
    assert_eq!(site.server.counters().replayed, 1);
}

#[test]
fn interest_from_another_address_or_forged_changes_nothing_and_is_not_answered() {
    let mut site = Site::configured();
    let genuine = Site::interest_datagram(1, WALL + 1_000, WALL + 100_000_000);
    assert_eq!(site.datagram_from(ms(1_000), "10.0.1.8:5000", &genuine), []);
    let mut forged = genuine.clone();
    forged[20] ^= 1;
    assert_eq!(site.datagram_from(ms(1_000), "10.0.1.7:5000", &forged), []);
    let counters = site.server.counters();
    assert_eq!((counters.other_address, counters.forged, site.server.deadline()), (1, 1, None));
    assert_ne!(site.datagram_from(ms(1_000), "[::ffff:10.0.1.7]:5000", &genuine), []);
}

#[test]
fn genuine_interest_with_a_wrong_date_an_old_lease_or_no_assignment_is_told_so_and_holds_nothing() {
    let mut site = Site::configured();
    let late = WALL + 1_000 + u64::try_from(CLOCK_TOLERANCE.as_millis()).unwrap() + 1;
    for (datagram, verdict) in [
        (Site::interest_datagram(1, late, WALL + 100_000_000), InterestVerdict::Clock),
        (Site::interest_datagram(1, WALL + 1_000, WALL + 1_000), InterestVerdict::Expired),
        (Site::interest_datagram(9, WALL + 1_000, WALL + 100_000_000), InterestVerdict::NotAssigned),
    ] {
        let out = site.datagram_from(ms(1_000), "10.0.1.7:5000", &datagram);
        let [Output::Send { bytes, .. }] = &out[..] else { panic!("{out:?}") };
        assert!(bytes.len() <= INTEREST_BYTES);
        let secret = Site::secret_of(&datagram);
        let answer: InterestAnswer = Sealed::parse(bytes).unwrap().open(&secret).unwrap();
        assert_eq!((answer.verdict, answer.time), (verdict, ClusterTime(WALL + 1_000)));
    }
    assert_eq!(site.server.deadline(), None);
}

#[test]
fn a_lease_that_nears_its_end_is_extended_while_the_database_server_is_away() {
    let mut site = Site::configured();
    let datagram = Site::interest_datagram(1, WALL + 1_000, WALL + 3_600_000);
    let out = site.datagram_from(ms(1_000), "10.0.1.7:5000", &datagram);
    let answer = out.iter().find_map(|output| match output {
        Output::Send { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    let old = Site::secret_of(&datagram);
    let answer: InterestAnswer = Sealed::parse(&answer.unwrap()).unwrap().open(&old).unwrap();
    let InterestVerdict::Extended { expires, masked_secret } = answer.verdict else { panic!("{answer:?}") };
    assert_eq!(expires, ClusterTime(WALL + 1_000) + LEASE_LIFETIME);
    let new = site::cluster().lease_key().secret(&site::lease(1, expires.0));
    assert_eq!(mask_secret(&old, expires, masked_secret), new.to_bytes());
    assert!(site.server.sending(CHANNEL, destination(1)));
}

#[test]
fn before_it_knows_the_cluster_time_a_host_hears_no_interest() {
    let mut site = Site::new();
    let datagram = Site::interest_datagram(1, WALL, WALL + 100_000_000);
    assert_eq!(site.datagram_from(ms(0), "10.0.1.7:5000", &datagram), []);
    assert_eq!(site.server.counters().clock_unknown, 1);
}

#[test]
fn a_feed_is_refused_without_configuration_and_replaced_by_a_newer_one() {
    let mut site = Site::new();
    let refused =
        Output::CloseFeed { channel: CHANNEL, feed: FeedId(1), refusal: Refusal::NotConfigured(CHANNEL) };
    assert_eq!(site.feed_opened(ms(0), 1), [refused]);
    let mut site = Site::configured();
    assert_eq!(site.feed_opened(ms(0), 2), [Output::AcceptFeed { channel: CHANNEL, feed: FeedId(2) }]);
    let out = site.feed_opened(ms(10), 3);
    let replaced = Output::CloseFeed { channel: CHANNEL, feed: FeedId(2), refusal: Refusal::Replaced };
    assert_eq!(out, [replaced, Output::AcceptFeed { channel: CHANNEL, feed: FeedId(3) }]);
    // The old one's end does not end the new one.
    site.handle(ms(20), Input::Counters(counters(5, true, None)));
    site.handle(ms(30), Input::FeedClosed { channel: CHANNEL, feed: FeedId(2) });
    assert!(site.server.fed(CHANNEL));
    site.handle(ms(40), Input::FeedClosed { channel: CHANNEL, feed: FeedId(3) });
    assert!(!site.server.fed(CHANNEL));
}

fn counters(packets: u64, flowing: bool, fault: Option<DestinationFault>) -> ChannelCounters {
    let targets = vec![TargetCounters { address: destination(1), packets, fault }];
    ChannelCounters { channel: CHANNEL, packets, flowing, targets }
}

#[test]
fn reports_tell_feed_sending_and_faults_in_the_order_of_change() {
    let mut site = Site::configured();
    let first = site.report(ms(100), 0);
    assert_eq!((first.up_to, first.more, first.items.len()), (3, false, 3));
    site.feed_opened(ms(200), 1);
    site.handle(ms(210), Input::Counters(counters(5, true, None)));
    site.interest(ms(300), 2);
    site.handle(ms(310), Input::Counters(counters(9, true, Some(DestinationFault::NoInterface))));
    let report = site.report(ms(400), first.up_to);
    assert_eq!(report.up_to, 6);
    let fed = ReportItem::Server { channel: CHANNEL, revision: Revision(1), fed: true, packets: 9 };
    let line = |last, sending, packets, fault| ReportItem::Destination {
        channel: CHANNEL,
        address: destination(last),
        sending,
        packets,
        fault,
    };
    let faulty = line(1, false, 9, Some(DestinationFault::NoInterface));
    assert_eq!(report.items, [fed, line(2, true, 0, None), faulty]);
}

#[test]
fn a_hundred_thousand_random_and_mutated_datagrams_change_nothing_and_are_not_answered() {
    let mut site = Site::configured();
    let genuine = [
        Site::interest_datagram(1, WALL, WALL + 100_000_000),
        site.configure_datagram(9, &[(1, true)]),
        site.query(site.boot_id().0, 0),
    ];
    // Genuine ones of the host's own, which it must not take either.
    let seed = 0x5eed_0001;
    let mut random = fastrand::Rng::with_seed(seed);
    for n in 0..100_000 {
        let mut bytes = match random.u8(..4) {
            0 => {
                let len = random.usize(..1_300);
                std::iter::repeat_with(|| random.u8(..)).take(len).collect()
            }
            at => genuine[usize::from(at) - 1].clone(),
        };
        match random.u8(..3) {
            0 if !bytes.is_empty() => bytes.truncate(random.usize(..bytes.len())),
            1 => bytes.push(random.u8(..)),
            _ if !bytes.is_empty() => {
                let at = random.usize(..bytes.len());
                bytes[at] ^= random.u8(1..);
            }
            _ => {}
        }
        let out = site.datagram_from(ms(10), "10.0.1.7:5000", &bytes);
        assert_eq!(out, [], "seed {seed:#x}, datagram {n}: {bytes:02x?}");
    }
    assert_eq!(site.server.deadline(), None);
    assert_eq!(site.server.revision(CHANNEL), Some(Revision(1)));
    assert_eq!(site.server.counters().commands_heard, 2);
}

#[test]
fn a_host_carries_many_channels_each_for_itself() {
    let mut site = Site::configured();
    site.configure_channel(ms(10), ChannelId(2), 1, &[(1, true)]);
    let out = site.interest(ms(20), 1);
    assert!(matches!(&out[0], Output::Plan { channel, .. } if *channel == CHANNEL));
    assert!(!site.server.sending(ChannelId(2), destination(1)));
}
