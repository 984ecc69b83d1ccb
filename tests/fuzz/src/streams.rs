//! What transport packets and RTP go through.

use std::time::Duration;

use media::fmp4::Muxer;
use media::fmp4::muxer::Cuts;
use media::looper::Looper;
use media::pcr::PcrClock;
use media::pes::{PesTimes, shift};
use media::random_access::{Place, RandomAccessFinder};
use media::reassembly::{Limits, Reassembly};
use media::rtcp::Compound;
use media::rtp::{RtpView, classify};
use media::sync::Synchroniser;
use media::{MediaTime, Packet};

use crate::Target;
use crate::shapes::{multiplex, packets};

pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("sync", sync),
    ("pcr", pcr),
    ("pes", pes),
    ("rtp", rtp),
    ("rtcp", rtcp),
    ("reassembly", reassembly),
    ("random-access", random_access),
    ("fmp4", fmp4),
    ("fmp4-tables", fmp4_tables),
    ("looper", looper),
];

fn sync(bytes: &[u8]) {
    let mut synchroniser = Synchroniser::new();
    let mut rest = bytes;
    while let Some((&length, after)) = rest.split_first() {
        let (now, later) = after.split_at(after.len().min(usize::from(length) * 8));
        let _ = synchroniser.push(now, |packet| assert_eq!(packet[0], 0x47));
        rest = later;
    }
    assert!(synchroniser.slips() <= synchroniser.losses());
}

/// Time never steps back, whatever PCRs say.
fn pcr(bytes: &[u8]) {
    let (mut clock, mut fixed) = (PcrClock::automatic(), PcrClock::of_pid(0x100));
    let mut before = MediaTime::default();
    for packet in packets(bytes) {
        let Ok(packet) = Packet::parse(&packet) else { continue };
        if let Some(stamp) = clock.stamp(packet) {
            assert!(stamp.time >= before);
            before = stamp.time;
        }
        let _ = (fixed.stamp(packet), clock.bitrate_bps(), fixed.bitrate_bps());
        if packet.continuity_counter() == 13 {
            clock.interrupt();
        }
    }
}

fn pes(bytes: &[u8]) {
    let _ = PesTimes::parse(bytes);
    let mut moved = bytes.to_vec();
    let by = bytes.first_chunk::<8>().map_or(1, |ticks| u64::from_be_bytes(*ticks));
    let _ = shift(&mut moved, by);
}

fn rtp(bytes: &[u8]) {
    let _ = (RtpView::parse(bytes).is_ok(), classify(bytes));
}

fn rtcp(bytes: &[u8]) {
    if let Ok(compound) = Compound::parse(bytes) {
        compound.nacks().for_each(|nack| nack.entries().for_each(drop));
    }
}

/// Datagrams, each behind a byte for its length and one for how much later it comes.
fn reassembly(mut bytes: &[u8]) {
    let mut reassembly = Reassembly::new(Limits { window_packets: 64, ..Limits::default() });
    let (mut now, mut out) = (Duration::ZERO, Vec::new());
    while let Some((&[length, later], rest)) = bytes.split_first_chunk::<2>() {
        let (datagram, rest) = rest.split_at(rest.len().min(usize::from(length)));
        bytes = rest;
        now += Duration::from_millis(u64::from(later));
        // A payload that the length byte has no room for.
        let filled = [datagram, &[0x47; 188]].concat();
        reassembly.datagram(now, if length & 1 == 0 { datagram } else { &filled }, &mut out);
        if reassembly.deadline().is_some_and(|due| due <= now) {
            reassembly.expire(now, &mut out);
        }
        assert!(reassembly.held_packets() <= 64);
        out.clear();
    }
}

fn random_access(bytes: &[u8]) {
    let mut finder = RandomAccessFinder::new(None);
    let mut at = Place { number: 0, timestamp_90k: 0 };
    let packets: Vec<_> = packets(bytes).collect();
    for payload in packets.chunks(7) {
        let _ = finder.push(at, payload.as_flattened());
        at = Place { number: at.number + 1, timestamp_90k: at.timestamp_90k.wrapping_add(189) };
    }
}

const CUTS: Cuts =
    Cuts { part_90k: 9_000, segment_min_90k: 90_000, segment_max_90k: 540_000, forced_min_90k: 180_000 };

fn fmp4(bytes: &[u8]) {
    let mut muxer = Muxer::new(CUTS);
    for packet in packets(bytes) {
        let _ = muxer.push(&packet);
    }
    let _ = muxer.interrupt();
}

/// The same with tables that are right, so that more of the streams is looked at.
fn fmp4_tables(bytes: &[u8]) {
    let mut muxer = Muxer::new(CUTS);
    for record in multiplex(bytes) {
        for packet in &record.packets {
            let _ = muxer.push(packet);
        }
    }
    let _ = muxer.interrupt();
}

fn looper(bytes: &[u8]) {
    let clip: Vec<_> = packets(bytes).collect();
    if let Ok(looper) = Looper::new(clip.as_flattened()) {
        for packet in looper.take(clip.len() * 2 + 1) {
            assert_eq!(packet[0], 0x47);
        }
    }
}
