//! The extended text table of ATSC: the text about one event or channel (A/65 §6.6).

use super::strings::MultipleString;
use crate::section::Section;

/// The table.
pub const TABLE: u8 = 0xcc;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ett {
    /// Of which channel.
    pub source_id: u16,
    /// Of which event; `None`: of the channel itself.
    pub event_id: Option<u16>,
    /// The text.
    pub text: MultipleString,
}

impl Ett {
    /// Reads a section; `None` when it is another table or torn.
    pub fn parse(section: &Section<'_>) -> Option<Self> {
        if section.table_id != TABLE {
            return None;
        }
        // protocol_version, ETM_id (table 6.14): channel (16), event (14), 2 for an event and 0 for a channel.
        let (&[_, high, low, event_high, event_low], text) = section.body.split_first_chunk::<5>()?;
        let event = u16::from_be_bytes([event_high, event_low]);
        Some(Self {
            source_id: u16::from_be_bytes([high, low]),
            event_id: (event & 3 == 2).then_some(event >> 2),
            text: MultipleString::parse(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::psip::strings::tests::string;
    use crate::si::tests::long;

    #[test]
    fn a_text_names_its_event() {
        let mut body = vec![0, 0, 7, 0, 5 << 2 | 2];
        body.extend(string(*b"eng", b"What happened."));
        let bytes = long(TABLE, 0, &body);
        let ett = Ett::parse(&Section::parse(&bytes).unwrap()).unwrap();
        assert_eq!((ett.source_id, ett.event_id), (7, Some(5)));
        assert_eq!(ett.text.first().unwrap().1, "What happened.");
    }
}
