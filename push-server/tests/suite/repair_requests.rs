//! Requests for repair at the control machine: what a lease or a NACK lets through, and that nothing else does anything.

use crate::site;

use std::time::Duration;

use media::rtcp::generic_nack;
use protocols::authority::Lease;
use protocols::p4_control::{MAX_MISSING_PER_REPAIR, Missing, Repair};
use protocols::time::{ClusterTime, Time};
use push_server::Output;
use push_server::admission::NACKS_PER_SECOND;
use push_server::counters::Counters;
use push_server::repair::{Request, Requester};
use site::{CHANNEL, SSRC, Site, WALL, cluster, destination, lease};

const CLIENT: &str = "10.0.1.7:5000";
const FAR: u64 = WALL + 12 * 3_600_000;

fn repair(lease: Lease, time: u64) -> Repair {
    let missing = vec![Missing { first: 7, following: 0b101 }];
    Repair { lease, time: ClusterTime(time), rtt_us: 20_000, ssrc: SSRC, missing }
}

fn sealed(repair: &Repair) -> Vec<u8> {
    repair.seal(&cluster().lease_key().secret(&repair.lease))
}

/// What `count` counts more, now that `bytes` came to a fresh site from `from`: nothing is answered.
fn counted(from: &str, bytes: &[u8], count: fn(&Counters) -> u64) -> u64 {
    let mut site = Site::configured();
    assert_eq!(site.datagram_from(Time::from_ms(1), from, bytes), []);
    count(&site.server.counters())
}

#[test]
fn a_viewer_with_a_lease_gets_its_request_through_to_the_data_plane() {
    let mut site = Site::configured();
    let out = site.datagram_from(Time::from_ms(1), CLIENT, &sealed(&repair(lease(1, FAR), WALL)));
    let address = CLIENT.parse().unwrap();
    let from =
        Requester::Viewer { address, destination: destination(1), round_trip: Duration::from_millis(20) };
    let request = Request { from, ssrc: SSRC, missing: vec![Missing { first: 7, following: 0b101 }] };
    assert_eq!(out, [Output::Repair { channel: CHANNEL, request }]);
    let mapped =
        site.datagram_from(Time::from_ms(2), "[::ffff:10.0.1.7]:5000", &sealed(&repair(lease(1, FAR), WALL)));
    assert_eq!((mapped.len(), site.server.counters().repairs_heard), (1, 2));
}

#[test]
fn a_request_that_fails_any_check_is_counted_and_not_answered() {
    let genuine = sealed(&repair(lease(1, FAR), WALL));
    let mut tampered = genuine.clone();
    tampered[60] ^= 1;
    assert_eq!(counted(CLIENT, &tampered, |counters| counters.forged), 1);
    let other_lease = repair(lease(1, FAR), WALL).seal(&cluster().lease_key().secret(&lease(2, FAR)));
    assert_eq!(counted(CLIENT, &other_lease, |counters| counters.forged), 1);
    assert_eq!(counted("10.0.1.8:5000", &genuine, |counters| counters.other_address), 1);
    let late = sealed(&repair(lease(1, FAR), WALL + 10_002));
    assert_eq!(counted(CLIENT, &late, |counters| counters.clock_off), 1);
    let over = sealed(&repair(lease(1, WALL), WALL));
    assert_eq!(counted(CLIENT, &over, |counters| counters.expired), 1);
    let elsewhere = sealed(&repair(lease(3, FAR), WALL));
    assert_eq!(counted(CLIENT, &elsewhere, |counters| counters.not_assigned), 1);
    let mut many = repair(lease(1, FAR), WALL);
    many.missing = vec![Missing { first: 0, following: 0 }; MAX_MISSING_PER_REPAIR + 1];
    assert_eq!(counted(CLIENT, &sealed(&many), |counters| counters.malformed), 1);
    let mut fresh = Site::new();
    assert_eq!(fresh.datagram_from(Time::ZERO, CLIENT, &genuine), []);
    assert_eq!(fresh.server.counters().clock_unknown, 1);
}

#[test]
fn a_repair_is_no_interest() {
    let mut site = Site::configured();
    let _ = site.datagram_from(Time::from_ms(1), CLIENT, &sealed(&repair(lease(1, FAR), WALL)));
    assert!(!site.server.sending(CHANNEL, destination(1)) && site.server.deadline().is_none());
}

#[test]
fn a_nack_for_a_stream_that_is_fed_goes_to_the_data_plane_with_no_more_than_its_address() {
    let mut site = Site::configured();
    let nack = [&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &generic_nack(7, SSRC, &[(7, 0b101)])].concat();
    assert_eq!(site.datagram_from(Time::from_ms(1), CLIENT, &nack), []);
    let _ = site.feed_opened(Time::from_ms(2), 1);
    let out = site.datagram_from(Time::from_ms(3), "[::ffff:10.0.1.7]:5000", &nack);
    let from = Requester::Receiver { address: "10.0.1.7".parse().unwrap() };
    let request = Request { from, ssrc: SSRC, missing: vec![Missing { first: 7, following: 0b101 }] };
    assert_eq!(out, [Output::Repair { channel: CHANNEL, request }]);
    site.release(Time::from_ms(4), 2);
    assert_eq!(site.datagram_from(Time::from_ms(5), CLIENT, &nack), []);
    let counters = site.server.counters();
    assert_eq!((counters.nacks_heard, counters.nacks_of_no_stream), (1, 2));
}

#[test]
fn rtcp_that_is_no_nack_or_does_not_fit_is_counted() {
    assert_eq!(counted(CLIENT, &[0x80, 201, 0, 1, 0, 0, 0, 7], |counters| counters.rtcp_without_nack), 1);
    assert_eq!(counted(CLIENT, &[0x80, 201, 0, 2, 0, 0, 0, 7], |counters| counters.rtcp_malformed), 1);
    let long = generic_nack(7, SSRC, &[(7, 0); 300]);
    assert_eq!(counted(CLIENT, &long, |counters| counters.rtcp_malformed), 1);
}

#[test]
fn a_flood_of_nacks_is_looked_at_a_thousand_times_a_second() {
    let mut site = Site::configured();
    let _ = site.feed_opened(Time::from_ms(0), 1);
    let nack = generic_nack(7, SSRC, &[(7, 0); 100]);
    let mut through = 0;
    for at_us in (0..10_000_000).step_by(100) {
        let out = site.datagram_from(Time::from_us(at_us), CLIENT, &nack);
        for output in &out {
            if let Output::Repair { request, .. } = output {
                assert_eq!(request.missing.len(), MAX_MISSING_PER_REPAIR);
                through += 1;
            }
        }
    }
    let allowed = 10 * NACKS_PER_SECOND + NACKS_PER_SECOND / 10;
    assert!(through <= allowed && through >= 9 * NACKS_PER_SECOND, "{through}");
}
