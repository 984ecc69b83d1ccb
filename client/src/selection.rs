//! Which channel a person means: by id, by name, or by the beginning of a name.

use std::fmt::Write;

use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelEntry, ChannelList};
use thiserror::Error;

use crate::listing::printable;

/// Channels named in one message; the rest is counted.
const NAMED_MAX: usize = 10;

/// Why a text names no one channel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// Nothing fits.
    #[error("no channel `{wanted}` here; there are: {present}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// What there is.
        present: String,
    },
    /// More than one fits.
    #[error("`{wanted}` could be: {fitting}; give an id or more of the name")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What fits.
        fitting: String,
    },
    /// The list is empty: no destination serves the caller's network.
    #[error(
        "no channel is served at this host's network: the topology has no destination that serves its address"
    )]
    NotServed,
}

/// The channel of `list` that `wanted` means: its id; else its whole name; else the beginning of one name only. Case
/// does not matter.
pub fn select(list: &ChannelList, wanted: &str) -> Result<ChannelId, SelectionError> {
    if list.channels.is_empty() {
        return Err(SelectionError::NotServed);
    }
    if let Ok(id) = wanted.parse::<ChannelId>()
        && list.channels.iter().any(|entry| entry.id == id)
    {
        return Ok(id);
    }
    let name = wanted.to_lowercase();
    let whole = fitting(list, |entry| entry.name.to_lowercase() == name);
    let found = if whole.is_empty() {
        fitting(list, |entry| entry.name.to_lowercase().starts_with(&name))
    } else {
        whole
    };
    match found[..] {
        [one] => Ok(one.id),
        [] => {
            Err(SelectionError::Unknown { wanted: wanted.to_owned(), present: named(list.channels.iter()) })
        }
        _ => Err(SelectionError::Ambiguous { wanted: wanted.to_owned(), fitting: named(found.into_iter()) }),
    }
}

fn fitting(list: &ChannelList, fits: impl Fn(&ChannelEntry) -> bool) -> Vec<&ChannelEntry> {
    list.channels.iter().filter(|entry| fits(entry)).collect()
}

fn named<'a>(entries: impl ExactSizeIterator<Item = &'a ChannelEntry>) -> String {
    let more = entries.len().saturating_sub(NAMED_MAX);
    let mut text = entries
        .take(NAMED_MAX)
        .map(|entry| format!("{} {}", entry.id, printable(&entry.name)))
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::p2_directory::ChannelStatus;

    fn list(names: &[(u32, &str)]) -> ChannelList {
        let entry = |(id, name): &(u32, &str)| ChannelEntry {
            id: ChannelId(*id),
            name: (*name).to_owned(),
            status: ChannelStatus::Active,
            tuning: None,
            group: None,
            logo: None,
        };
        ChannelList { channels: names.iter().map(entry).collect(), ..ChannelList::default() }
    }

    #[test]
    fn ids_names_and_beginnings_are_understood() {
        let list = list(&[(1, "News"), (2, "News 24"), (7, "Été"), (24, "2")]);
        assert_eq!(select(&list, "2"), Ok(ChannelId(2)), "an id goes before a name");
        assert_eq!(select(&list, "news"), Ok(ChannelId(1)), "a whole name goes before a beginning");
        assert_eq!(select(&list, "NEWS 2"), Ok(ChannelId(2)));
        assert_eq!(select(&list, "é"), Ok(ChannelId(7)));
    }

    #[test]
    fn what_fits_none_or_several_is_answered_with_the_choice() {
        let list = list(&[(1, "News"), (2, "Newsreel")]);
        assert_eq!(
            select(&list, "ne").unwrap_err().to_string(),
            "`ne` could be: 1 News, 2 Newsreel; give an id or more of the name"
        );
        assert_eq!(
            select(&list, "9").unwrap_err().to_string(),
            "no channel `9` here; there are: 1 News, 2 Newsreel"
        );
        assert_eq!(select(&ChannelList::default(), "1"), Err(SelectionError::NotServed));
    }
}
