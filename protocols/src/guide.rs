//! Words of the programme guide: what a channel shows when, as its broadcaster says it (`docs/programme-guide.md`).
//!
//! Dates are whole seconds since 1970, UTC, as broadcasters give them: an [`Event`] may begin before this site existed.

use serde::{Deserialize, Serialize};

use crate::ids::ChannelId;

/// Longest title in bytes; longer ones are cut by whoever reads them from a multiplex, and refused behind it.
pub const MAX_TITLE_BYTES: usize = 256;
/// Longest short text in bytes.
pub const MAX_TEXT_BYTES: usize = 512;
/// Longest description in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 2_048;
/// Longest event in s: what the six digits of EN 300 468, section 5.2.4, can say.
pub const MAX_DURATION_S: u32 = 100 * 3_600;
/// Events of one [`Schedule`]: a day of one every three minutes. Its P1 frame is at most 1.5 MB, most are below 100 kB.
pub const MAX_EVENTS_PER_SCHEDULE: usize = 512;
/// Events of one channel that are kept: 14 days of one every ten minutes. Of more, those that begin first.
pub const MAX_EVENTS_PER_CHANNEL: usize = 2_048;
/// Bytes that all events of a server take at most, by [`Event::footprint_bytes`]; those for which there is no room are left out. A
/// week of 200 channels, 67,200 events, takes a third of it.
pub const MAX_GUIDE_BYTES: usize = 128 << 20;
/// What an event takes beside its texts: itself, its place in a tree that is two thirds full, and what an allocator adds
/// to five pieces.
const BYTES_PER_EVENT: usize = std::mem::size_of::<Event>() + 160;
/// How far ahead events are kept; further ones are left out.
pub const MAX_AHEAD_S: i64 = 16 * 86_400;
/// How long an event is kept after its end, for who plays what has just been.
pub const KEPT_AFTER_END_S: i64 = 4 * 3_600;

/// One programme of one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The broadcaster's number (`event_id` of EN 300 468 or ATSC A/65): unique within its channel while it is announced.
    pub id: u16,
    /// When it begins, in s since 1970, UTC.
    pub start_unix_s: i64,
    /// How long it is, at most [`MAX_DURATION_S`]; 0 where the broadcaster does not know.
    pub duration_s: u32,
    /// Its title, at most [`MAX_TITLE_BYTES`]; may be empty.
    pub title: String,
    /// A line about it, at most [`MAX_TEXT_BYTES`]; may be empty.
    pub text: String,
    /// More about it, at most [`MAX_DESCRIPTION_BYTES`]; may be empty.
    pub description: String,
    /// Language of these texts, three small letters (ISO 639-2).
    pub language: Option<String>,
    /// What it is about: `content_nibble_level_1` in the high, `content_nibble_level_2` in the low four bits (EN 300 468,
    /// table 29).
    pub content: Option<u8>,
    /// Age in years from which it is meant to be seen.
    pub least_age: Option<u8>,
}

impl Event {
    /// When it ends, in s since 1970.
    pub fn end_unix_s(&self) -> i64 {
        self.start_unix_s.saturating_add(i64::from(self.duration_s))
    }

    /// Whether some of it lies between `from_s` and `until_s`, which is behind it. One of unknown duration counts by its beginning.
    pub fn overlaps(&self, from_s: i64, until_s: i64) -> bool {
        self.start_unix_s < until_s && self.end_unix_s().max(self.start_unix_s.saturating_add(1)) > from_s
    }

    /// How much memory it takes, about.
    pub fn footprint_bytes(&self) -> usize {
        let language = self.language.as_ref().map_or(0, String::len);
        BYTES_PER_EVENT + self.title.len() + self.text.len() + self.description.len() + language
    }

    /// The same with texts, duration and language brought within what [`Self::is_sound`] allows.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.duration_s = self.duration_s.min(MAX_DURATION_S);
        tidy(&mut self.title, MAX_TITLE_BYTES);
        tidy(&mut self.text, MAX_TEXT_BYTES);
        tidy(&mut self.description, MAX_DESCRIPTION_BYTES);
        self.language.take_if(|language| !is_language(language));
        self
    }

    /// Whether it keeps every limit: texts without control characters but line feeds, none too long.
    pub fn is_sound(&self) -> bool {
        self.duration_s <= MAX_DURATION_S
            && is_tidy(&self.title, MAX_TITLE_BYTES)
            && is_tidy(&self.text, MAX_TEXT_BYTES)
            && is_tidy(&self.description, MAX_DESCRIPTION_BYTES)
            && self.language.as_deref().is_none_or(is_language)
    }
}

/// Every event of one channel that begins between two dates: what was known of them before is replaced by it.
///
/// Sent again, it changes nothing; so a sender that has lost its connection sends all of its schedules again, and both
/// sides know the same, whichever of them was restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The channel.
    pub channel: ChannelId,
    /// The first second in which an event of it may begin.
    pub from_unix_s: i64,
    /// The first second behind it.
    pub until_unix_s: i64,
    /// The events, by their beginning, no two at once; at most [`MAX_EVENTS_PER_SCHEDULE`].
    pub events: Vec<Event>,
}

impl Schedule {
    /// Whether it keeps every limit, and its events are in order and between its dates.
    pub fn is_sound(&self) -> bool {
        let starts = || self.events.iter().map(|event| event.start_unix_s);
        self.channel.0 != 0
            && self.from_unix_s < self.until_unix_s
            && self.events.len() <= MAX_EVENTS_PER_SCHEDULE
            && starts().all(|start| (self.from_unix_s..self.until_unix_s).contains(&start))
            && starts().zip(starts().skip(1)).all(|(before, after)| before < after)
            && self.events.iter().all(Event::is_sound)
    }
}

fn is_language(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// XML 1.0, section 2.2, has no way to say the others.
fn is_character(character: char) -> bool {
    character == '\n' || !(character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}'))
}

fn is_tidy(text: &str, limit: usize) -> bool {
    text.len() <= limit && text.chars().all(is_character)
}

fn tidy(text: &mut String, limit: usize) {
    text.retain(is_character);
    text.truncate(text.floor_char_boundary(limit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;

    fn event(start_unix_s: i64) -> Event {
        Event { id: 7, start_unix_s, duration_s: 60, title: "A".to_owned(), ..Event::default() }
    }

    #[test]
    fn an_event_on_the_wire() {
        let event = Event {
            id: 0x0102,
            start_unix_s: -2,
            duration_s: 60,
            title: "A".to_owned(),
            text: "b".to_owned(),
            description: String::new(),
            language: Some("deu".to_owned()),
            content: Some(0x42),
            least_age: None,
        };
        let mut bytes = vec![2, 1, 254, 255, 255, 255, 255, 255, 255, 255, 60, 0, 0, 0];
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, b'A', 1, 0, 0, 0, 0, 0, 0, 0, b'b', 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([1, 3, 0, 0, 0, 0, 0, 0, 0, b'd', b'e', b'u', 1, 0x42, 0]);
        assert_eq!(encode(&event), bytes);
        assert_eq!(crate::codec::decode::<Event, 256>(&bytes).unwrap(), event);
    }

    #[test]
    fn whatever_a_broadcaster_says_can_be_brought_within_the_limits() {
        let wild = Event {
            duration_s: u32::MAX,
            title: "\u{86}ä\r\n\u{0}".repeat(200),
            text: "\u{ffff}€".repeat(400),
            description: "𝄞".repeat(1_000),
            language: Some("DE ".to_owned()),
            ..event(0)
        };
        assert!(!wild.is_sound());
        let tame = wild.bounded();
        assert!(tame.is_sound(), "{tame:?}");
        assert_eq!((tame.title.len(), tame.text.len(), tame.description.len()), (255, 510, 2_048));
        assert!(tame.title.starts_with("ä\nä\n"));
        assert_eq!(tame.clone().bounded(), tame);
    }

    #[test]
    fn a_schedule_is_in_order_and_within_its_dates() {
        let schedule = |starts: &[i64]| Schedule {
            channel: ChannelId(1),
            from_unix_s: 10,
            until_unix_s: 20,
            events: starts.iter().copied().map(event).collect(),
        };
        assert!(schedule(&[]).is_sound());
        assert!(schedule(&[10, 19]).is_sound());
        for starts in [&[9][..], &[20], &[11, 11], &[12, 11]] {
            assert!(!schedule(starts).is_sound(), "{starts:?}");
        }
        assert!(!Schedule { until_unix_s: 10, ..schedule(&[]) }.is_sound());
        assert!(!Schedule { channel: ChannelId(0), ..schedule(&[]) }.is_sound());
        let starts: Vec<i64> = (0..=512).collect();
        assert!(!Schedule { from_unix_s: 0, until_unix_s: 600, ..schedule(&starts) }.is_sound());
    }

    #[test]
    fn an_event_overlaps_what_it_is_shown_in() {
        assert!(event(100).overlaps(159, 160) && event(100).overlaps(0, 101));
        assert!(!event(100).overlaps(160, 200) && !event(100).overlaps(0, 100));
        let unknown = Event { duration_s: 0, ..event(100) };
        assert!(unknown.overlaps(100, 101) && !unknown.overlaps(101, 200));
        assert!(event(i64::MAX).overlaps(0, i64::MAX) || event(i64::MAX).end_unix_s() == i64::MAX);
    }

    #[test]
    fn the_longest_schedule_fits_a_frame() {
        let text = |bytes| "x".repeat(bytes);
        let longest = |start_unix_s| Event {
            title: text(MAX_TITLE_BYTES),
            text: text(MAX_TEXT_BYTES),
            description: text(MAX_DESCRIPTION_BYTES),
            language: Some("deu".to_owned()),
            content: Some(0),
            least_age: Some(0),
            ..event(start_unix_s)
        };
        let schedule = Schedule {
            channel: ChannelId(1),
            from_unix_s: 0,
            until_unix_s: i64::MAX,
            events: (0..512).map(longest).collect(),
        };
        assert!(schedule.is_sound());
        assert!(encode(&schedule).len() < 1_500_000);
        assert!(encode(&schedule).len() < crate::preamble::MAX_P1_FRAME_BYTES);
    }
}
