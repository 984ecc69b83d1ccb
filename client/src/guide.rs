//! The programme guide: asked for page by page, printed as a table and as JSON. As XMLTV it is written by [`crate::xmltv`].

use jiff::tz::TimeZone;
use protocols::guide::Event;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelGuide, ChannelList, GuidePage, GuidePlace, GuideQuery};
use protocols::recording::{MAX_TITLE_BYTES, Span};
use protocols::time::ClusterTime;
use serde::Serialize;

use crate::listing::{Colour, printable};
use crate::recording_list::{Cell, aligned, plain};
use crate::when::{clock, local, rfc3339};

const GREEN: &str = "\x1b[32m";

/// Asks for page after page. Whatever a database server answers, it ends: each page must begin behind the one before.
#[derive(Debug)]
pub struct Reading {
    query: GuideQuery,
    ended: bool,
}

impl Reading {
    /// Begins with the first page of `query`.
    pub fn new(query: GuideQuery) -> Self {
        Self { query: GuideQuery { after: None, ..query }, ended: false }
    }

    /// What to ask next; `None`: all is told.
    pub fn question(&self) -> Option<GuideQuery> {
        (!self.ended).then_some(self.query)
    }

    /// Takes the answer: the channels on it that are sound.
    pub fn take(&mut self, page: GuidePage) -> Vec<ChannelGuide> {
        let further = |more: &GuidePlace| self.query.after.is_none_or(|after| after < *more);
        match page.more.filter(further) {
            Some(more) => self.query.after = Some(more),
            None => self.ended = true,
        }
        let mut channels = page.channels;
        channels.iter_mut().for_each(|channel| channel.events.retain(Event::is_sound));
        channels.retain(|channel| !channel.events.is_empty());
        channels
    }
}

/// A date of the guide, as the cluster dates; before 1970 nothing is shown.
pub fn cluster_time(unix_s: i64) -> ClusterTime {
    ClusterTime(u64::try_from(unix_s).unwrap_or(0).saturating_mul(1_000))
}

/// A date, as the guide dates.
pub fn unix_s(time: ClusterTime) -> i64 {
    i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX)
}

/// From when to when an event is recorded, and under which title: its own, as far as recordings have such.
pub fn recorded_as(event: &Event) -> (Span, String) {
    let span = Span { from: cluster_time(event.start_unix_s), to: cluster_time(event.end_unix_s()) };
    let mut title = event.title.replace('\n', " ");
    title.truncate(title.floor_char_boundary(MAX_TITLE_BYTES));
    if title.is_empty() {
        title = format!("event {}", event.id);
    }
    (span, title)
}

/// An aligned table: channel, from, to, number, title with the line about it; times are those of `zone`. What is on is green.
pub fn table(list: &ChannelList, guide: &[ChannelGuide], zone: &TimeZone, colour: Colour) -> String {
    let mut text = String::new();
    if guide.is_empty() {
        return "nothing is known of the programmes here\n".to_owned();
    }
    let now_s = unix_s(list.time);
    let rows = guide.iter().flat_map(|channel| {
        let name = format!("{} {}", channel.channel, printable(name(list, channel.channel)));
        channel.events.iter().map(move |event| row(&name, event, now_s, zone))
    });
    aligned(&mut text, &["CHANNEL", "FROM", "TO", "EVENT", "PROGRAMME"], rows.collect(), colour);
    text
}

fn row(name: &str, event: &Event, now_s: i64, zone: &TimeZone) -> Vec<Cell> {
    let from = local(cluster_time(event.start_unix_s), zone);
    // To the minute: no broadcaster keeps the second.
    let from = from.get(..16).unwrap_or(&from).to_owned();
    let to = match event.duration_s {
        0 => "-".to_owned(),
        _ => clock(cluster_time(event.end_unix_s()), zone),
    };
    let words = [&event.title, &event.text].map(|text| printable(&text.replace('\n', " ")));
    let about = words.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
    let on = if event.overlaps(now_s, now_s.saturating_add(1)) { GREEN } else { "" };
    vec![plain(name.to_owned()), plain(from), plain(to), plain(event.id.to_string()), (about, on)]
}

fn name(list: &ChannelList, channel: ChannelId) -> &str {
    list.channels.iter().find(|entry| entry.id == channel).map_or("", |entry| &entry.name)
}

/// One JSON object, on one line, with a line feed.
///
/// # Panics
/// Never: all that it writes is JSON.
pub fn json(list: &ChannelList, guide: &[ChannelGuide]) -> String {
    let channel = |channel: &ChannelGuide| JsonChannel {
        id: channel.channel.0,
        name: name(list, channel.channel).to_owned(),
        events: channel.events.iter().map(json_event).collect(),
    };
    let guide = JsonGuide { time: rfc3339(list.time), channels: guide.iter().map(channel).collect() };
    format!("{}\n", serde_json::to_string(&guide).expect("text and numbers are JSON"))
}

fn json_event(event: &Event) -> JsonEvent {
    JsonEvent {
        id: event.id,
        from: rfc3339(cluster_time(event.start_unix_s)),
        to: (event.duration_s > 0).then(|| rfc3339(cluster_time(event.end_unix_s()))),
        title: event.title.clone(),
        text: event.text.clone(),
        description: event.description.clone(),
        language: event.language.clone(),
        genre: event.content.and_then(genre),
        least_age: event.least_age,
    }
}

/// What EN 300 468, table 29, calls the genre of a content byte; `None` where it has no name for it.
pub fn genre(content: u8) -> Option<&'static str> {
    match content >> 4 {
        1 => Some("Movie / Drama"),
        2 => Some("News / Current affairs"),
        3 => Some("Show / Game show"),
        4 => Some("Sports"),
        5 => Some("Children's / Youth programmes"),
        6 => Some("Music / Ballet / Dance"),
        7 => Some("Arts / Culture (without music)"),
        8 => Some("Social / Political issues / Economics"),
        9 => Some("Education / Science / Factual topics"),
        10 => Some("Leisure hobbies"),
        _ => None,
    }
}

#[derive(Serialize)]
struct JsonGuide {
    time: String,
    channels: Vec<JsonChannel>,
}

#[derive(Serialize)]
struct JsonChannel {
    id: u32,
    name: String,
    events: Vec<JsonEvent>,
}

#[derive(Serialize)]
struct JsonEvent {
    id: u16,
    from: String,
    to: Option<String>,
    title: String,
    text: String,
    description: String,
    language: Option<String>,
    genre: Option<&'static str>,
    least_age: Option<u8>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use protocols::p2_directory::{ChannelEntry, ChannelStatus};

    const NOW_S: i64 = 1_800_000_000;

    pub(crate) fn guide() -> Vec<ChannelGuide> {
        let news = Event {
            id: 7,
            start_unix_s: NOW_S,
            duration_s: 900,
            title: "News & <more>".to_owned(),
            text: "Headlines".to_owned(),
            description: "First\nthen \u{1F600} \"weather\"".to_owned(),
            language: Some("deu".to_owned()),
            content: Some(0x20),
            least_age: Some(12),
        };
        let next = Event { id: 8, start_unix_s: NOW_S + 900, title: "Film".to_owned(), ..Event::default() };
        vec![ChannelGuide { channel: ChannelId(1), events: vec![news, next] }]
    }

    fn list() -> ChannelList {
        let entry = ChannelEntry {
            id: ChannelId(1),
            name: "One".to_owned(),
            status: ChannelStatus::Active,
            tuning: None,
            group: None,
            logo: None,
        };
        ChannelList { time: cluster_time(NOW_S + 60), channels: vec![entry], ..ChannelList::default() }
    }

    #[test]
    fn the_table_is_plain_in_a_pipe_and_what_is_on_is_green_on_a_terminal() {
        assert_eq!(
            table(&list(), &guide(), &TimeZone::UTC, Colour::Off),
            "CHANNEL  FROM              TO     EVENT  PROGRAMME\n\
             1 One    2027-01-15 08:00  08:15  7      News & <more>: Headlines\n\
             1 One    2027-01-15 08:15  -      8      Film\n"
        );
        let coloured = table(&list(), &guide(), &TimeZone::UTC, Colour::On);
        assert!(coloured.contains("\x1b[32mNews & <more>: Headlines\x1b[0m\n"), "{coloured}");
        assert!(coloured.ends_with("  Film\n"), "{coloured}");
        assert!(table(&list(), &[], &TimeZone::UTC, Colour::Off).starts_with("nothing is known"));
    }

    #[test]
    fn json_has_every_field_on_one_line() {
        assert_eq!(
            json(&list(), &guide()),
            "{\"time\":\"2027-01-15T08:01:00Z\",\"channels\":[{\"id\":1,\"name\":\"One\",\"events\":[\
             {\"id\":7,\"from\":\"2027-01-15T08:00:00Z\",\"to\":\"2027-01-15T08:15:00Z\",\"title\":\"News & <more>\",\
             \"text\":\"Headlines\",\"description\":\"First\\nthen 😀 \\\"weather\\\"\",\"language\":\"deu\",\
             \"genre\":\"News / Current affairs\",\"least_age\":12},\
             {\"id\":8,\"from\":\"2027-01-15T08:15:00Z\",\"to\":null,\"title\":\"Film\",\"text\":\"\",\"description\":\"\",\
             \"language\":null,\"genre\":null,\"least_age\":null}]}]}\n"
        );
    }

    #[test]
    fn an_event_is_recorded_by_its_own_dates_and_title() {
        let events = &guide()[0].events;
        let span = Span { from: cluster_time(NOW_S), to: cluster_time(NOW_S + 900) };
        assert_eq!(recorded_as(&events[0]), (span, "News & <more>".to_owned()));
        let long = Event { title: "ä\n".repeat(60), ..events[0].clone() };
        let title = recorded_as(&long).1;
        assert!(protocols::recording::is_title(&title) && title.len() == 128, "{title}");
        let nameless = Event { title: String::new(), ..events[0].clone() };
        assert_eq!(recorded_as(&nameless).1, "event 7");
    }

    #[test]
    fn pages_are_asked_for_until_the_last_and_never_the_same_twice() {
        let query = GuideQuery {
            channel: None,
            from_unix_s: 0,
            until_unix_s: i64::MAX,
            per_channel: 9,
            descriptions: true,
            after: None,
        };
        let place = |start_unix_s| GuidePlace { channel: ChannelId(1), start_unix_s };
        let page = |more| GuidePage { more, channels: guide(), ..GuidePage::default() };
        let mut reading = Reading::new(query);
        assert_eq!(reading.question(), Some(query));
        assert_eq!(reading.take(page(Some(place(5)))), guide());
        assert_eq!(reading.question(), Some(GuideQuery { after: Some(place(5)), ..query }));
        reading.take(page(Some(place(5))));
        assert_eq!(reading.question(), None, "it would go round for ever");
        let mut reading = Reading::new(query);
        let mut unsound = page(None);
        unsound.channels[0].events.iter_mut().for_each(|event| event.title = "\u{1b}[2J".to_owned());
        assert_eq!((reading.take(unsound), reading.question()), (Vec::new(), None));
    }
}
