//! A stream to try recorders with: a programme with tables and pictures, numbered and dated, all of it by number alone.

use media::packet::PACKET_BYTES;
use media::rtp::{PAYLOAD_TYPE_MP2T, RtpHeader};
use media::sequence::Sequence;

type Ts = [u8; PACKET_BYTES];

/// Packets a second: a slot is 600 packets.
pub(crate) const RATE: u64 = 10;
/// A random access point each so many packets: the tables, and the picture in the packet behind.
pub(crate) const GOP: u64 = 20;

/// A packet of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) date_ms: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The packet of a number in the stream of `ssrc`.
pub(crate) fn sent(ssrc: u32, number: u64) -> Sent {
    let timestamp_90k = u32::try_from(number * (90_000 / RATE) % (1 << 32)).unwrap();
    let mut bytes = header(ssrc, number, timestamp_90k, false);
    for n in 0..7 {
        bytes.extend(match (number % GOP, n) {
            (0, 0) => table(0, &[0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0, 0x20]),
            (0, 1) => table(0x20, &[2, 0xb0, 18, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x10, 0xe1, 0, 0xf0, 0]),
            (1, 0) => video(number, n, &[0x47, 0x41, 0, 0x30, 1, 0x40, 0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0]),
            (6 | 11 | 16, 0) => video(number, n, &[0x47, 0x41, 0, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0]),
            _ => video(number, n, &[0x47, 1, 0, 0x10]),
        });
    }
    Sent { number, date_ms: 1_795_324_320_000 + number / RATE * 1_000, bytes }
}

/// An RTP packet of `count` transport packets whose content follows from the number.
pub(crate) fn packet(ssrc: u32, number: u64, timestamp_90k: u32, marker: bool, count: usize) -> Vec<u8> {
    let mut bytes = header(ssrc, number, timestamp_90k, marker);
    (0..count).for_each(|n| bytes.extend(video(number, n, &[0x47, 1, 0, 0x10])));
    bytes
}

fn header(ssrc: u32, number: u64, timestamp_90k: u32, marker: bool) -> Vec<u8> {
    let sequence = Sequence(u16::try_from(number % 65_536).unwrap());
    RtpHeader { marker, payload_type: PAYLOAD_TYPE_MP2T, sequence, timestamp_90k, ssrc }.encode().to_vec()
}

fn video(number: u64, n: usize, begin: &[u8]) -> Ts {
    let mut ts = [0; PACKET_BYTES];
    for (at, byte) in ts.iter_mut().enumerate() {
        *byte = number.wrapping_mul(31).wrapping_add((n * 7 + at) as u64).to_le_bytes()[0];
    }
    ts[..begin.len()].copy_from_slice(begin);
    ts
}

fn table(pid: u8, section: &[u8]) -> Ts {
    let mut ts = [0xff; PACKET_BYTES];
    ts[..5].copy_from_slice(&[0x47, 0x40, pid, 0x10, 0]);
    let body = &mut ts[5..];
    body[..section.len()].copy_from_slice(section);
    body[section.len()..section.len() + 4].copy_from_slice(&crc(section).to_be_bytes());
    ts
}

/// ISO/IEC 13818-1 annex A.
fn crc(section: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 << 31 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 };
    section.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| step(crc)))
}

mod tests {
    use media::random_access::{Place, RandomAccess, RandomAccessFinder};

    use super::*;

    #[test]
    fn the_stream_has_a_random_access_point_with_tables_in_each_gop() {
        let mut finder = RandomAccessFinder::new(None);
        let points = (0..3 * GOP).filter_map(|number| {
            let place = Place { number, timestamp_90k: u32::try_from(number * 9_000).unwrap() };
            finder.push(place, &sent(1, number).bytes[12..]).point
        });
        let expected = [0, GOP, 2 * GOP].map(|start| RandomAccess { start, picture: start + 1 });
        assert!(points.eq(expected));
    }
}
