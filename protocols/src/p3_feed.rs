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

/// `packet`'s RFC 4571 header; an empty packet is the keepalive.
///
/// # Panics
/// When `packet` is longer than [`MAX_PACKET_BYTES`], which the packetizer does not make.
pub fn length_prefix(packet: &[u8]) -> [u8; LENGTH_BYTES] {
    assert!(packet.len() <= MAX_PACKET_BYTES, "an RTP packet of {} bytes", packet.len());
    u16::try_from(packet.len()).expect("1,328 fits 16 bits").to_be_bytes()
}

/// Length of the packet, the header alone or the mark behind an RFC 4571 header; `None` when none has that length.
pub fn packet_len(prefix: [u8; LENGTH_BYTES]) -> Option<usize> {
    let len = usize::from(u16::from_be_bytes(prefix));
    let whole = HEADER_BYTES + 188..=MAX_PACKET_BYTES;
    (matches!(len, 0 | HEADER_BYTES | MARK_BYTES) || whole.contains(&len)).then_some(len)
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
    }

    #[test]
    fn lengths_that_no_rtp_packet_has_are_refused() {
        assert_eq!(packet_len([0x05, 0x31]), None);
        assert_eq!(packet_len([0, 1]), None);
        assert_eq!(packet_len([0, 13]), None);
        assert_eq!(packet_len([0, 17]), None);
        assert_eq!(packet_len([0, 199]), None);
    }

    #[test]
    fn marks_have_these_bytes() {
        let mark = Mark { number: 0x0102_0304, date: ClusterTime(1_795_324_321_999) };
        let bytes = [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0x01, 0xa2, 0x01, 0xab, 0x20, 0xcf];
        assert_eq!(mark.encode(), bytes);
        assert_eq!(Mark::decode(bytes), mark);
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
