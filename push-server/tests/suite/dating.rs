//! Goal: a channel's path knows the number and the date of each packet that it holds, from the marks between them, and
//! sends no mark on. Method: packets, marks and headers alone as the deframer lays them into the ring.

#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use protocols::ids::ChannelId;
use protocols::p3_feed::{HEADER_BYTES, Mark};
use protocols::time::{ClusterTime, Time};
use push_server::path::{ChannelPath, Drops};

const NOW: Time = Time::from_ms(1_000);

fn packet(sequence: u16) -> [u8; 200] {
    let mut packet = [0x47; 200];
    packet[..HEADER_BYTES].copy_from_slice(&[0x80, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 190).to_be_bytes());
    packet
}

fn lay(path: &mut ChannelPath, frame: &[u8]) {
    path.slot()[..frame.len()].copy_from_slice(frame);
    path.commit(NOW, frame.len());
}

fn mark(number: u64, date: u64) -> [u8; 16] {
    Mark { number, date: ClusterTime(date) }.encode()
}

/// Number and date of each packet from `from` on.
fn known(path: &ChannelPath, from: u64) -> Vec<(u64, u64)> {
    let all = (from..path.packets()).map(|at| (path.number(at).unwrap(), path.date(at).unwrap().0));
    all.collect()
}

#[test]
fn a_packet_has_its_number_and_the_date_of_the_mark_before_it() {
    let mut path = ChannelPath::new(ChannelId(1));
    path.feed_opened();
    lay(&mut path, &mark(131_080, 5_000));
    for sequence in 8..11 {
        lay(&mut path, &packet(sequence));
    }
    lay(&mut path, &mark(131_083, 6_000));
    lay(&mut path, &packet(11));
    assert_eq!(path.packets(), 4, "marks are no packets");
    assert_eq!(known(&path, 0), [(131_080, 5_000), (131_081, 5_000), (131_082, 5_000), (131_083, 6_000)]);
    assert_eq!(path.drops(), Drops::default());
}

#[test]
fn behind_what_a_held_feed_left_out_numbers_go_on_with_the_mark() {
    let mut path = ChannelPath::new(ChannelId(1));
    lay(&mut path, &mark(7, 5_000));
    lay(&mut path, &packet(7));
    lay(&mut path, &packet(9)[..HEADER_BYTES]);
    lay(&mut path, &mark(65_536 + 9, 6_000));
    lay(&mut path, &packet(9));
    lay(&mut path, &packet(10));
    assert_eq!(known(&path, 0), [(7, 5_000), (65_545, 6_000), (65_546, 6_000)]);
}

#[test]
fn a_feed_that_returns_and_repeats_packets_says_nothing_wrong() {
    let mut path = ChannelPath::new(ChannelId(1));
    lay(&mut path, &mark(7, 5_000));
    (7..12).for_each(|sequence| lay(&mut path, &packet(sequence)));
    path.feed_opened();
    lay(&mut path, &mark(10, 5_000));
    (10..14).for_each(|sequence| lay(&mut path, &packet(sequence)));
    assert_eq!(path.drops(), Drops { repeated: 2, ..Drops::default() });
    assert_eq!(known(&path, 0).last(), Some(&(13, 5_000)));
}

#[test]
fn a_mark_of_another_packet_is_counted_and_changes_nothing() {
    let mut path = ChannelPath::new(ChannelId(1));
    lay(&mut path, &mark(8, 5_000));
    lay(&mut path, &packet(7));
    assert_eq!((path.number(0), path.date(0)), (None, None));
    assert_eq!(path.drops(), Drops { wrong_marks: 1, ..Drops::default() });
}
