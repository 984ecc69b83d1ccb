//! Closed captions as an encoder makes them (CTA-608, CTA-708, carried as ATSC A/53 part 4 has it), put into coded pictures.
//! Beside the standards it knows nothing; the receivers it is there for have their own tables.

use std::collections::BTreeMap;

use crate::multiplex::Pes;

/// How pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// ISO/IEC 13818-2: user data of the picture.
    Mpeg2,
    /// An SEI message before the first slice.
    H264,
    /// A prefix SEI message before the first slice.
    H265,
}

/// Which line of which field: CC1 and CC2 are in the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// CC1, CC2.
    First,
    /// CC3, CC4.
    Second,
}

/// Control codes of CTA-608 for the first channel of a field, without parity.
pub mod code {
    /// RCL: what follows is loaded unseen.
    pub const RESUME_CAPTION_LOADING: [u8; 2] = [0x14, 0x20];
    /// BS.
    pub const BACKSPACE: [u8; 2] = [0x14, 0x21];
    /// DER.
    pub const DELETE_TO_END_OF_ROW: [u8; 2] = [0x14, 0x24];
    /// RU2.
    pub const ROLL_UP_2: [u8; 2] = [0x14, 0x25];
    /// RU3.
    pub const ROLL_UP_3: [u8; 2] = [0x14, 0x26];
    /// RDC: what follows is painted.
    pub const RESUME_DIRECT_CAPTIONING: [u8; 2] = [0x14, 0x29];
    /// EDM.
    pub const ERASE_DISPLAYED: [u8; 2] = [0x14, 0x2c];
    /// CR.
    pub const CARRIAGE_RETURN: [u8; 2] = [0x14, 0x2d];
    /// ENM.
    pub const ERASE_NON_DISPLAYED: [u8; 2] = [0x14, 0x2e];
    /// EOC: what was loaded is shown.
    pub const END_OF_CAPTION: [u8; 2] = [0x14, 0x2f];
    /// PAC: row 15 (the lowest), column 0, white.
    pub const ROW_15: [u8; 2] = [0x14, 0x70];
    /// PAC: row 14, column 0, white.
    pub const ROW_14: [u8; 2] = [0x14, 0x50];
    /// PAC: row 1, column 8.
    pub const ROW_1_COLUMN_8: [u8; 2] = [0x11, 0x54];
    /// TO2: two columns on.
    pub const TAB_2: [u8; 2] = [0x17, 0x22];
    /// A mid-row code: italics.
    pub const ITALICS: [u8; 2] = [0x11, 0x2e];
    /// A special character: ♪.
    pub const NOTE: [u8; 2] = [0x11, 0x37];
    /// An extended one, Ü, in place of the letter before it.
    pub const U_DIAERESIS: [u8; 2] = [0x12, 0x24];
}

/// What is said in which picture, in the order of presentation.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pairs: BTreeMap<(usize, Field), [u8; 2]>,
    packets: BTreeMap<usize, Vec<[u8; 3]>>,
    sequence: u8,
}

/// Triplets of 708 in one picture: as many as 30 pictures a second have room for, but for some.
const TRIPLETS_MAX: usize = 16;

impl Script {
    /// Nothing is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says `codes` in `field`, one pair a picture from picture `at` on; gives the picture behind the last. Control codes
    /// (first byte below 0x20) are sent twice, as they are on air.
    pub fn say(&mut self, at: usize, field: Field, codes: &[[u8; 2]]) -> usize {
        let twice = codes.iter().flat_map(|&pair| vec![pair; if pair[0] < 0x20 { 2 } else { 1 }]);
        let mut picture = at;
        for pair in twice {
            let before = self.pairs.insert((picture, field), pair.map(odd_parity));
            assert_eq!(before, None, "picture {picture} says something already");
            picture += 1;
        }
        picture
    }

    /// Sends `bytes` of a caption service (CTA-708), split over packets and pictures from picture `at` on; gives the picture
    /// behind the last.
    pub fn serve(&mut self, at: usize, service: u8, bytes: &[u8]) -> usize {
        let mut triplets = Vec::new();
        for block in bytes.chunks(24) {
            // service_block_header, then the packet's own with its size in pairs.
            let mut body = vec![service << 5 | u8::try_from(block.len()).expect("a block is short")];
            body.extend_from_slice(block);
            let pairs = u8::try_from(body.len() / 2 + 1).expect("a packet is short");
            body.insert(0, self.sequence << 6 | pairs);
            self.sequence = (self.sequence + 1) & 3;
            body.resize(usize::from(pairs) * 2, 0);
            let typed = |(n, pair): (usize, &[u8])| [if n == 0 { 0xff } else { 0xfe }, pair[0], pair[1]];
            triplets.extend(body.chunks(2).enumerate().map(typed));
        }
        // An empty packet: some receivers carry a packet out only when the next begins.
        triplets.push([0xff, self.sequence << 6 | 1, 0]);
        self.sequence = (self.sequence + 1) & 3;
        let mut picture = at;
        for part in triplets.chunks(TRIPLETS_MAX) {
            let before = self.packets.insert(picture, part.to_vec());
            assert_eq!(before, None, "picture {picture} has packets already");
            picture += 1;
        }
        picture
    }

    /// Puts it into the coded pictures of `packets`, one picture each.
    pub fn write_into(&self, packets: &mut [Pes], coding: Coding) {
        let mut order: Vec<usize> = (0..packets.len()).collect();
        order.sort_unstable_by_key(|&at| packets[at].pts_90k);
        for (picture, at) in order.into_iter().enumerate() {
            let place = first_slice(&packets[at].payload, coding);
            let carried = carriage(&self.triplets(picture), coding);
            packets[at].payload.splice(place..place, carried);
        }
    }

    /// The triplets of one picture: both fields, then 708.
    fn triplets(&self, picture: usize) -> Vec<[u8; 3]> {
        let pair = |field| self.pairs.get(&(picture, field)).copied().unwrap_or([0x80, 0x80]);
        let ([a, b], [c, d]) = (pair(Field::First), pair(Field::Second));
        let mut triplets = vec![[0xfc, a, b], [0xfd, c, d]];
        triplets.extend(self.packets.get(&picture).into_iter().flatten());
        triplets
    }
}

/// Text of CTA-608, two letters a pair.
pub fn text(line: &str) -> Vec<[u8; 2]> {
    line.as_bytes().chunks(2).map(|pair| [pair[0], pair.get(1).copied().unwrap_or(0)]).collect()
}

/// Commands of CTA-708.
pub mod window {
    /// `DefineWindow`: `id` with so many rows and columns, at the lower middle of the picture, with the first styles.
    pub fn define(id: u8, rows: u8, columns: u8, visible: bool) -> [u8; 7] {
        let priority_and_locks = u8::from(visible) << 5 | 0x18 | id;
        // Relative position: 90 % down, in the middle; anchored by its lower middle.
        let relative = 0x80;
        [0x98 | id, priority_and_locks, relative + 90, 50, 0x70 | (rows - 1), columns - 1, 0x09]
    }

    /// `SetCurrentWindow`.
    pub fn select(id: u8) -> [u8; 1] {
        [0x80 | id]
    }

    /// `DisplayWindows`: this one.
    pub fn display(id: u8) -> [u8; 2] {
        [0x89, 1 << id]
    }

    /// `HideWindows`: this one.
    pub fn hide(id: u8) -> [u8; 2] {
        [0x8a, 1 << id]
    }

    /// `ClearWindows`: this one.
    pub fn clear(id: u8) -> [u8; 2] {
        [0x88, 1 << id]
    }

    /// `DeleteWindows`: all.
    pub const DELETE_ALL: [u8; 2] = [0x8c, 0xff];
    /// The end of a text.
    pub const END_OF_TEXT: u8 = 0x03;
    /// CR.
    pub const CARRIAGE_RETURN: u8 = 0x0d;
}

fn odd_parity(byte: u8) -> u8 {
    if byte.count_ones().is_multiple_of(2) { byte | 0x80 } else { byte }
}

/// Where the first slice of a coded picture begins, start code and all.
fn first_slice(picture: &[u8], coding: Coding) -> usize {
    let is_slice = |byte: u8| match coding {
        Coding::Mpeg2 => matches!(byte, 0x01..=0xaf),
        Coding::H264 => matches!(byte & 0x1f, 1..=5),
        Coding::H265 => byte >> 1 & 0x3f < 32,
    };
    let found = picture.windows(4).position(|bytes| bytes.starts_with(&[0, 0, 1]) && is_slice(bytes[3]));
    let place = found.expect("a picture has slices");
    // A start code may have a zero byte before it, which belongs to it.
    if coding != Coding::Mpeg2 && place > 0 && picture[place - 1] == 0 { place - 1 } else { place }
}

/// `user_data_type_structure` of A/53 in what the coding carries it in.
fn carriage(triplets: &[[u8; 3]], coding: Coding) -> Vec<u8> {
    let count = u8::try_from(triplets.len()).expect("31 at most");
    let mut data = b"GA94\x03".to_vec();
    data.extend([0xc0 | count, 0xff]);
    data.extend(triplets.as_flattened());
    data.push(0xff);
    if coding == Coding::Mpeg2 {
        return [&[0, 0, 1, 0xb2], &data[..]].concat();
    }
    let message = [&[0xb5, 0x00, 0x31], &data[..]].concat();
    let header: &[u8] = if coding == Coding::H264 { &[0x06] } else { &[0x4e, 0x01] };
    let size = u8::try_from(message.len()).expect("one byte of size");
    let unit = [header, &[0x04, size], &message, &[0x80]].concat();
    let mut bytes = vec![0, 0, 0, 1];
    let mut zeros = 0;
    for byte in unit {
        if zeros >= 2 && byte <= 3 {
            bytes.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_parity_and_packets_their_size() {
        let mut script = Script::new();
        let next = script.say(0, Field::First, &[code::RESUME_CAPTION_LOADING, *b"HI"]);
        assert_eq!(next, 3);
        assert_eq!(script.triplets(0), [[0xfc, 0x94, 0x20], [0xfd, 0x80, 0x80]]);
        assert_eq!(script.triplets(2)[0], [0xfc, 0xc8, 0x49]);
        script.serve(5, 1, b"ABC");
        // A header, a block header, three letters and a null: three pairs.
        let packet = [[0xff, 0x03, 0x23], [0xfe, b'A', b'B'], [0xfe, b'C', 0]];
        assert_eq!(script.triplets(5)[2..], [&packet[..], &[[0xff, 0x41, 0]]].concat());
    }

    #[test]
    fn captions_go_before_the_first_slice() {
        let mut pes = [Pes {
            stream_id: 0xe0,
            pts_90k: 0,
            dts_90k: 0,
            payload: vec![0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x65, 0x88],
        }];
        Script::new().write_into(&mut pes, Coding::H264);
        let payload = &pes[0].payload;
        assert_eq!(payload[6..15], [0, 0, 0, 1, 0x06, 0x04, 17, 0xb5, 0]);
        assert!(payload.ends_with(&[0x80, 0, 0, 0, 1, 0x65, 0x88]), "{payload:x?}");
    }
}
