//! P5 stream: push server → one client, from UDP 7405: packets of a recording, each behind a header of the session's own.
//!
//! A seek, or a fast forward that shows random access pictures only, makes gaps in the packets' own numbers that are no
//! losses; the session's number counts what was sent.
//!
//! ```text
//! 0   "M5" | version u8 = 1 | flags u8           RTP begins with the bits 10, "M" with 01
//! 4   session u32 BE: the low half of its id     8   number u32 BE, from 0 with the session, wrapping
//! 12  the very RTP packet                        at most MAX_DATAGRAM_BYTES in all
//! ```
//!
//! What begins as RTP does is a packet of a live channel, sent again or in a burst; see [`is_session`].

use thiserror::Error;

use crate::p3_feed::MAX_PACKET_BYTES;
use crate::p4_control::SessionId;

/// Length of the header.
pub const HEADER_BYTES: usize = 12;
/// Largest datagram; fits an Ethernet frame, and a tunnel's.
pub const MAX_DATAGRAM_BYTES: usize = 1_400;

/// The version that is spoken here.
const VERSION: u8 = 1;
const MAGIC: [u8; 2] = *b"M5";
/// Shortest RTP packet: its header.
const RTP_HEADER_BYTES: usize = 12;

const _: () = assert!(HEADER_BYTES + MAX_PACKET_BYTES <= MAX_DATAGRAM_BYTES);

/// What is told about a packet; unknown bits are passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// The packet does not follow the one with the number before it in the recording: the first, or the first behind a
    /// seek, and the first of each picture of a fast forward.
    pub jump: bool,
    /// A random access point begins here.
    pub random_access: bool,
    /// The last packet of the session.
    pub last: bool,
}

impl Flags {
    fn to_byte(self) -> u8 {
        u8::from(self.jump) | u8::from(self.random_access) << 1 | u8::from(self.last) << 2
    }

    fn from_byte(byte: u8) -> Self {
        Self { jump: byte & 1 != 0, random_access: byte & 2 != 0, last: byte & 4 != 0 }
    }
}

/// What precedes the RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// About the packet.
    pub flags: Flags,
    /// Low half of the session's id.
    pub session: u32,
    /// How many datagrams the session had sent before this one, not counting repeats; wraps.
    pub number: u32,
}

/// Why a datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StreamError {
    /// Not ours, or not of a possible length.
    #[error("no P5 session datagram")]
    NotP5,
    /// Another version.
    #[error("P5 version {0}, this program speaks {VERSION}")]
    Version(u8),
    /// What follows the header is no RTP packet.
    #[error("no RTP packet in a P5 datagram")]
    NotRtp,
}

/// Whether a datagram claims to be a session's, and not RTP.
pub fn is_session(datagram: &[u8]) -> bool {
    datagram.first() == Some(&MAGIC[0])
}

impl Header {
    /// The header of the `number`-th datagram of `session`.
    pub fn new(session: SessionId, number: u32, flags: Flags) -> Self {
        Self { flags, session: session.low(), number }
    }

    /// Its bytes; the packet's follow.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = self.flags.to_byte();
        bytes[4..8].copy_from_slice(&self.session.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Header and RTP packet of a datagram.
    pub fn split(datagram: &[u8]) -> Result<(Self, &[u8]), StreamError> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(StreamError::NotP5);
        }
        let (header, packet) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(StreamError::NotP5)?;
        let [m, five, version, flags, s0, s1, s2, s3, n0, n1, n2, n3] = *header;
        if [m, five] != MAGIC {
            return Err(StreamError::NotP5);
        }
        if version != VERSION {
            return Err(StreamError::Version(version));
        }
        if packet.len() < RTP_HEADER_BYTES || packet[0] >> 6 != 2 {
            return Err(StreamError::NotRtp);
        }
        let session = u32::from_be_bytes([s0, s1, s2, s3]);
        let number = u32::from_be_bytes([n0, n1, n2, n3]);
        Ok((Self { flags: Flags::from_byte(flags), session, number }, packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RTP: [u8; 12] = [0x80, 33, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];

    #[test]
    fn a_datagram_on_the_wire() {
        let flags = Flags { jump: true, random_access: false, last: true };
        let header = Header::new(SessionId(0x0102_0304_0506_0708), 0x090a_0b0c, flags);
        let expected = [b'M', b'5', 1, 0b101, 5, 6, 7, 8, 9, 10, 11, 12];
        assert_eq!(header.encode(), expected);
        let datagram = [expected, RTP].concat();
        assert_eq!(Header::split(&datagram), Ok((header, &RTP[..])));
        assert!(is_session(&datagram) && !is_session(&RTP));
    }

    #[test]
    fn what_is_no_session_datagram_is_refused_with_its_reason() {
        let good = [Header::new(SessionId(1), 2, Flags::default()).encode(), RTP].concat();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Header::split(&bytes).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(0, 0x80), StreamError::NotP5);
        assert_eq!(with(2, 2), StreamError::Version(2));
        assert_eq!(with(12, 0x40), StreamError::NotRtp);
        assert_eq!(Header::split(&good[..11]), Err(StreamError::NotP5));
        assert_eq!(Header::split(&good[..23]), Err(StreamError::NotRtp));
        let long = [good.clone(), vec![0; MAX_DATAGRAM_BYTES]].concat();
        assert_eq!(Header::split(&long), Err(StreamError::NotP5));
    }

    proptest! {
        #[test]
        fn every_header_reads_as_written(session: u32, number: u32, jump: bool, random_access: bool, last: bool) {
            let header = Header { flags: Flags { jump, random_access, last }, session, number };
            let datagram = [header.encode(), RTP].concat();
            prop_assert_eq!(Header::split(&datagram), Ok((header, &RTP[..])));
        }

        #[test]
        fn no_bytes_panic_and_what_reads_is_written_alike(bytes in proptest::collection::vec(any::<u8>(), 0..64), begin: bool) {
            let datagram = if begin { [b"M5\x01", &bytes[..]].concat() } else { bytes };
            if let Ok((header, packet)) = Header::split(&datagram) {
                prop_assert_eq!(packet, &datagram[HEADER_BYTES..]);
                let mut again = header.encode();
                again[3] |= datagram[3];
                prop_assert_eq!(&again[..], &datagram[..HEADER_BYTES]);
            }
        }
    }
}
