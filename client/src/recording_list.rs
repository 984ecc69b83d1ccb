//! The list of recordings as a table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use jiff::tz::TimeZone;
use protocols::ids::HostId;
use protocols::p2_directory::{
    ChannelRecording, ProgrammeEntry, ProgrammeState, Range, RangeState, RecordingList,
};
use protocols::recording::Span;
use serde::Serialize;

use crate::listing::{Colour, printable};
use crate::when::{local, rfc3339};

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

/// A cell, and how it is coloured.
pub(crate) type Cell = (String, &'static str);

/// Two aligned tables: what is held of each channel, and the programme recordings; times are those of `zone`.
pub fn table(list: &RecordingList, zone: &TimeZone, colour: Colour) -> String {
    let mut text = String::new();
    if list.channels.is_empty() && list.programmes.is_empty() {
        return "nothing is recorded here\n".to_owned();
    }
    if !list.channels.is_empty() {
        let head = ["CHANNEL", "FROM", "TO", "LENGTH", "SIZE", "REPLICAS", "STATE"];
        let rows = list.channels.iter().flat_map(|channel| channel_rows(channel, zone));
        aligned(&mut text, &head, rows.collect(), colour);
    }
    if list.left_out > 0 {
        let _ = writeln!(text, "{} older ranges are not shown", list.left_out);
    }
    if !list.programmes.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        let head = ["ID", "CHANNEL", "FROM", "TO", "LENGTH", "SIZE", "REPLICAS", "STATE", "TITLE"];
        let rows = list.programmes.iter().map(|programme| programme_row(programme, zone));
        aligned(&mut text, &head, rows.collect(), colour);
    }
    text
}

/// One programme recording, as a line of its own.
pub fn line(programme: &ProgrammeEntry, zone: &TimeZone) -> String {
    let ProgrammeEntry { id, channel, span, .. } = programme;
    let (state, title) = (programme_state(programme).0, printable(&programme.title));
    let (from, to) = (local(span.from, zone), local(span.to, zone));
    format!("recording {id}: channel {channel}, {from} to {to}, {state}: {title}\n")
}

fn channel_rows(channel: &ChannelRecording, zone: &TimeZone) -> Vec<Vec<Cell>> {
    let name = format!("{} {}", channel.channel, printable(&channel.name));
    let row = |range: &Range| {
        let mut row = vec![plain(name.clone())];
        row.extend(span_cells(range.span, zone));
        row.push(plain(size(range.bytes)));
        row.push(plain(replicas(range.replicas, range.away, channel.recorders)));
        row.push(range_state(range));
        row
    };
    let mut rows: Vec<_> = channel.ranges.iter().map(row).collect();
    if rows.is_empty() {
        rows.push(vec![
            plain(name.clone()),
            dash(),
            dash(),
            dash(),
            dash(),
            dash(),
            plain("nothing yet".to_owned()),
        ]);
    }
    let fault = |fault: &protocols::p2_directory::RecorderFault| {
        let text = format!("push server {} does not record: {}", fault.host, fault.fault.text());
        vec![plain(name.clone()), dash(), dash(), dash(), dash(), dash(), (text, RED)]
    };
    rows.extend(channel.faults.iter().map(fault));
    rows
}

fn programme_row(programme: &ProgrammeEntry, zone: &TimeZone) -> Vec<Cell> {
    let mut row = vec![plain(programme.id.to_string()), plain(programme.channel.to_string())];
    row.extend(span_cells(programme.span, zone));
    let (state, colour) = programme_state(programme);
    row.push(plain(size(programme.bytes)));
    row.push(plain(replicas(programme.replicas, 0, programme.recorders)));
    row.push((state, colour));
    row.push(plain(printable(&programme.title)));
    row
}

fn span_cells(span: Span, zone: &TimeZone) -> [Cell; 3] {
    [plain(local(span.from, zone)), plain(local(span.to, zone)), plain(length(span.length()))]
}

fn range_state(range: &Range) -> Cell {
    let (name, colour) = range_state_name(range.state);
    let hosts: Vec<&str> = range.lacking.iter().map(HostId::as_str).collect();
    match (range.state, hosts.is_empty()) {
        (RangeState::Thin, false) => (format!("{name}: missing at {}", hosts.join(", ")), colour),
        _ => (name.to_owned(), colour),
    }
}

fn range_state_name(state: RangeState) -> (&'static str, &'static str) {
    match state {
        RangeState::Kept => ("kept", GREEN),
        RangeState::Thin => ("thin", YELLOW),
        RangeState::Differs => ("replicas differ", RED),
        RangeState::Fresh => ("fresh", ""),
        RangeState::Ending => ("ending", ""),
    }
}

fn programme_state(programme: &ProgrammeEntry) -> Cell {
    let (name, colour) = programme_state_name(programme.state);
    if programme.missing_ms == 0 || programme.state == ProgrammeState::Lost {
        return (name.to_owned(), colour);
    }
    (format!("{name}, {} missing", length(Duration::from_millis(programme.missing_ms))), YELLOW)
}

fn programme_state_name(state: ProgrammeState) -> (&'static str, &'static str) {
    match state {
        ProgrammeState::Scheduled => ("scheduled", ""),
        ProgrammeState::Recording => ("recording", ""),
        ProgrammeState::Kept => ("kept", GREEN),
        ProgrammeState::Thin => ("thin", YELLOW),
        ProgrammeState::Partly => ("partly", YELLOW),
        ProgrammeState::Lost => ("lost", RED),
    }
}

fn replicas(held: u16, away: u16, recorders: u16) -> String {
    match away {
        0 => format!("{held} of {recorders}"),
        away => format!("{held} of {recorders}, {away} away"),
    }
}

/// `26:03:07`, `0:00:00.250`.
pub(crate) fn length(span: Duration) -> String {
    let (seconds, ms) = (span.as_secs(), span.subsec_millis());
    let whole = format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if seconds == 0 && ms > 0 { format!("{whole}.{ms:03}") } else { whole }
}

/// In the largest unit that leaves a number above 1.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

pub(crate) fn plain(text: String) -> Cell {
    (text, "")
}

fn dash() -> Cell {
    plain("-".to_owned())
}

/// Appends a table whose columns are as wide as their widest cell; the last one is not padded.
pub(crate) fn aligned(text: &mut String, head: &[&str], rows: Vec<Vec<Cell>>, colour: Colour) {
    let head = head.iter().map(|name| plain((*name).to_owned())).collect();
    let rows: Vec<Vec<Cell>> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].0.chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let last = row.len() - 1;
        for (column, ((cell, on), width)) in row.into_iter().zip(&widths).enumerate() {
            let (on, off) = if colour == Colour::On && !on.is_empty() { (on, RESET) } else { ("", "") };
            let _ = if column == last {
                writeln!(text, "{on}{cell}{off}")
            } else {
                let pad = width - cell.chars().count();
                write!(text, "{on}{cell}{off}{:pad$}  ", "")
            };
        }
    }
}

/// One JSON object, on one line, with a line feed.
///
/// # Panics
/// Never: all that it writes is JSON.
pub fn json(list: &RecordingList) -> String {
    let list = JsonList {
        time: rfc3339(list.time),
        channels: list.channels.iter().map(json_channel).collect(),
        recordings: list.programmes.iter().map(json_programme).collect(),
        left_out: list.left_out,
    };
    format!("{}\n", serde_json::to_string(&list).expect("text and numbers are JSON"))
}

/// One programme recording as a JSON object, on one line, with a line feed.
///
/// # Panics
/// Never: all that it writes is JSON.
pub fn programme_json(programme: &ProgrammeEntry) -> String {
    let text = serde_json::to_string(&json_programme(programme)).expect("text and numbers are JSON");
    format!("{text}\n")
}

fn json_channel(channel: &ChannelRecording) -> JsonChannel<'_> {
    let range = |range: &Range| JsonRange {
        from: rfc3339(range.span.from),
        to: rfc3339(range.span.to),
        bytes: range.bytes,
        replicas: range.replicas,
        away: range.away,
        state: range_state_name(range.state).0,
        missing_at: range.lacking.iter().map(ToString::to_string).collect(),
    };
    let fault = |fault: &protocols::p2_directory::RecorderFault| JsonFault {
        push_server: fault.host.to_string(),
        cause: fault.fault.text(),
    };
    JsonChannel {
        id: channel.channel.0,
        name: &channel.name,
        recorders: channel.recorders,
        faults: channel.faults.iter().map(fault).collect(),
        ranges: channel.ranges.iter().map(range).collect(),
    }
}

fn json_programme(programme: &ProgrammeEntry) -> JsonProgramme<'_> {
    let hole = |hole: &Span| [rfc3339(hole.from), rfc3339(hole.to)];
    JsonProgramme {
        id: programme.id.0,
        channel: programme.channel.0,
        from: rfc3339(programme.span.from),
        to: rfc3339(programme.span.to),
        title: &programme.title,
        state: programme_state_name(programme.state).0,
        replicas: programme.replicas,
        recorders: programme.recorders,
        bytes: programme.bytes,
        missing_ms: programme.missing_ms,
        holes: programme.holes.iter().map(hole).collect(),
    }
}

#[derive(Serialize)]
struct JsonList<'a> {
    time: String,
    channels: Vec<JsonChannel<'a>>,
    recordings: Vec<JsonProgramme<'a>>,
    left_out: u32,
}

#[derive(Serialize)]
struct JsonChannel<'a> {
    id: u32,
    name: &'a str,
    recorders: u16,
    faults: Vec<JsonFault>,
    ranges: Vec<JsonRange>,
}

#[derive(Serialize)]
struct JsonFault {
    push_server: String,
    cause: &'static str,
}

#[derive(Serialize)]
struct JsonRange {
    from: String,
    to: String,
    bytes: u64,
    replicas: u16,
    away: u16,
    state: &'static str,
    missing_at: Vec<String>,
}

#[derive(Serialize)]
struct JsonProgramme<'a> {
    id: u32,
    channel: u32,
    from: String,
    to: String,
    title: &'a str,
    state: &'static str,
    replicas: u16,
    recorders: u16,
    bytes: u64,
    missing_ms: u64,
    holes: Vec<[String; 2]>,
}

#[cfg(test)]
mod tests {
    use protocols::ids::ChannelId;
    use protocols::p2_directory::RecorderFault;
    use protocols::recording::{RecordingFault, RecordingId};
    use protocols::time::ClusterTime;

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn hours(from: u64, to: u64) -> Span {
        Span {
            from: ClusterTime(1_800_000_000_000 + from * HOUR),
            to: ClusterTime(1_800_000_000_000 + to * HOUR),
        }
    }

    fn list() -> RecordingList {
        let range = |from, to, replicas, away, state, lacking: &[&str]| Range {
            span: hours(from, to),
            bytes: (to - from) * 2_250_000_000,
            replicas,
            away,
            state,
            lacking: lacking.iter().map(|host| host.parse().unwrap()).collect(),
        };
        let fault = RecorderFault { host: "yard".parse().unwrap(), fault: RecordingFault::DiskFull };
        RecordingList {
            time: hours(25, 25).from,
            channels: vec![
                ChannelRecording {
                    channel: ChannelId(1),
                    name: "One".to_owned(),
                    recorders: 2,
                    faults: vec![fault],
                    ranges: vec![
                        range(0, 24, 2, 1, RangeState::Kept, &[]),
                        range(24, 25, 1, 0, RangeState::Thin, &["yard"]),
                    ],
                },
                ChannelRecording {
                    channel: ChannelId(12),
                    name: "T\u{7}".to_owned(),
                    recorders: 1,
                    faults: vec![],
                    ranges: vec![],
                },
            ],
            programmes: vec![ProgrammeEntry {
                id: RecordingId(3),
                channel: ChannelId(1),
                span: hours(2, 3),
                title: "News".to_owned(),
                state: ProgrammeState::Partly,
                replicas: 1,
                recorders: 2,
                bytes: 1_999_000,
                missing_ms: 90_500,
                holes: vec![hours(2, 3)],
            }],
            left_out: 0,
        }
    }

    #[test]
    fn the_tables_are_aligned_and_plain_in_a_pipe() {
        let expected = "\
CHANNEL  FROM                 TO                   LENGTH    SIZE     REPLICAS        STATE
1 One    2027-01-15 08:00:00  2027-01-16 08:00:00  24:00:00  54.0 GB  2 of 2, 1 away  kept
1 One    2027-01-16 08:00:00  2027-01-16 09:00:00  1:00:00   2.2 GB   1 of 2          thin: missing at yard
1 One    -                    -                    -         -        -               push server yard does not record: its disk is full
12 T\u{fffd}    -                    -                    -         -        -               nothing yet

ID  CHANNEL  FROM                 TO                   LENGTH   SIZE    REPLICAS  STATE                    TITLE
3   1        2027-01-15 10:00:00  2027-01-15 11:00:00  1:00:00  1.9 MB  1 of 2    partly, 0:01:30 missing  News
";
        assert_eq!(table(&list(), &TimeZone::UTC, Colour::Off), expected);
        let coloured = table(&list(), &TimeZone::UTC, Colour::On);
        assert!(coloured.contains("\x1b[32mkept\x1b[0m\n") && coloured.contains("\x1b[33mthin"));
        assert_eq!(
            table(&RecordingList::default(), &TimeZone::UTC, Colour::On),
            "nothing is recorded here\n"
        );
    }

    #[test]
    fn json_has_every_field_on_one_line() {
        let mut one = list();
        one.channels.truncate(1);
        one.channels[0].ranges.truncate(1);
        assert_eq!(
            json(&one),
            "{\"time\":\"2027-01-16T09:00:00Z\",\"channels\":[{\"id\":1,\"name\":\"One\",\"recorders\":2,\
             \"faults\":[{\"push_server\":\"yard\",\"cause\":\"its disk is full\"}],\
             \"ranges\":[{\"from\":\"2027-01-15T08:00:00Z\",\"to\":\"2027-01-16T08:00:00Z\",\"bytes\":54000000000,\
             \"replicas\":2,\"away\":1,\"state\":\"kept\",\"missing_at\":[]}]}],\
             \"recordings\":[{\"id\":3,\"channel\":1,\"from\":\"2027-01-15T10:00:00Z\",\"to\":\"2027-01-15T11:00:00Z\",\
             \"title\":\"News\",\"state\":\"partly\",\"replicas\":1,\"recorders\":2,\"bytes\":1999000,\"missing_ms\":90500,\
             \"holes\":[[\"2027-01-15T10:00:00Z\",\"2027-01-15T11:00:00Z\"]]}],\"left_out\":0}\n"
        );
    }

    #[test]
    fn lengths_and_sizes_are_short() {
        assert_eq!(length(Duration::from_millis(250)), "0:00:00.250");
        assert_eq!(length(Duration::from_secs(93_787)), "26:03:07");
        assert_eq!(
            (size(999), size(1_000), size(1_050_000)),
            ("999 B".into(), "1.0 kB".into(), "1.0 MB".into())
        );
    }
}
