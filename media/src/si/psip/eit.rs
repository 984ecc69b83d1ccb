//! The event information table of ATSC: three hours of one channel (A/65 §6.5).

use super::strings::MultipleString;
use crate::section::Section;
use crate::si::descriptors::{counted, looped};

/// The table.
pub const TABLE: u8 = 0xcb;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eit {
    /// Of which channel.
    pub source_id: u16,
    /// The events in their order; a section has no room for more than 340.
    pub events: Vec<Event>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 14 bits, unique within its channel.
    pub id: u16,
    /// When it begins, in GPS seconds.
    pub start_gps_s: u32,
    /// How long it lasts; 20 bits.
    pub duration_s: u32,
    /// Whether there is a text about it.
    pub has_text: bool,
    /// What it is called.
    pub title: MultipleString,
}

impl Eit {
    /// Reads a section; `None` when it is another table or torn.
    pub fn parse(section: &Section<'_>) -> Option<Self> {
        if section.table_id != TABLE {
            return None;
        }
        // protocol_version, num_events_in_section.
        let (&[_, count], mut rest) = section.body.split_first_chunk::<2>()?;
        let mut events = Vec::new();
        for _ in 0..count {
            let (entry, after) = rest.split_first_chunk::<9>()?;
            let (title, after) = counted(after)?;
            (_, rest) = looped(after)?;
            events.push(Event {
                id: u16::from_be_bytes([entry[0] & 0x3f, entry[1]]),
                start_gps_s: u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]),
                // Two reserved bits, two of ETM_location, twenty of length.
                has_text: entry[6] & 0x30 != 0,
                duration_s: u32::from_be_bytes([0, entry[6] & 0x0f, entry[7], entry[8]]),
                title: MultipleString::parse(title),
            });
        }
        Some(Self { source_id: section.extension, events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::psip::strings::tests::string;
    use crate::si::psip::unix_time;
    use crate::si::tests::long;

    #[test]
    fn events_have_time_title_and_perhaps_a_text() {
        let title = string(*b"eng", b"News");
        let mut body = vec![0, 1, 0xc0, 0x05];
        body.extend(1_448_150_418_u32.to_be_bytes());
        body.extend([0xd0, 0x0e, 0x10, u8::try_from(title.len()).unwrap()]);
        body.extend(&title);
        body.extend([0xf0, 0x00]);
        let bytes = long(TABLE, 7, &body);
        let eit = Eit::parse(&Section::parse(&bytes).unwrap()).unwrap();
        let [event] = &eit.events[..] else { panic!("{eit:?}") };
        assert_eq!((eit.source_id, event.id, event.duration_s, event.has_text), (7, 5, 3600, true));
        assert_eq!(event.title.first().unwrap().1, "News");
        // 2025-11-26 00:00:00 UTC.
        assert_eq!(unix_time(event.start_gps_s, 18), 1_764_115_200);
    }
}
