//! The data plane of one channel, with literal times: bytes and order kept, none twice, resume at once, bursts paced.
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use protocols::ids::{ChannelId, Revision};
use protocols::p4_control::DestinationFault;
use protocols::time::Time;
use push_server::lane::MAX_BATCH;
use push_server::path::{ChannelPath, Drops, Pace};
use push_server::plan::{Plan, Target};
use push_server::ring::Run;

const WINDOW: Duration = Duration::from_millis(10);

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
    plan_of(&sending.iter().map(|sending| (*sending, WINDOW)).collect::<Vec<_>>())
}

fn plan_of(targets: &[(bool, Duration)]) -> Arc<Plan> {
    let target = |(at, (sending, window)): (usize, &(bool, Duration))| Target {
        address: IpAddr::from([239, 192, 1, u8::try_from(at).unwrap()]),
        interface: None,
        ttl: 1,
        dscp: 0,
        window: *window,
        broadcast: false,
        sending: *sending,
    };
    Arc::new(Plan {
        revision: Revision(1),
        port: 7601,
        targets: targets.iter().enumerate().map(target).collect(),
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
    path.drain(now, &mut |index, runs| {
        let packets: Vec<&[u8]> = runs.iter().flat_map(Run::packets).collect();
        assert!((1..=MAX_BATCH).contains(&packets.len()), "{}", packets.len());
        for bytes in &packets {
            let n = u64::from_be_bytes(*bytes[12..].first_chunk().unwrap());
            let made = packet_of(u32::from_be_bytes(*bytes[8..].first_chunk().unwrap()), n);
            assert!(**bytes == made, "bytes changed");
            sent.push((index, n));
        }
        packets.len()
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
    path.drain(ms(0), &mut |_, _| 0);
    assert_eq!((path.drops().refused, drained(&mut path, ms(1))), (1, vec![]));
}

#[test]
fn of_a_batch_taken_in_part_the_rest_is_counted_and_not_sent_again() {
    let mut path = path(ms(0), &[true]);
    for n in 0..5 {
        path.feed(ms(0), &packet(n));
    }
    path.drain(ms(0), &mut |_, _| 2);
    assert_eq!((path.drops().refused, drained(&mut path, ms(1))), (3, vec![]));
}

#[test]
fn a_batch_is_as_few_runs_as_packets_of_unlike_length_allow() {
    let mut path = path(ms(0), &[true]);
    for n in 0..6 {
        path.feed(ms(0), &packet(n)[..if n == 2 { 12 + 188 } else { 1_328 }]);
    }
    let mut lengths = Vec::new();
    path.drain(ms(0), &mut |_, runs| {
        lengths.extend(runs.iter().map(Run::len));
        6
    });
    assert_eq!(lengths, [3, 3]);
}

#[test]
fn each_target_has_its_own_window() {
    let mut path = ChannelPath::new(ChannelId(1));
    path.apply(ms(0), plan_of(&[(true, WINDOW), (true, WINDOW * 2)]));
    let mut sent = Vec::new();
    for turn in 1..=6 {
        for n in 0..5 {
            path.feed(ms(1_000 + turn * 10), &packet(turn * 5 + n));
        }
        let drained = drained(&mut path, ms(1_000 + turn * 10));
        sent.push([0, 1].map(|target| drained.iter().filter(|(index, _)| *index == target).count()));
    }
    // The first turn finds both due; from then on the second is due every other time, or when a batch is full.
    assert_eq!(sent[0], [5, 5]);
    assert_eq!(sent[1..].iter().map(|sent| sent[0]).collect::<Vec<_>>(), [5; 5]);
    assert_eq!(sent[1..].iter().map(|sent| sent[1]).collect::<Vec<_>>(), [0, 10, 0, 10, 0]);
}

/// The pace of a channel of `rate` packets a second with these targets, once its rate is known.
fn pace(rate: u64, targets: &[(bool, Duration)]) -> Pace {
    let mut path = ChannelPath::new(ChannelId(1));
    path.apply(ms(0), plan_of(targets));
    let mut now = ms(0);
    for n in 0..400 {
        now = Time::from_us(1_000_000 + n * 1_000_000 / rate);
        let mut bytes = packet(n);
        bytes[4..8].copy_from_slice(&u32::try_from(n * 90_000 / rate).unwrap().to_be_bytes());
        path.feed(now, &bytes);
        path.drain(now, &mut |_, runs| runs.iter().map(Run::len).sum());
    }
    path.pace(now)
}

#[test]
fn a_channel_is_served_once_a_window_or_as_often_as_a_batch_of_eight_fills() {
    let ms = Duration::from_millis;
    assert_eq!(pace(475, &[(true, ms(10))]), Pace::Every(ms(10)));
    assert_eq!(pace(475, &[(true, ms(40)), (true, ms(10)), (false, ms(1))]), Pace::Every(ms(10)));
    assert_eq!(pace(950, &[(true, ms(10))]), Pace::Every(Duration::from_micros(7_500)));
    assert_eq!(pace(1_200, &[(true, ms(10))]), Pace::Every(ms(5)));
    assert_eq!(pace(3_800, &[(true, ms(10))]), Pace::Every(Duration::from_micros(1_875)));
    assert_eq!(pace(475, &[(true, ms(0)), (true, ms(10))]), Pace::Arrival);
}

/// A thread that has no processor for a while serves its channels late, turn after turn.
#[test]
fn turns_that_come_late_do_not_make_a_stream_fall_back() {
    let mut path = path(ms(0), &[true]);
    let (mut sent, mut fed) = (0, 0);
    for turn in 1..=100 {
        let now = ms(1_000 + turn * 42);
        while fed < turn * 20 {
            let mut bytes = packet(fed);
            bytes[4..8].copy_from_slice(&u32::try_from(fed * 90_000 / 475).unwrap().to_be_bytes());
            path.feed(now, &bytes);
            fed += 1;
        }
        path.came_late(Duration::from_millis(32));
        sent += drained(&mut path, now).len() as u64;
    }
    assert!(fed - sent <= 8, "{sent} of {fed}");
}

#[test]
fn a_channel_that_nobody_watches_is_skimmed_and_a_silent_one_is_left_alone() {
    assert_eq!(pace(475, &[(false, WINDOW)]), Pace::Every(Duration::from_millis(100)));
    let Pace::Every(fast) = pace(4_000, &[(false, WINDOW)]) else { panic!("a fast channel's socket fills") };
    assert!((10_000..=13_000).contains(&fast.as_micros()), "{fast:?}");
    assert_eq!(ChannelPath::new(ChannelId(1)).pace(ms(5)), Pace::Arrival);
    let mut path = path(ms(0), &[true]);
    path.feed(ms(10), &packet(0));
    drained(&mut path, ms(10));
    assert!(matches!(path.pace(ms(10)), Pace::Every(_)));
    assert_eq!(path.pace(ms(110)), Pace::Arrival);
}

#[test]
fn what_came_while_nobody_watched_holds_nobody_up() {
    let mut path = path(ms(0), &[false]);
    for n in 0..48 {
        path.feed(ms(100), &packet(n));
    }
    assert_eq!(drained(&mut path, ms(100)), []);
    path.apply(ms(101), plan(&[true]));
    assert_eq!(drained(&mut path, ms(101)), [(0, 47)]);
    assert_eq!(path.drops(), Drops::default());
}

#[test]
fn a_channel_that_is_shed_sends_nothing_says_so_and_goes_on_with_what_comes_then() {
    let mut path = path(ms(0), &[true, false]);
    path.feed(ms(1), &packet(0));
    assert_eq!(drained(&mut path, ms(1)).len(), 1);
    let _ = path.counters_due(ms(1));
    path.set_shed(true);
    path.feed(ms(2), &packet(1));
    assert_eq!(drained(&mut path, ms(2)), []);
    let faults = |path: &mut ChannelPath, now| {
        path.counters_due(now).unwrap().targets.iter().map(|target| target.fault).collect::<Vec<_>>()
    };
    assert_eq!(faults(&mut path, ms(2)), [Some(DestinationFault::Overloaded), None]);
    path.set_shed(false);
    path.feed(ms(3), &packet(2));
    assert_eq!((drained(&mut path, ms(3)), faults(&mut path, ms(3))), (vec![(0, 2)], vec![None, None]));
    path.set_shed(true);
    path.apply(ms(4), plan(&[false, false]));
    assert!(!path.is_shed());
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
