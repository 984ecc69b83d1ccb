//! How a playback goes: the line that shows it, and its numbers at the end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use jiff::tz::TimeZone;
use protocols::p4_control::TrickSpeed;
use protocols::recording::Span;
use protocols::time::ClusterTime;
use serde::Serialize;

use crate::listing::printable;
use crate::when::local;

/// Push servers that a summary names; more are not remembered.
pub const PUSH_SERVERS_MAX: usize = 64;
/// Columns of the bar.
const BAR: usize = 20;

/// What a viewer sees of a playback.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Title, or the channel's name.
    pub name: String,
    /// From where to where it can be played; the end moves where it grows.
    pub span: Span,
    /// Whether it grows.
    pub growing: bool,
    /// The date shown, or sought.
    pub place: ClusterTime,
    /// What is done there.
    pub state: State,
    /// What the buffer holds.
    pub buffer: Duration,
    /// The push server.
    pub push_server: String,
}

/// What a playback does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An order is on its way, or the buffer fills.
    Waiting,
    /// Packets are shown.
    Playing,
    /// The viewer has paused.
    Paused,
    /// Pictures.
    Fast(TrickSpeed),
    /// The channel as it is on air.
    Live,
    /// No push server answers.
    Deserted,
}

impl Progress {
    /// One line, without colours.
    pub fn line(&self, zone: &TimeZone) -> String {
        let mark = match self.state {
            State::Waiting => "…".to_owned(),
            State::Playing => "▶".to_owned(),
            State::Paused => "❚❚".to_owned(),
            State::Fast(speed) if speed.is_forward() => format!("▶▶ {}×", speed.factor()),
            State::Fast(speed) => format!("◀◀ {}×", speed.factor()),
            State::Live => "● live".to_owned(),
            State::Deserted => "no push server answers".to_owned(),
        };
        let (gone, whole) = (self.place.since(self.span.from), self.span.length());
        let mut line = format!("{} {mark} ", printable(&self.name));
        let date = local(self.place, zone);
        let _ = match (self.growing, self.state) {
            (_, State::Live) => write!(line, "{date}"),
            (true, _) => {
                write!(
                    line,
                    "{} {date} · {} behind live",
                    bar(gone, whole),
                    clock(self.span.to.since(self.place))
                )
            }
            (false, _) => {
                let left = self.span.to.since(self.place);
                write!(
                    line,
                    "{} {} of {} · {} left",
                    bar(gone, whole),
                    clock(gone),
                    clock(whole),
                    clock(left)
                )
            }
        };
        let _ = write!(line, " · buffer {:.1} s · {}", self.buffer.as_secs_f64(), self.push_server);
        line
    }
}

fn bar(gone: Duration, whole: Duration) -> String {
    let share = if whole.is_zero() { 1.0 } else { (gone.as_secs_f64() / whole.as_secs_f64()).min(1.0) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 20")]
    let full = (share * 20.0).round() as usize;
    format!("{}{}", "━".repeat(full.min(BAR)), "─".repeat(BAR.saturating_sub(full)))
}

/// `1:02:03` or `2:03`.
fn clock(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// The end of a playback in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The programme recording's title.
    pub title: Option<String>,
    /// The channel.
    pub channel: String,
    /// From the start of the program to its end, s.
    pub duration_s: f64,
    /// From the start to the first packet handed on, s.
    pub time_to_first_packet_s: Option<f64>,
    /// RTP packets handed on, pictures of fast forwards aside.
    pub packets: u64,
    /// Bytes of transport stream in them.
    pub bytes: u64,
    /// RTP packets of the recording that never came, or too late.
    pub lost: u64,
    /// Packets that came again, or too late.
    pub late: u64,
    /// Packets that the buffer had no room for.
    pub buffer_overflows: u64,
    /// Packets asked for again, each as often as it was.
    pub repairs_asked: u64,
    /// Times that the buffer ran dry: stops that were seen.
    pub stops: u64,
    /// Least that the buffer held, from the first time that it was half full on until the end came into sight or it was emptied on
    /// purpose, s.
    pub least_buffer_s: Option<f64>,
    /// Push servers left for another.
    pub failovers: u64,
    /// Times that the channel on air took over.
    pub handovers: u64,
    /// Whole pictures shown of fast forwards and rewinds.
    pub pictures: u64,
    /// Pictures given up since a part of them never came.
    pub torn_pictures: u64,
    /// Rates told to the push server.
    pub rate_commands: u64,
    /// Breaks of continuity counters in what was handed on, where nothing was sought.
    pub continuity_errors: u64,
    /// Packets that the output was too slow for.
    pub output_overflows: u64,
    /// Datagrams that were not genuine, or of a session that is over.
    pub foreign: u64,
    /// Push servers that served.
    pub push_servers: BTreeSet<String>,
}

impl Summary {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = printable(self.title.as_deref().unwrap_or(&self.channel));
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let megabytes = self.bytes as f64 / 1e6;
        let _ = write!(text, ": {} packets, {megabytes:.1} MB in {:.1} s", self.packets, self.duration_s);
        let _ = write!(text, "; lost {}, stops {}", self.lost, self.stops);
        let further = [
            ("asked for again", self.repairs_asked),
            ("failovers", self.failovers),
            ("onto the air", self.handovers),
            ("pictures", self.pictures),
            ("pictures torn", self.torn_pictures),
            ("continuity errors", self.continuity_errors),
            ("dropped, output too slow", self.output_overflows),
        ];
        for (name, count) in further.into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, ", {name} {count}");
        }
        if !self.push_servers.is_empty() {
            let servers: Vec<&str> = self.push_servers.iter().map(String::as_str).collect();
            let _ = write!(text, "; from {}", servers.join(", "));
        }
        text.push('\n');
        text
    }

    /// One JSON object, on one line, with a line feed.
    ///
    /// # Panics
    /// Never: there is nothing in it that JSON cannot say.
    pub fn json(&self) -> String {
        let mut json = serde_json::to_string(self).expect("numbers and strings are JSON");
        json.push('\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        let from = ClusterTime(1_800_000_000_000);
        Progress {
            name: "News".to_owned(),
            span: Span { from, to: from + Duration::from_secs(3_723) },
            growing: false,
            place: from + Duration::from_secs(931),
            state: State::Playing,
            buffer: Duration::from_millis(4_120),
            push_server: "hall".to_owned(),
        }
    }

    #[test]
    fn the_line_says_how_far_and_how_long() {
        let line = progress().line(&TimeZone::UTC);
        assert_eq!(line, "News ▶ ━━━━━─────────────── 15:31 of 1:02:03 · 46:32 left · buffer 4.1 s · hall");
        let growing = Progress { growing: true, state: State::Fast(TrickSpeed::Back16), ..progress() };
        let line = growing.line(&TimeZone::UTC);
        assert!(
            line.contains("◀◀ 16×") && line.contains("2027-01-15 08:15:31 · 46:32 behind live"),
            "{line}"
        );
        let nothing = Progress { span: Span { from: ClusterTime(5), to: ClusterTime(5) }, ..progress() };
        assert!(nothing.line(&TimeZone::UTC).contains("0:00 left"));
    }

    #[test]
    fn the_summary_names_what_was_out_of_the_ordinary_only() {
        let summary = Summary {
            channel: "One".to_owned(),
            packets: 10,
            bytes: 13_160,
            failovers: 1,
            push_servers: ["hall".to_owned()].into(),
            ..Summary::default()
        };
        let expected = "One: 10 packets, 0.0 MB in 0.0 s; lost 0, stops 0, failovers 1; from hall\n";
        assert_eq!(summary.text(), expected);
        let json: serde_json::Value = serde_json::from_str(&summary.json()).unwrap();
        assert_eq!((json["failovers"].as_u64(), json["push_servers"][0].as_str()), (Some(1), Some("hall")));
    }
}
