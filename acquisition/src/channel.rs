//! One channel of the plan: its sources and its feeds, as the machine sees them.

use std::collections::BTreeMap;

use protocols::health::{HealthReport, SignalReport};
use protocols::ids::{ChannelId, HostId, InputId};
use protocols::p1_registration::{ChannelPlan, ChannelReport, InputState};

use crate::events::Source;
use crate::feed::Feed;

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) input: InputId,
    /// The best first; never empty.
    pub(crate) sources: Vec<Source>,
    pub(crate) state: InputState,
    pub(crate) packets: u64,
    pub(crate) rate_bps: u64,
    pub(crate) health: HealthReport,
    pub(crate) signal: Option<SignalReport>,
    pub(crate) feeds: BTreeMap<HostId, Feed>,
}

impl Channel {
    /// A channel that nothing has come of and that has no feeds yet.
    pub(crate) fn new(plan: &ChannelPlan) -> Self {
        Self {
            input: plan.input.clone(),
            sources: sources(plan),
            state: InputState::Starting,
            packets: 0,
            rate_bps: 0,
            health: HealthReport::default(),
            signal: None,
            feeds: BTreeMap::new(),
        }
    }

    /// Whether the channel is taken from the input `url`.
    pub(crate) fn is_taken_from(&self, url: &str) -> bool {
        self.sources.iter().any(|source| source.url == url)
    }

    /// What a poll says of it.
    pub(crate) fn report(&self, channel: ChannelId) -> ChannelReport {
        ChannelReport {
            channel,
            input: self.state.clone(),
            source: 0,
            switches: 0,
            packets: self.packets,
            rate_bps: self.rate_bps,
            feeds: self.feeds.iter().map(|(host, feed)| feed.report(host)).collect(),
            health: self.health.clone(),
            signal: self.signal,
        }
    }
}

/// Where `plan` takes its channel from, the best first.
pub(crate) fn sources(plan: &ChannelPlan) -> Vec<Source> {
    vec![Source { url: plan.url.clone(), service: plan.service }]
}
