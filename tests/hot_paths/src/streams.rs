//! Transport streams and RTP: what acquisition does for each packet, and what a client does.

use std::hint::black_box;
use std::time::Duration;

use acquisition::feed_queues::{FeedQueues, Moment};
use media::health::{Extent, Health};
use media::packet::{PACKET_BYTES, Packet, PacketBytes};
use media::pcr::PcrClock;
use media::psi::ProgrammeTable;
use media::random_access::{Place, RandomAccessFinder};
use media::reassembly::{Limits, Reassembly};
use media::rtp::{Packetizer, PacketizerStart, RtpHeader, RtpPacket};
use media::section::crc32;
use media::sequence::Sequence;
use media::sync::Synchroniser;
use media::time::duration_of_ticks;
use protocols::time::{ClusterTime, Time};

use crate::{HotPath, Step};

pub(crate) const HOT_PATHS: &[HotPath] = &[
    HotPath { name: "ts-header", unit: "TS packet", units_per_step: PACKETS as u64, prepare: ts_header },
    HotPath { name: "psi-section", unit: "section", units_per_step: 1, prepare: psi_section },
    HotPath { name: "random-access", unit: "packet", units_per_step: 50, prepare: random_access },
    HotPath { name: "acquire", unit: "TS packet", units_per_step: PACKETS as u64, prepare: acquire },
    HotPath { name: "health", unit: "TS packet", units_per_step: PACKETS as u64, prepare: health },
    HotPath { name: "feed", unit: "packet", units_per_step: FEED_PACKETS, prepare: feed },
    HotPath { name: "reassembly", unit: "packet", units_per_step: 2, prepare: || reassembly([0, 1]) },
    HotPath { name: "reassembly-swapped", unit: "packet", units_per_step: 2, prepare: || reassembly([1, 0]) },
    HotPath { name: "reassembly-twice", unit: "packet", units_per_step: 2, prepare: || reassembly([0, 0]) },
];

const PID: u16 = 0x100;
const PACKETS: usize = 70;
/// At 5 Mb/s, in ticks of 27 MHz.
const TICKS_PER_PACKET: u64 = 27_000_000 * 188 * 8 / 5_000_000;

/// Packets of one PID, each tenth with a PCR.
fn packets() -> Vec<PacketBytes> {
    (0..PACKETS)
        .map(|n| {
            let mut bytes = [0x55; PACKET_BYTES];
            let counter = u8::try_from(n % 16).expect("below 16");
            bytes[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | counter]);
            if n % 10 == 0 {
                bytes[3] |= 0x20;
                bytes[4..12].copy_from_slice(&[7, 0x10, 0, 0, 0, 0, 0x7e, 0]);
            }
            bytes
        })
        .collect()
}

fn ts_header() -> Step {
    let packets = packets();
    Box::new(move || {
        for bytes in &packets {
            let packet = Packet::parse(black_box(bytes)).expect("it begins with 0x47");
            black_box((packet.pid(), packet.continuity_counter(), packet.payload_unit_start()));
            black_box((packet.pcr(), packet.random_access(), packet.payload().len()));
        }
    })
}

/// A PMT of five streams, by one packet.
fn psi_section() -> Step {
    let mut table = ProgrammeTable::new();
    let pat = section(0, 1, &[0, 1, 0xf0, 0x00]);
    table.push(Packet::parse(&pat_packet(0, &pat)).expect("it begins with 0x47"));
    let mut body = vec![0xe1, 0x00, 0xf0, 0x00];
    (0..5).for_each(|n| body.extend([0x1b, 0xe1, n, 0xf0, 0x00]));
    let pmt = section(2, 1, &body);
    let mut packet = pat_packet(0x1000, &pmt);
    let mut counter = 0;
    Box::new(move || {
        counter = (counter + 1) % 16;
        packet[3] = 0x10 | counter;
        black_box(table.push(Packet::parse(black_box(&packet)).expect("it begins with 0x47")));
    })
}

fn section(table_id: u8, extension: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 9).expect("a short section") | 0xb000;
    let mut bytes = vec![table_id];
    bytes.extend(length.to_be_bytes());
    bytes.extend(extension.to_be_bytes());
    bytes.extend([0xc1, 0, 0]);
    bytes.extend(body);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

fn pat_packet(pid: u16, section: &[u8]) -> PacketBytes {
    let mut bytes = [0xff; PACKET_BYTES];
    let [high, low] = pid.to_be_bytes();
    bytes[..5].copy_from_slice(&[0x47, 0x40 | high, low, 0x10, 0]);
    bytes[5..5 + section.len()].copy_from_slice(section);
    bytes
}

/// Bytes of an input, as RTP: found, dated, put seven together.
fn acquire() -> Step {
    let mut packets = packets();
    let (mut found, mut clock) = (Synchroniser::new(), PcrClock::of_pid(PID));
    let start = PacketizerStart { ssrc: 9, sequence: Sequence(1), timestamp_offset_90k: 0 };
    let (mut packetizer, mut pcr) = (Packetizer::new(start), 0);
    Box::new(move || {
        for bytes in packets.iter_mut().step_by(10) {
            media::packet::set_pcr(bytes, pcr);
            pcr += 10 * TICKS_PER_PACKET;
        }
        let pushed = found.push(black_box(packets.as_flattened()), |bytes| {
            let packet = Packet::parse(bytes).expect("it begins with 0x47");
            if let Some(stamp) = clock.stamp(packet) {
                black_box(packetizer.push(Duration::ZERO, bytes, stamp));
            }
        });
        pushed.expect("they are packets");
    })
}

/// The same bytes as a programme whose health is watched: its tables, and a PCR in each tenth of its packets.
fn health() -> Step {
    let mut packets = packets();
    packets[1] = pat_packet(0, &section(0, 1, &[0, 1, 0xf0, 0x00]));
    packets[2] = pat_packet(0x1000, &section(2, 1, &[0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0]));
    let mut health = Health::new(Extent::Input);
    let (mut pcr, mut now, mut tables, mut counter) = (0, Duration::ZERO, 0, 0);
    Box::new(move || {
        tables = (tables + 1) & 15;
        for (n, bytes) in packets.iter_mut().enumerate() {
            if matches!(n, 1 | 2) {
                bytes[3] = 0x10 | tables;
            } else {
                bytes[3] = bytes[3] & 0xf0 | counter;
                counter = (counter + 1) & 15;
            }
            if n % 10 == 0 {
                media::packet::set_pcr(bytes, pcr);
                pcr += 10 * TICKS_PER_PACKET;
            }
            health.push(now, Packet::parse(black_box(bytes)).expect("it begins with 0x47"));
        }
        now += duration_of_ticks(PACKETS as u64 * TICKS_PER_PACKET);
        black_box(health.tallies());
    })
}

/// Packets that a feed takes together.
const FEED_PACKETS: u64 = 5;
/// From one random access point to the next: two seconds of a 5 Mb/s channel.
const GROUP_PACKETS: u64 = 950;

/// Packets into the queue of a feed that keeps up, and out of it as frames; those since the newest random access point are
/// kept.
fn feed() -> Step {
    let header = |n: u64| RtpHeader {
        marker: false,
        payload_type: 33,
        sequence: Sequence(u16::try_from(n % 65_536).expect("below 65,536")),
        timestamp_90k: 0,
        ssrc: 9,
    };
    let mut queues = FeedQueues::default();
    let place = queues.attach(&"hall".parse().expect("a host's id"));
    let (mut n, mut framed) = (0, Vec::new());
    Box::new(move || {
        for _ in 0..FEED_PACKETS {
            let now = Time::from_ms(1_000 + 2 * n);
            let packet = RtpPacket::new(&header(n), &[0x47; 7 * PACKET_BYTES]).expect("seven packets fit");
            queues.push(Moment { now, wall: ClusterTime(2 * n) }, black_box(packet));
            if n % GROUP_PACKETS == 0 {
                queues.access_point(0);
            }
            n += 1;
        }
        framed.clear();
        black_box(queues.take_framed(Time::from_ms(1_000 + 2 * n), place, 32, &mut framed));
        black_box(&framed);
    })
}

/// Two datagrams of every two, or one of them twice and the other never.
fn reassembly(order: [u16; 2]) -> Step {
    let header =
        |n| RtpHeader { marker: false, payload_type: 33, sequence: Sequence(n), timestamp_90k: 0, ssrc: 9 };
    let step = order.iter().max().expect("two") + 1;
    let packet = RtpPacket::new(&header(0), &[0x47; 7 * PACKET_BYTES]).expect("seven packets fit");
    let (mut datagram, mut reassembly) = (packet.as_bytes().to_vec(), Reassembly::new(Limits::default()));
    let (mut first, mut now, mut out) = (0_u16, Duration::from_secs(1), Vec::new());
    reassembly.start_at(now, 9, Sequence(0));
    Box::new(move || {
        now += Duration::from_millis(4);
        for ahead in order {
            datagram[2..4].copy_from_slice(&first.wrapping_add(ahead).to_be_bytes());
            black_box(reassembly.datagram(now, black_box(&datagram), &mut out));
        }
        black_box((reassembly.deadline(), &out));
        out.clear();
        first = first.wrapping_add(step);
    })
}

/// 100 ms of a 5.3 Mb/s programme: its tables, a key picture and another one, and the rest of their packets.
fn random_access() -> Step {
    let pat = pat_packet(0, &section(0, 1, &[0, 1, 0xf0, 0x00]));
    let pmt = pat_packet(0x1000, &section(2, 1, &[0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0]));
    let mut packets = packets().repeat(5);
    (packets[0], packets[1]) = (pat, pmt);
    for (at, slice) in [(2, 0x65), (200, 0x41)] {
        packets[at] = [0xff; PACKET_BYTES];
        let head = [0x47, 0x41, 0, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1];
        let units = [
            0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0x4d, 0x40, 0x1e, 0, 0, 1, 0x68, 0xee, 0, 0, 1, slice,
            0x98,
        ];
        packets[at][..head.len()].copy_from_slice(&head);
        packets[at][head.len()..][..units.len()].copy_from_slice(&units);
    }
    let (mut finder, mut at) = (RandomAccessFinder::new(None), Place { number: 0, timestamp_90k: 0 });
    Box::new(move || {
        packets[0][3] = 0x10 | (packets[0][3] + 1) & 0x0f;
        packets[1][3] = packets[0][3];
        for payload in packets.chunks(7) {
            let _ = black_box(finder.push(at, black_box(payload.as_flattened())));
            at = Place { number: at.number + 1, timestamp_90k: at.timestamp_90k.wrapping_add(189) };
        }
    })
}
