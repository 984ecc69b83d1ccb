//! What channels show, for people and their programs: what `/api/v1/guide` says.

use protocols::guide::Event;
use protocols::ids::ChannelId;
use protocols::p2_directory::{GuidePage, GuidePlace, GuideQuery};
use protocols::time::ClusterTime;
use serde::Serialize;
use utoipa::ToSchema;

/// How far ahead is told unless asked otherwise.
const DEFAULT_AHEAD_S: i64 = 24 * 3_600;

/// A part of the guide as it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuideAsk {
    /// Of this channel only.
    pub channel: Option<ChannelId>,
    /// What is not over by then; `None`: now.
    pub from: Option<ClusterTime>,
    /// What begins before then; `None`: a day later.
    pub until: Option<ClusterTime>,
    /// So many of each channel.
    pub per_channel: u16,
    /// Behind this event.
    pub after: Option<GuidePlace>,
}

impl GuideAsk {
    /// The question, at `now`.
    pub(crate) fn query(&self, now: ClusterTime) -> GuideQuery {
        let unix_s = |time: ClusterTime| i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX);
        let from_unix_s = unix_s(self.from.unwrap_or(now));
        GuideQuery {
            channel: self.channel,
            from_unix_s,
            until_unix_s: self.until.map_or(from_unix_s.saturating_add(DEFAULT_AHEAD_S), unix_s),
            per_channel: self.per_channel,
            descriptions: true,
            after: self.after,
        }
    }
}

/// A part of the guide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct GuideView {
    /// When it was told, ms since 1970.
    pub time_ms: u64,
    /// Channels of which something is known, by id.
    pub channels: Vec<ChannelGuideView>,
    /// Where there are more events: the last of these.
    pub more: Option<GuidePlaceView>,
}

/// The place of an event in the guide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct GuidePlaceView {
    /// `after_channel` of the next request.
    pub channel: u32,
    /// `after_from_ms` of the next request.
    pub from_ms: i64,
}

/// What one channel shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChannelGuideView {
    /// The channel.
    pub channel: u32,
    /// By beginning.
    pub events: Vec<GuideEventView>,
}

/// What one channel shows at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct GuideEventView {
    /// The broadcaster's number of it.
    pub id: u16,
    /// When it begins, ms since 1970.
    pub from_ms: i64,
    /// When it ends; null where that is not known.
    pub to_ms: Option<i64>,
    /// Its title; may be empty.
    pub title: String,
    /// A line about it; may be empty.
    pub text: String,
    /// More about it; may be empty.
    pub description: String,
    /// Language of these texts (ISO 639-2).
    pub language: Option<String>,
    /// Genre: the two nibbles of EN 300 468, table 29.
    pub content: Option<u8>,
    /// Age in years from which it is meant to be seen.
    pub least_age: Option<u8>,
}

impl GuideView {
    pub(crate) fn of(page: GuidePage) -> Self {
        let channels = page.channels.into_iter().map(|channel| ChannelGuideView {
            channel: channel.channel.0,
            events: channel.events.into_iter().map(GuideEventView::of).collect(),
        });
        Self {
            time_ms: page.time.0,
            channels: channels.collect(),
            more: page.more.map(|GuidePlace { channel, start_unix_s }| GuidePlaceView {
                channel: channel.0,
                from_ms: start_unix_s.saturating_mul(1_000),
            }),
        }
    }
}

impl GuideEventView {
    fn of(event: Event) -> Self {
        let to_ms = (event.duration_s > 0).then(|| event.end_unix_s().saturating_mul(1_000));
        let Event { id, start_unix_s, title, text, description, language, content, least_age, .. } = event;
        let from_ms = start_unix_s.saturating_mul(1_000);
        Self { id, from_ms, to_ms, title, text, description, language, content, least_age }
    }
}
