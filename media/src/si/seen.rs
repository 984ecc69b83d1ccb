//! Which sections were read already: tables are repeated many times a minute, and only what is new is worth reading.

use std::collections::BTreeMap;

use super::{eit, psip};

/// Tables remembered unless another number is given. Each takes about 100 bytes.
pub const TABLES_MAX: usize = 8192;

/// Bytes of a section's header in the long syntax.
const HEADER_BYTES: usize = 8;

/// Which table of a multiplex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableKey {
    /// Where it is: ATSC has the same table on several PIDs.
    pub pid: u16,
    /// `table_id`.
    pub table_id: u8,
    /// `table_id_extension`.
    pub extension: u16,
    /// What else makes it another one: multiplex and network of an EIT, network of an SDT, the event of an ETT; or 0.
    pub scope: u32,
}

/// One section as its header names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionName {
    /// Of which table.
    pub table: TableKey,
    version: u8,
    number: u8,
    last_number: u8,
}

impl SectionName {
    /// Reads the header, CRC unchecked; `None` for a short section or one that does not count yet.
    pub fn read(pid: u16, bytes: &[u8]) -> Option<Self> {
        let (&[table_id, flags, _, high, low, version, number, last_number], body) =
            bytes.split_first_chunk::<HEADER_BYTES>()?;
        let word = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let scope = match table_id {
            table_id if eit::is_table(table_id) => word(body.first_chunk()),
            super::sdt::TABLE_ACTUAL | super::sdt::TABLE_OTHER => word(body.first_chunk()) >> 16,
            psip::ett::TABLE => word(body.get(1..).and_then(|rest| rest.first_chunk())),
            _ => 0,
        };
        let table = TableKey { pid, table_id, extension: u16::from_be_bytes([high, low]), scope };
        let name = Self { table, version: version >> 1 & 0x1f, number, last_number };
        (flags & 0x80 != 0 && version & 1 != 0).then_some(name)
    }
}

/// The sections that were read of each table, in its newest version.
#[derive(Debug)]
pub struct SeenSections {
    tables: BTreeMap<TableKey, Seen>,
    tables_max: usize,
    ignored: u64,
}

/// Of one table.
#[derive(Debug)]
struct Seen {
    version: u8,
    last_number: u8,
    /// A bit for each number.
    numbers: [u64; 4],
}

impl Default for SeenSections {
    fn default() -> Self {
        Self::with_limit(TABLES_MAX)
    }
}

impl SeenSections {
    /// Remembers as many tables; further ones are always new, and counted.
    pub fn with_limit(tables_max: usize) -> Self {
        Self { tables: BTreeMap::new(), tables_max, ignored: 0 }
    }

    /// Whether this section was read in this version.
    pub fn knows(&self, section: &SectionName) -> bool {
        self.tables.get(&section.table).is_some_and(|seen| seen.is(section) && seen.has(section.number))
    }

    /// Remembers that a section was read, and forgets other versions of its table; false when there are too many tables.
    pub fn note(&mut self, section: &SectionName) -> bool {
        if !self.tables.contains_key(&section.table) && self.tables.len() >= self.tables_max {
            self.ignored += 1;
            return false;
        }
        let fresh = || Seen { version: section.version, last_number: section.last_number, numbers: [0; 4] };
        let seen = self.tables.entry(section.table).or_insert_with(fresh);
        if !seen.is(section) {
            *seen = fresh();
        }
        if let Some(word) = seen.numbers.get_mut(usize::from(section.number >> 6)) {
            *word |= 1 << (section.number & 63);
        }
        true
    }

    /// Whether every section of a table was read.
    pub fn is_complete(&self, table: &TableKey) -> bool {
        self.tables.get(table).is_some_and(|seen| (0..=seen.last_number).all(|number| seen.has(number)))
    }

    /// The tables of which something was read.
    pub fn tables(&self) -> impl Iterator<Item = &TableKey> {
        self.tables.keys()
    }

    /// Forgets the tables that are not to be kept: they are new when they come again.
    pub fn retain(&mut self, mut keep: impl FnMut(&TableKey) -> bool) {
        self.tables.retain(|table, _| keep(table));
    }

    /// Sections of tables that were too many to be remembered.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }
}

impl Seen {
    fn is(&self, section: &SectionName) -> bool {
        (self.version, self.last_number) == (section.version, section.last_number)
    }

    fn has(&self, number: u8) -> bool {
        self.numbers.get(usize::from(number >> 6)).is_some_and(|word| word >> (number & 63) & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::tests::numbered;

    fn name(extension: u16, numbers: [u8; 3]) -> SectionName {
        SectionName::read(0x12, &numbered(0x50, extension, numbers, &[0, 1, 0, 2, 0, 0])).unwrap()
    }

    #[test]
    fn a_section_is_new_once_in_each_version() {
        let mut seen = SeenSections::default();
        let first = name(1, [3, 0, 200]);
        assert!(!seen.knows(&first) && seen.note(&first) && seen.knows(&first));
        let last = name(1, [3, 200, 200]);
        assert!(!seen.knows(&last) && seen.note(&last));
        assert!(!seen.is_complete(&first.table));
        assert!(
            (0..=200).all(|number| seen.note(&name(1, [3, number, 200]))) && seen.is_complete(&first.table)
        );
        let newer = name(1, [4, 0, 200]);
        assert!(!seen.knows(&newer) && seen.note(&newer));
        assert!(!seen.knows(&last) && !seen.is_complete(&first.table));
        assert_eq!(first.table.scope, 0x0001_0002);
    }

    #[test]
    fn a_storm_of_tables_is_bounded() {
        let mut seen = SeenSections::with_limit(10);
        for extension in 0..1000 {
            seen.note(&name(extension, [0, 0, 0]));
        }
        assert_eq!((seen.tables().count(), seen.ignored()), (10, 990));
        seen.retain(|table| table.extension == 3);
        assert_eq!(seen.tables().count(), 1);
    }
}
