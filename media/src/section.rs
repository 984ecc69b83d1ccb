//! Sections out of the packets of one PID (ISO/IEC 13818-1 §2.4.4): what PSI, DVB service information and ATSC PSIP
//! are made of.

use crate::packet::Packet;

/// Largest section with its three header bytes (§2.4.4.11: `private_section_length` ≤ 4093; PSI keeps to 1021).
pub const SECTION_BYTES_MAX: usize = 4096;

/// What fills a packet behind its last section, in place of a table id.
const STUFFING: u8 = 0xff;

/// A section in the long syntax (§2.4.4.1), its CRC verified.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// Which table it is of.
    pub table_id: u8,
    /// `table_id_extension`: transport stream id, programme number, service id, …
    pub extension: u16,
    /// `version_number`, 0 to 31.
    pub version: u8,
    /// `current_next_indicator`: it counts already.
    pub current: bool,
    /// `section_number`.
    pub number: u8,
    /// `last_section_number`.
    pub last_number: u8,
    /// What stands between header and CRC.
    pub body: &'a [u8],
}

impl<'a> Section<'a> {
    /// Takes a whole section apart; `None` when it is too short or its CRC is wrong.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let body = rest.get(..rest.len().checked_sub(4)?)?;
        (crc32(bytes) == 0).then_some(Self {
            table_id: head[0],
            extension: u16::from_be_bytes([head[3], head[4]]),
            version: head[5] >> 1 & 0x1f,
            current: head[5] & 1 != 0,
            number: head[6],
            last_number: head[7],
            body,
        })
    }
}

/// Sections of one PID out of its packets. Holds at most one section; one that a gap tore is dropped.
#[derive(Debug, Default)]
pub struct SectionAssembler {
    section: Vec<u8>,
    collecting: bool,
    counter: Option<u8>,
}

impl SectionAssembler {
    /// Takes the PID's next packet and calls `emit` for each section that it completes (CRC unchecked).
    pub fn push(&mut self, packet: Packet<'_>, mut emit: impl FnMut(&[u8])) {
        if !packet.has_payload() || packet.transport_error() || packet.is_scrambled() {
            return;
        }
        let counter = packet.continuity_counter();
        let before = self.counter.replace(counter);
        if before == Some(counter) {
            return;
        }
        if before.is_some_and(|before| (before + 1) & 15 != counter) {
            self.collecting = false;
        }
        let payload = packet.payload();
        if !packet.payload_unit_start() {
            self.continue_with(payload, &mut emit);
            return;
        }
        // pointer_field (§2.4.4.2): so many bytes still belong to the section before.
        let Some((&pointer, rest)) = payload.split_first() else { return };
        let Some((tail, mut rest)) = rest.split_at_checked(usize::from(pointer)) else { return };
        self.continue_with(tail, &mut emit);
        while rest.first().is_some_and(|&table_id| table_id != STUFFING) {
            self.section.clear();
            self.collecting = true;
            rest = self.continue_with(rest, &mut emit);
        }
    }

    /// Adds bytes to the section being collected; what is left over after its end comes back.
    fn continue_with<'a>(&mut self, bytes: &'a [u8], emit: &mut impl FnMut(&[u8])) -> &'a [u8] {
        if !self.collecting {
            return &[];
        }
        let held = self.section.len();
        self.section.extend_from_slice(bytes);
        let Some(&[_, high, low]) = self.section.first_chunk::<3>() else { return &[] };
        let total = 3 + length_of([high, low]);
        if total > SECTION_BYTES_MAX {
            self.collecting = false;
            return &[];
        }
        if self.section.len() < total {
            return &[];
        }
        emit(&self.section[..total]);
        self.collecting = false;
        bytes.get(total.saturating_sub(held)..).unwrap_or(&[])
    }
}

/// Twelve bits of length, as every loop and section of PSI has it.
pub(crate) fn length_of([high, low]: [u8; 2]) -> usize {
    usize::from(u16::from_be_bytes([high & 0x0f, low]))
}

/// CRC-32/MPEG-2 (§ annex A); over a section with its CRC it is zero.
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        let [high, ..] = crc.to_be_bytes();
        crc << 8 ^ CRC_OF_BYTE[usize::from(high ^ byte)]
    })
}

/// What each byte does to the CRC: its eight bits at once.
const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut crc = byte << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::packet::PacketBytes;
    use crate::packet::tests::packet;

    /// A long section with its CRC.
    pub(crate) fn section(table_id: u8, extension: u16, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 9).unwrap() | 0xb000;
        let mut bytes = vec![table_id];
        bytes.extend(length.to_be_bytes());
        bytes.extend(extension.to_be_bytes());
        bytes.extend([0xc1, 0, 0]);
        bytes.extend(body);
        bytes.extend(crc32(&bytes).to_be_bytes());
        bytes
    }

    /// The packets of one section, counters from 0.
    pub(crate) fn packets(pid: u16, section: &[u8]) -> Vec<PacketBytes> {
        let bytes: Vec<u8> = std::iter::once(0).chain(section.iter().copied()).collect();
        let cut = |(n, part): (usize, &[u8])| {
            let mut bytes = packet(pid, u8::try_from(n & 15).unwrap(), None, STUFFING);
            bytes[1] |= if n == 0 { 0x40 } else { 0 };
            bytes[4..4 + part.len()].copy_from_slice(part);
            bytes
        };
        bytes.chunks(184).enumerate().map(cut).collect()
    }

    #[test]
    fn crc_has_its_catalogued_check_value() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7);
    }
}
