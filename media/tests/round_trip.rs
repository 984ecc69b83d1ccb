//! Goal: what goes into RTP comes out of it. Method: a looped clip through clock and packetizer, a network that loses,
//! copies and delays by a seeded plan, and a reassembly at the end.

#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use std::time::Duration;

use proptest::prelude::*;

use media::continuity::ContinuityCheck;
use media::looper::Looper;
use media::packet::Packet;
use media::pcr::PcrClock;
use media::reassembly::{Limits, Output, Reassembly};
use media::rtp::{Packetizer, PacketizerStart};
use media::{PacketBytes, RtpPacket, Sequence};

const CLIP: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../acquisition/testcard/clip.ts"));

/// What the network does to one RTP packet.
#[derive(Debug, Clone, Copy)]
struct Fate {
    lost: bool,
    copied: bool,
    delay_ms: u64,
}

fn fate() -> impl Strategy<Value = Fate> {
    (prop::bool::weighted(0.05), prop::bool::weighted(0.1), 0u64..60)
        .prop_map(|(lost, copied, delay_ms)| Fate { lost, copied, delay_ms })
}

fn sent(start: PacketizerStart, count: usize) -> Vec<RtpPacket> {
    let mut clock = PcrClock::automatic();
    let mut packetizer = Packetizer::new(start);
    let looper = Looper::new(CLIP).unwrap();
    let stamped = looper.filter_map(|bytes| Some((bytes, clock.stamp(Packet::parse(&bytes).ok()?)?)));
    stamped.filter_map(|(bytes, stamp)| packetizer.push(Duration::ZERO, &bytes, stamp)).take(count).collect()
}

fn transport(packets: &[RtpPacket]) -> Vec<PacketBytes> {
    packets.iter().flat_map(RtpPacket::packets).copied().collect()
}

/// Delivers the datagrams as their fates say; answers what came out and the reassembly.
fn travel(packets: &[RtpPacket], fates: &[Fate]) -> (Vec<RtpPacket>, Reassembly) {
    let mut arrivals = Vec::new();
    for (n, (packet, fate)) in (0u64..).zip(packets.iter().zip(fates)) {
        // The first one is spared: it is what the receiver takes for the beginning.
        let fate = if n == 0 { Fate { lost: false, copied: false, delay_ms: 0 } } else { *fate };
        let at = n * 10 + fate.delay_ms;
        arrivals.extend((!fate.lost).then_some((at, packet)));
        arrivals.extend((fate.copied && !fate.lost).then_some((at + 7, packet)));
    }
    arrivals.sort_by_key(|&(at, _)| at);
    let mut reassembly = Reassembly::new(Limits::default());
    let mut out = Vec::new();
    for (at, packet) in arrivals {
        reassembly.datagram(Duration::from_millis(at), packet.as_bytes(), &mut out);
    }
    reassembly.expire(Duration::from_hours(1), &mut out);
    let delivered = out.into_iter().filter_map(|output| match output {
        Output::Packet { packet, .. } => Some(packet),
        Output::Lost { .. } | Output::Reset => None,
    });
    (delivered.collect(), reassembly)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_arrives_comes_out_once_in_order_and_unchanged(
        ssrc: u32, sequence: u16, timestamp_offset_90k: u32, fates in prop::collection::vec(fate(), 300),
    ) {
        let start = PacketizerStart { ssrc, sequence: Sequence(sequence), timestamp_offset_90k };
        let packets = sent(start, fates.len());
        let (delivered, reassembly) = travel(&packets, &fates);
        let kept = |&(n, _): &(usize, &RtpPacket)| n == 0 || !fates[n].lost;
        let wanted: Vec<RtpPacket> = packets.iter().enumerate().filter(kept).map(|(_, packet)| *packet).collect();
        prop_assert!(delivered == wanted);
        // Losses after the last arrival cannot be known.
        let trailing = fates.iter().rev().take_while(|fate| fate.lost).count();
        let lost = (packets.len() - wanted.len() - trailing) as u64;
        prop_assert_eq!(reassembly.counters().lost, lost);
        if lost == 0 {
            prop_assert_eq!(errors(&delivered), 0);
        }
    }

    #[test]
    fn a_lossless_network_leaves_no_trace(mut fates in prop::collection::vec(fate(), 300), sequence: u16) {
        for fate in &mut fates {
            fate.lost = false;
        }
        let start = PacketizerStart { ssrc: 1, sequence: Sequence(sequence), timestamp_offset_90k: 0 };
        let packets = sent(start, fates.len());
        let (delivered, _) = travel(&packets, &fates);
        prop_assert!(transport(&delivered) == transport(&packets));
        prop_assert_eq!(errors(&delivered), 0);
    }
}

fn errors(packets: &[RtpPacket]) -> u64 {
    let mut check = ContinuityCheck::new();
    for bytes in transport(packets) {
        check.push(Packet::parse(&bytes).unwrap());
    }
    check.errors()
}
