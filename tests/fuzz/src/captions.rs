//! Captions and teletext: in streams of any kind, and with all around them right, so that the decoders are reached.

use media::Packet;
use media::captions::Reader;
use media::packet::PacketBytes;

use crate::Target;
use crate::shapes::{Writer, multiplex, packets, section};

pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("captions", captions),
    ("captions-tables", captions_tables),
    ("closed-captions", closed_captions),
    ("teletext", teletext),
];

/// PTS of one picture after the other.
const FRAME_90K: u64 = 3_003;

fn read<'a>(packets: impl IntoIterator<Item = &'a PacketBytes>) {
    let mut reader = Reader::new();
    for packet in packets {
        if let Ok(packet) = Packet::parse(packet) {
            reader.push(packet);
            reader.events().for_each(drop);
        }
    }
    reader.finish();
    let _ = (reader.events().count(), reader.tracks(), reader.counters());
}

fn captions(bytes: &[u8]) {
    read(&packets(bytes).collect::<Vec<_>>());
}

fn captions_tables(bytes: &[u8]) {
    let records = multiplex(bytes);
    read(records.iter().flat_map(|record| &record.packets));
}

/// `cc_data` of one picture after the other, each behind a byte for how many triplets it has, in H.264.
fn closed_captions(mut bytes: &[u8]) {
    let mut out = Writer::new(&[0x1b, 0xe1, 0, 0xf0, 0]);
    let mut pts = 90_000;
    while let Some((&count, rest)) = bytes.split_first() {
        let (triplets, rest) = rest.split_at(rest.len().min(usize::from(count & 31) * 3));
        bytes = rest;
        let user_data = [
            &[0xb5, 0, 0x31],
            &b"GA94\x03"[..],
            &[0x40 | u8::try_from(triplets.len() / 3).unwrap_or(31), 0xff],
            triplets,
            &[0xff],
        ]
        .concat();
        let length = u8::try_from(user_data.len()).unwrap_or(u8::MAX);
        let picture = [
            &[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 6, 4, length],
            &escaped(&user_data)[..],
            &[0x80, 0, 0, 1, 0x41, 0x9a],
        ]
        .concat();
        out.pes(0x100, 0xe0, pts, &picture);
        // Now and then out of order, and far away.
        pts = match count >> 5 {
            6 => pts.saturating_sub(2 * FRAME_90K),
            7 => pts + 1_000_000,
            _ => pts + FRAME_90K,
        };
    }
    read(&out.packets);
}

/// Emulation prevention (ITU-T H.264 §7.4.1).
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut zeros) = (Vec::new(), 0);
    for &byte in bytes {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Teletext packets, 42 bytes each behind a byte for which of them are protected how; their addresses are made right.
fn teletext(mut bytes: &[u8]) {
    let mut out = Writer::new(&[0x06, 0xe1, 0, 0xf0, 7, 0x56, 5, b'd', b'e', b'u', 0x10, 0x88]);
    let mut pts = 90_000;
    let mut units = vec![0x10];
    while let Some((&kind, rest)) = bytes.split_first() {
        let (packet, rest) = rest.split_at(rest.len().min(42));
        bytes = rest;
        let mut unit = [0x20; 42];
        unit[..packet.len()].copy_from_slice(packet);
        let coded = match kind & 3 {
            // A header: two bytes of address and eight of number and control bits.
            0 => 10,
            3 => 0,
            _ => 2,
        };
        unit[..coded].iter_mut().for_each(|byte| *byte = HAMMING_8_4[usize::from(*byte & 15)]);
        let parity = |byte: u8| if byte.count_ones() % 2 == 0 { byte ^ 0x80 } else { byte };
        unit[coded..].iter_mut().for_each(|byte| *byte = if kind & 4 == 0 { parity(*byte) } else { *byte });
        units.extend([2 + (kind >> 3 & 1), 44, 0xe7, 0xe4]);
        // Bits go out least significant first (ETSI EN 300 472 §4.3).
        units.extend(unit.iter().map(|byte| byte.reverse_bits()));
        if kind & 0x10 != 0 {
            out.pes(0x100, 0xbd, pts, &units);
            units = vec![0x10];
            pts += u64::from(kind) * 50;
        }
    }
    out.pes(0x100, 0xbd, pts, &units);
    read(&out.packets);
}

/// Four bits with four that protect them (ETSI EN 300 706 §8.2).
const HAMMING_8_4: [u8; 16] =
    [0x15, 0x02, 0x49, 0x5e, 0x64, 0x73, 0x38, 0x2f, 0xd0, 0xc7, 0x8c, 0x9b, 0xa1, 0xb6, 0xfd, 0xea];

impl Writer {
    /// A stream of one programme with one elementary stream, as a PMT has it.
    fn new(stream: &[u8]) -> Self {
        let mut writer = Self::default();
        writer.section(0, &section(&[0, 0, 0, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0, 0x20]));
        let pmt = [&[2, 0, 0, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0], stream].concat();
        writer.section(0x20, &section(&pmt));
        writer
    }
}
