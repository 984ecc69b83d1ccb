//! What receivers say about RTP: as much of RTCP (RFC 3550 §6) as tells which packets they miss, the generic NACK of
//! RFC 4585 §6.2.1.
//!
//! ```text
//!  0               1               2               3
//! |V=2|P| FMT=1   |    PT=205     |   length in words - 1         |
//! |                    SSRC of whoever misses them                |
//! |                    SSRC of the stream                         |
//! |  PID: first number missing    |  BLP: bit n: PID + n + 1 too  |   once or more
//! ```
//!
//! A datagram holds several packets one behind another (a *compound*), the first of them a report as a rule. Every kind
//! but the NACK is passed over.

/// Bytes that each RTCP packet begins with.
const HEADER_BYTES: usize = 4;
/// Header and the two sources of a feedback packet.
const FEEDBACK_BYTES: usize = 12;
/// Transport layer feedback (RFC 4585 §6.2).
const TRANSPORT_FEEDBACK: u8 = 205;
/// The one format of it that we read.
const GENERIC_NACK: u8 = 1;
const VERSION: u8 = 2;

/// Why bytes are no compound of RTCP packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// A packet claims more bytes than there are, or some are left that are no packet.
    #[error("RTCP of {0} bytes is truncated")]
    Truncated(usize),
    /// A version other than 2.
    #[error("RTCP version {0} instead of 2")]
    Version(u8),
    /// Padding in another packet than the last, or more of it than the packet has (RFC 3550 §6.4.1).
    #[error("RTCP with wrong padding")]
    Padding,
}

/// A datagram of RTCP packets whose lengths fit one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

/// One RTCP packet, without its padding.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    format: u8,
    kind: u8,
    bytes: &'a [u8],
}

/// What one receiver misses of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenericNack<'a> {
    /// Synchronisation source of the receiver.
    pub sender_ssrc: u32,
    /// Synchronisation source of the stream.
    pub media_ssrc: u32,
    entries: &'a [u8],
}

impl GenericNack<'_> {
    /// First number missing, and a bit for each of the sixteen behind it.
    pub fn entries(&self) -> impl Iterator<Item = (u16, u16)> {
        let number = |high, low| u16::from_be_bytes([high, low]);
        self.entries.as_chunks::<4>().0.iter().map(move |[a, b, c, d]| (number(*a, *b), number(*c, *d)))
    }
}

impl<'a> Compound<'a> {
    /// Checks a datagram of which [`crate::rtp::classify`] says that it is RTCP. One that begins with no report, as
    /// RFC 5506 allows, is taken too.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtcpError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = Part::split(rest)?.1;
        }
        Ok(Self { bytes })
    }

    /// Every NACK in it.
    pub fn nacks(&self) -> impl Iterator<Item = GenericNack<'a>> {
        let mut rest = self.bytes;
        let parts = std::iter::from_fn(move || {
            let (part, after) = Part::split(rest).ok()?;
            rest = after;
            Some(part)
        });
        parts.filter_map(Part::nack)
    }
}

impl<'a> Part<'a> {
    /// The first packet of `bytes`, and what follows it.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RtcpError> {
        let truncated = RtcpError::Truncated(bytes.len());
        let [flags, kind, l0, l1] = *bytes.first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
        if flags >> 6 != VERSION {
            return Err(RtcpError::Version(flags >> 6));
        }
        let len = (usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4;
        let (packet, after) = bytes.split_at_checked(len).ok_or(truncated)?;
        let mut kept = packet;
        if flags & 0x20 != 0 {
            let padding = packet.last().copied().map_or(0, usize::from);
            let fits = after.is_empty() && padding.is_multiple_of(4) && padding > 0;
            let left = len.checked_sub(padding).filter(|left| fits && *left >= HEADER_BYTES);
            kept = &packet[..left.ok_or(RtcpError::Padding)?];
        }
        Ok((Self { format: flags & 0x1f, kind, bytes: kept }, after))
    }

    fn nack(self) -> Option<GenericNack<'a>> {
        if (self.kind, self.format) != (TRANSPORT_FEEDBACK, GENERIC_NACK) {
            return None;
        }
        let (head, entries) = self.bytes.split_first_chunk::<FEEDBACK_BYTES>()?;
        let [_, _, _, _, s0, s1, s2, s3, m0, m1, m2, m3] = *head;
        let (sender_ssrc, media_ssrc) =
            (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([m0, m1, m2, m3]));
        Some(GenericNack { sender_ssrc, media_ssrc, entries })
    }
}

/// The NACK by which `sender_ssrc` names `entries` of the stream `media_ssrc`, without the report that goes before it.
///
/// # Panics
/// When there are more entries than a datagram holds.
pub fn generic_nack(sender_ssrc: u32, media_ssrc: u32, entries: &[(u16, u16)]) -> Vec<u8> {
    let words = u16::try_from(entries.len() + FEEDBACK_BYTES / 4 - 1).expect("entries of one datagram");
    let mut bytes = vec![VERSION << 6 | GENERIC_NACK, TRANSPORT_FEEDBACK];
    bytes.extend(words.to_be_bytes());
    bytes.extend(sender_ssrc.to_be_bytes());
    bytes.extend(media_ssrc.to_be_bytes());
    for (first, following) in entries {
        bytes.extend(first.to_be_bytes());
        bytes.extend(following.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Receiver report without blocks, source description with an empty item list, NACK of 4660 and 4662.
    const GOLDEN: [u8; 32] = [
        0x80, 201, 0, 1, 0, 0, 0, 7, // RR
        0x81, 202, 0, 1, 0, 0, 0, 7, // SDES
        0x81, 205, 0, 3, 0, 0, 0, 7, 0, 0, 0, 9, 0x12, 0x34, 0x00, 0x02,
    ];

    /// Sources of receiver and stream, and the entries.
    type Named = (u32, u32, Vec<(u16, u16)>);

    fn nacks(bytes: &[u8]) -> Vec<Named> {
        let compound = Compound::parse(bytes).unwrap();
        compound.nacks().map(|nack| (nack.sender_ssrc, nack.media_ssrc, nack.entries().collect())).collect()
    }

    #[test]
    fn a_nack_is_found_behind_a_report_and_a_description() {
        assert_eq!(nacks(&GOLDEN), [(7, 9, vec![(0x1234, 2)])]);
        assert_eq!(generic_nack(7, 9, &[(0x1234, 2)]), GOLDEN[16..]);
        assert_eq!(nacks(&GOLDEN[16..]).len(), 1);
        assert!(nacks(&GOLDEN[..16]).is_empty());
    }

    #[test]
    fn other_feedback_and_several_nacks_of_one_datagram_are_told_apart() {
        let picture_lost = [0x81, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9];
        let bytes =
            [&picture_lost[..], &generic_nack(7, 9, &[(1, 0)]), &generic_nack(7, 8, &[(2, 0), (3, 1)])];
        assert_eq!(nacks(&bytes.concat()), [(7, 9, vec![(1, 0)]), (7, 8, vec![(2, 0), (3, 1)])]);
        assert!(nacks(&[0x81, 205, 0, 1, 0, 0, 0, 7]).is_empty());
    }

    #[test]
    fn padding_is_no_entry_and_stands_at_the_end_only() {
        let mut padded = generic_nack(7, 9, &[(1, 0)]);
        (padded[0], padded[3]) = (padded[0] | 0x20, 4);
        padded.extend([0, 0, 0, 4]);
        assert_eq!(nacks(&padded), [(7, 9, vec![(1, 0)])]);
        assert_eq!(Compound::parse(&[&padded[..], &GOLDEN].concat()), Err(RtcpError::Padding));
        for wrong in [0, 3, 24] {
            *padded.last_mut().unwrap() = wrong;
            assert_eq!(Compound::parse(&padded), Err(RtcpError::Padding), "{wrong}");
        }
    }

    #[test]
    fn lengths_that_do_not_fit_and_other_versions_are_refused() {
        for len in (1..GOLDEN.len()).filter(|len| ![8, 16].contains(len)) {
            assert!(matches!(Compound::parse(&GOLDEN[..len]), Err(RtcpError::Truncated(_))), "{len}");
        }
        let mut other = GOLDEN;
        other[8] = 0x41;
        assert_eq!(Compound::parse(&other), Err(RtcpError::Version(1)));
    }

    proptest! {
        #[test]
        fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(compound) = Compound::parse(&bytes) {
                prop_assert!(compound.nacks().map(|nack| nack.entries().count()).sum::<usize>() <= bytes.len() / 4);
            }
        }

        #[test]
        fn what_is_named_is_read(entries in proptest::collection::vec(any::<(u16, u16)>(), 0..64)) {
            prop_assert_eq!(nacks(&generic_nack(1, 2, &entries)), [(1, 2, entries)]);
        }
    }
}
