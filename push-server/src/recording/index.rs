//! The index beside a segment's transport packets: what their RTP headers said. All integers are little-endian.
//!
//! ```text
//! header   48 │ "MHIX" version u16 =1, 0 u16, channel u32, ssrc u32, number u64, date ms u64, 0 u64, check u64
//! entry    12 │ timestamp u32, number − first u32, (date − first) / 10 ms u16, transport packets u8, flags u8   for each
//! trailer  72 │ "MHEN" 0 u32, entries u32, missing u32, end date ms u64, length u64, hash 32 bytes, check u64  once complete
//! ```
//!
//! A check is the first 8 bytes of BLAKE3 over everything before it in the file. Flags: 1 marker, 2 decoding may begin
//! here, 4 the picture of the newest such point has ended. A date beyond what 16 bits hold is the last that they hold.

use protocols::ids::ChannelId;
use thiserror::Error;

use super::segment::{MAX_DATE_MS, Segment, SegmentName};

/// Length of the header.
pub const HEADER_BYTES: usize = 48;
/// Length of an entry.
pub const ENTRY_BYTES: usize = 12;
/// Length of the trailer.
pub const TRAILER_BYTES: usize = 72;
/// The version written, and the only one read.
pub const VERSION: u16 = 1;
/// Unit of dates in entries.
pub const DATE_UNIT_MS: u64 = 10;
/// Transport packets in one RTP packet at most.
pub const MAX_COUNT: u8 = 7;

/// A date is told further by timestamps for so long; marks, and so dates, come each second.
pub const MARKED_WITHIN_MS: u64 = 2_000;
/// Ticks of an RTP timestamp.
pub const TICKS_PER_MS: u64 = 90;

const HEADER_MAGIC: &[u8; 4] = b"MHIX";
const TRAILER_MAGIC: &[u8; 4] = b"MHEN";
const MARKER: u8 = 1;
const ACCESS: u8 = 2;
const PICTURE_END: u8 = 4;

/// Why bytes are no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IndexError {
    /// Shorter than its header.
    #[error("it ends within its header, after {0} bytes")]
    Short(usize),
    /// It begins otherwise.
    #[error("it is no index")]
    Magic,
    /// From another release.
    #[error("its version is {0}; this release reads version 1")]
    Version(u16),
    /// The header is not what was written.
    #[error("its header is damaged")]
    Header,
    /// It ends as a complete one does, but is not what was written.
    #[error("it is damaged")]
    Check,
}

/// What all packets of a segment have in common, and its first one's number and date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The channel.
    pub channel: ChannelId,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Number of the first packet.
    pub number: u64,
    /// Its date, ms since 1970, below [`MAX_DATE_MS`].
    pub date_ms: u64,
}

/// One RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its timestamp.
    pub timestamp_90k: u32,
    /// Its number, less that of the segment's first packet.
    pub number: u32,
    /// Its date, less that of the segment's first packet, in units of [`DATE_UNIT_MS`], rounded down.
    pub date_10ms: u16,
    /// Its transport packets, 1 to [`MAX_COUNT`].
    pub count: u8,
    /// Its marker.
    pub marker: bool,
    /// Decoding may begin here: a random access point, or the PAT before it.
    pub access: bool,
    /// The picture of the random access point before has ended without loss: another begins in this packet.
    pub picture_end: bool,
}

/// What is known once a segment is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// RTP packets.
    pub entries: u32,
    /// Numbers without a packet, between the first and the last.
    pub missing: u32,
    /// Date of its end, ms since 1970.
    pub end_date_ms: u64,
    /// Bytes of the transport packets.
    pub length_bytes: u64,
    /// BLAKE3 over the RTP packets.
    pub hash: [u8; 32],
}

/// An index that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its header.
    pub header: Header,
    /// Its entries: all, or those before the first that makes no sense.
    pub entries: Vec<Entry>,
    /// Its end, if it is complete.
    pub trailer: Option<Trailer>,
}

impl Header {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(HEADER_MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.channel.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.ssrc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.date_ms.to_le_bytes());
        let sum = check(&blake3::hash(&bytes[..40]));
        bytes[40..].copy_from_slice(&sum);
        bytes
    }

    /// Reads it from the beginning of an index.
    pub fn decode(index: &[u8]) -> Result<Self, IndexError> {
        let bytes = index.first_chunk::<HEADER_BYTES>().ok_or(IndexError::Short(index.len()))?;
        if &bytes[..4] != HEADER_MAGIC {
            return Err(IndexError::Magic);
        }
        let version = u16::from_le_bytes(*part(bytes, 4));
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let header = Self {
            channel: ChannelId(u32::from_le_bytes(*part(bytes, 8))),
            ssrc: u32::from_le_bytes(*part(bytes, 12)),
            number: u64::from_le_bytes(*part(bytes, 16)),
            date_ms: u64::from_le_bytes(*part(bytes, 24)),
        };
        let sound = check(&blake3::hash(&bytes[..40])) == *part(bytes, 40) && header.date_ms < MAX_DATE_MS;
        sound.then_some(header).ok_or(IndexError::Header)
    }

    /// The segment's name.
    pub fn name(&self) -> SegmentName {
        SegmentName::new(self.ssrc, self.number, self.date_ms)
    }

    /// An entry's date, ms since 1970, within [`DATE_UNIT_MS`].
    pub fn date_of(&self, entry: &Entry) -> u64 {
        self.date_ms + u64::from(entry.date_10ms) * DATE_UNIT_MS
    }

    /// `date_ms` as entries have it.
    pub fn date_10ms(&self, date_ms: u64) -> u16 {
        u16::try_from(date_ms.saturating_sub(self.date_ms) / DATE_UNIT_MS).unwrap_or(u16::MAX)
    }
}

impl Entry {
    /// Its bytes.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.timestamp_90k.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.date_10ms.to_le_bytes());
        bytes[10] = self.count;
        let flag = |set, flag| if set { flag } else { 0 };
        bytes[11] =
            flag(self.marker, MARKER) | flag(self.access, ACCESS) | flag(self.picture_end, PICTURE_END);
        bytes
    }

    /// Reads it; `None` when no recorder writes such an entry.
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let [.., count, flags] = *bytes;
        let entry = Self {
            timestamp_90k: u32::from_le_bytes(*part(bytes, 0)),
            number: u32::from_le_bytes(*part(bytes, 4)),
            date_10ms: u16::from_le_bytes(*part(bytes, 8)),
            count,
            marker: flags & MARKER != 0,
            access: flags & ACCESS != 0,
            picture_end: flags & PICTURE_END != 0,
        };
        let known = flags & !(MARKER | ACCESS | PICTURE_END) == 0;
        (known && (1..=MAX_COUNT).contains(&count)).then_some(entry)
    }
}

impl Trailer {
    /// Its bytes, behind an index of which `before` has hashed everything so far.
    pub fn encode(&self, before: &blake3::Hasher) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..4].copy_from_slice(TRAILER_MAGIC);
        bytes[8..12].copy_from_slice(&self.entries.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.missing.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.end_date_ms.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.length_bytes.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.hash);
        let sum = check(&before.clone().update(&bytes[..64]).finalize());
        bytes[64..].copy_from_slice(&sum);
        bytes
    }

    /// Reads one without asking whether it belongs to what is before it. `None`: these bytes are none.
    pub fn decode(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        let trailer = Self {
            entries: u32::from_le_bytes(*part(bytes, 8)),
            missing: u32::from_le_bytes(*part(bytes, 12)),
            end_date_ms: u64::from_le_bytes(*part(bytes, 16)),
            length_bytes: u64::from_le_bytes(*part(bytes, 24)),
            hash: *part(bytes, 32),
        };
        (&bytes[..4] == TRAILER_MAGIC).then_some(trailer)
    }

    /// What it says of the segment that `header` begins.
    pub fn segment(&self, header: &Header) -> Segment {
        Segment {
            name: header.name(),
            date_ms: header.date_ms,
            end_date_ms: self.end_date_ms,
            packets: self.entries,
            missing: self.missing,
            length_bytes: self.length_bytes,
            hash: self.hash,
        }
    }

    /// How long an index is that ends in this trailer.
    pub fn index_bytes(&self) -> u64 {
        (HEADER_BYTES + TRAILER_BYTES) as u64 + u64::from(self.entries) * ENTRY_BYTES as u64
    }
}

impl Index {
    /// Reads a whole index, complete or not. One that is not complete has the entries before the first that makes no sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let header = Header::decode(bytes)?;
        let body = &bytes[HEADER_BYTES..];
        let trailer = body.split_last_chunk::<TRAILER_BYTES>().and_then(|(_, end)| Trailer::decode(end));
        let trailer = trailer.filter(|trailer| trailer.index_bytes() == bytes.len() as u64);
        let Some(trailer) = trailer else {
            return Ok(Self { header, entries: entries(body), trailer: None });
        };
        let (covered, sum) = bytes.split_at(bytes.len() - 8);
        let entries = entries(&body[..body.len() - TRAILER_BYTES]);
        let sound =
            check(&blake3::hash(covered)) == *sum && entries.len() as u64 == u64::from(trailer.entries);
        if sound { Ok(Self { header, entries, trailer: Some(trailer) }) } else { Err(IndexError::Check) }
    }
}

/// Where a segment ends behind which none is known: just after its last packet, which is dated by what timestamps say has
/// passed since the first packet of its date. `marked`: that one's date and timestamp.
pub fn end_date_ms(marked: (u64, u32), last_90k: u32) -> u64 {
    let since_ms = u64::from(last_90k.wrapping_sub(marked.1)) / TICKS_PER_MS;
    marked.0 + if since_ms < MARKED_WITHIN_MS { since_ms } else { 0 } + 1
}

/// The entries in `bytes`, in ascending order of numbers, until there is one that makes no sense.
fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut next = 0;
    let sound = |bytes| {
        let entry = Entry::decode(bytes).filter(|entry| u64::from(entry.number) >= next)?;
        next = u64::from(entry.number) + 1;
        Some(entry)
    };
    bytes.as_chunks::<ENTRY_BYTES>().0.iter().map_while(sound).collect()
}

fn check(hash: &blake3::Hash) -> [u8; 8] {
    *part(hash.as_bytes(), 0)
}

/// The `N` bytes at `at`.
fn part<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().expect("every caller reads within its fixed layout")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header =
        Header { channel: ChannelId(3), ssrc: 0x5f3a_77c1, number: 7_041, date_ms: 1_795_324_321_999 };
    const ENTRY: Entry = Entry {
        timestamp_90k: 0x0403_0201,
        number: 5,
        date_10ms: 0x1122,
        count: 7,
        marker: true,
        access: true,
        picture_end: false,
    };
    const TRAILER: Trailer = Trailer {
        entries: 1,
        missing: 5,
        end_date_ms: 1_795_324_380_000,
        length_bytes: 1_316,
        hash: [0xab; 32],
    };

    fn complete() -> Vec<u8> {
        let mut bytes = [&HEADER.encode()[..], &ENTRY.encode()].concat();
        let trailer = TRAILER.encode(blake3::Hasher::new().update(&bytes));
        bytes.extend(trailer);
        bytes
    }

    #[test]
    fn golden_bytes_both_ways() {
        let header = HEADER.encode();
        let layout = "4d4849580100000003000000c1773a5f811b0000000000004f";
        assert_eq!(hex(&header[..24]), layout[..48]);
        assert_eq!(u64::from_le_bytes(*part(&header, 24)), 1_795_324_321_999);
        assert_eq!(Header::decode(&header), Ok(HEADER));
        assert_eq!(ENTRY.encode(), [1, 2, 3, 4, 5, 0, 0, 0, 0x22, 0x11, 7, 3]);
        assert_eq!(Entry::decode(&ENTRY.encode()), Some(ENTRY));
        let bytes = complete();
        assert_eq!(hex(&bytes[60..76]), "4d48454e000000000100000005000000");
        let index = Index::parse(&bytes).unwrap();
        assert_eq!(index, Index { header: HEADER, entries: vec![ENTRY], trailer: Some(TRAILER) });
    }

    #[test]
    fn a_segment_ends_behind_its_last_packet_but_not_far_behind_its_mark() {
        assert_eq!(end_date_ms((5_000, u32::MAX), 89), 5_002);
        assert_eq!(end_date_ms((5_000, 7), 7 + 90 * 1_999), 7_000);
        assert_eq!(end_date_ms((5_000, 7), 7 + 90 * 2_000), 5_001);
        assert_eq!(end_date_ms((5_000, 7), 6), 5_001);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[test]
    fn an_index_cut_anywhere_keeps_the_entries_before_the_cut() {
        let bytes = complete();
        for len in 0..HEADER_BYTES {
            assert_eq!(Index::parse(&bytes[..len]), Err(IndexError::Short(len)));
        }
        for len in HEADER_BYTES..bytes.len() {
            let index = Index::parse(&bytes[..len]).unwrap();
            assert!(index.trailer.is_none());
            assert_eq!(index.entries.first(), (len >= 60).then_some(&ENTRY));
            assert!(index.entries.len() < 2, "a trailer is no entry");
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let bytes = complete();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let whole = Index::parse(&flipped).is_ok_and(|index| index.trailer.is_some());
            assert!(!whole, "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = complete();
        bytes[4] = 9;
        assert_eq!(Index::parse(&bytes), Err(IndexError::Version(9)));
        assert_eq!(Index::parse(&[0; 200]), Err(IndexError::Magic));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Index::parse(&tail);
            let index = Index::parse(&[&HEADER.encode()[..], &tail].concat()).unwrap();
            prop_assert!(index.entries.is_sorted_by_key(|entry| entry.number));
        }

        #[test]
        fn entries_are_read_as_written(
            timestamp_90k: u32, number: u32, date_10ms: u16, count in 1..=MAX_COUNT, flags: [bool; 3],
        ) {
            let [marker, access, picture_end] = flags;
            let entry = Entry { timestamp_90k, number, date_10ms, count, marker, access, picture_end };
            prop_assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }
    }
}
