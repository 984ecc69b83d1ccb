//! Teletext as a broadcaster makes it (ETSI EN 300 706, carried as EN 300 472 has it): pages in, PES packets out. Beside the
//! standards it knows nothing; the receivers it is there for have their own tables.

use crate::multiplex::{Elementary, Pes};

/// Columns of a row.
const COLUMNS: usize = 40;
/// Bytes of a data unit with its two bytes of head.
const UNIT_BYTES: usize = 46;
/// `data_identifier` of EBU data; any from 0x10 to 0x1f.
const DATA_IDENTIFIER: u8 = 0x10;
const UNIT_SUBTITLE: u8 = 0x03;
const UNIT_STUFFING: u8 = 0xff;
const FRAMING_CODE: u8 = 0xe4;
/// A header of this page ends the page before it and shows nothing.
const FILLING_PAGE: u16 = 0x8ff;

/// One transmission of a page.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// As people write it, in hexadecimal: 0x888. The magazine is its first digit, 8 for 0.
    pub number: u16,
    /// What it says, row (1 to 24) by row: 7-bit codes, at most 40. Rows that are not sent stay as they were unless `erases`.
    pub rows: Vec<(u8, Vec<u8>)>,
    /// C4: what was on the page is gone.
    pub erases: bool,
    /// C6: it is a subtitle.
    pub is_subtitle: bool,
    /// C12 to C14: which of eight sets of national characters; 0 English, 1 German, 4 French, ….
    pub national: u8,
    /// Characters of packet 26, which lie above those of the rows.
    pub above: Vec<Above>,
}

/// A character that level 1 does not have (§12.3.4, column address group).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Above {
    /// 1 to 23.
    pub row: u8,
    /// 0 to 39.
    pub column: u8,
    /// 0x0f: of G2; 0x10 to 0x1f: of G0, with the diacritical mark of its low four bits.
    pub mode: u8,
    /// Its 7-bit code.
    pub code: u8,
}

impl Page {
    /// A subtitle of `lines` on page `number`: in a box, of double height, from row 20 on, one line in two rows; the page is
    /// erased first. Without lines: what was there goes. Letters are ASCII.
    pub fn subtitle(number: u16, lines: &[&str]) -> Self {
        let row = |n: usize, line: &&str| {
            let text = [&[0x0d, 0x0b, 0x0b], line.as_bytes(), &[0x0a, 0x0a]].concat();
            (20 + 2 * u8::try_from(n).expect("two lines"), text)
        };
        let rows = lines.iter().enumerate().map(|(n, line)| row(n, line)).collect();
        Self { number, rows, erases: true, is_subtitle: true, ..Self::default() }
    }
}

/// The descriptor that tells of `pages`: language, type (2: subtitles, 5: for people who hear badly), number as people write
/// it in hexadecimal (EN 300 468 §6.2.43).
pub fn descriptor(pages: &[([u8; 3], u8, u16)]) -> Vec<u8> {
    let entries: Vec<u8> = pages
        .iter()
        .flat_map(|&(language, kind, number)| {
            let [magazine, page] = number.to_be_bytes();
            [language[0], language[1], language[2], kind << 3 | magazine & 7, page]
        })
        .collect();
    [&[0x56, u8::try_from(entries.len()).expect("few pages")], &entries[..]].concat()
}

/// The stream of `transmissions` (times of 90 kHz, rising), each in a PES packet of its own, with empty packets each 0.2 s
/// between, as broadcasters send them.
pub fn elementary(pid: u16, descriptors: Vec<u8>, transmissions: &[(u64, Vec<Page>)]) -> Elementary {
    const EVERY_90K: u64 = 18_000;
    let mut packets = Vec::new();
    for (n, (at_90k, pages)) in transmissions.iter().enumerate() {
        packets.push(pes(*at_90k, pages));
        let until = transmissions.get(n + 1).map_or(*at_90k, |(next, _)| *next);
        let between = (1..).map(|n| at_90k + n * EVERY_90K).take_while(|at| at + EVERY_90K / 2 < until);
        packets.extend(between.map(|at_90k| pes(at_90k, &[])));
    }
    Elementary { pid, stream_type: 6, descriptors, packets }
}

/// One PES packet with `pages`, each ended within it.
pub fn pes(pts_90k: u64, pages: &[Page]) -> Pes {
    let mut payload = vec![DATA_IDENTIFIER];
    let mut units = 0;
    let mut unit = |id: u8, bytes: &[u8; 42]| {
        // Line 7 of the first field, then the next ones: 0x20 is the field's parity.
        let line = 0xc0 | 0x20 | (7 + u8::try_from(units % 16).expect("16 lines"));
        payload.extend([id, 0x2c, line, FRAMING_CODE]);
        payload.extend(bytes.map(u8::reverse_bits));
        units += 1;
    };
    for page in pages {
        unit(UNIT_SUBTITLE, &header(page));
        enhancements(page).iter().for_each(|packet| unit(UNIT_SUBTITLE, packet));
        page.rows.iter().for_each(|(row, text)| unit(UNIT_SUBTITLE, &text_row(page.number, *row, text)));
        let filling = Page { number: page.number & 0xf00 | FILLING_PAGE & 0xff, ..Page::default() };
        unit(UNIT_SUBTITLE, &header(&filling));
    }
    // The header is 45 bytes, the identifier one: so many units fill packets.
    while units == 0 || units % 4 != 3 {
        units += 1;
        payload.extend([UNIT_STUFFING, 0x2c]);
        payload.resize(payload.len() + UNIT_BYTES - 2, 0xff);
    }
    Pes { stream_id: 0xbd, pts_90k, dts_90k: pts_90k, payload }
}

/// Magazine and packet number (§9.3.1.1).
fn address(page: u16, packet: u8) -> [u8; 2] {
    let magazine = u8::try_from(page >> 8 & 7).expect("three bits");
    [hamming_8_4(magazine | (packet & 1) << 3), hamming_8_4(packet >> 1)]
}

/// Packet 0 (§9.3.1).
fn header(page: &Page) -> [u8; 42] {
    let mut bytes = [parity(b' '); 42];
    bytes[..2].copy_from_slice(&address(page.number, 0));
    let [_, number] = page.number.to_be_bytes();
    let bits = |flag: bool, bit: u8| u8::from(flag) << bit;
    let fields = [
        number & 15,
        number >> 4,
        0,
        bits(page.erases, 3),
        0,
        bits(page.is_subtitle, 3),
        // C8: the page is new; C7: without its header.
        bits(true, 1) | bits(page.is_subtitle, 0),
        // C11: magazines one after the other; C12, C13, C14.
        1 | (page.national >> 2 & 1) << 1 | (page.national >> 1 & 1) << 2 | (page.national & 1) << 3,
    ];
    bytes[2..10].copy_from_slice(&fields.map(hamming_8_4));
    bytes
}

/// Packets 1 to 24 (§9.3.2).
fn text_row(page: u16, row: u8, text: &[u8]) -> [u8; 42] {
    assert!(text.len() <= COLUMNS, "a row has forty columns");
    let mut bytes = [parity(b' '); 42];
    bytes[..2].copy_from_slice(&address(page, row));
    bytes.iter_mut().skip(2).zip(text).for_each(|(byte, &code)| *byte = parity(code));
    bytes
}

/// Packets 26 (§9.4.2, §12.3), thirteen triplets each, the last one ended by a terminator.
fn enhancements(page: &Page) -> Vec<[u8; 42]> {
    let mut triplets = Vec::new();
    let mut row = None;
    for above in &page.above {
        if row.replace(above.row) != Some(above.row) {
            // Set active position: rows are counted from 40.
            triplets.push(triplet(40 + above.row, 0x04, 0));
        }
        triplets.push(triplet(above.column, above.mode, above.code));
    }
    if triplets.is_empty() {
        return Vec::new();
    }
    triplets.push(triplet(0x3f, 0x1f, 0x7f));
    triplets
        .chunks(13)
        .enumerate()
        .map(|(designation, part)| {
            let mut bytes = [0; 42];
            bytes[..2].copy_from_slice(&address(page.number, 26));
            bytes[2] = hamming_8_4(u8::try_from(designation).expect("few packets"));
            let terminator = triplet(0x3f, 0x1f, 0x7f);
            let all = part.iter().chain(std::iter::repeat(&terminator));
            bytes[3..].chunks_mut(3).zip(all).for_each(|(place, bytes)| place.copy_from_slice(bytes));
            bytes
        })
        .collect()
}

fn triplet(address: u8, mode: u8, data: u8) -> [u8; 3] {
    hamming_24_18(u32::from(address) | u32::from(mode) << 6 | u32::from(data) << 11)
}

/// Odd parity in the highest bit.
fn parity(code: u8) -> u8 {
    let code = code & 0x7f;
    if code.count_ones().is_multiple_of(2) { code | 0x80 } else { code }
}

/// Four bits protected by four (§8.2): P1 D1 P2 D2 P3 D3 P4 D4 from the lowest bit on.
fn hamming_8_4(value: u8) -> u8 {
    let d = |n: u8| value >> (n - 1) & 1;
    let p1 = 1 ^ d(1) ^ d(3) ^ d(4);
    let p2 = 1 ^ d(1) ^ d(2) ^ d(4);
    let p3 = 1 ^ d(1) ^ d(2) ^ d(3);
    let p4 = 1 ^ p1 ^ d(1) ^ p2 ^ d(2) ^ p3 ^ d(3) ^ d(4);
    p1 | d(1) << 1 | p2 << 2 | d(2) << 3 | p3 << 4 | d(3) << 5 | p4 << 6 | d(4) << 7
}

/// Eighteen bits protected by six (§8.3): bits 1, 2, 4, 8, 16 and 24 are parity.
fn hamming_24_18(value: u32) -> [u8; 3] {
    let mut word = 0_u32;
    let places = (1..24_u32).filter(|place| !place.is_power_of_two());
    places.enumerate().for_each(|(n, place)| word |= (value >> n & 1) << (place - 1));
    for test in 0..5 {
        let covered = (1..24_u32).filter(|place| place >> test & 1 == 1);
        let ones = covered.filter(|place| word >> (place - 1) & 1 == 1).count();
        word |= u32::from(ones % 2 == 0) << ((1 << test) - 1);
    }
    word |= u32::from(word.count_ones().is_multiple_of(2)) << 23;
    let [low, middle, high, _] = word.to_le_bytes();
    [low, middle, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // Table of §8.2.
        let expected =
            [0x15, 0x02, 0x49, 0x5e, 0x64, 0x73, 0x38, 0x2f, 0xd0, 0xc7, 0x8c, 0x9b, 0xa1, 0xb6, 0xfd, 0xea];
        assert_eq!((0..16).map(hamming_8_4).collect::<Vec<_>>(), expected);
        // All parity bits but the last are set when there is no other; five ones are odd already.
        assert_eq!(hamming_24_18(0), [0x8b, 0x80, 0x00]);
    }

    #[test]
    fn a_packet_fills_transport_packets() {
        let pages = [Page::subtitle(0x888, &["HELLO", "THERE"])];
        let pes = pes(90_000, &pages);
        assert_eq!((45 + pes.payload.len()) % 184, 0);
        assert_eq!(pes.payload[..5], [0x10, 0x03, 0x2c, 0xe7, 0xe4]);
    }
}
