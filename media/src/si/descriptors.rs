//! Descriptors: a tag, a length, so many bytes (ISO/IEC 13818-1 §2.6, ETSI EN 300 468 §6).

/// `network_name_descriptor` (EN 300 468 §6.2.27).
pub const NETWORK_NAME: u8 = 0x40;
/// `satellite_delivery_system_descriptor` (§6.2.13.2).
pub const SATELLITE_DELIVERY: u8 = 0x43;
/// `cable_delivery_system_descriptor` (§6.2.13.1).
pub const CABLE_DELIVERY: u8 = 0x44;
/// `service_descriptor` (§6.2.33).
pub const SERVICE: u8 = 0x48;
/// `short_event_descriptor` (§6.2.37).
pub const SHORT_EVENT: u8 = 0x4d;
/// `extended_event_descriptor` (§6.2.15).
pub const EXTENDED_EVENT: u8 = 0x4e;
/// `content_descriptor` (§6.2.9).
pub const CONTENT: u8 = 0x54;
/// `parental_rating_descriptor` (§6.2.28).
pub const PARENTAL_RATING: u8 = 0x55;
/// `local_time_offset_descriptor` (§6.2.20).
pub const LOCAL_TIME_OFFSET: u8 = 0x58;
/// `terrestrial_delivery_system_descriptor` (§6.2.13.4).
pub const TERRESTRIAL_DELIVERY: u8 = 0x5a;
/// `private_data_specifier_descriptor` (§6.2.31): whose the private descriptors behind it are.
pub const PRIVATE_DATA_SPECIFIER: u8 = 0x5f;
/// `S2_satellite_delivery_system_descriptor` (§6.2.13.3).
pub const S2_SATELLITE_DELIVERY: u8 = 0x79;
/// `extension_descriptor` (§6.2.16): another tag follows.
pub const EXTENSION: u8 = 0x7f;
/// `logical_channel_descriptor` (IEC 62216, NorDig, D-Book: private, and the same bytes in all).
pub const LOGICAL_CHANNEL: u8 = 0x83;
/// `T2_delivery_system_descriptor` (§6.4.6.3) within an extension.
pub const EXTENSION_T2_DELIVERY: u8 = 0x04;

/// One descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// What it is.
    pub tag: u8,
    /// What it says, without tag and length.
    pub data: &'a [u8],
}

/// The descriptors of a loop; one that is longer than the loop ends them.
#[derive(Debug, Clone)]
pub struct Descriptors<'a> {
    rest: &'a [u8],
}

impl<'a> Descriptors<'a> {
    /// Over the bytes of a loop.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Descriptors<'a> {
    type Item = Descriptor<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, length], rest) = self.rest.split_first_chunk::<2>()?;
        let (data, rest) = rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        Some(Descriptor { tag, data })
    }
}

/// Splits off a part that its own first byte gives the length of.
pub(crate) fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// Splits off a loop that twelve bits before it give the length of.
pub(crate) fn looped(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(crate::section::length_of(length))
}

/// A number in binary coded decimals; `None` when a digit is none.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0_u64, |number, &byte| {
        let (tens, ones) = (u64::from(byte >> 4), u64::from(byte & 0x0f));
        (tens < 10 && ones < 10).then(|| number.checked_mul(100)?.checked_add(tens * 10 + ones))?
    })
}

/// A language code of three letters (ISO 639-2), in lower case; `None` when it is none.
pub(crate) fn language(bytes: [u8; 3]) -> Option<String> {
    bytes
        .iter()
        .all(u8::is_ascii_alphabetic)
        .then(|| bytes.iter().map(|&byte| char::from(byte.to_ascii_lowercase())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_descriptor_ends_the_loop() {
        let mut loops = Descriptors::new(&[0x48, 2, 1, 2, 0x4d, 0, 0x55, 4, 1]);
        assert_eq!(loops.next(), Some(Descriptor { tag: SERVICE, data: &[1, 2] }));
        assert_eq!(loops.next(), Some(Descriptor { tag: SHORT_EVENT, data: &[] }));
        assert_eq!(loops.next(), None);
    }

    #[test]
    fn decimals_that_are_none_are_refused() {
        assert_eq!(decimal(&[0x12, 0x34]), Some(1234));
        assert_eq!(decimal(&[0x1a]), None);
        assert_eq!(decimal(&[0x99; 12]), None);
    }
}
