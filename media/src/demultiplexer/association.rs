//! Which services a multiplex carries: its programme association table, of one section or several (§2.4.4.3).

use std::collections::BTreeMap;

use crate::packet::Packet;
use crate::psi::PROGRAMMES_MAX;
use crate::section::{Section, SectionAssembler};

const TABLE_PAT: u8 = 0x00;

/// What a packet of PID 0 did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It brought no table to its end.
    Nothing,
    /// The table that is known came again.
    Repeated,
    /// Another table is in force.
    Changed,
}

/// The table in force, and the one that is being collected.
#[derive(Debug, Default)]
pub(super) struct Association {
    assembler: SectionAssembler,
    /// The one section that the table in force consists of; empty where it consists of several.
    read: Vec<u8>,
    collecting: Option<Collection>,
    current: Option<Table>,
    broken: u64,
    ignored: u64,
}

/// A table as services are looked up in it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    transport_stream_id: u16,
    /// PMT PID by programme number.
    programmes: BTreeMap<u16, u16>,
}

/// Sections of one version.
#[derive(Debug)]
struct Collection {
    key: (u16, u8, u8),
    /// Section by number; together at most [`PROGRAMMES_MAX`] programmes.
    sections: BTreeMap<u8, Vec<(u16, u16)>>,
}

impl Association {
    /// Takes the next packet of PID 0.
    pub(super) fn push(&mut self, packet: Packet<'_>) -> News {
        let mut assembler = std::mem::take(&mut self.assembler);
        let mut news = News::Nothing;
        assembler.push(packet, |bytes| match self.section(bytes) {
            News::Nothing => {}
            News::Repeated if news == News::Changed => {}
            told => news = told,
        });
        self.assembler = assembler;
        news
    }

    /// The input begins anew: no table is known. Counters stay.
    pub(super) fn forget(&mut self) {
        *self = Self { broken: self.broken, ignored: self.ignored, ..Self::default() };
    }

    /// Whether a table is in force.
    pub(super) fn is_known(&self) -> bool {
        self.current.is_some()
    }

    /// `transport_stream_id`; 0 before it is known.
    pub(super) fn transport_stream_id(&self) -> u16 {
        self.current.as_ref().map_or(0, |table| table.transport_stream_id)
    }

    /// PMT PID of a service that is listed.
    pub(super) fn pmt_pid(&self, service: u16) -> Option<u16> {
        self.current.as_ref()?.programmes.get(&service).copied()
    }

    /// All services that are listed.
    pub(super) fn services(&self) -> impl Iterator<Item = u16> {
        self.current.iter().flat_map(|table| table.programmes.keys().copied())
    }

    /// Sections thrown away because of their CRC or their syntax.
    pub(super) fn broken(&self) -> u64 {
        self.broken
    }

    /// Services left out because there are more than [`PROGRAMMES_MAX`].
    pub(super) fn ignored(&self) -> u64 {
        self.ignored
    }

    fn section(&mut self, bytes: &[u8]) -> News {
        if !self.read.is_empty() && self.read == bytes {
            return News::Repeated;
        }
        let Some(section) = Section::parse(bytes) else {
            self.broken += 1;
            return News::Nothing;
        };
        if section.table_id != TABLE_PAT || !section.current || section.number > section.last_number {
            return News::Nothing;
        }
        let key = (section.extension, section.version, section.last_number);
        let collection = match &mut self.collecting {
            // A single section is a whole table, whatever was collected under its version.
            Some(collection) if collection.key == key && section.last_number > 0 => collection,
            other => other.insert(Collection { key, sections: BTreeMap::new() }),
        };
        collection.sections.remove(&section.number);
        let room = PROGRAMMES_MAX.saturating_sub(collection.sections.values().map(Vec::len).sum());
        let mut programmes = programmes(section.body);
        self.ignored += programmes.len().saturating_sub(room) as u64;
        programmes.truncate(room);
        collection.sections.insert(section.number, programmes);
        if collection.sections.len() <= usize::from(section.last_number) {
            return News::Nothing;
        }
        let table = Table {
            transport_stream_id: section.extension,
            programmes: collection.sections.values().flatten().copied().collect(),
        };
        self.read.clear();
        if section.last_number == 0 {
            self.read.extend_from_slice(bytes);
        }
        if self.current.as_ref() != Some(&table) {
            self.current = Some(table);
            return News::Changed;
        }
        if section.number == section.last_number { News::Repeated } else { News::Nothing }
    }
}

/// Number and PMT PID of each programme; number 0 is the network PID, no programme (§2.4.4.5).
fn programmes(body: &[u8]) -> Vec<(u16, u16)> {
    let entry = |bytes: &[u8; 4]| {
        let [number_high, number_low, pid_high, pid_low] = *bytes;
        let number = u16::from_be_bytes([number_high, number_low]);
        (number, u16::from_be_bytes([pid_high & 0x1f, pid_low]))
    };
    body.as_chunks::<4>().0.iter().map(entry).filter(|(number, _)| *number != 0).collect()
}
