//! The push server's path of a packet, from the feed's bytes to the batch that a socket is given.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use protocols::ids::{ChannelId, Revision};
use protocols::p3_feed::{LENGTH_BYTES, MAX_PACKET_BYTES, length_prefix};
use protocols::p4_control::Missing;
use protocols::time::Time;
use push_server::deframer::{Deframer, Step as Next};
use push_server::path::{ChannelPath, Wanted};
use push_server::plan::{Plan, Target};
use push_server::repair::Asker;
use push_server::ring::PacketRing;

use crate::{HotPath, Step};

/// Packets of one window: 10 ms of a 5.3 Mb/s channel.
const WINDOW_PACKETS: u64 = 5;
const SPACING: Duration = Duration::from_millis(2);
const SPACING_90K: u32 = 180;
const SSRC: u32 = 9;

pub(crate) const HOT_PATHS: &[HotPath] = &[
    per_packet("deframer", deframer),
    per_packet("ring", ring),
    per_packet("path-suspended", || path(0)),
    per_packet("path-1-destination", || path(1)),
    per_packet("path-1-destination-repaired", repaired_path),
    per_packet("path-50-destinations", || path(50)),
];

const fn per_packet(name: &'static str, prepare: fn() -> Step) -> HotPath {
    HotPath { name, unit: "packet", units_per_step: WINDOW_PACKETS, prepare }
}

/// RTP packet number `n` of a steady stream, its payload all zero.
fn header(n: u64) -> [u8; 12] {
    let [.., s0, s1] = n.to_be_bytes();
    let ticks = (n * u64::from(SPACING_90K)).to_be_bytes();
    let [.., t0, t1, t2, t3] = ticks;
    [0x80, 33, s0, s1, t0, t1, t2, t3, 0, 0, 0, 9]
}

/// One read's bytes, cut into packets and copied into the ring's slots as the feed's reader does.
fn deframer() -> Step {
    let packet = [7; MAX_PACKET_BYTES];
    let framed = [&length_prefix(&packet)[..], &packet].concat();
    let stream = framed.repeat(usize::try_from(WINDOW_PACKETS).expect("five"));
    let (mut deframer, mut ring) = (Deframer::default(), PacketRing::default());
    Box::new(move || {
        let mut bytes = black_box(&stream[..]);
        while !bytes.is_empty() {
            match deframer.step() {
                Next::Length(most) => {
                    let (length, rest) = bytes.split_at(most.min(LENGTH_BYTES).min(bytes.len()));
                    deframer.length_bytes(length).expect("every packet is of a right length");
                    bytes = rest;
                }
                Next::Body { from, to } => {
                    let (body, rest) = bytes.split_at((to - from).min(bytes.len()));
                    ring.slot()[from..from + body.len()].copy_from_slice(body);
                    if let Some(len) = deframer.body_bytes(body.len()) {
                        ring.commit(len);
                    }
                    bytes = rest;
                }
            }
        }
    })
}

/// A window's packets in, and the run of them out. Nothing is written into the slots.
fn ring() -> Step {
    let mut ring = PacketRing::default();
    Box::new(move || {
        let from = ring.next();
        for _ in 0..WINDOW_PACKETS {
            black_box(ring.slot());
            ring.commit(MAX_PACKET_BYTES);
        }
        let mut at = from;
        while let Some(run) = ring.run(at, u64::MAX) {
            at += run.len() as u64;
            black_box(run.bytes());
        }
    })
}

/// As [`path`] to one destination, of which a viewer has had packets sent again a moment ago: a packet that nobody misses
/// costs the same. So repair costs a channel nothing that nobody repairs.
fn repaired_path() -> Step {
    let mut path = watched_path(1);
    let now = Time::from_ms(500);
    for n in 0..WINDOW_PACKETS {
        path.slot()[..12].copy_from_slice(&header(n));
        path.commit(now, MAX_PACKET_BYTES);
    }
    path.drain(now + SPACING * 10, &mut |_, runs| runs.len());
    let missing = [Missing { first: 0, following: 0b11 }];
    let asker =
        Asker::Viewer { address: ([10, 0, 1, 7], 5_000).into(), round_trip: Duration::from_millis(20) };
    let wanted = Wanted { asker, target: 0, ssrc: SSRC, missing: &missing };
    path.repair(now + SPACING * 10, &wanted, &mut |_, _| true);
    assert_eq!(path.repairs().sent, 3, "what was sent is sent again");
    window_of(path, WINDOW_PACKETS)
}

/// What a data thread does with a channel in one window, but for the system calls: packets in, batches out to so many
/// destinations that send, and when to look again.
fn path(destinations: u8) -> Step {
    window_of(watched_path(destinations), 0)
}

/// A channel that is sent to so many destinations.
fn watched_path(destinations: u8) -> ChannelPath {
    let mut path = ChannelPath::new(ChannelId(1));
    let target = |last: u8| Target {
        address: IpAddr::from([239, 192, 1, last]),
        interface: None,
        ttl: 1,
        dscp: 34,
        window: Duration::from_millis(10),
        broadcast: false,
        sending: true,
    };
    let plan = Plan { revision: Revision(1), port: 7_601, targets: (0..destinations).map(target).collect() };
    path.apply(Time::ZERO, Arc::new(plan));
    path
}

/// A window of `path`, which has had `n` packets.
fn window_of(mut path: ChannelPath, mut n: u64) -> Step {
    let mut now = Time::from_ms(1_000);
    Box::new(move || {
        for _ in 0..WINDOW_PACKETS {
            path.slot()[..12].copy_from_slice(&header(n));
            path.commit(now, MAX_PACKET_BYTES);
            n += 1;
        }
        now += SPACING * u32::try_from(WINDOW_PACKETS).expect("five");
        path.drain(now, &mut |index, runs| {
            black_box(index);
            runs.iter().map(|run| black_box(run.bytes()).len().div_ceil(MAX_PACKET_BYTES)).sum()
        });
        black_box((path.pace(now), path.behind(now), path.deadline(), path.packets()));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_count_up_and_are_of_one_stream() {
        let first = header(0x0001_0203);
        assert_eq!((&first[..4], &first[8..]), (&[0x80, 33, 2, 3][..], &[0, 0, 0, 9][..]));
    }
}
