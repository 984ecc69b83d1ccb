//! The event information table: what a service broadcasts now, next, and in the days to come (ETSI EN 300 468 §5.2.4).

use super::descriptors::{
    CONTENT, Descriptors, EXTENDED_EVENT, PARENTAL_RATING, SHORT_EVENT, counted, language, looped,
};
use super::text;
use super::time::{seconds, unix_time};
use crate::section::Section;

/// PID of the table.
pub const PID: u16 = 0x0012;
/// Present and following, of the multiplex that carries it.
pub const TABLE_PRESENT_ACTUAL: u8 = 0x4e;
/// Present and following, of another multiplex.
pub const TABLE_PRESENT_OTHER: u8 = 0x4f;
/// First table of the schedule of the multiplex that carries it; sixteen of them, each of four days.
pub const TABLE_SCHEDULE_ACTUAL: u8 = 0x50;
/// First table of the schedule of another multiplex; sixteen of them.
pub const TABLE_SCHEDULE_OTHER: u8 = 0x60;
/// The last of them all.
const TABLE_LAST: u8 = 0x6f;

/// Languages kept of one event; further ones are left out.
pub const LANGUAGES_MAX: usize = 8;

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eit {
    /// Of which service.
    pub service_id: u16,
    /// In which multiplex.
    pub transport_stream_id: u16,
    /// Within which network that one was made.
    pub original_network_id: u16,
    /// Present and following, or the schedule.
    pub kind: Kind,
    /// Whether it is the multiplex that carries the table.
    pub actual: bool,
    /// `segment_last_section_number`: the last section of these three hours.
    pub segment_last_number: u8,
    /// The events in their order; a section of 4,096 bytes has no room for more than 340.
    pub events: Vec<Event>,
}

/// Which events a section tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is on, and what is next.
    PresentFollowing,
    /// The days to come.
    Schedule,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `event_id`: unique within its service, for as long as it is announced.
    pub id: u16,
    /// When it begins, seconds since 1970-01-01; `None`: not said, as for what is called up (NVOD).
    pub start_unix_s: Option<i64>,
    /// How long it lasts; 0: not said.
    pub duration_s: u32,
    /// Whether it is on the air now (`running_status` 4).
    pub running: bool,
    /// Whether a conditional access system guards it.
    pub conditional_access: bool,
    /// What it is called, in each language in which that is said, the first one first.
    pub texts: Vec<Texts>,
    /// What it is about: two nibbles of table 29.
    pub genre: Option<u8>,
    /// From which age on it is recommended; of the first country that says so.
    pub age: Option<u8>,
}

/// What is said of an event in one language.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// ISO 639-2, three letters in lower case; `None` where something else stands there.
    pub language: Option<String>,
    /// What it is called.
    pub title: String,
    /// A sentence about it; may be empty.
    pub short: String,
    /// All extended descriptors together: text, then what is listed, such as who plays; may be empty.
    pub long: String,
}

/// Whether a table id is of this table.
pub fn is_table(table_id: u8) -> bool {
    (TABLE_PRESENT_ACTUAL..=TABLE_LAST).contains(&table_id)
}

impl Eit {
    /// Reads a section; `None` when it is another table or torn.
    pub fn parse(section: &Section<'_>) -> Option<Self> {
        let (kind, actual) = match section.table_id {
            TABLE_PRESENT_ACTUAL => (Kind::PresentFollowing, true),
            TABLE_PRESENT_OTHER => (Kind::PresentFollowing, false),
            table_id if is_table(table_id) => (Kind::Schedule, table_id < TABLE_SCHEDULE_OTHER),
            _ => return None,
        };
        let (head, mut rest) = section.body.split_first_chunk::<6>()?;
        let mut events = Vec::new();
        while let Some((entry, after)) = rest.split_first_chunk::<10>() {
            let (descriptors, next) = looped(after)?;
            events.push(event(*entry, after.first().copied()?, descriptors));
            rest = next;
        }
        Some(Self {
            service_id: section.extension,
            transport_stream_id: u16::from_be_bytes([head[0], head[1]]),
            original_network_id: u16::from_be_bytes([head[2], head[3]]),
            kind,
            actual,
            segment_last_number: head[4],
            events,
        })
    }
}

impl Event {
    /// The texts in `language`, or the first that there are.
    pub fn texts_in(&self, language: Option<&str>) -> Option<&Texts> {
        let wanted =
            self.texts.iter().find(|texts| language.is_some() && texts.language.as_deref() == language);
        wanted.or(self.texts.first())
    }

    /// The texts of a language, made when there are none yet; `None` when there are too many languages.
    fn texts_of(&mut self, code: [u8; 3]) -> Option<&mut Texts> {
        let language = language(code);
        let index = match self.texts.iter().position(|texts| texts.language == language) {
            Some(index) => index,
            None if self.texts.len() < LANGUAGES_MAX => {
                self.texts.push(Texts { language, ..Texts::default() });
                self.texts.len() - 1
            }
            None => return None,
        };
        self.texts.get_mut(index)
    }
}

/// `status` is the byte of `running_status` (3), `free_CA_mode` (1), and the length behind them.
fn event(entry: [u8; 10], status: u8, descriptors: &[u8]) -> Event {
    let [high, low, start @ .., hours, minutes, secs] = entry;
    let mut event = Event {
        id: u16::from_be_bytes([high, low]),
        start_unix_s: unix_time(start),
        duration_s: seconds([hours, minutes, secs]).unwrap_or(0),
        running: status >> 5 == 4,
        conditional_access: status & 0x10 != 0,
        ..Event::default()
    };
    for descriptor in Descriptors::new(descriptors) {
        // A torn descriptor says nothing, the others still do.
        let _ = match descriptor.tag {
            SHORT_EVENT => short(&mut event, descriptor.data),
            EXTENDED_EVENT => extended(&mut event, descriptor.data),
            CONTENT => {
                event.genre = event.genre.or(descriptor.data.first().copied());
                Some(())
            }
            // Country, then the age less three; 0x10 on is the broadcaster's own (§6.2.28).
            PARENTAL_RATING => {
                let age = descriptor.data.get(3).filter(|age| (1..=0x0f).contains(*age)).map(|age| age + 3);
                event.age = event.age.or(age);
                Some(())
            }
            _ => None,
        };
    }
    event
}

/// Language, title, text (§6.2.37).
fn short(event: &mut Event, data: &[u8]) -> Option<()> {
    let (&code, rest) = data.split_first_chunk::<3>()?;
    let (title, rest) = counted(rest)?;
    let (sentence, _) = counted(rest)?;
    let texts = event.texts_of(code)?;
    text::decode(title).trim().clone_into(&mut texts.title);
    text::decode(sentence).trim().clone_into(&mut texts.short);
    Some(())
}

/// Number and last number, language, items, text (§6.2.15): the descriptors of one language follow each other, and what they
/// say goes on from one to the next without a space.
fn extended(event: &mut Event, data: &[u8]) -> Option<()> {
    let (&[_, code @ ..], rest) = data.split_first_chunk::<4>()?;
    let (mut items, rest) = counted(rest)?;
    let (sentence, _) = counted(rest)?;
    let texts = event.texts_of(code)?;
    texts.long.push_str(&text::decode(sentence));
    while let Some((description, rest)) = counted(items) {
        let (item, rest) = counted(rest)?;
        items = rest;
        let (description, item) = (text::decode(description), text::decode(item));
        // Without a description it goes on with the item of the descriptor before.
        if !description.is_empty() {
            let space = if texts.long.is_empty() { "" } else { " " };
            texts.long.push_str(space);
            texts.long.push_str(description.trim_end_matches([':', ' ']));
            texts.long.push_str(": ");
        }
        texts.long.push_str(&item);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::si::tests::{descriptor, long, with_length};

    fn parsed(table_id: u8, descriptors: &[u8]) -> Eit {
        let mut body = vec![
            0x04, 0x37, 0x00, 0x01, 1, table_id, 0x12, 0x34, 0xc0, 0x79, 0x12, 0x45, 0x00, 0x01, 0x30, 0x00,
        ];
        let mut tail = with_length(descriptors);
        tail[0] = tail[0] & 0x0f | 0x90;
        body.extend(tail);
        let bytes = long(table_id, 28_106, &body);
        Eit::parse(&Section::parse(&bytes).unwrap()).unwrap()
    }

    #[test]
    fn an_event_has_its_time_and_texts() {
        let mut descriptors = descriptor(SHORT_EVENT, b"DEU\x05Titel\x0bEin \x05Satz \x86.");
        descriptors.extend(descriptor(SHORT_EVENT, b"eng\x05Title\x00"));
        descriptors.extend(descriptor(EXTENDED_EVENT, b"\x01deu\x00\x0aAnfang und"));
        descriptors.extend(descriptor(EXTENDED_EVENT, b"\x11deu\x0b\x05Regie\x04X. Y\x05 Ende"));
        descriptors.extend(descriptor(CONTENT, &[0x14, 0]));
        descriptors.extend(descriptor(PARENTAL_RATING, b"DEU\x09"));
        let eit = parsed(TABLE_PRESENT_ACTUAL, &descriptors);
        assert_eq!((eit.service_id, eit.transport_stream_id, eit.original_network_id), (28_106, 1079, 1));
        assert_eq!((eit.kind, eit.actual, eit.segment_last_number), (Kind::PresentFollowing, true, 1));
        let [event] = &eit.events[..] else { panic!("{eit:?}") };
        assert_eq!((event.id, event.start_unix_s, event.duration_s), (0x1234, Some(750_516_300), 5400));
        assert!(event.running && event.conditional_access);
        assert_eq!((event.genre, event.age), (Some(0x14), Some(12)));
        assert_eq!(event.texts_in(Some("eng")).unwrap().title, "Title");
        let german = event.texts_in(Some("fra")).unwrap();
        assert_eq!((german.language.as_deref(), german.title.as_str()), (Some("deu"), "Titel"));
        assert_eq!(german.long, "Anfang und Ende Regie: X. Y");
    }

    #[test]
    fn each_table_id_says_what_it_is() {
        for (table_id, kind, actual) in [
            (0x4f, Kind::PresentFollowing, false),
            (0x50, Kind::Schedule, true),
            (0x5f, Kind::Schedule, true),
            (0x60, Kind::Schedule, false),
            (0x6f, Kind::Schedule, false),
        ] {
            let eit = parsed(table_id, &[]);
            assert_eq!((eit.kind, eit.actual), (kind, actual), "{table_id:#x}");
        }
    }

    #[test]
    fn languages_of_an_event_are_bounded() {
        let descriptors: Vec<u8> = (b'a'..=b'z')
            .flat_map(|letter| descriptor(SHORT_EVENT, &[letter, b'a', b'a', 1, b'T', 0]))
            .collect();
        assert_eq!(parsed(0x50, &descriptors).events[0].texts.len(), LANGUAGES_MAX);
    }
}
