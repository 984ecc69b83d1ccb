//! P6 media, which carry no tag: any datagram that looks like RTP is taken for the channel's.
//!
//! What is held against forgers on the LAN: no panic, memory within the window, and that single forged packets cost a
//! stream no more than the places that they claim. What is not: two forged packets in a row move the receiver to their
//! stream until two of the channel's own come in a row; whoever fills a quarter of the window with forged packets makes
//! room for one beyond it; and a forged packet that is there first has its number's place.

use std::time::Duration;

use media::reassembly::{Limits, Output, Reassembly};
use media::rtp::RtpPacket;

use crate::heap::measured;
use crate::mutation::Mutator;
use crate::site::rtp;
use crate::trial::Trial;

/// The window's slots, twice while they move to a larger place, and half as much again for how a queue grows.
fn window_bytes() -> i64 {
    let slot = size_of::<RtpPacket>() + 32;
    i64::try_from(Limits::default().window_packets * slot * 3).unwrap()
}

#[test]
fn whatever_arrives_memory_stays_within_the_window() {
    let mut trial = Trial::new("P6 media");
    let mut random = trial.random();
    let mut mutator = Mutator::new(random.fork(), 1_600);
    (0..32).for_each(|n| mutator.record(rtp(n * 97).as_bytes(), 64));
    let mut reassembly = Reassembly::new(Limits::default());
    let mut out = Vec::with_capacity(8_192);
    let ((), growth) = measured(|| {
        for n in 0..Trial::inputs() {
            let now = Duration::from_micros(n * 50);
            let packet = rtp(random.u64(..70_000));
            let bytes = match random.u8(..8) {
                // The right source and any number: what a forger who listens would send.
                0..3 => packet.as_bytes(),
                _ => mutator.spoil(),
            };
            let _ = reassembly.datagram(now, bytes, &mut out);
            // Two in a row move it: to another run, or beyond what the window holds.
            if random.u8(..8) == 0 {
                let next = packet.sequence().extend_near(0).wrapping_add(1);
                let _ = reassembly.datagram(now, packet.as_bytes(), &mut out);
                let _ = reassembly.datagram(now, rtp(next).as_bytes(), &mut out);
            }
            let delivered = out.iter().filter(|output| matches!(output, Output::Packet { .. })).count();
            assert!(delivered <= Limits::default().window_packets + 4);
            trial.highest("held packets", i64::try_from(reassembly.held_packets()).unwrap());
            out.clear();
        }
    });
    let counters = reassembly.counters();
    let names = ["received", "delivered", "resets", "strays", "late", "overflows", "foreign"];
    let counts = [
        counters.received,
        counters.delivered,
        counters.resets,
        counters.strays,
        counters.late,
        counters.overflows,
        counters.foreign,
    ];
    names.into_iter().zip(counts).for_each(|(name, count)| trial.add(name, count));
    trial.highest("peak bytes", growth.peak);
    assert!(growth.live < window_bytes() && growth.peak < window_bytes(), "{growth:?} of {}", window_bytes());
    assert!(names.iter().all(|name| trial.of(name) > 0));
    assert!(reassembly.held_packets() < Limits::default().window_packets);
}

/// A stream of 500 packets a second, and after each of its packets at most one forged one.
#[test]
fn single_forged_packets_cost_a_stream_no_more_than_the_places_they_claim() {
    let mut trial = Trial::new("P6 media among forgeries");
    let mut random = trial.random();
    let mut mutator = Mutator::new(random.fork(), 1_400);
    let mut reassembly = Reassembly::new(Limits::default());
    let mut out = Vec::new();
    let (mut own, mut taken) = (0, 0);
    for n in 0..Trial::inputs() / 4 {
        let now = Duration::from_millis(2 * n);
        let genuine = rtp(n);
        mutator.record(genuine.as_bytes(), 64);
        let _ = reassembly.datagram(now, genuine.as_bytes(), &mut out);
        match random.u8(..4) {
            0 => {
                let _ = reassembly.datagram(now, mutator.spoil(), &mut out);
                trial.count("mutated");
            }
            1 => {
                // The channel's own source, any number: near, at the window's edge, far, behind.
                let claimed = n.wrapping_add_signed(random.i64(-40_000..40_000));
                let mut bytes = rtp(claimed).as_bytes().to_vec();
                bytes[12..].fill(0xee);
                let _ = reassembly.datagram(now, &bytes, &mut out);
                trial.count("of its own source");
            }
            _ => {}
        }
        for output in out.drain(..) {
            match output {
                Output::Packet { packet, .. } if packet.payload().starts_with(&[0x47, 0x47, 0x47, 0x47]) => {
                    own += 1;
                }
                Output::Packet { .. } => taken += 1,
                Output::Lost { count, .. } => trial.add("lost", count),
                Output::Reset => trial.count("resets"),
            }
        }
    }
    trial.add("own", own);
    trial.add("taken", taken);
    assert_eq!((trial.of("resets"), trial.of("lost")), (0, 0), "a single packet derailed the stream");
    assert!(own + taken >= Trial::inputs() / 4 && taken > 0);
}
