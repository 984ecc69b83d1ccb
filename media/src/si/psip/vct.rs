//! The virtual channel tables, terrestrial and cable: names and numbers of channels (A/65 §6.3).

use super::looped_10;
use super::strings::{MultipleString, utf_16, wide};
use crate::section::Section;
use crate::si::descriptors::Descriptors;

/// Of a terrestrial multiplex.
pub const TABLE_TERRESTRIAL: u8 = 0xc8;
/// Of a cable multiplex.
pub const TABLE_CABLE: u8 = 0xc9;

/// `extended_channel_name_descriptor` (§6.9.4).
const EXTENDED_NAME: u8 = 0xa0;
/// What stands in place of a major number's highest six bits when the number has one part (§6.3.2).
const ONE_PART: u16 = 0x3f0;

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualChannel {
    /// Its long name where there is one, or else the one of seven characters.
    pub name: String,
    /// What viewers press.
    pub number: Number,
    /// In which multiplex.
    pub transport_stream_id: u16,
    /// The programme number in the PAT; 0: it is not on the air, 0xffff: analogue.
    pub programme: u16,
    /// What its events name it by.
    pub source_id: u16,
    /// Whether access is controlled.
    pub conditional_access: bool,
    /// Whether viewers are not to see it in lists.
    pub hidden: bool,
    /// `service_type` (table 6.7): 2 television, 3 radio, 4 data.
    pub service_type: u8,
}

/// A channel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Such as 7.1.
    TwoParts {
        /// 1 to 999.
        major: u16,
        /// 0 to 999.
        minor: u16,
    },
    /// Of a cable that counts through.
    OnePart(u16),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TwoParts { major, minor } => write!(f, "{major}.{minor}"),
            Self::OnePart(number) => number.fmt(f),
        }
    }
}

/// The channels of a section; `None` when it is another table or torn. There is no room for more than 31.
pub fn parse(section: &Section<'_>) -> Option<Vec<VirtualChannel>> {
    if ![TABLE_TERRESTRIAL, TABLE_CABLE].contains(&section.table_id) {
        return None;
    }
    // protocol_version, num_channels_in_section.
    let (&[_, count], mut rest) = section.body.split_first_chunk::<2>()?;
    let mut channels = Vec::new();
    for _ in 0..count {
        let (entry, after) = rest.split_first_chunk::<30>()?;
        let (descriptors, next) = looped_10(after)?;
        channels.push(channel(entry, descriptors));
        rest = next;
    }
    Some(channels)
}

fn channel(entry: &[u8; 30], descriptors: &[u8]) -> VirtualChannel {
    let pair = |at: usize| u16::from_be_bytes([entry[at], entry[at + 1]]);
    // Four reserved bits, ten of each part.
    let numbers = u32::from_be_bytes([0, entry[14], entry[15], entry[16]]);
    let [major, minor] = [numbers >> 10, numbers].map(|bits| u16::try_from(bits & 0x3ff).unwrap_or(0));
    let short: Vec<u16> = wide(&entry[..14]).into_iter().take_while(|&character| character != 0).collect();
    let long = Descriptors::new(descriptors)
        .find(|descriptor| descriptor.tag == EXTENDED_NAME)
        .and_then(|descriptor| MultipleString::parse(descriptor.data).first().map(|(_, name)| name.clone()));
    VirtualChannel {
        name: long.unwrap_or_else(|| utf_16(&short).trim().to_owned()),
        number: if major & ONE_PART == ONE_PART {
            Number::OnePart((major & 0x0f) << 10 | minor)
        } else {
            Number::TwoParts { major, minor }
        },
        transport_stream_id: pair(22),
        programme: pair(24),
        // ETM_location (2), access_controlled, hidden, …
        conditional_access: entry[26] & 0x20 != 0,
        hidden: entry[26] & 0x10 != 0,
        service_type: entry[27] & 0x3f,
        source_id: pair(28),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::si::psip::strings::tests::string;
    use crate::si::tests::{descriptor, long};

    /// A channel's entry in a section.
    pub(crate) fn entry(name: &str, numbers: u32, programme: u16, source_id: u16) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            name.encode_utf16().chain(std::iter::repeat(0)).take(7).flat_map(u16::to_be_bytes).collect();
        bytes.extend(&(0x00f0_0000 | numbers).to_be_bytes()[1..]);
        bytes.extend([4, 0, 0, 0, 0, 0x0b, 0xb8]);
        bytes.extend(programme.to_be_bytes());
        bytes.extend([0x20 | 0x0d, 0xc2]);
        bytes.extend(source_id.to_be_bytes());
        bytes
    }

    #[test]
    fn names_and_numbers_are_read() {
        let mut body = vec![0, 2];
        body.extend(entry("KING-DT", 5 << 10 | 1, 3, 7));
        body.extend([0xfc, 0]);
        let name = descriptor(EXTENDED_NAME, &string(*b"eng", b"A long name"));
        body.extend(entry("A", 0x3f1 << 10 | 2, 4, 8));
        body.extend([0xfc, u8::try_from(name.len()).unwrap()]);
        body.extend(name);
        let bytes = long(TABLE_CABLE, 3000, &body);
        let channels = parse(&Section::parse(&bytes).unwrap()).unwrap();
        let told: Vec<_> = channels
            .iter()
            .map(|c| (c.name.as_str(), c.number.to_string(), c.programme, c.source_id))
            .collect();
        assert_eq!(told, [("KING-DT", "5.1".to_owned(), 3, 7), ("A long name", "1026".to_owned(), 4, 8)]);
        assert!(channels[0].conditional_access && !channels[0].hidden);
        assert_eq!((channels[0].transport_stream_id, channels[0].service_type), (3000, 2));
    }
}
