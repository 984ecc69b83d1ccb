//! RTP packets taken apart, and made again byte for byte.

use media::packet::{PACKET_BYTES, SYNC_BYTE};
use media::rtp::{HEADER_BYTES, PAYLOAD_TYPE_MP2T, RtpHeader};
use media::sequence::Sequence;

use super::index::{Entry, Header, MAX_COUNT};

/// Flags, payload type and all but the marker of the header's first two bytes: version 2, nothing else.
const FIRST_BYTE: u8 = 0x80;

/// The parts of an RTP packet that can be made again: its header is plain, its payload whole transport packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Its timestamp.
    pub timestamp_90k: u32,
    /// Its source.
    pub ssrc: u32,
    /// Its transport packets, 1 to 7.
    pub count: u8,
    /// Its marker.
    pub marker: bool,
}

impl Plain {
    /// Takes `packet` apart; `None` when it could not be made again from its parts and `number`.
    pub fn of(packet: &[u8], number: u64) -> Option<Self> {
        let (head, payload) = packet.split_first_chunk::<HEADER_BYTES>()?;
        let [first, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *head;
        let (packets, rest) = payload.as_chunks::<PACKET_BYTES>();
        let count = u8::try_from(packets.len()).ok().filter(|count| (1..=MAX_COUNT).contains(count))?;
        let plain = first == FIRST_BYTE
            && kind & 0x7f == PAYLOAD_TYPE_MP2T
            && [s0, s1] == sequence(number).0.to_be_bytes()
            && rest.is_empty()
            && packets.iter().all(|packet| packet[0] == SYNC_BYTE);
        plain.then_some(Self {
            timestamp_90k: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            count,
            marker: kind & 0x80 != 0,
        })
    }
}

/// Adds the RTP header of `entry` in the segment of `header` to `out`; its payload belongs behind it.
pub fn write_header(header: &Header, entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(&rtp_header(header, entry));
}

/// The RTP header of `entry` in the segment of `header`.
pub fn rtp_header(header: &Header, entry: &Entry) -> [u8; HEADER_BYTES] {
    let rtp = RtpHeader {
        marker: entry.marker,
        payload_type: PAYLOAD_TYPE_MP2T,
        sequence: sequence(header.number.wrapping_add(u64::from(entry.number))),
        timestamp_90k: entry.timestamp_90k,
        ssrc: header.ssrc,
    };
    rtp.encode()
}

/// Bytes of an entry's transport packets.
pub fn payload_bytes(entry: &Entry) -> usize {
    usize::from(entry.count) * PACKET_BYTES
}

/// The sequence number of the packet of a number.
fn sequence(number: u64) -> Sequence {
    let [low, high, ..] = number.to_le_bytes();
    Sequence(u16::from_le_bytes([low, high]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::ids::ChannelId;

    use super::super::trial;
    use super::*;

    fn rebuilt(packet: &[u8], number: u64, first: u64) -> Option<Vec<u8>> {
        let plain = Plain::of(packet, number)?;
        let header = Header { channel: ChannelId(1), ssrc: plain.ssrc, number: first, date_ms: 0 };
        let entry = Entry {
            timestamp_90k: plain.timestamp_90k,
            number: u32::try_from(number - first).unwrap(),
            count: plain.count,
            marker: plain.marker,
            ..Entry::default()
        };
        let mut again = Vec::new();
        write_header(&header, &entry, &mut again);
        assert_eq!(payload_bytes(&entry), packet.len() - HEADER_BYTES);
        again.extend_from_slice(&packet[HEADER_BYTES..]);
        Some(again)
    }

    proptest! {
        #[test]
        fn a_packet_is_made_again_byte_for_byte(
            first in 0..u64::MAX / 2, ahead: u32, timestamp_90k: u32, ssrc: u32, count in 1..=7_usize, marker: bool,
        ) {
            let number = first + u64::from(ahead);
            let packet = trial::packet(ssrc, number, timestamp_90k, marker, count);
            prop_assert_eq!(rebuilt(&packet, number, first), Some(packet));
        }

        #[test]
        fn what_is_taken_apart_is_made_again_whatever_it_was(head: [u8; 12], payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            let packet = [&head[..], &payload].concat();
            let number = u64::from(u16::from_be_bytes([head[2], head[3]]));
            if let Some(again) = rebuilt(&packet, number, 0) {
                prop_assert_eq!(again, packet);
            }
        }
    }

    #[test]
    fn a_packet_that_could_not_be_made_again_is_refused() {
        let good = trial::packet(1, 70_000, 5, false, 7);
        assert!(Plain::of(&good, 70_000).is_some());
        assert_eq!(Plain::of(&good, 70_001), None, "another number");
        assert_eq!(Plain::of(&good[..good.len() - 1], 70_000), None, "half a transport packet");
        assert_eq!(Plain::of(&good[..12], 70_000), None, "nothing in it");
        for (at, byte) in [(0, 0x90), (1, 34), (12, 0), (12 + 188, 0x46)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(Plain::of(&bad, 70_000), None, "byte {at}");
        }
    }
}
