//! The master guide table: on which PIDs the guide is (A/65 §6.2).

use crate::section::Section;
use crate::si::descriptors::looped;

/// The table.
pub const TABLE: u8 = 0xc7;

/// What a listed table is (table 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Events: which three hours of them, 0 to 127.
    Events(u8),
    /// Texts of the events of as many hours.
    EventTexts(u8),
    /// Texts of channels.
    ChannelTexts,
    /// Anything else.
    Other(u16),
}

/// One table that the guide consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub pid: u16,
    /// Its version, 0 to 31.
    pub version: u8,
}

/// The tables that a section lists; `None` when it is another table or torn. There is no room for more than 370.
pub fn parse(section: &Section<'_>) -> Option<Vec<Listed>> {
    if section.table_id != TABLE {
        return None;
    }
    // protocol_version, tables_defined.
    let (&[_, high, low], mut rest) = section.body.split_first_chunk::<3>()?;
    let mut tables = Vec::new();
    for _ in 0..u16::from_be_bytes([high, low]) {
        let (entry, after) = rest.split_first_chunk::<9>()?;
        tables.push(Listed {
            kind: kind(u16::from_be_bytes([entry[0], entry[1]])),
            pid: u16::from_be_bytes([entry[2] & 0x1f, entry[3]]),
            version: entry[4] & 0x1f,
        });
        (_, rest) = looped(after)?;
    }
    Some(tables)
}

fn kind(table_type: u16) -> Kind {
    let [high, low] = table_type.to_be_bytes();
    match (high, low) {
        (0x01, hours @ 0..=0x7f) => Kind::Events(hours),
        (0x02, hours @ 0..=0x7f) => Kind::EventTexts(hours),
        (0x00, 0x04) => Kind::ChannelTexts,
        _ => Kind::Other(table_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::tests::long;

    #[test]
    fn the_guides_pids_are_listed() {
        let mut body = vec![0, 0, 2];
        body.extend([0x01, 0x00, 0xfd, 0x00, 0xe3, 0, 0, 1, 0, 0xf0, 0x02, 0x55, 0]);
        body.extend([0x02, 0x01, 0xfe, 0x01, 0xe4, 0, 0, 1, 0, 0xf0, 0x00, 0xf0, 0x00]);
        let bytes = long(TABLE, 0, &body);
        let listed = parse(&Section::parse(&bytes).unwrap()).unwrap();
        let expected = [
            Listed { kind: Kind::Events(0), pid: 0x1d00, version: 3 },
            Listed { kind: Kind::EventTexts(1), pid: 0x1e01, version: 4 },
        ];
        assert_eq!(listed, expected);
    }
}
