//! Goal: a feed is given what it lacks of the past, from the newest random access point on, beside what is made, and no
//! more of it than the limits say. Method: literal packets into the queues, and the frames that come out.

#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use acquisition::feed_queues::{FeedPlace, FeedQueues, Moment, PastCounters};
use media::rtp::RtpHeader;
use media::{RtpPacket, Sequence};
use protocols::ids::HostId;
use protocols::p3_feed::{
    ACCESS_POINT_BYTES, AccessPoint, HEADER_BYTES, HISTORY_BYTES, HISTORY_SLICE_BYTES, History, HistorySlice,
    LONGEST_HISTORY, MARK_BYTES, MAX_HISTORY_PACKETS, Mark,
};
use protocols::time::{ClusterTime, Time};

/// A frame, as short as can be said: numbers of packets, less [`FIRST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Packet(u64),
    Header(u64),
    Marked { number: u64, ms: u64 },
    Point(u64),
    Comes { first: u64, packets: u16 },
    Slice { first: u64, packets: u16 },
    Keepalive,
}

use Frame::{Comes, Header, Keepalive, Marked, Packet, Point, Slice};

/// Sequence numbers wrap at the fifth packet.
const FIRST: u64 = 65_532;
const SSRC: u32 = 7;

fn hall() -> HostId {
    "hall".parse().unwrap()
}

/// Packet `n`, made at `ms`, where the wall clock shows a million more.
fn push(queues: &mut FeedQueues, n: u64, ms: u64) {
    let sequence = Sequence(u16::try_from((FIRST + n) % 65_536).unwrap());
    let header = RtpHeader { marker: false, payload_type: 33, sequence, timestamp_90k: 0, ssrc: SSRC };
    let packet = RtpPacket::new(&header, &[0x47; 188]).unwrap();
    queues.push(Moment { now: Time::from_ms(ms), wall: ClusterTime(1_000_000 + ms) }, packet);
}

fn take(queues: &mut FeedQueues, place: FeedPlace, ms: u64, max: usize) -> Vec<Frame> {
    let (mut framed, mut frames) = (Vec::new(), Vec::new());
    let taken = queues.take_framed(Time::from_ms(ms), place, max, &mut framed);
    let mut rest = &framed[..];
    while let Some((prefix, behind)) = rest.split_first_chunk() {
        let (frame, behind) = behind.split_at(usize::from(u16::from_be_bytes(*prefix)));
        let sequence = || (65_536 + u64::from(u16::from_be_bytes([frame[2], frame[3]])) - FIRST) % 65_536;
        frames.push(match frame.len() {
            0 => Keepalive,
            HEADER_BYTES => Header(sequence()),
            MARK_BYTES => {
                let mark = Mark::decode(frame.try_into().unwrap());
                Marked { number: mark.number - FIRST, ms: mark.date.0 - 1_000_000 }
            }
            ACCESS_POINT_BYTES => Point(AccessPoint::decode(frame.try_into().unwrap()).number - FIRST),
            HISTORY_BYTES => {
                let History { first, packets, ssrc } = History::decode(frame.try_into().unwrap());
                assert!(ssrc == SSRC || packets == 0);
                Comes { first: first.saturating_sub(FIRST), packets }
            }
            HISTORY_SLICE_BYTES => {
                let HistorySlice { first, packets } = HistorySlice::decode(frame.try_into().unwrap());
                Slice { first: first - FIRST, packets }
            }
            _ => Packet(sequence()),
        });
        rest = behind;
    }
    let packets = frames.iter().filter(|frame| matches!(frame, Packet(_))).count();
    assert_eq!(taken, packets);
    frames
}

#[test]
fn every_feed_is_told_a_random_access_point_behind_the_packet_that_showed_it() {
    let mut queues = FeedQueues::default();
    let place = queues.attach(&hall());
    push(&mut queues, 0, 0);
    push(&mut queues, 1, 2);
    queues.access_point(1);
    push(&mut queues, 2, 4);
    let frames = take(&mut queues, place, 5, 9);
    assert_eq!(frames, [Marked { number: 0, ms: 0 }, Packet(0), Packet(1), Point(0), Packet(2)]);
    assert_eq!((queues.kept_packets(), queues.waiting_packets()), (3, 0));
    push(&mut queues, 3, 6);
    queues.access_point(0);
    assert_eq!(take(&mut queues, place, 6, 9), [Packet(3), Point(3)]);
    assert_eq!(queues.kept_packets(), 1, "what is since the newest");
}

#[test]
fn a_feed_that_begins_is_given_the_past_and_what_is_made_meanwhile_comes_first() {
    let mut queues = FeedQueues::default();
    (0..10).for_each(|n| push(&mut queues, n, 300 * n));
    assert_eq!(queues.kept_packets(), 10, "a point found later may begin there");
    let first = queues.attach(&hall());
    assert_eq!(take(&mut queues, first, 2_700, 9), []);
    queues.detach(first);
    (10..14).for_each(|n| push(&mut queues, n, 300 * n));
    queues.access_point(3);
    let other = queues.attach(&hall());
    let frames = take(&mut queues, other, 4_000, 2);
    let begin = [Comes { first: 10, packets: 4 }, Point(10), Slice { first: 10, packets: 2 }];
    assert_eq!(frames, [&begin[..], &[Marked { number: 10, ms: 2_400 }, Packet(10), Packet(11)]].concat());
    push(&mut queues, 14, 4_200);
    // The first packet made is marked, with the date of the regular mark before it.
    let frames = take(&mut queues, other, 4_200, 2);
    let (now, slice) = ([Marked { number: 14, ms: 3_600 }, Packet(14)], Slice { first: 12, packets: 1 });
    assert_eq!(frames, [&now[..], &[slice, Marked { number: 12, ms: 3_600 }, Packet(12)]].concat());
    push(&mut queues, 15, 4_500);
    let frames = take(&mut queues, other, 4_500, 9);
    assert_eq!(frames, [Packet(15), Slice { first: 13, packets: 1 }, Packet(13)]);
    assert_eq!(take(&mut queues, other, 4_500, 9), []);
    assert_eq!(queues.past(), PastCounters { packets: 4, ..PastCounters::default() });
}

#[test]
fn a_feed_that_flows_again_begins_with_the_newest_packet_and_is_given_what_was_left_out() {
    let mut queues = FeedQueues::default();
    let place = queues.attach(&hall());
    push(&mut queues, 0, 0);
    queues.access_point(0);
    (1..4).for_each(|n| push(&mut queues, n, 2 * n));
    assert_eq!(take(&mut queues, place, 6, 9).len(), 6);
    queues.hold(Time::from_ms(7), place);
    assert_eq!(take(&mut queues, place, 7, 9), [Keepalive]);
    (4..8).for_each(|n| push(&mut queues, n, 2 * n));
    assert_eq!(queues.kept_packets(), 8, "they are kept though the feed is held");
    queues.flow(Time::from_ms(15), place);
    let begin = [Header(7), Comes { first: 4, packets: 3 }, Point(0), Marked { number: 7, ms: 0 }, Packet(7)];
    let past = [Slice { first: 4, packets: 3 }, Marked { number: 4, ms: 0 }, Packet(4), Packet(5), Packet(6)];
    assert_eq!(take(&mut queues, place, 15, 9), [&begin[..], &past].concat());
    // Held and let go before anything came: nothing is left out, and the point is told again.
    queues.hold(Time::from_ms(16), place);
    queues.flow(Time::from_ms(16), place);
    assert_eq!(take(&mut queues, place, 16, 9), [Point(0)]);
    // Of a point that has come meanwhile the rest is of no use.
    queues.hold(Time::from_ms(17), place);
    push(&mut queues, 8, 18);
    push(&mut queues, 9, 19);
    queues.access_point(0);
    push(&mut queues, 10, 20);
    push(&mut queues, 11, 22);
    queues.flow(Time::from_ms(22), place);
    let begin =
        [Header(11), Comes { first: 9, packets: 2 }, Point(9), Marked { number: 11, ms: 0 }, Packet(11)];
    let past = [Slice { first: 9, packets: 2 }, Marked { number: 9, ms: 0 }, Packet(9), Packet(10)];
    assert_eq!(take(&mut queues, place, 22, 9), [&begin[..], &past].concat());
}

#[test]
fn what_was_interrupted_by_holding_is_given_anew() {
    let mut queues = FeedQueues::default();
    push(&mut queues, 0, 0);
    queues.access_point(0);
    let place = queues.attach(&hall());
    (1..5).for_each(|n| push(&mut queues, n, n));
    queues.hold(Time::from_ms(5), place);
    assert_eq!(take(&mut queues, place, 5, 9), [Header(4)]);
    queues.flow(Time::from_ms(6), place);
    let frames = take(&mut queues, place, 6, 2);
    let begin = [Comes { first: 0, packets: 4 }, Point(0), Marked { number: 4, ms: 0 }, Packet(4)];
    assert_eq!(
        frames,
        [&begin[..], &[Slice { first: 0, packets: 1 }, Marked { number: 0, ms: 0 }, Packet(0)]].concat()
    );
    queues.hold(Time::from_ms(7), place);
    push(&mut queues, 5, 7);
    queues.flow(Time::from_ms(8), place);
    let frames = take(&mut queues, place, 8, 9);
    assert_eq!(frames[..2], [Comes { first: 0, packets: 5 }, Point(0)]);
    assert_eq!(frames.iter().filter(|frame| matches!(frame, Packet(_))).count(), 6);
}

#[test]
fn a_silent_input_has_no_past_worth_giving() {
    let mut queues = FeedQueues::default();
    let place = queues.attach(&hall());
    push(&mut queues, 0, 0);
    queues.access_point(0);
    push(&mut queues, 1, 1);
    queues.hold(Time::from_ms(1), place);
    queues.flow(Time::from_ms(1_001), place);
    assert_eq!(take(&mut queues, place, 1_001, 9), []);
    push(&mut queues, 2, 5_000);
    assert_eq!(take(&mut queues, place, 5_000, 9)[0], Header(2));
}

#[test]
fn what_is_kept_of_the_past_is_bounded_by_time_and_by_packets() {
    let limit_ms = u64::try_from(LONGEST_HISTORY.as_millis()).unwrap();
    let mut queues = FeedQueues::default();
    push(&mut queues, 0, 0);
    queues.access_point(0);
    push(&mut queues, 1, limit_ms);
    assert_eq!((queues.kept_packets(), queues.past().cut_points), (2, 0));
    push(&mut queues, 2, limit_ms + 1);
    assert_eq!(queues.past().cut_points, 1);
    push(&mut queues, 3, limit_ms + 2);
    queues.access_point(0);
    let most = u64::from(MAX_HISTORY_PACKETS);
    (4..3 + most).for_each(|n| push(&mut queues, n, limit_ms + 3));
    assert_eq!(queues.kept_packets() as u64, most);
    push(&mut queues, 3 + most, limit_ms + 3);
    assert_eq!(
        (queues.kept_packets(), queues.past().cut_points),
        (512, 2),
        "those before a point yet to be found"
    );
    // One that begins then is given none.
    let place = queues.attach(&hall());
    assert_eq!(take(&mut queues, place, limit_ms + 4, 9), []);
}

#[test]
fn a_feed_that_is_too_slow_for_the_past_is_told_that_no_more_of_it_comes() {
    let mut queues = FeedQueues::default();
    push(&mut queues, 0, 0);
    queues.access_point(0);
    (1..5_000).for_each(|n| push(&mut queues, n, 1));
    let place = queues.attach(&hall());
    let frames = take(&mut queues, place, 1, 1);
    assert_eq!(frames[..3], [Comes { first: 0, packets: 5_000 }, Point(0), Slice { first: 0, packets: 1 }]);
    let mut n = 5_000;
    // What is made takes all that the feed takes.
    while queues.past().given_up == 0 {
        push(&mut queues, n, 2);
        let frames = take(&mut queues, place, 2, 1);
        assert!(queues.past().given_up > 0 || frames.iter().all(|frame| !matches!(frame, Slice { .. })));
        n += 1;
    }
    assert_eq!(n, 5_000 + 4_096 + u64::from(MAX_HISTORY_PACKETS) - 5_000 + 2);
    push(&mut queues, n, 3);
    assert_eq!(queues.kept_packets(), 512, "the past is let go of");
    assert!(queues.dropped_packets().is_empty());
}
