//! P3 feed: acquisition server → push server, TCP 7403; one connection per channel and push server host.
//!
//! | when | acquisition server sends | push server sends |
//! |---|---|---|
//! | connected | preamble, [`crate::handshake`] | the same |
//! | then, once | a frame with [`Open`], sealed as in P1 | a frame with [`Opened`], sealed likewise |
//! | from then on | RTP packets framed by RFC 4571: length u16 big-endian, then the very bytes that P6 will send | a frame with [`FeedOrder`], sealed likewise, when it likes |
//! | no packet for [`KEEPALIVE_INTERVAL`] | length 0 | |
//! | while held, each [`SAMPLE_INTERVAL`] | length 12: the newest packet's RTP header alone; length 0 when there is no newer one | |
//! | before a packet: see [`Mark`] | length 16: the mark | |
//! | behind a packet: see [`AccessPoint`] | length 8: where decoding may begin | |
//! | a feed begins, or flows again: see [`History`] | length 14: what is to come of the past | |
//! | then, beside what is made: see [`HistorySlice`] | length 10: the packets behind it are of the past | |
//!
//! A feed flows until it is told to hold. What a push server that serves nobody need not read is thus not sent, and it
//! still sees that the channel flows.
//!
//! A push server that hears nothing for [`SILENCE_TIMEOUT`] closes and reports the channel as not fed. Packets carry
//! no tag: whoever could alter an established TCP connection on this network could as well send to the group itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::ChannelId;
use crate::preamble::Refusal;
use crate::time::ClusterTime;

/// Largest RTP packet: 12 bytes of header and 7 transport packets.
pub const MAX_PACKET_BYTES: usize = 12 + 7 * 188;
/// An RTP header, and what a held feed sends of a packet.
pub const HEADER_BYTES: usize = 12;
/// A [`Mark`]: a length that no packet has.
pub const MARK_BYTES: usize = 16;
/// An [`AccessPoint`], likewise.
pub const ACCESS_POINT_BYTES: usize = 8;
/// A [`History`], likewise.
pub const HISTORY_BYTES: usize = 14;
/// A [`HistorySlice`], likewise.
pub const HISTORY_SLICE_BYTES: usize = 10;
/// Packets of the past that a feed brings at most: 10.2 MB, 8 s of 10 Mb/s.
pub const MAX_HISTORY_PACKETS: u16 = 7_680;
/// Nor does the past go further back than this: decoding hardly ever begins that seldom.
pub const LONGEST_HISTORY: Duration = Duration::from_secs(8);
/// A mark of the present comes this often, before the same packet in every feed of the channel.
pub const MARK_INTERVAL: Duration = Duration::from_secs(1);
/// Length of the RFC 4571 header.
pub const LENGTH_BYTES: usize = 2;
/// An idle feed says so this often.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(500);
/// Silence after which the push server takes the acquisition server for dead.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Without a packet for this long the channel counts as not fed, though the connection lives.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A held feed shows the newest packet's header this often, well within [`STALL_TIMEOUT`].
pub const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// Which channel follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The channel.
    pub channel: ChannelId,
    /// Synchronisation source of its RTP packets: one per life of the acquisition server's channel.
    pub ssrc: u32,
}

/// Whether it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opened {
    /// Send.
    Accepted,
    /// The connection closes; try again with backoff.
    Refused(Refusal),
}

/// What a push server wants of a feed that it has accepted, from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedOrder {
    /// Packets as they come, beginning with the newest that was not sent whole. So does each feed begin.
    Flow,
    /// Nothing: the connection closes. The tag is that of [`Opened::Refused`], which says the same sooner.
    Close(Refusal),
    /// Headers alone: nobody watches.
    Hold,
}

/// What the packet behind it is called and when it was made, which its own 16 and 32 bits tell only for a while. Each
/// [`MARK_INTERVAL`]; and with the date of the last of those before the first packet of a feed and behind each gap. A packet
/// between marks has the date of the mark before it, so one packet has one date wherever it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The packet's number since the beginning of its SSRC; the low 16 bits are its RTP sequence number.
    pub number: u64,
    /// The acquisition server's wall clock. Within one SSRC it never goes back.
    pub date: ClusterTime,
}

impl Mark {
    /// Number and date in ms since 1970, each as u64 big-endian.
    pub fn encode(&self) -> [u8; MARK_BYTES] {
        ((u128::from(self.number) << 64) | u128::from(self.date.0)).to_be_bytes()
    }

    /// Every 16 bytes are some mark.
    pub fn decode(bytes: [u8; MARK_BYTES]) -> Self {
        let [n0, n1, n2, n3, n4, n5, n6, n7, d0, d1, d2, d3, d4, d5, d6, d7] = bytes;
        let date = ClusterTime(u64::from_be_bytes([d0, d1, d2, d3, d4, d5, d6, d7]));
        Self { number: u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]), date }
    }
}

/// Decoding may begin in the packet of this number, which may be as new as the one before the aside: the PAT of a random
/// access point, if it is directly before that, or else its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessPoint {
    /// The packet's number, as a [`Mark`] gives it.
    pub number: u64,
}

impl AccessPoint {
    /// The number as u64 big-endian.
    pub fn encode(&self) -> [u8; ACCESS_POINT_BYTES] {
        self.number.to_be_bytes()
    }

    /// Every 8 bytes are some point.
    pub fn decode(bytes: [u8; ACCESS_POINT_BYTES]) -> Self {
        Self { number: u64::from_be_bytes(bytes) }
    }
}

/// So many packets directly before the one that is sent next come later, beside those that are made meanwhile: they are
/// here for who begins at a random access point, not for P6. None: what of the past has not come will not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Number of the first.
    pub first: u64,
    /// How many they are, [`MAX_HISTORY_PACKETS`] at most.
    pub packets: u16,
    /// Their synchronisation source.
    pub ssrc: u32,
}

impl History {
    /// Number u64, count u16 and SSRC u32, big-endian.
    pub fn encode(&self) -> [u8; HISTORY_BYTES] {
        let mut bytes = [0; HISTORY_BYTES];
        bytes[..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.packets.to_be_bytes());
        bytes[10..].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    /// Every 14 bytes are some history.
    pub fn decode(bytes: [u8; HISTORY_BYTES]) -> Self {
        let [n0, n1, n2, n3, n4, n5, n6, n7, p0, p1, s0, s1, s2, s3] = bytes;
        Self {
            first: u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
            packets: u16::from_be_bytes([p0, p1]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
        }
    }
}

/// So many packets that follow, marks between them not counted, are of the past that a [`History`] has spoken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistorySlice {
    /// Number of the first; the others count on from it.
    pub first: u64,
    /// How many they are.
    pub packets: u16,
}

impl HistorySlice {
    /// Number u64 and count u16, big-endian.
    pub fn encode(&self) -> [u8; HISTORY_SLICE_BYTES] {
        let mut bytes = [0; HISTORY_SLICE_BYTES];
        bytes[..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..].copy_from_slice(&self.packets.to_be_bytes());
        bytes
    }

    /// Every 10 bytes are some slice.
    pub fn decode(bytes: [u8; HISTORY_SLICE_BYTES]) -> Self {
        let [n0, n1, n2, n3, n4, n5, n6, n7, p0, p1] = bytes;
        let first = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
        Self { first, packets: u16::from_be_bytes([p0, p1]) }
    }
}

/// `packet`'s RFC 4571 header; an empty packet is the keepalive.
///
/// # Panics
/// When `packet` is longer than [`MAX_PACKET_BYTES`], which the packetizer does not make.
pub fn length_prefix(packet: &[u8]) -> [u8; LENGTH_BYTES] {
    assert!(packet.len() <= MAX_PACKET_BYTES, "an RTP packet of {} bytes", packet.len());
    u16::try_from(packet.len()).expect("1,328 fits 16 bits").to_be_bytes()
}

/// Length of the packet, the header alone, the mark or another aside behind an RFC 4571 header; `None` when none has that
/// length.
pub fn packet_len(prefix: [u8; LENGTH_BYTES]) -> Option<usize> {
    let len = usize::from(u16::from_be_bytes(prefix));
    let whole = HEADER_BYTES + 188..=MAX_PACKET_BYTES;
    let aside = || {
        matches!(
            len,
            0 | HEADER_BYTES | MARK_BYTES | ACCESS_POINT_BYTES | HISTORY_BYTES | HISTORY_SLICE_BYTES
        )
    };
    (whole.contains(&len) || aside()).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn packets_are_framed_as_rfc_4571_says() {
        assert_eq!(length_prefix(&[0; 1328]), [0x05, 0x30]);
        assert_eq!(packet_len([0x05, 0x30]), Some(1328));
        assert_eq!(packet_len([0, 0]), Some(0));
        assert_eq!(packet_len([0, 12]), Some(HEADER_BYTES));
        assert_eq!(packet_len([0, 16]), Some(MARK_BYTES));
        assert_eq!(packet_len([0, 8]), Some(ACCESS_POINT_BYTES));
        assert_eq!(packet_len([0, 14]), Some(HISTORY_BYTES));
        assert_eq!(packet_len([0, 10]), Some(HISTORY_SLICE_BYTES));
    }

    #[test]
    fn lengths_that_no_rtp_packet_has_are_refused() {
        assert_eq!(packet_len([0x05, 0x31]), None);
        for len in [1, 7, 9, 11, 13, 15, 17, 199] {
            assert_eq!(packet_len([0, len]), None, "{len}");
        }
    }

    #[test]
    fn marks_have_these_bytes() {
        let mark = Mark { number: 0x0102_0304, date: ClusterTime(1_795_324_321_999) };
        let bytes = [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0x01, 0xa2, 0x01, 0xab, 0x20, 0xcf];
        assert_eq!(mark.encode(), bytes);
        assert_eq!(Mark::decode(bytes), mark);
    }

    #[test]
    fn asides_of_the_past_have_these_bytes() {
        let number = [0, 0, 0, 0, 1, 2, 3, 4];
        let point = AccessPoint { number: 0x0102_0304 };
        assert_eq!((point.encode(), AccessPoint::decode(number)), (number, point));
        let history = History { first: 0x0102_0304, packets: 0x0506, ssrc: 0x0708_090a };
        let bytes = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        assert_eq!((history.encode(), History::decode(bytes)), (bytes, history));
        let slice = HistorySlice { first: 0x0102_0304, packets: 0x0506 };
        let bytes = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6];
        assert_eq!((slice.encode(), HistorySlice::decode(bytes)), (bytes, slice));
    }

    #[test]
    fn orders_have_these_bytes_and_closing_is_said_as_refusing_is() {
        assert_eq!(codec::encode(&FeedOrder::Flow), [0, 0, 0, 0]);
        assert_eq!(codec::encode(&FeedOrder::Hold), [2, 0, 0, 0]);
        let refused = codec::encode(&Opened::Refused(Refusal::Replaced));
        assert_eq!(codec::encode(&FeedOrder::Close(Refusal::Replaced)), refused);
        for order in [FeedOrder::Flow, FeedOrder::Close(Refusal::Replaced), FeedOrder::Hold] {
            assert_eq!(codec::decode::<FeedOrder, 64>(&codec::encode(&order)).unwrap(), order);
        }
        assert!(codec::decode::<FeedOrder, 64>(&[3, 0, 0, 0]).is_err());
    }
}
