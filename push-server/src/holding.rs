//! Which feeds are held: those of channels that nobody has watched for [`HOLD_AFTER`], so that what nobody watches
//! costs next to nothing on its way here as well.
//!
//! ```text
//!          feed opens, nobody watches                     HOLD_AFTER without a viewer
//! no feed ────────────────────────────► flowing, due to be held ──────────────────► held
//!          feed opens, somebody watches        ▲ │ first viewer          first viewer │
//!         ─────────────────────────────► flowing ◄────────────────────────────────────┘
//! ```
//!
//! A channel without a feed remembers whether it is watched, since its next feed flows until told otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::p3_feed::FeedOrder;
use protocols::time::Time;

use crate::server::FeedId;

/// A feed is held when its channel has been sent nowhere for so long: beyond the time in which people zap to and fro.
pub const HOLD_AFTER: Duration = Duration::from_secs(10);

/// What is to be told to a channel's feed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Told {
    /// The feed.
    pub feed: FeedId,
    /// [`FeedOrder::Hold`] or [`FeedOrder::Flow`].
    pub order: FeedOrder,
}

/// The feeds of one host, as far as holding goes: an entry for each channel carried.
#[derive(Debug, Default)]
pub struct Holding {
    channels: BTreeMap<ChannelId, Channel>,
    due: BTreeSet<(Time, ChannelId)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Channel {
    watched: bool,
    feed: Option<Feed>,
}

#[derive(Debug, Clone, Copy)]
struct Feed {
    id: FeedId,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flowing,
    /// Nobody watches: held at this time.
    Due(Time),
    Held,
}

impl Holding {
    /// `feed` begins, perhaps in place of another. It flows.
    pub fn opened(&mut self, now: Time, channel: ChannelId, feed: FeedId) {
        self.closed(channel);
        let entry = self.channels.entry(channel).or_default();
        let mut state = State::Flowing;
        if !entry.watched {
            state = State::Due(now + HOLD_AFTER);
            self.due.insert((now + HOLD_AFTER, channel));
        }
        entry.feed = Some(Feed { id: feed, state });
    }

    /// The channel's feed has ended.
    pub fn closed(&mut self, channel: ChannelId) {
        let feed = self.channels.get_mut(&channel).and_then(|entry| entry.feed.take());
        if let Some(Feed { state: State::Due(at), .. }) = feed {
            self.due.remove(&(at, channel));
        }
    }

    /// The channel is carried no more.
    pub fn forget(&mut self, channel: ChannelId) {
        self.closed(channel);
        self.channels.remove(&channel);
    }

    /// Whether the channel is now sent anywhere. Answers what to tell its feed before the first packet is wanted.
    pub fn watched(&mut self, now: Time, channel: ChannelId, watched: bool) -> Option<Told> {
        let entry = self.channels.entry(channel).or_default();
        entry.watched = watched;
        let feed = entry.feed.as_mut()?;
        match (watched, feed.state) {
            (true, State::Flowing) | (false, State::Due(_) | State::Held) => None,
            (true, State::Due(at)) => {
                feed.state = State::Flowing;
                self.due.remove(&(at, channel));
                None
            }
            (true, State::Held) => {
                feed.state = State::Flowing;
                Some(Told { feed: feed.id, order: FeedOrder::Flow })
            }
            (false, State::Flowing) => {
                feed.state = State::Due(now + HOLD_AFTER);
                self.due.insert((now + HOLD_AFTER, channel));
                None
            }
        }
    }

    /// The next feed that is to be held at `now`; `None` when there is no more.
    pub fn next_due(&mut self, now: Time) -> Option<(ChannelId, Told)> {
        let (_, channel) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.pop_first();
        let feed = self.channels.get_mut(&channel)?.feed.as_mut()?;
        feed.state = State::Held;
        Some((channel, Told { feed: feed.id, order: FeedOrder::Hold }))
    }

    /// When [`Self::next_due`] has something.
    pub fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether the channel's feed was told to hold.
    pub fn is_held(&self, channel: ChannelId) -> bool {
        let feed = self.channels.get(&channel).and_then(|entry| entry.feed);
        feed.is_some_and(|feed| feed.state == State::Held)
    }

    /// How many are held now.
    pub fn held(&self) -> usize {
        self.channels.keys().filter(|channel| self.is_held(**channel)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId(1);

    fn ms(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    fn told(feed: u64, order: FeedOrder) -> Told {
        Told { feed: FeedId(feed), order }
    }

    #[test]
    fn a_feed_is_held_ten_seconds_after_the_last_viewer_and_flows_for_the_next() {
        let mut holding = Holding::default();
        assert_eq!(holding.watched(ms(0), CHANNEL, true), None);
        holding.opened(ms(0), CHANNEL, FeedId(1));
        assert_eq!(holding.deadline(), None);
        assert_eq!(holding.watched(ms(2_000), CHANNEL, false), None);
        assert_eq!(holding.watched(ms(5_000), CHANNEL, false), None, "still the same absence");
        assert_eq!(holding.deadline(), Some(ms(12_000)));
        assert_eq!(holding.next_due(ms(11_999)), None);
        assert_eq!(holding.next_due(ms(12_000)), Some((CHANNEL, told(1, FeedOrder::Hold))));
        assert_eq!((holding.next_due(ms(60_000)), holding.deadline()), (None, None));
        assert_eq!(holding.watched(ms(60_000), CHANNEL, true), Some(told(1, FeedOrder::Flow)));
        assert_eq!(holding.watched(ms(60_001), CHANNEL, true), None);
    }

    #[test]
    fn a_viewer_who_comes_back_in_time_finds_the_feed_flowing() {
        let mut holding = Holding::default();
        holding.opened(ms(0), CHANNEL, FeedId(1));
        assert_eq!(holding.watched(ms(9_999), CHANNEL, true), None);
        assert_eq!((holding.next_due(ms(10_000)), holding.deadline()), (None, None));
        assert_eq!(holding.watched(ms(20_000), CHANNEL, false), None);
        assert_eq!(holding.deadline(), Some(ms(30_000)));
    }

    #[test]
    fn a_new_feed_flows_whatever_the_old_one_was_told() {
        let mut holding = Holding::default();
        holding.opened(ms(0), CHANNEL, FeedId(1));
        assert!(holding.next_due(ms(10_000)).is_some() && holding.is_held(CHANNEL));
        holding.opened(ms(11_000), CHANNEL, FeedId(2));
        assert!(!holding.is_held(CHANNEL));
        assert_eq!(holding.watched(ms(12_000), CHANNEL, true), None);
        holding.closed(CHANNEL);
        assert_eq!(holding.watched(ms(13_000), CHANNEL, false), None);
        assert_eq!(holding.deadline(), None, "no feed, nothing to hold");
        holding.opened(ms(14_000), CHANNEL, FeedId(3));
        assert_eq!(holding.next_due(ms(24_000)), Some((CHANNEL, told(3, FeedOrder::Hold))));
        holding.forget(CHANNEL);
        assert_eq!((holding.held(), holding.deadline()), (0, None));
    }
}
