//! Programme specific information: the programmes that PAT and PMT describe (ISO/IEC 13818-1 §2.4.4).

use std::collections::BTreeMap;

use crate::packet::Packet;
use crate::section::{Section, SectionAssembler, length_of};

/// PID of the programme association table.
pub const PAT_PID: u16 = 0;

/// Programmes kept of one multiplex; further ones in the PAT are ignored and counted.
pub const PROGRAMMES_MAX: usize = 256;

/// Elementary streams kept of one programme; further ones are ignored and counted.
pub const STREAMS_MAX: usize = 64;

const TABLE_PAT: u8 = 0x00;
const TABLE_PMT: u8 = 0x02;
const NO_PCR_PID: u16 = 0x1fff;
const TYPE_PRIVATE_PES: u8 = 0x06;
const DESCRIPTOR_AC3: u8 = 0x6a;
const DESCRIPTOR_ENHANCED_AC3: u8 = 0x7a;
const DESCRIPTOR_DTS: u8 = 0x7b;

/// One elementary stream of a programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementaryStream {
    /// Where its packets are.
    pub pid: u16,
    /// What it is (§2.4.4.9, table 2-34): 0x1b H.264, 0x24 H.265, 0x0f AAC in ADTS, …
    pub stream_type: u8,
    /// What its descriptors say of private data (type 0x06), which its type says nothing of.
    pub private: Option<PrivateData>,
}

/// Sound that DVB carries as private data and tells by a descriptor (ETSI EN 300 468 §6.1, annexes D and G).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateData {
    /// AC-3.
    Ac3,
    /// Enhanced AC-3.
    EnhancedAc3,
    /// DTS.
    Dts,
}

/// One programme as PAT and PMT describe it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Programme {
    /// PID of the programme map table.
    pub pmt_pid: u16,
    /// PID that carries the PCR; `None` until the PMT was read, or where it names none.
    pub pcr_pid: Option<u16>,
    /// Elementary streams in the order of the PMT; empty until it was read.
    pub streams: Vec<ElementaryStream>,
}

/// The programmes of one multiplex, kept current from its packets.
#[derive(Debug, Default)]
pub struct ProgrammeTable {
    sections: BTreeMap<u16, TableSections>,
    programmes: BTreeMap<u16, Programme>,
    ignored: u64,
    crc_errors: u64,
}

/// The sections of one PID.
#[derive(Debug, Default)]
struct TableSections {
    assembler: SectionAssembler,
    /// The section that was read last.
    read: Vec<u8>,
}

impl ProgrammeTable {
    /// A table that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next packet; true when the programmes changed.
    pub fn push(&mut self, packet: Packet<'_>) -> bool {
        let pid = packet.pid();
        if pid != PAT_PID && !self.sections.contains_key(&pid) {
            return false;
        }
        let TableSections { mut assembler, mut read } = std::mem::take(self.sections.entry(pid).or_default());
        let mut changed = false;
        assembler.push(packet, |section| {
            // Tables are repeated many times a second: what was read just before says nothing new.
            if read != section {
                changed |= self.section(pid, section);
                read.clear();
                read.extend_from_slice(section);
            }
        });
        // It may have gone with its programme.
        if let Some(place) = self.sections.get_mut(&pid) {
            *place = TableSections { assembler, read };
        }
        changed
    }

    /// Programmes by programme number (the `service_id` of DVB).
    pub fn programmes(&self) -> &BTreeMap<u16, Programme> {
        &self.programmes
    }

    /// Whether the PAT and every PMT it names have been read.
    pub fn is_complete(&self) -> bool {
        !self.programmes.is_empty() && self.programmes.values().all(|programme| !programme.streams.is_empty())
    }

    /// Programmes and streams ignored because a limit was reached.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Sections thrown away because of their CRC.
    pub fn crc_errors(&self) -> u64 {
        self.crc_errors
    }

    fn section(&mut self, pid: u16, bytes: &[u8]) -> bool {
        let Some(section) = Section::parse(bytes) else {
            self.crc_errors += 1;
            return false;
        };
        match (section.table_id, pid) {
            _ if !section.current => false,
            (TABLE_PAT, PAT_PID) => self.pat(&section),
            (TABLE_PMT, _) => self.pmt(pid, &section),
            _ => false,
        }
    }

    fn pat(&mut self, section: &Section<'_>) -> bool {
        let mut listed = BTreeMap::new();
        if section.last_number > 0 {
            // A table of several sections is merged: this one says nothing about the others' programmes.
            listed.extend(self.programmes.iter().map(|(&number, programme)| (number, programme.pmt_pid)));
        }
        for entry in section.body.chunks_exact(4) {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            let pmt_pid = u16::from_be_bytes([entry[2] & 0x1f, entry[3]]);
            // Number 0 is the network PID, no programme (§2.4.4.5).
            if number != 0 && (listed.len() < PROGRAMMES_MAX || listed.contains_key(&number)) {
                listed.insert(number, pmt_pid);
            } else if number != 0 {
                self.ignored += 1;
            }
        }
        if listed.iter().eq(self.programmes.iter().map(|(number, programme)| (number, &programme.pmt_pid))) {
            return false;
        }
        self.sections.retain(|pid, _| *pid == PAT_PID || listed.values().any(|listed| listed == pid));
        // A programme that is listed anew has to be read anew, though its section be the same.
        self.sections.values_mut().for_each(|sections| sections.read.clear());
        let mut before = std::mem::take(&mut self.programmes);
        for (number, pmt_pid) in listed {
            self.sections.entry(pmt_pid).or_default();
            let unread = Programme { pmt_pid, ..Programme::default() };
            let kept = before.remove(&number).filter(|programme| programme.pmt_pid == pmt_pid);
            self.programmes.insert(number, kept.unwrap_or(unread));
        }
        true
    }

    fn pmt(&mut self, pid: u16, section: &Section<'_>) -> bool {
        let Some(programme) = self.programmes.get_mut(&section.extension) else { return false };
        let Some((read, ignored)) = parse_pmt(pid, section.body) else { return false };
        // Several programmes may share a PMT PID; a section on another programme's PID is not ours.
        if programme.pmt_pid != pid || *programme == read {
            return false;
        }
        self.ignored += ignored;
        *programme = read;
        true
    }
}

/// Programme map section body (§2.4.4.8): the programme, and how many streams went over the limit.
pub(crate) fn parse_pmt(pmt_pid: u16, body: &[u8]) -> Option<(Programme, u64)> {
    let (head, rest) = body.split_first_chunk::<4>()?;
    let pcr_pid = u16::from_be_bytes([head[0] & 0x1f, head[1]]);
    let pcr_pid = (pcr_pid != NO_PCR_PID).then_some(pcr_pid);
    let mut rest = rest.get(length_of([head[2], head[3]])..)?;
    let (mut streams, mut ignored) = (Vec::new(), 0);
    while let Some((entry, after)) = rest.split_first_chunk::<5>() {
        let (descriptors, next) = after.split_at_checked(length_of([entry[3], entry[4]]))?;
        if streams.len() < STREAMS_MAX {
            let pid = u16::from_be_bytes([entry[1] & 0x1f, entry[2]]);
            let stream_type = entry[0];
            let private = (stream_type == TYPE_PRIVATE_PES).then(|| private_data(descriptors)).flatten();
            streams.push(ElementaryStream { pid, stream_type, private });
        } else {
            ignored += 1;
        }
        rest = next;
    }
    Some((Programme { pmt_pid, pcr_pid, streams }, ignored))
}

/// What the first descriptor that is known says (§2.6: a tag, a length, so many bytes); a torn one ends them.
fn private_data(mut descriptors: &[u8]) -> Option<PrivateData> {
    while let Some((&[tag, len], rest)) = descriptors.split_first_chunk::<2>() {
        let (_, next) = rest.split_at_checked(usize::from(len))?;
        match tag {
            DESCRIPTOR_AC3 => return Some(PrivateData::Ac3),
            DESCRIPTOR_ENHANCED_AC3 => return Some(PrivateData::EnhancedAc3),
            DESCRIPTOR_DTS => return Some(PrivateData::Dts),
            _ => descriptors = next,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::PacketBytes;
    use crate::section::tests::{packets, section};

    fn push(table: &mut ProgrammeTable, packets: &[PacketBytes]) -> bool {
        packets.iter().filter(|bytes| table.push(Packet::parse(bytes).unwrap())).count() > 0
    }

    fn pmt_body(streams: usize) -> Vec<u8> {
        let mut body = vec![0xe1, 0x00, 0xf0, 0x02, 0x05, 0x00];
        for n in 0..streams {
            body.extend([0x1b, 0xe1, u8::try_from(n).unwrap(), 0xf0, 0x03, 0x0a, 0x01, 0x00]);
        }
        body
    }

    #[test]
    fn programmes_come_from_pat_and_pmt_across_packets() {
        let mut table = ProgrammeTable::new();
        let pat = packets(0, &section(0, 1, &[0, 0, 0xe0, 0x10, 0x10, 0x44, 0xf0, 0x00]));
        assert!(push(&mut table, &pat));
        assert!(!table.is_complete());
        // Forty streams take two packets.
        let pmt = packets(0x1000, &section(2, 0x1044, &pmt_body(40)));
        assert!(pmt.len() > 1 && push(&mut table, &pmt));
        let programme = &table.programmes()[&0x1044];
        assert_eq!(
            (programme.pmt_pid, programme.pcr_pid, programme.streams.len()),
            (0x1000, Some(0x100), 40)
        );
        assert_eq!(programme.streams[7], ElementaryStream { pid: 0x107, stream_type: 0x1b, private: None });
        assert!(table.is_complete());
    }

    #[test]
    fn private_data_is_what_its_descriptors_say() {
        for (stream_type, descriptors, expected) in [
            (0x06, &[0x6a, 1, 0][..], Some(PrivateData::Ac3)),
            // Behind a language and a stream identifier.
            (0x06, &[0x0a, 4, b'd', b'e', b'u', 0, 0x52, 1, 7, 0x7a, 1, 0], Some(PrivateData::EnhancedAc3)),
            (0x06, &[0x7b, 0], Some(PrivateData::Dts)),
            // Teletext; one that is longer than what holds it; half of one; none.
            (0x06, &[0x56, 5, b'd', b'e', b'u', 9, 0], None),
            (0x06, &[0x6a, 9, 0], None),
            (0x06, &[0x6a], None),
            (0x06, &[], None),
            (0x1b, &[0x6a, 1, 0], None),
        ] {
            let len = u8::try_from(descriptors.len()).unwrap();
            let body = [&[0xe1, 0, 0xf0, 0, stream_type, 0xe1, 1, 0xf0, len], descriptors].concat();
            let (programme, _) = parse_pmt(0x20, &body).unwrap();
            let stream = ElementaryStream { pid: 0x101, stream_type, private: expected };
            assert_eq!(programme.streams, [stream], "{descriptors:x?}");
        }
    }

    #[test]
    fn a_damaged_section_changes_nothing_and_is_counted() {
        let mut pat = packets(0, &section(0, 1, &[0, 1, 0xe0, 0x20]));
        pat[0][14] ^= 1;
        let mut table = ProgrammeTable::new();
        assert!(!push(&mut table, &pat));
        assert_eq!((table.crc_errors(), table.programmes().len()), (1, 0));
    }

    proptest! {
        #[test]
        fn no_packets_panic(bytes in proptest::collection::vec(any::<u8>(), 188 * 4)) {
            let mut table = ProgrammeTable::new();
            for chunk in bytes.chunks_exact(188) {
                let mut packet: PacketBytes = chunk.try_into().unwrap();
                let flags = packet[1] & 0xc0;
                packet[..3].copy_from_slice(&[0x47, flags, 0]);
                push(&mut table, &[packet]);
            }
        }

        #[test]
        fn no_section_panics(table_id in 0u8..3, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut table = ProgrammeTable::new();
            push(&mut table, &packets(0, &section(0, 1, &[0, 1, 0xe0, 0x20])));
            push(&mut table, &packets(0x20, &section(table_id, 1, &body)));
            push(&mut table, &packets(0, &section(table_id, 1, &body)));
        }
    }
}
