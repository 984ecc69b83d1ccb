//! The data plane of one channel, with literal times: bytes and order kept, none twice, resume at once, bursts paced.
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use protocols::ids::{ChannelId, Revision};
use protocols::p4_control::DestinationFault;
use protocols::time::Time;
use push_server::path::{ChannelPath, Drops, Fate};
use push_server::plan::{Plan, Target};

fn ms(ms: u64) -> Time {
    Time::from_ms(ms)
}

/// Packet `n` of a stream of 475 packets a second.
fn packet(n: u64) -> Vec<u8> {
    packet_of(0xabcd, n)
}

fn packet_of(ssrc: u32, n: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(u16::try_from(n % 65_536).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(n * 90_000 / 475 % (1 << 32)).unwrap().to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(n.to_be_bytes().into_iter().cycle().take(7 * 188));
    bytes
}

fn plan(sending: &[bool]) -> Arc<Plan> {
    let target = |(at, sending): (usize, &bool)| Target {
        address: IpAddr::from([239, 192, 1, u8::try_from(at).unwrap()]),
        interface: None,
        ttl: 1,
        dscp: 0,
        window: WINDOW,
        broadcast: false,
        sending: *sending,
    };
    Arc::new(Plan {
        revision: Revision(1),
        port: 7601,
        targets: sending.iter().enumerate().map(target).collect(),
    })
}

fn path(now: Time, sending: &[bool]) -> ChannelPath {
    let mut path = ChannelPath::new(ChannelId(1));
    path.apply(now, plan(sending));
    path
}

/// Number of each packet sent to each target.
fn drained(path: &mut ChannelPath, now: Time) -> Vec<(usize, u64)> {
    let mut sent = Vec::new();
    path.drain(now, &mut |index, bytes| {
        let n = u64::from_be_bytes(*bytes[12..].first_chunk().unwrap());
        assert!(
            bytes == packet_of(u32::from_be_bytes(*bytes[8..].first_chunk().unwrap()), n),
            "bytes changed"
        );
        sent.push((index, n));
        Fate::Sent
    });
    sent
}

/// Drains at every deadline up to `end`.
fn drained_until(path: &mut ChannelPath, end: Time) -> Vec<(Time, u64)> {
    let mut sent = Vec::new();
    while let Some(at) = path.deadline().filter(|at| *at <= end) {
        sent.extend(drained(path, at).into_iter().map(|(_, n)| (at, n)));
    }
    sent
}

#[test]
fn packets_go_to_whoever_is_being_sent_to_and_to_nobody_else() {
    let mut path = path(ms(0), &[true, false, true]);
    path.feed(ms(1), &packet(0));
    path.feed(ms(1), &packet(1));
    assert_eq!(drained(&mut path, ms(1)), [(0, 0), (0, 1), (2, 0), (2, 1)]);
    assert_eq!(drained(&mut path, ms(2)), []);
    assert_eq!(path.deadline(), None);
}

#[test]
fn who_resumes_is_given_the_newest_packet_at_once_and_then_the_stream() {
    let mut path = path(ms(0), &[false, true]);
    for n in 0..10 {
        path.feed(ms(10 + n), &packet(n));
        drained(&mut path, ms(10 + n));
    }
    path.apply(ms(20), plan(&[true, true]));
    assert_eq!(drained(&mut path, ms(20)), [(0, 9)]);
    path.feed(ms(21), &packet(10));
    assert_eq!(drained(&mut path, ms(21)), [(0, 10), (1, 10)]);
}

#[test]
fn who_is_suspended_and_resumes_before_the_next_packet_is_given_none_twice() {
    let mut path = path(ms(0), &[true]);
    path.feed(ms(1), &packet(0));
    assert_eq!(drained(&mut path, ms(1)), [(0, 0)]);
    path.apply(ms(2), plan(&[false]));
    path.apply(ms(3), plan(&[true]));
    assert_eq!(drained(&mut path, ms(3)), []);
}

#[test]
fn a_packet_of_a_feed_that_died_long_ago_is_not_shown_to_who_resumes() {
    let mut path = path(ms(0), &[false]);
    path.feed(ms(1), &packet(0));
    drained(&mut path, ms(1));
    path.apply(ms(5_000), plan(&[true]));
    assert_eq!(drained(&mut path, ms(5_000)), []);
}

#[test]
fn a_returning_feed_repeats_nothing_and_a_gap_stays_a_gap() {
    let mut path = path(ms(0), &[true]);
    let mut sent = Vec::new();
    for n in (0..6).chain(3..9).chain(20..22) {
        path.feed(ms(100 + 10 * n), &packet(n));
        sent.extend(drained(&mut path, ms(100 + 10 * n)).into_iter().map(|(_, n)| n));
    }
    assert_eq!(sent, [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 21]);
    assert_eq!(path.drops(), Drops { repeated: 3, ..Drops::default() });
}

#[test]
fn a_sequence_number_that_came_round_during_a_long_absence_is_no_repetition() {
    let mut path = path(ms(0), &[true]);
    path.feed(ms(100), &packet(5));
    drained(&mut path, ms(100));
    path.feed(ms(200_000), &packet(65_536 + 3));
    assert_eq!(drained(&mut path, ms(200_000)), [(0, 65_539)]);
}

#[test]
fn another_acquisition_run_is_another_stream() {
    let mut path = path(ms(0), &[true]);
    path.feed(ms(100), &packet(5));
    path.feed(ms(101), &packet_of(0x1234, 5));
    assert_eq!(drained(&mut path, ms(101)), [(0, 5), (0, 5)]);
}

#[test]
fn a_burst_after_a_stall_leaves_in_order_paced_and_without_loss() {
    let mut path = path(ms(0), &[true]);
    for n in 0..475 {
        path.feed(ms(n * 1_000 / 475), &packet(n));
        assert_eq!(drained(&mut path, ms(n * 1_000 / 475)), [(0, n)]);
    }
    // 300 ms of stall, then everything at once.
    for n in 475..617 {
        path.feed(ms(1_300), &packet(n));
    }
    let at_once = drained(&mut path, ms(1_300));
    assert_eq!(at_once.len(), 8);
    let later = drained_until(&mut path, ms(2_000));
    assert_eq!(later.iter().map(|(_, n)| *n).collect::<Vec<_>>(), (483..617).collect::<Vec<_>>());
    for window in later.windows(9) {
        assert!(window[8].0.since(window[0].0).as_micros() >= 8 * 1_000_000 / 713, "{window:?}");
    }
    assert_eq!(path.drops(), Drops::default());
}

#[test]
fn what_has_waited_for_more_than_a_second_is_passed_over_with_a_count() {
    let mut path = path(ms(0), &[true]);
    for n in 0..100 {
        path.feed(ms(0), &packet(n));
    }
    assert_eq!(drained(&mut path, ms(0)).len(), 8);
    path.feed(ms(1_001), &packet(100));
    assert_eq!(drained(&mut path, ms(1_001)), [(0, 100)]);
    assert_eq!(path.drops().skipped, 92);
}

#[test]
fn rubbish_is_dropped_and_counted() {
    let mut path = path(ms(0), &[true]);
    path.feed(ms(0), &[0x80; 4]);
    path.feed(ms(0), &[0; 1_328]);
    path.feed(ms(0), &vec![0x80; 1_329]);
    assert_eq!(drained(&mut path, ms(0)), []);
    assert_eq!(path.drops().not_rtp, 3);
}

#[test]
fn counters_are_told_at_the_first_packet_at_a_stall_at_a_fault_and_each_second() {
    let mut path = path(ms(0), &[true]);
    assert!(path.counters_due(ms(500)).is_none());
    path.feed(ms(600), &packet(0));
    drained(&mut path, ms(600));
    let told = path.counters_due(ms(600)).unwrap();
    assert!(told.flowing && told.packets == 1 && told.targets[0].packets == 1);
    assert!(path.counters_due(ms(1_599)).is_none());
    path.set_fault(0, Some(DestinationFault::Unreachable));
    assert_eq!(path.counters_due(ms(1_599)).unwrap().targets[0].fault, Some(DestinationFault::Unreachable));
    path.set_fault(0, Some(DestinationFault::Unreachable));
    assert!(path.counters_due(ms(1_600)).is_none());
    assert!(path.counters_due(ms(2_599)).unwrap().flowing);
    assert!(!path.counters_due(ms(2_600)).unwrap().flowing);
}

#[test]
fn packets_that_a_socket_refuses_are_counted_and_not_sent_again() {
    let mut path = path(ms(0), &[true]);
    path.feed(ms(0), &packet(0));
    path.drain(ms(0), &mut |_, _| Fate::Dropped);
    assert_eq!((path.drops().refused, drained(&mut path, ms(1))), (1, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the order of packets, plans and drains: each target sees packets in order, none twice, none altered,
    /// and none while it is not being sent to.
    #[test]
    fn order_and_uniqueness_hold_for_every_target(steps in prop::collection::vec((0_u8..8, any::<[bool; 3]>()), 1..400)) {
        let mut path = path(ms(0), &[false; 3]);
        let (mut now, mut n, mut sending) = (ms(10_000), 0_u64, [false; 3]);
        let mut seen: [Option<u64>; 3] = [None; 3];
        for (step, flags) in steps {
            match step {
                0 => {
                    sending = flags;
                    path.apply(now, plan(&sending));
                }
                1 => now += std::time::Duration::from_millis(300),
                2 => n += 3,
                _ => {
                    now += std::time::Duration::from_millis(u64::from(step) % 4);
                    path.feed(now, &packet(n));
                    n += 1;
                }
            }
            for (index, n) in drained(&mut path, now) {
                prop_assert!(sending[index]);
                prop_assert!(seen[index].is_none_or(|before| n > before));
                seen[index] = Some(n);
            }
        }
    }
}
