//! A small programme for tests: tables, pictures with a PCR and random access points, sound; 20 ms at a time.

use std::collections::BTreeSet;

use media::packet::{self, PACKET_BYTES, PacketBytes};
use media::section::crc32;
use media::time::PCR_MODULUS;

/// Turns between two random access points: half a second.
const ACCESS_POINT_EVERY: u64 = 25;
const TURN_TICKS: u64 = 540_000;

/// PIDs of PMT, pictures and sound.
pub(crate) type Pids = [u16; 3];

/// What a source lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// No PCRs come.
    NoPcr,
    /// They are the same again and again.
    StandingPcr,
    /// The PAT does not list the service, and nothing of it comes.
    Unlisted,
    /// No picture is a random access point.
    NoAccessPoints,
    /// There are no pictures; the sound has the PCR.
    NoPictures,
}

/// A source; its flaws are set from outside.
#[derive(Debug, Clone)]
pub(crate) struct TrialSource {
    service: u16,
    pids: Pids,
    counters: [u8; 4],
    pcr: u64,
    turns: u64,
    pub(crate) flaws: BTreeSet<Flaw>,
}

impl TrialSource {
    /// A service with counters, a time base and PIDs that follow from `seed`.
    pub(crate) fn new(service: u16, seed: u16) -> Self {
        let first = 0x100 + seed * 0x10;
        let counter = u8::try_from(seed % 16).unwrap_or(0);
        Self {
            service,
            pids: [first, first + 1, first + 2],
            counters: [counter; 4],
            pcr: u64::from(seed) * 1_000_000_007 % PCR_MODULUS,
            turns: 0,
            flaws: BTreeSet::new(),
        }
    }

    pub(crate) fn pids(&self) -> Pids {
        self.pids
    }

    pub(crate) fn set_pids(&mut self, pids: Pids) {
        self.pids = pids;
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(&flaw)
    }

    /// The next 20 ms.
    pub(crate) fn turn(&mut self) -> Vec<PacketBytes> {
        let mut out = Vec::new();
        let [pmt, pictures, sound] = self.pids;
        let [stream_high, stream_low] = (self.service + 100).to_be_bytes();
        let [high, low] = self.service.to_be_bytes();
        let [pmt_high, pmt_low] = pmt.to_be_bytes();
        let listing = [high, low, 0xe0 | pmt_high, pmt_low];
        let body = if self.has(Flaw::Unlisted) { &[][..] } else { &listing[..] };
        let pat = section(0, [stream_high, stream_low], body);
        out.push(self.packet(0, 0, true, None, &[&[0], &pat[..]].concat()));
        self.turns += 1;
        if !self.has(Flaw::StandingPcr) {
            self.pcr = (self.pcr + TURN_TICKS) % PCR_MODULUS;
        }
        if self.has(Flaw::Unlisted) {
            return out;
        }
        let has_pictures = !self.has(Flaw::NoPictures);
        let clock = if has_pictures { pictures } else { sound };
        let mut body = [(0xe000 | clock).to_be_bytes(), [0xf0, 0]].concat();
        if has_pictures {
            body.extend([&[0x1b][..], &(0xe000 | pictures).to_be_bytes(), &[0xf0, 0]].concat());
        }
        body.extend([&[0x0f][..], &(0xe000 | sound).to_be_bytes(), &[0xf0, 0]].concat());
        let table = section(2, [high, low], &body);
        out.push(self.packet(1, pmt, true, None, &[&[0], &table[..]].concat()));
        let pcr = (!self.has(Flaw::NoPcr)).then_some(self.pcr);
        if has_pictures {
            let access = !self.has(Flaw::NoAccessPoints) && self.turns.is_multiple_of(ACCESS_POINT_EVERY);
            let mut first = self.packet(2, pictures, true, pcr, &self.pes(0xe0));
            if access && pcr.is_some() {
                first[5] |= 0x40;
            }
            out.push(first);
            for _ in 0..4 {
                out.push(self.packet(2, pictures, false, None, &[0x55; 100]));
            }
        }
        let pcr = pcr.filter(|_| !has_pictures);
        out.push(self.packet(3, sound, true, pcr, &self.pes(0xc0)));
        out.push(self.packet(3, sound, false, None, &[0x66; 100]));
        out
    }

    /// A PES header with a PTS half a second ahead of the PCR, and some bytes.
    fn pes(&self, stream_id: u8) -> Vec<u8> {
        let pts = (self.pcr / 300 + 45_000) & 0x1_ffff_ffff;
        let bits = |shift: u32| u8::try_from(pts >> shift & 0xff).unwrap_or(0);
        let mut pes = vec![0, 0, 1, stream_id, 0, 0, 0x80, 0x80, 5];
        pes.extend([0x21 | (bits(30) & 7) << 1, bits(22), bits(14) | 1, bits(7), bits(0) << 1 | 1]);
        pes.extend([0x77; 40]);
        pes
    }

    fn packet(
        &mut self,
        counter: usize,
        pid: u16,
        begins: bool,
        pcr: Option<u64>,
        data: &[u8],
    ) -> PacketBytes {
        let [high, low] = pid.to_be_bytes();
        let begins = if begins { 0x40 } else { 0 };
        let mut bytes = [0xff; PACKET_BYTES];
        bytes[..4].copy_from_slice(&[0x47, begins | high, low, 0x10 | self.counters[counter]]);
        self.counters[counter] = (self.counters[counter] + 1) & 15;
        let mut from = 4;
        if let Some(pcr) = pcr {
            bytes[3] |= 0x20;
            bytes[4..6].copy_from_slice(&[7, 0x10]);
            packet::set_pcr(&mut bytes, pcr);
            from = 12;
        }
        bytes[from..from + data.len()].copy_from_slice(data);
        // No two packets of a PID alike, so that none is taken for a copy.
        bytes[180..188].copy_from_slice(&self.turns.to_be_bytes());
        bytes[179] = self.counters[counter];
        bytes
    }
}

fn section(table_id: u8, [high, low]: [u8; 2], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 9).unwrap_or(0) | 0xb000;
    let mut bytes = vec![table_id];
    bytes.extend(length.to_be_bytes());
    bytes.extend([high, low, 0xc1, 0, 0]);
    bytes.extend(body);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}
