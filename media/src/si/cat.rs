//! The conditional access table: which systems may open what is scrambled (ISO/IEC 13818-1 §2.4.4.6).

use super::descriptors::Descriptors;
use crate::section::Section;

/// PID of the table.
pub const PID: u16 = 0x0001;
/// The table.
pub const TABLE: u8 = 0x01;
/// `CA_descriptor` (§2.6.16).
const CA: u8 = 0x09;

/// The systems' ids that a section lists, in its order; `None` when it is another table.
pub fn parse(section: &Section<'_>) -> Option<Vec<u16>> {
    let systems = Descriptors::new(section.body)
        .filter(|descriptor| descriptor.tag == CA)
        .filter_map(|descriptor| descriptor.data.first_chunk())
        .map(|id| u16::from_be_bytes(*id));
    (section.table_id == TABLE).then(|| systems.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::tests::{descriptor, long};

    #[test]
    fn systems_are_listed() {
        let mut body = descriptor(CA, &[0x18, 0x43, 0xe1, 0x00]);
        body.extend(descriptor(CA, &[0x09, 0x8c, 0xe1, 0x01, 0xff]));
        let bytes = long(TABLE, 0xffff, &body);
        assert_eq!(parse(&Section::parse(&bytes).unwrap()), Some(vec![0x1843, 0x098c]));
    }
}
