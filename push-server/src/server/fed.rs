//! Feeds: which is a channel's, what it is told, what has come by it.

use protocols::ids::{AcquisitionId, ChannelId};
use protocols::p3_feed::FeedOrder;
use protocols::preamble::Refusal;
use protocols::time::Time;

use super::PushServer;
use super::exchange::{FeedId, Output};
use crate::holding::Told;
use crate::plan::ChannelCounters;
use crate::report::Subject;

impl PushServer {
    pub(super) fn feed_opened(
        &mut self,
        now: Time,
        channel: ChannelId,
        feed: FeedId,
        peer: &AcquisitionId,
        out: &mut Vec<Output>,
    ) {
        let Some(state) = self.states.get_mut(&channel) else {
            self.counters.feeds_refused += 1;
            out.push(Output::CloseFeed { channel, feed, refusal: Refusal::NotConfigured(channel) });
            return;
        };
        match state.feed.replace(feed) {
            Some(older) => {
                self.counters.feeds_replaced += 1;
                out.push(Output::CloseFeed { channel, feed: older, refusal: Refusal::Replaced });
            }
            // Counters that overtook the end of the feed before say nothing of this one.
            None => state.flowing = false,
        }
        self.holding.opened(now, channel, feed);
        out.push(Output::AcceptFeed { channel, feed });
        tracing::info!(%channel, %peer, "feed accepted");
    }

    /// `channel`'s packets come with this source from now on, or are no more carried.
    pub(super) fn stream_named(&mut self, channel: ChannelId, ssrc: Option<u32>) {
        let Some(state) = self.states.get_mut(&channel) else { return };
        if let Some(before) = std::mem::replace(&mut state.ssrc, ssrc)
            && self.streams.get(&before) == Some(&channel)
        {
            self.streams.remove(&before);
        }
        self.streams.extend(ssrc.map(|ssrc| (ssrc, channel)));
    }

    pub(super) fn feed_closed(&mut self, channel: ChannelId, feed: FeedId) {
        let Some(state) = self.states.get_mut(&channel) else { return };
        if state.feed == Some(feed) {
            let was_fed = state.fed();
            (state.feed, state.flowing) = (None, false);
            self.holding.closed(channel);
            if was_fed {
                self.report.changed(Subject::Server(channel));
            }
            tracing::info!(%channel, "feed lost: waiting for the acquisition server");
        }
    }

    pub(super) fn counted(&mut self, counters: ChannelCounters) {
        let channel = counters.channel;
        let Some(state) = self.states.get_mut(&channel) else { return };
        let was_fed = state.fed();
        (state.packets, state.flowing) = (counters.packets, counters.flowing);
        if state.fed() != was_fed {
            self.report.changed(Subject::Server(channel));
            tracing::info!(%channel, flowing = counters.flowing, "packets of the feed");
        }
        for target in counters.targets.into_iter().filter(|target| state.known.contains(&target.address)) {
            let before = state.targets.insert(target.address, target);
            if before.and_then(|before| before.fault) != target.fault {
                self.report.changed(Subject::Destination(channel, target.address));
            }
        }
    }

    pub(super) fn tell_feed(&mut self, channel: ChannelId, told: Told, out: &mut Vec<Output>) {
        let Told { feed, order } = told;
        match order {
            FeedOrder::Hold => self.counters.feeds_held += 1,
            _ => self.counters.feeds_flowed += 1,
        }
        tracing::debug!(%channel, ?order, held = self.holding.held(), "feed told");
        out.push(Output::TellFeed { channel, feed, order });
    }
}
