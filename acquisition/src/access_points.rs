//! Where decoding may begin in a channel's packets: found once, here, for all who receive them.

use media::RtpPacket;
use media::random_access::{Place, RandomAccessFinder};

/// The random access points of one channel's input.
#[derive(Debug)]
pub struct AccessPoints {
    finder: RandomAccessFinder,
    /// Packets looked at so far.
    packets: u64,
}

impl AccessPoints {
    /// Of an input that begins; of several services in it `service` counts, or the one of the lowest number.
    pub fn new(service: Option<u16>) -> Self {
        Self { finder: RandomAccessFinder::new(service), packets: 0 }
    }

    /// Looks at the next packet. When that shows a random access point, answers how many packets before it decoding
    /// should begin.
    pub fn push(&mut self, packet: &RtpPacket) -> Option<u64> {
        let at = Place { number: self.packets, timestamp_90k: packet.header().timestamp_90k };
        self.packets += 1;
        let found = self.finder.push(at, packet.payload()).point?;
        Some(at.number - found.start)
    }
}

#[cfg(test)]
mod tests {
    use media::rtp::RtpHeader;
    use media::{PacketBytes, Sequence};

    use super::*;

    const CLIP: &[u8] = include_bytes!("../testcard/clip.ts");

    #[test]
    fn the_test_card_has_a_point_in_each_second_a_packet_or_none_before_it_is_known() {
        let mut points = AccessPoints::new(None);
        let transport: &[PacketBytes] = CLIP.as_chunks().0;
        let found: Vec<(usize, u64)> = transport
            .chunks(7)
            .enumerate()
            .filter_map(|(n, payload)| {
                let header = RtpHeader {
                    marker: false,
                    payload_type: 33,
                    sequence: Sequence(0),
                    timestamp_90k: u32::try_from(n).unwrap() * 1_050,
                    ssrc: 1,
                };
                let packet = RtpPacket::new(&header, payload.as_flattened()).unwrap();
                Some((n, points.push(&packet)?))
            })
            .collect();
        assert!(found.len() > 3, "{found:?}");
        assert!(found.iter().all(|(_, back)| *back <= 3), "{found:?}");
        for (n, back) in found {
            let payload = transport[(n - usize::try_from(back).unwrap()) * 7..].iter().take(7);
            assert!(
                payload.clone().any(|packet| packet[1] & 0x5f == 0x40 && packet[2] == 0),
                "a PAT, packet {n}"
            );
        }
    }
}
