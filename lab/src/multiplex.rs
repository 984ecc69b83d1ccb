//! A multiplexer of one programme, so that tests know every byte: PES packets in, a transport stream out. Written from
//! ISO/IEC 13818-1 alone; it shares nothing with what it is there to test.

use crate::packets::PACKET_BYTES;

/// PID of the programme map table that [`multiplex`] makes.
pub const PMT_PID: u16 = 0x1000;
/// The number of its programme.
pub const PROGRAMME: u16 = 1;

/// Tables are repeated this often: 0.1 s.
const TABLES_EVERY_90K: u64 = 9_000;
/// The clock stands this much before what is to be decoded next: 0.7 s.
const LEAD_90K: u64 = 63_000;
/// Teletext is sent so long before it is to be shown: 40 ms (EN 300 472 §5 lets it be no more).
const TELETEXT_LEAD_90K: u64 = 3_600;
const PAYLOAD_BYTES: usize = PACKET_BYTES - 4;

/// One elementary stream.
#[derive(Debug, Clone)]
pub struct Elementary {
    /// Where its packets go.
    pub pid: u16,
    /// As the PMT says (table 2-34).
    pub stream_type: u8,
    /// What the PMT says beside that.
    pub descriptors: Vec<u8>,
    /// In the order of decoding.
    pub packets: Vec<Pes>,
}

/// One PES packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pes {
    /// 0xe0 video, 0xbd private data.
    pub stream_id: u8,
    /// When to present.
    pub pts_90k: u64,
    /// When to decode.
    pub dts_90k: u64,
    /// What stands behind the header.
    pub payload: Vec<u8>,
}

/// A transport stream of one programme, whose first stream carries the clock. Its rate is what comes of it.
pub fn multiplex(streams: &[Elementary]) -> Vec<u8> {
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (n, stream) in streams.iter().enumerate() {
        order.extend(stream.packets.iter().enumerate().map(|(at, pes)| (pes.sent_90k(), n, at)));
    }
    order.sort_unstable();
    let mut out = Writer::default();
    let mut tables_90k = None;
    for (sent_90k, n, at) in order {
        if tables_90k.is_none_or(|last| sent_90k >= last + TABLES_EVERY_90K) {
            tables_90k = Some(sent_90k);
            out.section(0, &section(0x00, 1, &pat()));
            out.section(PMT_PID, &section(0x02, PROGRAMME, &pmt(streams)));
        }
        let pcr_90k = (n == 0).then(|| sent_90k.saturating_sub(LEAD_90K));
        out.payload(streams[n].pid, &streams[n].packets[at].bytes(), pcr_90k);
    }
    out.stream
}

/// The PES packets of one PID of a transport stream without faults.
pub fn pes_packets(stream: &[u8], pid: u16) -> Vec<Pes> {
    let mut whole: Vec<Vec<u8>> = Vec::new();
    for packet in stream.chunks(PACKET_BYTES) {
        if u16::from_be_bytes([packet[1] & 0x1f, packet[2]]) != pid {
            continue;
        }
        if packet[1] & 0x40 != 0 {
            whole.push(Vec::new());
        }
        let start = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
        if let Some(pes) = whole.last_mut().filter(|_| packet[3] & 0x10 != 0) {
            pes.extend_from_slice(&packet[start..]);
        }
    }
    whole.iter().map(|bytes| Pes::read(bytes)).collect()
}

/// The PIDs and types of the streams of a transport stream's first programme, by its first PMT, which must be one packet.
pub fn streams_of(stream: &[u8]) -> Vec<(u16, u8)> {
    let of = |pid: u16| {
        let mut packets = stream.chunks(PACKET_BYTES);
        let packet = packets.find(|packet| u16::from_be_bytes([packet[1] & 0x5f, packet[2]]) == pid | 0x4000);
        packet.map(|packet| &packet[5..]).expect("its tables begin with packets of their own")
    };
    // Programme 0 is none; ffmpeg writes none.
    let pat = of(0);
    let pmt = of(u16::from_be_bytes([pat[10] & 0x1f, pat[11]]));
    let length = |at: usize| usize::from(u16::from_be_bytes([pmt[at] & 0x0f, pmt[at + 1]]));
    let (mut at, end) = (12 + length(10), 3 + length(1) - 4);
    let mut found = Vec::new();
    while at < end {
        found.push((u16::from_be_bytes([pmt[at + 1] & 0x1f, pmt[at + 2]]), pmt[at]));
        at += 5 + length(at + 3);
    }
    found
}

impl Pes {
    /// When it is sent, by the clock of what is decoded then.
    fn sent_90k(&self) -> u64 {
        self.dts_90k + if self.is_teletext() { LEAD_90K - TELETEXT_LEAD_90K } else { 0 }
    }

    fn bytes(&self) -> Vec<u8> {
        // Teletext (EN 300 472 §4.2) has headers of 45 bytes, so that its units never cross packets.
        let stamps = stamps(self.pts_90k, self.dts_90k);
        let header_len = if self.is_teletext() { 0x24 } else { stamps.len() };
        let length = u16::try_from(3 + header_len + self.payload.len()).unwrap_or(0);
        let mut bytes = vec![0, 0, 1, self.stream_id];
        bytes.extend(length.to_be_bytes());
        let flags = if stamps.len() > 5 { 0xc0 } else { 0x80 };
        bytes.extend([0x84, flags, u8::try_from(header_len).expect("a header is short")]);
        bytes.extend(&stamps);
        bytes.resize(9 + header_len, 0xff);
        bytes.extend(&self.payload);
        bytes
    }

    fn is_teletext(&self) -> bool {
        self.stream_id == 0xbd && matches!(self.payload.first(), Some(0x10..=0x1f))
    }

    fn read(bytes: &[u8]) -> Self {
        let stamp = |at: usize| {
            let byte = |n: usize| u64::from(bytes[at + n]);
            (byte(0) >> 1 & 7) << 30 | byte(1) << 22 | (byte(2) >> 1) << 15 | byte(3) << 7 | byte(4) >> 1
        };
        let pts_90k = stamp(9);
        let dts_90k = if bytes[7] & 0x40 == 0 { pts_90k } else { stamp(14) };
        let payload = bytes[9 + usize::from(bytes[8])..].to_vec();
        Self { stream_id: bytes[3], pts_90k, dts_90k, payload }
    }
}

fn stamps(pts_90k: u64, dts_90k: u64) -> Vec<u8> {
    let stamp = |prefix: u8, word: u64| {
        let seven = |shift: u32| u8::try_from(word >> shift & 0x7f).expect("seven bits") << 1 | 1;
        let eight = |shift: u32| u8::try_from(word >> shift & 0xff).expect("eight bits");
        let three = u8::try_from(word >> 30 & 7).expect("three bits");
        [prefix << 4 | three << 1 | 1, eight(22), seven(15), eight(7), seven(0)]
    };
    if pts_90k == dts_90k {
        return stamp(2, pts_90k).to_vec();
    }
    [stamp(3, pts_90k), stamp(1, dts_90k)].concat()
}

fn pat() -> Vec<u8> {
    [PROGRAMME.to_be_bytes(), (0xe000 | PMT_PID).to_be_bytes()].concat()
}

fn pmt(streams: &[Elementary]) -> Vec<u8> {
    let mut body = (0xe000 | streams[0].pid).to_be_bytes().to_vec();
    body.extend([0xf0, 0]);
    for stream in streams {
        let len = u16::try_from(stream.descriptors.len()).expect("descriptors are short");
        body.push(stream.stream_type);
        body.extend((0xe000 | stream.pid).to_be_bytes());
        body.extend((0xf000 | len).to_be_bytes());
        body.extend(&stream.descriptors);
    }
    body
}

/// A section in the long syntax with its CRC, version 0.
pub fn section(table_id: u8, extension: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 9).expect("a section is short") | 0xb000;
    let mut bytes = vec![table_id];
    bytes.extend(length.to_be_bytes());
    bytes.extend(extension.to_be_bytes());
    bytes.extend([0xc1, 0, 0]);
    bytes.extend(body);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

/// Annex A; 0 over a section with its CRC.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        let step = |crc: u32, _| if crc >> 31 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 };
        (0..8).fold(crc ^ u32::from(byte) << 24, step)
    })
}

#[derive(Debug, Default)]
struct Writer {
    stream: Vec<u8>,
    counters: std::collections::BTreeMap<u16, u8>,
}

impl Writer {
    fn section(&mut self, pid: u16, section: &[u8]) {
        // pointer_field 0; what is left of the packet is stuffed behind the section.
        let mut bytes = [&[0], section].concat();
        bytes.resize(bytes.len().next_multiple_of(PAYLOAD_BYTES), 0xff);
        self.payload(pid, &bytes, None);
    }

    fn payload(&mut self, pid: u16, bytes: &[u8], pcr_90k: Option<u64>) {
        let (mut rest, mut is_first) = (bytes, true);
        while !rest.is_empty() {
            let pcr = pcr_90k.filter(|_| is_first);
            let field = if pcr.is_some() { 7 } else { 0 };
            let room = PAYLOAD_BYTES - if pcr.is_some() { field + 1 } else { 0 };
            let len = rest.len().min(room);
            let (part, after) = rest.split_at(len);
            let stuffing = room - len;
            let counter = self.counters.entry(pid).or_default();
            let [high, low] = pid.to_be_bytes();
            let has_field = pcr.is_some() || stuffing > 0;
            let control = if has_field { 0x30 } else { 0x10 };
            self.stream.extend([0x47, high | if is_first { 0x40 } else { 0 }, low, control | *counter]);
            *counter = (*counter + 1) & 15;
            if has_field {
                // With a clock the field is there anyway; without, its length byte is the first of the stuffing.
                let total = PAYLOAD_BYTES - len - 1;
                let begin = self.stream.len();
                self.stream.push(u8::try_from(total).expect("it fits a packet"));
                if total > 0 {
                    self.stream.push(if pcr.is_some() { 0x10 } else { 0 });
                }
                if let Some(base) = pcr {
                    let word = base << 15 | 0x3f << 9;
                    self.stream.extend(&word.to_be_bytes()[2..]);
                }
                self.stream.resize(begin + 1 + total, 0xff);
            }
            self.stream.extend_from_slice(part);
            (rest, is_first) = (after, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_multiplexed_is_found_again() {
        let pes = |stream_id, n: u64, len| Pes {
            stream_id,
            pts_90k: 200_000 + n * 3_600,
            dts_90k: 190_000 + n * 3_600,
            payload: vec![u8::try_from(n).unwrap() | 0x40; len],
        };
        let video = Elementary {
            pid: 0x100,
            stream_type: 0x1b,
            descriptors: vec![0x52, 1, 0],
            packets: (0..5).map(|n| pes(0xe0, n, 150 + 100 * usize::try_from(n).unwrap())).collect(),
        };
        let private = Elementary {
            pid: 0x101,
            stream_type: 6,
            descriptors: Vec::new(),
            packets: (0..3).map(|n| pes(0xbd, n, 165)).collect(),
        };
        let stream = multiplex(&[video.clone(), private.clone()]);
        assert!(stream.chunks(PACKET_BYTES).all(|packet| packet.len() == PACKET_BYTES && packet[0] == 0x47));
        assert_eq!(streams_of(&stream), [(0x100, 0x1b), (0x101, 6)]);
        assert_eq!(pes_packets(&stream, 0x100), video.packets);
        assert_eq!(pes_packets(&stream, 0x101), private.packets);
    }
}
