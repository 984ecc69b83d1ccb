//! Teletext subtitles (ETSI EN 300 706, carried as EN 300 472 has it): PES payloads of one PID in, screens of its subtitle
//! pages out.
//!
//! ```text
//! header of page P ─► its rows ─► the next header of the magazine, or any where magazines come one after the other ─► P is shown
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::presenter::Presenter;
use super::teletext_characters::{CharacterSet, accented, supplementary};
use super::{Cell, Colour, Event, Line, Style, Track, line, percent};

/// Pages of one PID that are read; others are left out.
pub(super) const PAGES_MAX: usize = 32;
/// Packets with enhancements of one page: sixteen designations (§9.4.2).
const ENHANCEMENTS_MAX: usize = 16;

const COLUMNS: usize = 40;
/// Rows that are shown, the header's among them.
const ROWS: usize = 25;
const UNIT_TELETEXT: u8 = 0x02;
const UNIT_SUBTITLE: u8 = 0x03;
/// Bytes of a unit behind its two bytes of head: line, framing code, packet.
const UNIT_BYTES: u8 = 44;
const FRAMING_CODE: u8 = 0xe4;
/// A page of this number ends the one before and has no text of its own (§3.1, time filling).
const FILLING: u8 = 0xff;

const HEADER: u8 = 0;
const ENHANCEMENT: u8 = 26;
const PAGE_FORMAT: u8 = 28;
const MAGAZINE_FORMAT: u8 = 29;

/// The pages of one PID.
#[derive(Debug)]
pub(super) struct Teletext {
    /// Those that the PMT names; others are read when they say that they are subtitles.
    announced: BTreeSet<u16>,
    magazines: [Magazine; 8],
    pages: BTreeMap<u16, Page>,
    damaged: u64,
}

#[derive(Debug, Default, Clone)]
struct Magazine {
    /// The page whose rows come now, and when its header was to be shown.
    open: Option<(u16, i64)>,
    region: u8,
}

#[derive(Debug)]
struct Page {
    rows: Vec<[u8; COLUMNS]>,
    enhancements: Vec<[Option<Triplet>; 13]>,
    set: CharacterSet,
    /// Nothing outside of boxes is shown.
    is_boxed: bool,
    presenter: Presenter,
    was_heard: bool,
}

/// Address, mode, data of a packet with enhancements (§12.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Triplet {
    address: u8,
    mode: u8,
    data: u8,
}

/// What a header says (§9.3.1).
#[derive(Debug, Clone, Copy)]
struct Header {
    number: u8,
    erases: bool,
    /// Newsflash and subtitle, in bits 2 and 3.
    c5_c6: u8,
    is_serial: bool,
    national: u8,
}

const BLANK: [u8; COLUMNS] = [b' '; COLUMNS];

impl Teletext {
    pub(super) fn new() -> Self {
        Self {
            announced: BTreeSet::new(),
            magazines: std::array::from_fn(|_| Magazine::default()),
            pages: BTreeMap::new(),
            damaged: 0,
        }
    }

    /// `pages` are read whatever they say of themselves.
    pub(super) fn announce(&mut self, pages: impl Iterator<Item = u16>) {
        self.announced = pages.take(PAGES_MAX).collect();
    }

    /// Takes what a PES packet carries that is to be shown at `at_90k`.
    pub(super) fn push(&mut self, at_90k: i64, payload: &[u8], events: &mut Vec<Event>) {
        // data_identifier (EN 300 472 §4.4): EBU data.
        let Some((0x10..=0x1f, mut rest)) = payload.split_first() else { return };
        while let Some((&[id, len], after)) = rest.split_first_chunk::<2>() {
            let Some((unit, next)) = after.split_at_checked(usize::from(len)) else { return };
            rest = next;
            if let (UNIT_TELETEXT | UNIT_SUBTITLE, UNIT_BYTES, [_line, FRAMING_CODE, packet @ ..]) =
                (id, len, unit)
                && let Some(packet) = packet.first_chunk::<42>()
            {
                // Bits are in the order of transmission, the lowest first.
                self.packet(at_90k, packet.map(u8::reverse_bits), events);
            }
        }
    }

    /// What is shown is shown no longer; nothing that comes continues what came.
    pub(super) fn end(&mut self, at_90k: i64, events: &mut Vec<Event>) {
        self.pages.values_mut().for_each(|page| page.presenter.erase(at_90k, events));
        self.pages.clear();
        self.magazines.iter_mut().for_each(|magazine| magazine.open = None);
    }

    /// The pages that said something.
    pub(super) fn heard(&self) -> impl Iterator<Item = u16> {
        self.pages.iter().filter(|(_, page)| page.was_heard).map(|(&number, _)| number)
    }

    /// Packets whose address, header or enhancements could not be read.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    fn packet(&mut self, at_90k: i64, packet: [u8; 42], events: &mut Vec<Event>) {
        let [first, second, body @ ..] = packet;
        let (Some(first), Some(second)) = (hamming_8_4(first), hamming_8_4(second)) else {
            self.damaged += 1;
            return;
        };
        let (magazine, number) = (first & 7, first >> 3 | second << 1);
        match number {
            HEADER => self.header(at_90k, magazine, &body, events),
            1..=24 => {
                if let Some(row) = self.open(magazine).and_then(|page| page.rows.get_mut(usize::from(number)))
                {
                    // A letter of even parity is damaged: what was there stays.
                    let fine =
                        row.iter_mut().zip(body).filter(|(_, code)| !code.count_ones().is_multiple_of(2));
                    fine.for_each(|(place, code)| *place = code & 0x7f);
                }
            }
            ENHANCEMENT => {
                let triplets = triplets(&body);
                self.damaged += u64::from(triplets.contains(&None));
                let page = self.open(magazine).filter(|page| page.enhancements.len() < ENHANCEMENTS_MAX);
                if let Some(page) = page {
                    page.enhancements.push(triplets);
                }
            }
            PAGE_FORMAT | MAGAZINE_FORMAT => self.format(magazine, number, &body),
            _ => {}
        }
    }

    fn header(&mut self, at_90k: i64, magazine: u8, body: &[u8; 40], events: &mut Vec<Event>) {
        let Some(header) = Header::parse(body) else {
            // Rows that follow would be taken for those of another page.
            self.damaged += 1;
            self.close(magazine, events);
            return;
        };
        // Also a header of another magazine ends a page where they come one after the other.
        let serial = (0..8).filter(|_| header.is_serial);
        serial.chain([magazine]).for_each(|ended| self.close(ended, events));
        if header.number == FILLING {
            return;
        }
        let hundreds = if magazine == 0 { 8 } else { u16::from(magazine) };
        let number = hundreds << 8 | u16::from(header.number);
        let is_wanted =
            header.is_subtitle() || self.announced.contains(&number) || self.pages.contains_key(&number);
        if !is_wanted || self.pages.len() >= PAGES_MAX && !self.pages.contains_key(&number) {
            return;
        }
        let Some(place) = self.magazines.get_mut(usize::from(magazine)) else { return };
        place.open = Some((number, at_90k));
        let region = place.region;
        let page = self.pages.entry(number).or_insert_with(|| Page {
            rows: vec![BLANK; ROWS],
            enhancements: Vec::new(),
            set: CharacterSet::default(),
            is_boxed: false,
            presenter: Presenter::new(Track::Teletext(number)),
            was_heard: false,
        });
        if header.erases {
            page.rows.fill(BLANK);
        }
        page.enhancements.clear();
        page.set = CharacterSet { region, national: header.national };
        page.is_boxed = header.c5_c6 != 0;
    }

    /// The page whose rows come in `magazine`.
    fn open(&mut self, magazine: u8) -> Option<&mut Page> {
        let (number, _) = self.magazines.get(usize::from(magazine))?.open?;
        self.pages.get_mut(&number)
    }

    /// The open page of `magazine` is whole, and shown.
    fn close(&mut self, magazine: u8, events: &mut Vec<Event>) {
        let open = self.magazines.get_mut(usize::from(magazine)).and_then(|magazine| magazine.open.take());
        if let Some((number, at_90k)) = open
            && let Some(page) = self.pages.get_mut(&number)
        {
            let lines = page.lines();
            page.was_heard |= !lines.is_empty();
            page.presenter.show(at_90k, lines, events);
        }
    }

    /// X/28/0 and M/29/0 (§9.4.2, §9.5): which region's letters.
    fn format(&mut self, magazine: u8, number: u8, body: &[u8; 40]) {
        let Some(0) = hamming_8_4(body[0]) else { return };
        let Some(first) = body.get(1..4).and_then(|bytes| hamming_24_18(bytes.try_into().ok()?)) else {
            return;
        };
        // Function 0 is a basic page; seven bits behind it name the set, of which the lower three are the header's own.
        let region = u8::try_from(first >> 10 & 0x0f).unwrap_or(0);
        if first & 0x0f != 0 {
            return;
        }
        if number == PAGE_FORMAT {
            if let Some(page) = self.open(magazine) {
                page.set.region = region;
            }
        } else if let Some(place) = self.magazines.get_mut(usize::from(magazine)) {
            place.region = region;
        }
    }
}

impl Header {
    fn parse(body: &[u8; 40]) -> Option<Self> {
        let mut fields = [0; 8];
        for (field, &byte) in fields.iter_mut().zip(body) {
            *field = hamming_8_4(byte)?;
        }
        let [units, tens, _, s2_c4, _, s4_c5_c6, _, c11_to_c14] = fields;
        Some(Self {
            number: tens << 4 | units,
            erases: s2_c4 & 8 != 0,
            c5_c6: s4_c5_c6 & 0x0c,
            is_serial: c11_to_c14 & 1 != 0,
            // C12 is the highest.
            national: (c11_to_c14 & 2) << 1 | (c11_to_c14 & 4) >> 1 | c11_to_c14 >> 3,
        })
    }
}

impl Header {
    fn is_subtitle(self) -> bool {
        self.c5_c6 & 8 != 0
    }
}

impl Page {
    fn lines(&self) -> Vec<Line> {
        let mut cells: Vec<[Option<Cell>; COLUMNS]> = Vec::with_capacity(ROWS);
        let mut is_hidden = true; // the header's own row
        for row in &self.rows {
            cells.push(if is_hidden { [None; COLUMNS] } else { self.cells(row) });
            // Letters of double height reach into the row below, whose own are not shown (§12.2).
            is_hidden = !is_hidden && row.iter().any(|code| matches!(code, 0x0d | 0x0f));
        }
        self.enhance(&mut cells);
        let rows = cells.iter().enumerate();
        rows.filter_map(|(row, cells)| line(cells, percent(row, ROWS), |column| percent(column, COLUMNS)))
            .collect()
    }

    /// One row at level 1: spacing attributes and letters (§12.2).
    fn cells(&self, row: &[u8; COLUMNS]) -> [Option<Cell>; COLUMNS] {
        let (mut style, mut is_mosaic, mut is_in_box) = (Style::default(), false, !self.is_boxed);
        row.map(|code| {
            match code {
                0x00..=0x07 => (style.colour, is_mosaic) = (colour(code), false),
                0x10..=0x17 => (style.colour, is_mosaic) = (colour(code & 7), true),
                0x0a => is_in_box = !self.is_boxed,
                0x0b => is_in_box = true,
                // Capitals are letters also among mosaics.
                0x20..=0x7f if is_in_box && !(is_mosaic && code & 0x20 != 0) => {
                    return Some(Cell { letter: self.set.letter(code), style });
                }
                _ => {}
            }
            None
        })
    }

    /// Packets 26: letters above those of level 1.
    fn enhance(&self, cells: &mut [[Option<Cell>; COLUMNS]]) {
        let mut row = 0;
        for triplet in self.enhancements.iter().flatten().flatten() {
            let Triplet { address, mode, data } = *triplet;
            match (address, mode) {
                (_, 0x1f) if address >= 40 => return,
                // Set active position, full row colour; rows count from 40, which is the last.
                (40..=63, 0x01 | 0x04) => row = if address == 40 { 24 } else { usize::from(address - 40) },
                (40.., _) => {}
                (column, mode) => {
                    let letter = match mode {
                        0x0f => supplementary(data),
                        // G0 without national options.
                        0x10 if data == b'*' => '@',
                        0x10..=0x1f if data >= 0x20 => accented(char::from(data), mode & 15),
                        _ => continue,
                    };
                    if let Some(place) = cells.get_mut(row).and_then(|row| row.get_mut(usize::from(column))) {
                        let style = place.map_or_else(Style::default, |below| below.style);
                        *place = Some(Cell { letter, style });
                    }
                }
            }
        }
    }
}

fn triplets(body: &[u8; 40]) -> [Option<Triplet>; 13] {
    let (parts, _) = body.get(1..).unwrap_or(&[]).as_chunks::<3>();
    let mut triplets = [None; 13];
    for (place, &bytes) in triplets.iter_mut().zip(parts) {
        *place = hamming_24_18(bytes).and_then(|word| {
            let part = |shift: u32, mask: u32| u8::try_from(word >> shift & mask).ok();
            Some(Triplet { address: part(0, 0x3f)?, mode: part(6, 0x1f)?, data: part(11, 0x7f)? })
        });
    }
    triplets
}

/// Four bits of eight (§8.2): one wrong bit is put right, two are found.
fn hamming_8_4(byte: u8) -> Option<u8> {
    let covered = |mask: u8| (byte & mask).count_ones() & 1;
    // Odd over these when nothing is wrong; the last is over all.
    let tests = [0b1010_0011, 0b1000_1110, 0b0011_1010_u8].map(covered);
    let is_whole_odd = covered(0xff) == 1;
    let byte = match (tests, is_whole_odd) {
        ([1, 1, 1], _) => byte,
        (_, true) => return None,
        (tests, false) => {
            // Which bit is in just the tests that failed.
            let wrong = match tests {
                [0, 0, 0] => 1,
                [0, 0, 1] => 7,
                [0, 1, 0] => 5,
                [1, 0, 0] => 3,
                // Parity bits alone, of which none is data.
                _ => 0,
            };
            byte ^ (1 << wrong)
        }
    };
    Some(byte >> 1 & 1 | byte >> 2 & 2 | byte >> 3 & 4 | byte >> 4 & 8)
}

/// Eighteen bits of twenty-four (§8.3).
fn hamming_24_18(bytes: [u8; 3]) -> Option<u32> {
    let [low, middle, high] = bytes;
    let mut word = u32::from_le_bytes([low, middle, high, 0]);
    // Bits are counted from 1: test n is over those whose number has bit n. What fails names the wrong bit.
    let wrong = (0..5).fold(0_u32, |wrong, test| {
        let ones = (1..24_u32).filter(|bit| bit >> test & 1 == 1 && word >> (bit - 1) & 1 == 1).count();
        if ones % 2 == 1 { wrong } else { wrong | 1 << test }
    });
    let is_whole_odd = word.count_ones() % 2 == 1;
    match (wrong, is_whole_odd) {
        (0, _) => {}
        (1..24, false) => word ^= 1 << (wrong - 1),
        _ => return None,
    }
    Some(word >> 2 & 1 | word >> 3 & 0xe | word >> 4 & 0x7f0 | word >> 5 & 0x3_f800)
}

fn colour(code: u8) -> Colour {
    match code {
        0 => Colour::Black,
        1 => Colour::Red,
        2 => Colour::Green,
        3 => Colour::Yellow,
        4 => Colour::Blue,
        5 => Colour::Magenta,
        6 => Colour::Cyan,
        _ => Colour::White,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::captions::Cue;

    /// §8.2, all sixteen.
    const HAMMING_8_4: [u8; 16] =
        [0x15, 0x02, 0x49, 0x5e, 0x64, 0x73, 0x38, 0x2f, 0xd0, 0xc7, 0x8c, 0x9b, 0xa1, 0xb6, 0xfd, 0xea];

    fn unit(packet: [u8; 42]) -> Vec<u8> {
        [&[UNIT_SUBTITLE, UNIT_BYTES, 0xe7, FRAMING_CODE][..], &packet.map(u8::reverse_bits)].concat()
    }

    fn packet(magazine: u8, number: u8, body: &[u8]) -> [u8; 42] {
        let mut packet = [0x20; 42];
        let address = magazine | (number & 1) << 3;
        packet[..2].copy_from_slice(&[address, number >> 1].map(|nibble| HAMMING_8_4[usize::from(nibble)]));
        packet[2..2 + body.len()].copy_from_slice(body);
        packet
    }

    /// A header of `fields`, which are protected here.
    fn header(magazine: u8, fields: [u8; 8]) -> Vec<u8> {
        unit(packet(magazine, 0, &fields.map(|field| HAMMING_8_4[usize::from(field)])))
    }

    fn row(magazine: u8, number: u8, text: &[u8]) -> Vec<u8> {
        let odd = |code: &u8| if code.count_ones().is_multiple_of(2) { code | 0x80 } else { *code };
        unit(packet(magazine, number, &text.iter().map(odd).collect::<Vec<_>>()))
    }

    /// C4 and C6 are set; page 88.
    const SUBTITLE: [u8; 8] = [8, 8, 0, 8, 0, 8, 0, 0];
    const FILLER: [u8; 8] = [15, 15, 0, 0, 0, 0, 0, 0];

    fn push(teletext: &mut Teletext, at_90k: i64, units: &[Vec<u8>]) -> Vec<Event> {
        let mut events = Vec::new();
        teletext.push(at_90k, &[&[0x10][..], &units.concat()].concat(), &mut events);
        events
    }

    #[test]
    fn a_boxed_page_of_double_height_is_shown_until_it_is_erased() {
        let mut teletext = Teletext::new();
        // The row below belongs to the letters above, and what is outside of the box is not shown.
        let text = [
            header(0, SUBTITLE),
            row(0, 20, b"\x0dOUT\x0b\x0b\x06HELLO\x0a\x0aOUT"),
            row(0, 21, b"\x0b\x0bHIDDEN"),
            row(0, 22, b"\x0b\x0bWORLD"),
            header(0, FILLER),
        ];
        let events = push(&mut teletext, 100, &text);
        let lines = vec!["HELLO".to_owned(), "WORLD".to_owned()];
        assert_eq!(events, [Event::Said { track: Track::Teletext(0x888), lines }]);
        assert_eq!(push(&mut teletext, 150, &text), [], "the same once more");
        let events = push(&mut teletext, 200, &[header(0, SUBTITLE), header(0, FILLER)]);
        let [Event::Cue(Cue { start_90k: 100, end_90k: 200, lines, .. })] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(lines[0].style.colour, Colour::Cyan);
        assert_eq!(lines[0].top_percent, 80);
        assert_eq!(teletext.heard().collect::<Vec<_>>(), [0x888]);
    }

    #[test]
    fn pages_that_are_no_subtitles_are_read_only_when_they_are_announced() {
        let ordinary = [0, 0, 0, 8, 0, 0, 0, 0];
        let page = [header(1, ordinary), row(1, 1, b"PLAIN"), header(1, FILLER)];
        let mut teletext = Teletext::new();
        assert_eq!(push(&mut teletext, 0, &page), []);
        teletext.announce([0x100].into_iter());
        assert_eq!(push(&mut teletext, 0, &page).len(), 1);
    }

    #[test]
    fn rows_belong_to_the_page_of_their_own_magazine_unless_magazines_are_serial() {
        let mut teletext = Teletext::new();
        let other = header(1, [0, 0, 0, 0, 0, 0, 0, 0]);
        let serial = header(1, [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(push(&mut teletext, 0, &[header(0, SUBTITLE), other, row(1, 5, b"NO")]), []);
        assert_eq!(push(&mut teletext, 9, &[row(0, 5, b"\x0bYES"), serial]).len(), 1);
    }

    #[test]
    fn one_wrong_bit_is_put_right_and_two_are_found() {
        for (value, code) in (0..).zip(HAMMING_8_4) {
            assert_eq!(hamming_8_4(code), Some(value));
            for bit in 0..8 {
                assert_eq!(hamming_8_4(code ^ 1 << bit), Some(value), "{value} with bit {bit} wrong");
                for other in (0..8).filter(|&other| other != bit) {
                    assert_eq!(hamming_8_4(code ^ 1 << bit ^ 1 << other), None);
                }
            }
        }
        // All parity bits but the last are set where no other bit is.
        let zero = [0x8b, 0x80, 0x00];
        assert_eq!(hamming_24_18(zero), Some(0));
        for bit in 0..24 {
            let mut wrong = zero;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(hamming_24_18(wrong), Some(0), "bit {bit} wrong");
            wrong[usize::from(bit < 8)] ^= 0x40;
            assert_eq!(hamming_24_18(wrong), None);
        }
    }

    #[test]
    fn a_damaged_header_leaves_its_rows_to_nobody() {
        let mut teletext = Teletext::new();
        let mut damaged = header(0, SUBTITLE);
        damaged[6] ^= 0x03;
        assert_eq!(push(&mut teletext, 0, &[damaged, row(0, 20, b"\x0bX"), header(0, FILLER)]), []);
        assert_eq!(teletext.damaged(), 1);
    }

    proptest! {
        #[test]
        fn no_payload_panics_or_grows(
            units in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 46)), 0..80),
        ) {
            let mut teletext = Teletext::new();
            for (n, (is_random, mut bytes)) in units.into_iter().enumerate() {
                bytes[..2].copy_from_slice(&[UNIT_SUBTITLE, UNIT_BYTES]);
                bytes[3] = FRAMING_CODE;
                if !is_random {
                    // Any page's header, or a packet that its address can be read of.
                    let nibble = |byte: u8| HAMMING_8_4[usize::from(byte & 15)].reverse_bits();
                    bytes[4] = nibble(bytes[4]);
                    bytes[5] = nibble(bytes[5] % if n % 2 == 0 { 1 } else { 15 });
                    bytes[6..14].iter_mut().for_each(|byte| *byte = nibble(*byte));
                }
                push(&mut teletext, 0, &[bytes]);
                prop_assert!(teletext.pages.len() <= PAGES_MAX);
            }
            teletext.end(0, &mut Vec::new());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Teletext::new().push(0, &[&[0x10][..], &bytes].concat(), &mut Vec::new());
        }
    }
}
