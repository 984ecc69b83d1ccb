//! The programme guide as clients ask for it: page by page, of the channels of their network.

use serde::{Deserialize, Serialize};

use crate::guide::Event;
use crate::ids::ChannelId;
use crate::time::ClusterTime;

/// Events of one [`GuidePage`]: at most 1.5 MB, most are below 200 kB.
pub const MAX_EVENTS_PER_PAGE: usize = 512;

/// Which part of the guide is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuideQuery {
    /// Of this channel only.
    pub channel: Option<ChannelId>,
    /// Events that are not over by then, s since 1970, UTC.
    pub from_unix_s: i64,
    /// Events that begin before then, s since 1970, UTC.
    pub until_unix_s: i64,
    /// So many of each channel, the first ones: 2 from now on are what is on and what is next.
    pub per_channel: u16,
    /// Whether descriptions are wanted; titles and short texts always come.
    pub descriptions: bool,
    /// Where the page before ended: [`GuidePage::more`].
    pub after: Option<GuidePlace>,
}

/// One event's place in the guide: by channel, then by beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuidePlace {
    /// Its channel.
    pub channel: ChannelId,
    /// Its beginning, s since 1970, UTC.
    pub start_unix_s: i64,
}

/// A part of the guide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuidePage {
    /// When the page was made.
    pub time: ClusterTime,
    /// Channels of which something is known, by id; at most [`MAX_EVENTS_PER_PAGE`] events in all.
    pub channels: Vec<ChannelGuide>,
    /// The last event of this page where there are more: the next question's [`GuideQuery::after`].
    pub more: Option<GuidePlace>,
}

/// What one channel shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelGuide {
    /// The channel.
    pub channel: ChannelId,
    /// Events by beginning, at least one.
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::super::{ToClient, ToDatabase};
    use super::*;
    use crate::codec::{decode_message, encode};

    #[test]
    fn a_question_about_the_guide_on_the_wire() {
        let query = GuideQuery {
            channel: Some(ChannelId(7)),
            from_unix_s: 1,
            until_unix_s: -1,
            per_channel: 2,
            descriptions: true,
            after: Some(GuidePlace { channel: ChannelId(3), start_unix_s: 5 }),
        };
        let mut bytes = vec![12, 0, 0, 0, 1, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([255; 8]);
        bytes.extend([2, 0, 1, 1, 3, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode(&ToDatabase::Guide(query)), bytes);
        assert_eq!(decode_message::<ToDatabase, 64>(&bytes).unwrap(), ToDatabase::Guide(query));
    }

    #[test]
    fn a_page_of_the_guide_on_the_wire() {
        let event = Event { start_unix_s: 5, duration_s: 60, ..Event::default() };
        let page = GuidePage {
            time: ClusterTime(9),
            channels: vec![ChannelGuide { channel: ChannelId(7), events: vec![event] }],
            more: None,
        };
        let mut bytes = vec![15, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0];
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0]);
        bytes.extend([0; 24]);
        bytes.extend([0, 0, 0, 0]);
        assert_eq!(encode(&ToClient::Guide(Box::new(page.clone()))), bytes);
        assert_eq!(decode_message::<ToClient, 256>(&bytes).unwrap(), ToClient::Guide(Box::new(page)));
    }
}
