//! Packets once more out of the ring, with literal times: the very bytes, of the right stream, to where packets are sent.
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use protocols::ids::{ChannelId, Revision};
use protocols::p3_feed::HEADER_BYTES;
use protocols::p4_control::Missing;
use protocols::time::Time;
use push_server::path::{ChannelPath, Wanted};
use push_server::plan::{Plan, Target};
use push_server::repair::{Answer, Asker};
use push_server::ring::{Run, SLOTS};

const SSRC: u32 = 0x5eed;

fn ms(ms: u64) -> Time {
    Time::from_ms(ms)
}

/// Packet `n` of a stream of 500 packets a second.
fn packet_of(ssrc: u32, n: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(u16::try_from(n % 65_536).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(n * 180 % (1 << 32)).unwrap().to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(n.to_be_bytes().into_iter().cycle().take(7 * 188));
    bytes
}

fn viewer() -> SocketAddr {
    "10.0.1.7:5000".parse().unwrap()
}

/// A path that sends to one destination, fed with packets `numbers`, two milliseconds apart, all of which have left.
fn fed(numbers: impl IntoIterator<Item = u64>) -> (ChannelPath, Time) {
    let mut path = ChannelPath::new(ChannelId(1));
    let mut now = ms(1_000);
    path.apply(now, plan(true));
    for n in numbers {
        now += Duration::from_millis(2);
        path.feed(now, &packet_of(SSRC, n));
        path.drain(now, &mut |_, runs| runs.iter().map(Run::len).sum());
    }
    (path, now)
}

fn plan(sending: bool) -> Arc<Plan> {
    let target = Target {
        address: IpAddr::from([239, 192, 1, 1]),
        interface: None,
        ttl: 1,
        dscp: 0,
        window: Duration::ZERO,
        broadcast: false,
        sending,
    };
    Arc::new(Plan { revision: Revision(1), port: 7601, targets: vec![target] })
}

/// What is sent to a viewer who misses `numbers` of `ssrc`.
fn repaired(path: &mut ChannelPath, now: Time, ssrc: u32, numbers: &[u64]) -> Vec<Vec<u8>> {
    let asker = Asker::Viewer { address: viewer(), round_trip: Duration::ZERO };
    let missing = Missing::cover(numbers.iter().map(|n| u16::try_from(n % 65_536).unwrap()));
    let mut sent = Vec::new();
    path.repair(now, &Wanted { asker, target: 0, ssrc, missing: &missing }, &mut |answer, packet| {
        assert_eq!(answer, Answer::Stream(viewer()));
        sent.push(packet.to_vec());
        true
    });
    sent
}

#[test]
fn packets_are_sent_again_byte_for_byte_across_the_wrap_of_numbers_and_ring() {
    let first = 65_536 - 700;
    let (mut path, now) = fed(first..first + 1_400);
    let wanted = [65_400, 65_535, 65_536, 65_537, 66_100, 66_235];
    let expected: Vec<Vec<u8>> = wanted.iter().map(|n| packet_of(SSRC, *n)).collect();
    assert!(repaired(&mut path, now, SSRC, &wanted) == expected, "bytes differ");
    assert_eq!(path.repairs().sent, 6);
}

#[test]
fn what_the_ring_has_no_more_or_was_never_fed_is_counted_as_gone() {
    let lost = 1_000..1_010;
    let (mut path, now) = fed((0..2_000).filter(|n| !lost.contains(n)));
    let oldest = 1_990 - (SLOTS as u64 - 1);
    assert!(repaired(&mut path, now, SSRC, &[oldest - 1, 1_000, 1_009, 2_000]).is_empty());
    assert_eq!(path.repairs().gone, 4);
    assert_eq!(repaired(&mut path, now, SSRC, &[oldest, 1_010, 1_999]).len(), 3);
}

#[test]
fn another_stream_is_not_mixed_in() {
    let (mut path, mut now) = fed(0..100);
    assert!(repaired(&mut path, now, SSRC + 1, &[50]).is_empty());
    for n in 40..80 {
        now += Duration::from_millis(2);
        path.feed(now, &packet_of(SSRC + 1, n));
        path.drain(now, &mut |_, runs| runs.iter().map(Run::len).sum());
    }
    assert!(repaired(&mut path, now, SSRC, &[50]).is_empty());
    assert!(repaired(&mut path, now, SSRC + 1, &[50]) == [packet_of(SSRC + 1, 50)]);
    assert!(repaired(&mut path, now, SSRC + 1, &[30]).is_empty());
    assert_eq!((path.repairs().other_stream, path.repairs().gone), (2, 1));
}

#[test]
fn nothing_is_repaired_where_nothing_is_sent() {
    let (mut path, now) = fed(0..100);
    path.set_shed(true);
    assert!(repaired(&mut path, now, SSRC, &[50]).is_empty());
    path.set_shed(false);
    path.apply(now, plan(false));
    assert!(repaired(&mut path, now, SSRC, &[50]).is_empty());
    path.apply(now, plan(true));
    assert_eq!(repaired(&mut path, now, SSRC, &[50]).len(), 1);
    path.feed(now, &packet_of(SSRC, 900)[..HEADER_BYTES]);
    assert!(repaired(&mut path, now, SSRC, &[51, 900]).is_empty());
    assert_eq!(path.repairs().not_sending, 4);
}

#[test]
fn a_packet_that_waits_to_leave_is_not_sent_before_its_time() {
    let (mut path, now) = fed(0..100);
    path.feed(now, &packet_of(SSRC, 100));
    assert!(repaired(&mut path, now, SSRC, &[100]).is_empty());
    assert_eq!(path.repairs().gone, 1);
}

#[test]
fn what_is_over_the_budget_is_refused_to_the_end_of_the_request() {
    let (mut path, now) = fed(0..1_000);
    let missing: Vec<Missing> =
        (0..64).map(|n| Missing { first: n * 10, following: 0b1_1111_1111 }).collect();
    let wanted = Wanted { asker: Asker::Strangers, target: 0, ssrc: SSRC, missing: &missing };
    let mut sent = 0;
    path.repair(now, &wanted, &mut |answer, _| {
        sent += u64::from(answer == Answer::Broadcast);
        true
    });
    let counters = path.repairs();
    assert_eq!((sent, counters.broadcast, counters.over_asker_budget), (250, 250, 640 - 250));
    path.counters_due(now + Duration::from_secs(9)).unwrap();
    assert_eq!(repaired(&mut path, now, SSRC, &[700]).len(), 1);
}
