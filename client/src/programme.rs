//! Which recording a person means: a programme by its id or title, or a stretch of a channel.

use std::fmt::Write;

use jiff::tz::TimeZone;
use protocols::p2_directory::{ChannelList, PlayTarget, ProgrammeEntry, RecordingList};
use protocols::recording::RecordingId;
use thiserror::Error;

use crate::listing::printable;
use crate::selection::{SelectionError, select};
use crate::when::{When, WhenError};

/// Programmes named in one message; the rest is counted.
const NAMED_MAX: usize = 10;

/// What to play, as a person says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// With [`Self::from`] a channel: id or name. Else a programme: id, title, or the beginning of its title.
    pub target: String,
    /// From when.
    pub from: Option<When>,
    /// Until when.
    pub to: Option<When>,
}

/// Why nothing can be meant by it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WantedError {
    /// No one channel.
    #[error(transparent)]
    Channel(#[from] SelectionError),
    /// No time.
    #[error(transparent)]
    When(#[from] WhenError),
    /// No programme is called so.
    #[error("no recording `{wanted}` here; there are: {present}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// What there is.
        present: String,
    },
    /// No programme, but a channel is called so.
    #[error("`{wanted}` is a channel: say from when, such as --from -10m or --from 20:15")]
    NoTime {
        /// What was asked for.
        wanted: String,
    },
    /// Several.
    #[error("`{wanted}` could be: {fitting}; give an id or more of the title")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What fits.
        fitting: String,
    },
    /// An end without a beginning.
    #[error("--to goes with a channel and --from; a programme recording ends when it was ordered to")]
    Endless,
}

impl Wanted {
    /// The programme whose id this is; nobody need be asked then.
    pub fn programme(&self) -> Option<RecordingId> {
        if self.from.is_none() && self.to.is_none() { self.target.parse().ok() } else { None }
    }

    /// What it means, by the lists of the directory; times are those of `zone`.
    pub fn resolve(
        &self,
        channels: &ChannelList,
        recordings: &RecordingList,
        zone: &TimeZone,
    ) -> Result<PlayTarget, WantedError> {
        if let Some(id) = self.programme() {
            return Ok(PlayTarget::Programme(id));
        }
        let Some(from) = &self.from else {
            if self.to.is_some() {
                return Err(WantedError::Endless);
            }
            return self.by_title(channels, recordings);
        };
        let channel = select(channels, &self.target)?;
        let from = from.begin(channels.time, zone)?;
        let to = self.to.as_ref().map(|to| to.end(channels.time, from, zone)).transpose()?;
        Ok(PlayTarget::Channel { channel, from, to })
    }

    fn by_title(
        &self,
        channels: &ChannelList,
        recordings: &RecordingList,
    ) -> Result<PlayTarget, WantedError> {
        let (wanted, title) = (self.target.clone(), self.target.to_lowercase());
        let fitting = |fits: &dyn Fn(&str) -> bool| -> Vec<&ProgrammeEntry> {
            recordings.programmes.iter().filter(|programme| fits(&programme.title.to_lowercase())).collect()
        };
        let whole = fitting(&|other| other == title);
        let found = if whole.is_empty() { fitting(&|other| other.starts_with(&title)) } else { whole };
        match found[..] {
            [one] => Ok(PlayTarget::Programme(one.id)),
            [] if select(channels, &wanted).is_ok() => Err(WantedError::NoTime { wanted }),
            [] => Err(WantedError::Unknown { wanted, present: named(recordings.programmes.iter()) }),
            _ => Err(WantedError::Ambiguous { wanted, fitting: named(found.into_iter()) }),
        }
    }
}

fn named<'a>(programmes: impl ExactSizeIterator<Item = &'a ProgrammeEntry>) -> String {
    let count = programmes.len();
    let mut text = String::new();
    for programme in programmes.take(NAMED_MAX) {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{} {}", programme.id, printable(&programme.title));
    }
    match count {
        0 => "none".to_owned(),
        count if count > NAMED_MAX => format!("{text} and {} more", count - NAMED_MAX),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use protocols::ids::ChannelId;
    use protocols::p2_directory::{ChannelEntry, ChannelStatus, ProgrammeState};
    use protocols::recording::Span;
    use protocols::time::ClusterTime;

    use super::*;

    fn lists() -> (ChannelList, RecordingList) {
        let channel = ChannelEntry {
            id: ChannelId(1),
            name: "One".to_owned(),
            status: ChannelStatus::Active,
            tuning: None,
            group: None,
            logo: None,
        };
        let time = ClusterTime(1_800_000_000_000);
        let programme = |(place, title): (usize, &&str)| ProgrammeEntry {
            id: RecordingId(u32::try_from(place).unwrap() + 1),
            channel: ChannelId(1),
            span: Span { from: time, to: time },
            title: (*title).to_owned(),
            state: ProgrammeState::Kept,
            replicas: 1,
            recorders: 1,
            bytes: 0,
            missing_ms: 0,
            holes: Vec::new(),
        };
        let programmes = ["News", "News at ten", "Film"].iter().enumerate().map(programme).collect();
        let recordings = RecordingList { time, channels: Vec::new(), programmes, left_out: 0 };
        (ChannelList { time, channels: vec![channel], ..ChannelList::default() }, recordings)
    }

    fn resolve(target: &str, from: Option<&str>) -> Result<PlayTarget, WantedError> {
        let (channels, recordings) = lists();
        let from = from.map(|from| from.parse().unwrap());
        Wanted { target: target.to_owned(), from, to: None }.resolve(&channels, &recordings, &TimeZone::UTC)
    }

    #[test]
    fn a_programme_goes_by_id_or_title_a_channel_by_a_time() {
        let programme = |id| Ok(PlayTarget::Programme(RecordingId(id)));
        assert_eq!(resolve("7", None), programme(7));
        assert_eq!(resolve("news", None), programme(1));
        assert_eq!(resolve("fi", None), programme(3));
        let from = ClusterTime(1_800_000_000_000 - 600_000);
        let channel = PlayTarget::Channel { channel: ChannelId(1), from, to: None };
        assert_eq!(resolve("one", Some("-10m")), Ok(channel));
    }

    #[test]
    fn what_is_unclear_is_answered_with_the_choice() {
        let words = |target| resolve(target, None).unwrap_err().to_string();
        assert_eq!(words("ne"), "`ne` could be: 1 News, 2 News at ten; give an id or more of the title");
        assert_eq!(words("x"), "no recording `x` here; there are: 1 News, 2 News at ten, 3 Film");
        assert!(words("one").contains("is a channel: say from when"));
    }
}
