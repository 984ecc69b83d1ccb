//! RTP packets that carry a transport stream: the header (RFC 3550 §5.1), and transport packets into RTP packets
//! (RFC 2250 §2).
//!
//! ```text
//!  0               1               2               3
//! |V=2|P|X|  CC   |M|     PT=33   |        sequence number        |
//! |                  timestamp, 90 kHz                            |
//! |                             SSRC                              |
//! |  up to 7 transport packets of 188 bytes                       |
//! ```

use std::time::Duration;

use crate::packet::{PACKET_BYTES, PacketBytes};
use crate::pcr::Stamp;
use crate::sequence::Sequence;
use crate::time::MediaTime;

/// Bytes of a header without contributing sources and extension: the only kind that we write.
pub const HEADER_BYTES: usize = 12;

/// Transport packets in a full RTP packet: the most that an Ethernet frame holds.
pub const PACKETS_MAX: usize = 7;

/// Largest payload: 1316 bytes.
pub const PAYLOAD_BYTES_MAX: usize = PACKETS_MAX * PACKET_BYTES;

/// Largest RTP packet: 1328 bytes.
pub const RTP_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;

/// Payload type of MPEG-TS (RFC 3551 §6, "MP2T").
pub const PAYLOAD_TYPE_MP2T: u8 = 33;

/// How long a partly filled RTP packet waits for more transport packets before it should be flushed.
pub const FLUSH_AFTER: Duration = Duration::from_millis(40);

const VERSION: u8 = 2;

/// Why bytes are no RTP packet that we can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Fewer bytes than the header, its sources, its extension or its padding claim.
    #[error("RTP packet of {0} bytes is truncated")]
    Truncated(usize),
    /// A version other than 2.
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    /// More payload than seven transport packets.
    #[error("RTP payload of {0} bytes; at most 1316 are taken")]
    Payload(usize),
}

/// The fields of the fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// For MPEG-TS: the timestamp is discontinuous here (RFC 2250 §2.1).
    pub marker: bool,
    /// 0 to 127; 33 for MPEG-TS.
    pub payload_type: u8,
    /// Counts RTP packets, wrapping.
    pub sequence: Sequence,
    /// 90 kHz: when the payload's first byte is meant to be sent.
    pub timestamp_90k: u32,
    /// Who sends: one number per channel and acquisition run.
    pub ssrc: u32,
}

impl RtpHeader {
    /// The twelve bytes, without padding, extension or contributing sources.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = VERSION << 6;
        bytes[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        bytes[2..4].copy_from_slice(&self.sequence.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp_90k.to_be_bytes());
        bytes[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [_, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *bytes;
        Self {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: Sequence(u16::from_be_bytes([s0, s1])),
            timestamp_90k: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        }
    }
}

/// A parsed datagram: header and payload, whatever contributing sources, extension and padding it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpView<'a> {
    /// The fixed header.
    pub header: RtpHeader,
    /// What remains without sources, extension and padding; may be empty.
    pub payload: &'a [u8],
}

impl<'a> RtpView<'a> {
    /// Parses a datagram of any payload type.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        let truncated = RtpError::Truncated(datagram.len());
        let (head, mut rest) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
        if head[0] >> 6 != VERSION {
            return Err(RtpError::Version(head[0] >> 6));
        }
        rest = rest.get(usize::from(head[0] & 0x0f) * 4..).ok_or(truncated)?;
        if head[0] & 0x10 != 0 {
            let (extension, after) = rest.split_first_chunk::<4>().ok_or(truncated)?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            rest = after.get(words * 4..).ok_or(truncated)?;
        }
        if head[0] & 0x20 != 0 {
            // The last byte counts the padding, itself included, so zero is malformed.
            let padding = rest.last().copied().filter(|&count| count > 0).ok_or(truncated)?;
            let kept = rest.len().checked_sub(usize::from(padding)).ok_or(truncated)?;
            rest = rest.get(..kept).ok_or(truncated)?;
        }
        Ok(Self { header: RtpHeader::decode(head), payload: rest })
    }
}

/// A whole RTP packet in a fixed buffer: what P3, P5 and P6 carry unchanged. Its header is plain (12 bytes).
#[derive(Clone, Copy)]
pub struct RtpPacket {
    len: u16,
    bytes: [u8; RTP_BYTES_MAX],
}

impl RtpPacket {
    /// A packet of `header` and `payload`; refuses a payload above 1316 bytes.
    pub fn new(header: &RtpHeader, payload: &[u8]) -> Result<Self, RtpError> {
        let mut bytes = [0; RTP_BYTES_MAX];
        let slot = bytes.get_mut(HEADER_BYTES..HEADER_BYTES + payload.len());
        slot.ok_or(RtpError::Payload(payload.len()))?.copy_from_slice(payload);
        bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        Ok(Self { len: length(payload.len()), bytes })
    }

    /// The packet of a datagram. A plain one, such as any made here, is kept byte for byte; contributing sources,
    /// extension and padding are left out of others.
    pub fn from_datagram(datagram: &[u8]) -> Result<Self, RtpError> {
        let view = RtpView::parse(datagram)?;
        Self::new(&view.header, view.payload)
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The fixed header.
    pub fn header(&self) -> RtpHeader {
        let [header, ..] = self.bytes.as_chunks::<HEADER_BYTES>().0 else {
            return RtpHeader::decode(&[0; HEADER_BYTES]);
        };
        RtpHeader::decode(header)
    }

    /// The sequence number.
    pub fn sequence(&self) -> Sequence {
        self.header().sequence
    }

    /// The transport packets' bytes.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..usize::from(self.len)]
    }

    /// The transport packets; bytes after the last whole one are left out.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = &PacketBytes> {
        self.payload().as_chunks::<PACKET_BYTES>().0.iter()
    }
}

impl PartialEq for RtpPacket {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RtpPacket {}

impl std::fmt::Debug for RtpPacket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RtpPacket")
            .field("header", &self.header())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What numbers a packetizer begins with. RFC 3550 §5.1 wants all three drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketizerStart {
    /// Who sends.
    pub ssrc: u32,
    /// Sequence number of the first RTP packet.
    pub sequence: Sequence,
    /// Added to every timestamp.
    pub timestamp_offset_90k: u32,
}

/// Fills RTP packets with transport packets. Makes no packet twice and loses none; holds at most six.
#[derive(Debug)]
pub struct Packetizer {
    start: PacketizerStart,
    sequence: Sequence,
    held: [u8; PAYLOAD_BYTES_MAX],
    held_bytes: usize,
    first: Stamp,
    flush_at: Duration,
}

impl Packetizer {
    /// An empty packetizer.
    pub fn new(start: PacketizerStart) -> Self {
        let first = Stamp { time: MediaTime::default(), rebased: false };
        let held = [0; PAYLOAD_BYTES_MAX];
        Self { start, sequence: start.sequence, held, held_bytes: 0, first, flush_at: Duration::ZERO }
    }

    /// Takes a transport packet with its transmission time. Answers an RTP packet when the seventh is in, or when the
    /// time base breaks: what is held goes first, so that the marker stands on the first packet of the new base.
    pub fn push(&mut self, now: Duration, packet: &PacketBytes, stamp: Stamp) -> Option<RtpPacket> {
        let before = if stamp.rebased { self.flush() } else { None };
        if self.held_bytes == 0 {
            self.first = stamp;
            self.flush_at = now + FLUSH_AFTER;
        }
        self.held[self.held_bytes..self.held_bytes + PACKET_BYTES].copy_from_slice(packet);
        self.held_bytes += PACKET_BYTES;
        // A flush before leaves one packet held: there is never more than one RTP packet to answer.
        if self.held_bytes == PAYLOAD_BYTES_MAX { self.flush() } else { before }
    }

    /// The RTP packet of what is held, however little; `None` when nothing is.
    pub fn flush(&mut self) -> Option<RtpPacket> {
        if self.held_bytes == 0 {
            return None;
        }
        let header = RtpHeader {
            marker: self.first.rebased,
            payload_type: PAYLOAD_TYPE_MP2T,
            sequence: self.sequence,
            timestamp_90k: self.first.time.rtp_90k().wrapping_add(self.start.timestamp_offset_90k),
            ssrc: self.start.ssrc,
        };
        let payload = &self.held[..std::mem::take(&mut self.held_bytes)];
        self.sequence = self.sequence.next();
        // Never an error: at most seven packets are held.
        RtpPacket::new(&header, payload).ok()
    }

    /// When to call [`Packetizer::flush`]: [`FLUSH_AFTER`] after the oldest packet held came; `None` when none is.
    pub fn deadline(&self) -> Option<Duration> {
        (self.held_bytes > 0).then_some(self.flush_at)
    }

    /// Sequence number that the next RTP packet will have.
    pub fn next_sequence(&self) -> Sequence {
        self.sequence
    }
}

/// What a datagram on a port shared by RTP and RTCP is (RFC 5761 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RTP version 2 with a whole header.
    Rtp,
    /// RTCP: packet type 192 to 223.
    Rtcp,
    /// Neither.
    Unknown,
}

/// Tells RTP from RTCP by the second byte.
pub fn classify(datagram: &[u8]) -> Kind {
    match datagram {
        [first, ..] if first >> 6 != VERSION => Kind::Unknown,
        [_, 192..=223, ..] if datagram.len() >= 4 => Kind::Rtcp,
        [_, 192..=223, ..] => Kind::Unknown,
        _ if datagram.len() >= HEADER_BYTES => Kind::Rtp,
        _ => Kind::Unknown,
    }
}

fn length(payload_bytes: usize) -> u16 {
    u16::try_from(HEADER_BYTES + payload_bytes).expect("the payload fitted into 1316 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::tests::packet;

    const HEADER: RtpHeader = RtpHeader {
        marker: true,
        payload_type: 33,
        sequence: Sequence(0x1234),
        timestamp_90k: 0x89ab_cdef,
        ssrc: 0x0102_0304,
    };
    const GOLDEN: [u8; 12] = [0x80, 0xa1, 0x12, 0x34, 0x89, 0xab, 0xcd, 0xef, 1, 2, 3, 4];

    fn stamp(ticks_90k: u64) -> Stamp {
        Stamp { time: MediaTime::from_ticks(ticks_90k * 300), rebased: false }
    }

    fn packetizer() -> Packetizer {
        let start = PacketizerStart { ssrc: 7, sequence: Sequence(65_535), timestamp_offset_90k: u32::MAX };
        Packetizer::new(start)
    }

    #[test]
    fn golden_header_both_ways() {
        assert_eq!(HEADER.encode(), GOLDEN);
        assert_eq!(RtpView::parse(&GOLDEN).unwrap(), RtpView { header: HEADER, payload: &[] });
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        let mut bytes = GOLDEN.to_vec();
        bytes[0] = 0xb1;
        bytes.extend([9; 4]); // one contributing source
        bytes.extend([0xbe, 0xde, 0, 1, 5, 5, 5, 5]); // extension of one word
        bytes.extend([0x47, 1, 2, 3, 0, 0, 3]); // payload of four bytes, padding of three
        assert_eq!(RtpView::parse(&bytes).unwrap(), RtpView { header: HEADER, payload: &[0x47, 1, 2, 3] });
        let plain = RtpPacket::from_datagram(&bytes).unwrap();
        assert_eq!(plain.as_bytes(), [&GOLDEN[..], &[0x47, 1, 2, 3]].concat());
    }

    #[test]
    fn seven_packets_fill_one_with_the_first_ones_time() {
        let mut packetizer = packetizer();
        for n in 0..6 {
            assert!(
                packetizer.push(Duration::ZERO, &packet(1, n, None, n), stamp(100 + u64::from(n))).is_none()
            );
        }
        let rtp = packetizer.push(Duration::ZERO, &packet(1, 6, None, 6), stamp(106)).unwrap();
        assert_eq!((rtp.as_bytes().len(), rtp.packets().len()), (1328, 7));
        assert_eq!(rtp.header().timestamp_90k, 99); // 100 + (2^32 − 1)
        assert_eq!((rtp.sequence(), packetizer.next_sequence()), (Sequence(65_535), Sequence(0)));
        assert!(!rtp.header().marker && packetizer.deadline().is_none());
    }

    #[test]
    fn a_broken_time_base_flushes_and_marks() {
        let mut packetizer = packetizer();
        assert!(packetizer.push(Duration::from_secs(1), &packet(1, 0, None, 0), stamp(5)).is_none());
        assert_eq!(packetizer.deadline(), Some(Duration::from_secs(1) + FLUSH_AFTER));
        let rebased = Stamp { rebased: true, ..stamp(900) };
        let before = packetizer.push(Duration::from_secs(2), &packet(1, 1, None, 0), rebased).unwrap();
        assert_eq!((before.packets().len(), before.header().marker), (1, false));
        let after = packetizer.flush().unwrap();
        assert_eq!(
            (after.packets().len(), after.header().marker, after.header().timestamp_90k),
            (1, true, 899)
        );
        assert!(packetizer.flush().is_none());
    }

    #[test]
    fn rtcp_is_told_from_rtp() {
        assert_eq!(classify(&GOLDEN), Kind::Rtp);
        assert_eq!(classify(&[0x81, 205, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]), Kind::Rtcp);
        assert_eq!(classify(&GOLDEN[..11]), Kind::Unknown);
        assert_eq!(classify(&[0x47; 188]), Kind::Unknown);
        assert_eq!(classify(&[]), Kind::Unknown);
    }

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let _ = (classify(&bytes), RtpPacket::from_datagram(&bytes));
        }

        #[test]
        fn headers_round_trip(marker: bool, kind in 0u8..128, sequence: u16, timestamp_90k: u32, ssrc: u32) {
            let header = RtpHeader { marker, payload_type: kind, sequence: Sequence(sequence), timestamp_90k, ssrc };
            prop_assert_eq!(RtpView::parse(&header.encode()).unwrap().header, header);
        }
    }
}
