//! What random bytes are made into, so that they get past the sync byte and the CRC and reach the parser behind.

use std::collections::BTreeMap;

use media::packet::{PACKET_BYTES, PacketBytes, SYNC_BYTE};
use media::section::crc32;

/// PIDs that a record may choose: tables with fixed places, three PMTs, three streams.
const PIDS: [u16; 16] =
    [0, 1, 0x10, 0x11, 0x12, 0x14, 0x1ffb, 0x20, 0x21, 0x22, 0x100, 0x101, 0x102, 0x1d00, 0x1fff, 0x1e00];

/// The bytes as packets: each 188 of them, the rest as one more filled up; the first byte made a sync byte.
pub(crate) fn packets(bytes: &[u8]) -> impl Iterator<Item = PacketBytes> {
    bytes.chunks(PACKET_BYTES).map(|chunk| {
        let mut packet = [0xff; PACKET_BYTES];
        packet[..chunk.len()].copy_from_slice(chunk);
        packet[0] = SYNC_BYTE;
        packet
    })
}

/// A section in the long syntax out of any bytes: its length and its CRC are made right.
pub(crate) fn section(bytes: &[u8]) -> Vec<u8> {
    let mut section = bytes[..bytes.len().min(4_080)].to_vec();
    section.resize(section.len().max(8), 0);
    let length = u16::try_from(section.len() + 1).unwrap_or(0);
    section[1] = section[1] & 0x70 | 0x80 | length.to_be_bytes()[0] & 0x0f;
    section[2] = length.to_be_bytes()[1];
    section.extend(crc32(&section).to_be_bytes());
    section
}

/// A packet as HDHomeRun tuners send them out of any bytes: its length and its CRC are made right.
pub(crate) fn tuner_packet(bytes: &[u8]) -> Vec<u8> {
    let mut packet = bytes[..bytes.len().min(1_452)].to_vec();
    packet.resize(packet.len().max(4), 0);
    let fields = u16::try_from(packet.len() - 4).unwrap_or(0);
    packet[2..4].copy_from_slice(&fields.to_be_bytes());
    let bit = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 };
    let crc = !packet.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), bit));
    packet.extend(crc.to_le_bytes());
    packet
}

/// A record: what it says, and how many milliseconds pass before it.
pub(crate) struct Record {
    pub(crate) later_ms: u64,
    pub(crate) packets: Vec<PacketBytes>,
}

/// A multiplex out of any bytes. Each record begins with a byte that chooses a PID, one that says what it is and how much
/// later it comes, and one for its length; it is a section, or the payload of a packet behind its flags.
pub(crate) fn multiplex(mut bytes: &[u8]) -> Vec<Record> {
    let (mut records, mut counters) = (Vec::new(), [0_u8; PIDS.len()]);
    while let Some((&[place, kind, length], rest)) = bytes.split_first_chunk::<3>() {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(length) << (place >> 6)));
        bytes = rest;
        let place = usize::from(place & 15);
        let counter = &mut counters[place];
        let later_ms = [0, 1, 20, 40, 101, 501, 1_500, 6_000][usize::from(kind >> 4 & 7)];
        let packets = if kind & 0x80 == 0 {
            let section = if kind & 8 == 0 { section(body) } else { body.to_vec() };
            table(PIDS[place], &section, counter)
        } else {
            vec![payload(PIDS[place], kind, body, counter)]
        };
        records.push(Record { later_ms, packets });
    }
    records
}

/// Writes a stream packet by packet.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) packets: Vec<PacketBytes>,
    counters: BTreeMap<u16, u8>,
}

impl Writer {
    /// The packets of one section.
    pub(crate) fn section(&mut self, pid: u16, section: &[u8]) {
        let packets = table(pid, section, self.counters.entry(pid).or_default());
        self.packets.extend(packets);
    }

    /// A PES packet with a PTS.
    pub(crate) fn pes(&mut self, pid: u16, stream_id: u8, pts_90k: u64, payload: &[u8]) {
        let part = |shift: u32, bits: u64| u8::try_from(pts_90k >> shift & bits).unwrap_or(0);
        let stamp = [
            0x21 | part(30, 7) << 1,
            part(22, 0xff),
            part(15, 0x7f) << 1 | 1,
            part(7, 0xff),
            part(0, 0x7f) << 1 | 1,
        ];
        let bytes = [&[0, 0, 1, stream_id, 0, 0, 0x80, 0x80, 5], &stamp[..], payload].concat();
        for (n, part) in bytes.chunks(PACKET_BYTES - 12).enumerate() {
            let counter = self.counters.entry(pid).or_default();
            let stuffing = u8::try_from(PACKET_BYTES - 5 - part.len()).unwrap_or(0);
            let mut packet = [0xff; PACKET_BYTES];
            let [high, low] = pid.to_be_bytes();
            packet[..6].copy_from_slice(&[SYNC_BYTE, high, low, 0x30 | *counter, stuffing, 0]);
            packet[1] |= if n == 0 { 0x40 } else { 0 };
            packet[PACKET_BYTES - part.len()..].copy_from_slice(part);
            *counter = (*counter + 1) & 15;
            self.packets.push(packet);
        }
    }
}

/// The packets of one section.
fn table(pid: u16, section: &[u8], counter: &mut u8) -> Vec<PacketBytes> {
    let bytes = [&[0], section].concat();
    let mut first = true;
    let mut cut = |part: &[u8]| {
        let mut packet = [0xff; PACKET_BYTES];
        let [high, low] = pid.to_be_bytes();
        packet[..4].copy_from_slice(&[SYNC_BYTE, high, low, 0x10 | *counter]);
        packet[1] |= if std::mem::take(&mut first) { 0x40 } else { 0 };
        packet[4..4 + part.len()].copy_from_slice(part);
        *counter = (*counter + 1) & 15;
        packet
    };
    bytes.chunks(PACKET_BYTES - 4).map(&mut cut).collect()
}

/// One packet; its record's first two bytes are its flags.
fn payload(pid: u16, kind: u8, body: &[u8], counter: &mut u8) -> PacketBytes {
    let mut packet = [0xff; PACKET_BYTES];
    let [high, low] = pid.to_be_bytes();
    let (flags, body) = body.split_first().map_or((0, body), |(flags, body)| (*flags, body));
    packet[..4].copy_from_slice(&[SYNC_BYTE, high | flags & 0xe0, low, (flags & 3) << 6 | 0x10 | *counter]);
    packet[3] |= if kind & 8 == 0 { 0 } else { 0x20 };
    let length = body.len().min(PACKET_BYTES - 4);
    packet[4..4 + length].copy_from_slice(&body[..length]);
    // A gap now and then.
    *counter = (*counter + 1 + u8::from(kind & 7 == 7)) & 15;
    packet
}
