//! The channel list as a table and as JSON.

use std::fmt::Write;

use protocols::p2_directory::{ChannelList, ChannelStatus};
use serde::Serialize;

/// Whether a text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    On,
    /// For a file or pipe.
    Off,
}

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

/// An aligned table: id, name, status with its cause.
pub fn table(list: &ChannelList, colour: Colour) -> String {
    let id_width = list.channels.iter().map(|entry| entry.id.to_string().len()).max().unwrap_or(0).max(2);
    let name_width = list.channels.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0).max(4);
    let mut text = format!("{:>id_width$}  {:name_width$}  STATUS\n", "ID", "NAME");
    for entry in &list.channels {
        let (on, status) = match &entry.status {
            ChannelStatus::Active => (GREEN, "active".to_owned()),
            ChannelStatus::Inactive { cause } if cause.is_empty() => (RED, "inactive".to_owned()),
            ChannelStatus::Inactive { cause } => (RED, format!("inactive: {}", printable(cause))),
        };
        let (on, off) = if colour == Colour::On { (on, RESET) } else { ("", "") };
        let name = printable(&entry.name);
        let id = entry.id.to_string();
        let _ = writeln!(text, "{id:>id_width$}  {name:name_width$}  {on}{status}{off}");
    }
    text
}

/// What a person should know beside the table; `None` when it speaks for itself.
pub fn remark(list: &ChannelList) -> Option<String> {
    match &list.network {
        None => Some(
            "the topology has no destination that serves this host's address: no channel can be watched here"
                .to_owned(),
        ),
        Some(network) if list.channels.is_empty() => Some(format!("no channel is sent to {network}")),
        Some(_) if list.offline => {
            Some("off-line mode: no acquisition server is registered, nothing is live".to_owned())
        }
        Some(_) => None,
    }
}

/// Without control characters, which a peer may have put in to play with the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// One JSON object, on one line, with a line feed. `cached_age_s`: how old the list is, when it is a kept one.
///
/// # Panics
/// Never: all that it writes is JSON.
pub fn json(list: &ChannelList, cached_age_s: Option<u64>) -> String {
    let channels = list.channels.iter().map(|entry| {
        let (status, cause) = match &entry.status {
            ChannelStatus::Active => ("active", None),
            ChannelStatus::Inactive { cause } => ("inactive", Some(cause.as_str())),
        };
        JsonChannel { id: entry.id.0, name: &entry.name, status, cause }
    });
    let list = JsonList {
        generation: list.generation.0,
        network: list.network.as_deref(),
        offline: list.offline,
        cached_age_s,
        channels: channels.collect(),
    };
    let text = serde_json::to_string(&list).expect("text and numbers are JSON");
    format!("{text}\n")
}

#[derive(Serialize)]
struct JsonList<'a> {
    generation: u64,
    network: Option<&'a str>,
    offline: bool,
    cached_age_s: Option<u64>,
    channels: Vec<JsonChannel<'a>>,
}

#[derive(Serialize)]
struct JsonChannel<'a> {
    id: u32,
    name: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::ids::ChannelId;
    use protocols::p2_directory::ChannelEntry;

    fn list() -> ChannelList {
        let entry = |id, name: &str, status| ChannelEntry {
            id: ChannelId(id),
            name: name.to_owned(),
            status,
            tuning: None,
            group: None,
            logo: None,
        };
        ChannelList {
            network: Some("10.0.1.0/24".to_owned()),
            channels: vec![
                entry(1, "One", ChannelStatus::Active),
                entry(120, "Été\u{7}", ChannelStatus::Inactive { cause: "roof is away".to_owned() }),
            ],
            ..ChannelList::default()
        }
    }

    #[test]
    fn the_table_is_aligned_and_plain_in_a_pipe() {
        let expected = " ID  NAME  STATUS\n  1  One   active\n120  Été\u{fffd}  inactive: roof is away\n";
        assert_eq!(table(&list(), Colour::Off), expected);
        assert!(table(&list(), Colour::On).contains("\x1b[32mactive\x1b[0m"));
    }

    #[test]
    fn json_has_every_field_on_one_line() {
        assert_eq!(
            json(&list(), Some(60)),
            "{\"generation\":0,\"network\":\"10.0.1.0/24\",\"offline\":false,\"cached_age_s\":60,\"channels\":[\
             {\"id\":1,\"name\":\"One\",\"status\":\"active\"},\
             {\"id\":120,\"name\":\"Été\\u0007\",\"status\":\"inactive\",\"cause\":\"roof is away\"}]}\n"
        );
    }

    #[test]
    fn an_address_that_nothing_serves_is_told_so() {
        assert!(remark(&ChannelList::default()).unwrap().contains("serves this host's address"));
        assert!(remark(&ChannelList { offline: true, ..list() }).unwrap().starts_with("off-line"));
        assert_eq!(remark(&list()), None);
    }
}
