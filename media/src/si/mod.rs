//! Service information: what the services of a multiplex are called, what is on, where the other multiplexes are.
//!
//! | table | where | read by |
//! |---|---|---|
//! | SDT, NIT, EIT, TDT, TOT (DVB, ETSI EN 300 468) | their own PIDs, 0x10 to 0x14 | [`sdt`], [`nit`], [`eit`], [`time`] |
//! | MGT, VCT, STT, EIT, ETT (ATSC, A/65) | 0x1ffb, and where the MGT says | [`psip`] |
//! | CAT (ISO/IEC 13818-1) | 0x01 | [`cat`] |
//!
//! A table's `parse` takes one section whose CRC is right and gives plain data; it never panics, and `None` means that the
//! section is of another table or torn. How much a section can hold is bounded by its length. Who puts sections together:
//! [`survey::Survey`], for a list of services, and the acquisition server's guide.

pub mod cat;
pub mod codec;
pub mod delivery;
pub mod descriptors;
pub mod eit;
pub mod nit;
pub mod psip;
pub mod sdt;
pub mod seen;
pub mod survey;
pub mod text;
pub mod time;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::section::{Section, crc32};

    /// A descriptor.
    pub(crate) fn descriptor(tag: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag, u8::try_from(data.len()).unwrap()];
        bytes.extend(data);
        bytes
    }

    /// A loop behind its twelve bits of length.
    pub(crate) fn with_length(data: &[u8]) -> Vec<u8> {
        let mut bytes = (u16::try_from(data.len()).unwrap() | 0xf000).to_be_bytes().to_vec();
        bytes.extend(data);
        bytes
    }

    /// A section 0 of version 0.
    pub(crate) fn long(table_id: u8, extension: u16, body: &[u8]) -> Vec<u8> {
        numbered(table_id, extension, [0, 0, 0], body)
    }

    /// A section with its version, number and last number.
    pub(crate) fn numbered(table_id: u8, extension: u16, numbers: [u8; 3], body: &[u8]) -> Vec<u8> {
        let [version, number, last_number] = numbers;
        let mut bytes = vec![table_id];
        bytes.extend((u16::try_from(body.len() + 9).unwrap() | 0xf000).to_be_bytes());
        bytes.extend(extension.to_be_bytes());
        bytes.extend([0xc1 | version << 1, number, last_number]);
        bytes.extend(body);
        bytes.extend(crc32(&bytes).to_be_bytes());
        bytes
    }

    /// Every parser, over the same section.
    fn read_all(bytes: &[u8]) {
        let _ = time::TimeTable::parse(bytes);
        let Some(section) = Section::parse(bytes) else { return };
        let _ = (sdt::Sdt::parse(&section), nit::Nit::parse(&section), eit::Eit::parse(&section));
        let _ = (cat::parse(&section), psip::mgt::parse(&section), psip::vct::parse(&section));
        let _ = (
            psip::eit::Eit::parse(&section),
            psip::ett::Ett::parse(&section),
            psip::stt::Stt::parse(&section),
        );
    }

    const TABLES: [u8; 17] = [
        0x01, 0x40, 0x41, 0x42, 0x46, 0x4e, 0x4f, 0x50, 0x6f, 0x70, 0x73, 0xc7, 0xc8, 0xc9, 0xcb, 0xcc, 0xcd,
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_section_panics(
            table in proptest::sample::select(&TABLES[..]),
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            read_all(&long(table, 1, &body));
        }

        /// Loops that are long enough, of descriptors that are known, with anything in them.
        #[test]
        fn no_descriptor_panics(
            table in proptest::sample::select(&[0x40_u8, 0x42, 0x4e][..]),
            tag in proptest::sample::select(&[0x40_u8, 0x43, 0x44, 0x48, 0x4d, 0x4e, 0x54, 0x55, 0x58, 0x5a, 0x79, 0x7f, 0x83][..]),
            data in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let inner = with_length(&descriptor(tag, &data));
            let body = match table {
                0x40 => [vec![0xf0, 0, 0xf0, u8::try_from(inner.len() + 4).unwrap(), 0, 1, 0, 1], inner].concat(),
                0x42 => [vec![0, 1, 0xff, 0, 1, 0xff], inner].concat(),
                _ => [vec![0, 1, 0, 1, 0, 0x4e, 0, 1, 0xc0, 0x79, 0x12, 0x45, 0, 1, 0, 0], inner].concat(),
            };
            read_all(&long(table, 1, &body));
        }
    }
}
