//! What time it is: the time and date table and the time offset table (ETSI EN 300 468 §5.2.5, §5.2.6, annex C).

use super::descriptors::{Descriptors, LOCAL_TIME_OFFSET, decimal, language, looped};
use crate::section::crc32;

/// PID of both tables.
pub const PID: u16 = 0x0014;
/// The time alone; without a CRC.
pub const TABLE_TDT: u8 = 0x70;
/// The time and local offsets.
pub const TABLE_TOT: u8 = 0x73;

/// The Modified Julian Date of 1970-01-01.
const MJD_OF_UNIX_EPOCH: i64 = 40_587;
/// Of a local time offset: country, region and polarity, offset, time of change, next offset (§6.2.20).
const OFFSET_BYTES: usize = 13;

/// What a section of either table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeTable {
    /// Coordinated Universal Time, seconds since 1970-01-01.
    pub unix_s: i64,
    /// Local offsets; the descriptor's length allows no more than 19 each.
    pub offsets: Vec<LocalOffset>,
}

/// What is added to Coordinated Universal Time somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOffset {
    /// ISO 3166, three letters in lower case.
    pub country: String,
    /// A part of it; 0: all of it.
    pub region: u8,
    /// Minutes; east of Greenwich positive.
    pub minutes: i16,
    /// When the offset changes, seconds since 1970-01-01.
    pub changes_unix_s: Option<i64>,
    /// What it is after that.
    pub next_minutes: i16,
}

impl TimeTable {
    /// Reads a whole section; `None` when it is another table, torn, or its CRC is wrong.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[table_id, _, _], rest) = bytes.split_first_chunk::<3>()?;
        let (time, rest) = rest.split_first_chunk::<5>()?;
        let offsets = match table_id {
            TABLE_TDT => Vec::new(),
            TABLE_TOT if crc32(bytes) == 0 => {
                let (descriptors, _) = looped(rest)?;
                Descriptors::new(descriptors)
                    .filter(|descriptor| descriptor.tag == LOCAL_TIME_OFFSET)
                    .flat_map(|descriptor| descriptor.data.chunks_exact(OFFSET_BYTES))
                    .filter_map(local_offset)
                    .collect()
            }
            _ => return None,
        };
        Some(Self { unix_s: unix_time(*time)?, offsets })
    }
}

fn local_offset(entry: &[u8]) -> Option<LocalOffset> {
    let entry: &[u8; OFFSET_BYTES] = entry.first_chunk()?;
    let minutes = |bytes: [u8; 2]| {
        let hours = i16::try_from(decimal(&bytes[..1])?).ok()?;
        let minutes = hours * 60 + i16::try_from(decimal(&bytes[1..])?).ok()?;
        Some(if entry[3] & 1 == 0 { minutes } else { -minutes })
    };
    let [.., high, middle, low, minute, second, next_high, next_low] = *entry;
    Some(LocalOffset {
        country: language([entry[0], entry[1], entry[2]])?,
        region: entry[3] >> 2,
        minutes: minutes([entry[4], entry[5]])?,
        changes_unix_s: unix_time([high, middle, low, minute, second]),
        next_minutes: minutes([next_high, next_low])?,
    })
}

/// Sixteen bits of Modified Julian Date and six decimals of hour, minute, second (annex C). All ones mean no time.
pub(super) fn unix_time(bytes: [u8; 5]) -> Option<i64> {
    let days = i64::from(u16::from_be_bytes([bytes[0], bytes[1]])) - MJD_OF_UNIX_EPOCH;
    Some(days * 86_400 + i64::from(seconds([bytes[2], bytes[3], bytes[4]])?))
}

/// Six decimals of hours, minutes, seconds. A duration may be longer than a day.
pub(super) fn seconds(bytes: [u8; 3]) -> Option<u32> {
    let [hours, minutes, seconds] =
        bytes.map(|byte| decimal(&[byte]).and_then(|number| u32::try_from(number).ok()));
    let (minutes, seconds) = (minutes?, seconds?);
    (minutes < 60 && seconds < 60).then_some(hours? * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::tests::{descriptor, with_length};

    /// 13 October 1993, 12:45:00: the example of annex C.
    const EXAMPLE: [u8; 5] = [0xc0, 0x79, 0x12, 0x45, 0x00];

    #[test]
    fn the_standards_example_is_read() {
        let mut bytes = vec![TABLE_TDT, 0x70, 5];
        bytes.extend(EXAMPLE);
        assert_eq!(TimeTable::parse(&bytes), Some(TimeTable { unix_s: 750_516_300, offsets: vec![] }));
        assert_eq!(unix_time([0xff; 5]), None);
        assert_eq!(seconds([0x01, 0x45, 0x30]), Some(6330));
    }

    #[test]
    fn offsets_have_a_sign_and_a_change() {
        let mut offset = b"GBR".to_vec();
        offset.extend([0x02, 0x01, 0x00]);
        offset.extend(EXAMPLE);
        offset.extend([0x00, 0x00]);
        let mut west = b"CAN".to_vec();
        west.extend([0x07, 0x03, 0x30]);
        west.extend(EXAMPLE);
        west.extend([0x02, 0x30]);
        let both: Vec<u8> = offset.into_iter().chain(west).collect();
        let mut bytes = EXAMPLE.to_vec();
        bytes.extend(with_length(&descriptor(LOCAL_TIME_OFFSET, &both)));
        let mut section = vec![TABLE_TOT, 0x70, u8::try_from(bytes.len() + 4).unwrap()];
        section.extend(&bytes);
        section.extend(crc32(&section).to_be_bytes());
        let table = TimeTable::parse(&section).unwrap();
        let told: Vec<_> =
            table.offsets.iter().map(|o| (o.country.as_str(), o.region, o.minutes, o.next_minutes)).collect();
        assert_eq!(told, [("gbr", 0, 60, 0), ("can", 1, -210, -150)]);
        assert_eq!(table.offsets[0].changes_unix_s, Some(750_516_300));
        section[9] ^= 1;
        assert_eq!(TimeTable::parse(&section), None);
    }
}
