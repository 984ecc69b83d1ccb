//! Captions and subtitles as text: what a programme carries, and what is said when.
//!
//! ```text
//! packets ─► Reader ─┬─ PMT ────────────────────────────────────────────► tracks
//!                    ├─ pictures ─► cc_data in order of presentation ─┬─► line21 (CTA-608, CC1 to CC4)
//!                    │                                                └─► dtvcc (CTA-708, services 1 to 6)
//!                    └─ private PES packets ─────────────────────────────► teletext (EN 300 706)
//!                                                                            └─► Event::Said, Event::Cue ─► subtitle_file
//! ```
//!
//! Nothing is taken out of the stream or changed in it. DVB subtitles are pictures: they are listed, and stay where they are.
//! Times are of 90 kHz, counted as players count: from the earliest stamp that sound or pictures begin with.

mod announced;
mod dtvcc;
mod line21;
mod presenter;
mod reader;
mod reorder;
pub mod subtitle_file;
mod teletext;
mod teletext_characters;
mod user_data;

use std::fmt;
use std::str::FromStr;

pub use announced::{Kind, Listing};
pub use reader::{Counters, Reader};

/// Tracks that are listed of one programme; more are ignored.
pub const TRACKS_MAX: usize = 64;

/// One line of text after another that is shown in its own right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    /// CTA-608: CC1 to CC4.
    Line21(u8),
    /// CTA-708: a caption service, 1 to 63, of which the first six are read.
    Service(u8),
    /// Teletext: a page as people write it, in hexadecimal digits: 0x888.
    Teletext(u16),
    /// DVB subtitles on this PID: pictures, which are not read.
    DvbSubtitles(u16),
}

impl Track {
    /// Whether its text is read here.
    pub fn is_text(self) -> bool {
        match self {
            Self::Line21(_) | Self::Teletext(_) => true,
            Self::Service(number) => usize::from(number) <= dtvcc::SERVICES_MAX,
            Self::DvbSubtitles(_) => false,
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line21(channel) => write!(f, "cc{channel}"),
            Self::Service(number) => write!(f, "service{number}"),
            Self::Teletext(page) => write!(f, "teletext{page:03x}"),
            Self::DvbSubtitles(pid) => write!(f, "dvb{pid}"),
        }
    }
}

/// Text that names no track.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no track; tracks are cc1 to cc4, service1 to service6, and teletext pages such as teletext888"
)]
pub struct TrackError(String);

impl FromStr for Track {
    type Err = TrackError;

    fn from_str(text: &str) -> Result<Self, TrackError> {
        let text = text.to_ascii_lowercase();
        let number = |digits: &str, last| digits.parse().ok().filter(|number| (1..=last).contains(number));
        let page = |digits: &str| {
            let page = (digits.len() == 3).then(|| u16::from_str_radix(digits, 16).ok()).flatten()?;
            (0x100..=0x8ff).contains(&page).then_some(page)
        };
        let track = if let Some(digits) = text.strip_prefix("cc") {
            number(digits, 4).map(Self::Line21)
        } else if let Some(digits) = text.strip_prefix("service") {
            number(digits, 6).map(Self::Service)
        } else {
            text.strip_prefix("teletext").and_then(page).map(Self::Teletext)
        };
        track.ok_or(TrackError(text))
    }
}

/// What comes out of a [`Reader`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something new is to be read: for who follows it live. What is loaded and then shown is told when it is shown, what is
    /// painted letter by letter when its line is whole.
    Said {
        /// Of which track.
        track: Track,
        /// Line by line, from above.
        lines: Vec<String>,
    },
    /// What was shown from a time to another: for a file.
    Cue(Cue),
}

/// Text that is shown for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    /// Of which track.
    pub track: Track,
    /// From when.
    pub start_90k: i64,
    /// Until when.
    pub end_90k: i64,
    /// From above.
    pub lines: Vec<Line>,
}

/// One line of a cue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says, without spaces around.
    pub text: String,
    /// How its first letter looks.
    pub style: Style,
    /// Roughly how far down it is, in percent of the picture's height.
    pub top_percent: u8,
    /// Roughly how far from the left it begins, in percent of the width.
    pub left_percent: u8,
}

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Slanted.
    pub italic: bool,
    /// Underlined.
    pub underline: bool,
    /// Its colour.
    pub colour: Colour,
}

/// The colours that all three kinds of captions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Colour {
    #[default]
    White,
    Green,
    Blue,
    Cyan,
    Red,
    Yellow,
    Magenta,
    Black,
}

/// A letter and how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    letter: char,
    style: Style,
}

/// The line that a row of cells makes; `None` where they are empty. `top_percent` is the row's, `left` tells where a column is.
fn line(cells: &[Option<Cell>], top_percent: u8, left: impl Fn(usize) -> u8) -> Option<Line> {
    let is_ink = |cell: &Option<Cell>| cell.is_some_and(|cell| !cell.letter.is_whitespace());
    let first = cells.iter().position(is_ink)?;
    let last = cells.iter().rposition(is_ink)?;
    let inked = cells.get(first..=last)?;
    let text = inked.iter().map(|cell| cell.map_or(' ', |cell| cell.letter)).collect();
    let style = inked.first().copied().flatten().map_or_else(Style::default, |cell| cell.style);
    Some(Line { text, style, top_percent, left_percent: left(first) })
}

/// `part` of `whole` in percent.
fn percent(part: usize, whole: usize) -> u8 {
    u8::try_from(part * 100 / whole.max(1)).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_named_and_found_by_their_names() {
        for (name, track) in [
            ("cc1", Track::Line21(1)),
            ("service6", Track::Service(6)),
            ("teletext888", Track::Teletext(0x888)),
            ("teletext15a", Track::Teletext(0x15a)),
        ] {
            assert_eq!(name.parse(), Ok(track));
            assert_eq!(track.to_string(), name);
        }
        assert_eq!("CC3".parse(), Ok(Track::Line21(3)));
        for wrong in ["cc5", "cc0", "cc", "service7", "teletext", "teletext88", "teletext900", "dvb256", ""] {
            assert!(wrong.parse::<Track>().is_err(), "{wrong}");
        }
    }
}
